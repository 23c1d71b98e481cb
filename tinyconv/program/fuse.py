"""Fusing: what a recorded program does in several instructions, and a pair can do in one.

`tinyconv.ops.fused` says what each of these pairs computes. Where a value goes from one part to the next and nobody
else asks for it, nor for its gradient, the parts become one instruction, forward and backward, however they were
written: as layers or as functions, and with the pooling before the ReLU or after it.

These two commute, gradients and all. A ReLU leaves what is positive as it is and keeps NaN, so a window whose maximum
is positive or NaN has that maximum, at the same place, before and after; and no other window has a gradient.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.engine.variants import name_of, op_name, select
from tinyconv.program.program import Instruction, Program, Value

Geometry = dict[str, Any]


def _of_the_first(first: Geometry, *others: Geometry) -> Geometry:
    return first


def _pooled(conv: Geometry, *others: Geometry) -> Geometry:
    return {**conv, "pool": next(geometry for geometry in others if geometry)}


def _of_the_pool(*parts: Geometry) -> Geometry:
    return next(geometry for geometry in parts if geometry)


def _of_the_loss(scores: Geometry, loss: Geometry) -> Geometry:
    return {**loss, "label_smoothing": 0.0}


PATTERNS: dict[tuple[Any, ...], tuple[Any, Callable[..., Geometry]]] = {
    (ops.Conv2d, ops.Relu, ops.MaxPool2d): (ops.Conv2dReluMaxPool2d, _pooled),
    (ops.Conv2d, ops.MaxPool2d, ops.Relu): (ops.Conv2dReluMaxPool2d, _pooled),
    (ops.Conv2d, ops.Relu): (ops.Conv2dRelu, _of_the_first),
    (ops.Linear, ops.Relu): (ops.LinearRelu, _of_the_first),
    (ops.Relu, ops.MaxPool2d): (ops.ReluMaxPool2d, _of_the_pool),
    (ops.MaxPool2d, ops.Relu): (ops.ReluMaxPool2d, _of_the_pool),
    (ops.LogSoftmax, ops.NllLoss): (ops.CrossEntropy, _of_the_loss),
}
"""What runs as one: the ops in their order, the op that does the same, and its geometry, from those of the parts."""
LONGEST = max(map(len, PATTERNS))


def fused(program: Program) -> Program:
    """The program with fewer instructions. `notes` of it says of what might have been fused why it was not."""
    return _kept_at_once(_Fusing(program).program())


def _kept_at_once(program: Program) -> Program:
    """The program with the first gradient of a leaf written straight to where it is kept."""
    readers, places = _readers(program), {instruction: i for i, instruction in enumerate(program.instructions)}
    makers = {value: i for i in program.instructions if i.kind == "backward" for value in i.outputs if value}
    written: dict[Instruction, dict[Value, Value]] = defaultdict(dict)
    dropped = set()
    for keep in program.instructions:
        if keep.kind != "keep" or not keep.first:
            continue
        (source,), (fixed,) = keep.inputs, keep.outputs
        maker = makers.get(source)
        if maker is None or readers[source] != [keep] or source in program.results or fixed is None:
            continue
        between = program.instructions[places[maker] + 1 : places[keep]]
        if not any(
            value.memory == fixed.memory for other in between for value in (*other.read(), *other.outputs) if value
        ):
            written[maker][source] = fixed
            dropped.add(keep)
    instead = {
        maker: replace(maker, outputs=tuple(fixed.get(value, value) if value else None for value in maker.outputs))
        for maker, fixed in written.items()
    }
    return replace(program, instructions=[instead.get(i, i) for i in program.instructions if i not in dropped])


def _readers(program: Program) -> dict[Value, list[Instruction]]:
    """The instructions that read each value."""
    readers: dict[Value, list[Instruction]] = defaultdict(list)
    for instruction in program.instructions:
        for value in dict.fromkeys(instruction.read()):
            readers[value].append(instruction)
    return readers


class _Fusing:
    """The uses of each value of a program, and what becomes of its instructions."""

    def __init__(self, program: Program) -> None:
        self.given = program
        self.readers = _readers(program)
        self.backwards: dict[Instruction, list[Instruction]] = defaultdict(list)
        for instruction in program.instructions:
            if instruction.of is not None:
                self.backwards[instruction.of].append(instruction)
        self.results = set(program.results)
        self.instead: dict[Instruction, Instruction | None] = {}  # None: a part of another
        self.notes: list[tuple[Instruction, str]] = []

    def program(self) -> Program:
        for instruction in self.given.instructions:
            if instruction.kind == "forward" and instruction not in self.instead:
                self._fuse(instruction)
        found = (self.instead.get(instruction, instruction) for instruction in self.given.instructions)
        return replace(self.given, instructions=[i for i in found if i is not None], notes=self.notes)

    def _fuse(self, first: Instruction) -> None:
        """Put what begins with this forward together: as much as a pair takes."""
        chain, why = [first], ""
        while len(chain) < LONGEST and (after := self._after(chain)) is not None:
            why = self._apart(chain[-1], after)
            if why:
                break
            chain.append(after)
        while len(chain) > 1:
            reason = self._together(chain)
            if not reason:
                break
            why = why or reason
            chain.pop()
        if why:
            self.notes.append((first, why))

    def _after(self, chain: list[Instruction]) -> Instruction | None:
        """The forward that goes on where the chain ends, if a pattern does."""
        done = tuple(part.op for part in chain)
        for reader in self.readers[_made(chain[-1])]:
            goes_on = reader.kind == "forward" and reader.inputs[0] is _made(chain[-1])
            if goes_on and any(pattern[: len(chain) + 1] == (*done, reader.op) for pattern in PATTERNS):
                return reader
        return None

    def _apart(self, part: Instruction, after: Instruction) -> str:
        """Why these two have to stay apart; empty where only the second asks for what the first makes."""
        output, name, follows = _made(part), op_name(part.op), op_name(after.op)
        if why := self._asked(output, after):
            return f"the output of {name} is {why}"
        for other in (*part.outputs[1:], *after.outputs[1:]):
            if other is not None and (self.readers[other] or other in self.results):
                return "the places of the maxima are used"
        back, back_after = self.backwards[part], self.backwards[after]
        if not back and not back_after:
            return ""
        if len(back) != 1 or len(back_after) != 1:
            return f"backward walks {len(back)} times through {name} and {len(back_after)} times through {follows}"
        grad = back_after[0].outputs[0]
        if grad is None or back[0].inputs[0] is not grad:
            return f"what backward gives to {name} is not what comes from {follows} alone"
        if why := self._asked(grad, back[0]):
            return f"the gradient between {name} and {follows} is {why}"
        return ""

    def _asked(self, value: Value, by: Instruction) -> str:
        """Who else asks for a value."""
        if value in self.results:
            return "returned by the step"
        for reader in self.readers[value]:
            if reader is not by:
                what = (
                    "kept" if reader.kind == "keep" else f"read by {op_name(reader.op) if reader.op else reader.kind}"
                )
                return f"also {what}" + (f" ({reader.line})" if reader.line else "")
        return ""

    def _together(self, chain: list[Instruction]) -> str:
        """Make one instruction of the chain; the reason where that cannot be."""
        if (pattern := tuple(part.op for part in chain)) not in PATTERNS:
            return f"no op does what {_names(chain)} do"
        op, geometry_of = PATTERNS[pattern]
        if op is ops.CrossEntropy and (chain[0].geometry["axis"] != 1 or chain[1].inputs[2] is not None):
            return "log_softmax along another axis than 1, or class weights"
        geometry = geometry_of(*(part.geometry for part in chain))
        inputs = tuple(value for part in chain for value in part.inputs[part is not chain[0] :])
        pair = select(op, "numpy", [stand_in(value) for value in inputs], geometry)
        if pair is op:
            return f"no kernel runs {_names(chain)} as one, for these shapes and this dtype"
        for part in chain:
            if part.chosen and part.chosen != name_of(op, pair):
                return f"{op_name(part.op)} is to run as {part.chosen}"
        forward = replace(
            chain[0], op=op, pair=pair, inputs=inputs, outputs=chain[-1].outputs[:1], geometry=geometry,
            parts=tuple(chain),
        )  # fmt: skip
        # The first part is where the inputs are there; the others ask for nothing that is not its own.
        self.instead |= dict.fromkeys(chain) | {chain[0]: forward}
        backs = [self.backwards[part][0] for part in reversed(chain) if self.backwards[part]]
        if backs:
            needs = tuple(need for back in backs[::-1] for need in back.needs[back is not backs[-1] :])
            outputs = tuple(grad for back in backs[::-1] for grad in back.outputs[back is not backs[-1] :])
            self.instead |= dict.fromkeys(backs) | {
                backs[0]: replace(
                    backs[-1], op=op, pair=pair, inputs=backs[0].inputs, outputs=outputs, geometry=geometry,
                    needs=needs, of=forward, parts=tuple(backs),
                )
            }  # fmt: skip
        return ""


def _made(forward: Instruction) -> Value:
    output = forward.outputs[0]
    assert output is not None
    return output


def _names(chain: list[Instruction]) -> str:
    return ", ".join(op_name(part.op) for part in chain)


def stand_in(value: Any) -> Any:
    """An array of a value's shape and dtype, without memory, for those who ask whether a pair takes it."""
    return np.broadcast_to(np.empty((), value.dtype), value.shape) if isinstance(value, Value) else value
