"""Weight norm and spectral norm against PyTorch's: names, values, gradients, training, states, and back again."""

import copy
import pickle

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


@pytest.mark.usefixtures("everywhere")
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


NEW = [
    ("weight_norm", {}),
    ("weight_norm", {"dim": 1}),
    ("weight_norm", {"dim": None}),
    ("spectral_norm", {}),
    ("spectral_norm", {"dim": 1, "n_power_iterations": 3}),
    ("spectral_norm", {"name": "bias", "dim": 0}),
]


def parametrized(lib, layer, norm, options):
    return getattr(lib.nn.utils.parametrizations, norm)(getattr(lib.nn, layer)(*LAYERS[layer][0]).double(), **options)


@pytest.mark.parametrize(("norm", "options"), NEW)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_new_forms_are_called_and_trained_as_torchs(layer, norm, options):
    ours, theirs = (parametrized(lib, layer, norm, options) for lib in (tc, torch))
    assert repr(ours) == repr(theirs)
    shapes = [{name: tuple(t.shape) for name, t in each.state_dict().items()} for each in (ours, theirs)]
    assert list(shapes[0].items()) == list(shapes[1].items())
    ours.load_state_dict(theirs.state_dict())
    x, name = np.random.default_rng(0).standard_normal(LAYERS[layer][1]), options.get("name", "weight")
    for training in (True, True, False):
        losses = []
        for lib, each in ((tc, ours), (torch, theirs)):
            optimizer = lib.optim.SGD(each.parameters(), lr=0.1)
            each.train(training)
            loss = (each(lib.tensor(x)) ** 2).mean() + each(lib.tensor(x)).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
        for key, value in theirs.state_dict().items():
            assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-7, atol=1e-10)
    value = np.random.default_rng(1).standard_normal(getattr(theirs, name).shape)
    for lib, each in ((tc, ours), (torch, theirs)):
        with lib.no_grad():
            setattr(each, name, lib.tensor(value))
        lib.nn.utils.parametrize.remove_parametrizations(each, name)
    assert type(ours) is getattr(nn, layer)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert_allclose(ours(tc.tensor(x)), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-8)


def test_the_new_weight_norm_takes_a_state_of_the_old_form():
    old = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    state = old.state_dict()
    new.load_state_dict(state)
    assert_allclose(new(tc.ones(1, 3)), old(tc.ones(1, 3)).detach().numpy())
    assert list(state) == ["0.bias", "0.weight_g", "0.weight_v"]


def own(lib, chain=False):
    """A layer whose weight is symmetric, and, if `chain`, doubled after that."""
    made = {tc: (Symmetric, Doubled), torch: (TheirSymmetric, TheirDoubled)}[lib]
    P = lib.nn.utils.parametrize
    layer = P.register_parametrization(lib.nn.Linear(3, 3), "weight", made[0]())
    return P.register_parametrization(layer, "weight", made[1]()) if chain else layer


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).t()

    def right_inverse(self, x):
        return x.triu()


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2


class TheirSymmetric(torch.nn.Module):
    forward, right_inverse = Symmetric.forward, Symmetric.right_inverse

    def _get_name(self):
        return "Symmetric"


class TheirDoubled(torch.nn.Module):
    forward = Doubled.forward

    def _get_name(self):
        return "Doubled"


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.parametrize("chain", [True, False])
def test_parametrizations_of_ones_own(chain, leave):
    ours, theirs = (own(lib, chain) for lib in (tc, torch))
    before = ours.parametrizations.weight.original
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    P, Q = nn.utils.parametrize, torch.nn.utils.parametrize
    for name in ("weight", "bias", None):
        assert P.is_parametrized(ours, name) == Q.is_parametrized(theirs, name)
    assert P.type_before_parametrizations(ours) is nn.Linear
    assert_allclose(ours.weight, theirs.weight.detach().numpy())
    assert len(ours.parametrizations.weight) == len(theirs.parametrizations.weight) == 1 + chain
    with P.cached():
        assert ours.weight is ours.weight
    assert ours.weight is not ours.weight
    twins = copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))
    P.remove_parametrizations(ours, "weight", leave)
    Q.remove_parametrizations(theirs, "weight", leave)
    assert ours.weight is before
    assert_allclose(ours.weight, theirs.weight.detach().numpy())
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for twin in twins:
        assert type(twin).__name__ == "ParametrizedLinear"
        assert_allclose(twin.weight, twin.weight.t().detach().numpy())


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_the_new_forms_in_a_captured_step_and_on_threads(norm):
    tc.manual_seed(0)
    layer = getattr(nn.utils.parametrizations, norm)(nn.Linear(3, 4))
    twin, x = copy.deepcopy(layer), tc.randn(6, 3)

    def stepper(layer):
        optimizer = tc.optim.SGD(layer.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (layer(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    captured, eager = tc.capture(stepper(layer)), stepper(twin)
    for i in range(5):
        assert_allclose(captured(x + i).item(), eager(x + i).item(), rtol=1e-4)
    for mine, other in zip(layer.state_dict().values(), twin.state_dict().values(), strict=True):
        assert_allclose(mine, other.numpy(), rtol=1e-4, atol=1e-6)
    layer.eval()
    assert_allclose(nn.DataParallel(layer, threads=2, tile=2)(x), layer(x).detach().numpy(), rtol=1e-5)


def test_what_parametrizations_refuse():
    P = nn.utils.parametrize
    with pytest.raises(ValueError, match=r"Linear has no parameter or buffer 'w'"):
        P.register_parametrization(nn.Linear(3, 2), "w", nn.Flatten())
    with pytest.raises(tc.ShapeError, match=r"may not change the shape, \(2, 3\), got \(6,\): unsafe=True\?"):
        P.register_parametrization(nn.Linear(3, 2), "weight", nn.Flatten(0))
    with pytest.raises(tc.ModuleError, match="weight has no shape before the first call"):
        P.register_parametrization(nn.LazyLinear(2), "weight", nn.Identity())
    with pytest.raises(ValueError, match=r"remove_parametrizations: Linear has none on 'weight'"):
        P.remove_parametrizations(nn.Linear(3, 2), "weight")
    with pytest.raises(ValueError, match="weight has 2 originals, and none can stay"):
        P.remove_parametrizations(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "weight", False)
    layer = own(tc, chain=True)
    with pytest.raises(NotImplementedError, match="Doubled has no right_inverse: the value cannot be set"):
        layer.weight = tc.ones(3, 3)


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
