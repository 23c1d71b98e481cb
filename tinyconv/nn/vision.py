"""Layers that make images larger, and that shuffle channels.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyconv import functional as F
from tinyconv.engine.options import finite
from tinyconv.functional.arguments import Size
from tinyconv.functional.vision import Mode
from tinyconv.nn.module import Module
from tinyconv.shapes import sizes_of, whole
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "ChannelShuffle", "PixelShuffle", "PixelUnshuffle", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d",
]
# fmt: on


class Upsample(Module):
    """Images (N, C, H, W) of another size, (N, C, OH, OW); or signals (N, C, L). Like `torch.nn.Upsample`.

    `functional.interpolate` has the modes.

        nn.Upsample(scale_factor=2)(tc.randn(8, 3, 16, 16)).shape  # (8, 3, 32, 32)

    Args:
        size: OH and OW, a number or one for each axis.
        scale_factor: Their ratio to H and W, instead of `size`.
        mode: "nearest", "linear", "bilinear", "bicubic", or another that `functional.interpolate` has.
        align_corners: Whether the centres of the outer elements stay where they are, not their outer sides.
        recompute_scale_factor: Take the ratio of the sizes, not the `scale_factor` given, to find places.

    Raises ShapeError for sizes that are no integers, and OptionError for factors that are no numbers. A call raises
    what `functional.interpolate` does.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: Mode = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.size, self.scale_factor = size, scale_factor
        if size is not None:
            what = f"{name}: size"
            self.size = tuple(sizes_of((size,), what)) if isinstance(size, Sequence) else whole(size, what, minimum=1)
        if scale_factor is not None:
            given = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,)
            factors = tuple(float(finite(f"{name}: scale_factor", s)) for s in given)
            self.scale_factor = factors if isinstance(scale_factor, Sequence) else factors[0]
        self.mode, self.align_corners, self.recompute_scale_factor = mode, align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images (N, C, H, W) of another size, each pixel the nearest one. Like `torch.nn.UpsamplingNearest2d`.

        nn.UpsamplingNearest2d(scale_factor=2)(tc.randn(8, 3, 16, 16)).shape  # (8, 3, 32, 32)

    Args:
        size: OH and OW, a number or a pair.
        scale_factor: Their ratio to H and W, instead of `size`.

    Raises ShapeError for sizes that are no integers, and OptionError for factors that are no numbers. A call raises
    what `functional.interpolate` does.
    """

    def __init__(self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images (N, C, H, W) of another size, bilinear, the centres of the corners where they were.

    Like `torch.nn.UpsamplingBilinear2d`.

        nn.UpsamplingBilinear2d(scale_factor=2)(tc.randn(8, 3, 16, 16)).shape  # (8, 3, 32, 32)

    Args:
        size: OH and OW, a number or a pair.
        scale_factor: Their ratio to H and W, instead of `size`.

    Raises ShapeError for sizes that are no integers, and OptionError for factors that are no numbers. A call raises
    what `functional.interpolate` does.
    """

    def __init__(self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """r^2 channels laid out as r x r pixels: (..., C r^2, H, W) gives (..., C, H r, W r). Like `torch.nn.PixelShuffle`.

        nn.PixelShuffle(2)(tc.randn(8, 12, 16, 16)).shape  # (8, 3, 32, 32)

    Args:
        upscale_factor: r.

    Raises ShapeError where it is no integer >= 1. A call raises what `functional.pixel_shuffle` does.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = whole(upscale_factor, "PixelShuffle: upscale_factor", minimum=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """r x r pixels as r^2 channels: (..., C, H r, W r) gives (..., C r^2, H, W). Like `torch.nn.PixelUnshuffle`.

        nn.PixelUnshuffle(2)(tc.randn(8, 3, 32, 32)).shape  # (8, 12, 16, 16)

    Args:
        downscale_factor: r.

    Raises ShapeError where it is no integer >= 1. A call raises what `functional.pixel_unshuffle` does.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = whole(downscale_factor, "PixelUnshuffle: downscale_factor", minimum=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of all groups by turns, of an input (N, C, ...). Like `torch.nn.ChannelShuffle`.

        nn.ChannelShuffle(2)(tc.arange(4).reshape(1, 4, 1)).flatten().tolist()  # [0, 2, 1, 3]

    Args:
        groups: The number of groups, which divides C.

    Raises ShapeError where it is no integer >= 1. A call raises what `functional.channel_shuffle` does.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = whole(groups, "ChannelShuffle: groups", minimum=1)

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
