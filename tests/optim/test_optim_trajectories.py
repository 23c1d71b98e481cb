"""Every optimiser against PyTorch's over 50 steps, in float64, on a grid of options."""

import inspect
from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch
from oracle import host
from trajectories import STEPS, assert_same_trajectory, groups, not_default, run_ours, run_torch

import tinyconv as tc
from tinyconv import optim
from tinyconv.engine.context import no_grad
from tinyconv.errors import CallError
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
ADAM_AS_ADAMW = [
    {"decoupled_weight_decay": True, "amsgrad": True},
    {"decoupled_weight_decay": True, "weight_decay": 0.1},
]
RMSPROP_GRID = grid(
    alpha=[0.99, 0.7], eps=[1e-8, 1e-2], weight_decay=[0.0, 0.1], momentum=[0.0, 0.9], centered=[False, True],
    maximize=[False, True],
)  # fmt: skip
ADAGRAD_GRID = grid(
    lr_decay=[0.0, 0.1], weight_decay=[0.0, 0.1], initial_accumulator_value=[0.0, 0.5], eps=[1e-10, 1e-2],
    maximize=[False, True],
)  # fmt: skip
ADADELTA_GRID = grid(rho=[0.9, 0.5], eps=[1e-6, 1e-2], weight_decay=[0.0, 0.1], maximize=[False, True])
ADAMAX_GRID = grid(betas=[(0.9, 0.999), (0.5, 0.9)], eps=[1e-8, 1e-2], weight_decay=[0.0, 0.1], maximize=[False, True])
DECOUPLED_GRID = [
    {**options, **decay}
    for options in grid(betas=[(0.9, 0.999), (0.5, 0.9)], eps=[1e-8, 1e-2], maximize=[False, True])
    for decay in ({}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True})
]
NADAM_GRID = [{**options, "momentum_decay": d} for d in (4e-3, 0.1) for options in DECOUPLED_GRID]
GRIDS = {
    "SGD": SGD_GRID, "Adam": ADAM_AS_ADAMW + ADAM_GRID, "AdamW": ADAM_GRID, "RMSprop": RMSPROP_GRID,
    "Adagrad": ADAGRAD_GRID, "Adadelta": ADADELTA_GRID, "Adamax": ADAMAX_GRID, "NAdam": NADAM_GRID,
    "RAdam": DECOUPLED_GRID,
}  # fmt: skip
NAMES = list(GRIDS)
CASES = [  # one in three of each grid is enough while one works
    pytest.param(name, options, marks=[pytest.mark.slow] if i % 3 else [])
    for name, options_grid in GRIDS.items()
    for i, options in enumerate(options_grid)
]


