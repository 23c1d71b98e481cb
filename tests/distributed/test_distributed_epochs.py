"""An epoch on real images, with dropout and augmentation: the same weights on any number of ranks and threads.

The batches of 300 are four tiles and a part of one, and the last batch of the epoch is smaller.
"""

from functools import reduce

import numpy as np
import pytest
from distributed.mpiexec import NO_MPI, ended, start
from distributed.trainings import epoch, settings, trained

import tinyconv as tc
from tinyconv import data, nn
from tinyconv.distributed import processes, threads
from tinyconv.engine import kernels, tree
from tinyconv.train import evaluate, loop

MPI = """
import sys
import tinyconv as tc
from distributed.trainings import epoch
ranks = tc.distributed.init("mpi")
found = epoch(sys.argv[1], sys.argv[2], int(sys.argv[3]))
if ranks.rank == 0:
    print(found)
"""


def real(name, chosen):
    if data.locate(name) is None:
        pytest.skip(f"the files of {name} are not here: set TINYCONV_DATA to a folder that has them")
    if chosen == "compiled" and kernels.running() != "compiled":
        pytest.skip("no compiled kernels here")


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("chosen", ["numpy", "compiled"])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_processes_give_the_weights_of_one(name, chosen):
    real(name, chosen)
    alone = epoch(name, chosen, 1)
    assert epoch(name, chosen, 2) == alone
    for ranks, number in ((2, 2), (4, 1)):
        assert processes.run(epoch, ranks, name, chosen, number) == alone


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.skipif(bool(NO_MPI), reason=NO_MPI)
@pytest.mark.parametrize("chosen", ["numpy", "compiled"])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_mpi_gives_the_weights_of_one(name, chosen):
    real(name, chosen)
    alone = epoch(name, chosen, 1)
    for ranks, number in ((2, 1), (4, 2)):
        assert ended(start(ranks, "-c", MPI, name, chosen, str(number))) == (0, f"{alone}\n", "")


def divided(self, array, bounds, gather=threads.Threads.gather):
    """The mean over ranks, which who averages gradients takes."""
    gather(self, array, bounds)
    if array.dtype.kind == "f":
        array /= self.size


MUTANTS = {
    "divided by ranks": (threads.Threads, "gather", divided),
    "a tile forgotten": (tree, "_add", lambda a, b: a),
    "another tree": (tree, "pairwise", lambda parts, add: reduce(add, parts)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_ranks_give_other_weights(mutant, monkeypatch):
    with settings("numpy", 1):
        (alone,) = threads.run(lambda: trained("synthetic", 900, 500), 1)
        monkeypatch.setattr(*MUTANTS[mutant])
        assert threads.run(lambda: trained("synthetic", 900, 500), 3) != [alone] * 3


def test_padded_shards_are_seen(monkeypatch):
    """A part for each rank that is equally long, for which some images are taken twice, gives another accuracy."""

    def padded(count, size):
        each = -(-count // size)
        return [(min(rank * each, count - each), min(rank * each, count - each) + each) for rank in range(size)]

    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((1000, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 1000)

    def share():
        tc.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        loader = data.DataLoader((images, labels), 64)
        return evaluate(nn.DistributedDataParallel(net), loader)

    (alone,) = threads.run(share, 1)
    assert threads.run(share, 3) == [alone] * 3
    monkeypatch.setattr(loop, "share_of", padded)
    assert threads.run(share, 3) != [alone] * 3
