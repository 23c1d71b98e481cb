"""Receptive fields: which part of the image an output cell depends on. Integers only.

Along one axis, cell i of a layer sees the pixels start + i * jump ... start + i * jump + size - 1; those below 0 or
beyond the image are padding. A window of `kernel` taps, `dilation` apart, every `stride` cells, after `padding`, gives

    size <- size + dilation (kernel - 1) jump,   start <- start - padding jump,   jump <- jump stride

(Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks", Distill, 2019). Where paths meet,
the field spans the fields of all paths, so a residual net has the field of its longest path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tinyconv.shapes import Shape


class Field(NamedTuple):
    """The receptive field of the cells of a layer along one axis, in pixels; that of the image is `Field()`.

    With a jump of 0 all cells see the same, or there is only one; a negative jump says that the axis was reversed.

        Field().window(5).window(2, stride=2)  # Field(size=6, jump=2, start=0): a convolution and a pooling
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """The field of the cells that a window over these cells makes: of a convolution, or a pooling.

        Args:
            kernel: The number of taps.
            stride: How many cells the window moves.
            padding: How many cells were added in front.
            dilation: How many cells lie from one tap to the next.
        """
        reach = dilation * (kernel - 1) * self.jump
        return Field(self.size + abs(reach), self.jump * stride, self.start - padding * self.jump + min(reach, 0))

    def whole(self, cells: int) -> Field:
        """The field of what depends on all `cells` of a layer."""
        reach = max(cells - 1, 0) * self.jump
        return Field(self.size + abs(reach), 0, self.start + min(reach, 0))

    def part(self, first: int, step: int = 1) -> Field:
        """The field of every `step`-th cell, beginning with number `first`, which may be negative (padding)."""
        return Field(self.size, self.jump * step, self.start + first * self.jump)

    def span(self, cell: int, pixels: int) -> tuple[int, int]:
        """The pixels that cell number `cell` sees, as (first, past the last), in an image of `pixels` pixels.

        Padding is not counted. Where pixels at the end were left over by a layer and a later one pads, some of these
        pixels may not be seen.
        """
        first = self.start + cell * self.jump
        return max(first, 0), max(min(first + self.size, pixels), max(first, 0))


Fields = tuple[Field, Field]  # of rows and of columns
IMAGE: Fields = (Field(), Field())


def union(fields: Sequence[Fields], cells: Sequence[Shape], out: Shape) -> Fields:
    """The fields of `out` (rows, columns) cells that depend on several layers with so many `cells` each."""
    return (
        _union([field[0] for field in fields], [size[0] for size in cells], out[0]),
        _union([field[1] for field in fields], [size[1] for size in cells], out[1]),
    )


def _union(fields: Sequence[Field], cells: Sequence[int], out: int) -> Field:
    fields = [field if n == out else field.whole(n) for field, n in zip(fields, cells, strict=True)]  # broadcast
    if len({field.jump for field in fields}) > 1:  # cells do not lie side by side: each may see what any of them sees
        fields = [field.whole(n) for field, n in zip(fields, cells, strict=True)]
    first = min(field.start for field in fields)
    return Field(max(field.start + field.size for field in fields) - first, fields[0].jump, first)
