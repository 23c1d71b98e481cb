"""A Case is one question to an op; argument spaces, from which cases are drawn, are registered here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import Draw
from tinyconv.check.pytorch import torch
from tinyconv.check.reference import Magnitude


@dataclass(repr=False)
class Case:
    """A function, inputs to call it with, and how the same is asked of PyTorch.

    `call` is the function's name, which it has in torch too: "functional.conv2d", "Tensor.sum", "stack". `options` are
    its keyword arguments. With `joined`, the inputs are passed as one list (`cat`, `stack`). `ours` and `theirs` stand
    in for the function of that name where it is called in another way; they take the same inputs and options.
    """

    call: str
    inputs: Sequence[np.ndarray[Any, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    needs: Sequence[int] | None = None  # inputs that get a gradient; None means all of floating point
    magnitude: Magnitude = 0  # as in compare_with_torch
    joined: bool = False
    differentiable: bool = True  # False where no output has a gradient (argmax, comparisons)
    smooth: bool = True  # False where inputs may be at a kink or a tie: differences prove nothing
    second_order: bool = True  # whether gradients of the gradient are to be compared too
    ours: Callable[..., Any] | None = None
    theirs: Callable[..., Any] | None = None
    classes: frozenset[str] = frozenset()  # the argument classes it belongs to, filled in from the draw

    def __repr__(self) -> str:
        """All that is needed to ask again: the call, and the dtype, shape, layout and values of each input."""
        names = [f"x{i}" for i in range(len(self.inputs))]
        listed = f"[{', '.join(names)}]" if self.joined else ", ".join(names)
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        lines = [f"{self.call}({listed}{options})"]
        for name, array in zip(names, self.inputs, strict=True):
            layout = f"strides {array.strides}{'' if array.flags.writeable else ', read-only'}"
            lines.append(f"  {name}: {array.dtype} {array.shape}, {layout}, {array.tolist()}")
        if self.needs is not None:
            lines.append(f"  gradients of {', '.join(names[i] for i in self.needs)}")
        if self.classes:
            lines.append(f"  which is: {', '.join(sorted(self.classes))}")
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the case where Hypothesis shows a failing example, or IPython any."""
        printer.text(repr(self))

    def function(self) -> Callable[..., Any]:
        """The function on tinyconv's tensors."""
        return self._bound(self.ours or find(tc, self.call))

    def torch_function(self) -> Callable[..., Any]:
        """The same function on PyTorch's tensors. Imports torch."""
        return self._bound(self.theirs or find_in_torch(self.call))

    def _bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.joined:
            return lambda *tensors: function(tensors, **self.options)
        return lambda *tensors: function(*tensors, **self.options)

    def takes(self, option: str) -> bool:
        """Whether the function takes this option; `ours` may be a way to call it without options."""
        parameters = inspect.signature(self.ours).parameters if self.ours else {}
        return not self.ours or option in parameters or any(p.kind == p.VAR_KEYWORD for p in parameters.values())


Space = Callable[[Draw], Case]
SPACES: dict[str, Space] = {}
"""The argument space of every public op, by the op's public name."""


def space(name: str) -> Callable[[Space], Space]:
    """Register the argument space of the op with this public name ("conv2d", "sum", "stack")."""

    def register(function: Space) -> Space:
        if name in SPACES:
            raise ValueError(f"two argument spaces for {name!r}")
        SPACES[name] = function
        return function

    return register


def draw_case(name: str, draw: Draw) -> Case:
    """Draw a case from the op's space, with the argument classes it belongs to."""
    case = SPACES[name](draw)
    case.classes = frozenset(draw.classes)
    return case


def find(module: Any, path: str) -> Any:
    """What a dotted path names in a module."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def find_in_torch(call: str) -> Any:
    """PyTorch's function of the name that ours has. Imports torch."""
    return find(torch(), f"nn.{call}" if call.startswith("functional.") else call)
