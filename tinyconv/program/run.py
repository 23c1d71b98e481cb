"""The NumPy executor: the instructions of a program, one after another, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.engine.context import quietly
from tinyconv.engine.wide import widened
from tinyconv.errors import CaptureError
from tinyconv.program.program import Instruction, Program, Value, replaced, values_in


class NumpyRun:
    """A program that is ready to run: `run(arrays)` gives the arrays of its results, for those of its inputs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arrays: list[Any] = [value.array for value in program.values]
        self.saved: dict[Instruction, Any] = {}
        self.functions = [_function(instruction) for instruction in program.instructions]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        for value, array in zip(self.program.inputs, inputs, strict=True):
            self.arrays[value.number] = array
        quietly(self._run)
        return [self.arrays[value.number] for value in self.program.results]

    def _run(self) -> None:
        arrays, saved = self.arrays, self.saved
        for function in self.functions:
            function(arrays, saved)


Function = Callable[[list[Any], dict[Instruction, Any]], None]


def _function(instruction: Instruction) -> Function:
    """What runs an instruction, given the arrays by the number of their value, and what the forwards saved."""
    made: Function = _MAKERS[instruction.kind](instruction)
    return made


def _taking(values: Sequence[Any]) -> Callable[[list[Any]], list[Any]]:
    """A function that finds the arrays of these values."""
    numbers = [(value.number, None) if isinstance(value, Value) else (None, value) for value in values]
    return lambda arrays: [given if number is None else arrays[number] for number, given in numbers]


def _found(nested: Any) -> Callable[[list[Any]], Any]:
    """A function that finds nested values; where there are none, the same object each time."""
    if next(values_in(nested), None) is None:
        return lambda arrays: nested
    return lambda arrays: replaced(nested, lambda leaf: arrays[leaf.number] if isinstance(leaf, Value) else leaf)


def _forward(instruction: Instruction) -> Function:
    inputs, geometry = _taking(instruction.inputs), _found(instruction.geometry)
    outputs, forward = [value.number for value in instruction.outputs if value], instruction.pair.forward
    check = getattr(instruction.op, "check_values", None)

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        given, options = inputs(arrays), geometry(arrays)
        if check is not None:
            check(*given, **options)
        y, saved[instruction] = forward(np, *given, **options)
        for number, array in zip(outputs, y if type(y) is tuple else (y,), strict=True):
            arrays[number] = np.asarray(array)

    return run


def _backward(instruction: Instruction) -> Function:
    backward, needs, of = instruction.pair.backward, instruction.needs, instruction.of
    (grad,), geometry = instruction.inputs, _found(instruction.geometry)
    outputs = [(i, value.number) for i, value in enumerate(instruction.outputs) if value and value.kind == "made"]
    fixed = [(i, value.array) for i, value in enumerate(instruction.outputs) if value and value.kind == "held"]
    assert of is not None

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        grads = backward(np, saved[of], arrays[grad.number], needs, **geometry(arrays))
        for i, number in outputs:
            arrays[number] = grads[i]
        for i, array in fixed:
            np.copyto(array, grads[i])

    return run


def _sum(instruction: Instruction) -> Function:
    total, grad = (value.number for value in instruction.inputs)
    (out,), owned = instruction.outputs, instruction.owned
    assert out is not None
    made = out.number

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        if owned:
            arrays[total] += arrays[grad]
            arrays[made] = arrays[total]
        else:
            arrays[made] = widened(arrays[total]) + arrays[grad]

    return run


def _keep(instruction: Instruction) -> Function:
    (source,), (fixed,), first = instruction.inputs, instruction.outputs, instruction.first
    assert fixed is not None
    array, number = fixed.array, source.number

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        if first:
            np.copyto(array, arrays[number])
        else:
            np.add(array, arrays[number], out=array)

    return run


def _compute(instruction: Instruction) -> Function:
    inputs, function = _taking(instruction.inputs), instruction.function
    number = instruction.outputs[0].number if instruction.outputs and instruction.outputs[0] else None
    assert function is not None

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        result = function(*inputs(arrays))
        if number is not None:
            arrays[number] = np.asarray(result)

    return run


def _write(instruction: Instruction) -> Function:
    inputs, where = _taking(instruction.inputs), _found(instruction.where)

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        array, values = inputs(arrays)
        array[where(arrays)] = values

    return run


def _update(instruction: Instruction) -> Function:
    optimizer, group, parameters = instruction.optimizer, instruction.group, instruction.parameters
    inputs = _taking(instruction.inputs)

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        options = optimizer._options(group, optimizer.param_groups[group])
        optimizer._update(group, dict(zip(parameters, inputs(arrays), strict=True)), options)

    return run


def _host(instruction: Instruction) -> Function:
    function = instruction.function
    assert function is not None
    return lambda arrays, saved: function()


def _stage(instruction: Instruction) -> Function:
    (out,), function = instruction.outputs, instruction.function
    assert out is not None
    assert function is not None
    number, shape = out.number, out.shape

    def run(arrays: list[Any], saved: dict[Instruction, Any]) -> None:
        array = np.asarray(function())
        if array.shape != shape:
            raise CaptureError(
                f"capture: the step was recorded with an array of {shape} from the host, and now takes one of "
                f"{array.shape}; shapes cannot change: is this the last batch, a smaller one? drop_last=True"
            )
        arrays[number] = array

    return run


_MAKERS: dict[str, Callable[[Instruction], Function]] = {
    "forward": _forward,
    "backward": _backward,
    "sum": _sum,
    "keep": _keep,
    "compute": _compute,
    "write": _write,
    "update": _update,
    "host": _host,
    "stage": _stage,
}
