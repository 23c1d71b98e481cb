"""RMSprop: each weight's gradient divided by a running root mean square of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import decay, flag, non_negative
from tinyconv.optim.optimizer import Implementation, Optimizer, Parameters


def rmsprop(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> None:
    """One step, in place, with g the gradient (negated to maximise), λ the weight decay and μ the momentum:

        g <- g + λ θ
        v <- α v + (1 - α) g²
        m <- α m + (1 - α) g                (centered; else m = 0)
        b <- μ b + g / (sqrt(v - m²) + eps)
        θ <- θ - lr b

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012. The centered rule is equations
    38 to 41 of Graves, "Generating sequences with recurrent neural networks", 2013, with eps outside the root.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param

    state["step"] += 1
    spread = square = state["square_avg"]
    square *= alpha
    square += (1 - alpha) * grad * grad
    if centered:
        mean = state["grad_avg"]
        mean *= alpha
        mean += (1 - alpha) * grad
        # A variance cannot be negative, but rounding makes this difference so once a gradient has long been constant.
        spread = xp.maximum(square - mean * mean, 0)
    scaled = grad / (xp.sqrt(spread) + eps)
    if momentum:
        if "momentum_buffer" not in state:  # a schedule may raise the momentum from 0
            state["momentum_buffer"] = xp.zeros_like(param)
        buffer = state["momentum_buffer"]
        buffer *= momentum
        buffer += scaled
        scaled = buffer
    param -= lr * scaled


class RMSprop(Optimizer):
    """RMSprop: each weight's gradient g divided by a running root mean square of g. The formula is at `rmsprop`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        alpha: How much of the running mean of g² is kept at each step, in [0, 1).
        eps: Added to the root, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        momentum: The share of the last step that is kept, >= 0. With 0 there is no buffer.
        centered: Divide by an estimate of the standard deviation of g instead of its root mean square.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.RMSprop`; Tieleman and Hinton, 2012. State: `step` (int), `square_avg`, with momentum
    `momentum_buffer`, and centered `grad_avg`.

        optimizer = tc.optim.RMSprop(model.parameters(), lr=1e-3, centered=True)
    """

    rule = staticmethod(rmsprop)
    elementwise = True
    kernel = "rmsprop"
    checks: ClassVar = {
        "lr": non_negative,
        "alpha": decay,
        "eps": non_negative,
        "weight_decay": non_negative,
        "momentum": non_negative,
        "centered": flag,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
            **how,
        )

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        names = ["square_avg"] + ["momentum_buffer"] * (options["momentum"] > 0) + ["grad_avg"] * options["centered"]
        return {"step": 0} | {name: xp.zeros_like(param) for name in names}
