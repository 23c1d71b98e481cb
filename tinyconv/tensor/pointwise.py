"""Functions of each element, which are methods of Tensor too: `tc.exp(x)` is `x.exp()`.

Operands broadcast, and the dtype of the result is torch's (see `engine.dtypes.result_type`). Functions with real values
make float32 of integers.
"""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.dtypes import result_type
from tinyconv.engine.each_step import computed
from tinyconv.engine.variants import op_name
from tinyconv.errors import DtypeError
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.refusals import check_tensor, refused
from tinyconv.tensor.signatures import Operand
from tinyconv.tensor.tensor import Tensor, apply, binary, compare, kind_of, operand, unary, wrap

__all__ = [
    "abs", "add", "clamp", "div", "eq", "exp", "ge", "gt", "isfinite", "isnan", "le", "log", "lt", "maximum", "minimum",
    "mul", "ne", "neg", "pow", "relu", "sigmoid", "sqrt", "sub", "tanh",
]  # fmt: skip

# --- one operand ----------------------------------------------------------------------------------------------------


def exp(input: Tensor) -> Tensor:
    """e to the power of each element. Integers become float32."""
    return unary(ops.Exp, input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm: NaN below 0, -inf at 0. Integers become float32."""
    return unary(ops.Log, input)


def sqrt(input: Tensor) -> Tensor:
    """The square root: NaN below 0, and an infinite gradient at 0. Integers become float32."""
    return unary(ops.Sqrt, input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent; integers become float32."""
    return unary(ops.Tanh, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow; integers become float32."""
    return unary(ops.Sigmoid, input)


def relu(input: Tensor) -> Tensor:
    """max(x, 0); its gradient is 0 at 0. NaN stays NaN."""
    check_tensor("relu", input)
    return apply(ops.Relu, input)


def abs(input: Tensor) -> Tensor:
    """The absolute value of each element; its gradient is 0 at 0."""
    check_tensor("abs", input)
    return apply(ops.Abs, input)


def neg(input: Tensor) -> Tensor:
    """-x. Raises DtypeError for a bool tensor."""
    check_tensor("neg", input)
    return -input


def isnan(input: Tensor) -> Tensor:
    """Where elements are NaN: a bool tensor."""
    check_tensor("isnan", input)
    return wrap(computed(lambda x: x != x, ready(input.array)))


def isfinite(input: Tensor) -> Tensor:
    """Where elements are neither NaN nor infinite: a bool tensor."""
    check_tensor("isfinite", input)
    return wrap(computed(backend_of(input.array).xp.isfinite, input.array))


# --- two ------------------------------------------------------------------------------------------------------------


def _pair(op: Any, input: Any, other: Any, floating: bool = False) -> Tensor:
    """A tensor and an operand to an op that broadcasts."""
    check_tensor(op_name(op).lower(), input)
    return _known(op_name(op).lower(), other, binary(op, input, other, floating))


def _compared(name: str, input: Any, other: Any) -> Tensor:
    check_tensor(name, input)
    return _known(name, other, compare(name, input, other))


def _known(name: str, other: Any, found: Any) -> Any:
    """What an operator found. Python asks the other operand where it is NotImplemented; a function cannot."""
    if found is NotImplemented:
        raise DtypeError(f"{name}: expected a tensor or a number, got {type(other).__name__}")
    return found


def add(input: Tensor, other: Operand) -> Tensor:
    """input + other, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return _pair(ops.Add, input, other)


def sub(input: Tensor, other: Operand) -> Tensor:
    """input - other, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return _pair(ops.Sub, input, other)


def mul(input: Tensor, other: Operand) -> Tensor:
    """input * other, element by element, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return _pair(ops.Mul, input, other)


def div(input: Tensor, other: Operand) -> Tensor:
    """input / other, broadcast; integers become float32. Raises ShapeError where the shapes do not broadcast."""
    return _pair(ops.Div, input, other, floating=True)


def pow(input: Tensor, other: Operand) -> Tensor:
    """input to the power of other, broadcast. Raises ShapeError where the shapes do not broadcast."""
    return _pair(ops.Pow, input, other)


def maximum(input: Tensor, other: Operand) -> Tensor:
    """The larger of each two elements, broadcast; NaN wins. Equal elements share the gradient."""
    return _pair(ops.Maximum, input, other)


def minimum(input: Tensor, other: Operand) -> Tensor:
    """The smaller of each two elements, broadcast; NaN wins. Equal elements share the gradient."""
    return _pair(ops.Minimum, input, other)


def eq(input: Tensor, other: Operand) -> Tensor:
    """Where elements are equal: a bool tensor, broadcast."""
    return _compared("equal", input, other)


def ne(input: Tensor, other: Operand) -> Tensor:
    """Where elements differ: a bool tensor, broadcast."""
    return _compared("not_equal", input, other)


def lt(input: Tensor, other: Operand) -> Tensor:
    """Where input < other: a bool tensor, broadcast."""
    return _compared("less", input, other)


def le(input: Tensor, other: Operand) -> Tensor:
    """Where input <= other: a bool tensor, broadcast."""
    return _compared("less_equal", input, other)


def gt(input: Tensor, other: Operand) -> Tensor:
    """Where input > other: a bool tensor, broadcast."""
    return _compared("greater", input, other)


def ge(input: Tensor, other: Operand) -> Tensor:
    """Where input >= other: a bool tensor, broadcast."""
    return _compared("greater_equal", input, other)


# --- and bounds -----------------------------------------------------------------------------------------------------


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
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
        return apply(ops.Clamp, x, low=low, high=high)
    for bound, beyond in ((low, lt), (high, gt)):
        if bound is not None:
            limit = bound.to(x.dtype) if isinstance(bound, Tensor) else wrap(to_array(bound, x.dtype, x.device))
            x = apply(ops.Where, beyond(x, limit) | limit.isnan(), limit, x)
    return x
