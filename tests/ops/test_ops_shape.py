"""Ops that move elements, against torch: views, joins, padding, and every kind of index."""

import numpy as np
import pytest
import torch
from geometry import some_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices, integer_array_indices
from oracle import arrays, check, check_values, dtypes, shapes

import tinyconv as tc
from tinyconv import functional as F

VIEWS = {
    "reshape": lambda x: x.reshape(3, 8),
    "reshape to -1": lambda x: x.reshape(4, -1),
    "view": lambda x: x.reshape((2, 2, 6)),
    "flatten": lambda x: x.flatten(),
    "flatten from 1": lambda x: x.flatten(1),
    "flatten the middle": lambda x: x.flatten(-3, -2),
    "permute": lambda x: x.permute(2, 0, 3, 1),
    "permute negative": lambda x: x.permute(-1, 1, -2, 0),
    "transpose": lambda x: x.transpose(1, 3),
    "transpose negative": lambda x: x.transpose(-1, 0),
    "squeeze": lambda x: x.squeeze(),
    "squeeze an axis": lambda x: x.squeeze(1),
    "squeeze no axis": lambda x: x.squeeze(0),
    "squeeze axes": lambda x: x.squeeze((1, -1)),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "unsqueeze at the end": lambda x: x.unsqueeze(-1),
    "expand": lambda x: x.expand(2, 5, 3, 4),
    "expand with -1": lambda x: x.expand(-1, 5, -1, 4),
    "expand in front": lambda x: x.expand(2, 3, 2, 1, 3, 4),
    "contiguous": lambda x: x.transpose(0, 2).contiguous(),
    "chain": lambda x: x.permute(3, 2, 1, 0).reshape(4, 6).transpose(0, 1).flatten(),
    "split": lambda x: x.split(2, 3),
    "split, a rest": lambda x: x.split(2, -2),
    "split in sizes": lambda x: x.split([1, 0, 3], 3),
    "chunk": lambda x: x.chunk(3, 3),
    "chunk, more than there are": lambda x: x.chunk(5, 0),
}


@pytest.mark.parametrize("name", VIEWS)
@settings(max_examples=15)
@given(data=st.data())
def test_view(name, data):
    x = data.draw(arrays((2, 1, 3, 4), data.draw(dtypes)))
    check(VIEWS[name], VIEWS[name], [x], magnitude=8)


@pytest.mark.parametrize("name", ["cat", "stack"])
@settings(max_examples=60)
@given(data=st.data())
def test_join(name, data):
    """Parts of several dtypes too: the result has the widest."""
    shape = list(data.draw(shapes(min_dims=name == "cat", max_dims=3)))
    dim = data.draw(st.integers(-len(shape) - (name == "stack"), len(shape) - (name == "cat")))
    parts = []
    for _ in range(data.draw(st.integers(1, 4))):
        if name == "cat":
            shape[dim] = data.draw(st.integers(0, 3))
        parts.append(data.draw(arrays(shape, data.draw(dtypes))))
    needs = data.draw(some_of(len(parts)))
    check(
        lambda *parts: getattr(tc, name)(parts, dim),
        lambda *parts: getattr(torch, name)(parts, dim),
        parts,
        needs=needs,
    )


def check_index(x, index):
    """NumPy says which elements an index names, torch what their gradient is."""
    places = np.arange(x.size).reshape(x.shape)[index]
    check(lambda x: x[index], lambda x: x.reshape(-1)[torch.from_numpy(np.array(places))], [x], magnitude=8)


@settings(max_examples=150)
@given(st.data())
def test_basic_index(data):
    """Integers, slices with any step, None and Ellipsis."""
    x = data.draw(arrays(data.draw(shapes(min_side=1)), data.draw(dtypes)))
    index = data.draw(basic_indices(x.shape, allow_newaxis=True))
    check_index(x, index)


@settings(max_examples=100)
@given(st.data())
def test_integer_array_index(data):
    """Places that are named more than once get the sum of their gradients."""
    x = data.draw(arrays(data.draw(shapes(min_dims=1, min_side=1)), data.draw(dtypes)))
    result = st.just(()) | st.lists(st.integers(0, 4), min_size=1, max_size=2).map(tuple)
    index = data.draw(integer_array_indices(x.shape, result_shape=result, dtype=np.int64))
    check_index(x, index)


@settings(max_examples=60)
@given(st.data())
def test_mask_index(data):
    x = data.draw(arrays(data.draw(shapes(min_dims=1)), data.draw(dtypes)))
    masked = data.draw(st.integers(1, x.ndim))
    mask = data.draw(arrays(x.shape[:masked], np.bool_, ("ties",)))
    check_index(x, mask)
    check(lambda x, mask: x[mask], lambda x, mask: x[mask], [x, mask])


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


def test_tensors_as_indices():
    x, index = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 3, 3])
    check(lambda x, index: x[index], lambda x, index: x[index], [x, index])
    check(lambda x, index: x[:, 1][index], lambda x, index: x[:, 1][index], [x, index])


def test_index_of_integers():
    check_values(lambda x: x[1:, ::2], lambda x: x[1:, ::2], [np.arange(12).reshape(3, 4)])


@settings(max_examples=100)
@given(st.data())
def test_pad_with_a_constant(data):
    """Negative widths crop."""
    x = data.draw(arrays(data.draw(shapes(min_side=1)), data.draw(dtypes)))
    axes = data.draw(st.integers(0, x.ndim))
    widths = data.draw(st.lists(st.integers(-2, 3), min_size=2 * axes, max_size=2 * axes))
    left = [n + before + after for n, before, after in zip(x.shape[::-1], widths[::2], widths[1::2], strict=False)]
    crops = zip(x.shape[::-1], widths[::2], widths[1::2], strict=False)
    assume(all(n >= 0 for n in left) and all(min(before, after) >= -n for n, before, after in crops))
    value = data.draw(st.sampled_from([0.0, 1.5, -2]))
    check(lambda x: F.pad(x, widths, value=value), lambda x: torch.nn.functional.pad(x, widths, value=value), [x])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@settings(max_examples=60)
@given(data=st.data())
def test_pad_with_the_image(mode, data):
    axes = data.draw(st.integers(1, 2))
    x = data.draw(arrays((2, *data.draw(shapes(axes + 1, axes + 1, 2, 5))), data.draw(dtypes)))
    widths = [data.draw(st.integers(-1, n - 1)) for n in x.shape[: -axes - 1 : -1] for _ in "ab"]
    left = [n + sum(widths[2 * i : 2 * i + 2]) for i, n in enumerate(x.shape[: -axes - 1 : -1])]
    assume(min(left) > 0)
    check(
        lambda x: F.pad(x, widths, mode),
        lambda x: torch.nn.functional.pad(x, widths, mode),
        [x],
        magnitude=9,  # an element may come back as many times
    )
