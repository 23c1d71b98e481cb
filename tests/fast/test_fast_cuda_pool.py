"""Pooling and ReLU in CUDA against the readable ops, on the stand-in: equal to the bit, but for the adaptive mean."""

from types import SimpleNamespace

import numpy as np
import pytest
from cuda_pairs import LAYOUTS, SPECIAL, asked, compare_pairs, cotangent, exactly
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw, compare

from tinyconv import ops
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import pool, relu

POOLS = {
    "max_pool2d": (ops.MaxPool2d, pool.MaxPool2d, pool.max_applies),
    "relu_max_pool2d": (ops.ReluMaxPool2d, pool.ReluMaxPool2d, pool.relu_max_applies),
    "avg_pool2d": (ops.AvgPool2d, pool.AvgPool2d, pool.avg_applies),
    "adaptive_avg_pool2d": (ops.AdaptiveAvgPool2d, pool.AdaptiveAvgPool2d, pool.adaptive_applies),
    "adaptive_max_pool2d": (ops.AdaptiveMaxPool2d, pool.AdaptiveMaxPool2d, pool.adaptive_applies),
}
PLAIN = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


@pytest.mark.parametrize("name", POOLS)
@settings(max_examples=100)
@given(data=st.data())
def test_every_geometry(name, data):
    op, pair, applies = POOLS[name]
    (x,), geometry = asked(op, draw_case(name, HypothesisDraw(data.draw)))
    assert applies(x, **geometry) == (x.size > 0)
    if not x.size:
        return
    dy = cotangent(op, (x,), geometry, special=data.draw(st.booleans()))

    def close(i, found, expected):
        """The readable mean is that of rows and then of columns."""
        compare(f"result {i}", found, expected, magnitude=np.abs(x[np.isfinite(x)]).max(initial=0))

    judge = close if op is ops.AdaptiveAvgPool2d else exactly
    compare_pairs(pair, op, (x,), dy, judge, layout=data.draw(st.sampled_from(LAYOUTS)), **geometry)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("values", [(0.0, -0.0, 1.0, -1.0), SPECIAL, (-np.inf,), (np.nan,)])
@pytest.mark.parametrize(
    "geometry",
    [{}, {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 1)}, {"dilation": (2, 3), "ceil_mode": True}],
)
def test_ties_infinities_and_nan_in_several_blocks(geometry, values, dtype):
    x = np.random.default_rng(1).choice(values, (3, 2, 11, 14)).astype(dtype)
    for name in ("max_pool2d", "relu_max_pool2d"):
        op, pair, _ = POOLS[name]
        for special in (False, True):
            dy = cotangent(op, (x,), PLAIN | geometry, special)
            compare_pairs(pair, op, (x,), dy, exactly, **PLAIN | geometry)


@pytest.mark.parametrize("name", POOLS)
def test_one_kernel_each_way(name):
    op, pair, _ = POOLS[name]
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    geometry = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": True}
    geometry |= {"dilation": (1, 1)} if "max" in name else {"count_include_pad": False, "divisor": None}
    geometry = {"out": (1, 1)} if "adaptive" in name else geometry
    dy = cotangent(op, (x,), geometry)

    def close(i, found, expected):
        compare(f"result {i}", found, expected, magnitude=4)

    compare_pairs(pair, op, (x,), dy, close, launches=3, **geometry)


@pytest.mark.parametrize("name", POOLS)
def test_the_rest_is_left_to_the_op(name):
    op, _, applies = POOLS[name]
    geometry = dict(PLAIN)
    if op is ops.AvgPool2d:
        geometry = {**PLAIN, "count_include_pad": True, "divisor": None}
        del geometry["dilation"]
    geometry = {"out": (2, 2)} if "adaptive" in name else geometry

    def outline(dtype, *shape):
        return SimpleNamespace(dtype=np.dtype(dtype), shape=shape, size=int(np.prod(shape)), ndim=len(shape))

    assert applies(outline("f", 8, 3, 32, 32), **geometry)
    for dtype, shape in (("e", (8, 3, 32, 32)), ("f", (0, 3, 32, 32)), ("d", (1 << 15, 33, 32, 32))):
        assert not applies(outline(dtype, *shape), **geometry)
    if op is ops.ReluMaxPool2d:
        wide = geometry | {"stride": (1, 1)}
        assert applies(outline("f", 1, 1, 20, 20), **wide | {"kernel": (15, 17)})
        assert not applies(outline("f", 1, 1, 20, 20), **wide | {"kernel": (16, 16)})


@pytest.mark.parametrize("values", [(0.0, -0.0, 1.0), SPECIAL, (-np.inf,), (np.nan,)])
@pytest.mark.parametrize("out", [(1, 1), (3, 5), (7, 4)])
def test_ties_infinities_and_nan_in_cells(out, values):
    x = np.random.default_rng(1).choice(values, (2, 3, 5, 6))
    dy = cotangent(ops.AdaptiveMaxPool2d, (x,), {"out": out}, special=True)
    compare_pairs(pool.AdaptiveMaxPool2d, ops.AdaptiveMaxPool2d, (x,), dy, exactly, out=out)


def test_more_cells_than_kernels_count_are_left_to_the_op():
    assert not pool.adaptive_applies(np.zeros((1, 1, 2, 2)), out=(1 << 15, (1 << 15) + 1))


def test_the_last_position_that_has_a_number_is_not_none():
    x = np.zeros((2, 1, 15, 17), np.float32)
    x[1, :, -1, -1] = 1
    geometry = PLAIN | {"kernel": (15, 17), "stride": (1, 1)}
    dy = cotangent(ops.ReluMaxPool2d, (x,), geometry)
    compare_pairs(pool.ReluMaxPool2d, ops.ReluMaxPool2d, (x,), dy, exactly, **geometry)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (7,), (5, 3, 9, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu(dtype, shape, layout):
    x = np.asarray(np.random.default_rng(1).choice(SPECIAL, shape), dtype)
    dy = cotangent(ops.Relu, (x,), {}, special=True)
    assert relu.applies(x)
    compare_pairs(relu.Relu, ops.Relu, (x,), dy, exactly, layout=layout)


def test_relu_takes_one_kernel_each_way():
    x = np.ones((5, 3), np.float32)
    compare_pairs(relu.Relu, ops.Relu, (x,), x, exactly, launches=3)
    assert not relu.applies(np.ones(3, np.float16))
    assert not relu.applies(np.ones((0, 3), np.float32))
