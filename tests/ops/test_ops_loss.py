"""Targets that do not count, huge logits, and the errors and warnings of losses."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from messages import message
from oracle import FLOATS, assert_allclose, check

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, ops

REF = torch.nn.functional


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0], [0.0, 0.0, 0.0]], ids=str)
@pytest.mark.parametrize("target", [[-100, -100], [0, -100], [0, 2]], ids=str)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_targets_that_do_not_count(loss, target, weight):
    """The mean over no example is NaN, yet no gradient reaches an example that was ignored."""
    x = np.random.default_rng(0).standard_normal((2, 3))
    inputs = [x, np.array(target)] + ([] if weight is None else [np.array(weight)])
    check(getattr(F, loss), getattr(REF, loss), inputs, needs=[0], magnitude=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("how", ["readable", None, "captured"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_targets_that_do_not_count_where_scores_are_no_numbers(loss, how, reduction, value):
    """The loss does not see them; the gradient of softmax there is NaN, as in torch, in every way we compute it."""
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    target = np.array([0, -100, 2, -100, 1, 1, 0, 2, 1])
    x[1], x[3, 1] = value, value

    def gradient(library, functions):
        scores, classes = library.tensor(x, requires_grad=True), library.tensor(target)

        def step():
            scores.grad = None
            y = getattr(functions, loss)(scores, classes, reduction=reduction)
            y.sum().backward()
            return y.detach()

        if library is tc and how == "captured":
            step = tc.capture(step)
            step()
        with tc.using("readable") if library is tc and how == "readable" else nullcontext():
            return step(), scores.grad

    for ours, theirs in zip(gradient(tc, F), gradient(torch, REF), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_a_margin_that_is_kept_exactly_has_no_gradient(p):
    """In torch's multi_margin_loss; its other margins have one there."""
    check(
        lambda x: F.multi_margin_loss(x, tc.tensor([0, 1]), p),
        lambda x: REF.multi_margin_loss(x, torch.tensor([0, 1]), p),
        [np.array([[-2.0, 0.0], [1.0, 2.0]])],
        magnitude=1,
    )


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("variant", ["readable", None])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("ignored", [255, 3, 100, 0, 2, -100, -1])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_every_ignore_index_and_every_dtype_of_targets(loss, ignored, dtype, reduction, variant):
    """Also one that is a class, or that the dtype of the targets cannot hold; some, all or none are ignored."""
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    fits = np.iinfo(dtype).min <= ignored <= np.iinfo(dtype).max
    for target in [[2, ignored, 1, ignored, 0], [ignored] * 5, [2, 1, 1, 2, 1]] if fits else [[2, 1, 0, 2, 1]]:
        options = {"ignore_index": ignored, "reduction": reduction}

        def theirs(x, t, options=options):
            return getattr(REF, loss)(x, t.long(), **options)

        def ours(x, t, options=options):
            with tc.using(variant) if variant else nullcontext():
                return getattr(F, loss)(x, t, **options)

        check(ours, theirs, [x, np.array(target, dtype)], needs=[0], magnitude=1)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("ignored", [255, 3, -100])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.usefixtures("standin_cuda")
def test_every_dtype_of_targets_on_a_gpu(loss, ignored, dtype):
    """CuPy compares an array with no number that its dtype cannot hold."""
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    fits = np.iinfo(dtype).min <= ignored <= np.iinfo(dtype).max
    target = np.array([2, ignored if fits else 1, 0], dtype)
    expected = loss(tc.tensor(x), tc.tensor(target), ignore_index=ignored).item()
    for variant in ("readable", "cuda"):
        with tc.using(variant):
            found = loss(tc.tensor(x, device="cuda"), tc.tensor(target, device="cuda"), ignore_index=ignored)
        assert found.item() == pytest.approx(expected)


NO_CLASSES = [(-100, 3), (255, 3), (3, 4), (-100, 120), (100, 3), (3, -1), (100, -1)]


@pytest.mark.parametrize("variant", ["readable", None])
@pytest.mark.parametrize(
    ("dtype", "ignored", "label"),
    [(dtype, *pair) for dtype in INTEGERS for pair in NO_CLASSES if pair[1] >= np.iinfo(dtype).min],
)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_a_label_that_is_no_class_is_refused(loss, ignored, label, dtype, variant):
    with tc.using(variant) if variant else nullcontext():
        text = message(
            tc.ShapeError, loss, tc.zeros(3, 3), tc.tensor(np.array([0, label, 2], dtype)), ignore_index=ignored
        )
    assert f"targets must be class indices 0 to 2 (scores have 3 classes), got {label} (1 such)" in text


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_does_not_overflow(dtype):
    x = np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 1e4], [-np.inf, 0.0, 1.0]], dtype)
    check(F.cross_entropy, REF.cross_entropy, [x, np.array([2, 1, 1])], needs=[0], magnitude=1)


