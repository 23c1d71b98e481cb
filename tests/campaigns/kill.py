"""Kill trainings, resume them, and compare what they end with."""

import mmap
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
from commands import run_here
from safetensors.numpy import load_file

from campaigns.attempt import Attempt
from tinyconv import cli
from tinyconv.data import datasets
from tinyconv.errors import CheckpointError
from tinyconv.train import StepReport, load_checkpoint, loop

PROMISE = (
    "A training that is killed, at any moment, is resumed to the weights that it would have had, bit for bit; a killed "
    "one (SIGKILL) loses the steps since its last save, at most those of --save-every, and one that is asked to stop "
    "(SIGTERM, SIGINT, SIGHUP) none; no other file is left."
)
COUNT, DOSE = 100, 10

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
ASKING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
PLACES = ("random moment", "write", "fsync", "rename")
KINDS = [(sign, place) for place in PLACES for sign in SIGNALS]
STEPS, EPOCHS, BATCH, EVERY = 8, 3, 16, 3
SAVES = EPOCHS * 3  # after steps 3, 6 and 8 of an epoch
FEW = {"SYNTHETIC_TRAIN": BATCH * STEPS, "SYNTHETIC_TEST": 20}  # images
TRAIN = ["train", "flatten; fc 8; relu; dropout; fc 10", "--data", "synthetic", "--epochs", str(EPOCHS),
         "--batch-size", str(BATCH), "--shift", "1", "--threads", "1"]  # fmt: skip
REAL = ["train", "mlp", "--data", "synthetic", "--option", "hidden=16", "--epochs", "2", "--batch-size", "200"]
PATIENCE = 120.0  # seconds


def attempts(count, seed, folder, sabotage=lambda: None):
    """`sabotage` is done in each process before it trains: what a broken library would be."""
    with mock.patch.multiple(datasets, **FEW):
        run_here(*TRAIN, "--out", folder / "warm")  # what is imported once is there for all copies of this process
    whole, duration = undisturbed(folder, Forked, TRAIN)
    real = None
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        place = folder / str(i)
        if i % 10 == 9:  # the command line, in an interpreter of its own
            real = real or undisturbed(folder, Started, REAL)
            sign = SIGNALS[i // 10 % 4]
            yield attempt(f"{sign} at a random moment, as a command", sign, REAL, real[0], place, Started, rng, real[1])
        else:
            sign, where = KINDS[5 * i % len(KINDS)]
            when = (
                None if where == PLACES[0] else (where, int(rng.integers(1, SAVES + 1)), round(float(rng.random()), 2))
            )

            def start(place, args, when=None):
                return Forked(place, args, sabotage, when)

            yield attempt(f"{sign} at a {where}", sign, TRAIN, whole, place, start, rng, duration, when)


def undisturbed(folder, start, train):
    """The checkpoint of a training that nothing disturbs, and the seconds that it took."""
    place = folder / start.__name__
    began = time.monotonic()
    process = start(place, [*train, "--out", "c"])
    assert process.wait() == 0, process.said()
    return place / "c", time.monotonic() - began


def attempt(kind, sign, train, whole, place, start, rng, duration, when=None):
    """Start, kill, resume, compare. `when` is the place in a save, or None for a random moment."""
    number = getattr(signal, sign)
    out, args = place / "c", [*train, "--save-every", str(EVERY), "--out", "c"]
    process = start(place, args) if when is None else start(place, args, (number, *when))
    delay = float(rng.uniform(0, duration)) if when is None else None
    code = process.wait(delay, number)
    moment = f"after {delay} s" if when is None else f"{when[2]} of the {when[0]} of save {when[1]}"

    def failed(text):
        return Attempt(kind, f"{text} ({moment})")

    figures = {}
    if code not in (0, -number, 128 + number):
        return failed(f"exit code {code}: {process.said()}")
    if sign != "SIGKILL" and code != -number and (wrong := set(names(place)) - {"c"}):
        return failed(f"left {wrong}")
    try:
        at = load_checkpoint(out).trainer["progress"] if out.exists() else {"epoch": 0, "step": 0}
    except CheckpointError as error:
        return failed(f"damaged: {error}")
    if process.steps is not None:
        lost = process.steps - (at["epoch"] * STEPS + at["step"])
        figures["steps lost"] = lost
        if lost > (EVERY if code == -signal.SIGKILL else 0):
            return failed(f"{lost} steps of {process.steps} are lost")
    process = start(place, ["train", "--resume", "c"] if out.exists() else args)
    if (code := process.wait()) != 0:
        return failed(f"resuming: exit code {code}: {process.said()}")
    if names(place) != ["c"]:
        return failed(f"left {names(place)}")
    return failed(difference(out, whole)) if difference(out, whole) else Attempt(kind, "", figures)


def names(place):
    return sorted(path.name for path in place.iterdir() if path.name != "said")


def difference(one, other):
    ours, theirs = load_file(one), load_file(other)
    differ = [name for name in theirs if name not in ours or ours[name].tobytes() != theirs[name].tobytes()]
    if differ or ours.keys() != theirs.keys():
        return f"other bits in {', '.join(differ[:3])} and {len(differ[3:])} more, of {len(theirs)}"
    ours, theirs = (load_checkpoint(path).trainer for path in (one, other))
    for state in (ours, theirs):
        for entry in state["progress"]["history"]:
            del entry["seconds"]
    return "" if ours == theirs else f"another end: {ours} instead of {theirs}"


class Started:
    """`tinyconv ARGS` in `place`, in an interpreter of its own."""

    steps = None  # nobody counts them

    def __init__(self, place, args):
        self.place = place
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tinyconv", *args]
        with (place / "said").open("w") as said:
            self.process = subprocess.Popen(
                command, cwd=place, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=usual_signals
            )

    def wait(self, delay=None, number=None):
        """The exit code, negative for a signal. `number` is sent after `delay` seconds if given."""
        ends = time.monotonic() + PATIENCE
        if delay is not None:
            self.pause(time.monotonic() + delay)
            self.send(number)
        self.pause(ends)
        if self.poll() is None:
            self.send(signal.SIGKILL)
            self.pause(time.monotonic() + PATIENCE)
            return "none: it did not end"
        return self.poll()

    def pause(self, until):
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.001)

    def poll(self):
        return self.process.poll()

    def send(self, number):
        self.process.send_signal(number)

    def said(self):
        return " / ".join((self.place / "said").read_text(errors="replace").splitlines()[-3:])[:500]


