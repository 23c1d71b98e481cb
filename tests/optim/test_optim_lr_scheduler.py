"""Every schedule against PyTorch's over 50 steps and two groups, and what they do that PyTorch's do not."""

import inspect
import json
import warnings
from typing import ClassVar

import numpy as np
import pytest
from trajectories import not_default

import tinyconv as tc
from tinyconv import optim
from tinyconv.engine.options import non_negative
from tinyconv.errors import CheckpointError
from tinyconv.optim import SGD, Adam, Optimizer, OptionError, ParameterError, lr_scheduler
from tinyconv.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)
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
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.01, "total_iters": 33}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 30}),
    ("PolynomialLR", {"total_iters": 60, "power": 2.5}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: 1.0 - t / 100]}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 0.95 if t % 3 else 1.1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.003}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.3], "step_size_up": 5, "step_size_down": 9}),
    ("CyclicLR", {"base_lr": 0.0, "max_lr": 0.1, "step_size_up": 4, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 6, "mode": "exp_range", "gamma": 0.97}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 6, "scale_fn": lambda c: 1 / (2 + c)}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "scale_fn": lambda t: 0.9**t, "scale_mode": "iterations"},
    ),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 8, "base_momentum": 0.5, "max_momentum": 0.6}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 8, "cycle_momentum": False}),
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


NAMES = [*dict.fromkeys(name for name, _ in SCHEDULES), "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"]


@pytest.mark.parametrize("name", NAMES)
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


# --- schedules that meet ----------------------------------------------------------------------------------------------

FACTORS = {
    "step": lambda lib, o: lib.StepLR(o, 7, gamma=0.5),
    "milestones": lambda lib, o: lib.MultiStepLR(o, [3, 11, 11]),
    "constant": lambda lib, o: lib.ConstantLR(o, 0.2, 9),
    "warm-up": lambda lib, o: lib.LinearLR(o, 0.1, total_iters=8),
    "line to 0": lambda lib, o: lib.LinearLR(o, 1.0, 0.0, 12),
    "exponential": lambda lib, o: lib.ExponentialLR(o, 0.93),
    "polynomial": lambda lib, o: lib.PolynomialLR(o, 20, 1.5),
    "cosine": lambda lib, o: lib.CosineAnnealingLR(o, 6),
    "cosine with a floor": lambda lib, o: lib.CosineAnnealingLR(o, 10, eta_min=0.01),
    "multiplicative": lambda lib, o: lib.MultiplicativeLR(o, lambda t: 0.9 + 0.01 * t),
}
CLOSED = {
    "lambda": lambda lib, o: lib.LambdaLR(o, lambda t: 0.8**t),
    "restarts": lambda lib, o: lib.CosineAnnealingWarmRestarts(o, 4, 2),
    "cyclic": lambda lib, o: lib.CyclicLR(o, 0.01, 0.1, 5, cycle_momentum=False),
}
THEIRS = torch.optim.lr_scheduler


def both(make, steps=30, before=lambda optimizer: None):
    """The rates that the schedules of `make(library, optimizer)` set when stepped in turn, here and in PyTorch."""
    histories = []
    for lib, optimizer in ((lr_scheduler, ours()), (THEIRS, theirs(torch.optim.SGD))):
        before(optimizer)
        schedules = make(lib, optimizer)
        history = [[group["lr"] for group in optimizer.param_groups]]
        for _ in range(steps):
            if lib is THEIRS:
                optimizer.step()
            for schedule in schedules:
                schedule.step() if callable(schedule.step) else None
            history.append([float(group["lr"]) for group in optimizer.param_groups])
            assert schedules[-1].get_last_lr() == history[-1]
        histories.append(history)
    return np.array(histories[0]), np.array(histories[1])


def assert_same_rates(make, **options):
    mine, other = both(make, **options)
    np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)
    return mine


@pytest.mark.parametrize("first", FACTORS)
@pytest.mark.parametrize("second", FACTORS | CLOSED)
def test_two_schedules_stepped_in_turn_multiply_as_torchs_do(first, second):
    makers = FACTORS | CLOSED
    assert_same_rates(lambda lib, o: [makers[first](lib, o), makers[second](lib, o)])


@pytest.mark.parametrize("first", CLOSED)
@pytest.mark.parametrize("second", FACTORS)
def test_a_schedule_goes_on_from_what_a_closed_one_sets(first, second):
    assert_same_rates(lambda lib, o: [CLOSED[first](lib, o), FACTORS[second](lib, o)])


