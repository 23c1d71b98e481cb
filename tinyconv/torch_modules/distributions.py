"""`tinyconv.distributions`: the random distributions that nets are trained with, named as in `torch.distributions`.

    from tinyconv.distributions import Normal, kl_divergence

    code = Normal(mean, log_scale.exp())
    z = code.rsample()  # gradients flow to mean and log_scale
    loss = kl_divergence(code, Normal(0.0, 1.0)).sum()

Numbers are drawn from those of `manual_seed`. Parameters broadcast; numbers count as float32. Unless
`validate_args=False`, parameters and values out of range raise OptionError, where they can be looked at: on the CPU,
and not in a captured step.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, captured_step
from tinyconv.engine.context import no_grad
from tinyconv.errors import OptionError, suggest_names
from tinyconv.functional import binary_cross_entropy_with_logits, one_hot, softplus
from tinyconv.shapes import Shape
from tinyconv.tensor.arranging import broadcast_tensors
from tinyconv.tensor.creation import rand, randn, tensor
from tinyconv.tensor.filling import bernoulli, multinomial
from tinyconv.tensor.joins import where
from tinyconv.tensor.tensor import Tensor

__all__ = ["Bernoulli", "Categorical", "Distribution", "Normal", "OneHotCategorical", "Uniform", "kl_divergence"]


class Distribution:
    """The base: `sample`, `log_prob` and `entropy` of a batch of independent distributions of one kind.

    Attributes:
        batch_shape: The shape of the parameters; `sample` gives this shape, and `log_prob` too.
        event_shape: The shape of one event: () but for rows.
        has_rsample: Whether gradients flow through what `rsample` draws.
    """

    event_shape: Shape = ()
    has_rsample = False
    mean: Any
    variance: Any

    def __init__(self, batch_shape: Shape, validate_args: bool | None) -> None:
        self.batch_shape = batch_shape
        self._checked = validate_args is not False

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        deviation: Tensor = self.variance.sqrt()
        return deviation

    @no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """What is drawn, of shape `sample_shape + batch_shape + event_shape`; no gradient flows through it."""
        return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Numbers of shape `sample_shape + batch_shape`, through which gradients flow to the parameters.

        NotImplementedError where there is no such way, as for whole numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rsample; sample() draws, without gradients")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of a value, or of its density. OptionError for one that cannot be drawn."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The mean of -log_prob, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """e to the entropy."""
        return self.entropy().exp()

    def _shape(self, sample_shape: Any) -> Shape:
        return (*sample_shape, *self.batch_shape)

    def _require(self, what: str, t: Tensor, right: Callable[[Array], Array], needed: str) -> None:
        """OptionError where `right` is false of an element."""
        array = t.array
        if not self._checked or not backend_of(array).on_host or captured_step.get() is not None:
            return
        fine = right(array)
        if not fine.all():
            worst = np.broadcast_to(array, fine.shape)[~fine][0]
            raise OptionError(f"{type(self).__name__}: {what} must be {needed}, got {worst}")


def _tensors(*given: Any) -> tuple[Tensor, ...]:
    """The parameters as tensors of one shape; numbers take the dtype and the device of the tensors among them."""
    like = next((t for t in given if isinstance(t, Tensor)), None)
    options: dict[str, Any] = {} if like is None else {"dtype": like.dtype, "device": like.device}
    return tuple(broadcast_tensors(*(t if isinstance(t, Tensor) else tensor(float(t), **options) for t in given)))


class Normal(Distribution):
    """The density exp(-(x - loc)^2 / 2 scale^2) / (scale sqrt(2 pi)). Like `torch.distributions.Normal`.

    Args:
        loc: The mean.
        scale: The standard deviation; OptionError unless it is above 0.
        validate_args: Whether parameters and values are checked.
    """

    has_rsample = True

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.scale = _tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args)
        self._require("loc", self.loc, lambda x: x == x, "a number")
        self._require("scale", self.scale, lambda x: x > 0, "above 0")
        self.mean = self.mode = self.loc

    @property
    def variance(self) -> Tensor:
        """scale^2."""
        return self.scale**2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn(self._shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + noise * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        (value,) = _tensors(value)
        self._require("a value", value, lambda x: x == x, "a number")
        return -((value - self.loc) ** 2) / (2 * self.variance) - self.scale.log() - 0.5 * log(2 * pi)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        return 0.5 * (1 + ((value - self.loc) / self.scale * 0.5**0.5).erf())

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * log(2 * pi) + self.scale.log()


class Uniform(Distribution):
    """The density 1 / (high - low) on [low, high). Like `torch.distributions.Uniform`.

    Args:
        low, high: The bounds; OptionError unless low < high.
        validate_args: Whether parameters and values are checked.
    """

    has_rsample = True

    def __init__(self, low: Tensor | float, high: Tensor | float, validate_args: bool | None = None) -> None:
        self.low, self.high = _tensors(low, high)
        super().__init__(self.low.shape, validate_args)
        self._require("high - low", self.high - self.low, lambda x: x > 0, "above 0")

    @property
    def mean(self) -> Tensor:
        """(low + high) / 2."""
        return (self.high + self.low) / 2

    @property
    def variance(self) -> Tensor:
        """(high - low)^2 / 12."""
        return (self.high - self.low) ** 2 / 12

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        drawn = rand(self._shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        (value,) = _tensors(value)
        low, high = self.low.array, self.high.array
        self._require("a value", value, lambda x: (low <= x) & (x <= high), "from low to high")
        return ((self.low <= value) & (value < self.high)).to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class _OfProbabilities(Distribution):
    """One that takes `probs` or `logits`, and has both."""

    probs: Tensor
    logits: Tensor

    def _given(self, probs: Any, logits: Any) -> tuple[Tensor, bool]:
        """The parameter, and whether it is probabilities. OptionError unless one of the two is given."""
        if (probs is None) == (logits is None):
            raise OptionError(f"{type(self).__name__}: takes probs or logits, one of the two")
        (found,) = _tensors(logits if probs is None else probs)
        return found, probs is not None

    @staticmethod
    def _inside(probs: Tensor) -> Tensor:
        """Probabilities whose logarithms are finite."""
        eps = float(np.finfo(probs.dtype).eps)
        return probs.clamp(eps, 1 - eps)


class Bernoulli(_OfProbabilities):
    """1 with the probability `probs`, else 0. Like `torch.distributions.Bernoulli`.

    Args:
        probs: The probabilities; OptionError unless they are from 0 to 1.
        logits: log(probs / (1 - probs)), in place of them.
        validate_args: Whether parameters and values are checked.
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        found, are_probs = self._given(probs, logits)
        super().__init__(found.shape, validate_args)
        if are_probs:
            self._require("probs", found, lambda x: (x >= 0) & (x <= 1), "from 0 to 1")
            inside = self._inside(found)
            self.probs, self.logits = found, inside.log() - (-inside).log1p()
        else:
            self._require("logits", found, lambda x: x == x, "numbers")
            self.probs, self.logits = found.sigmoid(), found
        self.mean = self.probs

    @property
    def variance(self) -> Tensor:
        """probs (1 - probs)."""
        return self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return bernoulli(self.probs.broadcast_to(self._shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._require("a value", value, lambda x: (x == 0) | (x == 1), "0 or 1")
        logits, value = broadcast_tensors(self.logits, value.to(self.logits.dtype))
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.logits * self.probs


class Categorical(_OfProbabilities):
    """A place 0 to K - 1, int64, by the probabilities along the last axis. Like `torch.distributions.Categorical`.

        action = Categorical(logits=policy(state)).sample()

    Args:
        probs: Weights (..., K), divided by their sum. OptionError unless they are from 0 on.
        logits: Logarithms of weights, in place of them.
        validate_args: Whether parameters and values are checked.
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        found, are_probs = self._given(probs, logits)
        if not found.ndim:
            raise OptionError("Categorical: takes at least one axis, that of the places")
        super().__init__(found.shape[:-1], validate_args)
        if are_probs:
            self._require("probs", found, lambda x: (x >= 0) & (x.sum(-1, keepdims=True) > 0), "weights from 0 on")
            self.probs = found / found.sum(-1, keepdim=True)
            self.logits = self._inside(self.probs).log()
        else:
            self._require("logits", found, lambda x: x == x, "numbers")
            self.logits = found - found.logsumexp(-1, keepdim=True)
            self.probs = self.logits.softmax(-1)

    @property
    def mode(self) -> Tensor:
        """The likeliest place."""
        return self.probs.argmax(-1)

    @no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._shape(sample_shape)
        count = int(np.prod(tuple(sample_shape), dtype=np.int64))
        if 0 in shape:
            return self.probs.argmax(-1).broadcast_to(shape)
        rows = self.probs.reshape(-1, self.probs.shape[-1])
        return multinomial(rows, count, replacement=True).t().reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        places = self.logits.shape[-1]
        self._require("a value", value, lambda x: (x >= 0) & (x < places) & (x == x // 1), f"0 to {places - 1}")
        index, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        least = float(np.finfo(self.logits.dtype).min)
        return -(self.logits.clamp(min=least) * self.probs).sum(-1)


class OneHotCategorical(Categorical):
    """A row of K zeros with a one, at the place that `Categorical` draws. Like `torch.distributions.OneHotCategorical`.

    Args:
        probs, logits, validate_args: As `Categorical` takes them.
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        self.event_shape = self.probs.shape[-1:]
        self.mean = self.probs

    @property
    def variance(self) -> Tensor:
        """probs (1 - probs)."""
        return self.probs * (1 - self.probs)

    @property
    def mode(self) -> Tensor:
        """The likeliest row."""
        return self._row(super().mode)

    @no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._row(super().sample(sample_shape))

    def _row(self, place: Tensor) -> Tensor:
        return one_hot(place, self.probs.shape[-1]).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._require(
            "a value", value, lambda x: ((x == 0) | (x == 1)) & (x.sum(-1, keepdims=True) == 1), "one-hot rows"
        )
        return super().log_prob(value.argmax(-1))


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean of log p(x) - log q(x) for x drawn from p, in nats. Like `torch.distributions.kl_divergence`.

    NotImplementedError unless both are of one kind, which is here.
    """
    if isinstance(p, Normal) and isinstance(q, Normal):
        ratio = (p.scale / q.scale) ** 2
        return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())
    if isinstance(p, Uniform) and isinstance(q, Uniform):
        found = ((q.high - q.low) / (p.high - p.low)).log()
        return where((q.low > p.low) | (q.high < p.high), np.inf, found)
    if isinstance(p, Bernoulli) and isinstance(q, Bernoulli):
        ones = p.probs * (softplus(-q.logits) - softplus(-p.logits))
        zeros = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
        return _limits(ones, p.probs, q.probs) + _limits(zeros, 1 - p.probs, 1 - q.probs)
    if isinstance(p, Categorical) and isinstance(q, Categorical):
        return _limits(p.probs * (p.logits - q.logits), p.probs, q.probs).sum(-1)
    raise NotImplementedError(
        f"kl_divergence of {type(p).__name__} and {type(q).__name__} is not here: both must be Normal, Uniform, "
        "Bernoulli or Categorical; the mean of p.log_prob(x) - q.log_prob(x) over x = p.sample((1000,)) is near it"
    )


def _limits(term: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """p log(p / q) where p or q is 0: nothing, and infinity."""
    return where(p == 0, 0.0, where(q == 0, np.inf, term))


__path__: list[str] = []  # a package: `distributions.normal` is this module, see `tinyconv.torch_names`
suggest_names(globals())
