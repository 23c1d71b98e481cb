"""`tinyconv.distributions` beside PyTorch's: log-probabilities, entropies and divergences with gradients; samples."""

import numpy as np
import pytest
import torch
from messages import message

import tinyconv as tc
from tinyconv.torch_modules.distributions import Bernoulli, Categorical, Normal, Uniform, kl_divergence

RNG = np.random.default_rng(0)
POSITIVE, ANY = RNG.random((2, 3)) * 2 + 0.1, RNG.standard_normal((2, 3))
SHARE = RNG.random((2, 3))

# A kind: its parameters, and values.
KINDS = {
    "Normal": ("Normal", {"loc": ANY, "scale": POSITIVE}, RNG.standard_normal((4, 2, 3))),
    "Normal, broadcast": ("Normal", {"loc": ANY, "scale": POSITIVE[0]}, RNG.standard_normal((2, 3))),
    "Uniform": ("Uniform", {"low": ANY, "high": ANY + POSITIVE}, ANY + POSITIVE / 3),
    "Bernoulli": ("Bernoulli", {"probs": SHARE}, np.array([[0.0, 1, 1], [1, 0, 0]])),
    "Bernoulli, logits": ("Bernoulli", {"logits": ANY}, np.array([0.0, 1, 1])),
    "Categorical": ("Categorical", {"probs": POSITIVE}, np.array([[2, 0], [1, 1], [0, 2]])),
    "OneHotCategorical": ("OneHotCategorical", {"probs": POSITIVE}, np.eye(3)[[[0, 2], [1, 1]]]),
    "Categorical, logits": ("Categorical", {"logits": ANY}, np.array([2, 0])),
}


def made(library, kind, parameters):
    tensors = {key: library.tensor(value, requires_grad=True) for key, value in parameters.items()}
    return getattr(library.distributions, kind)(**tensors), list(tensors.values())


def asked(library, ask, kind, parameters, value):
    """What is asked of a distribution, and the gradients to its parameters."""
    p, tensors = made(library, kind, parameters)
    found = ask(p, library.tensor(value), library)
    for t in tensors:
        t.grad = None
    if not found.requires_grad:
        return [found.detach().numpy()]
    (found * found).sum().backward()
    return [found.detach().numpy(), *(np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in tensors)]


def divergence(p, value, library):
    kind = type(p).__name__
    theirs = made(library, kind, {key: value[::-1].copy() for key, value in OTHER[kind].items()})[0]
    return library.distributions.kl_divergence(p, theirs)


