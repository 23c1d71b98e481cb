"""Long graphs, and what is left of them: nothing may need recursion, and nothing may need the garbage collector."""

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn


@contextmanager
def no_collector():
    """What dies inside dies of its reference count alone; yields the collection, which counts what does not."""
    gc.collect()
    gc.disable()
    try:
        yield gc.collect
    finally:
        gc.enable()


def chain(length):
    x = tc.ones(1, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1
    return x, y


def test_a_chain_of_100_000():
    x, y = chain(100_000)
    y.backward()
    assert x.grad.item() == 1.0


def test_dropping_a_chain_of_100_000_that_was_never_walked():
    x, y = chain(100_000)
    node = weakref.ref(x)
    del x, y
    assert node() is None


def test_dropping_a_long_diamond():
    y = tc.ones(1, requires_grad=True)
    for _ in range(20_000):
        y = y * 0.5 + y.relu() * 0.5
    del y


def step(model, optimizer):
    x, targets = tc.randn(4, 1, 6, 6), tc.tensor([0, 1, 2, 0])
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def test_a_training_step_leaves_no_cycles():
    model = make_model()
    optimizer = tc.optim.Adam(model.parameters())
    step(model, optimizer)
    with no_collector() as collect:
        for _ in range(3):
            step(model, optimizer)
        assert collect() == 0


@pytest.mark.parametrize("walked", [True, False])
def test_arrays_die_with_the_last_tensor(walked):
    with no_collector() as collect:
        x = tc.randn(10, 10, requires_grad=True)
        h = (x @ x).exp()
        loss = (h * h).mean()
        arrays = [weakref.ref(t.array) for t in (h, loss)]
        if walked:
            loss.backward()
        del h, loss
        assert [array() for array in arrays] == [None, None]
        assert collect() == 0


def test_what_was_saved_is_freed_while_the_loss_is_kept():
    x = tc.randn(10, requires_grad=True)
    h = x.exp()
    loss = (h * h).sum()
    saved = weakref.ref(h.array)
    del h
    assert saved() is not None
    loss.backward()
    assert saved() is None


def test_detached_results_do_not_hold_the_graph():
    x = tc.ones(10, requires_grad=True)
    h = x.exp()
    array = weakref.ref(h.array)
    total = h.sum().detach()
    del h
    assert array() is None
    assert total.item() > 0


def test_no_grad_keeps_nothing():
    x = tc.ones(10, requires_grad=True)
    with tc.no_grad():
        h = x.exp()
        y = h * 2
    array = weakref.ref(h.array)
    del h
    assert array() is None
    assert y.is_leaf


def test_errors_leave_no_cycles_behind():
    model = make_model()
    with no_collector() as collect:
        with pytest.raises(tc.ShapeError):
            model(tc.ones(4, 3, 6, 6))
        del model
        # pytest holds the traceback for a moment; a cycle through the error would survive it.
        collect()
        assert collect() == 0


def test_hooks_and_removed_handles_leave_no_cycles():
    with no_collector() as collect:
        x = tc.ones(3, requires_grad=True)
        seen = []
        handle = x.register_hook(seen.append)
        (x * 2).sum().backward()
        handle.remove()
        node = weakref.ref(x)
        del x
        assert node() is None
        assert collect() == 0
    np.testing.assert_array_equal(seen[0], [2.0, 2.0, 2.0])
