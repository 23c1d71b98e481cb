"""The context of an operation: everything that decides how it runs, besides its arguments.

There is one object, `Context`, in one context variable, `context`, so each thread and each task has its own. `apply`
reads it once per operation. It is never changed, only replaced: by `no_grad` and `enable_grad` (`recording`), by
`using` (`variants`), by `detect_anomaly` (`observer`), by `profile` (`profiler`) and by each call of a module
(`layer`). `plain` is worked out when the object is made: where it is true, `apply` asks nothing else.

Two more context variables exist and `apply` does not read them: the default device and the step that is being captured,
both in `arrays.backend`.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import ContextDecorator
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import local
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinyconv.arrays.setting import Setting
from tinyconv.errors import TinyconvError

Function = TypeVar("Function", bound=Callable[..., Any])


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
            parts.append(next(held, "") or type(layer.module).__name__)  # a module that its caller does not hold
            layer = layer.caller
        return ".".join(reversed(parts))

    def sign(self, error: TinyconvError) -> None:
        """Put the path of this layer into an error that came from it, unless an inner layer already has."""
        if not error.kind:
            error.layer = self.path
            error.kind = repr(self.module) if not list(self.module.children()) else type(self.module).__name__


class Context:
    """How operations run in this thread or task. Replaced by `but` and `inside`, never changed."""

    __slots__ = ("layer", "observer", "plain", "profiler", "quiet", "recording", "variants")

    def __init__(
        self,
        recording: bool = True,
        quiet: bool = False,
        variants: dict[str, str] | None = None,
        observer: Any = None,
        layer: Layer | None = None,
        profiler: Any = None,
    ) -> None:
        self.recording = recording  # whether operations go on the tape
        self.quiet = quiet  # inside the forward of an op: NumPy gives no warnings there
        self.variants = variants  # op name -> the variant chosen for it (`using`)
        self.observer = observer  # is told what every op made (`detect_anomaly`)
        self.layer = layer  # the module that is running
        self.profiler = profiler  # times every op (`profile`)
        self.plain = variants is None and observer is None and profiler is None

    def inside(self, layer: Layer) -> Context:
        """This context within the forward of a layer. Written out, because every call of a layer comes here."""
        return Context(self.recording, self.quiet, self.variants, self.observer, layer, self.profiler)

    def but(self, **changes: Any) -> Context:
        """This context with some of its parts replaced."""
        parts = ("recording", "quiet", "variants", "observer", "layer", "profiler")
        return Context(**{name: changes.get(name, getattr(self, name)) for name in parts})


context: contextvars.ContextVar[Context] = contextvars.ContextVar("tinyconv_context", default=Context())  # noqa: B039


class Change(Setting, ContextDecorator):
    """A `with` block, or a decorated function, that runs in another context; the one before comes back after it."""

    variable = context

    def changed(self, now: Context) -> Context:
        """The context inside, given the one outside."""
        raise NotImplementedError

    def __call__(self, function: Function) -> Function:
        # Calling a generator or an async function runs none of its body, so the block would be over before it begins.
        if isgeneratorfunction(function) or iscoroutinefunction(function) or isasyncgenfunction(function):
            kind = "a generator" if isgeneratorfunction(function) else "an async function"
            raise TypeError(f"{type(self).__name__}: {function.__name__} is {kind}; use `with` inside it")
        decorated: Function = super().__call__(function)
        return decorated


class no_grad(Change):
    """Record nothing inside this `with` block or decorated function: no memory is kept for a backward pass.

        with tc.no_grad():
            accuracy = (model(x).argmax(1) == y).float().mean()

    Raises TypeError where it decorates a generator or an async function. Like `torch.no_grad`.
    """

    def changed(self, now: Context) -> Context:
        return now.but(recording=False)


class enable_grad(Change):
    """Record inside this `with` block or decorated function, also within `no_grad`.

        with tc.no_grad(), tc.enable_grad():
            loss = model(x).sum()  # is recorded

    Raises TypeError where it decorates a generator or an async function. Like `torch.enable_grad`.
    """

    def changed(self, now: Context) -> Context:
        return now.but(recording=True)


def is_grad_enabled() -> bool:
    """Whether operations are recorded here: a bool. Like `torch.is_grad_enabled`."""
    return context.get().recording


class _Quiet(local):
    """A context, one per thread, in which NumPy gives no warnings of infinities and NaN: they propagate, as in torch.

    NumPy keeps that setting in a context variable. Entering a prepared context costs 0.1 us where `np.errstate` costs
    1 us, a third of what a small op may cost. An op works on arrays, so nothing is recorded inside it.
    """

    def __init__(self) -> None:
        self.context = contextvars.Context()
        self.context.run(np.seterr, all="ignore")
        self.context.run(context.set, Context(recording=False, quiet=True))


quiet = _Quiet()


def quietly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call the function where NumPy gives no warnings. Inside the forward of an op that is so already."""
    if context.get().quiet:
        return function(*args, **options)
    return quiet.context.run(function, *args, **options)
