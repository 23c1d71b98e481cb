"""More functions of each element: trigonometry, logarithms, rounding, remainders, logic, and sums of products."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.elementwise import INTEGERS, SPECIAL, pair, with_number
from tinyconv.testing.spaces.geometry import (
    ANY,
    any_dtype,
    any_shape,
    away,
    both,
    broadcast_shapes,
    finite,
    floats_among,
    numbers,
    repeats,
    steepest,
)

WHOLE = (*FLOATS, *INTEGERS)

# --- one tensor -----------------------------------------------------------------------------------------------------


def _register(
    name: str,
    smooth: Callable[[Array], bool] = finite,
    *,
    prepared: Callable[[Array], Array] | None = None,
    values: Sequence[str] = SPECIAL,
    dtypes: Sequence[str] = ANY,
    magnitude: float = 0,
    second_order: bool = True,
) -> None:
    """Register a function of one tensor. `prepared` brings half of the finite inputs to where it is `smooth`."""

    def drawn(draw: Draw) -> Case:
        x = numbers(draw, any_shape(draw), any_dtype(draw, dtypes), values)
        if prepared is not None and x.dtype.kind == "f" and draw.flag():
            with np.errstate(all="ignore"):
                x = np.asarray(prepared(x), x.dtype)
        needs = floats_among(draw, [x])
        good = finite(x) and bool(smooth(x))
        return Case(
            name,
            [x],
            needs=needs,
            magnitude=magnitude,
            differentiable=bool(needs),
            smooth=good,
            second_order=good and second_order,
        )

    space(name)(drawn)


def _above(least: float) -> Callable[[Array], bool]:
    return lambda x: bool((x > least).all())


def _within_one(x: Array) -> bool:
    return bool((abs(x) < 0.9).all())


_register("sin", magnitude=1)
_register("cos", magnitude=1)
_register("tan", lambda x: away(np.cos(x), 0.1), prepared=lambda x: np.sin(x), magnitude=4)
_register("asin", _within_one, prepared=lambda x: np.sin(x) * 0.8, magnitude=1)
_register("acos", _within_one, prepared=lambda x: np.sin(x) * 0.8, magnitude=1)
_register("atan")
_register("sinh", lambda x: bool((abs(x) < 5).all()))
_register("cosh", lambda x: bool((abs(x) < 5).all()))
_register("erf", magnitude=1)
_register("expm1", lambda x: bool((abs(x) < 5).all()))
_register("log1p", _above(-0.9), prepared=abs)
_register("log2", _above(0.05), prepared=abs)
_register("log10", _above(0.05), prepared=abs)
_register("rsqrt", _above(0.05), prepared=abs)
_register("reciprocal", lambda x: away(x, 0.05))
_register("square")


def _half_way(x: Array) -> bool:
    """Whether no element is near a step of a rounding, at multiples of 1/2."""
    with np.errstate(invalid="ignore"):
        return away(x * 2 - np.round(x * 2), 0.01)


_register("floor", _half_way, dtypes=WHOLE)
_register("ceil", _half_way, dtypes=WHOLE)
_register("trunc", _half_way, dtypes=WHOLE)
_register("sign", lambda x: away(x, 0.01))


@space("round")
def round_(draw: Draw) -> Case:
    """Halves go to the even neighbour. PyTorch has no `decimals` for integers."""
    x = numbers(draw, any_shape(draw), any_dtype(draw, FLOATS), (*SPECIAL, "ties"))
    if draw.flag():
        x = np.asarray(np.round(x * 2) / 2, x.dtype)
        draw.note("halves")
    decimals = draw.choice((0, 0, 1, 2, -1))
    draw.note_if(decimals != 0, "decimals")
    needs = floats_among(draw, [x])
    options = {"decimals": decimals} if decimals else {}
    smooth = x.dtype.kind == "f" and _half_way(x.astype(np.float64) * 10.0**decimals)
    return Case("round", [x], options, needs=needs, differentiable=bool(needs), smooth=smooth)


@space("nan_to_num")
def nan_to_num(draw: Draw) -> Case:
    """Numbers for the infinities are given: those of the dtype are others in float16."""
    x = numbers(draw, any_shape(draw), any_dtype(draw, WHOLE), ("special", *VALUES))
    options = {"posinf": draw.choice((0, 2.5, 8)), "neginf": draw.choice((0, -2.5))}
    if draw.flag():
        options["nan"] = 1.5
    needs = floats_among(draw, [x])
    return Case("nan_to_num", [x], options, needs=needs, differentiable=bool(needs), smooth=finite(x))


@space("isinf")
def isinf(draw: Draw) -> Case:
    return Case("isinf", [numbers(draw, any_shape(draw), any_dtype(draw), ("special", *VALUES))], differentiable=False)


@space("logical_not")
def logical_not(draw: Draw) -> Case:
    return Case("logical_not", [numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)], differentiable=False)


@space("bitwise_not")
def bitwise_not(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw, ("bool", *INTEGERS)))
    return Case("bitwise_not", [x], differentiable=False)


# --- two ------------------------------------------------------------------------------------------------------------


def _division(name: str, function: Callable[[Any, Any], Any], slopes: Callable[[Any, Any], tuple[Any, ...]]) -> None:
    """Register a whole quotient or a remainder: of floats of any size, and of integers by others than 0."""

    def drawn(draw: Draw) -> Case:
        dtypes = FLOATS if draw.integer(0, 2) else INTEGERS
        called: Callable[..., Any] = function
        if draw.integer(0, 2) == 2:
            choices = (2, -3, 2.5, -0.5) if dtypes is FLOATS else (2, 3)
            x, a, b, called = with_number(draw, function, dtypes, choices=choices)
            if b is x:
                x = b = _without_zeros(x)
            arrays = [x]
        else:
            a, b = pair(draw, dtypes=dtypes)
            b = _without_zeros(b)
            arrays = [a, b]
        needs = floats_among(draw, arrays)
        terms = repeats([array.shape for array in arrays])
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        with np.errstate(all="ignore"):
            quotient = a / b
            smooth = finite(a, b) and away(b, 0.05) and away(quotient - np.round(quotient), 0.05)
            magnitude = terms * steepest(*slopes(a, b)) if terms > 1 else 0
        return Case(
            name,
            arrays,
            needs=needs,
            magnitude=magnitude,
            differentiable=bool(needs),
            smooth=smooth,
            second_order=smooth,
            **both(called),
        )

    space(name)(drawn)


def _without_zeros(x: Array) -> Array:
    """Integers have no quotient by 0."""
    return x if x.dtype.kind == "f" else np.asarray(np.where(x == 0, 3, x), x.dtype)


def _divided(ours: Callable[[Any, Any], Any], theirs: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """PyTorch has gradients of these for tensors alone, so a number is made one for it."""

    def function(a: Any, b: Any) -> Any:
        if isinstance(a, tc.Tensor) or isinstance(b, tc.Tensor):
            return ours(a, b)
        return theirs(*(x if hasattr(x, "shape") else (b if x is a else a).new_tensor(x) for x in (a, b)))

    return function


_division(  # PyTorch's floor_divide has no gradient; the same by its other name has
    "floor_divide", _divided(operator.floordiv, lambda a, b: a.div(b, rounding_mode="floor")), lambda a, b: (0,)
)
_division("remainder", _divided(operator.mod, operator.mod), lambda a, b: (1, np.floor(a / b)))
_division("fmod", _divided(tc.fmod, lambda a, b: a.fmod(b)), lambda a, b: (1, np.trunc(a / b)))


@space("atan2")
def atan2(draw: Draw) -> Case:
    arrays = pair(draw)
    needs = [] if any(array.dtype in ("uint8", "bool") for array in arrays) else floats_among(draw, arrays)
    terms = repeats([array.shape for array in arrays])
    a, b = (array.astype(np.float64) for array in arrays)
    with np.errstate(all="ignore"):
        square = a * a + b * b
        smooth = finite(a, b) and away(square, 0.1) and away(a, 0.01)
        slope = steepest(b / square, a / square)
    return Case(
        "atan2",
        arrays,
        needs=needs,
        magnitude=max(1, terms * slope),
        differentiable=bool(needs),
        smooth=smooth,
        second_order=smooth,
    )


@space("logical_and")
def logical_and(draw: Draw) -> Case:
    return Case("logical_and", pair(draw), differentiable=False)


@space("logical_or")
def logical_or(draw: Draw) -> Case:
    return Case("logical_or", pair(draw), differentiable=False)


@space("logical_xor")
def logical_xor(draw: Draw) -> Case:
    return Case("logical_xor", pair(draw), differentiable=False)


@space("bitwise_and")
def bitwise_and(draw: Draw) -> Case:
    return Case("bitwise_and", pair(draw, dtypes=("bool", *INTEGERS)), differentiable=False)


@space("bitwise_or")
def bitwise_or(draw: Draw) -> Case:
    return Case("bitwise_or", pair(draw, dtypes=("bool", *INTEGERS)), differentiable=False)


@space("bitwise_xor")
def bitwise_xor(draw: Draw) -> Case:
    return Case("bitwise_xor", pair(draw, dtypes=("bool", *INTEGERS)), differentiable=False)


def _shifted(draw: Draw, name: str) -> Case:
    """By as many bits as there are and more, or fewer than none."""
    x, by = pair(draw, dtypes=INTEGERS)
    draw.note_if(bool((by < 0).any()), "shift below 0")
    return Case(name, [x, by], differentiable=False)


@space("bitwise_left_shift")
def bitwise_left_shift(draw: Draw) -> Case:
    return _shifted(draw, "bitwise_left_shift")


@space("bitwise_right_shift")
def bitwise_right_shift(draw: Draw) -> Case:
    return _shifted(draw, "bitwise_right_shift")


@space("isclose")
def isclose(draw: Draw) -> Case:
    """Numbers, and others that are near them: a tolerance away, just within or just outside."""
    return Case("isclose", *_near(draw), differentiable=False)


@space("allclose")
def allclose(draw: Draw) -> Case:
    inputs, options = _near(draw)
    return Case("allclose", inputs, options, differentiable=False, **_told("allclose"))


@space("equal")
def equal(draw: Draw) -> Case:
    """Tensors of one shape whose elements are equal, or not."""
    (a, b), _ = _near(draw)
    return Case("equal", [a, a.copy() if draw.flag() else b], differentiable=False, **_told("equal"))


def _near(draw: Draw) -> tuple[list[Array], dict[str, Any]]:
    dtype = any_dtype(draw, WHOLE)
    a = numbers(draw, any_shape(draw), dtype, SPECIAL)
    options: dict[str, Any] = {"rtol": draw.choice((1e-5, 0.1)), "atol": draw.choice((1e-8, 0.25))}
    if draw.flag():
        options["equal_nan"] = True
    with np.errstate(all="ignore"):
        factors = np.asarray([1, 1 + options["rtol"] / 2, 1 - options["rtol"] * 2, 1])[: max(a.ndim, 1)]
        b = np.asarray(a * factors[draw.integer(0, len(factors) - 1)], dtype)
    return [a, b], options


def _told(name: str) -> dict[str, Any]:
    """A function whose result is a Python bool, as a tensor."""
    return {
        "ours": lambda a, b, **options: tc.tensor(getattr(tc, name)(a, b, **options)),
        "theirs": lambda a, b, **options: torch().tensor(getattr(torch(), name)(a, b, **options)),
    }


# --- three ----------------------------------------------------------------------------------------------------------


@space("addcmul")
def addcmul(draw: Draw) -> Case:
    return _with_value(draw, "addcmul", lambda a, b, v: (v * a, v * b), WHOLE)


@space("addcdiv")
def addcdiv(draw: Draw) -> Case:
    return _with_value(draw, "addcdiv", lambda a, b, v: (v / b, v * a / b / b), FLOATS)


def _with_value(
    draw: Draw, name: str, slopes: Callable[[Any, Any, Any], tuple[Any, ...]], dtypes: Sequence[str]
) -> Case:
    dtype = any_dtype(draw, dtypes)
    shapes = broadcast_shapes(draw, ("input", "left", "right"))
    arrays = [numbers(draw, shape, dtype, VALUES) for shape in shapes]
    if name == "addcdiv":
        arrays[2] = np.asarray(np.where(abs(arrays[2]) < 0.1, 0.5, arrays[2]), dtype)
    value = draw.choice((None, 2, -0.5) if dtype.kind == "f" else (None, 2))
    needs = floats_among(draw, arrays)
    terms = repeats([array.shape for array in arrays])
    _, a, b = (array.astype(np.float64) for array in arrays)
    v = 1 if value is None else value
    with np.errstate(all="ignore"):
        slope = terms * steepest(1, *slopes(a, b, v))
    return Case(
        name,
        arrays,
        {} if value is None else {"value": value},
        needs=needs,
        magnitude=slope,
        differentiable=bool(needs),
        smooth=finite(*arrays),
    )


@space("lerp")
def lerp(draw: Draw) -> Case:
    """Weights on both sides of 1/2, where the formula changes, and 0 and 1, where the ends are exact."""
    dtype = any_dtype(draw, FLOATS)
    of_start, of_end, of_weight = broadcast_shapes(draw, ("left", "right", "weight"))
    arrays = [numbers(draw, of_start, dtype), numbers(draw, of_end, dtype)]
    options: dict[str, Any] = {}
    if draw.flag():
        arrays.append(numbers(draw, of_weight, dtype))
        w = arrays[2].astype(np.float64)
    else:
        options["weight"] = draw.choice((0, 0.25, 0.5, 0.75, 1, 1.5, -0.5))
        w = np.asarray(options["weight"], np.float64)
        draw.note("python number")
    needs = floats_among(draw, arrays)
    terms = repeats([array.shape for array in arrays])
    a, b = (array.astype(np.float64) for array in arrays[:2])
    slope = terms * max(1 + 2 * steepest(w), steepest(b - a))
    return Case(
        "lerp", arrays, options, needs=needs, magnitude=slope, differentiable=bool(needs), smooth=finite(*arrays)
    )
