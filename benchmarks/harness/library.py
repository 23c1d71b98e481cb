"""What a library has to offer to be compared with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from harness.tasks import Array


class Missing(Exception):
    """What cannot be measured here, and why."""


class Library:
    """A task in one library, made from our weights."""

    def prepare(self, x: Array, y: Array) -> Any:
        """A batch as `step` takes one, of images (N, C, H, W) float32 and labels (N,) int64; on its device, if any."""
        raise NotImplementedError

    def step(self, batch: Any) -> Any:
        """Zero the gradients, forward, cross-entropy, backward, optimiser; the loss before the update, a scalar that
        `float` reads. On a GPU nothing of it has to be done yet, and the next step may overwrite the loss."""
        raise NotImplementedError

    def infer(self, batch: Any) -> Array:
        """The logits (N, 10), with nothing recorded."""
        raise NotImplementedError

    def settings(self) -> AbstractContextManager[None]:
        """Inside, what is set for the whole process is as this library is to run."""
        return nullcontext()

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
