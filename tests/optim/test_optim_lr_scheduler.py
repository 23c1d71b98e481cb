"""Every schedule against PyTorch's over 50 steps and two groups, and what they do that PyTorch's do not."""

import inspect
import json
from typing import ClassVar

import numpy as np
import pytest
from trajectories import not_default

from tinyconv import optim
from tinyconv.engine.options import non_negative
from tinyconv.errors import CheckpointError
from tinyconv.optim import SGD, Adam, Optimizer, OptionError, ParameterError, lr_scheduler
from tinyconv.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, StepLR
from tinyconv.tensor.tensor import Tensor

torch = pytest.importorskip("torch")

SCHEDULES = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [30, 4, 4, 17]}),
    ("MultiStepLR", {"milestones": [10], "gamma": 0.5}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.5, "total_iters": 33}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 100}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.003}),  # past T_max, and up again, twice
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51}),
    ("OneCycleLR", {"max_lr": [0.4, 0.2], "epochs": 3, "steps_per_epoch": 17, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51, "anneal_strategy": "linear", "div_factor": 3.0}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51, "anneal_strategy": "linear", "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 60, "pct_start": 0.5, "final_div_factor": 7.0}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51, "pct_start": 0.0}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51, "base_momentum": [0.5, 0.6], "max_momentum": 0.9}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 51, "cycle_momentum": False}),
]


def ours(kind=SGD, **options):
    params = [Tensor([1.0], requires_grad=True) for _ in range(2)]
    return kind([{"params": params[:1], "lr": 0.3}, {"params": params[1:]}], lr=0.1, **options)


def theirs(kind, **options):
    params = [torch.ones(1, requires_grad=True) for _ in range(2)]
    return kind([{"params": params[:1], "lr": 0.3}, {"params": params[1:]}], lr=0.1, **options)


def driven(optimizer):
    """What a schedule may set: of each group, the rate and the momentum."""
    return [(group["lr"], group.get("momentum"), group.get("betas")) for group in optimizer.param_groups]


def numbers(history):
    return np.array([[lr, momentum or (betas or (0.0,))[0]] for step in history for lr, momentum, betas in step])


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_rates_and_momenta_equal_torchs(kind, name, options, record):
    momentum = {"momentum": 0.8} if kind in ("SGD", "RMSprop") else {}
    optimizer = ours(getattr(optim, kind), **momentum)
    reference = theirs(getattr(torch.optim, kind), **momentum)
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    expected = getattr(torch.optim.lr_scheduler, name)(reference, **options)
    mine, other = [driven(optimizer)], [driven(reference)]
    for _ in range(50):
        reference.step()  # PyTorch warns without it
        schedule.step()
        expected.step()
        mine.append(driven(optimizer))
        other.append(driven(reference))
        assert schedule.last_epoch == expected.last_epoch
        assert schedule.get_last_lr() == [lr for lr, _, _ in mine[-1]]
    np.testing.assert_allclose(numbers(mine), numbers(other), rtol=1e-12, atol=1e-15)
    assert [g["initial_lr"] for g in optimizer.param_groups] == [g["initial_lr"] for g in reference.param_groups]
    error = abs(numbers(mine) - numbers(other)).max() / numbers(other).max()
    classes = {f"of {kind}", *not_default(getattr(lr_scheduler, name), options)}
    record.add("schedules", name, classes, {"float64"}, {"rates": float(error)})


