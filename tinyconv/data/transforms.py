"""What is done to one picture before it is an item of a batch, named as in `torchvision.transforms`.

Each is made with its options and called with a picture: one of Pillow, or a Tensor (..., H, W); `ToTensor` and
`ToPILImage` take arrays (H, W, C) too. Random ones draw from the numbers of `manual_seed`, for each picture.

    from tinyconv.data import transforms

    transform = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
    train = tc.data.vision.CIFAR10("data", transform=transform)

`tinyconv.data.RandomCrop` and its neighbours are for whole batches of images in memory, which is much faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import cos, exp, log, radians, sin
from typing import Any, Literal

import numpy as np

from tinyconv.arrays.backend import backend_of
from tinyconv.data.augment import checked
from tinyconv.data.picture import picture_of
from tinyconv.data.reading import Array
from tinyconv.engine.dtypes import as_dtype
from tinyconv.engine.options import count, fraction
from tinyconv.errors import DataError, DtypeError, shortened, suggest_names
from tinyconv.tensor.creation import rand, randint, tensor
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = [
    "CenterCrop", "Compose", "ConvertImageDtype", "Grayscale", "InterpolationMode", "Lambda", "Normalize",
    "PILToTensor", "Pad", "RandomApply", "RandomCrop", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomRotation",
    "RandomVerticalFlip", "Resize", "ToDtype", "ToImage", "ToPILImage", "ToTensor",
]  # fmt: skip

Picture = Any  # of Pillow, or a Tensor
Mode = Literal["constant", "edge", "reflect", "symmetric"]


class InterpolationMode(Enum):
    """How `Resize` finds the value between pixels; a Tensor is resized with the first three."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def _is_picture(value: Any) -> bool:
    return type(value).__module__.startswith("PIL.")


def _size(picture: Picture) -> tuple[int, int]:
    """Height and width. TypeError for what is no picture."""
    if isinstance(picture, Tensor) and picture.ndim >= 2:
        return picture.shape[-2], picture.shape[-1]
    if not _is_picture(picture):
        got = f"an array {picture.shape}: ToTensor() first" if isinstance(picture, np.ndarray) else shortened(picture)
        raise TypeError(f"a transform takes a picture of Pillow or a Tensor (..., H, W), got {got}")
    return picture.height, picture.width


def _pair(what: str, size: Any) -> tuple[int, int]:
    """Height and width, given as one number or two. DataError for anything else."""
    sizes = list(size) if isinstance(size, Sequence) else [size, size]
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if len(sizes) != 2:
        raise DataError(f"{what}: size must be one number or (height, width), got {shortened(size)}")
    h, w = (checked(count, f"{what}: size", n) for n in sizes)
    return h, w


def _crop(picture: Picture, top: int, left: int, h: int, w: int) -> Picture:
    if _is_picture(picture):
        return picture.crop((left, top, left + w, top + h))
    return picture[..., top : top + h, left : left + w]


def _padded(picture: Picture, sides: tuple[int, int, int, int], fill: Any, mode: Mode) -> Picture:
    """The picture with so many pixels more at the left, the top, the right and the bottom."""
    left, top, right, bottom = sides
    if _is_picture(picture) and mode == "constant":
        from PIL import ImageOps

        bands = len(picture.getbands())
        colour: Any = (fill,) * bands if isinstance(fill, int | float) and bands > 1 else fill
        made = ImageOps.expand(picture, sides, colour)
        if picture.mode == "P":
            made.putpalette(picture.getpalette())
        return made
    border = (top, bottom), (left, right)
    if _is_picture(picture):
        x = np.asarray(picture)
        return _picture(np.pad(x, (*border, *[(0, 0)] * (x.ndim - 2)), mode))
    options: dict[str, Any] = {"constant_values": fill} if mode == "constant" else {}
    array = picture.array
    xp = backend_of(array).xp
    return wrap(xp.pad(array, (*[(0, 0)] * (array.ndim - 2), *border), mode, **options))


def _picture(array: Array) -> Picture:
    from PIL import Image

    return Image.fromarray(array)


def _draw(below: int) -> int:
    return int(randint(0, below, (1,), device="cpu").item())


def _chance() -> float:
    return float(rand(1, device="cpu").item())


