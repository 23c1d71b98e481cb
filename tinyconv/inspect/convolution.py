"""A cell of a convolution computed in two other ways: by naked loops, and by a matrix product (im2col)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.engine.variants import available, op_name, variants_of
from tinyconv.errors import ShapeError, VariantError
from tinyconv.inspect.explain import operand_of, place_in
from tinyconv.inspect.pictures import HostArray
from tinyconv.inspect.record import Frame, Source, source_of


def loops(frame: Frame, which: str = "y") -> Source | None:
    """The same half of the op as naked loops (`tinyconv/ops/loops.py`); None for an op that is not written so.

        recording = tc.inspect.record(tc.models.lenet5(), tc.ones(1, 28, 28), 7)
        tc.inspect.loops(recording.frames[-1], "dbias").file  # 'tinyconv/ops/loops.py'

    Args:
        frame: A frame of conv2d, max_pool2d or linear.
        which: What is computed: "y", "dx", "dweight", "dbias". The lines that write it are the source's `ran`.
    """
    rows = variants_of(frame.name).get("loop") if frame.name in available() else None
    source = source_of(getattr(rows[0].pair, frame.direction), ()) if rows else None
    if source is None:
        return None
    writes = re.compile(rf"\s*{re.escape(which)}\[.*?\] \+?= ")
    lines = tuple(n for n, line in enumerate(source.text.splitlines(), source.line) if writes.match(line))
    return Source(source.file, source.line, source.text, lines)


@dataclass(frozen=True, eq=False)
class Columns:
    """What `columns` returns, of one image and one group: K = C / G * KH * KW numbers a window, P = OH * OW windows.

    Forwards y = weight @ matrix + bias; backwards dweight = dy @ matrix^T, summed over the images, where matrix holds
    the windows of x; and dx is what of matrix = weight^T @ dy belongs to the same pixel, added up.
    """

    matrix: HostArray  # (K, P): the windows of x as columns; for dx, their gradient
    weight: HostArray  # (F / G, K)
    dy: HostArray | None  # (F / G, P); None forwards
    cells: HostArray  # (M, 2): the rows and columns of the matrix that the cell is made of
    filters: tuple[int, int]  # the rows of weight and dy that it is made of: (first, past the last)
    image: int
    group: int


def columns(frame: Frame, which: str | int = 0, cell: Sequence[int] = (), image: int = 0) -> Columns:
    """The matrices of im2col that a cell of a convolution is made of, and their cells.

        recording = tc.inspect.record(tc.models.lenet5(), tc.ones(1, 28, 28), 7)
        found = tc.inspect.columns(recording.frames[0], "y", (0, 2, 3, 4))
        found.matrix.shape, found.cells[0].tolist()  # ((25, 576), [0, 76])

    Args:
        frame: A frame of conv2d.
        which: The operand among `frame.outputs`: its `argument`, or its number.
        cell: The index of the cell, a number for each axis.
        image: The image whose columns are shown for dweight and dbias, which all images have a part in.

    Raises VariantError for a frame of another op, ShapeError where there is no such operand, cell or image, and
    GraphError where nothing needs that gradient.
    """
    if frame.name != op_name(ops.Conv2d):
        raise VariantError(f"columns: only conv2d is a product with columns, this frame is of {frame.name}")
    number, array = operand_of(frame, which)
    place, argument = place_in(cell, array.shape), frame.outputs[number].argument
    ran = frame.twin or frame
    x, weight, y, dy = (o.array for o in (*ran.inputs[:2], ran.outputs[0], frame.inputs[0]))
    assert x is not None and weight is not None and y is not None and dy is not None  # noqa: PT018
    n = place[0] if argument in ("y", "dx") else image
    if not 0 <= n < len(x):
        raise ShapeError(f"columns: there is no image {n} in a batch of {len(x)}")
    (f_all, c_each, *kernel), (oh, ow), groups = weight.shape, y.shape[2:], ran.geometry["groups"]
    k, p, f_each = c_each * int(np.prod(kernel)), oh * ow, f_all // groups
    f = place[1] if argument == "y" else place[0]
    group, filters = (
        (place[1] // c_each, (0, f_each)) if argument == "dx" else (f // f_each, (f % f_each, f % f_each + 1))
    )

    def unrolled(images: HostArray) -> HostArray:
        steps: list[Any] = [ran.geometry[name] for name in ("stride", "padding", "dilation")]
        return ops.conv.im2col(np, images, kernel, *steps).reshape(groups, k, p)[group]

    matrix, rows = unrolled(x[n : n + 1]), weight.reshape(groups, f_each, k)[group]
    dy_rows = None if frame.twin is None else dy[n].reshape(groups, f_each, p)[group]
    chosen = np.zeros((k, p), bool)
    if argument == "y":
        chosen[:, np.ravel_multi_index(place[2:], (oh, ow))] = True
    elif argument == "dweight":
        chosen[np.ravel_multi_index(place[1:], (c_each, *kernel))] = True
    elif dy_rows is not None and argument == "dx":
        numbers = np.arange(1, x[n].size + 1).reshape(1, *x.shape[1:])
        matrix, chosen = rows.T @ dy_rows, unrolled(numbers) == numbers[(0, *place[1:])]
    return Columns(matrix, rows, dy_rows, np.argwhere(chosen), filters, n, group)
