"""Augmentation of whole batches: each is called as `augment(images, rng)` and returns new images.

`images` is (N, C, H, W) of any dtype and is not changed; the result has its dtype, and the same state of `rng` gives
the same images. `DataLoader` augments uint8 images before it normalises them, so a `fill` of 0 is black there; for
images that are normalised already give the normalised black, for MNIST `(0 - 0.1307) / 0.3081`.

    crop_and_flip = tc.data.Compose((tc.data.RandomCrop(4), tc.data.RandomHorizontalFlip()))
    images = crop_and_flip(images, np.random.default_rng(0))

One that depends on more, as `AlternatingFlip` does, has a method `for_batch(seed, epoch, index)`, by which `DataLoader`
gets the augmentation of each batch: from its own seed, the epoch, and the indices of the images in the dataset.

The augmentations here only move pixels. Each separates what it draws, a few numbers for an image, from what these do to
the images (`moved`), so the numbers are drawn on the host and the images are moved on the device that holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tinyconv.data.reading import Array
from tinyconv.engine.options import count, finite, fraction, integer
from tinyconv.errors import DataError, OptionError

Augment: TypeAlias = "Callable[[Array, np.random.Generator], Array]"
"""What DataLoader takes: a function of images (N, C, H, W) and a generator that returns new images of their dtype."""


class Move(NamedTuple):
    """One way to move the pixels of an image, by numbers that are drawn for each image.

    "flip" takes one number: 1 mirrors the image left to right, 0 does not. The others take two, a row and a column.
    "cover" puts a square of `size` pixels of value `fill` there, which may lie partly outside. "constant", "edge" and
    "reflect" cut a window of `size` pixels (0: as large as the image) there, out of the image with `padding` pixels
    around it: of value `fill`, or its border repeated, or the image mirrored at its border.
    """

    kind: Literal["flip", "cover", "constant", "edge", "reflect"]
    padding: int = 0
    fill: float = 0
    size: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers are drawn for an image."""
        return 1 if self.kind == "flip" else 2

    def shape(self, h: int, w: int) -> tuple[int, int]:
        """Height and width of the result for an image of `h` x `w` pixels."""
        return (self.size, self.size) if self.size and self.kind != "cover" else (h, w)


def moved(xp: Any, images: Any, moves: Iterable[Move], drawn: Iterable[Any]) -> Any:
    """New images (N, C, H, W), each moved by all of `moves` in turn.

    `drawn` has the arrays (N,) of numbers that the moves take, one after another. All arrays are of the library `xp`.
    """
    numbers = iter(drawn)
    for move in moves:
        if move.kind == "flip":
            images = xp.where((next(numbers) != 0)[:, None, None, None], images[..., ::-1], images)
        elif move.kind == "cover":
            top, left = next(numbers)[:, None], next(numbers)[:, None]
            i, j = map(xp.arange, images.shape[2:])
            down = (top <= i) & (i < top + move.size)  # (N, H)
            across = (left <= j) & (j < left + move.size)  # (N, W)
            covered = down[:, None, :, None] & across[:, None, None, :]
            images = xp.where(covered, xp.full((), move.fill, images.dtype), images)
        else:
            n, c = images.shape[:2]
            h, w = move.shape(*images.shape[2:])
            border = ((0, 0), (0, 0), (move.padding, move.padding), (move.padding, move.padding))
            options = {"constant_values": move.fill} if move.kind == "constant" else {}
            padded = xp.pad(images, border, mode=move.kind, **options)
            rows, columns = padded.shape[2] - h + 1, padded.shape[3] - w + 1
            # A view of every window: (N, C, rows, columns, H, W)
            strides = padded.strides + padded.strides[2:]
            windows = xp.lib.stride_tricks.as_strided(padded, (n, c, rows, columns, h, w), strides)
            images = windows[xp.arange(n), :, next(numbers), next(numbers)]  # (N, C, H, W)
    return images


def checked(check: Callable[[str, Any], Any], what: str, value: Any) -> Any:
    """What a check of `engine.options` returns; DataError where that raises."""
    try:
        return check(what, value)
    except OptionError as error:
        raise DataError(str(error)) from None


