"""linear and matmul against torch."""

import pytest
import torch
from geometry import linear_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import arrays, check, dtypes, shapes

import tinyconv as tc
from tinyconv import functional as F


@pytest.mark.parametrize("variant", tc.variants.available("linear"))
@settings(max_examples=100)
@given(case=linear_cases())
def test_linear(variant, case):
    inputs, needs = case
    with tc.using(linear=variant):
        check(F.linear, torch.nn.functional.linear, inputs, needs=needs, magnitude="terms")


@st.composite
def products(draw):
    """The shapes of two operands of @: vectors, matrices, and batches of matrices that broadcast."""
    i, j, k = (draw(st.integers(0, 4)) for _ in "ijk")
    batch = draw(shapes(max_dims=2, max_side=3))
    leads = [
        tuple(draw(st.sampled_from([1, n])) for n in batch[draw(st.integers(0, len(batch))) :]) for _ in ("a", "b")
    ]
    a = draw(st.sampled_from([(k,), (*leads[0], i, k)]))
    b = draw(st.sampled_from([(k,), (*leads[1], k, j)]))
    return a, b


@settings(max_examples=150)
@given(products(), dtypes, st.data())
def test_matmul(shapes_of_both, dtype, data):
    inputs = [data.draw(arrays(shape, dtype)) for shape in shapes_of_both]
    needs = data.draw(st.sampled_from([[0, 1], [0], [1]]))
    check(lambda a, b: a @ b, lambda a, b: a @ b, inputs, needs=needs, magnitude="terms")