@dataclass
class Compose:
    """Several transforms, one after another.

    Args:
        transforms: A list of them; any function of one argument may be among them.
    """

    transforms: Sequence[Callable[[Any], Any]]

    def __call__(self, picture: Any) -> Any:
        for transform in self.transforms:
            picture = transform(picture)
        return picture


@dataclass
class Lambda:
    """A function as a transform.

    Args:
        lambd: The function, of one argument.
    """

    lambd: Callable[[Any], Any]

    def __post_init__(self) -> None:
        if not callable(self.lambd):
            raise TypeError(f"Lambda takes a function, got {shortened(self.lambd)}")

    def __call__(self, picture: Any) -> Any:
        return self.lambd(picture)


@dataclass
class ToTensor:
    """A picture or an array (H, W) or (H, W, C) as a Tensor (C, H, W): bytes become float32, 0 to 1.

    Other numbers keep their dtype and value. Raises TypeError for anything else.
    """

    def __call__(self, picture: Any) -> Tensor:
        x = _planes(picture)
        if x.dtype == np.bool_ and _is_picture(picture):
            x = x.astype(np.uint8) * np.uint8(255)
        return tensor(x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x)


@dataclass
class PILToTensor:
    """A picture as a Tensor (C, H, W) of its own dtype, uint8 as a rule."""

    def __call__(self, picture: Any) -> Tensor:
        return tensor(_planes(picture))


@dataclass
class ToImage:
    """A picture or an array (H, W, C) as a Tensor (C, H, W) of its own dtype; a Tensor as it is. As in `v2`."""

    def __call__(self, picture: Any) -> Tensor:
        return picture if isinstance(picture, Tensor) else tensor(_planes(picture))


def _planes(picture: Any) -> Array:
    """An array (C, H, W) of a picture or an array (H, W, C)."""
    if not _is_picture(picture) and not (isinstance(picture, np.ndarray) and picture.ndim in (2, 3)):
        got = f"an array {picture.shape}" if isinstance(picture, np.ndarray) else f"a {type(picture).__name__}"
        raise TypeError(f"ToTensor takes a picture of Pillow or an array (H, W) or (H, W, C), got {got}")
    x = np.asarray(picture)
    if x.dtype == np.uint16:  # 16 bits of grey, which have no dtype here
        x = x.astype(np.int32)
    return np.ascontiguousarray(x[None] if x.ndim == 2 else x.transpose(2, 0, 1))


@dataclass
class ConvertImageDtype:
    """A Tensor in another dtype, and in its range: 0 to 1 where that is floating, 0 to the most where it is integer.

    Args:
        dtype: The dtype.
    """

    dtype: Any

    def __call__(self, picture: Tensor) -> Tensor:
        before, after = picture.dtype, as_dtype(self.dtype)
        if before.kind == "f" and after.kind in "iu":
            return (picture * (float(np.iinfo(after).max) + 1 - 1e-3)).to(after)
        if before.kind in "iu" and after.kind == "f":
            return picture.to(after) / float(np.iinfo(before).max)
        if before.kind == after.kind == "f" or before == after:
            return picture.to(after)
        raise DtypeError(f"ConvertImageDtype goes between bytes and floating numbers, got {before} to {after}")


@dataclass
class ToDtype:
    """A Tensor in another dtype, as in `v2`.

    Args:
        dtype: The dtype.
        scale: Whether to bring the values into its range, like `ConvertImageDtype`.
    """

    dtype: Any
    scale: bool = False

    def __call__(self, picture: Tensor) -> Tensor:
        before, after = picture.dtype, as_dtype(self.dtype)
        if self.scale and before.kind in "iu" and after.kind == "f":
            return picture.to(after) * (1 / float(np.iinfo(before).max))
        return ConvertImageDtype(after)(picture) if self.scale else picture.to(after)


@dataclass
class ToPILImage:
    """A Tensor (C, H, W) or an array (H, W, C) as a picture of Pillow, grey, RGB or RGBA; needs Pillow.

    Floating numbers are multiplied by 255 where they come from a Tensor. Raises DataError for another shape or dtype.

    Args:
        mode: The mode of the picture as Pillow names it; what the channels say unless given.
    """

    mode: str | None = None

    def __call__(self, picture: Any) -> Picture:
        if isinstance(picture, Tensor):
            x = picture.detach().cpu().numpy()
            x = x if x.ndim == 3 else x[None]
            x = (x * x.dtype.type(255)).astype(np.uint8) if x.dtype.kind == "f" else x
        else:
            x = np.asarray(picture)
            x = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
        if x.ndim != 3 or x.shape[0] not in (1, 3, 4) or x.dtype != np.uint8:
            raise DataError(f"ToPILImage takes 1, 3 or 4 channels of bytes or of 0 to 1, got {x.dtype} {x.shape}")
        made = picture_of(x)
        return made if self.mode in (None, made.mode) else made.convert(self.mode)


