"""Gradient clipping against PyTorch's, and what it leaves alone."""

import math

import numpy as np
import pytest
from oracle import assert_allclose, assert_array_equal, on_the_host

import tinyconv as tc
from tinyconv.optim import NonFiniteError, OptionError, ParameterError, clip_grad_norm_, clip_grad_value_
from tinyconv.tensor.tensor import Tensor

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]


def pair_of_lists(dtype=np.float64):
    """The same parameters twice, the second time PyTorch's; the one of shape (5,) has no gradient."""
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for shape in SHAPES:
        grad = rng.standard_normal(shape).astype(dtype) if shape != (5,) else None
        ours.append(Tensor(np.zeros(shape), requires_grad=True, dtype=dtype))
        theirs.append(torch.tensor(np.zeros(shape, dtype), requires_grad=True))
        if grad is not None:
            ours[-1].grad, theirs[-1].grad = Tensor(grad, dtype=dtype), torch.tensor(grad)
    return ours, theirs


def assert_same_grads(ours, theirs, rtol):
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            assert_allclose(mine.grad.array, other.grad.numpy(), rtol=rtol)


@pytest.mark.parametrize("max_norm", [0.0, 0.1, 1, 100.0, math.inf])
@pytest.mark.parametrize("norm_type", [1, 2.0, 3.5, math.inf])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_clip_grad_norm_equals_torchs(max_norm, norm_type, dtype, rtol):
    ours, theirs = pair_of_lists(dtype)
    arrays = [p.grad.array for p in ours if p.grad is not None]
    norm = clip_grad_norm_(iter(ours), max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert isinstance(norm, Tensor)
    assert norm.shape == ()
    assert norm.dtype == dtype
    assert norm.item() == pytest.approx(expected.item(), rel=rtol)
    assert_same_grads(ours, theirs, rtol)
    grads = [p.grad for p in ours if p.grad is not None]
    assert all(grad.array is array and grad.dtype == dtype for grad, array in zip(grads, arrays, strict=True))
    assert [grad._storage.written >= 0 for grad in grads] == [max_norm < math.inf] * 3


def test_the_comparison_rejects_clipping_each_gradient_by_itself():
    ours, theirs = pair_of_lists()
    for param in ours:
        clip_grad_norm_(param, 0.5)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    with pytest.raises(AssertionError):
        assert_same_grads(ours, theirs, 1e-3)


@pytest.mark.parametrize("clip_value", [0, 0.3, 10.0])
def test_clip_grad_value_equals_torchs(clip_value):
    ours, theirs = pair_of_lists(np.float32)
    clip_grad_value_(ours, clip_value)
    torch.nn.utils.clip_grad_value_(theirs, clip_value)
    assert_same_grads(ours, theirs, rtol=0)
    assert {p.grad.dtype for p in ours if p.grad is not None} == {np.dtype(np.float32)}
    assert all(p.grad._storage.written >= 0 for p in ours if p.grad is not None)


@on_the_host
def test_one_tensor_strides_and_no_gradients():
    param = Tensor(np.zeros((2, 3)), requires_grad=True)
    assert clip_grad_norm_(param, 1.0).array == 0
    assert clip_grad_norm_([], 1.0).array == 0
    clip_grad_value_(param, 1.0)
    param.grad = Tensor(np.zeros((2, 3)))
    param.grad.array = np.full((3, 2), 2.0, np.float32).T
    assert clip_grad_norm_(param, 1.0).array == pytest.approx(math.sqrt(24))
    assert_allclose(param.grad.array, np.full((2, 3), 1 / math.sqrt(6)), rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_an_error_only_if_asked_for(bad):
    param = Tensor([0.0, 0.0], requires_grad=True)
    param.grad = Tensor([bad, 1.0])
    with pytest.raises(NonFiniteError, match=rf"the norm of the gradients is {bad}, so no factor can bring it to 1\.0"):
        clip_grad_norm_([param], 1.0, error_if_nonfinite=True)
    assert_array_equal(param.grad.array, [bad, 1.0])
    param.grad = Tensor([math.nan, 1.0])
    assert math.isnan(clip_grad_norm_([param], 1.0).item())
    assert param.grad.isnan().all()


def test_parameters_that_share_what_flowed_back_are_scaled_once_each():
    first, second = (Tensor([3.0, 4.0], requires_grad=True) for _ in range(2))
    (first + second).sum().backward()
    clip_grad_norm_([first, second], 1.0)
    for param in (first, second):
        assert_allclose(param.grad, [0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda p: clip_grad_norm_([p], -1.0), OptionError, r"clip_grad_norm_: max_norm: expected .* >= 0, got -1\.0"),
        (lambda p: clip_grad_norm_([p], math.nan), OptionError, r"max_norm: expected .*, got nan"),
        (lambda p: clip_grad_norm_([p], 1.0, 0), OptionError, r"clip_grad_norm_: norm_type: expected .* > 0, got 0"),
        (lambda p: clip_grad_norm_([("w", p)], 1.0), ParameterError, r"got tuple in it; pass model\.parameters\(\)"),
        (lambda p: clip_grad_value_([p], -1.0), OptionError, r"clip_grad_value_: clip_value: expected .* >= 0, got -1"),
        (lambda p: clip_grad_value_([1.0], 1.0), ParameterError, r"clip_grad_value_: expected .*, got float in it"),
    ],
)
def test_mistakes_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(Tensor([1.0], requires_grad=True))


@pytest.mark.parametrize("given", [[300.0, 400.0], [20.0] * 5000, [1e-4] * 7], ids=["squares", "sum", "small"])
def test_float16_gradients_whose_squares_do_not_fit(given):
    w = tc.zeros(len(given), dtype=tc.float16, requires_grad=True)
    w.grad = tc.tensor(given, dtype=tc.float16)
    exact = np.sqrt((w.grad.cpu().numpy().astype(float) ** 2).sum())
    norm = clip_grad_norm_([w], 1e-4)
    assert norm.dtype == w.grad.dtype == tc.float16
    assert norm.item() == pytest.approx(exact, rel=1e-3)
    kept = np.sqrt((w.grad.cpu().numpy().astype(float) ** 2).sum())
    assert kept == pytest.approx(1e-4, rel=0.05)  # of numbers down to a few steps of float16


def test_float16_gradients_are_clipped_though_their_norm_does_not_fit():
    w = tc.zeros(4, dtype=tc.float16, requires_grad=True)
    w.grad = tc.full((4,), 60000.0, dtype=tc.float16)
    assert clip_grad_norm_([w], 2.0, error_if_nonfinite=True).item() == np.inf  # 120000 in float16
    np.testing.assert_allclose(w.grad.cpu().numpy(), 1, rtol=1e-3)
