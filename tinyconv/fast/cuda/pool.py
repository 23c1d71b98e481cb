"""Pooling in one kernel each way, whatever the window: the readable ops take some kernels for each of its positions.

Max-pooling saves the place of each maximum, average pooling nothing but shapes.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast.cuda.build import MOST, REAL, blocks, launch
from tinyconv.ops.pool import output_size
from tinyconv.shapes import Pair, Shape

THREADS = 256
NUMBERS = 255
"""The most positions of a window whose maximum has its place in a byte: one value of the byte means none."""
WINDOW = np.dtype([(name, np.int32) for name in ("h", "w", "oh", "ow", "kh", "kw", "sh", "sw", "ph", "pw", "dh", "dw")])
"""`Window` in pool.cu."""


def counts(x: Any, out: Pair) -> bool:
    """Whether kernels can count these images and what they are pooled to."""
    return x.dtype.char in REAL and x.size > 0 and max(x.size, prod(x.shape[:2]) * prod(out)) <= MOST


def max_applies(x: Any, *, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> bool:
    return counts(x, output_size(x.shape, kernel, stride, padding, dilation, ceil_mode))


def relu_max_applies(x: Any, *, kernel: Pair, **geometry: Any) -> bool:
    return prod(kernel) <= NUMBERS and max_applies(x, kernel=kernel, **geometry)


def avg_applies(x: Any, *, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool, **divisor: Any) -> bool:
    return counts(x, output_size(x.shape, kernel, stride, padding, (1, 1), ceil_mode))


def adaptive_applies(x: Any, *, out: Pair) -> bool:
    return counts(x, out)


@cache
def window(
    shape: Shape, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool, dilation: Pair = (1, 1)
) -> tuple[Shape, np.ndarray[Any, Any]]:
    """The shape that images of this shape are pooled to, and all of the geometry as kernels take it."""
    out = output_size(shape, kernel, stride, padding, dilation, ceil_mode)
    return (*shape[:2], *out), np.array((*shape[2:], *out, *kernel, *stride, *padding, *dilation), WINDOW)


def each(xp: Any, kernel: str, result: Any, *args: Any) -> None:
    """Run a kernel of pool.cu with a thread for each element of `result`, whose number comes last."""
    grid = (blocks(result.size, THREADS),)
    launch(xp, f"pool.cu:{kernel}", result.dtype, grid, (THREADS,), *args, result.size)


class MaxPool2d:
    """Must equal `ops.MaxPool2d` (tinyconv/ops/pool.py), to the bit. Each element gathers from the windows it is in."""

    @staticmethod
    def forward(xp: Any, x: Any, **geometry: Any) -> Any:
        size, pooling = window(x.shape, **geometry)
        y, place = xp.empty(size, x.dtype), xp.empty(size, xp.int32)
        each(xp, "max_pool", y, xp.ascontiguousarray(x), y, place, pooling)
        return (y, place), (place, x.shape)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any, **geometry: Any) -> Any:
        place, shape = saved
        dx = xp.empty(shape, dy.dtype)
        each(xp, "max_pool_backward", dx, place, xp.ascontiguousarray(dy), dx, window(shape, **geometry)[1])
        return (dx,)


class ReluMaxPool2d:
    """Must equal `ops.ReluMaxPool2d` (tinyconv/ops/fused.py), to the bit.

    Saves one byte for each maximum, and neither x nor y.
    """

    @staticmethod
    def forward(xp: Any, x: Any, **geometry: Any) -> Any:
        size, pooling = window(x.shape, **geometry)
        y, place = xp.empty(size, x.dtype), xp.empty(size, xp.uint8)
        each(xp, "relu_max_pool", y, xp.ascontiguousarray(x), y, place, pooling)
        return y, (place, x.shape)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any, **geometry: Any) -> Any:
        place, shape = saved
        dx = xp.empty(shape, dy.dtype)
        each(xp, "relu_max_pool_backward", dx, place, xp.ascontiguousarray(dy), dx, window(shape, **geometry)[1])
        return (dx,)


class AvgPool2d:
    """Must equal `ops.AvgPool2d` (tinyconv/ops/pool.py), to the bit. Counts a window's elements where it sums them."""

    @staticmethod
    def forward(xp: Any, x: Any, *, count_include_pad: bool, divisor: Any, **geometry: Any) -> Any:
        size, pooling = window(x.shape, **geometry)
        y = xp.empty(size, x.dtype)
        each(xp, "avg_pool", y, xp.ascontiguousarray(x), y, pooling, float(divisor or 0), count_include_pad)
        return y, (x.shape,)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Any, needs: Any, *, count_include_pad: bool, divisor: Any, **geometry: Any
    ) -> Any:
        (shape,) = saved
        dx, (_, pooling) = xp.empty(shape, dy.dtype), window(shape, **geometry)
        each(xp, "avg_pool_backward", dx, xp.ascontiguousarray(dy), dx, pooling, float(divisor or 0), count_include_pad)
        return (dx,)


class AdaptiveAvgPool2d:
    """Must equal `ops.AdaptiveAvgPool2d` (tinyconv/ops/pool.py), to rounding.

    A cell is summed row by row; the readable op takes the mean of rows and then of columns.
    """

    @staticmethod
    def forward(xp: Any, x: Any, *, out: Pair) -> Any:
        y = xp.empty((*x.shape[:2], *out), x.dtype)
        each(xp, "adaptive_avg_pool", y, xp.ascontiguousarray(x), y, *x.shape[2:], *out)
        return y, (x.shape,)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any, *, out: Pair) -> Any:
        (shape,) = saved
        dx = xp.empty(shape, dy.dtype)
        each(xp, "adaptive_avg_pool_backward", dx, xp.ascontiguousarray(dy), dx, *shape[2:], *out)
        return (dx,)


class AdaptiveMaxPool2d:
    """Must equal `ops.AdaptiveMaxPool2d` (tinyconv/ops/pool.py), to the bit.

    Saves the places in the image, which come out beside y anyway.
    """

    @staticmethod
    def forward(xp: Any, x: Any, *, out: Pair) -> Any:
        size = (*x.shape[:2], *out)
        y, place = xp.empty(size, x.dtype), xp.empty(size, xp.int64)
        each(xp, "adaptive_max_pool", y, xp.ascontiguousarray(x), y, place, *x.shape[2:], *out)
        return (y, place), (place, x.shape)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any, *, out: Pair) -> Any:
        place, shape = saved
        dx = xp.empty(shape, dy.dtype)
        each(xp, "adaptive_max_pool_backward", dx, place, xp.ascontiguousarray(dy), dx, *shape[2:], *out)
        return (dx,)


PAIRS = (
    (ops.MaxPool2d, MaxPool2d, max_applies),
    (ops.ReluMaxPool2d, ReluMaxPool2d, relu_max_applies),
    (ops.AvgPool2d, AvgPool2d, avg_applies),
    (ops.AdaptiveAvgPool2d, AdaptiveAvgPool2d, adaptive_applies),
    (ops.AdaptiveMaxPool2d, AdaptiveMaxPool2d, adaptive_applies),
)