def test_the_comparison_rejects_a_schedule_that_is_one_step_late():
    early, late = ours(), ours()
    schedules = [StepLR(early, 7), StepLR(late, 7)]
    for _ in range(7):
        schedules[0].step()
    for _ in range(6):
        schedules[1].step()
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(numbers([driven(early)]), numbers([driven(late)]), rtol=1e-12)


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "LinearLR", "CosineAnnealingLR", "OneCycleLR"])
def test_arguments_have_torchs_names_order_and_defaults(name):
    signatures = [inspect.signature(getattr(module, name)) for module in (lr_scheduler, torch.optim.lr_scheduler)]
    mine, other = ([(p.name, p.default) for p in signature.parameters.values()] for signature in signatures)
    assert mine == other


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
@pytest.mark.parametrize("schedule_first", [True, False])
def test_resuming_is_exact_to_the_bit(name, options, schedule_first):
    optimizer = ours(Adam)
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    for _ in range(17):
        schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()]))

    other = ours(Adam)
    resumed = getattr(lr_scheduler, name)(other, **options)
    loads = [lambda: resumed.load_state_dict(saved[0]), lambda: other.load_state_dict(saved[1])]
    for load in loads if schedule_first else loads[::-1]:
        load()
    for _ in range(30):
        assert driven(other) == driven(optimizer)
        assert resumed.get_last_lr() == schedule.get_last_lr()
        schedule.step()
        resumed.step()
    assert resumed.state_dict() == schedule.state_dict()


def test_saved_and_loaded_states_are_copies():
    schedule, other = (MultiStepLR(ours(), [2, 5]) for _ in range(2))
    saved = schedule.state_dict()
    other.load_state_dict(saved)
    saved["milestones"].clear()
    assert schedule.milestones == other.milestones == [2, 5]


def test_a_schedule_made_for_an_optimizer_already_loaded_needs_nothing_but_its_own_state():
    optimizer = ours()
    schedule = StepLR(optimizer, 2)
    for _ in range(5):
        schedule.step()
    other = ours()
    other.load_state_dict(optimizer.state_dict())
    resumed = StepLR(other, 2)
    assert resumed.base_lrs == [0.3, 0.1]
    resumed.load_state_dict(schedule.state_dict())
    assert driven(other) == driven(optimizer)


def test_last_epoch_starts_in_the_middle():
    optimizer = ours()
    schedule = CosineAnnealingLR(optimizer, 20)
    for _ in range(8):
        schedule.step()
    params = [Tensor([1.0], requires_grad=True) for _ in range(2)]
    other = SGD([{"params": p, "lr": 9.0, "initial_lr": lr} for p, lr in zip(params, [0.3, 0.1], strict=True)])
    resumed = CosineAnnealingLR(other, 20, last_epoch=7)
    assert resumed.last_epoch == 8
    assert resumed.get_last_lr() == schedule.get_last_lr()


def test_a_rate_written_by_somebody_else_lasts_until_the_next_step():
    optimizer, expected = ours(), ours()
    schedules = [CosineAnnealingLR(optimizer, 10), CosineAnnealingLR(expected, 10)]
    optimizer.param_groups[0]["lr"] = 7.0
    for schedule in schedules:
        schedule.step()
    assert driven(optimizer) == driven(expected)


def test_one_cycle_holds_its_last_rate_for_one_step_and_then_refuses():
    optimizer = ours(momentum=0.9)
    schedule = OneCycleLR(optimizer, 0.4, total_steps=10, anneal_strategy="linear")
    for _ in range(9):
        schedule.step()
    end = driven(optimizer)
    assert end[0][0] == pytest.approx(0.4 / 25 / 1e4, rel=1e-12)
    schedule.step()
    assert driven(optimizer) == end
    with pytest.raises(OptionError, match=r"the cycle of total_steps=10 is over; make it as long as the run"):
        schedule.step()
    assert schedule.last_epoch == 10
    assert driven(optimizer) == end


def test_one_cycle_whose_rise_is_a_single_step_starts_at_the_top():
    optimizer = ours()
    OneCycleLR(optimizer, 0.4, total_steps=10, pct_start=0.1)
    assert [lr for lr, _, _ in driven(optimizer)] == [0.4, 0.4]


class Plain(Optimizer):
    checks: ClassVar = {"lr": non_negative}

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})


