"""What a step takes from the host each time: learning rates, random numbers, the places of a batch's images.

A step that is captured (`tinyconv.capture`) runs its Python once or twice and is then replayed without it. What has to
be new each time is said here, so that a replay can ask for it again, and so is what is computed outside the tape.
Anywhere else these functions just call what they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, captured_step


class CapturedStep:
    """What a step that is being captured is told; `arrays.backend.captured_step` holds it.

    A CUDA graph sees every kernel by itself, so for it most of this is nothing.
    """

    def each_step(self, function: Callable[[], None]) -> None:
        """`function` works on the host alone: it is to be called again at each replay. It was not called yet."""
        raise NotImplementedError

    def staged(self, xp: Any, values: Callable[[], Any]) -> Array:
        """The array `values()`, an array of `xp` on the current device, made anew for each replay."""
        raise NotImplementedError

    def refuse(self, message: str) -> None:
        """The step does what no replay can do: CaptureError with this message."""
        raise NotImplementedError

    def computed(self, function: Callable[..., Any], arrays: tuple[Any, ...], result: Any) -> None:
        """`function(*arrays)` gave `result`, outside the tape; it may have written into the arrays."""

    def made_here(self, array: Array) -> bool:
        """Whether the step itself has made this array, so that nobody outside of it knows the array."""
        return False

    def wrote(self, array: Array, where: Any, values: Any) -> None:
        """`array[where] = values` was done."""

    def took(self, source: Any, array: Array) -> None:
        """`array` came into the step from outside of it: a copy of `source`, or `source` itself."""

    def updated(self, optimizer: Any, group: int, grads: dict[Any, Array]) -> None:
        """An optimiser has updated these parameters of a group by these gradients."""


def staged(xp: Any, values: Callable[[], Any]) -> Any:
    """The host's array that `values()` returns, as an array of `xp` on the current device.

    In a step that is captured `values` is called again before each replay, and what it returns, of the same shape and
    dtype, is copied to where the first was.
    """
    step = captured_step.get()
    return xp.asarray(values()) if step is None else step.staged(xp, values)


def each_step(function: Callable[[], None]) -> None:
    """Call `function`, which works on the host alone; in a step that is captured, also before each replay, in order."""
    step = captured_step.get()
    if step is not None:
        step.each_step(function)
    function()


def taken(source: Any, array: Any) -> Any:
    """`array`, a copy of `source` or `source` itself, which is no tensor's; a step that is captured is told."""
    step = captured_step.get()
    if step is not None:
        step.took(source, array)
    return array


def computed(function: Callable[..., Any], *arrays: Any) -> Any:
    """`function(*arrays)`, an array that no gradient goes through; in a step that is captured, also at each replay."""
    result = function(*arrays)
    if isinstance(result, np.generic):  # of a reduction to one number
        result = np.asarray(result)
    step = captured_step.get()
    if step is not None:
        step.computed(function, arrays, result)
    return result
