"""Ranks give the bits of one rank: on threads here, which share all code with processes and MPI but the carrier."""

from functools import reduce

import numpy as np
import pytest
from distributed.trainings import train

import tinyconv as tc
from tinyconv import nn
from tinyconv.distributed import RankError, communicator, threads
from tinyconv.engine import tree, variants
from tinyconv.nn import parallel
from tinyconv.program import code, run
from tinyconv.train import Trainer, evaluate


@pytest.fixture(params=["numpy", "compiled"])
def kernels(request):
    """Programs run on these kernels."""
    before = variants.kernels()
    variants.set_kernels(request.param)
    yield request.param
    variants.set_kernels(before)


def of_ranks(count, *args):
    return threads.run(lambda: train(*args), count)


@pytest.mark.parametrize("images", [1, 64, 70, 300], ids="images{}".format)
@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
@pytest.mark.usefixtures("kernels")
def test_any_number_of_ranks_gives_the_same_bits(captured, images):
    (alone,) = of_ranks(1, captured, images)
    for count in (2, 3, 4):
        assert of_ranks(count, captured, images) == [alone] * count


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
@pytest.mark.usefixtures("kernels")
def test_batch_norm_too(captured):
    (alone,) = of_ranks(1, captured, 200, True)
    assert of_ranks(3, captured, 200, True) == [alone] * 3


def only_own(self, rows, bounds, columns):
    """Rows of others stay as they were."""
    self._meet(None)


def divided(rows, bounds, ranks, right=tree.total):
    """The mean over ranks, as PyTorch's: of ranks with a batch each it is the right one."""
    return right(rows, bounds, ranks) / ranks.size


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "captured"),
    [
        (run._Part, "add", lambda self, other: self, True),
        (parallel, "pairwise", lambda parts, add: reduce(add, parts), False),
        (parallel, "_added", lambda a, b: (a + b) / 2, False),
        *((tree, "_add", lambda a, b: a, captured) for captured in (False, True)),
        *((tree, "total", divided, captured) for captured in (False, True)),
        (threads.Threads, "exchange", only_own, True),
    ],
    ids=[
        "a tile forgotten, captured", "another tree", "divided", "a unit forgotten", "a unit forgotten, captured",
        "divided by ranks", "divided by ranks, captured", "no exchange, captured",
    ],
)  # fmt: skip
def test_wrong_ranks_are_rejected(owner, name, wrong, captured, monkeypatch):
    monkeypatch.setattr(variants, "_kernels", variants._kernels)
    variants.set_kernels("numpy")
    (alone,) = of_ranks(1, captured, 500)
    assert of_ranks(2, captured, 500) == [alone] * 2
    monkeypatch.setattr(owner, name, wrong)
    for module in (parallel, run):
        if wrong is divided:
            monkeypatch.setattr(module, name, wrong)
    assert of_ranks(2, captured, 500) != [alone] * 2


