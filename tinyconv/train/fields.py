"""Check dataclasses that are made from JSON, where a field may have any type."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_types(instance: Any) -> None:
    """Check that each field of a dataclass has its declared type; types inside containers are not checked.

    Raises TypeError for another type, and ValueError for a value that is not one of its Literal.
    """
    for name, hint in get_type_hints(type(instance)).items():
        value, kind = getattr(instance, name), get_origin(hint) or hint
        if kind is Literal:
            if value not in get_args(hint):
                raise ValueError(f"{name} must be {' or '.join(map(repr, get_args(hint)))}, got {value!r}")
            continue
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):  # a bool is an int, too
            raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r}")
