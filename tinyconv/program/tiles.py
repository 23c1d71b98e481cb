"""Tiles: which instructions of a program work image by image, so that 64 images may go through all of them together.

An op works by tile where axis 0 of what it makes counts the images of the batch, and each image of it depends on that
image alone. Its inputs are then cut into tiles, `x[start:stop]`, or whole, as weights are. Its backward works by tile
too: the gradient of what is cut is cut, and that of what is whole is a sum over the tiles. So is a loss that is added
up over the batch; a mean is such a sum with the divisor of the whole batch (`as_sum`).

What needs all images at once, as batch normalisation does in training, runs whole. So a program becomes stages, whole
ones and tiled ones, and the tiles of a stage ask nothing of each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from tinyconv import ops
from tinyconv.engine.variants import select
from tinyconv.program.fuse import stand_in
from tinyconv.program.program import Instruction, Program, Value, values_in
from tinyconv.shapes import product

Cut: TypeAlias = tuple[bool, ...]


@dataclass(frozen=True)
class ByTile:
    """How an instruction works by tile: which of its inputs are cut, and which of its outputs are sums over the tiles;
    the other outputs are cut."""

    cut: Cut
    summed: Cut


@dataclass
class Stage:
    """Instructions in their order: each runs whole, or, if `tiled`, all of them for one tile, then for the next."""

    tiled: bool
    instructions: list[Instruction] = field(default_factory=list)
    taken: list[Value] = field(default_factory=list)  # what the tiles cut of what was there before
    joined: list[Value] = field(default_factory=list)  # what they make and others need, one tile after the other
    summed: list[Value] = field(default_factory=list)  # and that which is a sum, by `engine.tree.pairwise`


@dataclass
class Schedule:
    """The stages of a program, how each instruction by tile works, and the images in a batch: 0 if there are none."""

    batch: int
    stages: list[Stage]
    by_tile: dict[Instruction, ByTile]


def schedule(program: Program) -> Schedule:
    """Cut a program into stages, each as early as the order of its instructions allows."""
    analysis = _Analysis(program)
    for instruction in program.instructions:
        analysis.add(instruction)
    return analysis.schedule()


class _Analysis:
    """What is known of the instructions so far.

    Level 0, 2, 4 ... is a stage that runs whole, level 1, 3, 5 ... one by tile.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.data = {value for value in program.values if _is_data(value)}
        for i in program.instructions:
            if i.kind in ("stage", "compute"):
                self.data.update(value for value in i.outputs if value is not None)
        self.asked = {value for i in program.instructions for value in i.read()}.union(program.results)
        self.computed_with = {v for i in program.instructions if i.kind in ("compute", "write") for v in i.read()}
        self.memories = {id(value.array): value.memory for value in program.values if value.kind == "held"}
        self.batch = self._batch()
        self.by_tile: dict[Instruction, ByTile] = {}
        self.level: dict[Instruction, int] = {}
        self.made: dict[Value, Literal["cut", "summed"]] = {}  # by tile; the others are whole
        self.maker: dict[Value, Instruction] = {}
        self.readers: dict[int, list[Instruction]] = defaultdict(list)  # of a memory
        self.writers: dict[int, list[Instruction]] = defaultdict(list)

    def _batch(self) -> int:
        """The size of axis 0 of the data that the first op on data takes."""
        for instruction in self.program.instructions:
            first = instruction.inputs[0] if instruction.kind == "forward" else None
            if isinstance(first, Value) and first in self.data and len(first.shape) > 1:
                return first.shape[0]
        return 0

    def add(self, instruction: Instruction) -> None:
        works = self._works_by_tile(instruction) if self.batch else None
        self.level[instruction] = self._level(instruction, works is not None)
        if works is not None:
            self.by_tile[instruction] = works
            for value, is_sum in zip(instruction.outputs, works.summed, strict=True):
                if value is not None:
                    self.made[value] = "summed" if is_sum else "cut"
        elif (instruction.of or instruction).op is ops.BatchNorm:  # the tiles meet there, and go on
            self.data.update(value for value in instruction.outputs[:1] if value is not None)
        else:
            self.data.update(self._like_images(instruction))
        self.maker.update((value, instruction) for value in instruction.outputs if value is not None)
        for value in instruction.read():
            self.readers[value.memory].append(instruction)
        for memory in self._written(instruction):
            self.writers[memory].append(instruction)

    def _works_by_tile(self, instruction: Instruction) -> ByTile | None:
        if instruction.kind == "forward":
            rule = _RULES.get(instruction.op)
            cut = None if rule is None or any(values_in(instruction.geometry)) else rule(instruction, self.batch)
            if cut is None or not self._fit(instruction.inputs, cut):
                return None
            summed = _adds_up(instruction)
            if self._prepares(instruction):
                return None
            if _classes(instruction) in self.made:  # they are checked, and counted for a mean, before the tiles
                return None
            if any(not summed and v in self.asked and v.shape[:1] != (self.batch,) for v in instruction.outputs if v):
                return None
            return ByTile(cut, (summed,) * len(instruction.outputs))
        forward = self.by_tile.get(instruction.of) if instruction.of is not None else None
        if forward is not None:
            return ByTile((not forward.summed[0],), tuple(not is_cut for is_cut in forward.cut))
        if instruction.kind == "sum" and all(self._goes_on(value) for value in instruction.inputs):
            return ByTile((True, True), (False,))
        return None

    def _prepares(self, forward: Instruction) -> bool:
        """Whether it gets data ready for what is computed outside the tape: whole, or the tiles would wait for that."""
        return any(v in self.computed_with for v in forward.outputs) and all(
            v in self.data and v not in self.made for v in forward.inputs if isinstance(v, Value)
        )

    def _goes_on(self, value: Value) -> bool:
        """Whether a gradient has a part for each image."""
        return self.made.get(value) == "cut" or (value in self.data and value.shape[:1] == (self.batch,))

    def _fit(self, inputs: tuple[Any, ...], cut: Cut) -> bool:
        """Whether inputs can be cut so: one at least is data or made of it, and none is cut that has to be whole."""
        seen = False
        for value, is_cut in zip(inputs, cut, strict=True):
            if isinstance(value, Value):
                made = self.made.get(value)
                if (made == "cut" and not is_cut) or (
                    is_cut and (made == "summed" or value.shape[:1] != (self.batch,))
                ):
                    return False
                seen = seen or (is_cut and (made == "cut" or value in self.data))
        return seen

    def _like_images(self, instruction: Instruction) -> Iterator[Value]:
        """What is made, for the whole batch, of images or for them: the next tiles may cut it."""
        given = (instruction if instruction.of is None else instruction.of).inputs
        images = [isinstance(v, Value) and (v in self.data or self.made.get(v) == "cut") for v in given]
        gradient_of = images if instruction.kind == "backward" else [any(images)] * len(instruction.outputs)
        for value, is_image in zip(instruction.outputs, gradient_of, strict=True):
            if value is not None and is_image and value.shape[:1] == (self.batch,):
                yield value

    def _level(self, instruction: Instruction, tiled: bool) -> int:
        """The first stage where all that it reads is there, and nobody needs what it writes over."""
        level = int(tiled)
        for before, is_sum in self._before(instruction):
            found = self.level[before]
            if found % 2 == 0:
                level = max(level, found + tiled)
            else:  # the tiles of a stage go through what is cut together; a sum is there when all have
                level = max(level, found + 1 + tiled if is_sum or not tiled else found)
        return level

    def _before(self, instruction: Instruction) -> Iterator[tuple[Instruction, bool]]:
        """The instructions that it has to come after, and whether it waits for a sum of theirs."""
        for value in instruction.read():
            if value in self.maker:
                yield self.maker[value], self.made.get(value) == "summed"
            yield from ((writer, False) for writer in self.writers[value.memory])
        for memory in self._written(instruction):
            yield from ((other, False) for other in (*self.readers[memory], *self.writers[memory]))
        if instruction.of is not None:
            yield instruction.of, False

    def _written(self, instruction: Instruction) -> Iterator[int]:
        """Numbers of the memories that it writes to; -1 are rates, counts and random numbers, which the host holds."""
        yield from (value.memory for value in instruction.written())
        yield from (self.memories[id(p.array)] for p in instruction.parameters if id(p.array) in self.memories)
        if instruction.kind in ("host", "stage", "update"):
            yield -1

    def schedule(self) -> Schedule:
        stages = {level: Stage(level % 2 == 1) for level in sorted(set(self.level.values()))}
        for instruction, level in self.level.items():
            stages[level].instructions.append(instruction)
        for stage in stages.values():
            if stage.tiled:
                self._find_edges(stage)
        return Schedule(self.batch, list(stages.values()), self.by_tile)

    def _find_edges(self, stage: Stage) -> None:
        inside = {value for i in stage.instructions for value in i.outputs if value is not None}
        taken, summed = dict[Value, None](), dict[Value, None]()
        for i in stage.instructions:
            cut = zip(i.inputs, self.by_tile[i].cut, strict=True)
            taken.update((v, None) for v, is_cut in cut if is_cut and isinstance(v, Value) and v not in inside)
            summed.update((v, None) for v in i.outputs if v is not None and self.made[v] == "summed")
        outside = (v for i in self.level if self.level[i] != self.level[stage.instructions[0]] for v in i.read())
        needed = dict.fromkeys((*outside, *self.program.results))
        stage.taken, stage.summed = list(taken), list(summed)
        stage.joined = [value for value in needed if value in inside and value not in summed]


