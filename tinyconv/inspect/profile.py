"""profile: where the time of a program goes, op by op and layer by layer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from shutil import get_terminal_size
from threading import get_ident
from typing import Any

from tinyconv.arrays.backend import backend_of
from tinyconv.engine.context import Change, Context, Layer
from tinyconv.engine.variants import name_of, op_name, place_of, shown
from tinyconv.inspect import flops
from tinyconv.shapes import Shape


@dataclass(frozen=True)
class Event:
    """One run of an op's forward or backward, or of a region. Times are in nanoseconds since the profile began."""

    name: str  # of the op: "conv2d"; of a region: "Adam.step"
    kind: str  # "forward", "backward" or "region"
    variant: str  # which pair ran: "readable", "tiled", ...; "" for a region
    title: str  # the op and the variant: "conv2d (tiled)"; the name of a region
    source: str  # where the readable backward of the op stands: "tinyconv/ops/conv.py:102"; "" for a region
    layer: str  # the path of the module that ran it: "features.0"; "" outside of modules
    start: int
    end: int
    thread: int
    shapes: tuple[Shape | None, ...]  # of the inputs
    flops: int
    bytes: int  # of the inputs (backward: of the gradient) read, and of what was made, each counted once

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9


@dataclass(frozen=True)
class Total:
    """The events of one op and variant, of one layer, or of one region, added up. Times in milliseconds."""

    name: str  # "conv2d (tiled)"; the path of a layer; the name of a region
    source: str  # where the readable backward of the op stands; "" for a layer or a region
    calls: int  # forwards
    forward_ms: float
    backward_ms: float
    flops: int
    bytes: int

    @property
    def ms(self) -> float:
        """Forward and backward together."""
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

    Every op is timed, forward and backward; a backward is timed wherever it runs, if its forward ran inside. The steps
    of an optimiser are timed too. `print(p)` shows time, GFLOP/s and bytes by op and by layer; `events` is the list of
    all events, and `wall` the seconds inside, of all entries. FLOPs are those of the formula (see `inspect.flops`),
    whatever the variant computes; bytes are those of the arrays that go in and come out, each counted once.

    The times of ops that run side by side on several threads (`nn.DataParallel`) are added up, so their sum may be more
    than `wall`. A GPU is waited for before and after every op. A profile inside another one hides nothing from it: both
    see what runs inside the inner one. Compare `torch.profiler.profile`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.wall = 0.0
        self._began: list[int] = []
        self._zero = time.perf_counter_ns()
        self._outer: tuple[profile, ...] = ()  # the profiles that this one is inside of

    def changed(self, now: Context) -> Context:
        """The context with this profile in it."""
        if now.profiler not in (None, self):
            self._outer = tuple(p for p in (now.profiler, *now.profiler._outer) if p is not self)
        return now.but(profiler=self)

    def __enter__(self) -> profile:
        self._began.append(time.perf_counter_ns())
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            self.wall += (time.perf_counter_ns() - self._began.pop()) / 1e9
        finally:
            super().__exit__(*error)

    # What `select` and others call.

    def timed(self, op: Any, pair: Any, arrays: list[Any], geometry: dict[str, Any], layer: Layer | None) -> _Timed:
        """The pair, with a clock around its halves."""
        path = "" if layer is None else layer.path or type(layer.module).__name__
        return _Timed(self, op, pair, tuple(getattr(array, "shape", None) for array in arrays), path)

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        """Time a part of a program that is not an op: `with p.region("augment"):`."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self._note(Event(name, "region", "", name, "", "", start, time.perf_counter_ns(), get_ident(), (), 0, 0))

    def _note(self, event: Event) -> None:
        """Add an event whose times are those of the clock."""
        for p in (self, *self._outer):
            p.events.append(replace(event, start=event.start - p._zero, end=event.end - p._zero))

    # What there is to read.

    def by_op(self) -> list[Total]:
        """A total for each op and variant, and for each region; the longest first."""
        return sorted(_added(self.events, lambda e: (e.title, e.source)), key=lambda total: -total.ms)

    def by_layer(self) -> list[Total]:
        """A total for each layer, in the order in which they first ran; what ran outside of modules is left out."""
        return _added((event for event in self.events if event.layer), lambda e: (e.layer, ""))

    def to_dict(self) -> dict[str, Any]:
        """`wall_seconds` and `events`, in plain Python values."""
        return {"wall_seconds": self.wall, "events": [asdict(event) for event in self.events]}

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events in the Trace Event Format, for chrome://tracing and https://ui.perfetto.dev.

        An event is called `conv1: conv2d (tiled)`; where its op is to be read is among its arguments.
        """
        numbers = {thread: i for i, thread in enumerate(dict.fromkeys(event.thread for event in self.events))}
        events = [
            {
                "name": f"{event.layer}: {event.title}" if event.layer else event.title,
                "cat": event.kind,
                "ph": "X",
                "ts": event.start / 1e3,
                "dur": (event.end - event.start) / 1e3,
                "pid": os.getpid(),
                "tid": numbers[event.thread],
                "args": {
                    "shapes": str([shape for shape in event.shapes if shape is not None]),
                    "variant": event.variant,
                    "source": event.source,
                    "MFLOP": event.flops / 1e6,
                    "kB": event.bytes / 1e3,
                },
            }
            for event in self.events
        ]
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

    def __str__(self) -> str:
        if not self.events:
            return _NOTHING
        ops, layers = self.by_op(), self.by_layer()
        total, width = sum(row.ms for row in ops), get_terminal_size().columns
        parts = [_table("op", ops, total, width)]
        if layers:
            parts.append(_table("layer", layers, total, width))
        return "\n\n".join([*parts, self._said(total)])

    def _said(self, total: float) -> str:
        """What share of the time the events are, in a line."""
        threads = len({event.thread for event in self.events})
        measured = f"{total:.2f} ms measured in {len(self.events)} events"
        if threads == 1:
            return f"{measured}; {1e3 * self.wall - total:.2f} ms of {1e3 * self.wall:.2f} outside of them"
        return f"{measured} on {threads} threads, in {1e3 * self.wall:.2f} ms"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        if not self.events:
            return notebook.page(notebook.text(_NOTHING))
        ops = self.by_op()
        total = sum(row.ms for row in ops)
        parts = []
        for title, rows in (("op", ops), ("layer", self.by_layer())):
            places = any(row.source for row in rows)
            heads = [*_heads(title), *["read it"] * places]
            lines = [[*_cells(row, total), *[row.source] * places] for row in rows[: notebook.ROWS]]
            for line, row in zip(lines, rows, strict=False):
                line[_SHARE] = notebook.Bar.of(row.ms, total)
            parts.append(notebook.table(heads, lines) if rows else "")
            parts.append(notebook.text(f"and {len(rows) - notebook.ROWS:,} more") if len(rows) > notebook.ROWS else "")
        return notebook.page(notebook.caption("profile", self._said(total)), *parts)


