"""Layers, with torch's names, arguments and default initialisation.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import finite, real
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import Shape, axis_of, infer_reshape, product, sizes_of, whole
from tinyconv.tensor.creation import zeros
from tinyconv.tensor.tensor import Tensor

__all__ = ["Bilinear", "CosineSimilarity", "Flatten", "Identity", "Linear", "PairwiseDistance", "Unflatten"]


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

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


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

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several: (N, 12) gives (N, 3, 4) with `dim` 1 and sizes (3, 4). Like `torch.nn.Unflatten`.

        nn.Unflatten(1, (3, 4))(tc.zeros(2, 12)).shape  # (2, 3, 4)

    Args:
        dim: The axis; negative numbers count from the end.
        unflattened_size: The sizes that take its place; one may be -1.

    Raises ShapeError for what are no integers. A call raises it for an axis that does not exist, or has another size.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = whole(dim, "Unflatten: dim")
        self.unflattened_size = tuple(sizes_of((unflattened_size,), "Unflatten: unflattened_size"))

    def forward(self, input: Tensor) -> Tensor:
        axis = axis_of(self.dim, input.ndim, "Unflatten")
        sizes = infer_reshape((input.shape[axis],), list(self.unflattened_size))
        return input.reshape(*input.shape[:axis], *sizes, *input.shape[axis + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """The input as it is. Like `torch.nn.Identity`.

        nn.Identity()(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        args, options: Anything; not used, so that it can take the place of another layer.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Bilinear(Affine):
    """y_k = x1^T weight_k x2 + bias_k: (..., I) and (..., J) give (..., K). Like `torch.nn.Bilinear`.

    `weight` is (K, I, J) and `bias` (K,), both uniform on +-1 / sqrt(I) at first.

        nn.Bilinear(3, 4, 5)(tc.randn(8, 3), tc.randn(8, 4)).shape  # (8, 5)

    Args:
        in1_features: I, the size of the last axis of the first input.
        in2_features: J, that of the second.
        out_features: K, that of the output.
        bias: Whether to add a bias.
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises DtypeError for another dtype, and ShapeError for sizes that are no integers >= 1. A call raises what
    `functional.bilinear` does.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        self.in1_features = whole(in1_features, "Bilinear: in1_features", minimum=1)
        self.in2_features = whole(in2_features, "Bilinear: in2_features", minimum=1)
        self.out_features = whole(out_features, "Bilinear: out_features", minimum=0)
        shape = (self.out_features, self.in1_features, self.in2_features)
        self._make(shape, self.out_features, bias, device, dtype)

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniform on +-1 / sqrt(in1_features)."""
        bound = 1 / sqrt(self.weight.shape[1])
        for parameter in self.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class CosineSimilarity(Module):
    """The cosine of the angle between two vectors along `dim`. Like `torch.nn.CosineSimilarity`.

        nn.CosineSimilarity()(tc.ones(2, 3), tc.ones(2, 3)).shape  # (2,)

    Args:
        dim: The axis of the vectors.
        eps: The smallest length to divide by.

    Raises ShapeError where `dim` is no integer, and OptionError where `eps` is no number. A call raises what
    `functional.cosine_similarity` does.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = whole(dim, "CosineSimilarity: dim"), finite("CosineSimilarity: eps", eps)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis. Like `torch.nn.PairwiseDistance`.

        nn.PairwiseDistance()(tc.zeros(2, 3), tc.ones(2, 3)).shape  # (2,)

    Args:
        p: 1, 2 or infinity.
        eps: Added to each difference, so that the gradient of a distance of 0 is finite.
        keepdim: Whether to keep the last axis, with size 1.

    Raises OptionError where a number is none. A call raises what `functional.pairwise_distance` does.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps = real("PairwiseDistance: p", p), finite("PairwiseDistance: eps", eps)
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
