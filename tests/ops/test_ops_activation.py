"""Activations against torch where it is most exact: far out, at NaN, at infinities. Dropout, which has no reference."""

import numpy as np
import pytest
import torch
from oracle import check

import tinyconv as tc
from tinyconv import functional as F

REF = torch.nn.functional

# What cancels: nothing in a choice; in the derivatives of the others, terms as large as the gradient.
ACTIVATIONS = {
    "relu": (F.relu, REF.relu, 0),
    "leaky_relu": (F.leaky_relu, REF.leaky_relu, 0),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: REF.leaky_relu(x, 0.3), 0),
    "sigmoid": (F.sigmoid, torch.sigmoid, 1),
    "tanh": (F.tanh, torch.tanh, 1),
    "silu": (F.silu, REF.silu, 1),
    "relu6": (F.relu6, REF.relu6, 0),
    "hardswish": (F.hardswish, REF.hardswish, 1),
    "elu": (F.elu, REF.elu, 1),
    "selu": (F.selu, REF.selu, 1),
    "celu 2": (lambda x: F.celu(x, 2.0), lambda x: REF.celu(x, 2.0), 1),
    "softplus": (F.softplus, REF.softplus, 1),
    "logsigmoid": (F.logsigmoid, REF.logsigmoid, 1),
    "mish": (F.mish, REF.mish, 1),
    "gelu": (F.gelu, REF.gelu, 1),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: REF.gelu(x, approximate="tanh"), 1),
}
each_activation = pytest.mark.parametrize("name", ACTIVATIONS)


@each_activation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_far_out(name, dtype):
    """Where e^x overflows and underflows, and on a grid fine enough to meet every branch of erf."""
    ours, theirs, magnitude = ACTIVATIONS[name]
    x = np.concatenate([np.linspace(-12, 12, 4001), [-1e4, -1e2, 1e2, 1e4]]).astype(dtype)
    check(ours, theirs, [x], magnitude=magnitude)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("relu6", "hardswish")])
def test_activation_of_nan(name):
    ours, theirs, magnitude = ACTIVATIONS[name]
    check(ours, theirs, [np.array([np.nan, 0.0, -0.0, 1.0])], magnitude=magnitude)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_activation_of_infinities(name):
    ours, theirs, magnitude = ACTIVATIONS[name]
    check(ours, theirs, [np.array([np.inf, -np.inf, 1.0])], magnitude=magnitude)


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
@pytest.mark.parametrize("ndim", range(5))
def test_the_axis_of_softmax_where_none_is_given(name, ndim):
    """The rule of older programs, with a warning as in torch."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 2)[:ndim])
    with pytest.warns(UserWarning, match=f"{name}: no dim is given"):
        ours = getattr(F, name)(tc.tensor(x))
    with pytest.warns(UserWarning, match="Implicit dimension"):
        theirs = getattr(REF, name)(torch.tensor(x))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("row", [[-np.inf, 0.0, 1.0], [-np.inf, -np.inf], [np.inf, 0.0], [np.nan, 0.0]], ids=str)
def test_softmax_of_infinities(name, row):
    check(lambda x: getattr(F, name)(x, 0), lambda x: getattr(REF, name)(x, 0), [np.array(row)], magnitude=1)


class TestDropout:
    """There is no reference, because the random numbers are ours."""

    def test_statistics(self):
        tc.manual_seed(0)
        x = tc.ones(400, 500)
        y = F.dropout(x, 0.3).numpy()
        kept = y != 0
        assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.3 * 0.7 / x.numel())
        np.testing.assert_array_equal(y[kept], np.float32(1 / 0.7))
        for axis in (0, 1):  # no row or column is dropped as one
            assert kept.mean(axis).std() < 0.05

    def test_gradient_has_the_mask_of_the_output(self):
        tc.manual_seed(0)
        x = tc.randn(50, 50, dtype=tc.float64).requires_grad_()
        y = F.dropout(x, 0.6)
        dy = tc.randn(50, 50, dtype=tc.float64)
        y.backward(dy)
        np.testing.assert_allclose(x.grad.numpy(), dy.numpy() * (y.detach().numpy() / x.detach().numpy()), rtol=1e-12)

    def test_seeded(self):
        masks = []
        for seed in (1, 1, 2):
            tc.manual_seed(seed)
            masks.append(F.dropout(tc.ones(100)).numpy())
        np.testing.assert_array_equal(masks[0], masks[1])
        assert (masks[0] != masks[2]).any()

    def test_identity_in_evaluation(self):
        x = tc.randn(3, 4)
        assert F.dropout(x, 0.9, training=False) is x
        assert F.dropout(x, 0.0) is x

    @pytest.mark.parametrize("dtype", [tc.float32, tc.float64])
    def test_drops_all(self, dtype):
        x = tc.ones(3, dtype=dtype).requires_grad_()
        y = F.dropout(x, 1.0)
        y.sum().backward()
        for array in (y.detach().numpy(), x.grad.numpy()):
            assert array.dtype == dtype
            assert not array.any()
