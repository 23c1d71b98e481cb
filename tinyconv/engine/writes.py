"""When memory was written to: the count that the tape compares before it trusts what it saved."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from tinyconv.arrays.backend import Array
from tinyconv.engine.tape import number


class Storage:
    """The memory that a tensor and its views share, and when it was last written to.

    Writes and nodes are numbered in one sequence (`tape.number`), so a write that came after an op can be told from one
    before it. Writes through a Tensor are numbered. Writes through a NumPy array that shares the memory are not seen,
    as in PyTorch.
    """

    written = -1  # the number of the last write. Class attributes, because most tensors never need their own
    memory: Array = None  # the whole of it, once it was written to
    _views: WeakValueDictionary[int, Any] | None = None

    def wrote(self, array: Array) -> None:
        """Number a write to `array`, this memory or a part of it."""
        self.written = number()
        self.memory = base_of(array)

    def changed_since(self, order: int) -> bool:
        """Whether a write is known that came after that number."""
        return self.written > order

    def share(self, *views: Any) -> None:
        """Note that these tensors, and arrays, are views of this memory."""
        if self._views is None:
            self._views = WeakValueDictionary()
        self._views.update((id(view), view) for view in views)

    @property
    def shared(self) -> bool:
        """Whether more than one view of this memory is alive."""
        return self._views is not None and len(self._views) > 1


def base_of(array: Array) -> Array:
    """The array that `array` is a view of."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array
