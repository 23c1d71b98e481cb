"""Sizes of 0, wherever one can be: what PyTorch gives, or an error of ours; no error of NumPy's and no warning."""

import linecache
import shutil
import traceback
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.check.draw import RandomDraw
from tinyconv.check.reference import as_tuple, compare
from tinyconv.data import DataLoader
from tinyconv.engine.variants import available
from tinyconv.nn import init
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

CASES = 6  # each is asked with a 0 in every place, so these are some hundred questions to an op
OTHER_SHAPES = {"functional.conv1d", "functional.conv2d", "functional.pixel_shuffle", "functional.pixel_unshuffle"}
"""Where PyTorch gives an input of nothing its own shape again: a convolution of no channels, a shuffle of no pixels."""
OF_NUMPY = {"__getitem__", "__setitem__"}  # a mask that does not fit: an index is NumPy's, and so are errors about it
COMPILED = "native" in available("conv2d") and any(map(shutil.which, ("cc", "gcc", "clang")))
NATIVE = pytest.param("native", marks=pytest.mark.skipif(not COMPILED, reason="there is no C compiler"))
PACKAGE = str(Path(tc.__file__).parent)


def emptied(inputs):
    """The inputs with a 0 in one place: an axis of one of them, or all axes of that size in all of them."""
    for i, x in enumerate(inputs):
        for axis, n in enumerate(x.shape):
            yield [np.take(y, [], axis=axis) if j == i else y for j, y in enumerate(inputs)]
            yield [y[tuple(slice(0 if m == n else None) for m in y.shape)] for y in inputs]


