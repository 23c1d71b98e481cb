"""Tensors filled with random numbers: their distributions, where the numbers come from, and mistakes."""

import numpy as np
import pytest
from messages import message

import tinyconv as tc

N = 20_000


def drawn(name):
    """Many numbers of a distribution, and its mean and standard deviation."""
    x = tc.empty(N)
    return {
        "normal_": lambda: (x.normal_(2, 3), 2, 3),
        "uniform_": lambda: (x.uniform_(-1, 5), 2, 6 / 12**0.5),
        "exponential_": lambda: (x.exponential_(0.5), 2, 2),
        "bernoulli_": lambda: (x.bernoulli_(0.2), 0.2, 0.4),
        "bernoulli_ of a tensor": lambda: (x.bernoulli_(tc.tensor(0.2)), 0.2, 0.4),
        "bernoulli": lambda: (tc.bernoulli(tc.full((N,), 0.2)), 0.2, 0.4),
        "random_": lambda: (x.random_(0, 10), 4.5, (99 / 12) ** 0.5),
        "random_ from 0": lambda: (x.random_(10), 4.5, (99 / 12) ** 0.5),
        "normal": lambda: (tc.normal(2.0, 3.0, (N,)), 2, 3),
        "normal of tensors": lambda: (tc.normal(tc.full((N, 1), 2.0), tc.full((2,), 3.0)), 2, 3),
        "normal of one tensor": lambda: (tc.normal(tc.full((N,), 2.0), 3.0), 2, 3),
        "randint": lambda: (tc.randint(10, (N,)).float(), 4.5, (99 / 12) ** 0.5),
        "randint by name": lambda: (tc.randint(high=10, size=(N,), dtype=tc.int16).float(), 4.5, (99 / 12) ** 0.5),
        "randint_like": lambda: (tc.randint_like(x, 10), 4.5, (99 / 12) ** 0.5),
    }[name]()


