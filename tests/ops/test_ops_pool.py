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


WINDOWS = {  # of which the only one hangs over the end
    "max_pool2d": {"kernel_size": (3, 2), "stride": 2, "padding": (0, 1), "return_indices": True},
    "avg_pool2d": {"kernel_size": (3, 2), "stride": 3, "padding": (0, 1), "count_include_pad": False},
    "lp_pool2d": {"norm_type": 2.0, "kernel_size": (3, 4)},
    "max_pool1d": {"kernel_size": 4, "dilation": 2},
    "avg_pool1d": {"kernel_size": 9, "stride": 7},
    "lp_pool1d": {"norm_type": 3.0, "kernel_size": 7},
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_larger_than_the_input_hangs_over_its_end_in_ceil_mode(name):
    x = np.random.default_rng(0).random((2, 3, 2, 3) if name.endswith("2d") else (2, 3, 4))
    options = WINDOWS[name] | {"ceil_mode": True}
    check(lambda x: getattr(F, name)(x, **options), lambda x: getattr(REF, name)(x, **options), [x], magnitude=8)
    with pytest.raises(tc.ShapeError, match=f"^{name}: kernel .* is larger than the padded input"):
        getattr(F, name)(tc.tensor(x), **WINDOWS[name])
