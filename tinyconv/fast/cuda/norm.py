"""Batch normalisation in two kernels each way, and one to evaluate: the readable op takes about ten.

Saves x, which is in memory anyway, and two numbers a channel; x^ is made again where it is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast.cuda.build import MOST, REAL, blocks, launch
from tinyconv.shapes import Shape, product

THREADS = 256
"""Threads of a block, as in reduce.cuh, and the most parts of a channel."""
BLOCKS = 1024
"""Blocks that fill a large GPU: 8 on each of its 128 or so multiprocessors."""
PART = 4 * THREADS
"""Numbers below which a channel is not cut any further."""
CUT = np.dtype([(name, np.int32) for name in ("channels", "positions", "numbers", "part", "parts")])
"""`Cut` in norm.cu."""


def applies(x: Any, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> bool:
    return x.dtype.char in REAL and 0 < x.size <= MOST


def cut(shape: Shape) -> np.ndarray[Any, Any]:
    """How the channels of (N, C, ...) are cut into parts. The shape alone decides it, and so the order of all sums."""
    channels, numbers = shape[1], product(shape) // shape[1]
    parts = max(1, min(blocks(BLOCKS, channels), numbers // PART, THREADS))
    part = blocks(numbers, parts)
    return np.array((channels, product(shape[2:]), numbers, part, blocks(numbers, part)), CUT)


def run(xp: Any, kernel: str, x: Any, grid: tuple[int, ...], *args: Any) -> None:
    launch(xp, f"norm.cu:{kernel}", x.dtype, grid, (THREADS,), *args)


def contiguous(xp: Any, *arrays: Any) -> list[Any]:
    return [None if array is None else xp.ascontiguousarray(array) for array in arrays]


class BatchNorm:
    """Must equal `ops.BatchNorm` (tinyconv/ops/norm.py), to rounding. Saves x instead of x^."""

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> Any:
        x, weight, bias, *given = contiguous(xp, x, weight, bias, mean, var)
        how, fixed, partial = cut(x.shape), mean is not None, None
        grid = c, parts = x.shape[1], int(how["parts"])
        if not fixed:
            partial = xp.empty((c, parts, 2), x.dtype)
            run(xp, "moments", x, grid, x, partial, how)
        y = xp.empty(x.shape, x.dtype)
        mean, var, scale = (xp.empty(c, x.dtype) for _ in range(3))
        run(xp, "normalise", x, grid, x, weight, bias, partial, *given, y, mean, var, scale, float(eps), how)
        return (y, mean, var), (x, mean, scale, weight, fixed)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any, *, eps: float) -> Any:
        x, mean, scale, weight, fixed = saved
        how, dy, partial = cut(x.shape), xp.ascontiguousarray(dy), None
        c, parts = x.shape[1], int(how["parts"])
        if needs[1] or needs[2] or not fixed:
            partial = xp.empty((c, parts, 2), x.dtype)
            run(xp, "gradient_sums", x, (c, parts), x, dy, mean, scale, partial, how)
        dx = xp.empty(x.shape, x.dtype) if needs[0] else None
        dweight, dbias = (xp.empty(c, x.dtype) if needed else None for needed in needs[1:3])
        grid = (c, parts if needs[0] else 1)
        run(xp, "gradients", x, grid, x, dy, mean, scale, weight, partial, dx, dweight, dbias, fixed, how)
        return dx, dweight, dbias, None, None


class MoveStatistics:
    """Must equal `ops.norm.move_statistics` (tinyconv/ops/norm.py), to rounding: one kernel instead of seven."""

    @staticmethod
    def applies(*statistics: Any) -> bool:
        """For (C,) arrays of one dtype: the running mean and variance, and those of a batch."""
        kinds = {array.dtype for array in statistics}
        return len(kinds) == 1 and kinds.pop().char in REAL and all(array.flags.c_contiguous for array in statistics)

    def __call__(
        self, xp: Any, running_mean: Any, running_var: Any, mean: Any, var: Any, momentum: float, unbiased: float
    ) -> None:
        """Move the first two by `momentum` towards the others, the variance times `unbiased`."""
        channels, by = len(mean), (float(1 - momentum), float(momentum), float(unbiased))
        arrays = running_mean, running_var, mean, var
        grid = (blocks(channels, THREADS),)
        launch(xp, "norm.cu:move_statistics", mean.dtype, grid, (THREADS,), *arrays, *by, channels)


PAIRS = ((ops.BatchNorm, BatchNorm, applies),)
KERNELS = {"running_statistics": MoveStatistics()}
