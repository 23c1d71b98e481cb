"""A captured step on a GPU: a CUDA graph, the list of a step's kernels with their arguments, launched all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_for, captured_step
from tinyconv.engine.each_step import CapturedStep
from tinyconv.errors import CaptureError, TinyconvError
from tinyconv.program.arguments import check_alike, mapped, refusal_of, tensors_in
from tinyconv.shapes import product
from tinyconv.tensor.tensor import wrap

SMALL = 1 << 16
"""Bytes of the one transfer in which the small arrays that a step takes from the host go to the device."""
ALIGNED = 256
"""Bytes: the parts of that transfer begin at multiples of this."""


class Graph:
    """A step's CUDA graph, with its stream, the memory of its arrays, and the tensors that it takes and returns."""

    def __init__(self, step: Callable[..., Any], device: str) -> None:
        self.step, self.device = step, device
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
                check_alike(self.taken, (args, options))
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
        if refusal := refusal_of(list(tensors_in((args, options)))):
            raise CaptureError(refusal)
        with self.cupy.cuda.using_allocator(self.pool.malloc):
            self.taken = mapped((args, options), lambda tensor: wrap(tensor.array.copy()))
            self.recorder = GraphRecorder(self.cupy)
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


class GraphRecorder(CapturedStep):
    """What a captured step takes from the host: functions that make it anew, and where it goes on the device."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.actions: list[Callable[[], None]] = []
        self.small = np.zeros(SMALL, np.uint8), xp.empty(SMALL, np.uint8)
        self.used = 0
        self.large: list[tuple[Any, Any]] = []

    def refuse(self, message: str) -> None:
        raise CaptureError(message)

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
