"""Convolutions, and convolutions run backwards. Those of signals (N, C, L) are those of images of height 1."""

from __future__ import annotations

from typing import Literal

from tinyconv import ops
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import (
    Padding,
    Size,
    batch_of,
    checked_tensor,
)
from tinyconv.functional.padding import pad
from tinyconv.ops.conv import check_conv
from tinyconv.ops.windows import check_conv_transpose
from tinyconv.shapes import pair, same_padding, single, whole
from tinyconv.tensor.tensor import Tensor, apply

__all__ = ["conv1d", "conv2d", "conv_padding", "conv_transpose1d", "conv_transpose2d"]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images (N, C, H, W) with filters (F, C / groups, KH, KW): (N, F, OH, OW).

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, and OW likewise. `ops.Conv2d` has the formula and
    its gradients. Like `torch.nn.functional.conv2d`.

        F.conv2d(tc.randn(8, 3, 32, 32), tc.randn(16, 3, 5, 5), padding=2).shape  # (8, 16, 32, 32)

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), which gives (F, OH, OW).
        weight: Filters (F, C / groups, KH, KW), of the dtype of the input.
        bias: One number per filter, (F,), of the same dtype; or None.
        stride: Step between windows. Like `padding` and `dilation` a number or a pair (height, width).
        padding: Zeros on each side. "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: Step between the elements of a filter.
        groups: Number of groups that channels and filters are split into; a filter sees the channels of its group.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    strides, dilations = pair(stride, "conv2d: stride", minimum=1), pair(dilation, "conv2d: dilation", minimum=1)
    groups = whole(groups, "conv2d: groups", minimum=1)
    paddings = conv_padding(padding, strides)
    input, one = _batch_of(input, weight, groups, axis=1)
    if paddings == "same":
        paddings = (0, 0)
        if checked_tensor("conv2d", "weight", weight).ndim == 4 and checked_tensor("conv2d", "input", input).ndim == 4:
            (top, bottom), (left, right) = (
                same_padding(k, d) for k, d in zip(weight.shape[2:], dilations, strict=True)
            )
            paddings = (top, left)
            if bottom > top or right > left:
                input = pad(input, (0, right - left, 0, bottom - top))
    geometry = {"stride": strides, "padding": paddings, "dilation": dilations, "groups": groups}
    y: Tensor = apply(ops.Conv2d, input, weight, bias, **geometry)
    return y.squeeze(0) if one else y


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate signals (N, C, L) with filters (F, C / groups, K): (N, F, OL). It is `conv2d` of height 1.

    OL = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1. Like `torch.nn.functional.conv1d`.

        F.conv1d(tc.randn(8, 3, 100), tc.randn(16, 3, 5), padding=2).shape  # (8, 16, 100)

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), which gives (F, OL).
        weight: Filters (F, C / groups, K), of the dtype of the input.
        bias: One number per filter, (F,), of the same dtype; or None.
        stride: Step between windows, a number or a sequence of one, like `padding` and `dilation`.
        padding: Zeros on each side. "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: Step between the elements of a filter.
        groups: Number of groups that channels and filters are split into; a filter sees the channels of its group.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    strides, dilations = single(stride, "conv1d: stride", minimum=1), single(dilation, "conv1d: dilation", minimum=1)
    groups = whole(groups, "conv1d: groups", minimum=1)
    paddings = conv_padding(padding, strides)
    weight = checked_tensor("conv1d", "weight", weight)
    input, one = _batch_of(checked_tensor("conv1d", "input", input), weight, groups, axis=1)
    if paddings == "same":
        reach = dilations[0] * (weight.shape[-1] - 1) if weight.ndim else 0
        needed: tuple[int, ...] = (reach,)  # at least what both sides get together, and no window is too large
    else:
        needed = paddings
    b = None if bias is None else checked_tensor("conv1d", "bias", bias).array
    check_conv("conv1d", input.array, weight.array, b, needed, dilations, groups)
    rows: Padding = "same" if paddings == "same" else (0, *paddings)
    y = conv2d(input.unsqueeze(2), weight.unsqueeze(2), bias, (1, *strides), rows, (1, *dilations), groups).squeeze(2)
    return y.squeeze(0) if one else y


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """A `conv2d` run backwards: images (N, C, H, W) and filters (C, F / groups, KH, KW) give (N, F, OH, OW).

    It is the gradient that `conv2d` has for its input, as a function of its own: each element adds its filter to the
    output, scaled. OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1, and OW likewise.
    `ops.ConvTranspose2d` has the formula and its gradients. Like `torch.nn.functional.conv_transpose2d`.

        F.conv_transpose2d(tc.randn(8, 3, 16, 16), tc.randn(3, 6, 2, 2), stride=2).shape  # (8, 6, 32, 32)

    Args:
        input: Images (N, C, H, W), floating point; or one image (C, H, W), which gives (F, OH, OW).
        weight: Filters (C, F / groups, KH, KW), of the dtype of the input.
        bias: One number per channel of the output, (F,), of the same dtype; or None.
        stride: Step between windows of the output. Like `padding`, `output_padding` and `dilation` a number or a pair
            (height, width).
        padding: Rows and columns that are taken off the output on each side: what `conv2d` would have padded.
        output_padding: Rows and columns more at the end, below the stride or the dilation.
        groups: Number of groups that channels and filters are split into.
        dilation: Step between the elements of a filter.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    name = "conv_transpose2d"
    strides, dilations = pair(stride, f"{name}: stride", minimum=1), pair(dilation, f"{name}: dilation", minimum=1)
    paddings = pair(padding, f"{name}: padding")
    extra: tuple[int, ...] = pair(output_padding, f"{name}: output_padding")
    groups = whole(groups, f"{name}: groups", minimum=1)
    input, one = _batch_of(input, weight, 1, axis=0)
    input, extra = _below_stride(name, input, extra, strides, dilations)
    geometry = {"stride": strides, "padding": paddings, "output_padding": extra, "dilation": dilations}
    y: Tensor = apply(ops.ConvTranspose2d, input, weight, bias, groups=groups, **geometry)
    return y.squeeze(0) if one else y


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """A `conv1d` run backwards: (N, C, L) and (C, F / groups, K) give (N, F, OL). `conv_transpose2d` of height 1.

    OL = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1. Like
    `torch.nn.functional.conv_transpose1d`.

        F.conv_transpose1d(tc.randn(8, 3, 50), tc.randn(3, 6, 2), stride=2).shape  # (8, 6, 100)

    Args:
        input: Signals (N, C, L), floating point; or one signal (C, L), which gives (F, OL).
        weight: Filters (C, F / groups, K), of the dtype of the input.
        bias: One number per channel of the output, (F,), of the same dtype; or None.
        stride: Step between windows of the output, a number or a sequence of one, like `padding`, `output_padding` and
            `dilation`.
        padding: Elements that are taken off the output on each side.
        output_padding: Elements more at the end, below the stride or the dilation.
        groups: Number of groups that channels and filters are split into.
        dilation: Step between the elements of a filter.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    name = "conv_transpose1d"
    strides, dilations = single(stride, f"{name}: stride", minimum=1), single(dilation, f"{name}: dilation", minimum=1)
    paddings = single(padding, f"{name}: padding")
    extra: tuple[int, ...] = single(output_padding, f"{name}: output_padding")
    groups = whole(groups, f"{name}: groups", minimum=1)
    weight = checked_tensor(name, "weight", weight)
    input, one = _batch_of(input, weight, 1, axis=0)
    input, extra = _below_stride(name, input, extra, strides, dilations)
    b = None if bias is None else checked_tensor(name, "bias", bias).array
    check_conv_transpose(name, input.array, weight.array, b, strides, paddings, extra, dilations, groups)
    geometry = {"stride": (1, *strides), "padding": (0, *paddings), "output_padding": (0, *extra)}
    y = apply(
        ops.ConvTranspose2d,
        input.unsqueeze(2),
        weight.unsqueeze(2),
        bias,
        groups=groups,
        dilation=(1, *dilations),
        **geometry,
    ).squeeze(2)
    return y.squeeze(0) if one else y


