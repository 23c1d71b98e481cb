"""Parameters of float16: rules compute, and keep what they remember, in float32."""

import numpy as np
import pytest
import torch

import tinyconv as tc
from tinyconv import optim

RULES = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    "Adam": {"lr": 0.1},
    "AdamW": {"lr": 0.1, "amsgrad": True},
    "RMSprop": {"lr": 0.1, "momentum": 0.9, "centered": True},
}


def steps(name, grad, dtype, count=3, sizes=((3,), (2, 2))):
    params = [tc.ones(*size, dtype=dtype).requires_grad_() for size in sizes]
    optimizer = getattr(optim, name)(params, **RULES[name])
    for _ in range(count):
        for p in params:
            p.grad = tc.full(p.shape, grad, dtype=dtype)
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("grad", [1e-6, 1e-4, 0.01, 1.0, 300.0, 20000.0])
@pytest.mark.parametrize("name", RULES)
def test_as_in_float64_whatever_the_size_of_the_gradient(name, grad):
    """The squares of 1e-4 and 300 are 0 and infinite in float16."""
    found, _ = steps(name, grad, tc.float16)
    grad = float(np.float16(grad))
    expected, _ = steps(name, grad, tc.float64)
    for p, q in zip(found, expected, strict=True):
        assert p.dtype == tc.float16
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=4e-3, atol=2e-3)


@pytest.mark.parametrize("name", RULES)
def test_the_state_is_float32_and_is_saved_and_taken_back(name):
    (p, _), optimizer = steps(name, 1e-4, tc.float16)
    arrays = {k: v for k, v in optimizer.state[p].items() if hasattr(v, "dtype")}
    assert arrays
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    for key, array in arrays.items():
        np.testing.assert_array_equal(optimizer.state[p][key], array)
        assert optimizer.state[p][key].dtype == array.dtype


def test_a_state_of_pytorchs_is_taken_too():
    theirs = torch.ones(3, dtype=torch.float16, requires_grad=True)
    theirs.grad = torch.full((3,), 0.5, dtype=torch.float16)
    first = torch.optim.Adam([theirs], lr=0.1)
    first.step()
    ours = tc.tensor(theirs.detach().numpy().copy()).requires_grad_()
    second = optim.Adam([ours], lr=0.1)
    second.load_state_dict(first.state_dict())
    ours.grad = tc.full((3,), 0.5, dtype=tc.float16)
    first.step()
    second.step()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-3)
