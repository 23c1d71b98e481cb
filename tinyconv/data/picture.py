"""Pictures from PNG or JPEG files: digits, made to look like MNIST's, and photographs, like those of CIFAR-10."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinyconv.data.reading import Array
from tinyconv.errors import DataError

MOST_PIXELS = 50_000_000  # a photograph of 50 megapixels; a picture of a digit has fewer


def read_picture(path: str | os.PathLike[str], size: int = 28) -> NDArray[np.uint8]:
    """A picture of a digit as uint8 (1, size, size): light ink on black, centred, as MNIST's digits are.

    A picture of that size with a dark background is taken as it is, in grey. Any other is inverted if its background is
    light, cut to its ink, scaled to fit 20/28 of the size and placed with its centre of mass in the middle, as the
    digits of MNIST were (LeCun et al., 1998).

    Args:
        path: A PNG, JPEG or another file that Pillow can read.
        size: The height and width of the result, in pixels.

    Raises DataError where the file is missing, cannot be read as a picture or has no ink, and where Pillow is not
    installed.

        digit = tc.data.read_picture("seven.png")
    """
    grey = _read(path, "L")
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    light = float(np.median(border)) > 127
    if grey.shape == (size, size) and not light:
        return grey[None]
    ink = 255 - grey if light else grey
    ink = ink - np.minimum(ink, np.uint8(np.median(255 - border if light else border)))  # the background becomes black
    marked = ink > 0.25 * ink.max() if ink.any() else ink > 0
    if not marked.any():
        raise DataError(f"{path}: nothing is drawn on this picture, all of it has one brightness")
    rows, columns = (np.flatnonzero(marked.any(axis)) for axis in (1, 0))
    return _placed(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], size)[None]


def read_photograph(path: str | os.PathLike[str], size: int = 32) -> NDArray[np.uint8]:
    """A photograph as uint8 (3, size, size), red, green and blue: the square in its middle, scaled.

    Args:
        path: A PNG, JPEG or another file that Pillow can read.
        size: The height and width of the result, in pixels.

    Raises DataError where the file is missing or cannot be read as a picture, and where Pillow is not installed.

        photograph = tc.data.read_photograph("cat.jpg")
    """
    from PIL import Image, ImageOps

    picture = ImageOps.fit(Image.fromarray(_read(path, "RGB")), (size, size), Image.Resampling.BOX)
    return np.asarray(picture).transpose(2, 0, 1).copy()


def _placed(ink: Array, size: int) -> Array:
    """Ink scaled to a box of 20/28 of `size`, its centre of mass in the middle of a black square."""
    from PIL import Image

    box = max(1, round(size * 20 / 28))
    scale = box / max(ink.shape)
    height, width = (max(1, round(n * scale)) for n in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))
    small = (small * (255 / max(1, int(small.max())))).astype(np.uint8)
    mass = small.sum(dtype=np.float64)
    out = np.zeros((size, size), np.uint8)
    place = []
    for axis, n in enumerate(small.shape):
        centre = (small.sum(1 - axis, dtype=np.float64) * np.arange(n)).sum() / mass
        place.append(min(max(round((size - 1) / 2 - centre), 0), size - n))
    out[place[0] : place[0] + height, place[1] : place[1] + width] = small
    return out


def _read(path: str | os.PathLike[str], kind: Literal["L", "RGB"]) -> NDArray[np.uint8]:
    """The pixels, upright: (H, W) in grey, or (H, W, 3) in colour."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError("reading pictures needs Pillow: pip install 'tinyconv[train]'") from error
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise DataError(
                    f"{path}: {picture.width}x{picture.height} pixels is too large: 50 megapixels are allowed"
                )
            upright = ImageOps.exif_transpose(picture)
            opaque = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
            # Where there is transparency, dark ink is meant to be seen on white; without it this changes nothing.
            return np.array(opaque.convert(kind))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such picture") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read as a picture (PNG, JPEG or another that Pillow knows): {error}"
        ) from error
