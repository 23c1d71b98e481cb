"""When memory was written to: the count that the tape compares before it trusts what it saved."""

from __future__ import annotations

import zlib
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tinyconv.arrays.backend import Array
from tinyconv.engine.tape import number


class Storage:
    """The memory that a tensor and its views share, and when it was last written to.

    Writes and nodes are numbered in one sequence (`tape.number`), so a write that came after an op can be told from one
    before it. Writes through a Tensor are counted. A write through a NumPy array cannot be: where memory is lent to
    NumPy after an op has saved it, `lend` takes a checksum of it, and the tape compares. A write through an array that
    was lent before the op ran is not noticed, as in PyTorch.
    """

    written = -1  # the number of the last write. Class attributes, because most tensors never need their own
    recorded = False  # an op on the tape may have saved a part of it
    memory: Array = None  # the whole of it, once it was written to or lent
    _lent: tuple[int, int] | None = None  # when it was last lent, and its checksum then
    _views: WeakValueDictionary[int, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, ()  # a copy has memory of its own, which nobody has written to or borrowed

    def wrote(self, array: Array) -> None:
        """Number a write to `array`, this memory or a part of it."""
        self.written = number()
        self.memory = base_of(array)

    def lend(self, array: Array) -> None:
        """From now on NumPy may write to this memory, of which `array` is a part."""
        if self.recorded:
            if self._lent is not None and self.written < self._lent[0] and checksum(self.memory) != self._lent[1]:
                self.wrote(array)  # since it was lent before, and no tensor did
            self.memory = base_of(array)
            self._lent = number(), checksum(self.memory)

    def changed_since(self, order: int) -> bool:
        """Whether a write is known that came after that number."""
        if self.written > order:
            return True
        return self._lent is not None and self._lent[0] > order and checksum(self.memory) != self._lent[1]

    def share(self, *views: Any) -> None:
        """Note that these tensors, and arrays, are views of this memory."""
        if self._views is None:
            self._views = WeakValueDictionary()
        self._views.update((id(view), view) for view in views)

    @property
    def views(self) -> list[Any]:
        """The tensors and arrays alive that are known to be views of this memory."""
        return [] if self._views is None else list(self._views.values())

    @property
    def lent(self) -> bool:
        """Whether NumPy, or another library, may hold this memory."""
        return self._lent is not None

    @property
    def shared(self) -> bool:
        """Whether more than one view of this memory is alive."""
        return self._views is not None and len(self._views) > 1


def checksum(array: Array) -> int:
    """A checksum of the bytes of an array on the host; 0 elsewhere, where nothing is lent."""
    return zlib.crc32(np.ascontiguousarray(array).data) if isinstance(array, np.ndarray) else 0


def base_of(array: Array) -> Array:
    """The array that `array` is a view of."""
    owner = array
    while (array := getattr(array, "base", None)) is not None:
        owner = array if hasattr(array, "strides") else owner  # `as_strided` puts something else in between
    return owner
