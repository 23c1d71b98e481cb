"""What a step takes from the host each time: learning rates, random numbers, the places of a batch's images.

A step that is captured (`tinyconv.capture`) runs its Python once and is then replayed on the device alone. What has to
be new each time is said here, so that a replay can ask for it again. Anywhere else these two just call the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyconv.arrays.backend import captured_step


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
