"""What a step takes from the host each time: learning rates, random numbers, the places of a batch's images.

A step that is captured (`tinyconv.capture`) runs its Python once and is then replayed on the device alone. What has to
be new each time is said here, so that a replay can ask for it again; anywhere else these two just call the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyconv.errors import CaptureError
from tinyconv.modes import mode


def staged(xp: Any, values: Callable[[], Any]) -> Any:
    """The host's array that `values()` returns, as an array of `xp` on the current device.

    In a step that is captured `values` is called again before each replay, and what it returns, of the same shape and
    dtype, is copied to where the first was.
    """
    recorder = mode.get().recorder
    return xp.asarray(values()) if recorder is None else recorder.staged(xp, values)


def each_step(function: Callable[[], None]) -> None:
    """Call `function`, which works on the host alone; in a step that is captured, also before each replay, in order."""
    recorder = mode.get().recorder
    if recorder is not None:
        recorder.each_step(function)
    function()


def not_captured(what: str, instead: str) -> None:
    """CaptureError, in a step that is captured: its replays could not do `what`."""
    if mode.get().recorder is not None:
        raise CaptureError(f"capture: the step {what}, which a replay on the device cannot do; {instead}")
