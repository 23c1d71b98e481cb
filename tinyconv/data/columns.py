"""Datasets that lie in memory as arrays, one row an item, so that a batch is cut out of them at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.arrays.backend import Backend
from tinyconv.data.augment import Augment, Move, moved
from tinyconv.data.base import Dataset, IterableDataset, Subset, TensorDataset
from tinyconv.data.datasets import ImageDataset, normalize
from tinyconv.data.reading import Array
from tinyconv.errors import DataError
from tinyconv.tensor.creation import tensor
from tinyconv.tensor.tensor import Tensor

if TYPE_CHECKING:
    from tinyconv.data.vision import CIFAR10, MNIST


def batch(xp: Any, images: Any, labels: Any, drawn: Any, moves: Sequence[Move], values: Any) -> tuple[Any, Any]:
    """A batch out of all images on a device: picked, moved, scaled; new arrays, float32 (n, C, H, W) and int64 (n,).

    Args:
        xp: The array library.
        images: uint8 or float32 (N, C, H, W).
        labels: int64 (N,).
        drawn: int32 (1 + numbers, n): the indices of the images, then the numbers that the moves take, see `moved`.
        moves: What is done to the images; each `fill` is a value that a pixel of `images` can have.
        values: float32 (C, 256): what a byte stands for in each channel; None for float32 images. It is a table and not
            a formula so that a batch has the same bits whatever makes it.

    Where a kernel is registered under the name "batch" (`variants.register_kernel`), it runs instead, with these
    arguments.
    """
    x = moved(xp, images[drawn[0]], moves, drawn[1:])
    if values is not None:
        x = values[xp.arange(len(values))[:, None, None], x.astype(np.int32)]
    return x, labels[drawn[0]]


@dataclass(frozen=True, eq=False)
class Columns:
    """The arrays (N, ...) of a dataset.

    `dtypes` are those that they have in a batch. Where `mean` and `std` are given, the first holds bytes, images
    (N, C, H, W), that are normalised; where `table` is, float32 (C, 256), each byte is looked up in it.
    """

    arrays: tuple[Array, ...]
    dtypes: tuple[np.dtype[Any], ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] = ()
    table: Array | None = None

    def __len__(self) -> int:
        return len(self.arrays[0])

    def rows(self, index: Array, augment: Augment | None = None, rng: np.random.Generator | None = None) -> list[Array]:
        """A batch on the host: new arrays."""
        x = self.arrays[0][index]
        if augment is not None and rng is not None:
            x = augment(x, rng)
            if getattr(x, "ndim", 0) != 4 or len(x) != len(index):
                got = getattr(x, "shape", type(x).__name__)
                raise DataError(f"augment must return {len(index)} images (N, C, H, W), as it was given, got {got}")
        if self.mean is not None and x.dtype == np.uint8:
            x = normalize(x, self.mean, self.std)
        if self.table is not None:
            looked_up = [np.take(values, x[:, c]) for c, values in enumerate(self.table)]
            x = np.stack(looked_up, 1) if len(looked_up) > 1 else looked_up[0][:, None]
        rest = (array[index] for array in self.arrays[1:])
        return [array.astype(dtype) for array, dtype in zip((x, *rest), self.dtypes, strict=True)]

    @property
    def are_images(self) -> bool:
        """Whether `batch` can make a batch of them: images and class numbers."""
        x, *rest = self.arrays
        kinds = [dtype.name for dtype in self.dtypes]
        return x.ndim == 4 and kinds == ["float32", "int64"] and rest[0].ndim == 1

    def on_device(self, backend: Backend, device: str) -> tuple[Any, Any, Any]:
        """`images`, `labels` and `values` of `batch`, there."""
        images, labels = self.arrays
        values = self.table
        if self.mean is not None:
            every = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, len(self.mean), 1, 256))  # one image
            values = normalize(every, self.mean, self.std)[0, :, 0]  # (C, 256)
        elif values is None:
            images = images.astype(np.float32)
        held = (images, labels.astype(np.int64), values)
        there = [None if array is None else backend.asarray(np.ascontiguousarray(array), device) for array in held]
        return there[0], there[1], there[2]


class Pair(Dataset[tuple[Tensor, ...]]):
    """A pair of arrays as a dataset: floating numbers become float32, integers int64, bytes of images 0 to 1."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor(array[0]) for array in self.columns.rows(np.arange(len(self))[index][None]))


def columns_of(dataset: Any) -> Columns | None:
    """The arrays of a dataset whose items are their rows; None where an item may be anything else."""
    kind = type(dataset)
    if isinstance(dataset, Pair):
        return dataset.columns
    if isinstance(dataset, ImageDataset) and kind.__getitem__ is ImageDataset.__getitem__:
        if dataset.transform is not None or dataset.target_transform is not None:
            return None
        dtypes = np.dtype(np.float32), np.dtype(np.int64)
        return Columns((dataset.images, dataset.labels), dtypes, dataset.mean, dataset.std)
    if isinstance(dataset, TensorDataset) and kind.__getitem__ is TensorDataset.__getitem__:
        arrays = tuple(t.array for t in dataset.tensors)
        if not all(isinstance(array, np.ndarray) for array in arrays) or any(t.requires_grad for t in dataset.tensors):
            return None
        return Columns(arrays, tuple(array.dtype for array in arrays))
    if _of_vision(dataset):
        return _columns_of_vision(dataset)
    if isinstance(dataset, Subset) and kind.__getitem__ is Subset.__getitem__:
        whole = columns_of(dataset.dataset)
        if whole is not None:
            index = np.asarray(list(dataset.indices), np.int64)
            return replace(whole, arrays=tuple(array[index] for array in whole.arrays))
    return None