OTHER = {
    "Normal": {"loc": ANY + 0.3, "scale": POSITIVE + 0.2},
    "Uniform": {"low": ANY - 9, "high": ANY + 9},
    "Bernoulli": {"probs": SHARE},
    "Categorical": {"probs": POSITIVE + 0.1},
    "OneHotCategorical": {"probs": POSITIVE + 0.1},
}
ASKS = {
    "log_prob": lambda p, value, library: p.log_prob(value),
    "entropy": lambda p, value, library: p.entropy(),
    "perplexity": lambda p, value, library: p.perplexity(),
    "kl_divergence": divergence,
    "probs": lambda p, value, library: getattr(p, "probs", p.entropy()),
    "logits": lambda p, value, library: getattr(p, "logits", p.entropy()),
    "cdf": lambda p, value, library: p.cdf(value) if p.has_rsample else p.entropy(),
    "variance": lambda p, value, library: (
        p.mode + p.entropy() if type(p).__name__ == "Categorical" else p.variance + p.stddev + p.mean
    ),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("case", KINDS)
def test_numbers_and_gradients_are_those_of_pytorch(case, ask):
    ours, theirs = (asked(library, ASKS[ask], *KINDS[case]) for library in (tc, torch))
    assert len(ours) == len(theirs)
    for found, expected in zip(ours, theirs, strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ends", [([0.0, 0.5, 1.0], [0.0, 1.0, 1.0]), ([0.0, 1.0, 0.3], [1.0, 0.0, 0.0])])
@pytest.mark.parametrize("kind", ["Bernoulli", "Categorical", "Uniform"])
def test_the_divergence_at_the_ends(kind, ends):
    def found(library):
        p, q = (library.tensor(np.array(end)) for end in ends)
        given = ((p, p + 1), (q, q + 1)) if kind == "Uniform" else ((p,), (q,))
        make = getattr(library.distributions, kind)
        return library.distributions.kl_divergence(*(make(*one) for one in given)).numpy()

    np.testing.assert_allclose(found(tc), found(torch), rtol=1e-9)


@pytest.mark.parametrize("case", KINDS)
def test_what_is_drawn_has_the_mean_and_the_spread(case):
    tc.manual_seed(0)
    kind, parameters, _ = KINDS[case]
    p, _ = made(tc, kind, parameters)
    theirs, _ = made(torch, kind, parameters)
    drawn = p.sample((4000,))
    assert not drawn.requires_grad
    assert (drawn.shape, drawn.dtype) == (
        tuple(theirs.sample((4000,)).shape),
        tc.from_numpy(theirs.sample().numpy()).dtype,
    )
    if kind == "Categorical":
        shares = np.stack([(drawn.numpy() == place).mean(0) for place in range(3)], -1)
        np.testing.assert_allclose(shares, theirs.probs.detach().numpy(), atol=0.03)
    else:
        mean, spread = theirs.mean.detach().numpy(), theirs.stddev.detach().numpy()
        assert (np.abs(drawn.numpy().mean(0) - mean) < 5 * spread / 4000**0.5).all()
        np.testing.assert_allclose(drawn.numpy().std(0), spread, rtol=0.1, atol=0.02)


def test_gradients_flow_through_rsample():
    loc, scale = tc.zeros(3, requires_grad=True), tc.ones(3, requires_grad=True)
    drawn = Normal(loc, scale).rsample((5,))
    drawn.sum().backward()
    assert loc.grad.tolist() == [5.0] * 3
    np.testing.assert_allclose(scale.grad.numpy(), drawn.detach().numpy().sum(0), rtol=1e-6)


def test_numbers_are_float32_and_follow_manual_seed():
    tc.manual_seed(3)
    first = Normal(0.0, 1).sample((2,))
    tc.manual_seed(3)
    assert first.tolist() == Normal(0.0, 1).sample((2,)).tolist()
    assert (first.dtype, first.shape) == (tc.float32, (2,))
    assert Normal(tc.zeros(2, dtype=tc.float64), 1).scale.dtype == tc.float64
    assert Categorical(tc.ones(0, 3)).sample((2,)).shape == (2, 0)
    assert Uniform(0.0, 1.0).sample().shape == ()


def test_a_captured_step_draws_anew():
    tc.manual_seed(0)
    loc = tc.zeros(4, requires_grad=True)

    @tc.capture
    def step(x):
        drawn = Normal(loc, 1.0).rsample()
        loss = -(Normal(x, 1.0).log_prob(drawn)).sum() + Bernoulli(logits=x).sample().sum() * 0
        loss.backward()
        return drawn.detach()

    drawn = [step(tc.ones(4)).numpy().copy() for _ in range(4)]
    assert len({tuple(row) for row in drawn}) == 4


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Normal(0.0, tc.tensor([1.0, -2.0])), "Normal: scale must be above 0, got -2.0"),
        (lambda: Normal(float("nan"), 1.0), "Normal: loc must be a number, got nan"),
        (lambda: Normal(0.0, 1.0).log_prob(tc.tensor(float("nan"))), "Normal: a value must be a number"),
        (lambda: Uniform(1.0, 0.0), "Uniform: high - low must be above 0, got -1.0"),
        (lambda: Uniform(0.0, 1.0).log_prob(tc.tensor(3.0)), "Uniform: a value must be from low to high, got 3.0"),
        (lambda: Bernoulli(tc.tensor([0.5, 1.5])), "Bernoulli: probs must be from 0 to 1, got 1.5"),
        (lambda: Bernoulli(), "Bernoulli: takes probs or logits, one of the two"),
        (lambda: Bernoulli(0.5).log_prob(tc.tensor(2.0)), "Bernoulli: a value must be 0 or 1, got 2.0"),
        (lambda: Categorical(tc.ones(3), tc.ones(3)), "Categorical: takes probs or logits, one of the two"),
        (lambda: Categorical(tc.tensor([1.0, -1.0])), "Categorical: probs must be weights from 0 on"),
        (lambda: Categorical(1.0), "Categorical: takes at least one axis"),
        (
            lambda: tc.distributions.OneHotCategorical(tc.ones(2)).log_prob(tc.ones(2)),
            "OneHotCategorical: a value must be one-hot rows",
        ),
        (lambda: Categorical(tc.ones(3)).log_prob(tc.tensor(5)), "Categorical: a value must be 0 to 2, got 5"),
    ],
)
def test_mistakes(make, expected):
    assert message(tc.OptionError, make).startswith(expected)


def test_unchecked_on_wish():
    assert np.isnan(Normal(0.0, -1.0, validate_args=False).log_prob(tc.tensor(0.0)).item())


def test_what_is_not_here_says_so():
    assert "Normal, Uniform, Bernoulli and Categorical are here" in message(
        AttributeError, getattr, tc.distributions, "Gamma"
    )
    assert "sample() draws" in message(NotImplementedError, Bernoulli(0.5).rsample)
    assert "is near it" in message(NotImplementedError, kl_divergence, Normal(0.0, 1.0), Uniform(0.0, 1.0))
    with tc.as_torch():
        from torch.distributions.bernoulli import Bernoulli as found
    assert found is Bernoulli
