"""`tinyconv bench cifar`: a training step of a 3x3 network with batch normalisation, beside PyTorch."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import models, nn, variants
from tinyconv.bench.lenet import bind, in_process
from tinyconv.bench.libraries import LR, Disagreement, compare_losses
from tinyconv.bench.timing import in_turns, rounded, summary

REFERENCE, BURST = "torch", 10
WIDTHS = (32, 64, 160)
LOOSE = 2e-2  # DataParallel standardises tiles, not the batch: another function, whose loss is only near


def run(threads: Sequence[int] = (1, 2), batch: int = 128, steps: int = 200) -> dict[str, Any]:
    """A part for each number of threads."""
    found = {}
    for count in threads:
        question = {"threads": count, "batch": batch, "steps": steps}
        found[f"step, {count} thread{'s' * (count > 1)}"] = in_process(question, count, "tinyconv.bench.cifar")
    return found


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    bind(question["threads"])
    rng = np.random.default_rng(0)
    batches = [
        (rng.standard_normal((question["batch"], 3, 32, 32), np.float32), rng.integers(0, 10, question["batch"]))
        for _ in range(3)
    ]
    functions = {"tinyconv": ours(batches), "tinyconv parallel": ours(batches, parallel=True)}
    reasons = {}
    if "native" in variants.available("conv2d"):
        functions["tinyconv native parallel"] = ours(batches, native=True, parallel=True)
    else:
        reasons["tinyconv native"] = "the compiled pairs are not part of this installation"
    try:
        functions[REFERENCE] = theirs(batches)
    except ImportError as error:
        reasons[REFERENCE] = str(error)
    expected: list[float] = []
    for name, step in list(functions.items()):
        losses = [step(i) for i in range(3)]
        expected = expected or losses
        try:
            compare_losses(name, expected, losses, LOOSE if "parallel" in name else 1e-3)
        except Disagreement as error:
            reasons[name] = str(error)
            del functions[name]
    samples = in_turns(functions, max(2, question["steps"] // BURST), min(BURST, question["steps"]))
    parameters = sum(p.numel() for p in models.CifarNet(WIDTHS).parameters())
    return {
        "batch": question["batch"],
        "parameters": parameters,
        "summary": summary(samples, REFERENCE),
        "missing": reasons,
        "samples_ms": rounded(samples),
    }


def ours(batches: Any, parallel: bool = False, native: bool = False) -> Any:
    tc.manual_seed(0)
    model = models.CifarNet(WIDTHS)
    run: nn.Module = nn.DataParallel(model) if parallel else model
    optimizer = tc.optim.Adam(model.parameters(), lr=LR)
    prepared = [(tc.tensor(x), tc.tensor(y)) for x, y in batches]

    def step(i: int = 0) -> float:
        x, y = prepared[i]
        with tc.using("native") if native else nullcontext():
            optimizer.zero_grad()
            loss = F.cross_entropy(run(x), y)
            loss.backward()
            optimizer.step()
        return float(loss)

    return step


def theirs(batches: Any) -> Any:
    import torch

    tc.manual_seed(0)
    weights = models.CifarNet(WIDTHS).state_dict()
    kinds = {
        nn.Conv2d: lambda m: torch.nn.Conv2d(m.in_channels, m.out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d: lambda m: torch.nn.BatchNorm2d(m.num_features),
        nn.ReLU: lambda m: torch.nn.ReLU(),
        nn.MaxPool2d: lambda m: torch.nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d: lambda m: torch.nn.AdaptiveAvgPool2d(1),
        nn.Flatten: lambda m: torch.nn.Flatten(),
        nn.Linear: lambda m: torch.nn.Linear(m.in_features, m.out_features),
    }
    model = torch.nn.Sequential(*(kinds[type(layer)](layer) for layer in models.CifarNet(WIDTHS)))
    model.load_state_dict({name: torch.tensor(t.numpy()) for name, t in weights.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    prepared = [(torch.tensor(x), torch.tensor(y)) for x, y in batches]

    def step(i: int = 0) -> float:
        x, y = prepared[i]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(answer(json.loads(sys.argv[1]))), encoding="utf-8")
