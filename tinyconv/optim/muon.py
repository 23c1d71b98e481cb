"""Muon: momentum whose every step is, nearly, a rotation: of a matrix of gradients only its directions count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, ClassVar, Literal

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import finite, flag, fraction, integer, non_negative
from tinyconv.errors import OptionError, shortened
from tinyconv.optim.optimizer import Optimizer, Parameters


def muon(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: tuple[float, float, float],
    eps: float,
    ns_steps: int,
    adjust_lr_fn: str | None,
) -> None:
    """One step, in place, with g the gradient, λ the weight decay, μ the momentum and (R, C) the shape as a matrix:

        b <- μ b + (1 - μ) g                u = μ b + (1 - μ) g        (Nesterov; else u = b)
        θ <- θ - lr λ θ
        θ <- θ - lr a orthogonalized(u)     a = sqrt(max(1, R / C)), or 0.2 sqrt(max(R, C)) to match AdamW

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the second a is of Liu et al., "Muon
    is scalable for LLM training", 2025.
    """
    buffer = state["momentum_buffer"]
    buffer *= momentum
    buffer += (1 - momentum) * grad
    update = momentum * buffer + (1 - momentum) * grad if nesterov else buffer
    matrix = update.reshape(len(update), -1)
    rows, columns = matrix.shape
    longer = 0.2 * sqrt(max(rows, columns)) if adjust_lr_fn == "match_rms_adamw" else sqrt(max(1, rows / columns))
    param *= 1 - lr * weight_decay
    param -= lr * longer * orthogonalized(xp, matrix, ns_coefficients, ns_steps, eps).reshape(param.shape)


def orthogonalized(xp: Any, matrix: Array, coefficients: tuple[float, float, float], steps: int, eps: float) -> Array:
    """U V^T of a matrix U S V^T, nearly: its singular values become about 1, and its directions stay.

    An odd polynomial of a matrix is that polynomial of its singular values. Here it is x <- a x + b x³ + c x⁵, again
    and again, which drives them from (0, 1] into about [0.7, 1.2].
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # the smaller Gram matrix of the two
    x = x / xp.maximum(xp.sqrt((x * x).sum()), eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


def _three(what: str, value: Any) -> tuple[float, float, float]:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise OptionError(f"{what}: expected three numbers such as (3.4445, -4.775, 2.0315), got {shortened(value)}")
    a, b, c = (finite(f"{what}[{i}]", x) for i, x in enumerate(value))
    return a, b, c


def _steps(what: str, value: Any) -> int:
    found = integer(what, value, 0)
    if found >= 100:
        raise OptionError(f"{what}: expected fewer than 100, got {found}; 5 are enough")
    return found


def _adjust(what: str, value: Any) -> Any:
    if value not in (None, "original", "match_rms_adamw"):
        raise OptionError(f"{what}: expected 'original' or 'match_rms_adamw', got {shortened(value)}")
    return value


class Muon(Optimizer):
    """Muon: momentum, of which each step is made orthogonal, for weights that are matrices. The formula is at `muon`.

    Filters (F, C, KH, KW) are taken as matrices (F, C*KH*KW). Biases and what belongs to norms are no matrices: give
    them, and by custom the first and the last layer, to another optimiser.

    Args:
        params: Tensors with at least two axes, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        weight_decay: Each step first multiplies the weights by 1 - lr * weight_decay, >= 0.
        momentum: The share of the running mean of gradients that is kept, in [0, 1].
        nesterov: Look one step of momentum ahead.
        ns_coefficients: a, b and c of the polynomial.
        eps: The least norm that a matrix is divided by, >= 0.
        ns_steps: How often the polynomial is taken, an integer from 0 to 99.
        adjust_lr_fn: "original", or None, makes steps longer for tall matrices; "match_rms_adamw" makes them as long as
            those of AdamW, so that its rates can be used.

    Raises OptionError where an option is out of range or a parameter is no matrix, and for `params` what `Optimizer`
    raises. Like `torch.optim.Muon`, which takes tensors with two axes alone, and computes the polynomial in bfloat16
    where this keeps the dtype of the parameter. Jordan et al., 2024. State: `momentum_buffer`.

        optimizer = tc.optim.Muon([p for p in model.parameters() if p.ndim >= 2], lr=0.02)
    """

    rule = staticmethod(muon)
    checks: ClassVar = {
        "lr": non_negative,
        "weight_decay": non_negative,
        "momentum": fraction,
        "nesterov": flag,
        "ns_coefficients": _three,
        "eps": non_negative,
        "ns_steps": _steps,
        "adjust_lr_fn": _adjust,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def check_parameter(self, what: str, param: Any) -> None:
        if param.ndim < 2:
            raise OptionError(
                f"Muon: {what} has shape {param.shape} and is no matrix; give biases, norms and the like to another "
                "optimiser, such as AdamW"
            )

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": xp.zeros_like(param)}
