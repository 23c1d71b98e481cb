"""The table of jobs: what a page may ask of the studio, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from tinyconv.errors import TinyconvError, listed, printable, shortened

WHOLE = 2**53
"""Up to this the numbers of a page hold all whole numbers."""
Function = TypeVar("Function", bound=Callable[..., Any])


class JobError(TinyconvError, ValueError):
    """A page asked for something that cannot be done as things stand; the text says what to do."""


@dataclass(frozen=True)
class Job:
    """A function of the studio and of what the page sends. What it returns goes to the page: JSON and arrays."""

    name: str  # "look.layers"
    function: Callable[..., Any]
    writes: bool  # it changes the model or its training: only the tab that came first may ask for it
    newest: bool  # of several that wait from one tab, the last alone is done

    def check(self, arguments: dict[str, Any]) -> None:
        """JobError unless these are arguments of the function, each of the type that it is annotated with."""
        try:
            signature(self.function).bind(None, **arguments)
        except TypeError as error:
            raise JobError(f"{self.name}: {printable(str(error))}") from None
        hints = get_type_hints(self.function)
        for name, value in arguments.items():
            if not _fits(value, hints[name]):
                asked = signature(self.function).parameters[name].annotation
                raise JobError(f"{self.name}: {name} must be of type {asked}, got {_told(value)}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a page is of the type that a hint says: of those that JSON and arrays have."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is np.ndarray:
        return isinstance(value, np.ndarray) and (not inner or value.dtype in get_args(inner[1]))
    if kind in (list, dict):
        parts = [*value.values()] if isinstance(value, dict) else value
        return isinstance(value, kind) and (not inner or all(_fits(part, inner[-1]) for part in parts))
    if kind is int:
        return type(value) is int and abs(value) <= WHOLE
    if kind is float:
        return type(value) is float or _fits(value, int)
    return kind is Any or isinstance(value, NoneType if kind is None else kind)


def _told(value: Any) -> str:
    return f"an array {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else shortened(value)


JOBS: dict[str, Job] = {}


def job(name: str, *, writes: bool = False, newest: bool = False) -> Callable[[Function], Function]:
    """Enter a function into the table.

    @job("draw.maps", newest=True)
    def maps(studio, pixels): ...

    Args:
        name: PAGE.VERB.
        writes: Whether it changes the model or its training.
        newest: Whether one that waits is forgotten when the same tab asks again.
    """

    def enter(function: Function) -> Function:
        JOBS[name] = Job(name, function, writes, newest)
        return function

    return enter


def find(name: Any) -> Job:
    """The job of that name. Raises JobError, with the names that there are."""
    found = JOBS.get(name) if isinstance(name, str) else None
    if found is None:
        raise JobError(f"there is no job {shortened(name)}; there are {listed(sorted(JOBS))}")
    return found
