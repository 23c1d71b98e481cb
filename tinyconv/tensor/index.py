"""Indices: what names elements, NumPy's rules and torch's order of axes, with tensors among the parts."""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from typing import Any

import numpy as np

from tinyconv.arrays.backend import META, Array, backend_of, refuse_reading
from tinyconv.arrays.meta import MetaArray
from tinyconv.engine.each_step import computed, taken
from tinyconv.tensor.convert import is_tensor


def parts_of(index: Any) -> tuple[tuple[Any, ...], bool]:
    """An index as a tuple with arrays for lists and tensors, and whether it names no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays: list[Any] = []
    simple = True
    for part in parts:
        if is_tensor(part):
            part = part.array
            if not part.ndim:  # it becomes an integer
                refuse_reading(part)
        elif isinstance(part, Sequence):  # a list, a tuple, a range: all integer arrays, or masks
            check_index(part)
            part = np.asarray(part) if len(part) else np.zeros(0, np.int64)
            taken(part, part)
        elif isinstance(part, np.ndarray):
            taken(part, part)
        if getattr(part, "ndim", 0) > 0:
            part = computed(methodcaller("copy"), part)  # the tape keeps it, and others may write to theirs
        if getattr(part, "ndim", 0) > 0 and part.dtype.kind in "iu":
            simple = False
        elif hasattr(part, "dtype") and part.ndim == 0 and part.dtype.kind in "iu":
            part = int(part)
        elif hasattr(part, "dtype") and part.dtype.kind not in "b":
            raise IndexError(f"an index must be of integers or bools, got {part.dtype}")
        arrays.append(part)
    if not any(part is Ellipsis for part in arrays) and not any(hasattr(part, "dtype") for part in arrays):
        arrays.append(Ellipsis)  # so that x[0] of a vector is a view of it, not a copy of a number
    return tuple(arrays), simple


def integers_first(parts: tuple[Any, ...], ndim: int) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
    """An index as two, integers and then the rest, where NumPy and torch put axes in other places; else None, and it.

    To NumPy an integer beside index arrays is one of them, and arrays with something between them put their axes in
    front. In torch an integer takes its axis away first: `x[0, :, [1, 2]]` of shape (2, 3, 4) has shape (3, 2); and an
    Ellipsis that stands for no axis stands between nothing.
    """
    if sum(_axes(part) for part in parts if part is not Ellipsis) == ndim and any(map(_is_array, parts)):
        parts = tuple(part for part in parts if part is not Ellipsis)
    advanced = [i for i, part in enumerate(parts) if type(part) is int or _is_array(part)]
    apart = bool(advanced) and advanced[-1] - advanced[0] >= len(advanced)
    if not apart or len({type(parts[i]) is int for i in advanced}) < 2:
        return None, parts
    first: list[Any] = []
    for part in parts:
        first += [part if type(part) is int or part is Ellipsis else slice(None)] * _axes(part)
    if Ellipsis not in first:
        first.append(Ellipsis)
    return tuple(first), tuple(part for part in parts if type(part) is not int)


def _is_array(part: Any) -> bool:
    """Whether a part of an index is an index array; one bool is a mask of no axes."""
    return isinstance(part, bool | np.bool_) or hasattr(part, "ndim")


def _axes(part: Any) -> int:
    """How many axes a part of an index names: none for None and for one bool, those of a mask, one for the others."""
    if part is None or isinstance(part, bool):
        return 0
    return part.ndim if getattr(part, "dtype", None) == np.bool_ else 1


def check_index(index: Any) -> None:
    """Raise IndexError, with the part, for one that no index can have: a number with a point, a string, a dict."""
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, float | str | dict | set):
            hint = "; i // 2 is an integer where i / 2 is not" if isinstance(part, float) else ""
            raise IndexError(f"x[...] takes integers, slices, None, masks and lists of integers, got {part!r}{hint}")


def placed(index: tuple[Any, ...], x: Array) -> tuple[Any, ...]:
    """An index whose arrays are on the device of `x`, a mask among them as the places where it is true.

    An index in host memory is checked there: nothing is read from a GPU for it, and an index out of range is found,
    which CuPy would take modulo the size.
    """
    if isinstance(x, np.ndarray) or META.owns(x) or not any(getattr(part, "ndim", 0) for part in index):
        return index
    if all(isinstance(part, np.ndarray) for part in index if hasattr(part, "ndim")):
        MetaArray(x.shape, x.dtype)[index]
    backend = backend_of(x)
    parts: list[Any] = []
    for part in index:
        places = part.nonzero() if getattr(part, "ndim", 0) and part.dtype.kind == "b" else (part,)
        parts += [backend.asarray(p, backend.device_of(x)) if hasattr(p, "ndim") else p for p in places]
    return tuple(parts)