@pytest.mark.parametrize("names", [("warm-up", "exponential"), ("cosine", "step", "constant"), ("polynomial",)])
def test_chained(names):
    mine = assert_same_rates(lambda lib, o: [lib.ChainedScheduler([FACTORS[name](lib, o) for name in names])])
    assert (mine == assert_same_rates(lambda lib, o: [FACTORS[name](lib, o) for name in names])).all()


SEQUENCES = [
    (("warm-up", "cosine"), [8]),
    (("constant", "exponential", "step"), [4, 15]),
    (("warm-up", "restarts"), [5]),
    (("lambda", "polynomial"), [3]),
    (("cosine with a floor", "lambda", "milestones"), [1, 2]),
    (("exponential",), []),
    (("exponential", "multiplicative"), [6]),
]


@pytest.mark.parametrize(("names", "milestones"), SEQUENCES)
def test_one_after_another(names, milestones):
    makers = FACTORS | CLOSED
    assert_same_rates(lambda lib, o: [lib.SequentialLR(o, [makers[name](lib, o) for name in names], milestones)])


def test_a_sequence_may_hold_a_chain():
    """PyTorch's fails at the milestone; what is meant is a chain that begins there."""
    optimizer, expected = ours(), ours()
    chain = lr_scheduler.ChainedScheduler([FACTORS["warm-up"](lr_scheduler, optimizer), StepLR(optimizer, 3)])
    schedule = lr_scheduler.SequentialLR(optimizer, [FACTORS["constant"](lr_scheduler, optimizer), chain], [5])
    for _ in range(4):
        schedule.step()
    schedules = [FACTORS["warm-up"](lr_scheduler, expected), StepLR(expected, 3)]
    for _ in range(12):
        schedule.step()
        np.testing.assert_allclose(numbers([driven(optimizer)]), numbers([driven(expected)]), rtol=1e-12)
        for one in schedules:
            one.step()


def test_a_rate_written_by_somebody_else_is_gone_on_from():
    def written(optimizer):
        optimizer.param_groups[0]["lr"] = 0.7

    class Writes:
        def __init__(self, optimizer):
            self.optimizer, self.steps = optimizer, 0

        def step(self):
            self.steps += 1
            if self.steps == 5:
                self.optimizer.param_groups[1]["lr"] = 0.9

        def get_last_lr(self):
            return [float(group["lr"]) for group in self.optimizer.param_groups]

    for make in FACTORS.values():
        assert_same_rates(lambda lib, o, make=make: [make(lib, o), Writes(o)])
        assert_same_rates(lambda lib, o, make=make: [make(lib, o)], before=written)


@pytest.mark.parametrize("names", [("warm-up", "exponential"), ("cosine", "step")])
@pytest.mark.parametrize("kind", ["in turn", "chained", "sequential"])
def test_schedules_that_meet_resume_exactly(names, kind):
    def made(optimizer):
        parts = [FACTORS[name](lr_scheduler, optimizer) for name in names]
        if kind == "chained":
            return [lr_scheduler.ChainedScheduler(parts)]
        return [lr_scheduler.SequentialLR(optimizer, parts, [6])] if kind == "sequential" else parts

    for steps in (3, 9):
        optimizer, other = ours(), ours()
        schedules, resumed = made(optimizer), made(other)
        for _ in range(steps):
            for schedule in schedules:
                schedule.step()
        saved = json.loads(json.dumps([optimizer.state_dict(), *(schedule.state_dict() for schedule in schedules)]))
        for one, state in zip([other, *resumed], saved, strict=True):
            one.load_state_dict(state)
        for _ in range(12):
            assert driven(other) == driven(optimizer)
            for schedule in [*schedules, *resumed]:
                schedule.step()


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_schedule_begun_in_torch_goes_on_here(name, options):
    optimizer, reference = ours(momentum=0.8), theirs(torch.optim.SGD, momentum=0.8)
    expected = getattr(THEIRS, name)(reference, **options)
    for _ in range(7):
        reference.step(), expected.step()
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    optimizer.load_state_dict(reference.state_dict())
    schedule.load_state_dict({key: value for key, value in expected.state_dict().items() if not callable(value)})
    for _ in range(20):
        np.testing.assert_allclose(numbers([driven(optimizer)]), numbers([driven(reference)]), rtol=1e-9, atol=1e-12)
        reference.step(), expected.step(), schedule.step()


