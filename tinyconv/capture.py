"""capture: a step whose Python runs two or three times, and which is then replayed without it.

A small net waits for Python: between two of its ops lie modules, checks and the tape, and on a GPU a kernel takes less
time to run than to launch. What a step did is written down, on the CPU as a program (`tinyconv.program`), on a GPU as a
CUDA graph.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import update_wrapper
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import RLock
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar
from weakref import WeakSet

import numpy as np

from tinyconv.arrays.backend import captured_step, device_name
from tinyconv.distributed.communicator import current
from tinyconv.engine import kernels
from tinyconv.engine.context import context
from tinyconv.engine.nodes import Gradient
from tinyconv.errors import CaptureError, shortened
from tinyconv.program.arguments import hidden_in, kind_of, mapped, outline_of, refusal_of, shown, tensors_in
from tinyconv.program.explain import described, html, text
from tinyconv.program.graph import Graph
from tinyconv.program.outside import Outside
from tinyconv.program.program import Program, check_alike
from tinyconv.program.record import Recorder
from tinyconv.tensor.tensor import wrap
from tinyconv.user_frame import warn

if TYPE_CHECKING:
    from tinyconv.program.compiled import CompiledRun
    from tinyconv.program.run import NumpyRun

Args = ParamSpec("Args")
Result = TypeVar("Result")

HOLE = wrap(np.empty(0, np.float32))
"""What stands for a tensor in the result of a recorded call, which nobody needs any more."""
KEPT = 4
"""Programs that a captured step keeps on the CPU, one for each kind of arguments: those that were used last."""


def capture(step: Callable[Args, Result], device: str | None = None) -> Captured[Args, Result]:
    """Record `step`, and replay it from then on: on the CPU as a program, on a GPU as a CUDA graph.

        @tc.capture
        def train_step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss

    On the CPU the first call runs the step as it is, the second records it, and all others replay that; on a GPU the
    third records it. A replay does what the recorded call did, on the same memory. It repeats none of the step's
    Python, except what this library does on the host at every step: it draws random numbers, counts the optimiser's
    steps and moves the schedule. Therefore

    - give tensors that change as arguments; other arguments must not change;
    - keep the other tensors that the step uses: write into them, `x[...] = value`, and do not replace them;
    - the tensors that the step returns are copies, which you may keep; the next call overwrites each `grad`;
    - a print, a counter or an `if` in the step runs at the first calls only.

    On a GPU shapes and other arguments must be the same at each call. On the CPU a call with others, such as the last
    batch, or with the model in another mode, gets a program of its own; the four used last are kept. Inside
    `detect_anomaly` and `profile` the step itself is called.

    Args:
        step: A function. Its arguments and its result may hold tensors in nested tuples, lists and dicts.
        device: Where the step runs; unless given, where the tensors are that its first call takes or returns.

    Returns a function that is called like `step`. It raises CaptureError, with the reason, where the step reads a value
    of a tensor (`loss.item()`, `if loss > 1`, printing a tensor), copies data from the host, takes an argument that
    requires grad, or does what cannot be recorded; on a GPU also where it needs a kernel that cannot be captured, and
    where it is called with other shapes. A call that could not be recorded has changed no tensor, unless it did, on the
    CPU, what the first call did not. Raises TypeError for what is no function, for a generator and for an async
    function.
    """
    if not callable(step):
        raise TypeError(f"capture: expected a function, got {shortened(step)}")
    if isgeneratorfunction(step) or iscoroutinefunction(step) or isasyncgenfunction(step):
        kind = "a generator" if isgeneratorfunction(step) else "an async function"
        raise TypeError(f"capture: {step.__name__} is {kind}, and calling it runs none of its body; capture a function")
    captured = Captured(step, device)
    update_wrapper(captured, step, updated=())
    return captured


class Captured(Generic[Args, Result]):
    """What `capture` returns."""

    def __init__(self, step: Callable[Args, Result], device: str | None = None, required: bool = True) -> None:
        self.step = step
        self.device = None if device is None else device_name(device)
        self.required = required  # else a step that no program can hold is called as it is
        self._forget()

    def _forget(self) -> None:
        self.graph: Graph | None = None
        self.entries: list[_Entry] = []  # the last one was used last
        self.lock = RLock()
        _ALL.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("graph", "entries", "lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()  # a copy records its own

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What a module holds under its name is that one, as a function is: the pickle names it."""
        found: Any = sys.modules.get(getattr(self, "__module__", ""))
        for name in (path := getattr(self, "__qualname__", "")).split("."):
            found = getattr(found, name, None)
        return path if found is self else super().__reduce_ex__(protocol)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As an attribute of a class it is a method; each object has programs of its own."""
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Args.args, **options: Args.kwargs) -> Result:
        if captured_step.get() is not None:  # this call is part of another captured step
            return self.step(*args, **options)
        if self.graph is not None:
            return self.graph(args, options)
        now = context.get()
        if now.observer is not None or now.profiler is not None:
            return self.step(*args, **options)
        with self.lock:  # replays share their arrays
            if not self.entries and _device_of(self.device, args, options).startswith("cuda"):
                result = self.step(*args, **options)
                self.graph = Graph(self.step, _device_of(self.device, args, options))
                return result
            return self._on_the_cpu(args, options)

    def rehearsals(self, *args: Args.args, **options: Args.kwargs) -> int:
        """How many calls like this one run the step itself before its program is replayed; 0 also where none will be.

        Eager calls and replays differ by rounding. Who wants every call to have the bits of a replay makes so many
        calls beforehand, and puts back what they have changed.
        """
        if self.graph is not None or _device_of(self.device, args, options).startswith("cuda"):
            return 0
        with self.lock:
            entry, _ = self._entry(args, options)
            return 0 if entry.run is not None or entry.refused else 2 - entry.calls

    def _on_the_cpu(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        entry, arrays = self._entry(args, options)
        if entry.run is not None:
            if entry.outside.same() and entry.finds_gradients():
                return entry.replay(arrays)
            entry.run = None
        if entry.refused:
            if self.required:
                raise CaptureError(entry.refused)
            return self.step(*args, **options)
        result = entry.record(self.step, args, options)
        entry.calls += 1
        device = _device_of(self.device, args, options, result, otherwise=entry.device)
        if device.startswith("cuda"):  # its arguments did not say so
            self.graph, self.entries = Graph(self.step, device), []
        return result

    def _entry(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[_Entry, list[Any]]:
        """The entry of calls like this one, which becomes the one used last; and the arrays of this call."""
        now, call = context.get(), (args, options)
        kind, arrays = kind_of(call)
        kind += current(), now.recording, now.variants  # a shared program belongs to the ranks that recorded it
        for i, entry in enumerate(reversed(self.entries), 1):
            if entry.kind == kind and all(module.training is mode for module, mode in entry.modes):
                if i > 1:
                    self.entries.append(self.entries.pop(-i))
                return entry, arrays
        if self.required and len(self.entries) == KEPT and not any(entry.calls > 1 for entry in self.entries):
            warn(
                f"capture: {self._name} was called with {KEPT} kinds of arguments and with none of them twice, so "
                f"nothing is replayed; the last: {self.entries[-1].arguments}. Give what changes as tensors of fixed "
                "shapes"
            )
        self.entries = [*self.entries[-KEPT + 1 :], _Entry(kind, shown(outline_of(call)))]
        return self.entries[-1], arrays

    def __repr__(self) -> str:
        return f"capture({self._name})"

    def __str__(self) -> str:
        return self.explain()

    def _repr_html_(self) -> str:
        return html(self.to_dict())

    @property
    def _name(self) -> str:
        """`train_step`, `Trainer.step`; of an object that can be called, its class."""
        return getattr(self.step, "__qualname__", type(self.step).__name__).rpartition("<locals>.")[2]

    def explain(self) -> str:
        """What the step does when it is called, as a text; `print(step)` prints it.

        For each program that is kept: the arguments that it is for, what runs it, and its instructions in order. Each
        says what it computes, for which layer, and where the code that runs it is to be read; above it stands the line
        of yours that it comes from. Before there is a program, the text says what the next call will do.
        """
        return text(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """What `explain` tells, as plain values that JSON keeps; numbers are not rounded.

        docs/fast.md lists the keys.
        """
        with self.lock:
            programs = [entry.to_dict() for entry in self.entries]
        state, says = self._state(programs)
        return {"step": self._name, "state": state, "says": says, "programs": programs}

    def _state(self, programs: Sequence[dict[str, Any]]) -> tuple[str, str]:
        """`state` and `says` of `to_dict`."""
        if self.graph is not None:
            if self.graph.graph is None:
                return "new", f"on {self.graph.device} the third call is recorded, and every later one replays that"
            return "replayed", f"a CUDA graph on {self.graph.device}; one launch runs all kernels of the recorded call"
        if not programs:
            return "new", (
                "not called yet. On the CPU the first call runs the step as it is, the second records it, and every "
                "later one replays what was recorded"
            )
        ready = sum(program["state"] == "replayed" for program in programs)
        if ready:
            return "replayed", f"{ready} {'program runs' if ready == 1 else 'programs run'} in the place of its Python"
        return programs[-1]["state"], programs[-1]["says"]


_ALL: WeakSet[Captured[Any, Any]] = WeakSet()


def _forget_all() -> None:
    """In a forked child: a thread that it has not may hold a lock, and have left a replay half done."""
    for captured in list(_ALL):
        captured._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _device_of(device: str | None, *holders: Any, otherwise: str = "cpu") -> str:
    """Where a step runs: on `device` if given, else where the first tensor is."""
    return device or next((tensor.device for tensor in tensors_in(holders)), otherwise)


class _Entry:
    """Calls with one kind of arguments, and the program that replays them."""

    def __init__(self, kind: list[Any], arguments: str) -> None:
        self.kind, self.arguments, self.calls = kind, arguments, 0
        self.leaves: set[Any] = set()  # that got a gradient in the last call that was watched
        self.bare: list[Any] = []  # and had none before the recorded call, as far as anybody knows
        self.modes: list[tuple[Any, bool]] = []  # modules that ran, and whether the step left them in training mode
        self.run: NumpyRun | CompiledRun | None = None
        self.result: Any = None
        self.refused, self.device = "", "cpu"

    def record(self, step: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call the step, and from the second time on write down what it does.

        The first call is watched too: what no replay could do is known before a call has to fail for it.
        """
        arguments = list(tensors_in((args, options)))
        recorder, now = Recorder(arguments, strict=self.calls > 0), context.get()
        if refusal := refusal_of(arguments):
            recorder.refuse(refusal)
        with_gradient = {leaf for leaf in self.leaves if leaf.grad is not None}
        token = captured_step.set(recorder)
        try:
            context.set(now.but(observer=recorder))
            result = step(*args, **options)
            if (hidden := hidden_in(result)) is not None:
                recorder.refuse(
                    f"capture: the step returns a {type(hidden).__name__}, and a replay cannot renew what is in it; "
                    "return tensors, or tuples, lists and dicts of them"
                )
        finally:
            context.set(now)
            captured_step.reset(token)
        self.refused, self.device = recorder.refused, recorder.device
        self.leaves = set(recorder.leaves)
        self.bare = [leaf for leaf in recorder.leaves if leaf not in with_gradient]
        self.modes = [(module, module.training) for module in recorder.modules.values()]
        if self.refused:
            return result
        if self.calls:
            self.result = mapped(result, lambda tensor: HOLE)
            self._ready(recorder.program(tensors_in(result)))
        return mapped(result, lambda tensor: wrap(tensor.array.copy()))

    def _ready(self, program: Program) -> None:
        # Here and not above: who captures nothing does not wait for their import, a tenth of this library's.
        from tinyconv.program.compiled import compiled
        from tinyconv.program.fuse import fused
        from tinyconv.program.run import NumpyRun

        program = fused(program)
        if program.shared:
            check_alike(program, current())
        self.run = compiled(program) or NumpyRun(program)
        found = kernels.for_programs()
        in_c = self.run.executor == "compiled"
        self.why = found.how if in_c or found.library is None else "no instruction has a kernel in C"
        self.outside = Outside(program)
        self.written = program.written()

    def finds_gradients(self) -> bool:
        """Whether the program knows what the step does with the gradients that there are now.

        A step that was recorded without any may drop those that it finds, or add to them.
        """
        return all(leaf.grad is None for leaf in self.bare)

    def to_dict(self) -> dict[str, Any]:
        """This entry's part of `Captured.to_dict`."""
        *_, recording, variants = self.kind
        data = {"arguments": self.arguments, "records": recording, "variants": variants or {}}
        if self.run is not None:
            runs = {"executor": self.run.executor, "why": self.why}
            return data | {"state": "replayed", "says": "", **runs, **described(self.run)}
        if self.refused:
            return data | {"state": "refused", "says": self.refused.replace("capture:", "cannot be captured:", 1)}
        return data | {"state": "new", "says": "the next call like this one records the step"}

    def replay(self, given: list[Any]) -> Any:
        run = self.run
        assert run is not None
        program = run.program
        for leaf, value in program.gradients:
            kept = leaf.grad
            if kept is None:
                value.array[...] = 0
            elif kept.array is not value.array:
                np.copyto(value.array, kept.array)
        arrays = iter([array.copy() for array in run(given)])
        for leaf, value in program.gradients:
            if leaf.grad is None or leaf.grad.array is not value.array:
                leaf.grad = Gradient(value.array)
            else:
                leaf.grad._storage.wrote(value.array)
        for value in self.written:
            value.tensor._storage.wrote(value.array)
        return mapped(self.result, lambda tensor: wrap(next(arrays)))
