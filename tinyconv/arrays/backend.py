"""Array libraries: NumPy on the CPU, CuPy on an NVIDIA GPU, and arrays that have nothing but a shape.

Ops are written against `xp`, the library's namespace, so a new library needs nothing here but a `Backend`. The types of
its arrays decide which one an op runs on; CuPy is imported only when somebody names a CUDA device.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, Self, TypeAlias

import numpy as np

from tinyconv.arrays import meta
from tinyconv.arrays.setting import Setting
from tinyconv.errors import DeviceError, OutOfMemoryError, shortened
from tinyconv.shapes import Shape

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray, as the library has it


captured_step: ContextVar[Any] = ContextVar("tinyconv_captured_step", default=None)
"""The step that is being captured (`tinyconv.capture`); None anywhere else."""


def refuse_in_capture(what: str, instead: str) -> None:
    """CaptureError inside a step that is being captured, for its replays could not do `what`."""
    step = captured_step.get()
    if step is not None:
        step.refuse(f"capture: the step {what}, which a replay cannot do; {instead}")


def refuse_reading(array: Any) -> None:
    """CaptureError where a step that is being captured looks at values."""
    refuse_in_capture(
        f"reads values of a tensor of shape {array.shape} on the host",
        "return the tensor and read it after the step (.item(), float, print, .cpu()), and use where() for an if",
    )


class Backend(ABC):
    """What an array library must offer."""

    name: str
    xp: Any
    on_host: bool  # whether reading a value costs no wait: validators may then look at the data

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
    def full(self, shape: Shape, value: bool | int | float, dtype: Any, device: str) -> Array:
        """An array with one number everywhere, made on `device`."""

    @abstractmethod
    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The array on the host; NumPy's own arrays are returned as they are."""

    @abstractmethod
    def synchronize(self, device: str) -> None:
        """Wait until everything asked of `device` is done (for timing)."""

    def out_of_memory(self, what: str, error: MemoryError) -> None:
        """Raise an error that says more, if more is known; `what` is the name of the op that found no memory."""
        return


class NumpyBackend(Backend):
    name = "numpy"
    xp = np
    on_host = True

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray | np.generic)

    def device_of(self, array: Array) -> str:
        return "cpu"

    def asarray(self, array: Any, device: str) -> Array:
        return np.asarray(array) if self.owns(array) else backend_of(array).to_numpy(array)

    def full(self, shape: Shape, value: bool | int | float, dtype: Any, device: str) -> Array:
        return np.full(shape, value, dtype)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        refuse_reading(array)
        return np.asarray(array)

    def synchronize(self, device: str) -> None:
        pass


