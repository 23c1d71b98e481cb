"""What a captured step takes and returns: tensors in nested tuples, lists and dicts, and other things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyconv.errors import CaptureError, shortened
from tinyconv.program.program import leaves_of, replaced
from tinyconv.tensor.tensor import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    return (leaf for leaf in leaves_of(value) if isinstance(leaf, Tensor))


def mapped(value: Any, function: Callable[[Tensor], Any], others: Callable[[Any], Any] | None = None) -> Any:
    """The same nested value, with `function(tensor)` in the place of each tensor, and `others(leaf)` of the rest."""

    def found(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return function(leaf)
        return leaf if others is None else others(leaf)

    return replaced(value, found)


class Outline(NamedTuple):
    """What has to be the same of two tensors for a step that was captured with one to take the other."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    device: str

    def __repr__(self) -> str:
        return f"{self.dtype} {self.shape} on {self.device}"


PLAIN = type(None), bool, int, float, complex, str, bytes
"""Arguments that are the same where they are equal. Any other is the same where it is the same object."""


class Same:
    """An argument that equals itself alone, whatever its own `==` would say, or would not."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return shortened(self.value) if isinstance(self.value, type) else f"a {type(self.value).__name__}"


def outline_of(call: Any) -> Any:
    """The arguments of a call with the outline of each tensor in its place, to be compared with those of others."""
    return mapped(call, _outline, lambda value: value if isinstance(value, PLAIN) else Same(value))


def _outline(tensor: Tensor) -> Outline:
    return Outline(tensor.dtype, tensor.shape, tensor.device)


def refusal_of(arguments: list[Tensor]) -> str:
    """Why no captured step takes these arguments; empty where it does."""
    for tensor in arguments:
        if tensor.requires_grad:
            return (
                f"capture: an argument of shape {tensor.shape} requires grad; give the step data, x.detach(), and no "
                "parameters, which it finds where they are"
            )
    return ""


def kind_of(call: Any) -> tuple[list[Any], list[Any]]:
    """What has to be the same of another call for a program of this one to take it; and the arrays of its tensors."""
    kind, arrays = list[Any](), list[Any]()
    _look(call, kind, arrays)
    if len(arrays) > 1 and len(set(map(id, arrays))) < len(arrays):  # one array in several places
        found = list(map(id, arrays))
        kind += map(found.index, found)
    return kind, arrays


def _look(value: Any, kind: list[Any], arrays: list[Any]) -> None:
    if isinstance(value, Tensor):
        array = value.array
        kind += type(array), array.dtype, array.shape
        arrays.append(array)
    elif isinstance(value, list | tuple):
        kind += type(value), len(value)
        for part in value:
            _look(part, kind, arrays)
    elif isinstance(value, dict):
        kind.append(tuple(value))
        for part in value.values():
            _look(part, kind, arrays)
    else:
        kind += type(value), value if isinstance(value, PLAIN) else Same(value)


def hidden_in(value: Any) -> Any:
    """What holds tensors in a nested value where `tensors_in` does not find them; None if nothing does."""
    found: list[Any] = []

    def look(leaf: Any) -> None:
        parts: Any = ()
        if is_dataclass(leaf) and not isinstance(leaf, type):
            parts = [getattr(leaf, field.name, None) for field in fields(leaf)]
        elif isinstance(leaf, set | frozenset | deque):
            parts = leaf
        if isinstance(leaf, Iterator | Coroutine) or any(isinstance(part, Tensor | np.ndarray) for part in parts):
            found.append(leaf)

    mapped(value, lambda tensor: tensor, look)
    return found[0] if found else None


def check_alike(recorded: Any, given: Any) -> None:
    """Raise CaptureError unless the arguments are those that were recorded; only values in tensors may differ."""
    before, now = outline_of(recorded), outline_of(given)
    if before != now:
        raise CaptureError(
            f"capture: the step was recorded with {shown(before) or 'nothing'} and is called with "
            f"{shown(now) or 'nothing'}; shapes and other arguments cannot change: for the last batch, a smaller one, "
            "drop_last=True, or call the step itself"
        )


def shown(call: Any) -> str:
    """The arguments of a call, from outlines of its tensors: `float32 (8, 3) on cpu, training=True`."""
    args, options = call
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    return ", ".join(words)