NAMES = [
    "normal_", "uniform_", "exponential_", "bernoulli_", "bernoulli_ of a tensor", "bernoulli", "random_",
    "random_ from 0", "normal", "normal of tensors", "normal of one tensor", "randint", "randint by name",
    "randint_like",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_mean_and_deviation(name):
    tc.manual_seed(0)
    x, mean, deviation = drawn(name)
    assert x.dtype == np.float32
    assert abs(x.mean().item() - mean) < 5 * deviation / N**0.5
    assert abs(x.std().item() / deviation - 1) < 0.05
    tc.manual_seed(0)
    assert drawn(name)[0].tolist() == x.tolist()
    assert drawn(name)[0].tolist() != x.tolist()


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_by_weights(replacement):
    tc.manual_seed(0)
    weights = tc.tensor([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    first = tc.stack([weights.multinomial(2, replacement)[:, 0] for _ in range(2000)])
    shares = [[(first[:, row] == place).float().mean().item() for place in range(3)] for row in range(2)]
    np.testing.assert_allclose(shares, [[0.25, 0, 0.75], [0.5, 0.5, 0]], atol=0.05)


def test_multinomial_without_replacement_draws_each_once():
    order = tc.ones(50).multinomial(50)
    assert sorted(order.tolist()) == list(range(50))
    assert tc.ones(3, 4).multinomial(2).shape == (3, 2)
    assert tc.tensor([0.0, 1.0, 0.0]).multinomial(5, replacement=True).tolist() == [1] * 5


def test_a_generator_of_ones_own():
    def numbers(generator):
        x = tc.empty(3)
        return [
            *tc.rand(3, generator=generator).tolist(), *tc.randn(3, generator=generator).tolist(),
            *tc.randint(9, (3,), generator=generator).tolist(), *tc.normal(0.0, 1.0, 3, generator=generator).tolist(),
            *x.normal_(generator=generator).tolist(), *x.uniform_(generator=generator).tolist(),
            *x.exponential_(generator=generator).tolist(), *x.bernoulli_(generator=generator).tolist(),
            *x.random_(generator=generator).tolist(), *tc.ones(5).multinomial(3, generator=generator).tolist(),
            *tc.rand_like(x, generator=generator).tolist(), *tc.randn_like(x, generator=generator).tolist(),
        ]  # fmt: skip

    tc.manual_seed(1)
    before = tc.rand(1).item()
    first = numbers(tc.Generator().manual_seed(7))
    assert numbers(tc.Generator().manual_seed(7)) == first
    assert numbers(tc.Generator().manual_seed(8)) != first
    tc.manual_seed(1)
    assert tc.rand(1).item() == before
    after = tc.rand(1).item()
    tc.manual_seed(1)
    tc.rand(1)
    numbers(tc.Generator().manual_seed(7))
    assert tc.rand(1).item() == after


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "bool", "float32", "float16"])
def test_random_fills_all_that_a_dtype_can_hold(dtype):
    x = tc.zeros(2000, dtype=dtype).random_()
    assert x.dtype == np.dtype(dtype)
    assert x.double().min().item() >= 0
    assert x.numpy().astype(float).max() > 0.8 * {"b": 1, "f": 2.0 ** (24 if dtype == "float32" else 11)}.get(
        x.dtype.kind, float(np.iinfo(dtype).max) if x.dtype.kind in "iu" else 0
    )


def test_filling_a_part():
    x = tc.zeros(4)
    x[1:3].normal_()
    assert x[0].item() == x[3].item() == 0.0
    assert (x[1:3] != 0).all()


def test_a_captured_step_draws_anew():
    def step(x):
        return x * tc.bernoulli(x) + tc.empty(3).uniform_() + tc.normal(0.0, 1.0, (3,))

    captured, x = tc.capture(step), tc.full((3,), 0.5)
    tc.manual_seed(0)
    found = [captured(x).tolist() for _ in range(4)]
    tc.manual_seed(0)
    assert [step(x).tolist() for _ in range(4)] == found
    assert len({tuple(each) for each in found}) == 4


MISTAKES = {
    "leaf": (tc.GraphError, lambda: tc.ones(2, requires_grad=True).normal_(), "a leaf that requires grad"),
    "normal of integers": (tc.DtypeError, lambda: tc.zeros(2, dtype=tc.int64).normal_(), "floating point, not int64"),
    "deviation": (tc.OptionError, lambda: tc.empty(2).normal_(0, -1), "normal_: std: expected a finite number >= 0"),
    "order": (tc.OptionError, lambda: tc.empty(2).uniform_(1, 0), "uniform_: to - from_"),
    "rate": (tc.OptionError, lambda: tc.empty(2).exponential_(0), "exponential_: lambd: expected a finite number > 0"),
    "chance": (tc.OptionError, lambda: tc.empty(2).bernoulli_(1.5), "bernoulli_: p: expected a number from 0 to 1"),
    "chances": (ValueError, lambda: tc.bernoulli(tc.tensor([0.5, 1.5])), "from 0 to 1.0, got some from 0.5 to 1.5"),
    "no size": (tc.ShapeError, lambda: tc.normal(0.0, 1.0), "two numbers need a size"),
    "too many": (tc.ShapeError, lambda: tc.ones(2).multinomial(3), "3 samples of 2 places without replacement"),
    "too few": (ValueError, lambda: tc.tensor([1.0, 0.0]).multinomial(2), "a row has fewer than 2 weights above 0"),
    "below 0": (ValueError, lambda: tc.tensor([1.0, -1.0]).multinomial(1), "got some from -1.0 to 1.0"),
    "weights": (tc.DtypeError, lambda: tc.tensor([1, 2]).multinomial(1), "floating-point weights, got int64 (2,)"),
    "generator": (tc.OptionError, lambda: tc.rand(2, generator=3), "expected a tinyconv.Generator, got 3"),
}


@pytest.mark.parametrize(("kind", "mistake", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(kind, mistake, expected):
    assert expected in message(kind, mistake)
