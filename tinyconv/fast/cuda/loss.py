"""Cross-entropy in one kernel, or two where there are many examples, and one back: the readable op takes about thirty.

Saves the logits and three numbers an example. Takes every option, but no empty batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast.cuda.build import MOST, REAL, blocks, launch

THREADS = 256
"""Threads of a block, as in reduce.cuh."""
MANY = 64
"""Classes from which on several threads share an example, if its logits lie side by side."""
LANES = 32
"""Threads that share an example."""


def applies(x: Any, target: Any, weight: Any, **options: Any) -> bool:
    return x.dtype.char in REAL and 0 < x.size <= MOST


def shares(x: Any, ignore_index: int, label_smoothing: float) -> tuple[Any, ...]:
    """The class that counts as none, the part of its weight that the right class gets, and what each class gets."""
    return np.int64(ignore_index), float(1 - label_smoothing), label_smoothing / x.shape[1]


class CrossEntropy:
    """Must equal `ops.CrossEntropy` (tinyconv/ops/loss.py), to rounding. Softmax, loss and mean are in one kernel."""

    @staticmethod
    def forward(
        xp: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
    ) -> Any:
        x, target = xp.ascontiguousarray(x), xp.ascontiguousarray(target, xp.int64)
        weight = None if weight is None else xp.ascontiguousarray(weight)
        rows, classes = target.size, x.shape[1]
        positions = x.size // (len(x) * classes)
        lanes = LANES if classes >= MANY and positions == 1 else 1
        grid = blocks(rows * lanes, THREADS)
        y = xp.empty(target.shape if reduction == "none" else (), x.dtype)
        scale = xp.empty((), x.dtype) if reduction == "mean" else None
        partial = None if reduction == "none" else xp.empty((grid, 2), x.dtype)
        about = xp.empty((rows, 3), x.dtype)
        launch(
            xp, "loss.cu:cross_entropy", x.dtype, (grid,), (THREADS,),
            x, target, weight, y, scale, about, partial, rows, classes, positions, lanes,
            *shares(x, ignore_index, label_smoothing),
        )  # fmt: skip
        if partial is not None and grid > 1:
            launch(xp, "loss.cu:cross_entropy_reduced", x.dtype, (1,), (THREADS,), partial, grid, y, scale)
        return y, (x, target, weight, scale, about)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Any, needs: Any, *, ignore_index: int, reduction: str, label_smoothing: float
    ) -> Any:
        x, target, weight, scale, about = saved
        dx, positions = xp.empty(x.shape, x.dtype), x.size // (len(x) * x.shape[1])
        by_row = reduction == "none"
        launch(
            xp, "loss.cu:cross_entropy_backward", x.dtype, (blocks(x.size, THREADS),), (THREADS,),
            x, target, weight, scale, about, xp.ascontiguousarray(dy) if by_row else dy, dx, x.size, x.shape[1],
            positions, by_row, *shares(x, ignore_index, label_smoothing),
        )  # fmt: skip
        return dx, None, None


PAIRS = ((ops.CrossEntropy, CrossEntropy, applies),)
