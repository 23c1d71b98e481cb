"""linear and matmul against torch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import arrays, check, dtypes, shapes

from tinyconv import functional as F


@settings(max_examples=100)
@given(st.data())
def test_linear(data):
    lead = data.draw(shapes(max_dims=3, max_side=3))
    i, o, dtype = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)), data.draw(dtypes)
    inputs = [data.draw(arrays(shape, dtype)) for shape in [(*lead, i), (o, i), (o,)][: data.draw(st.integers(2, 3))]]
    needs = sorted(data.draw(st.sets(st.sampled_from(range(len(inputs))), min_size=1)))
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