class _Timed:
    """A pair with a clock: it runs in the place of the pair, and notes when."""

    def __init__(self, owner: profile, op: Any, pair: Any, shapes: tuple[Shape | None, ...], layer: str) -> None:
        self.owner, self.op, self.shapes, self.layer = owner, op, shapes, layer
        self.pair = self.__wrapped__ = pair  # who asks which pair ran looks there (`inspect.unwrap`)
        self.returns_fresh = getattr(pair, "returns_fresh", False)

    def forward(self, xp: Any, *arrays: Any, **geometry: Any) -> Any:
        start = _now(arrays)
        y, saved = self.pair.forward(xp, *arrays, **geometry)
        made = y if isinstance(y, tuple) else (y,)
        end = _now(made)
        count = flops.forward_flops(op_name(self.op), self.shapes, geometry, made[0].shape)
        self._note("forward", start, end, count, _bytes(arrays) + _bytes(made))
        return y, saved

    def backward(self, xp: Any, saved: Any, dy: Any, needs: tuple[bool, ...], **geometry: Any) -> Any:
        start = _now([dy])
        grads = self.pair.backward(xp, saved, dy, needs, **geometry)
        end = _now(grads)
        count = flops.backward_flops(op_name(self.op), self.shapes, geometry, needs, dy.shape)
        self._note("backward", start, end, count, _bytes([dy]) + _bytes(grads))
        return grads

    def _note(self, kind: str, start: int, end: int, flops: int, size: int) -> None:
        op, pair = self.op, self.pair
        names = op_name(op), kind, name_of(op, pair), shown(op, pair), _source(op), self.layer
        self.owner._note(Event(*names, start, end, get_ident(), self.shapes, flops, size))


_source = cache(place_of)  # of an op: it never moves, and finding it takes as long as a small op


def _now(arrays: Iterable[Any]) -> int:
    """The time, when all that was asked of the device is done."""
    known = [array for array in arrays if hasattr(array, "strides")]
    if known:
        (backend := backend_of(known[0])).synchronize(backend.device_of(known[0]))
    return time.perf_counter_ns()


def _bytes(arrays: Iterable[Any]) -> int:
    return sum(array.nbytes for array in arrays if hasattr(array, "nbytes"))


def _added(events: Iterable[Event], key: Callable[[Event], tuple[str, str]]) -> list[Total]:
    """A total for each name and source that `key` gives."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return [
        Total(
            name,
            source,
            sum(event.kind != "backward" for event in group),
            1e3 * sum(event.seconds for event in group if event.kind != "backward"),
            1e3 * sum(event.seconds for event in group if event.kind == "backward"),
            sum(event.flops for event in group),
            sum(event.bytes for event in group),
        )
        for (name, source), group in groups.items()
    ]


_NOTHING = "profile: no op ran inside"
_SHARE = 4  # the column of the share


def _heads(title: str) -> list[str]:
    return [f"{title}, times in ms", "calls", "forward", "backward", "share", "GFLOP/s", "MB"]


def _cells(row: Total, total: float) -> list[str]:
    return [
        row.name,
        str(row.calls),
        f"{row.forward_ms:.3f}",
        f"{row.backward_ms:.3f}",
        f"{row.ms / total:.0%}" if total else "-",
        f"{row.gflops:.1f}" if row.flops else "-",
        f"{row.bytes / 1e6:.2f}" if row.bytes else "-",
    ]


def _table(title: str, rows: Sequence[Total], total: float, width: int) -> str:
    """Aligned columns: name, calls, milliseconds, share, GFLOP/s, MB; and where there is room, what is to be read."""
    heads, cells = _heads(title), [_cells(row, total) for row in rows]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(n) if i == 0 else cell.rjust(n) for i, (cell, n) in enumerate(zip(line, widths, strict=True))
        )
        for line in [heads, *cells]
    ]
    places = ["read it", *(row.source for row in rows)]
    if any(places[1:]) and len(lines[0]) + 2 + max(map(len, places)) <= width:
        lines = [f"{line}  {place}".rstrip() for line, place in zip(lines, places, strict=True)]
    return "\n".join(lines)
