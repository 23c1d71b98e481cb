"""Reductions against torch: every spelling of `dim`, ties, NaN, zeros in products, and nothing to reduce."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import LAYOUTS, arrays, check, check_values, dtypes, shapes

import tinyconv as tc

# What cancels on the way: terms of a sum; for a variance the square of the largest input, which is below 6.
MAGNITUDES = {"sum": "terms", "mean": "terms", "amax": 0, "amin": 0, "var": 32, "std": 32, "logsumexp": 1}


@st.composite
def reductions(draw, ndim):
    """The arguments of a reduction: one axis or several, counted from either end, or (where it may be) all of them."""
    axis = st.integers(-ndim, ndim - 1) if ndim else st.integers(-1, 0)
    several = st.lists(axis, min_size=1, max_size=3, unique_by=lambda i: i % max(ndim, 1)).map(tuple)
    return {"dim": draw(axis | several), "keepdim": draw(st.booleans())}


@pytest.mark.parametrize("name", MAGNITUDES)
@settings(max_examples=80)
@given(data=st.data())
def test_reduction(name, data):
    shape = data.draw(shapes(min_side=2 if name in ("var", "std") else 1, min_dims=1 if name in ("var", "std") else 0))
    options = data.draw(reductions(len(shape)))
    if name in ("var", "std"):
        options["correction"] = data.draw(st.sampled_from([1, 0]))
    # Repeated elements have variance 0 up to rounding, where the root is infinitely steep.
    layouts = LAYOUTS[:-1] if name == "std" else LAYOUTS
    x = data.draw(arrays(shape, data.draw(dtypes), layouts=layouts))
    check(
        lambda x: getattr(x, name)(**options),
        lambda x: getattr(x, name)(**options),
        [x],
        magnitude=MAGNITUDES[name],
    )


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std", "prod"])
@settings(max_examples=40)
@given(data=st.data())
def test_reduction_of_everything(name, data):
    least = 2 if name in ("var", "std") else 1
    shape = data.draw(shapes(min_side=least, min_dims=least - 1, max_side=3, max_dims=3))
    x = data.draw(arrays(shape, data.draw(dtypes), layouts=LAYOUTS[:-1]))
    magnitude = MAGNITUDES.get(name, 0)
    check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), [x], magnitude=magnitude)


@pytest.mark.parametrize("name", ["max", "min"])
@settings(max_examples=60)
@given(data=st.data())
def test_extremes_along_one_axis(name, data):
    """Values and places; of equal extremes the first, of NaN the first too."""
    shape = data.draw(shapes(min_side=1))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1) if shape else st.just(0))
    keepdim = data.draw(st.booleans())
    x = data.draw(arrays(shape, data.draw(dtypes), ("normal", "ties", "special")))
    check(lambda x: getattr(x, name)(dim, keepdim), lambda x: getattr(x, name)(dim, keepdim), [x])
    arg = f"arg{name}"
    check_values(lambda x: getattr(x, arg)(dim, keepdim), lambda x: getattr(x, arg)(dim, keepdim), [x])


@pytest.mark.parametrize("row", [[1, 1, 0], [np.nan, 1, np.nan], [np.inf, np.inf, 0], [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_share_their_gradient(name, row):
    """Evenly among equals; of NaN, which is larger and smaller than anything, too."""
    check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), [np.array(row, float)])


@settings(max_examples=100)
@given(st.data())
def test_prod(data):
    """Zeros are drawn often: the product of the others is no quotient."""
    shape = data.draw(shapes())
    dim = data.draw(st.integers(-len(shape), len(shape) - 1) if shape else st.just(-1))
    keepdim = data.draw(st.booleans())
    x = data.draw(arrays(shape, data.draw(dtypes)))
    check(lambda x: x.prod(dim, keepdim), lambda x: x.prod(dim, keepdim), [x])


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.int64])
def test_reduction_of_integers(name, dtype):
    x = np.array([[1, 0, 1], [1, 1, 1]]).astype(dtype)
    check_values(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), [x])
    check_values(lambda x: getattr(x, name)(1), lambda x: getattr(x, name)(1), [x])


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)], ids=str)
def test_reduction_of_nothing(name, shape):
    x = np.zeros(shape)
    check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), [x])
    check(lambda x: getattr(x, name)(0), lambda x: getattr(x, name)(0), [x])


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin", "argmax", "argmin"])
def test_there_is_no_extreme_of_nothing(name):
    with pytest.raises(tc.ShapeError, match="nothing to choose from"):
        getattr(tc.zeros(2, 0), name)(1)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0], [1.0, 2.0]], ids=str)
@pytest.mark.parametrize("correction", [0, 1])
def test_spread_of_few(name, values, correction):
    """One value has no variance (with correction 1), and where there is none the root has gradient 0."""
    check(
        lambda x: getattr(x, name)(correction=correction),
        lambda x: getattr(x, name)(correction=correction),
        [np.array(values)],
        magnitude=1,
    )


@pytest.mark.parametrize(
    "row", [[-np.inf, -np.inf], [np.inf, 1.0], [-np.inf, 1.0], [np.inf, -np.inf], [np.nan, 1.0], [1e4, 1e4]], ids=str
)
def test_logsumexp_of_infinities(row):
    check(lambda x: x.logsumexp(0), lambda x: x.logsumexp(0), [np.array(row)])


def test_argmax_of_a_flattened_tensor():
    x = np.array([[1.0, 5.0], [5.0, 0.0]])
    check_values(lambda x: x.argmax(), lambda x: x.argmax(), [x])
    check_values(lambda x: x.argmin(), torch.argmin, [x])
