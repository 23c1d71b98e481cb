"""Fusing: what may run as one does, in every style of writing, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, ops
from tinyconv.engine.variants import op_name
from tinyconv.program import fuse

POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


@pytest.fixture(autouse=True)
def seed():
    tc.manual_seed(0)


def batch(n=8, size=12, channels=1):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, channels, size, size))
    return tc.tensor(x, dtype=tc.float64), tc.tensor(rng.integers(0, 10, n))


def net():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(100, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    ).to(tc.float64)


def with_functions(model, x, late=False):
    conv, hidden, last = (m for m in model if isinstance(m, nn.Conv2d | nn.Linear))
    x = conv(x)
    x = F.relu(F.max_pool2d(x, 2)) if late else F.max_pool2d(F.relu(x), 2)
    return last(F.relu(hidden(x.flatten(1))))


def captured(step, *args):
    """The program of a step, what its replay returns, and what the step itself does."""
    replayed = tc.capture(step)
    for _ in range(2):
        replayed(*args)
    return replayed.entries[-1].run.program, replayed(*args), step(*args)


def training(model, forward):
    def step(x, y):
        model.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    return step


def ops_of(program, kind="forward"):
    return [op_name(i.op) for i in program.instructions if i.kind == kind]


def listed(program):
    """The instructions, without what differs between two styles: names and lines."""
    numbers = {}

    def of(value):
        if not hasattr(value, "number"):
            return value
        return numbers.setdefault(value, len(numbers)), value.kind, value.shape, value.dtype

    return [
        (i.kind, i.op, i.pair, [*map(of, i.inputs)], [*map(of, i.outputs)], str(i.geometry), i.needs, i.first)
        for i in program.instructions
    ]


def close(ours, theirs):
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def flat(results):
    if isinstance(results, tuple | list):
        return [array for part in results for array in flat(part)]
    return [results.detach().numpy()]


def test_all_styles_give_one_program():
    model = net()
    forwards = model, lambda x: with_functions(model, x), lambda x: with_functions(model, x, late=True)
    programs = []
    for forward in forwards:
        program, ours, theirs = captured(training(model, forward), *batch())
        close(ours, theirs)
        programs.append(program)
    first = listed(programs[0])
    assert listed(programs[1]) == first
    assert listed(programs[2]) == first
    assert ops_of(programs[0]) == ["conv2d_relu_max_pool2d", "Reshape", "linear_relu", "linear", "CrossEntropy"]
    assert ops_of(programs[0], "backward") == ops_of(programs[0])[::-1]
    assert not [i for i in programs[0].instructions if i.kind == "keep"], "gradients are written to where they are kept"
    (conv,) = (i for i in programs[2].instructions if i.op is ops.Conv2dReluMaxPool2d and i.kind == "forward")
    assert [op_name(part.op) for part in conv.parts] == ["conv2d", "max_pool2d", "Relu"]


def left_alone(step, *args):
    """The forwards and the notes of a step that gives what it gives without being captured."""
    program, ours, theirs = captured(step, *args)
    close(ours, theirs)
    return ops_of(program), "; ".join(f"{op_name(i.op)}: {why}" for i, why in program.notes)


CONV = nn.Conv2d(1, 4, 3).to(tc.float64)


def loss_of(*values):
    return sum((value * value).sum() for value in values)


def returned(x, y):
    maps = CONV(x)
    return maps, F.relu(maps)


def read_twice(x, y):
    positive = F.relu(CONV(x))
    return F.max_pool2d(positive, 2), positive.sum()


def with_places(x, y):
    pooled, places = F.max_pool2d(F.relu(CONV(x)), 2, return_indices=True)
    return pooled, places * 2


def with_retained(x, y):
    CONV.zero_grad()
    maps = CONV(x)
    maps.retain_grad()
    loss_of(F.relu(maps)).backward()
    return maps.grad, CONV.weight.grad


def with_a_sum(x, y):
    CONV.zero_grad()
    maps = CONV(x)
    loss_of(F.relu(maps), maps).backward()
    return CONV.weight.grad


def with_a_hook(x, y):
    CONV.zero_grad()
    maps = CONV(x)
    maps.register_hook(lambda grad: grad * 2)
    loss_of(F.relu(maps)).backward()
    return CONV.weight.grad


def walked_twice(x, y):
    CONV.zero_grad()
    loss = loss_of(F.relu(CONV(x)))
    loss.backward(retain_graph=True)
    loss.backward()
    return CONV.weight.grad


def with_a_loop(x, y):
    with tc.using(conv2d="loop"):
        return F.relu(CONV(x))


def in_odd_windows(x, y):
    return F.max_pool2d(F.relu(CONV(x)), 3)


@pytest.mark.parametrize(
    ("step", "forwards", "note"),
    [
        (returned, ["conv2d", "Relu"], "conv2d: the output of conv2d is returned"),
        (read_twice, ["conv2d_relu", "max_pool2d", "Sum"], "conv2d: the output of Relu is also read by Sum"),
        (with_places, ["conv2d_relu", "max_pool2d", "Mul"], "conv2d: the places of the maxima are used"),
        (with_retained, ["conv2d", "Relu"], "conv2d: the gradient between conv2d and Relu is also kept"),
        (with_a_sum, ["conv2d", "Relu"], "conv2d: the output of conv2d is also read by Mul"),
        (with_a_hook, ["conv2d", "Relu"], "conv2d: what backward gives to conv2d is not what comes from Relu alone"),
        (walked_twice, ["conv2d", "Relu"], "conv2d: backward walks 2 times"),
        (with_a_loop, ["conv2d", "Relu"], "conv2d: conv2d is to run as loop"),
        (in_odd_windows, ["conv2d_relu", "max_pool2d"], "no kernel runs conv2d, Relu, max_pool2d as one"),
    ],
)  # fmt: skip
def test_what_others_ask_for_stays(step, forwards, note):
    names, notes = left_alone(step, *batch())
    assert names[: len(forwards)] == forwards
    assert note in notes


def test_a_chosen_variant_runs():
    with tc.using(conv2d="loop"):
        program, _, _ = captured(lambda x, y: F.relu(CONV(x)), *batch(2))
    assert ops_of(program) == ["conv2d", "Relu"]
    assert "conv2d is to run as loop" in program.notes[0][1]


def test_nothing_is_fused_under_readable():
    with tc.using("readable"):
        program, ours, theirs = captured(lambda x, y: F.relu(CONV(x)), *batch())
    assert ops_of(program) == ["conv2d", "Relu"]
    np.testing.assert_array_equal(ours.numpy(), theirs.detach().numpy())


def test_softmax_and_its_loss_are_one():
    x, y = tc.randn(8, 10, dtype=tc.float64), batch()[1]
    weight = nn.Parameter(tc.ones(10, dtype=tc.float64))

    def step(x, y):
        weight.grad = None
        loss = F.nll_loss(F.log_softmax(x * weight, 1), y)
        loss.backward()
        return loss, weight.grad

    program, ours, theirs = captured(step, x, y)
    close(ours, theirs)
    assert ops_of(program) == ["Mul", "CrossEntropy"]


def test_a_gradient_that_is_added_to_stays_apart():
    """Without zero_grad each replay adds to what is there."""
    totals = []
    for wrap in (tc.capture, lambda step: step):
        tc.manual_seed(1)
        model = net()

        def step(x, y, model=model):
            F.cross_entropy(model(x), y).backward()

        run = wrap(step)
        for _ in range(5):
            run(*batch())
        totals.append([p.grad for p in model.parameters()])
    close(*totals)


def test_a_fusion_that_forgets_a_reader_is_seen(monkeypatch):
    monkeypatch.setattr(fuse._Fusing, "_asked", lambda self, value, by: "")
    with pytest.raises((AssertionError, TypeError, AttributeError)):
        left_alone(read_twice, *batch())
    with pytest.raises((AssertionError, TypeError, AttributeError)):
        left_alone(with_retained, *batch())


VALUES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0, np.inf, -np.inf, np.nan])


@given(
    st.lists(VALUES, min_size=16, max_size=16),
    st.lists(st.sampled_from([-2.0, 1.0, 3.0, np.inf, np.nan]), min_size=4, max_size=4),
)
def test_pooling_and_relu_commute(values, grads):
    """Ties, infinities and NaN too; only the sign of a zero may differ."""
    x, dy = np.reshape(values, (1, 1, 4, 4)), np.reshape(grads, (1, 1, 2, 2))
    y, saved = ops.ReluMaxPool2d.forward(np, x, **POOL)
    (dx,) = ops.ReluMaxPool2d.backward(np, saved, dy, (True,), **POOL)
    (pooled, _), from_pool = ops.MaxPool2d.forward(np, x, **POOL)
    late, from_relu = ops.Relu.forward(np, pooled)
    (dpooled,) = ops.Relu.backward(np, from_relu, dy, (True,))
    (late_dx,) = ops.MaxPool2d.backward(np, from_pool, dpooled, (True,), **POOL)
    np.testing.assert_array_equal(late, y)
    np.testing.assert_array_equal(late_dx, dx)
