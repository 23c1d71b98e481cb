"""A whole training on a device: `tinyconv bench lenet --device cuda --part training`.

Each run is a process of its own. It is timed in three parts: from the start of the process to a trainer that is ready
(imports, the data read and brought to the device), the first steps (kernels compiled, the step captured), and the rest
of the training with its tests.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from harness.libraries import compare_losses
from harness.processes import in_process, reply
from tinyconv.host.environment import device_details
from tinyconv.nn import Module
from tinyconv.tensor.creation import synchronize
from tinyconv.train import RECIPES, Session, StepReport, new_run, start

MODULE = "harness.training"
SEEDS = range(5)
FIRST = 5  # a step is captured at its third call, and replayed from the fourth on
COMPARED, TOLERANCE = 10, 1e-4
TIMES = ("setup_seconds", "first_seconds", "training_seconds")


def run(
    device: str, root: Path | None = None, seeds: Sequence[int] = SEEDS, epochs: int = 5, data: str = "mnist"
) -> dict[str, Any]:
    """Train LeNet-5 by the default recipe, once for each seed and twice for the first, whose weights are compared; the
    part "training, DEVICE'S NAME" of the record.

    The first run finds no compiled kernels, later ones those that it left. Before anything is timed the losses of the
    first steps are compared with those on the CPU; Disagreement is raised where they differ.
    """
    details = device_details(device)
    question = {"device": device, "root": root and str(root.absolute()), "epochs": epochs, "data": data}
    with tempfile.TemporaryDirectory() as cache:
        variables = {"CUPY_CACHE_DIR": cache}
        # With the kernels of its own folder: those of the runs are to be compiled by the first of them.
        here, there = (
            in_process(MODULE, {**question, "part": "losses", "device": place, "seed": seeds[0]}, {})
            for place in ("cpu", device)
        )
        compare_losses(device, here, there, TOLERANCE)
        runs = [
            in_process(MODULE, {**question, "part": "run", "seed": seed, "started": time.time()}, variables)
            for seed in (seeds[0], *seeds)
        ]
    return {f"training, {details['name']}": {"device": details, **summed_up(runs), "first_losses": [here, there]}}


def summed_up(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up runs whose first two have the same seed: whether the weights of these two are the same to the last bit;
    mean and standard deviation of the accuracy, and median times, over all but the first."""
    first, *others = runs
    accuracies = [one["test_accuracy"] for one in others]
    return {
        "epochs": len(first["history"]),
        "same_bits": first["weights_sha256"] == others[0]["weights_sha256"],
        "mean_accuracy": mean(accuracies),
        "sd_accuracy": stdev(accuracies) if len(accuracies) > 1 else None,
        **{name: median(one[name] for one in others) for name in TIMES},
        "uncompiled_first_seconds": first["first_seconds"],
        "samples": runs,
    }


# --- in the process of a run ----------------------------------------------------------------------------------------


def answer(question: Mapping[str, Any]) -> Any:
    return first_losses(question) if question["part"] == "losses" else one_run(question)


def session_of(question: Mapping[str, Any]) -> Session:
    recipe = replace(RECIPES["default"], epochs=question["epochs"])
    described = new_run("lenet5", question["data"], question["seed"], recipe)
    return start(described, root=question["root"], device=question["device"])


def first_losses(question: Mapping[str, Any]) -> list[float]:
    reports = session_of(question).trainer.run()
    steps = (report for report in reports if isinstance(report, StepReport))
    return [float(report.loss) for report in islice(steps, COMPARED)]


def one_run(question: Mapping[str, Any]) -> dict[str, Any]:
    """The three times, the epochs, the accuracy after the last, and a hash of all weights."""
    session = session_of(question)
    synchronize(question["device"])
    ready = time.time()  # the clock that the parent's start was read from
    reports = session.trainer.run()
    for _ in islice(reports, FIRST):
        pass
    synchronize(question["device"])
    running = time.time()
    for _ in reports:
        pass
    synchronize(question["device"])
    ended = time.time()
    history = session.trainer.progress.history
    return {
        "seed": question["seed"],
        "setup_seconds": ready - question["started"],
        "first_seconds": running - ready,
        "training_seconds": ended - running,
        "history": history,
        "test_accuracy": history[-1]["test_accuracy"],
        "weights_sha256": hash_of(session.model),
    }


def hash_of(model: Module) -> str:
    """SHA-256 of the names and the bytes of all weights and buffers."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode() + b"\0" + tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    reply(answer)
