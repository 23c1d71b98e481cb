"""What a captured step takes and returns: tensors in nested tuples, lists and dicts, and other things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinyconv.errors import CaptureError
from tinyconv.tensor.tensor import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nested value, with `function(tensor)` in the place of each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(part, function) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [mapped(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


class Outline(NamedTuple):
    """What has to be the same of two tensors for a step that was captured with one to take the other."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    device: str

    def __repr__(self) -> str:
        return f"{self.dtype} {self.shape} on {self.device}"


def outline_of(call: Any) -> Any:
    """The arguments of a call with the outline of each tensor in its place."""
    return mapped(call, lambda tensor: Outline(tensor.dtype, tensor.shape, tensor.device))


def check_alike(recorded: Any, given: Any) -> None:
    """Raise CaptureError unless the arguments are those that were recorded; only values in tensors may differ."""
    before, now = outline_of(recorded), outline_of(given)
    if before != now:
        raise CaptureError(
            f"capture: the step was recorded with {shown(before)} and is called with {shown(now)}; shapes and "
            "other arguments cannot change: for the last batch, a smaller one, drop_last=True, or call the step itself"
        )


def shown(call: Any) -> str:
    """The arguments of a call, from outlines of its tensors: `float32 (8, 3) on cpu, training=True`."""
    args, options = call
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    return ", ".join(words) or "nothing"
