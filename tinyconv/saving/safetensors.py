"""The format of safetensors: 8 bytes with the length of a JSON header, the header, and the bytes of the arrays.

The header has for each array its dtype, shape and place among the bytes, which no two share and which leave no hole.
Written out here, as it is this short, so that saving needs NumPy alone; `train.checkpoint` uses the library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from tinyconv.errors import CheckpointError, printable
from tinyconv.host import limits
from tinyconv.saving.document import parsed
from tinyconv.shapes import product

DTYPES = {
    **{f"{letter}{8 * size}": np.dtype(f"{letter.lower()}{size}") for letter in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    "BF16": np.dtype(np.float32),
    "BOOL": np.dtype(np.bool_),
    "C64": np.dtype(np.complex64),
}
"""The dtypes of safetensors as NumPy reads them."""
NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}
METADATA = "__metadata__"


def written(arrays: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str]) -> Iterator[bytes | memoryview]:
    """The parts of a file, in order. Raises CheckpointError where its header would be longer than is ever read."""
    header: dict[str, Any] = {METADATA: metadata}
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)  # so that each lies at a multiple of its size
    end = 0
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > limits.HEADER:
        raise CheckpointError(
            f"save: the names, numbers and texts take {len(text):,} bytes, and {limits.HEADER:,} are read back; put "
            "long lists of numbers into tensors"
        )
    return _parts(text, [arrays[name] for name in order])


def _parts(header: bytes, arrays: list[np.ndarray[Any, Any]]) -> Iterator[bytes | memoryview]:
    yield len(header).to_bytes(8, "little")
    yield header
    for array in arrays:
        if array.size:  # memory of no elements has no bytes to view
            yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def read(file: BinaryIO) -> tuple[dict[str, str], dict[str, np.ndarray[Any, Any]]]:
    """The metadata and the arrays in a file. Raises CheckpointError, or an error of NONSENSE, where it is damaged."""
    file.seek(0, 2)
    total = file.tell()
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    if not 0 < size <= min(limits.HEADER, total - 8):
        raise CheckpointError(
            f"it is no file of tinyconv, safetensors or PyTorch, or cut short: a header of {size:,} bytes in {total:,}"
        )
    header = parsed(file.read(size))
    metadata = header.pop(METADATA, None) or {}
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("metadata that are no texts")
    if strange := sorted({str(entry["dtype"]) for entry in header.values()} - DTYPES.keys()):
        raise CheckpointError(f"it has numbers of a type that NumPy lacks ({printable(', '.join(strange))})")
    places = sorted((_place(name, entry), name) for name, entry in header.items())
    at = 0
    for (begin, end), name in places:
        if begin != at:
            raise ValueError(f"a hole or an overlap before {name}")
        at = end
    if at != total - 8 - size:
        raise ValueError(f"{total - 8 - size:,} bytes of numbers, and {at:,} in the header")
    arrays = {}
    for (begin, _), name in places:
        file.seek(8 + size + begin)
        arrays[name] = _read(file, header[name])
    return metadata, {name: arrays[name] for name in header}


def _place(name: str, entry: Any) -> tuple[int, int]:
    begin, end = entry["data_offsets"]
    shape, dtype = entry["shape"], entry["dtype"]
    if not all(type(n) is int and n >= 0 for n in (begin, end, *shape)):
        raise ValueError(f"sizes of {name} that are no numbers >= 0")
    itemsize = 2 if dtype == "BF16" else DTYPES[dtype].itemsize
    if end - begin != product(shape) * itemsize:
        raise ValueError(f"{name} of shape {shape} in {end - begin:,} bytes")
    return begin, end


def _read(file: BinaryIO, entry: Any) -> np.ndarray[Any, Any]:
    if entry["dtype"] == "BF16":
        return from_bfloat16(_filled(file, np.empty(entry["shape"], "<u2")))
    found = _filled(file, np.empty(entry["shape"], DTYPES[entry["dtype"]].newbyteorder("<")))
    return found.astype(DTYPES[entry["dtype"]], copy=False)


def _filled(file: BinaryIO, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.size and file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError("the file ends early")
    return array


def from_bfloat16(upper: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """bfloat16, given as the 16 bits of each, as float32: it is the upper half of one."""
    return (upper.astype(np.uint32) << 16).view(np.float32)
