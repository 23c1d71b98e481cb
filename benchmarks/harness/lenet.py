"""`tinyconv bench lenet`: LeNet's training step, inference, memory and a whole training, beside other libraries."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from harness import bare
from harness.libraries import LIBRARIES, OURS, REFERENCE, ready
from harness.library import Missing
from harness.processes import Failed, bind, in_process, measured, reply, run_python, variables_for
from harness.tasks import LENET
from harness.timing import in_turns, rounded, summary, timed
from tinyconv import data
from tinyconv.host.threads import VARIABLES

MODULE = "harness.lenet"
PARTS = ("step", "inference", "scaling", "memory", "process")
BATCHES = (1, 32, 128, 512, 4096)
INFERENCE = (1, 128, 10_000)
SCALING = (128, 512, 2048, 8192)
BURST, LARGE_BURST = 20, 4  # calls a turn, and above 512 images
TIMES_SLOWER = 10  # than PyTorch: from there on a library takes part in fewer turns


def run(
    parts: Sequence[str] = PARTS,
    threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = BATCHES,
    libraries: Sequence[str] = tuple(LIBRARIES),
    steps: int = 200,
    root: Path | None = None,
) -> dict[str, Any]:
    """Measure these parts; each number of threads, and each library's memory, in a process of its own.

    The result is what a record keeps: a part for each of step, inference and scaling and each number of threads
    ("step, 2 threads"), memory and process.
    """
    found: dict[str, Any] = {}
    for part in parts:
        if part in ("step", "inference", "scaling"):
            for count in threads:
                question = {"part": part, "batches": batches, "libraries": libraries, "steps": steps, "threads": count}
                found[f"{part}, {count} thread{'s' * (count > 1)}"] = in_process(MODULE, question, variables_for(count))
        elif part == "memory":
            found[part] = memory(libraries)
        else:
            found[part] = whole_process(max(threads), repeats=max(1, steps // 40), root=root)
    return found


def answer(question: Mapping[str, Any]) -> Any:
    if question["part"] == "peak":
        return peak_memory(question["library"])
    bind(question["threads"])
    if question["part"] == "step":
        return {"batches": [step(batch, question) for batch in question["batches"]]}
    if question["part"] == "inference":
        return {"batches": [inference(batch, question) for batch in INFERENCE]}
    return scaling(question)


def patience(functions: Mapping[str, Any], turns: int) -> dict[str, int]:
    """{name: n} for functions that are much slower than the reference: they take part in every n-th turn."""
    took = {name: min(timed(function) for _ in range(2)) for name, function in functions.items()}
    usual = took.get(REFERENCE, min(took.values()))
    every = {name: int(seconds / usual) for name, seconds in took.items() if seconds > TIMES_SLOWER * usual}
    return {name: min(n, max(1, turns // 3)) for name, n in every.items()}


def step(batch: int, question: Mapping[str, Any]) -> dict[str, Any]:
    """Training steps at one batch size, the libraries in turns; above 512 images a fifth as many."""
    made, batches, reasons = ready(LENET, question["libraries"], batch)
    functions = {name: lambda name=name: float(made[name].step(batches[name])) for name in made}
    burst = min(BURST if batch <= 512 else LARGE_BURST, question["steps"])
    turns = max(2, question["steps"] // BURST)
    samples = in_turns(functions, turns, burst, patience(functions, turns))
    return {"batch": batch, **_kept(samples, reasons)}


def inference(batch: int, question: Mapping[str, Any]) -> dict[str, Any]:
    """The logits of a batch with nothing recorded; they are compared before they are timed."""
    made, _, reasons = ready(LENET, question["libraries"], 8)
    x, y = LENET.batch(batch)
    functions, expected = {}, None
    for name in list(made):
        library = LIBRARIES[name](LENET)
        prepared = library.prepare(x, y)
        logits = np.asarray(library.infer(prepared))
        expected = logits if expected is None else expected
        if not np.allclose(logits, expected, rtol=1e-4, atol=1e-4):
            reasons[name] = "its logits are not ours; not timed"
            continue
        functions[name] = lambda library=library, prepared=prepared: library.infer(prepared)
    burst = min(BURST if batch <= 512 else LARGE_BURST, question["steps"])
    turns = max(2, question["steps"] // BURST)
    samples = in_turns(functions, turns, burst, patience(functions, turns))
    return {"batch": batch, **_kept(samples, reasons)}


def scaling(question: Mapping[str, Any]) -> dict[str, Any]:
    """Microseconds an image of a training step at each batch size, for ours and for PyTorch's."""
    names = [name for name in (OURS, "tinyconv parallel", REFERENCE) if name in {OURS, *question["libraries"]}]
    functions: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for batch in SCALING:
        made, batches, reasons = ready(LENET, names, batch)
        for name, library in made.items():
            functions[f"{name}, {batch}"] = lambda library=library, b=batches[name]: float(library.step(b))
    samples = in_turns(functions, max(3, question["steps"] // 20), 2)
    each = {
        key: 1e6 * median(s for turn in turns for s in turn) / int(key.rpartition(", ")[2])
        for key, turns in samples.items()
    }
    return {"us_an_image": each, "samples_ms": rounded(samples), "missing": reasons}


def _kept(samples: Mapping[str, list[list[float]]], reasons: Mapping[str, str]) -> dict[str, Any]:
    return {"summary": summary(samples, REFERENCE), "missing": reasons, "samples_ms": rounded(samples)}


# --- memory ---------------------------------------------------------------------------------------------------------

IMAGES, MEMORY_STEPS = 60_000, 60


def memory(libraries: Iterable[str]) -> dict[str, Any]:
    """The peak memory of a short training in each library, in MiB above that of an interpreter that does nothing."""
    bare_mib = float(run_python(bare.__file__, folder=Path(__file__).parent))
    found, reasons = {}, {}
    for name in libraries:
        try:
            result = in_process(MODULE, {"part": "peak", "library": name}, variables_for(2))
        except Failed as error:
            reasons[name] = f"its process ended with {error.returncode}"
            continue
        if isinstance(result, str):
            reasons[name] = result
        else:
            found[name] = result - bare_mib
    return {"bare_mib": bare_mib, "above_bare_mib": found, "missing": reasons, "images": IMAGES, "steps": MEMORY_STEPS}


def peak_memory(name: str) -> float | str:
    """The peak memory of this process, in MiB, after steps of 128 of 60,000 images that are held as bytes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 1, 28, 28), np.uint8)
    try:
        library = LIBRARIES[name](LENET)
        for _ in range(MEMORY_STEPS):
            chosen = rng.integers(0, IMAGES, 128)
            float(library.step(library.prepare(images[chosen].astype(np.float32) / 255, rng.integers(0, 10, 128))))
    except (Missing, ImportError) as error:
        return str(error)
    return bare.peak_mib()


# --- whole processes ------------------------------------------------------------------------------------------------


def whole_process(threads: int, repeats: int, root: Path | None) -> dict[str, Any]:
    """`tinyconv train lenet5`, five epochs of MNIST, in NumPy and with the compiled pairs, and the same recipe in
    PyTorch: from start to exit, alternating."""
    folder = data.locate("mnist", root) or data.fetch("mnist", root)
    environment = os.environ | dict.fromkeys(VARIABLES, str(threads))
    with tempfile.TemporaryDirectory() as scratch:
        ours = ["-m", "tinyconv", "train", "lenet5", "--epochs", "5", "--seed", "0", "--json", "--offline"]
        ours += ["--overwrite", "--out", f"{scratch}/lenet.safetensors"] + (
            ["--data-dir", str(root.absolute())] if root else []
        )
        theirs = [str(Path(__file__).with_name("torch_recipe.py")), str(folder.absolute())]
        commands = {
            "tinyconv": (ours, environment),
            "tinyconv native": (ours, environment | {"TINYCONV_FAST": "native"}),
            REFERENCE: (theirs, environment),
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, (command, variables) in commands.items():
                runs[name].append(one_process(command, variables, scratch))
    ratios = {
        name: [a["seconds"] / b["seconds"] for a, b in zip(runs[name], runs[REFERENCE], strict=True)] for name in runs
    }
    return {"threads": threads, "runs": runs, "ratios": ratios}


def one_process(command: Sequence[str], environment: Mapping[str, str], folder: str) -> dict[str, float]:
    """Seconds from start to exit, peak memory in MiB, and the accuracy it reported in its last line."""
    figures, last = measured(*command, folder=folder, variables=environment)
    return figures | {"test_accuracy": json.loads(last)["test_accuracy"]}


if __name__ == "__main__":
    reply(answer)
