"""compare_with_torch itself: it refuses to pass where nothing was compared, and it compares everything."""

import numpy as np
import pytest
import torch
from oracle import LAYOUTS, Disagreement, Vacuous, arrange, check, check_values

import tinyconv as tc

X = np.random.default_rng(0).standard_normal((3, 4))


def double(x):
    return x * 2


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        pytest.param([], {}, id="no input"),
        pytest.param([np.arange(3)], {}, id="no input of floating point"),
        pytest.param([X], {"needs": []}, id="no gradient asked for"),
        pytest.param([X], {"cotangent": lambda rng, shape, dtype: np.zeros(shape, dtype)}, id="cotangent of zeros"),
    ],
)
def test_refuses_to_pass_for_nothing(inputs, options):
    with pytest.raises(Vacuous):
        check(double, double, inputs, **options)


def test_refuses_outputs_without_gradient():
    with pytest.raises(Vacuous):
        check(lambda x: x.detach(), lambda x: x.detach(), [X])
    with pytest.raises(Vacuous):
        check_values(lambda: tc.zeros(1), lambda: torch.zeros(1), [])


WRONG = {
    "value": lambda x: x * 2.0001,
    "one value": lambda x: x * 2 + tc.from_numpy(np.eye(3, 4)[:, ::-1] * 1e-9),
    "dtype": lambda x: (x * 2).float(),
    "shape": lambda x: (x * 2).unsqueeze(0),
    "number of outputs": lambda x: (x * 2, x),
    "NaN": lambda x: tc.where(x > 2, x * np.nan, x * 2),
    "infinity": lambda x: tc.where(x > 2, x * 0 + np.inf, x * 2),
    "no gradient": lambda x: x.detach() * 2,
    "gradient": lambda x: x * 3 - x.detach(),
    "gradient of one element": lambda x: tc.where(x > 1.2, x.detach(), x) * 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_notices(name):
    x = np.append(X, [[0.0, 1.0, -1.0, 3.0]], axis=0)[1:]  # some element is above 2
    check(double, double, [x])
    with pytest.raises(Disagreement):
        check(WRONG[name], double, [x])


def test_rounding_is_measured_by_integers_where_no_input_is_floating():
    """x + 0.3 - x in float32 is wrong by a rounding of x: 2e-5 where x is 1000. 64 of them are 0.008."""

    def cancelled(x, error=0.0):
        return x.float() + 0.3 - x.float() + error

    def exact(x):
        return torch.full_like(x, 0.3, dtype=torch.float32)

    large, small = np.array([1000, -1000, 7]), np.array([10, -10, 7])
    assert 0 < check_values(cancelled, exact, [large], magnitude=1).values < 1
    for error, x, magnitude in [(0, large, 0), (0.01, large, 1), (1e-4, small, 1)]:
        with pytest.raises(Disagreement, match="off by"):
            check_values(lambda x, error=error: cancelled(x, error), exact, [x], magnitude=magnitude)


def test_the_terms_of_integers_are_added_without_their_signs():
    x = np.array([1_000_000, -999_999, 7])

    def tenths(x, error=0.0):
        return (x.float() * 0.1).sum() + error

    def exact(x):
        return (x.double() * 0.1).sum().float()

    check_values(tenths, exact, [x], magnitude="terms")
    with pytest.raises(Disagreement, match="off by"):
        check_values(tenths, exact, [x], magnitude=0)
    with pytest.raises(Disagreement, match="off by"):
        check_values(lambda x: tenths(x, 2.0), exact, [x], magnitude="terms")


@pytest.mark.parametrize("compare", [check, check_values])
@pytest.mark.parametrize("magnitude", [1, "terms"])
def test_integers_beside_floats_are_classes_and_allow_nothing(compare, magnitude):
    classes = np.array([1_000_000])
    compare(lambda x, i: x * 2, lambda x, i: x * 2, [X, classes], magnitude=magnitude)
    with pytest.raises(Disagreement, match="off by"):
        compare(lambda x, i: x * 2.0001, lambda x, i: x * 2, [X, classes], magnitude=magnitude)


def test_notices_a_write_to_an_input():
    def careless(x):
        y = x * 2
        x.array[0] = 0
        return y.clone()

    with pytest.raises((Disagreement, tc.GraphError)):
        check(careless, double, [X.copy()])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 4), (2, 0, 3), (5,), ()], ids=str)
def test_layouts_hold_the_same_values(layout, shape):
    array = np.asarray(np.random.default_rng(0).standard_normal(shape))
    arranged = arrange(array, layout)
    assert (arranged.shape, arranged.dtype) == (array.shape, array.dtype)
    if layout != "broadcast":
        np.testing.assert_array_equal(arranged, array)
    if shape == (3, 4):
        strides = {
            "contiguous": (32, 8),
            "read-only": (32, 8),
            "permuted": (8, 24),
            "sliced": (64, 16),
            "reversed": (-32, -8),
            "broadcast": (32, 0),
        }
        assert arranged.strides == strides[layout]
        assert arranged.flags.writeable == (layout not in ("read-only", "broadcast"))


def test_one_array_is_a_list_of_one():
    assert check(double, double, X) == check(double, double, [X])


def test_another_magnitude_is_refused():
    with pytest.raises(ValueError, match="magnitude must be a number or 'terms', got 'term'"):
        check(double, double, [X], magnitude="term")


def test_what_returns_no_tensor_is_named():
    with pytest.raises(TypeError, match="`theirs` must return tensors of torch; output 0 is None: is a return missing"):
        check(double, lambda x: None, [X])
    with pytest.raises(TypeError, match=r"`ours` must return tensors of tinyconv; output 0 is a builtins\.int"):
        check(lambda x: 3, double, [X])


def test_disagreement_is_told_in_plain_numbers():
    with pytest.raises(
        Disagreement, match=r"at \(0,\): 4.0, expected 2.0, which is off by 2 where [\d.e-]+ is allowed"
    ):
        check(lambda x: x * 4, double, [np.ones(2)])
    with pytest.raises(Disagreement, match=r"the outputs that have a gradient are \[\], expected \[0\]"):
        check(lambda x: x.detach() * 2, double, [X])
