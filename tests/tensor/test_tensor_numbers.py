"""Every kind of number, in every operand and every option: results, gradients and states as with Python's own."""

import inspect
import json
import re
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional, nn
from tinyconv import functional as F

KINDS = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "longdouble": np.longdouble,
    "0-d float32": lambda v: np.array(v, np.float32),
    "0-d float64": lambda v: np.array(v, np.float64),
    "0-d longdouble": lambda v: np.array(v, np.longdouble),
    "Fraction": Fraction,
    "Decimal": Decimal,
    "0-d tensor": tc.Tensor,
}
INTEGERS = {
    "int8": np.int8,
    "int64": np.int64,
    "uint64": np.uint64,
    "0-d int32": lambda v: np.array(v, np.int32),
    "0-d uint8": lambda v: np.array(v, np.uint8),
    "0-d tensor": tc.tensor,
}
OPERANDS = {name: kind for name, kind in KINDS.items() if name != "0-d tensor"}
FLOAT32 = np.dtype(np.float32)

# --- operands -------------------------------------------------------------------------------------------------------

OPERATIONS = {
    "x + s": lambda x, s: x + s,
    "s + x": lambda x, s: s + x,
    "x - s": lambda x, s: x - s,
    "s - x": lambda x, s: s - x,
    "x * s": lambda x, s: x * s,
    "s * x": lambda x, s: s * x,
    "x / s": lambda x, s: x / s,
    "s / x": lambda x, s: s / x,
    "x ** s": lambda x, s: x**s,
    "s ** x": lambda x, s: s**x,
    "x // s": lambda x, s: x // s,
    "s // x": lambda x, s: s // x,
    "x % s": lambda x, s: x % s,
    "s % x": lambda x, s: tc.remainder(s, x),
    "fmod": lambda x, s: x.fmod(s),
    "lerp": lambda x, s: x.lerp(x * 2, s),
    "maximum": lambda x, s: x.maximum(s),
    "minimum": lambda x, s: tc.minimum(x, s),
    "clamp(min)": lambda x, s: x.clamp(s),
    "clamp(max)": lambda x, s: x.clamp(max=s),
    "clamp(min, max)": lambda x, s: x.clamp(s, s),
    "where": lambda x, s: tc.where(x > 1, x, s),
    "where, the other way": lambda x, s: tc.where(x > 1, s, x),
    "masked sum": lambda x, s: (x * (x > s)).sum(),
}
COMPARISONS = {
    "x < s": lambda x, s: x < s,
    "x <= s": lambda x, s: x <= s,
    "x > s": lambda x, s: x > s,
    "x >= s": lambda x, s: x >= s,
    "x == s": lambda x, s: x == s,
    "x != s": lambda x, s: x != s,
    "s < x": lambda x, s: s < x,
    "s == x": lambda x, s: s == x,
    "s in x": lambda x, s: tc.tensor(s in x),
}


def value_and_gradient(operation, s):
    x = tc.tensor([0.5, 1.5, 2.0], requires_grad=True)
    y = operation(x, s)
    y.sum().backward()
    return y, x.grad


@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operands(operation, kind):
    expected = value_and_gradient(OPERATIONS[operation], 1.5)
    for result, wanted in zip(value_and_gradient(OPERATIONS[operation], OPERANDS[kind](1.5)), expected, strict=True):
        assert result.dtype == FLOAT32
        np.testing.assert_array_equal(result.numpy(), wanted.numpy())


@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_comparisons(comparison, kind):
    x = tc.tensor([0.5, 1.5, 2.0])
    found, expected = (COMPARISONS[comparison](x, s) for s in (OPERANDS[kind](1.5), 1.5))
    assert found.dtype == np.bool_
    assert found.tolist() == expected.tolist()


IN_PLACE = {
    "+=": lambda x, s: x.__iadd__(s),
    "-=": lambda x, s: x.__isub__(s),
    "*=": lambda x, s: x.__imul__(s),
    "/=": lambda x, s: x.__itruediv__(s),
    "**=": lambda x, s: x.__ipow__(s),
    "x[1] =": lambda x, s: x.__setitem__(1, s),
    "x[mask] =": lambda x, s: x.__setitem__(x > 1, s),
    "x[...] =": lambda x, s: x.__setitem__(..., s),
    "fill_": lambda x, s: x.fill_(s),
    "copy_": lambda x, s: x.copy_(s),
    "constant_": nn.init.constant_,
}


@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("operation", IN_PLACE)
def test_in_place(operation, kind):
    found, expected = (tc.tensor([0.5, 1.5, 2.0]) for _ in range(2))
    IN_PLACE[operation](found, OPERANDS[kind](1.5))
    IN_PLACE[operation](expected, 1.5)
    assert found.dtype == FLOAT32
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [name for name in OPERANDS if name != "0-d float64"])
def test_an_integer_tensor_with_a_float_becomes_float32(kind):
    """A number has the least say. A 0-d float64 array is a 0-d tensor and brings its dtype, as in torch."""
    x = tc.tensor([1, 2])
    assert (x * OPERANDS[kind](1.5)).dtype == (np.float32 if kind != "0-d float16" else np.float16)
    assert (x * np.array(1.5)).dtype == np.float64


def test_a_0d_array_is_a_0d_tensor():
    """It broadcasts, and does not decide the dtype of a tensor with axes of its category."""
    for dtype in (np.float16, np.float32, np.float64, np.int64, np.bool_):
        assert (tc.ones(2) * np.array(1, dtype)).dtype == FLOAT32
        assert (np.array(1, dtype) * tc.ones(2)).dtype == FLOAT32
    assert (tc.tensor(1.0) * np.array(1.0)).dtype == np.float64  # two 0-d tensors: the larger dtype, as in torch


def test_an_array_of_longdouble_is_refused():
    with pytest.raises(tc.DtypeError, match=r"tensors of .* are not supported"):
        tc.ones(2) * np.ones(2, np.longdouble)


@pytest.mark.parametrize("kind", [np.bool_, bool])
def test_bools(kind):
    x = tc.tensor([0.5, 2.0], requires_grad=True)
    y = x * kind(True) + kind(True)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, y.tolist()) == (FLOAT32, FLOAT32, [1.5, 3.0])
    assert (tc.tensor([True, False]) & kind(True)).tolist() == [True, False]


@pytest.mark.parametrize("value", [2**40, 2**62, -(2**63), 2**64, 10**30])
def test_big_integers(value):
    x = tc.ones(2, requires_grad=True)
    y = x * value
    y.sum().backward()
    assert (y.dtype, x.grad.dtype) == (FLOAT32, FLOAT32)
    assert y.tolist() == [float(np.float32(value))] * 2