def test_one_cycle_of_torch_has_as_many_steps():
    expected = THEIRS.OneCycleLR(theirs(torch.optim.SGD, momentum=0.8), 0.4, total_steps=10)
    schedule = OneCycleLR(ours(momentum=0.8), 0.4, total_steps=12)
    with pytest.raises(CheckpointError, match="OneCycleLR: the saved one has 10 steps, not 12"):
        schedule.load_state_dict(expected.state_dict())


@pytest.mark.parametrize("make", [*FACTORS.values(), *CLOSED.values()])
def test_an_epoch_may_be_named(make):
    """And a fraction of one, for restarts."""
    optimizer, reference = ours(), theirs(torch.optim.SGD)
    schedule, expected = make(lr_scheduler, optimizer), make(THEIRS, reference)
    epochs = [3, 0, 7, 7.25, 12.5] if isinstance(schedule, lr_scheduler.CosineAnnealingWarmRestarts) else [3, 1, 7]
    if isinstance(schedule, lr_scheduler.MultiplicativeLR):  # has no closed form: it multiplies once more
        epochs = [3, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that naming epochs is old
        for epoch in epochs:
            reference.step(), expected.step(epoch), schedule.step(epoch)
            np.testing.assert_allclose(numbers([driven(optimizer)]), numbers([driven(reference)]), rtol=1e-9)
        for _ in range(3):
            reference.step(), expected.step(), schedule.step()
            np.testing.assert_allclose(numbers([driven(optimizer)]), numbers([driven(reference)]), rtol=1e-9)


PLATEAUS = [
    {},
    {"patience": 2, "factor": 0.5},
    {"patience": 1, "cooldown": 3},
    {"patience": 0, "threshold": 0.1, "threshold_mode": "abs"},
    {"mode": "max", "patience": 1},
    {"mode": "max", "patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
    {"patience": 0, "min_lr": [0.05, 0.01]},
    {"patience": 0, "min_lr": 0.02, "eps": 0.04},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_a_plateau_lowers_the_rates_as_torchs(options):
    optimizer, reference = ours(), theirs(torch.optim.SGD)
    schedule, expected = (
        lr_scheduler.ReduceLROnPlateau(optimizer, **options),
        THEIRS.ReduceLROnPlateau(reference, **options),
    )
    rng = np.random.default_rng(0)
    twin_of = ours()
    for step in range(40):
        measure = 1.0 + rng.standard_normal() / (1 + step % 7)
        schedule.step(Tensor(measure) if step % 2 else measure)
        expected.step(float(np.float32(measure)) if step % 2 else measure)
        np.testing.assert_allclose(numbers([driven(optimizer)]), numbers([driven(reference)]), rtol=1e-12)
        assert (schedule.num_bad_epochs, schedule.in_cooldown) == (expected.num_bad_epochs, expected.in_cooldown)
        assert schedule.last_epoch == expected.last_epoch
        if step == 20:
            twin = lr_scheduler.ReduceLROnPlateau(twin_of, **options)
            twin.load_state_dict(schedule.state_dict())
        if step > 20:
            twin.step(Tensor(measure) if step % 2 else measure)
        if step >= 20:
            assert driven(twin_of) == driven(optimizer)
            assert twin.state_dict() == schedule.state_dict()


def test_every_schedule_is_stepped_by_a_captured_step():
    x, makers = tc.ones(2), {**FACTORS, **CLOSED}
    makers["sequence"] = lambda lib, o: lib.SequentialLR(o, [lib.ConstantLR(o, 0.5, 2), lib.ExponentialLR(o, 0.5)], [3])
    makers["chain"] = lambda lib, o: lib.ChainedScheduler([lib.ConstantLR(o, 0.5, 2), lib.ExponentialLR(o, 0.5)])
    for name, make in makers.items():
        rates = []
        for captured in (True, False):
            w = tc.ones(2, requires_grad=True)
            optimizer = SGD([w], lr=0.1)
            schedule = make(lr_scheduler, optimizer)

            def step(x, w=w, optimizer=optimizer, schedule=schedule):
                optimizer.zero_grad()
                loss = (w * x).sum()
                loss.backward()
                optimizer.step()
                schedule.step()
                return loss

            run = tc.capture(step) if captured else step
            found = []
            for _ in range(8):
                run(x)
                found.append((optimizer.param_groups[0]["lr"], w.tolist()))
            rates.append(found)
        assert rates[0] == rates[1], name


def test_a_schedule_of_ones_own_reads_the_groups_as_in_torch():
    def halved(base):
        class Halved(base):
            def get_lr(self):
                if self.last_epoch == 0:
                    return [group["lr"] for group in self.optimizer.param_groups]
                return [group["lr"] / 2 for group in self.optimizer.param_groups]

        return Halved

    assert_same_rates(lambda lib, o: [halved(lib._LRScheduler)(o), lib.ExponentialLR(o, 0.9)])


def test_a_sequence_with_one_cycle_begins_where_that_does():
    def schedules(lib, o):
        parts = [lib.PolynomialLR(o, total_iters=4), lib.OneCycleLR(o, 0.3, total_steps=90, cycle_momentum=False)]
        return [lib.SequentialLR(o, parts, milestones=[5])]

    assert_same_rates(schedules)


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


def sequence(milestones):
    optimizer = ours()
    return lr_scheduler.SequentialLR(optimizer, [StepLR(optimizer, 1), StepLR(optimizer, 2)], milestones)


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
    (lambda: ConstantLR(ours(), factor=2), OptionError, r"ConstantLR: factor: expected .* 0 to 1, got 2"),
    (lambda: ExponentialLR(ours(), -1), OptionError, r"ExponentialLR: gamma: expected"),
    (lambda: PolynomialLR(ours(), 0), OptionError, r"PolynomialLR: total_iters: expected"),
    (lambda: PolynomialLR(ours(), power=-1), OptionError, r"PolynomialLR: power: expected"),
    (lambda: LambdaLR(ours(), 0.5), OptionError, r"LambdaLR: lr_lambda: expected a function of the epoch, got 0\.5"),
    (
        lambda: LambdaLR(ours(), [abs]),
        OptionError,
        r"lr_lambda: expected one number or 2, one a group, got 1",
    ),
    (lambda: LambdaLR(ours(), str), OptionError, r"LambdaLR: what lr_lambda gives: expected a number, got '0'"),
    (lambda: LambdaLR("SGD", abs), ParameterError, r"LambdaLR: expected an Optimizer, got str"),
    (lambda: CosineAnnealingWarmRestarts(ours(), 0), OptionError, r"CosineAnnealingWarmRestarts: T_0: expected"),
    (lambda: CosineAnnealingWarmRestarts(ours(), 3, 0), OptionError, r"T_mult: expected an integer >= 1, got 0"),
    (lambda: CosineAnnealingWarmRestarts(ours(), 3).step(-1), OptionError, r"step: epoch: expected a number >= 0"),
    (
        lambda: CyclicLR(ours(), 0.1, 0.2, mode="up"),
        OptionError,
        r"CyclicLR: mode: expected 'triangular', .*, got 'up'",
    ),
    (lambda: CyclicLR(ours(), 0.1, 0.2, scale_mode="x"), OptionError, r"expected 'cycle' or 'iterations', got 'x'"),
    (lambda: CyclicLR(ours(Plain), 0.1, 0.2), OptionError, r"CyclicLR: Plain has neither momentum nor betas to drive"),
    (lambda: ReduceLROnPlateau(ours(), "up"), OptionError, r"mode: expected 'min' or 'max', got 'up'"),
    (lambda: ReduceLROnPlateau(ours(), factor=1), OptionError, r"factor: expected a number in \[0, 1\), got 1"),
    (lambda: ReduceLROnPlateau(ours()).step("x"), OptionError, r"step: the measure: expected a number, got 'x'"),
    (lambda: ChainedScheduler([]), OptionError, r"ChainedScheduler: expected at least one schedule, got none"),
    (lambda: ChainedScheduler([1]), ParameterError, r"expected schedules, got int at position 0"),
    (lambda: ChainedScheduler([StepLR(ours(), 1), StepLR(ours(), 1)]), OptionError, r"at position 1 drives another"),
    (lambda: ChainedScheduler([ReduceLROnPlateau(ours())]), OptionError, r"ReduceLROnPlateau at position 0 cannot be"),
    (lambda: sequence([2, 3]), OptionError, r"SequentialLR: 2 schedules need 1 milestones, got 2"),
    (lambda: sequence([0]), OptionError, r"SequentialLR: each milestone: expected an integer >= 1, got 0"),
    (lambda: sequence([2]).step(3), OptionError, r"SequentialLR\.step: takes no epoch"),
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
