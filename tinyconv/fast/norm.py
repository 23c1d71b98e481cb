"""Batch normalisation of images with the batch innermost (see layout.py), a few rows at a time.

The formula is that of `ops.norm`. There every step goes over all of the images; here the steps that need no sum over
all of them are done row by row, while a row is in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyconv.fast.layout import Array, images, rows

CACHE = 1 << 19
"""Bytes of an array worked on at a time: half of what a core's own cache holds."""


def applies(x: Array, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> bool:
    return x.ndim == 4 and x.dtype.char in "fd" and x.size > 0


def blocks(x: Array) -> Iterator[slice]:
    step = max(1, CACHE // (x[0].nbytes or 1))
    return (slice(first, first + step) for first in range(0, len(x), step))


def by_channel(x: Array) -> Array:
    """Images as (H, C, W N), and what goes with a channel as (C, 1)."""
    h, c, w, n = rows(x).shape
    return rows(x).reshape(h, c, w * n)


def sums(x: Array) -> Array:
    """The sum of each channel: a product with ones, which is faster than a sum."""
    return np.add.reduce(x @ np.ones(x.shape[2], x.dtype), axis=0)


class BatchNorm:
    """See `ops.BatchNorm`."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> Any:
        _, c, height, width = x.shape
        values = by_channel(x)
        size = values.size // c
        fixed = mean is not None
        xhat, y = np.empty_like(values), np.empty_like(values)
        if not fixed:
            mean, var = sums(values) / size, np.zeros(c, x.dtype)
        for part in blocks(values):
            np.subtract(values[part], mean[:, None], out=xhat[part])
            if not fixed:
                var += np.add.reduce(np.vecdot(xhat[part], xhat[part]), axis=0)
        if not fixed:
            var /= size
        scale = 1 / np.sqrt(var + x.dtype.type(eps))
        for part in blocks(values):
            xhat[part] *= scale[:, None]
            if weight is None:
                y[part] = xhat[part]
            else:
                np.multiply(xhat[part], weight[:, None], out=y[part])
            if bias is not None:
                y[part] += bias[:, None]
        return (images(y.reshape(height, c, width, -1)), mean.copy(), var.copy()), (xhat, scale, weight, fixed)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, eps: float) -> Any:
        xhat, scale, weight, fixed = saved
        _, c, height, width = dy.shape
        grad = by_channel(dy)
        size = grad.size // c
        dbias = sums(grad)
        dweight = sum(np.add.reduce(np.vecdot(grad[part], xhat[part]), axis=0) for part in blocks(grad))
        dx = None
        if needs[0]:
            factor = scale if weight is None else scale * weight
            dx = np.empty_like(grad)
            for part in blocks(grad):
                if fixed:
                    np.multiply(grad[part], factor[:, None], out=dx[part])
                else:
                    np.multiply(xhat[part], (-dweight / size)[:, None], out=dx[part])
                    dx[part] += grad[part]
                    dx[part] -= (dbias / size)[:, None]
                    dx[part] *= factor[:, None]
            dx = images(dx.reshape(height, c, width, -1))
        return dx, dweight if needs[1] else None, dbias if needs[2] else None, None, None