@pytest.mark.parametrize(
    "operand", [None, "1", b"1", 1j, np.complex64(1j), np.str_("1"), np.datetime64("2020-01-01"), {}, {1}, [1.0], (1,)]
)
@pytest.mark.parametrize("operation", [*OPERATIONS, "x < s", "x >= s", "@", "fill_"])
def test_what_is_no_number_is_refused(operation, operand):
    if operand is None and operation.startswith("clamp"):
        return  # a bound that is left out
    run = (OPERATIONS | COMPARISONS | {"@": lambda x, s: x @ s, "fill_": lambda x, s: x.fill_(s)})[operation]
    if operation == "fill_" and isinstance(operand, list | tuple):
        return  # copy_ takes a list
    with pytest.raises(tc.DtypeError, match=r"got|expected|supported") as error:
        run(tc.ones(2), operand)
    assert "ufunc" not in str(error.value)


# --- options --------------------------------------------------------------------------------------------------------

X = tc.randn(2, 3, 4, 4)
ROWS = tc.randn(4, 3)
LABELS = tc.tensor([0, 1, 2, 0])
ONE = tc.tensor([1])
WEIGHT = tc.randn(3, 3, 2, 2)
PLACES = tc.arange(4).expand(2, 3, 4, 4)


def batch_norm(x, **options):
    return F.batch_norm(x, tc.zeros(3), tc.ones(3), training=True, **options)


def trained(optimizer, shape=(3,), **options):
    """A float32 parameter after two steps, with what the optimiser keeps."""
    w = tc.ones(*shape, requires_grad=True)
    rule = optimizer([w], **options)
    for _ in range(2):
        w.grad = tc.tensor([1.0, 2.0, 3.0]).reshape(shape)
        rule.step()
    json.dumps(rule.state_dict()["param_groups"])
    for state in rule.state.values():
        assert all(type(kept) in (int, float) or kept.dtype == FLOAT32 for kept in state.values())
    return w


def scheduled(schedule, *args, **options):
    """A float32 parameter after steps with a schedule, whose state is plain data."""
    w = tc.ones(3, requires_grad=True)
    rule = tc.optim.SGD([w], lr=0.1, momentum=0.5)
    rates = schedule(rule, *args, **options)
    for _ in range(3):
        w.grad = tc.tensor([1.0, 2.0, 3.0])
        rule.step()
        rates.step()
    json.dumps([rates.state_dict(), rule.state_dict()["param_groups"]])
    return w


def scheduled_by_loss(**options):
    """The rate after five losses of one size."""
    rule = tc.optim.SGD([tc.ones(3, requires_grad=True)], lr=0.9)
    rates = SCHEDULES.ReduceLROnPlateau(rule, **options)
    for _ in range(5):
        rates.step(1.0)
    json.dumps([rates.state_dict(), rule.state_dict()["param_groups"]])
    return tc.tensor(rule.param_groups[0]["lr"])


def clipped(clip, *args, **options):
    w = tc.ones(3, requires_grad=True)
    w.grad = tc.tensor([1.0, 2.0, 3.0])
    clip([w], *args, **options)
    return w.grad


def filled(initialiser, *args, **options):
    tc.manual_seed(0)
    return initialiser(tc.zeros(3, 4), *args, **options)


