"""Ctrl-C in parallel loops and inside `with` blocks: threads, contexts, modes and results are as before."""

import random
import signal
import sys
import threading
import time
from contextvars import copy_context

import numpy as np

import tinyconv as tc
from campaigns.attempt import Attempt
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.host import threads

PROMISE = (
    "A Ctrl-C leaves BLAS's threads and ours as they were, nobody computing, every context (no_grad, device, using, "
    "profile, detect_anomaly) and the modes and tensors of the model; the next step gives the same bits as without it."
)
COUNT = 1000
DOSE = 60
BLOCKING = {"acquire", "get", "wait"}  # of the functions of C, those that a signal ends before they are done


class Points:
    """Where CPython looks for signals: as a Python function begins, after a C function, and inside a blocking one.

    `run(function, at)` raises KeyboardInterrupt at one of them, by number; it returns whether the function came so far.
    One instant is left out, as `__exit__` begins: Python has called it then and not run it, and no block is safe.
    """

    def __init__(self):
        self.passed, self.at, self.where = 0, None, ""

    def run(self, function, at=None):
        self.passed, self.at, self.where = 0, at, ""
        before, unraisable = sys.getprofile(), sys.unraisablehook
        sys.unraisablehook = lambda what: None  # as a generator is dropped, Python drops a KeyboardInterrupt too
        sys.setprofile(self._event)
        try:
            function()
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(before)
            sys.unraisablehook = unraisable
        return False

    def _event(self, frame, event, what):
        if frame.f_code in (Points.run.__code__, Points._event.__code__):
            return
        if event == "call" and frame.f_code.co_name == "__exit__":
            return
        if event in ("call", "c_return") or (event == "c_call" and what.__name__ in BLOCKING):
            self.passed += 1
            if self.passed == self.at:
                self.where = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {event}"
                raise KeyboardInterrupt


class Scene:
    """A small net, a batch, what a step of it gives, and all that an interrupt must leave as it is."""

    def __init__(self):
        tc.manual_seed(0)
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)
        ).train()
        self.parallel = nn.DataParallel(self.model, threads=2, tile=4)
        self.x, self.y = tc.randn(8, 1, 8, 8), tc.randint(0, 10, (8,))
        self.working = []
        self.state = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        self.expected = {name: self.outcome(name) for name in KINDS}

    # What is interrupted.

    def loop(self):
        """A loop whose parts say when they work."""
        self.found = threads.parallel(self.part, 6, 2)

    def part(self, i):
        try:
            self.working.append(i)
            return [library.get_num_threads() for library in threads._blas()] + [i, float(np.arange(2000.0).sum())]
        finally:
            self.working.remove(i)

    def step(self):
        self.train(self.parallel)

    def native(self):
        with tc.using("native"):
            self.train(self.model)

    def train(self, run):
        self.model.load_state_dict(self.state)
        self.model.zero_grad()
        loss = F.cross_entropy(run(self.x), self.y)
        loss.backward()
        self.found = [loss.item(), *(p.grad.array.tobytes() for p in self.model.parameters())]

    def blocks(self):
        """A block of each kind, one inside another."""
        with tc.no_grad(), tc.device("cpu"), tc.using("readable"), tc.profile(), tc.detect_anomaly(), tc.enable_grad():
            out = self.model.eval()(self.x)
        self.model.train()
        self.found = out.array.tobytes()

    def look(self):
        """Functions that change a model for a while: its modes, and its tensors."""
        parts = {name: tc.zeros_like(t) for name, t in self.model.named_parameters()}
        out = nn.functional_call(self.model, parts, (self.x,))
        self.found = [str(tc.summary(self.model, (1, 8, 8))), out.array.tobytes()]

    # What is compared.

    def outcome(self, kind):
        self.model.load_state_dict(self.state)
        getattr(self, kind)()
        return self.found

    def fault(self, kind, settings):
        """What is not as it was, in a line; or ""."""
        if self.working:
            return "a helper was still at work"
        team, blas, here = threads._team, threads._blas_threads, threads._here
        if here.in_loop or here.alone or blas.inside or blas.before is not None:
            return f"inside a loop still: {vars(here)}, {blas.inside}"
        if self.settings() != settings:
            return f"settings {self.settings()} for {settings}"
        if not all(member.is_alive() for member in team.members):
            return "a dead thread is counted"
        if self.outcome(kind) != self.expected[kind]:
            return "the next run gave other results"
        return ""

    def settings(self):
        """BLAS's threads, the context variables, and the model's modes and tensors."""
        contexts = [(variable.name, value) for variable, value in copy_context().items() if "tinyconv" in variable.name]
        held = [(p.array.__array_interface__["data"], p.shape) for p in self.model.parameters()]
        modes = [module.training for module in self.model.modules()]
        numbers = [library.get_num_threads() for library in threads._blas()]
        return numbers, sorted(contexts, key=repr), modes if "blocks" not in self.kind else [], held

    kind = ""


KINDS = {
    "loop": "a parallel loop",
    "step": "forward and backward under DataParallel",
    "native": "forward and backward of compiled pairs",
    "blocks": "with blocks, one inside another",
    "look": "summary and functional_call",
}


def attempts(count, seed, folder):
    """The kinds in turn: half of them at a point at which CPython looks for signals, half at a random moment."""
    scene, rng, points = Scene(), random.Random(seed), Points()
    lengths = {}
    for kind in KINDS:
        points.run(getattr(scene, kind))
        lengths[kind] = points.passed
    for i in range(count):
        kind = list(KINDS)[i // 2 % len(KINDS)]
        settings = prepared(scene, kind)
        if i % 2 == 0:
            at = rng.randrange(1, lengths[kind] + 1)
            points.run(getattr(scene, kind), at)
            where = f"point {at}, {points.where}"
        else:
            delay = rng.uniform(0, 0.02)
            at_a_moment(getattr(scene, kind), delay)
            where = f"after {1e3 * delay:.2f} ms"
        fault = scene.fault(kind, settings)
        moment = "at a chosen call" if i % 2 == 0 else "at a random moment"
        yield Attempt(f"{KINDS[kind]}, {moment}", fault and f"{where}: {fault}")


def prepared(scene, kind):
    scene.kind = kind
    scene.model.train()
    return scene.settings()


def at_a_moment(function, delay):
    """Run it again and again, until SIGINT comes, after so many seconds."""
    ready = threading.Event()

    def strike():
        ready.wait()
        time.sleep(delay)
        signal.pthread_kill(struck, signal.SIGINT)

    struck, before = threading.get_ident(), signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=strike)
    thread.start()
    try:
        ready.set()
        end = time.monotonic() + 10
        while time.monotonic() < end:  # Python drops a KeyboardInterrupt that comes as it drops an object
            function()
    except KeyboardInterrupt:
        pass
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
