"""Arithmetic, comparisons and elementary functions: operands of any dtype that broadcast, and Python numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, Space, space
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
    torch_dtype,
)

INTEGERS = ("int64", "int32", "uint8")
SPECIAL = (*VALUES, "special")


def pair(
    draw: Draw,
    names: Sequence[str] = ("left", "right"),
    values: Sequence[str] = SPECIAL,
    dtypes: Sequence[str] = ANY,
) -> list[Array]:
    """Arrays that broadcast, all of one floating-point dtype or each of any."""
    dtype = any_dtype(draw, FLOATS) if FLOATS[0] in dtypes and draw.integer(0, 2) else None
    arrays = [numbers(draw, shape, dtype or any_dtype(draw, dtypes), values) for shape in broadcast_shapes(draw, names)]
    draw.note_if(len({array.dtype for array in arrays}) > 1, "mixed dtypes")
    return arrays


def with_number(
    draw: Draw,
    function: Callable[[Any, Any], Any],
    dtypes: Sequence[str] = ANY,
    values: Sequence[str] = SPECIAL,
    choices: Sequence[Any] = (2, -3, 2.5, 0, True, -0.5),
) -> tuple[Array, Any, Any, Callable[[Any], Any]]:
    """A tensor and a Python number on either side.

    Returns the array, the left and the right operand, and the function of the tensor alone.
    """
    dtype = any_dtype(draw, dtypes)
    if dtype == np.uint8:
        choices = [n for n in choices if n >= 0]
    x, number = numbers(draw, any_shape(draw), dtype, values), draw.choice(choices)
    draw.note("python number")
    draw.note_if(isinstance(number, bool), "python bool")
    if draw.flag():
        draw.note("reflected")
        return x, number, x, lambda x: function(number, x)
    return x, x, number, lambda x: function(x, number)


def arithmetic(
    draw: Draw,
    name: str,
    function: Callable[..., Any],
    slopes: Callable[[Any, Any], tuple[Any, ...]],
    kink: Callable[[Any, Any], Any] | None = None,
    dtypes: Sequence[str] = ANY,
) -> Case:
    """An operator between two tensors, or between a tensor and a number.

    `slopes` gives its derivatives, which a gradient sums where an operand was broadcast; `kink` gives the distance of
    the operands from a place without a derivative.
    """
    if draw.integer(0, 2) == 2:
        choices = (2, -3, 2.5, 0, -0.5) if "bool" not in dtypes else (2, -3, 2.5, 0, True, -0.5)
        x, a, b, function = with_number(draw, function, dtypes, choices=choices)
        arrays = [x]
    else:
        arrays = pair(draw, dtypes=dtypes)
        a, b = arrays
    needs = floats_among(draw, arrays)
    terms = repeats([array.shape for array in arrays])
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(all="ignore"):
        smooth = finite(a, b) and (kink is None or away(kink(a, b), 0.05))
        magnitude = terms * steepest(*slopes(a, b)) if terms > 1 else 0
    return Case(
        name,
        arrays,
        needs=needs,
        magnitude=magnitude,
        differentiable=bool(needs),
        smooth=smooth,
        second_order=smooth,  # elsewhere the second derivatives are 0 * inf
        **both(function),
    )


@space("add")
def add(draw: Draw) -> Case:
    return arithmetic(draw, "add", _with_alpha(draw, "add", operator.add), lambda a, b: (2,))


@space("sub")
def sub(draw: Draw) -> Case:
    return arithmetic(
        draw, "sub", _with_alpha(draw, "sub", operator.sub), lambda a, b: (2,), dtypes=(*FLOATS, *INTEGERS)
    )


def _with_alpha(draw: Draw, name: str, plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operator; or the method with `alpha`, where the left operand is a tensor."""
    if draw.integer(0, 3):
        return plain
    draw.note("alpha=")
    return lambda a, b: getattr(a, name)(b, alpha=2) if hasattr(a, "shape") else plain(a, b)


