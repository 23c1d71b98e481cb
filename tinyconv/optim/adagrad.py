"""Adagrad, and Adadelta, which forgets: each weight's steps get shorter by the gradients that it has had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import decay, flag, non_negative
from tinyconv.optim.optimizer import Implementation, Optimizer, Parameters


def adagrad(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    lr_decay: float,
    weight_decay: float,
    initial_accumulator_value: float,
    eps: float,
    maximize: bool,
) -> None:
    """Step t = 1, 2, ... in place, with g the gradient (negated to maximise), λ the weight decay and η the lr decay:

        g <- g + λ θ
        s <- s + g²                         (s begins as initial_accumulator_value)
        θ <- θ - lr / (1 + (t - 1) η) g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param

    state["step"] += 1
    total = state["sum"]
    total += grad * grad
    param -= lr / (1 + (state["step"] - 1) * lr_decay) * grad / (xp.sqrt(total) + eps)


def adadelta(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """One step, in place, with g the gradient (negated to maximise), λ the weight decay and d the step:

        g <- g + λ θ
        v <- ρ v + (1 - ρ) g²
        d <- g sqrt(u + eps) / sqrt(v + eps)
        u <- ρ u + (1 - ρ) d²
        θ <- θ - lr d

    Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param

    state["step"] += 1
    square, moved = state["square_avg"], state["acc_delta"]
    square *= rho
    square += (1 - rho) * grad * grad
    delta = xp.sqrt(moved + eps) / xp.sqrt(square + eps) * grad
    moved *= rho
    moved += (1 - rho) * delta * delta
    param -= lr * delta


class Adagrad(Optimizer):
    """Adagrad: each weight's gradient g divided by the root of the sum of all its g². The formula is at `adagrad`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        lr_decay: Step t has the rate lr / (1 + (t - 1) lr_decay), >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        initial_accumulator_value: What the sum of g² begins with, >= 0.
        eps: Added to the root, >= 0.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.Adagrad`; Duchi, Hazan and Singer, JMLR 2011. State: `step` (int), `sum`.

        optimizer = tc.optim.Adagrad(model.parameters(), lr=0.05)
    """

    rule = staticmethod(adagrad)
    elementwise = True
    checks: ClassVar = {
        "lr": non_negative,
        "lr_decay": non_negative,
        "weight_decay": non_negative,
        "initial_accumulator_value": non_negative,
        "eps": non_negative,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults, **how)

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"step": 0, "sum": xp.full_like(param, options["initial_accumulator_value"])}


class Adadelta(Optimizer):
    """Adadelta: Adagrad with running means, and steps measured by the steps before. The formula is at `adadelta`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: What a step is multiplied by, >= 0.
        rho: How much of the running means of g² and d² is kept at each step, in [0, 1).
        eps: Added below both roots, >= 0: it gets the first steps going.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.Adadelta`; Zeiler, 2012. State: `step` (int), `square_avg`, `acc_delta`.

        optimizer = tc.optim.Adadelta(model.parameters())
    """

    rule = staticmethod(adadelta)
    elementwise = True
    checks: ClassVar = {
        "lr": non_negative,
        "rho": decay,
        "eps": non_negative,
        "weight_decay": non_negative,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **how)

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"step": 0, "square_avg": xp.zeros_like(param), "acc_delta": xp.zeros_like(param)}
