"""Batches of arrays that are in memory already, in an order that a seed and an epoch fix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tinyconv.data.augment import Augment
from tinyconv.data.datasets import Dataset, normalize
from tinyconv.data.idx import Array
from tinyconv.errors import DataError

if TYPE_CHECKING:
    from tinyconv.tensor import Tensor


class DataLoader:
    """Batches `(x, y)` of a `Dataset` or a pair of arrays, one pass over them for each `iter`.

    Of a Dataset, x is `normalized()`, float32 (n, C, H, W). Of a pair `(images, labels)` x is the images scaled to
    [0, 1] when they are uint8 and the images as they are, in float32, when they are floating. y is int64 (n,). The last
    batch is the smaller one that remains, or with `drop_last` it is left out.

    The order of an epoch is a pure function of `(seed, epoch)`, and what `augment` draws is one of `(seed, epoch,
    batch)`: nothing is carried from batch to batch, so `batches(epoch, start)` resumes bit for bit what was stopped.
    `augment` is called as `augment(images, rng)` on the images as they are stored, before any scaling (see `augment`).

    `epoch` is the one the next `iter` goes through; each `iter` advances it, `set_epoch` sets it. Raises DataError when
    batch_size < 1, the lengths differ, the images are not 4-D, a dtype is not one of these, or there is no batch.
    """

    def __init__(
        self,
        data: Dataset | tuple[Array, Array],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        augment: Augment | None = None,
        device: str | None = None,
    ) -> None:
        if isinstance(data, Dataset):
            self.images, self.labels, self.mean, self.std = data.images, data.labels, data.mean, data.std
        else:
            self.images, self.labels = (np.asarray(array) for array in data)
            _check_pair(self.images, self.labels)
            channels = self.images.shape[1]
            self.mean, self.std = (0.0,) * channels, (1.0,) * channels
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        if seed < 0:
            raise DataError(f"seed must not be negative, got {seed}")
        if not len(self.images):
            raise DataError("the dataset is empty, there is nothing to load")
        if drop_last and batch_size > len(self.images):
            raise DataError(f"drop_last leaves no batch: batch_size {batch_size} of {len(self.images)} images")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.augment = augment
        self.device = device
        self.epoch = 0

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.batches(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the one the next `iter` goes through; DataError when it is negative."""
        self.epoch = _checked_epoch(epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `epoch` from number `start` on, as Tensors on the loader's device. Errors are `arrays`'."""
        from tinyconv.creation import tensor  # here, so that the data can be had without the tensors

        for x, y in self.arrays(epoch, start):
            yield tensor(x, device=self.device), tensor(y, device=self.device)

    def arrays(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, Array]]:
        """The batches of `epoch` from number `start` on, as new NumPy arrays; those before `start` are not computed.

        Raises DataError when `epoch` is negative or `start` is not in 0..len(self).
        """
        order = self.order(epoch)
        if not 0 <= start <= len(self):
            raise DataError(f"an epoch here has {len(self)} batches, cannot start from number {start}")
        for batch in range(start, len(self)):
            index = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = self.images[index]
            if self.augment is not None:
                images = self.augment(images, np.random.default_rng(self._stream(epoch, batch)))
            x = normalize(images, self.mean, self.std) if images.dtype == np.uint8 else images.astype(np.float32)
            yield x, self.labels[index].astype(np.int64)

    def order(self, epoch: int) -> Array:
        """The indices of the images in the order of `epoch`, int64 (N,): 0 to N-1, shuffled if the loader shuffles."""
        _checked_epoch(epoch)
        if not self.shuffle:
            return np.arange(len(self.images))
        return np.random.default_rng(self._stream(epoch)).permutation(len(self.images))

    def _stream(self, *place: int) -> np.random.SeedSequence:
        # As a spawn key, not as entropy: entropy is padded with zeros, and (seed, epoch) would be (seed, epoch, 0).
        return np.random.SeedSequence(self.seed, spawn_key=place)


def _check_pair(images: Array, labels: Array) -> None:
    if images.ndim != 4:
        hint = "; add the channel dimension: x[:, None]" if images.ndim == 3 else ""
        raise DataError(f"images must be (N, C, H, W), got shape {images.shape}{hint}")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{len(images)} images need labels of shape ({len(images)},), got {labels.shape}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"images must be uint8 or floating, got {images.dtype}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels must be integers, got {labels.dtype}")


def _checked_epoch(epoch: int) -> int:
    if epoch < 0:
        raise DataError(f"epoch must not be negative, got {epoch}")
    return epoch