@space("mul")
def mul(draw: Draw) -> Case:
    return arithmetic(draw, "mul", operator.mul, lambda a, b: (a, b))


@space("div")
def div(draw: Draw) -> Case:
    if draw.integer(0, 3):
        return arithmetic(draw, "div", operator.truediv, lambda a, b: (1 / b, a / b / b), kink=lambda a, b: b)
    mode = draw.choice(("floor", "trunc"))
    draw.note("rounding_mode=")

    def rounded(a: Any, b: Any) -> Any:
        if hasattr(a, "shape"):
            return a.div(b, rounding_mode=mode)
        return b.reciprocal().mul(a)  # PyTorch divides a number by a tensor through the operator alone

    def whole(a: Any, b: Any) -> Any:
        quotient = a / b
        return np.minimum(abs(b), abs(quotient - np.round(quotient)))

    case = arithmetic(draw, "div", rounded, lambda a, b: (1 / b, a / b / b), kink=whole, dtypes=FLOATS)
    if len(case.inputs) == 2:
        case.options, case.ours, case.theirs = {"rounding_mode": mode}, None, None
    return case


@space("pow")
def power(draw: Draw) -> Case:
    """Bases of both signs, and 0, where limits count. Both libraries refuse integers to negative powers."""
    form = draw.choice(("tensors", "a number as exponent", "a number as base", "integers"))
    magnitude = 0.0
    function: Callable[..., Any] = operator.pow
    if form == "tensors":
        shape_a, shape_b = broadcast_shapes(draw, ("left", "right"))
        dtype = any_dtype(draw, FLOATS)
        a = draw.array(shape_a, dtype, ("positive", "ties", "normal", "special"))
        b = numbers(draw, shape_b, dtype if draw.integer(0, 2) else any_dtype(draw, (*FLOATS, *INTEGERS)))
        arrays = [a, b]
        draw.note_if(a.dtype != b.dtype, "mixed dtypes")
        terms = repeats([shape_a, shape_b])
        if terms > 1:
            x, y = a.astype(np.float64), b.astype(np.float64)
            with np.errstate(all="ignore"):
                magnitude = terms * steepest(y * x ** (y - 1), x**y * np.log(x), x**y)
    elif form == "integers":
        dtype = any_dtype(draw, INTEGERS)
        base = numbers(draw, any_shape(draw), dtype)
        if draw.flag():
            arrays = [base, abs(numbers(draw, base.shape, np.dtype(draw.choice(INTEGERS[:2]))))]
            draw.note_if(arrays[0].dtype != arrays[1].dtype, "mixed dtypes")
        else:
            arrays, number = [base], draw.choice((2, 0, 3, 1, 0.5, -1.5))
            function = _raised_to(number)
            draw.note("python number")
    else:
        number = draw.choice((2, 0, 1, 3, -1, 0.5, -0.5, 2.5))
        kinds = ("positive", "ties", "normal") if abs(number) == 0.5 else ("positive", "ties", "normal", "special")
        x = draw.array(any_shape(draw), any_dtype(draw, FLOATS), kinds)
        arrays, function = [x], _raised_to(number) if form == "a number as exponent" else _power_of(number)
        draw.note("python number")
        draw.note_if(form == "a number as base", "reflected")
    needs = floats_among(draw, arrays)
    base_array = None if form == "a number as base" else arrays[0]
    draw.note_if(base_array is not None and bool((base_array == 0).any()), "base 0")
    draw.note_if(base_array is not None and bool((base_array < 0).any()), "negative base")
    smooth = finite(*arrays) and (number > 0 if base_array is None else bool((base_array > 0.05).all()))
    return Case(
        "pow",
        arrays,
        needs=needs,
        magnitude=magnitude,
        differentiable=bool(needs),
        smooth=smooth,
        second_order=smooth and arrays[-1].dtype != np.uint8,  # see DECISIONS
        **both(function),
    )


def _raised_to(number: Any) -> Callable[[Any], Any]:
    return lambda x: x**number


def _power_of(number: Any) -> Callable[[Any], Any]:
    return lambda x: number**x


