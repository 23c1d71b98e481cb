"""Random numbers of given distributions, and tensors that are filled with them in place.

They come from where `rand` has its own: the generator of `manual_seed`, or the one given as `generator=`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.arrays.backend import backend_of, captured_step
from tinyconv.engine.context import no_grad
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, fraction, integer, non_negative, positive
from tinyconv.errors import DtypeError, ShapeError
from tinyconv.shapes import broadcast_shape, whole
from tinyconv.tensor.creation import rand, randint, randn
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.inplace import assign
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.sorting import searchsorted, topk
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["bernoulli", "multinomial", "normal"]


@no_grad()
def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
) -> Tensor:
    """Normal numbers of this mean and standard deviation, each of which may be a tensor; they broadcast.

    Two numbers need a `size`. No gradient flows to the mean or the deviation, as in torch: `mean + std * randn(size)`
    has one. Raises ShapeError where there is no size or the shapes do not broadcast, and OptionError for numbers that
    are not finite, or a deviation below 0. Like `torch.normal`.
    """
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not given:
        if size is None:
            raise ShapeError("normal: two numbers need a size: normal(0.0, 1.0, (2, 3))")
        noise = randn(size, generator=generator, dtype=dtype, device=device)
    else:
        shape = broadcast_shape("normal", *(t.shape for t in given)) if size is None else size
        like = dtype or np.result_type(*(t.dtype for t in given))
        noise = randn(shape, generator=generator, dtype=like, device=device or given[0].device)
    scale = std if isinstance(std, Tensor) else non_negative("normal: std", std)
    return noise * scale + (mean if isinstance(mean, Tensor) else finite("normal: mean", mean))


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element is, else 0, in its dtype; with `p`, that probability for all.

    Raises DtypeError where the probabilities are not floating point, and ValueError, on the CPU, where one is not from
    0 to 1. No gradient flows. Like `torch.bernoulli`.
    """
    if p is not None:
        return _ones("bernoulli", check_tensor("bernoulli", input), fraction("bernoulli: p", p), generator)
    if check_tensor("bernoulli", input).dtype.kind != "f":
        raise DtypeError(f"bernoulli: probabilities are floating point, got {input.dtype}: input.float()?")
    _check_weights("bernoulli", input, 1.0)
    return _ones("bernoulli", input, input, generator)


@no_grad()
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Places drawn by the weights in each row, int64, (num_samples,) or (rows, num_samples). Like `torch.multinomial`.

    Args:
        input: Weights from 0 on, one row or several, which need not add up to 1.
        num_samples: How many are drawn for each row.
        replacement: Whether a place may be drawn again.
        generator: Where the random numbers come from, if not from those of `manual_seed`.

    Raises ShapeError for other shapes, or for more samples than places without replacement, DtypeError unless the
    weights are floating point, and ValueError, on the CPU, for weights below 0 or rows with too few above it.
    """
    if check_tensor("multinomial", input).dtype.kind != "f" or input.ndim not in (1, 2):
        kind = ShapeError if input.dtype.kind == "f" else DtypeError
        raise kind(f"multinomial: expected one or two axes of floating-point weights, got {input.dtype} {input.shape}")
    count, places = whole(num_samples, "multinomial: num_samples", minimum=1), input.shape[-1]
    if not places or (not replacement and count > places):
        raise ShapeError(f"multinomial: {count} samples of {places} places without replacement")
    _check_weights("multinomial", input, None, 1 if replacement else count)
    weights = input.to(np.float64)
    options: dict[str, Any] = {"generator": generator, "dtype": np.float64, "device": input.device}
    if not replacement:  # the largest of weight / exponential noise (Efraimidis & Spirakis, 2006, in logarithms)
        noise = -(1 - rand(input.shape, **options)).log()
        return topk(weights / noise.maximum(1e-300), count).indices
    sums = wrap(computed(lambda x: x.cumsum(axis=-1), weights.array))
    drawn = rand((*input.shape[:-1], count), **options) * sums[..., -1:]
    return searchsorted(sums, drawn, right=True).clamp(max=places - 1)


# --- methods that write into their tensor ---------------------------------------------------------------------------


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of this mean and standard deviation. Returns the tensor.

    Raises DtypeError unless it is floating point, OptionError for numbers that are not finite or a deviation below 0,
    and GraphError on a leaf that requires grad while recording.
    """
    mean, std = finite("normal_: mean", mean), non_negative("normal_: std", std)
    return assign(input, "normal_", randn(**_like(input, generator)) * std + mean)


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform on [from_, to), in torch `from` and `to`. Returns the tensor.

    Raises DtypeError unless it is floating point, OptionError for numbers that are not finite, or in the wrong order,
    and GraphError on a leaf that requires grad while recording.
    """
    low = finite("uniform_: from_", from_)
    width = non_negative("uniform_: to - from_", finite("uniform_: to", to) - low)
    return assign(input, "uniform_", rand(**_like(input, generator)) * width + low)


def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of the density lambd e^(-lambd x), whose mean is 1 / lambd. Returns the tensor.

    Raises DtypeError unless it is floating point, OptionError unless lambd > 0, and GraphError on a leaf that requires
    grad while recording.
    """
    rate = positive("exponential_: lambd", lambd)
    return assign(input, "exponential_", -(1 - rand(**_like(input, generator))).log() / rate)


