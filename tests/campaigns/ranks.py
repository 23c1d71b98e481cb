"""Kill one of four ranks, look at how the others end, resume on another number of ranks, and compare."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from commands import run_here
from PIL import Image

from campaigns.attempt import Attempt
from campaigns.kill import difference, names, usual_signals
from tinyconv.errors import CheckpointError
from tinyconv.train import load_checkpoint

PROMISE = (
    "Where one of four ranks is killed, at any moment, all end within 5 s; the first says once which one it was, where "
    "it is another; no process and no shared memory is left, the last checkpoint is whole, and resumed on one or two "
    "ranks it comes to the weights of an undisturbed training on one, bit for bit."
)
COUNT, DOSE = 50, 2

RANKS, IMAGES, BATCH, EPOCHS = 4, 600, 200, 15
TRAIN = ["train", "flatten; fc 8; relu; dropout; fc 2", "--data", "pictures", "--size", "8", "--epochs", str(EPOCHS),
         "--batch-size", str(BATCH), "--shift", "1", "--threads", "1", "--kernels", "numpy", "--save-every", "3",
         "--json"]  # fmt: skip
MOMENTS = "as they start", "as they train"
SOON = 5.0  # seconds within which all end
PATIENCE = 300.0  # seconds for what is not disturbed


def attempts(count, seed, folder, sabotage=""):
    """`sabotage` is Python that each process runs first: what a broken library would be."""
    rng = np.random.default_rng(seed)
    for label in ("dark", "light"):
        (folder / "pictures" / label).mkdir(parents=True)
        for i in range(IMAGES // 2):
            shade = rng.integers(0, 200, (8, 8), np.uint8) + 50 * (label == "light")
            Image.fromarray(shade.astype(np.uint8)).save(folder / "pictures" / label / f"{i}.png")
    (folder / "own").mkdir()
    (folder / "own" / "sitecustomize.py").write_text(sabotage, "utf-8")
    run_here(*TRAIN, "--out", "whole", cwd=folder)
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        moment, struck = MOMENTS[i % 4 > 0], int(rng.integers(0, RANKS))
        yield attempt(folder, folder / str(i), moment, struck, rng, 1 + (i % 4 == 1))


def attempt(folder, place, moment, struck, rng, resumed_on):
    """Start, kill, look, resume, compare."""
    place.mkdir()
    (place / "pictures").symlink_to(folder / "pictures")
    kind, began = f"{'the first' if struck == 0 else 'another'}, {moment}", time.monotonic()
    process = Ranks(place, folder / "own")
    pids = process.ranks()
    if moment == MOMENTS[1]:
        process.await_epoch(int(rng.integers(1, EPOCHS * 2 // 3)))
        time.sleep(float(rng.uniform(0, 0.05)))
    else:
        until = time.monotonic() + float(rng.uniform(0, 2.0))
        while time.monotonic() < until and process.epochs == 0:  # a fast machine would be done by then
            time.sleep(0.005)
    family, where = process.family(), f"rank {struck} of {RANKS}, {time.monotonic() - began:.2f} s after the start"

    def failed(text):
        process.end(family)
        return Attempt(kind, f"{text} ({where}; {process.said()})")

    if len(pids) < RANKS or process.process.poll() is not None:
        return failed("it did not come to where it is killed")
    os.kill(pids[struck], signal.SIGKILL)
    since = time.monotonic()
    while (left := alive(family)) and time.monotonic() < since + SOON:
        process.process.poll()
        time.sleep(0.01)
    seconds = time.monotonic() - since
    if left:
        return failed(f"{len(left)} of {len(family)} processes are there after {SOON:g} s")
    if memory := [name for name in os.listdir("/dev/shm") if name.startswith(f"tinyconv-{pids[0]}-")]:
        return failed(f"left the shared memory {memory}")
    code, lines = process.process.wait(), process.said_all()
    process.reader.join()
    if code != (-signal.SIGKILL if struck == 0 else 1):
        return failed(f"exit code {code}")
    told = f"error: rank {struck} of {RANKS} ended: its process is gone (SIGKILL)"
    if struck and (len(lines) != 1 or not lines[0].startswith(told)):
        return failed(f"said {lines}")
    if any("Traceback" in line for line in lines):
        return failed("a traceback")
    out = place / "c"
    try:
        if out.exists():
            load_checkpoint(out)
    except CheckpointError as error:
        return failed(f"damaged: {error}")
    again = ["train", "--resume", "c", "--kernels", "numpy"] if out.exists() else [*TRAIN, "--out", "c"]
    if resumed_on == 1:
        run_here(*again, cwd=place)
    else:
        ended = process.start([*again, "--ranks", str(resumed_on)], place / "again").wait(PATIENCE)
        if ended != 0:
            return failed(f"resuming on {resumed_on} ranks: exit code {ended}: {(place / 'again').read_text()[-300:]}")
        (place / "again").unlink()
    if wrong := set(names(place)) - {"c", "pictures"}:
        return failed(f"left {wrong}")
    if found := difference(out, folder / "whole"):
        return failed(f"resumed on {resumed_on}: {found}")
    return Attempt(kind, "", {"seconds to the end": round(seconds, 1)})


class Ranks:
    """`tinyconv train --ranks 4` in `place`, in processes that find the modules of `own` before all others."""

    def __init__(self, place, own):
        self.place, self.epochs = place, 0
        self.path = os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")])
        self.process = self.start([*TRAIN, "--ranks", str(RANKS), "--out", "c"], place / "said", subprocess.PIPE)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def start(self, args, said, out=subprocess.DEVNULL):
        with said.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "tinyconv", *args], cwd=self.place, stdin=subprocess.DEVNULL, stdout=out,
                stderr=errors, preexec_fn=usual_signals, env={**os.environ, "PYTHONPATH": self.path},
            )  # fmt: skip

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.epochs = json.loads(line).get("epoch", self.epochs)

    def await_epoch(self, number):
        self._until(lambda: self.epochs >= number)

    def ranks(self):
        """The processes of all ranks, as soon as they are there, the first one first."""
        self._until(lambda: len(self._spawned()) == RANKS - 1)
        return [self.process.pid, *self._spawned()]

    def family(self):
        """The first rank, and what it has started."""
        return [self.process.pid, *children_of(self.process.pid)]

    def _spawned(self):
        return [pid for pid in children_of(self.process.pid) if "spawn_main" in command_of(pid)]

    def _until(self, true):
        until = time.monotonic() + PATIENCE
        while not true() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)

    def end(self, family):
        """End what should have ended; Python's own process that tidies up shared memory then does so."""
        for pid in alive(family):
            if "resource_tracker" not in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(1)

    def said_all(self):
        return (self.place / "said").read_text(errors="replace").splitlines()

    def said(self):
        return " / ".join(self.said_all()[-3:])[:500]


def children_of(pid):
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()))
    except OSError:
        return []


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8")
    except OSError:
        return ""


def alive(pids):
    """Those of the processes that run; one that has ended and waits for its parent has no command line."""
    return [pid for pid in pids if command_of(pid)]
