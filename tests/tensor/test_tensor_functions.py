"""The functions of `tc` are the methods of Tensor: the same arguments, passed on, under torch's names."""

import inspect
from unittest import mock

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.tensor import functions

NAMES = [name for name, f in vars(functions).items() if inspect.isfunction(f) and f.__module__ == functions.__name__]
NAMES = [name for name in NAMES if not name.startswith("_")]
SIZES = {"reshape": "shape", "permute": "dims"}  # f(x, (2, 3)) and x.f(2, 3)


def parameters(function):
    return dict(list(inspect.signature(function).parameters.items())[1:])


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_passed_on(name):
    """Each in its place: every argument is an object of its own here."""
    function, method = getattr(tc, name), getattr(tc.Tensor, name)
    expected, given = parameters(method), parameters(function)
    assert list(expected) == list(given)
    assert [p.default for p in expected.values()] == [p.default for p in given.values()]
    marks = {argument: object() for argument in given}
    x = tc.ones(1)
    with mock.patch.object(tc.Tensor, name, autospec=True) as called:
        assert function(input=x, **marks) is called.return_value
    bound = inspect.signature(method).bind(*called.call_args.args, **called.call_args.kwargs).arguments
    bound.pop("self")
    assert bound == {key: (mark,) if SIZES.get(name) == key else mark for key, mark in marks.items()}
    assert function.__doc__ == method.__doc__


def test_there_is_one_for_each():
    assert len(NAMES) == 41
    assert set(NAMES) <= set(tc.__all__)


def test_numpys_names_are_understood():
    x = tc.ones(2, 3)
    assert tc.sum(x, axis=0, keepdims=True).shape == (1, 3)
    assert tc.max(x, axis=1).values.shape == (2,)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "var", "norm", "argmax", "logsumexp", "all"])
def test_a_scalar_has_one_axis_and_no_more(name):
    x = tc.tensor(1.0)
    reduce = lambda dim: getattr(x, name)(dim=dim)  # noqa: E731
    assert reduce(0).shape == reduce(-1).shape == ()
    for dim in (7, -2):
        with pytest.raises(tc.ShapeError, match=rf"dim {dim} is out of range for 0 axes"):
            reduce(dim)
    assert np.isfinite(tc.tensor(1.0).sum(0).item())
