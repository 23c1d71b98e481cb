"""The parts of a program: values, which are arrays, and instructions, which make them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

import numpy as np

from tinyconv.distributed.communicator import Communicator, RankError
from tinyconv.engine.variants import op_name

Kind: TypeAlias = Literal["forward", "backward", "sum", "keep", "compute", "write", "update", "host", "stage"]


@dataclass(eq=False)
class Value:
    """An array of a program.

    `kind` says where it comes from: "input", an argument of the step; "held", an array that lives outside the program
    (a parameter, a gradient, a buffer of a module) and stays the same one; "constant", an array that only the program
    holds; "made", by an instruction.
    """

    number: int
    kind: Literal["input", "held", "constant", "made"]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    array: Any = None  # the array itself, of a value that is held or constant
    tensor: Any = None  # the tensor that holds it
    memory: int = 0  # values with the same number lie in the same memory: one is a view of another
    name: str = ""  # `conv1.weight`, "x"

    def __repr__(self) -> str:
        return f"{self.name or f'%{self.number}'}: {self.dtype} {self.shape}"


@dataclass(eq=False)
class Instruction:
    """One step of a program.

    forward   `outputs, saved = pair.forward(xp, *inputs, **geometry)`
    backward  `outputs = pair.backward(xp, saved of `of`, inputs[0], needs, **geometry)`; None where none is needed. One
              that is held is the gradient of a leaf: it is written there
    sum       outputs[0] = inputs[0] + inputs[1], in place of inputs[0] if `owned`
    keep      inputs[0] goes into outputs[0], the gradient that a leaf holds: added to it unless `first`
    compute   outputs[0] = function(*inputs), outside the tape; it may write into its inputs
    write     inputs[0][where] = inputs[1]
    update    an optimiser updates `parameters` of group `group` by the gradients `inputs`
    host      function(), on the host alone
    stage     outputs[0] = function(), new data from the host
    """

    kind: Kind
    inputs: tuple[Any, ...] = ()  # Values; numbers, and None, as they are
    outputs: tuple[Value | None, ...] = ()
    op: Any = None
    pair: Any = None
    geometry: dict[str, Any] = field(default_factory=dict)  # arrays in it are Values
    needs: tuple[bool, ...] = ()
    of: Instruction | None = None  # the forward of a backward
    function: Callable[..., Any] | None = None
    where: Any = None
    owned: bool = False
    first: bool = False
    optimizer: Any = None
    group: int = 0
    parameters: tuple[Any, ...] = ()  # tensors
    chosen: str = ""  # the variant that `using` asks for
    layer: str = ""  # the path of the module that ran it
    line: str = ""  # the user's line
    parts: tuple[Instruction, ...] = ()  # what was fused into it

    def read(self) -> Iterator[Value]:
        """The values that it reads; a backward also reads what its forward saved."""
        for value in (*self.inputs, *values_in(self.geometry), *values_in(self.where)):
            if isinstance(value, Value):
                yield value

    def written(self) -> Iterator[Value]:
        """The values that it writes into, those it makes excepted; an update also writes into its parameters."""
        if self.kind == "compute":
            yield from () if self.outputs else self.read()
        elif self.kind == "write":
            yield self.inputs[0]
        elif self.kind == "sum":
            yield from self.inputs[: self.owned]
        else:
            yield from (value for value in self.outputs if value is not None and value.kind == "held")


def leaves_of(nested: Any) -> Iterator[Any]:
    """What nested tuples, lists and dicts hold, in order."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, list | tuple):
        for part in nested:
            yield from leaves_of(part)
    else:
        yield nested


def values_in(nested: Any) -> Iterator[Value]:
    """The values in nested tuples, lists and dicts."""
    return (leaf for leaf in leaves_of(nested) if isinstance(leaf, Value))


def replaced(nested: Any, function: Callable[[Any], Any]) -> Any:
    """The same nested tuples, lists and dicts, with `function(leaf)` in the place of everything else in them."""
    if isinstance(nested, dict):
        return {key: replaced(part, function) for key, part in nested.items()}
    if isinstance(nested, list | tuple):
        parts = [replaced(part, function) for part in nested]
        return type(nested)(*parts) if hasattr(nested, "_fields") else type(nested)(parts)
    return function(nested)


def check_alike(program: Program, ranks: Communicator) -> None:
    """Raise RankError where ranks are about to share a program of which they have recorded different ones."""
    if ranks.size == 1:
        return
    own = [
        f"{i.layer or 'the step'}: {i.kind} {op_name(i.op) if i.op is not None else ''} "
        f"{[repr(v) for v in i.read() if v.kind == 'held']} {[v and v.shape for v in i.outputs]}"
        for i in program.instructions
    ]
    mine, of_rank_0 = next(
        (pair for pair in zip_longest(own, ranks.broadcast(own)) if pair[0] != pair[1]), (None, None)
    )
    differ = np.flatnonzero(ranks.allgather(mine != of_rank_0)).tolist()
    if differ:
        mine, of_rank_0 = ranks.broadcast([mine, of_rank_0], differ[0])
        raise RankError(
            "capture: the ranks have recorded different steps, and cannot share one: do they have other layers, or has "
            f"one frozen parameters? First, where rank 0 has ({of_rank_0}), rank {differ[0]} has ({mine})"
        )


@dataclass(eq=False)
class Program:
    """What a step did: `instructions` in order, from `inputs` (its tensors, in order) to `results`."""

    instructions: list[Instruction]
    inputs: list[Value]
    results: list[Value]
    values: list[Value]
    modules: list[Any] = field(default_factory=list)  # that ran, the outermost last
    gradients: list[tuple[Any, Value]] = field(default_factory=list)  # leaves, and the gradients that they hold
    notes: list[tuple[Instruction, str]] = field(default_factory=list)  # what was not fused, and why

    @property
    def shared(self) -> bool:
        """Whether ranks share its tiles: a module ran that says so."""
        return any(getattr(module, "shares_tiles", False) for module in self.modules)

    def written(self) -> list[Value]:
        """The values outside the program that it writes into, besides what optimisers update."""
        memories = {value.memory for instruction in self.instructions for value in instruction.written()}
        return [value for value in self.values if value.tensor is not None and value.memory in memories]
