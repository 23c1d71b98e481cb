"""Every variant gives what the readable pair gives, on every geometry. Other tests compare that pair with torch."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Disagreement, HypothesisDraw, check, compare, normal

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import ops
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case


def results(function, inputs, change=np.asarray, **choice):
    """Outputs and gradients under the chosen variant; `change` is applied to the inputs and to the cotangent."""
    leaves = [tc.from_numpy(change(array)).requires_grad_() for array in inputs]
    with tc.using(**choice):
        y = function(*leaves)
    y, *beside = y if isinstance(y, tuple) else (y,)
    y.backward(tc.from_numpy(change(normal(np.random.default_rng(0), y.shape, y.dtype))))
    return [y.array, *(t.array for t in beside), *(leaf.grad.array for leaf in leaves)]


def variants(*ops):
    """The variants of these ops that this machine has, without the readable one."""
    known = tc.variants.available()
    return [
        pytest.param(
            op, name, marks=pytest.mark.skipif(name == "native" and not has_compiler(), reason="no C compiler")
        )
        for op in ops
        for name in known.get(op, ())
        if name != "im2col"
    ]


def has_compiler():
    return any(map(shutil.which, ("cc", "gcc", "clang")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "variant"), variants("conv2d", "linear", "conv2d_relu", "linear_relu", "conv2d_relu_max_pool2d")
)
@settings(max_examples=100)
@given(data=st.data())
def test_sums_of_products(op, variant, data):
    case = draw_case(op, HypothesisDraw(data.draw))
    found, expected = (results(case.function(), case.inputs, **{op: name}) for name in (variant, "readable"))
    terms = results(case.function(), case.inputs, np.abs)
    for i, arrays in enumerate(zip(found, expected, terms, strict=True)):
        compare(f"result {i}", *arrays)


@pytest.mark.parametrize(("op", "variant"), variants("max_pool2d"))
@settings(max_examples=100)
@given(data=st.data())
def test_max_pool2d(op, variant, data):
    """A choice rounds nothing, so values and indices are equal to the bit; only sums of gradients may differ."""
    case = draw_case("max_pool2d", HypothesisDraw(data.draw))
    options = case.options | {"return_indices": True}
    found, expected = (
        results(lambda x: F.max_pool2d(x, **options), case.inputs, max_pool2d=name) for name in (variant, "readable")
    )
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    compare("dx", found[2], expected[2], 9)


def test_backward_runs_the_pair_that_forward_ran():
    x = tc.from_numpy(np.ones((1, 1, 3, 3))).requires_grad_()
    weight = tc.from_numpy(np.ones((1, 1, 2, 2)))
    with tc.using(conv2d="loop"):
        y = F.conv2d(x, weight)
    assert y.grad_fn.pair is not ops.Conv2d
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def test_a_wrong_variant_is_rejected(monkeypatch):
    """It is registered, chosen, run through the tape, and refused."""

    class NoBias(ops.Conv2d):
        @staticmethod
        def forward(xp, x, weight, bias, **geometry):
            return ops.Conv2d.forward(xp, x, weight, None, **geometry)

    monkeypatch.setitem(tc.variants._table, "conv2d", dict(tc.variants._table["conv2d"]))
    tc.register("conv2d", "no bias", NoBias)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape) for shape in [(2, 2, 5, 5), (3, 2, 3, 3), (3,)]]
    check(F.conv2d, torch.nn.functional.conv2d, inputs, magnitude="terms")
    with tc.using(conv2d="no bias"), pytest.raises(Disagreement, match="output 0"):
        check(F.conv2d, torch.nn.functional.conv2d, inputs, magnitude="terms")
