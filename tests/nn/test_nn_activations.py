"""Activations as layers: they print as torch's, compute what torch's do, and refuse what they cannot take."""

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, check

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn

torch = pytest.importorskip("torch")
X = np.random.default_rng(0).standard_normal((2, 4, 3, 3)) * 3

LAYERS = [
    ("CELU", (), {}), ("CELU", (2.0, True), {}), ("ELU", (), {}), ("ELU", (0.5,), {"inplace": True}),
    ("GELU", ("tanh",), {}), ("GLU", (), {}), ("GLU", (1,), {}), ("SELU", (), {}), ("SELU", (True,), {}),
    ("Hardshrink", (), {}), ("Hardshrink", (1.0,), {}), ("Hardsigmoid", (), {}), ("Hardsigmoid", (True,), {}),
    ("Hardswish", (), {}), ("Hardswish", (True,), {}), ("Hardtanh", (), {}), ("Hardtanh", (-2.0, 0.5, True), {}),
    ("LeakyReLU", (0.2,), {}), ("LeakyReLU", (0.2,), {"inplace": True}), ("LogSigmoid", (), {}),
    ("LogSoftmax", (1,), {}), ("Mish", (), {}), ("Mish", (True,), {}), ("PReLU", (), {}), ("PReLU", (4, 0.1), {}),
    ("RReLU", (0.25, 0.25), {}), ("RReLU", (), {"lower": 0.5, "upper": 0.5, "inplace": True}),
    ("ReLU", (), {}), ("ReLU", (True,), {}), ("ReLU6", (), {}), ("ReLU6", (True,), {}), ("SiLU", (), {}),
    ("SiLU", (), {"inplace": True}), ("Sigmoid", (), {}), ("Softmax", (1,), {}), ("Softmax2d", (), {}),
    ("Softmin", (1,), {}), ("Softplus", (), {}), ("Softplus", (2.0, 1.0), {}), ("Softshrink", (), {}),
    ("Softshrink", (1.0,), {}), ("Softsign", (), {}), ("Tanh", (), {}), ("Tanhshrink", (), {}),
    ("Threshold", (0.1, 20.0), {}), ("Threshold", (0.1, -20.0, True), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "options"), LAYERS)
def test_they_do_and_print_what_torchs_do(name, args, options):
    ours, theirs = (getattr(library.nn, name)(*args, **options) for library in (tc, torch))
    assert repr(ours) == repr(theirs)
    x = X if name != "GLU" or args else X[..., :2]
    ours, theirs = ours.double(), theirs.double()
    if name == "Hardsigmoid":  # torch's gradient of it has float32's digits
        check(lambda x: ours(x.float()), lambda x: theirs(x.float()), [x], magnitude=1)
    else:
        check(lambda x: ours(x * 1.0), lambda x: theirs(x * 1.0), [x], magnitude=1)


def test_every_activation_is_among_them():
    from tinyconv.nn import activations

    assert {name for name, *_ in LAYERS} == set(activations.__all__)


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_learns(slopes):
    ours, theirs = nn.PReLU(slopes, dtype=tc.float64), torch.nn.PReLU(slopes, dtype=torch.float64)
    for library, layer in ((tc, ours), (torch, theirs)):
        (layer(library.tensor(X)) ** 2).sum().backward()
    assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12)
    assert list(ours.state_dict()) == ["weight"]


INPLACE = ["relu_", "leaky_relu_", "elu_", "selu_", "celu_", "hardtanh_", "threshold_", "rrelu_"]


@pytest.mark.parametrize("name", INPLACE)
def test_functions_that_write_in_place(name):
    args = (0.5, 20.0) if name == "threshold_" else ()
    x, theirs = tc.tensor(X), torch.tensor(X)
    y = getattr(F, name)(x, *args)
    assert y is x
    assert_allclose(x, getattr(torch.nn.functional, name)(theirs, *args).numpy(), rtol=1e-12)


def test_what_they_refuse():
    x = tc.zeros(2, 3)
    assert message(tc.ShapeError, F.prelu, x, tc.ones(2)) == (
        "prelu: input is (2, 3), so weight must be (1,) or (3,), got (2,)"
    )
    assert message(tc.DtypeError, F.prelu, x, tc.ones(1, dtype=tc.float64)) == (
        "prelu: input and weight need one floating-point dtype, got float32 and float64"
    )
    assert message(tc.ShapeError, F.glu, x) == "glu: axis -1 is to be halved, and the input is (2, 3)"
    assert (
        message(ValueError, F.hardtanh, x, 2.0, 1.0) == "hardtanh: min_val must not be above max_val, got 2.0 and 1.0"
    )
    assert message(ValueError, nn.Hardtanh, 1, 1) == "Hardtanh: min_val must be below max_val, got 1 and 1"
    assert message(tc.OptionError, F.softshrink, x, -1) == "softshrink: lambd: expected a finite number >= 0, got -1"
    assert message(ZeroDivisionError, F.celu, x, 0.0)
    assert message(tc.ShapeError, nn.Softmax2d(), x) == "Softmax2d: expected (N, C, H, W) or (C, H, W), got (2, 3)"


