"""`tinyconv bench ops`: what one small operation costs with recording on, how tapes scale with their length, how long
the package takes to import and the command line to predict, and what a summary of a large model takes.

Each library computes the same on two 4x4 float32 arrays that require grad, in turns of a few hundred calls, so that
whatever else the machine does falls on all of them. Values and gradients are compared before anything is timed.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from harness.processes import run_python
from tinyconv.inspect import Summary
from tinyconv.shapes import Shape
from tinyconv.train import new_run, start
from tinyconv.train.recipes import RECIPES

PARTS = ("overhead", "startup", "summary")
TURNS, CALLS = 300, 200
ARRAYS = [np.random.default_rng(seed).standard_normal((4, 4), np.float32) for seed in range(2)]


def operations(a: Any, b: Any) -> dict[str, Callable[[], Any]]:
    return {
        "a * b": lambda: a * b,
        "a + b": lambda: a + b,
        "a * 2": lambda: a * 2.0,
        "exp": lambda: a.exp(),
        "relu": lambda: a.relu(),
        "tanh": lambda: a.tanh(),
    }


def tinyconv_library() -> Any:
    a, b = (tc.tensor(array, requires_grad=True) for array in ARRAYS)
    return operations(a, b), lambda y: (y.array, _gradient(y, a))


def _gradient(y: tc.Tensor, x: tc.Tensor) -> Any:
    (found,) = tc.grad(y.sum(), x)
    assert found is not None
    return found.array


def torch_library() -> Any:
    import torch

    torch.set_num_threads(1)
    a, b = (torch.tensor(array, requires_grad=True) for array in ARRAYS)
    return operations(a, b), lambda y: (y.detach().numpy(), torch.autograd.grad(y.sum(), a)[0].numpy())


def mygrad_library() -> Any:
    import mygrad

    a, b = (mygrad.tensor(array) for array in ARRAYS)
    ops = operations(a, b) | {
        "exp": lambda: mygrad.exp(a),
        "relu": lambda: mygrad.nnet.relu(a),
        "tanh": lambda: mygrad.tanh(a),
    }

    def result(y: Any) -> Any:
        y.sum().backward()
        return y.data, a.grad

    return ops, result


LIBRARIES: dict[str, Callable[[], Any]] = {
    "tinyconv": tinyconv_library,
    "torch": torch_library,
    "mygrad": mygrad_library,
}


def available() -> dict[str, Any]:
    found = {}
    for name, make in LIBRARIES.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"{name}: left out, {error}")
    return found


def compare(libraries: dict[str, Any]) -> None:
    """Raises AssertionError unless all give the same values and gradients."""
    ops, result = libraries["tinyconv"]
    for op in ops:
        expected = result(ops[op]())
        for name, (others, other_result) in libraries.items():
            for ours, theirs in zip(expected, other_result(others[op]()), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=f"{op} of {name}")


def burst(function: Callable[[], Any]) -> float:
    """Microseconds a call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - start) / CALLS * 1e6


def calls(libraries: dict[str, Any]) -> list[dict[str, Any]]:
    """The median of the turns of every op in every library, the range of the middle half, and the ratio to torch."""
    samples: dict[tuple[str, str], list[float]] = {(op, name): [] for name, (ops, _) in libraries.items() for op in ops}
    for _ in range(TURNS):
        for op, name in samples:
            samples[op, name].append(burst(libraries[name][0][op]))
    rows = []
    for (op, name), of_op in samples.items():
        low, median, high = statistics.quantiles(of_op, n=4)
        row = {"op": op, "library": name, "median_us": median, "quartiles_us": [low, high], "best_us": min(of_op)}
        if "torch" in libraries:
            ratios = [ours / theirs for ours, theirs in zip(of_op, samples[op, "torch"], strict=True)]
            row["ratio_to_torch"] = statistics.median(ratios)
        rows.append(row)
    return rows


def tapes() -> list[dict[str, Any]]:
    """Chains of different lengths, and diamonds of different depths: microseconds an op, forward and backward.

    With Python's cycle collector and without: it looks through all objects that are alive again and again, though a
    tape has no cycles.
    """
    sizes = {"chain": (1_000, 10_000, 100_000, 200_000), "diamond": (20, 40, 60)}
    return [walk(shape, n, collector) for shape in sizes for n in sizes[shape] for collector in (True, False)]