class Forked(Started):
    """The same in a copy of this process, on few images, after a `sabotage`.

    `when`, if given, is the arguments of `kill_at`.
    """

    def __init__(self, place, args, sabotage=lambda: None, when=None):
        self.place, self.counter, self.code = place, mmap.mmap(-1, 8), None
        place.mkdir(exist_ok=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)  # until the copy is ready
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: the copy starts none
            self.pid = os.fork()
        if self.pid != 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
        else:
            try:
                self._train(args, sabotage, when)
            finally:
                traceback.print_exc()
                os._exit(99)

    @property
    def steps(self):
        return int.from_bytes(self.counter[:], "little")

    def poll(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def send(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def _train(self, args, sabotage, when):
        usual_signals()
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        os.chdir(self.place)
        said = Path("said").open("w", buffering=1)  # noqa: SIM115 (open to the end)
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = said
        vars(datasets).update(FEW)
        self._count()
        sabotage()
        if when is not None:
            kill_at(*when)
        sys.argv = ["tinyconv", *args]
        code = 0
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        said.flush()
        os._exit(code)

    def _count(self):
        run = loop.Trainer.run

        def counted(trainer):
            for report in run(trainer):
                if isinstance(report, StepReport):
                    self.counter[:] = ((report.epoch - 1) * report.steps + report.step).to_bytes(8, "little")
                yield report

        loop.Trainer.run = counted


def usual_signals():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def kill_at(number, place, save, share):
    """Let this process send itself a signal in a save: within what it writes, else before or after the call."""
    target, name = {"write": (Path, "write_bytes"), "fsync": (os, "fsync"), "rename": (os, "replace")}[place]
    real, calls = getattr(target, name), 0

    def hooked(*args):
        nonlocal calls
        calls += 1
        if calls != save:
            return real(*args)
        if place == "write":
            real(args[0], args[1][: int(share * len(args[1]))])
        if place == "write" or share < 0.5:
            os.kill(os.getpid(), number)
            return real(*args)
        real(*args)
        return os.kill(os.getpid(), number)

    setattr(target, name, hooked)
