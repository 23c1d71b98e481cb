"""Functions that are methods of Tensor too: one object under both names, whose input is called `input`, as in torch."""

import inspect

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.tensor import arranging, methods, picking, pointwise, products, rearranging, reductions, sorting

ROOMS = (pointwise, products, reductions, arranging, picking, rearranging, sorting)
ALONE = {  # functions that are no methods in torch either
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors", "bucketize", "einsum", "searchsorted",
    "std_mean", "tensordot", "var_mean",
}  # fmt: skip
NAMES = [name for room in ROOMS for name in room.__all__ if name not in ALONE]
METHODS = {name: f for name, f in vars(methods.Methods).items() if not name.startswith("__")}


@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_the_method(name):
    assert getattr(tc, name) is getattr(tc.Tensor, name)
    assert next(iter(inspect.signature(getattr(tc, name)).parameters)) == ("input" if name != "isin" else "elements")


def test_every_method_listed_is_attached():
    for name, function in METHODS.items():
        assert vars(tc.Tensor)[name] is function, f"{name} is written in tensor.py too"
    assert set(NAMES) <= set(METHODS)


def test_there_is_one_for_each():
    assert len(NAMES) == len(set(NAMES)) > 50
    assert set(NAMES) <= set(tc.__all__)


NUMBERS = {  # functions whose first operand may be a number, as the left one of an operator may
    "add", "sub", "mul", "div", "pow", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder",
    "fmod", "atan2", "arctan2", "maximum", "minimum", "addcmul", "addcdiv",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NUMBERS - {"addcmul", "addcdiv"}))
def test_the_left_operand_may_be_a_number(name):
    x = tc.tensor([1.5, 2.0])
    assert getattr(tc, name)(3.0, x).tolist() == getattr(tc, name)(tc.full((2,), 3.0), x).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [3, [1.0], "x"])
def test_what_is_no_tensor_is_refused(name, wrong):
    if name in NUMBERS and wrong == 3:
        return
    function = getattr(tc, name)
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty][1:]
    others = {p.name: tc.ones(1) for p in needed if p.kind is p.POSITIONAL_OR_KEYWORD}
    if name == "isin" and not isinstance(wrong, list):
        return  # it takes numbers
    with pytest.raises(
        tc.DtypeError, match=r"(input|elements) must be a Tensor, got|expected a tensor or a number, got"
    ):
        function(wrong, **others)


def test_numpys_names_are_understood():
    x = tc.ones(2, 3)
    assert tc.sum(x, axis=0, keepdims=True).shape == (1, 3)
    assert tc.max(x, axis=1).values.shape == (2,)


def test_shapes_are_given_in_a_row_or_by_name():
    x = tc.ones(2, 3)
    for y in (x.reshape(3, 2), x.reshape((3, 2)), x.reshape(shape=(3, 2)), tc.reshape(input=x, shape=(3, 2))):
        assert y.shape == (3, 2)
    for y in (x.permute(1, 0), tc.permute(x, (1, 0)), tc.permute(input=x, dims=(1, 0))):
        assert y.shape == (3, 2)


@pytest.mark.parametrize("name", ["add", "mul", "maximum", "eq", "lt"])
def test_what_is_no_operand_is_refused(name):
    """An operator lets the other operand answer; a function has nobody else to ask."""

    class Foreign:
        pass

    with pytest.raises(tc.DtypeError, match="expected a tensor or a number, got Foreign"):
        getattr(tc, name)(tc.ones(1), Foreign())


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "var", "norm", "argmax", "logsumexp", "all"])
def test_a_scalar_has_one_axis_and_no_more(name):
    x = tc.tensor(1.0)
    reduce = lambda dim: getattr(x, name)(dim=dim)  # noqa: E731
    assert reduce(0).shape == reduce(-1).shape == ()
    for dim in (7, -2):
        with pytest.raises(tc.ShapeError, match=rf"dim {dim} is out of range for 0 axes"):
            reduce(dim)
    assert np.isfinite(tc.tensor(1.0).sum(0).item())
