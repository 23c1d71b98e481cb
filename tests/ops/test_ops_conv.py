"""Convolutions worth naming, the identity that makes col2im the transpose of im2col, and convolution in chunks."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import FLOATS, HypothesisDraw, arrange, check, compare

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.ops import conv
from tinyconv.testing.spaces.conv import window


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "geometry"),
    [
        pytest.param((2, 3, 5, 4), (2, 3, 5, 4), {}, id="kernel is the image"),
        pytest.param((2, 3, 5, 4), (6, 3, 1, 1), {}, id="1x1"),
        pytest.param((2, 3, 5, 4), (6, 3, 1, 1), {"stride": (3, 2)}, id="1x1, strided"),
        pytest.param((2, 4, 6, 6), (4, 1, 3, 3), {"groups": 4, "padding": 1}, id="depthwise"),
        pytest.param((2, 4, 6, 6), (8, 1, 3, 3), {"groups": 4}, id="depthwise, two filters a channel"),
        pytest.param((1, 1, 9, 9), (1, 1, 2, 2), {"stride": 4}, id="stride larger than kernel"),
        pytest.param((0, 2, 5, 5), (3, 2, 3, 3), {}, id="no image"),
        pytest.param((1, 2, 1, 1), (3, 2, 3, 3), {"padding": 1}, id="one pixel"),
        pytest.param((1, 1, 2, 2), (1, 1, 1, 1), {"padding": 3}, id="windows of padding only"),
        pytest.param((2, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}, id="LeNet"),
    ],
)
def test_conv2d_corners(x_shape, weight_shape, geometry, dtype):
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype(dtype) for shape in (x_shape, weight_shape, weight_shape[:1])]
    check(
        lambda *tensors: F.conv2d(*tensors, **geometry),
        lambda *tensors: torch.nn.functional.conv2d(*tensors, **geometry),
        inputs,
        magnitude="terms",
    )


@settings(max_examples=200)
@given(data=st.data())
def test_col2im_is_the_transpose_of_im2col(data):
    """<im2col(x), cols> = <x, col2im(cols)>, whatever the strides of x."""
    draw = HypothesisDraw(data.draw)
    kernel, stride, padding, dilation, size = window(draw)
    x = draw.array((draw.integer(0, 2), draw.integer(1, 3), *size), np.float64)
    windows = conv.im2col(np, x, kernel, stride, padding, dilation)
    cols = draw.array(windows.shape, np.float64)
    image = conv.col2im(np, cols, size, stride, padding, dilation)
    assert image.shape == x.shape
    compare(
        "inner product",
        np.vdot(windows, cols)[...],
        np.vdot(x, image)[...],
        np.vdot(abs(windows), abs(cols)),
    )


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "reversed"])
def test_chunks_change_nothing(monkeypatch, layout):
    rng = np.random.default_rng(0)
    x = arrange(rng.standard_normal((7, 4, 8, 8)), layout)
    weight, dy = rng.standard_normal((6, 2, 3, 3)), rng.standard_normal((7, 6, 8, 8))
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 2}

    def run():
        y, saved = tc.ops.Conv2d.forward(np, x, weight, None, **geometry)
        return y, *tc.ops.Conv2d.backward(np, saved, dy, (True, True, False), **geometry)

    whole = run()
    each = 4 * 10 * 10 + 4 * 9 * 64 + 6 * 64  # a padded image, its columns, its output
    monkeypatch.setattr(conv, "CHUNK_BYTES", 3 * each * x.itemsize)
    assert [chunk.stop - chunk.start for chunk in conv.chunks(x, weight, (1, 1), 64)] == [3, 3, 3]
    y, dx, dweight, _ = run()
    np.testing.assert_array_equal(y, whole[0])
    np.testing.assert_array_equal(dx, whole[1])
    compare("dweight", dweight, whole[2], np.abs(whole[2]).max())  # summed in another order


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "stride"),
    [
        pytest.param((64, 64, 4, 4), (64, 64, 3, 3), 1, id="large weights, few windows"),
        pytest.param((64, 1, 32, 32), (64, 1, 1, 1), 1, id="outputs larger than columns"),
        pytest.param((64, 64, 16, 16), (64, 1, 1, 1), 4, id="images larger than columns"),
    ],
)
def test_a_chunk_bounds_what_is_made_on_the_way(monkeypatch, x_shape, weight_shape, stride):
    """Besides results, and the chunks that are joined to them, there is little, whichever part of a chunk is largest.

    Backward holds the gradient of the columns, the image they are added up to, and the columns themselves.
    """
    monkeypatch.setattr(conv, "CHUNK_BYTES", 1 << 19)
    x, weight = np.ones(x_shape, np.float32), np.ones(weight_shape, np.float32)
    groups = x_shape[1] // weight_shape[1]
    geometry = {"stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1), "groups": groups}

    def beyond_results(function, *args):
        tracemalloc.start()
        try:
            results = [a for a in function(np, *args, **geometry) if isinstance(a, np.ndarray)]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return results[0], peak - 2 * sum(a.nbytes for a in results)

    allowance = 3 * weight.nbytes + (1 << 16)  # dweight as it is summed up, and small things
    y, made = beyond_results(conv.Conv2d.forward, x, weight, weight[:, 0, 0, 0])
    assert made < conv.CHUNK_BYTES + allowance
    _, made = beyond_results(conv.Conv2d.backward, (x, weight), y, (True, True, True))
    assert made < 3 * conv.CHUNK_BYTES + allowance


@pytest.mark.slow
def test_ten_thousand_digits_fit_in_a_gigabyte():
    """Evaluating a test set in one batch: its columns at once would take more than the activations."""
    tc.manual_seed(0)
    net = tc.nn.Sequential(
        tc.nn.Conv2d(1, 6, 5, padding=2), tc.nn.ReLU(), tc.nn.MaxPool2d(2), tc.nn.Conv2d(6, 16, 5), tc.nn.ReLU()
    )
    x = tc.from_numpy(np.zeros((10_000, 1, 28, 28), np.float32))
    tracemalloc.start()
    try:
        with tc.no_grad():
            assert net(x).shape == (10_000, 16, 10, 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 30
