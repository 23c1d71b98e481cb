"""Schedules that go up and down, some of them with the momentum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, floor, log, pi
from typing import Any, Literal

from tinyconv.engine.options import count, flag, fraction, non_negative, positive
from tinyconv.errors import CheckpointError, OptionError, shortened
from tinyconv.optim.lr_scheduler.schedule import (
    LRScheduler,
    check_momentum,
    check_optimizer,
    one_for_each,
    set_momenta,
)
from tinyconv.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


def momenta(
    owner: str, optimizer: Optimizer, base: float | Sequence[float], most: float | Sequence[float]
) -> tuple[list[float], list[float]]:
    """The ends of the momentum, for each group."""
    low, high = (
        [fraction(f"{owner}: {name}", m) for m in one_for_each(f"{owner}: {name}", value, optimizer)]
        for name, value in (("base_momentum", base), ("max_momentum", most))
    )
    return low, high


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from lr(0) down to `eta_min`, again and again: the first of T_0 epochs, each T_mult times as long.

        lr = eta_min + (lr(0) - eta_min) (1 + cos(π t / T)) / 2

    with T the length of the present cosine and t the epochs since it began.

    Args:
        optimizer: The optimiser whose groups to drive.
        T_0: An integer >= 1.
        T_mult: An integer >= 1.
        eta_min: >= 0.
        last_epoch: -1 to begin; k to go on after epoch k.

    `step(epoch)` takes a fraction too: epoch + i / len(loader) after batch i. What other schedules have done to a rate
    is overwritten, as in PyTorch. Raises what `LRScheduler` raises. Like
    `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; Loshchilov and Hutter, "SGDR: stochastic gradient descent
    with warm restarts", ICLR 2017.

        schedule = tc.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        owner = "CosineAnnealingWarmRestarts"
        self.T_0, self.T_mult = count(f"{owner}: T_0", T_0), count(f"{owner}: T_mult", T_mult)
        self.eta_min = non_negative(f"{owner}: eta_min", eta_min)
        self.epoch: float = last_epoch  # with its fraction, where `last_epoch` has none
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        at, length = self._place()
        share = (1 + cos(pi * at / length)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        if "T_cur" not in state:
            return state
        kept = {name: value for name, value in state.items() if name not in ("T_cur", "T_i")}
        return {**kept, "epoch": state["last_epoch"] + state["T_cur"] % 1}

    def _place(self) -> tuple[float, int]:
        """How far the present cosine is, and how long."""
        if self.T_mult == 1:
            return self.epoch % self.T_0, self.T_0
        n = int(log(self.epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
        while self._begun(n + 1) <= self.epoch:  # a logarithm of a power may be rounded down
            n += 1
        return self.epoch - self._begun(n), self.T_0 * self.T_mult**n

    def _begun(self, n: int) -> int:
        """The epoch at which cosine `n` begins."""
        begun: int = self.T_0 * (self.T_mult**n - 1) // (self.T_mult - 1)
        return begun

    def _undo(self) -> None:
        super()._undo()
        self.epoch -= 1

    def _go_to(self, epoch: float) -> None:
        self.epoch = epoch
        super()._go_to(floor(epoch))

    def _advance(self) -> None:
        self.epoch += 1
        super()._advance()


class CyclicLR(LRScheduler):
    """From `base_lr` up to `max_lr` and down again, in triangles, while the momentum goes the other way.

        lr = base_lr + (max_lr - base_lr) h s        momentum = max - (max - base) h s

    with h the height of the triangle, which rises to 1 in `step_size_up` steps and falls to 0 in `step_size_down`. s is
    1 ("triangular"), 1 / 2^(c - 1) in cycle c = 1, 2, ... ("triangular2"), or gamma^t at step t ("exp_range"). Step it
    once a batch. The rate a group had before is not used.

    Args:
        optimizer: The optimiser whose groups to drive; with `cycle_momentum`, one with an option `betas` (beta1 is
            driven) or `momentum`.
        base_lr, max_lr: >= 0, one number, or one for each group.
        step_size_up: An integer >= 1.
        step_size_down: An integer >= 1; as many as up if None.
        mode: "triangular", "triangular2" or "exp_range".
        gamma: >= 0, for "exp_range".
        scale_fn: s as a function of c or t, in place of the mode's. It is no part of the state.
        scale_mode: "cycle" or "iterations": whether `scale_fn` takes c or t.
        cycle_momentum: Whether to drive the momentum.
        base_momentum, max_momentum: The ends of the momentum, in [0, 1], one number, or one for each group.
        last_epoch: -1 to begin; k to go on after step k.

    Raises what `LRScheduler` raises. Like `torch.optim.lr_scheduler.CyclicLR`; Smith, "Cyclical learning rates for
    training neural networks", WACV 2017.

        schedule = tc.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.01, max_lr=0.1, step_size_up=2000)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("CyclicLR", optimizer)
        modes = ("triangular", "triangular2", "exp_range")
        if mode not in modes and scale_fn is None:
            raise OptionError(f"CyclicLR: mode: expected {', '.join(map(repr, modes))}, got {shortened(mode)}")
        if scale_mode not in ("cycle", "iterations"):
            raise OptionError(f"CyclicLR: scale_mode: expected 'cycle' or 'iterations', got {shortened(scale_mode)}")
        low, high = (
            [non_negative(f"CyclicLR: {name}", lr) for lr in one_for_each(f"CyclicLR: {name}", value, optimizer)]
            for name, value in (("base_lr", base_lr), ("max_lr", max_lr))
        )
        self.max_lrs = high
        self.step_size_up = count("CyclicLR: step_size_up", step_size_up)
        self.step_size_down = count("CyclicLR: step_size_down", step_size_down or step_size_up)
        self.mode, self.gamma = mode, non_negative("CyclicLR: gamma", gamma)
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.cycle_momentum = flag("CyclicLR: cycle_momentum", cycle_momentum)
        if self.cycle_momentum:
            check_momentum("CyclicLR", optimizer)
        self.momenta = list(momenta("CyclicLR", optimizer, base_momentum, max_momentum))
        for group, lr in zip(optimizer.param_groups, low, strict=True):
            group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = low

    def get_lr(self) -> list[float]:
        height = self._height()
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def _height(self) -> float:
        """h s."""
        up, whole = self.step_size_up, self.step_size_up + self.step_size_down
        cycle = floor(1 + self.last_epoch / whole)
        at = self.last_epoch / whole - (cycle - 1)
        height = at * whole / up if at <= up / whole else (1 - at) * whole / self.step_size_down
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "exp_range":
            return height * self.gamma**self.last_epoch
        return height / 2 ** (cycle - 1) if self.mode == "triangular2" else height

    def _apply(self) -> None:
        super()._apply()
        self._drive()

    def _restore(self) -> None:
        super()._restore()
        self._drive()

    def _drive(self) -> None:
        if self.cycle_momentum:
            height = self._height()
            set_momenta(self.optimizer, [high - (high - low) * height for low, high in zip(*self.momenta, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "scale_fn"}

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._where(state) if "total_size" in state else state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "scale_fn"})


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
        check_optimizer("OneCycleLR", optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError("OneCycleLR: how long is the cycle? give total_steps, or epochs and steps_per_epoch")
            total_steps = count("OneCycleLR: epochs", epochs) * count("OneCycleLR: steps_per_epoch", steps_per_epoch)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(
                f"OneCycleLR: anneal_strategy: expected 'cos' or 'linear', got {shortened(anneal_strategy)}"
            )
        if flag("OneCycleLR: cycle_momentum", cycle_momentum):
            check_momentum("OneCycleLR", optimizer)
        self.total_steps = count("OneCycleLR: total_steps", total_steps)
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        initial_div = positive("OneCycleLR: div_factor", div_factor)
        final_div = positive("OneCycleLR: final_div_factor", final_div_factor)
        rise = fraction("OneCycleLR: pct_start", pct_start) * self.total_steps

        max_lrs = [positive("OneCycleLR: max_lr", lr) for lr in one_for_each("OneCycleLR: max_lr", max_lr, optimizer)]
        low, high = momenta("OneCycleLR", optimizer, base_momentum, max_momentum)
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
        for group, lr in zip(optimizer.param_groups, initial_lrs, strict=True):
            group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        if "_schedule_phases" not in state:
            return state
        if state["total_steps"] != self.total_steps:
            raise CheckpointError(f"OneCycleLR: the saved one has {state['total_steps']} steps, not {self.total_steps}")
        return self._where(state)

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
        self._drive()

    def _restore(self) -> None:
        super()._restore()
        self._drive()

    def _drive(self) -> None:
        if self.cycle_momentum:
            set_momenta(self.optimizer, self._between(self.momentum_points))

    def _between(self, values: list[list[float]]) -> list[float]:
        """The value of each group at `last_epoch`, from its values at the points."""
        phase = next((k for k, end in enumerate(self.points[1:]) if self.last_epoch <= end), len(self.points) - 2)
        begin, end = self.points[phase], self.points[phase + 1]
        # A phase of no length is over at once. Past the last point its value stays.
        done = min((self.last_epoch - begin) / (end - begin), 1.0) if end > begin else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - cos(pi * done)) / 2
        return [a + (b - a) * done for a, b in zip(values[phase], values[phase + 1], strict=True)]
