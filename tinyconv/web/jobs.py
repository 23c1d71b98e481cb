"""The table of jobs: what a page may ask of the studio, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

from tinyconv.errors import TinyconvError, listed, shortened

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
        """JobError unless these are arguments of the function."""
        try:
            signature(self.function).bind(None, **arguments)
        except TypeError as error:
            raise JobError(f"{self.name}: {error}") from None


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
