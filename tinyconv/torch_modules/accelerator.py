"""`tinyconv.accelerator`: the GPU, if there is one, by whatever name."""

from __future__ import annotations

from typing import Any

from tinyconv.arrays.backend import device
from tinyconv.errors import suggest_names
from tinyconv.torch_modules import cuda
from tinyconv.torch_modules.cuda import device_count, empty_cache, is_available

__all__ = [
    "current_accelerator", "current_device_index", "device_count", "empty_cache", "is_available", "set_device_index",
    "synchronize",
]  # fmt: skip


def current_accelerator(check_available: bool = False) -> device | None:
    """`device("cuda:0")`, or None where there is no GPU."""
    return device("cuda") if is_available() else None


def current_device_index() -> int:
    """0, the GPU that `"cuda"` names. Raises DeviceError where there is none."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Do nothing for GPU 0. Raises DeviceError for another."""
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Wait until everything asked of the GPU is done. Raises DeviceError where there is none."""
    cuda.synchronize(device)


suggest_names(globals())
