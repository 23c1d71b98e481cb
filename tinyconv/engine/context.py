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
from collections.abc import Callable, Generator
from contextlib import ContextDecorator
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import local
from typing import Any, NamedTuple, Self, TypeVar, cast, overload

import numpy as np

from tinyconv.arrays.setting import Setting
from tinyconv.engine.options import flag
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

    __slots__ = ("inference", "layer", "observer", "plain", "profiler", "quiet", "recording", "variants")

    def __init__(
        self,
        recording: bool = True,
        quiet: bool = False,
        variants: dict[str, str] | None = None,
        observer: Any = None,
        layer: Layer | None = None,
        profiler: Any = None,
        inference: bool = False,
    ) -> None:
        self.recording = recording  # whether operations go on the tape
        self.quiet = quiet  # inside the forward of an op: NumPy gives no warnings there
        self.variants = variants  # op name -> the variant chosen for it (`using`)
        self.observer = observer  # is told what every op made (`detect_anomaly`)
        self.layer = layer  # the module that is running
        self.profiler = profiler  # times every op (`profile`)
        self.inference = inference  # whether `enable_grad` has no say (`inference_mode`)
        self.plain = variants is None and observer is None and profiler is None

    def inside(self, layer: Layer) -> Context:
        """This context within the forward of a layer. Written out, because every call of a layer comes here."""
        return Context(self.recording, self.quiet, self.variants, self.observer, layer, self.profiler, self.inference)

    def but(self, **changes: Any) -> Context:
        """This context with some of its parts replaced."""
        parts = ("recording", "quiet", "variants", "observer", "layer", "profiler", "inference")
        return Context(**{name: changes.get(name, getattr(self, name)) for name in parts})


context: contextvars.ContextVar[Context] = contextvars.ContextVar("tinyconv_context", default=Context())  # noqa: B039


class Change(Setting, ContextDecorator):
    """A `with` block, or a decorated function, that runs in another context; the one before comes back after it."""

    variable = context

    def changed(self, now: Context) -> Context:
        """The context inside, given the one outside."""
        raise NotImplementedError

    def __call__(self, function: Function) -> Function:
        # Calling an async function or a generator runs none of its body, so the block would be over before it begins.
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            name = type(self).__name__
            raise TypeError(f"{name}: {function.__name__} is an async function; use `with` inside it")
        decorated: Any = self._at_each_turn(function) if isgeneratorfunction(function) else super().__call__(function)
        return cast(Function, decorated)

    def _at_each_turn(self, function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
        """The generator function, in the block whenever it runs, and outside of it where it waits."""

        @wraps(function)
        def turns(*args: Any, **options: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **options)
            resume: Callable[[], Any] = partial(next, generator)
            try:
                while True:
                    with self:
                        item = resume()
                    try:
                        resume = partial(generator.send, (yield item))
                    except GeneratorExit:
                        with self:
                            generator.close()
                        raise
                    except BaseException as error:
                        resume = partial(generator.throw, error)
            except StopIteration as end:
                return end.value

        return turns


class Bare(Change):
    """A block that decorates without brackets too: `@tc.no_grad`."""

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: Function) -> Function: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        """The block; or, given a function, that function in one."""
        block = super().__new__(cls)
        if not callable(function):
            return block
        block.__init__()  # type: ignore[misc]
        return block(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()


class no_grad(Bare):
    """Record nothing inside this `with` block or decorated function: no memory is kept for a backward pass.

        with tc.no_grad():
            accuracy = (model(x).argmax(1) == y).float().mean()

    It decorates generators too, and without brackets, `@tc.no_grad`. Raises TypeError where it decorates an async
    function. Like `torch.no_grad`.
    """

    def changed(self, now: Context) -> Context:
        return now.but(recording=False)


class enable_grad(Bare):
    """Record inside this `with` block or decorated function, also within `no_grad`, though not in `inference_mode`.

        with tc.no_grad(), tc.enable_grad():
            loss = model(x).sum()  # is recorded

    Raises TypeError where it decorates an async function. Like `torch.enable_grad`.
    """

    def changed(self, now: Context) -> Context:
        return now.but(recording=not now.inference)


class set_grad_enabled(Change):
    """Record or not from here on, as `mode` says: called, until it is called again; as a `with` block, inside it.

        with tc.set_grad_enabled(phase == "train"):
            loss = loss_function(model(x), y)

    A call in the forward of a layer holds until that returns. Raises OptionError unless `mode` is True or False, and
    TypeError where it decorates an async function. Like `torch.set_grad_enabled`.

    Args:
        mode: Whether operations are recorded.
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = flag("set_grad_enabled: mode", mode)
        now = context.get()
        self._before = now.recording
        context.set(self.changed(now))

    def changed(self, now: Context) -> Context:
        return now.but(recording=self.mode and not now.inference)

    def __enter__(self) -> Self:
        context.set(context.get().but(recording=self._before))  # which comes back after the block
        return super().__enter__()

    def __call__(self, function: Function) -> Function:
        context.set(context.get().but(recording=self._before))
        return super().__call__(function)


class inference_mode(Bare):
    """`no_grad`, in which `enable_grad` has no say. Like `torch.inference_mode`.

    What is made inside is a tensor as any other: unlike PyTorch's, it may be used where operations are recorded. Raises
    TypeError where it decorates an async function.

    Args:
        mode: False for a block that records, also inside of one that does not.
    """

    def __new__(cls, mode: Any = True) -> Any:
        """The block; or, given a function, that function in one."""
        return super().__new__(cls, mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = flag("inference_mode: mode", mode)

    def changed(self, now: Context) -> Context:
        return now.but(recording=not self.mode, inference=self.mode)


def is_inference_mode_enabled() -> bool:
    """Whether this is inside of an `inference_mode` block: a bool. Like `torch.is_inference_mode_enabled`."""
    return context.get().inference


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