def conv_padding(padding: Padding, strides: tuple[int, ...]) -> tuple[int, ...] | Literal["same"]:
    """The `padding` of a convolution as numbers, one an axis; "same" stays "same", for it depends on the kernel.

        F.conv_padding("valid", (2, 2))  # (0, 0)

    Args:
        padding: A number, a number for each axis, "same" or "valid".
        strides: The stride of the convolution, (height, width), or (length,).

    Raises ShapeError where the stride is not 1 with "same", and where numbers are negative or not whole.
    """
    name = f"conv{len(strides)}d"
    if isinstance(padding, str) and padding == "same":
        if max(strides) != 1:
            raise ShapeError(f"{name}: padding='same' keeps the size, which stride {strides} does not; give numbers")
        return "same"
    if isinstance(padding, str) and padding == "valid":
        return (0,) * len(strides)
    if len(strides) == 1:
        return single(padding, f"{name}: padding ('same', 'valid', or a number)")
    return pair(padding, f"{name}: padding ('same', 'valid', or numbers)")


def _batch_of(input: Tensor, weight: Tensor, groups: int, axis: int) -> tuple[Tensor, bool]:
    """`batch_of`, where the channels are those that the filters see: `weight.shape[axis] * groups`."""
    if isinstance(input, Tensor) and isinstance(weight, Tensor):
        filters = weight.array.shape
        if len(input.array.shape) == len(filters) - 1 >= 2 and input.array.shape[0] == filters[axis] * groups:
            return batch_of(input, len(filters) - 2)
    return input, False


def _below_stride(
    name: str, input: Tensor, extra: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...]]:
    """The same output with `output_padding` below the stride: a whole stride more is one more element, a zero."""
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ShapeError(
            f"{name}: output_padding {extra} must be smaller than stride {strides} or dilation {dilations}"
        )
    steps = [e // s for e, s in zip(extra, strides, strict=True)]
    if not any(steps):
        return checked_tensor(name, "input", input), extra
    widths = [width for step in reversed(steps) for width in (0, step)]
    return pad(input, widths), tuple(e % s for e, s in zip(extra, strides, strict=True))
