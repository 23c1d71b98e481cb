"""Linear layers, flattening, ReLU and cross-entropy: the same formulas in fewer passes and fewer calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast.numpy.blas import with_blas_for
from tinyconv.fast.numpy.layout import Array, images, in_rows, rows
from tinyconv.fast.numpy.pool import ROW, relu_backward, relu_in_place
from tinyconv.host.memory import empty


def matrices_apply(x: Array, weight: Array, bias: Any) -> bool:
    return x.ndim == 2 and x.dtype.char in "fd" and x.size > 0


class Linear:
    """Must equal `ops.Linear` (tinyconv/ops/linear.py), to rounding. dbias is a product with ones.

    The gradient of features that lie with the batch innermost (see `Reshape`) lies so too.
    """

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any) -> Any:
        y = empty((len(x), len(weight)), x.dtype)
        with_blas_for(len(x) * weight.size, np.matmul, x, weight.T, y)
        if bias is not None:
            y += bias
        return y, (x, weight)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any) -> Any:
        x, weight = saved
        dx, dweight, dbias = None, None, None
        if needs[0]:
            innermost = x.T.flags.c_contiguous and not x.flags.c_contiguous
            dx = empty(x.T.shape, dy.dtype).T if innermost else empty(x.shape, dy.dtype)
        if needs[1]:
            dweight = empty(weight.shape, dy.dtype)
        if needs[2]:
            dbias = empty((len(weight),), dy.dtype)

        def work_out() -> None:
            if dx is not None:
                np.matmul(dy, weight, out=dx)
            if dweight is not None:
                np.matmul(dy.T, x, out=dweight)
            if dbias is not None:
                np.matmul(np.ones(len(dy), dy.dtype), dy, out=dbias)  # faster than a sum

        with_blas_for(len(x) * weight.size, work_out)
        return dx, dweight, dbias


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
        y = empty(x.shape, x.dtype) if x.flags.c_contiguous else images(empty(rows(x).shape, x.dtype))
        np.copyto(y, x)
        return relu_in_place(y), (y,)

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
        features = x.transpose(1, 2, 3, 0)
        y = empty(features.shape, x.dtype)
        np.copyto(y, features)
        return y.reshape(-1, len(x)).T, (x.shape,)

    backward = ops.Reshape.backward


def cross_entropy_applies(
    x: Array, target: Array, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> bool:
    """For matrices of scores, classes of equal weight, and the mean or the sum."""
    return (
        x.ndim == 2
        and x.dtype.char in "fd"
        and x.size > 0
        and weight is None
        and reduction != "none"
        and not label_smoothing
    )


class CrossEntropy:
    """Must equal `ops.CrossEntropy` (tinyconv/ops/loss.py), to rounding.

    Saves the softmax, from which the gradient is one subtraction and one product away.
    """

    @staticmethod
    def forward(
        xp: Any, x: Array, target: Array, weight: Any, *, ignore_index: int, reduction: str, **other: Any
    ) -> Any:
        ignored = target == ignore_index
        if not np.logical_or.reduce(ignored):
            ignored = None
        else:
            target = np.where(ignored, 0, target)
        n, p = np.arange(len(x)), empty(x.shape, x.dtype)
        shifted = x - np.maximum.reduce(x, axis=1, keepdims=True)
        np.exp(shifted, out=p)
        total = np.add.reduce(p, axis=1, keepdims=True)
        p /= total
        loss, count = np.log(total[:, 0]) - shifted[n, target], len(x)
        if ignored is not None:
            loss[ignored], count = 0, count - int(np.count_nonzero(ignored))
        scale = x.dtype.type(1) / x.dtype.type(count) if reduction == "mean" else x.dtype.type(1)
        return np.add.reduce(loss) * scale, (p, n, target, ignored, scale)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **options: Any) -> Any:
        p, n, target, ignored, scale = saved
        dx = empty(p.shape, p.dtype)  # the graph may be walked again
        np.copyto(dx, p)
        dx[n, target] -= 1
        dx *= dy * scale
        if ignored is not None:
            dx[ignored] = p[ignored] * 0  # NaN where the softmax is
        return dx, None, None
