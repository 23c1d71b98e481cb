"""Pictures from files: digits, made to look like MNIST's, and photographs, like those of CIFAR-10."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.errors import DataError

Grey = NDArray[np.float32]

INSTALL = "pip install 'tinyconv[train]'"
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""What is opened. Pillow knows fifty more, and for some of them it starts a program (Ghostscript for EPS)."""
GREY = ("1", "L", "LA")
"""Pillow's modes without colour, of 8 bits."""
ORIENTATION = 0x0112
"""The number in EXIF data that says how the camera was held; from 5 on, height and width change places."""
MOST_PIXELS = 50_000_000  # a photograph of 50 megapixels; a picture of a digit has fewer
MOST = "50 megapixels are allowed; make it smaller"

LOOKED_AT = 800
"""Pixels along the longer side, at most, when the ink is looked for: a digit of a twentieth of the sheet has 40."""
CONTRAST = 0.04
"""The least difference to the paper that is ink, as a share of full brightness."""
FAINT = 0.2
"""Ink fainter than this share of a digit's own is the blur at its edge, and does not count for its size."""
LEAST = 0.02
"""What is not longer than this share of the longer side of the picture is no digit."""
SPECK = 0.03
"""A blot of less than this share of the largest one is a speck."""


def read_picture(path: str | os.PathLike[str] | IO[bytes], size: int = 28) -> NDArray[np.uint8]:
    """A picture of a digit as uint8 (1, size, size): light ink on black, centred, as MNIST's digits are.

    A picture of that size with a dark background is taken as it is, in grey. In any other the ink is what is darker, or
    lighter, than the paper, which may be lit unevenly. Specks are left out, and so are a frame around the digit and
    what the edge of the picture cuts, if there is other ink. The ink is scaled to fit 20/28 of the size and placed with
    its centre of mass at pixel size/2, as the digits of MNIST were (LeCun et al., 1998).

    Args:
        path: A PNG, JPEG, GIF, BMP, WEBP or TIFF file, with 8, 16 or 32 bits for a pixel; or one that is open.
        size: The height and width of the result, in pixels.

    Raises DataError where the file is missing, cannot be read as a picture or has no ink, and where Pillow is not
    installed.

        digit = tc.data.read_picture("seven.png")
    """
    grey, deep = _grey(opened(path))
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if grey.shape == (size, size) and np.median(edge) < 0.5 and np.ptp(grey) > CONTRAST:
        return (grey * (255 / grey.max() if deep else 255)).round().astype(np.uint8)[None]
    ink = _ink(grey)
    if not ink.any():
        raise DataError(f"{_named(path)}: nothing is drawn on this picture that stands out from its background")
    return _placed(ink, size)[None]


