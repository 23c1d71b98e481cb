"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinyconv.engine.each_step import each_step
from tinyconv.engine.options import integer
from tinyconv.errors import CheckpointError, OptionError
from tinyconv.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tinyconv.optim.lr_scheduler.schedule import LRScheduler, check_optimizer
from tinyconv.optim.optimizer import Optimizer, ParameterError

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Several(LRScheduler):
    """The base of both: the schedules, whose states are a part of this one's."""

    def __init__(self, optimizer: Optimizer | None, schedulers: Iterable[LRScheduler]) -> None:
        owner = type(self).__name__
        self._schedulers = list(schedulers)
        if not self._schedulers:
            raise OptionError(f"{owner}: expected at least one schedule, got none")
        for i, schedule in enumerate(self._schedulers):
            if not isinstance(schedule, LRScheduler):
                raise ParameterError(f"{owner}: expected schedules, got {type(schedule).__name__} at position {i}")
            if isinstance(schedule, ReduceLROnPlateau):
                raise OptionError(
                    f"{owner}: the ReduceLROnPlateau at position {i} cannot be a part of it, for its step needs a "
                    "measure; step it by itself"
                )
        self.optimizer = self._schedulers[0].optimizer if optimizer is None else optimizer
        check_optimizer(owner, self.optimizer)
        for i, schedule in enumerate(self._schedulers):
            if schedule.optimizer is not self.optimizer:
                raise OptionError(f"{owner}: the {type(schedule).__name__} at position {i} drives another optimiser")
        self.base_lrs = list(self._schedulers[0].base_lrs)
        self.optimizer.schedules += 1

    def _undo(self) -> None:
        for schedule in self._schedulers:
            schedule._undo()

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch and set the rates; each replay of a captured step that calls this does the same.

        Args:
            epoch: None: where its schedules are, this one cannot say. OptionError for anything else.
        """
        if epoch is not None:
            raise OptionError(f"{type(self).__name__}.step: takes no epoch")
        each_step(self._advance)

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedules, in a list, and its own numbers."""
        own = {name: value for name, value in super().state_dict().items() if name != "_schedulers"}
        return {**own, "_schedulers": [schedule.state_dict() for schedule in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned. The rates are those of the optimiser's own state.

        Raises CheckpointError for the state of another kind of schedule, or of one with other parts.
        """
        own = self.state_dict()
        self._check_state({"base_lrs": self.base_lrs, **state_dict}, own)
        parts = state_dict["_schedulers"]
        if len(parts) != len(self._schedulers):
            raise CheckpointError(
                f"{type(self).__name__}: the saved state has {len(parts)} schedules, this one {len(self._schedulers)}"
            )
        for schedule, part in zip(self._schedulers, parts, strict=True):
            schedule.load_state_dict(part)
        vars(self).update({name: state_dict[name] for name in own if name in state_dict and name != "_schedulers"})
        self._set(list(self._last_lr))


class ChainedScheduler(_Several):
    """Several schedules that are stepped together, each going on from the rates of the one before: they multiply.

    Args:
        schedulers: Schedules of one optimiser.
        optimizer: That optimiser; unless given, the one of the first.

    Raises OptionError where there is none or they drive several optimisers, and ParameterError where one is no
    schedule. Like `torch.optim.lr_scheduler.ChainedScheduler`.

        S = tc.optim.lr_scheduler
        schedule = S.ChainedScheduler([S.LinearLR(optimizer, 0.1), S.ExponentialLR(optimizer, gamma=0.9)])
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(optimizer, schedulers)
        self._last_lr = self._rates()

    def _begin(self) -> None:
        for schedule in self._schedulers:
            schedule._begin()
        self._last_lr = self._rates()

    def _go_to(self, epoch: float) -> None:
        for i, schedule in enumerate(self._schedulers):
            if i == 0:
                schedule._go_to(epoch)
            else:
                schedule.last_epoch = -1
                schedule._advance()
        self._last_lr = self._rates()

    def _advance(self) -> None:
        for schedule in self._schedulers:
            schedule._advance()
        self._last_lr = self._rates()


class SequentialLR(_Several):
    """Schedules one after another: at each milestone the next one begins, at its own beginning.

    Args:
        optimizer: The optimiser whose groups to drive.
        schedulers: Schedules of it.
        milestones: Epochs >= 1, one fewer than there are schedules, in order.
        last_epoch: -1 to begin.

    Raises OptionError where there is no schedule, the milestones do not fit, or a schedule drives another optimiser,
    and ParameterError where one is no schedule. Like `torch.optim.lr_scheduler.SequentialLR`.

        S = tc.optim.lr_scheduler
        warm, cool = S.LinearLR(optimizer, 0.1, total_iters=5), S.CosineAnnealingLR(optimizer, T_max=95)
        schedule = S.SequentialLR(optimizer, [warm, cool], milestones=[5])
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, schedulers)
        self._milestones = [integer("SequentialLR: each milestone", m, 1) for m in milestones]
        if len(self._milestones) != len(self._schedulers) - 1:
            raise OptionError(
                f"SequentialLR: {len(self._schedulers)} schedules need {len(self._schedulers) - 1} milestones, got "
                f"{len(self._milestones)}"
            )
        if self._milestones != sorted(self._milestones):
            raise OptionError(f"SequentialLR: milestones: expected them in order, got {self._milestones}")
        self.last_epoch = integer("SequentialLR: last_epoch", last_epoch, -1) + 1
        self._begin()

    def _begin(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]  # each schedule has set the rate of its beginning when it was made
        for schedule in self._schedulers:
            schedule._undo()
        self._now()._begin()
        self._last_lr = self._rates()

    def _now(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def _go_to(self, epoch: float) -> None:
        self.last_epoch = int(epoch)
        self._now()._go_to(epoch)
        self._last_lr = self._rates()

    def _advance(self) -> None:
        self.last_epoch += 1
        if self.last_epoch in self._milestones:
            self._now()._go_to(0)
        else:
            self._now()._advance()
        self._last_lr = self._rates()
