"""What becomes an array: Python numbers and lists, arrays of any library, and the names of dtypes and devices."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any

import numpy as np

from tinyconv.arrays.backend import (
    META,
    Array,
    backend_for,
    backend_of,
    default_device,
    device_name,
    refuse_in_capture,
)
from tinyconv.arrays.backend import device as Device
from tinyconv.engine.dtypes import DEFAULT_FLOAT, DTYPES, Dtype, as_dtype
from tinyconv.engine.each_step import taken
from tinyconv.engine.options import number, plain
from tinyconv.errors import DeviceError, DtypeError, ShapeError, did_you_mean


def is_tensor(value: Any) -> bool:
    """Whether `value` is a Tensor."""
    return hasattr(value, "_tracked")  # no import: Tensor is made of what is here


def to_array(data: Any, dtype: Dtype, device: str | None) -> Array:
    """A copy of `data` as an array: Python floats become float32, arrays keep their dtype, unless one is given.

    `data` is a number, nested lists, a tensor, an array of any library, or a list of arrays or tensors.
    """
    if is_tensor(data):
        data = data.array
    if not hasattr(data, "dtype") or (dtype is not None and isinstance(data, np.generic | np.ndarray)):
        data = plain(data)
    first = data
    while isinstance(first, list | tuple) and first:
        first = first[0]
    typed = hasattr(first, "dtype")  # a list of arrays, tensors or NumPy's scalars has their dtype too
    device = default_device() if device is None else device
    found = data if hasattr(data, "__cuda_array_interface__") or META.owns(data) else _as_array(data)
    own = as_dtype(found.dtype)
    found = found if found.dtype == own else found.astype(own)  # the order of bytes of another machine
    wanted = as_dtype(dtype) if dtype is not None else DEFAULT_FLOAT if own.kind == "f" and not typed else own
    if wanted.kind in "iu" and not typed and found.size and not META.owns(found):
        low, high = found.min(), found.max()
        if not np.iinfo(wanted).min <= low <= high <= np.iinfo(wanted).max:  # also where one is NaN
            raise DtypeError(f"tensor: values from {low} to {high} do not fit {wanted}")
    backend = backend_of(found) if device is None else backend_for(device)
    place = backend.device_of(found) if device is None else device_name(device)
    if found.ndim == 0 and not typed:
        return backend.full((), found.item(), wanted, place)  # a number: there is nothing to copy to a GPU
    return taken(found, backend.asarray(found, place).astype(wanted, copy=True))


def _as_array(data: Any) -> np.ndarray[Any, Any]:
    try:
        found: np.ndarray[Any, Any] = np.asarray(data)
    except ValueError:
        lengths = _lengths(data)
        raise ShapeError(
            f"tensor: nested lists must have one length each, these have {', '.join(lengths)}: pad the shorter ones, "
            "or keep a list of tensors"
        ) from None
    if found.dtype.kind == "O":  # Fractions and Decimals
        numbers = [number(value) for value in found.flat]
        found = found if None in numbers else np.array(numbers).reshape(found.shape)
    if found.dtype.kind not in "biuf" and not hasattr(data, "dtype"):
        given = shortened(data)
        raise DtypeError(f"tensor: expected numbers (integers within int64) or nested lists of them, got {given}")
    return found


def _lengths(rows: Any) -> list[str]:
    """The different lengths of nested lists, where they first differ."""
    for _ in range(64):  # as deep as NumPy goes; a list may hold itself
        found = [str(len(row)) if isinstance(row, Sequence) or np.ndim(row) else "none" for row in rows]
        if len(set(found)) > 1 or "none" in found:
            return list(dict.fromkeys(found))
        rows = [element for row in rows for element in row]
    return ["more than 64 axes"]


def writeable(array: Array) -> bool:
    """Whether each element has a place of its own, and NumPy lets us write there. CuPy does not look."""
    if isinstance(array, np.ndarray) or META.owns(array):
        return bool(array.flags.writeable)
    return array.size == 0 or all(stride or size < 2 for stride, size in zip(array.strides, array.shape, strict=True))


def destination(args: tuple[Any, ...], device: str | None, dtype: Dtype) -> tuple[str | None, np.dtype[Any] | None]:
    """The device and the dtype that the arguments of `to` name; None where they name none.

    Bools among the arguments are `non_blocking` and `copy`.
    """
    for arg in args:
        if isinstance(arg, bool):
            continue
        if is_tensor(arg):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, Device) or (isinstance(arg, str) and arg not in np.sctypeDict):
            device = str(arg)
            if meant := did_you_mean(device, DTYPES):
                raise DeviceError(f"to: {device!r} is neither a device nor a dtype{meant}")
        else:
            dtype = arg
    return device and device_name(device), None if dtype is None else as_dtype(dtype)


def cuda_name(device: int | str | Device | None) -> str:
    """The GPU that `cuda()`, `cuda(1)` or `cuda("cuda:1")` names."""
    return f"cuda:{device or 0}" if device is None or isinstance(device, int) else str(device)


class Move:
    """y = x on another device;  dx = dy on the device of x."""

    name = "to"

    @staticmethod
    def check(x: Array, *, device: str) -> None:
        refuse_in_capture(f"moves a tensor of shape {x.shape} to {device}", "move it before the step, or after it")

    @staticmethod
    def forward(xp: Any, x: Array, *, device: str) -> Any:
        return backend_for(device).asarray(x, device), (backend_of(x).device_of(x),)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, device: str) -> Any:
        (home,) = saved
        return (backend_for(home).asarray(dy, home),)