def raised_here(error):
    """Whether a `raise` in this package made the error, and not a function that a line of it calls."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno or 0)
    return last.filename.startswith(PACKAGE) and line.strip().startswith("raise")


def results(case, inputs, device="cpu"):
    """The outputs that a case has for other inputs, after a walk back; None where an error of ours says why not."""
    try:
        with tc.device(device):
            leaves = [tc.tensor(x).requires_grad_(case.differentiable and x.dtype.kind == "f") for x in inputs]
            outputs = as_tuple(case.function()(*leaves))
            for y in outputs:
                if y.requires_grad:
                    y.backward(tc.ones_like(y), retain_graph=True)
    except Exception as error:
        if not raised_here(error):
            error.add_note(f"shapes {[x.shape for x in inputs]} of {case!r}")
            raise
        return None
    assert all(leaf.grad is None or leaf.grad.shape == leaf.shape for leaf in leaves)
    return [y.cpu().array for y in outputs]


def compare_with_torchs(case, inputs, found):
    """Where PyTorch has a result for these inputs, it is ours."""
    if case.call == "addmv" and not inputs[1].size:
        return  # where the matrix is empty, PyTorch gives back `input`, which it does not broadcast
    try:
        expected = as_tuple(case.torch_function()(*(torch.tensor(np.array(x)) for x in inputs)))
    except (RuntimeError, IndexError, ValueError, ZeroDivisionError):
        return
    for y, theirs in zip(found, expected, strict=True):
        if case.call in OTHER_SHAPES and inputs[0].size == theirs.numel() == 0:
            continue
        if case.call == "functional.multi_margin_loss" and not inputs[0].size:
            continue  # what PyTorch gives is memory that nobody has written to
        if case.call == "bincount" and not inputs[0].size:
            theirs = theirs.to(getattr(torch, y.dtype.name))  # int64 in PyTorch, whatever the weights are
        compare("output", y, theirs.detach().numpy(), magnitude=100)


@pytest.mark.parametrize("variant", ["readable", NATIVE, None])
@pytest.mark.parametrize("name", sorted(SPACES.keys() - OF_NUMPY))
def test_a_zero_in_every_place(name, variant):
    for seed in range(CASES):
        case = draw_case(name, RandomDraw(seed))
        for inputs in emptied(case.inputs):
            with warnings.catch_warnings(), tc.using(variant) if variant else nullcontext():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", message=".*they are broadcast, which is rarely meant")
                found = results(case, inputs)
            if found is not None:
                compare_with_torchs(case, inputs, found)


@pytest.mark.parametrize("name", sorted(SPACES.keys() - OF_NUMPY))
@pytest.mark.usefixtures("standin_cuda")
def test_a_zero_in_every_place_of_a_gpu(name):
    for seed in range(CASES):
        case = draw_case(name, RandomDraw(seed))
        for inputs in emptied(case.inputs):
            found, expected = results(case, inputs, "cuda"), results(case, inputs)
            if expected is None:  # or a class that there is not, which is not looked for on a GPU
                continue
            for y, theirs in zip(found, expected, strict=True):
                compare("output", y, theirs, magnitude=100)


def test_an_error_of_numpys_is_seen():
    with pytest.raises(ValueError, match="cannot reshape") as raised:
        tc.zeros(0).array.reshape(3, -1, 0)
    assert not raised_here(raised.value)
    with pytest.raises(tc.ShapeError) as raised:
        tc.zeros(0).max()
    assert raised_here(raised.value)


def test_a_convolution_without_channels_is_its_bias():
    layer = nn.Conv2d(0, 4, 3)
    y = layer(tc.zeros(2, 0, 5, 5))
    np.testing.assert_array_equal(y.detach(), np.broadcast_to(layer.bias.numpy()[:, None, None], (2, 4, 3, 3)))
    y.sum().backward()
    assert layer.bias.grad.tolist() == [18] * 4
    assert layer.weight.grad.shape == (4, 0, 3, 3)
    assert nn.Conv2d(3, 0, 3)(tc.zeros(2, 3, 5, 5)).shape == (2, 0, 3, 3)


def test_a_kernel_without_elements_is_refused():
    with pytest.raises(tc.ShapeError, match=r"^conv2d: the kernel is 0x2 \(weight is \(4, 3, 0, 2\)\); it needs at"):
        F.conv2d(tc.zeros(1, 3, 5, 5), tc.zeros(4, 3, 0, 2))


def test_layers_of_nothing():
    y = nn.Linear(0, 3)(tc.zeros(2, 0))
    assert y.tolist() == [[0, 0, 0]] * 2
    assert nn.Linear(3, 0)(tc.zeros(2, 3)).shape == (2, 0)
    assert nn.BatchNorm2d(0)(tc.zeros(2, 0, 3, 3)).shape == (2, 0, 3, 3)
    assert nn.LayerNorm(0)(tc.zeros(2, 0)).shape == (2, 0)
    assert F.adaptive_avg_pool2d(tc.zeros(2, 0, 4, 4), 2).shape == (2, 0, 2, 2)


@pytest.mark.parametrize("fill", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 0, 3, 3), (3, 2, 0, 1)], ids=str)
def test_a_weight_without_elements(fill, shape):
    """There is no fan to divide by, and nothing to fill."""
    with pytest.warns(UserWarning, match="this weight has no elements"):
        assert getattr(init, fill)(tc.zeros(shape)).shape == shape


@pytest.mark.parametrize(("smoothing", "expected"), [(0.0, 0.0), (0.1, 0.0)])
def test_a_loss_of_no_classes(smoothing, expected):
    target = tc.full((2,), -100, dtype=tc.int64)
    loss = F.cross_entropy(tc.zeros(2, 0), target, label_smoothing=smoothing, reduction="none")
    assert loss.tolist() == [expected] * 2
    with pytest.raises(tc.ShapeError, match="scores have 0 classes"):
        F.cross_entropy(tc.zeros(2, 0), tc.zeros(2, dtype=tc.int64), label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tc.cat([]), "expected at least one tensor"),
        (lambda: tc.stack([]), "expected at least one tensor"),
        (lambda: tc.zeros(0).max(), "nothing to choose from"),
        (lambda: tc.zeros(0, 3).amin(0), "nothing to choose from"),
        (lambda: tc.zeros(0).argmax(), "nothing to choose from"),
        (lambda: tc.zeros(4).split(0), "expected at least 1, got 0"),
        (lambda: tc.randint(3, 3, (2,)), "high: expected an integer >= 4, got 3"),
        (lambda: F.adaptive_max_pool2d(tc.zeros(1, 2, 0, 4), 2), "cells with nothing in them"),
        (lambda: F.max_pool2d(tc.zeros(1, 2, 0, 4), 2), "larger than the padded input 0x4"),
        (lambda: DataLoader((np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64))), "the dataset is empty"),
    ],
)
def test_what_nothing_cannot_do(call, text):
    with pytest.raises((tc.ShapeError, tc.TinyconvError, ValueError), match=text):
        call()


def test_what_nothing_can_do():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tc.zeros(0).sum().item() == 0
        assert tc.zeros(0).prod().item() == 1
        assert np.isnan([tc.zeros(0).mean().item(), tc.zeros(0).var().item(), tc.zeros(0).std().item()]).all()
        assert (tc.zeros(2, 0) @ tc.zeros(0, 3)).tolist() == [[0, 0, 0]] * 2
        assert [part.shape for part in tc.zeros(0).split(2)] == [(0,)]
