"""Layers that take images apart into windows, and put them together.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from tinyconv import functional as F
from tinyconv.functional.arguments import Size
from tinyconv.nn.module import Module
from tinyconv.shapes import size
from tinyconv.tensor.tensor import Tensor

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    """The windows of images as columns (im2col): (N, C, H, W) gives (N, C KH KW, OH OW). Like `torch.nn.Unfold`.

    `functional.unfold` has the order of a column and OH and OW.

        nn.Unfold(5)(tc.randn(8, 3, 32, 32)).shape  # (8, 75, 784)

    Args:
        kernel_size: Size of a window. Like the others a number or a pair (height, width).
        dilation: Step between the elements of a window.
        padding: Zeros on each side.
        stride: Step between windows.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.unfold` does.
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = size(kernel_size, f"{name}: kernel_size", minimum=1)
        self.dilation = size(dilation, f"{name}: dilation", minimum=1)
        self.padding = size(padding, f"{name}: padding")
        self.stride = size(stride, f"{name}: stride", minimum=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """The sum of all windows, each put where it was (col2im): (N, C KH KW, OH OW) gives (N, C, H, W).

    The transpose of `Unfold`; `functional.fold` has more on it. Like `torch.nn.Fold`.

        nn.Fold(32, 5)(tc.randn(8, 75, 784)).shape  # (8, 3, 32, 32)

    Args:
        output_size: H and W of the images. Like the others a number or a pair (height, width).
        kernel_size: Size of a window.
        dilation: Step between the elements of a window.
        padding: Rows and columns on each side of the images that windows may cover, and that are dropped.
        stride: Step between windows.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.fold` does.
    """

    def __init__(
        self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = size(output_size, "Fold: output_size", minimum=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
