"""More questions to the CUDA pairs that are matrix products: each kind of tile, and sums in parts."""

from unittest import mock

import numpy as np
from hypothesis import strategies as st
from oracle import compare

from tinyconv.fast.cuda import product

NEEDS = [(True, False, False), (False, True, False), (False, False, True), (False, True, True), (True, True, True)]


def tiles(wide, part=product.PART):
    """Wide tiles alone, or narrow ones; sums of twice `part` terms are cut."""
    return mock.patch.multiple(product, HALF=0, FEW=0 if wide else 1 << 30, PART=part)


def some_needs(data, bias):
    """Which gradients to ask for: that of a bias only if there is one."""
    *of_arrays, of_bias = data.draw(st.sampled_from(NEEDS))
    return *of_arrays, of_bias and bias is not None


def normal(*shapes, dtype=np.float64):
    rng = np.random.default_rng(1)
    return tuple(None if shape is None else rng.standard_normal(shape).astype(dtype) for shape in shapes)


def outlines(dtype, *shapes):
    """Arrays that take no memory, however large."""
    return [np.broadcast_to(np.zeros((), dtype), shape) for shape in shapes]


def terms(op, arrays, dy, needs, geometry):
    """A judge that allows for the rounding of the terms that each result is a sum of."""
    with np.errstate(all="ignore"):
        absolute = [None if array is None else abs(array) for array in arrays]
        y, saved = op.forward(np, *absolute, **geometry)
        sizes = [y, *op.backward(np, saved, abs(dy), needs, **geometry)]
    return lambda i, found, expected: compare(f"result {i}", found, expected, magnitude=sizes[i])
