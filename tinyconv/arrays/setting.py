"""Setting: a `with` block in which a context variable has another value."""

from __future__ import annotations

from contextvars import ContextVar
from threading import local
from typing import Any, ClassVar, Self


class Setting:
    """A `with` block in which a context variable has another value; the one before comes back after it.

    An object may be entered again inside itself, and by several threads. A Ctrl-C changes nothing that lasts: between
    any two calls of a block's beginning and end the variable has a value that one of them will put right. (One instant
    is left, in which Python itself calls `__exit__`; no `with` statement is safe there.)
    """

    variable: ClassVar[ContextVar[Any]]

    def __init__(self) -> None:
        self._entered = local()  # the values before, as a stack

    def __reduce__(self) -> Any:  # a copy is not inside the blocks that this one is inside of
        return _anew, (type(self),), {name: value for name, value in vars(self).items() if name != "_entered"}

    def changed(self, now: Any) -> Any:
        """The value inside, given the one outside."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        now = self.variable.get()
        inside = self.changed(now)
        before = self._entered.__dict__.setdefault("before", [])
        try:
            before.append(now)
            self.variable.set(inside)
            return self
        except BaseException:  # a Ctrl-C: what was not entered will not be left
            Setting.__exit__(self)
            raise

    def __exit__(self, *error: object) -> None:
        before = self._entered.before  # no call, in which a Ctrl-C could come
        try:
            self.variable.set(before[-1])  # not by a token: a generator may be closed in another context
        finally:
            before.pop()


def _anew(kind: type[Setting]) -> Setting:
    setting = object.__new__(kind)
    Setting.__init__(setting)
    return setting