SCHEDULES = tc.optim.lr_scheduler
REALS = {  # each takes a number near 0.5
    "leaky_relu": lambda s: F.leaky_relu(X, s),
    "elu": lambda s: F.elu(X, s),
    "celu": lambda s: F.celu(X, s),
    "softplus": lambda s: F.softplus(X, s),
    "softshrink": lambda s: F.softshrink(X, s),
    "hardshrink": lambda s: F.hardshrink(X, s),
    "elu_, celu_": lambda s: F.celu_(F.elu_(X * 1.0, s), s),
    "leaky_relu_": lambda s: F.leaky_relu_(X * 1.0, s),
    "hardtanh, hardtanh_": lambda s: F.hardtanh_(F.hardtanh(X, -0.5, s), -0.25, s),
    "threshold, threshold_": lambda s: F.threshold_(F.threshold(X, s, s), 0.1, s),
    "rrelu, rrelu_": lambda s: F.rrelu_(F.rrelu(X, 0.125, s), 0.125, s),
    "RReLU": lambda s: nn.RReLU(0.125, s).eval()(X),
    "gumbel_softmax": lambda s: F.gumbel_softmax(X, s),
    "dropout1d": lambda s: F.dropout1d(X[0], s),
    "dropout2d": lambda s: F.dropout2d(X, s),
    "alpha_dropout": lambda s: F.alpha_dropout(X, s, True),
    "feature_alpha_dropout": lambda s: F.feature_alpha_dropout(X, s, True),
    "group_norm eps": lambda s: F.group_norm(X, 3, eps=s),
    "instance_norm eps, momentum": lambda s: F.instance_norm(X, tc.zeros(3), tc.ones(3), momentum=s, eps=s),
    "rms_norm eps": lambda s: F.rms_norm(X, 4, eps=s),
    "local_response_norm": lambda s: F.local_response_norm(X, 2, s, s, s),
    "normalize eps": lambda s: F.normalize(X, eps=s),
    "cosine_similarity eps": lambda s: F.cosine_similarity(X, X + 1, eps=s),
    "pairwise_distance eps": lambda s: F.pairwise_distance(ROWS, ROWS + 1, eps=s),
    "embedding max_norm": lambda s: F.embedding(LABELS, tc.ones(3, 2), max_norm=s),
    "smooth_l1_loss": lambda s: F.smooth_l1_loss(ROWS, ROWS + 1, beta=s),
    "huber_loss": lambda s: F.huber_loss(ROWS, ROWS + 1, delta=s),
    "poisson_nll_loss eps": lambda s: F.poisson_nll_loss(ROWS, ROWS.abs(), eps=s),
    "gaussian_nll_loss": lambda s: F.gaussian_nll_loss(ROWS, ROWS + 1, s, eps=s),
    "hinge_embedding_loss": lambda s: F.hinge_embedding_loss(ROWS, -tc.ones(4, 3), s),
    "margin_ranking_loss": lambda s: F.margin_ranking_loss(ROWS, ROWS, tc.ones(4, 3), s),
    "triplet_margin_loss": lambda s: F.triplet_margin_loss(ROWS, ROWS, ROWS, s, eps=s),
    "cosine_embedding_loss": lambda s: F.cosine_embedding_loss(ROWS, ROWS, -tc.ones(4), s),
    "multi_margin_loss": lambda s: F.multi_margin_loss(ROWS, LABELS, margin=s),
    "nn.ELU, CELU": lambda s: nn.CELU(s)(nn.ELU(s)(X)),
    "nn.Softplus": lambda s: nn.Softplus(s, s)(X),
    "nn.Softshrink, Hardshrink": lambda s: nn.Hardshrink(s)(nn.Softshrink(s)(X)),
    "nn.Hardtanh": lambda s: nn.Hardtanh(-0.5, s)(X),
    "nn.Threshold": lambda s: nn.Threshold(s, s)(X),
    "nn.PReLU": lambda s: nn.PReLU(init=s)(X),
    "nn.Dropout1d": lambda s: nn.Dropout1d(s)(X[0]),
    "nn.Dropout2d": lambda s: nn.Dropout2d(s)(X),
    "nn.AlphaDropout, FeatureAlphaDropout": lambda s: nn.FeatureAlphaDropout(s)(nn.AlphaDropout(s)(X)),
    "nn.GroupNorm": lambda s: nn.GroupNorm(3, 3, eps=s)(X),
    "nn.InstanceNorm2d": lambda s: nn.InstanceNorm2d(3, s, s, track_running_stats=True)(X),
    "nn.InstanceNorm1d": lambda s: nn.InstanceNorm1d(3, s, s)(X[:, :, 0]),
    "nn.BatchNorm1d": lambda s: nn.BatchNorm1d(3, s, s)(X[:, :, 0]),
    "nn.RMSNorm": lambda s: nn.RMSNorm(4, s)(X),
    "nn.LocalResponseNorm": lambda s: nn.LocalResponseNorm(2, s, s, s)(X),
    "nn.LazyBatchNorm1d": lambda s: nn.LazyBatchNorm1d(s, s)(X[:, :, 0]),
    "nn.LazyBatchNorm2d": lambda s: nn.LazyBatchNorm2d(s, s)(X),
    "nn.LazyInstanceNorm1d": lambda s: nn.LazyInstanceNorm1d(s, s)(X[:, :, 0]),
    "nn.LazyInstanceNorm2d": lambda s: nn.LazyInstanceNorm2d(s, s)(X),
    "nn.CosineSimilarity": lambda s: nn.CosineSimilarity(eps=s)(X, X + 1),
    "nn.PairwiseDistance": lambda s: nn.PairwiseDistance(eps=s)(ROWS, ROWS + 1),
    "nn.Embedding max_norm": lambda s: nn.Embedding.from_pretrained(tc.ones(3, 2), max_norm=s, norm_type=2)(LABELS),
    "nn.SmoothL1Loss": lambda s: nn.SmoothL1Loss(beta=s)(ROWS, ROWS + 1),
    "nn.HuberLoss": lambda s: nn.HuberLoss(delta=s)(ROWS, ROWS + 1),
    "nn.PoissonNLLLoss": lambda s: nn.PoissonNLLLoss(eps=s)(ROWS, ROWS),
    "nn.GaussianNLLLoss": lambda s: nn.GaussianNLLLoss(eps=s)(ROWS, ROWS, ROWS.abs()),
    "nn.HingeEmbeddingLoss": lambda s: nn.HingeEmbeddingLoss(s)(ROWS, -tc.ones(4, 3)),
    "nn.MarginRankingLoss": lambda s: nn.MarginRankingLoss(s)(ROWS, ROWS, tc.ones(4, 3)),
    "nn.CosineEmbeddingLoss": lambda s: nn.CosineEmbeddingLoss(s)(ROWS, ROWS, -tc.ones(4)),
    "nn.TripletMarginLoss": lambda s: nn.TripletMarginLoss(s, eps=s)(ROWS, ROWS, ROWS),
    "nn.MultiMarginLoss": lambda s: nn.MultiMarginLoss(margin=s)(ROWS, LABELS),
    "trunc_normal_": lambda s: filled(nn.init.trunc_normal_, s, s, -1, s),
    "orthogonal_": lambda s: filled(nn.init.orthogonal_, s),
    "sparse_": lambda s: filled(nn.init.sparse_, s, s),
    "layer_norm eps": lambda s: F.layer_norm(X, 4, eps=s),
    "batch_norm eps": lambda s: batch_norm(X, eps=s),
    "batch_norm momentum": lambda s: batch_norm(X, momentum=s),
    "dropout": lambda s: F.dropout(X, s),
    "pad value": lambda s: F.pad(X, (1, 1), value=s),
    "label_smoothing": lambda s: F.cross_entropy(ROWS, LABELS, label_smoothing=s),
    "label_smoothing of probabilities": lambda s: F.cross_entropy(ROWS, tc.full((4, 3), 1 / 3), label_smoothing=s),
    "divisor_override": lambda s: F.avg_pool2d(X, 2, divisor_override=s),
    "var correction": lambda s: X.var(1, correction=s),
    "std correction": lambda s: tc.std(X, 1, correction=s),
    "add alpha": lambda s: X.add(X, alpha=s),
    "addcmul value": lambda s: X.addcmul(X, X, value=s),
    "dist": lambda s: X.dist(X * 2, s),
    "isclose": lambda s: tc.isclose(X, X + 0.1, s, s).float(),
    "full": lambda s: tc.full((2,), s),
    "full_like": lambda s: tc.full_like(X, s),
    "arange": lambda s: tc.arange(0, 4, s),
    "linspace, logspace": lambda s: tc.linspace(s, s, 3) + tc.logspace(s, s, 3, s),
    "addmm": lambda s: ROWS.addmm(ROWS, tc.ones(3, 3), beta=s, alpha=s),
    "addmv": lambda s: tc.ones(4).addmv(ROWS, tc.ones(3), beta=s, alpha=s),
    "addr": lambda s: tc.ones(3, 2).addr(tc.ones(3), tc.ones(2), beta=s, alpha=s),
    "baddbmm, addbmm": lambda s: X[0].baddbmm(X[0], X[1], beta=s).sum(0).addbmm(X[0], X[1], alpha=s),
    "masked_fill, masked_fill_": lambda s: X.masked_fill(X > 0, s).masked_fill_(X < 0, s),
    "index_fill": lambda s: X.index_fill(0, ONE, s),
    "scatter": lambda s: X.scatter(0, ONE[:, None, None, None], s),
    "index_add alpha": lambda s: X.index_add(0, ONE, X[1:], alpha=s),
    "fill_diagonal_": lambda s: tc.ones(3, 3).fill_diagonal_(s),
    "tensor": lambda s: tc.tensor(s, dtype=tc.float32),
    "tensor of a list": lambda s: tc.tensor([s, s], dtype=tc.float32),
    "nn.LeakyReLU": lambda s: nn.LeakyReLU(s)(X),
    "nn.LayerNorm eps": lambda s: nn.LayerNorm(4, eps=s)(X),
    "nn.BatchNorm2d eps": lambda s: nn.BatchNorm2d(3, eps=s)(X),
    "nn.BatchNorm2d momentum": lambda s: nn.BatchNorm2d(3, momentum=s)(X),
    "nn.BatchNorm2d running": lambda s: running(nn.BatchNorm2d(3, momentum=s)),
    "nn.Dropout": lambda s: nn.Dropout(s)(X),
    "nn.AvgPool2d": lambda s: nn.AvgPool2d(2, divisor_override=s)(X),
    "lp_pool2d norm_type": lambda s: F.lp_pool2d(X + 1, s, 2),
    "lp_pool1d norm_type": lambda s: F.lp_pool1d(X[0] + 1, s, 2),
    "nn.LPPool1d": lambda s: nn.LPPool1d(s, 2)(X[0] + 1),
    "nn.LPPool2d": lambda s: nn.LPPool2d(s, 2)(X + 1),
    "interpolate scale_factor": lambda s: F.interpolate(X, None, s, "bilinear"),
    "interpolate scale_factors": lambda s: F.interpolate(X, None, (s, s)),
    "upsample": lambda s: F.upsample(X, None, s),
    "nn.Upsample": lambda s: nn.Upsample(None, s)(X),
    "nn.UpsamplingNearest2d": lambda s: nn.UpsamplingNearest2d(None, s)(X),
    "nn.UpsamplingBilinear2d": lambda s: nn.UpsamplingBilinear2d(None, s)(X),
    "nn.ConstantPad1d": lambda s: nn.ConstantPad1d(1, s)(X),
    "nn.ConstantPad2d": lambda s: nn.ConstantPad2d(1, s)(X),
    "nn.CrossEntropyLoss": lambda s: nn.CrossEntropyLoss(label_smoothing=s)(ROWS, LABELS),
    "RandomHorizontalFlip": lambda s: moved(tc.data.RandomHorizontalFlip(s)),
    "uniform_": lambda s: filled(nn.init.uniform_, 0, s),
    "normal_": lambda s: filled(nn.init.normal_, s, s),
    "xavier_uniform_": lambda s: filled(nn.init.xavier_uniform_, gain=s),
    "xavier_normal_": lambda s: filled(nn.init.xavier_normal_, gain=s),
    "kaiming_uniform_": lambda s: filled(nn.init.kaiming_uniform_, a=s),
    "kaiming_normal_": lambda s: filled(nn.init.kaiming_normal_, a=s),
    "SGD": lambda s: trained(tc.optim.SGD, lr=s, momentum=s, dampening=s, weight_decay=s),
    "Adam": lambda s: trained(tc.optim.Adam, lr=s, betas=(s, s), eps=s, weight_decay=s),
    "AdamW": lambda s: trained(tc.optim.AdamW, lr=s, betas=(s, s), eps=s, weight_decay=s),
    "RMSprop": lambda s: trained(tc.optim.RMSprop, lr=s, alpha=s, eps=s, weight_decay=s, momentum=s),
    "StepLR": lambda s: scheduled(SCHEDULES.StepLR, 1, gamma=s),
    "MultiStepLR": lambda s: scheduled(SCHEDULES.MultiStepLR, [1, 2], gamma=s),
    "LinearLR": lambda s: scheduled(SCHEDULES.LinearLR, start_factor=s, end_factor=s),
    "CosineAnnealingLR": lambda s: scheduled(SCHEDULES.CosineAnnealingLR, 3, eta_min=s),
    "OneCycleLR": lambda s: scheduled(
        SCHEDULES.OneCycleLR, s, 5, pct_start=s, base_momentum=s, max_momentum=s, div_factor=s, final_div_factor=s
    ),
    "ConstantLR": lambda s: scheduled(SCHEDULES.ConstantLR, s),
    "ExponentialLR": lambda s: scheduled(SCHEDULES.ExponentialLR, s),
    "PolynomialLR": lambda s: scheduled(SCHEDULES.PolynomialLR, power=s),
    "CosineAnnealingWarmRestarts": lambda s: scheduled(SCHEDULES.CosineAnnealingWarmRestarts, 3, eta_min=s),
    "CyclicLR": lambda s: scheduled(SCHEDULES.CyclicLR, s, s, gamma=s, base_momentum=s, max_momentum=s),
    "ReduceLROnPlateau": lambda s: scheduled_by_loss(factor=s, threshold=s, min_lr=s, eps=s),
    "Adagrad": lambda s: trained(
        tc.optim.Adagrad, lr=s, lr_decay=s, weight_decay=s, initial_accumulator_value=s, eps=s
    ),
    "Adadelta": lambda s: trained(tc.optim.Adadelta, lr=s, rho=s, eps=s, weight_decay=s),
    "Adamax": lambda s: trained(tc.optim.Adamax, lr=s, betas=(s, s), eps=s, weight_decay=s),
    "NAdam": lambda s: trained(tc.optim.NAdam, lr=s, betas=(s, s), eps=s, weight_decay=s, momentum_decay=s),
    "RAdam": lambda s: trained(tc.optim.RAdam, lr=s, betas=(s, s), eps=s, weight_decay=s),
    "Muon": lambda s: trained(
        tc.optim.Muon, (1, 3), lr=s, weight_decay=s, momentum=s, ns_coefficients=(s, s, s), eps=s
    ),
    "get_total_norm": lambda s: tc.nn.utils.get_total_norm([X], s),
    "clip_grads_with_norm_": lambda s: clipped(tc.nn.utils.clip_grads_with_norm_, s, tc.tensor(2.0)),
    "clip_grad_norm_": lambda s: clipped(tc.optim.clip_grad_norm_, s),
    "clip_grad_norm_ norm_type": lambda s: clipped(tc.optim.clip_grad_norm_, 1.0, s),
    "clip_grad_value_": lambda s: clipped(tc.optim.clip_grad_value_, s),
}  # fmt: skip
SIZES = {  # each takes an integer near 2
    "conv2d": lambda n: F.conv2d(X, WEIGHT, stride=n, padding=n, dilation=n),
    "conv2d, pairs": lambda n: F.conv2d(X, WEIGHT, stride=(n, n), padding=(n, n), dilation=(1, n)),
    "Muon ns_steps": lambda n: trained(tc.optim.Muon, (3, 1), ns_steps=n),
    "conv2d groups": lambda n: F.conv2d(tc.ones(1, 2, 4, 4), tc.ones(2, 1, 2, 2), groups=n),
    "max_pool2d": lambda n: F.max_pool2d(X, n, n, padding=1, dilation=1),
    "avg_pool2d": lambda n: F.avg_pool2d(X, n, n, divisor_override=n),
    "adaptive_avg_pool2d": lambda n: F.adaptive_avg_pool2d(X, n),
    "adaptive_max_pool2d": lambda n: F.adaptive_max_pool2d(X, (n, None)),
    "glu": lambda n: F.glu(X, n),
    "softmin": lambda n: F.softmin(X, n),
    "group_norm": lambda n: F.group_norm(tc.randn(2, 4, 3), n),
    "local_response_norm size": lambda n: F.local_response_norm(X, n),
    "rms_norm": lambda n: F.rms_norm(tc.ones(3, 2), n),
    "embedding padding_idx": lambda n: F.embedding(LABELS, tc.ones(3, 2), n),
    "multi_margin_loss p": lambda n: F.multi_margin_loss(ROWS, LABELS, n),
    "cosine_similarity": lambda n: F.cosine_similarity(X, X + 1, n),
    "normalize": lambda n: F.normalize(X, n, n),
    "nn.GLU": lambda n: nn.GLU(n)(X),
    "nn.Softmin": lambda n: nn.Softmin(n)(X),
    "nn.PReLU num_parameters": lambda n: nn.PReLU(n)(tc.randn(3, 2)),
    "nn.GroupNorm num_groups": lambda n: nn.GroupNorm(n, 4)(tc.randn(2, 4, 3)),
    "nn.InstanceNorm1d num_features": lambda n: nn.InstanceNorm1d(n)(tc.randn(3, 2, 4)),
    "nn.LocalResponseNorm size": lambda n: nn.LocalResponseNorm(n)(X),
    "nn.RMSNorm normalized_shape": lambda n: nn.RMSNorm(n)(tc.ones(3, 2)),
    "nn.Embedding": lambda n: nn.Embedding.from_pretrained(tc.ones(3, 2), padding_idx=n)(LABELS),
    "nn.Unflatten": lambda n: nn.Unflatten(n, (n, -1))(X),
    "nn.Bilinear": lambda n: nn.init.ones_(nn.Bilinear(n, n, n, bias=False).weight),
    "nn.LazyLinear": lambda n: nn.LazyLinear(n)(X) * 0,
    "nn.LazyConvTranspose1d": lambda n: nn.LazyConvTranspose1d(n, n, n, n, 0, n)(tc.ones(2, 5)) * 0,
    "nn.LazyConvTranspose2d": lambda n: nn.LazyConvTranspose2d(n, n, n, n, 0, n)(tc.ones(2, 5, 5)) * 0,
    "nn.LazyConv2d": lambda n: nn.LazyConv2d(n, n, n, n, n)(X) * 0,
    "nn.LazyConv1d": lambda n: nn.LazyConv1d(n, n, n, n, n)(X[0]) * 0,
    "nn.MultiMarginLoss p": lambda n: nn.MultiMarginLoss(n)(ROWS, LABELS),
    "nn.CosineSimilarity dim": lambda n: nn.CosineSimilarity(n)(X, X + 1),
    "layer_norm": lambda n: F.layer_norm(tc.ones(3, 2), n),
    "layer_norm, several": lambda n: F.layer_norm(tc.ones(3, 2, 2), (n, n)),
    "pad": lambda n: F.pad(X, (n, n)),
    "ignore_index": lambda n: F.cross_entropy(ROWS, LABELS, ignore_index=n),
    "nll_loss": lambda n: F.nll_loss(ROWS, LABELS, ignore_index=n),
    "softmax": lambda n: F.softmax(X, n),
    "log_softmax": lambda n: X.log_softmax(n),
    "round": lambda n: X.round(decimals=n),
    "cumsum": lambda n: X.cumsum(n),
    "cumprod": lambda n: X.cumprod(n),
    "median": lambda n: X.median(dim=n).values,
    "nansum": lambda n: X.nansum(n),
    "count_nonzero": lambda n: X.count_nonzero(n),
    "sum": lambda n: X.sum(n),
    "sum, several": lambda n: X.sum((n, 0)),
    "max": lambda n: X.max(dim=n)[0] if not isinstance(n, tc.Tensor) else X.amax(n),
    "argmax": lambda n: X.argmax(n),
    "var": lambda n: X.var(n, correction=n),
    "norm": lambda n: X.norm(n),
    "logsumexp": lambda n: X.logsumexp(n),
    "prod": lambda n: X.prod(n),
    "reshape": lambda n: X.reshape(n, -1),
    "permute": lambda n: X.permute(n, 3, 0, 1),
    "transpose": lambda n: X.transpose(n, 1),
    "expand": lambda n: tc.ones(1, 3).expand(n, 3),
    "squeeze": lambda n: tc.ones(1, 3, 1).squeeze(n),
    "unsqueeze": lambda n: X.unsqueeze(n),
    "flatten": lambda n: X.flatten(n),
    "split": lambda n: X.split(n, n)[0],
    "split, listed": lambda n: X.split([n, n], n)[0],
    "chunk": lambda n: X.chunk(n, n)[0],
    "cat, concat, concatenate": lambda n: tc.cat([X, X], n),
    "stack": lambda n: tc.stack([X, X], n),
    "index": lambda n: X[:, n],
    "linspace": lambda n: tc.linspace(0, 1, n),
    "eye": lambda n: tc.eye(n, n),
    "tril_indices": lambda n: tc.tril_indices(n, n, n),
    "triu_indices": lambda n: tc.triu_indices(n, n, n),
    "randint, from 0": lambda n: tc.randint(n, (n,)),
    "randint_like": lambda n: tc.randint_like(X, n),
    "one_hot": lambda n: F.one_hot(tc.tensor([0, 1]), n),
    "movedim": lambda n: X.movedim(n, 0),
    "moveaxis, several": lambda n: X.moveaxis((n, 0), (0, n)),
    "swapaxes, swapdims": lambda n: X.swapaxes(n, 1).swapdims(1, n),
    "select": lambda n: X.select(n, n),
    "narrow": lambda n: X.narrow(n, 1, n),
    "unbind": lambda n: X.unbind(n)[0],
    "unflatten": lambda n: X.unflatten(n, (n, -1)),
    "broadcast_to": lambda n: tc.ones(1, 3).broadcast_to((n, 3)),
    "tensor_split": lambda n: X.tensor_split(n, n)[0],
    "hsplit, vsplit": lambda n: X[:, :2].hsplit(n)[0].vsplit(n)[0],
    "dsplit": lambda n: X.dsplit(n)[0],
    "tensor_split, at places": lambda n: X.tensor_split((1, n), n)[0],
    "gather": lambda n: X.gather(n, tc.zeros(1, 1, 1, 1, dtype=tc.int64)),
    "take_along_dim": lambda n: X.take_along_dim(tc.zeros(1, 1, 1, 1, dtype=tc.int64), n),
    "scatter, scatter_": lambda n: X.scatter(n, ONE[:, None, None, None], 1).scatter_(n, ONE[:, None, None, None], 2),
    "scatter_add": lambda n: X.scatter_add(n, ONE[:, None, None, None], X),
    "scatter_add_": lambda n: X.clone().scatter_add_(n, ONE[:, None, None, None], X),
    "index_select": lambda n: X.index_select(n, ONE),
    "index_add, index_add_": lambda n: X.index_add(n, ONE, X[:, :, :1]).index_add_(n, ONE, X[:, :, :1]),
    "index_copy, index_copy_": lambda n: X.index_copy(n, ONE, X[:, :, :1]).index_copy_(n, ONE, X[:, :, 1:2]),
    "index_fill, index_fill_": lambda n: X.index_fill(n, ONE, 1).index_fill_(n, ONE, 2),
    "tensordot": lambda n: tc.tensordot(X, X[0, 0], n),
    "tensordot, listed": lambda n: tc.tensordot(X, X, ([n, 1], [n, 1])),
    "flip": lambda n: X.flip(n, 1),
    "roll": lambda n: X.roll(n, n),
    "roll, several": lambda n: X.roll((n, 1), (n, 1)),
    "rot90": lambda n: X.rot90(n, (n, 1)),
    "repeat": lambda n: X.repeat(n, 1, n, 1),
    "tile": lambda n: X.tile(n, n),
    "repeat_interleave": lambda n: X.repeat_interleave(n, n),
    "tril, tril_": lambda n: X.tril(n).tril_(n),
    "triu, triu_": lambda n: X.triu(n).triu_(n),
    "diagonal": lambda n: X.diagonal(n, n, 1),
    "diag": lambda n: ROWS.diag(n),
    "diag_embed": lambda n: ROWS.diag_embed(n, n, 0),
    "sort": lambda n: X.sort(n)[0],
    "argsort": lambda n: X.argsort(n),
    "topk": lambda n: X.topk(n, n)[0],
    "kthvalue": lambda n: X.kthvalue(n, n)[0],
    "unique": lambda n: X.unique(dim=n),
    "unique_consecutive": lambda n: X.unique_consecutive(dim=n),
    "bincount": lambda n: LABELS.bincount(minlength=n),
    "size": lambda n: tc.zeros(X.size(n)),
    "zeros": lambda n: tc.zeros(n, n),
    "ones": lambda n: tc.ones((n, 3)),
    "full": lambda n: tc.full((n,), n),
    "arange": lambda n: tc.arange(n),
    "rand": lambda n: tc.rand(n),
    "randint": lambda n: tc.randint(0, n, (n,)),
    "randperm": lambda n: tc.randperm(n),
    "manual_seed": lambda n: (tc.manual_seed(n), tc.rand(2))[1],
    "nn.Conv2d": lambda n: nn.Conv2d(n, n, n, n, n, n, groups=n)(tc.ones(1, 2, 4, 4)),
    "nn.Linear": lambda n: nn.Linear(n, n)(tc.ones(1, 2)),
    "conv1d": lambda n: F.conv1d(X[:, :, 0], WEIGHT[:, :, 0], stride=n, padding=n, dilation=n),
    "conv1d groups": lambda n: F.conv1d(tc.ones(1, 2, 4), tc.ones(2, 1, 2), groups=n),
    "conv_transpose2d": lambda n: F.conv_transpose2d(X, WEIGHT, None, n, n, 0, 1, n),
    "conv_transpose2d, the rest": lambda n: F.conv_transpose2d(
        tc.ones(1, 2, 4, 4), tc.ones(2, 1, 2, 2), None, 3, 0, n, groups=n
    ),
    "conv_transpose1d": lambda n: F.conv_transpose1d(X[:, :, 0], WEIGHT[:, :, 0], None, n, n, 0, 1, n),
    "conv_transpose1d, the rest": lambda n: F.conv_transpose1d(
        tc.ones(1, 2, 4), tc.ones(2, 1, 2), None, 3, 0, n, groups=n
    ),
    "unfold": lambda n: F.unfold(X, n, n, n, n),
    "fold": lambda n: F.fold(tc.ones(1, 4, 4), (4, n), n, 1, (0, 1), n),
    "fold dilation and padding": lambda n: F.fold(tc.ones(1, 4, 36), 4, 2, n, n),
    "max_unpool1d": lambda n: F.max_unpool1d(X[0], PLACES[0], n, n),
    "max_unpool2d": lambda n: F.max_unpool2d(X, PLACES, n, n),
    "max_unpool2d output_size": lambda n: F.max_unpool2d(X[..., :1, :1], PLACES[..., :1, :1], 3, 3, 0, (n, n)),
    "max_unpool2d padding": lambda n: F.max_unpool2d(X, PLACES, 8, 8, n),
    "nn.MaxUnpool1d": lambda n: nn.MaxUnpool1d(n, n)(X[0], PLACES[0]),
    "nn.MaxUnpool2d": lambda n: nn.MaxUnpool2d(n, n)(X, PLACES),
    "max_pool1d": lambda n: F.max_pool1d(X[0], n, stride=n, dilation=n),
    "avg_pool1d": lambda n: F.avg_pool1d(X[0], 4, stride=n, padding=n),
    "lp_pool1d": lambda n: F.lp_pool1d(X[0], 2, n, stride=n),
    "lp_pool2d": lambda n: F.lp_pool2d(X, 2, n, stride=n),
    "adaptive_avg_pool1d": lambda n: F.adaptive_avg_pool1d(X[0], n),
    "adaptive_max_pool1d": lambda n: F.adaptive_max_pool1d(X[0], n),
    "nn.Conv1d": lambda n: nn.Conv1d(n, n, n, n, n, n, groups=n)(tc.ones(1, 2, 4)),
    "nn.ConvTranspose2d": lambda n: nn.ConvTranspose2d(n, n, n, 3, n, n, n, dilation=n)(tc.ones(1, 2, 4, 4)),
    "nn.ConvTranspose1d": lambda n: nn.ConvTranspose1d(n, n, n, 3, n, n, n, dilation=n)(tc.ones(1, 2, 4)),
    "nn.Unfold": lambda n: nn.Unfold(n, n, n, n)(X),
    "nn.Fold": lambda n: nn.Fold((4, n), n, 1, (0, 1), n)(tc.ones(1, 4, 4)),
    "nn.MaxPool1d": lambda n: nn.MaxPool1d(n, n)(X[0]),
    "nn.AvgPool1d": lambda n: nn.AvgPool1d(4, n, n)(X[0]),
    "nn.LPPool1d": lambda n: nn.LPPool1d(2, n, n)(X[0]),
    "nn.LPPool2d": lambda n: nn.LPPool2d(2, n, n)(X),
    "nn.AdaptiveAvgPool1d": lambda n: nn.AdaptiveAvgPool1d(n)(X[0]),
    "nn.AdaptiveMaxPool1d": lambda n: nn.AdaptiveMaxPool1d(n)(X[0]),
    "interpolate": lambda n: F.interpolate(X, n, mode="bilinear"),
    "interpolate, sizes": lambda n: F.interpolate(X, (n, n)),
    "affine_grid": lambda n: F.affine_grid(tc.ones(2, 2, 3), (n, n, n, n)),
    "pixel_shuffle": lambda n: F.pixel_shuffle(tc.ones(4, 2, 2), n),
    "pixel_unshuffle": lambda n: F.pixel_unshuffle(X, n),
    "channel_shuffle": lambda n: F.channel_shuffle(tc.ones(1, 4, 2), n),
    "nn.PixelShuffle": lambda n: nn.PixelShuffle(n)(tc.ones(4, 2, 2)),
    "nn.PixelUnshuffle": lambda n: nn.PixelUnshuffle(n)(X),
    "nn.ChannelShuffle": lambda n: nn.ChannelShuffle(n)(tc.ones(1, 4, 2)),
    "nn.ReflectionPad1d": lambda n: nn.ReflectionPad1d(n)(X),
    "nn.ReflectionPad2d": lambda n: nn.ReflectionPad2d((n, n, n, n))(X),
    "nn.ReplicationPad1d": lambda n: nn.ReplicationPad1d(n)(X),
    "nn.ReplicationPad2d": lambda n: nn.ReplicationPad2d((n, n, n, n))(X),
    "nn.CircularPad1d": lambda n: nn.CircularPad1d(n)(X),
    "nn.CircularPad2d": lambda n: nn.CircularPad2d((n, n, n, n))(X),
    "nn.ZeroPad1d": lambda n: nn.ZeroPad1d((n, n))(X),
    "nn.ZeroPad2d": lambda n: nn.ZeroPad2d((n, n, n, n))(X),
    "nn.MaxPool2d": lambda n: nn.MaxPool2d(n, n)(X),
    "nn.AvgPool2d": lambda n: nn.AvgPool2d(n, n)(X),
    "nn.AdaptiveAvgPool2d": lambda n: nn.AdaptiveAvgPool2d(n)(X),
    "nn.AdaptiveMaxPool2d": lambda n: nn.AdaptiveMaxPool2d((n, n))(X),
    "nn.BatchNorm2d": lambda n: nn.BatchNorm2d(n)(tc.ones(2, 2, 3, 3)),
    "nn.BatchNorm1d": lambda n: nn.BatchNorm1d(n)(tc.ones(2, 2)),
    "nn.LayerNorm": lambda n: nn.LayerNorm(n)(tc.ones(3, 2)),
    "nn.Flatten": lambda n: nn.Flatten(n)(X),
    "nn.Softmax": lambda n: nn.Softmax(n)(X),
    "nn.CrossEntropyLoss": lambda n: nn.CrossEntropyLoss(ignore_index=n)(ROWS, LABELS),
    "nn.NLLLoss": lambda n: nn.NLLLoss(ignore_index=n)(ROWS, LABELS),
    "dirac_": lambda n: nn.init.dirac_(tc.zeros(2, 1, 3), groups=n),
    "StepLR": lambda n: scheduled(SCHEDULES.StepLR, n),
    "MultiStepLR": lambda n: scheduled(SCHEDULES.MultiStepLR, [n]),
    "LinearLR": lambda n: scheduled(SCHEDULES.LinearLR, total_iters=n),
    "CosineAnnealingLR": lambda n: scheduled(SCHEDULES.CosineAnnealingLR, n),
    "OneCycleLR": lambda n: scheduled(SCHEDULES.OneCycleLR, 0.1, epochs=n, steps_per_epoch=n),
    "ConstantLR": lambda n: scheduled(SCHEDULES.ConstantLR, total_iters=n),
    "PolynomialLR": lambda n: scheduled(SCHEDULES.PolynomialLR, n),
    "CosineAnnealingWarmRestarts": lambda n: scheduled(SCHEDULES.CosineAnnealingWarmRestarts, n, n),
    "CyclicLR": lambda n: scheduled(SCHEDULES.CyclicLR, 0.1, 0.2, n, n),
    "ReduceLROnPlateau": lambda n: scheduled_by_loss(patience=n, cooldown=n),
    "DataLoader": lambda n: next(iter(loader(batch_size=n, seed=n, shuffle=True)))[0],
    "DataLoader.set_epoch": lambda n: (one := loader(), one.set_epoch(n, n), one.next()[0])[2],
    "set_num_threads": lambda n: threaded(n),
    "zeros_like": lambda n: tc.full_like(tc.zeros(2, dtype=tc.int64), n),
    "synthetic_digits": lambda n: tc.tensor(tc.data.synthetic_digits(n, seed=n).images / 1).float(),
    "models.MLP": lambda n: tc.models.MLP(n, n, n)(tc.ones(1, 2)),
    "RandomShift": lambda n: moved(tc.data.RandomShift(n, fill=n)),
    "RandomCrop": lambda n: moved(tc.data.RandomCrop(n, size=n)),
    "Cutout": lambda n: moved(tc.data.Cutout(n, fill=n)),
}  # fmt: skip


