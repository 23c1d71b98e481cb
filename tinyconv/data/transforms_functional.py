"""What is done to one picture, as functions: those of `torchvision.transforms.functional` that are here.

Each takes a picture of Pillow or a Tensor (..., H, W), as the transform of `tinyconv.data.transforms` that does the
same, and raises what that raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv.data import transforms as T
from tinyconv.errors import suggest_names
from tinyconv.tensor.tensor import Tensor

__all__ = [
    "InterpolationMode", "center_crop", "convert_image_dtype", "crop", "hflip", "normalize", "pad", "pil_to_tensor",
    "resize", "resized_crop", "rotate", "to_grayscale", "to_pil_image", "to_tensor", "vflip",
]  # fmt: skip
InterpolationMode = T.InterpolationMode


def to_tensor(pic: Any) -> Tensor:
    """`ToTensor`: bytes (H, W, C) become float32 (C, H, W), 0 to 1."""
    return T.ToTensor()(pic)


def pil_to_tensor(pic: Any) -> Tensor:
    """`PILToTensor`: a picture of Pillow as a Tensor (C, H, W) of its bytes."""
    return T.PILToTensor()(pic)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """`ToPILImage`: a Tensor (C, H, W) or an array (H, W, C) as a picture of Pillow."""
    return T.ToPILImage(mode)(pic)


def convert_image_dtype(image: Tensor, dtype: Any = "float32") -> Tensor:
    """`ConvertImageDtype`: another dtype, in which 0 to 1 and 0 to 255 stand for the same."""
    return T.ConvertImageDtype(dtype)(image)


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """`Normalize`: (x - mean) / std of each channel."""
    return T.Normalize(mean, std, inplace)(tensor)


def resize(
    img: Any,
    size: Any,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """`Resize`: to (height, width), or with one number for the shorter side."""
    return T.Resize(size, interpolation, max_size, antialias)(img)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of this size whose upper left corner is at (top, left); black where it reaches beyond the picture."""
    h, w = T._size(img)
    sides = max(-left, 0), max(-top, 0), max(left + width - w, 0), max(top + height - h, 0)
    if any(sides):
        img = T._padded(img, sides, 0, "constant")
    return T._crop(img, max(top, 0), max(left, 0), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """`resize` of a `crop`."""
    return resize(crop(img, top, left, height, width), size, interpolation, None, antialias)


def center_crop(img: Any, output_size: Any) -> Any:
    """`CenterCrop`: the middle."""
    return T.CenterCrop(output_size)(img)


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: T.Mode = "constant") -> Any:
    """`Pad`: with pixels around it."""
    return T.Pad(padding, fill, padding_mode)(img)


def hflip(img: Any) -> Any:
    """Mirrored left to right."""
    return T.RandomHorizontalFlip(1.0)(img)


def vflip(img: Any) -> Any:
    """Turned upside down, as a mirror does it."""
    return T.RandomVerticalFlip(1.0)(img)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode = InterpolationMode.NEAREST,
    expand: bool = False,
    center: tuple[float, float] | None = None,
    fill: Any = 0,
) -> Any:
    """Turned by an angle in degrees, against the clock: see `RandomRotation`."""
    return T.RandomRotation((angle, angle), interpolation, expand, center, 0 if fill is None else fill)(img)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """`Grayscale`: in grey, once or three times."""
    return T.Grayscale(num_output_channels)(img)


suggest_names(globals())
