"""Checks of hyper-parameters: each takes a name for messages and a value, and returns the value as Python's own type.

The type matters as much as the range: a NumPy float64 scalar would turn a float32 update into float64, a Python float
does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from numbers import Integral, Real
from typing import Any

from tinyconv.errors import TinyconvError


class OptionError(TinyconvError, ValueError):
    """An optimiser or a schedule cannot work with a hyper-parameter or with a list of parameters."""


def non_negative(what: str, value: Any) -> float:
    """A finite number, at least 0."""
    number = _number(value)
    if 0 <= number < inf:
        return number
    raise OptionError(f"{what}: expected a finite number >= 0, got {value!r}")


def positive(what: str, value: Any) -> float:
    """A finite number above 0."""
    number = _number(value)
    if 0 < number < inf:
        return number
    raise OptionError(f"{what}: expected a finite number > 0, got {value!r}")


def fraction(what: str, value: Any) -> float:
    """A number in [0, 1]."""
    number = _number(value)
    if 0 <= number <= 1:
        return number
    raise OptionError(f"{what}: expected a number from 0 to 1, got {value!r}")


def decay(what: str, value: Any) -> float:
    """How much of a running mean is kept at each step: a number in [0, 1), since at 1 the mean would never move."""
    number = _number(value)
    if 0 <= number < 1:
        return number
    raise OptionError(f"{what}: expected a number in [0, 1), got {value!r}")


def two_decays(what: str, value: Any) -> tuple[float, float]:
    """The pair (beta1, beta2), each in [0, 1)."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise OptionError(f"{what}: expected a pair such as (0.9, 0.999), got {value!r}")
    return decay(f"{what}[0]", value[0]), decay(f"{what}[1]", value[1])


def flag(what: str, value: Any) -> bool:
    """True or False; 1 and 0 are refused."""
    if isinstance(value, bool):
        return value
    raise OptionError(f"{what}: expected True or False, got {value!r}")


def count(what: str, value: Any) -> int:
    """An integer, at least 1."""
    if isinstance(value, Integral) and int(value) >= 1:
        return int(value)
    raise OptionError(f"{what}: expected an integer >= 1, got {value!r}")


def _number(value: Any) -> float:
    """`value` as a float. What is not a number becomes NaN, which lies in no range."""
    return float(value) if isinstance(value, Real) else nan
