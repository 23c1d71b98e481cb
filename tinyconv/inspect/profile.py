"""profile: where the time of a program goes, op by op and layer by layer."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyconv.arrays.backend import backend_of
from tinyconv.engine.context import Change, Context, Layer
from tinyconv.engine.variants import name_of, op_name
from tinyconv.inspect import flops
from tinyconv.shapes import Shape


@dataclass(frozen=True)
class Event:
    """One run of an op's forward or backward, or of a region. Times are in nanoseconds since the profile began."""

    name: str  # of the op: "conv2d"; of a region: "Adam.step"
    kind: str  # "forward", "backward" or "region"
    variant: str  # which pair ran: "readable", "tiled", ...
    layer: str  # the path of the module that ran it: "features.0"; "" outside of modules
    start: int
    end: int
    thread: int
    shapes: tuple[Shape | None, ...]  # of the inputs
    flops: int
    bytes: int  # of the inputs (backward: of the gradient) read, and of what was made, each counted once

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


@dataclass(frozen=True)
class Row:
    """The events of one op, or of one layer, added up. Times in milliseconds."""

    name: str
    calls: int
    forward_ms: float
    backward_ms: float
    flops: int
    bytes: int

    @property
    def ms(self) -> float:
        return self.forward_ms + self.backward_ms

    @property
    def gflops(self) -> float:
        """GFLOP/s; 0 where no time was measured."""
        return self.flops / self.ms / 1e6 if self.ms else 0.0


class profile(Change):
    """Measure what runs inside: a `with` block, or a decorator.

        with tc.profile() as p:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        print(p)

    Every op is timed, forward and backward, wherever its backward runs as long as its forward ran inside; so are an
    optimiser's steps. `print(p)` shows time, GFLOP/s and bytes by op and by layer; `events` has all there is, and
    `chrome_trace(path)` writes it for chrome://tracing and Perfetto. FLOPs are those of the formula (see
    `inspect.flops`), not of the way it is computed; bytes are those of the arrays that go in
    and come out, each counted once.

    Ops that run side by side on several threads (`nn.DataParallel`) are added up, so their sum may be more than `wall`.
    A GPU is waited for before and after every op. Inside another profile both see what runs inside the inner one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.wall = 0.0  # seconds inside, of all entries
        self._began: list[int] = []
        self._zero = time.perf_counter_ns()
        self._outer: Any = None

    def changed(self, now: Context) -> Context:
        self._outer = now.profiler if now.profiler is not self else self._outer
        return now.but(profiler=self)

    def __enter__(self) -> profile:
        super().__enter__()
        self._began.append(time.perf_counter_ns())
        return self

    def __exit__(self, *error: Any) -> None:
        self.wall += (time.perf_counter_ns() - self._began.pop()) / 1e9
        super().__exit__(*error)

    def _recreate_cm(self) -> profile:  # a decorated function adds to the one profile, which is what can be read
        return self

    # What `select` and others call.

    def timed(self, op: Any, pair: Any, arrays: list[Any], geometry: dict[str, Any], layer: Layer | None) -> _Timed:
        """The pair, with a clock around its halves."""
        path = "" if layer is None else layer.path or type(layer.module).__name__
        return _Timed(self, op, pair, [getattr(array, "shape", None) for array in arrays], path)

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """Time a part of a program that is no op."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self.note(name, "region", "", "", start, (), 0, 0)

    def note(
        self, name: str, kind: str, variant: str, layer: str, start: int, shapes: Any, flops: int, size: int
    ) -> None:
        end, thread = time.perf_counter_ns(), threading.get_ident()
        zero = self._zero
        self.events.append(
            Event(name, kind, variant, layer, start - zero, end - zero, thread, tuple(shapes), flops, size)
        )
        if self._outer is not None:
            self._outer.events.append(
                Event(
                    name, kind, variant, layer, start - self._outer._zero, end - self._outer._zero, thread,
                    tuple(shapes), flops, size,
                )
            )  # fmt: skip

    # What there is to read.

    def by_op(self) -> list[Row]:
        """A row for each op and variant, and for each region; the longest first."""
        rows = _added(self.events, lambda e: f"{e.name} ({e.variant})" if e.variant else e.name)
        return sorted(rows, key=lambda row: -row.ms)

    def by_layer(self) -> list[Row]:
        """A row for each layer, in the order in which they first ran; what ran outside of modules is left out."""
        return _added((event for event in self.events if event.layer), lambda e: e.layer)

    def to_dict(self) -> dict[str, Any]:
        """All of it, of plain Python values."""
        return {"wall_seconds": self.wall, "events": [asdict(event) for event in self.events]}

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events in the Trace Event Format, for chrome://tracing and https://ui.perfetto.dev."""
        numbers = {thread: i for i, thread in enumerate(dict.fromkeys(event.thread for event in self.events))}
        events = [
            {
                "name": f"{event.layer}: {event.name}" if event.layer else event.name,
                "cat": event.kind,
                "ph": "X",
                "ts": event.start / 1e3,
                "dur": (event.end - event.start) / 1e3,
                "pid": os.getpid(),
                "tid": numbers[event.thread],
                "args": {
                    "shapes": str([shape for shape in event.shapes if shape is not None]),
                    "variant": event.variant,
                    "MFLOP": event.flops / 1e6,
                    "kB": event.bytes / 1e3,
                },
            }
            for event in self.events
        ]
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

    def __str__(self) -> str:
        if not self.events:
            return "profile: no op ran inside"
        ops, layers = self.by_op(), self.by_layer()
        total = sum(row.ms for row in ops)
        parts = [_table("op", ops, total)]
        if layers:
            parts.append(_table("layer", layers, total))
        threads = len({event.thread for event in self.events})
        measured = f"{total:.2f} ms measured in {len(self.events)} events"
        if threads == 1:
            said = f"{measured}; {1e3 * self.wall - total:.2f} ms of {1e3 * self.wall:.2f} outside of them"
        else:
            said = f"{measured} on {threads} threads, in {1e3 * self.wall:.2f} ms"
        return "\n\n".join([*parts, said])

    __repr__ = __str__


