"""Linear layers in CUDA against the readable ops, on the stand-in: both tiles, sums in parts too."""

import numpy as np
import pytest
from cuda_pairs import LAYOUTS, asked, closely, compare_pairs, cotangent
from cuda_products import normal, outlines, some_needs, terms, tiles
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw

from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import dense

PAIRS = {op.name: (op, pair, applies) for op, pair, applies in dense.PAIRS}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=100)
@given(data=st.data())
def test_every_shape(name, wide, data):
    op, pair, applies = PAIRS[name]
    arrays, _ = asked(op, draw_case(name, HypothesisDraw(data.draw)))
    assert applies(*arrays) == (arrays[1].size > 0)
    if not arrays[1].size:
        return
    needs = some_needs(data, arrays[2])
    dy = cotangent(op, arrays, {}, special=data.draw(st.booleans()))
    with tiles(wide):
        compare_pairs(
            pair, op, arrays, dy, terms(op, arrays, dy, needs, {}), needs, data.draw(st.sampled_from(LAYOUTS))
        )


@pytest.mark.parametrize("part", [20, 1 << 20])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_tiles_and_steps(dtype, name, wide, part):
    """Rows, columns and sums of more than one tile and step, and of none a whole number of them."""
    op, pair, _ = PAIRS[name]
    arrays = normal((5, 14, 90), (75, 90), (75,), dtype=dtype)
    with tiles(wide, part):
        compare_pairs(pair, op, arrays, cotangent(op, arrays, {}), closely)


@pytest.mark.parametrize(
    ("n", "features", "launches"), [(32, (256, 120), (1, 1)), (128, (84, 10), (1, 1)), (600, (84, 10), (1, 2))]
)
def test_launches(n, features, launches):
    """One forward; one back for all gradients, and of a large batch one that adds the parts of dweight and dbias."""
    op, pair, _ = PAIRS["linear_relu"]
    i, o = features
    arrays = normal((n, i), (o, i), (o,), dtype=np.float32)
    forward, backward = launches
    compare_pairs(pair, op, arrays, cotangent(op, arrays, {}), closely, launches=forward + 2 * backward)


@pytest.mark.parametrize("name", PAIRS)
def test_the_rest_is_left_to_the_op(name):
    _, _, applies = PAIRS[name]

    def taken(dtype, *shapes):
        return applies(*outlines(dtype, *shapes), None)

    assert taken("f", (8, 3, 5), (7, 5))
    assert taken("d", (5,), (7, 5))
    assert taken("d", (0, 5), (7, 5))
    assert not taken("e", (8, 5), (7, 5))
    assert not taken("f", (8, 0), (7, 0))
    assert not taken("f", (1 << 28, 5), (1, 5))  # x
    assert not taken("f", (1 << 20, 1), (1025, 1))  # y
