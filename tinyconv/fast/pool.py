"""2x2 max-pooling, alone and after a ReLU, and ReLU itself: images with the batch innermost (see layout.py).

The maximum of four is that of two maxima: of each column, and then of the columns. Two masks note which it was, and
backward sends the gradient down the same two forks, a multiplication by a mask and a subtraction each. Those are right
as long as nothing is infinite or NaN; else `where` is used, which is slower. ReLU after the pooling gives what ReLU
before it does, on a quarter of the numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.fast.layout import Array, harmless, images, rows

GEOMETRY = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


def applies(x: Array, **geometry: Any) -> bool:
    """For 2x2 windows side by side, and images of even size, so that nothing is left over."""
    h, w = x.shape[2:]
    return geometry == GEOMETRY and h % 2 == 0 == w % 2 and x.dtype.char in "fd" and x.size > 0


def maxima(x: Array) -> tuple[Array, Array, Array]:
    """The maxima (H / 2, C, W / 2, N) of 2x2 windows of (H, C, W, N), and where they lie: `is_low` (H / 2, C, W, N),
    which of each column, and `is_right` (H / 2, C, W / 2, N), which of the columns."""
    upper, lower = x[0::2], x[1::2]
    columns = np.maximum(upper, lower)
    left, right = columns[:, :, 0::2], columns[:, :, 1::2]
    y = np.maximum(left, right)
    is_low, is_right = np.greater(lower, upper), np.greater(right, left)
    low_left, low_right = is_low[:, :, 0::2], is_low[:, :, 1::2]
    equal = np.equal(left, right)
    if equal.any():  # the first counts, row by row: the upper right one comes before the lower left one
        is_right |= equal & low_left & ~low_right
    if not harmless(y):  # NaN is larger than everything, and of several the last counts
        is_low |= np.isnan(lower)
        nan_left, nan_right = np.isnan(left), np.isnan(right)
        is_right |= nan_right & (~nan_left | low_right | ~low_left)
        is_right &= ~(nan_left & ~nan_right)
    return y, is_right, is_low


def spread(dy: Array, is_right: Array, is_low: Array) -> Array:
    """The gradient (H, C, W, N) of what the maxima were taken of: dy at their places, 0 elsewhere."""
    h, c, w, n = dy.shape
    dcolumns = np.empty((h, c, 2 * w, n), dy.dtype)
    dx = np.empty((2 * h, c, 2 * w, n), dy.dtype)
    left, right, upper, lower = dcolumns[:, :, 0::2], dcolumns[:, :, 1::2], dx[0::2], dx[1::2]
    if harmless(dy):
        np.multiply(dy, is_right, out=right)
        np.subtract(dy, right, out=left)
        np.multiply(dcolumns, is_low, out=lower)
        np.subtract(dcolumns, lower, out=upper)
    else:
        right[...], left[...] = np.where(is_right, dy, 0), np.where(is_right, 0, dy)
        lower[...], upper[...] = np.where(is_low, dcolumns, 0), np.where(is_low, 0, dcolumns)
    return dx


class MaxPool2d:
    """See `ops.MaxPool2d`."""

    @staticmethod
    def forward(xp: Any, x: Array, **geometry: Any) -> Any:
        y, is_right, is_low = maxima(rows(x))
        low = np.where(is_right, is_low[:, :, 1::2], is_low[:, :, 0::2])
        place = np.add(is_right, 2 * low.view(np.int8), dtype=np.int32)
        return (images(y), images(place)), (is_right, is_low)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        return (images(spread(rows(dy), *saved)),)


class ReluMaxPool2d:
    """See `ops.ReluMaxPool2d`. Where a maximum is not positive its window has no gradient."""

    @staticmethod
    def forward(xp: Any, x: Array, bias: Any = None, **geometry: Any) -> Any:
        y, is_right, is_low = maxima(rows(x))
        y = images(y)
        if bias is not None:
            y += bias.reshape(-1, 1, 1)
        return relu_in_place(y), (y, is_right, is_low)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        y, is_right, is_low = saved
        return (images(spread(rows(relu_backward(y, dy)), is_right, is_low)),)


# --- ReLU -----------------------------------------------------------------------------------------------------------

ROW = 2048
"""Elements compared at a time: against as many zeros, which NumPy does with vectors, and not against one number, which
it does one by one."""
FEW = 1 << 15
"""Elements of which a pass costs less than a call."""


def relu_in_place(x: Array) -> Array:
    """max(x, 0), written over x, an array that was just made and has no holes."""
    flat = x.reshape(-1) if x.flags.c_contiguous else x.transpose(2, 1, 3, 0).reshape(-1)
    size = next((size for size in (ROW, ROW - ROW // 4, ROW // 2, ROW // 4, ROW // 8) if flat.size % size == 0), 1)
    part = flat.reshape(-1, size) if size > 1 else flat
    np.maximum(part, np.zeros(part.shape[-1], x.dtype), out=part)
    return x


def relu_backward(y: Array, dy: Array) -> Array:
    """dy where y > 0, or NaN."""
    if dy.size > FEW and harmless(dy) and harmless(y):
        return dy * (y > 0)
    return np.where(np.less_equal(y, 0), 0, dy)
