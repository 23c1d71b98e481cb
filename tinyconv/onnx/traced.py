"""The graph of a model: its inference, recorded with batches of two sizes.

What is the same in both does not depend on the batch. A number that differs is a `Count`, so many for each image and so
many more; anything else that differs has no place in a file whose batch is free, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinyconv.arrays.backend import captured_step
from tinyconv.engine.context import context
from tinyconv.engine.variants import op_name
from tinyconv.errors import OnnxError
from tinyconv.inspect.flops import MACS
from tinyconv.program.program import Instruction, Program, Value, leaves_of
from tinyconv.program.record import Recorder
from tinyconv.tensor.creation import get_rng_state
from tinyconv.tensor.tensor import Tensor


class Count(NamedTuple):
    """A number that depends on the batch: `each` times its size, and `more`."""

    each: int
    more: int

    def __str__(self) -> str:
        """`batch`, `4*batch`, `batch+1`: the name of an axis in the file."""
        times = "batch" if self.each == 1 else f"{self.each}*batch"
        return f"{times}{self.more:+}" if self.more else times


Sizes = tuple[int | Count, ...]


class Tracer(Recorder):
    """The recorder of an inference. What it computes from constants alone is a constant; data is one too."""

    def refuse(self, message: str) -> None:
        raise OnnxError(message.replace("capture: the step", "export: the model").replace("capture:", "export:"))

    def took(self, source: Any, array: Any) -> None:
        if id(source) in self._values:
            super().took(source, array)
        elif id(array) not in self._values:
            self._known("constant", array)

    def staged(self, xp: Any, values: Callable[[], Any]) -> Any:
        before = get_rng_state()
        array, again = xp.asarray(values()), values()
        if np.array_equal(array, again, equal_nan=array.dtype.kind == "f") and before == get_rng_state():
            self._known("constant", array)
            return array
        return super().staged(xp, values)

    def made(self, op: Any, pair: Any, inputs: Any, geometry: dict[str, Any], outs: tuple[Tensor, ...]) -> None:
        super().made(op, pair, inputs, geometry, outs)
        self._fold(tuple(out.array for out in outs))

    def computed(self, function: Callable[..., Any], arrays: tuple[Any, ...], result: Any) -> None:
        super().computed(function, arrays, result)
        self._fold((result,))

    def _fold(self, results: tuple[Any, ...]) -> None:
        instruction = self._instructions[-1]
        if instruction.outputs and all(value.kind == "constant" for value in instruction.read()):
            self._instructions.pop()
            for value, array in zip(instruction.outputs, results, strict=True):
                if value is not None:
                    value.kind, value.array = "constant", np.array(array)


@dataclass
class Traced:
    """A recorded inference: `program`, with the shapes of its values and the geometry of its instructions as they are
    for a batch of any size."""

    program: Program
    shapes: dict[int, Sizes]  # by the number of the value
    geometry: dict[int, dict[str, Any]] = field(default_factory=dict)  # by the id of the instruction
    functions: dict[int, tuple[Any, ...]] = field(default_factory=dict)  # what a `compute` was given before

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the recorded batch, those of convolutions and products."""
        found = 0
        for one in self.program.instructions:
            if one.kind == "forward" and (count := MACS.get(op_name(one.op))) is not None:
                shapes = [value.shape for value in one.inputs if isinstance(value, Value)]
                found += count(shapes[0], shapes[1], one.geometry)
        return found


