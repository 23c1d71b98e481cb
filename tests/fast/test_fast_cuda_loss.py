"""Cross-entropy in CUDA against the readable op, on the stand-in."""

import numpy as np
import pytest
from cuda_pairs import LAYOUTS, asked, closely, compare_pairs, cotangent
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw, compare

from tinyconv import ops
from tinyconv.check.reference import largest
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import loss

USUAL = {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}
NEEDS = (True, False, False)


def agree(arrays, judge=closely, layout="contiguous", launches=None, **options):
    options = USUAL | options
    dy = cotangent(ops.CrossEntropy, arrays, options)
    assert loss.applies(*arrays, **options)
    compare_pairs(
        loss.CrossEntropy, ops.CrossEntropy, arrays, dy, judge, NEEDS, layout=layout, launches=launches, **options
    )


def question(shape, dtype=np.float64, weighted=False, scale=3):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * scale).astype(dtype)
    target = rng.integers(0, shape[1], shape[:1] + shape[2:])
    return [x, target, (rng.random(shape[1]) + 0.1).astype(dtype) if weighted else None]


@settings(max_examples=200)
@given(data=st.data())
def test_every_option(data):
    case = draw_case("cross_entropy", HypothesisDraw(data.draw))
    found = asked(ops.CrossEntropy, case)
    assume(found is not None)  # class probabilities are another op's
    arrays, options = found
    assert loss.applies(*arrays, **options) == (arrays[0].size > 0)
    if not arrays[0].size:
        return
    magnitude = case.magnitude * max(1, largest(arrays[0]))

    def close(i, found, expected):
        compare(f"result {i}", found, expected, magnitude)

    agree(arrays, close, layout=data.draw(st.sampled_from(LAYOUTS)), **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(600, 10), (70, 100), (3, 300), (1, 64), (3, 5, 17, 11), (2, 70, 3)])
def test_sizes(shape, smoothing, weighted, reduction, dtype):
    """Several blocks of examples; classes shared out to several threads; positions beside the batch."""
    arrays = question(shape, dtype, weighted)
    arrays[1].flat[:: max(2, arrays[1].size // 3)] = -100
    agree(arrays, reduction=reduction, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("n", "reduction", "launches"),
    [(256, "mean", 3), (257, "mean", 4), (257, "sum", 4), (257, "none", 3)],
)
def test_kernels(n, reduction, launches):
    """One forward and two backward; and one that sums over blocks, where there are several."""
    agree(question((n, 10), np.float32), reduction=reduction, launches=launches)


@pytest.mark.parametrize("shape", [(3, 10), (3, 100)])
def test_large_logits(shape):
    """Neither does e^x overflow, nor is what distinguishes large logits rounded away."""
    for dtype in (np.float32, np.float64):
        agree(question(shape, dtype, scale=1e4))
        x, target, _ = question(shape, dtype)
        agree([np.asarray(1e6 + x.round(), dtype), target, None], reduction="none")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_that_are_none(weighted, reduction):
    """On a GPU nobody looks at the range of targets; then none is picked, and no memory read that is another's."""
    arrays = question((6, 4), weighted=weighted)
    arrays[1][:] = [0, 4, -1, 2**40, 3, -(2**40)]
    agree(arrays, reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_but_ignored_examples(reduction):
    """The mean is NaN, and its gradient 0."""
    arrays = question((300, 4))
    arrays[1][:] = 2
    agree(arrays, reduction=reduction, ignore_index=2)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("classes", [5, 100])
def test_infinities_and_nan(value, classes):
    for where in (0, 1, slice(None)):  # the right class, another, and all
        arrays = question((4, classes))
        arrays[0][1, where] = value
        arrays[1][1] = 0
        for smoothing in (0.0, 0.2):
            agree(arrays, label_smoothing=smoothing, reduction="none")


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_targets_of_other_integers(dtype):
    x, target, _ = question((5, 7))
    agree([x, target.astype(dtype), None])


def test_halves_are_left_to_the_op():
    assert not loss.applies(np.zeros((2, 3), np.float16), np.zeros(2, int), None, **USUAL)