def test_a_target_that_weighs_nothing_adds_nothing():
    """0 ln 0 = 0, whatever the logit is."""
    x = tc.tensor([[-np.inf, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, tc.tensor([0, 1]), tc.tensor([0.0, 1.0]), reduction="none")
    np.testing.assert_allclose(loss.detach(), [0, np.log(2)])
    loss.backward(tc.ones(2))
    np.testing.assert_allclose(x.grad, [[0, 0], [0.5, -0.5]])


def test_the_smoothed_mean_over_targets_that_weigh_nothing():
    loss = F.cross_entropy(tc.zeros(1, 2), tc.tensor([0]), tc.tensor([0.0, 1.0]), label_smoothing=0.1)
    assert loss.item() == np.inf


def test_l1_loss_of_nan():
    x = tc.tensor([np.nan, 1.0], requires_grad=True)
    F.l1_loss(x, tc.zeros(2), reduction="sum").backward()
    np.testing.assert_array_equal(x.grad, [np.nan, 1])


@pytest.mark.parametrize("what", ["weight", "pos_weight"])
@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2,)], ids=str)
def test_weights_that_broadcast_the_logits(what, shape):
    x = tc.zeros(3, requires_grad=True)
    assert message(tc.ShapeError, F.binary_cross_entropy_with_logits, x, tc.zeros(3), **{what: tc.ones(shape)}) == (
        f"binary_cross_entropy_with_logits: {what} must broadcast to the shape of the logits, (3,), got {shape}"
    )


CONSTANTS = {
    ("cross_entropy", "weight"): lambda w: F.cross_entropy(tc.zeros(2, 3), tc.tensor([0, 1]), w),
    ("nll_loss", "weight"): lambda w: F.nll_loss(tc.zeros(2, 3), tc.tensor([0, 1]), w),
    ("binary_cross_entropy_with_logits", "weight"): lambda w: F.binary_cross_entropy_with_logits(
        tc.zeros(3), tc.zeros(3), w
    ),
    ("binary_cross_entropy_with_logits", "pos_weight"): lambda w: F.binary_cross_entropy_with_logits(
        tc.zeros(3), tc.zeros(3), pos_weight=w
    ),
    ("batch_norm", "running_mean"): lambda w: F.batch_norm(tc.zeros(2, 3), w, tc.ones(3)),
    ("batch_norm", "running_var"): lambda w: F.batch_norm(tc.zeros(2, 3), tc.ones(3), w, training=True),
}


@pytest.mark.parametrize(("name", "what"), CONSTANTS)
def test_a_constant_that_requires_grad(name, what):
    """It is refused, because it would get no gradient."""
    function, weight = CONSTANTS[name, what], tc.ones(3, requires_grad=True)
    assert message(tc.GraphError, function, weight) == (
        f"{name}: {what} is a constant here and has no gradient; use {what}.detach()"
    )
    function(weight.detach())
    with tc.no_grad():
        function(weight)


@pytest.mark.parametrize(
    ("op", "inputs", "geometry", "expected"),
    [
        (ops.CrossEntropy, ([3, 1], None), {"ignore_index": -100, "label_smoothing": 0.0}, "class indices 0 to 2"),
        (ops.CrossEntropy, ([[0, 1]], None), {"ignore_index": -100, "label_smoothing": 0.0}, "targets must be"),
        (ops.NllLoss, ([0, -1], None), {"ignore_index": -100}, "class indices 0 to 2"),
        (ops.SoftCrossEntropy, (np.ones((2, 3), np.float32), np.ones(2, np.float32)), {}, "one number a class"),
        (ops.MseLoss, (np.ones((2, 3)),), {}, "of one dtype"),
        (ops.L1Loss, (np.ones((2, 3), int),), {}, "of one dtype"),
    ],
)
def test_an_op_applied_by_hand_is_checked(op, inputs, geometry, expected):
    tensors = [None if value is None else tc.tensor(value) for value in inputs]
    with pytest.raises((tc.ShapeError, tc.DtypeError), match=expected):
        tc.apply(op, tc.zeros(2, 3), *tensors, reduction="mean", **geometry)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss()], ids=["function", "module"])
def test_a_softmax_is_warned_of_where_the_loss_is_called(loss):
    with pytest.warns(UserWarning, match="comes out of softmax") as caught:
        loss(tc.zeros(2, 3, requires_grad=True).softmax(1), tc.tensor([0, 1]))
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize("loss", [F.mse_loss, nn.MSELoss()], ids=["function", "module"])
def test_a_broadcast_is_warned_of_where_the_loss_is_called(loss):
    with pytest.warns(UserWarning, match="broadcast") as caught:
        loss(tc.zeros(4, 1), tc.zeros(4))
    assert [w.filename for w in caught] == [__file__]
