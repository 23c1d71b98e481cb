"""`tinyconv eval` and `tinyconv predict`: run a trained model on test images, or on the user's pictures."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinyconv import nn
from tinyconv.cli.common import (
    CheckpointFile,
    DataDir,
    Device,
    Json,
    Kernels,
    Offline,
    Size,
    TestData,
    Threads,
    Weights,
    checkpoint_of,
    complain,
    is_code,
    kernels_of,
    pictured,
    test_images,
    threads_of,
)
from tinyconv.cli.ranks import Ranks, of_mpi, on_ranks, threads_of_a_rank
from tinyconv.data import ImageDataset
from tinyconv.distributed.communicator import current
from tinyconv.errors import DataError
from tinyconv.train import DOUBT, Checkpoint, check_images, evaluate, predict
from tinyconv.train.checkpoint import is_checkpoint


@dataclass(frozen=True)
class Evaluation:
    """What every rank measures, its share of the images: `FILE.py:NET` and weights, or a checkpoint."""

    checkpoint: str
    weights: Path | None
    data: str | None
    size: int | None
    root: Path | None
    offline: bool
    device: str | None
    kernels: str | None
    mirrored: bool
    shifted: int

    def fetch(self) -> None:
        self.found()

    def follow(self) -> None:
        self.accuracy(*self.found())

    def found(self) -> tuple[Checkpoint, ImageDataset]:
        """The checkpoint, and the images to test on."""
        found = checkpoint_of(self.checkpoint, self.weights, self.data, self.size)
        return found, test_images(found, self.data, self.root, self.offline)

    def accuracy(self, found: Checkpoint, images: ImageDataset) -> float:
        """The share of images that is classified right, on all ranks."""
        model = nn.DistributedDataParallel(found.model().to(device=self.device))
        return evaluate(model, images, device=self.device, mirrored=self.mirrored, shifted=self.shifted)


def eval_(
    checkpoint: CheckpointFile,
    weights: Weights = None,
    data_name: TestData = None,
    size: Size = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Classify by the mean over each image and its mirror image.")
    ] = False,
    shifted: Annotated[
        int,
        typer.Option(min=0, help="Classify by the mean over each image and two copies, moved by this many pixels."),
    ] = 0,
    data_dir: DataDir = None,
    offline: Offline = False,
    device: Device = None,
    threads: Threads = None,
    kernels: Kernels = None,
    ranks: Ranks = None,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of a trained model on test images."""
    job = Evaluation(checkpoint, weights, data_name, size, data_dir, offline, device, kernels, mirrored, shifted)
    with (
        threads_of(threads if ranks is None else threads_of_a_rank(ranks, threads)),
        kernels_of(kernels),
        of_mpi(ranks),
        on_ranks(ranks, threads, job),
    ):
        found, images = job.found()
        accuracy, size_of_all = job.accuracy(found, images), current().size
    if as_json:
        said = {"model": found.run.model, "test_accuracy": accuracy, "images": len(images), "ranks": size_of_all}
        print(json.dumps(said), flush=True)
    else:
        wrong = round((1 - accuracy) * len(images))
        print(f"{found.run.model}: test accuracy {accuracy:.2%} ({wrong} of {len(images):,} images wrong)")


def predict_(
    checkpoint: CheckpointFile,
    pictures: Annotated[
        list[Path],
        typer.Argument(help="PNG, JPEG, GIF, BMP, WEBP or TIFF files, one digit (or garment, or object) in each."),
    ],
    data_name: Annotated[
        str | None, typer.Option("--data", help="Without a checkpoint: the dataset or folder that the classes are of.")
    ] = None,
    size: Size = None,
    show: Annotated[bool, typer.Option("--show", help="Print each picture as the model sees it, 28x28.")] = False,
    device: Device = None,
    kernels: Kernels = None,
    as_json: Json = False,
) -> None:
    """Say what each picture shows, with the probability of every class.

    Ink may be dark on light or light on dark; whatever is drawn is taken for one of the classes. Where a picture cannot
    be read, an error is printed, the others are classified, and the exit code is 1.
    """
    weights = pictures.pop(0) if pictures and is_code(checkpoint) and is_checkpoint(str(pictures[0])) else None
    found = checkpoint_of(checkpoint, weights, data_name, size)
    if not pictures:
        raise typer.BadParameter("name the pictures after the checkpoint")
    check_images(found.run)
    model = found.model().to(device=device)
    read = [_read(found, path) for path in pictures]
    good = [one for one in read if isinstance(one, ImageDataset)]
    if good:
        images = np.concatenate([one.normalized() for one in good])
        with kernels_of(kernels):
            rows = iter(predict(model, images, device=device))
    console = Console()
    for path, one in zip(pictures, read, strict=True):
        if isinstance(one, DataError):
            complain(one)
            if as_json:
                print(json.dumps({"image": str(path), "error": str(one)}), flush=True)
            continue
        row = next(rows)
        best = int(row.argmax())
        if show:
            _show(one.images[0], sys.stderr if as_json else sys.stdout, console.options.ascii_only)
        if as_json:
            shares = {name: float(p) for name, p in zip(one.classes, row, strict=True)}
            print(json.dumps({"image": str(path), "label": one.classes[best], "probabilities": shares}), flush=True)
            continue
        ink = "#" if console.options.ascii_only else "█"
        title = f"[italic]{escape(str(path))}: {one.classes[best]} ({row[best]:.1%})[/italic]"
        console.print(title, highlight=False, soft_wrap=True)
        table = Table()
        table.add_column("class")
        table.add_column("probability", justify="right")
        table.add_column("")
        for name, p in zip(one.classes, row, strict=True):
            table.add_row(name, f"{p:.4f}", ink * round(30 * float(p)))
        console.print(table)
        if row[best] < DOUBT:
            named = [checkpoint] if weights is None else [checkpoint, str(weights)]
            words = ["tinyconv", "maps", *named, "--image", str(path)]
            doubt = f"in doubt: {row[best]:.1%} is under {DOUBT:.0%}; see why with: {shlex.join(words)}"
            console.print(escape(doubt), highlight=False, soft_wrap=True)
    if len(good) < len(pictures):
        raise typer.Exit(1)


def _read(found: Checkpoint, path: Path) -> ImageDataset | DataError:
    try:
        return pictured(found, [path])
    except DataError as error:
        return error


def _show(image: NDArray[np.uint8], out: TextIO, ascii_only: bool) -> None:
    """Print an image (C, H, W), two signs for a pixel, which make about a square."""
    signs = " .:-=+*#%@" if ascii_only else " ░▒▓█"
    for row in image.mean(0) * len(signs) // 256:
        print("".join(2 * signs[int(shade)] for shade in row).rstrip(), file=out)
