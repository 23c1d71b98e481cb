"""The base of the schedules: which step it is, and the rates that are set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from tinyconv.arrays.backend import refuse_in_capture
from tinyconv.calls import Checked
from tinyconv.engine.each_step import each_step
from tinyconv.engine.options import integer, non_negative, real
from tinyconv.errors import CheckpointError, OptionError, shortened
from tinyconv.optim.optimizer import Optimizer, ParameterError

__all__ = ["LRScheduler"]

_OF_PYTORCH = {"_step_count", "_is_initial", "_get_lr_called_within_step", "verbose"}  # in the states of its schedules


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
        check_optimizer(owner, optimizer)
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
        self.last_epoch: Any = last_epoch
        self._last_lr = list(self.base_lrs) if last_epoch == -1 else self._rates()
        optimizer.schedules += 1
        self._begin()

    def _begin(self) -> None:
        """The first step, which sets the rates of the beginning."""
        self._initial = True
        self.step()
        self._initial = False

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`, computed from `base_lrs`, or from the rates of the step before."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its rates are: define get_lr()")

    def get_last_lr(self) -> list[float]:
        """The rate of each group that the last step set."""
        return list(self._last_lr)

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch and set the rates; each replay of a captured step that calls this does the same.

        Args:
            epoch: Go to this epoch instead. What other schedules have done is left out then.

        Raises OptionError where the optimiser has got a group since the schedule was made, and CaptureError where
        `epoch` is given in a captured step.
        """
        if epoch is None:
            each_step(self._advance)
            return
        refuse_in_capture("gives a schedule the epoch as a number", "call step() without it")
        epoch = real(f"{type(self).__name__}.step: epoch", epoch)
        if epoch < 0:
            raise OptionError(f"{type(self).__name__}.step: epoch: expected a number >= 0, got {epoch}")
        self._go_to(epoch)

    def _undo(self) -> None:
        """Take back the first step."""
        self.last_epoch -= 1
        self._last_lr = list(self.base_lrs)

    def _go_to(self, epoch: float) -> None:
        self.last_epoch = epoch
        self._apply()

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
        self._set(self.get_lr())

    def _set(self, rates: list[float]) -> None:
        self._last_lr = rates
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def _rates(self) -> list[float]:
        """The rates that the groups have now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions, as copies: Python numbers, strings and lists."""
        return {name: deepcopy(value) for name, value in vars(self).items() if name not in ("optimizer", "_initial")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, and set the groups' rates to those of its epoch.

        Schedule and optimiser may be loaded in either order. Where the optimiser has several schedules the rates are
        left to its own state, for none of them alone knows these. A state of PyTorch's schedule of the same arguments
        is taken too. Raises CheckpointError for the state of another kind of schedule, or of one with another number of
        groups.
        """
        own, state_dict = self.state_dict(), self._ours(state_dict)
        self._check_state(state_dict, own)
        vars(self).update(deepcopy({name: state_dict[name] for name in own if name in state_dict}))
        if self.optimizer.schedules == 1:
            self._restore()

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state of PyTorch's schedule of this kind with the names of this one; any other as it is."""
        return state

    def _where(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """This schedule's own state, but where another one is."""
        return {**self.state_dict(), **{name: state[name] for name in ("base_lrs", "last_epoch", "_last_lr")}}

    def _check_state(self, state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        owner = type(self).__name__
        if {"joined", *state.keys()} - _OF_PYTORCH != {"joined", *own.keys()}:
            raise CheckpointError(
                f"{owner}: expected {sorted(own)}, got {shortened(sorted(state), 400)}: "
                "the state of another kind of schedule?"
            )
        if len(state["base_lrs"]) != len(self.base_lrs):
            raise CheckpointError(
                f"{owner}: the saved state has {len(state['base_lrs'])} parameter groups, "
                f"this schedule {len(self.base_lrs)}"
            )

    def _restore(self) -> None:
        """Set what the state that was loaded had set last."""
        self._set(list(self._last_lr))


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise ParameterError unless it is one."""
    if not isinstance(optimizer, Optimizer):
        raise ParameterError(
            f"{owner}: expected an Optimizer, got {type(optimizer).__name__}; make one first: "
            "tinyconv.optim.SGD(model.parameters(), lr=0.1)"
        )


def one_for_each(what: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """One value for each group: `value` is a list of them, or the one for all."""
    if not isinstance(value, Sequence):
        return [value] * len(optimizer.param_groups)
    if len(value) != len(optimizer.param_groups):
        raise OptionError(
            f"{what}: expected one number or {len(optimizer.param_groups)}, one a group, got {len(value)}"
        )
    return list(value)


def check_momentum(owner: str, optimizer: Optimizer) -> None:
    """Raise OptionError where an optimiser has no momentum to drive."""
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        raise OptionError(
            f"{owner}: {type(optimizer).__name__} has neither momentum nor betas to drive; pass cycle_momentum=False"
        )


def set_momenta(optimizer: Optimizer, momenta: Sequence[float]) -> None:
    """Give each group its momentum, which is beta1 where there are betas."""
    for group, momentum in zip(optimizer.param_groups, momenta, strict=True):
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum
