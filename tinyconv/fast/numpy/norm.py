"""Batch normalisation of images with the batch innermost (see layout.py), a few rows at a time.

The formula is that of `ops.norm`. There every step goes over all images; here the steps that need no sum over all of
them are done row by row, while a row is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv.fast.numpy.blas import with_blas_for
from tinyconv.fast.numpy.layout import Array, images, rows
from tinyconv.host.memory import empty
from tinyconv.host.threads import in_parts

CACHE = 1 << 19
"""Bytes of an array worked on at a time: half of what a core's own cache holds."""
NUMBERS_A_US = 1000
"""Numbers in a microsecond of a core, with all that one pass does to them."""


def applies(x: Array, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> bool:
    return x.ndim == 4 and x.dtype.char in "fd" and x.size > 0


def by_channel(x: Array) -> Array:
    """Images (N, C, H, W) as (H, C, W N)."""
    h, c, w, n = rows(x).shape
    return rows(x).reshape(h, c, w * n)


def over(x: Array, function: Callable[[slice], Any]) -> None:
    """function(rows) for a few rows of x (H, C, W N) at a time, by several threads where there are many."""
    step = max(1, CACHE // (x[0].nbytes or 1))

    def part(first: int, last: int) -> None:
        for start in range(first, last, step):
            function(slice(start, min(last, start + step)))

    in_parts(part, len(x), x.size / NUMBERS_A_US)


def sums(x: Array, of: Callable[[slice, Array], Any]) -> Array:
    """The sum over all rows of what `of(rows, out)` writes into out (rows, C)."""
    by_row = np.empty(x.shape[:2], x.dtype)
    with_blas_for(x[0].size, over, x, lambda part: of(part, by_row[part]))
    return np.add.reduce(by_row, axis=0)


class BatchNorm:
    """Must equal `ops.BatchNorm` (tinyconv/ops/norm.py), to rounding. Goes over the images a few rows at a time."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> Any:
        _, c, height, width = x.shape
        values = by_channel(x)
        size, ones = values.size // c, np.ones(values.shape[2], x.dtype)
        fixed = mean is not None
        xhat, y = empty(values.shape, x.dtype), empty(values.shape, x.dtype)

        def centre(part: slice, squares: Array) -> None:
            np.subtract(values[part], mean[:, None], out=xhat[part])
            np.vecdot(xhat[part], xhat[part], out=squares)

        if fixed:
            over(values, lambda part: np.subtract(values[part], mean[:, None], out=xhat[part]))
        else:  # a product with ones is faster than a sum
            mean = sums(values, lambda part, out: np.matmul(values[part], ones, out=out)) / size
            var = sums(values, centre) / size
        scale = 1 / np.sqrt(var + x.dtype.type(eps))

        def finish(part: slice) -> None:
            xhat[part] *= scale[:, None]
            if weight is None:
                y[part] = xhat[part]
            else:
                np.multiply(xhat[part], weight[:, None], out=y[part])
            if bias is not None:
                y[part] += bias[:, None]

        over(values, finish)
        return (images(y.reshape(height, c, width, -1)), mean.copy(), var.copy()), (xhat, scale, weight, fixed)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, eps: float) -> Any:
        xhat, scale, weight, fixed = saved
        _, c, height, width = dy.shape
        grad = by_channel(dy)
        size, ones = grad.size // c, np.ones(grad.shape[2], dy.dtype)
        dbias = sums(grad, lambda part, out: np.matmul(grad[part], ones, out=out))
        dweight = sums(grad, lambda part, out: np.vecdot(grad[part], xhat[part], out=out))
        factor = scale if weight is None else scale * weight
        dx = empty(grad.shape, dy.dtype)

        def back(part: slice) -> None:
            if fixed:
                np.multiply(grad[part], factor[:, None], out=dx[part])
            else:
                np.multiply(xhat[part], (-dweight / size)[:, None], out=dx[part])
                dx[part] += grad[part]
                dx[part] -= (dbias / size)[:, None]
                dx[part] *= factor[:, None]

        if needs[0]:
            over(grad, back)
        return (
            images(dx.reshape(height, c, width, -1)) if needs[0] else None,
            dweight if needs[1] else None,
            dbias if needs[2] else None,
            None,
            None,
        )
