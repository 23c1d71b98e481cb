"""tinyconv.nn.utils against PyTorch's: parameters as a vector, and the two halves of clipping."""

import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")


def pair():
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Linear(4, 3))
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(4, 3))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_there_and_back():
    ours, theirs = pair()
    mine, other = (
        nn.utils.parameters_to_vector(ours.parameters()),
        torch.nn.utils.parameters_to_vector(theirs.parameters()),
    )
    np.testing.assert_array_equal(mine.detach().numpy(), other.detach().numpy())
    (mine * mine).sum().backward()
    (other * other).sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
    arrays = [p.array for p in ours.parameters()]
    nn.utils.vector_to_parameters(mine * 0.5, ours.parameters())
    torch.nn.utils.vector_to_parameters(other * 0.5, theirs.parameters())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert all(p.array is array and p.is_leaf for p, array in zip(ours.parameters(), arrays, strict=True))


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
def test_the_two_halves_of_clipping(norm_type):
    ours, theirs = pair()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        b.grad = torch.randn_like(b)
        a.grad = tc.tensor(b.grad.numpy())
    mine = nn.utils.get_total_norm([p.grad for p in ours.parameters()], norm_type)
    other = torch.nn.utils.get_total_norm([p.grad for p in theirs.parameters()], norm_type)
    assert mine.item() == pytest.approx(other.item(), rel=1e-5)
    nn.utils.clip_grads_with_norm_(ours.parameters(), 0.5, mine)
    torch.nn.utils.clip_grads_with_norm_(theirs.parameters(), 0.5, other)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5)
    assert nn.utils.get_total_norm([]).item() == 0
    nn.utils.clip_grads_with_norm_([], 0.5, mine)


def step(model, x, clip):
    for p in model.parameters():
        p.grad = None
    loss = (model(x) ** 2).sum()
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters()])
    nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
    half = nn.utils.parameters_to_vector(model.parameters()) * 0.5
    nn.utils.vector_to_parameters(half, model.parameters())
    return norm


def test_all_of_it_works_in_a_captured_step():
    tc.manual_seed(0)
    model, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    captured = tc.capture(lambda x: step(model, x, 0.1))
    for i in range(5):
        x = tc.full((4, 3), 1.0 + i)
        assert captured(x).item() == pytest.approx(step(twin, x, 0.1).item(), rel=1e-5)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-5)
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4)


MISTAKES = [
    (lambda p: nn.utils.parameters_to_vector([]), tc.optim.ParameterError, "there are no parameters"),
    (lambda p: nn.utils.parameters_to_vector([p, 1]), tc.optim.ParameterError, "expected tensors, got int at position"),
    (lambda p: nn.utils.parameters_to_vector(p), tc.optim.ParameterError, "got one tensor; put it in a list"),
    (lambda p: nn.utils.vector_to_parameters(p, [p]), tc.ShapeError, r"expected a vector \(6,\), got \(2, 3\)"),
    (lambda p: nn.utils.vector_to_parameters([1.0], [p]), tc.optim.ParameterError, "expected tensors, got list"),
    (lambda p: nn.utils.get_total_norm([p], 0), tc.OptionError, "get_total_norm: norm_type"),
    (lambda p: nn.utils.get_total_norm([p / 0], error_if_nonfinite=True), tc.optim.NonFiniteError, "the norm is inf"),
    (lambda p: nn.utils.clip_grads_with_norm_([p], -1, p), tc.OptionError, "clip_grads_with_norm_: max_norm"),
]


@pytest.mark.parametrize(("do", "kind", "text"), MISTAKES)
def test_mistakes(do, kind, text):
    with pytest.raises(kind, match=text):
        do(tc.ones(2, 3))
