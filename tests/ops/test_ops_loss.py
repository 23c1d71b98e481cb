"""Losses against torch: weights, ignored targets, smoothing, probabilities, every reduction."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import message
from oracle import arrays, check, dtypes, shapes

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, ops

REF = torch.nn.functional
reductions = st.sampled_from(["mean", "sum", "none"])


@st.composite
def class_scores(draw):
    """Scores (C,), (N, C) or (N, C, ...), and the shape of their targets."""
    c = draw(st.integers(1, 4))
    rest = draw(st.lists(st.integers(1, 3), max_size=2))
    batch = draw(st.integers(0, 3))
    if draw(st.sampled_from([False, False, False, True]), label="one example"):
        shape, target_shape = (c,), ()
    else:
        shape, target_shape = (batch, c, *rest), (batch, *rest)
    return draw(arrays(shape, draw(dtypes))), c, target_shape


@st.composite
def class_targets(draw, c, shape, ignored):
    """Class indices, some of them (or all) ignored."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    target = np.asarray(rng.integers(0, c, shape))
    share = draw(st.sampled_from([0, 0.3, 1]), label="share of ignored targets")
    return np.where(rng.random(shape) < share, ignored, target)


@st.composite
def class_weights(draw, c, dtype):
    """None or one array. Weights that add up to 0 have a test of their own."""
    return draw(st.just([]) | arrays((c,), dtype).map(lambda w: [abs(w) + 0.1]), label="weight")


def with_options(function, **options):
    return lambda x, target, weight=None: function(x, target, weight, **options)


@settings(max_examples=250)
@given(class_scores(), st.sampled_from([-100, 1, 0]), reductions, st.sampled_from([0.0, 0.1, 1.0]), st.data())
def test_cross_entropy(scores, ignore_index, reduction, label_smoothing, data):
    x, c, shape = scores
    inputs = [x, data.draw(class_targets(c, shape, ignore_index)), *data.draw(class_weights(c, x.dtype))]
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    check(
        with_options(F.cross_entropy, **options),
        with_options(REF.cross_entropy, **options),
        inputs,
        needs=[0],
        magnitude=4,
    )


@settings(max_examples=100)
@given(class_scores(), st.sampled_from([-100, 1, 0]), reductions, st.data())
def test_nll_loss(scores, ignore_index, reduction, data):
    x, c, shape = scores
    inputs = [x, data.draw(class_targets(c, shape, ignore_index)), *data.draw(class_weights(c, x.dtype))]
    options = {"ignore_index": ignore_index, "reduction": reduction}
    check(with_options(F.nll_loss, **options), with_options(REF.nll_loss, **options), inputs, needs=[0], magnitude=4)


@settings(max_examples=150)
@given(class_scores(), reductions, st.sampled_from([0.0, 0.1]), st.data())
def test_cross_entropy_with_probabilities(scores, reduction, label_smoothing, data):
    x, c, _ = scores
    target = abs(data.draw(arrays(x.shape, x.dtype)))
    inputs = [x, target, *data.draw(class_weights(c, x.dtype))]
    everything = list(range(len(inputs)))
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    check(
        with_options(F.cross_entropy, **options),
        with_options(REF.cross_entropy, **options),
        inputs,
        needs=data.draw(st.sampled_from([[0], [1], [0, 1], everything[-1:], everything])),
        magnitude=8,
    )


@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0], [0.0, 0.0, 0.0]], ids=str)
@pytest.mark.parametrize("target", [[-100, -100], [0, -100], [0, 2]], ids=str)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_targets_that_do_not_count(loss, target, weight):
    """The mean over no example is NaN, yet no gradient reaches an example that was ignored."""
    x = np.random.default_rng(0).standard_normal((2, 3))
    inputs = [x, np.array(target)] + ([] if weight is None else [np.array(weight)])
    check(getattr(F, loss), getattr(REF, loss), inputs, needs=[0], magnitude=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_does_not_overflow(dtype):
    x = np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 1e4], [-np.inf, 0.0, 1.0]], dtype)
    check(F.cross_entropy, REF.cross_entropy, [x, np.array([2, 1, 1])], needs=[0], magnitude=1)


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss"])
@settings(max_examples=60)
@given(data=st.data())
def test_elementwise_loss(loss, data):
    shape, dtype, reduction = data.draw(shapes()), data.draw(dtypes), data.draw(reductions)
    check(
        lambda x, target: getattr(F, loss)(x, target, reduction),
        lambda x, target: getattr(REF, loss)(x, target, reduction=reduction),
        [data.draw(arrays(shape, dtype)) for _ in range(2)],
        needs=data.draw(st.sampled_from([[0], [1], [0, 1]])),
        magnitude=8,
    )


@pytest.mark.filterwarnings("ignore:.*target.*broadcast", "ignore:Using a target size")
@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_elementwise_loss_broadcasts(loss, reduction):
    rng = np.random.default_rng(0)
    check(
        lambda x, target: getattr(F, loss)(x, target, reduction),
        lambda x, target: getattr(REF, loss)(x, target, reduction=reduction),
        [rng.standard_normal((4, 1)), rng.standard_normal((3,))],
        magnitude=8,
    )


@settings(max_examples=100)
@given(st.data())
def test_binary_cross_entropy_with_logits(data):
    shape, dtype, reduction = data.draw(shapes(min_side=1)), data.draw(dtypes), data.draw(reductions)
    scale = data.draw(st.sampled_from([1, 100]))
    x = data.draw(arrays(shape, dtype)) * scale
    target = np.abs(np.tanh(data.draw(arrays(shape, dtype))))
    weights = [abs(data.draw(arrays(shape[-1:], dtype))) for _ in range(2)]
    given_weights = data.draw(st.sampled_from([(), ("weight",), ("pos_weight",), ("weight", "pos_weight")]))

    def loss(function):
        def run(x, target, *weights):
            return function(x, target, **dict(zip(given_weights, weights, strict=True)), reduction=reduction)

        return run

    check(
        loss(F.binary_cross_entropy_with_logits),
        loss(REF.binary_cross_entropy_with_logits),
        [x, target, *weights[: len(given_weights)]],
        needs=data.draw(st.sampled_from([[0], [1], [0, 1]])),
        magnitude=8 * scale,
    )


@pytest.mark.parametrize("what", ["weight", "pos_weight"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (2, 1), (2, 3)], ids=str)
def test_weights_that_broadcast(what, shape):
    rng = np.random.default_rng(0)
    x, target, weight = rng.standard_normal((2, 3)), rng.random((2, 3)), rng.random(shape)
    check(
        lambda x, target: F.binary_cross_entropy_with_logits(x, target, **{what: tc.from_numpy(weight)}),
        lambda x, target: REF.binary_cross_entropy_with_logits(x, target, **{what: torch.tensor(weight)}),
        [x, target],
        magnitude=8,
    )


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
    """No gradient is left out in silence."""
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
