"""functional_call: a module with other tensors in place of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from operator import setitem
from typing import Any

from tinyconv.errors import GraphError, shortened
from tinyconv.nn.module import Module
from tinyconv.tensor.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module, parameters: Mapping[str, Tensor], args: Any = (), kwargs: Mapping[str, Any] | None = None
) -> Any:
    """`module(*args, **kwargs)` with other tensors in place of its parameters and buffers, for this call.

    Gradients go to the tensors given, and through them to whatever they were computed from, such as a step of gradient
    descent. Like `torch.func.functional_call`.

        nn.functional_call(nn.Linear(5, 2), {"bias": tc.ones(2)}, tc.zeros(8, 5)).tolist()[0]  # [1.0, 1.0]

    Args:
        module: The module to call. It is unchanged afterwards.
        parameters: Tensors by dotted path, of the shapes of those they replace. Others stay. A tensor that several
            modules share is replaced in all of them.
        args: The arguments, a tuple; or a single one as it is.
        kwargs: The keyword arguments.

    Raises GraphError where a path names no parameter or buffer, or a shape differs; AttributeError where it names no
    module; and what the call raises.
    """
    held: dict[int, list[tuple[dict[str, Any], str]]] = {}  # for each tensor the registers that hold it, and its names
    register: dict[str, Any]
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
            raise GraphError(f"functional_call: no parameter or buffer {shortened(path)}; there are {known}")
        if not isinstance(tensor, Tensor) or tensor.shape != own[name].shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            raise GraphError(f"functional_call: {path} must be a tensor {own[name].shape}, got {shape}")
        named.append((own, name, tensor))
        everywhere += [(register, place, tensor) for register, place in held[id(own[name])]]
    puts = [*everywhere, *named]  # a path that is given itself wins over a shared one
    before = [(register, name, register[name]) for register, name, _ in puts]
    put_back = map(setitem, *zip(*before, strict=True)) if before else ()
    try:
        for register, name, tensor in puts:
            register[name] = tensor
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        list(put_back)  # one call: a Ctrl-C comes before it or after
