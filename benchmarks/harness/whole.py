"""Whole processes, from start to exit: LeNet-5 trained on MNIST by the command line, and the same in PyTorch."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.libraries import REFERENCE
from harness.processes import measured
from tinyconv import data
from tinyconv.host.threads import VARIABLES
from tinyconv.train import RECIPES

Runs = dict[str, list[dict[str, float]]]


def ours(recipe: str, seed: int, folder: Path, scratch: str) -> list[str]:
    """What Python is started with to train by a recipe of ours."""
    chosen = ["--recipe", recipe, "--seed", str(seed), "--data-dir", str(folder.absolute())]
    out = ["--overwrite", "--out", f"{scratch}/lenet.safetensors"]
    return ["-m", "tinyconv", "train", "lenet5", *chosen, *out, "--json", "--offline"]


def theirs(recipe: str, seed: int, folder: Path, *more: str) -> list[str]:
    """What Python is started with to train by the same recipe in PyTorch."""
    script = Path(__file__).with_name("torch_recipe.py")
    return [str(script), str(folder.absolute()), json.dumps(asdict(RECIPES[recipe])), str(seed), *more]


def variables_of(threads: int, cache: str) -> dict[str, str]:
    """The environment of a process of so many threads that keeps what it compiles in a folder of ours."""
    kept = {"XDG_CACHE_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch"}
    return os.environ | dict.fromkeys(VARIABLES, str(threads)) | kept


def found_mnist(root: Path | None) -> Path:
    """The folder with MNIST, which is fetched if need be."""
    return data.locate("mnist", root) or data.fetch("mnist", root)


def one_process(command: Sequence[str], environment: Mapping[str, str], folder: str) -> dict[str, float]:
    """Seconds from start to exit, peak memory in MiB, and the accuracy it reported in its last line."""
    figures, last = measured(*command, folder=folder, variables=environment)
    return figures | {"test_accuracy": json.loads(last)["test_accuracy"]}


def five_epochs(threads: int, repeats: int, root: Path | None) -> dict[str, object]:
    """`tinyconv train lenet5`, five epochs of MNIST, and the same recipe in PyTorch, alternating.

    Each time ours runs three times: where no kernels are compiled yet ("cold"), where they are, and with NumPy alone.
    """
    folder = found_mnist(root)
    runs: Runs = {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            variables = variables_of(threads, scratch)
            command = ours("default", 0, folder, scratch)
            commands = {
                "tinyconv cold": (command, variables),
                "tinyconv compiled": (command, variables),  # by the run before
                "tinyconv numpy": (command, variables | {"TINYCONV_KERNELS": "numpy"}),
                REFERENCE: (theirs("default", 0, folder), variables),
            }
            for name, (words, environment) in commands.items():
                runs.setdefault(name, []).append(one_process(words, environment, scratch))
    return {"threads": threads, "runs": runs, "ratios": ratios(runs)}


def fast(threads: int, seeds: Sequence[int], others: Sequence[int], root: Path | None) -> dict[str, object]:
    """`tinyconv train lenet5 --recipe fast` with each of `seeds`, and the same recipe in PyTorch, eager and compiled,
    with `others`, alternating.

    Whoever compiles does so in a first run, which is kept apart.
    """
    folder = found_mnist(root)
    runs: Runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        variables = variables_of(threads, scratch)

        def commands(seed: int) -> dict[str, list[str]]:
            of_torch = {
                REFERENCE: theirs("fast", seed, folder),
                "torch.compile": theirs("fast", seed, folder, "compile"),
            }
            return {"tinyconv compiled": ours("fast", seed, folder, scratch)} | (of_torch if seed in others else {})

        first = {name: one_process(words, variables, scratch) for name, words in commands(others[0]).items()}
        for seed in seeds:
            for name, words in commands(seed).items():
                runs.setdefault(name, []).append({"seed": seed, **one_process(words, variables, scratch)})
    return {"threads": threads, "first": first, "runs": runs}


def ratios(runs: Runs) -> dict[str, list[float]]:
    """Of the seconds to PyTorch's, run by run."""
    return {
        name: [a["seconds"] / b["seconds"] for a, b in zip(runs[name], runs[REFERENCE], strict=True)] for name in runs
    }
