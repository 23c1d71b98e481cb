"""`tinyconv.cuda`: what scripts ask about GPUs, with the names of `torch.cuda`. A GPU is used through CuPy."""

from __future__ import annotations

from typing import Any

from tinyconv.arrays import backend
from tinyconv.errors import DeviceError, suggest_names
from tinyconv.tensor.creation import synchronize as synchronize_device
from tinyconv.torch_modules.kinds import CudaBoolTensor as BoolTensor
from tinyconv.torch_modules.kinds import CudaByteTensor as ByteTensor
from tinyconv.torch_modules.kinds import CudaCharTensor as CharTensor
from tinyconv.torch_modules.kinds import CudaDoubleTensor as DoubleTensor
from tinyconv.torch_modules.kinds import CudaFloatTensor as FloatTensor
from tinyconv.torch_modules.kinds import CudaHalfTensor as HalfTensor
from tinyconv.torch_modules.kinds import CudaIntTensor as IntTensor
from tinyconv.torch_modules.kinds import CudaLongTensor as LongTensor
from tinyconv.torch_modules.kinds import CudaShortTensor as ShortTensor

__all__ = [
    "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor",
    "ShortTensor", "current_device", "device", "device_count", "empty_cache", "get_device_name", "init", "is_available",
    "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "memory_allocated",
    "reset_peak_memory_stats", "set_device", "synchronize",
]  # fmt: skip


def device_count() -> int:
    """The number of GPUs that can be used: 0 without CuPy, a driver or a GPU."""
    try:
        cupy = backend.cupy_backend()
        cupy.check_device("cuda:0")
    except DeviceError:
        return 0
    return int(cupy.xp.cuda.runtime.getDeviceCount())


def is_available() -> bool:
    """Whether `x.to("cuda")` would work."""
    return device_count() > 0


def is_initialized() -> bool:
    """Whether anything has asked for a GPU so far."""
    return backend._cupy is not None


def init() -> None:
    """Do nothing: a GPU is made ready when it is first named."""


def current_device() -> int:
    """The number of the GPU that `"cuda"` names: 0. Raises DeviceError where there is none."""
    backend.cupy_backend().check_device("cuda:0")
    return 0


def set_device(device: Any) -> None:
    """Do nothing for GPU 0, which `"cuda"` names. Raises DeviceError for another: `with tc.device("cuda:1")`."""
    number = _number(device)
    if number:
        raise DeviceError(f"set_device: 'cuda' always names GPU 0 here; use `with tinyconv.device('cuda:{number}')`")


def device(device: Any) -> backend.device:
    """The GPU of this number, name or `tc.device`: a `with` block in which tensors are made there."""
    return backend.device("cuda", _number(device))


def _number(device: Any) -> int:
    if device is None or isinstance(device, int):
        return device or 0
    return int(backend.device_name(device).partition(":")[2] or 0)


def get_device_name(device: Any = None) -> str:
    """What the maker calls a GPU. Raises DeviceError where there is none."""
    cupy = backend.cupy_backend()
    number = cupy.check_device(f"cuda:{_number(device)}")
    name: bytes = cupy.xp.cuda.runtime.getDeviceProperties(number)["name"]
    return name.decode()


def synchronize(device: Any = None) -> None:
    """Wait until everything asked of a GPU is done. Raises DeviceError where there is none, as torch raises."""
    synchronize_device(f"cuda:{_number(device)}")


def empty_cache() -> None:
    """Give memory that CuPy keeps for later back to the GPU; nothing where no GPU was used."""
    if backend._cupy is not None:
        backend._cupy.xp.get_default_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """The bytes that arrays take on the GPU; 0 where none was used."""
    return 0 if backend._cupy is None else int(backend._cupy.xp.get_default_memory_pool().used_bytes())


def max_memory_allocated(device: Any = None) -> int:
    """The bytes that CuPy holds, which it does not give back by itself; 0 where no GPU was used."""
    return 0 if backend._cupy is None else int(backend._cupy.xp.get_default_memory_pool().total_bytes())


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start `max_memory_allocated` anew: give back what is not in use."""
    empty_cache()


def manual_seed(seed: int) -> None:
    """Do nothing: one generator draws the numbers of all devices, and `tc.manual_seed` is its seed."""


def manual_seed_all(seed: int) -> None:
    """Do nothing: one generator draws the numbers of all devices, and `tc.manual_seed` is its seed."""


__path__: list[str] = []  # a package: `tinyconv.cuda.amp`
suggest_names(globals())
