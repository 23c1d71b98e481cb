"""Functions of each element, which are methods of Tensor too: `tc.exp(x)` is `x.exp()`.

Operands broadcast, and the dtype of the result is torch's (see `engine.dtypes.result_type`). Functions with real values
make float32 of integers. `out`, a tensor of the result's shape, or an empty one, is written to and returned; nothing is
recorded then, so neither it nor an operand may require grad while recording.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.dtypes import result_type
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, number, real
from tinyconv.engine.variants import op_name
from tinyconv.errors import DtypeError, OptionError, shortened
from tinyconv.shapes import whole
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.memory import into
from tinyconv.tensor.refusals import check_tensor, refused
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.signatures import Operand, Scalar
from tinyconv.tensor.tensor import Tensor, apply, binary, compare, kind_of, operand, unary, wrap
from tinyconv.user_frame import warn

__all__ = [
    "abs",
    "absolute",
    "acos",
    "add",
    "addcdiv",
    "addcmul",
    "allclose",
    "arccos",
    "arcsin",
    "arctan",
    "arctan2",
    "asin",
    "atan",
    "atan2",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "cos",
    "cosh",
    "div",
    "divide",
    "eq",
    "equal",
    "erf",
    "exp",
    "expm1",
    "fix",
    "floor",
    "floor_divide",
    "fmod",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "lerp",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "ne",
    "neg",
    "negative",
    "not_equal",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]  # fmt: skip

# --- one operand, real values -----------------------------------------------------------------------------------------


def exp(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """e to the power of each element. Integers become float32."""
    return into(out, unary(ops.Exp, input))


def expm1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """e^x - 1, exact near 0. Integers become float32."""
    return into(out, unary(ops.Expm1, input))


def log(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The natural logarithm: NaN below 0, -inf at 0. Integers become float32."""
    return into(out, unary(ops.Log, input))


