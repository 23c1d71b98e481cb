"""Normalisations and dropout as layers, against torch: outputs, gradients, states, prints, and what they refuse."""

import re

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn

torch = pytest.importorskip("torch")
rng = np.random.default_rng(0)
IMAGES, ROWS = rng.standard_normal((4, 6, 3, 3)), rng.standard_normal((4, 6, 5))

NORMS = [
    ("BatchNorm2d", (6,), {}, IMAGES),
    ("BatchNorm2d", (6,), {"bias": False}, IMAGES),
    ("BatchNorm1d", (6,), {"momentum": None}, ROWS),
    ("GroupNorm", (3, 6), {}, IMAGES),
    ("GroupNorm", (6, 6), {"affine": False}, ROWS),
    ("GroupNorm", (1, 6), {"bias": False, "eps": 0.1}, IMAGES),
    ("InstanceNorm2d", (6,), {}, IMAGES),
    ("InstanceNorm2d", (6,), {"affine": True, "track_running_stats": True, "momentum": 0.3}, IMAGES),
    ("InstanceNorm2d", (6,), {"affine": True, "bias": False}, IMAGES[0]),
    ("InstanceNorm1d", (6,), {"track_running_stats": True}, ROWS),
    ("LayerNorm", ((3, 3),), {}, IMAGES),
    ("RMSNorm", (5,), {}, ROWS),
    ("RMSNorm", ((3, 3),), {"eps": 0.1, "elementwise_affine": False}, IMAGES),
    ("LocalResponseNorm", (4,), {"alpha": 0.5, "k": 2.0}, IMAGES),
]


@pytest.mark.parametrize(("name", "args", "options", "x"), NORMS)
def test_norms(name, args, options, x):
    """Two batches of training and one of evaluation: outputs, gradients, and the state after them."""
    found = []
    for library in (tc, torch):
        dtype = {} if name == "LocalResponseNorm" else {"dtype": library.float64}
        layer = getattr(library.nn, name)(*args, **options, **dtype)
        with library.no_grad():
            for p in layer.parameters():
                p.copy_(library.tensor(np.linspace(0.5, 2, p.numel()).reshape(p.shape)))
        outputs = []
        for i in range(3):
            layer.train(i < 2)
            given = library.tensor(x * (i + 1) + i, requires_grad=True)
            y = layer(given)
            (y**3).sum().backward()
            outputs += [y.detach().numpy(), given.grad.numpy()]
        outputs += [p.grad.numpy() for p in layer.parameters()]
        state = {key: value.numpy() for key, value in layer.state_dict().items()}
        found.append((repr(layer), outputs, state))
    (ours, our_outputs, our_state), (theirs, their_outputs, their_state) = found
    assert ours == re.sub(r", bias=\w+", "", theirs)  # which PyTorch prints since 2.13
    for a, b in zip(our_outputs, their_outputs, strict=True):
        assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert list(our_state) == list(their_state)
    for key, value in our_state.items():
        assert_allclose(value, their_state[key], rtol=1e-7)


def test_reset_running_stats():
    layer = nn.BatchNorm2d(6)
    layer(tc.tensor(IMAGES, dtype=tc.float32))
    nn.init.constant_(layer.weight, 3)
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_mean.tolist() == [0.0] * 6
    assert layer.weight.tolist() == [3.0] * 6
    layer.reset_parameters()
    assert layer.weight.tolist() == [1.0] * 6


def test_what_norms_refuse():
    x = tc.tensor(IMAGES, dtype=tc.float32)
    assert message(tc.ShapeError, nn.GroupNorm, 4, 6) == "GroupNorm: 6 channels cannot be split into 4 equal groups"
    assert message(tc.ShapeError, nn.GroupNorm(2, 4), x) == "GroupNorm: expected (N, 4, ...), got (4, 6, 3, 3)"
    assert message(tc.ShapeError, F.group_norm, x, 4) == (
        "group_norm: expected (N, C, ...) with C in 4 equal groups, got (4, 6, 3, 3)"
    )
    assert message(tc.ShapeError, nn.InstanceNorm2d(6), x[:, :, 0, 0]) == (
        "InstanceNorm2d: expected (N, C, H, W) or (C, H, W), got (4, 6)"
    )
    assert message(tc.ShapeError, nn.InstanceNorm2d(5, affine=True), x) == (
        "InstanceNorm2d(5) got 6 channels, in (4, 6, 3, 3)"
    )
    with pytest.warns(UserWarning, match="without affine=True their number changes nothing"):
        nn.InstanceNorm2d(5)(x)
    assert message(tc.ShapeError, F.instance_norm, x[:, :, :1, :1]) == (
        "instance_norm: one value a channel has no variance, got (4, 6, 1, 1)"
    )
    assert message(tc.ShapeError, F.local_response_norm, x[0, 0], 2) == (
        "local_response_norm: expected (N, C, ...) with at least 3 axes, got (3, 3)"
    )
    assert message(tc.ShapeError, F.rms_norm, x, (2, 3)) == (
        "rms_norm: normalized_shape is (2, 3), which does not fit (4, 6, 3, 3)"
    )


def test_an_instance_norm_before_a_relu_in_place():
    """As in CycleGAN; its output is what the op has saved, and PyTorch's is not."""
    for library in (tc, torch):
        net = library.nn.Sequential(library.nn.InstanceNorm2d(6), library.nn.ReLU(True))
        x = library.tensor(IMAGES, requires_grad=True)
        (net(x) ** 2).sum().backward()
        if library is tc:
            ours = x.grad
    assert_allclose(ours, x.grad.numpy(), rtol=1e-7, atol=1e-9)