class CupyBackend(Backend):
    """CuPy works on a thread's current device, so the device of the arrays is made current before they are used.

    `backend_of` does that: the library that it names may be used at once.
    """

    name = "cupy"
    on_host = False

    def __init__(self) -> None:
        try:
            import cupy
        except ModuleNotFoundError as error:
            raise DeviceError(
                "device 'cuda' needs CuPy, which is not installed: pip install 'tinyconv[cuda13]' (CUDA 13) "
                "or 'tinyconv[cuda12]' (CUDA 12), or use device='cpu'"
            ) from error
        except ImportError as error:
            raise DeviceError(
                f"device 'cuda' needs CuPy, which is installed and cannot be imported ({error.__cause__ or error}); "
                "`python -c 'import cupy'` may say more. Use device='cpu' meanwhile"
            ) from error
        self.xp = cupy

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray)

    def device_of(self, array: Array) -> str:
        return f"cuda:{array.device.id}"

    def asarray(self, array: Any, device: str) -> Array:
        if not self.owns(array):
            refuse_in_capture(
                f"brings an array of shape {array.shape} from the host",
                "give it as an argument, or make it before the step",
            )
        return self._made("to", device, self.xp.asarray, array)

    def full(self, shape: Shape, value: bool | int | float, dtype: Any, device: str) -> Array:
        return self._made("full", device, self.xp.full, shape, value, dtype)

    def _made(self, what: str, device: str, function: Any, *args: Any) -> Array:
        self.use(self.check_device(device))
        try:
            return function(*args)
        except MemoryError as error:
            self.out_of_memory(what, error)
            raise

    def use(self, number: int) -> None:
        """Make this the device that CuPy works on in this thread, from now on."""
        if number != self.xp.cuda.runtime.getDevice():
            self.xp.cuda.Device(number).use()

    def check_device(self, device: str) -> int:
        """The number of a device that is there; DeviceError, with the reason, for one that is not."""
        runtime = self.xp.cuda.runtime
        number = int(device.partition(":")[2] or 0)
        try:
            found = runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            made_for, driver = runtime.runtimeGetVersion(), runtime.driverGetVersion()
            if 0 < driver < made_for:  # 0: there is none
                raise DeviceError(
                    f"device {device!r}: CuPy is made for CUDA {cuda_version(made_for)} and the driver knows CUDA up "
                    f"to {cuda_version(driver)}: update the driver, or pip install 'tinyconv[cuda{driver // 1000}]' in "
                    "place of that CuPy; or use device='cpu'"
                ) from error
            raise DeviceError(
                f"device {device!r}: no CUDA driver or GPU was found ({error}); use device='cpu'"
            ) from error
        if number >= found:
            raise DeviceError(f"device {device!r}: this machine has {found} GPU(s), numbered from 0")
        return number

    def out_of_memory(self, what: str, error: MemoryError) -> None:
        if isinstance(error, OutOfMemoryError):  # said already
            return
        number = self.xp.cuda.runtime.getDevice()
        free, total = self.xp.cuda.runtime.memGetInfo()
        raise OutOfMemoryError(
            f"{what}: no memory left on cuda:{number}. {error} Of its {total / 2**30:.1f} GiB, "
            f"{(total - free) / 2**30:.1f} are in use, by other programs too: use a smaller batch, or no_grad() where "
            "nothing is to be trained"
        ) from error

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        refuse_reading(array)
        host: np.ndarray[Any, Any] = self.xp.asnumpy(array)
        return host

    def synchronize(self, device: str) -> None:
        refuse_in_capture("waits for the device", "wait after it")
        self.use(self.check_device(device))
        self.xp.cuda.get_current_stream().synchronize()


