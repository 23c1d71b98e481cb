"""Initialisers: each fills a tensor in place, floating point, and returns it. Names and defaults are torch's.

fan_in is the number of inputs of one output, fan_out the number of outputs of one input: C KH KW and F KH KW for
filters (F, C, KH, KW).
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Literal, TypeAlias

import numpy as np

from tinyconv.engine.context import no_grad
from tinyconv.engine.options import finite, non_negative, real
from tinyconv.errors import ShapeError, shortened, suggest_names
from tinyconv.shapes import product, whole
from tinyconv.tensor.creation import rand_like, randn_like
from tinyconv.tensor.signatures import IndexPart
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn

Nonlinearity: TypeAlias = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu"]
Mode: TypeAlias = Literal["fan_in", "fan_out"]


def fans(weight: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, I, ...). Raises ShapeError where it has fewer than two axes."""
    if weight.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need a weight (out, in, ...), got shape {weight.shape}")
    window = product(weight.shape[2:])
    return weight.shape[1] * window, weight.shape[0] * window


def calculate_gain(nonlinearity: Nonlinearity, param: float = 0.01) -> float:
    """The factor that makes up for how a nonlinearity shrinks the standard deviation of its input.

    `param` is the slope of leaky_relu. Like `torch.nn.init.calculate_gain`. Raises ValueError for another name, or for
    a slope that is no finite number.
    """
    param = finite("calculate_gain: param", param)
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": sqrt(2),
        "leaky_relu": sqrt(2 / (1 + param**2)),
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: expected one of {', '.join(gains)}, got {shortened(nonlinearity)}")
    return gains[nonlinearity]


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with numbers uniform on [a, b). Like `torch.nn.init.uniform_`. OptionError where a or b is not finite."""
    a, b = finite("uniform_: a", a), finite("uniform_: b", b)
    return tensor.copy_(rand_like(tensor) * (b - a) + a)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers of mean `mean` and standard deviation `std`. Like `torch.nn.init.normal_`.

    Raises OptionError where one of these is not finite, or `std` is negative.
    """
    mean, std = finite("normal_: mean", mean), non_negative("normal_: std", std)
    return tensor.copy_(randn_like(tensor) * std + mean)


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with the number `val`. Like `torch.nn.init.constant_`. OptionError where it is no number."""
    return tensor.fill_(real("constant_: val", val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros. Like `torch.nn.init.zeros_`."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones. Like `torch.nn.init.ones_`."""
    return constant_(tensor, 1)


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make filters (F, C, ...) let their input pass: in each of `groups`, filter k is 1 at the middle of channel k.

    All else is 0: other channels, and filters for which there is no channel (Zagoruyko & Komodakis, arXiv:1706.00388).
    Like `torch.nn.init.dirac_`. Raises ShapeError where the tensor is not filters of one to three dimensions, or F is
    not a multiple of `groups`.
    """
    if not 3 <= tensor.ndim <= 5:
        raise ShapeError(f"dirac_ needs filters (F, C, ...) with 1 to 3 more axes, got shape {tensor.shape}")
    groups = whole(groups, "dirac_: groups")
    if groups < 1 or len(tensor) % groups:
        raise ShapeError(f"dirac_ needs groups that divide its {len(tensor)} filters, got groups={groups}")
    filters = len(tensor) // groups
    middle: tuple[IndexPart, ...] = tuple(n // 2 for n in tensor.shape[2:])
    channels = np.arange(len(tensor)) % max(filters, 1)
    there = np.flatnonzero(channels < tensor.shape[1])
    tensor.zero_()
    tensor[(there, channels[there], *middle)] = 1  # one write: a model on "meta" may have a million of them
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill a weight (O, I, ...) uniformly on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Like `torch.nn.init.xavier_uniform_`. Raises ShapeError where the weight has fewer than two axes, and OptionError
    where the gain is not finite.
    """
    bound = finite("xavier_uniform_: gain", gain) * sqrt(6 / _divisor(sum(fans(tensor))))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill a weight (O, I, ...) with normal numbers of deviation gain sqrt(2 / (fan_in + fan_out)).

    The source is Glorot & Bengio, 2010. Like `torch.nn.init.xavier_normal_`. Raises ShapeError where the weight has
    fewer than two axes, and OptionError where the gain is negative or not finite.
    """
    return normal_(tensor, 0.0, non_negative("xavier_normal_: gain", gain) * sqrt(2 / _divisor(sum(fans(tensor)))))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Tensor:
    """Fill a weight (O, I, ...) uniformly on +-gain sqrt(3 / fan) (He et al., arXiv:1502.01852).

    `a` is the slope of leaky_relu, `mode` says which fan, `nonlinearity` the gain. Like
    `torch.nn.init.kaiming_uniform_`. Raises ShapeError where the weight has fewer than two axes, and ValueError for
    another mode or nonlinearity.
    """
    bound = calculate_gain(nonlinearity, a) * sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
) -> Tensor:
    """Fill a weight (O, I, ...) with normal numbers of deviation gain / sqrt(fan) (He et al., arXiv:1502.01852).

    `a` is the slope of leaky_relu, `mode` says which fan, `nonlinearity` the gain. Like
    `torch.nn.init.kaiming_normal_`. Raises ShapeError where the weight has fewer than two axes, and ValueError for
    another mode or nonlinearity.
    """
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / sqrt(_fan(tensor, mode)))


def _fan(weight: Tensor, mode: Mode) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', got {shortened(mode)}")
    return _divisor(fans(weight)[mode == "fan_out"])


def _divisor(fan: int) -> float:
    """A fan to divide by. It is 0 only for a weight without elements, in which nothing is to be filled."""
    if not fan:
        warn("init: this weight has no elements, so there is nothing to fill: is a number of features or channels 0?")
    return fan or inf


suggest_names(globals())
