"""The windows of images as columns of a matrix, and back."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.functional.arguments import Size, batch_of, checked_tensor
from tinyconv.shapes import pair
from tinyconv.tensor.tensor import Tensor, apply

__all__ = ["fold", "unfold"]


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """The windows of images as columns (im2col): (N, C, H, W) gives (N, C KH KW, OH OW).

    A column holds what one window sees: the KH KW elements of the first channel, row by row, then those of the next.
    The columns are the windows, row by row. So a convolution is one product with them (Chellapilla et al., 2006):

        images, filters = tc.randn(8, 3, 32, 32), tc.randn(16, 3, 5, 5)
        columns = F.unfold(images, 5)                       # (8, 75, 784)
        maps = (filters.reshape(16, 75) @ columns).reshape(8, 16, 28, 28)
        (maps - F.conv2d(images, filters)).abs().max() < 1e-3

    Its gradient is `fold`: each element gets back the gradients of all its copies. `ops.Unfold` has the formula. OH and
    OW are those of `conv2d`. Like `torch.nn.functional.unfold`.

    Args:
        input: Images (N, C, H, W), of any dtype; or one image (C, H, W), which gives (C KH KW, OH OW).
        kernel_size: Size of a window. Like the others a number or a pair (height, width).
        dilation: Step between the elements of a window.
        padding: Zeros on each side.
        stride: Step between windows.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError for anything but a Tensor.
    """
    input, one = batch_of(checked_tensor("unfold", "input", input))
    y: Tensor = apply(ops.Unfold, input, **_windows("unfold", kernel_size, dilation, padding, stride))
    return y.squeeze(0) if one else y


def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """The sum of all windows, each put where it was (col2im): (N, C KH KW, OH OW) gives images (N, C, H, W).

    The transpose of `unfold`, and so its gradient; its own gradient is `unfold`. It undoes `unfold` but for a factor:
    an element that several windows hold is added up as often.

        columns = F.unfold(tc.ones(1, 1, 3, 3), 2)          # (1, 4, 4): four windows of four elements
        F.fold(columns, 3, 2).tolist()                      # [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]

    `ops.Fold` has the formula. Like `torch.nn.functional.fold`.

    Args:
        input: Columns (N, C KH KW, windows), as `unfold` gives them; or those of one image, which give (C, H, W).
        output_size: H and W of the images. Like the others a number or a pair (height, width).
        kernel_size: Size of a window.
        dilation: Step between the elements of a window.
        padding: Rows and columns on each side of the images that windows may cover, and that are dropped.
        stride: Step between windows.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError for anything but a Tensor.
    """
    input, one = batch_of(checked_tensor("fold", "input", input), axes=1)
    size = pair(output_size, "fold: output_size", minimum=1)
    y: Tensor = apply(ops.Fold, input, size=size, **_windows("fold", kernel_size, dilation, padding, stride))
    return y.squeeze(0) if one else y


def _windows(name: str, kernel_size: Size, dilation: Size, padding: Size, stride: Size) -> dict[str, Any]:
    return {
        "kernel": pair(kernel_size, f"{name}: kernel_size", minimum=1),
        "stride": pair(stride, f"{name}: stride", minimum=1),
        "padding": pair(padding, f"{name}: padding"),
        "dilation": pair(dilation, f"{name}: dilation", minimum=1),
    }
