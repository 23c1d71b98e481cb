"""Receptive fields: which part of the image an output cell depends on. Integers only.

Along one axis, cell i of a layer sees the pixels start + i * jump ... start + i * jump + size - 1; those below 0 or
beyond the image are padding. A window of `kernel` taps, `dilation` apart, every `stride` cells, after `padding`, gives

    size <- size + dilation (kernel - 1) jump,   start <- start - padding jump,   jump <- jump stride

(Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks", Distill, 2019). Where paths meet
the field is the span of all of them, so of a residual net it is that of the longest path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tinyconv.shapes import Shape


class Field(NamedTuple):
    """The receptive field of the cells along one axis. A jump of 0: every cell sees the same, or there is but one; a
    negative one: the axis was reversed."""

    size: int = 1
    jump: int = 1
    start: int = 0

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """Of the cells that such a window makes of these."""
        reach = dilation * (kernel - 1) * self.jump
        return Field(self.size + abs(reach), self.jump * stride, self.start - padding * self.jump + min(reach, 0))

    def whole(self, cells: int) -> Field:
        """Of what depends on all of so many cells."""
        reach = max(cells - 1, 0) * self.jump
        return Field(self.size + abs(reach), 0, self.start + min(reach, 0))

    def part(self, first: int, step: int = 1) -> Field:
        """Of every `step`-th cell from the one numbered `first` on."""
        return Field(self.size, self.jump * step, self.start + first * self.jump)

    def span(self, cell: int, pixels: int) -> tuple[int, int]:
        """The pixels [first, past the last) of an image of so many that a cell sees, without padding.

        Where a layer left over pixels at the end and a later one pads, there may be some among them that none sees.
        """
        first = self.start + cell * self.jump
        return max(first, 0), max(min(first + self.size, pixels), max(first, 0))


Fields = tuple[Field, Field]  # of rows and of columns
IMAGE: Fields = (Field(), Field())


def union(fields: Sequence[Fields], cells: Sequence[Shape], out: Shape) -> Fields:
    """Of `out` (rows, columns) cells that depend on those of several layers, of which `cells` has the numbers."""
    return (
        _union([field[0] for field in fields], [size[0] for size in cells], out[0]),
        _union([field[1] for field in fields], [size[1] for size in cells], out[1]),
    )


def _union(fields: Sequence[Field], cells: Sequence[int], out: int) -> Field:
    fields = [field if n == out else field.whole(n) for field, n in zip(fields, cells, strict=True)]  # broadcast
    if len({field.jump for field in fields}) > 1:  # not side by side: then whatever any of them sees
        fields = [field.whole(n) for field, n in zip(fields, cells, strict=True)]
    first = min(field.start for field in fields)
    return Field(max(field.start + field.size for field in fields) - first, fields[0].jump, first)
