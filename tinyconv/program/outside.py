"""The world outside a program: what a recorded step found there, and whether it is still the same."""

from __future__ import annotations

from itertools import chain
from operator import is_
from typing import Any

from tinyconv.program.program import Program


class Changes:
    """How often a module of this process got, lost or replaced a parameter, a buffer or a layer."""

    count = 0


class Outside:
    """The tensors, modules and optimisers that a program was recorded with, as they were then."""

    def __init__(self, program: Program) -> None:
        tensors = [value.tensor for value in program.values if value.tensor is not None]
        self.tensors = [(tensor, tensor.array, tensor.requires_grad) for tensor in tensors]
        self.parts = [(module, _parts(module)) for module in program.modules]
        updates = [one.optimizer for one in program.instructions if one.optimizer is not None]
        self.groups = [(optimizer, len(optimizer.param_groups)) for optimizer in updates]
        self.changes = Changes.count

    def same(self) -> bool:
        """Whether a replay does what the step would do now: its tensors, layers and groups are those that it found."""
        if Changes.count != self.changes:
            for module, before in self.parts:
                now = _parts(module)
                if len(now) != len(before) or not all(map(is_, now, before)):
                    return False
            self.changes = Changes.count
        return all(
            tensor.array is array and tensor.requires_grad is trained for tensor, array, trained in self.tensors
        ) and all(len(optimizer.param_groups) == groups for optimizer, groups in self.groups)


def _parts(module: Any) -> list[Any]:
    """The parameters, buffers, layers and hooks that a module holds itself."""
    held = vars(module)
    registers = (held["_parameters"].values(), held["_buffers"].values(), held["_modules"].values())
    return list(chain(*registers, held.get("_hooks") or ()))
