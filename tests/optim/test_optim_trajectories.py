"""Every optimiser against PyTorch's over 50 steps, in float64, on a grid of options."""

import inspect
from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch
from trajectories import STEPS, assert_same_trajectory, groups, not_default, run_ours, run_torch

from tinyconv import optim
from tinyconv.engine.context import no_grad
from tinyconv.optim.adam import adam
from tinyconv.tensor.tensor import Tensor

# Some parameters have no gradient here, at some steps or at all of them, which `step` would warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*never received a gradient")


def grid(**options):
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


SGD_GRID = [
    options
    for options in grid(
        momentum=[0.0, 0.9],
        dampening=[0.0, 0.3],
        weight_decay=[0.0, 0.1],
        nesterov=[False, True],
        maximize=[False, True],
    )
    if not options["nesterov"] or (options["momentum"] and not options["dampening"])
]
ADAM_GRID = grid(
    betas=[(0.9, 0.999), (0.5, 0.9)], eps=[1e-8, 1e-2], weight_decay=[0.0, 0.1], amsgrad=[False, True],
    maximize=[False, True],
)  # fmt: skip
RMSPROP_GRID = grid(
    alpha=[0.99, 0.7], eps=[1e-8, 1e-2], weight_decay=[0.0, 0.1], momentum=[0.0, 0.9], centered=[False, True],
    maximize=[False, True],
)  # fmt: skip
CASES = [  # one in three of each grid is enough while one works
    pytest.param(name, options, marks=[pytest.mark.slow] if i % 3 else [])
    for name, options_grid in [("SGD", SGD_GRID), ("Adam", ADAM_GRID), ("AdamW", ADAM_GRID), ("RMSprop", RMSPROP_GRID)]
    for i, options in enumerate(options_grid)
]


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_trajectory_and_state_equal_torch(name, options, record):
    ours, optimizer = run_ours(getattr(optim, name), options)
    theirs, reference = run_torch(getattr(torch.optim, name), options)
    error = assert_same_trajectory(ours, theirs)
    record.add("optimisers", name, not_default(getattr(optim, name), options), {"float64"}, {"parameters": error})

    saved, expected = optimizer.state_dict(), reference.state_dict()
    assert saved["state"].keys() == expected["state"].keys()
    for i, kept in saved["state"].items():
        assert kept.keys() == expected["state"][i].keys()
        for entry, value in kept.items():
            np.testing.assert_allclose(value, expected["state"][i][entry].numpy(), rtol=1e-9, atol=1e-12)


# Easy mistakes: the comparison above must reject each of them.


def eps_inside_the_root(xp, param, grad, state, *, lr, betas, eps, **_):
    state["step"] += 1
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean += (1 - betas[0]) * (grad - mean)
    square += (1 - betas[1]) * (grad * grad - square)
    unbiased = [m / (1 - beta ** state["step"]) for m, beta in zip((mean, square), betas, strict=True)]
    param -= lr * unbiased[0] / xp.sqrt(unbiased[1] + eps)


def eps_before_the_correction(xp, param, grad, state, *, lr, betas, eps, **_):
    state["step"] += 1
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean += (1 - betas[0]) * (grad - mean)
    square += (1 - betas[1]) * (grad * grad - square)
    rate = lr * sqrt(1 - betas[1] ** state["step"]) / (1 - betas[0] ** state["step"])
    param -= rate * mean / (xp.sqrt(square) + eps)


def no_bias_correction(xp, param, grad, state, *, lr, betas, eps, **_):
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean += (1 - betas[0]) * (grad - mean)
    square += (1 - betas[1]) * (grad * grad - square)
    param -= lr * mean / (xp.sqrt(square) + eps)


def dampened_first_step(xp, param, grad, state, *, lr, momentum, dampening, **_):
    state["momentum_buffer"] = momentum * state.get("momentum_buffer", 0.0) + (1 - dampening) * grad
    param -= lr * state["momentum_buffer"]


def eps_inside_the_root_of_rmsprop(xp, param, grad, state, *, lr, alpha, eps, **_):
    square = state["square_avg"]
    square += (1 - alpha) * (grad * grad - square)
    param -= lr * grad / xp.sqrt(square + eps)


@pytest.mark.parametrize(
    ("name", "rule", "options"),
    [
        ("Adam", eps_inside_the_root, {}),
        ("Adam", eps_before_the_correction, {}),
        ("Adam", no_bias_correction, {}),
        ("AdamW", adam, {"weight_decay": 0.1}),  # decay in the moments
        ("SGD", dampened_first_step, {"momentum": 0.9, "dampening": 0.3}),
        ("RMSprop", eps_inside_the_root_of_rmsprop, {}),
    ],
)
def test_the_comparison_rejects_a_wrong_rule(name, rule, options):
    wrong = type(name, (getattr(optim, name),), {"rule": staticmethod(rule)})
    theirs, _ = run_torch(getattr(torch.optim, name), options)
    assert_same_trajectory(run_ours(getattr(optim, name), options)[0], theirs)
    with pytest.raises(AssertionError, match="after step"):
        assert_same_trajectory(run_ours(wrong, options)[0], theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_state_dict_has_torchs_structure(name):
    _, optimizer = run_ours(getattr(optim, name), {}, last=2)
    _, reference = run_torch(getattr(torch.optim, name), {}, last=2)
    saved, expected = optimizer.state_dict(), reference.state_dict()
    assert saved.keys() == expected.keys()
    implementation = {"foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
    for group, other in zip(saved["param_groups"], expected["param_groups"], strict=True):
        assert group == {key: value for key, value in other.items() if key not in implementation}
    shapes = {i: {key: np.shape(value) for key, value in kept.items()} for i, kept in saved["state"].items()}
    assert shapes == {i: {k: tuple(v.shape) for k, v in kept.items()} for i, kept in expected["state"].items()}


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("RMSprop", {"centered": True})],
)
def test_a_run_begun_in_torch_goes_on_here(name, options):
    begun, reference = run_torch(getattr(torch.optim, name), options, last=20)
    params = [Tensor(value, requires_grad=True, dtype=np.float64) for value in begun[-1]]
    optimizer = getattr(optim, name)(groups(params), **options)
    saved = reference.state_dict()
    saved["state"] = {i: {k: v.numpy() for k, v in kept.items()} for i, kept in saved["state"].items()}
    optimizer.load_state_dict(saved)

    ours, _ = run_ours(None, None, 20, STEPS, params, optimizer)
    tensors = [param for group in reference.param_groups for param in group["params"]]
    theirs, _ = run_torch(None, None, 20, STEPS, tensors, reference)
    assert_same_trajectory(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_arguments_have_torchs_names_order_and_defaults(name):
    ours = inspect.signature(getattr(optim, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    assert {p.name: p.default for p in ours} == {p.name: theirs[p.name].default for p in ours}
    positional = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[: len(positional)]


def test_closure_computes_the_gradient_and_its_loss_is_returned():
    param = Tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([param], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (param * param).sum()
        loss.backward()
        return loss

    with no_grad():  # the closure records all the same
        assert optimizer.step(closure).array == 4
    np.testing.assert_array_equal(param.array, [1.0])
    assert optimizer.step() is None


def test_centered_rmsprop_survives_a_constant_gradient():
    """The difference of the two running means is then nothing but rounding, of either sign."""
    param = Tensor(np.ones(100), requires_grad=True)
    optimizer = optim.RMSprop([param], alpha=0.5, centered=True)
    param.grad = Tensor(np.random.default_rng(0).standard_normal(100))
    for _ in range(200):
        optimizer.step()
    assert np.isfinite(param.array).all()
