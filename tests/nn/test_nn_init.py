"""Initialisers: their fans, bounds and distributions are torch's, and so are the layers' own."""

from math import sqrt

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def seed():
    tc.manual_seed(0)


@pytest.mark.parametrize("shape", [(3, 5), (4, 6, 3), (4, 6, 3, 5), (7, 1, 1, 1)])
def test_fans(shape):
    assert nn.init.fans(tc.ones(shape)) == torch.nn.init._calculate_fan_in_and_fan_out(torch.ones(shape))


def test_fans_of_a_vector():
    expected = "fan_in and fan_out need a weight (out, in, ...), got shape (3,)"
    assert message(tc.ShapeError, nn.init.fans, tc.ones(3)) == expected
    assert message(tc.ShapeError, nn.init.kaiming_uniform_, tc.ones(3)) == expected


@pytest.mark.parametrize("nonlinearity", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains(nonlinearity):
    assert nn.init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))


def test_the_gain_of_a_slope_and_of_an_unknown_name():
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    expected = "calculate_gain: expected one of linear, sigmoid, tanh, relu, leaky_relu, got 'selu'"
    assert message(ValueError, nn.init.calculate_gain, "selu") == expected


@pytest.mark.parametrize("fill", [nn.init.kaiming_uniform_, nn.init.kaiming_normal_])
def test_a_fan_that_does_not_exist(fill):
    expected = "kaiming: mode must be 'fan_in' or 'fan_out', got 'fan'"
    assert message(ValueError, fill, tc.zeros(2, 3), mode="fan") == expected


RANDOM = {
    "uniform_": ("uniform_", {}),
    "uniform_ on -2 to 3": ("uniform_", {"a": -2, "b": 3}),
    "normal_": ("normal_", {}),
    "normal_ of mean 2": ("normal_", {"mean": 2, "std": 0.5}),
    "xavier_uniform_": ("xavier_uniform_", {}),
    "xavier_normal_ with a gain": ("xavier_normal_", {"gain": 2.0}),
    "kaiming_uniform_": ("kaiming_uniform_", {}),
    "kaiming_uniform_ as in layers": ("kaiming_uniform_", {"a": sqrt(5)}),
    "kaiming_uniform_ by outputs": ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
    "kaiming_normal_": ("kaiming_normal_", {}),
    "kaiming_normal_ by outputs": ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
}


@pytest.mark.parametrize(("name", "options"), RANDOM.values(), ids=RANDOM)
def test_distributions(name, options):
    torch.manual_seed(0)
    ours, theirs = tc.zeros(64, 48, 3, 5), torch.zeros(64, 48, 3, 5)
    assert getattr(nn.init, name)(ours, **options) is ours
    getattr(torch.nn.init, name)(theirs, **options)
    theirs = theirs.numpy().astype(float)
    assert ours.dtype == tc.float32
    assert ours.mean().item() == pytest.approx(theirs.mean(), abs=0.02 * theirs.std())
    assert ours.std().item() == pytest.approx(theirs.std(), rel=0.01)
    if "uniform" in name:
        for end in (np.min, np.max):
            assert end(ours.numpy()) == pytest.approx(end(theirs), abs=0.01 * theirs.std())
    else:
        assert (abs(ours.numpy() - theirs.mean()) < theirs.std()).mean() == pytest.approx(0.6827, abs=0.01)


def test_constants_and_float64():
    x = tc.zeros(2, dtype=tc.float64)
    assert nn.init.constant_(x, 0.1).tolist() == [0.1, 0.1]
    assert nn.init.ones_(x).tolist() == [1.0, 1.0]
    assert nn.init.zeros_(x).tolist() == [0.0, 0.0]
    assert nn.init.normal_(x).dtype == tc.float64


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(6, 4, 3), (4, 6, 3, 3), (8, 3, 2, 4), (6, 6, 3, 1, 5)])
def test_dirac_is_torchs(shape, groups):
    ours, theirs = tc.randn(*shape), torch.randn(*shape)
    assert nn.init.dirac_(ours, groups) is ours
    np.testing.assert_array_equal(ours.numpy(), torch.nn.init.dirac_(theirs, groups).numpy())


def test_what_dirac_cannot_fill():
    expected = "dirac_ needs filters (F, C, ...) with 1 to 3 more axes, got shape (3, 3)"
    assert message(tc.ShapeError, nn.init.dirac_, tc.ones(3, 3)) == expected
    x = tc.ones(6, 2, 3)
    expected = "dirac_ needs groups that divide its 6 filters, got groups=4"
    assert message(tc.ShapeError, nn.init.dirac_, x, 4) == expected
    assert x.tolist() == tc.ones(6, 2, 3).tolist(), "nothing is lost"


def test_parameters_are_filled_unrecorded():
    p = nn.Parameter(tc.zeros(3, 3))
    nn.init.kaiming_normal_(p)
    assert p.is_leaf
    assert p.requires_grad
    assert abs(p).sum().item() > 0


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("Linear", (200, 300), {}),
        ("Linear", (200, 300), {"bias": False}),
        ("Conv2d", (16, 32, (3, 5)), {}),
        ("Conv2d", (16, 32, 3), {"groups": 4}),
    ],
)
def test_layers_start_as_torchs(name, args, options):
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    fan_in, _ = nn.init.fans(ours.weight)
    for p, (key, q) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        q = q.detach().numpy()
        bound = 1 / sqrt(fan_in)
        assert abs(p.numpy()).max() <= bound
        assert abs(q).max() <= bound
        tolerance = 0.02 if key == "weight" else 0.4  # there are few biases
        assert p.numpy().std() == pytest.approx(q.std(), rel=tolerance)
        assert p.numpy().max() == pytest.approx(bound, rel=tolerance)


def test_normalisation_starts_as_the_identity():
    for layer in (nn.BatchNorm2d(3), nn.BatchNorm1d(3), nn.LayerNorm(3)):
        assert layer.weight.tolist() == [1.0] * 3
        assert layer.bias.tolist() == [0.0] * 3
    norm = nn.BatchNorm2d(3)
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0.0] * 3, [1.0] * 3)
    assert norm.num_batches_tracked.item() == 0


def test_reset_parameters_draws_anew():
    layer = nn.Linear(3, 3)
    before, weight = layer.weight.tolist(), layer.weight
    layer.reset_parameters()
    assert layer.weight is weight
    assert layer.weight.tolist() != before