def walk(shape: str, n: int, collector: bool) -> dict[str, Any]:
    """Microseconds an op, forward and backward, of the best of five tapes."""
    forward, backward = [], []
    for _ in range(5):
        gc.collect()
        if not collector:
            gc.disable()
        x = y = tc.tensor(1.0, requires_grad=True)
        start = time.perf_counter()
        for _ in range(n):
            y = y + y if shape == "diamond" else y * 1.0
        forward.append(time.perf_counter() - start)
        start = time.perf_counter()
        y.backward()
        backward.append(time.perf_counter() - start)
        gc.enable()
        assert x.grad is not None
        assert x.grad.item() == (2.0**n if shape == "diamond" else 1.0)
    each = {"forward_us": min(forward) / n * 1e6, "backward_us": min(backward) / n * 1e6}
    return {"tape": shape, "ops": n, "collector": collector, **each}


# --- until it runs --------------------------------------------------------------------------------------------------

IMPORTS = ("import numpy", "import tinyconv")
PROCESSES = 20


def startup() -> dict[str, Any]:
    """Seconds that fresh interpreters take, alternating: to import NumPy, to import this package (which imports NumPy
    first), and to say what a picture of a digit shows; with byte code, as every run but the first has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, picture = Path(folder, "lenet.safetensors"), Path(folder, "digit.png")
        start(new_run("lenet5", "synthetic", 0, RECIPES["default"])).save(checkpoint)
        from PIL import Image

        Image.fromarray((255 * np.eye(28)).astype(np.uint8)).save(picture)
        commands = {what: ["-c", what] for what in IMPORTS}
        commands["tinyconv predict"] = ["-m", "tinyconv", "predict", str(checkpoint), str(picture)]
        seconds: dict[str, list[float]] = {what: [] for what in commands}
        for turn in range(PROCESSES + 1):
            for what, command in commands.items():
                started = time.perf_counter()
                run_python(*command, folder=folder, variables=environment)
                if turn:  # the first reads files that the others find in memory
                    seconds[what].append(time.perf_counter() - started)
    above = [ours - theirs for theirs, ours in zip(*(seconds[what] for what in IMPORTS), strict=True)]
    return {
        "seconds": seconds,
        "median_ms": {what: 1e3 * statistics.median(runs) for what, runs in seconds.items()},
        "import_above_numpy_ms": 1e3 * statistics.median(above),
    }


# --- summaries ------------------------------------------------------------------------------------------------------

SUMMARISED = {"lenet5": (1, 28, 28), "vgg16": (3, 224, 224), "resnet50": (3, 224, 224)}


def summaries() -> list[dict[str, Any]]:
    """Make a model on device meta and sum it up: milliseconds, and the most memory that Python's objects took."""
    rows = []
    for name, shape in SUMMARISED.items():

        def summarised(name: str = name, shape: Shape = shape) -> Summary:
            with tc.device("meta"):
                return tc.summary(tc.models.create(name), shape)

        summarised()  # imports
        tracemalloc.start()
        found = summarised()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        times = []
        for _ in range(50):
            started = time.perf_counter()
            summarised()
            times.append(1e3 * (time.perf_counter() - started))
        low, median, high = statistics.quantiles(times, n=4)
        rows.append(
            {
                "model": name,
                "parameters": found.total_params,
                "macs": found.total_macs,
                "median_ms": median,
                "quartiles_ms": [low, high],
                "peak_mib": peak / 2**20,
            }
        )
    return rows


def run(parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """The parts of the record."""
    found: dict[str, Any] = {}
    if "overhead" in parts:
        libraries = available()
        compare(libraries)
        found["overhead"] = {
            "turns": TURNS,
            "calls_a_turn": CALLS,
            "calls": calls(libraries),
            "tapes": tapes(),
        }
    if "startup" in parts:
        found["startup"] = startup()
    if "summary" in parts:
        found["summary"] = {"models": summaries()}
    return found
