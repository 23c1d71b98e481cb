"""Adam, and AdamW, which keeps weight decay out of the moments."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar, Unpack

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import flag, non_negative, two_decays
from tinyconv.optim.optimizer import Implementation, Optimizer, Parameters


def adam(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
) -> None:
    """Step t = 1, 2, ... in place, with g the gradient (negated to maximise) and λ the weight decay:

        g <- g + λ θ
        m <- β1 m + (1 - β1) g              v <- β2 v + (1 - β2) g²
        θ <- θ - lr (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps)

    The divisions by 1 - β^t undo the pull towards the zeros that m and v start from; eps is added outside the root.
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1. AMSGrad replaces v by the
    largest v so far: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018.
    """
    beta1, beta2 = betas
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param

    state["step"] += 1
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean *= beta1
    mean += (1 - beta1) * grad
    square *= beta2
    square += (1 - beta2) * grad * grad
    if amsgrad:
        square = xp.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])

    # The corrections are Python numbers, so they cost no further pass over the arrays.
    correction1, correction2 = (1 - beta ** state["step"] for beta in betas)
    root = xp.sqrt(square) / sqrt(correction2) + eps
    param -= lr / correction1 * mean / root


def adamw(
    xp: Any, param: Array, grad: Array, state: dict[str, Any], *, lr: float, weight_decay: float, **options: Any
) -> None:
    """θ <- θ - lr λ θ, then a step of Adam without weight decay.

    In Adam the decay is divided by sqrt(v) like the rest of the gradient, so weights with large gradients decay less;
    here all decay at the same rate. Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """
    param *= 1 - lr * weight_decay
    adam(xp, param, grad, state, lr=lr, weight_decay=0.0, **options)


class Adam(Optimizer):
    """Adam: a running mean of the gradient g, divided by the root of a running mean of g². The formula is at `adam`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0: about how far a weight moves in a step, whatever the scale of its gradient.
        betas: How much of the running means of g and g² is kept at each step, each in [0, 1).
        eps: Added to the root, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        amsgrad: Divide by the largest mean of g² so far.
        maximize: Climb instead of descend.
        decoupled_weight_decay: Shrink the weights instead, as AdamW does, in all groups.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.Adam`; Kingma and Ba, ICLR 2015. State: `step` (int), `exp_avg`, `exp_avg_sq`, and with amsgrad
    `max_exp_avg_sq`.

        optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
    """

    rule = staticmethod(adam)
    elementwise = True
    kernel = "adam"
    checks: ClassVar = {
        "lr": non_negative,
        "betas": two_decays,
        "eps": non_negative,
        "weight_decay": non_negative,
        "amsgrad": flag,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        if flag("Adam: decoupled_weight_decay", decoupled_weight_decay):
            vars(self).update(rule=adamw, kernel="adamw", implied=AdamW.implied)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
            **how,
        )

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * options["amsgrad"]
        return {"step": 0} | {name: xp.zeros_like(param) for name in names}


class AdamW(Adam):
    """Adam with weight decay that shrinks the weights and stays out of the moments. The formula is at `adamw`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        betas: How much of the running means of g and g² is kept at each step, each in [0, 1).
        eps: Added to the root, >= 0.
        weight_decay: Each step first multiplies the weights by 1 - lr * weight_decay, >= 0.
        amsgrad: Divide by the largest mean of g² so far.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.AdamW`; Loshchilov and Hutter, ICLR 2019. State: Adam's.

        optimizer = tc.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    """

    rule = staticmethod(adamw)
    elementwise = True
    kernel = "adamw"
    implied: ClassVar = {"decoupled_weight_decay": True}

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **how)
