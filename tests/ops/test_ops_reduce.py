"""Reductions where they are hard to get right: ties and NaN, nothing to reduce, one value, infinities."""

import numpy as np
import pytest
from oracle import check

import tinyconv as tc


@pytest.mark.parametrize("row", [[1, 1, 0], [np.nan, 1, np.nan], [np.inf, np.inf, 0], [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_share_their_gradient(name, row):
    """Evenly among equal elements, and among NaN, which count as larger and smaller than any number."""
    check(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), [np.array(row, float)])


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
    """One value has no variance with correction 1. Where the variance is 0, its root has gradient 0."""
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