@dataclass
class Normalize:
    """`(x - mean) / std` of each channel of a floating Tensor (..., C, H, W).

    Args:
        mean: One number for each channel.
        std: One number for each channel, not 0.
        inplace: Whether to write into the Tensor.

    Raises DataError for an integer Tensor, for another number of channels, and where a `std` is 0.
    """

    mean: Sequence[float]
    std: Sequence[float]
    inplace: bool = False

    def __call__(self, picture: Tensor) -> Tensor:
        if not isinstance(picture, Tensor) or picture.dtype.kind != "f" or picture.ndim < 3:
            got = f"{picture.dtype} {picture.shape}" if isinstance(picture, Tensor) else f"a {type(picture).__name__}"
            raise DataError(f"Normalize takes a floating Tensor (..., C, H, W), got {got}; ToTensor() comes before it")
        x, channels = picture.array, picture.shape[-3]
        mean, std = (np.asarray(numbers, x.dtype).reshape(-1, 1, 1) for numbers in (self.mean, self.std))
        if not {len(mean), len(std)} <= {1, channels} or (std == 0).any():
            raise DataError(
                f"Normalize: mean and std need {channels} numbers, std not 0, got {self.mean} and {self.std}"
            )
        xp = backend_of(x).xp
        made = (x - xp.asarray(mean)) / xp.asarray(std)
        if self.inplace:
            picture[...] = wrap(made)
            return picture
        return wrap(made)


def table_of(transform: Any, channels: int) -> Array | None:
    """What each byte of each channel becomes, float32 (channels, 256); None where a transform does more than that."""
    parts = list(transform.transforms) if type(transform) is Compose else [transform]
    if not parts or not {type(part) for part in parts} <= {ToTensor, ToImage, ToDtype, ConvertImageDtype, Normalize}:
        return None
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], channels, 2)  # a picture (1, 256, C)
    try:
        made = Compose(parts)(every)
    except (TypeError, ValueError):  # which each item says better
        return None
    fits = made.dtype == np.float32 and made.shape == (channels, 1, 256)
    return np.ascontiguousarray(made.numpy()[:, 0]) if fits else None


@dataclass
class Resize:
    """The picture in another size, smoothed where it becomes smaller.

    Args:
        size: (height, width); or one number, for the shorter side.
        interpolation: See `InterpolationMode`; a Tensor takes nearest, bilinear and bicubic.
        max_size: With one number: the longer side is at most this.
        antialias: Whether a Tensor is smoothed; a picture of Pillow always is.

    Raises DataError where the size is out of range or a Tensor cannot be resized so.
    """

    size: Any
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    max_size: int | None = None
    antialias: bool | None = True

    def __post_init__(self) -> None:
        _pair("Resize", self.size)

    def __call__(self, picture: Picture) -> Picture:
        h, w = _size(picture)
        to = _pair("Resize", self.size)
        if isinstance(self.size, int) or len(self.size) == 1:
            short, long = min(h, w), max(h, w)
            new = to[0], int(to[0] * long / short)
            if self.max_size is not None and new[1] > self.max_size:
                new = int(self.max_size * new[0] / new[1]), self.max_size
            to = new if h <= w else (new[1], new[0])
        return _resized(picture, to, self.interpolation, self.antialias)


