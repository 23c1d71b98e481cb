"""Small parameters are updated as one array: the same bits as one by one, and nobody's arrays move."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.optim import SGD, Adam, AdamW, RMSprop, flat

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
OPTIMIZERS = [
    (Adam, {}), (Adam, {"amsgrad": True, "weight_decay": 0.1}), (AdamW, {}), (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}), (RMSprop, {"centered": True, "momentum": 0.5}),
]  # fmt: skip


def parameters(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [tc.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in SHAPES]


def one_by_one(kind):
    """The same optimiser, that keeps parameters apart."""
    return type("Apart", (kind,), {"elementwise": False})


def train(optimizer, params, steps=6, change=None):
    rng = np.random.default_rng(1)
    for i in range(steps):
        for p in params:
            p.grad = tc.tensor(rng.standard_normal(p.shape).astype(p.dtype))
        if change is not None:
            change(i, optimizer, params)
        optimizer.step()
    return [p.array.tobytes() for p in params]


def without_a_gradient(i, optimizer, params):
    if i > 0:
        params[i % 4].grad = None


def another_rate(i, optimizer, params):
    optimizer.param_groups[0]["lr"] = 0.01 * (i + 1)


def loaded_in_the_middle(i, optimizer, params):
    if i == 3:
        optimizer.load_state_dict(optimizer.state_dict())


def another_array(i, optimizer, params):
    if i == 3:
        params[1].data = tc.ones(5)


def state_written_to(i, optimizer, params):
    for kept in optimizer.state.values():
        for name, value in kept.items():
            if i == 3 and hasattr(value, "shape"):
                value[...] = 0.5
            if i == 4 and hasattr(value, "shape"):
                kept[name] = np.full_like(value, 0.25)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
@pytest.mark.parametrize(
    "change",
    [None, without_a_gradient, another_rate, loaded_in_the_middle, another_array, state_written_to],
    ids=lambda change: getattr(change, "__name__", "plain"),
)
def test_the_bits_are_those_of_one_by_one(kind, options, change):
    together, apart = parameters(), parameters()
    a, b = kind(together, **options), one_by_one(kind)(apart, **options)
    assert train(a, together, change=change) == train(b, apart, change=change)
    states = [s["state"] for s in (a.state_dict(), b.state_dict())]
    assert states[0].keys() == states[1].keys()
    for i in states[0]:
        for name, value in states[0][i].items():
            np.testing.assert_array_equal(value, states[1][i][name])


def test_arrays_stay_where_they_are():
    params = parameters()
    before = [p.array for p in params]
    view = params[0].data
    train(Adam(params), params)
    assert all(p.array is array for p, array in zip(params, before, strict=True))
    np.testing.assert_array_equal(view.array, params[0].array)


def test_they_are_together_and_the_large_are_not():
    params = [*parameters(), tc.zeros(1 << 16, requires_grad=True), tc.zeros(3, dtype=tc.float64, requires_grad=True)]
    optimizer = Adam(params)
    train(optimizer, params)
    ((_, flats, alone),) = optimizer._together.values()
    assert [len(flat.params) for flat in flats] == [4]
    assert len(alone) == 2


def test_a_rule_of_ones_own_is_called_for_each_parameter():
    seen = []

    class Mine(SGD):
        @staticmethod
        def rule(xp, param, grad, state, **options):
            seen.append(param.shape)
            param -= grad

    params = parameters()
    train(Mine(params, lr=1.0), params, steps=1)
    assert seen == SHAPES


def test_a_write_by_the_step_is_known_to_the_tape():
    params = parameters()
    optimizer = Adam(params)
    train(optimizer, params, steps=1)
    loss = (params[0] * params[0]).sum()
    train(optimizer, params, steps=1)
    with pytest.raises(tc.GraphError, match="written to in place"):
        loss.backward()


@pytest.mark.parametrize("size", [flat.PART, flat.PART + 1, 3 * flat.PART + 5])
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (SGD, {"momentum": 0.9, "nesterov": True}),
        (Adam, {"amsgrad": True, "weight_decay": 0.1}),
        (AdamW, {}),
        (RMSprop, {"momentum": 0.5, "centered": True}),
    ],
)
def test_a_rule_in_parts_gives_the_same_bits(monkeypatch, make, options, size):
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(size).astype(np.float32) for _ in range(5)]
    results = []
    for part in (flat.PART, 10 * size):
        monkeypatch.setattr(flat, "PART", part)
        param = tc.nn.Parameter(tc.tensor(given[0]))
        optimizer = make([param], lr=0.1, **options)
        for grad in given[1:]:
            param.grad = tc.tensor(grad)
            optimizer.step()
        arrays = optimizer.state[param]
        results.append([param.numpy().tobytes(), *(np.asarray(arrays[name]).tobytes() for name in sorted(arrays))])
    assert results[0] == results[1]
