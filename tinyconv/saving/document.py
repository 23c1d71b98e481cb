"""Reading JSON that somebody else may have written."""

from __future__ import annotations

import json
from typing import Any

# The errors that code raises when a damaged or foreign file gives it values of a wrong kind or size.
NONSENSE = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError, RecursionError)


def parsed(text: str | bytes) -> Any:
    """The document in a JSON text. Raises ValueError, too, where it nests beyond all depth or names a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has an object that names a key twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"it has {word} where a number should be")
