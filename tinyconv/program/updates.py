"""What optimisers do, as code for the engine: the kernels sgd and adam of fast/native/whole.c.

Rates and counts are those that the optimiser has when the program runs, and what it remembers lies in the arrays of its
`state`, so that schedules, checkpoints and eager steps find what they expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import sqrt
from operator import is_
from typing import Any

import numpy as np

from tinyconv.program.code import Call, Code, Memory
from tinyconv.program.program import Instruction, Value

FLOAT = np.dtype(np.float32)


class Update:
    """The calls of one group of parameters, and what the host does for them at each run.

    `read` finds options and states, at the update's place among the host's functions; `write` hands them to the code,
    and `done` counts when it has run.
    """

    kernel = ""
    memories = 0  # operands of the kernel after the parameter and its gradient

    def __init__(self, i: Instruction, grads: Sequence[Memory | None], code: Code, call: Callable[..., Call]) -> None:
        self.optimizer, self.group, self.parameters, self.code = i.optimizer, i.group, i.parameters, code
        self.arrays = [parameter.array for parameter in i.parameters]
        nothing = [None] * self.memories  # their addresses are written before each run
        self.calls = [
            call(self.kernel, (Memory(array), grad, *nothing), (array.size,))
            for array, grad in zip(self.arrays, grads, strict=True)
        ]
        self.states: list[dict[str, Any]] = []
        self.options: Mapping[str, Any] = {}
        self.written: list[Any] = []  # what the code holds: itself, arrays and flags

    @classmethod
    def fits(cls, i: Instruction) -> bool:
        """Whether the kernel takes these parameters and gradients."""
        arrays = [parameter.array for parameter in i.parameters]
        return (
            all(array.dtype == FLOAT and array.flags.c_contiguous for array in arrays)
            and all(isinstance(grad, Value) and grad.dtype == FLOAT for grad in i.inputs)
            and len({id(array) for array in arrays}) == len(arrays)
        )

    def read(self, slots: Any) -> None:
        optimizer, state = self.optimizer, self.optimizer.state
        self.options = optimizer._options(self.group, optimizer.param_groups[self.group])
        for parameter, array in zip(self.parameters, self.arrays, strict=True):
            if parameter not in state:
                state[parameter] = optimizer.new_state(np, array, self.options)
        self.states = [state[parameter] for parameter in self.parameters]

    def write(self) -> None:
        code = self.code.code
        kept = [self.kept(state, array) for state, array in zip(self.states, self.arrays, strict=True)]
        flags = [self.flags(state) for state in self.states]
        now = [code, *chain(*kept), *chain(*flags)]
        if len(now) != len(self.written) or not all(map(is_, now, self.written)):
            if self._brought_in_order():  # of a state that was loaded
                self.write()
                return
            for call, arrays, sizes in zip(self.calls, kept, flags, strict=True):
                self.code.point(call, 2, arrays)
                code["size"][call.place, 1 : 1 + len(sizes)] = sizes
            self.written = now
        code["number"][self.calls[0].place : self.calls[-1].place + 1] = self.numbers(self.options)

    def _brought_in_order(self) -> bool:
        """Copy what the states hold and the kernel could not read: another dtype, another order of axes."""
        odd = [
            (state, name, value)
            for state in self.states
            for name, value in state.items()
            if isinstance(value, np.ndarray) and (value.dtype != FLOAT or not value.flags.c_contiguous)
        ]
        for state, name, value in odd:
            state[name] = np.ascontiguousarray(value, FLOAT)
        return bool(odd)

    def done(self) -> None:
        for parameter, array in zip(self.parameters, self.arrays, strict=True):
            parameter._storage.wrote(array)

    def kept(self, state: dict[str, Any], array: Any) -> Sequence[Any]:
        """The arrays of a state that the kernel takes; None for one that it does not need."""
        raise NotImplementedError

    def flags(self, state: dict[str, Any]) -> Sequence[bool]:
        """The kernel's sizes after the number of elements."""
        raise NotImplementedError

    def numbers(self, options: Mapping[str, Any]) -> Any:
        """The kernel's numbers: a row for all parameters, or one for each."""
        raise NotImplementedError


class Sgd(Update):
    """tinyconv.optim.sgd."""

    kernel = "sgd"
    memories = 1

    def kept(self, state: dict[str, Any], array: Any) -> Sequence[Any]:
        if not self.options["momentum"]:
            return (None,)
        buffer = state.get("momentum_buffer")
        return (np.empty_like(array) if buffer is None else buffer,)

    def flags(self, state: dict[str, Any]) -> Sequence[bool]:
        return self.options["nesterov"], self.options["maximize"], "momentum_buffer" not in state

    def numbers(self, options: Mapping[str, Any]) -> Any:
        return options["lr"], options["momentum"], 1 - options["dampening"], options["weight_decay"], 0, 0, 0, 0

    def done(self) -> None:
        super().done()
        if self.options["momentum"]:
            for state, buffer in zip(self.states, self.written[1:], strict=False):
                state.setdefault("momentum_buffer", buffer)


class Adam(Update):
    """tinyconv.optim.adam."""

    kernel = "adam"
    memories = 3
    decoupled = False

    def kept(self, state: dict[str, Any], array: Any) -> Sequence[Any]:
        return state["exp_avg"], state["exp_avg_sq"], state["max_exp_avg_sq"] if self.options["amsgrad"] else None

    def flags(self, state: dict[str, Any]) -> Sequence[bool]:
        return self.options["maximize"], self.decoupled

    def numbers(self, options: Mapping[str, Any]) -> Any:
        steps = [state["step"] + 1 for state in self.states]
        if steps.count(steps[0]) == len(steps):
            return self._row(options, steps[0])
        return [self._row(options, step) for step in steps]

    def done(self) -> None:
        super().done()
        for state in self.states:
            state["step"] += 1

    def _row(self, options: Mapping[str, Any], step: int) -> tuple[float, ...]:
        (beta1, beta2), lr, decay = options["betas"], options["lr"], options["weight_decay"]
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        decay = 1 - lr * decay if self.decoupled else decay
        return beta1, 1 - beta1, beta2, 1 - beta2, sqrt(correction2), options["eps"], lr / correction1, decay


class AdamW(Adam):
    """tinyconv.optim.adamw."""

    decoupled = True


UPDATES: dict[str | None, type[Update]] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW}
"""By the name of the optimiser's kernels."""
