"""Arithmetic, comparisons of size and elementary functions against torch, with its type promotion."""

import operator

import numpy as np
import pytest
import torch
from geometry import some_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import arrays, check, check_values, dtypes, shapes

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


@st.composite
def broadcast_shapes(draw, count):
    """Shapes that broadcast together: some axes left out in front, some of size 1."""
    whole = draw(shapes(max_side=3))
    return [
        tuple(draw(st.sampled_from([1, n])) for n in whole[draw(st.integers(0, len(whole))) :]) for _ in range(count)
    ]


@each_binary
@settings(max_examples=80)
@given(data=st.data())
def test_binary(name, data):
    ours, theirs = BINARY[name]
    dtype = data.draw(dtypes)
    a, b = (data.draw(arrays(shape, dtype)) for shape in data.draw(broadcast_shapes(2)))
    b = np.copysign(abs(b) + 0.5, b) if name == "/" else b  # so that the slope is bounded; zeros are tested below
    check(ours, theirs, [a, b], needs=data.draw(some_of(2)), magnitude=32)


@pytest.mark.parametrize("name", ["/", "maximum", "minimum"])
@settings(max_examples=40)
@given(data=st.data())
def test_binary_of_nan_and_infinities(name, data):
    ours, theirs = BINARY[name]
    a, b = (data.draw(arrays((3, 4), np.float64, ("special",))) for _ in "ab")
    check(ours, theirs, [a, b])


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


@settings(max_examples=150)
@given(st.data())
def test_pow(data):
    dtype, shape = data.draw(dtypes), data.draw(shapes())
    base, exponent = (data.draw(arrays(shape, dtype)) for _ in "ab")
    check(lambda a, b: a**b, lambda a, b: a**b, [abs(base), exponent], needs=data.draw(some_of(2)))


@settings(max_examples=40)
@given(broadcast_shapes(2), st.data())
def test_pow_broadcasts(shapes_of_both, data):
    """Away from 0, where the terms that are summed back are bounded."""
    base, exponent = (data.draw(arrays(shape, np.float64)) for shape in shapes_of_both)
    inputs = [abs(base) + 0.5, np.tanh(exponent)]
    check(lambda a, b: a**b, lambda a, b: a**b, inputs, needs=data.draw(some_of(2)), magnitude=32)


@pytest.mark.parametrize("needs", [[0], [1], [0, 1]], ids=str)
def test_pow_corners(needs):
    """Of every pair of these, negative bases and 0^0 among them, torch's limits and torch's NaN."""
    points = np.array([0.0, 1.0, 2.0, -1.0, -2.0, 0.5, -0.5, np.nan])
    base, exponent = (grid.ravel() for grid in np.meshgrid(points, points))
    check(lambda a, b: a**b, lambda a, b: a**b, [base, exponent], needs=needs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0, 1, 2, 3, -1, 0.5, -0.5, 2.5], ids=str)
def test_pow_of_numbers(number, dtype):
    x = np.array([0.0, 1.0, 2.0, -1.0, 0.5, -3.0], dtype)
    check(lambda x: x**number, lambda x: x**number, [x])
    check(lambda x: number**x, lambda x: number**x, [x])


@settings(max_examples=80)
@given(st.data())
def test_where(data):
    dtype = data.draw(dtypes)
    of_condition, *of_values = data.draw(broadcast_shapes(3))
    condition = data.draw(arrays(of_condition, np.bool_, ("ties",)))
    inputs = [condition, *(data.draw(arrays(shape, dtype)) for shape in of_values)]
    check(tc.where, torch.where, inputs, needs=[1 + i for i in data.draw(some_of(2))], magnitude=8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_with_numbers(dtype):
    inputs = [np.array([True, False, True]), np.array([1, 2, 3], dtype)]
    check(lambda c, x: tc.where(c, x, 0.0), lambda c, x: torch.where(c, x, 0.0), inputs)
    check(lambda c, x: tc.where(c, 2, x), lambda c, x: torch.where(c, 2, x), inputs)


UNARY = {
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "abs": lambda x: x.abs(),
    "neg": lambda x: -x,
    "tanh": lambda x: x.tanh(),
    "clamp below": lambda x: x.clamp(min=-1),
    "clamp above": lambda x: x.clamp(max=1.0),
    "clamp": lambda x: x.clamp(-0.5, 1),
    "clamp crossed": lambda x: x.clamp(1, -1),
    "clone": lambda x: x.clone(),
}
each_unary = pytest.mark.parametrize("name", UNARY)


@each_unary
@settings(max_examples=40)
@given(data=st.data())
def test_unary(name, data):
    # The sign of NaN is NaN to us, 0 to torch.
    kinds = ("normal", "ties", "infinite" if name == "abs" else "special")
    x = data.draw(arrays(data.draw(shapes()), data.draw(dtypes), kinds))
    check(UNARY[name], UNARY[name], [x], magnitude=1 if name == "tanh" else 0)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "abs", "clamp"])
def test_unary_of_integers(name):
    x = np.array([1, 2, 3])
    check_values(UNARY[name], UNARY[name], [x])


@settings(max_examples=60)
@given(st.data())
def test_clamp_between_tensors(data):
    dtype = data.draw(dtypes)
    of_low, of_high = data.draw(broadcast_shapes(2))
    x, low, high = (
        data.draw(arrays(shape, dtype)) for shape in (np.broadcast_shapes(of_low, of_high), of_low, of_high)
    )
    assume(not np.equal(low, high).any())  # where they are equal torch loses the gradient, we give it to the lower
    check(
        lambda x, low, high: x.clamp(low, high),
        lambda x, low, high: x.clamp(low, high),
        [x, low, high],
        needs=data.draw(some_of(3)),
        magnitude=8,
    )


def test_cast_carries_the_gradient_back():
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    check(lambda x: x.double() * 2, lambda x: x.double() * 2, [x])
    check(lambda x: x.float(), lambda x: x.float(), [x.astype(np.float64)])
