"""Datasets with the names, the arguments and the items of `torchvision.datasets`.

    from tinyconv.data import transforms, vision

    train = vision.MNIST("data", train=True, download=True, transform=transforms.ToTensor())
    image, label = train[0]  # a Tensor (1, 28, 28), 5

Without `transform` an image is a picture of Pillow. `tinyconv.data.mnist` and its neighbours give the same images as
arrays, out of which a DataLoader cuts whole batches, which is much faster.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.data.base import Dataset, labelled
from tinyconv.data.datasets import Transform, load
from tinyconv.data.folders import found_in
from tinyconv.data.picture import opened, picture_of
from tinyconv.engine.options import flag
from tinyconv.errors import suggest_names
from tinyconv.tensor.creation import from_numpy
from tinyconv.tensor.tensor import Tensor

__all__ = ["CIFAR10", "MNIST", "FakeData", "FashionMNIST", "ImageFolder", "VisionDataset"]


class VisionDataset(Dataset[tuple[Any, Any]]):
    """The base of datasets of pictures.

    Args:
        root: The folder with the files.
        transforms: Called with a picture and its label, returns both; in place of the other two.
        transform: Called with a picture.
        target_transform: Called with a label.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        transform: Transform = None,
        target_transform: Transform = None,
    ) -> None:
        self.root, self.transforms = root, transforms
        self.transform, self.target_transform = transform, target_transform

    def _item(self, picture: Any, target: Any) -> tuple[Any, Any]:
        if self.transforms is not None:
            return self.transforms(picture, target)
        picture = picture if self.transform is None else self.transform(picture)
        return picture, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        """The number of pictures. NotImplementedError unless a subclass says what it is."""
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__(self)")

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        return "\n".join([*lines, f"    Root location: {self.root}", *(f"    {line}" for line in self._about())])

    def _about(self) -> list[str]:
        about = [f"Split: {'Train' if self.train else 'Test'}"] if hasattr(self, "train") else []
        return about + [f"Transform: {self.transform}"] * (self.transform is not None)


class MNIST(VisionDataset):
    """MNIST, see `tinyconv.data.mnist`.

    Args:
        root: The folder to read from, as torchvision lays it out: files below `MNIST/raw`. What it lacks is copied from
            other places on this machine (see `tinyconv.data.fetch`).
        train: True for the 60,000 images to train on, False for the 10,000 to test on.
        transform: Called with the picture of an item.
        target_transform: Called with the label of an item.
        download: Whether to fetch what is nowhere on this machine.

    Raises DataError where the files are missing or damaged.

    Attributes:
        data: uint8 (N, 28, 28), a Tensor.
        targets: int64 (N,), a Tensor.
        classes, class_to_idx: The names of the classes; the label of each.
    """

    source = "mnist"
    classes: Any = (
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight",
        "9 - nine",
    )  # fmt: skip

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, None, transform, target_transform)
        self.classes: Any = list(type(self).classes)
        self.train = flag("train", train)
        found = load(self.source, "train" if train else "test", root, offline=not download)
        self.data: Any = from_numpy(found.images[:, 0])
        self.targets: Any = from_numpy(found.labels)

    @property
    def train_data(self) -> Any:
        """`data`, by a name of old: it is that of the test images too."""
        return self.data

    @property
    def train_labels(self) -> Any:
        """`targets`, by a name of old: it is that of the test images too."""
        return self.targets

    test_data, test_labels = train_data, train_labels

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class, by its name."""
        return {name: label for label, name in enumerate(self.classes)}

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """The picture at `index`, grey, and its label, each as its transform gives it."""
        image, target = self.data[index], self.targets[index]
        image = image.numpy() if isinstance(image, Tensor) else np.asarray(image)
        return self._item(picture_of(image), int(target))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.data)

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]] | None:
        data = self.data.numpy() if isinstance(self.data, Tensor) else self.data
        return _bytes(labelled(data, self.targets, self.classes, places), lambda image: image[None])


class FashionMNIST(MNIST):
    """Fashion-MNIST, see `tinyconv.data.fashion_mnist`; arguments and attributes are those of `MNIST`."""

    source = "fashion-mnist"
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class CIFAR10(VisionDataset):
    """CIFAR-10, see `tinyconv.data.cifar10`.

    Args:
        root: The folder to read from; the binary version is read, from `cifar-10-batches-bin` in it. What it lacks is
            copied from other places on this machine (see `tinyconv.data.fetch`).
        train: True for the 50,000 images to train on, False for the 10,000 to test on.
        transform: Called with the picture of an item.
        target_transform: Called with the label of an item.
        download: Whether to fetch what is nowhere on this machine.

    Raises DataError where the files are missing or damaged.

    Attributes:
        data: uint8 (N, 32, 32, 3), an array of NumPy.
        targets: A list of N labels.
        classes, class_to_idx: The names of the classes; the label of each.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, None, transform, target_transform)
        self.train = flag("train", train)
        found = load("cifar10", "train" if train else "test", root, offline=not download)
        self.data: Any = np.ascontiguousarray(found.images.transpose(0, 2, 3, 1))
        self.targets: Any = found.labels.tolist()
        self.classes = list(found.classes)
        self.class_to_idx = found.class_to_idx

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """The picture at `index`, RGB, and its label, each as its transform gives it."""
        return self._item(picture_of(self.data[index].transpose(2, 0, 1)), int(self.targets[index]))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.data)

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]] | None:
        found = labelled(self.data, self.targets, self.classes, places)
        return _bytes(found, lambda image: image.transpose(2, 0, 1))