def threaded(n):
    before = tc.get_num_threads()
    tc.set_num_threads(n)
    found = tc.get_num_threads()
    tc.set_num_threads(before)
    assert type(found) is int
    return tc.tensor(found)


def running(norm):
    norm(X)
    return norm.running_mean


def loader(**options):
    images = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
    return tc.data.DataLoader((images, np.arange(6)), **options)


def moved(augment):
    json.dumps(vars(augment))
    return tc.tensor(augment(np.ones((2, 1, 4, 4), np.float32), np.random.default_rng(0)))


def compare(call, given, plain):
    results = []
    for value in (given, plain):
        tc.manual_seed(0)
        results.append(call(value))
    found, expected = results
    assert found.dtype == expected.dtype
    assert found.dtype in (FLOAT32, np.int64)
    assert found.shape == expected.shape
    assert type(found.shape[0] if found.shape else 0) is int
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", REALS)
def test_options(option, kind):
    if option == "tensor of a list" and "longdouble" in kind:
        return  # NumPy makes an array of it, of a dtype that tensors do not have
    compare(REALS[option], KINDS[kind](0.5), 0.5)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("option", SIZES)
def test_sizes(option, kind):
    compare(SIZES[option], INTEGERS[kind](2), 2)


NONE_IS_USUAL = {
    "var correction", "nn.AvgPool2d", "nn.BatchNorm2d momentum", "rms_norm eps", "nn.RMSNorm", "embedding max_norm",
    "nn.Embedding max_norm",
}  # fmt: skip