def _resized(picture: Picture, to: tuple[int, int], how: Any, antialias: bool | None = True) -> Picture:
    if _is_picture(picture):
        from PIL import Image

        name = how.name if isinstance(how, InterpolationMode) else Image.Resampling(how).name
        return picture if (picture.height, picture.width) == to else picture.resize(to[::-1], Image.Resampling[name])
    how = InterpolationMode(how) if isinstance(how, str) else how
    kernels = {InterpolationMode.BILINEAR: (1, _triangle), InterpolationMode.BICUBIC: (2, _cubic)}
    if how not in kernels and how is not InterpolationMode.NEAREST:
        raise DataError(f"a Tensor is resized with nearest, bilinear or bicubic, got {how}")
    x = picture.array
    xp, dtype = backend_of(x).xp, picture.dtype
    for axis, (n, m) in zip((-2, -1), zip(picture.shape[-2:], to, strict=True), strict=True):
        if n == m:
            continue
        if how is InterpolationMode.NEAREST:
            x = xp.take(x, xp.asarray((np.arange(m) * (n / m)).astype(np.int64)), axis)
            continue
        exact = np.float64 if dtype == np.float64 else np.float32
        weights = xp.asarray(_weights(n, m, *kernels[how], bool(antialias)).astype(exact))
        x = weights @ x.astype(exact) if axis == -2 else x.astype(exact) @ weights.T
    if dtype.kind in "iu" and x.dtype != dtype:
        x = xp.clip(xp.rint(x), 0, np.iinfo(dtype).max)
    return wrap(x.astype(dtype))


def _weights(n: int, m: int, reach: int, kernel: Callable[[Array, float], Array], antialias: bool) -> Array:
    """(m, n): what each of n pixels gives to each of the m that become of them; the rows sum to 1."""
    scale, weights = n / m, np.zeros((m, n))
    centre = (np.arange(m)[:, None] + 0.5) * scale - 0.5  # of each new pixel, among the old ones
    if antialias:
        away = np.abs(np.arange(n) - centre) / max(scale, 1.0)
        weights = np.where(away < reach, kernel(away, -0.5), 0.0)
        return weights / weights.sum(1, keepdims=True)
    near = np.floor(centre).astype(np.int64) + np.arange(1 - reach, reach + 1)
    # What lies outside is the pixel at the edge.
    np.add.at(weights, (np.arange(m)[:, None], near.clip(0, n - 1)), kernel(np.abs(near - centre), -0.75))
    return weights


def _triangle(x: Array, a: float) -> Array:
    return np.maximum(1 - x, 0)


