"""A batch made by one kernel of images that are on the device (`batch.cu`): the kernel "batch" of `tinyconv.data`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tinyconv.fast.cuda.build import blocks, launch

Array: TypeAlias = Any

MOVES, THREADS = 8, 256
KINDS = ("flip", "cover", "constant", "edge", "reflect")  # by their numbers in the kernel
TABLE = np.dtype(
    [
        ("n", np.int32),
        ("kind", np.int32, MOVES),
        ("padding", np.int32, MOVES),
        ("size", np.int32, MOVES),
        ("h", np.int32, MOVES),
        ("w", np.int32, MOVES),
        ("first", np.int32, MOVES),
        ("fill", np.float32, MOVES),
    ]
)


class Batch:
    """Must equal `tinyconv.data.loader.batch`, to the bit. All moves of an image are one look-up for each pixel."""

    @staticmethod
    def applies(images: Array, moves: Sequence[Any]) -> bool:
        _, c, h, w = images.shape
        for move in moves:
            h, w = move.shape(h, w)
        # Along the second axis of the grid there may be 65535 blocks.
        return len(moves) <= MOVES and 0 < c * h * w <= THREADS * 65535

    def __call__(
        self, xp: Any, images: Array, labels: Array, drawn: Array, moves: Sequence[Any], values: Array
    ) -> tuple[Array, Array]:
        n, (_, c, h, w) = drawn.shape[1], images.shape
        rows, columns = h, w
        table = np.zeros((), TABLE)
        table["n"], row = len(moves), 1
        for k, move in enumerate(moves):
            table["kind"][k], table["padding"][k], table["fill"][k] = KINDS.index(move.kind), move.padding, move.fill
            table["first"][k], table["size"][k], table["h"][k], table["w"][k] = row, move.size, rows, columns
            row += move.numbers
            rows, columns = move.shape(rows, columns)
        x, y = xp.empty((n, c, rows, columns), np.float32), xp.empty(n, np.int64)
        kernel = "bytes" if images.dtype == np.uint8 else "reals"
        grid = n, blocks(c * rows * columns, THREADS)
        sizes = n, c, h, w, rows, columns
        launch(xp, f"batch.cu:{kernel}", x.dtype, grid, (THREADS,), images, labels, drawn, table, values, x, y, *sizes)
        return x, y


KERNELS = {"batch": Batch()}
