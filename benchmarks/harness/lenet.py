"""`tinyconv bench lenet`: LeNet's training step, inference, memory and a whole training, beside other libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import bare
from harness.floor import beside_floor, flops
from harness.libraries import LIBRARIES, OURS, OWN, REFERENCE, exact, ready, why_not
from harness.library import Missing
from harness.processes import Failed, bind, in_process, reply, run_python, variables_for
from harness.tasks import LENET
from harness.timing import WARM, in_turns, rounded, summary, timed
from harness.whole import five_epochs

MODULE = "harness.lenet"
PARTS = ("step", "inference", "memory", "process")
BATCHES = (128, 512, 4096)
INFERENCE = (1, 32, 10_000)
ODD = 160  # images: two tiles and a half
ALL_TAKE_PART = 128  # images: above, the others would take minutes, and only ours and PyTorch are measured
LARGE = 512  # images: above, a tenth of the steps
BURST, LARGE_BURST = 20, 4  # calls a turn
CALLS = 4  # of inference before it is timed: from the third on a captured one is replayed
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

    The result is what a record keeps: a part for step and inference and each number of threads ("step, 2 threads"),
    memory and process.
    """
    found: dict[str, Any] = {}
    for part in parts:
        if part in ("step", "inference"):
            for count in threads:
                question = {"part": part, "batches": batches, "libraries": libraries, "steps": steps, "threads": count}
                found[f"{part}, {count} thread{'s' * (count > 1)}"] = in_process(MODULE, question, variables_for(count))
        elif part == "memory":
            found[part] = memory(libraries)
        else:
            found[part] = five_epochs(max(threads), repeats=max(1, steps // 60), root=root)
    return found


def answer(question: Mapping[str, Any]) -> Any:
    if question["part"] == "peak":
        return peak_memory(question["library"])
    bind(question["threads"])
    if question["part"] == "inference":
        return {"batches": [inference(batch, question) for batch in INFERENCE]}
    differences, unlike = exact(LENET, question["libraries"], ODD)
    return {"batches": [{**step(batch, question, unlike), "differences": differences} for batch in question["batches"]]}


def patience(functions: Mapping[str, Any], turns: int) -> dict[str, int]:
    """{name: n} for functions that are much slower than the reference: they take part in every n-th turn."""
    took = {name: min(timed(function) for _ in range(2)) for name, function in functions.items()}
    usual = took.get(REFERENCE, min(took.values()))
    every = {name: int(seconds / usual) for name, seconds in took.items() if seconds > TIMES_SLOWER * usual}
    return {name: min(n, max(1, turns // 3)) for name, n in every.items()}


def taking_part(libraries: Iterable[str], batch: int) -> list[str]:
    return [name for name in libraries if batch <= ALL_TAKE_PART or name in OWN or name == REFERENCE]


def step(batch: int, question: Mapping[str, Any], unlike: Mapping[str, str]) -> dict[str, Any]:
    """Training steps at one batch size, the libraries in turns. `unlike` are those that are left out, with reasons."""
    names = [name for name in taking_part(question["libraries"], batch) if name not in unlike]
    made, batches, reasons = ready(LENET, names, batch)
    functions = {name: lambda name=name: float(made[name].step(batches[name])) for name in made}
    return {"batch": batch, **_timed(functions, batch, question["steps"], True), "missing": {**unlike, **reasons}}


def inference(batch: int, question: Mapping[str, Any]) -> dict[str, Any]:
    """The logits of a batch with nothing recorded; they are compared before they are timed."""
    x, y = LENET.batch(batch)
    functions: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    expected = None
    for name in dict.fromkeys([OURS, *taking_part(question["libraries"], batch)]):
        try:
            library = LIBRARIES[name](LENET)
            with library.settings():
                prepared = library.prepare(x, y)
                logits = [np.asarray(library.infer(prepared)) for _ in range(CALLS)]
                library.check_captured()
        except Exception as error:
            reasons[name] = why_not(name, error)
            continue
        expected = logits[0] if expected is None else expected
        if not all(np.allclose(one, expected, rtol=1e-4, atol=1e-4) for one in logits):
            reasons[name] = "its logits are not ours; not timed"
            continue
        functions[name] = lambda library=library, prepared=prepared: library.infer(prepared)
    return {"batch": batch, **_timed(functions, batch, question["steps"], False), "missing": reasons}


def _timed(functions: Mapping[str, Any], batch: int, calls: int, training: bool) -> dict[str, Any]:
    """The calls in turns: above LARGE images a tenth as many."""
    calls, burst = (calls // 10, LARGE_BURST) if batch > LARGE else (calls, BURST)
    turns, burst = max(2, calls // burst), max(1, min(burst, calls))
    samples = in_turns(functions, turns, burst, patience(functions, turns), warm=1 if batch > LARGE else WARM)
    beside = beside_floor(summary(samples, REFERENCE), flops(LENET, batch, training))
    return {**beside, "samples_ms": rounded(samples)}


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
        with library.settings():
            for _ in range(MEMORY_STEPS):
                chosen = rng.integers(0, IMAGES, 128)
                float(library.step(library.prepare(images[chosen].astype(np.float32) / 255, rng.integers(0, 10, 128))))
        library.check_captured()
    except (Missing, ImportError) as error:
        return str(error)
    return bare.peak_mib()


if __name__ == "__main__":
    reply(answer)
