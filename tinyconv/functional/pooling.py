"""Pooling: the largest or the mean of each window, or of as many windows as are asked for."""

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
    checked_tensor,
)
from tinyconv.ops.conv import check_images
from tinyconv.shapes import Pair, pair
from tinyconv.tensor.tensor import Tensor, apply, wrap


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
        input: Images (N, C, H, W), floating point.
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
    y, place = apply(ops.MaxPool2d, input, ceil_mode=bool(ceil_mode), **geometry)
    if not return_indices:
        return y
    xp, (oh, ow), w = backend_of(place.array).xp, y.shape[2:], input.shape[3]

    def indices(place: Any) -> Any:
        u, v = xp.divmod(place.astype("int64"), kernel[1])  # where in its window
        rows = xp.arange(oh)[:, None] * strides[0] - paddings[0] + u * dilations[0]
        return rows * w + xp.arange(ow) * strides[1] - paddings[1] + v * dilations[1]

    return y, wrap(computed(indices, place.array))


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
        input: Images (N, C, H, W), floating point.
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
    return apply(
        ops.AvgPool2d,
        input,
        **geometry,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
        divisor=divisor,
    )


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The means of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    Row i of the cells covers rows floor(i H / OH) to ceil((i + 1) H / OH). Like
    `torch.nn.functional.adaptive_avg_pool2d`.

        F.adaptive_avg_pool2d(tc.randn(8, 3, 13, 17), 4).shape  # (8, 3, 4, 4)

    Args:
        input: Images (N, C, H, W), floating point.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    return apply(ops.AdaptiveAvgPool2d, input, out=_adaptive("adaptive_avg_pool2d", input, output_size))


@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any: ...
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maxima of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    The cells are those of `adaptive_avg_pool2d`. Like `torch.nn.functional.adaptive_max_pool2d`.

        F.adaptive_max_pool2d(tc.randn(8, 3, 13, 17), (4, None)).shape  # (8, 3, 4, 17)

    Args:
        input: Images (N, C, H, W), floating point.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.
        return_indices: Return also where each maximum is, as h * W + w: int64, of the shape of the output.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    y, place = apply(ops.AdaptiveMaxPool2d, input, out=_adaptive("adaptive_max_pool2d", input, output_size))
    return (y, place) if return_indices else y


def _window(name: str, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = pair(kernel_size, f"{name}: kernel_size", minimum=1)
    return kernel, kernel if stride is None else pair(stride, f"{name}: stride", minimum=1)


def _adaptive(name: str, input: Tensor, output_size: OutputSize) -> Pair:
    check_images(name, checked_tensor(name, "input", input).array)
    size: Any = output_size
    if isinstance(output_size, Sequence) and len(output_size) == 2:
        size = [n if wanted is None else wanted for n, wanted in zip(input.shape[2:], output_size, strict=True)]
    return pair(size, f"{name}: output_size", minimum=1)
