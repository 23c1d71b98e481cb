"""Linear layers, in the kernels of linear.cu: one launch forward, one to three back (product.py)."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.fast.cuda.build import MOST, REAL
from tinyconv.fast.cuda.product import After, gradients, multiply, product
from tinyconv.shapes import product as elements

Array = Any


def applies(x: Array, weight: Array, bias: Any) -> bool:
    """float32 and float64, where there are weights and an int can count the elements."""
    y = elements(x.shape[:-1]) * len(weight)
    return x.dtype.char in REAL and weight.size > 0 and max(x.size, weight.size, y) <= MOST


def forward(xp: Any, x: Array, weight: Array, bias: Any, after: After) -> tuple[Any, tuple[Array, Array]]:
    """y, after a ReLU if that is what comes `after`; and x and weight without holes."""
    x, weight = xp.ascontiguousarray(x), xp.ascontiguousarray(weight)
    bias = None if bias is None else xp.ascontiguousarray(bias)
    (*lead, i), o = x.shape, len(weight)
    n, y = elements(lead), xp.empty((*lead, o), x.dtype)
    multiply(xp, "linear.cu:forward", y, product(n, o), x, weight, bias, y, n, i, o, after=after)
    return y, (x, weight)


def backward(xp: Any, x: Array, weight: Array, dy: Array, needs: Any, y: Any = None) -> tuple[Any, Any, Any]:
    """(dx, dweight, dbias), through the ReLU if its output `y` is given."""
    n, (o, i) = elements(x.shape[:-1]), weight.shape
    arrays = xp.ascontiguousarray(dy), y, x, weight
    after: After = "NOTHING" if y is None else "RELU"
    return gradients(xp, "linear.cu:backward", arrays, (n, i, o), weight.shape, needs, product(n, i), n, after=after)


class Linear:
    """Must equal `ops.Linear` (tinyconv/ops/linear.py), to rounding. Bias and dbias are in the products."""

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any) -> Any:
        return forward(xp, x, weight, bias, "NOTHING")

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        x, weight = saved
        return backward(xp, x, weight, dy, needs)


class LinearRelu:
    """Must equal `ops.LinearRelu` (tinyconv/ops/fused.py), to rounding. Bias, dbias and ReLU are in the products."""

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any) -> Any:
        y, saved = forward(xp, x, weight, bias, "RELU")
        return y, (*saved, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        x, weight, y = saved
        return backward(xp, x, weight, dy, needs, y)


PAIRS = ((ops.Linear, Linear, applies), (ops.LinearRelu, LinearRelu, applies))
