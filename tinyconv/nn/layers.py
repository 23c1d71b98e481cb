"""Layers, with torch's names, arguments and default initialisation.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import finite, fraction, non_negative, real
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import OutputSize, Padding, Size
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import Shape, pair, product, size, sizes_of, whole
from tinyconv.tensor.creation import ones, zeros
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "GELU", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "Dropout",
    "Flatten", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MaxPool2d", "ReLU", "SiLU", "Sigmoid",
    "Softmax", "Tanh",
]
# fmt: on


class _Affine(Module):
    """The base of Conv2d and Linear: a weight (O, I, ...), maybe a bias (O,), and how both start."""

    weight: Parameter
    bias: Parameter | None

    def _make(self, shape: Shape, bias: bool, device: str | None, dtype: Dtype) -> None:
        self.weight = Parameter(zeros(shape, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(zeros(shape[0], device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniform on +-1 / sqrt(fan_in)."""
        fan_in = product(self.weight.shape[1:])
        bound = 1 / sqrt(fan_in) if fan_in else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)


class Conv2d(_Affine):
    """Cross-correlate images (N, in_channels, H, W) with `out_channels` filters: (N, out_channels, OH, OW).

    `weight` is (out_channels, in_channels / groups, KH, KW) and `bias` (out_channels,), both uniform on
    +-1 / sqrt(fan_in) at first. `functional.conv2d` has OH and OW. Like `torch.nn.Conv2d`.

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
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError where groups do not divide channels and filters or the geometry is invalid, and DtypeError for
    another dtype. A call raises what `functional.conv2d` does.
    """

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
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        in_channels, out_channels = (
            whole(n, f"Conv2d: {name}", minimum=0)
            for name, n in {"in_channels": in_channels, "out_channels": out_channels}.items()
        )
        groups = whole(groups, "Conv2d: groups")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"Conv2d: {in_channels} channels and {out_channels} filters cannot both be split into {groups} groups"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "Conv2d: kernel_size", minimum=1)
        self.stride = pair(stride, "Conv2d: stride", minimum=1)
        self.padding: Padding = F.conv_padding(padding, self.stride)
        self.dilation = pair(dilation, "Conv2d: dilation", minimum=1)
        self._make((out_channels, in_channels // groups, *self.kernel_size), bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        usual = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        parts += [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join(parts + ["bias=False"] * (self.bias is None))


class Linear(_Affine):
    """y = x weight^T + bias: (..., in_features) gives (..., out_features). Like `torch.nn.Linear`.

    `weight` is (out_features, in_features) and `bias` (out_features,), both uniform on +-1 / sqrt(in_features) at
    first.

        nn.Linear(20, 5)(tc.randn(8, 20)).shape  # (8, 5)

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: Whether to add a bias.
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises DtypeError for another dtype, and ShapeError for sizes that are no integers >= 0. A call raises what
    `functional.linear` does.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: str | None = None, dtype: Dtype = None
    ) -> None:
        super().__init__()
        self.in_features = whole(in_features, "Linear: in_features", minimum=0)
        self.out_features = whole(out_features, "Linear: out_features", minimum=0)
        self._make((self.out_features, self.in_features), bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class MaxPool2d(Module):
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
        self.kernel_size = size(kernel_size, "MaxPool2d: kernel_size", minimum=1)
        self.stride = self.kernel_size if stride is None else size(stride, "MaxPool2d: stride", minimum=1)
        self.padding = size(padding, "MaxPool2d: padding")
        self.dilation = size(dilation, "MaxPool2d: dilation", minimum=1)
        self.ceil_mode, self.return_indices = bool(ceil_mode), bool(return_indices)

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


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

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The means of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    A head for images of any size. Like `torch.nn.AdaptiveAvgPool2d`.

        nn.AdaptiveAvgPool2d(4)(tc.randn(8, 3, 13, 17)).shape  # (8, 3, 4, 4)

    Args:
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_avg_pool2d` does.
    """

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        what = f"{type(self).__name__}: output_size"
        self.output_size: OutputSize
        if isinstance(output_size, list | tuple):
            self.output_size = tuple(None if n is None else whole(n, what, minimum=1) for n in output_size)
        else:
            self.output_size = whole(output_size, what, minimum=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """The maxima of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    Like `torch.nn.AdaptiveMaxPool2d`.

        nn.AdaptiveMaxPool2d(4)(tc.randn(8, 3, 13, 17)).shape  # (8, 3, 4, 4)

    Args:
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError for sizes that are no integers >= 1. A call raises what `functional.adaptive_max_pool2d` does.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(x, self.output_size)


class _BatchNorm(Module):
    """The base of BatchNorm1d and BatchNorm2d, which differ in the inputs they accept."""

    rank: tuple[int, ...]  # how many axes an input may have
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.num_features = num_features = whole(num_features, f"{owner}: num_features", minimum=0)
        self.eps = non_negative(f"{owner}: eps", eps)
        self.momentum = None if momentum is None else real(f"{owner}: momentum", momentum)
        self.affine, self.track_running_stats = affine, track_running_stats
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(num_features, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features, **kind)) if affine else None)
        self.register_buffer("running_mean", zeros(num_features, **kind) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **kind) if track_running_stats else None)
        count = zeros((), dtype="int64", device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.rank:
            wanted = "(N, C, H, W)" if self.rank == (4,) else "(N, C) or (N, C, L)"
            raise ShapeError(f"{type(self).__name__}: expected {wanted}, got {x.shape}")
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            if momentum is None:  # the plain average of all batches so far
                momentum = 1 / self.num_batches_tracked.item()
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L) (Ioffe & Szegedy, arXiv:1502.03167). Like `torch.nn.BatchNorm1d`.

    In training each channel is standardised with its mean and variance in the batch, in evaluation with the running
    ones, the buffers `running_mean` and `running_var`.

        nn.BatchNorm1d(20)(tc.randn(8, 20)).shape  # (8, 20)

    Args:
        num_features: The number of channels C.
        eps: Added to the variance, so that no channel is divided by 0.
        momentum: The part of a running statistic that a batch replaces; None averages all batches.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        track_running_stats: Whether to keep running statistics; without them evaluation uses the batch too.
        device: Where parameters and buffers are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.batch_norm` does.
    """

    rank = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W) (Ioffe & Szegedy, arXiv:1502.03167). Like `torch.nn.BatchNorm2d`.

    In training each channel is standardised with its mean and variance in the batch, in evaluation with the running
    ones, the buffers `running_mean` and `running_var`.

        nn.BatchNorm2d(3)(tc.randn(8, 3, 32, 32)).shape  # (8, 3, 32, 32)

    Args:
        num_features: The number of channels C.
        eps: Added to the variance, so that no channel is divided by 0.
        momentum: The part of a running statistic that a batch replaces; None averages all batches.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        track_running_stats: Whether to keep running statistics; without them evaluation uses the batch too.
        device: Where parameters and buffers are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.batch_norm` does.
    """

    rank = (4,)


class LayerNorm(Module):
    """Standardise each example over its last axes (Ba, Kiros & Hinton, arXiv:1607.06450). Like `torch.nn.LayerNorm`.

        nn.LayerNorm(20)(tc.randn(8, 5, 20)).shape  # (8, 5, 20)

    Args:
        normalized_shape: The sizes of the axes to standardise over; a number is the last axis alone.
        eps: Added to the variance, so that nothing is divided by 0.
        elementwise_affine: Whether to scale by `weight`, of shape `normalized_shape`, which starts at 1.
        bias: Whether, where it scales, to add `bias` too, which starts at 0.
        device: Where the parameters are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.

    Raises DtypeError for another dtype, ShapeError for sizes that are no integers, and OptionError where `eps` is
    negative. A call raises what `functional.layer_norm` does.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: Size,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = tuple(sizes_of((normalized_shape,), "LayerNorm: normalized_shape"))
        self.eps, self.elementwise_affine = non_negative("LayerNorm: eps", eps), elementwise_affine
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(shape, **kind)) if elementwise_affine else None)
        self.register_parameter("bias", Parameter(zeros(shape, **kind)) if elementwise_affine and bias else None)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class Dropout(Module):
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014).

    The input has any shape, and is floating point. Like `torch.nn.Dropout`.

        nn.Dropout(0.5).eval()(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        p: The probability that an element becomes 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.dropout` does.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = fraction("Dropout: p", p), inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one: (N, C, H, W) gives (N, C * H * W). Like `torch.nn.Flatten`.

        nn.Flatten()(tc.randn(8, 3, 4, 5)).shape  # (8, 60)

    Args:
        start_dim: The first of the axes; negative numbers count from the end.
        end_dim: The last of them.

    A call raises ShapeError for axes that do not exist or are in the wrong order.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = whole(start_dim, "Flatten: start_dim"), whole(end_dim, "Flatten: end_dim")

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """The input as it is. Like `torch.nn.Identity`.

        nn.Identity()(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        args, options: Anything; not used, so that it can take the place of another layer.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class _Activation(Module):
    """The base of ReLU and SiLU: an option that PyTorch has."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Activation):
    """max(x, 0) of an input of any shape, with gradient 0 at 0.

    Like `torch.nn.ReLU`.

        nn.ReLU()(tc.tensor([-1.0, 2.0])).tolist()  # [0.0, 2.0]

    Args:
        inplace: Write the values into the input, and return that.

    Raises DtypeError for anything but a Tensor.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x, self.inplace)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x (Maas et al., 2013), of any shape. Like `torch.nn.LeakyReLU`.

        nn.LeakyReLU(0.5)(tc.tensor([-1.0, 2.0])).tolist()  # [-0.5, 2.0]

    Args:
        negative_slope: The slope on the left of 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError for a slope that is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = real("LeakyReLU: negative_slope", negative_slope), inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{', inplace=True' if self.inplace else ''}"


class GELU(Module):
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, arXiv:1606.08415).

    The input has any shape. Like `torch.nn.GELU`.

        nn.GELU()(tc.tensor([0.0, 10.0])).tolist()  # [0.0, 10.0]

    Args:
        approximate: "none", or "tanh" for a cheaper approximation.

    A call raises ValueError where `approximate` is neither.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate: Literal["none", "tanh"] = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """1 / (1 + e^-x) of an input of any shape.

    Like `torch.nn.Sigmoid`.

        nn.Sigmoid()(tc.zeros(1)).tolist()  # [0.5]

    Raises DtypeError for anything but a Tensor.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent of an input of any shape.

    Like `torch.nn.Tanh`.

        nn.Tanh()(tc.zeros(1)).tolist()  # [0.0]

    Raises DtypeError for anything but a Tensor.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class SiLU(_Activation):
    """x sigmoid(x) (Elfwing et al., arXiv:1702.03118) of an input of any shape.

    Like `torch.nn.SiLU`.

        nn.SiLU()(tc.zeros(1)).tolist()  # [0.0]

    Args:
        inplace: Write the values into the input, and return that.

    Raises DtypeError for anything but a Tensor.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, self.inplace)


class Softmax(Module):
    """e^x / sum e^x along `dim`. Not before CrossEntropyLoss, which applies it itself. Like `torch.nn.Softmax`.

        nn.Softmax(1)(tc.zeros(1, 2)).tolist()  # [[0.5, 0.5]]

    Args:
        dim: The axis along which the output adds up to 1.

    A call raises ShapeError where the input has no such axis.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = whole(dim, f"{type(self).__name__}: dim")

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """x - ln sum e^x along `dim`. NLLLoss takes its output. Like `torch.nn.LogSoftmax`.

        round(nn.LogSoftmax(0)(tc.zeros(2))[0].item(), 4)  # -0.6931

    Args:
        dim: The axis along which e^output adds up to 1.

    A call raises ShapeError where the input has no such axis.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.dim)
