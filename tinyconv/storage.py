"""Who wrote into which memory: the counts that the tape compares before it trusts what it saved."""

from __future__ import annotations

import zlib
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tinyconv.backend import Array


class Storage:
    """The memory that a tensor and its views share: how often it has been written to.

    The tape notes the count with every op that saved an array, and compares when it walks. Writes through a Tensor
    count themselves. Writes through a NumPy array that was handed out cannot; so what is saved from then on is noted
    with a checksum of its bytes, and for what was saved before, one of all this memory is taken at that moment.
    """

    writes = 0  # class attributes: most tensors never need their own
    memory: Array = None  # once it was written to, or handed out after it was saved
    saved = False  # an op that took part in this memory has saved something
    watched = False  # this memory has been handed out
    _views: WeakValueDictionary[int, Any] | None = None
    _checksum: int | None = None  # of the memory handed out after it was saved
    _changes = 0  # of that checksum

    def wrote(self, array: Array) -> None:
        """Count a write to `array`, this memory or a part of it."""
        self.writes += 1
        self.memory = _root(array)

    def watch(self, array: Array) -> None:
        """From now on others may write to this memory, of which `array` is a part."""
        if self.saved and not self.watched:
            self.memory = _root(array)
            self._checksum = checksum(self.memory)
        self.watched = True

    def count(self) -> int:
        """How many writes are known of by now, those of others too: for what was saved before it was watched."""
        if self._checksum is not None and (found := checksum(self.memory)) != self._checksum:
            self._checksum = found
            self._changes += 1
        return self.writes + self._changes

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


def _root(array: Array) -> Array:
    """The array that `array` is a view of."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array
