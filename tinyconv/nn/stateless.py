"""functional_call: a module with other tensors in place of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyconv.errors import GraphError
from tinyconv.nn.module import Module
from tinyconv.tensor.tensor import Tensor


def functional_call(module: Module, parameters: Mapping[str, Tensor], args: Any = (), kwargs: Any = None) -> Any:
    """`module(*args, **kwargs)` with the tensors of `parameters` in place of its own, by their paths, for this call.

    Gradients go to the tensors given, and through them to whatever they were computed from: a step of gradient descent,
    for one. What is not named stays; what several modules share is replaced in all of them. As
    torch.func.functional_call; one argument need not be in a tuple.
    """
    held: dict[int, list[tuple[dict[str, Any], str]]] = {}  # of each tensor, the registers it is in, and its name there
    for submodule in module.modules():
        for register in (submodule._parameters, submodule._buffers):
            for name, value in register.items():
                held.setdefault(id(value), []).append((register, name))
    named: list[tuple[dict[str, Any], str, Tensor]] = []
    everywhere: list[tuple[dict[str, Any], str, Tensor]] = []
    for path, tensor in parameters.items():
        owner, _, name = path.rpartition(".")
        registers = vars(module.get_submodule(owner))
        own = next((registers[kind] for kind in ("_parameters", "_buffers") if name in registers[kind]), None)
        if own is None:
            known = ", ".join(name for name, _ in module.named_parameters())
            raise GraphError(f"functional_call: no parameter or buffer {path!r}; there are {known}")
        if not isinstance(tensor, Tensor) or tensor.shape != own[name].shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            raise GraphError(f"functional_call: {path} must be a tensor {own[name].shape}, got {shape}")
        named.append((own, name, tensor))
        everywhere += [(register, place, tensor) for register, place in held[id(own[name])]]
    puts = [*everywhere, *named]  # a place that is named itself has the last word
    before = [(register, name, register[name]) for register, name, _ in puts]
    try:
        for register, name, tensor in puts:
            register[name] = tensor
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for register, name, value in before:
            register[name] = value
