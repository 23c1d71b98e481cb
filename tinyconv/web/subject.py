"""The model under study: where it came from, the images it takes, and the data it is looked at with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyconv import data, models, nn
from tinyconv.data import ImageDataset
from tinyconv.data.datasets import normalize
from tinyconv.engine.context import no_grad
from tinyconv.errors import DataError, ShapeError, shortened
from tinyconv.shapes import Shape
from tinyconv.tensor.creation import get_rng_state, manual_seed, set_rng_state
from tinyconv.tensor.memory import whole
from tinyconv.tensor.tensor import Tensor
from tinyconv.train import Checkpoint, Run, check_images, load_checkpoint, new_run, usual_recipe
from tinyconv.train.recipes import RECIPES


@dataclass
class Subject:
    """A model and what belongs to it.

    Args:
        model: The model that the studio looks at and trains; a `double` where it is of the user's own.
        title: What the pages call it: "lenet5", a file's name, or the class of the model.
        kind: A dataset of the images that the model takes, perhaps with none of them (`data.describe`).
        dataset: The name of the dataset that `images` loads; None for a model that came with its own data.
        run: The description of its training, from which the studio trains it; None for a model of the user's own.
        checkpoint: The file that it was read from.
        trained: Whether its weights have seen a training step.
        root: Folder with the data files.
        offline: Whether to keep away from the network.
        own: The module of a user's own program.
    """

    model: nn.Module
    title: str
    kind: ImageDataset
    dataset: str | None = None
    run: Run | None = None
    checkpoint: Path | None = None
    trained: bool = False
    root: str | PathLike[str] | None = None
    offline: bool = False
    own: nn.Module | None = None

    def renew(self) -> None:
        """See what a user's program has done to its model since: other layers, other weights, another dtype."""
        if self.own is not None:
            self.model = double(self.own)

    @property
    def shape(self) -> Shape:
        """(C, H, W) of an image."""
        return self.kind.images.shape[1:]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the scores."""
        return self.kind.classes

    @cached_property
    def images(self) -> ImageDataset:
        """The test images. Raises DataError where the dataset cannot be had."""
        if self.dataset is None:
            return self.kind
        with fetching(self.dataset):
            return data.load(self.dataset, "test", self.root, self.offline)

    def image(self, number: int) -> ImageDataset:
        """The test image of that number, as a dataset of one. Raises DataError for one that is not there."""
        if not 0 <= number < len(self.images):
            raise DataError(f"there is no test image {number}: there are {len(self.images):,}, numbered from 0")
        return self.images[number : number + 1]

    def next_of(self, label: int, start: int) -> int:
        """The number of the first test image from `start` on that shows this class, going round.

        Raises DataError where none does.
        """
        of_it = np.flatnonzero(self.images.labels == label)
        if not of_it.size:
            raise DataError(f"no test image shows class {label}")
        return int(of_it[np.searchsorted(of_it, start) % of_it.size])

    def input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Images of bytes, (N, C, H, W), as the model takes them. Raises ShapeError for images of another shape."""
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != self.shape:
            raise ShapeError(f"{self.title} takes images uint8 (N, {self.shape}), got {pixels.dtype} {pixels.shape}")
        dtype = next((p.dtype for p in self.model.parameters()), np.dtype(np.float32))
        return Tensor(normalize(pixels, self.kind.mean, self.kind.std), dtype=dtype)

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


@contextmanager
def fetching(dataset: str) -> Iterator[None]:
    """Let a DataError of the block say which command gets the dataset."""
    try:
        yield
    except DataError as error:
        error.add_note(f"with a network, this gets it: tinyconv data fetch {dataset}")
        raise


def of_checkpoint(
    path: Path, dataset: str | None = None, root: str | PathLike[str] | None = None, offline: bool = False
) -> Subject:
    """The model in a checkpoint, with the images that it was trained on or those of another dataset.

    Raises CheckpointError like `load_checkpoint`, and ShapeError like `check_images`.
    """
    found: Checkpoint = load_checkpoint(path)
    check_images(found.run, dataset)
    name, at = dataset or found.run.data, found.trainer["progress"]
    trained = at["epoch"] > 0 or at["step"] > 0
    return Subject(
        found.model(), found.path.stem, data.describe(name), name, found.run, found.path, trained, root, offline
    )


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


