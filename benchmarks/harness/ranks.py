"""Ranks measured: a training step on several against the same on one, in turns, and what handing round costs.

And a model of it, of which the constants are measured here, for numbers of ranks that no machine here has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinyconv as tc
from harness.floor import flops_of
from harness.timing import WARM, in_turns, middle_half, rounded, summary, timed
from tinyconv import models, nn
from tinyconv.distributed import current
from tinyconv.engine.tree import LARGE, TILE, Shares, tiles
from tinyconv.engine.variants import set_kernels
from tinyconv.functional import cross_entropy


@dataclass(frozen=True)
class Work:
    """A training step: a model, the shape of an image, kernels, the images of a batch, and calls in a turn."""

    title: str
    model: str
    image: tuple[int, ...]
    kernels: str
    batch: int = 512
    burst: int = 4
    warm: int = WARM


WORK = {
    "lenet-numpy": Work("LeNet-5, NumPy", "lenet5", (1, 28, 28), "numpy"),
    "lenet-compiled": Work("LeNet-5, compiled", "lenet5", (1, 28, 28), "compiled", burst=8),
    "cifarnet-compiled": Work("cifarnet, compiled", "cifarnet", (3, 32, 32), "compiled", burst=1, warm=1),
}
SIZES = [8, 1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 1 << 24]
"""Bytes that each rank hands round where the constants are measured."""


# --- measured -------------------------------------------------------------------------------------------------------


def step_of(work: Work, batch: int, wrap: Callable[[nn.Module], nn.Module]) -> tuple[nn.Module, Callable[[], float]]:
    """A model, and a captured training step of it on one batch of noise."""
    tc.manual_seed(0)
    net, rng = models.create(work.model), np.random.default_rng(0)
    model, optimizer = wrap(net), tc.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x = tc.tensor(rng.standard_normal((batch, *work.image)), dtype=tc.float32)
    y = tc.tensor(rng.integers(0, 10, batch))

    @tc.capture
    def step(x: tc.Tensor, y: tc.Tensor) -> tc.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return net, lambda: step(x, y).item()


class Meter:
    """Measures what a rank hands round: how often, the bytes of all, and the seconds, waiting included."""

    def __init__(self) -> None:
        self.ranks = current()
        self.seconds, self.calls = 0.0, list[tuple[Any, ...]]()
        self.inside = False
        for name in ("gather", "exchange"):
            setattr(self.ranks, name, partial(self._measured, name, getattr(self.ranks, name)))

    def _measured(self, name: str, function: Callable[..., None], array: Any, *bounds: Any) -> None:
        if self.inside:  # one is made of the other
            function(array, *bounds)
            return
        self.inside, began = True, time.perf_counter()
        try:
            function(array, *bounds)
        finally:
            self.inside = False
            self.seconds += time.perf_counter() - began
            self.calls.append((name, array.shape, array.dtype, *bounds))

    def close(self) -> None:
        """Measure no more."""
        del self.ranks.gather, self.ranks.exchange  # those of the class remain


def measure(name: str, turns: int) -> dict[str, Any] | None:
    """A step of `name` on all ranks, of a thread each, and on rank 0 alone, in turns. None on the other ranks.

    In the end both have to have the same weights, to the last bit.
    """
    work, ranks = WORK[name], current()
    tc.set_num_threads(1)
    set_kernels(work.kernels)
    net, shared = step_of(work, work.batch, nn.DistributedDataParallel)
    of_one, alone = step_of(work, work.batch, lambda net: net)
    meter = Meter()
    waited: list[float] = []

    def together() -> None:
        before = meter.seconds
        shared()
        waited.append(meter.seconds - before)

    shared()  # it is recorded, and planned
    shared()
    meter.calls.clear()
    shared()
    calls = list(meter.calls)
    if ranks.rank:
        for _ in range(turns * (work.warm + work.burst)):
            shared()
        samples = None
    else:
        for _ in range(3):
            alone()
        samples = in_turns({"alone": alone, "shared": together}, turns, work.burst, warm=work.warm)
    meter.close()
    handed = _replayed(calls)
    if samples is None:
        return None
    expected = of_one.state_dict()
    if differ := [key for key, t in net.state_dict().items() if not np.array_equal(t.numpy(), expected[key].numpy())]:
        raise AssertionError(f"{name}: {ranks.size} ranks have other weights than one: {', '.join(differ)}")
    speedups = [np.median(a) / np.median(b) for a, b in zip(samples["alone"], samples["shared"], strict=True)]
    return {
        "ranks": ranks.size,
        "summary": summary(samples, "alone"),
        "speedup": float(np.median(speedups)),
        "speedup_quartiles": middle_half([float(s) for s in speedups]),
        "meetings": len(calls),
        "bytes": sum(int(np.prod(shape)) * dtype.itemsize for _, shape, dtype, *_ in calls),
        "in_meetings_ms": 1e3 * float(np.median(waited)),
        "handing_ms": 1e3 * handed,
        "samples_ms": rounded(samples),
    }


def _replayed(calls: Sequence[Any], times: int = 20) -> float:
    """Seconds of a step's meetings with nothing in between, so that no rank waits for work: the median of several."""
    ranks, made = current(), [(name, np.zeros(shape, dtype), bounds) for name, shape, dtype, *bounds in calls]

    def meet() -> None:
        for name, array, bounds in made:
            getattr(ranks, name)(array, *bounds)

    return float(np.median([timed(meet) for _ in range(times)]))