def _is_data(value: Value) -> bool:
    """Whether a value comes from the world and gets no gradient: an argument, or a tensor that is not trained."""
    return value.kind == "input" or (value.tensor is not None and not value.tensor.requires_grad)


# --- What each op needs ---------------------------------------------------------------------------------------------

Rule: TypeAlias = Callable[[Instruction, int], "Cut | None"]
"""rule(forward, batch): which of the inputs are cut where the op works by tile; None where it does not."""


def _first(forward: Instruction, n: int) -> Cut | None:
    """The first input alone: the others are weights."""
    return (True, *[False] * (len(forward.inputs) - 1)) if len(forward.inputs[0].shape) > 1 else None


def _elementwise(forward: Instruction, n: int) -> Cut | None:
    """All inputs that count the images as the output does; the others are the same for each image."""
    rank = max(len(value.shape) for value in forward.inputs if isinstance(value, Value))
    return tuple(
        isinstance(value, Value) and len(value.shape) == rank and value.shape[:1] == (n,) for value in forward.inputs
    )


def _alike(forward: Instruction, n: int) -> Cut | None:
    """All inputs, which have one shape."""
    shapes = {value.shape for value in forward.inputs}
    return (True,) * len(forward.inputs) if len(shapes) == 1 else None


def _scores(forward: Instruction, n: int) -> Cut | None:
    """Scores and their targets; a third input holds weights of classes."""
    return True, True, *[False] * (len(forward.inputs) - 2)


