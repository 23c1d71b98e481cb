"""capture: a training step whose Python runs three times, and which the GPU then replays alone.

A small net on a large GPU waits for Python: a kernel takes some microseconds to run, and longer to launch. A CUDA graph
is the list of a step's kernels with their arguments, launched all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from tinyconv.arrays.backend import Array, backend_for, captured_step, device_name
from tinyconv.errors import CaptureError, TinyconvError
from tinyconv.shapes import product
from tinyconv.tensor.tensor import Tensor, wrap

Args = ParamSpec("Args")
Result = TypeVar("Result")

SMALL = 1 << 16
"""Bytes of the one transfer in which the small arrays that a step takes from the host go to the device."""
ALIGNED = 256
"""Bytes: the parts of that transfer begin at multiples of this."""


def capture(step: Callable[Args, Result], device: str | None = None) -> Callable[Args, Result]:
    """Record `step` into a CUDA graph at its third call, and replay the graph from then on.

    A step that is not on a GPU is called every time, with the same results.

        @tc.capture
        def train_step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss

    A replay runs the kernels that the recorded call ran, on the same memory. It repeats none of the step's Python,
    except what this library does on the host at every step: it draws random numbers, counts the optimiser's steps and
    moves the schedule. Therefore

    - give tensors that change as arguments, with the same shapes each time; other arguments must not change;
    - keep the other tensors that the step uses: write into them, `x[...] = value`, and do not replace them;
    - the tensors that the step returns are copies, which you may keep; the next call overwrites each `grad`;
    - a print, a counter or an `if` in the step runs at the first three calls only.

    Args:
        step: A function. Its arguments and its result may hold tensors in nested tuples, lists and dicts.
        device: Where the step runs; unless given, where the tensors are that its first call takes or returns.

    Returns a function that is called like `step`. It raises CaptureError, with the reason, where the step reads a value
    from the device (`loss.item()`, `if loss > 1`, printing a tensor), copies data from the host to it, needs a kernel
    that cannot be captured, takes an argument that requires grad, or is called with other shapes. A call that could not
    be recorded has changed no tensor, but the optimiser and the schedule have counted it.
    """
    return update_wrapper(_Captured(step, device), step)


class _Captured(Generic[Args, Result]):
    """What `capture` returns.

    The first call finds the device. The second runs on the stream and in the memory of the graph, so that the third,
    which is recorded, finds its kernels compiled and its memory allocated.
    """

    def __init__(self, step: Callable[Args, Result], device: str | None) -> None:
        self.step = step
        self.device = None if device is None else device_name(device)
        self.graph: _Graph | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"graph": None}  # a copy records its own

    def __call__(self, *args: Args.args, **options: Args.kwargs) -> Result:
        if captured_step.get() is not None:  # this call is part of another captured step
            return self.step(*args, **options)
        if self.graph is not None:
            return self.graph(args, options)
        result = self.step(*args, **options)
        found = (tensor.device for tensor in tensors_in((args, options, result)))
        device = self.device or next(found, "cpu")
        if device.startswith("cuda"):
            self.graph = _Graph(self.step, device)
        return result

    def __repr__(self) -> str:
        return f"capture({getattr(self.step, '__qualname__', self.step)})"


class _Graph:
    """A step's CUDA graph, with its stream, the memory of its arrays, and the tensors that it takes and returns."""

    def __init__(self, step: Callable[..., Any], device: str) -> None:
        self.step = step
        self.cupy: Any = backend_for(device).xp
        self.place = self.cupy.cuda.Device(int(device.partition(":")[2]))
        with self.place:
            self.stream = self.cupy.cuda.Stream(non_blocking=True)
            self.asked, self.done = (self.cupy.cuda.Event(disable_timing=True) for _ in range(2))
            # Nobody else may get this memory: a replay writes where the recorded call did, long after the arrays of
            # that call are gone.
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
                for fixed, given in zip(tensors_in(self.taken), tensors_in((args, options)), strict=True):
                    fixed.array[...] = given.array
                self.recorder.renew()
            self.recorder.send()
            self.graph.launch(self.stream)
            return mapped(self.result, lambda tensor: wrap(tensor.array.copy()))

    @contextmanager
    def _in_order(self) -> Iterator[None]:
        """Run the block's work on the stream, after the caller's work so far and before its next."""
        with self.place:
            callers = self.cupy.cuda.get_current_stream()
            self.stream.wait_event(callers.record(self.asked))
            try:
                with self.stream:
                    yield
            finally:
                callers.wait_event(self.stream.record(self.done))

    def _capture(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Record the step, on copies of its arguments. None of its kernels runs."""
        for tensor in tensors_in((args, options)):
            if tensor.requires_grad:
                raise CaptureError(
                    f"capture: an argument of shape {tensor.shape} requires grad; give the step data, x.detach(), and "
                    "let it find parameters where they are"
                )
        with self.cupy.cuda.using_allocator(self.pool.malloc):
            self.taken = mapped((args, options), lambda tensor: wrap(tensor.array.copy()))
            self.recorder = Recorder(self.cupy)
            try:
                self.stream.begin_capture()
                captured_step.set(self.recorder)
                result = self.step(*self.taken[0], **self.taken[1])
                self.result = mapped(result, lambda tensor: wrap(tensor.array))
                self.graph = self.stream.end_capture()
            except BaseException as error:
                self._give_up()
                if isinstance(error, TinyconvError) or not isinstance(error, Exception):
                    raise
                raise CaptureError(
                    f"capture: the step does something that cannot be recorded: {type(error).__name__}: {error}"
                ) from error
            finally:
                captured_step.set(None)

    def _give_up(self) -> None:
        # CUDA may have ended the capture already and raise an error here; the error on its way says more.
        with suppress(Exception):
            self.stream.end_capture()


class Recorder:
    """What a captured step takes from the host: functions that make it anew, and where it goes on the device."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.actions: list[Callable[[], None]] = []
        self.small = np.zeros(SMALL, np.uint8), xp.empty(SMALL, np.uint8)
        self.used = 0
        self.large: list[tuple[Any, Any]] = []

    def each_step(self, function: Callable[[], None]) -> None:
        """Call `function` before each replay."""
        self.actions.append(function)

    def staged(self, xp: Any, values: Callable[[], Any]) -> Array:
        """The array `values()` on the device, made anew before each replay. CaptureError if its shape changes."""
        first = np.asarray(values())
        host, device = self._room(first.shape, first.dtype)
        host[...] = first

        def again() -> None:
            new = np.asarray(values())
            if new.shape != host.shape:
                raise CaptureError(
                    f"capture: the step was recorded with an array of {host.shape} from the host, and now takes one of "
                    f"{new.shape}; shapes cannot change: is this the last batch, a smaller one? drop_last=True"
                )
            host[...] = new

        self.actions.append(again)
        return device

    def renew(self) -> None:
        """Make everything anew, in the order of the step."""
        for action in self.actions:
            action()

    def send(self) -> None:
        """Copy what was made anew to the device."""
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


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same nested value, with `function(tensor)` in the place of each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(part, function) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [mapped(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _check_alike(recorded: Any, given: Any) -> None:
    """Raise CaptureError unless the arguments are those that were recorded; only values in tensors may differ."""
    before, now = mapped(recorded, _outline), mapped(given, _outline)
    if before != now:
        raise CaptureError(
            f"capture: the step was recorded with {_written(before)} and is called with {_written(now)}; shapes and "
            "other arguments cannot change: for the last batch, a smaller one, drop_last=True, or call the step itself"
        )


class _Outline(str):
    """The dtype, shape and device of a tensor, as a text that a message shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _outline(tensor: Tensor) -> Any:
    return _Outline(f"{tensor.dtype} {tensor.shape} on {tensor.device}")


def _written(call: Any) -> str:
    args, options = call
    words = [*map(repr, args), *(f"{name}={value!r}" for name, value in options.items())]
    return ", ".join(words) or "nothing"
