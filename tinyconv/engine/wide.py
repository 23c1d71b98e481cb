"""Float16, computed in float32: what is added up or squared on the way may not fit where the result does.

Float16 ends at 65504, and above 2048 it has no odd numbers. So a pair of an op that sums, squares or takes several
steps gets float32 in place of float16, and its output and gradients are rounded once, at the end. Here that is done for
all of them; the ops themselves are written as for any dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import Array

FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
WIDE: tuple[Any, ...] = (
    ops.Sigmoid, ops.Tanh, ops.Silu, ops.Gelu, ops.GeluTanh, ops.Softmax, ops.LogSoftmax,
    ops.Conv2d, ops.ConvTranspose2d, ops.Fold, ops.Unfold, ops.GridSample, ops.Linear, ops.Matmul,
    ops.Conv2dRelu, ops.Conv2dReluMaxPool2d, ops.LinearRelu, ops.ReluMaxPool2d,
    ops.Elu, ops.Hardswish, ops.Softplus,
    ops.MaxPool2d, ops.AvgPool2d, ops.AdaptiveAvgPool2d, ops.AdaptiveMaxPool2d,
    ops.Mean, ops.Var, ops.Std, ops.Norm, ops.Prod, ops.LogSumExp, ops.Amax, ops.Amin,
    ops.Div, ops.Remainder, ops.Fmod, ops.Pow, ops.Exp, ops.LogAddExp, ops.AddAt, ops.Embedding,
    ops.Sin, ops.Cos, ops.Tan, ops.Asin, ops.Acos, ops.Atan, ops.Atan2, ops.Sinh, ops.Cosh, ops.Expm1, ops.Log1p,
    ops.Log2, ops.Log10, ops.Erf, ops.PNorm, ops.Cumsum, ops.Cumprod,
    ops.MseLoss, ops.L1Loss, ops.HuberLoss, ops.Bce, ops.BceWithLogits, ops.NllLoss, ops.CrossEntropy,
    ops.SoftCrossEntropy,
    ops.BatchNorm, ops.GroupNorm, ops.LayerNorm,
)  # fmt: skip
"""The ops, and those derived from them, that compute so. The others make one step, or sum in float32 by themselves
(`ops.reduce.total`)."""


def is_wide(op: Any) -> bool:
    """Whether this op computes in float32 what it is given in float16."""
    return isinstance(op, type) and issubclass(op, WIDE)


def in_float16(arrays: list[Any]) -> bool:
    """Whether the first array of an op's inputs is float16; before it there may be a number (2 / x)."""
    first = arrays[0]
    char: str = (first if hasattr(first, "dtype") else arrays[1]).dtype.char
    return char == "e"


def widened(array: Any) -> Any:
    """A float16 array as float32; anything else as it is."""
    return array.astype(FLOAT32) if getattr(array, "dtype", None) == FLOAT16 else array


class Wide:
    """A pair that runs in float32 for float16 inputs; the rest, such as integers, goes through as it is.

    Only the output is rounded. What comes beside it (a batch's variance) may not fit, and its user rounds it.
    """

    def __init__(self, pair: Any) -> None:
        self.pair = self.__wrapped__ = pair  # who asks which pair ran looks there (`inspect.unwrap`)

    def forward(self, xp: Any, *arrays: Array, **geometry: Any) -> Any:
        y, saved = self.pair.forward(xp, *map(widened, arrays), **geometry)
        if type(y) is tuple:
            return (narrowed(y[0]), *y[1:]), saved
        return narrowed(y), saved

    def backward(self, xp: Any, saved: Any, dy: Array, needs: tuple[bool, ...], **geometry: Any) -> Any:
        grads = self.pair.backward(xp, saved, widened(dy), needs, **geometry)
        return tuple([None if grad is None else narrowed(grad) for grad in grads])


def narrowed(array: Any) -> Any:
    """A float32 array as float16, infinite where it does not fit."""
    return array.astype(FLOAT16)