class ImageFolder(VisionDataset):
    """Your own pictures, in a folder for each class, `root/cat/1.png`, `root/dog/2.png`: opened when asked for.

    `tinyconv.data.folder` reads the same into memory, in one size.

    Args:
        root: The folder with the folders of the classes.
        transform: Called with the picture of an item.
        target_transform: Called with the label of an item.
        loader: Opens a picture by its path; in RGB unless given.
        is_valid_file: Says of a path whether it is a picture; unless given, its ending says so.
        allow_empty: Whether the folder of a class may have no picture.

    Raises DataError where there is no such folder, no class, or a class has no picture.

    Attributes:
        classes, class_to_idx: The names of the classes, in the order of the alphabet; the label of each.
        samples, imgs: A list of path and label of each picture.
        targets: A list of the labels.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform = None,
        target_transform: Transform = None,
        loader: Callable[[str], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, None, transform, target_transform)
        self.loader = loader or _rgb
        self.classes, samples = found_in(Path(root), is_valid_file, allow_empty)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples = self.imgs = [(str(path), label) for path, label in samples]
        self.targets = [label for _, label in samples]

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """The picture at `index` and its label, each as its transform gives it. DataError where it cannot be read."""
        path, target = self.samples[index]
        return self._item(self.loader(path), target)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.samples)


class FakeData(VisionDataset):
    """Pictures of chance, the same for an index each time: to try a program without data.

    Args:
        size: The number of pictures.
        image_size: (channels, height, width), 1, 3 or 4 channels.
        num_classes: Labels are from 0 on, below this.
        transform: Called with the picture of an item.
        target_transform: Called with the label of an item.
        random_offset: Another number gives other pictures.

    Like `torchvision.datasets.FakeData`, with other pictures.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Transform = None,
        target_transform: Transform = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(None, None, transform, target_transform)
        self.size, self.image_size, self.num_classes = size, image_size, num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """The picture at `index` and its label, each as its transform gives it. IndexError beyond the last."""
        if not 0 <= index < self.size:
            raise IndexError(f"FakeData: {index} of {self.size} pictures")
        numbers = np.random.default_rng(int(index) + self.random_offset)
        picture = picture_of(numbers.integers(0, 256, self.image_size, np.uint8))
        return self._item(picture, int(numbers.integers(0, self.num_classes)))

    def __len__(self) -> int:
        """The number of pictures."""
        return self.size


def _bytes(found: list[tuple[Any, str]], channels_first: Callable[[Any], Any]) -> list[tuple[Any, str]] | None:
    """Pictures and labels, for a notebook; None where a user put something else there than bytes."""
    pictures = [(channels_first(image), label) for image, label in found]
    return pictures if all(image.dtype == np.uint8 and image.ndim == 3 for image, _ in pictures) else None


def _rgb(path: str) -> Any:
    return opened(path).convert("RGB")


suggest_names(globals())
