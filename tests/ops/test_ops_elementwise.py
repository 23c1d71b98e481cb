"""Arithmetic at torch's corners: every pair of dtypes, and powers where they have no limit but a convention."""

import operator

import numpy as np
import pytest
import torch
from oracle import check, check_values

import tinyconv as tc

BINARY = {
    "+": (operator.add, operator.add),
    "-": (operator.sub, operator.sub),
    "*": (operator.mul, operator.mul),
    "/": (operator.truediv, operator.truediv),
    "maximum": (tc.maximum, torch.maximum),
    "minimum": (tc.minimum, torch.minimum),
}
each_binary = pytest.mark.parametrize("name", BINARY)
DTYPES = (np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64)


@each_binary
@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
def test_promotion_of_tensors(name, left, shape):
    """Tensors with axes decide the dtype; one without has a say only if it is of a higher category."""
    ours, theirs = BINARY[name]
    for right in DTYPES:
        if name == "-" and np.bool_ in (left, right):
            continue  # torch has no - for bools
        inputs = [np.ones(shape, left), np.full((3, 3), 2, right)]
        compare = check if "f" in (inputs[0].dtype.kind, inputs[1].dtype.kind) else check_values
        compare(ours, theirs, inputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["+", "-", "*", "/"])
def test_promotion_of_numbers(name, dtype):
    """On either side, a Python number changes the dtype only if it is of a higher category."""
    compare = check if np.dtype(dtype).kind == "f" else check_values
    function, _ = BINARY[name]
    for number in (3, -2, 2.5, True):
        if name == "-" and (dtype is np.bool_ or number is True):
            continue  # torch has no - for bools
        if number == -2 and dtype is np.uint8:
            continue  # torch wraps a number that is out of range around, NumPy refuses it
        for x in (np.array([1, 2, 3]).astype(dtype), np.array(1).astype(dtype)):
            compare(lambda x, n=number: function(x, n), lambda x, n=number: function(x, n), [x])
            compare(lambda x, n=number: function(n, x), lambda x, n=number: function(n, x), [x])


@pytest.mark.parametrize("needs", [[0], [1], [0, 1]], ids=str)
def test_pow_corners(needs):
    """Every pair of these numbers, negative bases and 0^0 among them, gives torch's limits and torch's NaN."""
    points = np.array([0.0, 1.0, 2.0, -1.0, -2.0, 0.5, -0.5, np.nan])
    base, exponent = (grid.ravel() for grid in np.meshgrid(points, points))
    check(lambda a, b: a**b, lambda a, b: a**b, [base, exponent], needs=needs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0, 1, 2, 3, -1, 0.5, -0.5, 2.5], ids=str)
def test_pow_of_numbers(number, dtype):
    x = np.array([0.0, 1.0, 2.0, -1.0, 0.5, -3.0], dtype)
    check(lambda x: x**number, lambda x: x**number, [x])
    check(lambda x: number**x, lambda x: number**x, [x])
