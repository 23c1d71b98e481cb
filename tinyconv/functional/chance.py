"""Activations that draw random numbers: leaky ReLU of random slopes, and softmax of noisy scores."""

from __future__ import annotations

import numpy as np

from tinyconv import ops
from tinyconv.engine.options import finite, flag, positive
from tinyconv.errors import DtypeError, OptionError
from tinyconv.functional.activation import in_place, leaky_relu, softmax
from tinyconv.functional.arguments import checked_tensor
from tinyconv.tensor.creation import rand, zeros_like
from tinyconv.tensor.inplace import replace
from tinyconv.tensor.picking import scatter
from tinyconv.tensor.signatures import Scalar
from tinyconv.tensor.tensor import Tensor, apply
from tinyconv.user_frame import warn

__all__ = ["gumbel_softmax", "rrelu", "rrelu_"]


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where x > 0, else a x, where a is drawn for each element from `lower` to `upper` (Xu et al., arXiv:1505.00853).

    Outside of training a is (lower + upper) / 2. The random numbers are those of `tinyconv.manual_seed`. Like
    `torch.nn.functional.rrelu`.

        F.rrelu(tc.tensor([-1.0, 2.0]), 0.25, 0.75).tolist()  # [-0.5, 2.0]

    Args:
        input: x, of any shape, floating point.
        lower: The least slope on the left of 0.
        upper: The greatest one.
        training: Whether slopes are drawn.
        inplace: Write the values into `input`, and return that.

    Raises OptionError for slopes that are not finite or in the wrong order, DtypeError for an input of another dtype,
    and GraphError for a write into a leaf that requires grad.
    """
    if checked_tensor("rrelu", "input", input).dtype.kind != "f":
        raise DtypeError(f"rrelu: expected a floating-point input, got {input.dtype}: input.float()?")
    lower, upper = finite("rrelu: lower", lower), finite("rrelu: upper", upper)
    if lower > upper:
        raise OptionError(f"rrelu: lower must not be above upper, got {lower} and {upper}")
    if not flag("rrelu: training", training):
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = rand(input.shape, dtype=_drawn(input), device=input.device) * (upper - lower) + lower
    y = input * apply(ops.Where, input.detach() <= 0, slopes.to(input.dtype), 1.0)
    return replace(input, "rrelu", y) if inplace else y


rrelu_ = in_place(rrelu)


def gumbel_softmax(
    logits: Tensor, tau: Scalar | Tensor = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + g) / tau) with g = -ln(-ln(u)) of uniform u: a class drawn by its probability, made smooth.

    Jang et al., arXiv:1611.01144; Maddison et al., arXiv:1611.00712. The random numbers are those of
    `tinyconv.manual_seed`. Like `torch.nn.functional.gumbel_softmax`.

        F.gumbel_softmax(tc.tensor([0.0, 1e6]), hard=True).tolist()  # [0.0, 1.0]

    Args:
        logits: Scores, of any shape, floating point.
        tau: The temperature, > 0, a number or a 0-d tensor: near 0 the result is nearly one-hot.
        hard: Give the one-hot of the largest, with the gradient of the smooth result.
        eps: Without effect.
        dim: The axis of the classes.

    Raises DtypeError for logits of another dtype, OptionError for another temperature, and what `softmax` does.
    """
    if checked_tensor("gumbel_softmax", "logits", logits).dtype.kind != "f":
        raise DtypeError(f"gumbel_softmax: expected floating-point logits, got {logits.dtype}: logits.float()?")
    if eps != 1e-10:
        warn("gumbel_softmax: eps has no effect")
    if not (isinstance(tau, Tensor) and tau.ndim == 0 and tau.requires_grad):
        tau = positive("gumbel_softmax: tau", tau)
    uniform = rand(logits.shape, dtype=_drawn(logits), device=logits.device).clamp_min(2.0**-25)  # ln(0) is infinite
    soft = softmax((logits + (-(-uniform.log()).log()).to(logits.dtype)) / tau, dim)
    if not flag("gumbel_softmax: hard", hard):
        return soft
    places = soft.detach().argmax(dim, keepdim=True)
    return scatter(zeros_like(soft), dim, places, 1.0) - soft.detach() + soft


def _drawn(input: Tensor) -> np.dtype[np.generic]:
    """The dtype of the random numbers: few are left of uniform ones in float16."""
    return np.dtype(np.float32) if input.dtype == np.float16 else input.dtype