def with_a_late_group():
    optimizer = ours()
    schedule = StepLR(optimizer, 2)
    optimizer.add_param_group({"params": Tensor([1.0], requires_grad=True)})
    schedule.step()


MISTAKES = [
    (lambda: StepLR("SGD", 2), ParameterError, r"StepLR: expected an Optimizer, got str"),
    (lambda: OneCycleLR("SGD", 2), ParameterError, r"OneCycleLR: expected an Optimizer, got str"),
    (lambda: StepLR(ours(), 0), OptionError, r"StepLR: step_size: expected an integer >= 1, got 0"),
    (lambda: StepLR(ours(), 2, gamma=-1), OptionError, r"StepLR: gamma: expected"),
    (lambda: StepLR(ours(), 2, last_epoch=3), OptionError, r"last_epoch=3 .* group 0 has no 'initial_lr'; load the"),
    (lambda: MultiStepLR(ours(), [3, 1.5]), OptionError, r"MultiStepLR: each milestone: expected .*, got 1\.5"),
    (lambda: LinearLR(ours(), start_factor=0.0), OptionError, r"LinearLR: start_factor: expected .* > 0, got 0\.0"),
    (lambda: LinearLR(ours(), start_factor=2.0), OptionError, r"LinearLR: start_factor: expected .* 0 to 1, got 2\.0"),
    (lambda: LinearLR(ours(), end_factor=1.5), OptionError, r"LinearLR: end_factor: expected"),
    (lambda: LinearLR(ours(), total_iters=0), OptionError, r"LinearLR: total_iters: expected"),
    (lambda: CosineAnnealingLR(ours(), 0), OptionError, r"CosineAnnealingLR: T_max: expected"),
    (lambda: CosineAnnealingLR(ours(), 9, eta_min=-1), OptionError, r"CosineAnnealingLR: eta_min: expected"),
    (lambda: OneCycleLR(ours(), 0.1), OptionError, r"how long is the cycle\? give total_steps, or epochs and"),
    (lambda: OneCycleLR(ours(), 0.1, epochs=3), OptionError, r"how long is the cycle\?"),
    (lambda: OneCycleLR(ours(), 0.1, 0), OptionError, r"OneCycleLR: total_steps: expected an integer >= 1, got 0"),
    (lambda: OneCycleLR(ours(), -0.1, 9), OptionError, r"OneCycleLR: max_lr: expected a finite number > 0, got -0\.1"),
    (lambda: OneCycleLR(ours(), [0.1], 9), OptionError, r"max_lr: expected one number or 2, one a group, got 1"),
    (lambda: OneCycleLR(ours(), 0.1, 9, pct_start=2), OptionError, r"pct_start: expected a number from 0 to 1, got 2"),
    (lambda: OneCycleLR(ours(), 0.1, 9, anneal_strategy="exp"), OptionError, r"expected 'cos' or 'linear', got 'exp'"),
    (lambda: OneCycleLR(ours(Plain), 0.1, 9), OptionError, r"has neither momentum nor betas to drive; pass"),
    (lambda: LRScheduler(ours()), NotImplementedError, r"LRScheduler does not say what its rates are"),
    (with_a_late_group, OptionError, r"StepLR: made for 2 parameter groups, the optimiser now has 3; add groups"),
]


@pytest.mark.parametrize(("make", "kind", "message"), MISTAKES)
def test_mistakes_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_the_state_of_another_schedule_is_refused():
    schedule = StepLR(ours(), 2)
    with pytest.raises(
        CheckpointError, match=r"StepLR: expected .*'step_size'.*, got .*'milestones'.*: the state of an"
    ):
        schedule.load_state_dict(MultiStepLR(ours(), [2]).state_dict())
    one_group = StepLR(SGD([Tensor([1.0], requires_grad=True)]), 2)
    with pytest.raises(CheckpointError, match=r"the saved state has 2 parameter groups, this schedule 1"):
        one_group.load_state_dict(schedule.state_dict())