@pytest.mark.parametrize("value", ["0.5", None, 1j, [0.5], np.ones(2), {}])
@pytest.mark.parametrize("option", REALS)
def test_options_that_are_no_numbers(option, value):
    if option in ("tensor", "tensor of a list") or (
        value is None and option in ("divisor_override", "std correction", "pad value")
    ):
        return  # data, and None for "as usual"
    if value is None and option in NONE_IS_USUAL:
        return
    if value is None and option == "nn.BatchNorm2d running":
        return
    if isinstance(value, list) and option == "OneCycleLR":
        return  # a rate for each group
    with pytest.raises(tc.TinyconvError, match=r"expected|one number"):
        REALS[option](value)


@pytest.mark.parametrize("value", ["2", 2.0, 2.5, float("nan"), float("inf"), 1j, {}, Fraction(2), np.float32(2)])
@pytest.mark.parametrize("option", SIZES)
def test_sizes_that_are_no_integers(option, value):
    if option in ("arange", "full", "index", "norm", "zeros_like", "set_num_threads"):
        return  # arange counts to 2.5 too; the value of full may be any number; an index raises IndexError
    with pytest.raises(tc.TinyconvError, match=r"expected|integer|must be"):
        SIZES[option](value)


@pytest.mark.parametrize("value", [-1, -7])
@pytest.mark.parametrize(
    "option",
    [
        "conv2d", "conv2d groups", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "zeros", "ones", "rand", "full",
        "randperm", "manual_seed", "split", "chunk", "nn.Conv2d", "nn.Linear", "nn.MaxPool2d", "nn.AvgPool2d",
        "nn.BatchNorm2d", "nn.LayerNorm", "StepLR", "MultiStepLR", "LinearLR", "CosineAnnealingLR", "OneCycleLR",
        "DataLoader", "DataLoader.set_epoch", "RandomShift", "RandomCrop", "Cutout", "randint",
    ],
)  # fmt: skip
def test_sizes_below_0(option, value):
    with pytest.raises(tc.TinyconvError, match=str(value)):
        SIZES[option](value)


