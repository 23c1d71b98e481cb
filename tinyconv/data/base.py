"""What a dataset is, tensors as one, and datasets made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import floor, isclose
from typing import Any, Generic, TypeVar

from tinyconv.engine.options import integer
from tinyconv.errors import DataError, listed, shortened
from tinyconv.tensor.creation import randperm, tensor
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn

Item = TypeVar("Item", covariant=True)


class Dataset(Generic[Item]):
    """The base of datasets: `dataset[i]` is an item, `len(dataset)` their number. Like `torch.utils.data.Dataset`.

        class Squares(tc.data.Dataset):
            def __len__(self):
                return 100

            def __getitem__(self, i):
                return tc.tensor([float(i)]), float(i * i)

    A DataLoader takes anything with these two methods; this class adds `+`, which joins two datasets.
    """

    def __getitem__(self, index: Any) -> Item:
        """The item at `index`. NotImplementedError unless a subclass says what that is."""
        raise NotImplementedError(f"{type(self).__name__} is a Dataset and needs a method __getitem__(self, index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        """The items of this dataset, then those of the other."""
        return ConcatDataset([self, other])

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]] | None:
        """The images at these places, uint8 (C, H, W), and their labels; None where items are not images in memory."""
        return None

    def _repr_html_(self) -> str | None:
        from tinyconv import notebook

        if type(self)._pictures is Dataset._pictures:
            return None
        n = len(self)  # type: ignore[arg-type]
        try:
            found = self._pictures(range(min(n, notebook.PICTURES)))
        except IndexError:  # a Subset of items that are not there
            return None
        if found is None:
            return None
        about = [f"{n:,} images", *(" x ".join(map(str, image.shape)) for image, _ in found[:1])]
        classes = getattr(self, "classes", ())
        about += [f"{len(classes)} classes: {listed(classes, 10)}"] * bool(classes)
        about += [f"the first {len(found)}"] * (len(found) < n)
        return notebook.page(notebook.caption(type(self).__name__, *about), notebook.gallery(found))


class IterableDataset(Dataset[Item]):
    """The base of datasets whose items come one after another, such as lines of a file, from `__iter__` alone.

    A DataLoader makes batches of them in their order. Like `torch.utils.data.IterableDataset`.
    """

    def __iter__(self) -> Iterator[Item]:
        """The items. NotImplementedError unless a subclass says what they are."""
        raise NotImplementedError(f"{type(self).__name__} is an IterableDataset and needs a method __iter__(self)")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of one length; item i is a tuple of what each has at i. Like `torch.utils.data.TensorDataset`.

        train = tc.data.TensorDataset(tc.randn(100, 1, 28, 28), tc.randint(0, 10, (100,)))

    Args:
        tensors: Tensors or arrays, (N, ...) each, of any dtype. Arrays of NumPy are copied.

    Raises DataError where there is none, or their lengths differ.

    Attributes:
        tensors: The tensors.
    """

    def __init__(self, *tensors: Any) -> None:
        self.tensors = tuple(t if isinstance(t, Tensor) else tensor(t) for t in tensors)
        lengths = [t.shape[0] if t.ndim else None for t in self.tensors]
        if not lengths or None in lengths or len(set(lengths)) > 1:
            got = ", ".join(str(tuple(t.shape)) for t in self.tensors) or "none"
            raise DataError(f"TensorDataset takes tensors of one length, got {got}")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """A tuple of what each tensor has at `index`."""
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        """The length of the tensors."""
        return len(self.tensors[0])

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        rows = [[str(i), str(tuple(t.array.shape)), str(t.dtype), t.device] for i, t in enumerate(self.tensors)]
        head = notebook.caption(type(self).__name__, f"{len(self):,} items, each of {len(rows)} tensors")
        return notebook.page(head, notebook.table(["", "all of them", "dtype", "device"], rows))


