"""Convolutions in CUDA against the readable ops, on the stand-in: all geometries, both tiles, sums in parts too."""

from unittest import mock

import numpy as np
import pytest
from cuda_pairs import LAYOUTS, SPECIAL, asked, closely, compare_pairs, cotangent, exactly
from cuda_products import normal, outlines, some_needs, terms, tiles
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw

from tinyconv import ops
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import conv, product

PAIRS = {op.name: (op, pair, applies) for op, pair, applies in conv.PAIRS}
PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=100)
@given(data=st.data())
def test_every_geometry(name, wide, data):
    op, pair, applies = PAIRS[name]
    arrays, geometry = asked(op, draw_case(name, HypothesisDraw(data.draw)))
    if not applies(*arrays, **geometry):
        assert "pool" in geometry  # other windows than 2x2 are left to a kernel that takes no empty batch
        assert len(arrays[0]) == 0
        return
    needs = some_needs(data, arrays[2])
    dy = cotangent(op, arrays, geometry, special=data.draw(st.booleans()))
    layout = data.draw(st.sampled_from(LAYOUTS))
    judge = terms(op, arrays, dy, needs, geometry)
    with tiles(wide, part=data.draw(st.sampled_from([1, product.PART]))):
        compare_pairs(pair, op, arrays, dy, judge, needs, layout, **geometry)


@pytest.mark.slow
@pytest.mark.parametrize("part", [20, 1 << 20])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_tiles_and_steps(dtype, name, wide, part):
    """Rows, columns and sums of more than one tile and step, and of none a whole number of them."""
    op, pair, _ = PAIRS[name]
    arrays = normal((2, 19, 7, 8), (70, 19, 3, 2), (70,), dtype=dtype)
    geometry = PLAIN | {"padding": (1, 1)} | ({"pool": POOL} if "pool" in name else {})
    dy = cotangent(op, arrays, geometry)
    with tiles(wide, part):
        compare_pairs(pair, op, arrays, dy, closely, **geometry)


@pytest.mark.parametrize("wide", [False, True])
def test_groups_of_several_tiles(wide):
    arrays = normal((2, 36, 6, 7), (70, 18, 2, 3), (70,))
    geometry = PLAIN | {"groups": 2, "stride": (2, 1), "dilation": (1, 2), "padding": (1, 2)}
    dy = cotangent(ops.Conv2d, arrays, geometry)
    with tiles(wide, part=10):
        compare_pairs(conv.Conv2d, ops.Conv2d, arrays, dy, closely, **geometry)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("wide", "depth"), [(False, product.NARROW.depth), (True, product.WIDE.depth)])
@pytest.mark.parametrize(
    ("steps", "kernel", "geometry"),
    [
        ((1, 1), (3, 3), {"padding": (1, 1)}),
        ((2, 3), (2, 2), {}),
        ((3, 2), (1, 3), {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}),
        ((2, 1), (3, 2), {"groups": 2, "padding": (1, 1)}),
    ],
)
def test_channels_in_whole_steps(name, wide, depth, steps, kernel, geometry):
    """Channels and filters that are whole steps: terms go in another order, and only the rounding may tell."""
    op, pair, _ = PAIRS[name]
    geometry = PLAIN | geometry | ({"pool": POOL} if "pool" in name else {})
    channels, filters = (depth * count for count in steps)
    shapes = (2, channels * geometry["groups"], 6, 7), (filters * geometry["groups"], channels, *kernel)
    arrays = normal(*shapes, shapes[1][:1], dtype=np.float32)
    dy = cotangent(op, arrays, geometry)
    judge = terms(op, arrays, dy, (True, True, True), geometry)
    with tiles(wide, part=20):
        compare_pairs(pair, op, arrays, dy, judge, **geometry)


def test_what_a_pooling_leaves_over_takes_part_in_backward():
    """With a gradient of zero, and zero times infinity is NaN, as it is in the readable op."""
    x, weight = normal((1, 2, 3, 3), (2, 2, 3, 3), dtype=np.float32)
    x[0, 1, 2, 2] = np.inf
    arrays = x, weight, None
    geometry = PLAIN | {"padding": (1, 1), "pool": POOL}
    dy = cotangent(ops.Conv2dReluMaxPool2d, arrays, geometry)
    compare_pairs(
        conv.Conv2dReluMaxPool2d, ops.Conv2dReluMaxPool2d, arrays, dy, closely, (True, True, False), **geometry
    )


