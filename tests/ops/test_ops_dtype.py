"""A float32 net computes in float32: no float64 among its values, its gradients, or what its tape holds."""

import numpy as np
import pytest
import torch

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn

NETS = {
    "conv, norm, pool, linear": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    ),
    "smooth": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.GELU(), nn.AvgPool2d(3, padding=1, ceil_mode=True), nn.Dropout(0.5),
        nn.Flatten(), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 5),
    ),
    "adaptive": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(2), nn.SiLU(), nn.Flatten(),
        nn.Sigmoid(), nn.Linear(16, 5),
    ),
}  # fmt: skip
LOSSES = {
    "cross_entropy": lambda y, t: F.cross_entropy(y, t),
    "smoothed": lambda y, t: F.cross_entropy(y, t, tc.ones(5), label_smoothing=0.1),
    "nll": lambda y, t: F.nll_loss(y.log_softmax(1), t, tc.ones(5)),
    "hand-made": lambda y, t: (
        ((y - y.mean(1, keepdim=True)) ** 2 / (1 + y.std(1, keepdim=True))).logsumexp(1).sum() / 3
    ),
}


def floats_in(something):
    """The dtypes of all arrays and NumPy numbers in something. Python's own floats have none, and impose none."""
    if isinstance(something, np.ndarray | np.generic):
        return {something.dtype} if something.dtype.kind == "f" else set()
    if isinstance(something, tuple | list):
        return set().union(*map(floats_in, something))
    if isinstance(something, dict):
        return floats_in(list(something.values()))
    return set()


def tape_of(loss):
    """Every node behind `loss`."""
    found, pending = set(), [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(node.parents)
    return found


@pytest.mark.parametrize("variant", ["im2col", "loop"])
@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("net_name", NETS)
def test_no_float64_anywhere(net_name, loss_name, variant):
    tc.manual_seed(0)
    net = NETS[net_name]()
    with tc.using(variant):
        loss = LOSSES[loss_name](net(tc.randn(3, 1, 8, 8)), tc.tensor([0, 4, 2]))
    nodes = tape_of(loss)
    assert len(nodes) > 10
    saved = [(node.saved, node.geometry) for node in nodes if not node.is_leaf]
    gradients = []
    for node in nodes:
        node.hooks = [gradients.append]
    loss.backward()
    assert len(gradients) == len(nodes)
    values = [loss.array, *(p.array for p in net.parameters()), *(b.array for b in net.buffers())]
    assert floats_in(saved) == floats_in(gradients) == floats_in(values) == {np.dtype(np.float32)}
    assert floats_in([p.grad.array for p in net.parameters()]) == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "function",
    [F.leaky_relu, F.silu, F.gelu, lambda x: F.gelu(x, "tanh"), F.sigmoid, F.tanh, lambda x: F.softmax(x, 0)],
)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_integers_become_float32(function, dtype):
    y = function(tc.from_numpy(np.array([0, 1, 1], dtype)))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), function(tc.tensor([0.0, 1.0, 1.0])).numpy())


@pytest.mark.parametrize(
    "function",
    [
        lambda x, number: F.leaky_relu(x, number),
        lambda x, number: F.dropout(x, number),
        lambda x, number: F.layer_norm(x, (3,), eps=number),
        lambda x, number: F.batch_norm(x, None, None, training=True, eps=number),
        lambda x, number: F.pad(x, (1, 1), value=number),
        lambda x, number: F.cross_entropy(x, tc.tensor([0, 1]), label_smoothing=number),
        lambda x, number: F.cross_entropy(x, x.softmax(1) * 1, label_smoothing=number),
    ],
    ids=["leaky_relu", "dropout", "layer_norm", "batch_norm", "pad", "cross_entropy", "cross_entropy of probabilities"],
)
def test_a_numpy_number_is_a_number(function):
    """np.float64(0.1) turns nothing into float64."""
    x = tc.tensor([[1.0, -2.0, 3.0], [0.0, 1.0, 5.0]], requires_grad=True)
    results = []
    for kind in (float, np.float64):
        tc.manual_seed(0)
        y = function(x, kind(0.1))
        assert y.dtype == np.float32
        results.append((y.numpy(), *(g.numpy() for g in tc.grad(y.sum(), x))))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dim", [None, 0, 1], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std"])
@pytest.mark.parametrize(
    "values",
    [np.ones((5000, 2)), np.random.default_rng(0).normal(3, 1, (3000, 3)), np.full((100, 1000), 60.0)],
    ids=["ones", "normal", "a sum beyond float16"],
)
def test_half_precision_is_that_of_the_result(values, name, dim):
    """Intermediate results may exceed float16, if the result does not."""
    x = values.astype(np.float16)
    args = () if dim is None else (dim,)
    found, expected = getattr(tc.from_numpy(x), name)(*args), getattr(torch.from_numpy(x), name)(*args)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-3, atol=1e-3)