@space("maximum")
def maximum(draw: Draw) -> Case:
    return extremum(draw, "maximum")


@space("minimum")
def minimum(draw: Draw) -> Case:
    return extremum(draw, "minimum")


def extremum(draw: Draw, name: str) -> Case:
    """The larger, or the smaller, of each two elements."""
    arrays = pair(draw)
    needs = floats_among(draw, arrays)
    terms = repeats([array.shape for array in arrays])
    a, b = (array.astype(np.float64) for array in arrays)
    with np.errstate(all="ignore"):
        smooth = away(a - b)
    return Case(
        name,
        arrays,
        needs=needs,
        magnitude=terms if terms > 1 else 0,
        differentiable=bool(needs),
        smooth=smooth,
    )


@space("where")
def where(draw: Draw) -> Case:
    of_condition, of_left, of_right = broadcast_shapes(draw, ("condition", "left", "right"))
    condition = numbers(draw, of_condition, np.dtype(np.bool_))
    dtype = any_dtype(draw)
    form = draw.choice(("tensors", "mixed", "a number on the right", "a number on the left"))
    right_dtype = any_dtype(draw) if form == "mixed" else dtype
    draw.note_if(right_dtype != dtype, "mixed dtypes")
    if form in ("tensors", "mixed"):
        values = [numbers(draw, of_left, dtype, SPECIAL), numbers(draw, of_right, right_dtype, SPECIAL)]
        call = {}
    else:
        number = draw.choice((0.0, 2, -1.5, True) if dtype != np.uint8 else (0.0, 2, 1.5, True))
        draw.note("python number")
        values = [numbers(draw, of_left, dtype, SPECIAL)]
        call = _where_number(number, form == "a number on the left")
    needs = [1 + i for i in floats_among(draw, values)]
    terms = repeats([condition.shape, *(array.shape for array in values)])
    return Case(
        "where",
        [condition, *values],
        needs=needs,
        magnitude=terms if terms > 1 else 0,
        differentiable=bool(needs),
        smooth=finite(*values),
        **call,
    )


def _where_number(number: Any, left: bool) -> dict[str, Any]:
    def call(library: Any, c: Any, x: Any) -> Any:
        return library.where(c, number, x) if left else library.where(c, x, number)

    return {"ours": lambda c, x: call(tc, c, x), "theirs": lambda c, x: call(torch(), c, x)}


@space("clamp")
def clamp(draw: Draw) -> Case:
    """Bounds that are numbers or tensors, one of which may be left out, and which may be crossed."""
    if draw.flag():
        return _clamp_between_tensors(draw)
    dtype = any_dtype(draw, (*FLOATS, *INTEGERS))
    x = numbers(draw, any_shape(draw), dtype, SPECIAL)
    low, high = draw.choice(
        ((-1, 1), (-0.5, 1.0), (None, 1), (0, None), (1, -1), (0.5, 0.5), (None, -0.5), (2.5, None))
    )
    if dtype == np.uint8:
        low, high = (bound if bound is None else abs(bound) for bound in (low, high))
    draw.note("python number")
    draw.note_if(low is None or high is None, "one bound")
    draw.note_if(low is not None and high is not None and low > high, "crossed bounds")
    needs = floats_among(draw, [x])
    return Case(
        "Tensor.clamp",
        [x],
        {"min": low, "max": high},
        needs=needs,
        differentiable=bool(needs),
        smooth=all(away(x - bound) for bound in (low, high) if bound is not None),
    )


