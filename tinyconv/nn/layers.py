"""Layers, with torch's names, arguments and default initialisation.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import fraction, non_negative, real
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import Size
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import Shape, product, sizes_of, whole
from tinyconv.tensor.creation import ones, zeros
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "BatchNorm1d", "BatchNorm2d", "Dropout", "Flatten", "Identity", "LayerNorm", "Linear",
]
# fmt: on


class Affine(Module):
    """The base of Linear and convolutions: a weight (O, I, ...), maybe a bias, and how both start."""

    weight: Parameter
    bias: Parameter | None

    def _make(self, shape: Shape, outputs: int, bias: bool, device: str | None, dtype: Dtype) -> None:
        self.weight = Parameter(zeros(shape, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(zeros(outputs, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniform on +-1 / sqrt(fan_in)."""
        fan_in = product(self.weight.shape[1:])
        bound = 1 / sqrt(fan_in) if fan_in else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)


class Linear(Affine):
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
        self._make((self.out_features, self.in_features), self.out_features, bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


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
