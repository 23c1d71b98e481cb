"""Dataclasses that come out of JSON, where any field may be anything."""

from __future__ import annotations

from typing import Any, get_origin, get_type_hints


def check_types(instance: Any) -> None:
    """TypeError unless the fields of a dataclass are of the types they are declared with, not looking inside them."""
    for name, hint in get_type_hints(type(instance)).items():
        value, kind = getattr(instance, name), get_origin(hint) or hint
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):  # a bool is an int, too
            raise TypeError(f"{name} must be of type {kind.__name__}, got {value!r}")