class Subset(Dataset[Item]):
    """Some items of a dataset: item i is `dataset[indices[i]]`. Like `torch.utils.data.Subset`.

        first = tc.data.Subset(train, range(1000))

    Args:
        dataset: Where the items are.
        indices: Which ones, in order.

    Attributes:
        dataset: Where the items are.
        indices: Which ones, in order.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Item:
        """The item whose number stands at `index`."""
        if isinstance(index, list):
            found: Item = self.dataset[[self.indices[i] for i in index]]
        else:
            found = self.dataset[self.indices[index]]
        return found

    def __len__(self) -> int:
        """How many there are."""
        return len(self.indices)

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]] | None:
        return pictures_of(self.dataset, [self.indices[i] for i in places])


class ConcatDataset(Dataset[Any]):
    """The items of several datasets, one dataset after another; `a + b` is one of two.

        both = tc.data.ConcatDataset([train, test])

    Like `torch.utils.data.ConcatDataset`. Raises DataError where there is none, or one has no length.

    Args:
        datasets: The datasets.

    Attributes:
        datasets: A list of them.
        cumulative_sizes: How many items there are up to the end of each.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        for part in self.datasets:
            if not hasattr(part, "__len__") or isinstance(part, IterableDataset):
                raise DataError(f"ConcatDataset takes datasets that have a length, got {shortened(part)}")
        if not self.datasets:
            raise DataError("ConcatDataset takes one dataset or more, got none")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> Any:
        """The item at `index` of all. Raises IndexError where there are not so many."""
        n, place = len(self), integer("ConcatDataset: index", index)
        if not -n <= place < n:
            raise IndexError(f"index {place} of a dataset of {n} items")
        place %= n
        which = bisect_right(self.cumulative_sizes, place)
        return self.datasets[which][place - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        """The number of items of all."""
        return self.cumulative_sizes[-1]

    def _pictures(self, places: Sequence[int]) -> list[tuple[Any, str]] | None:
        found: list[tuple[Any, str]] = []
        for dataset, end in zip(self.datasets, self.cumulative_sizes, strict=True):
            start = end - len(dataset)
            part = pictures_of(dataset, [i - start for i in places if start <= i < end])
            if part is None:
                return None
            found += part
        return found


def pictures_of(dataset: Any, places: Sequence[int]) -> list[tuple[Any, str]] | None:
    """What a notebook shows of a dataset, see `Dataset._pictures`; None for a dataset that has not this base."""
    return dataset._pictures(places) if isinstance(dataset, Dataset) else None


def labelled(images: Any, labels: Any, classes: Sequence[str], places: Sequence[int]) -> list[tuple[Any, str]]:
    """These images of an array, and the names of their classes."""
    chosen = [(images[i], int(labels[i])) for i in places]
    return [(image, classes[label] if 0 <= label < len(classes) else str(label)) for image, label in chosen]


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Split a dataset at random: each item is in one of the parts.

        train, held_out = tc.data.random_split(digits, [0.9, 0.1])

    Args:
        dataset: Anything with `len` and `[i]`.
        lengths: How many items each part has; or shares of all that sum to 1, rounded down, where what is left over
            goes to the first parts, one item each.
        generator: Where the order comes from; unless given, `manual_seed`.

    Returns a Subset for each. Raises DataError where the lengths do not sum to that of the dataset. Like
    `torch.utils.data.random_split`.
    """
    n, parts = len(dataset), list(lengths)
    if isclose(sum(parts), 1) and sum(parts) <= 1 + 1e-9 and not all(isinstance(part, int) for part in parts):
        if not all(0 <= share <= 1 for share in parts):
            raise DataError(f"random_split: shares are 0 to 1, got {shortened(parts)}")
        parts = [floor(n * share) for share in parts]
        for i in range(n - int(sum(parts))):
            parts[i % len(parts)] += 1
        for i, length in enumerate(parts):
            if not length:
                warn(f"random_split: part {i} has no items")
    if sum(parts) != n or not all(isinstance(part, int) and part >= 0 for part in parts):
        raise DataError(
            f"random_split: lengths must be whole numbers that sum to the {n} items, or shares that sum to 1, got "
            f"{shortened(list(lengths))}"
        )
    order, ends = randperm(n, generator=generator, device="cpu").tolist(), list(accumulate(parts))
    return [Subset(dataset, order[int(end - part) : int(end)]) for part, end in zip(parts, ends, strict=True)]
