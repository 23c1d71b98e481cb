"""Every optimiser under every schedule against PyTorch's, wherever in their options Hypothesis goes: 50 steps each."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectories import STEPS, assert_same_trajectory, not_default, run_ours, run_torch

from tinyconv import optim

# Some parameters have no gradient here, at some steps or at all of them, which `step` would warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*never received a gradient")


def floats(low, high):
    return st.floats(low, high, allow_subnormal=False)


RATES = st.sampled_from([0.05, 0.0]) | floats(1e-4, 1.0)
DECAYS = st.sampled_from([0.9, 0.0]) | floats(0.0, 0.999)
DAMPENINGS = st.just(0.0) | floats(0.0, 1.0)
BETA2 = floats(0.5, 0.9999)  # below, a gradient that passes 0 is divided by itself: by what is left after cancelling
EPS = st.sampled_from([1e-8, 1e-10, 1e-2, 1.0])
SHARED = {"lr": RATES, "weight_decay": st.just(0.0) | floats(0.0, 1.0), "maximize": st.booleans()}
ADAM = st.fixed_dictionaries({**SHARED, "betas": st.tuples(DECAYS, BETA2), "eps": EPS, "amsgrad": st.booleans()})
OPTIMISERS = {
    "SGD": st.fixed_dictionaries(
        {
            **SHARED,
            "momentum": DECAYS,
            "dampening": st.sampled_from([0.0]) | floats(0.0, 1.0),
            "nesterov": st.booleans(),
        }
    ).filter(lambda options: not options["nesterov"] or (options["momentum"] and not options["dampening"])),
    "Adam": ADAM,
    "AdamW": ADAM,
    "Adagrad": st.fixed_dictionaries(
        {
            **SHARED,
            "lr_decay": st.just(0.0) | floats(0.0, 1.0),
            "initial_accumulator_value": st.just(0.0) | floats(0.0, 1.0),
            "eps": EPS,
        }
    ),
    "Adadelta": st.fixed_dictionaries({**SHARED, "rho": floats(0.1, 0.999), "eps": st.sampled_from([1e-6, 1e-2])}),
    "Adamax": st.fixed_dictionaries({**SHARED, "betas": st.tuples(DECAYS, BETA2), "eps": EPS}),
    "RAdam": st.fixed_dictionaries(
        {**SHARED, "betas": st.tuples(DECAYS, BETA2), "eps": EPS, "decoupled_weight_decay": st.booleans()}
    ),
    "RMSprop": st.fixed_dictionaries(
        {**SHARED, "alpha": floats(0.1, 0.999), "eps": EPS, "momentum": DECAYS, "centered": st.booleans()}
    ),
}
GAMMAS = st.sampled_from([0.1, 0.0]) | floats(0.0, 1.1)
STEP_COUNTS = st.integers(1, 2 * STEPS)
MOMENTUM = floats(0.01, 1.0)  # PyTorch's RMSprop makes its buffer at the first step or never
MOMENTA = MOMENTUM | st.lists(MOMENTUM, min_size=2, max_size=2)
PEAKS = floats(1e-4, 1.0)
SCHEDULES = {
    "no schedule": st.just({}),
    "StepLR": st.fixed_dictionaries({"step_size": STEP_COUNTS, "gamma": GAMMAS}),
    "MultiStepLR": st.fixed_dictionaries({"milestones": st.lists(STEP_COUNTS, max_size=5), "gamma": GAMMAS}),
    "LinearLR": st.fixed_dictionaries(
        {"start_factor": floats(0.01, 1.0), "end_factor": floats(0.0, 1.0), "total_iters": STEP_COUNTS}
    ),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": STEP_COUNTS, "eta_min": st.just(0.0) | floats(0.0, 0.1)}),
    "OneCycleLR": st.fixed_dictionaries(
        {
            "max_lr": PEAKS | st.lists(PEAKS, min_size=2, max_size=2),
            "total_steps": st.integers(STEPS + 1, 2 * STEPS),  # PyTorch's goes on past its end, ours does not
            "pct_start": floats(0.05, 0.95),
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "cycle_momentum": st.booleans(),
            "base_momentum": MOMENTA,
            "max_momentum": MOMENTA,
            "div_factor": floats(0.5, 100.0),
            "final_div_factor": floats(0.5, 1e5),
            "three_phase": st.booleans(),
        }
    ),
}


DRAWN = 1e-6
"""The tolerance where options are drawn, as a part of the largest value: some make the steps chaotic, and 50 of them
multiply a rounding by 1e6 (RMSprop, centered, with alpha = 0.1 and lr = 1). The grids hold to 1e-10."""


class Watched:
    """A schedule, and what it has set in the groups after each step: rates, and momenta or beta1."""

    def __init__(self, schedule, optimizer):
        self.schedule, self.optimizer, self.history = schedule, optimizer, []

    def step(self):
        self.schedule.step()
        groups = self.optimizer.param_groups
        momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in groups]
        self.history.append([[group["lr"] for group in groups], momenta])


DRIVEN = ["SGD", "Adam", "AdamW", "RMSprop"]  # under every schedule; what drives one drives the others


@pytest.mark.parametrize(
    ("name", "schedule"),
    [(name, schedule) for name in OPTIMISERS for schedule in SCHEDULES if name in DRIVEN or schedule == "no schedule"],
)
@settings(max_examples=max(1, settings().max_examples // 10))  # an example is 50 steps
@given(data=st.data())
def test_trajectory_equals_torchs(name, schedule, data, record):
    options = data.draw(OPTIMISERS[name], label="options of the optimiser")
    schedule_options = data.draw(SCHEDULES[schedule], label="options of the schedule")
    watched = []

    def scheduled(library):
        def make(optimizer):
            made = getattr(library.lr_scheduler, schedule)(optimizer, **schedule_options)
            watched.append(Watched(made, optimizer))
            return watched[-1]

        return None if schedule == "no schedule" else make

    ours, _ = run_ours(getattr(optim, name), options, schedule=scheduled(optim))
    theirs, _ = run_torch(getattr(torch.optim, name), options, schedule=scheduled(torch.optim))
    error = assert_same_trajectory(ours, theirs, tolerance=DRAWN)
    classes = {f"with {schedule}", *not_default(getattr(optim, name), options)}
    record.add("optimisers", name, classes, {"float64"}, {"parameters": error})
    if watched:
        mine, other = (np.array(found.history) for found in watched)
        scale = abs(other).max(axis=(0, 2), keepdims=True)  # of the rates, and of the momenta
        scale[:, 0] = np.maximum(scale[:, 0], options["lr"])  # PyTorch multiplies its way down from where it starts
        assert (abs(mine - other) <= 1e-12 * scale).all()
        error = float((abs(mine - other) / (scale + 1e-300)).max())
        classes = {f"of {name}", *not_default(getattr(optim.lr_scheduler, schedule), schedule_options)}
        record.add("schedules", schedule, classes, {"float64"}, {"rates": error})


@pytest.mark.parametrize("name", DRIVEN)
def test_the_comparison_rejects_a_momentum_that_is_not_driven(name):
    def cycle(library, **options):
        return lambda optimizer: library.lr_scheduler.OneCycleLR(optimizer, 0.1, STEPS + 1, **options)

    options = {} if "Adam" in name else {"momentum": 0.9}
    theirs, _ = run_torch(getattr(torch.optim, name), options, schedule=cycle(torch.optim))
    assert_same_trajectory(run_ours(getattr(optim, name), options, schedule=cycle(optim))[0], theirs)
    wrong, _ = run_ours(getattr(optim, name), options, schedule=cycle(optim, cycle_momentum=False))
    with pytest.raises(AssertionError, match="after step"):
        assert_same_trajectory(wrong, theirs)
