"""2x2 max-pooling, alone and after a ReLU, and ReLU itself: images with the batch innermost (see layout.py).

The maximum of four is a maximum of maxima: of each column, and then of the two columns. Two masks note which it was,
and backward sends the gradient down the same two forks, a multiplication by a mask and a subtraction each. These are
right as long as nothing is infinite or NaN; else `where` is used, which is slower. A ReLU after the pooling gives what
one before it does, on a quarter of the numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.fast.numpy.layout import RUNS, Array, images, in_rows, is_finite_sum, rows
from tinyconv.host.memory import empty
from tinyconv.host.threads import in_parts

POOLED_A_US = 2000
"""Numbers that are pooled in a microsecond of a core."""
GEOMETRY = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


def applies(x: Array, **geometry: Any) -> bool:
    """For 2x2 windows side by side. A last row or column of images of odd size is in none of them."""
    return geometry == GEOMETRY and x.dtype.char in "fd" and x.size > 0


def windowed(x: Array) -> Array:
    """The part of images (H, C, W, N) that windows cover: all but a last row or column that is left over."""
    h, _, w, _ = x.shape
    return x[: h // 2 * 2, :, : w // 2 * 2]


def pooled(h: int, c: int, w: int, n: int, dtype: Any) -> tuple[Array, Array, Array]:
    """What `maxima` fills: the maxima (H, C, W, N) of 2x2 windows, and where they lie: `is_right` (H, C, W, N), which
    of the columns, and `is_low` (H, C, 2 W, N), which of each column."""
    return empty((h, c, w, n), dtype), empty((h, c, w, n), bool), empty((h, c, 2 * w, n), bool)


def maxima(x: Array, y: Array, is_right: Array, is_low: Array) -> None:
    """Write the maxima of 2x2 windows of x (2 H, C, 2 W, N) into what `pooled` made, or some rows of it."""
    upper, lower = x[0::2], x[1::2]
    columns, equal = empty(upper.shape, x.dtype), empty(y.shape, bool)
    np.maximum(upper, lower, out=columns)
    left, right = columns[:, :, 0::2], columns[:, :, 1::2]
    np.maximum(left, right, out=y)
    np.greater(lower, upper, out=is_low)
    np.greater(right, left, out=is_right)
    low_left, low_right = is_low[:, :, 0::2], is_low[:, :, 1::2]
    if np.equal(left, right, out=equal).any():  # the first counts, row by row: upper right comes before lower left
        equal &= low_left
        is_right |= np.greater(equal, low_right, out=equal)
    if not is_finite_sum(y):  # NaN is larger than everything, and of several the last counts
        is_low |= np.isnan(lower)
        nan_left, nan_right = np.isnan(left), np.isnan(right)
        is_right |= nan_right & (~nan_left | low_right | ~low_left)
        is_right &= ~(nan_left & ~nan_right)


def spread(dy: Array, is_right: Array, is_low: Array, dx: Array) -> None:
    """Write the gradient dx (2 H, C, 2 W, N) of what was pooled: dy (H, C, W, N) at the maxima, 0 elsewhere."""
    dcolumns = empty(is_low.shape, dy.dtype)
    left, right, upper, lower = dcolumns[:, :, 0::2], dcolumns[:, :, 1::2], dx[0::2], dx[1::2]
    if is_finite_sum(dy):
        np.multiply(dy, is_right, out=right)
        np.subtract(dy, right, out=left)
        np.multiply(dcolumns, is_low, out=lower)
        np.subtract(dcolumns, lower, out=upper)
    else:
        right[...], left[...] = np.where(is_right, dy, 0), np.where(is_right, 0, dy)
        lower[...], upper[...] = np.where(is_low, dcolumns, 0), np.where(is_low, 0, dcolumns)


class MaxPool2d:
    """Must equal `ops.MaxPool2d` (tinyconv/ops/pool.py), to the bit. Saves two masks, not the places."""

    @staticmethod
    def forward(xp: Any, x: Array, **geometry: Any) -> Any:
        size, x = x.shape[2:], windowed(rows(x))
        h, c, w, n = x.shape
        y, is_right, is_low = pooled(h // 2, c, w // 2, n, x.dtype)
        place = empty(y.shape, np.int32)

        def part(first: int, last: int) -> None:
            right, low = is_right[first:last], is_low[first:last]
            maxima(x[2 * first : 2 * last], y[first:last], right, low)
            lower = np.where(right, low[:, :, 1::2], low[:, :, 0::2])
            np.add(right, 2 * lower.view(np.int8), out=place[first:last])

        in_parts(part, h // 2, x.size / POOLED_A_US)
        return (images(y), images(place)), (is_right, is_low, size)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        return (spread_in_parts(dy, None, *saved),)


class ReluMaxPool2d:
    """Must equal `ops.ReluMaxPool2d` (tinyconv/ops/fused.py), to the bit.

    The ReLU comes after the pooling: where a maximum is not positive, its window has no gradient.
    """

    @staticmethod
    def forward(xp: Any, x: Array, **geometry: Any) -> Any:
        size, x = x.shape[2:], windowed(rows(x))
        h, c, w, n = x.shape
        y, is_right, is_low = pooled(h // 2, c, w // 2, n, x.dtype)

        def part(first: int, last: int) -> None:
            maxima(x[2 * first : 2 * last], y[first:last], is_right[first:last], is_low[first:last])
            relu_in_place(y[first:last])

        in_parts(part, h // 2, x.size / POOLED_A_US)
        return images(y), (images(y), is_right, is_low, size)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        return (spread_in_parts(dy, *saved),)


def spread_in_parts(dy: Array, y: Array | None, is_right: Array, is_low: Array, size: tuple[int, int]) -> Array:
    """The gradient of images (N, C, *size) from dy (N, C, H, W), through a ReLU too if its output `y` is given."""
    dy, y = rows(dy), None if y is None else rows(y)
    h, c, w, n = dy.shape
    dx = empty((size[0], c, size[1], n), dy.dtype)
    dx[2 * h :], dx[:, :, 2 * w :] = 0, 0
    covered = windowed(dx)

    def part(first: int, last: int) -> None:
        grad = dy[first:last] if y is None else relu_backward(y[first:last], dy[first:last])
        spread(grad, is_right[first:last], is_low[first:last], covered[2 * first : 2 * last])

    in_parts(part, h, dx.size / POOLED_A_US)
    return images(dx)


# --- ReLU -----------------------------------------------------------------------------------------------------------

ROW = 2048
"""Elements compared at a time, with as many zeros: NumPy uses vectors for that; with one zero it goes one by one."""
RELUS_A_US = 4000
"""Numbers in a microsecond of a core."""


def relu_in_place(x: Array) -> Array:
    """max(x, 0), written over x: an array that was just made, without holes."""
    if x.size <= ROW:
        return np.maximum(x, 0, out=x)
    flat = x.reshape(-1) if x.flags.c_contiguous else rows(x).reshape(-1)
    size = next((size for size in RUNS if flat.size % size == 0), flat.size)
    runs = flat.reshape(-1, size)
    zeros = np.zeros(runs.shape[1], x.dtype)
    in_parts(lambda a, b: np.maximum(runs[a:b], zeros, out=runs[a:b]), len(runs), x.size / RELUS_A_US)
    return x


def relu_backward(y: Array, dy: Array) -> Array:
    """dy where y > 0, or NaN."""
    if dy.size <= ROW:
        return np.where(np.less_equal(y, 0), 0, dy)
    innermost = in_rows(y) and in_rows(dy)  # else both are in NumPy's order, or they are in two orders
    if innermost:
        y, dy = rows(y), rows(dy)
    dx, positive = np.empty_like(dy) if not dy.flags.c_contiguous else empty(dy.shape, dy.dtype), empty(dy.shape, bool)

    def part(first: int, last: int) -> None:
        some, grad, to = y[first:last], dy[first:last], dx[first:last]
        if is_finite_sum(grad) and is_finite_sum(some):
            np.multiply(grad, np.greater(some, 0, out=positive[first:last]), out=to)
        else:
            to[...] = np.where(np.less_equal(some, 0), 0, grad)

    in_parts(part, len(dy), dy.size / RELUS_A_US)
    return images(dx) if innermost else dx