def test_norms_in_a_captured_step():
    net = nn.Sequential(nn.Conv2d(6, 6, 1), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6, track_running_stats=True))
    twin = nn.Sequential(nn.Conv2d(6, 6, 1), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6, track_running_stats=True))
    twin.load_state_dict(net.state_dict())

    def step(model, x):
        loss = (F.local_response_norm(model(x), 3) ** 3).sum()
        loss.backward()
        return loss

    captured = tc.capture(lambda x: step(net, x))
    for i in range(5):
        x = tc.tensor(IMAGES + i, dtype=tc.float32)
        assert_allclose(captured(x).item(), step(twin, x).item(), rtol=1e-4)
    assert_allclose(net[2].running_mean, twin[2].running_mean, rtol=1e-5, atol=1e-6)
    assert_allclose(net[0].weight.grad, twin[0].weight.grad, rtol=1e-3, atol=1e-5)


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
def test_dropouts_print_as_torchs(name):
    for args in ((), (0.2, True)):
        assert repr(getattr(nn, name)(*args)) == repr(getattr(torch.nn, name)(*args))


@pytest.mark.parametrize(
    ("name", "shape", "channels"),
    [
        ("dropout1d", (40, 50, 3), 2),
        ("dropout1d", (2000, 3), 1),
        ("dropout2d", (40, 50, 3, 3), 2),
        ("feature_alpha_dropout", (40, 50, 3), 2),
    ],
)
def test_whole_channels_are_dropped(name, shape, channels):
    tc.manual_seed(0)
    x = tc.ones(*shape, requires_grad=True)
    y = getattr(F, name)(x, 0.3, True)
    per_channel = y.detach().numpy().reshape(-1, int(np.prod(shape[channels:])))
    assert (per_channel == per_channel[:, :1]).all()
    kept = per_channel[:, 0] == per_channel.max()
    assert abs(kept.mean() - 0.7) < 0.05
    y.sum().backward()
    assert ((x.grad.numpy().reshape(per_channel.shape)[:, 0] != 0) == kept).all()


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
def test_dropouts_write_in_place_where_torchs_do(name):
    def after(lib):
        x = lib.ones(2, 3, 4, 4) if name == "Dropout2d" else lib.ones(2, 3, 4)
        getattr(lib.nn, name)(1.0, inplace=True)(x)
        return x.sum().item()

    assert after(tc) == after(torch)


def test_alpha_dropout_keeps_mean_and_variance():
    tc.manual_seed(0)
    y = F.alpha_dropout(tc.randn(400, 500), 0.4, True)
    assert abs(y.mean().item()) < 0.02
    assert abs(y.var().item() - 1) < 0.02
    torch.manual_seed(0)
    theirs = torch.nn.functional.alpha_dropout(torch.zeros(1000), 0.4, True).unique().tolist()
    ours = sorted(set(F.alpha_dropout(tc.zeros(1000), 0.4, True).tolist()))
    assert_allclose(ours, theirs, rtol=1e-5)


def test_what_dropout_refuses():
    assert message(tc.ShapeError, F.dropout1d, tc.ones(2)) == "dropout1d: expected (N, C, L) or (C, L), got (2,)"
    with pytest.warns(UserWarning, match=r"dropout2d: expected \(N, C, H, W\), got \(2, 3, 4\)"):
        F.dropout2d(tc.ones(2, 3, 4))
    assert message(tc.OptionError, nn.Dropout2d, 2) == "Dropout2d: p: expected a number from 0 to 1, got 2"


# --- other layers that stand beside them ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "sizes", "shape"), [(1, (2, 3), (4, 6, 5)), (-1, (5, -1), (4, 5)), (0, [2, 2], (4,))])
def test_unflatten(dim, sizes, shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    ours, theirs = nn.Unflatten(dim, sizes), torch.nn.Unflatten(dim, sizes)
    assert_allclose(ours(tc.tensor(x)), theirs(torch.tensor(x)).numpy())
    with pytest.raises(tc.ShapeError):
        ours(tc.zeros(7, 7, 7))


def test_bilinear_and_distances():
    a, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
    ours, theirs = nn.Bilinear(3, 5, 2, dtype=tc.float64), torch.nn.Bilinear(3, 5, 2, dtype=torch.float64)
    ours.load_state_dict({key: tc.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    assert repr(ours) == repr(theirs)
    assert_allclose(ours(tc.tensor(a), tc.tensor(b)), theirs(torch.tensor(a), torch.tensor(b)).detach().numpy())
    assert message(tc.ShapeError, ours, tc.zeros(4, 5), tc.zeros(4, 5)) == (
        "bilinear: expected (..., I), (..., J) and a weight (K, I, J), got (4, 5), (4, 5) and (2, 3, 5)"
    )
    for name, options in {"CosineSimilarity": {"dim": 0}, "PairwiseDistance": {"p": 1.0, "keepdim": True}}.items():
        found = [getattr(lib.nn, name)(**options)(lib.tensor(a), lib.tensor(a[::-1].copy())) for lib in (tc, torch)]
        assert_allclose(found[0], found[1].numpy(), rtol=1e-12)
