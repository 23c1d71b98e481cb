"""capture: a training step that runs its Python once and is then replayed by the GPU alone.

A small net on a large GPU waits for Python: each of its kernels runs for some microseconds and takes longer to launch.
A CUDA graph is the list of a step's kernels with their arguments, launched at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_for, captured_step, device_name
from tinyconv.errors import CaptureError, TinyconvError
from tinyconv.shapes import product
from tinyconv.tensor.tensor import Tensor, wrap

SMALL = 1 << 16
"""Bytes: what a step takes from the host up to this size goes over in one transfer."""
ALIGNED = 256
"""Bytes: where the parts of that transfer may begin."""


def capture(step: Callable[..., Any], device: str | None = None) -> Callable[..., Any]:
    """`step`, recorded into a CUDA graph at its third call and replayed from then on. What is not on a GPU is called as
    it is, every time, with the same results.

        @tc.capture
        def train_step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss

    A replay runs the kernels that the step ran, on the memory they ran on, and of its Python only what this library
    does on the host for every step: draw random numbers, count the optimiser's steps, move its schedule. Therefore

    - tensors that change are arguments, of the same shapes each time; other arguments never change;
    - what the step finds elsewhere stays the same tensor: write to it, `x[...] = value`, rather than replace it;
    - what it returns is a copy, the caller's to keep; each `grad` is overwritten by the next call;
    - a print, a counter or an `if` in it runs at the first three calls only.

    `device` says where the step runs; unless given, where the tensors are that it takes or returns.

    CaptureError says why not, where the step reads a value of the device on the host (`loss.item()`, `if loss > 1`, a
    tensor printed), brings values of its own from there, needs a kernel that cannot be captured, or is called with
    other shapes. The call that could not be captured has changed no tensor, but is counted by optimiser and schedule.
    """
    return update_wrapper(_Captured(step, device), step)


class _Captured:
    """What `capture` returns: the first call finds the device, the second is the first on the stream and in the memory
    of the graph, so that the third, which records it, finds kernels compiled and memory at hand."""

    def __init__(self, step: Callable[..., Any], device: str | None) -> None:
        self.step = step
        self.device = None if device is None else device_name(device)
        self.graph: _Graph | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        if captured_step.get() is not None:  # inside another captured step, and a part of it
            return self.step(*args, **options)
        if self.graph is not None:
            return self.graph(args, options)
        result = self.step(*args, **options)
        found = (tensor.device for tensor in _tensors((args, options, result)))
        device = self.device or next(found, "cpu")
        if device.startswith("cuda"):
            self.graph = _Graph(self.step, device)
        return result

    def __repr__(self) -> str:
        return f"capture({getattr(self.step, '__qualname__', self.step)})"


class _Graph:
    """A step's CUDA graph, with the stream it runs on, the memory its arrays are in, and what it takes and returns."""

    def __init__(self, step: Callable[..., Any], device: str) -> None:
        self.step = step
        self.cupy: Any = backend_for(device).xp
        self.place = self.cupy.cuda.Device(int(device.partition(":")[2]))
        with self.place:
            self.stream = self.cupy.cuda.Stream(non_blocking=True)
            self.asked, self.done = (self.cupy.cuda.Event(disable_timing=True) for _ in range(2))
            # Memory that nobody else is given: a replay writes to where the captured call did, long after the arrays
            # of that call are gone.
            self.pool = self.cupy.cuda.MemoryPool()
        self.warm = False
        self.graph: Any = None

    def __call__(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with self._in_order():
            if not self.warm:
                with self.cupy.cuda.using_allocator(self.pool.malloc):
                    result = self.step(*args, **options)
                self.warm = True
                return result
            if self.graph is None:
                self._capture(args, options)
            else:
                _check_alike(self.taken, (args, options))
                for fixed, given in zip(_tensors(self.taken), _tensors((args, options)), strict=True):
                    fixed.array[...] = given.array
                self.recorder.renew()
            self.recorder.send()
            self.graph.launch(self.stream)
            return _mapped(self.result, lambda tensor: wrap(tensor.array.copy()))

    @contextmanager
    def _in_order(self) -> Iterator[None]:
        """What is done inside comes after what the caller has asked for, and before what it asks for next."""
        with self.place:
            callers = self.cupy.cuda.get_current_stream()
            self.stream.wait_event(callers.record(self.asked))
            try:
                with self.stream:
                    yield
            finally:
                callers.wait_event(self.stream.record(self.done))

    def _capture(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Record the step, of copies of its arguments; nothing of it is executed."""
        for tensor in _tensors((args, options)):
            if tensor.requires_grad:
                raise CaptureError(
                    f"capture: an argument of shape {tensor.shape} requires grad; give the step data, x.detach(), and "
                    "let it find parameters where they are"
                )
        with self.cupy.cuda.using_allocator(self.pool.malloc):
            self.taken = _mapped((args, options), lambda tensor: wrap(tensor.array.copy()))
            self.recorder = Recorder(self.cupy)
            self.stream.begin_capture()
            token = captured_step.set(self.recorder)
            try:
                result = self.step(*self.taken[0], **self.taken[1])
                self.result = _mapped(result, lambda tensor: wrap(tensor.array))
                self.graph = self.stream.end_capture()
            except TinyconvError:
                self._give_up()
                raise
            except Exception as error:
                self._give_up()
                raise CaptureError(
                    f"capture: the step does what cannot be recorded: {type(error).__name__}: {error}"
                ) from error
            finally:
                captured_step.reset(token)

    def _give_up(self) -> None:
        # CUDA may have ended the capture already, and says so; the error that is on its way says more.
        with suppress(Exception):
            self.stream.end_capture()


class Recorder:
    """What a captured step takes from the host: how to ask for it again, and where it goes on the device."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.actions: list[Callable[[], None]] = []
        self.small = np.zeros(SMALL, np.uint8), xp.empty(SMALL, np.uint8)
        self.used = 0
        self.large: list[tuple[Any, Any]] = []

    def each_step(self, function: Callable[[], None]) -> None:
        self.actions.append(function)

    def staged(self, xp: Any, values: Callable[[], Any]) -> Array:
        first = np.asarray(values())
        host, device = self._room(first.shape, first.dtype)
        host[...] = first

        def again() -> None:
            new = np.asarray(values())
            if new.shape != host.shape:
                raise CaptureError(
                    f"capture: the step was recorded with an array of {host.shape} from the host, and is now to take "
                    f"one of {new.shape}; shapes cannot change: is this the last batch, a smaller one? drop_last=True"
                )
            host[...] = new

        self.actions.append(again)
        return device

    def renew(self) -> None:
        """Ask for everything again, in the order of the step."""
        for action in self.actions:
            action()

    def send(self) -> None:
        """Copy it to the device."""
        if self.used:
            host, device = self.small
            device[: self.used].set(host[: self.used])
        for host, device in self.large:
            device.set(host)

    def _room(self, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Array]:
        """An array on the host, and its counterpart on the device."""
        size = product(shape) * dtype.itemsize
        if self.used + size > SMALL:
            self.large.append((np.empty(shape, dtype), self.xp.empty(shape, dtype)))
            return self.large[-1]
        start, stop = self.used, self.used + size
        self.used = -(-stop // ALIGNED) * ALIGNED
        host, device = (whole[start:stop].view(dtype).reshape(shape) for whole in self.small)
        return host, device


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with `function` of each tensor in its place."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_mapped(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _check_alike(recorded: Any, given: Any) -> None:
    """CaptureError unless the arguments are those that were recorded, but for the values of tensors."""
    before, now = _mapped(recorded, _outline), _mapped(given, _outline)
    if before != now:
        raise CaptureError(
            f"capture: the step was recorded with {_written(before)} and is called with {_written(now)}; shapes and "
            "other arguments cannot change: for the last batch, a smaller one, drop_last=True, or call the step itself"
        )


class _Outline(str):
    """A tensor in a message: it compares by what it says."""

    def __repr__(self) -> str:
        return str(self)


def _outline(tensor: Tensor) -> Any:
    return _Outline(f"{tensor.dtype} {tensor.shape} on {tensor.device}")


def _written(call: Any) -> str:
    args, options = call
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    return ", ".join(words) or "nothing"