@pytest.mark.parametrize("images", [1, 64, 150, 1000], ids="images{}".format)
def test_an_evaluation_counts_each_image_once(images):
    """Images that are cut into tiles otherwise, padded or seen twice would give another share."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((images, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, images)
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            tc.manual_seed(0)
            self.fc = nn.Linear(64, 10)

        def forward(self, x):
            if not tc.is_grad_enabled():
                seen.append(x.numpy().max((1, 2, 3)))
            return self.fc(x.flatten(1))

    def share():
        return evaluate(nn.DistributedDataParallel(Net()), data, mirrored=images == 150)

    (alone,) = threads.run(share, 1)
    for count in (2, 3, 4):
        seen.clear()
        assert threads.run(share, count) == [alone] * count
        assert sorted(np.concatenate(seen)) == sorted(np.tile(data[0].max((1, 2, 3)), 2 if images == 150 else 1))


def test_a_step_that_no_program_holds_has_the_bits_of_one_rank():
    """A Trainer calls it as it is, with the whole batch on each rank, and says so."""

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 10)

        def forward(self, x):
            return self.fc(x.flatten(1)) if float(x.max().item()) > 0 else self.fc(-x.flatten(1))

    rng = np.random.default_rng(0)
    data = rng.standard_normal((300, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 300)

    def weights():
        tc.manual_seed(0)
        model = Reads()
        loader = tc.data.DataLoader(data, 130, shuffle=True, seed=0)
        trainer = Trainer(model, tc.optim.SGD(model.parameters(), lr=0.1), None, loader, data, 2)
        *_, last = trainer.run()
        return last.train_loss, last.test_accuracy, model.fc.weight.tolist()

    (alone,) = threads.run(weights, 1)
    with pytest.warns(UserWarning, match="each of the 3 ranks works out whole batches, as one would: the step"):
        assert threads.run(weights, 3) == [alone] * 3


def test_a_part_of_the_batch_for_each_is_found():
    def train_on_a_part():
        model = nn.DistributedDataParallel(nn.Linear(3, 2))
        model(tc.full((8, 3), float(tc.distributed.get_rank())))

    with pytest.raises(RankError, match=r"different batches.*without a sampler"):
        threads.run(train_on_a_part, 2)


def test_an_error_of_one_ends_all():
    def fail():
        if tc.distributed.get_rank() == 1:
            raise ValueError("of rank 1")
        tc.distributed.barrier()

    with pytest.raises(ValueError, match="of rank 1"):
        threads.run(fail, 3)


def test_who_does_not_come_is_waited_for_no_longer_than_patience(monkeypatch):
    monkeypatch.setattr(communicator.Communicator, "patience", 0.1)
    with pytest.raises(RankError, match=r"waited 0\.1 s"):
        threads.run(lambda: tc.distributed.get_rank() or tc.distributed.barrier(), 2)


def test_a_parameter_that_one_tile_uses_gets_the_gradient_everywhere():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.seldom, self.never = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.seldom(x) if float(x.max().item()) > 150 else self.used(x)

    def gradients():
        tc.manual_seed(0)
        net = Sometimes()
        model = nn.DistributedDataParallel(net, find_unused_parameters=True)
        model(tc.arange(200.0).reshape(100, 2)).sum().backward()
        return [None if p.grad is None else p.grad.tolist() for p in net.parameters()]

    (alone,) = threads.run(gradients, 1)
    assert [found is None for found in alone] == [False, False, False, False, True, True]
    assert threads.run(gradients, 2) == [alone] * 2


@pytest.mark.parametrize("ranks", [1, 2])
def test_parameters_without_gradient_are_named_once(ranks):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.frozen, self.never = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.used(self.frozen(x))

    def step():
        model = nn.DistributedDataParallel(Half())
        for _ in range(2):
            model(tc.ones(100, 2)).sum().backward()

    with pytest.warns(UserWarning, match=r"no part of the batch used never\.weight, never\.bias, so") as found:
        threads.run(step, ranks)
    assert len(found) == 1


def test_what_one_rank_alone_has_frozen_is_named():
    def step():
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model = nn.DistributedDataParallel(net)
        net[1].bias.requires_grad_(tc.distributed.get_rank() != 2)
        model(tc.ones(100, 2)).sum().backward()

    with pytest.raises(RankError, match=r"1\.bias is frozen on rank 2 of 3 and not on the others"):
        threads.run(step, 3)


@pytest.mark.parametrize(
    ("of_rank_1", "said"),
    [
        (
            lambda: nn.Linear(2, 3),
            r"rank 0 has the parameter weight \(2, 2\) float32, rank 1 has weight \(3, 2\) float32",
        ),
        (lambda: nn.Linear(2, 2, bias=False), r"rank 0 has the parameter bias \(2,\) float32, rank 1 has None"),
    ],
    ids=["shape", "fewer"],
)
def test_different_models_are_told_apart(of_rank_1, said):
    def wrap():
        nn.DistributedDataParallel(of_rank_1() if tc.distributed.get_rank() else nn.Linear(2, 2))

    with pytest.raises(RankError, match=f"different models; where {said}"):
        threads.run(wrap, 2)


def test_arrays_of_different_sizes_are_refused():
    def meet():
        ranks = communicator.current()
        ranks.gather(np.zeros((2, 3 + ranks.rank)), [(0, 1), (1, 2)])

    with pytest.raises(RankError, match=r"different numbers of bytes \(rank 0 48, rank 1 64\), so"):
        threads.run(meet, 2)


def test_different_captured_steps_are_told_apart():
    """Here a rank freezes a layer after the model was wrapped."""

    def steps():
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model = nn.DistributedDataParallel(net)
        net[0].bias.requires_grad_(tc.distributed.get_rank() != 1)

        @tc.capture
        def step(x):
            net.zero_grad()
            model(x).sum().backward()

        for _ in range(3):
            step(tc.ones(100, 2))

    with pytest.raises(RankError, match=r"recorded different steps.*frozen parameters.*rank 0 has \(.*rank 1 has \("):
        threads.run(steps, 2)


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
@pytest.mark.usefixtures("kernels")
def test_large_sums_are_added_up_in_parts_to_the_same_bits(captured, monkeypatch):
    (alone,) = of_ranks(1, captured, 300)
    exchanged, exchange = [], threads.Threads.exchange

    def counted(self, rows, bounds, columns):
        exchanged.append(columns[0] != columns[-1])
        exchange(self, rows, bounds, columns)

    monkeypatch.setattr(threads.Threads, "exchange", counted)
    for module in (tree, parallel):
        monkeypatch.setattr(module, "LARGE", 100)
    assert of_ranks(3, captured, 300) == [alone] * 3
    assert any(exchanged)


@pytest.mark.usefixtures("kernels")
def test_ranks_with_different_numbers_of_threads_share_the_same_units(monkeypatch):
    (alone,) = of_ranks(1, True, 500)
    monkeypatch.setattr(code, "free_threads", lambda: 1 + 2 * communicator.current().rank)
    assert of_ranks(3, True, 500) == [alone] * 3


def test_gradients_of_inputs():
    def gradient():
        tc.manual_seed(0)
        x = tc.randn(100, 3, requires_grad=True)
        nn.DistributedDataParallel(nn.Linear(3, 2))(x).pow(2).sum().backward()
        return x.grad.tolist()

    (alone,) = threads.run(gradient, 1)
    assert threads.run(gradient, 3) == [alone] * 3


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64])
def test_units_are_whole_subtrees(count):
    """What ranks add up apart, and then together, is added as one adds it alone."""

    def shown(parts):
        return tree.pairwise(parts, lambda a, b: f"({a}+{b})")

    for ranks in range(1, 9):
        level = tree.height(count, ranks)
        parts = [str(i) for i in range(count)]
        sums = [shown(parts[i : i + (1 << level)]) for i in range(0, count, 1 << level)]
        assert len(sums) == tree.units(count, level)
        assert shown(sums) == shown(parts)
        shares = communicator.share_of(len(sums), ranks)
        assert [i for start, stop in shares for i in range(start, stop)] == list(range(len(sums)))
        assert shares[0][1] > 0


def test_one_rank_is_the_plain_training():
    """A captured step of a model in DistributedDataParallel, alone, has the bits of the model itself."""

    def gradient(wrap):
        tc.manual_seed(0)
        net = nn.Linear(5, 3)
        model = wrap(net)

        @tc.capture
        def step(x):
            net.zero_grad()
            model(x).pow(2).mean().backward()

        for _ in range(4):
            step(tc.tensor(np.random.default_rng(0).standard_normal((150, 5)), dtype=tc.float32))
        return net.weight.grad.tolist()

    assert gradient(nn.DistributedDataParallel) == gradient(lambda net: net)


def test_bad_arguments():
    with pytest.raises(TypeError, match="expected a Module, got int"):
        nn.DistributedDataParallel(3)
    with pytest.raises(ValueError, match="tile must be an integer of at least 1, got 0"):
        nn.DistributedDataParallel(nn.Linear(1, 1), tile=0)
    with pytest.raises(tc.errors.OptionError, match="leave out device_ids"):
        nn.DistributedDataParallel(nn.Linear(1, 1), device_ids=[0])
    with pytest.raises(tc.errors.OptionError, match="expected backend 'mpi' or 'nccl', got 'gloo'"):
        tc.distributed.init("gloo")
