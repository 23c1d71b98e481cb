"""The same 50 steps by one of our optimisers and by PyTorch's, from the same start down the same noisy bowl."""

import inspect

import numpy as np
import torch
from oracle import host

from tinyconv.tensor.tensor import Tensor

STEPS = 50
TOLERANCE = 1e-10  # of the scale of an array: float64 has 2e-16, and fifty steps pile it up
SHAPES = [(3, 4), (5,), (), (2, 1, 3)]


def start():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in SHAPES]


def gradient(step, which, value):
    """The slope of a bowl, plus noise; None at two steps in three for parameter 1, and always for parameter 3."""
    if which == 3 or (which == 1 and step % 3):
        return None
    noise = np.random.default_rng([step, which]).standard_normal(np.shape(value))
    return np.asarray(0.3 * value + noise)


def groups(params):
    return [{"params": params[:2], "lr": 0.02}, {"params": params[2:]}]


def not_default(kind, options):
    """The options that are not as they are by default: the argument classes of an optimiser or schedule."""
    parameters = inspect.signature(kind).parameters
    return {name for name, value in options.items() if value != parameters[name].default}


def run_ours(kind, options, first=0, last=STEPS, params=None, optimizer=None, schedule=None):
    """The values of all parameters after each step, and what made them; `schedule` is made of an optimiser."""
    params = params or [Tensor(value, requires_grad=True, dtype=np.float64) for value in start()]
    optimizer = optimizer or kind(groups(params), **{"lr": 0.05, **options})
    schedule = schedule and schedule(optimizer)
    trajectory = []
    for step in range(first, last):
        for i, param in enumerate(params):
            grad = gradient(step, i, host(param))
            param.grad = None if grad is None else Tensor(grad, dtype=np.float64)
        optimizer.step()
        if schedule:
            schedule.step()
        trajectory.append([np.array(host(param)) for param in params])
    return trajectory, optimizer


def run_torch(kind, options, first=0, last=STEPS, params=None, optimizer=None, schedule=None):
    params = params or [torch.tensor(value, requires_grad=True, dtype=torch.float64) for value in start()]
    optimizer = optimizer or kind(groups(params), **{"lr": 0.05, **options})
    schedule = schedule and schedule(optimizer)
    trajectory = []
    for step in range(first, last):
        for i, param in enumerate(params):
            grad = gradient(step, i, param.detach().numpy())
            param.grad = None if grad is None else torch.tensor(grad)
        optimizer.step()
        if schedule:
            schedule.step()
        trajectory.append([param.detach().numpy().copy() for param in params])
    return trajectory, optimizer


def assert_same_trajectory(ours, theirs, tolerance=TOLERANCE):
    """Returns the worst error, as a part of the largest value its array has had so far."""
    assert len(ours) == len(theirs)
    worst, scales = 0.0, [0.0] * len(SHAPES)
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for i, (a, b) in enumerate(zip(mine, other, strict=True)):
            scales[i] = max(scales[i], abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scales[i], err_msg=f"after step {step}")
            worst = max(worst, abs(a - b).max() / scales[i])
    return float(worst)
