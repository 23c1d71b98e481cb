"""Functions of each element, which are methods of Tensor too: `tc.exp(x)` is `x.exp()`."""

from __future__ import annotations

from tinyconv import ops
from tinyconv.tensor.tensor import Tensor, unary

__all__ = ["exp", "log", "sqrt"]


def exp(input: Tensor) -> Tensor:
    """e to the power of each element. Integers become float32."""
    return unary(ops.Exp, input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm: NaN below 0, -inf at 0. Integers become float32."""
    return unary(ops.Log, input)


def sqrt(input: Tensor) -> Tensor:
    """The square root: NaN below 0, and an infinite gradient at 0. Integers become float32."""
    return unary(ops.Sqrt, input)
