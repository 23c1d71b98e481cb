"""Check what is made from JSON, where a field may have any type."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tinyconv.errors import shortened


def check_fields(instance: Any, **ranges: tuple[float, float]) -> None:
    """Check that each field of a dataclass has its declared type, and its value is within its range, if it has one.

    What is in containers is not looked at. Raises TypeError for another type, and ValueError for a number that is not
    finite or out of range, and for a value that is not one of its Literal.
    """
    for name, hint in _hints(type(instance)).items():
        value, kind = getattr(instance, name), get_origin(hint) or hint
        if kind is Literal:
            if value not in get_args(hint):
                raise ValueError(f"{name} must be {' or '.join(map(repr, get_args(hint)))}, got {shortened(value)}")
            continue
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):  # a bool is an int, too
            raise TypeError(f"{name} must be of type {kind.__name__}, got {shortened(value)}")
        if kind is float and not (isinstance(value, int) or isfinite(value)):
            raise ValueError(f"{name} must be finite, got {value}")
        if name in ranges and not ranges[name][0] <= value <= ranges[name][1]:
            least, most = ranges[name]
            bound = f"least {least:,}" if value < least else f"most {most:,}"
            raise ValueError(f"{name} must be at {bound}, got {shortened(value)}")


_hints: Callable[[type], dict[str, Any]] = cache(get_type_hints)
