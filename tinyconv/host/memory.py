"""Where the arrays of a pair lie: memory of their own, or, in a replay, where the plan of the program has them.

A pair takes its arrays from `empty`. In a replay of an instruction each call gets what the plan holds for it: the
first call the first array, and so on. So a pair makes the same calls, in the same order, whatever the data; where data
lead it another way it uses NumPy's own functions there. Threads inside an op get memory of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import local
from typing import Any

import numpy as np


class _Here(local):
    """The plan that this thread follows."""

    source: Callable[[tuple[int, ...], Any], Any] | None = None


here = _Here()


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of this shape that holds anything. `dtype` is a numpy.dtype, or a type as np.empty takes it."""
    source = here.source
    return np.empty(shape, dtype) if source is None else source(shape, dtype)


def unplanned(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), where `empty` gives new memory."""
    source, here.source = here.source, None
    try:
        return function(*args)
    finally:
        here.source = source
