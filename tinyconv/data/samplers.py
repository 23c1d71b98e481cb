"""Samplers: in which order a DataLoader takes the items. Each `iter` is one epoch. Like those of `torch.utils.data`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from tinyconv.data.augment import checked
from tinyconv.engine.options import count
from tinyconv.errors import DataError, shortened
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.creation import drawn_seed
from tinyconv.tensor.generator import Generator

Index = TypeVar("Index", covariant=True)


class Sampler(Generic[Index]):
    """The base of samplers: `__iter__` gives the indices of items, `__len__` says how many.

        class Backwards(tc.data.Sampler):
            def __init__(self, n):
                self.n = n

            def __iter__(self):
                return iter(range(self.n - 1, -1, -1))

            def __len__(self):
                return self.n

    Args:
        data_source: Taken for PyTorch's sake.
    """

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[Index]:
        """The indices. NotImplementedError unless a subclass says what they are."""
        raise NotImplementedError(f"{type(self).__name__} is a Sampler and needs a method __iter__(self)")


class SequentialSampler(Sampler[int]):
    """All items, in their order.

    Args:
        data_source: The dataset: anything with `len`.
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Items in random order, another one each time.

    Args:
        data_source: The dataset: anything with `len`.
        replacement: Whether an item may come more than once.
        num_samples: How many to draw; all of the dataset's unless given. Without replacement, beyond so many, they come
            again in another order.
        generator: Where the order comes from; unless given, `manual_seed`.

    Raises DataError where `num_samples` is below 1.
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source, self.replacement, self.generator = data_source, replacement, generator
        self._num_samples = None if num_samples is None else checked(count, "num_samples", num_samples)

    @property
    def num_samples(self) -> int:
        """How many are drawn."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        rng, n, left = _numbers(self.generator), len(self.data_source), self.num_samples
        while left > 0 and n:
            some = rng.integers(0, n, left) if self.replacement else rng.permutation(n)[:left]
            yield from some.tolist()
            left -= len(some)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order, another one each time.

    Args:
        indices: Which items.
        generator: Where the order comes from; unless given, `manual_seed`.
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for i in _numbers(self.generator).permutation(len(self.indices)):
            yield self.indices[int(i)]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn with the given weights: rare classes may come as often as others.

        weights = 1 / np.bincount(train.labels)[train.labels]
        loader = tc.data.DataLoader(train, 64, sampler=tc.data.WeightedRandomSampler(weights, len(train)))

    Args:
        weights: A number >= 0 for each item; they need not sum to 1.
        num_samples: How many to draw.
        replacement: Whether an item may come more than once.
        generator: Where the draw comes from; unless given, `manual_seed`.

    Raises DataError where the weights are not such numbers, or too few of them are above 0 to draw without replacement.
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        self.weights = np.asarray(to_array(weights, None, "cpu"), np.float64)
        self.num_samples, self.replacement = checked(count, "num_samples", num_samples), replacement
        self.generator = generator
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not 0 < self.weights.sum() < np.inf:
            raise DataError(f"weights must be one number >= 0 for each item, not all 0, got {shortened(weights)}")
        if not replacement and num_samples > (some := np.count_nonzero(self.weights)):
            raise DataError(f"num_samples: {num_samples} of {some} items with a weight; replacement=True allows it")

    def __iter__(self) -> Iterator[int]:
        shares, rng = self.weights / self.weights.sum(), _numbers(self.generator)
        yield from rng.choice(len(shares), self.num_samples, self.replacement, shares).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of indices, each a batch, out of those that another sampler gives.

    Args:
        sampler: The other one: anything to iterate over.
        batch_size: Indices in a batch, >= 1.
        drop_last: Whether to leave out a last batch that is smaller.

    Raises DataError where `batch_size` is below 1.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler, self.batch_size, self.drop_last = sampler, checked(count, "batch_size", batch_size), drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while some := list(islice(indices, self.batch_size)):
            if len(some) == self.batch_size or not self.drop_last:
                yield some

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return whole + (rest > 0 and not self.drop_last)


def _numbers(generator: Generator | None) -> np.random.Generator:
    return np.random.default_rng(drawn_seed(generator))
