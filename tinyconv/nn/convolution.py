"""Layers that convolve images (N, C, H, W) and signals (N, C, L), forwards and backwards.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.errors import ShapeError, shortened
from tinyconv.functional.arguments import Padding, Size
from tinyconv.nn.layers import Affine
from tinyconv.shapes import pair, same_padding, single, sizes_of, transposed_size, whole
from tinyconv.tensor.tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Affine):
    """The base of all four: sizes that fit each other, and how they are shown."""

    _sizes: ClassVar[Any] = staticmethod(pair)  # how a size of each axis may be given
    transposed: ClassVar[bool] = False
    padding: Any
    output_padding: tuple[int, ...]

    def _keep(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        dilation: Size,
        groups: int,
        padding_mode: PaddingMode,
    ) -> str:
        """Check and keep what all have, and return the name that messages say."""
        name = type(self).__name__
        self.in_channels = whole(in_channels, f"{name}: in_channels", minimum=0)
        self.out_channels = whole(out_channels, f"{name}: out_channels", minimum=0)
        self.groups = whole(groups, f"{name}: groups")
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise ShapeError(
                f"{name}: {in_channels} channels and {out_channels} filters cannot both be split into {groups} groups"
            )
        self.kernel_size: tuple[int, ...] = self._sizes(kernel_size, f"{name}: kernel_size", minimum=1)
        self.stride: tuple[int, ...] = self._sizes(stride, f"{name}: stride", minimum=1)
        self.dilation: tuple[int, ...] = self._sizes(dilation, f"{name}: dilation", minimum=1)
        if padding_mode not in MODES:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(MODES)}, got {shortened(padding_mode)}")
        self.padding_mode = padding_mode
        return name

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        none = (0,) * len(self.kernel_size)
        usual = {"padding": none, "dilation": (1,) * len(none), "output_padding": none, "groups": 1}
        parts += [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        parts += ["bias=False"] * (self.bias is None)
        return ", ".join(parts + [f"padding_mode={self.padding_mode}"] * (self.padding_mode != "zeros"))


class _Forwards(_Convolution):
    """The base of Conv1d and Conv2d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        self._keep(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        self.padding = F.conv_padding(padding, self.stride)
        self.output_padding = (0,) * len(self.kernel_size)
        shape = self.out_channels, self.in_channels // self.groups, *self.kernel_size
        self._make(shape, self.out_channels, bias, device, dtype)

    def _padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """The images with what `padding_mode` puts around them, and how many zeros are left to add."""
        if self.padding_mode == "zeros":
            return x, self.padding
        widths: list[int] = []
        for i in reversed(range(len(self.kernel_size))):
            same = self.padding == "same"
            before, after = same_padding(self.kernel_size[i], self.dilation[i]) if same else (self.padding[i],) * 2
            widths += [before, after]
        return F.pad(x, widths, self.padding_mode), 0


class Conv2d(_Forwards):
    """Cross-correlate images (N, in_channels, H, W) with `out_channels` filters: (N, out_channels, OH, OW).

    `weight` is (out_channels, in_channels / groups, KH, KW) and `bias` (out_channels,), both uniform on
    +-1 / sqrt(fan_in) at first. `functional.conv2d` has OH and OW, and takes one image too. Like `torch.nn.Conv2d`.

        nn.Conv2d(3, 16, 5, padding=2)(tc.randn(8, 3, 32, 32)).shape  # (8, 16, 32, 32)

    Args:
        in_channels: Channels of the input.
        out_channels: Number of filters: channels of the output.
        kernel_size: Size of a filter. Like `stride`, `padding` and `dilation` a number or a pair (height, width).
        stride: Step between windows.
        padding: Zeros on each side. "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: Step between the elements of a filter.
        groups: Number of groups that channels and filters are split into.
        bias: Whether to add a bias.
        padding_mode: "zeros", or what `functional.pad` puts there in their place: "reflect", "replicate", "circular".
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError where groups do not divide channels and filters or the geometry is invalid, DtypeError for another
    dtype, and ValueError for another `padding_mode`. A call raises what `functional.conv2d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        x, padding = self._padded(input)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Forwards):
    """Cross-correlate signals (N, in_channels, L) with `out_channels` filters: (N, out_channels, OL).

    `weight` is (out_channels, in_channels / groups, K) and `bias` (out_channels,), both uniform on +-1 / sqrt(fan_in)
    at first. `functional.conv1d` has OL, and takes one signal too. Like `torch.nn.Conv1d`.

        nn.Conv1d(3, 16, 5, padding=2)(tc.randn(8, 3, 100)).shape  # (8, 16, 100)

    Args:
        in_channels: Channels of the input.
        out_channels: Number of filters: channels of the output.
        kernel_size: Size of a filter. Like `stride`, `padding` and `dilation` a number, or a sequence of one.
        stride: Step between windows.
        padding: Zeros on each side. "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: Step between the elements of a filter.
        groups: Number of groups that channels and filters are split into.
        bias: Whether to add a bias.
        padding_mode: "zeros", or what `functional.pad` puts there in their place: "reflect", "replicate", "circular".
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError where groups do not divide channels and filters or the geometry is invalid, DtypeError for another
    dtype, and ValueError for another `padding_mode`. A call raises what `functional.conv1d` does.
    """

    _sizes = staticmethod(single)

    def forward(self, input: Tensor) -> Tensor:
        x, padding = self._padded(input)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _Backwards(_Convolution):
    """The base of ConvTranspose1d and ConvTranspose2d."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        name = self._keep(in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode)
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding is taken off the output, so padding_mode can only be 'zeros'")
        self.padding = self._sizes(padding, f"{name}: padding")
        self.output_padding = self._sizes(output_padding, f"{name}: output_padding")
        shape = self.in_channels, self.out_channels // self.groups, *self.kernel_size
        self._make(shape, self.out_channels, bias, device, dtype)

    def _extra(self, x: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """The output_padding that gives `output_size`."""
        if output_size is None:
            return self.output_padding
        name, axes = type(self).__name__, len(self.kernel_size)
        wanted = tuple(sizes_of((output_size,), f"{name}: output_size"))[-axes:]
        if len(output_size) not in (axes, axes + 1, axes + 2) or x.ndim not in (axes + 1, axes + 2):
            raise ShapeError(f"{name}: output_size must have {axes} sizes, got {shortened(output_size)}")
        geometry = zip(x.shape[-axes:], self.kernel_size, self.stride, self.padding, strict=True)
        least = [transposed_size(*axis, dilation=d) for axis, d in zip(geometry, self.dilation, strict=True)]
        extra = tuple(n - m for n, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple(m + s - 1 for m, s in zip(least, self.stride, strict=True))
            raise ShapeError(f"{name}: output_size can be {tuple(least)} to {most} for {x.shape}, got {wanted}")
        return extra


class ConvTranspose2d(_Backwards):
    """A `Conv2d` run backwards, from its output to its input: (N, in_channels, H, W) gives (N, out_channels, OH, OW).

    With a stride it makes images larger: what decoders and generators do (Dumoulin & Visin, arXiv:1603.07285). `weight`
    is (in_channels, out_channels / groups, KH, KW) and `bias` (out_channels,), both uniform on +-1 / sqrt(fan_in) at
    first. `functional.conv_transpose2d` has OH and OW, and takes one image too. Like `torch.nn.ConvTranspose2d`.

        nn.ConvTranspose2d(16, 3, 2, stride=2)(tc.randn(8, 16, 16, 16)).shape  # (8, 3, 32, 32)

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of a filter. Like the others a number or a pair (height, width).
        stride: Step between windows of the output.
        padding: Rows and columns that are taken off the output on each side: what the `Conv2d` would have padded.
        output_padding: Rows and columns more at the end, below the stride or the dilation.
        groups: Number of groups that channels and filters are split into.
        bias: Whether to add a bias.
        dilation: Step between the elements of a filter.
        padding_mode: "zeros" alone.
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError where groups do not divide channels and filters or the geometry is invalid, DtypeError for another
    dtype, and ValueError for another `padding_mode`. A call raises what `functional.conv_transpose2d` does, and takes
    the `output_size` (OH, OW) wanted, in place of `output_padding`.
    """

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._extra(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose1d(_Backwards):
    """A `Conv1d` run backwards, from its output to its input: (N, in_channels, L) gives (N, out_channels, OL).

    `weight` is (in_channels, out_channels / groups, K) and `bias` (out_channels,), both uniform on +-1 / sqrt(fan_in)
    at first. `functional.conv_transpose1d` has OL, and takes one signal too. Like `torch.nn.ConvTranspose1d`.

        nn.ConvTranspose1d(16, 3, 2, stride=2)(tc.randn(8, 16, 50)).shape  # (8, 3, 100)

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Size of a filter. Like the others a number, or a sequence of one.
        stride: Step between windows of the output.
        padding: Elements that are taken off the output on each side.
        output_padding: Elements more at the end, below the stride or the dilation.
        groups: Number of groups that channels and filters are split into.
        bias: Whether to add a bias.
        dilation: Step between the elements of a filter.
        padding_mode: "zeros" alone.
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError where groups do not divide channels and filters or the geometry is invalid, DtypeError for another
    dtype, and ValueError for another `padding_mode`. A call raises what `functional.conv_transpose1d` does, and takes
    the `output_size` (OL,) wanted, in place of `output_padding`.
    """

    _sizes = staticmethod(single)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self._extra(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
