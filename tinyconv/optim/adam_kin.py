"""Three relatives of Adam: Adamax with a maximum, NAdam with Nesterov's momentum, RAdam with a careful beginning."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar, Unpack

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import flag, non_negative, two_decays
from tinyconv.optim.optimizer import Implementation, Optimizer, Parameters


def adamax(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """Step t = 1, 2, ... in place, with g the gradient (negated to maximise) and λ the weight decay:

        g <- g + λ θ
        m <- β1 m + (1 - β1) g              u <- max(β2 u, |g| + eps)
        θ <- θ - lr / (1 - β1^t) m / u

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 2.
    """
    beta1, beta2 = betas
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param

    state["step"] += 1
    mean, largest = state["exp_avg"], state["exp_inf"]
    mean *= beta1
    mean += (1 - beta1) * grad
    largest *= beta2
    xp.maximum(largest, xp.abs(grad) + eps, out=largest)
    param -= lr / (1 - beta1 ** state["step"]) * mean / largest


def nadam(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    decoupled_weight_decay: bool,
    maximize: bool,
) -> None:
    """Step t = 1, 2, ... in place, with g the gradient (negated to maximise), λ the weight decay and ψ its own decay:

        μ_t = β1 (1 - 0.96^(t ψ) / 2)       p <- p μ_t
        m <- β1 m + (1 - β1) g              v <- β2 v + (1 - β2) g²
        n = (1 - μ_t) / (1 - p) g + μ_(t+1) / (1 - p μ_(t+1)) m
        θ <- θ - lr n / (sqrt(v / (1 - β2^t)) + eps)

    after g <- g + λ θ, or, decoupled, θ <- θ - lr λ θ. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016
    workshop.
    """
    beta1, beta2 = betas
    grad = _decayed(param, -grad if maximize else grad, lr, weight_decay, decoupled_weight_decay)
    state["step"] += 1
    step, mean, square = state["step"], *_moments(grad, state, betas)
    now, later = (beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)) for t in (step, step + 1))
    state["mu_product"] *= now
    past = state["mu_product"]
    root = xp.sqrt(square / (1 - beta2**step)) + eps
    param -= lr * (1 - now) / (1 - past) * grad / root
    param -= lr * later / (1 - past * later) * mean / root


def radam(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled_weight_decay: bool,
    maximize: bool,
) -> None:
    """Step t = 1, 2, ... in place, with g the gradient (negated to maximise) and λ the weight decay:

        m <- β1 m + (1 - β1) g              v <- β2 v + (1 - β2) g²
        ρ = ρ∞ - 2 t β2^t / (1 - β2^t)      ρ∞ = 2 / (1 - β2) - 1
        r = sqrt((ρ - 4) (ρ - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρ))
        θ <- θ - lr m / (1 - β1^t) r sqrt(1 - β2^t) / (sqrt(v) + eps)        where ρ > 5, else
        θ <- θ - lr m / (1 - β1^t)

    after g <- g + λ θ, or, decoupled, θ <- θ - lr λ θ. Liu et al., "On the variance of the adaptive learning rate and
    beyond", ICLR 2020, algorithm 2.
    """
    beta1, beta2 = betas
    grad = _decayed(param, -grad if maximize else grad, lr, weight_decay, decoupled_weight_decay)
    state["step"] += 1
    step, mean, square = state["step"], *_moments(grad, state, betas)
    correction2 = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction2
    rate = lr / (1 - beta1**step)
    if length > 5:
        rate *= sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * correction2)
        param -= rate * mean / (xp.sqrt(square) + eps)
    else:
        param -= rate * mean


def _decayed(param: Array, grad: Array, lr: float, weight_decay: float, decoupled: bool) -> Array:
    """The gradient with the weight decay in it; decoupled, the weights shrink now."""
    if weight_decay and not decoupled:
        return grad + weight_decay * param
    if weight_decay:
        param *= 1 - lr * weight_decay
    return grad


def _moments(grad: Array, state: dict[str, Any], betas: tuple[float, float]) -> tuple[Array, Array]:
    """The running means of the gradient and of its square, moved on."""
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean *= betas[0]
    mean += (1 - betas[0]) * grad
    square *= betas[1]
    square += (1 - betas[1]) * grad * grad
    return mean, square


class Adamax(Optimizer):
    """Adamax: Adam with a decaying maximum of |g| in place of the root of a mean of g². The formula is at `adamax`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        betas: How much of the running mean of g and of the maximum is kept at each step, each in [0, 1).
        eps: Added to |g|, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.Adamax`; Kingma and Ba, ICLR 2015. State: `step` (int), `exp_avg`, `exp_inf`.

        optimizer = tc.optim.Adamax(model.parameters())
    """

    rule = staticmethod(adamax)
    elementwise = True
    checks: ClassVar = {
        "lr": non_negative,
        "betas": two_decays,
        "eps": non_negative,
        "weight_decay": non_negative,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **how)

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": xp.zeros_like(param), "exp_inf": xp.zeros_like(param)}


class NAdam(Optimizer):
    """NAdam: Adam that looks one step of its momentum ahead. The formula is at `nadam`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        betas: How much of the running means of g and g² is kept at each step, each in [0, 1).
        eps: Added to the root, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        momentum_decay: How fast the momentum nears beta1, >= 0.
        decoupled_weight_decay: Shrink the weights instead, as in AdamW.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.NAdam`; Dozat, 2016. State: `step` (int), `mu_product` (float), `exp_avg`, `exp_avg_sq`.

        optimizer = tc.optim.NAdam(model.parameters())
    """

    rule = staticmethod(nadam)
    elementwise = True
    checks: ClassVar = {
        "lr": non_negative,
        "betas": two_decays,
        "eps": non_negative,
        "weight_decay": non_negative,
        "momentum_decay": non_negative,
        "decoupled_weight_decay": flag,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, **how)

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        zeros = {"exp_avg": xp.zeros_like(param), "exp_avg_sq": xp.zeros_like(param)}
        return {"step": 0, "mu_product": 1.0, **zeros}


class RAdam(Optimizer):
    """RAdam: Adam that divides by nothing until enough gradients were seen. The formula is at `radam`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        betas: How much of the running means of g and g² is kept at each step, each in [0, 1).
        eps: Added to the root, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        decoupled_weight_decay: Shrink the weights instead, as in AdamW.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.RAdam`; Liu et al., ICLR 2020. State: `step` (int), `exp_avg`, `exp_avg_sq`.

        optimizer = tc.optim.RAdam(model.parameters())
    """

    rule = staticmethod(radam)
    elementwise = True
    checks: ClassVar = {
        "lr": non_negative,
        "betas": two_decays,
        "eps": non_negative,
        "weight_decay": non_negative,
        "decoupled_weight_decay": flag,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults, **how)

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"step": 0, "exp_avg": xp.zeros_like(param), "exp_avg_sq": xp.zeros_like(param)}
