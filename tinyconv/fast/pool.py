"""2x2 max-pooling, alone and after a ReLU, and ReLU itself: images with the batch innermost (see layout.py).

The maximum of four is that of two maxima: `right` says of each pair of a row whether the right one was larger, `low` of
each pair of those whether the lower one was. Backward sends the gradient down the same two forks: a multiplication by a
mask and a subtraction a fork. Those are right as long as nothing is infinite or NaN; else `where` is used, which is
slower. ReLU after the pooling gives what ReLU before it does, on a quarter of the numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.fast.layout import Array, harmless, images, rows

GEOMETRY = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


def applies(x: Array, **geometry: Any) -> bool:
    """For 2x2 windows side by side, and images of even size, so that nothing is left over."""
    n, _, h, w = x.shape
    return geometry == GEOMETRY and h % 2 == 0 == w % 2 and x.dtype.char in "fd" and x.size > 0


def maxima(x: Array) -> tuple[Array, Array, Array]:
    """The maxima (H / 2, C, W / 2, N) of 2x2 windows of (H, C, W, N), and which way they lie: `right` and `low`."""
    left, right = x[:, :, 0::2], x[:, :, 1::2]
    pairs = np.maximum(left, right)
    upper, lower = pairs[0::2], pairs[1::2]
    y = np.maximum(upper, lower)
    is_right, is_low = np.greater(right, left), np.greater(lower, upper)
    if not harmless(y):  # NaN is larger than everything, and of several the last counts
        is_right |= np.isnan(right)
        is_low |= np.isnan(lower)
    return y, is_right, is_low


def spread(dy: Array, is_right: Array, is_low: Array) -> Array:
    """The gradient (H, C, W, N) of what the maxima were taken of: dy at their places, 0 elsewhere."""
    h, c, w, n = dy.shape
    dpairs = np.empty((h, 2, c, w, n), dy.dtype)
    dx = np.empty((2 * h, c, 2 * w, n), dy.dtype)
    left, right = dx[:, :, 0::2], dx[:, :, 1::2]
    if harmless(dy):
        np.multiply(dy, is_low, out=dpairs[:, 1])
        np.subtract(dy, dpairs[:, 1], out=dpairs[:, 0])
        dpairs = dpairs.reshape(2 * h, c, w, n)
        np.multiply(dpairs, is_right, out=right)
        np.subtract(dpairs, right, out=left)
    else:
        dpairs[:, 1], dpairs[:, 0] = np.where(is_low, dy, 0), np.where(is_low, 0, dy)
        dpairs = dpairs.reshape(2 * h, c, w, n)
        right[...], left[...] = np.where(is_right, dpairs, 0), np.where(is_right, 0, dpairs)
    return dx


class MaxPool2d:
    """See `ops.MaxPool2d`."""

    @staticmethod
    def forward(xp: Any, x: Array, **geometry: Any) -> Any:
        y, is_right, is_low = maxima(rows(x))
        column = np.where(is_low, is_right[1::2], is_right[0::2])
        place = np.add(column, 2 * is_low.view(np.int8), dtype=np.int32)
        return (images(y), images(place)), (is_right, is_low)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        return (images(spread(rows(dy), *saved)),)


class ReluMaxPool2d:
    """See `ops.ReluMaxPool2d`. Where a maximum is not positive its window has no gradient."""

    @staticmethod
    def forward(xp: Any, x: Array, **geometry: Any) -> Any:
        y, is_right, is_low = maxima(rows(x))
        y = relu_in_place(images(y))
        return y, (y, is_right, is_low)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        y, is_right, is_low = saved
        return (images(spread(rows(relu_backward(y, dy)), is_right, is_low)),)


# --- ReLU -----------------------------------------------------------------------------------------------------------

ROW = 4096
"""Elements compared at a time: against as many zeros, which NumPy does with vectors, and not against one number, which
it does one by one."""


def relu_in_place(x: Array) -> Array:
    """max(x, 0), written over x, an array that was just made and has no holes."""
    flat = x.reshape(-1) if x.flags.c_contiguous else x.transpose(2, 1, 3, 0).reshape(-1)
    whole = flat.size // ROW * ROW
    for part, zeros in ((flat[:whole].reshape(-1, ROW), ROW), (flat[whole:], flat.size - whole)):
        np.maximum(part, np.zeros(zeros, x.dtype), out=part)
    return x


def relu_backward(y: Array, dy: Array) -> Array:
    """dy where y > 0, or NaN."""
    if harmless(dy) and harmless(y):
        return dy * (y > 0)
    return np.where(np.less_equal(y, 0), 0, dy)
