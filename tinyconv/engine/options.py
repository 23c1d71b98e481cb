"""Numbers that callers give, as options, sizes and operands: each comes back as Python's own bool, int or float.

The type matters as much as the range: a NumPy scalar or a 0-d array would turn a float32 result into float64, and a
checkpoint that holds one is no plain data; a Python number does neither. The checks take a name for messages and a
value, and raise OptionError.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import inf, nan
from numbers import Integral, Real
from operator import index
from typing import Any

from tinyconv.errors import OptionError, shortened


def number(value: Any) -> bool | int | float | None:
    """`value` as a Python number: a NumPy scalar, a 0-d array or tensor, a Fraction and a Decimal are numbers too.

    None for anything else: a string, a complex number, a tensor that requires grad, whose gradient would be lost.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None:
        if kind not in _PYTHON or value.ndim or getattr(value, "requires_grad", False):
            return None
        found: bool | int | float = _PYTHON[kind](value)
        return found
    if isinstance(value, bool | int | float):
        return value
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real | Decimal) else None


_PYTHON: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}


def plain(value: Any) -> Any:
    """A number as Python's own, anything else as it is."""
    found = number(value)
    return value if found is None else found


def real(what: str, value: Any) -> float:
    """Any number, infinities and NaN among them."""
    if type(value) is float:  # how options nearly always come, and some functions ask at each call
        return value
    found = number(value)
    if found is None:
        raise OptionError(f"{what}: expected a number, got {shortened(value)}")
    return found


def finite(what: str, value: Any) -> float:
    """A finite number."""
    found = number(value)
    if found is not None and -inf < found < inf:
        return found
    raise OptionError(f"{what}: expected a finite number, got {shortened(value)}")


def non_negative(what: str, value: Any) -> float:
    """A finite number, at least 0."""
    found = value if type(value) is float else _float(value)
    if 0 <= found < inf:
        return found
    raise OptionError(f"{what}: expected a finite number >= 0, got {shortened(value)}")


def positive(what: str, value: Any) -> float:
    """A finite number above 0."""
    found = _float(value)
    if 0 < found < inf:
        return found
    raise OptionError(f"{what}: expected a finite number > 0, got {shortened(value)}")


def fraction(what: str, value: Any) -> float:
    """A number in [0, 1]."""
    found = value if type(value) is float else _float(value)
    if 0 <= found <= 1:
        return found
    raise OptionError(f"{what}: expected a number from 0 to 1, got {shortened(value)}")


def decay(what: str, value: Any) -> float:
    """How much of a running mean is kept at each step: a number in [0, 1), since at 1 the mean would never move."""
    found = _float(value)
    if 0 <= found < 1:
        return found
    raise OptionError(f"{what}: expected a number in [0, 1), got {shortened(value)}")


def two_decays(what: str, value: Any) -> tuple[float, float]:
    """The pair (beta1, beta2), each in [0, 1)."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise OptionError(f"{what}: expected a pair such as (0.9, 0.999), got {shortened(value)}")
    return decay(f"{what}[0]", value[0]), decay(f"{what}[1]", value[1])


def flag(what: str, value: Any) -> bool:
    """True or False; 1 and 0 are refused."""
    found = number(value)
    if isinstance(found, bool):
        return found
    raise OptionError(f"{what}: expected True or False, got {shortened(value)}")


def integer(what: str, value: Any, minimum: int | None = None) -> int:
    """An integer, at least `minimum`; 3.0 is none."""
    try:
        found = index(value)
    except TypeError:
        found = None
    if found is not None and (minimum is None or found >= minimum):
        return found
    least = "" if minimum is None else f" >= {minimum}"
    raise OptionError(f"{what}: expected an integer{least}, got {shortened(value)}")


def count(what: str, value: Any) -> int:
    """An integer, at least 1."""
    return integer(what, value, 1)


def _float(value: Any) -> float:
    """`value` as a float. What is not a number, or too large for a float, becomes NaN, which lies in no range."""
    try:
        found = number(value)
        return nan if found is None else float(found)
    except OverflowError:
        return nan
