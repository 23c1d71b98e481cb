"""`tinyconv eval` and `tinyconv predict`: run a trained model on test images, or on the user's pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinyconv import data, nn
from tinyconv.cli.common import (
    CheckpointFile,
    DataDir,
    Device,
    Json,
    Offline,
    TestData,
    Threads,
    pictured,
    threads_of,
)
from tinyconv.train import evaluate, load_checkpoint, predict


def eval_(
    checkpoint: CheckpointFile,
    data_name: TestData = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Classify by the mean over each image and its mirror image.")
    ] = False,
    data_dir: DataDir = None,
    offline: Offline = False,
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of a trained model on test images."""
    found = load_checkpoint(checkpoint)
    model = found.model().to(device=device)
    dataset = data.load(data_name or found.run.data, "test", data_dir, offline)
    with threads_of(threads):
        accuracy = evaluate(nn.DataParallel(model), dataset, device=device, mirrored=mirrored)
    if as_json:
        print(json.dumps({"model": found.run.model, "test_accuracy": accuracy, "images": len(dataset)}), flush=True)
    else:
        wrong = round((1 - accuracy) * len(dataset))
        print(f"{found.run.model}: test accuracy {accuracy:.2%} ({wrong} of {len(dataset):,} images wrong)")


def predict_(
    checkpoint: CheckpointFile,
    pictures: Annotated[
        list[Path], typer.Argument(help="PNG or JPEG files, one digit (or garment, or object) in each.")
    ],
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Say what each picture shows, with the probability of every class."""
    found = load_checkpoint(checkpoint)
    model = found.model().to(device=device)
    dataset = pictured(found, pictures)
    probabilities = predict(model, dataset.normalized(), device=device)
    console = Console()
    ink = "#" if console.options.ascii_only else "█"
    for path, row in zip(pictures, probabilities, strict=True):
        best = int(row.argmax())
        if as_json:
            shares = {name: float(p) for name, p in zip(dataset.classes, row, strict=True)}
            print(json.dumps({"image": str(path), "label": dataset.classes[best], "probabilities": shares}), flush=True)
            continue
        table = Table(title=f"{escape(str(path))}: {dataset.classes[best]} ({row[best]:.1%})", title_justify="left")
        table.add_column("class")
        table.add_column("probability", justify="right")
        table.add_column("")
        for name, p in zip(dataset.classes, row, strict=True):
            table.add_row(name, f"{p:.4f}", ink * round(30 * float(p)))
        console.print(table)