def _clamp_between_tensors(draw: Draw) -> Case:
    """Lower bounds are multiples of 1/8, and upper bounds lie 1/16 beside such: they are never equal to each other.

    Infinities, NaN and mixed dtypes, with which they may be equal, are compared by value alone.
    """
    names = draw.choice((("min", "max"), ("min",), ("max",)))
    special = draw.integer(0, 3) == 3
    arrays = pair(draw, ("left", *names), SPECIAL if special else VALUES, (*FLOATS, *INTEGERS))
    if not special:
        for k, name in enumerate(names, 1):
            if arrays[k].dtype.kind == "f":
                shift = 1 / 16 if name == "max" else 0
                arrays[k] = np.asarray(np.round(arrays[k] * 8) / 8 + shift, arrays[k].dtype)
    draw.note("tensor bounds")
    draw.note_if(len(names) == 1, "one bound")
    draw.note_if(len(names) == 2 and bool((arrays[1] > arrays[2]).any()), "crossed bounds")
    by_value = special or len({array.dtype for array in arrays}) > 1
    needs = [] if by_value else floats_among(draw, arrays)
    shapes = [array.shape for array in arrays]
    terms, whole = repeats(shapes), np.broadcast_shapes(*shapes)
    values = [array.astype(np.float64) for array in arrays]
    with np.errstate(all="ignore"):
        distances = [a - b for i, a in enumerate(values) for b in values[:i]]

    def clamped(x: Any, *bounds: Any) -> Any:
        return x.clamp(**dict(zip(names, bounds, strict=True)))

    def in_torch(x: Any, *bounds: Any) -> Any:
        """Broadcast x first, because PyTorch's backward fails where it is broadcast to two bounds."""
        return clamped(x.expand(whole) if needs else x, *bounds)

    return Case(
        "Tensor.clamp",
        arrays,
        needs=needs,
        magnitude=terms if terms > 1 else 0,
        differentiable=bool(needs),
        smooth=all(map(away, distances)),
        ours=clamped,
        theirs=in_torch,
    )


# --- one tensor -----------------------------------------------------------------------------------------------------


def _elementary(
    name: str,
    values: Sequence[str] = SPECIAL,
    kink: float | None = None,
    least: float | None = None,
    dtypes: Sequence[str] = ANY,
    magnitude: float = 0,
) -> None:
    """Register a function of one tensor, which may have a kink, or be smooth only above `least`."""

    def drawn(draw: Draw) -> Case:
        x = numbers(draw, any_shape(draw), any_dtype(draw, dtypes), values)
        needs = floats_among(draw, [x])
        smooth = finite(x) and (kink is None or away(x - kink, 0.05)) and (least is None or bool((x > least).all()))
        return Case(
            name, [x], needs=needs, magnitude=magnitude, differentiable=bool(needs), smooth=smooth, second_order=smooth
        )

    space(name)(drawn)


POSITIVE = ("positive", *SPECIAL)
_elementary("neg", dtypes=(*FLOATS, *INTEGERS))
_elementary("abs", values=(*VALUES, "infinite"), kink=0, dtypes=(*FLOATS, *INTEGERS))
_elementary("exp")
_elementary("log", values=POSITIVE, least=0.05)
_elementary("sqrt", values=POSITIVE, least=0.05)


@space("isnan")
def isnan(draw: Draw) -> Case:
    return _predicate(draw, "isnan")


@space("isfinite")
def isfinite(draw: Draw) -> Case:
    return _predicate(draw, "isfinite")


def _predicate(draw: Draw, name: str) -> Case:
    return Case(name, [numbers(draw, any_shape(draw), any_dtype(draw), ("special", *VALUES))], differentiable=False)


# --- comparisons and logic ------------------------------------------------------------------------------------------


def _without_gradient(name: str, function: Callable[[Any, Any], Any], dtypes: Sequence[str], choices: Any) -> Space:
    def drawn(draw: Draw) -> Case:
        if draw.flag():
            x, _, _, called = with_number(draw, function, dtypes, choices=choices)
            return Case(name, [x], differentiable=False, **both(called))
        arrays = pair(draw, dtypes=dtypes)
        if "float64" in dtypes and draw.integer(0, 2) == 2:
            arrays = _nearly_equal(draw)
        return Case(name, arrays, differentiable=False, **both(function))

    return drawn