@pytest.fixture(autouse=True)
def float64_of_torch():
    """PyTorch's NAdam keeps the product of its momenta in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_trajectory_and_state_equal_torch(name, options, record):
    ours, optimizer = run_ours(getattr(optim, name), options)
    theirs, reference = run_torch(getattr(torch.optim, name), options)
    error = assert_same_trajectory(ours, theirs)
    record.add("optimisers", name, not_default(getattr(optim, name), options), {"float64"}, {"parameters": error})

    saved, expected = optimizer.state_dict(), reference.state_dict()
    assert saved["state"].keys() == begun(name, expected["state"].keys())
    for i, kept in saved["state"].items():
        assert kept.keys() == expected["state"][i].keys()
        for entry, value in kept.items():
            np.testing.assert_allclose(value, expected["state"][i][entry].numpy(), rtol=1e-9, atol=1e-12)


def begun(name, numbers):
    """Those of the parameters with a state in PyTorch that have one here: Adagrad makes it before any gradient."""
    return {number for number in numbers if not (name == "Adagrad" and number == 3)}


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


def undecayed_rate(xp, param, grad, state, *, lr, lr_decay, eps, **_):
    state["sum"] += grad * grad
    state["step"] += 1
    param -= lr / (1 + state["step"] * lr_decay) * grad / (xp.sqrt(state["sum"]) + eps)


def eps_outside_the_roots(xp, param, grad, state, *, lr, rho, eps, **_):
    square, moved = state["square_avg"], state["acc_delta"]
    square += (1 - rho) * (grad * grad - square)
    delta = (xp.sqrt(moved) + eps) / (xp.sqrt(square) + eps) * grad
    moved += (1 - rho) * (delta * delta - moved)
    param -= lr * delta


def maximum_of_the_corrected(xp, param, grad, state, *, lr, betas, eps, **_):
    state["step"] += 1
    state["exp_avg"] += (1 - betas[0]) * (grad - state["exp_avg"])
    state["exp_inf"][...] = xp.maximum(betas[1] * state["exp_inf"], abs(grad))
    param -= lr / (1 - betas[0] ** state["step"]) * state["exp_avg"] / (state["exp_inf"] + eps)


def momentum_of_now(xp, param, grad, state, *, lr, betas, eps, momentum_decay, **_):
    state["step"] += 1
    now = betas[0] * (1 - 0.5 * 0.96 ** (state["step"] * momentum_decay))
    state["mu_product"] *= now
    state["exp_avg"] += (1 - betas[0]) * (grad - state["exp_avg"])
    state["exp_avg_sq"] += (1 - betas[1]) * (grad * grad - state["exp_avg_sq"])
    nesterov = ((1 - now) * grad + now * state["exp_avg"]) / (1 - state["mu_product"])
    param -= lr * nesterov / (xp.sqrt(state["exp_avg_sq"] / (1 - betas[1] ** state["step"])) + eps)


def never_rectified(xp, param, grad, state, *, lr, betas, **_):
    state["step"] += 1
    state["exp_avg"] += (1 - betas[0]) * (grad - state["exp_avg"])
    param -= lr / (1 - betas[0] ** state["step"]) * state["exp_avg"]


@pytest.mark.parametrize(
    ("name", "rule", "options"),
    [
        ("Adam", eps_inside_the_root, {}),
        ("Adam", eps_before_the_correction, {}),
        ("Adam", no_bias_correction, {}),
        ("AdamW", adam, {"weight_decay": 0.1}),  # decay in the moments
        ("SGD", dampened_first_step, {"momentum": 0.9, "dampening": 0.3}),
        ("RMSprop", eps_inside_the_root_of_rmsprop, {}),
        ("Adagrad", undecayed_rate, {"lr_decay": 0.1}),
        ("Adadelta", eps_outside_the_roots, {}),
        ("Adamax", maximum_of_the_corrected, {"eps": 1e-2}),
        ("NAdam", momentum_of_now, {}),
        ("RAdam", never_rectified, {"betas": (0.9, 0.9)}),
    ],
)
def test_the_comparison_rejects_a_wrong_rule(name, rule, options):
    wrong = type(name, (getattr(optim, name),), {"rule": staticmethod(rule)})
    theirs, _ = run_torch(getattr(torch.optim, name), options)
    assert_same_trajectory(run_ours(getattr(optim, name), options)[0], theirs)
    with pytest.raises(AssertionError, match="after step"):
        assert_same_trajectory(run_ours(wrong, options)[0], theirs)


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_has_torchs_structure(name):
    _, optimizer = run_ours(getattr(optim, name), {}, last=2)
    _, reference = run_torch(getattr(torch.optim, name), {}, last=2)
    saved, expected = optimizer.state_dict(), reference.state_dict()
    assert saved.keys() == expected.keys()
    implementation = {"foreach", "capturable", "differentiable", "fused"}
    implementation |= {"decoupled_weight_decay"} if name == "Adam" else set()
    for group, other in zip(saved["param_groups"], expected["param_groups"], strict=True):
        assert group == {key: value for key, value in other.items() if key not in implementation}
    shapes = {i: {key: np.shape(value) for key, value in kept.items()} for i, kept in saved["state"].items()}
    assert shapes == {
        i: {k: tuple(v.shape) for k, v in expected["state"][i].items()} for i in begun(name, expected["state"])
    }


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("RMSprop", {"centered": True}),
        *((name, {}) for name in NAMES[4:]),
    ],
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


@pytest.mark.parametrize("name", [*NAMES, "Muon"])
def test_arguments_have_torchs_names_order_and_defaults(name):
    ours = [p for p in inspect.signature(getattr(optim, name)).parameters.values() if p.kind is not p.VAR_KEYWORD]
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    assert {p.name: p.default for p in ours} == {p.name: theirs[p.name].default for p in ours}
    positional = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[: len(positional)]
    how = {} if name == "Muon" else {"foreach": True, "fused": None, "capturable": False, "differentiable": False}
    getattr(optim, name)([Tensor(np.ones((2, 2)), requires_grad=True)], **how)


def test_a_step_is_not_differentiable_and_no_other_argument_is_taken():
    param = Tensor([1.0], requires_grad=True)
    with pytest.raises(optim.OptionError, match="Adam: differentiable=True: steps are not recorded"):
        optim.Adam([param], differentiable=True)
    with pytest.raises(CallError, match=r"Adagrad: got an unexpected keyword argument 'learning_rate'; did .*'lr'"):
        optim.Adagrad([param], learning_rate=0.1)
    optimizer = optim.SGD([{"params": [param], "foreach": False}])
    assert "foreach" not in optimizer.param_groups[0]


MUON_SHAPES = [(3, 5), (6, 2), (4, 4), (1, 3)]


def muon(library, options, shapes, steps=20):
    """The values after each step."""
    tensor = torch.tensor if library is torch else lambda v, **k: Tensor(v, dtype=np.float64, **k)
    rng = np.random.default_rng(0)
    params = [tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    optimizer = library.optim.Muon([{"params": params[:2], "lr": 0.02}, {"params": params[2:]}], **options)
    values = []
    for _ in range(steps):
        for param in params:
            param.grad = tensor(rng.standard_normal(param.shape))
        optimizer.step()
        values.append([np.array(host(p) if library is not torch else p.detach().numpy()) for p in params])
    return values, optimizer


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.0},
        {"adjust_lr_fn": "match_rms_adamw"},
        {"adjust_lr_fn": "original", "ns_steps": 2, "eps": 1e-2},
        {"ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 10},
    ],
)
def test_muon_equals_torchs_in_float64(options, nesterov, monkeypatch):
    """PyTorch's computes the polynomial in bfloat16, which here is taken from it."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda t: t.clone())
    ours, optimizer = muon(tc, {**options, "nesterov": nesterov}, MUON_SHAPES)
    theirs, reference = muon(torch, {**options, "nesterov": nesterov}, MUON_SHAPES)
    assert_same_trajectory(ours, theirs)
    saved, expected = optimizer.state_dict(), reference.state_dict()
    assert saved["param_groups"] == expected["param_groups"]
    for i, kept in saved["state"].items():
        np.testing.assert_allclose(kept["momentum_buffer"], expected["state"][i]["momentum_buffer"].numpy())


