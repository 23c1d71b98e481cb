"""Draws: the choices that make one question out of an op's argument space.

A space is a function that asks a `Draw` for integers, flags and arrays, geometry first, and returns a `Case`. All
choices come from `integer`, so one description of a space serves `RandomDraw` (the command line and `check_op`, which
replay a case by its seed), Hypothesis (the tests, which shrink a case that fails), and anything else that can choose an
integer. Small integers are the simple choices: put the plain one first.

A draw notes the argument classes that its case belongs to ("float64", "negative strides", "depthwise"). They are the
rows of the tables of coverage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")
Array = np.ndarray[Any, Any]

FLOATS = ("float32", "float64")
LAYOUTS = ("contiguous", "permuted", "sliced", "reversed", "read-only", "broadcast")
VALUES = ("normal", "ties")
_LAYOUT_CLASSES = {
    "permuted": "non-contiguous",
    "sliced": "non-contiguous",
    "reversed": "negative strides",
    "read-only": "read-only",
    "broadcast": "zero strides",
}
_VALUE_CLASSES = {"ties": "equal values", "infinite": "infinities", "special": "infinities, NaN, -0.0"}


class Draw(ABC):
    """Where choices come from, and the argument classes that they lead to."""

    def __init__(self) -> None:
        self.classes: set[str] = set()

    @abstractmethod
    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""

    def choice(self, options: Sequence[Choice]) -> Choice:
        """One of `options`; put the simplest first."""
        return options[self.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        """True or False; False is the simpler."""
        return bool(self.integer(0, 1))

    def note(self, *classes: str) -> None:
        """Note that the case belongs to these argument classes."""
        self.classes.update(classes)

    def note_if(self, condition: Any, argument_class: str) -> None:
        """Note that the case belongs to this argument class, if the condition is true."""
        if condition:
            self.note(argument_class)

    def shape(self, min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 4) -> tuple[int, ...]:
        """A random shape, small enough to print."""
        return tuple(self.integer(min_side, max_side) for _ in range(self.integer(min_dims, max_dims)))

    def subset(self, count: int) -> list[int]:
        """Some of the numbers 0 ... count - 1, at least one: the inputs that need a gradient."""
        chosen = [i for i in range(count) if self.flag()]
        return chosen or [self.integer(0, count - 1)]

    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        dtype = np.dtype(self.choice(FLOATS))
        self.note(dtype.name)
        return dtype

    def array(
        self,
        shape: Sequence[int],
        dtype: Any,
        values: Sequence[str] = VALUES,
        layouts: Sequence[str] = LAYOUTS,
    ) -> Array:
        """An array with one of the kinds of `values`, in one of the memory `layouts`."""
        return self.arrange(self.values(shape, dtype, self.choice(values)), self.choice(layouts))

    def values(self, shape: Sequence[int], dtype: Any, kind: str) -> Array:
        """Numbers of a kind: "normal", "positive" (>= 0.1), "ties" (few integers), "infinite", "special" (also NaN)."""
        rng, shape = np.random.default_rng(self.integer(0, 2**32 - 1)), tuple(shape)
        if kind in _VALUE_CLASSES:
            self.note(_VALUE_CLASSES[kind])
        if 0 in shape:
            self.note("empty")
        if shape == ():
            self.note("0-d")
        if kind == "normal":
            return np.asarray(rng.standard_normal(shape), dtype)
        if kind == "positive":
            return np.asarray(abs(rng.standard_normal(shape)) + 0.1, dtype)
        if kind == "ties":
            return np.asarray(rng.integers(-2, 3, shape), dtype)
        pool = [np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan]
        return np.asarray(rng.choice(pool if kind == "special" else pool[:-1], shape), dtype)

    def arrange(self, array: Array, layout: str) -> Array:
        """The same values in another memory layout, whose class is noted."""
        if layout in _LAYOUT_CLASSES and array.ndim:
            self.note(_LAYOUT_CLASSES[layout])
        return arrange(array, layout)


class RandomDraw(Draw):
    """Choices from a seed: the same seed gives the same case."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high, endpoint=True))


def arrange(array: Array, layout: str) -> Array:
    """The same values and shape in another memory layout; "broadcast" repeats the first column instead."""
    if not array.ndim or layout == "contiguous":
        return array
    if layout == "permuted":
        return array.T.copy().T
    if layout == "sliced":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        flip = (slice(None, None, -1),) * array.ndim
        return array[flip].copy()[flip]
    if layout == "broadcast" and array.size:
        return np.broadcast_to(array[..., :1], array.shape)
    array = array.copy()
    array.flags.writeable = layout != "read-only"
    return array
