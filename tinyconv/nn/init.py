"""Initialisers: each fills a tensor in place and returns it. Names and defaults are torch's.

fan_in is the number of inputs of one output, fan_out the number of outputs of one input; of a filter bank
(F, C, KH, KW) they are C KH KW and F KH KW.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

from tinyconv.engine.context import no_grad
from tinyconv.errors import ShapeError
from tinyconv.shapes import product
from tinyconv.tensor.creation import rand_like, randn_like
from tinyconv.tensor.tensor import Tensor

Nonlinearity = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu"]


def fans(weight: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, I, ...)."""
    if weight.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need a weight (out, in, ...), got shape {weight.shape}")
    window = product(weight.shape[2:])
    return weight.shape[1] * window, weight.shape[0] * window


def calculate_gain(nonlinearity: Nonlinearity, param: float = 0.01) -> float:
    """How much a nonlinearity shrinks the standard deviation of its input; `param` is the slope of leaky_relu."""
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": sqrt(2),
        "leaky_relu": sqrt(2 / (1 + param**2)),
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: expected one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform on [a, b)."""
    return tensor.copy_(rand_like(tensor) * (b - a) + a)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with the given mean and standard deviation."""
    return tensor.copy_(randn_like(tensor) * std + mean)


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """One number everywhere."""
    return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1)


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Filters (F, C, ...) that let their input pass: in each of `groups`, filter k is 1 at the middle of channel k.

    What is left is 0: other channels, and filters for which there is no channel (Zagoruyko & Komodakis,
    arXiv:1706.00388). Raises ShapeError for what are not the filters of one to three dimensions, and where F is not a
    multiple of groups.
    """
    if not 3 <= tensor.ndim <= 5:
        raise ShapeError(f"dirac_ needs filters (F, C, ...) with 1 to 3 more axes, got shape {tensor.shape}")
    if groups < 1 or len(tensor) % groups:
        raise ShapeError(f"dirac_ needs groups that divide its {len(tensor)} filters, got groups={groups}")
    filters, middle = len(tensor) // groups, tuple(n // 2 for n in tensor.shape[2:])
    tensor.zero_()
    for k in range(min(filters, tensor.shape[1])):
        tensor[(slice(k, None, filters), k, *middle)] = 1
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010)."""
    bound = gain * sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * sqrt(2 / sum(fans(tensor))))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Tensor:
    """Uniform on +-gain sqrt(3 / fan) (He et al., arXiv:1502.01852); `a` is the slope of leaky_relu."""
    bound = calculate_gain(nonlinearity, a) * sqrt(3 / fans(tensor)[mode == "fan_out"])
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al., arXiv:1502.01852); `a` is the slope of leaky_relu."""
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / sqrt(fans(tensor)[mode == "fan_out"]))