@pytest.mark.parametrize("name", ["relu6", "hardswish", "elu", "softplus", "mish", "hardsigmoid"])
def test_half_precision(name):
    x = np.linspace(-6, 6, 60).astype(np.float16)
    ours = getattr(F, name)(tc.tensor(x))
    assert ours.dtype == tc.float16
    assert_allclose(ours.float(), getattr(torch.nn.functional, name)(torch.tensor(x)).float().numpy(), atol=4e-3)


def test_rrelu_draws_a_slope_for_each_element_in_training():
    tc.manual_seed(0)
    layer, x = nn.RReLU(0.1, 0.3), tc.tensor(-abs(X), requires_grad=True)
    y = layer(x)
    slopes = (y / x).detach().numpy()
    assert slopes.min() >= 0.1
    assert slopes.max() <= 0.3
    assert np.ptp(slopes) > 0.15
    (y * y).sum().backward()
    assert_allclose(x.grad, 2 * slopes**2 * x.numpy())
    assert_allclose(F.rrelu(tc.tensor([2.0, float("nan"), -0.0]), training=True), [2.0, np.nan, 0.0])
    assert repr(nn.RReLU()) == repr(torch.nn.RReLU())
    assert message(tc.OptionError, F.rrelu, x, 0.5, 0.25) == "rrelu: lower must not be above upper, got 0.5 and 0.25"
    assert message(tc.DtypeError, F.rrelu, tc.tensor([1])) == (
        "rrelu: expected a floating-point input, got int64: input.float()?"
    )


@pytest.mark.parametrize("dtype", [tc.float16, tc.float32, tc.float64])
def test_gumbel_softmax_draws_a_class_by_its_probability(dtype):
    tc.manual_seed(0)
    probabilities = np.array([0.5, 0.3, 0.2])
    logits = tc.tensor(np.log(probabilities), dtype=dtype).expand(4000, 3)
    y = F.gumbel_softmax(logits, hard=True)
    assert y.dtype == dtype
    assert set(y.sum(1).tolist()) == {1.0}
    assert_allclose(y.double().mean(0), probabilities, atol=0.03)
    soft = F.gumbel_softmax(logits, tau=100.0, dim=0)
    assert_allclose(soft.double().sum(0), np.ones(3), atol=2e-2 if dtype == tc.float16 else 1e-5)


def test_the_hard_gumbel_softmax_has_the_gradient_of_the_soft_one():
    grads, weights = [], tc.tensor([1.0, 2.0, 4.0])
    for hard in (True, False):
        tc.manual_seed(1)
        logits = tc.zeros(5, 3, requires_grad=True)
        (F.gumbel_softmax(logits, 0.5, hard) * weights).sum().backward()
        grads.append(logits.grad)
    assert_allclose(grads[0], grads[1].numpy())
    with pytest.warns(UserWarning, match="gumbel_softmax: eps has no effect"):
        F.gumbel_softmax(logits, eps=1e-5)
    assert message(tc.DtypeError, F.gumbel_softmax, tc.tensor([1, 2])) == (
        "gumbel_softmax: expected floating-point logits, got int64: logits.float()?"
    )


@pytest.mark.parametrize("function", [lambda x: F.rrelu(x, training=True), F.gumbel_softmax])
def test_chance_is_new_at_each_replay_of_a_captured_step(function):
    step, x = tc.capture(function), tc.tensor(-abs(X).astype(np.float32))
    tc.manual_seed(0)
    seen = [step(x).tolist() for _ in range(4)]
    tc.manual_seed(0)
    assert seen == [function(x).tolist() for _ in range(4)]
    assert seen[2] != seen[3]


def test_the_corners_of_hardsigmoid_in_float16():
    values = np.array([-3, -2.998, 2.998, 3], np.float16)
    x, other = tc.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    F.hardsigmoid(x).sum().backward()
    torch.nn.functional.hardsigmoid(other).sum().backward()
    assert_allclose(x.grad, other.grad.numpy(), rtol=1e-3)


def test_in_a_captured_step():
    net = nn.Sequential(nn.Linear(4, 4), nn.Hardswish(True), nn.Linear(4, 4), nn.PReLU(4), nn.ELU(inplace=True))

    def step(x):
        loss = (F.softplus(net(x)) * F.threshold(x, 0.1, 0.5)).sum()
        loss.backward()
        return loss

    captured = tc.capture(step)
    for i in range(5):
        x = tc.tensor(X[:, :, i % 3, 0].astype(np.float32))
        net.zero_grad()
        expected, gradients = step(x).item(), [p.grad.tolist() for p in net.parameters()]
        net.zero_grad()
        assert_allclose(captured(x).item(), expected, rtol=1e-5)
        for p, gradient in zip(net.parameters(), gradients, strict=True):
            assert_allclose(p.grad.tolist(), gradient, rtol=1e-4, atol=1e-6)
