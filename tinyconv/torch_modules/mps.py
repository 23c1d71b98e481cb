"""`tinyconv.mps`: Apple's GPUs, which are not used here."""

from __future__ import annotations

from tinyconv.errors import DeviceError, suggest_names

__all__ = ["empty_cache", "is_available", "manual_seed", "synchronize"]


def is_available() -> bool:
    """False."""
    return False


def empty_cache() -> None:
    """Do nothing: there is no such memory."""


def manual_seed(seed: int) -> None:
    """Do nothing: one generator draws the numbers of all devices, and `tc.manual_seed` is its seed."""


def synchronize() -> None:
    """Raises DeviceError: there is nothing to wait for."""
    raise DeviceError("mps: Apple's GPUs are not used here; use device='cpu'")


suggest_names(globals())
