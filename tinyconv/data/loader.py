"""Batches of arrays that are in memory, in an order that a seed and an epoch fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.arrays.backend import META, NUMPY, Backend, backend_for, backend_of, captured_step, device_name
from tinyconv.calls import Checked
from tinyconv.data.augment import Augment, Move, augment_for_batch, checked, moved, parts_that_move
from tinyconv.data.datasets import Dataset, normalize
from tinyconv.data.reading import Array
from tinyconv.engine.each_step import each_step, staged
from tinyconv.engine.options import count, integer
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import DataError
from tinyconv.tensor.creation import tensor
from tinyconv.tensor.tensor import Tensor, wrap


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


class DataLoader(Checked):
    """Batches `(x, y)` of images and labels in memory, float32 (n, C, H, W) and int64 (n,); each `iter` is one epoch.

    Args:
        data: A `Dataset`, whose images are normalised, or a pair of arrays `(images, labels)`, (N, C, H, W) and (N,).
            In a pair, uint8 images are scaled to [0, 1], floating ones are only converted; labels are integers.
        batch_size: Images in a batch, >= 1. The last batch of an epoch is smaller if too few remain.
        shuffle: Whether each epoch has an order of its own, which is a pure function of `(seed, epoch)`.
        drop_last: Whether to leave out a last batch that is smaller.
        seed: For the order and for what `augment` draws, >= 0.
        augment: Called as `augment(images, rng)` on the images as they are stored, before any scaling (see
            `tinyconv.data.augment`). What `rng` gives is a pure function of `(seed, epoch, batch)`. One that has a
            method `for_batch(seed, epoch, index)` is replaced by what that returns.
        device: Where the batches are, such as "cuda"; unless given, the default device.

    Raises DataError where an argument is out of range, the lengths differ, the images are not 4-D, a dtype is not one
    of these, or there is no batch.

        loader = tc.data.DataLoader(tc.data.mnist("train"), batch_size=64, shuffle=True)
        for x, y in loader:  # (64, 1, 28, 28), (64,)
            loss = F.cross_entropy(model(x), y)

    Nothing is carried from batch to batch, so `batches(epoch, start)` resumes bit for bit what was stopped.

    On a GPU the images are copied to its memory once, when the first batch is asked for, and stay there. For each batch
    only the indices and the numbers of the augmentation go over, and its bits are those of the CPU's. An augmentation
    of your own runs on the host, and its batches are copied.

    Attributes:
        epoch: The epoch that the next `iter` goes through; each `iter` advances it, `set_epoch` sets it.
    """

    def __init__(
        self,
        data: Dataset | tuple[NDArray[np.uint8] | NDArray[np.floating[Any]], NDArray[np.integer[Any]]],
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
            self.images, self.labels = _pair(data, batch_size)
            _check_pair(self.images, self.labels)
            channels = self.images.shape[1]
            self.mean, self.std = (0.0,) * channels, (1.0,) * channels
        batch_size, seed = checked(count, "batch_size", batch_size), checked(_from_0, "seed", seed)
        if not isinstance(shuffle, bool | np.bool_) and not (isinstance(shuffle, int) and shuffle in (0, 1)):
            hint = f"; for an order that depends on a seed: shuffle=True, seed={shuffle}" * isinstance(shuffle, int)
            raise DataError(f"shuffle must be True or False, got {shuffle!r}{hint}")
        if isinstance(augment, type) or not (augment is None or callable(augment)):
            hint = f"; make one: {augment.__name__}()" if isinstance(augment, type) else ""
            hint = "; several as one: tinyconv.data.Compose((...))" if isinstance(augment, list | tuple) else hint
            raise DataError(f"augment must be a function of images and a generator, got {augment!r}{hint}")
        n = len(self.images)
        if not n:
            raise DataError("the dataset is empty, there is nothing to load")
        if drop_last and batch_size > n:
            raise DataError(
                f"drop_last leaves no batch: batch_size {batch_size} of {n} images; make it at most {n}, or keep the "
                "last batch"
            )
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.augment = augment
        self.device = device
        self.epoch = 0
        self._number = 0  # the batch of `epoch` that `next` returns next
        self._resident: dict[str, tuple[Any, ...]] = {}  # device -> images, labels and values there, see `batch`
        self._order: tuple[Any, Array] | None = None  # seed, shuffle and epoch of the order made last, and that order

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `epoch`, which becomes the next one."""
        epoch = self.epoch
        self.set_epoch(epoch + 1)
        return self.batches(epoch)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Set the epoch that the next `iter` goes through, and the batch in it that `next` returns next.

        Args:
            epoch: >= 0.
            start: The number of a batch, from 0.

        Raises DataError where `epoch` is negative or has no batch with that number.
        """
        self.epoch, self._number = _checked_epoch(epoch), self._checked_start(start, len(self) - 1)

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from number `start` on, as Tensors on the loader's device.

        Args:
            epoch: >= 0.
            start: From 0 to `len(self)`. The batches before it are not computed.

        Raises DataError where an argument is out of range.
        """
        for place in self._places(epoch, start):
            yield self.batch_at(repeat(place).__next__)

    def next(self) -> tuple[Tensor, Tensor]:
        """The next batch of `epoch`, or after its last one the first of the next epoch, on the loader's device.

        Called inside a captured step, it gives every replay a batch of its own:

            @tc.capture
            def train_step():
                x, y = loader.next()
                ...

        Raises CaptureError in a captured step, which has one shape, where the last batch of an epoch is smaller.
        """
        captured = captured_step.get()
        if captured is not None and not self.drop_last and len(self.images) % self.batch_size:
            captured.refuse(
                f"DataLoader.next: the last batch of an epoch has {len(self.images) % self.batch_size} images, the "
                f"others {self.batch_size}, and a captured step has one shape; make the loader with drop_last=True"
            )
        return self.batch_at(self._advance)

    def _advance(self) -> tuple[int, int]:
        """Return the epoch and the number of the next batch, and go on by one batch."""
        place = self.epoch, self._number
        last = self._number == len(self) - 1
        self.set_epoch(*((self.epoch + 1, 0) if last else (self.epoch, self._number + 1)))
        return place

    def batch_at(self, place: Callable[[], tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """The batch whose epoch and number `place()` returns; each replay of a captured step calls it again."""
        backend = backend_for(self.device)
        on_host = backend in (NUMPY, META)
        moves = None if on_host else self._moves()
        if moves is not None:
            images, labels, values = self._on_device(backend)
            xp = backend_of(images).xp  # which makes their device the current one
            drawn = staged(xp, lambda: self._drawn(*place()))
            make = kernel_for("batch", backend.name, images, moves) or batch
            x, y = make(xp, images, labels, drawn, moves, values)
        elif captured_step.get() is None:
            x, y = self._array(*place())
            return tensor(x, device=self.device), tensor(y, device=self.device)
        else:
            x, y = self._batch_anew(backend.xp, place)
        return wrap(x), wrap(y)

    def _batch_anew(self, xp: Any, place: Callable[[], tuple[int, int]]) -> tuple[Any, Any]:
        """A batch that the host makes for each replay of a captured step."""
        made: list[Array] = []

        def make() -> None:
            made[:] = self._array(*place())

        each_step(make)
        return staged(xp, lambda: made[0]), staged(xp, lambda: made[1])

    def _moves(self) -> tuple[Move, ...] | None:
        """The moves of the augmentation, each `fill` as a pixel would store it; None if it does more than move."""
        parts = parts_that_move(self.augment)
        if parts is None:
            return None
        moves = (move for part in parts for move in part.moves)
        return tuple(
            move._replace(fill=float(np.full((), float(move.fill), self.images.dtype).item())) for move in moves
        )

    def _on_device(self, backend: Backend) -> tuple[Any, Any, Any]:
        """`images`, `labels` and `values` of `batch`, on the loader's device."""
        device = device_name(self.device)
        if device not in self._resident:
            images, values = self.images, None
            if images.dtype == np.uint8:
                every = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, len(self.mean), 1, 256))  # one image
                values = normalize(every, self.mean, self.std)[0, :, 0]  # (C, 256)
            else:
                images = images.astype(np.float32)
            held = (images, self.labels.astype(np.int64), values)
            self._resident[device] = tuple(
                None if array is None else backend.asarray(np.ascontiguousarray(array), device) for array in held
            )
        return self._resident[device]

    def arrays(self, epoch: int, start: int = 0) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """The batches of an epoch from number `start` on, as new NumPy arrays, made on the host.

        Args:
            epoch: >= 0.
            start: From 0 to `len(self)`. The batches before it are not computed.

        Raises DataError where an argument is out of range.
        """
        for place in self._places(epoch, start):
            yield self._array(*place)

    def _places(self, epoch: int, start: int) -> Iterator[tuple[int, int]]:
        """`epoch`, with the number of each of its batches from `start` on."""
        return zip(repeat(_checked_epoch(epoch)), range(self._checked_start(start, len(self)), len(self)))

    def _array(self, epoch: int, number: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One batch, made on the host."""
        index = self._index(epoch, number)
        images = self.images[index]
        if self.augment is not None:
            augment = augment_for_batch(self.augment, self.seed, epoch, index)
            images = augment(images, np.random.default_rng(self._stream(epoch, number)))
            if getattr(images, "ndim", 0) != 4 or len(images) != len(index):
                got = getattr(images, "shape", type(images).__name__)
                raise DataError(f"augment must return {len(index)} images (N, C, H, W), as it was given, got {got}")
        x = normalize(images, self.mean, self.std) if images.dtype == np.uint8 else images.astype(np.float32)
        return x, self.labels[index].astype(np.int64)

    def _drawn(self, epoch: int, number: int) -> Array:
        """All that the host sends to the device for one batch: `drawn` of `batch`."""
        index = self._index(epoch, number)
        rng = np.random.default_rng(self._stream(epoch, number))
        shape = (len(index), *self.images.shape[1:])
        rows = []
        augment = self.augment and augment_for_batch(self.augment, self.seed, epoch, index)
        for part in parts_that_move(augment) or []:
            rows += part.draw(shape, rng)
            for move in part.moves:
                shape = (*shape[:2], *move.shape(*shape[2:]))
        return np.array([index, *rows], np.int32)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of the images in the order of `epoch`, int64 (N,): 0 to N-1, shuffled if the loader shuffles.

        Raises DataError where `epoch` is negative.
        """
        _checked_epoch(epoch)
        if not self.shuffle:
            return np.arange(len(self.images))
        return np.random.default_rng(self._stream(epoch)).permutation(len(self.images))

    def _index(self, epoch: int, number: int) -> Array:
        """The indices of the images in one batch."""
        key = self.seed, self.shuffle, epoch
        last = self._order  # which another thread may replace, with that of another epoch
        if last is None or last[0] != key:
            self._order = last = key, self.order(epoch)
        return last[1][number * self.batch_size : (number + 1) * self.batch_size]

    def _stream(self, *place: int) -> np.random.SeedSequence:
        # A spawn key, not entropy: entropy is padded with zeros, so (seed, epoch) would equal (seed, epoch, 0).
        return np.random.SeedSequence(self.seed, spawn_key=place)

    def _checked_start(self, start: int, most: int) -> int:
        start = checked(integer, "start", start)
        if not 0 <= start <= most:
            raise DataError(f"an epoch here has {len(self)} batches, cannot start from number {start}")
        return start


def _pair(data: Any, second: Any) -> tuple[Array, Array]:
    """Images and labels as arrays. DataError, with what to give instead, for anything but a pair of them."""
    if isinstance(data, list | tuple) and len(data) == 2:
        with suppress(ValueError, TypeError):  # two pairs of an image and a label: ragged
            return np.asarray(data[0]), np.asarray(data[1])
    got, fix = f"a {type(data).__name__}", "DataLoader((images, labels), batch_size=64)"
    if data is None or isinstance(data, type):
        got = "None" if data is None else f"the class {data.__name__}"
    elif isinstance(data, str):
        got, fix = repr(data), f"DataLoader(tinyconv.data.load({data!r}))"
    elif isinstance(data, list | tuple):
        got = f"a {type(data).__name__} of {len(data)}"
        fix = "of pairs, DataLoader((np.stack([x for x, _ in data]), np.array([y for _, y in data])))"
    elif hasattr(data, "shape"):
        got = f"an array of shape {tuple(data.shape)}"
        if np.ndim(second):
            fix = "images and labels are one argument, DataLoader((images, labels), batch_size=64)"
    elif hasattr(data, "tensors"):  # as PyTorch's TensorDataset has them
        fix = "DataLoader(data.tensors)"
    elif hasattr(data, "data") and hasattr(data, "targets"):  # as torchvision's datasets have them
        fix = "DataLoader((np.asarray(data.data)[:, None], np.asarray(data.targets)))"
    raise DataError(f"DataLoader takes a Dataset or a pair of arrays, got {got}; {fix}")


def _check_pair(images: Array, labels: Array) -> None:
    if images.ndim != 4:
        raise DataError(f"images must be (N, C, H, W), got shape {images.shape}{_likely(images, labels)}")
    if labels.shape != images.shape[:1]:
        one_hot = labels.ndim == 2 and len(labels) == len(images)
        hint = f"; {'labels[:, 0]' if labels.shape[1] == 1 else 'one-hot? labels.argmax(1)'}" if one_hot else ""
        raise DataError(f"{len(images)} images need labels of shape ({len(images)},), got {labels.shape}{hint}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        hint = f"; {'bytes? images.astype(np.uint8)' if images.dtype.kind in 'iu' else 'images.astype(np.float32)'}"
        raise DataError(f"images must be uint8 or floating, got {images.dtype}{hint}")
    if not np.issubdtype(labels.dtype, np.integer):
        names = labels.dtype.kind in "OSU"
        fix = "classes, labels = np.unique(labels, return_inverse=True)" if names else "labels.astype(np.int64)"
        raise DataError(f"labels must be integers, got {labels.dtype}; {fix}")


def _likely(images: Array, labels: Array) -> str:
    """What was likely meant by images that are not 4-D."""
    if images.ndim == 1 and labels.ndim > 1:
        return "; swapped? the images come first, (images, labels)"
    if images.ndim == 3:
        return "; add the channel dimension: x[:, None]"
    if images.ndim == 2:
        shapes = [(c, side, side) for c in (1, 3) if c * (side := isqrt(images.shape[1] // c)) ** 2 == images.shape[1]]
        return f"; flat? x.reshape(-1, {', '.join(map(str, shapes[0]))})" if shapes else ""
    return ""


def _checked_epoch(epoch: int) -> int:
    number: int = checked(_from_0, "epoch", epoch)
    return number


def _from_0(what: str, value: Any) -> int:
    return integer(what, value, 0)
