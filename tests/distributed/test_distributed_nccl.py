"""Ranks with a GPU each, on the stand-in: what NCCL is asked for, and that the bits are those of one rank."""

import numpy as np
import pytest
import standin
from messages import message

import tinyconv as tc
from tinyconv import nn
from tinyconv.distributed import RankError, current, init, threads
from tinyconv.errors import DeviceError, OptionError
from tinyconv.functional import cross_entropy

pytestmark = pytest.mark.usefixtures("standin_cuda")


def train(norm=nn.BatchNorm2d, steps=3):
    """Train on this rank's GPU, in eager steps: the losses and all that was trained, as bytes."""
    tc.manual_seed(0)
    device = init("nccl", f"cuda:{current().rank % 2}").device
    net = nn.Sequential(nn.Conv2d(1, 4, 3), norm(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 10))
    model = nn.DistributedDataParallel(net.to(device))
    optimizer, rng, losses = tc.optim.SGD(net.parameters(), lr=0.1), np.random.default_rng(0), []
    for _ in range(steps):
        x = tc.tensor(rng.standard_normal((150, 1, 8, 8)), dtype=tc.float32).to(device)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), tc.tensor(rng.integers(0, 10, 150)).to(device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, b"".join(t.detach().cpu().numpy().tobytes() for t in [*net.parameters(), *net.buffers()])


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_gpus_share_a_batch_to_the_same_bits(norm):
    (alone,) = threads.run(lambda: train(norm), 1)
    for ranks in (2, 4):  # of four one has no tile
        assert threads.run(lambda: train(norm), ranks) == [alone] * ranks


def test_wrong_rows_are_rejected(monkeypatch):
    (alone,) = threads.run(train, 1)
    monkeypatch.setattr(standin.nccl.NcclCommunicator, "bcast", lambda *args: None)
    assert threads.run(train, 2) != [alone] * 2


def test_arrays_on_gpus_and_on_the_host():
    def meet():
        ranks = init("nccl", "cuda:0")
        assert init("nccl") is ranks  # the second time it is there
        found, bounds, columns = [], [(0, 2), (2, 2), (2, 3)], [(0, 1), (1, 3), (3, 5)]
        whole = np.arange(15.0).reshape(3, 5)
        for made in (np.array, ranks.backend.xp.asarray):
            rows = made(np.full((3, 5), -1.0))
            start, stop = bounds[ranks.rank]
            rows[start:stop] = made(whole[start:stop])
            ranks.exchange(rows, bounds, columns)
            part = np.array_equal(
                tc.Tensor(rows).cpu().numpy()[:, slice(*columns[ranks.rank])], whole[:, slice(*columns[ranks.rank])]
            )
            ranks.gather(rows, bounds)
            found += [part, np.array_equal(tc.Tensor(rows).cpu().numpy(), whole)]
        ranks.barrier()
        return found, ranks.broadcast({"a": ranks.rank}, 2)

    assert threads.run(meet, 3) == [([True] * 4, {"a": 2})] * 3


def test_what_is_not_there(monkeypatch):
    def start(*args):
        return threads.run(lambda: init(*args), 2)

    assert "this machine has 2 GPU(s), numbered from 0" in message(DeviceError, start, "nccl", "cuda:7")
    assert "expected backend 'mpi' or 'nccl', got 'gloo'" in message(OptionError, start, "gloo")
    assert "leave out device='cuda:0'" in message(OptionError, start, "mpi", "cuda:0")
    monkeypatch.setattr(standin.nccl, "available", False)
    assert "need CuPy with NCCL" in message(RankError, start, "nccl")