def _check(augment: Any, **checks: Callable[[str, Any], Any]) -> None:
    """Bring the fields of a frozen dataclass to Python's own numbers, each by its check."""
    for name, check in checks.items():
        what = f"{type(augment).__name__}: {name}"
        object.__setattr__(augment, name, checked(check, what, getattr(augment, name)))


class Moving:
    """Base of the augmentations that move pixels: `moves`, and `draw` for the numbers that these take."""

    @property
    def moves(self) -> tuple[Move, ...]:
        """What is done to an image, in order."""
        raise NotImplementedError

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        """The numbers that the moves take for images of `shape` (N, C, H, W), in order: arrays (N,)."""
        raise NotImplementedError

    def for_batch(self, seed: int, epoch: int, index: NDArray[np.int64]) -> Augment:
        """The augmentation of one batch of a `DataLoader`: this one, unless it depends on more than chance."""
        return self

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        """New images of the dtype of `images`, (N, C, H, W). Raises DataError where their shape does not fit."""
        return moved(np, images, self.moves, self.draw(_checked(images).shape, rng))


@dataclass(frozen=True)
class RandomShift(Moving):
    """Move each image by a random whole number of pixels along each axis.

    Args:
        pixels: The most pixels to move by, up or down, left or right, >= 0.
        fill: The value of the pixels that come in from outside.

    Raises DataError where `pixels` is negative.

        loader = tc.data.DataLoader(train, 64, shuffle=True, augment=tc.data.RandomShift(2))
    """

    pixels: int
    fill: float = 0

    def __post_init__(self) -> None:
        _check(self, pixels=lambda what, n: integer(what, n, 0), fill=finite)

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("constant", self.pixels, self.fill),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return _places(self.moves[0], shape, rng)


@dataclass(frozen=True)
class RandomCrop(Moving):
    """Pad each image on all sides and cut a window out of it at a random place.

    Args:
        padding: Pixels on each side, >= 0.
        padding_mode: "reflect" (the image mirrored at its border, good for photographs), "edge" (the border repeated)
            or "constant" (zeros, as `RandomShift` does it).
        size: Height and width of the window in pixels; None for as large as the image.

    Raises DataError where an argument is out of range or, when it is called, where the padding is too wide to be
    mirrored or the window larger than the padded image. Like `torchvision.transforms.RandomCrop`, with another order of
    arguments.
    """

    padding: int
    padding_mode: Literal["reflect", "edge", "constant"] = "reflect"
    size: int | None = None

    def __post_init__(self) -> None:
        if self.padding_mode not in ("reflect", "edge", "constant"):
            raise DataError(f"RandomCrop takes padding_mode reflect, edge or constant, got {self}")
        _check(
            self, padding=lambda what, n: integer(what, n, 0), size=lambda what, n: n if n is None else count(what, n)
        )

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move(self.padding_mode, self.padding, size=self.size or 0),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        if self.padding_mode == "reflect" and self.padding >= min(shape[2:]):
            raise DataError(f"RandomCrop cannot mirror {self.padding} pixels of images of {shape[2:]}")
        if self.size is not None and self.size > min(shape[2:]) + 2 * self.padding:
            raise DataError(
                f"RandomCrop cannot cut {self.size}x{self.size} pixels out of images of {shape[2:]}, padded by "
                f"{self.padding}; take a smaller size or more padding"
            )
        return _places(self.moves[0], shape, rng)


