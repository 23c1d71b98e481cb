"""SyncBatchNorm: the statistics of the whole batch, whoever has its tiles."""

import copy

import numpy as np
import pytest
import torch
from messages import message

import tinyconv as tc
from tinyconv import nn
from tinyconv.distributed import threads
from tinyconv.functional import cross_entropy
from tinyconv.nn import sync


def convnet(norm):
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def train(images, norm, wrap, captured=False, momentum=0.1):
    """A few steps on noise, in float64: the losses, and all parameters and buffers."""
    tc.manual_seed(0)
    net = convnet(lambda channels: norm(channels, momentum=momentum)).double()
    model, rng, losses = wrap(net), np.random.default_rng(0), []
    optimizer = tc.optim.SGD(net.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    call = tc.capture(step) if captured else step
    for _ in range(3):
        x = tc.tensor(rng.standard_normal((images, 1, 8, 8)))
        losses.append(call(x, tc.tensor(rng.integers(0, 10, images))).item())
    return losses, {name: t.numpy().copy() for name, t in net.state_dict().items()}


def same(first, second):
    return first[0] == second[0] and all(np.array_equal(a, second[1][name]) for name, a in first[1].items())


def close(first, second):
    np.testing.assert_allclose(first[0], second[0], rtol=1e-12)
    for name, a in first[1].items():
        np.testing.assert_allclose(a, second[1][name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("images", [20, 200])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_any_number_of_ranks_gives_the_statistics_of_the_batch(images, momentum):
    def trained():
        return train(images, nn.SyncBatchNorm, nn.DistributedDataParallel, momentum=momentum)

    (alone,) = threads.run(trained, 1)
    close(alone, train(images, nn.BatchNorm2d, lambda net: net, momentum=momentum))
    for count in (2, 4):  # of 20 images, or of 200 among four ranks, some have none
        assert all(same(alone, found) for found in threads.run(trained, count))


def test_threads_of_data_parallel_too():
    whole = train(100, nn.BatchNorm2d, lambda net: net)
    close(train(100, nn.SyncBatchNorm, lambda net: nn.DataParallel(net, tile=30, threads=2)), whole)
    tiled = train(100, nn.BatchNorm2d, lambda net: nn.DataParallel(net, tile=30))
    assert max(abs(a - b) for a, b in zip(whole[0], tiled[0], strict=True)) > 1e-4  # each tile by itself


def test_in_a_captured_step_it_is_a_batch_norm():
    def trained(norm):
        return threads.run(lambda: train(100, norm, nn.DistributedDataParallel, captured=True), 2)

    for found, expected in zip(trained(nn.SyncBatchNorm), trained(nn.BatchNorm2d), strict=True):
        assert same(found, expected)


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (8, 3, 4, 5), (4, 3, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_alone_and_in_tiles_it_does_what_pytorch_does(shape, training):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    theirs = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d, 5: torch.nn.BatchNorm3d}
    expected = theirs[len(shape)](3, eps=1e-3, momentum=0.3).double().train(training)
    expected.weight.data[:], expected.bias.data[:] = torch.tensor([2.0, -1, 0.5]), torch.tensor([0.1, 0, 3])
    torch_x = torch.tensor(x, requires_grad=True)
    y = expected(torch_x)
    y.backward(torch.tensor(dy))
    for wrap in (lambda norm: norm, lambda norm: nn.DataParallel(norm, tile=3)):
        norm = nn.SyncBatchNorm(3, eps=1e-3, momentum=0.3, dtype=tc.float64).train(training)
        norm.weight.data[:], norm.bias.data[:] = [2.0, -1, 0.5], [0.1, 0, 3]
        ours = tc.tensor(x, requires_grad=True)
        found = wrap(norm)(ours)
        found.backward(tc.tensor(dy))
        np.testing.assert_allclose(found.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ours.grad.numpy(), torch_x.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(norm.weight.grad.numpy(), expected.weight.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(norm.bias.grad.numpy(), expected.bias.grad.numpy(), rtol=1e-9, atol=1e-12)
        for name, buffer in expected.named_buffers():
            np.testing.assert_allclose(norm.get_buffer(name).numpy(), buffer.numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{"affine": False}, {"track_running_stats": False}, {"affine": False, "track_running_stats": False}]
)
def test_without_parameters_or_statistics(options):
    x = tc.tensor(np.random.default_rng(0).standard_normal((9, 2, 3, 3)))
    for training in (True, False):
        norms = [norm(2, dtype=tc.float64, **options).train(training) for norm in (nn.BatchNorm2d, nn.SyncBatchNorm)]
        expected, found = norms[0](x), nn.DataParallel(norms[1], tile=4)(x)
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_float16_is_computed_in_float32():
    x = tc.tensor(np.random.default_rng(0).standard_normal((9, 2, 3, 3)) * 300 + 2000, dtype=tc.float16)
    norm = nn.SyncBatchNorm(2, dtype=tc.float16, track_running_stats=False)
    found, expected = nn.DataParallel(norm, tile=4)(x), nn.BatchNorm2d(2, track_running_stats=False)(x.float())
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", ["mean", "forward alone"])
def test_wrong_sums_are_rejected(wrong, monkeypatch):
    whole = train(100, nn.BatchNorm2d, lambda net: net)
    if wrong == "mean":
        monkeypatch.setattr(sync.Meeting, "total", lambda self, tile, array: array * len(self.mine))
    else:
        monkeypatch.setattr(sync._Total, "backward", staticmethod(lambda ctx, dy: dy))
    with pytest.raises(AssertionError):
        close(train(100, nn.SyncBatchNorm, lambda net: nn.DataParallel(net, tile=30)), whole)


def test_conversion():
    net = nn.Sequential(nn.BatchNorm1d(2, eps=0.1, momentum=None), nn.Sequential(nn.BatchNorm2d(3, affine=False)))
    net[0].weight.data[:] = 5
    weight, count = net[0].weight, net[1][0].num_batches_tracked
    net.eval()
    keys = list(net.state_dict())
    found = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert found is net
    assert [type(m) for m in net.modules()][1:] == [nn.SyncBatchNorm, nn.Sequential, nn.SyncBatchNorm]
    assert net[0].weight is weight
    assert net[1][0].num_batches_tracked is count
    assert list(net.state_dict()) == keys
    assert (net[0].eps, net[0].momentum, net[0].training, net[1][0].weight) == (0.1, None, False, None)
    single = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(3))
    assert isinstance(single, nn.SyncBatchNorm)
    assert repr(single) == repr(nn.BatchNorm2d(3)).replace("BatchNorm2d", "SyncBatchNorm")
    assert isinstance(copy.deepcopy(single), nn.SyncBatchNorm)


class Uneven(nn.Module):
    """One tile goes through a layer that the others leave out."""

    def __init__(self):
        super().__init__()
        self.norm = nn.SyncBatchNorm(2)

    def forward(self, x):
        x = self.norm(x)
        return self.norm(x) if x.shape[0] < 64 else x


class Fails(nn.Module):
    """The last tile raises where the others have met."""

    def __init__(self):
        super().__init__()
        self.norm = nn.SyncBatchNorm(2)

    def forward(self, x):
        if x.shape[0] < 64:
            raise ZeroDivisionError("of the last tile")
        return self.norm(x)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_tiles_that_differ_are_told_so(ranks):
    def run(module):
        nn.DistributedDataParallel(module)(tc.arange(300.0).reshape(150, 2))

    said = message((tc.errors.GraphError, tc.distributed.RankError), threads.run, lambda: run(Uneven()), ranks)
    assert "went through other layers than each other" in said
    assert "of the last tile" in message(ZeroDivisionError, threads.run, lambda: run(Fails()), ranks)


def test_bad_arguments():
    tiled = nn.DataParallel(nn.SyncBatchNorm(3), tile=2)
    assert "SyncBatchNorm(3) got 2 channels" in message(tc.errors.ShapeError, tiled, tc.zeros(4, 2))
    assert "expected (N, C) or (N, C, ...), got (2,)" in message(tc.errors.ShapeError, tiled, tc.zeros(4))
    assert "leave out process_group" in message(tc.errors.OptionError, nn.SyncBatchNorm, 3, process_group=1)
    one = nn.DataParallel(nn.SyncBatchNorm(3), tile=1)
    assert "no variance to train on" in message(tc.errors.ShapeError, one, tc.zeros(1, 3))
