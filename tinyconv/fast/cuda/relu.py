"""ReLU in one kernel each way: the readable backward takes two, and a mask between them."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.fast.cuda.build import MOST, REAL, blocks, launch

THREADS = 256


def applies(x: Any) -> bool:
    return x.dtype.char in REAL and 0 < x.size <= MOST


class Relu:
    """Must equal `ops.Relu` (tinyconv/ops/activation.py), to the bit. Makes no mask."""

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        y = xp.empty(x.shape, x.dtype)
        launch(xp, "relu.cu:relu", x.dtype, (blocks(x.size, THREADS),), (THREADS,), xp.ascontiguousarray(x), y, x.size)
        return y, (y,)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any) -> Any:
        (y,) = saved
        dx, n = xp.empty(y.shape, y.dtype), y.size
        grid = (blocks(n, THREADS),)
        launch(xp, "relu.cu:relu_backward", y.dtype, grid, (THREADS,), y, xp.ascontiguousarray(dy), dx, n)
        return (dx,)


PAIRS = ((ops.Relu, Relu, applies),)
