"""Linear layers, flattening, ReLU and cross-entropy: the same formulas in fewer passes and fewer calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast.numpy.blas import with_blas_for
from tinyconv.fast.numpy.layout import Array, in_rows
from tinyconv.fast.numpy.pool import ROW, relu_backward, relu_in_place


def matrices_apply(x: Array, weight: Array, bias: Any) -> bool:
    return x.ndim == 2 and x.dtype.char in "fd" and x.size > 0


class Linear:
    """Must equal `ops.Linear` (tinyconv/ops/linear.py), to rounding. dbias is a product with ones."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any) -> Any:
        y = with_blas_for(len(x) * weight.size, np.matmul, x, weight.T)
        if bias is not None:
            y += bias
        return y, (x, weight)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        x, weight = saved

        def gradients() -> Any:
            return (
                dy @ weight if needs[0] else None,
                dy.T @ x if needs[1] else None,
                np.ones(len(dy), dy.dtype) @ dy if needs[2] else None,  # faster than a sum
            )

        return with_blas_for(len(x) * weight.size, gradients)


class LinearRelu:
    """Must equal `ops.LinearRelu` (tinyconv/ops/fused.py), to rounding. The ReLU is written over the sums."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any) -> Any:
        y, saved = Linear.forward(xp, x, weight, bias)
        return relu_in_place(y), (*saved, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        x, weight, y = saved
        return Linear.backward(xp, (x, weight), relu_backward(y, dy), needs)


def relu_applies(x: Array) -> bool:
    """Where x is large and has no holes: in NumPy's order, or with the batch innermost."""
    return x.size > ROW and x.dtype.char in "fd" and (x.flags.c_contiguous or in_rows(x))


class Relu:
    """Must equal `ops.Relu` (tinyconv/ops/activation.py), to the bit. Several threads share it out."""

    @staticmethod
    def forward(xp: Any, x: Array) -> Any:
        y = relu_in_place(x.copy(order="K"))
        return y, (y,)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        (y,) = saved
        return (relu_backward(y, dy),)


def flattens(x: Array, *, shape: Any) -> bool:
    return in_rows(x) and isinstance(shape, tuple) and len(shape) == 2 and shape[0] == x.shape[0]


class Reshape:
    """Must equal `ops.Reshape` (tinyconv/ops/shape.py), to the bit.

    Flattens images with the batch innermost to features with the batch innermost, a copy in long runs.
    """

    @staticmethod
    def forward(xp: Any, x: Array, *, shape: Any) -> Any:
        n = len(x)
        return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).reshape(-1, n).T, (x.shape,)

    backward = ops.Reshape.backward


def cross_entropy_applies(
    x: Array, target: Array, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> bool:
    """For matrices of scores, classes of equal weight, no example left out, and the mean.

    Targets were checked: one that is no class is `ignore_index`, and lies on its side of the classes.
    """
    return (
        x.ndim == 2
        and x.dtype.char in "fd"
        and x.size > 0
        and weight is None
        and reduction == "mean"
        and not label_smoothing
        and (target.min() >= 0 if ignore_index < 0 else ignore_index >= x.shape[1] > target.max())
    )


class CrossEntropy:
    """Must equal `ops.CrossEntropy` (tinyconv/ops/loss.py), to rounding.

    Saves the softmax, from which the gradient is one subtraction and one product away.
    """

    @staticmethod
    def forward(xp: Any, x: Array, target: Array, weight: Any, **options: Any) -> Any:
        n = np.arange(len(x))
        shifted = x - x.max(axis=1, keepdims=True)
        p = np.exp(shifted)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        loss = np.log(total[:, 0]) - shifted[n, target]
        return np.add.reduce(loss) * x.dtype.type(1 / len(x)), (p, n, target)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **options: Any) -> Any:
        p, n, target = saved
        dx = p.copy()  # the graph may be walked again
        dx[n, target] -= 1
        dx *= dy / len(p)
        return dx, None, None
