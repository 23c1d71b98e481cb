"""Losses against torch: weights, ignored targets, smoothing, probabilities, every reduction."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import arrays, check, dtypes, shapes

from tinyconv import functional as F

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
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    check(
        with_options(F.cross_entropy, **options),
        with_options(REF.cross_entropy, **options),
        inputs,
        needs=data.draw(st.sampled_from([[0], [1], [0, 1]])),
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
