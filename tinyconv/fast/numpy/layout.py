"""Memory order: images of shape (N, C, H, W) that lie in memory as (H, C, W, N), the batch innermost.

Shape is a promise, strides are not: every op is right for any strides, and NumPy's elementwise functions keep the order
of what they are given. So the first convolution puts its images into this order, and it lasts to the end of the network
though no op in between knows of it. It is good for two things:

* every copy and every elementwise pass is one long run, for the smallest images too;
* H lies outside C, so the rows of a window, (kernel row, channel), follow each other at one stride: a window of whole
  image rows is a matrix that BLAS reads where it is, and a convolution needs no columns for its filters' gradient and
  copies each row KW times instead of KH * KW for its forward.

`rows` and `images` go between the two shapes, and neither moves data.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from tinyconv.host.memory import empty

Array = np.ndarray[Any, Any]


def rows(x: Array) -> Array:
    """(N, C, H, W) -> (H, C, W, N), contiguous: x itself if it is in that order already, else a copy."""
    y = x.transpose(2, 1, 3, 0)
    if not y.flags.c_contiguous:
        inner, y = y, empty(y.shape, x.dtype)
        np.copyto(y, inner)
    return y


def images(x: Array) -> Array:
    """(H, C, W, N) -> (N, C, H, W), the same memory."""
    return x.transpose(3, 1, 0, 2)


def in_rows(x: Array) -> bool:
    """Whether these images lie in memory with the batch innermost."""
    return x.ndim == 4 and len(x) > 1 and x.transpose(2, 1, 3, 0).flags.c_contiguous


def matrices(x: Array, start: int, *axes: tuple[int, int]) -> Array:
    """A view of contiguous x from element `start` on, with these (size, stride) axes, all counted in elements. It must
    not be written to where elements overlap. (`as_strided` does the same in ten times the time.)"""
    size = x.itemsize
    return np.ndarray([n for n, _ in axes], x.dtype, x, start * size, [step * size for _, step in axes])


RUNS = 2048, 1536, 1024, 512, 256
"""Lengths of the rows that long arrays are gone through in. BLAS's product of a row with itself takes a quarter of the
time of a sum, and calls threads for rows of over 10,000."""


def is_finite_sum(x: Array) -> bool:
    """Whether x holds no NaN and no infinity, told by one sum, in a fraction of the time that a look at each takes.

    Where the sum overflows the answer is no as well; the caller then takes the slower way, which is always right.
    """
    size = next((size for size in RUNS if x.size % size == 0), 0) if x.flags.c_contiguous else 0
    if not size:
        return isfinite(np.add.reduce(x, axis=None))
    runs = x.reshape(-1, size)
    return isfinite(np.add.reduce(np.vecdot(runs, runs)))