def _nearly_equal(draw: Draw) -> list[Array]:
    """Numbers, and the same rounded to float32: whether they are equal depends on the dtype they are compared in."""
    x = draw.array(any_shape(draw), np.float64, ("normal",))
    arrays = [x, x.astype(np.float32)]
    zero_d = draw.choice((None, 0, 1)) if x.size else None
    if zero_d is not None:
        arrays[zero_d] = arrays[zero_d].ravel()[:1].reshape(())
    draw.note("mixed dtypes", "equal but for rounding")
    return arrays[::-1] if draw.flag() else arrays


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    space(_name)(_without_gradient(f"Tensor.{_name}", getattr(operator, _name), ANY, (0, 1, -1.0, 0.5, True)))
for _name in ("and", "or", "xor"):
    _operator = getattr(operator, f"__{_name}__")
    space(f"__{_name}__")(_without_gradient(f"Tensor.__{_name}__", _operator, ("bool", *INTEGERS), (True, False, 3)))


@space("__invert__")
def invert(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw, ("bool", *INTEGERS)))
    return Case("Tensor.__invert__", [x], differentiable=False)


# --- copies and casts -----------------------------------------------------------------------------------------------


@space("to")
def to(draw: Draw) -> Case:
    """Conversion by each of its spellings. Numbers that no integer holds are not drawn: C leaves the result open."""
    target = np.dtype(draw.choice((*ANY, "float16")))
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL if target.kind in "fb" else VALUES)
    if target == np.uint8:
        x = abs(x)
    methods = {"float32": "float", "float64": "double", "int64": "long", "int32": "int", "bool": "bool"}
    spelling = draw.choice(("to", "method", "other"))
    inputs, options = [x], {}
    call: dict[str, Any]
    if spelling == "other":
        inputs.append(draw.array((), target, ("ties",)))
        call = both(lambda x, other: x.to(other))
        draw.note("like another tensor")
    elif spelling == "method" and target.name in methods:
        call = both(lambda x: getattr(x, methods[target.name])())
    else:
        options["dtype"] = target.name
        call = {"theirs": lambda x, dtype: x.to(torch_dtype(dtype))}
    differentiable = x.dtype.kind == target.kind == "f"
    draw.note(f"to {target.name if target.kind == 'f' else 'bools' if target.kind == 'b' else 'integers'}")
    return Case(
        "Tensor.to",
        inputs,
        options,
        needs=[0] if differentiable else [],
        differentiable=differentiable,
        smooth=finite(x) and target == np.float64,  # elsewhere a small step is rounded to none, or to a large one
        **call,
    )


@space("clone")
def clone(draw: Draw) -> Case:
    return _copy(draw, "clone")


@space("contiguous")
def contiguous(draw: Draw) -> Case:
    return _copy(draw, "contiguous")


def _copy(draw: Draw, name: str) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)
    needs = floats_among(draw, [x])
    return Case(f"Tensor.{name}", [x], needs=needs, differentiable=bool(needs), smooth=finite(x))


@space("detach")
def detach(draw: Draw) -> Case:
    """x * x with one factor detached: a constant to the gradient, but not to differences of the function."""
    x = numbers(draw, any_shape(draw), any_dtype(draw, FLOATS), SPECIAL)
    return Case("Tensor.detach", [x], smooth=False, **both(lambda x: x.detach() * x))


# --- in place -------------------------------------------------------------------------------------------------------