@dataclass(frozen=True)
class RandomHorizontalFlip(Moving):
    """Mirror each image left to right with probability `p`. Raises DataError where `p` is outside [0, 1].

    Like `torchvision.transforms.RandomHorizontalFlip`, with a draw for each image of the batch.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        _check(self, p=fraction)

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("flip"),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return [rng.random(shape[0]) < self.p]


@dataclass(frozen=True)
class AlternatingFlip(Moving):
    """Mirror each image left to right in every second epoch: half of them in even epochs, the others in odd ones.

    So two epochs show each image both ways, where `RandomHorizontalFlip` shows half of them the same way twice. Which
    half is which depends on the seed of the `DataLoader`, and in epoch 0 looks like chance. Jordan, arXiv:2404.00498.

    It needs the epoch and the indices of the images, which a `DataLoader` gives it: DataError without one.

        loader = tc.data.DataLoader(train, 64, shuffle=True, augment=tc.data.AlternatingFlip())
    """

    _mirrored: ClassVar[Array | None] = None  # of each image of the batch, whether it is mirrored; set by for_batch

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("flip"),)

    def for_batch(self, seed: int, epoch: int, index: NDArray[np.int64]) -> Augment:
        # Another stream than those of DataLoader, which are of (epoch,) and (epoch, batch).
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 0, 0)))
        at_first, here = rng.random(index.max() + 1)[index] < 0.5, copy(self)
        object.__setattr__(here, "_mirrored", at_first ^ bool(epoch % 2))
        return here

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        if self._mirrored is None:
            raise DataError(
                "AlternatingFlip takes turns from epoch to epoch, and needs a DataLoader that tells it the epoch: "
                "DataLoader(data, augment=AlternatingFlip()); without one, take RandomHorizontalFlip()"
            )
        return [self._mirrored]


@dataclass(frozen=True)
class Cutout(Moving):
    """Cover a square of each image, around a pixel drawn at random; at the border a part of the square lies outside.

    Args:
        size: Height and width of the square in pixels, >= 0.
        fill: The value of its pixels.

    Raises DataError where `size` is negative. DeVries & Taylor, "Improved regularization of convolutional neural
    networks with cutout", arXiv:1708.04552.
    """

    size: int
    fill: float = 0

    def __post_init__(self) -> None:
        _check(self, size=lambda what, n: integer(what, n, 0), fill=finite)

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("cover", fill=self.fill, size=self.size),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return [rng.integers(0, side, shape[0]) - self.size // 2 for side in shape[2:]]


@dataclass(frozen=True)
class Compose:
    """Several augmentations, one after another.

    Args:
        transforms: The augmentations, in order.

    Those of your own may be among them.

        augment = tc.data.Compose((tc.data.RandomCrop(4), tc.data.RandomHorizontalFlip(), tc.data.Cutout(8)))
    """

    transforms: tuple[Augment, ...]

    def for_batch(self, seed: int, epoch: int, index: NDArray[np.int64]) -> Compose:
        """The augmentations of one batch of a `DataLoader`."""
        made = (augment_for_batch(transform, seed, epoch, index) for transform in self.transforms)
        return replace(self, transforms=tuple(made))

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        """New images, (N, C, H, W). Raises what the augmentations raise."""
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def augment_for_batch(augment: Augment, seed: int, epoch: int, index: NDArray[np.int64]) -> Augment:
    """The augmentation of one batch: `index` are its images, in a `DataLoader` of this seed."""
    make = getattr(augment, "for_batch", None)
    return augment if make is None else make(seed, epoch, index)


def parts_that_move(augment: Augment | None) -> list[Moving] | None:
    """The augmentations that `augment` consists of, in order, if all of them only move pixels; else None."""
    if augment is None:
        return []
    if isinstance(augment, Compose):
        parts = [parts_that_move(transform) for transform in augment.transforms]
        return None if None in parts else [part for found in parts if found for part in found]
    return [augment] if _only_moves(augment) else None


def _only_moves(augment: Augment) -> TypeGuard[Moving]:
    # A derived class that does more has a __call__ of its own.
    return isinstance(augment, Moving) and type(augment).__call__ is Moving.__call__


def _checked(images: Array) -> Array:
    if images.ndim != 4:
        hint = "; add the channel dimension: images[:, None]" if images.ndim == 3 else ""
        raise DataError(f"augmentation takes images (N, C, H, W), got shape {images.shape}{hint}")
    return images


def _places(move: Move, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
    """The row and the column of the window that `move` cuts out of each image, every place equally likely."""
    n, _, *sides = shape
    spare = [side + 2 * move.padding - window for side, window in zip(sides, move.shape(*sides), strict=True)]
    return [rng.integers(0, pixels + 1, n) for pixels in spare]
