"""Reading a data file, of whatever format, without trusting it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

from numpy.typing import NDArray

from tinyconv.errors import DataError

Array: TypeAlias = NDArray[Any]  # NumPy's: data live on the host, batches may leave it
Read = TypeVar("Read")


def read_file(path: str | os.PathLike[str], decode: Callable[[BinaryIO], Read], kind: str, fetch: str) -> Read:
    """What `decode` makes of the file at `path`.

    Args:
        path: The file.
        decode: Takes the open file and raises DataError where it is damaged.
        kind: What the file should be, for messages: "an IDX file".
        fetch: How to get such a file, for messages.

    Raises FileNotFoundError where there is no such file, and DataError, with the path in it, where it is no regular
    file, is damaged or cannot be read.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; {fetch}")
        if not path.is_file():  # opening a pipe would wait for a writer
            raise DataError(f"is a {'directory' if path.is_dir() else 'special file'}, expected {kind}")
        with path.open("rb") as file:
            return decode(file)
    except FileNotFoundError:
        raise
    except DataError as error:
        raise DataError(f"{path}: {error}; delete it: {fetch}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk") from error
