"""Array libraries: NumPy on the CPU, CuPy on an NVIDIA GPU.

Ops are written against `xp`, the library's namespace, so a new library needs nothing here but a `Backend`. Which one
an op runs on is decided from the types of its arrays; CuPy is imported only when somebody names a CUDA device.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np

from tinyconv.errors import DeviceError

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray: what the library is decides, not a type here


class Backend(ABC):
    """What an array library must offer."""

    name: str
    xp: Any
    on_host: bool  # whether reading a value costs nothing: validators may then look at the data

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether `array` is one of this library's."""

    @abstractmethod
    def device_of(self, array: Array) -> str:
        """`cpu` or `cuda:0`."""

    @abstractmethod
    def asarray(self, array: Any, device: str) -> Array:
        """`array`, from any backend, as one of this library's arrays on `device`; not copied if it is there already."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The array on the host; NumPy's own arrays are returned as they are."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything asked of the device is done (for timing)."""


class NumpyBackend(Backend):
    name = "numpy"
    xp = np
    on_host = True

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray | np.generic)

    def device_of(self, array: Array) -> str:
        return "cpu"

    def asarray(self, array: Any, device: str) -> Array:
        return backend_of(array).to_numpy(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def synchronize(self) -> None:
        pass


class CupyBackend(Backend):
    name = "cupy"
    on_host = False

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(
                "device 'cuda' needs CuPy, which is not installed: pip install 'tinyconv[cuda13]' (CUDA 13) "
                "or 'tinyconv[cuda12]' (CUDA 12), or use device='cpu'"
            ) from error
        self.xp = cupy

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray)

    def device_of(self, array: Array) -> str:
        return f"cuda:{array.device.id}"

    def asarray(self, array: Any, device: str) -> Array:
        with self._device(device):
            return self.xp.asarray(array)

    def _device(self, device: str) -> Any:
        number = int(device.partition(":")[2] or 0)
        try:
            found = self.xp.cuda.runtime.getDeviceCount()
        except self.xp.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(
                f"device {device!r}: no CUDA driver or GPU was found ({error}); use device='cpu'"
            ) from error
        if number >= found:
            raise DeviceError(f"device {device!r}: this machine has {found} GPU(s), numbered from 0")
        return self.xp.cuda.Device(number)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = self.xp.asnumpy(array)
        return host

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


NUMPY = NumpyBackend()
_cupy: CupyBackend | None = None


def cupy_backend() -> CupyBackend:
    """The CuPy backend, imported at the first call; DeviceError where there is no CuPy."""
    global _cupy
    if _cupy is None:
        _cupy = CupyBackend()
    return _cupy


def backend_of(*arrays: Any) -> Backend:
    """The one backend that all `arrays` belong to. Python numbers and None belong to any; with nothing else, NumPy.

    A mixture raises DeviceError.
    """
    found: Backend | None = None
    first: Any = None
    for array in arrays:
        if type(array) is np.ndarray or isinstance(array, np.generic):
            backend: Backend = NUMPY
        elif array is None or isinstance(array, int | float):
            continue
        elif "cupy" in sys.modules and cupy_backend().owns(array):
            backend = cupy_backend()
        else:
            raise DeviceError(f"expected a NumPy or CuPy array or a number, got {type(array).__name__}")
        if found is None:
            found, first = backend, array
        elif backend is not found or backend.device_of(array) != found.device_of(first):
            raise DeviceError(
                f"arrays on two devices met: {_describe(found, first)} and {_describe(backend, array)}; "
                "move one of them with .to(device), or the whole model with model.to(device)"
            )
    return found or NUMPY


def _describe(backend: Backend, array: Array) -> str:
    return f"{array.dtype} {array.shape} on {backend.device_of(array)}"


def device_name(device: str | None) -> str:
    """A device as it is written: None -> `cpu`, `cuda` -> `cuda:0`."""
    name, _, number = str(device or "cpu").partition(":")
    if name == "cpu" and not number:
        return "cpu"
    if name == "cuda" and (not number or number.isdigit()):
        return f"cuda:{number or 0}"
    raise DeviceError(f"unknown device {device!r}: expected 'cpu', 'cuda' or 'cuda:N'")


def backend_for(device: str | None) -> Backend:
    """The backend that holds arrays of `device`."""
    return NUMPY if device_name(device) == "cpu" else cupy_backend()
