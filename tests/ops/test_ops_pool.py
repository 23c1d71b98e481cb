"""Pooling equal elements and several NaN, and windows that touch no element."""

import numpy as np
import pytest
import torch
from oracle import check

import tinyconv as tc
from tinyconv import functional as F

REF = torch.nn.functional


@pytest.mark.parametrize("fill", [1.0, -np.inf, np.nan])
def test_max_pool2d_of_equal_elements(fill):
    x = np.full((1, 1, 5, 5), fill)
    check(
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda x: REF.max_pool2d(x, 3, 2, 1, return_indices=True),
        [x],
        magnitude=1,
    )


def test_of_several_nan_in_a_cell_the_first_counts():
    x = tc.tensor([[[[0.0, np.nan, 2.0, np.nan]]]], requires_grad=True)
    y, place = F.adaptive_max_pool2d(x, 1, return_indices=True)
    y.backward(tc.ones(1, 1, 1, 1))
    assert place.item() == 1
    assert x.grad.tolist() == [[[[0, 1, 0, 0]]]]


def test_a_window_with_nothing_in_it_is_refused():
    with pytest.raises(tc.ShapeError, match="make a window that touches no element of the 1x1 input"):
        F.max_pool2d(tc.ones(1, 1, 1, 1), 2, padding=1, dilation=2)
