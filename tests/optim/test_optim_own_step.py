"""Optimisers with a `step` of their own, written as for PyTorch: the same numbers, states and schedules as there."""

import io

import numpy as np
import torch
from messages import message
from torch.optim.optimizer import required as required_by_torch

import tinyconv as tc
from tinyconv.optim.optimizer import required

REQUIRED = {tc: required, torch: required_by_torch}


def momentum_of(library):
    """A momentum that remembers fewer gradients of one half of the parameters: as published code looks."""

    class Momentum(library.optim.Optimizer):
        def __init__(self, params, lr=REQUIRED[library], beta=0.5, halves=(0.5, 2.0)):
            super().__init__(params, {"lr": lr, "beta": beta, "halves": halves})

        def __setstate__(self, state):
            super().__setstate__(state)

        @library.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with library.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for i, p in enumerate(group["params"]):
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["mean"] = library.zeros_like(p)
                        state["label"] = "even" if i % 2 == 0 else "odd"
                    state["step"] += 1
                    state["mean"].mul_(group["beta"]).add_(p.grad.data, alpha=1 - group["beta"])
                    p.data.add_(state["mean"], alpha=-group["lr"] * group["halves"][i % 2] / state["step"])
            return loss

    return Momentum


START = np.random.default_rng(0).standard_normal((2, 3))


def trained(library, steps=4, **options):
    params = [library.tensor(start, requires_grad=True) for start in START]
    groups = [{"params": params[:1], "lr": 0.2, "name": "first"}, {"params": params[1:]}]
    optimizer = momentum_of(library)(groups, **{"lr": 0.1, **options})
    schedule = library.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        optimizer.step(lambda: run(params))
        schedule.step()
    return params, optimizer


def run(params):
    loss = sum(((i + 1) * p**3).sum() + (p**2).sum() for i, p in enumerate(params))
    loss.backward()
    return loss


def test_it_trains_as_in_pytorch():
    (ours, optimizer), (theirs, other) = trained(tc), trained(torch)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
    for group, expected in zip(optimizer.param_groups, other.param_groups, strict=True):
        assert {key: value for key, value in group.items() if key != "params"} == {
            key: value for key, value in expected.items() if key != "params"
        }
    assert dict(optimizer.state[ours[0]], mean=0) == {"step": 4, "mean": 0, "label": "even"}
    assert optimizer.param_groups[0]["name"] == "first"


def test_its_state_is_saved_and_loaded():
    params, optimizer = trained(tc)
    file = io.BytesIO()
    tc.save(optimizer.state_dict(), file)
    file.seek(0)
    saved = tc.load(file)
    again, other = trained(tc, steps=1)
    with tc.no_grad():
        for p, q in zip(again, params, strict=True):
            p.copy_(q)
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.05
    mean = optimizer.state[params[0]]["mean"].numpy().copy()
    assert other.state[again[0]]["mean"].numpy().tolist() == mean.tolist()
    for which, held in ((optimizer, params), (other, again)):
        which.zero_grad()
        run(held)
        which.step()
    assert [p.tolist() for p in params] == [p.tolist() for p in again]
    assert saved["state"][0]["mean"].numpy().tolist() == mean.tolist()  # what was saved stays as it was


def test_a_state_comes_in_the_dtype_of_the_parameter():
    w = tc.zeros(2, requires_grad=True)
    optimizer = momentum_of(tc)([w], lr=1.0)
    state = {0: {"mean": tc.ones(2, dtype=tc.float64), "step": tc.tensor(3.0, dtype=tc.float64), "count": tc.tensor(2)}}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    found = optimizer.state[w]
    assert [str(found[name].dtype) for name in ("mean", "step", "count")] == ["float32", "float64", "int64"]


def test_an_option_without_a_default_has_to_be_set():
    w = tc.zeros(2, requires_grad=True)
    assert message(tc.OptionError, momentum_of(tc), [w]) == ("Momentum: lr has no default; each group has to set it")
    assert momentum_of(tc)([{"params": [w], "lr": 0.1}]).param_groups[0]["lr"] == 0.1
    assert repr(required) == "<required>"


def test_it_is_not_captured():
    w = tc.zeros(2, requires_grad=True)
    optimizer = momentum_of(tc)([w], lr=0.1)

    @tc.capture
    def step(x):
        loss = ((w - x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    def steps():
        for _ in range(3):
            step(tc.ones(2))

    assert message(tc.CaptureError, steps).startswith("Momentum.step is Python of your own")