def bernoulli_(input: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 at the probability `p`, a number or a tensor that broadcasts, and 0 elsewhere. Returns the tensor.

    Raises OptionError unless it is from 0 to 1, and GraphError on a leaf that requires grad while recording.
    """
    chance = p if isinstance(p, Tensor) else fraction("bernoulli_: p", p)
    if isinstance(chance, Tensor):
        _check_weights("bernoulli_", chance, 1.0)
    return assign(input, "bernoulli_", _ones("bernoulli_", input, chance, generator))


def random_(input: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers uniform on [from_, to): `random_(10)` from 0 on; without a bound all that the dtype can hold.

    In torch they are `from` and `to`. Raises OptionError where there is no integer to draw, and GraphError on a leaf
    that requires grad while recording. Returns the tensor.
    """
    low, high = (0, from_) if to is None and from_ else (from_, to)
    if high is None:
        kind, dtype = input.dtype.kind, input.dtype
        most = 2 ** (np.finfo(dtype).nmant + 1) if kind == "f" else 1 if kind == "b" else int(np.iinfo(dtype).max)
        high = min(most + 1, 2**63 - 1)
    drawn = randint(integer("random_: from_", low), high, input.shape, generator=generator, device=input.device)
    return assign(input, "random_", drawn.to(input.dtype))


# --- what they share ------------------------------------------------------------------------------------------------


def _like(input: Tensor, generator: Generator | None) -> dict[str, Any]:
    """What makes random numbers of the shape, dtype and device of a tensor."""
    return {"size": input.shape, "dtype": input.dtype, "device": input.device, "generator": generator}


@no_grad()
def _ones(name: str, input: Tensor, chance: Tensor | float, generator: Generator | None) -> Tensor:
    """1 at this probability, in the shape and dtype of a tensor; drawn in double precision, in which p = 1 is sure."""
    drawn = rand(input.shape, generator=generator, dtype=np.float64, device=input.device)
    return (drawn < chance).to(input.dtype)


def _check_weights(name: str, t: Tensor, largest: float | None, least: int = 0) -> None:
    """ValueError, on the CPU, for probabilities out of range, or rows with fewer than `least` weights above 0."""
    array = t.array
    if not backend_of(array).on_host or captured_step.get() is not None or not array.size:
        return
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= (largest or np.finfo(np.float64).max):
        raise ValueError(f"{name}: expected numbers from 0 to {largest or 'any'}, got some from {low} to {high}")
    if least and ((array > 0).sum(axis=-1) < least).any():
        raise ValueError(f"{name}: a row has fewer than {least} weights above 0")
