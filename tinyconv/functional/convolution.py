"""Convolutions."""

from __future__ import annotations

from typing import Literal

from tinyconv import ops
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import (
    Padding,
    Size,
    checked_tensor,
)
from tinyconv.functional.padding import pad
from tinyconv.shapes import Pair, pair, same_padding, whole
from tinyconv.tensor.tensor import Tensor, apply


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
        input: Images (N, C, H, W), floating point.
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
    return apply(ops.Conv2d, input, weight, bias, **geometry)


def conv_padding(padding: Padding, strides: Pair) -> Pair | Literal["same"]:
    """The `padding` of a convolution as a pair of numbers; "same" stays "same", for it depends on the kernel.

        F.conv_padding("valid", (2, 2))  # (0, 0)

    Args:
        padding: A number, a pair (height, width), "same" or "valid".
        strides: The stride of the convolution, a pair.

    Raises ShapeError where the stride is not 1 with "same", and where numbers are negative or not whole.
    """
    if isinstance(padding, str) and padding == "same":
        if strides != (1, 1):
            raise ShapeError(f"conv2d: padding='same' keeps the size, which stride {strides} does not; give numbers")
        return "same"
    if isinstance(padding, str) and padding == "valid":
        return 0, 0
    return pair(padding, "conv2d: padding ('same', 'valid', or numbers)")
