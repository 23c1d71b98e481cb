"""Pooling against torch: windows over the edge, ties, NaN, and windows of nothing but -inf."""

import numpy as np
import pytest
import torch
from geometry import pool_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import arrays, check, dtypes

import tinyconv as tc
from tinyconv import functional as F

REF = torch.nn.functional


@pytest.mark.parametrize("variant", tc.variants.available("max_pool2d"))
@settings(max_examples=200)
@given(case=pool_cases(("normal", "ties", "special"), dilated=True), return_indices=st.booleans())
def test_max_pool2d(variant, case, return_indices):
    x, geometry = case
    with tc.using(max_pool2d=variant):
        check(
            lambda x: F.max_pool2d(x, **geometry, return_indices=return_indices),
            lambda x: REF.max_pool2d(x, **geometry, return_indices=return_indices),
            [x],
            magnitude=1,  # where windows overlap, gradients add up
        )


@pytest.mark.parametrize("fill", [1.0, -np.inf, np.nan])
def test_max_pool2d_of_equal_elements(fill):
    x = np.full((1, 1, 5, 5), fill)
    check(
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda x: REF.max_pool2d(x, 3, 2, 1, return_indices=True),
        [x],
        magnitude=1,
    )


@settings(max_examples=200)
@given(pool_cases(("normal", "ties"), dilated=False), st.booleans(), st.none() | st.integers(1, 5))
def test_avg_pool2d(case, count_include_pad, divisor_override):
    x, geometry = case
    geometry |= {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    check(lambda x: F.avg_pool2d(x, **geometry), lambda x: REF.avg_pool2d(x, **geometry), [x], magnitude="terms")


@st.composite
def adaptive_cases(draw, kinds):
    shape = [draw(st.integers(low, high)) for low, high in ((0, 2), (1, 2), (1, 7), (1, 7))]
    size = st.integers(1, 8)
    return draw(arrays(shape, draw(dtypes), kinds)), draw(size | st.tuples(size, size) | st.tuples(st.none(), size))


@settings(max_examples=100)
@given(adaptive_cases(("normal", "ties")))
def test_adaptive_avg_pool2d(case):
    x, size = case
    check(lambda x: F.adaptive_avg_pool2d(x, size), lambda x: REF.adaptive_avg_pool2d(x, size), [x], magnitude="terms")


@settings(max_examples=100)
@given(adaptive_cases(("normal", "ties", "infinite")), st.booleans())
def test_adaptive_max_pool2d(case, return_indices):
    x, size = case
    check(
        lambda x: F.adaptive_max_pool2d(x, size, return_indices=return_indices),
        lambda x: REF.adaptive_max_pool2d(x, size, return_indices=return_indices),
        [x],
        magnitude=1,
    )


def test_adaptive_max_pool2d_of_nan():
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 5))
    x[0, 0, 2, 2] = np.nan  # one in a cell: of several torch takes the last, we the first
    check(
        lambda x: F.adaptive_max_pool2d(x, 3, return_indices=True),
        lambda x: REF.adaptive_max_pool2d(x, 3, return_indices=True),
        [x],
        magnitude=1,
    )


def test_a_window_with_nothing_in_it_is_refused():
    with pytest.raises(tc.ShapeError, match="make a window that touches no element of the 1x1 input"):
        F.max_pool2d(tc.ones(1, 1, 1, 1), 2, padding=1, dilation=2)