def test_muon_takes_filters_as_matrices():
    shape = (6, 2, 3, 3)
    filters, _ = muon(tc, {}, [shape] * 3)
    matrices, _ = muon(tc, {}, [(6, 18)] * 3)
    for a, b in zip(filters, matrices, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x.reshape(6, 18), y, rtol=1e-9)


def test_muons_steps_are_nearly_rotations():
    param = Tensor(np.zeros((8, 5)), requires_grad=True)
    optimizer = optim.Muon([param], lr=1.0, weight_decay=0.0)
    param.grad = Tensor(np.random.default_rng(0).standard_normal((8, 5)))
    optimizer.step()
    values = np.linalg.svd(param.numpy(), compute_uv=False) / sqrt(8 / 5)
    assert 0.6 < values.min() < values.max() < 1.3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ns_steps": 100}, "ns_steps: expected fewer than 100, got 100; 5 are enough"),
        ({"ns_coefficients": (1.0, 2.0)}, "ns_coefficients: expected three numbers such as"),
        ({"adjust_lr_fn": "adam"}, "adjust_lr_fn: expected 'original' or 'match_rms_adamw', got 'adam'"),
        ({"momentum": 1.5}, "momentum: expected a number from 0 to 1"),
    ],
)
def test_what_muon_refuses(options, text):
    with pytest.raises(optim.OptionError, match=text):
        optim.Muon([Tensor(np.ones((2, 2)), requires_grad=True)], **options)
    with pytest.raises(optim.OptionError, match=r"the tensor at position 0 has shape \(2,\) and is no matrix; give"):
        optim.Muon([Tensor(np.ones(2), requires_grad=True)])


def test_names_of_parameters_are_kept_and_named():
    model = tc.nn.Linear(2, 3)
    optimizer = optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"] == list(model.parameters())
    reference = torch.optim.SGD(torch.nn.Linear(2, 3).named_parameters(), lr=0.1)
    optimizer.load_state_dict(reference.state_dict())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    assert "param_names" not in repr(optimizer)
    groups = optim.SGD([{"params": model.named_parameters(), "lr": 0.5}])
    assert groups.param_groups[0]["param_names"] == ["weight", "bias"]
    optim.SGD(model.parameters()).load_state_dict(optimizer.state_dict())
    model.weight.grad = tc.ones(3, 2)
    with pytest.warns(UserWarning, match=r"never received a gradient: 'bias' \(3,\)"):
        optim.SGD([("weight", model.weight), ("bias", model.bias)]).step()


CAPTURED = {name: {} for name in NAMES} | {"Muon": {"lr": 0.1}}


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_step_trains_as_an_eager_one(name):
    def trained(capture):
        tc.manual_seed(0)
        layer = tc.nn.Linear(4, 3, bias=name != "Muon")
        optimizer = getattr(optim, name)(layer.parameters(), **CAPTURED[name])
        schedule = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

        def step(x):
            optimizer.zero_grad()
            loss = (layer(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            return loss

        run = tc.capture(step) if capture else step
        losses = [run(tc.full((5, 4), 1.0 + i)).item() for i in range(6)]
        return losses, layer.weight.detach().numpy()

    (mine, weight), (other, expected) = trained(True), trained(False)
    np.testing.assert_allclose(mine, other, rtol=1e-5)
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-7)


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