def place_ink(ink: NDArray[np.uint8], size: int = 28) -> NDArray[np.uint8]:
    """A digit drawn on an empty sheet, scaled and placed as `read_picture` does. No paper is looked for, so it is fast.

    Args:
        ink: uint8 (H, W), 0 where nothing is drawn.
        size: The height and width of the result, in pixels.

    Returns uint8 (1, size, size); all 0 where nothing is drawn.

        digit = tc.data.place_ink(sheet)
    """
    drawn = ink > FAINT * ink.max(initial=0)
    if not drawn.any():
        return np.zeros((1, size, size), np.uint8)
    rows, columns = (np.flatnonzero(drawn.any(axis)) for axis in (1, 0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _placed(cut.astype(np.float32) / np.float32(255), size)[None]


def read_photograph(path: str | os.PathLike[str] | IO[bytes], size: int = 32) -> NDArray[np.uint8]:
    """A photograph as uint8 (3, size, size), red, green and blue: the square in its middle, scaled.

    Args:
        path: A PNG, JPEG, GIF, BMP, WEBP or TIFF file, with 8, 16 or 32 bits for a pixel; or one that is open.
        size: The height and width of the result, in pixels.

    Raises DataError where the file is missing or cannot be read as a picture, and where Pillow is not installed.

        photograph = tc.data.read_photograph("cat.jpg")
    """
    from PIL import Image, ImageOps

    picture = opened(path)
    if is_deep(picture):
        picture = Image.fromarray((_grey(picture)[0] * 255).round().astype(np.uint8))
    rgba = picture.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return np.asarray(ImageOps.fit(opaque, (size, size), Image.Resampling.BOX)).transpose(2, 0, 1).copy()


def picture_of(image: NDArray[np.uint8]) -> Any:
    """A picture of Pillow, grey or RGB, of an image uint8 (C, H, W) with 1 or 3 channels, or of (H, W).

    Raises DataError where Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(f"pictures need Pillow: {INSTALL}") from error
    if image.ndim == 3:
        image = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    return Image.fromarray(image)


def _named(path: str | os.PathLike[str] | IO[bytes]) -> str:
    """What an error calls the file."""
    name = path if isinstance(path, str | os.PathLike) else getattr(path, "name", None)
    return str(name) if isinstance(name, str | os.PathLike) else "the file"  # a temporary file is named by a number


def opened(path: str | os.PathLike[str] | IO[bytes], keep_grey: bool = False) -> Any:
    """The picture as Pillow holds it, read whole, and turned as its EXIF data say: RGB, RGBA, or deep grey.

    With `keep_grey`, a grey one stays grey: L or LA. Raises DataError where the file is missing or cannot be read.
    """
    with _reading(path) as picture:
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(picture)
        kind = "RGBA" if upright.has_transparency_data else "RGB"
        if keep_grey and upright.mode in GREY:
            kind = "LA" if upright.has_transparency_data else "L"
        return upright if is_deep(upright) else upright.convert(kind)


def look(path: str | os.PathLike[str]) -> tuple[int, int, bool]:
    """Height and width of a picture, and whether it is grey, by its header. Raises what `opened` raises."""
    with _reading(path) as picture:
        turned = picture.getexif().get(ORIENTATION, 1) >= 5
        h, w = (picture.width, picture.height) if turned else (picture.height, picture.width)
        return h, w, picture.mode in GREY or is_deep(picture)


@contextmanager
def _reading(path: str | os.PathLike[str] | IO[bytes]) -> Iterator[Any]:
    """A `with` block that has a picture open. Raises DataError where it cannot be read."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(f"reading pictures needs Pillow: {INSTALL}") from error
    name = _named(path)
    if isinstance(path, str | os.PathLike) and (place := Path(path)).exists() and not place.is_file():
        fix = f": name the files in it, {place / '*'}" if place.is_dir() else ""
        raise DataError(f"{name} is not a file{fix}")  # a pipe would be waited for
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and about sizes that are refused below
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise DataError(f"{name}: {picture.width}x{picture.height} pixels are too many: {MOST}")
                yield picture
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{name} has too many pixels: {MOST}") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no picture that can be read: {', '.join(FORMATS[:-1])} and {FORMATS[-1]} are"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{name}: there is no such picture") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise DataError(
            f"{name} cannot be read as a picture ({', '.join(FORMATS)}): {type(error).__name__}: {error!s:.200}"
        ) from error


def is_deep(picture: Any) -> bool:
    """Whether it is grey with more than 8 bits for a pixel. Pillow reads colours of 16 bits as 8."""
    return picture.mode[0] in "IF"


def _grey(picture: Any) -> tuple[Grey, bool]:
    """Brightness (H, W), 0 to 1, with at most LOOKED_AT pixels a side, and whether the picture is deep.

    Nobody knows how many bits of a deep picture are used, so 1 is its brightest pixel, unless that one is alone: a
    fault of the sensor. What is transparent has the brightness of the paper where ink and paper are opaque, and else
    the opposite of the ink's.
    """
    cells = max(1, round(max(picture.size) / LOOKED_AT))
    if is_deep(picture):
        values = np.nan_to_num(np.asarray(picture, np.float32))
        low, high = min(0.0, -_most(-values)), _most(values)
        values = (values.clip(low, high) - np.float32(low)) / np.float32(max(high - low, 1e-30))
        return _shrunk(values.astype(np.float32), cells), True
    if picture.mode == "RGB":
        return _shrunk(_share(picture.convert("L")), cells), False
    grey, alpha = (_shrunk(_share(band), cells) for band in picture.convert("LA").split())
    seen = grey[alpha > 0.5]
    if not seen.size:
        return np.zeros_like(grey), False
    dark, middle, light = np.percentile(seen, [2, 50, 98])
    behind = middle if light - dark > 0.3 else float(middle < 0.5)
    return grey * alpha + behind * (1 - alpha), False


def _most(values: Grey) -> float:
    """The largest value, or the largest that two neighbours have, if that is less than half of it."""
    pairs = [np.minimum(values[:, 1:], values[:, :-1]), np.minimum(values[1:], values[:-1])]
    most, twice = float(values.max()), max((float(pair.max()) for pair in pairs if pair.size), default=0.0)
    return most if most < 2 * twice else twice


def _share(picture: Any) -> Grey:
    return np.asarray(picture, np.float32) / np.float32(255)


def _shrunk(values: Grey, cells: int) -> Grey:
    """Means over squares of `cells` pixels a side; what is left over at the end is left out."""
    h, w = (max(1, n // cells) for n in values.shape)
    cut = values[: h * cells, : w * cells]
    return cut.reshape(h, cut.shape[0] // h, w, cut.shape[1] // w).mean((1, 3))


def _ink(grey: Grey, sheet: bool = True) -> Grey:
    """The ink of a digit, cut out: (h, w), 0 where there is paper, about 1 at its strongest; all 0 without ink."""
    paper = _paper(grey)
    differs = grey - paper
    noise = 1.5 * float(np.median(np.abs(differs)))
    least = max(CONTRAST, 4 * noise)
    darker, lighter = (float(np.maximum(sign * differs - least, 0).sum()) for sign in (-1, 1))
    # Light falls on paper and ink alike, so that dark ink is a share of the paper's brightness.
    ink = np.maximum(-differs / np.maximum(paper, 0.1) if darker > lighter else differs, 0)
    some = ink[ink > least]
    blots = _blots(ink > (max(least, FAINT * float(np.percentile(some, 90))) if some.size else least))
    weight = np.bincount(blots.ravel(), ink.ravel()).astype(np.float64)
    weight[0] = 0
    kept = [int(blot) for blot in _digit(blots, weight)]
    if not kept:
        return np.zeros((1, 1), np.float32)
    mask = np.isin(blots, kept)
    strongest = float(np.percentile(ink[mask], 90))
    rows, columns = (np.flatnonzero((mask & (ink > FAINT * strongest)).any(axis)) for axis in (1, 0))
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    found = np.where(mask[place], np.minimum(ink[place] / strongest, 1), 0)
    if sheet and found.size > 0.2 * grey.size and _has_corners(found > 0) and (found > 0).mean() > 0.7:
        # That is a sheet of paper on a table. The digit is on it, well inside its edge.
        h, w = (n // 20 + 1 for n in found.shape)
        on_it = _ink(grey[place][h:-h, w:-w], sheet=False)
        if on_it.any():
            return on_it
    return found.astype(np.float32)


def _paper(grey: Grey) -> Grey:
    """The brightness that the paper has, or would have, at each pixel: a quadratic in its place.

    Its six coefficients are fitted so that most pixels are near it (Tukey's biweight, by iterated weighted least
    squares), whatever the others, the ink, are.
    """
    coarse = _shrunk(grey, max(1, round(max(grey.shape) / 50)))

    def terms(shape: tuple[int, ...]) -> NDArray[np.float32]:
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
        y, x = np.broadcast_arrays(y[:, None], x[None])
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)

    a, b = terms(coarse.shape).reshape(-1, 6).astype(np.float64), coarse.ravel().astype(np.float64)
    fitted, ridge = np.full(len(b), np.median(b)), np.diag([0.0, 1, 1, 1, 1, 1]) * 1e-3  # a tiny picture has few points
    for turn in range(20):
        off = np.abs(b - fitted)
        scale = 1.5 * np.median(off) + 0.01
        weight = 1 / np.maximum(off, scale) if turn < 10 else np.maximum(0, 1 - (off / (4 * scale)) ** 2) ** 2
        weighted = a.T * weight
        solution = np.linalg.solve(weighted @ a + ridge, weighted @ b)
        fitted = a @ solution
    # A dark table beside the paper bends the quadratic; then more pixels are near one brightness.
    level = np.array([np.median(b), 0, 0, 0, 0, 0])
    near = [np.count_nonzero(np.abs(b - a @ one) < CONTRAST) for one in (level, solution)]
    return (terms(grey.shape) @ (level if near[0] >= near[1] else solution)).clip(0, 1).astype(np.float32)


def _blots(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each connected blot of `mask`, 0 outside: neighbours by a side or a corner belong together."""
    parent = [0]

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    out = np.zeros(mask.shape, np.int64)
    above: list[tuple[int, int, int]] = []  # runs of the row above: first, past, number
    for y, row in enumerate(np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)):
        runs = []
        for first, past in zip(np.flatnonzero(row == 1).tolist(), np.flatnonzero(row == -1).tolist(), strict=True):
            touching = [root(number) for a, b, number in above if a <= past and first <= b]
            number = min(touching, default=len(parent))
            if not touching:
                parent.append(number)
            for other in touching:
                parent[other] = number
            out[y, first:past] = number
            runs.append((first, past, number))
        above = runs
    return np.array([root(i) for i in range(len(parent))])[out]


def _digit(blots: NDArray[np.int64], weight: NDArray[np.float64]) -> list[int]:
    """The blots that make the digit: no speck, no frame, and none that the picture's edge cuts if others are whole."""
    heaviest = [int(i) for i in np.argsort(-weight)[:100] if weight[i] > 0]
    edge = {int(i) for side in (blots[0], blots[-1], blots[:, 0], blots[:, -1]) for i in side}
    boxes = _boxes(blots, len(weight))

    def inside(i: int) -> list[int]:
        (top, left), (bottom, right) = boxes[i]
        return [j for j in heaviest if (boxes[j, 0] > (top, left)).all() and (boxes[j, 1] < (bottom, right)).all()]

    def height(i: int) -> int:
        return int((boxes[i, 1] - boxes[i, 0]).max())

    def is_frame(i: int) -> bool:
        (top, left), (bottom, right) = boxes[i]
        found = blots[top:bottom, left:right] == i
        h, w = (n // 5 for n in found.shape)
        empty = not found[h : len(found) - h, w : found.shape[1] - w].any()
        return empty and _has_corners(found) and any(height(j) > 0.2 * height(i) for j in inside(i))

    drawn = [i for i in heaviest if not is_frame(i)]
    whole = [i for i in drawn if i not in edge]
    kept = whole if any(height(i) > 0.1 * max(blots.shape) for i in whole) else drawn
    kept = [i for i in kept if weight[i] > SPECK * weight[kept[0]]]
    return kept if any(height(i) > LEAST * max(blots.shape) for i in kept) else []


def _boxes(blots: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Boxes (count, 2, 2) of the blots: first row and column, and those past the last."""
    places = np.argwhere(blots)
    numbers = blots[tuple(places.T)]
    boxes = np.empty((count, 2, 2), np.int64)
    boxes[:, 0], boxes[:, 1] = max(blots.shape), 0
    np.minimum.at(boxes[:, 0], numbers, places)
    np.maximum.at(boxes[:, 1], numbers, places + 1)
    return boxes


def _has_corners(found: NDArray[np.bool_]) -> bool:
    """Whether there is ink in all four corners, a tenth of the sides wide."""
    h, w = (n // 10 + 1 for n in found.shape)
    return all(found[y, x].any() for y in (slice(h), slice(-h, None)) for x in (slice(w), slice(-w, None)))


def _placed(ink: Grey, size: int) -> NDArray[np.uint8]:
    """Ink scaled to a box of 20/28 of `size`, its centre of mass at pixel size/2 of a black square."""
    from PIL import Image

    box = max(1, round(size * 20 / 28))
    scale = box / max(ink.shape)
    height, width = (max(1, round(n * scale)) for n in ink.shape)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(ink).resize((width, height), how))
    small = (small * (255 / max(1e-6, float(small.max())))).round().astype(np.uint8)
    mass = small.sum(dtype=np.float64)
    out = np.zeros((size, size), np.uint8)
    place = []
    for axis, n in enumerate(small.shape):
        centre = (small.sum(1 - axis, dtype=np.float64) * np.arange(n)).sum() / mass
        place.append(min(max(round(size / 2 - centre), 0), size - n))
    out[place[0] : place[0] + height, place[1] : place[1] + width] = small
    return out
