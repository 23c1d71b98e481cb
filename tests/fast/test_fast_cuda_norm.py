"""Batch normalisation in CUDA against the readable op, on the stand-in."""

from itertools import product

import numpy as np
import pytest
from cuda_pairs import LAYOUTS, asked, closely, compare_pairs, cotangent, on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw, compare
from standin import counted, cupy

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import ops
from tinyconv.check.reference import largest
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import norm

ALL = (True, True, True, False, False)
X_ALONE = (True, False, False, False, False)


def question(shape, affine=True, fixed=False, dtype=np.float64, offset=0.0):
    """What BatchNorm takes, and a gradient."""
    rng = np.random.default_rng(0)
    c = shape[1]
    arrays = [rng.standard_normal(shape) * 3 + offset]
    arrays += [rng.standard_normal(c) for _ in range(2)] if affine else [None, None]
    arrays += [rng.standard_normal(c), rng.random(c) + 0.5] if fixed else [None, None]
    arrays = [None if array is None else array.astype(dtype) for array in arrays]
    return arrays, cotangent(ops.BatchNorm, arrays, {"eps": 1e-5})


def agree(arrays, dy, judge=closely, **options):
    assert norm.applies(*arrays, eps=1e-5)
    compare_pairs(norm.BatchNorm, ops.BatchNorm, arrays, dy, judge, **{"needs": ALL, "eps": 1e-5} | options)


