"""Steps, with errors in many of them and without the garbage collector: memory is as before."""

import gc
import sys
import tracemalloc
from contextlib import suppress

import numpy as np

import tinyconv as tc
from campaigns.attempt import Attempt
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.data import DataLoader
from tinyconv.train.checkpoint import load_weights, save_weights

PROMISE = (
    "A step leaves nothing behind, whether it ends or an error ends it: without the garbage collector no memory is "
    "held that was not before."
)
STEPS = 100
"""In an attempt."""
COUNT = 1000
"""Attempts: 10,000 steps in each of ten settings, LeNet-5 on MNIST's size."""
DOSE = 10
TRACED = 10  # one attempt in so many of a setting also counts bytes, at a third of the speed


class Oops(Exception):
    """The error that steps end with."""


class Failing(nn.Module):
    """LeNet-5 that fails where it is told to."""

    def __init__(self):
        super().__init__()
        self.net, self.where = tc.models.LeNet5(), ""

    def forward(self, x):
        out = self.net(x)
        if self.where == "forward":
            raise Oops
        if self.where == "backward":
            return tc.apply(FailsBack, out)
        if self.where == "hook":
            out.register_hook(fail)
        return out


class FailsBack:
    """The identity, with a backward that fails."""

    name = "fails_back"

    @staticmethod
    def forward(xp, x):
        return x * 1, ()

    @staticmethod
    def backward(xp, saved, dy, needs):
        raise Oops


def fail(*given):
    raise Oops


class Bench:
    """A model, a batch and all that a step may need. A setting is a method that makes a step, number `i`."""

    def __init__(self, folder):
        tc.manual_seed(0)
        self.folder, self.model = folder, Failing()
        self.parallel = nn.DataParallel(self.model, threads=2, tile=2)
        self.x, self.y = tc.randn(4, 1, 28, 28), tc.randint(0, 10, (4,))
        self.optimizer = tc.optim.Adam(self.model.parameters(), lr=1e-4)
        self.scheduler = tc.optim.lr_scheduler.StepLR(self.optimizer, 1000)
        pictures = np.random.default_rng(0).integers(0, 256, (16, 1, 28, 28), dtype=np.uint8)
        self.loader = DataLoader((pictures, np.arange(16) % 10), 4, shuffle=True)
        self.batches = iter(())
        self.captured = tc.capture(self.maybe_fails)

    def walk(self, run=None, where=""):
        """Forward and backward, with an error in it."""
        self.model.where = where
        self.model.zero_grad()
        with suppress(Oops):
            F.cross_entropy((run or self.model)(self.x), self.y).backward()

    def eager(self, i):
        self.walk()
        self.optimizer.step()

    def parallel_tiles(self, i):
        self.walk(self.parallel)

    def error_in_forward(self, i):
        self.walk(self.parallel if i % 2 else self.model, "forward")

    def error_in_backward(self, i):
        self.walk(self.parallel if i % 2 else self.model, ("backward", "hook")[i // 2 % 2])

    def second_order(self, i):
        layer = self.model.net.conv1  # one convolution: the whole net takes 50 ms a step
        x = self.x[:1].detach().requires_grad_()
        with suppress(Oops):
            out = layer(x).tanh()
            (dx,) = tc.grad((tc.apply(FailsBack, out) if i % 2 else out).sum(), x, create_graph=True)
            (dx * dx).sum().backward()

    def anomaly(self, i):
        self.model.where = ""
        with suppress(tc.AnomalyError), tc.detect_anomaly():
            x = self.x * (np.inf if i % 2 else 1.0)
            (self.model(x) - self.model(x)).sum().backward()

    def looks(self, i):
        self.model.where = "forward" if i % 4 == 3 else ""
        with suppress(Oops), tc.profile():
            loss = self.model(self.x).sum()
            tc.trace(loss) if i % 2 else loss.backward()
        if i % 50 == 0:
            with suppress(Oops):
                tc.summary(self.model, (1, 28, 28))

    def training(self, i):
        self.model.where = ""
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        with suppress(Oops):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(batch[0]), batch[1]).backward()
            tc.optim.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step(fail if i % 5 == 4 else None)
            self.scheduler.step()

    def maybe_fails(self, x, fails):
        self.walk()
        if fails:
            raise Oops
        return self.model(x)

    def capture(self, i):
        with suppress(Oops):
            self.captured(self.x, i % 2 == 1)

    def state(self, i):
        state = self.model.state_dict()
        self.optimizer.load_state_dict(self.optimizer.state_dict())
        tc.set_rng_state(tc.get_rng_state())
        with suppress(tc.CheckpointError):
            self.model.load_state_dict({**state, "unknown": state["net.conv1.weight"]} if i % 2 else state)
        if i % 25 == 0:
            self.model.load_state_dict(load_weights(save_weights(state, self.folder / "weights.safetensors")))


SETTINGS = {
    "LeNet-5, eager": Bench.eager,
    "DataParallel": Bench.parallel_tiles,
    "an error in forward, plain and in tiles": Bench.error_in_forward,
    "an error in backward or in a hook, plain and in tiles": Bench.error_in_backward,
    "create_graph, an error in every second": Bench.second_order,
    "detect_anomaly, an AnomalyError in every second": Bench.anomaly,
    "profile, trace and summary, an error in every fourth": Bench.looks,
    "DataLoader, clipping, Adam and a schedule, an error in every fifth": Bench.training,
    "capture, an error in every second": Bench.capture,
    "states saved and loaded, an unknown name in every second": Bench.state,
}


def fill_free_lists():
    """CPython keeps up to 2,000 freed tuples of each size, until a collection: let it keep them all from the start."""
    kept = [[tuple(range(size)) for _ in range(2100)] for size in range(1, 20)]
    kept.clear()


def left_behind(step, first, traced):
    """What so many steps leave: unreachable objects, blocks of memory, bytes (0 unless traced)."""
    if traced:
        tracemalloc.start()
    try:
        gc.collect()
        fill_free_lists()
        for i in range(20):  # what a collection empties besides is filled by a few steps
            step(first + i)
        bytes_before, before = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()
        for i in range(first, first + STEPS):
            step(i)
        blocks = sys.getallocatedblocks() - before
        size = tracemalloc.get_traced_memory()[0] - bytes_before
        return gc.collect(), blocks, size
    finally:
        tracemalloc.stop()


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) << 12


def attempts(count, seed, folder):
    """The settings in turn. The noise of Python's own caches is less than a block in ten steps, and 8 bytes a step."""
    bench, warm, settled = Bench(folder), set(), {}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for n in range(count):
            name, step = list(SETTINGS.items())[n % len(SETTINGS)]
            if name not in warm:
                warm.add(name)
                for i in range(60):
                    step(bench, i)
            turn = n // len(SETTINGS)
            for _ in range(2):  # a table of Python's own grows once, a leak each time
                cycles, blocks, size = left_behind(lambda i, step=step: step(bench, i), turn * STEPS, not turn % TRACED)
                wrong = cycles > 0 or blocks >= STEPS / 10 or size >= 8 * STEPS
                if not wrong:
                    break
            settled.setdefault(name, resident())
            figures = {
                "objects in cycles": cycles,
                "blocks a step": round(max(0, blocks) / STEPS, 3),
                "bytes a step": round(max(0, size) / STEPS, 2),
                "MiB more": round(max(0, resident() - settled[name]) / 2**20, 1),
            }
            yield Attempt(name, f"{STEPS} steps left {figures}" if wrong else "", figures)
    finally:
        if enabled:
            gc.enable()
