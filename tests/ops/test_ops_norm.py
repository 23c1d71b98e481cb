"""batch_norm and layer_norm against torch, with the running statistics among the outputs."""

import numpy as np
import pytest
import torch
from geometry import some_of
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import arrays, check, check_values, dtypes

import tinyconv as tc
from tinyconv import functional as F

REF = torch.nn.functional
epsilons = st.sampled_from([1e-5, 0.1])


def slope(eps):
    """How steep a normalisation can be: where all elements are equal it divides by sqrt(eps)."""
    return 1 / np.sqrt(eps)


@settings(max_examples=150)
@given(st.data())
def test_batch_norm(data):
    c, dtype, eps = data.draw(st.integers(1, 3)), data.draw(dtypes), data.draw(epsilons)
    rest = data.draw(st.lists(st.integers(1, 3), max_size=2))
    training, tracked = data.draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    n = data.draw(st.integers(2 if training else 0, 4))
    x = data.draw(arrays((n, c, *rest), dtype))
    inputs = [x] + [data.draw(arrays((c,), dtype)) for _ in range(data.draw(st.sampled_from([0, 2])))]
    needs = data.draw(some_of(len(inputs)))
    mean, var = (data.draw(arrays((c,), dtype)) for _ in range(2))

    def batch_norm(function, tensor):
        """y and, where they are kept, the running statistics after it."""

        def run(x, weight=None, bias=None):
            running = [tensor(mean.copy()), tensor(np.square(var))] if tracked else [None, None]
            y = function(x, *running, weight, bias, training, 0.3, eps)
            return (y, *running) if tracked else y

        return run

    check(
        batch_norm(F.batch_norm, tc.from_numpy),
        batch_norm(REF.batch_norm, torch.from_numpy),
        inputs,
        needs=needs,
        magnitude=slope(eps) * (1 if training else 1 + abs(mean).max()),
    )


@settings(max_examples=100)
@given(st.data())
def test_layer_norm(data):
    dtype, eps = data.draw(dtypes), data.draw(epsilons)
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    inputs = [data.draw(arrays((*lead, *shape), dtype))]
    inputs += [data.draw(arrays(shape, dtype)) for _ in range(data.draw(st.integers(0, 2)))]
    needs = data.draw(some_of(len(inputs)))

    def layer_norm(function):
        return lambda x, weight=None, bias=None: function(x, shape, weight, bias, eps)

    check(layer_norm(F.layer_norm), layer_norm(REF.layer_norm), inputs, needs=needs, magnitude=slope(eps))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_far_from_zero(dtype):
    """The variance of numbers around 1000: the mean must come off before the square is taken."""
    x = (np.random.default_rng(0).standard_normal((8, 2, 3, 3)) + 1000).astype(dtype)
    check_values(
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: REF.batch_norm(x, None, None, training=True),
        [x],
        magnitude=1,
    )
