"""Augmentation of whole batches: each is called as `augment(images, rng)` and returns new images.

`images` is (N, C, H, W) of any dtype and is not changed; what comes back has its dtype, and the same `rng` state gives
the same images. `DataLoader` augments uint8 images before it normalises them, so a `fill` of 0 there is black; on
images that are normalised already, give the normalised black instead, for MNIST `(0 - 0.1307) / 0.3081`.

The augmentations here only move pixels. They say apart what they draw, a few numbers an image, and what that does to
the images (`moved`): the numbers can then be drawn on the host, and the images be moved where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from tinyconv.data.idx import Array
from tinyconv.errors import DataError

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]


class Move(NamedTuple):
    """One way to move the pixels of an image, by numbers that are drawn for each.

    "flip" mirrors it left to right, or not: one number, 1 or 0. "cover" puts a square of `size` pixels on it, of value
    `fill`, whose first row and column are drawn and may lie outside. The others cut a window of `size` pixels, 0 for as
    large as the image, at a row and a column that are drawn, out of the image with `padding` pixels around it:
    "constant" ones of value `fill`, "edge", its border repeated, or "reflect", the image mirrored at its border.
    """

    kind: Literal["flip", "cover", "constant", "edge", "reflect"]
    padding: int = 0
    fill: float = 0
    size: int = 0

    @property
    def numbers(self) -> int:
        """How many are drawn for an image."""
        return 1 if self.kind == "flip" else 2

    def shape(self, h: int, w: int) -> tuple[int, int]:
        """Height and width of what it makes of an image of `h` x `w` pixels."""
        return (self.size, self.size) if self.size and self.kind != "cover" else (h, w)


def moved(xp: Any, images: Any, moves: Iterable[Move], drawn: Iterable[Any]) -> Any:
    """New images (N, C, H, W), each moved by all of `moves` in turn; arrays of `xp`, here and there.

    `drawn` has the arrays (N,) of numbers that the moves take, one after another.
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


class Moving:
    """An augmentation that moves pixels: `moves`, and the numbers they take, which `draw` draws."""

    @property
    def moves(self) -> tuple[Move, ...]:
        raise NotImplementedError

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        """What the moves of images of `shape` (N, C, H, W) take, in their order: arrays (N,)."""
        raise NotImplementedError

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        return moved(np, images, self.moves, self.draw(_checked(images).shape, rng))


@dataclass(frozen=True)
class RandomShift(Moving):
    """Move each image by -`pixels` to `pixels` whole pixels along each axis; `fill` (a pixel value) comes in behind.

    Raises DataError when `pixels` is negative.
    """

    pixels: int
    fill: float = 0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise DataError(f"RandomShift takes pixels >= 0, got {self.pixels}")

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("constant", self.pixels, self.fill),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return _places(self.moves[0], shape, rng)


@dataclass(frozen=True)
class RandomCrop(Moving):
    """Pad each image by `padding` pixels on all sides and cut a window out of it at a random place.

    The window is `size` pixels high and wide, or as large as the image where `size` is None. `padding_mode` is
    "reflect" (the image mirrored at its border, good for photographs), "edge" (the border repeated) or "constant"
    (zeros: `RandomShift`). Raises DataError when `padding` is negative, the mode is unknown, the padding is too wide to
    be mirrored, or the window is larger than the padded image.
    """

    padding: int
    padding_mode: Literal["reflect", "edge", "constant"] = "reflect"
    size: int | None = None

    def __post_init__(self) -> None:
        if self.padding < 0 or self.padding_mode not in ("reflect", "edge", "constant"):
            raise DataError(f"RandomCrop takes padding >= 0 and mode reflect, edge or constant, got {self}")
        if self.size is not None and self.size < 1:
            raise DataError(f"RandomCrop takes a size of at least 1, or None, got {self.size}")

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
    """Mirror each image left to right with probability `p`; DataError when `p` is outside [0, 1]."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise DataError(f"RandomHorizontalFlip takes a probability p in [0, 1], got {self.p}")

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("flip"),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return [rng.random(shape[0]) < self.p]


@dataclass(frozen=True)
class Cutout(Moving):
    """Cover a square of `size` pixels of each image, around a pixel drawn at random, with the pixel value `fill`.

    At the border less of the image is covered. DeVries & Taylor, "Improved regularization of convolutional neural
    networks with cutout", arXiv:1708.04552. Raises DataError when `size` is negative.
    """

    size: int
    fill: float = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise DataError(f"Cutout takes a size >= 0, got {self.size}")

    @property
    def moves(self) -> tuple[Move, ...]:
        return (Move("cover", fill=self.fill, size=self.size),)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
        return [rng.integers(0, side, shape[0]) - self.size // 2 for side in shape[2:]]


@dataclass(frozen=True)
class Compose:
    """Several augmentations, one after the other; where all of them only move pixels, so does this."""

    transforms: tuple[Augment, ...]

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def parts_that_move(augment: Augment | None) -> list[Moving] | None:
    """The augmentations that `augment` consists of, in turn, if all of them only move pixels; else None."""
    if augment is None:
        return []
    if isinstance(augment, Compose):
        parts = [parts_that_move(transform) for transform in augment.transforms]
        return None if None in parts else [part for found in parts if found for part in found]
    return [augment] if _only_moves(augment) else None


def _only_moves(augment: Augment) -> TypeGuard[Moving]:
    # One that was derived from another and does more says so by a __call__ of its own.
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
