"""What a script saves: numbers, texts, tensors and states in dicts and lists, in one file that holds no code.

The file is a safetensors file (`safetensors.py`). Its tensors have the names under which they stand in what was saved,
so any reader of the format finds `conv1.weight` in a saved state; its metadata are a JSON document with the rest
(`structure.py`). A file that PyTorch wrote is read too (`pytorch.py`). Nothing in a file is executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from tinyconv.arrays.backend import device as Device
from tinyconv.engine.dtypes import as_dtype
from tinyconv.errors import CheckpointError, DtypeError, printable, shortened
from tinyconv.host.files import atomic
from tinyconv.saving import pytorch, safetensors, structure
from tinyconv.saving.document import NONSENSE, parsed
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["load", "save"]

File: TypeAlias = "str | os.PathLike[str] | BinaryIO"
Place: TypeAlias = "str | Device | Mapping[str, str] | Callable[[Tensor, str], Tensor | None] | None"
KEY = "tinyconv_object"  # of the metadata


def save(obj: Any, f: File) -> None:
    """Write `obj` to a file: tensors, arrays, numbers and texts, in dicts, lists and tuples. Like `torch.save`.

        tc.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, "checkpoint.pt")

    Args:
        obj: What to save. A tensor that stands in several places is written once, and loaded as one.
        f: A path, whose folder has to be there and which is replaced in one step if it exists, or a file open for
            writing bytes.

    The file is a safetensors file with a JSON document, and holds no code: so a whole module or optimiser is refused
    with CheckpointError, which says to save its `state_dict()`, and so is any other object. Raises CheckpointError too
    where the file cannot be written.
    """
    arrays, document = structure.taken_apart(obj)
    parts = safetensors.written(arrays, {KEY: document})
    if not isinstance(f, str | os.PathLike):
        if not hasattr(f, "write"):
            raise CheckpointError(f"save: takes what to save and a path or an open file, got {shortened(f)}")
        for part in parts:
            f.write(part)
        return
    try:
        with atomic(Path(f)) as beside, beside.open("wb") as file:
            for part in parts:
                file.write(part)
    except OSError as error:
        raise CheckpointError(f"save: cannot write {f}: {error}") from error


def load(f: File, map_location: Place = None, *, weights_only: bool | None = None, mmap: bool | None = None) -> Any:
    """Read what `save` wrote, the tensors of any safetensors file, or what `torch.save` wrote. Like `torch.load`.

        checkpoint = tc.load("checkpoint.pt")
        model.load_state_dict(checkpoint["model"])

    Args:
        f: A path, or a file open for reading bytes.
        map_location: The device that tensors come to; a dict of devices; or a function of a tensor and its device.
            Without it they come to the device that they were on.
        weights_only: Nothing else is ever done, so it changes nothing.
        mmap: Changes nothing.

    Nothing in the file is executed. A file of PyTorch's may hold tensors, numbers, texts and plain containers; bfloat16
    becomes float32. Raises FileNotFoundError where there is no file, and CheckpointError where it is damaged, cut short
    or holds anything else.
    """
    what = str(f) if isinstance(f, str | os.PathLike) else f"this {type(f).__name__}"
    with _opened(f, what) as file:
        try:
            kind = file.read(4)
            file.seek(0)
            if kind.startswith(b"PK"):
                return pytorch.read(file, _placed(map_location))
            if kind[:1] == b"\x80" and kind[1:2] in b"\x02\x03\x04\x05":
                raise CheckpointError(
                    "it is a pickle, or a file from before PyTorch 1.6; a pickle can run any code, so it is not read. "
                    "In PyTorch, load it and save it again"
                )
            metadata, arrays = safetensors.read(file)
            place = _placed(map_location)
            if KEY in metadata:
                return structure.put_together(parsed(metadata[KEY]), arrays, place)
            if "tinyconv" in metadata:
                raise CheckpointError("it is the checkpoint of a training: tinyconv.train.load_checkpoint reads it")
            return {name: place(array, "cpu") for name, array in arrays.items()}
        except CheckpointError as error:
            raise CheckpointError(f"load: {what}: {error}") from error
        except (OSError, *NONSENSE) as error:
            raise CheckpointError(
                f"load: {what} cannot be read: it is damaged or cut short, or of another kind ({printable(str(error))})"
            ) from error


@contextmanager
def _opened(f: Any, what: str) -> Iterator[BinaryIO]:
    """The file, open at a place that may be sought."""
    if not isinstance(f, str | os.PathLike):
        if not hasattr(f, "read"):
            raise CheckpointError(f"load: takes a path or an open file, got {shortened(f)}")
        content = f.read()
        if not isinstance(content, bytes | bytearray | memoryview):
            raise CheckpointError(f"load: {what} gives text; open the file in binary mode, 'rb'")
        if not content:
            raise CheckpointError(f"load: {what} is at its end, there is nothing to read; f.seek(0) first?")
        yield BytesIO(content)
        return
    path = Path(f)
    if not path.exists():
        raise FileNotFoundError(f"load: no such file: {path}")
    if not path.is_file():  # opening a pipe would wait for a writer
        raise CheckpointError(f"load: {path} is a {'folder' if path.is_dir() else 'special file'}, expected a file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"load: {path} cannot be read ({error.strerror}); check its permissions") from error
    with file:
        yield file


def _placed(where: Place) -> Callable[[np.ndarray[Any, Any], str], Tensor]:
    """A function that makes a tensor of an array and the device it was on."""

    def place(array: np.ndarray[Any, Any], saved: str) -> Tensor:
        try:
            as_dtype(array.dtype)
        except DtypeError as error:
            raise CheckpointError(f"it has numbers that no tensor can have here: {error}") from error
        t = wrap(array)
        if where is None:
            return t.to(saved)
        if isinstance(where, Mapping):
            return t.to(str(where.get(saved, saved)))
        if callable(where):
            found = where(t, saved)
            return t.to(saved) if found is None else found
        return t.to(where)

    return place