def _cubic(x: Array, a: float) -> Array:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981: `a` is the slope at 1."""
    return np.where(x < 1, ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a)


@dataclass
class CenterCrop:
    """The middle of the picture, with black around it where it is too small.

    Args:
        size: (height, width), or one number for both.
    """

    size: Any

    def __post_init__(self) -> None:
        self.size = _pair("CenterCrop", self.size)

    def __call__(self, picture: Picture) -> Picture:
        (h, w), (ch, cw) = _size(picture), self.size
        if ch > h or cw > w:
            dh, dw = max(ch - h, 0), max(cw - w, 0)
            picture = _padded(picture, (dw // 2, dh // 2, (dw + 1) // 2, (dh + 1) // 2), 0, "constant")
            h, w = _size(picture)
        return _crop(picture, round((h - ch) / 2), round((w - cw) / 2), ch, cw)


@dataclass
class Pad:
    """The picture with pixels around it.

    Args:
        padding: How many on each side; or (left and right, top and bottom); or (left, top, right, bottom).
        fill: The value of these pixels, or one for each channel of a picture.
        padding_mode: "constant", "edge" (the border repeated), "reflect" or "symmetric" (mirrored at the border,
            without and with the pixels of the border itself).

    Raises DataError for another number of sides or another mode.
    """

    padding: Any
    fill: Any = 0
    padding_mode: Mode = "constant"

    def __post_init__(self) -> None:
        _sides("Pad", self.padding)
        _check_mode("Pad", self.padding_mode)

    def __call__(self, picture: Picture) -> Picture:
        _size(picture)
        return _padded(picture, _sides("Pad", self.padding), self.fill, self.padding_mode)


def _sides(what: str, padding: Any) -> tuple[int, int, int, int]:
    sides = list(padding) if isinstance(padding, Sequence) else [padding]
    if len(sides) not in (1, 2, 4) or not all(isinstance(n, int) and n >= 0 for n in sides):
        raise DataError(f"{what}: padding must be 1, 2 or 4 whole numbers >= 0, got {shortened(padding)}")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom


def _check_mode(what: str, mode: Any) -> None:
    if mode not in ("constant", "edge", "reflect", "symmetric"):
        raise DataError(f"{what}: padding_mode must be constant, edge, reflect or symmetric, got {shortened(mode)}")


@dataclass
class RandomCrop:
    """A part of the picture, at a random place.

    Args:
        size: (height, width), or one number for both.
        padding: What is put around the picture before, as `Pad` takes it.
        pad_if_needed: Whether a picture that is too small is padded, and not an error.
        fill, padding_mode: As `Pad` takes them.

    Raises DataError where the picture is too small.
    """

    size: Any
    padding: Any = None
    pad_if_needed: bool = False
    fill: Any = 0
    padding_mode: Mode = "constant"

    def __post_init__(self) -> None:
        self.size = _pair("RandomCrop", self.size)
        _sides("RandomCrop", 0 if self.padding is None else self.padding)
        _check_mode("RandomCrop", self.padding_mode)

    def __call__(self, picture: Picture) -> Picture:
        if self.padding is not None:
            picture = _padded(picture, _sides("RandomCrop", self.padding), self.fill, self.padding_mode)
        (h, w), (ch, cw) = _size(picture), self.size
        if self.pad_if_needed:
            dh, dw = max(ch - h, 0), max(cw - w, 0)
            picture = _padded(picture, (dw, dh, dw, dh), self.fill, self.padding_mode) if dh or dw else picture
            h, w = _size(picture)
        if ch > h or cw > w:
            raise DataError(f"RandomCrop: {ch}x{cw} pixels of a picture of {h}x{w}; padding= or pad_if_needed=True")
        top = _draw(h - ch + 1)
        return _crop(picture, top, _draw(w - cw + 1), ch, cw)


@dataclass
class RandomResizedCrop:
    """A part of the picture of random area and shape, at a random place, resized.

    Args:
        size: (height, width) of the result, or one number for both.
        scale: The least and the most share of the area.
        ratio: The least and the most width for a height of 1.
        interpolation, antialias: As `Resize` takes them.
    """

    size: Any
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: InterpolationMode = InterpolationMode.BILINEAR
    antialias: bool | None = True

    def __post_init__(self) -> None:
        self.size = _pair("RandomResizedCrop", self.size)

    def __call__(self, picture: Picture) -> Picture:
        h, w = _size(picture)
        part = _crop(picture, *self._place(h, w))
        return _resized(part, self.size, self.interpolation, self.antialias)

    def _place(self, h: int, w: int) -> tuple[int, int, int, int]:
        """Top, left, height and width: ten are tried, else the largest in the middle that `ratio` allows."""
        low, high = (log(r) for r in self.ratio)
        for _ in range(10):
            area = h * w * (self.scale[0] + _chance() * (self.scale[1] - self.scale[0]))
            shape = exp(low + _chance() * (high - low))
            ch, cw = round((area / shape) ** 0.5), round((area * shape) ** 0.5)
            if 0 < ch <= h and 0 < cw <= w:
                top = _draw(h - ch + 1)
                return top, _draw(w - cw + 1), ch, cw
        shape = min(max(w / h, self.ratio[0]), self.ratio[1])
        ch, cw = (h, min(w, round(h * shape))) if w / h >= shape else (min(h, round(w / shape)), w)
        return (h - ch) // 2, (w - cw) // 2, ch, cw


@dataclass
class RandomHorizontalFlip:
    """The picture, mirrored left to right with probability `p`. DataError where that is outside [0, 1].

    Args:
        p: The probability.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        self.p = checked(fraction, "RandomHorizontalFlip: p", self.p)

    def __call__(self, picture: Picture) -> Picture:
        _size(picture)
        if _chance() >= self.p:
            return picture
        if isinstance(picture, Tensor):
            return picture[..., ::-1]
        from PIL import Image

        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@dataclass
