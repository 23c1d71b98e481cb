"""Weight norm and spectral norm against PyTorch's: names, values, gradients, training, states, and back again."""

import copy

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, check

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")

LAYERS = {
    "Linear": ((4, 3), (5, 4)),
    "Conv1d": ((4, 6, 3), (2, 4, 6)),
    "Conv2d": ((2, 4, 3), (2, 2, 5, 5)),
    "ConvTranspose2d": ((2, 4, 3), (2, 2, 4, 4)),
}
NORMS = [
    ("weight_norm", {}),
    ("weight_norm", {"dim": 1}),
    ("weight_norm", {"dim": None}),
    ("weight_norm", {"dim": -1}),
    ("weight_norm", {"name": "bias"}),
    ("spectral_norm", {}),
    ("spectral_norm", {"dim": 1, "n_power_iterations": 3}),
    ("spectral_norm", {"eps": 0.5}),
]


def pair(layer, norm, options):
    """Both libraries' layers with the same state, and an input."""
    args, shape = LAYERS[layer]
    made = [getattr(lib.nn.utils, norm)(getattr(lib.nn, layer)(*args).double(), **options) for lib in (tc, torch)]
    made[0].load_state_dict(made[1].state_dict())
    return *made, np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(("norm", "options"), NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_they_are_called_and_trained_as_torchs(layer, norm, options):
    ours, theirs, x = pair(layer, norm, options)
    shapes = [{name: tuple(t.shape) for name, t in each.state_dict().items()} for each in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    for training in (True, True, False):
        losses = []
        for lib, each in ((tc, ours), (torch, theirs)):
            optimizer = lib.optim.SGD(each.parameters(), lr=0.1)
            each.train(training)
            loss = (each(lib.tensor(x)) ** 2).mean() + each(lib.tensor(x)).sum()  # two calls before the gradient
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
        for name, value in theirs.state_dict().items():
            assert_allclose(ours.state_dict()[name], value.numpy(), rtol=1e-7, atol=1e-10)
    getattr(nn.utils, f"remove_{norm}")(ours, options.get("name", "weight"))
    getattr(torch.nn.utils, f"remove_{norm}")(theirs, options.get("name", "weight"))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_allclose(ours(tc.tensor(x)), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-8)
    assert ours._hooks is None


@pytest.mark.parametrize(
    ("norm", "options"), [("weight_norm", {}), ("weight_norm", {"dim": None}), ("spectral_norm", {})]
)
def test_gradients_of_gradients(norm, options):
    ours, theirs, x = pair("Linear", norm, options)
    parts = [name for name, _ in theirs.named_parameters() if name != "bias"]
    values = [theirs.state_dict()[name].numpy() for name in parts]
    ours.eval(), theirs.eval()

    def called(lib, layer):
        call = nn.functional_call if lib is tc else torch.func.functional_call
        return lambda x, *given: call(layer, dict(zip(parts, given, strict=True)), (x,))

    check(called(tc, ours), called(torch, theirs), [x, *values], magnitude=10)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_a_captured_step_trains_as_an_eager_one(norm):
    x = np.random.default_rng(1).standard_normal((6, 8, 3)).astype(np.float32)

    def trained(wrapped):
        tc.manual_seed(0)
        net = nn.Sequential(getattr(nn.utils, norm)(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 1))
        optimizer = tc.optim.SGD(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = tc.capture(step) if wrapped else step
        losses = [run(tc.tensor(batch)).item() for batch in x]
        return [*losses, *(t.tolist() for t in net.state_dict().values())]

    for captured, eager in zip(trained(True), trained(False), strict=True):
        assert_allclose(captured, eager, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_on_threads(norm):
    tc.manual_seed(0)
    layer = getattr(nn.utils, norm)(nn.Linear(3, 4)).eval()
    x = tc.randn(6, 3)
    for _ in range(2):
        layer.zero_grad()
        y = nn.DataParallel(layer, threads=2, tile=2)(x)
        y.sum().backward()
        found = [p.grad.tolist() for p in layer.parameters()]
        layer.zero_grad()
        assert_allclose(y, layer(x).detach().numpy(), rtol=1e-5)
        layer(x).sum().backward()
        for mine, p in zip(found, layer.parameters(), strict=True):
            assert_allclose(mine, p.grad.tolist(), rtol=1e-4, atol=1e-6)
        with tc.no_grad():
            next(iter(layer.parameters())).add_(1.0)
            layer.weight_orig.mul_(2.0) if norm == "spectral_norm" else layer.weight_g.mul_(2.0)


def test_spectral_norm_finds_the_largest_singular_value():
    layer = nn.utils.spectral_norm(nn.Linear(6, 5), n_power_iterations=50)
    layer(tc.ones(1, 6))
    assert np.linalg.svd(layer.weight.numpy())[1].max() == pytest.approx(1, rel=1e-5)


def test_an_initialiser_after_spectral_norm_is_heard():
    for lib in (tc, torch):
        layer = lib.nn.utils.spectral_norm(lib.nn.Linear(3, 2))
        lib.nn.init.constant_(layer.weight, 3.0)
        assert layer.weight_orig.tolist() == [[3.0] * 3] * 2


def test_copies_and_dtypes():
    net = nn.utils.spectral_norm(nn.Linear(3, 2))
    twin = copy.deepcopy(net).half()
    assert {t.dtype for t in twin.state_dict().values()} == {np.dtype("float16")}
    assert twin(tc.ones(1, 3, dtype=tc.float16)).dtype == tc.float16
    assert nn.utils.weight_norm(nn.Linear(3, 2)).half()(tc.ones(1, 3, dtype=tc.float16)).dtype == tc.float16


def test_what_they_refuse():
    layer, bare = nn.utils.weight_norm(nn.Linear(3, 2)), nn.Linear(3, 2, bias=False)
    assert message(tc.ModuleError, nn.utils.weight_norm, layer) == "weight_norm: Linear.weight has one already"
    assert message(tc.ModuleError, nn.utils.weight_norm, bare, "bias") == (
        "weight_norm: Linear.bias is no parameter; it has weight, bias"
    )
    assert message(tc.ModuleError, nn.utils.spectral_norm, nn.LazyLinear(2)) == (
        "spectral_norm: LazyLinear.weight has no shape before the first call: run the model once"
    )
    assert message(tc.ShapeError, nn.utils.spectral_norm, nn.Linear(3, 2), "bias") == (
        "spectral_norm: expected a weight of at least two axes, got (2,)"
    )
    assert "dim 2 is out of range" in message(tc.ShapeError, nn.utils.weight_norm, nn.Linear(3, 2), dim=2)
    assert message(ValueError, nn.utils.remove_weight_norm, bare) == "remove_weight_norm: Linear has none of 'weight'"
    assert message(ValueError, nn.utils.remove_spectral_norm, layer) == (
        "remove_spectral_norm: Linear has none of 'weight'"
    )
    assert message(tc.ShapeError, nn.utils.spectral_norm, bare, n_power_iterations=0)
    assert list(bare.state_dict()) == ["weight"]
