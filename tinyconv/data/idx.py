"""The IDX file format: the arrays of MNIST and its relatives, read without trusting the file.

An IDX file is a header and the elements in C order, all big-endian: two zero bytes, one byte for the element type, one
for the number of dimensions, then each dimension as four bytes. Nothing in it is optional, so an array has exactly one
encoding: `encode_idx(read_idx(path))` gives back the bytes of the file, and a checksum may be taken of either.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", the section on file formats.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinyconv.data.reading import Array, read_file
from tinyconv.errors import DataError
from tinyconv.host.files import atomic

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(big_endian).newbyteorder("="): code for code, big_endian in TYPES.items()}
MAX_DIMS = 64  # NumPy's limit; the format itself goes to 255
MAX_SIZE = 2**31 - 1  # the largest dimension: the format's integers are signed
GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # the most that a deflate stream grows (zlib's "technical details"): a header that says more lies
MOST_UNPACKED = 3 << 28  # bytes of a gzipped file whose size nobody knows: 768 MiB, more than any relative of MNIST has
CHUNK = 1 << 20  # bytes
KIND = "an IDX file"
FETCH = "`tinyconv data fetch mnist` (or the dataset's name) gets the files of a known dataset"


def read_idx(path: str | os.PathLike[str]) -> Array:
    """The array in the IDX file at `path`, plain or gzipped: its first bytes tell, not its name.

    The dtype is uint8, int8, int16, int32, float32 or float64 in native byte order, the shape is the header's. Raises
    FileNotFoundError where there is no such file, and DataError where it is damaged or is not IDX.

        images = tc.data.read_idx("train-images-idx3-ubyte.gz")  # uint8 (60000, 28, 28)
    """
    return read_file(path, decode_idx, KIND, FETCH)


def decode_idx(stream: BinaryIO, most: int | None = None) -> Array:
    """The array in a seekable stream of one whole IDX file, plain or gzipped, as `read_idx` returns it.

    Never unpacks more than one byte beyond what the header announces, which may be `most` bytes: unless given, what the
    file has, or MOST_UNPACKED if it is gzipped. Raises DataError where the bytes are damaged or are not IDX.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    packed = stream.read(2) == GZIP_MAGIC
    stream.seek(0)
    if not packed:
        return _decode(stream, size, size if most is None else most)
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            return _decode(unpacked, DEFLATE_RATIO * size, MOST_UNPACKED if most is None else most)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged gzip data ({error}), expected a whole IDX file") from error


def encode_idx(array: Array) -> bytes:
    """The one IDX encoding of an array of 1 to 64 dimensions and a dtype that `read_idx` returns.

    Raises DataError where IDX cannot hold the array.
    """
    code = CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(str(dtype) for dtype in CODES)
        raise DataError(f"IDX has no type for {array.dtype}; convert the array to one of {known}")
    if not 1 <= array.ndim <= MAX_DIMS or max(array.shape) > MAX_SIZE:
        raise DataError(f"IDX holds 1 to {MAX_DIMS} dimensions of at most {MAX_SIZE}, got shape {array.shape}")
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(TYPES[code], copy=False).tobytes()


def write_idx(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array as an IDX file in one step: a reader, or a crash, meets the old file or the whole new one.

    Args:
        path: The file, which is replaced if it exists.
        array: 1 to 64 dimensions, of uint8, int8, int16, int32, float32 or float64.

    Raises DataError where IDX cannot hold the array, and OSError where the folder cannot be written.
    """
    data = encode_idx(array)
    with atomic(Path(path)) as partial:
        partial.write_bytes(data)


def _decode(stream: BinaryIO | gzip.GzipFile, held: int, most: int) -> Array:
    """The array in `stream`, whose unpacked length cannot exceed `held` bytes and must not exceed `most`."""
    magic = stream.read(4)
    if not magic:
        raise DataError("is empty, expected an IDX file")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES:
        types = " ".join(f"{code:02x}" for code in TYPES)
        raise DataError(f"is not IDX: starts with {magic.hex(' ')}, expected 00 00, a type out of {types}, dimensions")
    dtype, ndim = np.dtype(TYPES[magic[2]]), magic[3]
    if not 1 <= ndim <= MAX_DIMS:
        raise DataError(f"has {ndim} dimensions, expected 1 to {MAX_DIMS}")
    packed = stream.read(4 * ndim)
    if len(packed) < 4 * ndim:
        raise DataError(f"ends inside its header: {len(packed)} bytes of sizes, expected {4 * ndim}")
    shape = struct.unpack(f">{ndim}i", packed)
    if min(shape) < 0:
        raise DataError(f"has a negative size in its header: {shape}")
    nbytes = dtype.itemsize * math.prod(shape)
    if nbytes > held:
        raise DataError(f"is too short for its header, which says {dtype.name} {shape}: {nbytes} bytes")
    if nbytes > most:
        hint = "" if most < MOST_UNPACKED else "; unpack it first: gunzip FILE"
        raise DataError(f"says {dtype.name} {shape} in its header: {nbytes:,} bytes, expected at most {most:,}{hint}")

    payload = bytearray()  # mutable, so that the array over it is writable
    while len(payload) <= nbytes and (chunk := stream.read(min(CHUNK, nbytes + 1 - len(payload)))):
        payload += chunk
    if len(payload) != nbytes:
        found = f"only {len(payload)}" if len(payload) < nbytes else "more"
        raise DataError(f"has {found} bytes after its header, which says {dtype.name} {shape}: expected {nbytes}")
    try:
        array = np.ndarray(shape, dtype, payload)
    except ValueError as error:  # no elements, and yet too large for NumPy: (0, 2**31 - 1, 2**31 - 1, 2**31 - 1)
        raise DataError(f"has an impossible shape in its header: {shape} ({error})") from error
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))
