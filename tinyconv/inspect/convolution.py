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


@dataclass(frozen=True, eq=False)
class Loops:
    """What `loops` returns: the source of the naked loops, and the indices at which they write the cell."""

    source: Source  # `ran` are the lines that write the cell
    indices: dict[str, int]  # by the names that they have there: {"n": 0, "f": 2, "i": 3, "j": 4}

    def to_dict(self) -> dict[str, Any]:
        """In plain values, for JSON: `source`, with `file`, `line`, `text` and `ran`, and `indices`."""
        return {"source": vars(self.source), "indices": self.indices}


def loops(frame: Frame, which: str | int = 0, cell: Sequence[int] = ()) -> Loops:
    """The same op as naked loops (`tinyconv/ops/loops.py`), with the lines that write this cell.

        recording = tc.inspect.record(tc.models.lenet5(), tc.ones(1, 28, 28), 7)
        tc.inspect.loops(recording.frames[0], "y", (0, 2, 3, 4)).indices  # {'n': 0, 'f': 2, 'i': 3, 'j': 4}

    Args:
        frame: A frame of conv2d, max_pool2d or linear.
        which: The operand among `frame.outputs`: its `argument`, or its number.
        cell: The index of the cell, a number for each axis.

    Raises VariantError for a frame of another op, ShapeError where there is no such operand or cell, and GraphError
    where nothing needs that gradient.
    """
    found = [variant for variant in _rows(frame) if variant.name == "loop"]
    if not found:
        raise VariantError(f"loops: {frame.name} is not written as loops; conv2d, max_pool2d and linear are")
    number, array = operand_of(frame, which)
    place, written = place_in(cell, array.shape), frame.outputs[number].argument
    half = getattr(found[0].pair, frame.direction)
    source = source_of(half, ())
    assert source is not None
    matches = [re.match(rf"\s*{re.escape(written)}\[(.*?)\] \+?= ", line) for line in source.text.splitlines()]
    lines = tuple(source.line + i for i, match in enumerate(matches) if match)
    names = next((match[1].split(", ") for match in matches if match), [])
    return Loops(Source(source.file, source.line, source.text, lines), dict(zip(names, place, strict=False)))


def _rows(frame: Frame) -> list[Any]:
    """The variants of the frame's op."""
    known = variants_of(frame.name) if frame.name in available() else {}
    return [variant for row in known.values() for variant in row]


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

    def to_dict(self) -> dict[str, Any]:
        """A dict of `matrix`, `weight`, `dy`, `cells`, `filters`, `image` and `group`, with NumPy arrays in it."""
        return dict(vars(self))


def columns(frame: Frame, which: str | int = 0, cell: Sequence[int] = (), image: int = 0) -> Columns:
    """The matrices of im2col that a cell of a convolution is made of, and their cells.

        recording = tc.inspect.record(tc.models.lenet5(), tc.ones(1, 28, 28), 7)
        found = tc.inspect.columns(recording.frames[0], "y", (0, 2, 3, 4))
        found.matrix.shape, found.cells[0].tolist()  # ((25, 576), [0, 76])

    Args:
        frame: A frame of conv2d.
        which: The operand among `frame.outputs`: its `argument`, or its number.
        cell: The index of the cell, a number for each axis.
        image: The image of the batch whose columns are shown for dweight and dbias, which all images have a part in.

    Raises VariantError for a frame of another op, ShapeError where there is no such operand, cell or image, and
    GraphError where nothing needs that gradient.
    """
    ran = frame.twin or frame
    if frame.name != op_name(ops.Conv2d):
        raise VariantError(f"columns: only conv2d is a product with columns, this frame is of {frame.name}")
    number, array = operand_of(frame, which)
    place, argument = place_in(cell, array.shape), frame.outputs[number].argument
    x, weight, y = ran.inputs[0].array, ran.inputs[1].array, ran.outputs[0].array
    assert x is not None
    assert weight is not None
    assert y is not None
    n = place[0] if argument in ("y", "dx") else image
    if not 0 <= n < len(x):
        raise ShapeError(f"columns: there is no image {n} in a batch of {len(x)}")
    (f_all, c_each, kh, kw), (oh, ow), groups = weight.shape, y.shape[2:], ran.geometry["groups"]
    k, p, f_each = c_each * kh * kw, oh * ow, f_all // groups
    group = place[1] // c_each if argument == "dx" else place[1 if argument == "y" else 0] // f_each
    window = (kh, kw), ran.geometry["stride"], ran.geometry["padding"], ran.geometry["dilation"]

    def unrolled(images: HostArray) -> HostArray:
        return ops.conv.im2col(np, images, *window).reshape(groups, k, p)[group]

    rows = weight.reshape(groups, f_each, k)[group]
    dy = None if frame.twin is None else frame.inputs[0].array
    dy_rows = None if dy is None else dy[n].reshape(groups, f_each, p)[group]
    matrix = unrolled(x[n : n + 1])
    chosen = np.zeros((k, p), bool)
    filters = (0, f_each)
    if argument == "dx":
        assert dy_rows is not None
        matrix = rows.T @ dy_rows
        numbers = np.arange(1, x[n].size + 1).reshape(1, *x.shape[1:])
        chosen = unrolled(numbers) == numbers[(0, *place[1:])]
    else:
        f = place[1 if argument == "y" else 0] % f_each
        filters = f, f + 1
        if argument == "y":
            chosen[:, np.ravel_multi_index(place[2:], (oh, ow))] = True
        elif argument == "dweight":
            chosen[np.ravel_multi_index(place[1:], (c_each, kh, kw))] = True
    return Columns(matrix, rows, dy_rows, np.argwhere(chosen), filters, n, group)