class _Timed:
    """A pair with a clock: it runs in its place, and notes when."""

    def __init__(self, owner: profile, op: Any, pair: Any, shapes: list[Any], layer: str) -> None:
        self.owner, self.op, self.shapes, self.layer = owner, op, shapes, layer
        self.pair = self.__wrapped__ = pair  # who asks which pair ran looks there (`inspect.unwrap`)
        self.returns_fresh = getattr(pair, "returns_fresh", False)

    def forward(self, xp: Any, *arrays: Any, **geometry: Any) -> Any:
        start = _now(arrays)
        y, saved = self.pair.forward(xp, *arrays, **geometry)
        made = y if isinstance(y, tuple) else (y,)
        _now(made)
        count = flops.forward_flops(op_name(self.op), self.shapes, geometry, made[0].shape)
        self._note("forward", start, count, _bytes(arrays) + _bytes(made))
        return y, saved

    def backward(self, xp: Any, saved: Any, dy: Any, needs: tuple[bool, ...], **geometry: Any) -> Any:
        start = _now([dy])
        grads = self.pair.backward(xp, saved, dy, needs, **geometry)
        _now(grads)
        count = flops.backward_flops(op_name(self.op), self.shapes, geometry, needs, dy.shape)
        self._note("backward", start, count, _bytes([dy]) + _bytes(grads))
        return grads

    def _note(self, kind: str, start: int, flops: int, size: int) -> None:
        name, variant = op_name(self.op), name_of(self.op, self.pair)
        self.owner.note(name, kind, variant, self.layer, start, self.shapes, flops, size)


def _now(arrays: Iterable[Any]) -> int:
    """The time, when all that was asked of the device is done."""
    known = [array for array in arrays if hasattr(array, "strides")]
    if known:
        (backend := backend_of(known[0])).synchronize(backend.device_of(known[0]))
    return time.perf_counter_ns()


def _bytes(arrays: Iterable[Any]) -> int:
    return sum(array.nbytes for array in arrays if hasattr(array, "nbytes"))


def _added(events: Iterable[Event], key: Callable[[Event], str]) -> list[Row]:
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return [
        Row(
            name,
            sum(event.kind != "backward" for event in group),
            1e3 * sum(event.seconds for event in group if event.kind != "backward"),
            1e3 * sum(event.seconds for event in group if event.kind == "backward"),
            sum(event.flops for event in group),
            sum(event.bytes for event in group),
        )
        for name, group in groups.items()
    ]


def _table(title: str, rows: Sequence[Row], total: float) -> str:
    """Aligned columns: name, calls, milliseconds, share, GFLOP/s, MB."""
    heads = [title, "calls", "forward ms", "backward ms", "share", "GFLOP/s", "MB"]
    cells = [
        [
            row.name,
            str(row.calls),
            f"{row.forward_ms:.3f}",
            f"{row.backward_ms:.3f}",
            f"{row.ms / total:.0%}" if total else "-",
            f"{row.gflops:.1f}" if row.flops else "-",
            f"{row.bytes / 1e6:.2f}" if row.bytes else "-",
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [heads, *cells]
    )
