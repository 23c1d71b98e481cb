"""Whether a model keeps images apart: its shapes for one image, compared with those for two.

A `view(-1, n)` that makes five rows of one image, a mean over the batch, a batch axis that has wandered: no shape is
wrong where they happen. Here the axis that is longer for two images is the batch, wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tinyconv.engine.context import context
from tinyconv.inspect.tracer import Watcher, first_tensor, run_on_outlines
from tinyconv.nn import Module
from tinyconv.shapes import Shape
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import user_line


def batch_warnings(model: Module, one: Watcher, output: Any, shape: Sequence[int], *extra: Any) -> list[str]:
    """What to say of a model that mixes the images of a batch, or does not take two: one text, or none.

    `one` has watched `model` give `output` for one image; it runs here for two.
    """
    two = _Comparison(one)
    fix = "axis 0 should be the batch: x.flatten(1) makes one row of each image"
    try:
        pair = first_tensor(run_on_outlines(model, two, 2, shape, *extra))
    except Exception as error:  # the user's own, too: of one image it was none
        if extra:  # which may be for a batch of one
            return []
        said = str(error).splitlines() or [type(error).__name__]
        return [f"{two.moved}; {fix}" if two.moved else f"forward takes one image, but not a batch of two: {said[0]}"]
    alone = first_tensor(output)
    if alone is None or pair is None or two.others:
        return []
    if id(pair.array) in two.mixed:
        return [two.mixed[id(pair.array)]]
    if _leads(alone.shape, pair.shape):
        return []
    return [f"{two.moved or f'the output is {alone.shape} for one image and {pair.shape} for two'}; {fix}"]


class _Comparison(Watcher):
    """Finds where images meet, from the shapes of each op for two images and those that were noted for one."""

    def __init__(self, one: Watcher) -> None:
        super().__init__()
        self.mixed: dict[int, str] = {}  # the ids of arrays in which images have met, and where they did
        self.moved = ""  # the first op after which axis 0 was not the batch
        self.others = False  # the ops for two images are not those for one
        self._before = iter(one.shapes)
        self._alive: list[Any] = []  # kept, so that no id is given twice

    def made(self, op: Any, pair: Any, inputs: Any, geometry: Any, outs: tuple[Tensor, ...]) -> None:
        super().made(op, pair, inputs, geometry, outs)
        name, given, kept = self.shapes[-1]
        before = next(self._before, ("", [], ()))
        self.others |= before[0] != name or len(before[1]) != len(given)
        if self.others:
            return
        self._alive += [out.array for out in outs]
        met = next((self.mixed[id(t.array)] for t in inputs if isinstance(t, Tensor) and id(t.array) in self.mixed), "")
        met = met or self._meeting(name, before[1:], (given, kept))
        if met:
            self.mixed.update((id(out.array), met) for out in outs)

    def _meeting(self, name: str, one: tuple[list[Shape], Shape], two: tuple[list[Shape], Shape]) -> str:
        """Where images meet in this op, given the shapes of its inputs and output for one image and for two."""
        given = [_inner(a, b) for a, b in zip(one[0], two[0], strict=True)]
        kept = _inner(one[1], two[1])
        if not any(given):
            return ""
        if kept is None:
            return f"{_place(name)} makes one {one[1]} of all images, so that what an image gives depends on the others"
        if name == "Reshape" and given[0] != kept:
            return f"{_place(name)} from {two[0][0]} to {two[1]} puts numbers of both images into each row"
        if not self.moved and _leads(one[0][0], two[0][0]) and not _leads(one[1], two[1]):
            self.moved = f"{_place(name)} makes {one[1]} of one image, {one[0][0]}, and {two[1]} of two"
        return ""


def _leads(one: Shape, two: Shape) -> bool:
    """Whether axis 0 is the batch, and nothing but the batch."""
    return one[:1] + two[:1] == (1, 2)


def _inner(one: Shape, two: Shape) -> int | None:
    """How many numbers of one image stand together in memory; None for what is the same for two images."""
    for axis, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return prod(one[axis:])
    return None


def _place(name: str) -> str:
    layer = context.get().layer
    ours = layer is not None and type(layer.module).__module__.startswith("tinyconv.")
    return (
        f"{name.lower()} in layer {layer.path!r}" if layer is not None and ours else f"{name.lower()} ({user_line()})"
    )
