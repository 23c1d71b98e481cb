"""Pooling: the largest or the mean of each window, or of as many windows as are asked for.

That of signals (N, C, L) is that of images of height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from tinyconv import ops
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import (
    OutputSize,
    Size,
    batch_of,
    checked_tensor,
)
from tinyconv.ops.conv import check_images
from tinyconv.ops.pool import check_adaptive, check_floating, check_pool
from tinyconv.shapes import Pair, pair, product, single, sizes_of, transposed_size
from tinyconv.tensor.creation import zeros
from tinyconv.tensor.tensor import Tensor, apply, wrap

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_unpool1d",
    "max_unpool2d",
]


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any: ...
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.functional.max_pool2d`.

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, and OW likewise. NaN is larger than every number.

        F.max_pool2d(tc.randn(8, 3, 32, 32), 2).shape  # (8, 3, 16, 16)

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), without N in the result either.
        kernel_size: Size of a window. Like `stride`, `padding` and `dilation` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of -inf on each side, at most half the kernel.
        dilation: Step between the elements of a window.
        ceil_mode: Round OH and OW up: the last window may hang over the end.
        return_indices: Return also where each maximum is, as h * W + w: int64, of the shape of the output.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    kernel, strides = _window("max_pool2d", kernel_size, stride)
    paddings, dilations = pair(padding, "max_pool2d: padding"), pair(dilation, "max_pool2d: dilation", minimum=1)
    geometry = {"kernel": kernel, "stride": strides, "padding": paddings, "dilation": dilations}
    input, one = batch_of(input)
    y, place = apply(ops.MaxPool2d, input, ceil_mode=bool(ceil_mode), **geometry)
    if not return_indices:
        return y.squeeze(0) if one else y
    xp, (oh, ow), w = backend_of(place.array).xp, y.shape[2:], input.shape[3]

    def indices(place: Any) -> Any:
        u, v = xp.divmod(place.astype("int64"), kernel[1])  # where in its window
        rows = xp.arange(oh)[:, None] * strides[0] - paddings[0] + u * dilations[0]
        return rows * w + xp.arange(ow) * strides[1] - paddings[1] + v * dilations[1]

    found = wrap(computed(indices, place.array))
    return (y.squeeze(0), found.squeeze(0)) if one else (y, found)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Tensor:
    """The mean of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.functional.avg_pool2d`.

    OH = floor((H + 2 padding - KH) / stride) + 1, and OW likewise.

        F.avg_pool2d(tc.ones(1, 1, 2, 2), 2).tolist()  # [[[[1.0]]]]

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), without N in the result either.
        kernel_size: Size of a window. Like `stride` and `padding` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of zeros on each side, at most half the kernel.
        ceil_mode: Round OH and OW up: the last window may hang over the end.
        count_include_pad: Count the zeros of the padding as elements of a window.
        divisor_override: Divide the sum of a window by this number, not by that of its elements.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    kernel, strides = _window("avg_pool2d", kernel_size, stride)
    divisor = None if divisor_override is None else finite("avg_pool2d: divisor_override", divisor_override)
    if divisor == 0:
        raise ShapeError("avg_pool2d: divisor_override must not be 0")
    geometry = {"kernel": kernel, "stride": strides, "padding": pair(padding, "avg_pool2d: padding")}
    input, one = batch_of(input)
    y: Tensor = apply(
        ops.AvgPool2d,
        input,
        **geometry,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
        divisor=divisor,
    )
    return y.squeeze(0) if one else y


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The means of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    Row i of the cells covers rows floor(i H / OH) to ceil((i + 1) H / OH). Like
    `torch.nn.functional.adaptive_avg_pool2d`.

        F.adaptive_avg_pool2d(tc.randn(8, 3, 13, 17), 4).shape  # (8, 3, 4, 4)

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), without N in the result either.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    input, one = batch_of(input)
    y: Tensor = apply(ops.AdaptiveAvgPool2d, input, out=_adaptive("adaptive_avg_pool2d", input, output_size))
    return y.squeeze(0) if one else y


@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any: ...
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maxima of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    The cells are those of `adaptive_avg_pool2d`. Like `torch.nn.functional.adaptive_max_pool2d`.

        F.adaptive_max_pool2d(tc.randn(8, 3, 13, 17), (4, None)).shape  # (8, 3, 4, 17)

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), without N in the result either.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.
        return_indices: Return also where each maximum is, as h * W + w: int64, of the shape of the output.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    input, one = batch_of(input)
    y, place = apply(ops.AdaptiveMaxPool2d, input, out=_adaptive("adaptive_max_pool2d", input, output_size))
    if one:
        y, place = y.squeeze(0), place.squeeze(0)
    return (y, place) if return_indices else y


@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any: ...
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of signals: (N, C, L) gives (N, C, OL). Like `torch.nn.functional.max_pool1d`.

    It is `max_pool2d` of height 1.

        F.max_pool1d(tc.tensor([[[1.0, 3.0, 2.0, 4.0]]]), 2).tolist()  # [[[3.0, 4.0]]]

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), without N in the result either.
        kernel_size: Size of a window. Like `stride`, `padding` and `dilation` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: Elements of -inf on each side, at most half the kernel.
        dilation: Step between the elements of a window.
        ceil_mode: Round OL up: the last window may hang over the end.
        return_indices: Return also where each maximum is: int64, of the shape of the output.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    name = "max_pool1d"
    kernel, strides = _window1d(name, kernel_size, stride)
    paddings, dilations = single(padding, f"{name}: padding"), single(dilation, f"{name}: dilation", minimum=1)
    x = batch_of(checked_tensor(name, "input", input), 1)[0].array
    check_pool(name, x, kernel, strides, paddings, ceil_mode, dilations)
    found: Any = max_pool2d(
        input.unsqueeze(-2),
        (1, *kernel),
        (1, *strides),
        (0, *paddings),
        (1, *dilations),
        ceil_mode,
        return_indices=bool(return_indices),
    )
    return (found[0].squeeze(-2), found[1].squeeze(-2)) if return_indices else found.squeeze(-2)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of signals: (N, C, L) gives (N, C, OL). Like `torch.nn.functional.avg_pool1d`.

    It is `avg_pool2d` of height 1.

        F.avg_pool1d(tc.tensor([[[1.0, 3.0, 2.0, 4.0]]]), 2).tolist()  # [[[2.0, 3.0]]]

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), without N in the result either.
        kernel_size: Size of a window. Like `stride` and `padding` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: Zeros on each side, at most half the kernel.
        ceil_mode: Round OL up: the last window may hang over the end.
        count_include_pad: Count the zeros of the padding as elements of a window.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    name = "avg_pool1d"
    kernel, strides = _window1d(name, kernel_size, stride)
    paddings = single(padding, f"{name}: padding")
    x = batch_of(checked_tensor(name, "input", input), 1)[0].array
    check_pool(name, x, kernel, strides, paddings, ceil_mode)
    y = avg_pool2d(input.unsqueeze(-2), (1, *kernel), (1, *strides), (0, *paddings), ceil_mode, count_include_pad)
    return y.squeeze(-2)


def adaptive_avg_pool1d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The means of OL cells that cover signals of any length: (N, C, L) gives (N, C, OL).

    It is `adaptive_avg_pool2d` of height 1. Like `torch.nn.functional.adaptive_avg_pool1d`.

        F.adaptive_avg_pool1d(tc.randn(8, 3, 13), 4).shape  # (8, 3, 4)

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), without N in the result either.
        output_size: OL, a number or a sequence of one.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    out = _adaptive1d("adaptive_avg_pool1d", input, output_size)
    return adaptive_avg_pool2d(input.unsqueeze(-2), out).squeeze(-2)


@overload
def adaptive_max_pool1d(input: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool1d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any: ...
def adaptive_max_pool1d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maxima of OL cells that cover signals of any length: (N, C, L) gives (N, C, OL).

    It is `adaptive_max_pool2d` of height 1. Like `torch.nn.functional.adaptive_max_pool1d`.

        F.adaptive_max_pool1d(tc.randn(8, 3, 13), 4).shape  # (8, 3, 4)

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), without N in the result either.
        output_size: OL, a number or a sequence of one.
        return_indices: Return also where each maximum is: int64, of the shape of the output.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    out = _adaptive1d("adaptive_max_pool1d", input, output_size)
    y, places = adaptive_max_pool2d(input.unsqueeze(-2), out, return_indices=True)
    return (y.squeeze(-2), places.squeeze(-2)) if return_indices else y.squeeze(-2)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root of the sum of powers of every window, (sum x^p)^(1/p): (N, C, H, W) gives (N, C, OH, OW).

    No absolute values are taken, so it is the p-norm for even p; for odd p a negative sum gives NaN. Where the sum is
    0 there is no gradient. Like `torch.nn.functional.lp_pool2d`.

        F.lp_pool2d(tc.tensor([[[[3.0, 4.0]]]]), 2, (1, 2)).tolist()  # [[[[5.0]]]]

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), without N in the result either.
        norm_type: p, above 0.
        kernel_size: Size of a window. Like `stride` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        ceil_mode: Round OH and OW up: the last window may hang over the end, and counts as if it did not.

    Raises ShapeError where shapes or geometry do not fit, DtypeError where the input is not floating point, and
    OptionError where p is no number.
    """
    p = finite("lp_pool2d: norm_type", norm_type)
    kernel, strides = _window("lp_pool2d", kernel_size, stride)
    x = batch_of(checked_tensor("lp_pool2d", "input", input), 2)[0].array
    check_pool("lp_pool2d", x, kernel, strides, (0, 0), ceil_mode)
    mean = avg_pool2d(input**p, kernel, strides, ceil_mode=ceil_mode)
    signed = mean.relu() - (-mean).relu()  # the mean itself, but without a gradient at 0
    return (signed * (kernel[0] * kernel[1])) ** (1 / p)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root of the sum of powers of every window, (sum x^p)^(1/p): (N, C, L) gives (N, C, OL).

    It is `lp_pool2d` of height 1. Like `torch.nn.functional.lp_pool1d`.

        F.lp_pool1d(tc.tensor([[[3.0, 4.0]]]), 2, 2).tolist()  # [[[5.0]]]

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), without N in the result either.
        norm_type: p, above 0.
        kernel_size: Size of a window. Like `stride` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        ceil_mode: Round OL up: the last window may hang over the end, and counts as if it did not.

    Raises ShapeError where shapes or geometry do not fit, DtypeError where the input is not floating point, and
    OptionError where p is no number.
    """
    kernel, strides = _window1d("lp_pool1d", kernel_size, stride)
    x = batch_of(checked_tensor("lp_pool1d", "input", input), 1)[0].array
    check_pool("lp_pool1d", x, kernel, strides, (0,), ceil_mode)
    return lp_pool2d(input.unsqueeze(-2), norm_type, (1, *kernel), (1, *strides), ceil_mode).squeeze(-2)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima of a `max_pool2d` put back where they were, and zeros elsewhere: (N, C, H, W) gives (N, C, OH, OW).

    OH = (H - 1) stride - 2 padding + KH, and OW likewise. Where two windows had the same maximum, it is there once.
    Like `torch.nn.functional.max_unpool2d`.

        y, places = F.max_pool2d(tc.tensor([[[[1.0, 4.0], [3.0, 2.0]]]]), 2, return_indices=True)
        F.max_unpool2d(y, places, 2).tolist()  # [[[[0.0, 4.0], [0.0, 0.0]]]]

    Args:
        input: The maxima (N, C, H, W), floating point; or those of one image, without N in the result either.
        indices: Where each was, as h * OW + w: int64, of the shape of the input.
        kernel_size: Size of a window. Like `stride` and `padding` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: What `max_pool2d` had on each side.
        output_size: (OH, OW) where another size is wanted, by less than a stride: what `max_pool2d` left over. (N, C)
            may stand before it.

    Raises ShapeError where shapes or geometry do not fit, DtypeError where the input is not floating point or the
    indices are no integers, and IndexError for a place that is not there.
    """
    kernel, strides = _window("max_unpool2d", kernel_size, stride)
    return _unpooled(
        "max_unpool2d", input, indices, kernel, strides, pair(padding, "max_unpool2d: padding"), output_size
    )


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima of a `max_pool1d` put back where they were, and zeros elsewhere: (N, C, L) gives (N, C, OL).

    OL = (L - 1) stride - 2 padding + K. Like `torch.nn.functional.max_unpool1d`.

        F.max_unpool1d(tc.tensor([[[4.0]]]), tc.tensor([[[1]]]), 2).tolist()  # [[[0.0, 4.0]]]

    Args:
        input: The maxima (N, C, L), floating point; or those of one signal, without N in the result either.
        indices: Where each was: int64, of the shape of the input.
        kernel_size: Size of a window. Like `stride` and `padding` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: What `max_pool1d` had on each side.
        output_size: (OL,) where another size is wanted, by less than a stride. (N, C) may stand before it.

    Raises ShapeError where shapes or geometry do not fit, DtypeError where the input is not floating point or the
    indices are no integers, and IndexError for a place that is not there.
    """
    kernel, strides = _window1d("max_unpool1d", kernel_size, stride)
    paddings = single(padding, "max_unpool1d: padding")
    return _unpooled("max_unpool1d", input, indices, kernel, strides, paddings, output_size)


def _unpooled(
    name: str,
    input: Tensor,
    indices: Tensor,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    paddings: tuple[int, ...],
    output_size: Sequence[int] | None,
) -> Tensor:
    axes = len(kernel)
    if checked_tensor(name, "indices", indices).shape != checked_tensor(name, "input", input).shape:
        raise ShapeError(f"{name}: expected indices of the shape of the input, got {indices.shape} and {input.shape}")
    x, one = batch_of(input, axes)
    check_images(name, x.array, axes=axes)
    check_floating(name, x.array)
    sizes = zip(x.shape[2:], kernel, strides, paddings, strict=True)
    out = tuple(transposed_size(*axis) for axis in sizes)
    if output_size is not None:
        size = [output_size] if isinstance(output_size, int) else [*output_size]
        wanted = tuple(sizes_of((size,), f"{name}: output_size"))[-axes:]
        if len(wanted) != axes or any(abs(n - m) >= s for n, m, s in zip(wanted, out, strides, strict=True)):
            raise ShapeError(f"{name}: output_size must be within a stride {strides} of {out}, got {tuple(size)}")
        out = wanted
    if min(out) < 1:
        raise ShapeError(f"{name}: an input of {input.shape} gives {out}: less padding?")
    empty = zeros((*x.shape[:2], product(out)), dtype=x.dtype, device=x.device)
    y = empty.scatter(2, indices.reshape(x.shape).flatten(2), x.flatten(2)).reshape(*x.shape[:2], *out)
    return y.squeeze(0) if one else y


def _window(name: str, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = pair(kernel_size, f"{name}: kernel_size", minimum=1)
    if stride is None or (isinstance(stride, Sequence) and not stride):  # () too, as in PyTorch
        return kernel, kernel
    return kernel, pair(stride, f"{name}: stride", minimum=1)


def _adaptive(name: str, input: Tensor, output_size: OutputSize) -> Pair:
    check_images(name, checked_tensor(name, "input", input).array)
    size: Any = output_size
    if isinstance(output_size, Sequence) and len(output_size) == 2:
        size = [n if wanted is None else wanted for n, wanted in zip(input.shape[2:], output_size, strict=True)]
    return pair(size, f"{name}: output_size", minimum=1)


def _window1d(name: str, kernel_size: Size, stride: Size | None) -> tuple[tuple[int], tuple[int]]:
    kernel = single(kernel_size, f"{name}: kernel_size", minimum=1)
    if stride is None or (isinstance(stride, Sequence) and not stride):
        return kernel, kernel
    return kernel, single(stride, f"{name}: stride", minimum=1)


def _adaptive1d(name: str, input: Tensor, output_size: OutputSize) -> Pair:
    check_adaptive(name, batch_of(checked_tensor(name, "input", input), 1)[0].array, axes=1)
    size: Any = output_size
    return 1, *single(size, f"{name}: output_size", minimum=1)
