"""Augmentation of whole batches: each is called as `augment(images, rng)` and returns new images.

`images` is (N, C, H, W) of any dtype and is not changed; what comes back has its dtype, and the same `rng` state gives
the same images. `DataLoader` augments uint8 images before it normalises them, so a `fill` of 0 there is black; on
images that are normalised already, give the normalised black instead, for MNIST `(0 - 0.1307) / 0.3081`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tinyconv.data.idx import Array
from tinyconv.errors import DataError

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True)
class RandomShift:
    """Move each image by -`pixels` to `pixels` whole pixels along each axis; `fill` (a pixel value) comes in behind.

    Raises DataError when `pixels` is negative.
    """

    pixels: int
    fill: float = 0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise DataError(f"RandomShift takes pixels >= 0, got {self.pixels}")

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        border = ((0, 0), (0, 0), (self.pixels, self.pixels), (self.pixels, self.pixels))
        return _random_windows(np.pad(_checked(images), border, constant_values=self.fill), images.shape, rng)


@dataclass(frozen=True)
class RandomCrop:
    """Pad each image by `padding` pixels on all sides and cut a window of its old size out at a random place.

    `padding_mode` is "reflect" (the image mirrored at its border, good for photographs), "edge" (the border repeated)
    or "constant" (zeros: `RandomShift`). Raises DataError when `padding` is negative, the mode is unknown, or the
    padding is too wide to be mirrored.
    """

    padding: int
    padding_mode: Literal["reflect", "edge", "constant"] = "reflect"

    def __post_init__(self) -> None:
        if self.padding < 0 or self.padding_mode not in ("reflect", "edge", "constant"):
            raise DataError(f"RandomCrop takes padding >= 0 and mode reflect, edge or constant, got {self}")

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        if self.padding_mode == "reflect" and self.padding >= min(_checked(images).shape[2:]):
            raise DataError(f"RandomCrop cannot mirror {self.padding} pixels of images of {images.shape[2:]}")
        border = ((0, 0), (0, 0), (self.padding, self.padding), (self.padding, self.padding))
        return _random_windows(np.pad(_checked(images), border, mode=self.padding_mode), images.shape, rng)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror each image left to right with probability `p`; DataError when `p` is outside [0, 1]."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise DataError(f"RandomHorizontalFlip takes a probability p in [0, 1], got {self.p}")

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        flip = rng.random(len(_checked(images))) < self.p
        return np.where(flip[:, None, None, None], images[..., ::-1], images)


@dataclass(frozen=True)
class Compose:
    """Several augmentations, one after the other."""

    transforms: tuple[Augment, ...]

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def _checked(images: Array) -> Array:
    if images.ndim != 4:
        hint = "; add the channel dimension: images[:, None]" if images.ndim == 3 else ""
        raise DataError(f"augmentation takes images (N, C, H, W), got shape {images.shape}{hint}")
    return images


def _random_windows(padded: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """One window of the last two sizes of `shape` out of each padded image, every place equally likely."""
    n, _, h, w = shape
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))  # (N, C, rows, cols, H, W), a view
    top, left = (rng.integers(0, places, n) for places in windows.shape[2:4])
    return windows[np.arange(n), :, top, left]  # (N, C, H, W)