def test_a_tensor_whose_gradient_would_be_lost_is_no_option():
    with pytest.raises(tc.OptionError, match="leaky_relu: negative_slope: expected a number, got tensor"):
        F.leaky_relu(X, tc.tensor(0.1, requires_grad=True))


def test_a_rate_that_somebody_wrote_is_saved_as_a_python_number():
    w = tc.ones(3, requires_grad=True)
    rule = tc.optim.SGD([w], lr=0.1)
    for rate in (np.float32(0.5), np.array(0.5), Fraction(1, 2)):
        rule.param_groups[0]["lr"] = rate
        w.grad = tc.ones(3)
        rule.step()
        assert w.dtype == FLOAT32
        assert json.dumps(rule.state_dict()["param_groups"][0]["lr"]) == "0.5"
        assert tc.optim.lr_scheduler.StepLR(tc.optim.SGD([{"params": [w], "initial_lr": rate}], 0.1), 2, last_epoch=0)


def test_the_options_of_layers_are_python_numbers():
    """They stand in reprs, and people put them into JSON."""
    half, two = np.array(0.5), np.int64(2)
    layers = [
        nn.Conv2d(two, two, two, two, two, two), nn.Linear(two, two), nn.MaxPool2d(two, two, two, two),
        nn.AvgPool2d(two, (two, two), divisor_override=half), nn.AdaptiveAvgPool2d((two, None)), nn.LeakyReLU(half),
        nn.BatchNorm2d(two, half, half), nn.LayerNorm((two, two), half), nn.Dropout(half), nn.Flatten(two, two),
        nn.Softmax(two), nn.CrossEntropyLoss(ignore_index=two, label_smoothing=half),
    ]  # fmt: skip
    for layer in layers:
        own = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
        json.dumps(own)
        assert "np." not in repr(layer)
        assert "array" not in repr(layer)


