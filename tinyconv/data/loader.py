"""Batches of a dataset, in an order that a seed and an epoch fix, or a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice, repeat
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyconv.arrays.backend import META, NUMPY, backend_for, backend_of, captured_step, device_name
from tinyconv.calls import Checked
from tinyconv.data.augment import Augment, Move, augment_for_batch, checked, parts_that_move
from tinyconv.data.base import IterableDataset, TensorDataset
from tinyconv.data.collate import default_collate, default_convert, mapped
from tinyconv.data.columns import batch, checked_dataset, columns_of, may_change
from tinyconv.data.reading import Array
from tinyconv.data.samplers import BatchSampler, RandomSampler, SequentialSampler
from tinyconv.engine.each_step import each_step, staged
from tinyconv.engine.options import count, integer, non_negative
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import DataError, shortened
from tinyconv.tensor.creation import drawn_seed, tensor
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.tensor import Tensor, wrap

Pick: TypeAlias = tuple[Array, np.random.SeedSequence, int]
"""The indices of the items of a batch, where its augmentation draws from, and the epoch."""


class DataLoader(Checked):
    """The items of a dataset in batches; each `iter` is one epoch. Like `torch.utils.data.DataLoader`.

        loader = tc.data.DataLoader(tc.data.mnist("train"), batch_size=64, shuffle=True)
        for x, y in loader:  # (64, 1, 28, 28), (64,)
            loss = F.cross_entropy(model(x), y)

    Args:
        dataset: Anything with `len` and `[i]`: a `Dataset`, a list; or an `IterableDataset`; or a tuple of two arrays
            `(x, y)` of one length, whose floating numbers become float32 and whose integers int64, except that uint8
            images (N, C, H, W) are scaled to [0, 1]. Images of an `ImageDataset` are normalised.
        batch_size: Items in a batch, >= 1. The last batch of an epoch is smaller if too few remain. None for the items
            one by one, as `default_convert` gives them.
        shuffle: Whether each epoch has an order of its own.
        sampler: The indices of an epoch, one after another (see `tinyconv.data.Sampler`), in place of `shuffle`.
        batch_sampler: Lists of indices, each a batch, in place of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers, pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers,
            pin_memory_device, in_order: Taken for PyTorch's sake, and without effect: a batch is made when it is asked
            for, in the thread that asks, as PyTorch does it with num_workers=0.
        collate_fn: Called with the list of the items of a batch, returns the batch; `default_collate` unless given.
        drop_last: Whether to leave out a last batch that is smaller.
        generator: Where the orders come from: a `tinyconv.Generator`. Unless given, from `manual_seed`.
        seed: >= 0. The order of an epoch, and what `augment` draws, are a pure function of `(seed, epoch, batch)` then.
        augment: Called as `augment(images, rng)` on the images of a batch as they are stored, before any scaling (see
            `tinyconv.data.augment`), for an `ImageDataset` or a pair of arrays. One that has a method
            `for_batch(seed, epoch, index)` is replaced by what that returns.
        device: Where the batches are, such as "cuda"; unless given, the default device.

    Raises DataError where an argument is out of range or of another kind, where two exclude each other, where the
    lengths of a pair differ, where there is no batch, and where items make none (see `default_collate`).

    Without `seed`, each `iter` draws one, from `generator` or from the numbers of `manual_seed`, if the epoch has
    something random: so each epoch of each loader has an order of its own. `batches`, `next` and `order` draw one once
    and keep it. With a seed nothing is carried from batch to batch, and `batches(epoch, start)` resumes bit for bit
    what was stopped.

    An `ImageDataset` without transforms, a `TensorDataset`, a pair of arrays, an MNIST or CIFAR10 of
    `tinyconv.data.vision` with the transform ToTensor, or ToTensor and Normalize, and a `Subset` of these lie in
    memory, so a batch is cut out of their arrays at once. Items of any other dataset are asked for one by one.

    On a GPU images are copied to its memory once, when the first batch is asked for, and stay there. For each batch
    only the indices and the numbers of the augmentation go over, and its bits are those of the CPU's. An augmentation
    of your own runs on the host, and its batches are copied.

    Attributes:
        dataset: What the items are taken from; a pair of arrays as a dataset.
        sampler, batch_sampler: What gives the indices, one by one and in batches.
        seed: The seed that was given, or was drawn for `batches`, `next` or `order`; else None.
        epoch: The epoch that the next `iter` goes through; each `iter` advances it, `set_epoch` sets it.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        seed: int | None = None,
        augment: Augment | None = None,
        device: str | None = None,
    ) -> None:
        self.dataset = checked_dataset(dataset, batch_size)
        self._streamed = isinstance(self.dataset, IterableDataset)
        self._sampled = sampler is not None or batch_sampler is not None
        if batch_size is not None:
            batch_size = checked(count, "batch_size", batch_size)
        if shuffle is not None and not (isinstance(shuffle, bool | np.bool_ | int) and shuffle in (0, 1)):
            hint = f"; for an order that depends on a seed: shuffle=True, seed={shuffle}" * isinstance(shuffle, int)
            raise DataError(f"shuffle must be True or False, got {shuffle!r}{hint}")
        _exclude("an IterableDataset has its own order", self._streamed, shuffle, sampler, batch_sampler)
        _exclude("a batch_sampler says all", batch_sampler is not None, batch_size != 1, shuffle, sampler, drop_last)
        _exclude("a sampler is an order", sampler is not None, shuffle)
        _exclude("batch_size=None makes no batches", batch_size is None, drop_last)
        _exclude("a seed fixes the order", seed is not None, generator)
        if isinstance(augment, type) or not (augment is None or callable(augment)):
            hint = f"; make one: {augment.__name__}()" if isinstance(augment, type) else ""
            hint = "; several as one: tinyconv.data.Compose((...))" if isinstance(augment, list | tuple) else hint
            raise DataError(f"augment must be a function of images and a generator, got {augment!r}{hint}")
        if collate_fn is not None and not callable(collate_fn):
            raise DataError(f"collate_fn must be a function of a list of items, got {shortened(collate_fn)}")
        self.num_workers, self.timeout = checked(_from_0, "num_workers", num_workers), timeout
        checked(non_negative, "timeout", timeout)
        self._cut = batch_size is not None and collate_fn in (None, default_collate) and not self._streamed
        self._columns = columns_of(self.dataset) if self._cut else None
        if augment is not None and (self._columns is None or self._columns.arrays[0].ndim != 4):
            raise DataError(
                "augment moves the pixels of whole batches, out of an ImageDataset without transforms or a pair of "
                "arrays; what is done to one item belongs into the dataset: transform=..."
            )
        self.seed = None if seed is None else checked(_from_0, "seed", seed)
        self._drawn_anew = seed is None
        self.shuffle, self.drop_last, self.generator = bool(shuffle), bool(drop_last), generator
        self.collate_fn = collate_fn or (default_convert if batch_size is None else default_collate)
        self.pin_memory, self.persistent_workers, self.worker_init_fn = pin_memory, persistent_workers, worker_init_fn
        self.augment = augment
        self.device = device
        if not self._streamed and not len(self.dataset):
            raise DataError("the dataset is empty, there is nothing to load")
        if drop_last and batch_size is not None and not self._streamed and not sampler and batch_size > self._items():
            n = self._items()
            raise DataError(
                f"drop_last leaves no batch: batch_size {batch_size} of {n} images; make it at most {n}, or keep the "
                "last batch"
            )
        if sampler is None and batch_sampler is None and not self._streamed:
            sampler = RandomSampler(self.dataset, generator=generator) if shuffle else SequentialSampler(self.dataset)
        if sampler is not None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, self.drop_last)
        self.batch_size = None if self._sampled and sampler is None else batch_size
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.epoch = 0
        self._number = 0  # the batch of `epoch` that `next` returns next
        self._resident: dict[str, tuple[Any, ...]] = {}  # device -> images, labels and values there, see `batch`
        self._order: tuple[Any, Array] | None = None  # what made the order made last, and that order

    @property
    def images(self) -> Any:
        """The first array that batches are cut out of, uint8 or floating (N, ...); None where they are not."""
        return None if self._columns is None else self._columns.arrays[0]

    @property
    def labels(self) -> Any:
        """The second array that batches are cut out of, (N, ...); None where they are not."""
        return None if self._columns is None or len(self._columns.arrays) < 2 else self._columns.arrays[1]

    @property
    def in_memory(self) -> bool:
        """Whether batches `[x, y]` are cut out of arrays in memory, by the numbers of an epoch and of a batch in it."""
        return self.labels is not None and not self._sampled

    def _items(self) -> int:
        return len(self.dataset if self._columns is None else self._columns)

    def __len__(self) -> int:
        """The number of batches in an epoch. TypeError where an IterableDataset or a sampler has no length."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        if self.sampler is not None:
            return len(self.sampler)  # type: ignore[arg-type]
        if not isinstance(self.dataset, Sized):
            raise TypeError(f"{type(self.dataset).__name__} has no len, and so nobody knows how many batches there are")
        whole, rest = divmod(len(self.dataset), self.batch_size or 1)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of `epoch`, which becomes the next one."""
        if self._cut and may_change(self.dataset):
            self._columns, self._resident = columns_of(self.dataset), {}
        turn, self.epoch, self._number = self.epoch, self.epoch + 1, 0
        seed, epoch = self.seed or 0, turn
        if self._drawn_anew:
            seed, epoch = drawn_seed(self.generator) if self.shuffle or self.augment is not None else 0, 0
        if self._streamed:
            return self._stream_of_batches()
        if self.batch_size is None and self.batch_sampler is None:
            order = self.sampler if self._sampled and self.sampler is not None else self._order_of(seed, epoch).tolist()
            return (self.collate_fn(self.dataset[i]) for i in order)
        if self._sampled:
            return self._sampled_batches(seed, epoch, turn)
        return self._batches(seed, epoch, 0, turn)

    def _stream_of_batches(self) -> Iterator[Any]:
        items = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, items)
            return
        while some := list(islice(items, self.batch_size)):
            if len(some) == self.batch_size or not self.drop_last:
                yield self._finished(some)

    def _sampled_batches(self, seed: int, epoch: int, turn: int) -> Iterator[Any]:
        for number, some in enumerate(self.batch_sampler or ()):
            if self._columns is None:
                yield self._made(some)
            else:
                pick = np.asarray(some, np.int64), _stream(seed, epoch, number), turn
                yield self._batch(repeat(pick).__next__)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Set the epoch that the next `iter` goes through, and the batch in it that `next` returns next.

        Args:
            epoch: >= 0.
            start: The number of a batch, from 0.

        Raises DataError where `epoch` is negative or has no batch with that number.
        """
        self.epoch, self._number = _checked_epoch(epoch), self._checked_start(start, len(self) - 1)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number `start` on, as Tensors on the loader's device.

        Args:
            epoch: >= 0.
            start: From 0 to `len(self)`. The batches before it are not computed.

        Raises DataError where an argument is out of range, or where a sampler or an IterableDataset has the order.
        """
        yield from self._batches(self._seed(), epoch, start)

    def _batches(self, seed: int, epoch: int, start: int, turn: int | None = None) -> Iterator[Any]:
        for place in self._places(epoch, start):
            yield self._batch(repeat(self._pick(seed, *place, turn)).__next__)

    def next(self) -> Any:
        """The next batch of `epoch`, or after its last one the first of the next epoch, on the loader's device.

        Called inside a captured step, it gives every replay a batch of its own:

            @tc.capture
            def train_step():
                x, y = loader.next()
                ...

        Raises CaptureError in a captured step, which has one shape, where the last batch of an epoch is smaller, or
        where items are asked for one by one; DataError where a sampler or an IterableDataset has the order.
        """
        captured, n = captured_step.get(), 0 if self._streamed else self._items()
        if captured is not None and self.batch_size and not self.drop_last and n % self.batch_size:
            captured.refuse(
                f"DataLoader.next: the last batch of an epoch has {n % self.batch_size} images, the "
                f"others {self.batch_size}, and a captured step has one shape; make the loader with drop_last=True"
            )
        return self.batch_at(self._advance)

    def _advance(self) -> tuple[int, int]:
        """Return the epoch and the number of the next batch, and go on by one batch."""
        place = self.epoch, self._number
        last = self._number == len(self) - 1
        self.set_epoch(*((self.epoch + 1, 0) if last else (self.epoch, self._number + 1)))
        return place

    def batch_at(self, place: Callable[[], tuple[int, int]]) -> Any:
        """The batch whose epoch and number `place()` returns; each replay of a captured step calls it again."""
        self._check_numbered()
        seed = self._seed()
        return self._batch(lambda: self._pick(seed, *place()))

    def _pick(self, seed: int, epoch: int, number: int, turn: int | None = None) -> Pick:
        """Batch `number` of the order of `epoch`; `turn` is the epoch for an augmentation, where that is another."""
        return self._index(seed, epoch, number), _stream(seed, epoch, number), epoch if turn is None else turn

    def _batch(self, pick: Callable[[], Pick]) -> Any:
        """The batch that `pick()` says; each replay of a captured step calls it again."""
        columns, captured = self._columns, captured_step.get()
        if columns is None:
            if captured is not None:
                captured.refuse(
                    "DataLoader.next: items of this dataset are asked for one by one, which no replay can do; give the "
                    "captured step its batch as arguments: for x, y in loader: step(x, y)"
                )
            return self._made(pick()[0].tolist())
        backend = backend_for(self.device)
        moves = None if backend in (NUMPY, META) or not columns.are_images else self._moves()
        if moves is not None:
            device = device_name(self.device)
            if device not in self._resident:
                self._resident[device] = columns.on_device(backend, device)
            images, labels, values = self._resident[device]
            xp = backend_of(images).xp  # which makes their device the current one
            drawn = staged(xp, lambda: self._drawn(*pick()))
            make = kernel_for("batch", backend.name, images, moves) or batch
            return [wrap(array) for array in make(xp, images, labels, drawn, moves, values)]
        if captured is None:
            return [tensor(array, device=self.device) for array in self._rows(*pick())]
        made: list[Array] = []

        def make_anew() -> None:
            made[:] = self._rows(*pick())

        each_step(make_anew)
        return [wrap(staged(backend.xp, lambda i=i: made[i])) for i in range(len(made))]  # type: ignore[misc]

    def _moves(self) -> tuple[Move, ...] | None:
        """The moves of the augmentation, each `fill` as a pixel would store it; None if it does more than move."""
        parts = parts_that_move(self.augment)
        if parts is None:
            return None
        moves = (move for part in parts for move in part.moves)
        return tuple(
            move._replace(fill=float(np.full((), float(move.fill), self.images.dtype).item())) for move in moves
        )

    def arrays(self, epoch: int, start: int = 0) -> Iterator[list[NDArray[Any]]]:
        """The batches of an epoch from number `start` on, as new NumPy arrays, made on the host.

        Args:
            epoch: >= 0.
            start: From 0 to `len(self)`. The batches before it are not computed.

        Raises DataError where an argument is out of range, or where batches are not cut out of arrays in memory.
        """
        if self._columns is None:
            raise DataError("arrays are for a dataset that lies in memory; items of this one are asked for one by one")
        seed = self._seed()
        for place in self._places(epoch, start):
            yield self._rows(*self._pick(seed, *place))

    def _places(self, epoch: int, start: int) -> Iterator[tuple[int, int]]:
        """`epoch`, with the number of each of its batches from `start` on."""
        self._check_numbered()
        return zip(repeat(_checked_epoch(epoch)), range(self._checked_start(start, len(self)), len(self)))

    def _rows(self, index: Array, stream: np.random.SeedSequence, epoch: int) -> list[Array]:
        """One batch cut out of arrays, on the host."""
        assert self._columns is not None
        if self.augment is None:
            return self._columns.rows(index)
        augment = augment_for_batch(self.augment, self._seed(), epoch, index)
        return self._columns.rows(index, augment, np.random.default_rng(stream))

    def _made(self, index: Sequence[Any]) -> Any:
        """One batch of items that are asked for by their indices."""
        dataset = self.dataset
        plain = isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__
        if plain and self.collate_fn is default_collate:  # on a GPU, or with gradients: at once, too
            return self._there([t[np.asarray(index, np.int64)] for t in dataset.tensors])
        many = getattr(dataset, "__getitems__", None)
        if many is not None:
            return self._finished(many(list(index)))
        items = []
        for i in index:
            try:
                items.append(dataset[i])
            except Exception as error:
                error.add_note(f"in item {shortened(i)} of the {type(dataset).__name__} that a DataLoader loads")
                raise
        return self._finished(items)

    def _finished(self, items: list[Any]) -> Any:
        return self._there(self.collate_fn(items))

    def _there(self, made: Any) -> Any:
        """A batch on the loader's device, if it was given one."""
        if self.device is None:
            return made
        return mapped(made, lambda leaf: leaf.to(device=self.device) if isinstance(leaf, Tensor) else leaf)

    def _drawn(self, index: Array, stream: np.random.SeedSequence, epoch: int) -> Array:
        """All that the host sends to the device for one batch: `drawn` of `batch`."""
        rng = np.random.default_rng(stream)
        shape = (len(index), *self.images.shape[1:])
        rows = []
        augment = self.augment and augment_for_batch(self.augment, self._seed(), epoch, index)
        for part in parts_that_move(augment) or []:
            rows += part.draw(shape, rng)
            for move in part.moves:
                shape = (*shape[:2], *move.shape(*shape[2:]))
        return np.array([index, *rows], np.int32)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of the items in the order of `epoch`, int64 (N,): 0 to N-1, shuffled if the loader shuffles.

        Raises DataError where `epoch` is negative, or where a sampler or an IterableDataset has the order.
        """
        self._check_numbered()
        return self._order_of(self._seed(), _checked_epoch(epoch))

    def _order_of(self, seed: int, epoch: int) -> NDArray[np.int64]:
        n = self._items()
        return np.random.default_rng(_stream(seed, epoch)).permutation(n) if self.shuffle else np.arange(n)

    def _index(self, seed: int, epoch: int, number: int) -> Array:
        """The indices of the items in one batch."""
        key = seed, self.shuffle, epoch, self._items()
        last = self._order  # which another thread may replace, with that of another epoch
        if last is None or last[0] != key:
            self._order = last = key, self._order_of(seed, epoch)
        size = self.batch_size or 1
        return last[1][number * size : (number + 1) * size]

    def _seed(self) -> int:
        """The seed; where none was given or drawn, and something is random, it is drawn now."""
        if self.seed is None and (self.shuffle or self.augment is not None):
            self.seed = drawn_seed(self.generator)
        return self.seed or 0

    def _check_numbered(self) -> None:
        if self._streamed or self._sampled:
            what = "an IterableDataset" if self._streamed else "a sampler"
            raise DataError(f"{what} has the order, so batches have no epoch and number: for batch in loader")

    def _checked_start(self, start: int, most: int) -> int:
        start = checked(integer, "start", start)
        if not 0 <= start <= most:
            raise DataError(f"an epoch here has {len(self)} batches, cannot start from number {start}")
        return start


def _stream(seed: int, *place: int) -> np.random.SeedSequence:
    # A spawn key, not entropy: entropy is padded with zeros, so (seed, epoch) would equal (seed, epoch, 0).
    return np.random.SeedSequence(seed, spawn_key=place)


def _exclude(why: str, given: bool, *others: Any) -> None:
    """DataError where an argument is given along with one that it excludes."""
    if given and any(other is not None and other is not False for other in others):
        raise DataError(f"DataLoader: {why}; leave out the other arguments for the order and the size of batches")


def _checked_epoch(epoch: int) -> int:
    number: int = checked(_from_0, "epoch", epoch)
    return number


def _from_0(what: str, value: Any) -> int:
    return integer(what, value, 0)
