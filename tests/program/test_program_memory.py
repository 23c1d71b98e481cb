"""Planned memory: a replay allocates nothing of an activation's size, and no two arrays that are needed share room."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import optim
from tinyconv.host.memory import empty, here
from tinyconv.host.threads import parallel
from tinyconv.program.memory import Buffer, _packed

KILOBYTE = 1 << 10


@pytest.fixture(autouse=True)
def on_numpy():
    before = tc.get_num_threads()
    with tc.using("numpy"):
        yield
    tc.set_num_threads(before)


def lenet(n, training=True):
    """A captured step of LeNet, to be called without arguments, and its program."""
    tc.manual_seed(0)
    model = tc.models.LeNet5()
    optimizer = optim.Adam(model.parameters())
    rng = np.random.default_rng(0)
    x, y = tc.tensor(rng.standard_normal((n, 1, 28, 28), np.float32)), tc.tensor(rng.integers(0, 10, n))

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    captured = tc.capture(step if training else lambda x, y: model(x))

    def call():
        with tc.enable_grad() if training else tc.no_grad():
            return captured(x, y)

    for _ in range(4):
        call()
    return call, captured.entries[-1].run


def peak(call):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# The smallest map of a tile, after the first pooling, is 216 KB (64 x 6 x 12 x 12). What stays are NumPy's own buffers,
# 64 KB where dtypes meet, and the optimiser's parts.
@pytest.mark.parametrize(
    ("n", "training", "threads", "kilobytes"),
    [
        (128, True, 1, 208), (130, True, 1, 208), (128, True, 2, 208), (1000, True, 2, 208),
        (128, False, 1, 96), (1000, False, 1, 160), (40, False, 1, 96), (1, False, 1, 24),
    ],
)  # fmt: skip
def test_a_replay_allocates_no_activation(n, training, threads, kilobytes):
    tc.set_num_threads(threads)
    call, _ = lenet(n, training)
    assert min(peak(call) for _ in range(3)) < kilobytes * KILOBYTE


def test_an_eager_step_does():
    """So the measure is one."""
    tc.set_num_threads(1)
    model = tc.models.LeNet5()
    x = tc.zeros(128, 1, 28, 28)
    assert peak(lambda: model(x)) > 128 * 6 * 24 * 24 * 4


@pytest.mark.parametrize("n", [40, 130])
def test_arrays_that_are_needed_at_once_lie_apart(n):
    _, run = lenet(n)
    plans = [plan for stage in run.stages for plan, _ in stage.plans() if plan.bytes]
    assert len(plans) == (1 if n == 40 else 2), "one for full tiles and one for the last"
    for plan in plans:
        buffers = [buffer for taken in plan.buffers for buffer in taken]
        assert max(b.start + b.bytes for b in buffers) <= plan.bytes < sum(b.bytes for b in buffers) * 0.6
        for a, b in combinations(buffers, 2):
            apart = a.start + a.bytes <= b.start or b.start + b.bytes <= a.start
            assert apart or a.died <= b.born or b.died <= a.born
        named = {value.shape for buffer in buffers if (value := buffer.value) is not None}
        assert {(n, 6, 12, 12), (n, 16, 4, 4)} <= named, "buffers know which values lie in them"


def test_inside_a_parallel_loop_it_is_planned_anew():
    """There an op has one thread, and takes other arrays than where threads share it out."""
    tc.set_num_threads(2)
    call, run = lenet(40)
    (stage,) = run.stages
    before = stage.planned_for
    call()
    assert stage.planned_for == before
    parallel(lambda i: call() if i == 0 else None, 2)
    assert stage.planned_for != before
    assert stage.planned_for[0] == 1


def test_a_plan_that_lets_go_too_early_is_seen(monkeypatch):
    """Where every array is thought to be needed for a moment only, the results are wrong."""
    call, _ = lenet(40)
    expected = [p.numpy().copy() for p in (call(), call())]
    monkeypatch.setattr(Buffer, "died", property(lambda self: self.born + 1, lambda self, value: None))
    tc.manual_seed(0)
    call, _ = lenet(40)
    found = [p.numpy().copy() for p in (call(), call())]
    assert not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_packing_reuses_room():
    one, two, three = (Buffer(None, (16,), np.float32, born, died) for born, died in ((0, 2), (1, 3), (2, 4)))
    assert _packed([one, two, three]) == 128
    assert one.start == three.start != two.start


def test_an_array_of_another_shape_than_planned_is_new():
    assert here.source is None
    assert empty((2, 3), np.float32).shape == (2, 3)


@pytest.mark.parametrize("training", [True, False])
def test_another_layout_of_the_input_is_planned_anew(training):
    """An input that lies otherwise in memory makes a pair take other arrays."""
    results = []
    for order in ("C", "innermost"):
        tc.manual_seed(0)
        model = tc.models.LeNet5().to(tc.float64)

        def step(x, model=model):
            model.zero_grad()
            z = model(x)
            if training:
                (z * z).sum().backward()
            return z, [p.grad for p in model.parameters() if p.grad is not None]

        captured, rng = tc.capture(step), np.random.default_rng(0)
        given = [rng.standard_normal((40, 1, 28, 28)) for _ in range(6)]
        with tc.enable_grad() if training else tc.no_grad():
            for i, x in enumerate(given):
                if order == "innermost" and i > 2:  # as a convolution of the library leaves its images
                    x = np.ascontiguousarray(x.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
                z, grads = captured(tc.from_numpy(x))
        results.append([z.detach().numpy().copy(), *(g.numpy().copy() for g in grads)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