def _in_place(
    name: str,
    function: Callable[[Any, Any], Any],
    slopes: Callable[[Any, Any], tuple[Any, ...]],
    others: Sequence[str] = ANY,
) -> None:
    """Register an operator that writes into a computed tensor, whose shape and kind the other operand must keep."""

    def drawn(draw: Draw) -> Case:
        true_division = name == "div_"
        dtype = any_dtype(draw, FLOATS if true_division else (*FLOATS, *INTEGERS))
        x = numbers(draw, any_shape(draw), dtype, SPECIAL)
        fitting = [d for d in others if dtype.kind == "f" or np.dtype(d).kind in "iu"]
        if draw.integer(0, 2) == 2:
            number = draw.choice((2, 2.5, -3, -0.5) if dtype.kind == "f" else (2, 3))
            draw.note("python number")
            arrays, b = [x], np.asarray(number, np.float64)
        else:
            number = None
            shape = _broadcast_to(draw, x.shape)
            y = numbers(draw, shape, any_dtype(draw, fitting) if draw.flag() else dtype, SPECIAL)
            draw.note_if(x.dtype != y.dtype, "mixed dtypes")
            arrays, b = [x, y], y.astype(np.float64)
        needs = floats_among(draw, arrays)
        terms = repeats([array.shape for array in arrays])
        a = x.astype(np.float64)
        with np.errstate(all="ignore"):
            smooth = finite(a, b) and (not true_division or away(b, 0.05))
            magnitude = terms * steepest(*slopes(a, b)) if terms > 1 else 0

        def called(x: Any, *other: Any) -> Any:
            return function(_computed(x), *(other or (number,)))

        return Case(
            f"Tensor.{name}",
            arrays,
            needs=needs,
            magnitude=magnitude,
            differentiable=bool(needs),
            smooth=smooth,
            second_order=smooth,
            **both(called),
        )

    space(name)(drawn)


def _broadcast_to(draw: Draw, whole: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts to `whole`; half of the time it is the same."""
    if not draw.flag():
        return tuple(whole)
    shape = tuple(draw.choice((n, 1)) for n in whole[draw.integer(0, len(whole)) :])
    draw.note_if(shape != tuple(whole), "broadcast right")
    return shape


def _computed(x: Any) -> Any:
    """A computed tensor with the values of x: unlike a leaf, it may be written to while recording."""
    return x.clone()


_in_place("add_", operator.iadd, lambda a, b: (1,))
_in_place("sub_", operator.isub, lambda a, b: (1,), others=(*FLOATS, *INTEGERS))
_in_place("mul_", operator.imul, lambda a, b: (a, b))
_in_place("div_", operator.itruediv, lambda a, b: (1 / b, a / b / b))


@space("__ipow__")
def ipow(draw: Draw) -> Case:
    number = draw.choice((2, 3, 0.5, -1, 0))
    x = draw.array(any_shape(draw), any_dtype(draw, FLOATS), ("positive", "ties"))
    draw.note("python number")
    smooth = away(x, 0.05) and bool((x > 0).all())

    def called(x: Any) -> Any:
        y = _computed(x)
        y **= number
        return y

    return Case("Tensor.__ipow__", [x], smooth=smooth, second_order=smooth, **both(called))


@space("copy_")
def copy_(draw: Draw) -> Case:
    """The source gets the gradient, whatever its dtype and however it broadcasts."""
    dtype = any_dtype(draw)
    x = numbers(draw, any_shape(draw), dtype, SPECIAL)
    shape = _broadcast_to(draw, x.shape)
    source = numbers(draw, shape, any_dtype(draw) if draw.flag() else dtype, SPECIAL if dtype.kind == "f" else VALUES)
    if dtype == np.uint8:
        source = abs(source)
    draw.note_if(source.dtype != dtype, "mixed dtypes")
    differentiable = source.dtype.kind == dtype.kind == "f"
    terms = repeats([x.shape, shape])
    return Case(
        "Tensor.copy_",
        [x, source],
        needs=[1] if differentiable else [],
        magnitude=terms if terms > 1 else 0,
        differentiable=differentiable,
        smooth=finite(source),
        **both(lambda x, source: _computed(x).copy_(source)),
    )


@space("fill_")
def fill_(draw: Draw) -> Case:
    dtype = any_dtype(draw)
    number = draw.choice((2, 0, True) if dtype.kind != "f" else (2.5, -3, 0, float("inf"), True))
    draw.note("python number")
    x = numbers(draw, any_shape(draw), dtype)
    call = both(lambda x, value: x.clone().fill_(value))
    return Case("Tensor.fill_", [x], {"value": number}, differentiable=False, **call)


@space("zero_")
def zero_(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)
    return Case("Tensor.zero_", [x], differentiable=False, **both(lambda x: x.clone().zero_()))
