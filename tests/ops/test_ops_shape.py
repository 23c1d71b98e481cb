"""Ops that move elements, against torch: views of views, and indices of several kinds at once."""

import numpy as np
import pytest
import torch
from oracle import check


def test_views_of_views():
    """Views of views, also where the layout allows no view."""
    x = np.random.default_rng(0).standard_normal((2, 1, 3, 4))
    for chain in (
        lambda x: x.permute(3, 2, 1, 0).reshape(4, 6).transpose(0, 1).flatten(),
        lambda x: x.transpose(0, 2).contiguous(),
        lambda x: x.expand(2, 5, 3, 4)[:, 1:3].transpose(1, 2).reshape(6, -1).split(3, 1),
    ):
        check(chain, chain, [x], magnitude=8)


def check_index(x, index):
    """NumPy says which elements an index names, torch what their gradient is."""
    places = np.arange(x.size).reshape(x.shape)[index]
    check(lambda x: x[index], lambda x: x.reshape(-1)[torch.from_numpy(np.array(places))], [x], magnitude=8)


MIXED = {
    "list": [0, 2, 2],
    "negative and repeated": (slice(None), np.array([-1, 2, -1])),
    "slice and array": (slice(0, 3, 2), np.array([[0, 1], [1, 1]])),
    "arrays apart": (np.array([0, 0, 2]), slice(None), np.array([1, 1, 1])),
    "array and integer": (np.array([1, 1]), 0),
    "array after Ellipsis": (..., np.array([3, 0, 3])),
    "array and None": (None, np.array([1, 0]), None),
    "array and negative step": (slice(None, None, -1), np.array([0, 0])),
    "mask and integer": (slice(None), np.array([True, False, True]), 1),
    "mask and array": (np.array([True, False, True]), np.array([2, 2])),
    "arrays that broadcast": (np.array([[0], [2]]), np.array([1, 1, 0])),
    "no element": (np.zeros(0, np.int64),),
    "0-d array": (np.array(1), slice(1, None)),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_index(name):
    check_index(np.random.default_rng(0).standard_normal((3, 3, 4)), MIXED[name])