def cuda_version(number: int) -> str:
    """A version in CUDA's numbering, as people write it: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


class MetaBackend(Backend):
    """Arrays without elements (`tinyconv.arrays.meta`)."""

    name = "meta"
    xp = meta.LIBRARY
    on_host = False  # there is no value to look at

    def owns(self, array: Any) -> bool:
        return isinstance(array, meta.MetaArray)

    def device_of(self, array: Array) -> str:
        return "meta"

    def asarray(self, array: Any, device: str) -> Array:
        return meta.MetaArray(array.shape, array.dtype)

    def full(self, shape: Shape, value: bool | int | float, dtype: Any, device: str) -> Array:
        return meta.MetaArray(shape, dtype)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        host: np.ndarray[Any, Any] = array.item()  # which says why not
        return host

    def synchronize(self, device: str) -> None:
        pass


NUMPY = NumpyBackend()
META = MetaBackend()
_cupy: CupyBackend | None = None
when_cupy_is_named: list[Callable[[], None]] = []
"""Functions to call before anything runs on CuPy for the first time: what is written for it is imported there."""


def cupy_backend() -> CupyBackend:
    """The CuPy backend, imported at the first call; DeviceError where there is no CuPy."""
    global _cupy
    if _cupy is None:
        backend = CupyBackend()
        for prepare in when_cupy_is_named:
            prepare()
        _cupy = backend
    return _cupy


def backend_of(*arrays: Any) -> Backend:
    """The one backend that all `arrays` belong to. Python numbers and None belong to any; alone, to NumPy.

    Raises DeviceError for a mixture. With CuPy, the arrays' device is the current one from here on.
    """
    found: Backend | None = None
    first: Any = None
    for array in arrays:
        if type(array) is np.ndarray or isinstance(array, np.generic):
            backend: Backend = NUMPY
        elif array is None or isinstance(array, int | float):
            continue
        elif META.owns(array):
            backend = META
        elif "cupy" in sys.modules and cupy_backend().owns(array):
            backend = cupy_backend()
        else:
            raise DeviceError(f"expected a NumPy or CuPy array or a number, got {type(array).__name__}")
        if found is None:
            found, first = backend, array
        elif {backend, found} == {NUMPY, META} and _joining.get():
            found = META
        elif backend is not found or backend.device_of(array) != found.device_of(first):
            raise DeviceError(
                f"arrays on two devices met: {_describe(found, first)} and {_describe(backend, array)}; "
                "move one of them with .to(device), or the whole model with model.to(device)"
            )
    if found is _cupy and found is not None:
        found.use(first.device.id)
    return found or NUMPY


def ready(array: Array) -> Array:
    """The array itself; its device is the current one from here on (see `backend_of`)."""
    if type(array) is not np.ndarray:
        backend_of(array)
    return array


def _describe(backend: Backend, array: Array) -> str:
    return f"{array.dtype} {array.shape} on {backend.device_of(array)}"


_joining: ContextVar[bool] = ContextVar("tinyconv_joining", default=False)


class constants_join(Setting):
    """Inside, arrays of the CPU may meet arrays without elements; the result has no elements either.

    A model that is asked for its shapes alone may hold constants that are not buffers.
    """

    variable = _joining

    def changed(self, now: bool) -> bool:
        return True


_default: ContextVar[str | None] = ContextVar("tinyconv_device", default=None)


class device(Setting, str):
    """A device: a `with` block in which tensors and parameters are made there where no other is named, and its name.

    `type` is "cpu", "cuda", or "meta" for shapes without values; `index` is the number of the GPU. Like `torch.device`,
    except that it is a string, equal to its name, and that "cuda" is "cuda:0". Raises DeviceError for another name;
    whether the device is there is found out when something is made on it.

        with tc.device("meta"):
            model = tc.models.vgg16()  # shapes alone: no weight is drawn, and no memory taken
    """

    variable = _default

    def __new__(cls, type: str, index: int | None = None) -> Self:
        """A device by its name, `device("cuda:1")`, or by its type and number, `device("cuda", 1)`."""
        return str.__new__(cls, device_name(type if index is None or str(type) != "cuda" else f"{type}:{index}"))

    def __init__(self, type: str, index: int | None = None) -> None:
        super().__init__()

    @property
    def type(self) -> str:
        """The name without the number."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]  # a name is not searched
        """The number of the GPU; None for other devices."""
        return int(self.partition(":")[2]) if self.type == "cuda" else None

    def __str__(self) -> str:
        return str.__str__(self)

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:  # a thread's stack cannot be copied
        return device, (str(self),)

    def changed(self, now: str | None) -> str:
        """This device."""
        return str(self)


def default_device() -> str | None:
    """The device that a `with device(...)` block names; None outside of one."""
    return _default.get()


@cache
def _named(name: str) -> device:
    return device(name)


def place_of(array: Array) -> device:
    """The device of an array: one object for each device."""
    return _named(backend_of(array).device_of(array))


def device_name(device: Any) -> str:
    """A device as it is written: None -> `cpu` or the default, `cuda` -> `cuda:0`."""
    name, _, number = str(_default.get() or "cpu" if device is None else device).partition(":")
    if name in ("cpu", "meta") and not number:
        return name
    if name == "cuda" and (not number or number.isdigit()):
        return f"cuda:{number or 0}"
    raise DeviceError(f"unknown device {shortened(device)}: expected 'cpu', 'cuda', 'cuda:N' or 'meta'")


def backend_for(device: str | None) -> Backend:
    """The backend that holds arrays of `device`."""
    name = device_name(device)
    return NUMPY if name == "cpu" else META if name == "meta" else cupy_backend()