def recorded(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Program:
    """The program of one call, which gives a tensor or several. Raises OnnxError for what no graph can have."""
    tracer, now = Tracer(inputs), context.get()
    token = captured_step.set(tracer)
    try:
        context.set(now.but(observer=tracer, recording=False))
        result = function(*inputs)
    finally:
        context.set(now)
        captured_step.reset(token)
    results = list(leaves_of(result))
    for found in results:
        if not isinstance(found, Tensor):
            raise OnnxError(f"export: the model returns a {type(found).__name__}; a graph returns tensors")
    return tracer.program(results)


def traced_once(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Traced:
    """The graph for inputs of these shapes alone."""
    program = recorded(function, inputs)
    found = Traced(program, {value.number: value.shape for value in program.values})
    for one in program.instructions:
        found.geometry[id(one)], found.functions[id(one)] = one.geometry, given_to(one.function)
    return found


def traced(function: Callable[..., Any], batch: Callable[[int], Tensor], sizes: tuple[int, int] = (2, 3)) -> Traced:
    """The graph for any batch: of `function`, which takes one tensor, recorded with `batch(n)` for two sizes n.

    Raises OnnxError where the batch decides which ops run, or what a number in the graph is that has to be fixed.
    """
    first, second = (recorded(function, [batch(n)]) for n in sizes)
    if len(first.instructions) != len(second.instructions) or len(first.values) != len(second.values):
        raise OnnxError(
            f"export: the batch decides which ops run: {len(first.instructions)} for a batch of {sizes[0]} and "
            f"{len(second.instructions)} for one of {sizes[1]}; a graph is the same for all"
        )
    merge = _Merge(sizes)
    found = Traced(first, {})
    for a, b in zip(first.values, second.values, strict=True):
        found.shapes[a.number] = merge.shapes(a, b)
    for one, other in zip(first.instructions, second.instructions, strict=True):
        with_layer = place_of(one)
        if one.kind != other.kind or one.op is not other.op or one.layer != other.layer:
            raise OnnxError(f"export: the batch decides which ops run{with_layer}; a graph is the same for all")
        merge.where = with_layer
        merge(list(one.inputs), list(other.inputs), free=False)
        merge([v and v.number for v in one.outputs], [v and v.number for v in other.outputs], free=False)
        found.geometry[id(one)] = merge(one.geometry, other.geometry)
        found.functions[id(one)] = merge(given_to(one.function), given_to(other.function))
    merge([value.number for value in first.results], [value.number for value in second.results], free=False)
    return found


class _Merge:
    """Makes one of two nested values, of the two sizes of the batch."""

    def __init__(self, sizes: tuple[int, int]) -> None:
        self.sizes, self.where = sizes, ""

    def count(self, a: int, b: int) -> int | Count:
        if a == b:
            return a
        each, left = divmod(b - a, self.sizes[1] - self.sizes[0])
        if left:
            raise OnnxError(f"export: a size is no multiple of the batch{self.where}: {a} and {b}")
        return Count(each, a - each * self.sizes[0])

    def shapes(self, a: Value, b: Value) -> Sizes:
        if a.kind != b.kind or a.dtype != b.dtype or len(a.shape) != len(b.shape):
            raise OnnxError(f"export: the batch decides what {a} is: {b} in another batch")
        if a.kind == "constant" and not np.array_equal(a.array, b.array, equal_nan=a.dtype.kind == "f"):
            fill = a.array.reshape(-1)[:1]
            if a.shape == b.shape or not fill.size or not ((a.array == fill).all() and (b.array == fill).all()):
                raise OnnxError(
                    f"export: the model makes an array of shape {a.shape} for a batch of {self.sizes[0]}, and the file "
                    "would keep it for every batch; make it of the images, or without their number"
                )
        return tuple(map(self.count, a.shape, b.shape))

    def __call__(self, a: Any, b: Any, free: bool = True) -> Any:
        if isinstance(a, Value) and isinstance(b, Value):
            if a.number != b.number or (a.kind == "held" and a.array is not b.array):
                raise OnnxError(f"export: the batch decides which tensors meet{self.where}")
            return a
        if type(a) is type(b) and isinstance(a, dict) and a.keys() == b.keys():
            return {key: self(a[key], b[key], free) for key in a}
        if type(a) is type(b) and isinstance(a, list | tuple) and len(a) == len(b):
            return type(a)([self(x, y, free) for x, y in zip(a, b, strict=True)])
        if isinstance(a, slice) and isinstance(b, slice):
            return slice(*(self(x, y, free) for x, y in ((a.start, b.start), (a.stop, b.stop), (a.step, b.step))))
        if type(a) is int and type(b) is int and free:
            return self.count(a, b)
        if a is b or a == b or (a != a and b != b):
            return a
        raise OnnxError(f"export: a number in the arithmetic depends on the batch{self.where}: {a} and {b}")


def place_of(one: Instruction) -> str:
    """`, in layer 'conv1', at net.py:12`: where an instruction comes from."""
    layer = f", in layer {one.layer!r}" if one.layer else ""
    return f"{layer}, at {one.line}" if one.line else layer


def given_to(function: Any) -> tuple[Any, ...]:
    """The name of a function outside the tape, and the arguments that it was given before its arrays.

    A `methodcaller` is its method's name; a `partial`, the function within.
    """
    if function is None:
        return ("", (), {})
    if type(function).__name__ == "methodcaller":
        made, rest = function.__reduce__()
        if isinstance(made, partial):  # of one with keyword arguments
            return made.args[0], rest, dict(made.keywords)
        return rest[0], tuple(rest[1:]), {}
    if isinstance(function, partial):
        name, args, options = given_to(function.func)
        return name, (*args, *function.args), options | dict(function.keywords)
    return getattr(function, "__qualname__", "") or getattr(function, "__name__", ""), (), {}


def held_names(named: Mapping[str, Tensor]) -> dict[int, str]:
    """The name of each array of a model, by its id; the first of several."""
    names: dict[int, str] = {}
    for name, tensor in named.items():
        names.setdefault(id(tensor.array), name)
    return names
