"""Schedules that a function of the user's gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tinyconv.engine.options import real
from tinyconv.errors import OptionError
from tinyconv.optim.lr_scheduler.schedule import LRScheduler, check_optimizer, one_for_each
from tinyconv.optim.optimizer import Optimizer

__all__ = ["LambdaLR", "MultiplicativeLR"]

Functions: TypeAlias = Callable[[int], float] | Sequence[Callable[[int], float]]


class _Lambda(LRScheduler):
    """The base of both: a function for each group. The functions are no part of the state."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Functions, last_epoch: int = -1) -> None:
        owner = type(self).__name__
        check_optimizer(owner, optimizer)
        self.lr_lambdas = one_for_each(f"{owner}: lr_lambda", lr_lambda, optimizer)
        for function in self.lr_lambdas:
            if not callable(function):
                raise OptionError(f"{owner}: lr_lambda: expected a function of the epoch, got {function!r}")
        super().__init__(optimizer, last_epoch)

    def factors(self) -> list[float]:
        """What the functions give now."""
        what = f"{type(self).__name__}: what lr_lambda gives"
        return [real(what, function(self.last_epoch)) for function in self.lr_lambdas]

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "lr_lambdas"})


class LambdaLR(_Lambda):
    """The rate of the beginning times a function of the epoch: lr(t) = lr(0) * lr_lambda(t).

    Args:
        optimizer: The optimiser whose groups to drive.
        lr_lambda: Takes the number of the epoch, from 0, and returns a number; or a list with one for each group.
        last_epoch: -1 to begin; k to go on after epoch k.

    What other schedules have done to a rate is overwritten, as in PyTorch. The function is no part of the state.
    Raises OptionError where it is none or gives no number, and what `LRScheduler` raises. Like
    `torch.optim.lr_scheduler.LambdaLR`.

        schedule = tc.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.95**epoch)
    """

    def get_lr(self) -> list[float]:
        return [base * factor for base, factor in zip(self.base_lrs, self.factors(), strict=True)]


class MultiplicativeLR(_Lambda):
    """The rate before times a function of the epoch: lr(t) = lr(t - 1) * lr_lambda(t), from t = 1 on.

    Args:
        optimizer: The optimiser whose groups to drive.
        lr_lambda: Takes the number of the epoch, from 1, and returns a number; or a list with one for each group.
        last_epoch: -1 to begin; k to go on after epoch k.

    The function is no part of the state. Raises OptionError where it is none or gives no number, and what `LRScheduler`
    raises. Like `torch.optim.lr_scheduler.MultiplicativeLR`.

        schedule = tc.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.95)
    """

    def get_lr(self) -> list[float]:
        if self._initial:
            return self._rates()
        return [lr * factor for lr, factor in zip(self._rates(), self.factors(), strict=True)]
