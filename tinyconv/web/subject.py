"""The model under study: where it came from, the images it takes, and the data it is looked at with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv import data, models, nn
from tinyconv.data import Dataset
from tinyconv.data.datasets import normalize
from tinyconv.errors import DataError, ShapeError
from tinyconv.shapes import Shape
from tinyconv.tensor.creation import manual_seed
from tinyconv.tensor.tensor import Tensor
from tinyconv.train import Checkpoint, Run, check_images, load_checkpoint, new_run, usual_recipe
from tinyconv.train.recipes import RECIPES


@dataclass
class Subject:
    """A model and what belongs to it.

    Args:
        model: The model itself, not a copy: what trains in the studio is the user's own.
        title: What the pages call it: "lenet5", a file's name, or the class of the model.
        kind: A dataset of the images that the model takes, perhaps with none of them (`data.describe`).
        dataset: The name of the dataset that `images` loads; None for a model that came with its own data.
        run: The description of its training, from which the studio trains it; None for a model of the user's own.
        checkpoint: The file that it was read from.
        trained: Whether its weights have seen a training step.
        root: Folder with the data files.
        offline: Whether to keep away from the network.
    """

    model: nn.Module
    title: str
    kind: Dataset
    dataset: str | None = None
    run: Run | None = None
    checkpoint: Path | None = None
    trained: bool = False
    root: str | PathLike[str] | None = None
    offline: bool = False

    @property
    def shape(self) -> Shape:
        """(C, H, W) of an image."""
        return self.kind.images.shape[1:]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the scores."""
        return self.kind.classes

    @cached_property
    def images(self) -> Dataset:
        """The test images. Raises DataError where the dataset cannot be had."""
        if self.dataset is None:
            return self.kind
        return data.load(self.dataset, "test", self.root, self.offline)

    def image(self, number: int) -> Dataset:
        """The test image of that number, as a dataset of one. Raises DataError for one that is not there."""
        if not 0 <= number < len(self.images):
            raise DataError(f"there is no test image {number}: there are {len(self.images):,}, numbered from 0")
        return self.images[number : number + 1]

    def input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Images of bytes, (N, C, H, W), as the model takes them. Raises ShapeError for images of another shape."""
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != self.shape:
            raise ShapeError(f"{self.title} takes images uint8 (N, {self.shape}), got {pixels.dtype} {pixels.shape}")
        dtype = next((p.dtype for p in self.model.parameters()), np.dtype(np.float32))
        return Tensor(normalize(pixels, self.kind.mean, self.kind.std).astype(dtype))

    def outline(self) -> dict[str, Any]:
        """What every page shows of it."""
        return {
            "title": self.title,
            "model": type(self.model).__name__,
            "name": self.run.model if self.run else None,
            "cake": self.run.options.get("slices") if self.run and self.run.model == "cake" else None,
            "shape": list(self.shape),
            "classes": list(self.classes),
            "data": self.dataset,
            "checkpoint": self.checkpoint.name if self.checkpoint else None,
            "trained": self.trained,
            "trainable": self.run is not None,
        }


def of_checkpoint(path: Path, root: str | PathLike[str] | None = None, offline: bool = False) -> Subject:
    """The model in a checkpoint. Raises CheckpointError like `load_checkpoint`, and ShapeError like `check_images`."""
    found: Checkpoint = load_checkpoint(path)
    check_images(found.run)
    kind = data.describe(found.run.data)
    return Subject(found.model(), found.path.stem, kind, found.run.data, found.run, found.path, True, root, offline)


def of_name(
    name: str,
    dataset: str | None = None,
    root: str | PathLike[str] | None = None,
    offline: bool = False,
    **options: Any,
) -> Subject:
    """An untrained model of `models.MODELS`, with its usual recipe. Raises what `new_run` and `models.create` raise."""
    channels = models.IMAGES.get(name, (1,))[0]
    dataset = dataset or ("cifar10" if channels == 3 else "mnist")
    run = new_run(name, dataset, 0, RECIPES[usual_recipe(name, dataset)], **options)
    check_images(run)
    manual_seed(run.seed)
    model = models.create(run.model, **run.options).eval()
    return Subject(model, name, data.describe(dataset), dataset, run, root=root, offline=offline)


def of_model(model: nn.Module, images: Dataset) -> Subject:
    """A model of the user's own, with images to look at. Its training stays the user's."""
    return Subject(model, type(model).__name__, images, trained=True)
