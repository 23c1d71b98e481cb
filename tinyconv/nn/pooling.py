"""Layers that pool images (N, C, H, W) and signals (N, C, L).

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tinyconv import functional as F
from tinyconv.engine.options import finite
from tinyconv.functional.arguments import OutputSize, Size
from tinyconv.nn.module import Module
from tinyconv.shapes import pair, single, size, whole
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d",
    "LPPool1d", "LPPool2d", "MaxPool1d", "MaxPool2d", "MaxUnpool1d", "MaxUnpool2d",
]
# fmt: on


def _length(value: Size, what: str, *, minimum: int = 0) -> Size:
    """As `shapes.single`, but a number stays a number."""
    found = single(value, what, minimum=minimum)
    return found if isinstance(value, Sequence) else found[0]


class _MaxPool(Module):
    """The base of MaxPool1d and MaxPool2d."""

    _sizes: ClassVar[Any] = staticmethod(size)  # how the size of each axis may be given

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = self._sizes(kernel_size, f"{name}: kernel_size", minimum=1)
        self.stride = self.kernel_size if stride is None else self._sizes(stride, f"{name}: stride", minimum=1)
        self.padding = self._sizes(padding, f"{name}: padding")
        self.dilation = self._sizes(dilation, f"{name}: dilation", minimum=1)
        self.ceil_mode, self.return_indices = bool(ceil_mode), bool(return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool2d(_MaxPool):
    """The maximum of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.MaxPool2d`.

    `functional.max_pool2d` has OH and OW.

        nn.MaxPool2d(2)(tc.randn(8, 3, 32, 32)).shape  # (8, 3, 16, 16)

    Args:
        kernel_size: Size of a window. Like `stride`, `padding` and `dilation` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of -inf on each side, at most half the kernel.
        dilation: Step between the elements of a window.
        return_indices: Return a pair: the maxima, and where they are, as h * W + w (int64).
        ceil_mode: Round OH and OW up: the last window may hang over the end.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.max_pool2d` does.
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_MaxPool):
    """The maximum of every window of signals: (N, C, L) gives (N, C, OL). Like `torch.nn.MaxPool1d`.

    `functional.max_pool1d` has OL.

        nn.MaxPool1d(2)(tc.randn(8, 3, 32)).shape  # (8, 3, 16)

    Args:
        kernel_size: Size of a window. Like `stride`, `padding` and `dilation` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: Elements of -inf on each side, at most half the kernel.
        dilation: Step between the elements of a window.
        return_indices: Return a pair: the maxima, and where they are (int64).
        ceil_mode: Round OL up: the last window may hang over the end.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.max_pool1d` does.
    """

    _sizes = staticmethod(_length)

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class _MaxUnpool(Module):
    """The base of MaxUnpool1d and MaxUnpool2d."""

    _sizes: ClassVar[Any] = staticmethod(pair)

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = self._sizes(kernel_size, f"{name}: kernel_size", minimum=1)
        self.stride = self.kernel_size if stride is None else self._sizes(stride, f"{name}: stride", minimum=1)
        self.padding = self._sizes(padding, f"{name}: padding")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool2d(_MaxUnpool):
    """The maxima of a `MaxPool2d` put back where they were, and zeros elsewhere. Like `torch.nn.MaxUnpool2d`.

    A call takes the maxima (N, C, H, W), the indices that `MaxPool2d(return_indices=True)` gave, and perhaps the
    `output_size` wanted, and gives (N, C, OH, OW). `functional.max_unpool2d` has OH and OW.

        y, places = nn.MaxPool2d(2, return_indices=True)(tc.randn(8, 3, 32, 32))
        nn.MaxUnpool2d(2)(y, places).shape  # (8, 3, 32, 32)

    Args:
        kernel_size: Size of a window. Like `stride` and `padding` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: What the pooling had on each side.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.max_unpool2d` does.
    """

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """The maxima of a `MaxPool1d` put back where they were, and zeros elsewhere. Like `torch.nn.MaxUnpool1d`.

    A call takes the maxima (N, C, L), the indices that `MaxPool1d(return_indices=True)` gave, and perhaps the
    `output_size` wanted, and gives (N, C, OL). `functional.max_unpool1d` has OL.

        y, places = nn.MaxPool1d(2, return_indices=True)(tc.randn(8, 3, 32))
        nn.MaxUnpool1d(2)(y, places).shape  # (8, 3, 32)

    Args:
        kernel_size: Size of a window. Like `stride` and `padding` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: What the pooling had on each side.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.max_unpool1d` does.
    """

    _sizes = staticmethod(single)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool2d(Module):
    """The mean of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.AvgPool2d`.

    `functional.avg_pool2d` has OH and OW.

        nn.AvgPool2d(2)(tc.randn(8, 3, 32, 32)).shape  # (8, 3, 16, 16)

    Args:
        kernel_size: Size of a window. Like `stride` and `padding` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of zeros on each side, at most half the kernel.
        ceil_mode: Round OH and OW up: the last window may hang over the end.
        count_include_pad: Count the zeros of the padding as elements of a window.
        divisor_override: Divide the sum of a window by this number, not by that of its elements.

    Raises ShapeError for sizes that are no integers, or too small, and OptionError for a divisor that is no number. A
    call raises what `functional.avg_pool2d` does.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: float | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = size(kernel_size, "AvgPool2d: kernel_size", minimum=1)
        self.stride = self.kernel_size if stride is None else size(stride, "AvgPool2d: stride", minimum=1)
        self.padding = size(padding, "AvgPool2d: padding")
        self.ceil_mode, self.count_include_pad = bool(ceil_mode), bool(count_include_pad)
        self.divisor_override = (
            divisor_override if divisor_override is None else finite("AvgPool2d: divisor_override", divisor_override)
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """The mean of every window of signals: (N, C, L) gives (N, C, OL). Like `torch.nn.AvgPool1d`.

    `functional.avg_pool1d` has OL.

        nn.AvgPool1d(2)(tc.randn(8, 3, 32)).shape  # (8, 3, 16)

    Args:
        kernel_size: Size of a window. Like `stride` and `padding` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        padding: Zeros on each side, at most half the kernel.
        ceil_mode: Round OL up: the last window may hang over the end.
        count_include_pad: Count the zeros of the padding as elements of a window.

    Raises ShapeError for sizes that are no integers, or too small. A call raises what `functional.avg_pool1d` does.
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = single(kernel_size, "AvgPool1d: kernel_size", minimum=1)
        self.stride = self.kernel_size if stride is None else single(stride, "AvgPool1d: stride", minimum=1)
        self.padding = single(padding, "AvgPool1d: padding")
        self.ceil_mode, self.count_include_pad = bool(ceil_mode), bool(count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _LPPool(Module):
    """The base of LPPool1d and LPPool2d."""

    _sizes: ClassVar[Any] = staticmethod(size)

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.norm_type = finite(f"{name}: norm_type", norm_type)
        self.kernel_size = self._sizes(kernel_size, f"{name}: kernel_size", minimum=1)
        self.stride = None if stride is None else self._sizes(stride, f"{name}: stride", minimum=1)
        self.ceil_mode = bool(ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool2d(_LPPool):
    """The p-norm of every window of images, (sum x^p)^(1/p): (N, C, H, W) gives (N, C, OH, OW).

    `functional.lp_pool2d` has more on it. Like `torch.nn.LPPool2d`.

        nn.LPPool2d(2, 2)(tc.randn(8, 3, 32, 32)).shape  # (8, 3, 16, 16)

    Args:
        norm_type: p.
        kernel_size: Size of a window. Like `stride` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        ceil_mode: Round OH and OW up: the last window may hang over the end.

    Raises ShapeError for sizes that are no integers, or too small, and OptionError where p is no number. A call raises
    what `functional.lp_pool2d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """The p-norm of every window of signals, (sum x^p)^(1/p): (N, C, L) gives (N, C, OL).

    `functional.lp_pool1d` has more on it. Like `torch.nn.LPPool1d`.

        nn.LPPool1d(2, 2)(tc.randn(8, 3, 32)).shape  # (8, 3, 16)

    Args:
        norm_type: p.
        kernel_size: Size of a window. Like `stride` a number, or a sequence of one.
        stride: Step between windows; the kernel size unless given.
        ceil_mode: Round OL up: the last window may hang over the end.

    Raises ShapeError for sizes that are no integers, or too small, and OptionError where p is no number. A call raises
    what `functional.lp_pool1d` does.
    """

    _sizes = staticmethod(_length)

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class _Adaptive(Module):
    """The base of the four that make an output of a given size."""

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        what = f"{type(self).__name__}: output_size"
        self.output_size: OutputSize
        if isinstance(output_size, list | tuple):
            self.output_size = tuple(None if n is None else whole(n, what, minimum=1) for n in output_size)
        else:
            self.output_size = whole(output_size, what, minimum=1)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_Adaptive):
    """The means of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    A head for images of any size. Like `torch.nn.AdaptiveAvgPool2d`.

        nn.AdaptiveAvgPool2d(4)(tc.randn(8, 3, 13, 17)).shape  # (8, 3, 4, 4)

    Args:
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_avg_pool2d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool1d(_Adaptive):
    """The means of OL cells that cover signals of any length: (N, C, L) gives (N, C, OL).

    A head for signals of any length. Like `torch.nn.AdaptiveAvgPool1d`.

        nn.AdaptiveAvgPool1d(4)(tc.randn(8, 3, 13)).shape  # (8, 3, 4)

    Args:
        output_size: OL, a number or a sequence of one.

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_avg_pool1d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class _AdaptiveMax(_Adaptive):
    """The base of AdaptiveMaxPool1d and AdaptiveMaxPool2d."""

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = bool(return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The maxima of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    Like `torch.nn.AdaptiveMaxPool2d`.

        nn.AdaptiveMaxPool2d(4)(tc.randn(8, 3, 13, 17)).shape  # (8, 3, 4, 4)

    Args:
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.
        return_indices: Return a pair: the maxima, and where they are, as h * W + w (int64).

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_max_pool2d` does.
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The maxima of OL cells that cover signals of any length: (N, C, L) gives (N, C, OL).

    Like `torch.nn.AdaptiveMaxPool1d`.

        nn.AdaptiveMaxPool1d(4)(tc.randn(8, 3, 13)).shape  # (8, 3, 4)

    Args:
        output_size: OL, a number or a sequence of one.
        return_indices: Return a pair: the maxima, and where they are (int64).

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_max_pool1d` does.
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)
