"""What applies to the operations that run now: are they recorded, by which variants, who watches, in which layer.

One context variable holds it all, so that an operation reads one: it is a third of what a small one may cost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import Context, ContextVar
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import local
from typing import Any, NamedTuple

import numpy as np

from tinyconv.errors import TinyconvError


class Layer(NamedTuple):
    """A module whose `forward` is running, and the one that called it."""

    module: Any
    caller: Layer | None

    @property
    def root(self) -> Any:
        """The module that was called first: most often the model."""
        layer = self
        while layer.caller is not None:
            layer = layer.caller
        return layer.module

    @property
    def path(self) -> str:
        """`features.0`: the names under which each caller holds the next; empty for the first module itself."""
        parts, layer = [], self
        while layer.caller is not None:
            held = (name for name, module in layer.caller.module.named_modules() if module is layer.module)
            parts.append(next(held, "") or type(layer.module).__name__)  # what its caller does not hold has no name
            layer = layer.caller
        return ".".join(reversed(parts))

    def sign(self, error: TinyconvError) -> None:
        """Put the path of this layer into an error that came from it, unless a layer further in has."""
        if not error.kind:
            error.layer = self.path
            error.kind = repr(self.module) if not list(self.module.children()) else type(self.module).__name__


class Mode:
    """The mode of a thread, or of a task; never changed, only replaced."""

    __slots__ = ("layer", "profiler", "quiet", "recorder", "recording", "variants", "watcher")

    def __init__(
        self,
        recording: bool = True,
        quiet: bool = False,
        variants: dict[str, str] | None = None,
        watcher: Any = None,
        layer: Layer | None = None,
        profiler: Any = None,
        recorder: Any = None,
    ) -> None:
        self.recording = recording
        self.quiet = quiet  # inside the forward of an op: NumPy does not warn there
        self.variants = variants  # the variant chosen for an op, by name
        self.watcher = watcher  # sees what every op made (`detect_anomaly`), or None
        self.layer = layer
        self.profiler = profiler  # times what every op runs (`profile`), or None
        self.recorder = recorder  # of the step that is being captured (`capture`), or None

    def inside(self, layer: Layer) -> Mode:
        """This mode in the forward of a layer. Written out: every call of one comes here."""
        return Mode(self.recording, self.quiet, self.variants, self.watcher, layer, self.profiler, self.recorder)

    def but(self, **changes: Any) -> Mode:
        """This mode with some of it changed."""
        return Mode(**{name: changes.get(name, getattr(self, name)) for name in self.__slots__})


mode: ContextVar[Mode] = ContextVar("tinyconv_mode", default=Mode())  # noqa: B039


class Change(ContextDecorator):
    """A `with` block, or a decorated function, in which the mode is another; what was before comes back after."""

    def __init__(self) -> None:
        self._entered = local()  # the modes before, a stack: the same object may be entered again inside itself

    def changed(self, now: Mode) -> Mode:
        raise NotImplementedError

    def __enter__(self) -> Any:
        now = mode.get()
        self._entered.__dict__.setdefault("before", []).append(now)
        mode.set(self.changed(now))

    def __exit__(self, *error: Any) -> None:
        mode.set(self._entered.before.pop())  # not by a token: a generator may be closed in another context

    def _recreate_cm(self) -> Any:  # each call of a decorated function enters an object of its own
        return type(self)()

    def __call__(self, function: Any) -> Any:
        # Calling one of these runs none of its body.
        if isgeneratorfunction(function) or iscoroutinefunction(function) or isasyncgenfunction(function):
            kind = "a generator" if isgeneratorfunction(function) else "an async function"
            raise TypeError(f"{type(self).__name__}: {function.__name__} is {kind}; use `with` inside it")
        return super().__call__(function)


class no_grad(Change):
    """Nothing is recorded inside: no memory is kept for a backward pass."""

    def changed(self, now: Mode) -> Mode:
        return now.but(recording=False)


class enable_grad(Change):
    """Operations are recorded inside, also within `no_grad`."""

    def changed(self, now: Mode) -> Mode:
        return now.but(recording=True)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return mode.get().recording


class _Quiet(local):
    """A context, one a thread, in which NumPy does not warn of infinities and NaN: they propagate, as in torch.

    NumPy keeps that setting in a context variable. Entering a prepared context costs 0.1 us where `np.errstate` costs
    1, a third of what a small op may cost. Inside an op there are arrays, and what it does is its own business: nothing
    is recorded.
    """

    def __init__(self) -> None:
        self.context = Context()
        self.context.run(np.seterr, all="ignore")
        self.context.run(mode.set, Mode(recording=False, quiet=True))


quiet = _Quiet()


def quietly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The function, in that context; inside the forward of another op we are in it already."""
    if mode.get().quiet:
        return function(*args, **options)
    return quiet.context.run(function, *args, **options)
