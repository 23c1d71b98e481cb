"""`tinyconv.fx`: a model is not traced into symbols here. `tc.inspect` shows what a model computes."""

from __future__ import annotations

from typing import TypeVar

from tinyconv.errors import suggest_names

__all__ = ["wrap"]
Anything = TypeVar("Anything")


def wrap(fn_or_name: Anything) -> Anything:
    """The function, or its name, as it is: what is not to be traced."""
    return fn_or_name


suggest_names(globals())