# --- nothing is forgotten -------------------------------------------------------------------------------------------


def takes_numbers(function):
    """The parameters of a function that are numbers, by their annotations."""
    kinds = ("int", "float", "Size", "Padding", "OutputSize", "Dim", "Int", "Float")
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if any(kind in str(parameter.annotation).replace("|", " ").replace("[", " ").split() for kind in kinds)
    ]


ROOMS = (
    *(f"functional.{file.stem}" for file in sorted(Path(functional.__file__).parent.glob("[a-z]*.py"))),
    "nn.activations", "nn.convolution", "nn.dropouts", "nn.embedding", "nn.init", "nn.layers", "nn.lazy", "nn.losses",
    "nn.norms", "nn.padding", "nn.pooling", "nn.vision", "nn.windows",
    "optim.sgd", "optim.adam", "optim.adam_kin", "optim.adagrad", "optim.muon", "optim.rmsprop", "optim.clip",
    *(f"optim.lr_scheduler.{file.stem}" for file in sorted(Path(SCHEDULES.__file__).parent.glob("[a-z]*.py"))),
    "tensor.arranging",
    "tensor.creation", "tensor.joins", "tensor.picking", "tensor.pointwise", "tensor.products", "tensor.rearranging",
    "tensor.reductions", "tensor.sorting", "data.augment", "data.loader",
)  # fmt: skip
INDIRECT = {  # what takes its numbers through others that are tried
    "constant", "dirac", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse", "uniform",
    "xavier_normal", "xavier_uniform",
    "batch_of", "conv_padding", "LRScheduler", "calculate_gain", "LogSoftmax", "amin", "min", "argmin", "mean", "all",
    "any", "grid", "allclose", "nanmean", "aminmax", "std_mean",
    "var_mean", "Move", "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam",
    "muon", "orthogonalized",
    "SequentialLR", "LambdaLR", "MultiplicativeLR", "momenta", "augment_for_batch", "move_running",
}  # fmt: skip


def own(room):
    """The public functions and classes of a file."""
    module = import_module(f"tinyconv.{room}")
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_") and callable(value):
            yield name, value


@pytest.mark.parametrize("room", ROOMS)
def test_every_function_that_takes_a_number_is_tried(room):
    source = inspect.getsource(inspect.getmodule(test_options))
    listed = source[source.index("IN_PLACE = {") : source.index("def threaded")]
    for name, value in own(room):
        made = value.__init__ if isinstance(value, type) else value
        if takes_numbers(made) and name not in INDIRECT:
            assert re.search(rf"\b{name}\b", listed), f"{room}.{name} takes {takes_numbers(made)}, and is not tried"


def test_what_takes_numbers_is_seen():
    assert takes_numbers(F.leaky_relu) == ["negative_slope"]
    assert takes_numbers(F.conv2d) == ["stride", "padding", "dilation", "groups"]
    assert takes_numbers(nn.Dropout.__init__) == ["p"]
    assert takes_numbers(F.relu) == []
    assert {name for room in ROOMS for name, _ in own(room)} >= INDIRECT
