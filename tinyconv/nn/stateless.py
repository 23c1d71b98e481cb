"""functional_call: a module with other tensors in place of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyconv.errors import GraphError
from tinyconv.nn.module import Module
from tinyconv.tensor import Tensor


def functional_call(module: Module, parameters: Mapping[str, Tensor], args: Any = (), kwargs: Any = None) -> Any:
    """`module(*args, **kwargs)` with the tensors of `parameters` in place of its own, by their paths, for this call.

    Gradients go to the tensors given, and through them to whatever they were computed from: a step of gradient descent,
    for one. What is not named stays. As torch.func.functional_call; one argument need not be in a tuple.
    """
    places: list[tuple[dict[str, Any], str, Tensor, Tensor]] = []
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
        places.append((own, name, own[name], tensor))
    try:
        for own, name, _, tensor in places:
            own[name] = tensor
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for own, name, before, _ in places:
            own[name] = before
