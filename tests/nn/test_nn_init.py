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


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(nonlinearity):
    assert nn.init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))


def test_the_gain_of_a_slope_and_of_an_unknown_name():
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    expected = (
        "calculate_gain: expected one of linear, conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, "
        "conv_transpose3d, sigmoid, tanh, relu, leaky_relu, selu, got 'gelu'"
    )
    assert message(ValueError, nn.init.calculate_gain, "gelu") == expected


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


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3, 3), (8, 2, 1, 1)])
def test_orthogonal(shape):
    w = nn.init.orthogonal_(tc.zeros(shape, dtype=tc.float64), gain=2.0).numpy().reshape(shape[0], -1)
    square = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(square, 4 * np.eye(min(w.shape)), atol=1e-12)
    assert message(tc.ShapeError, nn.init.orthogonal_, tc.zeros(3)) == (
        "orthogonal_ needs a weight (out, in, ...), got shape (3,)"
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"std": 0.02}, {"mean": 1.0, "a": 0.0, "b": 4.0}, {"a": 1.5, "b": 3.0}, {"mean": -1.0, "a": 2.0, "b": 5.0}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_truncated_normal(options):
    """Its quantiles are torch's, also where few normal numbers are inside."""
    ours = np.sort(nn.init.trunc_normal_(tc.zeros(200, 200), **options).numpy().ravel())
    torch.manual_seed(0)
    theirs = np.sort(torch.nn.init.trunc_normal_(torch.zeros(200, 200), **options).numpy().ravel())
    bounds = {"a": -2.0, "b": 2.0} | options
    assert bounds["a"] <= ours[0] <= ours[-1] <= bounds["b"]
    at = np.linspace(0, ours.size - 1, 50).astype(int)[1:-1]
    np.testing.assert_allclose(ours[at], theirs[at], atol=0.04 * (ours[-1] - ours[0]))


def test_sparse_and_eye():
    w = nn.init.sparse_(tc.zeros(10, 6), 0.25, std=3.0).numpy()
    assert ((w == 0).sum(0) == 3).all()
    assert 1 < w[w != 0].std() < 5
    np.testing.assert_array_equal(nn.init.eye_(tc.ones(2, 3)).numpy(), torch.nn.init.eye_(torch.ones(2, 3)).numpy())
    for fill in (nn.init.eye_, lambda t: nn.init.sparse_(t, 0.1)):
        assert "needs a matrix, got shape (3,)" in message(tc.ShapeError, fill, tc.zeros(3))


FILLS = {
    "uniform_": {}, "normal_": {}, "xavier_uniform_": {}, "xavier_normal_": {}, "kaiming_uniform_": {},
    "kaiming_normal_": {}, "trunc_normal_": {}, "orthogonal_": {}, "sparse_": {"sparsity": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("name", FILLS)
def test_a_generator_of_ones_own(name):
    """The same numbers from generators of one seed, whatever else was drawn; and others from `manual_seed`."""
    fill = getattr(nn.init, name)
    found = []
    for _ in range(2):
        found.append(fill(tc.zeros(4, 3), **FILLS[name], generator=tc.Generator().manual_seed(5)).tolist())
        tc.rand(3)
    assert found[0] == found[1]
    assert fill(tc.zeros(4, 3), **FILLS[name]).tolist() != found[0]


@pytest.mark.parametrize("name", ["kaiming_normal", "xavier_uniform", "normal", "constant", "eye", "orthogonal"])
def test_older_names(name):
    args = (2.0,) if name == "constant" else ()
    with pytest.warns(UserWarning, match=f"nn.init.{name} is how older programs say nn.init.{name}_"):
        assert getattr(nn.init, name)(tc.zeros(3, 3), *args).abs().sum().item() > 0


def test_any_tensor_can_be_filled():
    view = tc.zeros(4, 4)[1:, ::2]
    assert nn.init.trunc_normal_(view) is view
    assert (view != 0).all()
    leaf = tc.zeros(3, 3, requires_grad=True)
    assert nn.init.orthogonal_(leaf).is_leaf
    assert nn.init.orthogonal_(tc.zeros(3, 3, device="meta")).device == "meta"
    assert nn.init.trunc_normal_(tc.zeros(0)).shape == (0,)
