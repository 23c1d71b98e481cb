"""The binary layout of CIFAR-10: records of 3,073 bytes, read without trusting the file.

A record is one byte, the label, and then 1,024 bytes each of red, green and blue, row by row: 32x32 pixels. There is no
header: a file is recognised by its length, and by labels that are all 0 to 9.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and the page of the dataset.
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinyconv.data.reading import Array, read_file
from tinyconv.errors import DataError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes
MOST = 1 << 28  # bytes: more than the whole dataset in one file
KIND = "a file of CIFAR-10"
PYTHON_VERSION = ("cifar-10-python.tar.gz", "cifar-10-batches-py")  # pickles, which are not read
FETCH = "`tinyconv data fetch cifar10` gets the files of CIFAR-10"


def read_cifar10(path: str | os.PathLike[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images, uint8 (N, 3, 32, 32), and labels, int64 (N,), in a file of the binary version of CIFAR-10.

    Raises FileNotFoundError where there is no such file, and DataError where its length or its labels cannot be right.

        images, labels = tc.data.read_cifar10("cifar-10-batches-bin/data_batch_1.bin")
    """
    return images_and_labels([read_records(path)])


def read_records(path: str | os.PathLike[str]) -> Array:
    """The records of a file, uint8 (N, 3073). Raises what `read_cifar10` raises."""
    return read_file(path, decode_records, KIND, FETCH)


def decode_records(stream: BinaryIO, most: int = MOST) -> Array:
    """The records in a stream of one whole file of at most `most` bytes, uint8 (N, 3073).

    Raises DataError where they cannot be right.
    """
    content = stream.read(most + 1)
    if len(content) > most:
        raise DataError(f"has more than {most:,} bytes, which is all that the file may have")
    if not content or len(content) % RECORD:
        size = "is empty" if not content else f"has {len(content):,} bytes"
        raise DataError(f"{size}, expected {RECORD:,} for each image (is it the binary version, unpacked?)")
    records = np.frombuffer(bytearray(content), np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() > 9:
        row = int(np.argmax(records[:, 0] > 9))
        raise DataError(f"record {row} has the label {records[row, 0]}, expected 0 to 9: damaged, or not CIFAR-10")
    return records


def encode_records(records: Array) -> bytes:
    """The content of the file that holds these records: the inverse of `decode_records`."""
    return records.tobytes()


def images_and_labels(records: list[Array]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The records of several files as images, uint8 (N, 3, 32, 32), and labels, int64 (N,)."""
    images = np.concatenate([part[:, 1:] for part in records]).reshape(-1, *SHAPE)
    return images, np.concatenate([part[:, 0] for part in records]).astype(np.int64)