def _of_vision(dataset: Any) -> bool:
    """Whether this is a dataset of `data.vision`. Who has one has imported that file; few need it."""
    vision = sys.modules.get("tinyconv.data.vision")
    return vision is not None and isinstance(dataset, vision.CIFAR10 | vision.MNIST)


def _columns_of_vision(dataset: CIFAR10 | MNIST) -> Columns | None:
    """The arrays, where its transform does the same to each pixel."""
    from tinyconv.data.transforms import table_of
    from tinyconv.data.vision import CIFAR10, MNIST

    own = {MNIST.__getitem__, CIFAR10.__getitem__}
    if type(dataset).__getitem__ not in own or dataset.transforms is not None or dataset.target_transform is not None:
        return None
    try:
        images, labels = (np.asarray(_on_host(part)) for part in (dataset.data, dataset.targets))
    except ValueError:  # which a user has put there
        return None
    images = images[:, None] if isinstance(dataset, MNIST) else np.moveaxis(images, -1, 1)
    if (
        images.ndim != 4
        or images.dtype != np.uint8
        or labels.shape != images.shape[:1]
        or labels.dtype.kind not in "iu"
    ):
        return None
    table = table_of(dataset.transform, images.shape[1]) if labels.dtype.kind in "iu" else None
    dtypes = np.dtype(np.float32), np.dtype(np.int64)
    return None if table is None else Columns((images, labels), dtypes, table=table)


def may_change(dataset: Any) -> bool:
    """Whether a user may put other arrays or another transform into the dataset."""
    return may_change(dataset.dataset) if isinstance(dataset, Subset) else _of_vision(dataset)


def checked_dataset(data: Any, second: Any) -> Any:
    """What a DataLoader loads: `data`, or a pair of arrays as a dataset.

    `second` is what was given after it. Raises DataError, with what to give instead, for what is neither.
    """
    if type(data) is tuple and len(data) == 2 and all(_is_column(part) for part in data):
        return Pair(_columns_of_pair(*(np.asarray(_on_host(part)) for part in data)))
    got, fix = f"a {type(data).__name__}", "DataLoader((images, labels), batch_size=64)"
    if data is None or isinstance(data, type):
        got = "None" if data is None else f"the class {data.__name__}"
    elif isinstance(data, str):
        got, fix = repr(data), f"DataLoader(tinyconv.data.load({data!r}))"
    elif hasattr(data, "shape") and np.ndim(second):
        got = f"an array of shape {tuple(data.shape)}"
        fix = "images and labels are one argument, DataLoader((images, labels), batch_size=64)"
    elif isinstance(data, IterableDataset) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return data
    elif isinstance(data, Dataset):
        absent = [name for name in ("__len__", "__getitem__") if not hasattr(data, name)]
        fix = f"its class has no {' and no '.join(absent)}"
    elif hasattr(data, "__iter__"):
        fix = "it needs len and [i]; what gives items one after another is a subclass of IterableDataset"
    raise DataError(f"DataLoader takes a dataset or a pair of arrays, got {got}; {fix}")


def _is_column(part: Any) -> bool:
    """Whether it is one of a pair of arrays: an array or a list, and no single number."""
    return (isinstance(part, list) and len(part) > 0) or (hasattr(part, "shape") and len(part.shape) > 0)


def _on_host(part: Any) -> Any:
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else part


def _columns_of_pair(x: NDArray[Any], y: NDArray[Any]) -> Columns:
    if x.dtype == np.uint8 and x.ndim != 4:
        raise DataError(f"images of bytes must be (N, C, H, W), got shape {x.shape}{_likely(x)}")
    if x.ndim == 1 and y.ndim > 1:
        raise DataError(f"x must have the shape (N, ...), got {x.shape}; swapped? x comes first, (x, y)")
    if len(x) != len(y):
        raise DataError(f"{len(x)} items need as many labels or targets, got {len(y)}, of shape {y.shape}")
    if x.ndim == 4 and x.dtype != np.uint8 and x.dtype.kind in "iu":
        raise DataError(f"images must be uint8 or floating, got {x.dtype}; bytes? images.astype(np.uint8)")
    for name, array in {"x": x, "y": y}.items():
        if array.dtype.kind not in "fiub":
            fix = "classes, labels = np.unique(labels, return_inverse=True)" if array.dtype.kind in "OSU" else ""
            fix = fix if name == "y" and fix else "numbers are needed"
            raise DataError(f"{name} must be numbers, got {array.dtype}; {fix}")
    images = x.dtype == np.uint8
    dtypes = [np.dtype(np.float32 if array.dtype.kind == "f" else np.int64) for array in (x, y)]
    if not images:
        return Columns((x, y), (dtypes[0], dtypes[1]))
    channels = x.shape[1]
    return Columns((x, y), (np.dtype(np.float32), dtypes[1]), (0.0,) * channels, (1.0,) * channels)


def _likely(images: Array) -> str:
    """What was likely meant by images that are not 4-D."""
    if images.ndim == 3:
        return "; add the channel dimension: x[:, None]"
    if images.ndim == 2:
        shapes = [(c, side, side) for c in (1, 3) if c * (side := isqrt(images.shape[1] // c)) ** 2 == images.shape[1]]
        return f"; flat? x.reshape(-1, {', '.join(map(str, shapes[0]))})" if shapes else ""
    return ""
