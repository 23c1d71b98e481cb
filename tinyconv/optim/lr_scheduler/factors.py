"""Schedules that multiply the rate of the beginning by a factor f(t), and that can be chained."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from math import cos, pi
from typing import Any

from tinyconv.engine.options import count, fraction, non_negative, positive
from tinyconv.optim.lr_scheduler.schedule import LRScheduler
from tinyconv.optim.optimizer import Optimizer

__all__ = ["ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LinearLR", "MultiStepLR", "PolynomialLR", "StepLR"]


class _Factor(LRScheduler):
    """The base of schedules lr(t) = e + (lr(0) - e) f(t), where e is 0 or the rate of the end.

    Once another schedule, or somebody else, has changed a rate, it goes on from what it finds, as PyTorch does:

        lr <- e + (lr - e) f(t) / f(t - 1)          or lr + (lr(0) - e) f(t) where f(t - 1) = 0

    with f(-1) = 1.
    """

    eta_min = 0.0  # e

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.joined = False  # whether the rates are not its own alone
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        """f at an epoch >= 0."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        e, now = self.eta_min, self.factor(self.last_epoch)
        if not self.joined:
            return [e + (base - e) * now for base in self.base_lrs]
        before = 1.0 if self.last_epoch == 0 else self.factor(self.last_epoch - 1)
        if before == 0:
            return [lr + (base - e) * now for lr, base in zip(self._rates(), self.base_lrs, strict=True)]
        return [e + (lr - e) * (now / before) for lr in self._rates()]

    def _advance(self) -> None:
        self.joined = self.joined or self._rates() != self._last_lr
        super()._advance()

    def _undo(self) -> None:
        super()._undo()
        self.joined = False

    def _go_to(self, epoch: float) -> None:
        self.joined = False
        super()._go_to(epoch)


class StepLR(_Factor):
    """Multiply the rates by `gamma` every `step_size` epochs: lr(t) = lr(0) * gamma^floor(t / step_size).

    Args:
        optimizer: The optimiser whose groups to drive.
        step_size: An integer >= 1.
        gamma: >= 0.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.StepLR`.

        schedule = tc.optim.lr_scheduler.StepLR(optimizer, step_size=30)
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = count("StepLR: step_size", step_size)
        self.gamma = non_negative("StepLR: gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        power: float = self.gamma ** (epoch // self.step_size)
        return power


class MultiStepLR(_Factor):
    """Multiply the rates by `gamma` at each milestone: lr(t) = lr(0) * gamma^(number of milestones <= t).

    Args:
        optimizer: The optimiser whose groups to drive.
        milestones: Epochs >= 1 in any order; one that is given twice counts twice.
        gamma: >= 0.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.MultiStepLR`.

        schedule = tc.optim.lr_scheduler.MultiStepLR(optimizer, [60, 120, 160], gamma=0.2)
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(count("MultiStepLR: each milestone", m) for m in milestones)
        self.gamma = non_negative("MultiStepLR: gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        given = state.get("milestones")
        if not isinstance(given, Mapping):  # which says how often each comes
            return state
        return {**state, "milestones": sorted(Counter(given).elements())}

    def factor(self, epoch: float) -> float:
        return self.gamma ** bisect_right(self.milestones, epoch)


class ConstantLR(_Factor):
    """Multiply the rates by `factor` for the first epochs: lr(t) = lr(0) * factor while t < total_iters, then lr(0).

    Args:
        optimizer: The optimiser whose groups to drive.
        factor: In [0, 1].
        total_iters: An integer >= 1.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.ConstantLR`, which divides by `factor` in the end,
    so that 0 fails there.

        schedule = tc.optim.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=4)
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.share = fraction("ConstantLR: factor", factor)
        self.total_iters = count("ConstantLR: total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return {("share" if name == "factor" else name): value for name, value in state.items()}

    def factor(self, epoch: float) -> float:
        return self.share if epoch < self.total_iters else 1.0


class LinearLR(_Factor):
    """A straight line from lr(0) * start_factor at t = 0 to lr(0) * end_factor at t = total_iters, constant after it.

    Args:
        optimizer: The optimiser whose groups to drive.
        start_factor: In (0, 1].
        end_factor: In [0, 1].
        total_iters: An integer >= 1.
        last_epoch: -1 to begin; k to go on after epoch k.

    Usually a warm-up. Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.LinearLR`.

        schedule = tc.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = positive("LinearLR: start_factor", fraction("LinearLR: start_factor", start_factor))
        self.end_factor = fraction("LinearLR: end_factor", end_factor)
        self.total_iters = count("LinearLR: total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        done = min(epoch / self.total_iters, 1.0)
        return self.start_factor + (self.end_factor - self.start_factor) * done


class ExponentialLR(_Factor):
    """Multiply the rates by `gamma` at each epoch: lr(t) = lr(0) * gamma^t.

    Args:
        optimizer: The optimiser whose groups to drive.
        gamma: >= 0.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.ExponentialLR`.

        schedule = tc.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.97)
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = non_negative("ExponentialLR: gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        return self.gamma**epoch


class PolynomialLR(_Factor):
    """Down to 0 as a power of the epochs that are left: lr(t) = lr(0) * (1 - t / total_iters)^power, 0 after it.

    Args:
        optimizer: The optimiser whose groups to drive.
        total_iters: An integer >= 1.
        power: >= 0; 1 is a straight line.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.PolynomialLR`.

        schedule = tc.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=90, power=2.0)
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = count("PolynomialLR: total_iters", total_iters)
        self.power = non_negative("PolynomialLR: power", power)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        return (1 - min(epoch / self.total_iters, 1.0)) ** self.power


class CosineAnnealingLR(_Factor):
    """Half a cosine from lr(0) down to `eta_min` at t = T_max:

        lr(t) = eta_min + (lr(0) - eta_min) (1 + cos(π t / T_max)) / 2

    Past T_max the cosine goes on: the rate climbs back, and is lr(0) again at 2 T_max, as with PyTorch.

    Args:
        optimizer: The optimiser whose groups to drive.
        T_max: An integer >= 1.
        eta_min: >= 0.
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.CosineAnnealingLR`; Loshchilov and Hutter, "SGDR:
    stochastic gradient descent with warm restarts", ICLR 2017, without the restarts.

        schedule = tc.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = count("CosineAnnealingLR: T_max", T_max)
        self.eta_min = non_negative("CosineAnnealingLR: eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: float) -> float:
        return (1 + cos(pi * epoch / self.T_max)) / 2
