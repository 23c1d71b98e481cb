"""Images made larger and smaller, turned and moved, and taken apart into channels.

Interpolation along an axis is linear, y = M x with a matrix that depends on sizes alone. So it is a matrix product
along each axis, and M^T, in the backward of that product, is all there is to its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from math import floor
from typing import Any, Literal, TypeAlias

import numpy as np

from tinyconv import ops
from tinyconv.engine.options import finite
from tinyconv.errors import OptionError, ShapeError, shortened
from tinyconv.functional.arguments import Size, checked_tensor
from tinyconv.functional.linear import linear
from tinyconv.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from tinyconv.ops.pool import check_floating
from tinyconv.shapes import sizes_of, whole
from tinyconv.tensor.creation import made
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.tensor import Tensor, apply

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
]

Mode: TypeAlias = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"]
AXES = {"nearest": (1, 2), "nearest-exact": (1, 2), "area": (1, 2), "linear": (1,), "bilinear": (2,), "bicubic": (2,)}
"""How many axes after (N, C) each mode takes."""
HostArray: TypeAlias = np.ndarray[Any, Any]


@rounded_once
def interpolate(
    input: Tensor,
    size: Size | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images (N, C, H, W) of another size, (N, C, OH, OW); or signals (N, C, L).

    Like `torch.nn.functional.interpolate`.

        F.interpolate(tc.tensor([[[1.0, 3.0]]]), 4, mode="linear").tolist()  # [[[1.0, 1.5, 2.5, 3.0]]]

    The linear and cubic modes are products with a matrix for each axis. So where an input has an infinity or NaN, they
    make its whole row and column NaN, where PyTorch leaves distant elements as they are.

    Args:
        input: Images or signals, floating point; for "nearest" and "nearest-exact" of any dtype.
        size: OH and OW, a number or one for each axis.
        scale_factor: Their ratio to H and W, instead of `size`; sizes are rounded down.
        mode: "nearest" takes the element at floor(i scale), "nearest-exact" the one whose centre is nearest; "linear"
            (of signals) and "bilinear" (of images) weigh two an axis, "bicubic" four; "area" is `adaptive_avg_pool2d`.
        align_corners: Whether the centres of the outer elements stay where they are, not their outer sides; for the
            linear and cubic modes.
        recompute_scale_factor: Take the ratio of the sizes, not the `scale_factor` given, to find places.
        antialias: Let each output weigh all inputs that it covers when images become smaller, as Pillow does.

    Raises ShapeError where sizes do not fit, DtypeError where the input is not floating point, ValueError for another
    mode and for options that a mode does not have, and OptionError unless there is one of `size` and `scale_factor`.
    """
    axes = checked_tensor("interpolate", "input", input).ndim - 2
    if mode not in AXES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(AXES)}, got {shortened(mode)}")
    if axes not in AXES[mode]:
        wanted = " or ".join({1: "(N, C, L)", 2: "(N, C, H, W)"}[n] for n in AXES[mode])
        raise ShapeError(f"interpolate: mode {mode!r} takes {wanted}, got {input.shape}")
    smooth = mode in ("linear", "bilinear", "bicubic")
    if align_corners is not None and not smooth:
        raise ValueError(f"interpolate: align_corners is for linear, bilinear and bicubic, not for {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for bilinear and bicubic, not for {mode!r}")
    out, scales = _output_sizes(input.shape[2:], size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return adaptive_avg_pool1d(input, out) if axes == 1 else adaptive_avg_pool2d(input, out)
    if smooth:
        check_floating("interpolate", input.array)
        kind = np.dtype(np.float64 if input.dtype == np.float64 else np.float32)
        for axis in reversed(range(2, input.ndim)):
            n, m, factor = input.shape[axis], out[axis - 2], scales[axis - 2]
            if n != m or (mode == "bicubic" and not antialias and factor not in (None, 1)):  # else PyTorch copies, too
                key = n, m, factor, mode == "bicubic", bool(align_corners), bool(antialias), kind
                matrix = made(input.device, (m, n), input.dtype, partial(_weights, input.dtype, *key), False)
                input = linear(input, matrix) if axis == input.ndim - 1 else matrix @ input
        return input
    for axis in range(2, input.ndim):
        n, m, factor = input.shape[axis], out[axis - 2], scales[axis - 2]
        if mode == "nearest" and axes == 2 and m in (n, 2 * n):  # where PyTorch looks at sizes alone
            factor = None
        input = _nearest(input, axis, m, factor, exact=mode == "nearest-exact")
    return input


def upsample(
    input: Tensor,
    size: Size | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The older name of `interpolate`. Like `torch.nn.functional.upsample`.

        F.upsample(tc.ones(1, 1, 2, 2), scale_factor=2).shape  # (1, 1, 4, 4)

    Args:
        input: Images (N, C, H, W) or signals (N, C, L).
        size: The sizes wanted, a number or one for each axis.
        scale_factor: Their ratio to those of the input, instead of `size`.
        mode: As in `interpolate`.
        align_corners: Whether the centres of the outer elements stay where they are.

    Raises what `interpolate` does.
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@rounded_once
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Where in an image each pixel of another one comes from: (N, 2, 3) gives places (N, H, W, 2) for `grid_sample`.

    The place of the pixel with the coordinates (x, y), -1 and 1 at the edges, is theta (x, y, 1). Like
    `torch.nn.functional.affine_grid`, for images.

        turn = tc.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
        F.affine_grid(turn, (1, 3, 32, 32)).shape  # (1, 32, 32, 2)

    Args:
        theta: An affine map for each image, (N, 2, 3), floating point.
        size: (N, C, H, W) of the images to be made.
        align_corners: Whether -1 and 1 are the centres of the outer pixels; their outer sides unless given.

    Raises ShapeError where shapes do not fit, and DtypeError for anything but a Tensor of floating point.
    """
    sizes = sizes_of((size,), "affine_grid: size")
    checked_tensor("affine_grid", "theta", theta)
    if len(sizes) != 4 or min(sizes) < 1 or theta.shape != (sizes[0], 2, 3):
        raise ShapeError(
            f"affine_grid: expected theta (N, 2, 3) and size (N, C, H, W), got {theta.shape} and {tuple(sizes)}"
        )
    n, _, h, w = sizes
    check_floating("affine_grid", theta.array)
    values = partial(_coordinates, h, w, bool(align_corners), theta.dtype)
    base = made(theta.device, (h * w, 3), theta.dtype, values, False)
    return (base @ theta.transpose(1, 2)).reshape(n, h, w, 2)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Images (N, C, H, W) read at the places of a grid (N, OH, OW, 2): (N, C, OH, OW).

    A place is (x, y), from (-1, -1) at the upper left edge to (1, 1) at the lower right (Jaderberg et al.,
    arXiv:1506.02025). `ops.GridSample` has the formula and both gradients. Like `torch.nn.functional.grid_sample`, for
    images and without "bicubic".

        corner = tc.tensor([[[[-1.0, -1.0]]]])
        F.grid_sample(tc.ones(1, 1, 2, 2), corner, align_corners=True).tolist()  # [[[[1.0]]]]

    Args:
        input: Images, floating point.
        grid: The places, of the dtype of the input.
        mode: "bilinear" weighs the four pixels around a place, "nearest" takes one, and has no gradient for the grid.
        padding_mode: What is outside: "zeros", the "border" for ever, or the image by "reflection".
        align_corners: Whether -1 and 1 are the centres of the outer pixels; their outer sides unless given.

    Raises ShapeError where shapes do not fit, DtypeError where dtypes differ or are not floating point, and ValueError
    for another mode.
    """
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"grid_sample: mode must be 'bilinear' or 'nearest', got {shortened(mode)}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got {shortened(padding_mode)}"
        )
    options = {"nearest": mode == "nearest", "padding": padding_mode, "align": bool(align_corners)}
    y: Tensor = apply(ops.GridSample, input, grid, **options)
    return y


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """r^2 channels laid out as r x r pixels: (..., C r^2, H, W) gives (..., C, H r, W r).

    It makes images larger after a convolution (Shi et al., arXiv:1609.05158). Like `torch.nn.functional.pixel_shuffle`.

        F.pixel_shuffle(tc.arange(4).reshape(4, 1, 1), 2).tolist()  # [[[0, 1], [2, 3]]]

    Args:
        input: (..., C r^2, H, W), of any dtype.
        upscale_factor: r.

    Raises ShapeError where r^2 does not divide the channels, and DtypeError for anything but a Tensor.
    """
    r = whole(upscale_factor, "pixel_shuffle: upscale_factor", minimum=1)
    *lead, channels, h, w = _three("pixel_shuffle", input)
    if channels % r**2:
        raise ShapeError(
            f"pixel_shuffle: {channels} channels cannot be laid out as {r}x{r} pixels each ({input.shape})"
        )
    k, c = len(lead), channels // r**2
    apart = input.reshape(*lead, c, r, r, h, w).permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return apart.reshape(*lead, c, h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """r x r pixels as r^2 channels, what undoes `pixel_shuffle`: (..., C, H r, W r) gives (..., C r^2, H, W).

    Like `torch.nn.functional.pixel_unshuffle`.

        F.pixel_unshuffle(tc.arange(4).reshape(1, 2, 2), 2).tolist()  # [[[0]], [[1]], [[2]], [[3]]]

    Args:
        input: (..., C, H r, W r), of any dtype.
        downscale_factor: r.

    Raises ShapeError where r does not divide height and width, and DtypeError for anything but a Tensor.
    """
    r = whole(downscale_factor, "pixel_unshuffle: downscale_factor", minimum=1)
    *lead, c, h, w = _three("pixel_unshuffle", input)
    if h % r or w % r:
        raise ShapeError(f"pixel_unshuffle: {h}x{w} pixels cannot be cut into {r}x{r} ({input.shape})")
    k = len(lead)
    apart = input.reshape(*lead, c, h // r, r, w // r, r).permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return apart.reshape(*lead, c * r**2, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of all groups by turns, so that the next groups see each (Zhang et al., arXiv:1707.01083).

    Like `torch.nn.functional.channel_shuffle`.

        F.channel_shuffle(tc.arange(4).reshape(1, 4, 1), 2).flatten().tolist()  # [0, 2, 1, 3]

    Args:
        input: (N, C, ...), of any dtype.
        groups: The number of groups, which divides C.

    Raises ShapeError where it does not, and DtypeError for anything but a Tensor.
    """
    groups = whole(groups, "channel_shuffle: groups", minimum=1)
    checked_tensor("channel_shuffle", "input", input)
    if input.ndim < 3 or input.shape[1] % groups:
        raise ShapeError(f"channel_shuffle: expected (N, C, ...) with C in {groups} equal groups, got {input.shape}")
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)


def _three(name: str, input: Tensor) -> tuple[int, ...]:
    if checked_tensor(name, "input", input).ndim < 3:
        raise ShapeError(f"{name}: expected (..., C, H, W), got {input.shape}")
    return input.shape


def _output_sizes(
    sizes: tuple[int, ...],
    size: Size | None,
    scale_factor: float | Sequence[float] | None,
    recompute: bool | None,
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The sizes wanted, and for each axis the scale factor that places are found by; None for the ratio of sizes."""
    axes = len(sizes)
    if (size is None) == (scale_factor is None):
        which = "neither" if size is None else "both"
        raise OptionError(f"interpolate: expected size or scale_factor, one of them, got {which}")
    if size is not None:
        if recompute:
            raise OptionError("interpolate: recompute_scale_factor has no meaning beside size")
        out = tuple(sizes_of((size,), "interpolate: size")) if isinstance(size, Sequence) else None
        out = out or (whole(size, "interpolate: size"),) * axes
        factors: tuple[float | None, ...] = (None,) * axes
    else:
        given = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * axes
        found = tuple(finite("interpolate: scale_factor", s) for s in given)
        out = tuple(floor(n * s) for n, s in zip(sizes, found, strict=False))
        factors = (None,) * axes if recompute else found
    if len(out) != axes:
        raise ShapeError(f"interpolate: expected {axes} sizes or factors, got {shortened(size or scale_factor)}")
    if min(*sizes, *out) < 1:
        raise ShapeError(f"interpolate: sizes must be at least 1, got {sizes} and {out}")
    return out, factors


def _nearest(x: Tensor, axis: int, out: int, factor: float | None, exact: bool) -> Tensor:
    """One axis by the elements that are nearest: by a view where each is repeated, or skipped, as often."""
    n = x.shape[axis]
    kind = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)  # in float32, as PyTorch rounds
    scale = kind.type(n / out if factor is None else 1 / factor)
    places = (np.arange(out, dtype=kind) + kind.type(0.5 if exact else 0)) * scale
    source = np.minimum(np.floor(places).astype(np.int64), n - 1)
    lead: tuple[Any, ...] = (slice(None),) * axis
    times, step = out // n, n // out
    if n == out and (source == np.arange(n)).all():
        return x
    if times and (source == np.arange(out) // times).all():
        shape = x.shape
        spread = x.unsqueeze(axis + 1).expand(*shape[: axis + 1], times, *shape[axis + 1 :])
        return spread.reshape(*shape[:axis], out, *shape[axis + 1 :])
    if step and (source == source[0] + np.arange(out) * step).all():
        return x[(*lead, slice(int(source[0]), None, step))][(*lead, slice(out))]
    index = made(x.device, (out,), np.int64, partial(np.copy, source), False)
    return x[(*lead, index)]


@lru_cache(maxsize=64)
def _weights(
    dtype: Any, n: int, out: int, factor: float | None, cubic: bool, align: bool, antialias: bool, kind: Any
) -> HostArray:
    """The matrix (out, n) of an interpolation along one axis: a row weighs the elements around where it comes from."""
    if align:
        scale = kind.type((n - 1) / (out - 1) if out > 1 else 0)
    else:
        scale = kind.type(n / out if factor is None else 1 / factor)
    i: HostArray = np.arange(out, dtype=kind)
    matrix: HostArray = np.zeros((out, n), kind)
    if antialias:
        reach = max(scale, kind.type(1))  # of one input's weight, in inputs
        centre = scale * (i + kind.type(0.5))
        support = reach * (2 if cubic else 1)
        first = np.maximum(np.trunc(centre - support + 0.5), 0)
        last = np.minimum(np.trunc(centre + support + 0.5), n)
        at = np.arange(n, dtype=kind)
        distance = abs(at - centre[:, None] + kind.type(0.5)) / reach
        matrix[...] = _cubic(distance, -0.5) if cubic else np.maximum(1 - distance, 0)
        matrix[(at < first[:, None]) | (at >= last[:, None])] = 0
        return (matrix / matrix.sum(axis=1, keepdims=True)).astype(dtype)
    places = scale * i if align else scale * (i + kind.type(0.5)) - kind.type(0.5)
    if not cubic:
        places = np.maximum(places, 0)
    low = np.floor(places)
    for tap in range(-1, 3) if cubic else range(2):
        distance = abs(places - low - tap)
        weight = _cubic(distance, -0.75) if cubic else 1 - distance
        np.add.at(matrix, (np.arange(out), np.clip(low + tap, 0, n - 1).astype(np.int64)), weight)
    return matrix.astype(dtype)


def _cubic(distance: HostArray, a: float) -> HostArray:
    """The weight of an element at this distance (Keys, 1981)."""
    d = distance
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _coordinates(h: int, w: int, align: bool, dtype: Any) -> HostArray:
    """(x, y, 1) of the pixels of an image, row by row, from -1 to 1: (H W, 3)."""
    rows, columns = (
        np.linspace(-1, 1, n, dtype=dtype) * (1 if align else (n - 1) / n) if n > 1 else np.zeros(1, dtype)
        for n in (h, w)
    )
    x, y = np.meshgrid(columns, rows)
    return np.stack([x, y, np.ones_like(x)], axis=-1).reshape(h * w, 3).astype(dtype)