@pytest.mark.parametrize("values", [(0.0, -0.0, 1.0, -1.0), SPECIAL, (-np.inf,), (np.nan,)])
@pytest.mark.parametrize(
    "pool", [{}, {"ceil_mode": True}, {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 1)}, {"dilation": (2, 3)}]
)
def test_ties_infinities_and_nan_choose_the_same_elements(pool, values):
    """A kernel of one element that copies: what is pooled is what was drawn, and rounds nothing."""
    x = np.random.default_rng(1).choice(values, (3, 1, 7, 10)).astype(np.float32)
    arrays = x, np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    geometry = PLAIN | {"pool": POOL | pool}
    op = ops.Conv2dReluMaxPool2d
    for special in (False, True):
        dy = cotangent(op, arrays, geometry, special)
        compare_pairs(conv.Conv2dReluMaxPool2d, op, arrays, dy, exactly, (True, False, False), **geometry)


def test_a_bias_may_make_ties():
    """1 + 2^-30 and 1 differ, and are the same when 2^10 is added: of equal sums the first counts."""
    x = np.array([1, 1 + 2.0**-30, 0, 1 + 2.0**-29]).reshape(1, 1, 2, 2)
    arrays = x, np.ones((1, 1, 1, 1)), np.full(1, 2.0**25)
    geometry = PLAIN | {"pool": POOL}
    dy = np.ones((1, 1, 1, 1))
    compare_pairs(conv.Conv2dReluMaxPool2d, ops.Conv2dReluMaxPool2d, arrays, dy, exactly, **geometry)


@pytest.mark.parametrize(
    ("shape", "filters", "needs", "launches"),
    [
        ((8, 1, 28, 28), (6, 1, 5, 5), (False, True, True), (1, 2)),  # LeNet: no gradient of the images
        ((4, 6, 12, 12), (16, 6, 5, 5), (True, True, True), (1, 1)),
        ((16, 6, 12, 12), (16, 6, 5, 5), (True, True, True), (1, 2)),
    ],
)
def test_launches(shape, filters, needs, launches):
    """One forward; one back for all gradients, and one that adds the parts of dweight and dbias, if there are any."""
    op, arrays = ops.Conv2dReluMaxPool2d, normal(shape, filters, filters[:1], dtype=np.float32)
    geometry = PLAIN | {"pool": POOL}
    forward, backward = launches
    count = forward + 2 * backward
    compare_pairs(
        conv.Conv2dReluMaxPool2d,
        op,
        arrays,
        cotangent(op, arrays, geometry),
        closely,
        needs,
        launches=count,
        **geometry,
    )


@pytest.mark.parametrize("filters", [40, 48, 64])  # whole steps of neither tile, of the wide one, of both
def test_gradients_of_different_tiles_take_a_launch_each(filters):
    arrays = normal((4, 3, 8, 8), (filters, 3, 3, 3), (filters,))
    dy = cotangent(ops.Conv2d, arrays, PLAIN)
    reordered = product.NARROW.in_steps(filters)  # the tile of dx, which has three rows
    with mock.patch.object(product, "FEW", 0):
        compare_pairs(conv.Conv2d, ops.Conv2d, arrays, dy, closely, launches=1 + 2 * (2 + reordered), **PLAIN)


@pytest.mark.parametrize("name", PAIRS)
def test_the_rest_is_left_to_the_op(name):
    _, _, applies = PAIRS[name]
    geometry = PLAIN | ({"pool": POOL} if "pool" in name else {})

    def taken(dtype, *shapes):
        return applies(*outlines(dtype, *shapes), None, **geometry)

    assert taken("f", (8, 3, 32, 32), (6, 3, 5, 5))
    assert taken("d", (0, 3, 32, 32), (6, 3, 5, 5))
    assert not taken("e", (8, 3, 32, 32), (6, 3, 5, 5))
    assert not taken("f", (8, 0, 32, 32), (6, 0, 5, 5))
    assert not taken("f", (1 << 15, 33, 32, 32), (6, 33, 5, 5))  # x
    assert not taken("f", (1 << 15, 1, 32, 32), (64, 1, 5, 5))  # y


def test_a_pool_window_without_a_number_for_each_place_is_left_to_the_op():
    arrays = normal((1, 1, 20, 20), (1, 1, 1, 1), None)
    assert conv.applies_with_pool(*arrays, **PLAIN, pool=POOL | {"kernel": (15, 17)})
    assert not conv.applies_with_pool(*arrays, **PLAIN, pool=POOL | {"kernel": (16, 16)})


@settings(max_examples=300)
@given(st.integers(1, 1 << 30), st.integers(0, 1 << 31), st.integers(-1, 1))
def test_division_by_multiplication(by, about, off):
    """At the multiples of a divisor and beside them, where a quotient changes."""
    n = min(max(0, about // by * by + off), (1 << 31) - 1)
    by, multiplier, shift = conv.divisor(by)
    assert multiplier < 1 << 32
    assert n * multiplier >> 31 + shift == n // by
