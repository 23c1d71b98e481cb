"""What a library has to offer to be compared."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from harness.tasks import Array


class Missing(Exception):
    """Something cannot be measured here; the message says why."""


class Library:
    """A task in one library, made from our weights."""

    def prepare(self, x: Array, y: Array) -> Any:
        """Images (N, C, H, W) in the task's dtype and labels (N,), int64: as the batch that `step` takes, on the
        device."""
        raise NotImplementedError

    def step(self, batch: Any) -> Any:
        """Zero the gradients, forward, cross-entropy, backward, optimiser. Returns the loss before the update, a scalar
        that `float` reads. A GPU may still be at work then, and the next step may overwrite the loss."""
        raise NotImplementedError

    def infer(self, batch: Any) -> Array:
        """The logits (N, 10), with nothing recorded."""
        raise NotImplementedError

    def gradients(self) -> dict[str, Array]:
        """The gradients of the last step, by the names of our parameters."""
        raise NotImplementedError

    def check_captured(self) -> None:
        """Raises Missing where a captured step is not replayed as the name of this library says. It was called before,
        often enough."""

    def settings(self) -> AbstractContextManager[None]:
        """A context in which the settings of the process are those that this library runs with."""
        return nullcontext()

    def wait(self) -> None:
        """Wait until the device has done what it was asked for."""
