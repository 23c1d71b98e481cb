"""Normalisations as layers, with torch's names and arguments; the functions in `functional` say what they compute.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from typing import Any

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import non_negative, real
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import Size, batch_of
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import sizes_of, whole
from tinyconv.tensor.creation import ones, zeros
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn

# fmt: off
__all__ = [
    "BatchNorm1d", "BatchNorm2d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "LayerNorm", "LocalResponseNorm",
    "RMSNorm",
]
# fmt: on


class _BatchNorm(Module):
    """The base of the batch and instance normalisations, which differ in the inputs they accept."""

    rank: tuple[int, ...]  # how many axes an input may have
    wanted: str  # and how that is said
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
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.num_features = num_features = whole(num_features, f"{owner}: num_features", minimum=0)
        self.eps = non_negative(f"{owner}: eps", eps)
        self.momentum = None if momentum is None else real(f"{owner}: momentum", momentum)
        self.affine, self.track_running_stats = affine, track_running_stats
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(num_features, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features, **kind)) if affine and bias else None)
        self.register_buffer("running_mean", zeros(num_features, **kind) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **kind) if track_running_stats else None)
        count = zeros((), dtype="int64", device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Make the running statistics what they are at first: mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
                buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Make the running statistics, the weight (1) and the bias (0) what they are at first."""
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1), (self.bias, 0)):
            if parameter is not None:
                init.constant_(parameter, value)

    def check(self, input: Tensor) -> None:
        """Raise ShapeError for an input with another number of axes."""
        if input.ndim not in self.rank:
            raise ShapeError(f"{type(self).__name__}: expected {self.wanted}, got {input.shape}")

    def count_batch(self) -> float:
        """Count a batch of the training. Returns the part of a running statistic that it replaces."""
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            if momentum is None:  # the plain average of all batches so far
                momentum = 1 / self.num_batches_tracked.item()
        return 0.0 if momentum is None else momentum

    def forward(self, input: Tensor) -> Tensor:
        self.check(input)
        momentum = self.count_batch()
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
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
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.batch_norm` does.
    """

    rank, wanted = (2, 3), "(N, C) or (N, C, L)"


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
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.batch_norm` does.
    """

    rank, wanted = (4,), "(N, C, H, W)"


class _InstanceNorm(_BatchNorm):
    """The base of InstanceNorm1d and InstanceNorm2d."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self.check(input)
        channels = input.shape[-self.rank[0]]
        if channels != self.num_features:
            given = f"{type(self).__name__}({self.num_features}) got {channels} channels, in {input.shape}"
            if self.affine:
                raise ShapeError(given)
            warn(f"{given}; without affine=True their number changes nothing")
        batch, one = batch_of(input, self.rank[0] - 1)
        y = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y.squeeze(0) if one else y


class InstanceNorm1d(_InstanceNorm):
    """Standardise each channel of each example of (N, C, L), or of one (C, L) (Ulyanov et al., arXiv:1607.08022).

    Like `torch.nn.InstanceNorm1d`.

        nn.InstanceNorm1d(3)(tc.randn(8, 3, 5)).shape  # (8, 3, 5)

    Args:
        num_features: The number of channels C.
        eps: Added to the variance, so that no channel is divided by 0.
        momentum: The part of a running statistic that a batch replaces.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        track_running_stats: Whether to keep running statistics, for evaluation.
        device: Where parameters and buffers are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.instance_norm` does.
    """

    rank, wanted = (2, 3), "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """Standardise each channel of each example of (N, C, H, W), or of one (C, H, W) (Ulyanov et al., arXiv:1607.08022).

    Like `torch.nn.InstanceNorm2d`.

        nn.InstanceNorm2d(3)(tc.randn(8, 3, 5, 5)).shape  # (8, 3, 5, 5)

    Args:
        num_features: The number of channels C.
        eps: Added to the variance, so that no channel is divided by 0.
        momentum: The part of a running statistic that a batch replaces.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        track_running_stats: Whether to keep running statistics, for evaluation.
        device: Where parameters and buffers are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range. A call raises ShapeError where the input has another number of axes, and what
    `functional.instance_norm` does.
    """

    rank, wanted = (3, 4), "(N, C, H, W) or (C, H, W)"


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

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Standardise the channels of each example, (N, C, ...), in groups (Wu & He, arXiv:1803.08494).

    Like `torch.nn.GroupNorm`.

        nn.GroupNorm(3, 6)(tc.randn(8, 6, 5, 5)).shape  # (8, 6, 5, 5)

    Args:
        num_groups: The number of groups.
        num_channels: The number of channels C, a multiple of it.
        eps: Added to the variance, so that no group is divided by 0.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        device: Where the parameters are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where the groups do not divide the channels, and OptionError where
    `eps` is negative. A call raises what `functional.group_norm` does.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = whole(num_groups, "GroupNorm: num_groups", minimum=1)
        self.num_channels = whole(num_channels, "GroupNorm: num_channels", minimum=0)
        if self.num_channels % self.num_groups:
            raise ShapeError(f"GroupNorm: {num_channels} channels cannot be split into {num_groups} equal groups")
        self.eps, self.affine = non_negative("GroupNorm: eps", eps), affine
        kind: dict[str, Any] = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(ones(self.num_channels, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(self.num_channels, **kind)) if affine and bias else None)

    def reset_parameters(self) -> None:
        """Make the weight 1 and the bias 0 again."""
        for parameter, value in ((self.weight, 1), (self.bias, 0)):
            if parameter is not None:
                init.constant_(parameter, value)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ShapeError(f"GroupNorm: expected (N, {self.num_channels}, ...), got {input.shape}")
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class RMSNorm(Module):
    """Divide each example by the root mean square of its last axes (Zhang & Sennrich, arXiv:1910.07467).

    Like `torch.nn.RMSNorm`.

        nn.RMSNorm(20)(tc.randn(8, 5, 20)).shape  # (8, 5, 20)

    Args:
        normalized_shape: The sizes of the axes to take the mean over; a number is the last axis alone.
        eps: Added to the mean square; the machine epsilon of the dtype unless given.
        elementwise_affine: Whether to scale by `weight`, of shape `normalized_shape`, which starts at 1.
        device: Where the weight is made; the default device unless given.
        dtype: Its dtype, floating point; float32 unless given.

    Raises DtypeError for another dtype, ShapeError for sizes that are no integers, and OptionError where `eps` is
    negative. A call raises what `functional.rms_norm` does.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: Size,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = tuple(sizes_of((normalized_shape,), "RMSNorm: normalized_shape"))
        self.eps = None if eps is None else non_negative("RMSNorm: eps", eps)
        self.elementwise_affine = elementwise_affine
        weight = Parameter(ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Make the weight 1 again."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha m)^beta, with m the mean of x^2 over `size` neighbouring channels (Krizhevsky et al., 2012).

    Like `torch.nn.LocalResponseNorm`.

        nn.LocalResponseNorm(5)(tc.ones(1, 3, 2)).shape  # (1, 3, 2)

    Args:
        size: How many channels.
        alpha, beta, k: Numbers of the formula.

    Raises ShapeError where `size` is no integer >= 1, and OptionError where a number is none. A call raises what
    `functional.local_response_norm` does.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = whole(size, "LocalResponseNorm: size", minimum=1)
        self.alpha, self.beta = real("LocalResponseNorm: alpha", alpha), real("LocalResponseNorm: beta", beta)
        self.k = real("LocalResponseNorm: k", k)

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
