"""ReduceLROnPlateau: lower rates where nothing gets better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Literal

from tinyconv.engine.options import finite, integer, non_negative, real
from tinyconv.errors import OptionError, shortened
from tinyconv.optim.lr_scheduler.schedule import LRScheduler, check_optimizer, one_for_each
from tinyconv.optim.optimizer import Optimizer

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by `factor` when a measure, such as the loss, has not got better for `patience` epochs.

    `step(measure)` takes the measure. Better than the best so far, b, is below b (1 - threshold), or b - threshold
    ("abs"); with mode "max" above b (1 + threshold), or b + threshold.

    Args:
        optimizer: The optimiser whose groups to drive.
        mode: "min" or "max": which way is better.
        factor: In [0, 1).
        patience: Epochs without anything better that are borne, an integer >= 0.
        threshold: How much better it has to be, a number.
        threshold_mode: "rel" or "abs".
        cooldown: Epochs after a reduction in which none are counted, an integer >= 0.
        min_lr: Rates do not go below it, >= 0, one number, or one for each group.
        eps: Smaller changes of a rate are not made, >= 0.

    Raises OptionError where an argument is out of range, and ParameterError where `optimizer` is not an Optimizer. Like
    `torch.optim.lr_scheduler.ReduceLROnPlateau`.

        schedule = tc.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
        schedule.step(loss)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        owner = "ReduceLROnPlateau"
        check_optimizer(owner, optimizer)
        for name, value, known in (("mode", mode, ("min", "max")), ("threshold_mode", threshold_mode, ("rel", "abs"))):
            if value not in known:
                raise OptionError(f"{owner}: {name}: expected {known[0]!r} or {known[1]!r}, got {shortened(value)}")
        self.factor = non_negative(f"{owner}: factor", factor)
        if self.factor >= 1:
            raise OptionError(f"{owner}: factor: expected a number in [0, 1), got {factor}")
        self.optimizer = optimizer
        self.mode, self.threshold_mode = mode, threshold_mode
        self.threshold = finite(f"{owner}: threshold", threshold)
        self.patience = integer(f"{owner}: patience", patience, 0)
        self.cooldown = integer(f"{owner}: cooldown", cooldown, 0)
        self.eps = non_negative(f"{owner}: eps", eps)
        self.min_lrs = [
            non_negative(f"{owner}: min_lr", lr) for lr in one_for_each(f"{owner}: min_lr", min_lr, optimizer)
        ]
        self.last_epoch = 0
        self.base_lrs = self._rates()
        self._last_lr = self._rates()
        self.best = inf if mode == "min" else -inf
        self.cooldown_counter = self.num_bad_epochs = 0
        optimizer.schedules += 1

    def step(self, metrics: Any, epoch: float | None = None) -> None:  # type: ignore[override]  # as in torch
        """Go on by one epoch, with its measure, and lower the rates if it is time.

        Args:
            metrics: The measure: a number, or a tensor with one element, which is read on the host.
            epoch: What `last_epoch` becomes; one more unless given.

        Raises OptionError where the measure is no number.
        """
        value = metrics.item() if hasattr(metrics, "item") else metrics
        current = real("ReduceLROnPlateau.step: the measure", value)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs are not counted now."""
        return self.cooldown_counter > 0

    def _is_better(self, current: float) -> bool:
        step = self.threshold if self.mode == "max" else -self.threshold
        wanted = self.best * (1 + step) if self.threshold_mode == "rel" else self.best + step
        return current > wanted if self.mode == "max" else current < wanted

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if len(set(self.min_lrs)) > 1:
                raise OptionError(
                    f"ReduceLROnPlateau: min_lr has {len(self.min_lrs)} numbers, and the optimiser now {len(groups)} "
                    "groups; add groups before making the schedule"
                )
            self.min_lrs = self.min_lrs[:1] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, least)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "base_lrs"}

    def _check_state(self, state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        ours = {name: value for name, value in state.items() if name not in ("default_min_lr", "mode_worse")}
        super()._check_state({"base_lrs": self.base_lrs, **ours}, {"base_lrs": (), **own})
