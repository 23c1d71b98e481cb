"""Initialisers: each fills a tensor in place, floating point, and returns it. Names and defaults are torch's.

fan_in is the number of inputs of one output, fan_out the number of outputs of one input: C KH KW and F KH KW for
filters (F, C, KH, KW).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import ceil, erf, inf, sqrt
from typing import Any, Literal, ParamSpec, TypeAlias, get_args

import numpy as np

from tinyconv.engine.context import no_grad
from tinyconv.engine.options import finite, fraction, non_negative, positive, real
from tinyconv.errors import ShapeError, shortened, suggest_names
from tinyconv.shapes import product, whole
from tinyconv.tensor.creation import drawn_seed, made, rand_like, randn_like
from tinyconv.tensor.creation import eye as identity
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.signatures import IndexPart
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn

Nonlinearity: TypeAlias = Literal[
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
    "tanh", "relu", "leaky_relu", "selu",
]  # fmt: skip
Mode: TypeAlias = Literal["fan_in", "fan_out"]


def fans(weight: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, I, ...). Raises ShapeError where it has fewer than two axes."""
    if weight.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need a weight (out, in, ...), got shape {weight.shape}")
    window = product(weight.shape[2:])
    return weight.shape[1] * window, weight.shape[0] * window


def calculate_gain(nonlinearity: Nonlinearity, param: float | None = None) -> float:
    """The factor that makes up for how a nonlinearity shrinks the standard deviation of its input.

    `param` is the slope of leaky_relu, 0.01 unless given. It is 1 for "linear", "sigmoid" and the convolutions. Like
    `torch.nn.init.calculate_gain`. Raises ValueError for another name, or for a slope that is no finite number.
    """
    slope = 0.01 if param is None else finite("calculate_gain: param", param)
    gains = {"tanh": 5 / 3, "relu": sqrt(2), "leaky_relu": sqrt(2 / (1 + slope**2)), "selu": 3 / 4}
    if nonlinearity not in get_args(Nonlinearity):
        names = ", ".join(get_args(Nonlinearity))
        raise ValueError(f"calculate_gain: expected one of {names}, got {shortened(nonlinearity)}")
    return gains.get(nonlinearity, 1.0)


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform on [a, b), of `generator` or of `manual_seed`. Like `torch.nn.init.uniform_`.

    Raises OptionError where a or b is not finite.
    """
    a, b = finite("uniform_: a", a), finite("uniform_: b", b)
    return tensor.copy_(rand_like(tensor, generator=generator) * (b - a) + a)


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of mean `mean` and standard deviation `std`. Like `torch.nn.init.normal_`.

    They come from `generator`, or from `manual_seed`. Raises OptionError where one of these is not finite, or `std` is
    negative.
    """
    mean, std = finite("normal_: mean", mean), non_negative("normal_: std", std)
    return tensor.copy_(randn_like(tensor, generator=generator) * std + mean)


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


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight (O, I, ...) uniformly on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Like `torch.nn.init.xavier_uniform_`. Raises ShapeError where the weight has fewer than two axes, and OptionError
    where the gain is not finite.
    """
    bound = finite("xavier_uniform_: gain", gain) * sqrt(6 / _divisor(sum(fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight (O, I, ...) with normal numbers of deviation gain sqrt(2 / (fan_in + fan_out)).

    The source is Glorot & Bengio, 2010. Like `torch.nn.init.xavier_normal_`. Raises ShapeError where the weight has
    fewer than two axes, and OptionError where the gain is negative or not finite.
    """
    std = non_negative("xavier_normal_: gain", gain) * sqrt(2 / _divisor(sum(fans(tensor))))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight (O, I, ...) uniformly on +-gain sqrt(3 / fan) (He et al., arXiv:1502.01852).

    `a` is the slope of leaky_relu, `mode` says which fan, `nonlinearity` the gain. Like
    `torch.nn.init.kaiming_uniform_`. Raises ShapeError where the weight has fewer than two axes, and ValueError for
    another mode or nonlinearity.
    """
    bound = calculate_gain(nonlinearity, finite("kaiming_uniform_: a", a)) * sqrt(3 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight (O, I, ...) with normal numbers of deviation gain / sqrt(fan) (He et al., arXiv:1502.01852).

    `a` is the slope of leaky_relu, `mode` says which fan, `nonlinearity` the gain. Like
    `torch.nn.init.kaiming_normal_`. Raises ShapeError where the weight has fewer than two axes, and ValueError for
    another mode or nonlinearity.
    """
    gain = calculate_gain(nonlinearity, finite("kaiming_normal_: a", a))
    return normal_(tensor, 0.0, gain / sqrt(_fan(tensor, mode)), generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers from a to b: those outside are drawn again. Like `torch.nn.init.trunc_normal_`.

    `mean` and `std` are those of the normal distribution that is cut off. Raises OptionError where a number is not
    finite or `std` is not above 0, and ValueError unless a < b.
    """
    mean, std = finite("trunc_normal_: mean", mean), positive("trunc_normal_: std", std)
    a, b = finite("trunc_normal_: a", a), finite("trunc_normal_: b", b)
    if not a < b:
        raise ValueError(f"trunc_normal_: a must be below b, got {a} and {b}")
    inside = (erf((b - mean) / std / sqrt(2)) - erf((a - mean) / std / sqrt(2))) / 2
    nearest = min(max(mean, a), b)

    def drawn(random: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
        """Some of `n` numbers: where few normal ones are inside, uniform ones are kept by their density."""
        if inside > 0.3:
            numbers = random.normal(mean, std, n)
            return numbers[(numbers >= a) & (numbers <= b)]
        numbers = random.uniform(a, b, n)
        density = np.exp(((nearest - mean) ** 2 - (numbers - mean) ** 2) / (2 * std * std))
        return numbers[random.random(n) < density]

    def values(random: np.random.Generator) -> np.ndarray[Any, Any]:
        parts, missing = [], tensor.numel()
        while missing > 0:
            parts.append(drawn(random, missing + 16)[:missing])
            missing -= len(parts[-1])
        return np.clip(np.concatenate([*parts, np.zeros(0)]), a, b)

    return _drawn(tensor, values, generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight (O, I, ...) with `gain` times an orthogonal matrix, or its first rows or columns.

    The axes from the second on are one. The matrix is uniform among the orthogonal ones (Saxe et al., arXiv:1312.6120;
    Mezzadri, math-ph/0609050). Like `torch.nn.init.orthogonal_`. Raises ShapeError where the weight has fewer than two
    axes, and OptionError where the gain is not finite.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_ needs a weight (out, in, ...), got shape {tensor.shape}")
    gain, rows, columns = finite("orthogonal_: gain", gain), tensor.shape[0], product(tensor.shape[1:])

    def values(random: np.random.Generator) -> np.ndarray[Any, Any]:
        normal = random.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q = q * np.sign(np.diagonal(r)) * gain
        return q if rows >= columns else q.T

    return _drawn(tensor, values, generator) if tensor.numel() else tensor


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal numbers of deviation `std`, and zeros: the part `sparsity` of each column, rounded up.

    The source is Martens, ICML 2010. Like `torch.nn.init.sparse_`. Raises ShapeError where the tensor is no matrix, and
    OptionError where `sparsity` is not from 0 to 1 or `std` is negative.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_ needs a matrix, got shape {tensor.shape}")
    zeros, std = ceil(fraction("sparse_: sparsity", sparsity) * tensor.shape[0]), non_negative("sparse_: std", std)

    def values(random: np.random.Generator) -> np.ndarray[Any, Any]:
        numbers = random.normal(0, std, tensor.shape)
        np.put_along_axis(numbers, random.random(tensor.shape).argsort(0)[:zeros], 0, 0)
        return numbers

    return _drawn(tensor, values, generator)


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on its diagonal, and zeros. Like `torch.nn.init.eye_`. ShapeError for no matrix."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_ needs a matrix, got shape {tensor.shape}")
    return tensor.copy_(identity(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def _drawn(
    tensor: Tensor, values: Callable[[np.random.Generator], np.ndarray[Any, Any]], generator: Generator | None
) -> Tensor:
    """Fill a tensor with what `values` draws on the host, from numbers of their own."""

    def numbers() -> np.ndarray[Any, Any]:
        found = values(np.random.default_rng(drawn_seed(generator)))
        return found.reshape(tensor.shape).astype(tensor.dtype)

    return tensor.copy_(made(tensor.device, tensor.shape, tensor.dtype, numbers, False))


def _fan(weight: Tensor, mode: Mode) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', got {shortened(mode)}")
    return _divisor(fans(weight)[mode == "fan_out"])


def _divisor(fan: int) -> float:
    """A fan to divide by. It is 0 only for a weight without elements, in which nothing is to be filled."""
    if not fan:
        warn("init: this weight has no elements, so there is nothing to fill: is a number of features or channels 0?")
    return fan or inf


P = ParamSpec("P")


def _old_name(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The function under the name that it had before an underscore said that it writes."""
    name = function.__name__

    @wraps(function)
    def old(*args: P.args, **options: P.kwargs) -> Tensor:
        warn(f"nn.init.{name[:-1]} is how older programs say nn.init.{name}")
        return function(*args, **options)

    old.__name__ = old.__qualname__ = name[:-1]
    old.__doc__ = f"With a warning: {function.__doc__}"
    return old


constant = _old_name(constant_)
dirac = _old_name(dirac_)
eye = _old_name(eye_)
kaiming_normal = _old_name(kaiming_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
normal = _old_name(normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)
uniform = _old_name(uniform_)
xavier_normal = _old_name(xavier_normal_)
xavier_uniform = _old_name(xavier_uniform_)

suggest_names(globals())
