"""Digits as people bring them: enlarged, on a sheet of paper, saved as a picture of one kind or another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 400  # pixels of a sheet
LIGHT = 0.45
"""The least brightness of uneven light, where the most is 1."""

Sheet = NDArray[np.float64]  # (SIDE, SIDE), the share of ink


def sheet(digit: NDArray[np.uint8], rng: np.random.Generator) -> Sheet:
    """A digit (28, 28) enlarged to 140 to 300 pixels, somewhere on a sheet."""
    side = int(rng.integers(140, 300))
    out = np.zeros((SIDE, SIDE))
    y, x = rng.integers(0, SIDE - side, 2)
    out[y : y + side, x : x + side] = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    return out / 255


def _slope(rng: np.random.Generator) -> Sheet:
    """Light that falls from 1 to LIGHT, straight or from a point."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        far = np.cos(angle) * y + np.sin(angle) * x
    else:
        far = np.hypot(y - rng.uniform(0, SIDE), x - rng.uniform(0, SIDE))
    return 1 - (1 - LIGHT) * (far - far.min()) / np.ptp(far)


def _framed(ink: Sheet, rng: np.random.Generator) -> Sheet:
    """A rectangle drawn around what is there."""
    rows, columns = (np.flatnonzero((ink > 0.1).any(axis)) for axis in (1, 0))
    gap = int(rng.integers(12, 30))
    box = [max(2, int(columns[0]) - gap), max(2, int(rows[0]) - gap)]
    box += [min(SIDE - 3, int(columns[-1]) + gap), min(SIDE - 3, int(rows[-1]) + gap)]
    picture = Image.fromarray((ink * 255).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).rectangle(box, outline=255, width=int(rng.integers(2, 7)))
    return np.asarray(picture) / 255


def _specked(ink: Sheet, rng: np.random.Generator) -> Sheet:
    """Some dots of up to 6 pixels, anywhere."""
    out = ink.copy()
    for _ in range(int(rng.integers(1, 6))):
        n = int(rng.integers(1, 7))
        y, x = rng.integers(0, SIDE - n, 2)
        out[y : y + n, x : x + n] = 1
    return out


def _eight(brightness: Sheet) -> Any:
    return Image.fromarray((brightness.clip(0, 1) * 255).round().astype(np.uint8))


def _deep(brightness: Sheet, most: int, dtype: str) -> Any:
    return Image.fromarray((brightness.clip(0, 1) * most).round().astype(dtype))


def _see_through(ink: Sheet, tone: int) -> Any:
    pixels = np.full((SIDE, SIDE, 4), tone, np.uint8)
    pixels[..., 3] = (ink.clip(0, 1) * 255).round()
    return Image.fromarray(pixels)


def _photographed(ink: Sheet, rng: np.random.Generator) -> Any:
    """Grey ink on greyish paper in uneven light, with the noise of a sensor."""
    return _eight((0.9 - 0.6 * ink) * _slope(rng) + rng.normal(0, 0.02, ink.shape))


# By name: the ending of the file, and what makes the picture out of the ink on a sheet.
KINDS: dict[str, tuple[str, Callable[[Sheet, np.random.Generator], Any]]] = {
    "white paper": (".png", lambda ink, rng: _eight(1 - ink)),
    "uneven light": (".png", lambda ink, rng: _eight((1 - ink) * _slope(rng))),
    "uneven light, grey ink, noise, JPEG": (".jpg", _photographed),
    "light on dark": (".png", lambda ink, rng: _eight(0.1 + 0.7 * ink)),
    "16 bit": (".png", lambda ink, rng: _deep(0.9 - 0.6 * ink, 65535, "uint16")),
    "12 bit in 16": (".png", lambda ink, rng: _deep(0.9 - 0.6 * ink, 4095, "uint16")),
    "32 bit": (".tif", lambda ink, rng: _deep(0.9 - 0.6 * ink, 2**31 - 1, "int32")),
    "floats": (".tif", lambda ink, rng: Image.fromarray((0.9 - 0.6 * ink).astype(np.float32))),
    "white on transparent": (".png", lambda ink, rng: _see_through(ink, 255)),
    "black on transparent": (".png", lambda ink, rng: _see_through(ink, 0)),
    "a frame around it": (".png", lambda ink, rng: _eight(1 - _framed(ink, rng))),
    "specks": (".png", lambda ink, rng: _eight(1 - _specked(ink, rng))),
}  # fmt: skip


def save(kind: str, digit: NDArray[np.uint8], rng: np.random.Generator, folder: Path) -> Path:
    """A picture of `digit` (28, 28) of one of KINDS, in `folder`."""
    ending, make = KINDS[kind]
    path = folder / f"digit{ending}"
    make(sheet(digit, rng), rng).save(path)
    return path