@settings(max_examples=150)
@given(data=st.data())
def test_every_geometry(data):
    case = draw_case("batch_norm", HypothesisDraw(data.draw))
    arrays, geometry = asked(ops.BatchNorm, case)
    assert norm.applies(*arrays, **geometry) == (arrays[0].size > 0)
    if not arrays[0].size:
        return
    dy = cotangent(ops.BatchNorm, arrays, geometry)
    magnitude = case.magnitude * max(1, *(largest(array) for array in (*arrays, dy) if array is not None))

    def close(i, found, expected):
        compare(f"result {i}", found, expected, magnitude)

    needs = (*(array is not None and data.draw(st.booleans()) for array in arrays[:3]), False, False)
    layout = data.draw(st.sampled_from(LAYOUTS))
    agree(arrays, dy, close, needs=needs, layout=layout, **geometry)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("affine", "fixed"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize(
    ("shape", "part", "blocks"),
    [
        ((2, 1, 1, 1), norm.PART, norm.BLOCKS),
        ((5, 3, 4, 7), norm.PART, norm.BLOCKS),
        ((5, 3, 4, 7), 64, 9),
        ((2, 4, 300), 64, 9),
        ((9, 2, 11, 9), 64, norm.BLOCKS),
        ((300, 1), 1, norm.BLOCKS),
        ((23, 2, 11, 9), norm.PART, norm.BLOCKS),
        ((3, 2, 16, 16), norm.PART, norm.BLOCKS),
        ((600, 2), norm.PART, norm.BLOCKS),
    ],
)
def test_parts(monkeypatch, part, blocks, shape, affine, fixed, dtype):
    """One part a channel, some, and as many as can be, of a step or several; the last may be shorter."""
    monkeypatch.setattr(norm, "PART", part)
    monkeypatch.setattr(norm, "BLOCKS", blocks)
    needs = ALL if affine else X_ALONE
    agree(*question(shape, affine, fixed, dtype), needs=needs)


@pytest.mark.parametrize(("part", "blocks"), [(1024, 1024), (64, 9), (1, 1024)])
@pytest.mark.parametrize("shape", [(2, 1), (512, 32, 32, 32), (512, 256, 8, 8), (3, 2, 700, 1), (7, 70_000), (301, 3)])
def test_every_number_is_in_one_part(monkeypatch, shape, part, blocks):
    monkeypatch.setattr(norm, "PART", part)
    monkeypatch.setattr(norm, "BLOCKS", blocks)
    cut = norm.cut(shape)
    assert cut["numbers"] == np.prod(shape) // shape[1]
    assert 1 <= cut["parts"] <= norm.THREADS
    assert (cut["parts"] - 1) * cut["part"] < cut["numbers"] <= cut["parts"] * cut["part"]


def test_a_few_channels_of_many_numbers_fill_a_gpu():
    assert norm.cut((512, 32, 32, 32))["parts"] == 32
    assert norm.cut((128, 6, 1, 1))["parts"] == 1


@pytest.mark.parametrize("part", [64, norm.PART])
def test_a_large_mean_costs_the_variance_nothing(monkeypatch, part):
    """Sums of squares would lose all of it in float32 here."""
    monkeypatch.setattr(norm, "PART", part)
    (x, *rest), _ = question((7, 2, 13, 11), affine=False, dtype=np.float32, offset=3e4)
    (_, mean, var), _ = norm.BatchNorm.forward(cupy, on_device(x), *rest, eps=0.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(cupy.asnumpy(mean), exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(cupy.asnumpy(var), exact.var((0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("needs", [(*some, False, False) for some in product([False, True], repeat=3)])
@pytest.mark.parametrize("fixed", [False, True])
def test_what_is_needed(needs, fixed):
    """Two kernels each way; to evaluate one, and one back where no sum is needed."""
    forward = 1 if fixed else 2
    backward = 1 if fixed and needs[1:3] == (False, False) else 2
    agree(*question((3, 2, 5, 4), fixed=fixed), needs=needs, launches=forward + 2 * backward)


def test_weight_and_bias_each_alone():
    for missing in (1, 2):
        arrays, dy = question((3, 2, 5, 4))
        arrays[missing] = None
        agree(arrays, dy, needs=tuple(need and i != missing for i, need in enumerate(ALL)))


def test_the_statistics_given_come_back_as_arrays_of_their_own():
    arrays, _ = question((3, 2, 5, 4), fixed=True)
    given = [on_device(array) for array in arrays]
    (_, mean, var), _ = norm.BatchNorm.forward(cupy, *given, eps=1e-5)
    for found, array in ((mean, given[3]), (var, given[4])):
        np.testing.assert_array_equal(cupy.asnumpy(found), cupy.asnumpy(array))
        assert not cupy.may_share_memory(found, array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum", [0.1, 0, 1.0])
def test_running_statistics_move_as_without(momentum, dtype):
    """As two steps of functional.batch_norm leave them on the host, to rounding; in one launch each."""
    x = np.random.default_rng(0).standard_normal((2, 300, 3)).astype(dtype) + 2
    expected = [tc.zeros(300, dtype=x.dtype), tc.ones(300, dtype=x.dtype)]
    found = [on_device(array.numpy()) for array in expected]
    _, mean, var = tc.apply(ops.BatchNorm, tc.tensor(x), None, None, None, None, eps=1e-5)
    arrays = (*found, on_device(mean.array), on_device(var.array))
    assert norm.MoveStatistics.applies(*arrays)
    with counted() as count:
        for _ in range(2):
            F.batch_norm(tc.tensor(x), *expected, training=True, momentum=momentum)
            norm.KERNELS["running_statistics"](cupy, *arrays, momentum, 6 / 5)
    assert count.launches == 2
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(cupy.asnumpy(a), b.numpy(), rtol=1e-6 if dtype == np.float32 else 1e-14)


def test_running_statistics_that_a_kernel_cannot_write_to():
    plain, half = np.zeros(3), np.zeros(3, np.float16)
    assert norm.MoveStatistics.applies(*[plain] * 4)
    for others in ([np.zeros(6)[::2], plain], [half, plain], [half, half]):
        assert not norm.MoveStatistics.applies(*others, *others)


def test_halves_are_left_to_the_op():
    assert not norm.applies(np.zeros((2, 3), np.float16), None, None, None, None, eps=1e-5)