def _along(name: str) -> Rule:
    """Ops along one axis: all inputs, where it is not that of the images."""
    return lambda forward, n: None if forward.geometry[name] == 0 else (True,) * len(forward.inputs)


def _over_axes(forward: Instruction, n: int) -> Cut | None:
    return (True,) if 0 not in forward.geometry["axes"] else None


def _summed_over_axes(forward: Instruction, n: int) -> Cut | None:
    return (True,)


def _fixed_norm(forward: Instruction, n: int) -> Cut | None:
    """Batch normalisation with given statistics."""
    return _first(forward, n) if forward.inputs[3] is not None else None


def _layer_norm(forward: Instruction, n: int) -> Cut | None:
    return _first(forward, n) if len(forward.geometry["shape"]) < len(forward.inputs[0].shape) else None


def _reshape(forward: Instruction, n: int) -> Cut | None:
    return (True,) if forward.outputs[0].shape[:1] == (n,) == forward.inputs[0].shape[:1] else None  # type: ignore[union-attr]


def _expand(forward: Instruction, n: int) -> Cut | None:
    return (True,) if len(forward.geometry["shape"]) == len(forward.inputs[0].shape) else None


def _permute(forward: Instruction, n: int) -> Cut | None:
    return (True,) if forward.geometry["axes"][0] == 0 else None


def _pad(forward: Instruction, n: int) -> Cut | None:
    return (True,) if tuple(forward.geometry["widths"][0]) == (0, 0) else None


_RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        (
            ops.Conv2d, ops.ConvTranspose2d, ops.Unfold, ops.Fold, ops.Conv2dRelu, ops.Conv2dReluMaxPool2d,
            ops.Linear, ops.LinearRelu, ops.ReluMaxPool2d,
            ops.MaxPool2d, ops.AvgPool2d, ops.AdaptiveAvgPool2d, ops.AdaptiveMaxPool2d,
            ops.Relu, ops.LeakyRelu, ops.Sigmoid, ops.Tanh, ops.Silu, ops.Gelu, ops.GeluTanh,
            ops.Neg, ops.Abs, ops.Exp, ops.Log, ops.Sqrt, ops.Cast, ops.Copy,
        ),
        _first,
    ),
    **dict.fromkeys(
        (
            ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Pow, ops.Maximum, ops.Minimum, ops.LogAddExp, ops.Where,
            ops.Dropout,
        ),
        _elementwise,
    ),
    **dict.fromkeys((ops.Softmax, ops.LogSoftmax, ops.Cat, ops.Stack, ops.Pick), _along("axis")),
    **dict.fromkeys((ops.Amax, ops.Amin, ops.Var, ops.Std, ops.Norm, ops.LogSumExp), _over_axes),
    **dict.fromkeys((ops.Sum, ops.Mean), _summed_over_axes),
    **dict.fromkeys((ops.MseLoss, ops.L1Loss), _alike),
    **dict.fromkeys((ops.CrossEntropy, ops.NllLoss, ops.SoftCrossEntropy), _scores),
    ops.BceWithLogits: _elementwise,
    ops.GridSample: lambda forward, n: (True, True),
    ops.BatchNorm: _fixed_norm,
    ops.LayerNorm: _layer_norm,
    ops.Reshape: _reshape,
    ops.Expand: _expand,
    ops.Permute: _permute,
    ops.Pad: _pad,
}  # fmt: skip


def _adds_up(forward: Instruction) -> bool:
    """Whether the output is a sum, or a mean, over the batch."""
    return forward.geometry.get("reduction", "none") != "none" or (
        forward.op in (ops.Sum, ops.Mean) and 0 in forward.geometry["axes"]
    )


def _classes(forward: Instruction) -> Value | None:
    """The classes that a loss is given for its scores."""
    return forward.inputs[1] if forward.op in (ops.CrossEntropy, ops.NllLoss) else None


# --- What a tile gets -----------------------------------------------------------------------------------------------


def geometry_of_tile(forward: Instruction, geometry: dict[str, Any], n: int) -> dict[str, Any]:
    """The geometry for a tile of `n` images: a shape says how many there are."""
    if forward.op in (ops.Reshape, ops.Expand):
        return {**geometry, "shape": (n, *geometry["shape"][1:])}
    return geometry


@dataclass
class Sum:
    """A mean over the batch as a sum: the pair and the geometry for it, and the factor, by the arrays of its inputs."""

    pair: Any
    geometry: dict[str, Any]
    factor: Callable[..., Any]


def as_sum(forward: Instruction) -> Sum | None:
    """How a tile computes its part of a mean over the whole batch; None for an op that makes no mean over it.

    The part is the sum of the tile times the factor; backward gets the gradient times the factor.
    """
    if forward.op is ops.Mean and _adds_up(forward):
        shape = forward.inputs[0].shape
        count = product(shape[axis] for axis in forward.geometry["axes"])
        return Sum(ops.Sum, forward.geometry, lambda *arrays: 1 / max(count, 1))
    if forward.geometry.get("reduction") != "mean":
        return None
    geometry = {**forward.geometry, "reduction": "sum"}
    pair = select(forward.op, "numpy", [stand_in(value) for value in forward.inputs], geometry)
    return Sum(pair, geometry, _divisor(forward))


def _divisor(forward: Instruction) -> Callable[..., Any]:
    """The function that gives 1 / what a mean over the batch divides by."""
    x = forward.inputs[0]
    if forward.op in (ops.CrossEntropy, ops.NllLoss):
        ignored = forward.geometry["ignore_index"]

        def by_weights(x: Any, target: Any, weight: Any) -> Any:
            kept = target != ignored
            return 1 / x.dtype.type(np.count_nonzero(kept) if weight is None else weight[target[kept]].sum())

        return by_weights
    count = product(x.shape) // (max(x.shape[1], 1) if forward.op is ops.SoftCrossEntropy else 1)
    return lambda *arrays: 1 / max(count, 1)