def constants(times: int = 30) -> dict[str, Any] | None:
    """What it takes to hand round so many bytes of each rank, in microseconds, and to add up. None on other ranks."""
    ranks, found = current(), {}
    bounds = [(rank, rank + 1) for rank in range(ranks.size)]
    for size in SIZES:
        array = np.zeros((ranks.size, size // 4 or 1), np.float32)
        gather = partial(ranks.gather, array, bounds)
        for _ in range(3):
            gather()
        found[str(size)] = 1e6 * float(np.median([timed(gather) for _ in range(times)]))
    a, b = np.zeros((2, SIZES[-1] // 4), np.float32)
    adding = SIZES[-1] / float(np.median([timed(lambda: np.add(a, b, out=a)) for _ in range(times)])) / 1e9
    return None if ranks.rank else {"ranks": ranks.size, "gather_us": found, "adding_gb_s": adding}


def parts_of_a_step(name: str, calls: int = 9) -> dict[str, float]:
    """On one thread: milliseconds of a tile, and of what a step does once, from batches of one tile and of all."""
    work = WORK[name]
    tc.set_num_threads(1)
    set_kernels(work.kernels)
    found = {}
    for batch in (TILE, work.batch):
        net, step = step_of(work, batch, lambda net: net)
        for _ in range(3):
            step()
        found[batch] = 1e3 * float(np.median([timed(step) for _ in range(calls)]))
    tile = (found[work.batch] - found[TILE]) / (len(tiles(work.batch)) - 1)
    x = tc.zeros(4, *work.image)
    return {
        "tile_ms": tile,
        "once_ms": max(found[TILE] - tile, 0.0),
        "gradient_bytes": 4 * sum(p.numel() for p in net.parameters()),
        "gflops_of_a_tile": flops_of(models.create(work.model), x, tc.zeros(4, dtype="int64")) * TILE / 4 / 1e9,
    }


# --- the model ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    """What a step takes on one thread: milliseconds of a tile and of what is done once, and the bytes of a gradient."""

    tile_ms: float
    once_ms: float
    gradient: float
    meetings: int = 1  # in a step, besides that of the gradient


@dataclass(frozen=True)
class Carrier:
    """What hands round: microseconds until it begins, GB/s that a rank takes in, and GB/s that a rank adds up."""

    latency_us: float
    gb_s: float
    adding_gb_s: float


def predicted(net: Net, carrier: Carrier, batch: int, ranks: int, cores: int | None = None) -> dict[str, float]:
    """Milliseconds of a step, and of what it is made of. With fewer cores than ranks these take turns.

    A rank works out the tiles of its units, one after another. To hand round r rows of b bytes among n ranks takes
    latency * log2(n) + (r - r / n) b / bandwidth, and adding them up r b / rate; from 4 MiB on each rank takes in and
    adds up an n-th of the columns, n messages, and the sum is handed round again.
    """
    shares = Shares(tiles(batch), ranks)
    busiest = max(stop - start for start, stop in shares.tiles)
    crowd = max(1.0, ranks / cores) if cores else 1.0
    work = busiest * net.tile_ms * crowd + net.once_ms * crowd
    rows, hops = shares.units[-1][1], max(ranks - 1, 0).bit_length()
    handing = adding = 0.0
    if ranks > 1:
        latency = carrier.latency_us / 1e3
        took, sums = (rows - rows / ranks) * net.gradient, rows * net.gradient
        handing = (1 + net.meetings) * hops * latency + took / carrier.gb_s / 1e6
        if rows * net.gradient >= LARGE:
            others = (1 - 1 / ranks) * net.gradient
            handing = (ranks - 1 + (1 + net.meetings) * hops) * latency
            handing += (took / ranks + others) / carrier.gb_s / 1e6
            sums /= ranks
        adding = sums / carrier.adding_gb_s / 1e6
    return {"step_ms": work + (handing + adding) * crowd, "work_ms": work, "handing_ms": handing, "adding_ms": adding}