class RandomVerticalFlip:
    """The picture, turned upside down, as a mirror does it, with probability `p`. DataError where that is no share.

    Args:
        p: The probability.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        self.p = checked(fraction, "RandomVerticalFlip: p", self.p)

    def __call__(self, picture: Picture) -> Picture:
        _size(picture)
        if _chance() >= self.p:
            return picture
        if isinstance(picture, Tensor):
            return picture[..., ::-1, :]
        from PIL import Image

        return picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


@dataclass
class RandomApply:
    """Several transforms with probability `p`, else none of them.

    Args:
        transforms: A list of them.
        p: The probability.
    """

    transforms: Sequence[Callable[[Any], Any]]
    p: float = 0.5

    def __call__(self, picture: Any) -> Any:
        return Compose(self.transforms)(picture) if _chance() < self.p else picture


@dataclass
class Grayscale:
    """The picture in grey: 0.299 red + 0.587 green + 0.114 blue.

    Args:
        num_output_channels: 1, or 3 for the same three times.
    """

    num_output_channels: int = 1

    def __post_init__(self) -> None:
        if self.num_output_channels not in (1, 3):
            raise DataError(f"Grayscale: num_output_channels must be 1 or 3, got {shortened(self.num_output_channels)}")

    def __call__(self, picture: Picture) -> Picture:
        _size(picture)
        if _is_picture(picture):
            grey = picture.convert("L")
            return grey if self.num_output_channels == 1 else _picture(np.stack([np.asarray(grey)] * 3, 2))
        x = picture.array
        if x.ndim < 3 or x.shape[-3] not in (1, 3):
            raise DataError(f"Grayscale takes 1 or 3 channels, got a Tensor {picture.shape}")
        if x.shape[-3] == 3:
            red, green, blue = (x[..., i : i + 1, :, :] for i in range(3))
            x = (0.2989 * red + 0.587 * green + 0.114 * blue).astype(x.dtype)
        return wrap(backend_of(x).xp.repeat(x, self.num_output_channels, -3))


@dataclass
class RandomGrayscale:
    """The picture in grey, in as many channels as before, with probability `p`. DataError where that is no share.

    Args:
        p: The probability.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        self.p = checked(fraction, "RandomGrayscale: p", self.p)

    def __call__(self, picture: Picture) -> Picture:
        _size(picture)
        if _chance() >= self.p:
            return picture
        colours = picture.shape[-3] if isinstance(picture, Tensor) else len(picture.getbands())
        return Grayscale(3 if colours == 3 else 1)(picture)


@dataclass
class RandomRotation:
    """The picture, turned about its middle by an angle drawn evenly, in degrees against the clock.

    Args:
        degrees: The least and the most angle; or one number: from -degrees to degrees.
        interpolation: NEAREST; a picture of Pillow may be BILINEAR or BICUBIC, too.
        expand: Whether a picture of Pillow grows, so that no corner of it is lost.
        center: The point (x, y) that stays where it is, in pixels from the upper left corner; the middle unless given.
        fill: The value of pixels that were outside of the picture, or one for each channel.

    Raises DataError where the angles are none, or where a Tensor is to be turned in a way that is for Pillow alone.
    """

    degrees: Any
    interpolation: InterpolationMode = InterpolationMode.NEAREST
    expand: bool = False
    center: tuple[float, float] | None = None
    fill: Any = 0

    def __post_init__(self) -> None:
        given = self.degrees
        low, high = given if isinstance(given, Sequence) and len(given) == 2 else (None, given)
        if not isinstance(high, int | float) or not isinstance(low, int | float | None) or (low is None and high < 0):
            raise DataError(f"RandomRotation: degrees is one number >= 0 or two, got {shortened(given)}")
        self.degrees = [-high if low is None else low, high]

    def __call__(self, picture: Picture) -> Picture:
        h, w = _size(picture)
        low, high = self.degrees
        angle = low + _chance() * (high - low)
        fill = list(self.fill) if isinstance(self.fill, Sequence) else [self.fill]
        if _is_picture(picture):
            from PIL import Image

            bands = len(picture.getbands())
            colour = tuple(fill * bands if len(fill) == 1 else fill)
            how = Image.Resampling[self.interpolation.name]
            return picture.rotate(angle, how, self.expand, self.center, fillcolor=colour[0] if bands == 1 else colour)
        if self.interpolation is not InterpolationMode.NEAREST or self.expand:
            raise DataError(
                "RandomRotation: a Tensor is turned with NEAREST and expand=False; turn it before ToTensor()"
            )
        cx, cy = self.center or (w / 2, h / 2)
        y, x = np.mgrid[:h, :w] + 0.5
        x, y, turn = x - cx, y - cy, radians(angle)
        column = np.rint(cos(turn) * x - sin(turn) * y + cx - 0.5).astype(np.int64)
        row = np.rint(sin(turn) * x + cos(turn) * y + cy - 0.5).astype(np.int64)
        inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        array = picture.array
        xp = backend_of(array).xp
        places = xp.asarray(np.where(inside, row * w + column, 0))
        turned = array.reshape(*array.shape[:-2], -1)[..., places]
        return wrap(xp.where(xp.asarray(inside), turned, xp.asarray(np.asarray(fill, array.dtype).reshape(-1, 1, 1))))


__path__: list[str] = []  # a package, whose `v2` is itself: see `tinyconv.torch_names`
suggest_names(globals())
