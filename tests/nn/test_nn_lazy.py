"""Lazy layers: before their first call, at it, and as the layers that they become; states loaded before it."""

import copy
import pickle

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")
IMAGES = np.random.default_rng(0).standard_normal((4, 6, 7, 7)).astype(np.float32)

LAZY = [
    ("LazyLinear", (5,), {}, IMAGES),
    ("LazyLinear", (5,), {"bias": False}, IMAGES[0, 0]),
    ("LazyConv2d", (4, 3), {"padding": 1, "groups": 2}, IMAGES),
    ("LazyConv2d", (4, 3), {"bias": False}, IMAGES[0]),
    ("LazyConv1d", (4, 3), {"stride": 2}, IMAGES[0]),
    ("LazyConvTranspose2d", (4, 3), {"stride": 2, "groups": 2, "output_padding": 1}, IMAGES),
    ("LazyConvTranspose1d", (4, 3), {"bias": False}, IMAGES[0]),
    ("LazyBatchNorm2d", (), {}, IMAGES),
    ("LazyBatchNorm1d", (), {"affine": False}, IMAGES[0]),
    ("LazyInstanceNorm2d", (), {"affine": True, "track_running_stats": True}, IMAGES),
    ("LazyInstanceNorm1d", (), {}, IMAGES[0]),
]


def settled(name):
    return name.removeprefix("Lazy")


@pytest.mark.parametrize(("name", "args", "options", "x"), LAZY)
def test_lazy_layers(name, args, options, x):
    ours, theirs = (getattr(library.nn, name)(*args, **options) for library in (tc, torch))
    assert repr(ours) == repr(theirs).replace(", bias=False, track", ", track").replace(", bias=True, track", ", track")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    before = list(ours.parameters())
    assert [type(p).__name__ for p in before] == [type(p).__name__ for p in theirs.parameters()]
    first, _ = ours(tc.tensor(x)), theirs(torch.tensor(x))
    assert type(ours).__name__ == type(theirs).__name__ == settled(name)
    assert type(ours) is getattr(nn, settled(name))
    assert all(a is b for a, b in zip(before, ours.parameters(), strict=True))
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == {
        key: tuple(value.shape) for key, value in theirs.state_dict().items()
    }
    ours.load_state_dict({key: tc.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    y = ours.eval()(tc.tensor(x))
    assert first.shape == y.shape
    assert_allclose(y, theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_first_call_takes_an_output_size():
    assert nn.LazyConvTranspose2d(2, 3, stride=2)(tc.tensor(IMAGES), (16, 16)).shape == (4, 2, 16, 16)
    assert nn.LazyConvTranspose2d(2, 3, stride=2)(tc.tensor(IMAGES), output_size=[15, 16]).shape == (4, 2, 15, 16)


def test_a_parameter_without_a_shape_says_so():
    layer = nn.LazyLinear(5)
    expected = (
        "this parameter of a lazy layer has no shape before the first call: run the model once, on an input of the "
        "right size, and then count its parameters or load a state into them"
    )
    for ask in (lambda p: p.shape, lambda p: p.numel(), len):
        assert message(tc.ModuleError, ask, layer.weight) == expected
    assert repr(layer.weight) == "<UninitializedParameter>"


def test_a_net_is_trained_after_its_first_call():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    tc.manual_seed(0)
    net(tc.tensor(IMAGES))
    assert repr(net).count("Lazy") == 0
    optimizer = tc.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (net(tc.tensor(IMAGES)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize(("name", "args", "options", "x"), LAZY)
def test_a_state_says_the_size(name, args, options, x):
    if not options.get("affine", True):
        return  # nothing there has the size but buffers
    twin = getattr(nn, name)(*args, **options)
    twin(tc.tensor(x))
    net = nn.Sequential(getattr(nn, name)(*args, **options))
    net.load_state_dict({f"0.{key}": value for key, value in twin.state_dict().items()})
    assert type(net[0]) is type(twin)
    assert_allclose(net.eval()(tc.tensor(x)), twin.eval()(tc.tensor(x)))


def test_copies_before_the_first_call():
    layer = nn.LazyConv2d(4, 3, dtype=tc.float64)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to(tc.float32)):
        y = twin(tc.tensor(IMAGES, dtype=twin.weight.dtype))
        assert y.shape == (4, 4, 5, 5)
        assert y.dtype == twin.weight.dtype


def test_what_a_first_call_refuses():
    assert message(tc.ShapeError, nn.LazyConv2d(4, 3, groups=4), tc.tensor(IMAGES)) == (
        "LazyConv2d: 6 channels cannot be split into 4 groups"
    )
    assert message(tc.ShapeError, nn.LazyConv2d(4, 3), tc.ones(2, 2)) == (
        "LazyConv2d: expected an input of at least 3 axes, got (2, 2)"
    )


def test_in_a_captured_step():
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    step = tc.capture(lambda x: net(x).sum())
    for i in range(4):
        x = tc.tensor(IMAGES + i)
        assert_allclose(step(x).item(), net(x).sum().item(), rtol=1e-4)
