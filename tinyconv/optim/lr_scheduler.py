"""Learning rates as functions of time.

A schedule sets the rate of each group when it is made and again at each `step()`. Call that after the optimiser's own
`step()`: once an epoch, or once a batch, in which case an "epoch" below is a batch.

    schedule = tc.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        train(model, optimizer)
        schedule.step()

Every schedule here is a closed form: the rates depend on the group's `initial_lr` and the number of steps, not on the
rates of the step before. So rounding does not pile up, resuming is exact, and a rate that somebody else wrote into a
group lasts until the next `step()`. PyTorch's recursions give the same rates to rounding, but go on from whatever they
find in the group: two schedules stepped in turn on one optimiser multiply there, while here the last one wins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from math import cos, pi
from typing import Any, Literal

from tinyconv.calls import Checked
from tinyconv.engine.each_step import each_step
from tinyconv.engine.options import count, flag, fraction, integer, non_negative, positive
from tinyconv.errors import CheckpointError, OptionError, shortened, suggest_names
from tinyconv.optim.optimizer import Optimizer, ParameterError


class LRScheduler(Checked):
    """Base of the schedules: a subclass gives `get_lr`, and sets what that needs before it calls `__init__`.

    Args:
        optimizer: The optimiser whose groups to drive. The rate that a group has now is kept in it as `initial_lr`,
            unless a schedule put one there before.
        last_epoch: -1 to begin; k to go on after epoch k, for which the groups must hold their `initial_lr`.

    Raises ParameterError where `optimizer` is not an Optimizer, and OptionError where an argument is out of range or an
    `initial_lr` is missing. Like `torch.optim.lr_scheduler.LRScheduler`.

    Attributes:
        base_lrs: The `initial_lr` of each group.
        last_epoch: The number of steps made so far; 0 once the schedule is made.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        owner = type(self).__name__
        _check_optimizer(owner, optimizer)
        last_epoch = integer(f"{owner}: last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise OptionError(
                    f"{owner}: last_epoch={last_epoch} goes on with a schedule, but group {i} has no 'initial_lr'; "
                    "load the optimiser's state first, or begin anew with last_epoch=-1"
                )
        self.optimizer = optimizer
        self.base_lrs = [non_negative(f"{owner}: initial_lr", group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`, computed from `base_lrs`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its rates are: define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rate of each group that the last step set."""
        return list(self._last_lr)

    def step(self) -> None:
        """Go on by one epoch and set the rates; each replay of a captured step that calls this does the same.

        Raises OptionError where the optimiser has got a group since the schedule was made.
        """
        each_step(self._advance)

    def _advance(self) -> None:
        if len(self.optimizer.param_groups) != len(self.base_lrs):
            raise OptionError(
                f"{type(self).__name__}: made for {len(self.base_lrs)} parameter groups, the optimiser now has "
                f"{len(self.optimizer.param_groups)}; add groups before making the schedule"
            )
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        """Set the rates of `last_epoch` in the groups."""
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, as copies: Python numbers, strings and lists."""
        return {name: deepcopy(value) for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, and set the groups' rates to those of its epoch.

        Schedule and optimiser may be loaded in either order. Raises CheckpointError for the state of another kind of
        schedule, or of one with another number of groups.
        """
        owner, own = type(self).__name__, self.state_dict()
        if state_dict.keys() != own.keys():
            raise CheckpointError(
                f"{owner}: expected {sorted(own)}, got {shortened(sorted(state_dict), 400)}: "
                "the state of another kind of schedule?"
            )
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise CheckpointError(
                f"{owner}: the saved state has {len(state_dict['base_lrs'])} parameter groups, "
                f"this schedule {len(self.base_lrs)}"
            )
        vars(self).update(deepcopy(dict(state_dict)))
        self._apply()


class StepLR(LRScheduler):
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

    def get_lr(self) -> list[float]:
        factor = self.gamma ** (self.last_epoch // self.step_size)
        return [base * factor for base in self.base_lrs]


class MultiStepLR(LRScheduler):
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

    def get_lr(self) -> list[float]:
        factor = self.gamma ** bisect_right(self.milestones, self.last_epoch)
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
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

    def get_lr(self) -> list[float]:
        done = min(self.last_epoch / self.total_iters, 1.0)
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return [base * factor for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
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

    def get_lr(self) -> list[float]:
        share = (1 + cos(pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Up to `max_lr`, then down to almost nothing, while the momentum goes the other way; step it once a batch.

    With T = total_steps and p = pct_start, linear or cosine pieces join these points:

        two phases    t = 0, p T - 1, T - 1                 lr = initial, max, min
                                                            momentum = max, base, max
        three phases  t = 0, p T - 1, 2 p T - 2, T - 1      lr = initial, max, initial, min
                                                            momentum = max, base, max, max

    where initial = max_lr / div_factor and min = initial / final_div_factor. The rate a group had before is not used.
    T batches need T - 1 steps, as the first rate is set when the schedule is made. One step more is allowed, since
    loops tend to make it, and keeps the last rate (PyTorch runs past its last point there); the one after that raises
    OptionError.

    Args:
        optimizer: The optimiser whose groups to drive; with `cycle_momentum`, one with an option `betas` (beta1 is
            driven) or `momentum`.
        max_lr: > 0, one number, or one for each group.
        total_steps: T; if None, epochs * steps_per_epoch.
        epochs, steps_per_epoch: Integers >= 1.
        pct_start: The share of the steps with a rising rate, in [0, 1].
        anneal_strategy: "cos" or "linear".
        cycle_momentum: Whether to drive the momentum.
        base_momentum, max_momentum: The ends of the momentum, in [0, 1], one number, or one for each group.
        div_factor, final_div_factor: > 0.
        three_phase: Come down to the initial rate as slowly as it went up, then on to the last.
        last_epoch: -1 to begin; k to go on after step k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.OneCycleLR`, which follows fast.ai; three phases
    are those of Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018.

        schedule = tc.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=10, steps_per_epoch=len(loader))
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer("OneCycleLR", optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError("OneCycleLR: how long is the cycle? give total_steps, or epochs and steps_per_epoch")
            total_steps = count("OneCycleLR: epochs", epochs) * count("OneCycleLR: steps_per_epoch", steps_per_epoch)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(
                f"OneCycleLR: anneal_strategy: expected 'cos' or 'linear', got {shortened(anneal_strategy)}"
            )
        if flag("OneCycleLR: cycle_momentum", cycle_momentum) and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise OptionError(
                f"OneCycleLR: {type(optimizer).__name__} has neither momentum nor betas to drive; "
                "pass cycle_momentum=False"
            )
        self.total_steps = count("OneCycleLR: total_steps", total_steps)
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        initial_div = positive("OneCycleLR: div_factor", div_factor)
        final_div = positive("OneCycleLR: final_div_factor", final_div_factor)
        rise = fraction("OneCycleLR: pct_start", pct_start) * self.total_steps

        groups = optimizer.param_groups
        max_lrs = [positive("OneCycleLR: max_lr", lr) for lr in _each("max_lr", max_lr, groups)]
        low = [fraction("OneCycleLR: base_momentum", m) for m in _each("base_momentum", base_momentum, groups)]
        high = [fraction("OneCycleLR: max_momentum", m) for m in _each("max_momentum", max_momentum, groups)]
        initial_lrs = [lr / initial_div for lr in max_lrs]
        min_lrs = [lr / final_div for lr in initial_lrs]

        # At point k the rates of the groups are lr_points[k], and so on.
        if flag("OneCycleLR: three_phase", three_phase):
            self.points = [0.0, rise - 1, 2 * rise - 2, self.total_steps - 1.0]
            self.lr_points = [initial_lrs, max_lrs, initial_lrs, min_lrs]
            self.momentum_points = [high, low, high, high]
        else:
            self.points = [0.0, rise - 1, self.total_steps - 1.0]
            self.lr_points = [initial_lrs, max_lrs, min_lrs]
            self.momentum_points = [high, low, high]
        for group, lr in zip(groups, initial_lrs, strict=True):
            group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _advance(self) -> None:
        if self.last_epoch >= self.total_steps:
            raise OptionError(
                f"OneCycleLR: the cycle of total_steps={self.total_steps} is over; "
                "make it as long as the run: epochs * len(loader), and step it once a batch"
            )
        super()._advance()

    def get_lr(self) -> list[float]:
        return self._between(self.lr_points)

    def _apply(self) -> None:
        super()._apply()
        if not self.cycle_momentum:
            return
        for group, momentum in zip(self.optimizer.param_groups, self._between(self.momentum_points), strict=True):
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _between(self, values: list[list[float]]) -> list[float]:
        """The value of each group at `last_epoch`, from its values at the points."""
        phase = next((k for k, end in enumerate(self.points[1:]) if self.last_epoch <= end), len(self.points) - 2)
        begin, end = self.points[phase], self.points[phase + 1]
        # A phase of no length is over at once. Past the last point its value stays.
        done = min((self.last_epoch - begin) / (end - begin), 1.0) if end > begin else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - cos(pi * done)) / 2
        return [a + (b - a) * done for a, b in zip(values[phase], values[phase + 1], strict=True)]


def _check_optimizer(owner: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise ParameterError(
            f"{owner}: expected an Optimizer, got {type(optimizer).__name__}; make one first: "
            "tinyconv.optim.SGD(model.parameters(), lr=0.1)"
        )


def _each(name: str, value: float | Sequence[float], groups: list[dict[str, Any]]) -> Sequence[float]:
    """One value for each group."""
    if not isinstance(value, Sequence):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise OptionError(f"OneCycleLR: {name}: expected one number or {len(groups)}, one a group, got {len(value)}")
    return value


suggest_names(globals())