def log1p(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """ln(1 + x), exact near 0. Integers become float32."""
    return into(out, unary(ops.Log1p, input))


def log2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 2: NaN below 0, -inf at 0. Integers become float32."""
    return into(out, unary(ops.Log2, input))


def log10(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 10: NaN below 0, -inf at 0. Integers become float32."""
    return into(out, unary(ops.Log10, input))


def sqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The square root: NaN below 0, and an infinite gradient at 0. Integers become float32."""
    return into(out, unary(ops.Sqrt, input))


def sin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sine of each element, in radians. Integers become float32."""
    return into(out, unary(ops.Sin, input))


def cos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The cosine of each element, in radians. Integers become float32."""
    return into(out, unary(ops.Cos, input))


def tan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The tangent of each element, in radians. Integers become float32."""
    return into(out, unary(ops.Tan, input))


def asin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle from -pi/2 to pi/2 with this sine: NaN outside [-1, 1]. Integers become float32."""
    return into(out, unary(ops.Asin, input))


def acos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle from 0 to pi with this cosine: NaN outside [-1, 1]. Integers become float32."""
    return into(out, unary(ops.Acos, input))


def atan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle from -pi/2 to pi/2 with this tangent. Integers become float32."""
    return into(out, unary(ops.Atan, input))


def sinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic sine. Integers become float32."""
    return into(out, unary(ops.Sinh, input))


def cosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic cosine. Integers become float32."""
    return into(out, unary(ops.Cosh, input))


def tanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent; integers become float32."""
    return into(out, unary(ops.Tanh, input))


def sigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / (1 + e^-x), without overflow; integers become float32."""
    return into(out, unary(ops.Sigmoid, input))


def erf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of e^(-s^2) from 0 to x. Integers become float32."""
    return into(out, unary(ops.Erf, input))


def rsqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(x): NaN below 0, infinite at 0. Integers become float32."""
    check_tensor("rsqrt", input)
    return into(out, 1 / sqrt(input))


def reciprocal(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / x. Integers become float32."""
    check_tensor("reciprocal", input)
    return into(out, 1 / input)


# --- one operand of any dtype -----------------------------------------------------------------------------------------


def square(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x^2, in the dtype of x; bools become int64."""
    check_tensor("square", input)
    return into(out, input**2)


def abs(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The absolute value of each element; its gradient is 0 at 0."""
    check_tensor("abs", input)
    return into(out, apply(ops.Abs, input))


def neg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-x. Raises DtypeError for a bool tensor."""
    check_tensor("neg", input)
    return into(out, -input)


def relu(input: Tensor) -> Tensor:
    """max(x, 0); its gradient is 0 at 0. NaN stays NaN."""
    check_tensor("relu", input)
    return apply(ops.Relu, input)


def sign(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 where x > 0, -1 where x < 0, else 0, and 0 for NaN. The gradient is 0."""
    check_tensor("sign", input)
    return into(out, input.clone() if input.dtype.kind == "b" else apply(ops.Sign, input))


def floor(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The largest integer that is not above x, in the dtype of x. The gradient is 0."""
    return into(out, _stepped("floor", input))


def ceil(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smallest integer that is not below x, in the dtype of x. The gradient is 0."""
    return into(out, _stepped("ceil", input))


def trunc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x without its fraction, cut off towards 0, in the dtype of x. The gradient is 0."""
    return into(out, _stepped("trunc", input))


def round(input: Tensor, *, decimals: int = 0, out: Tensor | None = None) -> Tensor:
    """The nearest integer, the even one of two; or the nearest multiple of 10^-decimals. The gradient is 0.

    Raises DtypeError for `decimals` of integers.
    """
    check_tensor("round", input)
    decimals = whole(decimals, "round: decimals")
    if not decimals:
        return into(out, _stepped("rint", input))
    if input.dtype.kind != "f":
        raise DtypeError(f"round: decimals={decimals} is for floating-point tensors, got {input.dtype}: x.float()?")
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return into(out, _stepped("rint", input * scale) / scale)
    return into(out, _stepped("rint", input / scale) * scale)


def _stepped(step: str, x: Tensor) -> Tensor:
    check_tensor(step, x)
    return apply(ops.Step, x, step=step) if x.dtype.kind == "f" else x.clone()


def nan_to_num(
    input: Tensor,
    nan: Scalar | None = 0.0,
    posinf: Scalar | None = None,
    neginf: Scalar | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Numbers in place of NaN and of infinities: 0 and the largest and the smallest number of the dtype, unless given.

    The gradient is 0 where a number was put in.
    """
    check_tensor("nan_to_num", input)
    x = input
    if x.dtype.kind != "f":
        return into(out, x.clone())
    most = float(np.finfo(x.dtype).max)
    for where, value in (
        (isnan(x), 0.0 if nan is None else nan),
        (input == float("inf"), most if posinf is None else posinf),
        (input == float("-inf"), -most if neginf is None else neginf),
    ):
        x = apply(ops.Where, where, real("nan_to_num", value), x)
    return into(out, x)


def isnan(input: Tensor) -> Tensor:
    """Where elements are NaN: a bool tensor."""
    check_tensor("isnan", input)
    return wrap(computed(lambda x: x != x, ready(input.array)))


def isfinite(input: Tensor) -> Tensor:
    """Where elements are neither NaN nor infinite: a bool tensor."""
    check_tensor("isfinite", input)
    return wrap(computed(backend_of(input.array).xp.isfinite, input.array))


def isinf(input: Tensor) -> Tensor:
    """Where elements are infinite, of either sign: a bool tensor."""
    check_tensor("isinf", input)
    return wrap(computed(backend_of(input.array).xp.isinf, input.array))


def logical_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Where elements are 0 (or False): a bool tensor."""
    check_tensor("logical_not", input)
    return into(out, input == 0)


def bitwise_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """~input: each bit the other way round, or each bool. Raises DtypeError for floating point."""
    check_tensor("bitwise_not", input)
    return into(out, ~input)


# --- two operands -----------------------------------------------------------------------------------------------------


def _pair(op: Any, input: Any, other: Any, floating: bool = False) -> Tensor:
    """Two operands, one of them a tensor, to an op that broadcasts."""
    if not isinstance(input, Tensor) and (not isinstance(other, Tensor) or operand(input) is None):
        check_tensor(op_name(op), input)
    return _known(op_name(op).lower(), other, binary(op, input, other, floating))


def _compared(name: str, input: Any, other: Any) -> Tensor:
    check_tensor(name, input)
    return _known(name, other, compare(name, input, other))


def _known(name: str, other: Any, found: Any) -> Any:
    """What an operator found. Python asks the other operand where it is NotImplemented; a function cannot."""
    if found is NotImplemented:
        raise DtypeError(f"{name}: expected a tensor or a number, got {type(other).__name__}")
    return found


def scaled(name: str, input: Any, other: Any, alpha: Any) -> Any:
    """alpha * other, to be added to `input`. PyTorch's older order, add(alpha, other), is understood and warned of."""
    if isinstance(alpha, Tensor) and not isinstance(other, Tensor):
        warn(f"{name}(alpha, other) is deprecated: {name}(other, alpha=alpha)")
        other, alpha = alpha, other
    factor = number(alpha)
    if factor is None:
        raise OptionError(f"{name}: alpha: expected a number, got {shortened(alpha)}")
    if factor == 1:
        return other
    given = [t for t in (input, other) if isinstance(t, Tensor)]
    if isinstance(factor, float) and given and all(t.dtype.kind != "f" for t in given):
        raise DtypeError(f"{name}: alpha={factor} is for floating-point tensors, got {given[-1].dtype}: x.float()?")
    return other * factor


def add(input: Operand, other: Operand, alpha: Scalar | Tensor = 1, *, out: Tensor | None = None) -> Tensor:
    """input + alpha other, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return into(out, _pair(ops.Add, input, scaled("add", input, other, alpha)))


def sub(input: Operand, other: Operand, alpha: Scalar | Tensor = 1, *, out: Tensor | None = None) -> Tensor:
    """input - alpha other, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return into(out, _pair(ops.Sub, input, scaled("sub", input, other, alpha)))


def mul(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input * other, element by element, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return into(out, _pair(ops.Mul, input, other))


def div(
    input: Operand,
    other: Operand,
    *,
    rounding_mode: Literal["floor", "trunc"] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """input / other, broadcast; integers become float32.

    `rounding_mode` "floor" or "trunc" rounds the quotient, down or towards 0, and keeps the dtype; its gradient is 0.
    Raises ShapeError where the shapes do not broadcast, ZeroDivisionError for a whole quotient of integers by 0, and
    ValueError for another mode.
    """
    if rounding_mode is None:
        return into(out, _pair(ops.Div, input, other, floating=True))
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {shortened(rounding_mode)}")
    return into(out, _pair(ops.FloorDivide if rounding_mode == "floor" else ops.TruncDivide, input, other))


def floor_divide(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input // other, the quotient rounded down, in the dtype of the operands; its gradient is 0.

    PyTorch's has no gradient at all. Raises ShapeError where the shapes do not broadcast, and ZeroDivisionError for
    integers by 0.
    """
    return into(out, _pair(ops.FloorDivide, input, other))


def remainder(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input % other, with the sign of `other`, as Python has it. ZeroDivisionError for integers by 0."""
    return into(out, _pair(ops.Remainder, input, other))


def fmod(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """The remainder with the sign of `input`, as C has it. ZeroDivisionError for integers by 0."""
    return into(out, _pair(ops.Fmod, input, other))


def pow(input: Operand, exponent: Operand, *, out: Tensor | None = None) -> Tensor:
    """input to the power of exponent, broadcast.

    Raises ShapeError where the shapes do not broadcast, and OptionError for integers to a negative integer power.
    """
    if isinstance(exponent, Tensor) and not isinstance(input, Tensor):
        return into(out, _known("pow", input, exponent.__rpow__(input)))
    return into(out, _pair(ops.Pow, input, exponent))


def atan2(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """The angle of the point (other, input), from -pi to pi; integers become float32. Its gradient at 0, 0 is 0."""
    return into(out, _pair(ops.Atan2, input, other, floating=True))


def maximum(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """The larger of each two elements, broadcast; NaN wins. Equal elements share the gradient."""
    return into(out, _pair(ops.Maximum, input, other))


def minimum(input: Operand, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """The smaller of each two elements, broadcast; NaN wins. Equal elements share the gradient."""
    return into(out, _pair(ops.Minimum, input, other))


# --- comparisons and logic: bool tensors, outside the tape ------------------------------------------------------------


def eq(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where elements are equal: a bool tensor, broadcast."""
    return into(out, _compared("equal", input, other))


def ne(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where elements differ: a bool tensor, broadcast."""
    return into(out, _compared("not_equal", input, other))


def lt(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input < other: a bool tensor, broadcast."""
    return into(out, _compared("less", input, other))


def le(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input <= other: a bool tensor, broadcast."""
    return into(out, _compared("less_equal", input, other))


def gt(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input > other: a bool tensor, broadcast."""
    return into(out, _compared("greater", input, other))


def ge(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where input >= other: a bool tensor, broadcast."""
    return into(out, _compared("greater_equal", input, other))


def logical_and(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where both are not 0: a bool tensor, broadcast."""
    return into(out, _compared("bitwise_and", *_truths("logical_and", input, other)))


def logical_or(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where one or both are not 0: a bool tensor, broadcast."""
    return into(out, _compared("bitwise_or", *_truths("logical_or", input, other)))


def logical_xor(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """Where one of the two is not 0: a bool tensor, broadcast."""
    return into(out, _compared("bitwise_xor", *_truths("logical_xor", input, other)))


def _truths(name: str, input: Tensor, other: Any) -> tuple[Tensor, Any]:
    check_tensor(name, input)
    known = operand(other)
    if known is None:
        refused(name, other)
    return input.bool(), known.bool() if isinstance(known, Tensor) else bool(known)


def bitwise_and(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input & other: of bools, or bit by bit of integers. Raises DtypeError for floating point."""
    return into(out, _compared("bitwise_and", input, other))


def bitwise_or(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input | other: of bools, or bit by bit of integers. Raises DtypeError for floating point."""
    return into(out, _compared("bitwise_or", input, other))


def bitwise_xor(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input ^ other: of bools, or bit by bit of integers. Raises DtypeError for floating point."""
    return into(out, _compared("bitwise_xor", input, other))


def bitwise_left_shift(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input << other, bit by bit of integers; 0 where it shifts all bits away. Raises DtypeError for other kinds."""
    return into(out, _compared("left_shift", input, other))


def bitwise_right_shift(input: Tensor, other: Operand, *, out: Tensor | None = None) -> Tensor:
    """input >> other, bit by bit of integers; -1 below 0 and else 0 where it shifts all bits away.

    Raises DtypeError for other kinds.
    """
    return into(out, _compared("right_shift", input, other))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol |other|, or both are equal; NaN and NaN only with `equal_nan`."""
    check_tensor("isclose", input)
    check_tensor("isclose", other)
    a, b = (t.detach() if t.dtype.kind in "bf" else t.to(np.float64) for t in (input, other))
    gap = (a - b).abs() if a.dtype.kind != "b" else a ^ b
    close = eq(a, b) | (
        isfinite(gap) & (gap <= finite("isclose: atol", atol) + (finite("isclose: rtol", rtol) * b).abs())
    )
    return close | (isnan(a) & isnan(b)) if equal_nan else close


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all elements: a Python bool."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have one shape and equal elements: a Python bool."""
    check_tensor("equal", input)
    check_tensor("equal", other)
    return input.shape == other.shape and bool(eq(input, other).all())


# --- three ------------------------------------------------------------------------------------------------------------


def clamp(
    input: Tensor, min: Operand | None = None, max: Operand | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Limited to [min, max]; either may be left out, and either may be a tensor that broadcasts.

    A bound that is NaN wins. Raises ValueError where both are left out, and ShapeError where they do not broadcast.
    """
    check_tensor("clamp", input)
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    low, high = operand(min), operand(max)
    for given, bound in ((min, low), (max, high)):
        if given is not None and bound is None:
            refused("clamp", given)
    x = input.to(result_type(map(kind_of, (v for v in (input, low, high) if v is not None))))
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        low, high = (_within(bound, x) for bound in (low, high))
        return into(out, apply(ops.Clamp, x, low=low, high=high))
    for bound, beyond in ((low, lt), (high, gt)):
        if bound is not None:
            limit = bound.to(x.dtype) if isinstance(bound, Tensor) else wrap(to_array(bound, x.dtype, x.device))
            x = apply(ops.Where, beyond(x, limit) | limit.isnan(), limit, x)
    return into(out, x)


def _within(bound: Scalar | None, x: Tensor) -> Scalar | None:
    """A bound as near as the dtype of `x` has it: below 0 there is nothing to limit in unsigned integers."""
    if x.dtype.kind not in "iu" or bound is None:
        return bound
    return builtins.min(builtins.max(int(bound), np.iinfo(x.dtype).min), np.iinfo(x.dtype).max)


def clamp_min(input: Tensor, min: Operand, *, out: Tensor | None = None) -> Tensor:
    """As `clamp` with a lower bound alone."""
    return clamp(input, min, out=out)


def clamp_max(input: Tensor, max: Operand, *, out: Tensor | None = None) -> Tensor:
    """As `clamp` with an upper bound alone."""
    return clamp(input, None, max, out=out)


def addcmul(
    input: Tensor, tensor1: Operand, tensor2: Operand, value: Scalar | Tensor = 1, *, out: Tensor | None = None
) -> Tensor:
    """input + value tensor1 tensor2, broadcast."""
    input, tensor1, tensor2, value = _of_one_dtype("addcmul", input, tensor1, tensor2, value)
    return into(out, _plus(input, tensor1, tensor2, value, mul))


def addcdiv(
    input: Tensor, tensor1: Operand, tensor2: Operand, value: Scalar | Tensor = 1, *, out: Tensor | None = None
) -> Tensor:
    """input + value tensor1 / tensor2, broadcast."""
    input, tensor1, tensor2, value = _of_one_dtype("addcdiv", input, tensor1, tensor2, value)
    return into(out, _plus(input, tensor1, tensor2, value, div))


@rounded_once
def _plus(input: Tensor, tensor1: Any, tensor2: Any, value: Any, product: Callable[..., Tensor]) -> Tensor:
    return add(input, product(tensor1, tensor2), alpha=value)


def _of_one_dtype(name: str, input: Any, tensor1: Any, tensor2: Any, value: Any) -> tuple[Any, Any, Any, Any]:
    """The tensors in the dtype of the result, for a product in a smaller one would wrap around or be rounded.

    PyTorch's older order, value first, is understood and warned of.
    """
    if not isinstance(tensor1, Tensor) and isinstance(value, Tensor):
        warn(f"{name}(value, tensor1, tensor2) is deprecated: {name}(tensor1, tensor2, value=value)")
        tensor1, tensor2, value = tensor2, value, tensor1
    given = [t for t in (input, tensor1, tensor2) if isinstance(t, Tensor)]
    if given:
        dtype = result_type(map(kind_of, given))
        input, tensor1, tensor2 = (t.to(dtype) if isinstance(t, Tensor) else t for t in (input, tensor1, tensor2))
    return input, tensor1, tensor2, value


def lerp(input: Tensor, end: Tensor, weight: Operand, *, out: Tensor | None = None) -> Tensor:
    """input + weight (end - input), broadcast: `input` at weight 0, `end` at weight 1, exactly.

    Raises DtypeError unless the tensors are of one floating-point dtype.
    """
    check_tensor("lerp", input)
    if not isinstance(end, Tensor) or end.dtype != input.dtype or input.dtype.kind != "f":
        got = f"{input.dtype} and {getattr(end, 'dtype', type(end).__name__)}"
        raise DtypeError(f"lerp: expected two tensors of one floating-point dtype, got {got}")
    share = operand(weight)
    if share is None:
        refused("lerp", weight)
    if isinstance(share, Tensor):
        share = share.to(input.dtype)  # 1 - share of unsigned integers would wrap around
    return into(out, _between(input, end, share))


@rounded_once
def _between(input: Tensor, end: Tensor, share: Tensor | Scalar) -> Tensor:
    step = end - input
    if isinstance(share, Tensor):
        near = lt(abs(share.detach()), 0.5)
        return apply(ops.Where, near, input + share * step, end - step * (1 - share))
    return input + share * step if -0.5 < share < 0.5 else end - step * (1 - share)


# --- PyTorch's other names --------------------------------------------------------------------------------------------

absolute, negative, fix, clip = abs, neg, trunc, clamp
subtract, multiply, divide, true_divide = sub, mul, div, div
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
