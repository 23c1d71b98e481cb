"""Who wrote into which memory: the counts that the tape compares before it trusts what it saved."""

from __future__ import annotations

import zlib
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tinyconv.backend import Array
from tinyconv.tape import number


class Storage:
    """The memory that a tensor and its views share: when it was written to.

    The tape compares with the number of an op that saved a part of it. Writes through a Tensor are numbered. Writes
    through a NumPy array that was handed out cannot be; so what is saved from then on is noted with a checksum of its
    bytes, and for what was saved before, one of all this memory is taken at that moment.
    """

    written = -1  # the number of the last write through a tensor. Class attributes: most tensors never need their own
    watched = 0  # the number at which this memory was first handed out
    recorded = False  # an op on the tape may have saved it, though a tensor that is not tracked can hand it out
    memory: Array = None  # once it was written to, or handed out after it was recorded
    _views: WeakValueDictionary[int, Any] | None = None
    _checksum: int | None = None  # of the memory, when it was handed out

    def wrote(self, array: Array) -> None:
        """Number a write to `array`, this memory or a part of it."""
        self.written = number()
        self.memory = base_of(array)

    def watch(self, array: Array) -> None:
        """From now on others may write to this memory, of which `array` is a part."""
        if not self.watched:
            self.watched = number()
            if self.recorded:
                self.memory = base_of(array)
                self._checksum = checksum(self.memory)

    def changed_since(self, order: int) -> bool:
        """Whether anybody is known to have written after that number; others only since this memory was handed out."""
        if self.written > order:
            return True
        return self._checksum is not None and self.watched > order and checksum(self.memory) != self._checksum

    def share(self, *views: Any) -> None:
        """Note that these tensors, and arrays, are views of this memory."""
        if self._views is None:
            self._views = WeakValueDictionary()
        self._views.update((id(view), view) for view in views)

    @property
    def shared(self) -> bool:
        """Whether more than one view of this memory is alive."""
        return self._views is not None and len(self._views) > 1


def checksum(array: Array) -> int:
    """A checksum of the bytes of an array on the host; 0 elsewhere, where nothing is handed out to be watched."""
    return zlib.crc32(np.ascontiguousarray(array).data) if isinstance(array, np.ndarray) else 0


def base_of(array: Array) -> Array:
    """The array that `array` is a view of."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array
