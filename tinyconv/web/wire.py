"""One message between the server and a page: JSON, and after it the arrays that the JSON names, as they lie in memory.

    length of the JSON, 4 bytes, little end first | JSON, UTF-8 | zeros up to a multiple of 8 | array | array | ...

In the JSON an array is {"$array": [dtype, shape, offset]}, the offset counted from the end of the JSON's zeros. Every
array begins at a multiple of 8, so a page looks at its numbers without a copy. NaN and infinities, which JSON lacks,
are {"$number": "nan"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.errors import TinyconvError, printable, shortened
from tinyconv.saving.document import parsed

DTYPES = ("float32", "float64", "int32", "uint8", "int8", "uint16", "int16", "uint32")
"""What a page has typed arrays for. Others are sent as the first of `_SENT_AS` that holds their values."""
_SENT_AS = {
    "bool": ("uint8",),
    "float16": ("float32",),
    "int64": ("int32", "float64"),
    "uint64": ("uint32", "float64"),
}
_NUMBERS = {"nan": nan, "inf": inf, "-inf": -inf}
_ALIGNED = 8


class WireError(TinyconvError, ValueError):
    """A message cannot be read, or an array cannot be sent."""


def pack(message: Mapping[str, Any]) -> bytes:
    """The message, whose arrays may stand anywhere in it, in one piece.

    Raises TypeError for what is neither JSON nor an array, and WireError for whole numbers of an array that no page
    can hold.
    """
    arrays: list[bytes] = []
    offsets: dict[tuple[Any, ...], int] = {}  # of the memory that is in it: what stands in two places is sent once
    size = 0

    def lifted(value: Any) -> Any:
        nonlocal size
        if isinstance(value, np.ndarray):
            order = None if value.flags.c_contiguous else (value.shape, value.strides)
            memory = (value.__array_interface__["data"], value.dtype, value.size, order)
            sent = _as_sent(value)
            if memory not in offsets:
                offsets[memory] = size
                data = sent.tobytes()
                arrays.extend((data, bytes(-len(data) % _ALIGNED)))
                size += len(data) + -len(data) % _ALIGNED
            return {"$array": [sent.dtype.name, list(value.shape), offsets[memory]]}
        if isinstance(value, Mapping):
            return {str(key): lifted(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [lifted(part) for part in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not isfinite(value):
            return {"$number": str(value)}
        return value

    head = json.dumps(lifted(message), allow_nan=False, separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(4, "little"), head, bytes(-(4 + len(head)) % _ALIGNED), *arrays])


def _as_sent(array: NDArray[Any]) -> NDArray[Any]:
    """The array with the dtype, and the order of bytes, in which it is sent."""
    name = array.dtype.name
    for sent in _SENT_AS.get(name, (name,) if name in DTYPES else ()):
        if array.dtype.kind in "iu" and array.size and sent != name:
            most = 2**53 if sent == "float64" else np.iinfo(sent).max
            if not -most <= int(array.min()) <= int(array.max()) <= most:
                continue
        return array.astype(np.dtype(sent).newbyteorder("<"), copy=False)
    if name in _SENT_AS:
        raise WireError(f"no page holds all whole numbers beyond 2^53, and there is one in an array of {name}")
    raise TypeError(f"pack: no page reads an array of {array.dtype}")


def unpack(data: bytes) -> dict[str, Any]:
    """The message in these bytes, its arrays as NumPy arrays that cannot be written to.

    Raises WireError for anything that `pack` does not make.
    """
    length = int.from_bytes(data[:4], "little")
    start = 4 + length + -(4 + length) % _ALIGNED
    if len(data) < 4 or start > len(data):
        raise WireError(f"a message of {len(data)} bytes is cut: its JSON has {length}")

    def put_back(value: Any) -> Any:
        if isinstance(value, list):
            return [put_back(part) for part in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"$array"}:
            return _array(data, start, value["$array"])
        if value.keys() == {"$number"}:
            return _NUMBERS[value["$number"]]
        return {key: put_back(part) for key, part in value.items()}

    try:
        message = put_back(parsed(data[4 : 4 + length].decode()))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise WireError(f"a message cannot be read: {printable(str(error))}") from None
    if not isinstance(message, dict):
        raise WireError(f"a message is an object, got {type(message).__name__}")
    return message


def _array(data: bytes, start: int, place: Any) -> NDArray[Any]:
    dtype, shape, offset = place
    whole = all(type(n) is int and 0 <= n <= len(data) for n in (*shape, offset))
    if dtype not in DTYPES or not whole or offset % _ALIGNED:
        raise ValueError(f"no such array: {shortened(place)}")
    array: NDArray[Any] = np.ndarray(tuple(shape), np.dtype(dtype).newbyteorder("<"), data, start + offset)
    return array
