"""Normalisation far from zero, and where its arguments differ from torch's."""

import numpy as np
import pytest
import torch
from oracle import FLOATS, check_values

import tinyconv as tc
from tinyconv import functional as F

REF = torch.nn.functional


@pytest.mark.parametrize("dtype", FLOATS)
def test_batch_norm_far_from_zero(dtype):
    """The variance of numbers around 1000: the mean must come off before the square is taken."""
    x = (np.random.default_rng(0).standard_normal((8, 2, 3, 3)) + 1000).astype(dtype)
    check_values(
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: REF.batch_norm(x, None, None, training=True),
        [x],
        magnitude=1,
    )


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)], ids=str)
def test_batch_norm_does_not_train_on_one_value(shape):
    with pytest.raises(tc.ShapeError, match="one value a channel has no variance to train on"):
        F.batch_norm(tc.zeros(shape), None, None, training=True)


def test_layer_norm_over_the_last_axis_by_an_integer():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    check_values(lambda x: F.layer_norm(x, 4), lambda x: REF.layer_norm(x, (4,)), [x], magnitude=1)


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2), (1, 1), (0, 0)])
def test_running_statistics_of_other_channels_are_refused_in_training(sizes):
    mean, var = (tc.zeros(n) for n in sizes)
    text = "batch_norm: x has 3 channels, so running_mean and running_var must be (3,), got ({},) and ({},)"
    with pytest.raises(tc.ShapeError) as raised:
        tc.functional.batch_norm(tc.zeros(4, 3), mean, var, training=True)
    assert str(raised.value) == text.format(*sizes)