def of_model(
    model: nn.Module,
    images: ImageDataset | str | tuple[ArrayLike, ArrayLike] | None = None,
    classes: Sequence[str] | None = None,
    root: str | PathLike[str] | None = None,
    offline: bool = False,
) -> Subject:
    """A model of the user's own. Its training stays the user's.

    Args:
        model: The model.
        images: See `tc.studio`.
        classes: The names of the scores, where `images` are arrays.
        root: Folder with the data files.
        offline: Whether to keep away from the network.

    Raises DataError for images that are none, and ShapeError where the model does not take them, or has too few scores.
    """
    if images is None:
        images = next((name for name in ("mnist", "cifar10") if _takes(model, data.describe(name))), "mnist")
    name = images if isinstance(images, str) else None
    if isinstance(images, str):
        kind = data.describe(images)
    elif isinstance(images, ImageDataset):
        kind = images
    elif isinstance(images, tuple) and len(images) == 2:
        kind = dataset_of(*images, classes)
    else:
        raise DataError(
            f"the studio takes images as an ImageDataset, the name of one or (images, labels), got {shortened(images)}"
        )
    scores = _scores(model, kind.images.shape[1:])
    if len(scores) != 1:
        raise ShapeError(
            f"{type(model).__name__} gives {scores} for an image, and the studio needs a score for each class: end it "
            f"in nn.Flatten() and nn.Linear(..., {len(kind.classes)})"
        )
    if scores[0] < len(kind.classes):
        raise ShapeError(f"{type(model).__name__} gives {scores[0]} scores for {len(kind.classes)} classes")
    if classes is None and isinstance(images, tuple):
        kind = dataset_of(*images, [str(i) for i in range(scores[0])])
    title = type(model).__name__
    return Subject(double(model), title, kind, name, trained=True, root=root, offline=offline, own=model)


def dataset_of(images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None) -> ImageDataset:
    """Arrays as an ImageDataset whose normalised images are what a DataLoader gives of them.

    Floating images get bytes, 0 for the least number of a channel and 255 for the largest, and the mean and deviation
    that undo it. Raises DataError for arrays that are no images and labels.
    """
    pixels, numbers = np.asarray(images), np.asarray(labels)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if numbers.dtype.kind not in "iu" or numbers.shape != pixels.shape[:1] or pixels.ndim != 4 or not pixels.size:
        raise DataError(
            f"expected images (N, C, H, W) and integer labels (N,), got {pixels.dtype} {pixels.shape} and "
            f"{numbers.dtype} {numbers.shape}"
        )
    low, high = np.zeros(pixels.shape[1]), np.ones(pixels.shape[1])
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise DataError("the images have NaN or infinities")
        low, high = (limit(pixels, (0, 2, 3)).astype(np.float64) for limit in (np.min, np.max))
        high = np.where(high > low, high, low + 1)
        scaled = (pixels - low[:, None, None]) / (high - low)[:, None, None]
        pixels = np.rint(scaled * 255).astype(np.uint8)
    names = tuple(classes) if classes is not None else tuple(str(i) for i in range(int(numbers.max(initial=0)) + 1))
    mean, std = -low / (high - low), 1 / (high - low)
    return ImageDataset(pixels, numbers.astype(np.int64), names, tuple(map(float, mean)), tuple(map(float, std)))


def _scores(model: nn.Module, image: Shape) -> Shape:
    """The shape of what the model gives for one image. Raises ShapeError where it does not take such images."""
    twin, before = double(model), get_rng_state()
    dtype = next((p.dtype for p in twin.parameters()), np.dtype(np.float32))
    x = Tensor(np.zeros((1, *image)), dtype=dtype)
    try:
        with no_grad():
            found = twin(x)
    except Exception as error:
        from tinyconv.check.blame import raised  # here: it imports all of `check`

        what = f"{type(model).__name__} does not take images of {'x'.join(map(str, image))}: it"
        raise ShapeError(raised(what, error)) from error
    finally:
        set_rng_state(before)
    if not isinstance(found, Tensor):
        raise ShapeError(f"{type(model).__name__} gives {type(found).__name__} for images, and a tensor is needed")
    return found.shape[1:]


def _takes(model: nn.Module, kind: ImageDataset) -> bool:
    try:
        return _scores(model, kind.images.shape[1:]) == (len(kind.classes),)
    except ShapeError:
        return False


def double(model: nn.Module) -> nn.Module:
    """The same layers once more, on the same weights, with a mode and gradients of their own, in evaluation mode.

    The thread of the studio looks into it while the user's program trains `model` in another, whose tape must not
    notice: the two do not share their counts of writes. Attributes that are no layers and no parameters are shared.
    """
    doubles: dict[int, nn.Module] = {}
    memory: dict[Any, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        held = whole(tensor)
        memory[id(held)] = held  # which `copy_leaf` would copy

    def doubled(tensor: Tensor | None) -> Tensor | None:
        twin = deepcopy(tensor, memory)
        if twin is not None:
            twin.grad = None
        return twin

    def of(module: nn.Module) -> nn.Module:
        if id(module) not in doubles:
            twin = doubles[id(module)] = copy(module)
            registers = vars(twin)
            registers["_modules"] = {name: child and of(child) for name, child in module._modules.items()}
            for register in ("_parameters", "_buffers"):
                registers[register] = {name: doubled(tensor) for name, tensor in vars(module)[register].items()}
        return doubles[id(module)]

    return of(model).eval()
