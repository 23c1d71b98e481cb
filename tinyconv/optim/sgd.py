"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from tinyconv.arrays.backend import Array
from tinyconv.engine.options import flag, non_negative
from tinyconv.errors import OptionError
from tinyconv.optim.optimizer import Implementation, Optimizer, Parameters


def sgd(
    xp: Any,
    param: Array,
    grad: Array,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """One step, in place, with g the gradient (negated to maximise), λ the weight decay and μ the momentum:

        g <- g + λ θ
        b <- μ b + (1 - dampening) g        (b = g the first time)
        θ <- θ - lr b                       (Nesterov: θ - lr (g + μ b))

    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, except that the
    rate scales the whole step and not what enters b, so a change of rate acts at once.
    """
    if maximize:
        grad = -grad
    if weight_decay:
        grad = grad + weight_decay * param
    if momentum:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = buffer = xp.array(grad)
        else:
            buffer = state["momentum_buffer"]
            buffer *= momentum
            buffer += (1 - dampening) * grad
        grad = grad + momentum * buffer if nesterov else buffer
    param -= lr * grad


class SGD(Optimizer):
    """Stochastic gradient descent, with or without momentum. The formula is at `sgd`.

    Args:
        params: Tensors, or groups of them (see `Optimizer`).
        lr: Learning rate, >= 0.
        momentum: The share of the last step that is kept, >= 0. With 0 there is no buffer.
        dampening: The share of each gradient that does not enter the buffer, >= 0.
        weight_decay: L2 penalty, added to the gradient, >= 0.
        nesterov: Look one step of momentum ahead; needs momentum > 0 and dampening = 0.
        maximize: Climb instead of descend.
        how: `foreach` and the like: see `Optimizer`.

    Raises OptionError where an option is out of range, and for `params` what `Optimizer` raises. Like
    `torch.optim.SGD`; Sutskever et al., ICML 2013. State: `momentum_buffer`, if there is momentum.

        optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    """

    rule = staticmethod(sgd)
    elementwise = True
    kernel = "sgd"
    checks: ClassVar = {
        "lr": non_negative,
        "momentum": non_negative,
        "dampening": non_negative,
        "weight_decay": non_negative,
        "nesterov": flag,
        "maximize": flag,
    }

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **how: Unpack[Implementation],
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
            **how,
        )

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        checked = super().check(options)
        if checked["nesterov"] and not (checked["momentum"] > 0 and checked["dampening"] == 0):
            raise OptionError(
                "SGD: nesterov=True needs momentum > 0 and dampening = 0, "
                f"got momentum={checked['momentum']}, dampening={checked['dampening']}; try momentum=0.9"
            )
        return checked
