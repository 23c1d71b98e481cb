"""Padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tinyconv import ops
from tinyconv.engine.options import real
from tinyconv.errors import ShapeError, shortened
from tinyconv.functional.arguments import (
    checked_tensor,
)
from tinyconv.shapes import sizes_of
from tinyconv.tensor.joins import cat
from tinyconv.tensor.tensor import Tensor, apply


def pad(
    input: Tensor,
    pad: Sequence[int],
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant",
    value: float | None = None,
) -> Tensor:
    """Pad the last axes, or crop them where a number is negative. Like `torch.nn.functional.pad`.

        F.pad(tc.tensor([1.0, 2.0]), (1, 2)).tolist()  # [0.0, 1.0, 2.0, 0.0, 0.0]

    Args:
        input: A tensor of any shape and dtype.
        pad: (before, after) of the last axis, then of the one before it, and so on.
        mode: "constant" fills with `value`, "reflect" mirrors without repeating the edge, "replicate" repeats the edge,
            and "circular" wraps around.
        value: The number that "constant" fills with; 0 unless given.

    Raises ShapeError where `pad` does not fit the axes, ValueError for another mode or a value that is no number, and
    DtypeError for anything but a Tensor.
    """
    if not isinstance(pad, Sequence | np.ndarray):
        raise ShapeError(f"pad: expected (before, after) for each axis, the last one first, got {pad!r}")
    pad, number = sizes_of(tuple(pad), "pad: widths"), 0.0 if value is None else real("pad: value", value)
    checked_tensor("pad", "input", input)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(
            f"pad: expected (before, after) for each of up to {input.ndim} axes, the last one first, got {tuple(pad)}"
        )
    widths = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    for (before, after), n in zip(widths, input.shape, strict=True):
        if before + after + n < 0 or -before > n or -after > n:
            raise ShapeError(f"pad: cannot crop {(before, after)} from an axis of {n} (input {input.shape})")
    if mode != "constant":
        for axis, (before, after) in enumerate(widths):
            if before or after:
                input = _extend(input, axis, before, after, mode)
        return input
    cropped = tuple(
        slice(max(-before, 0), n - max(-after, 0)) for (before, after), n in zip(widths, input.shape, strict=True)
    )
    if any(before < 0 or after < 0 for before, after in widths):
        input = input[cropped]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if not any(any(width) for width in widths):
        return input
    return apply(ops.Pad, input, widths=tuple(widths), value=number)


def _extend(input: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Continue one axis at both ends by its own elements."""
    n = input.shape[axis]
    limit = {"reflect": n - 1, "replicate": None, "circular": n}
    if mode not in limit:
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {shortened(mode)}")
    most = limit[mode]
    if n == 0 or (most is not None and max(before, after) > most):
        raise ShapeError(
            f"pad: {mode} padding of {(before, after)} needs an axis longer than {n} (input {input.shape})"
        )
    left = n + min(before, 0) + min(after, 0)
    if (left <= 0 < max(before, after)) if mode == "circular" else n + before + after <= 0:
        raise ShapeError(
            f"pad: {mode} padding of {(before, after)} leaves nothing of an axis of {n} (input {input.shape})"
        )
    lead = (slice(None),) * axis

    def part(*bounds: int | None) -> Tensor:
        return input[(*lead, slice(*bounds))]

    middle, head, tail = part(max(-before, 0), n - max(-after, 0)), max(before, 0), max(after, 0)
    if not (head or tail):
        return middle
    if mode == "circular":  # what is cropped must not come back at the other end
        m = middle.shape[axis]
        turns = -(-head // m), -(-tail // m)
        ring = cat([middle] * (turns[0] + 1 + turns[1]), axis)
        return ring[(*lead, slice(turns[0] * m - head, (turns[0] + 1) * m + tail))]
    if mode == "reflect":
        ends = part(head, 0, -1), part(n - 2, n - 2 - tail if tail < n - 1 else None, -1)
    else:
        shape = list(input.shape)
        shape[axis] = head
        first = part(0, 1).expand(shape)
        shape[axis] = tail
        ends = first, part(n - 1, n).expand(shape)
    return cat([ends[0]] * (head > 0) + [middle] + [ends[1]] * (tail > 0), axis)
