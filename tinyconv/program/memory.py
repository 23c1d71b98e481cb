"""Planned memory: the arrays of a stage, in one block, where those that are needed at different times share room.

The first run of a stage is watched: which arrays each instruction takes, in which order, and when the last one who
holds an array lets go of it. Then each gets its place in the block, and every later run uses it. So a replay allocates
nothing of an activation's size, where the pairs take all their arrays from `host.memory.empty`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyconv.engine.writes import base_of
from tinyconv.host.memory import here
from tinyconv.program.program import Instruction, Value

ALIGNED = 64
"""Bytes: arrays begin at multiples of this, as a line of the cache does."""
NEVER = 1 << 60


class Used(NamedTuple):
    """The memory that an executor keeps for a program, in bytes; what a replay returns comes on top of it."""

    blocks: int  # in which the arrays of one tile, or of a whole batch, share room
    shared: int  # all blocks together
    arrays: int  # that lie in them, each block counted once for all of its kind
    apart: int  # what they would take, if each had a place of its own
    whole: int  # arrays outside the blocks: of the whole batch, and sums over the tiles


class Step(NamedTuple):
    """An instruction, ready to run: `function(slots)`."""

    instruction: Instruction
    function: Callable[[list[Any]], None]
    planned: bool  # whether its arrays lie in the block
    outputs: tuple[tuple[int, Value], ...]  # its outputs, with their slots
    last: tuple[int, ...]  # the slots that nobody needs after it


@dataclass
class Buffer:
    """An array that an instruction takes: where it lies in the block, and when it is needed."""

    instruction: Instruction
    shape: tuple[int, ...]
    dtype: Any
    born: int
    died: int = NEVER
    start: int = 0  # in bytes
    value: Value | None = None  # that lies in it; else it is the instruction's own

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class Plan:
    """What the watched run of some steps took: `buffers` for each step, and the `bytes` of the block they fit in."""

    def __init__(self, steps: Sequence[Step], slots: list[Any]) -> None:
        self.buffers: list[list[Buffer]] = []
        self._clock, self._alive = 0, list[Any]()
        for step in steps:
            taken: list[Buffer] = []
            self.buffers.append(taken)
            if step.planned:
                here.source = self._watching(step.instruction, taken)
            try:
                step.function(slots)
            finally:
                here.source = None
            self._name(step, slots)
            for slot in step.last:
                slots[slot] = None
            self._clock += 1
        self._alive.clear()  # what is still there is needed to the end
        self.bytes = _packed([buffer for taken in self.buffers for buffer in taken])

    def _watching(self, instruction: Instruction, taken: list[Buffer]) -> Callable[[tuple[int, ...], Any], Any]:
        def source(shape: tuple[int, ...], dtype: Any) -> Any:
            array, buffer = np.empty(shape, dtype), Buffer(instruction, shape, dtype, self._clock)
            self._clock += 1
            taken.append(buffer)

            def let_go(_: Any) -> None:
                buffer.died = self._clock

            self._alive.append((weakref.ref(array, let_go), buffer))
            return array

        return source

    def _name(self, step: Step, slots: list[Any]) -> None:
        """Note which values lie in which buffers."""
        for slot, value in step.outputs:
            base = base_of(slots[slot])
            for array, buffer in self._alive:
                if buffer.value is None and array() is base:
                    buffer.value = value


def _packed(buffers: list[Buffer]) -> int:
    """Give each buffer a place that none has at the same time, the largest first; returns the bytes they need."""
    placed: list[Buffer] = []
    end = 0
    for buffer in sorted(buffers, key=lambda buffer: -buffer.bytes):
        size, start = -(-buffer.bytes // ALIGNED) * ALIGNED, 0
        others = (o for o in placed if o.born < buffer.died and buffer.born < o.died)
        for other in sorted(others, key=lambda other: other.start):
            if start + size <= other.start:
                break
            start = max(start, -(-(other.start + other.bytes) // ALIGNED) * ALIGNED)
        buffer.start = start
        placed.append(buffer)
        end = max(end, start + size)
    return end


class Block:
    """Memory for one run at a time of the steps of a plan."""

    def __init__(self, plan: Plan) -> None:
        memory = np.empty(plan.bytes + ALIGNED, np.uint8)
        memory = memory[-memory.ctypes.data % ALIGNED :]
        self.arrays = [[np.ndarray(b.shape, b.dtype, memory, b.start) for b in taken] for taken in plan.buffers]

    def run(self, steps: Sequence[Step], slots: list[Any]) -> None:
        """Run the steps of the plan."""
        try:
            for step, arrays in zip(steps, self.arrays, strict=True):
                here.source = _giving(arrays) if step.planned else None
                step.function(slots)
                for slot in step.last:
                    slots[slot] = None
        finally:
            here.source = None


def _giving(arrays: list[Any]) -> Callable[[tuple[int, ...], Any], Any]:
    rest = iter(arrays)

    def source(shape: tuple[int, ...], dtype: Any) -> Any:
        array = next(rest, None)
        return array if array is not None and array.shape == shape and array.dtype == dtype else np.empty(shape, dtype)

    return source
