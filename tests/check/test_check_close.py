"""`tinyconv.testing.assert_close` says yes and no where PyTorch's does."""

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv.errors import OptionError

torch = pytest.importorskip("torch")

NAN, INF = float("nan"), float("inf")
PAIRS = [
    lambda lib: (lib.ones(2), lib.ones(2)),
    lambda lib: (lib.ones(2), lib.ones(3)),
    lambda lib: (lib.ones(2), lib.ones(2).double()),
    lambda lib: (lib.ones(2), lib.ones(2) + 1e-5),
    lambda lib: (lib.ones(2), lib.ones(2) + 2e-5),
    lambda lib: (lib.ones(2).double(), lib.ones(2).double() + 1e-6),
    lambda lib: (lib.ones(2).half(), lib.ones(2).half() + 1e-3),
    lambda lib: (lib.tensor([2**60]), lib.tensor([2**60 + 1])),
    lambda lib: (lib.tensor([True]), lib.tensor([False])),
    lambda lib: (lib.tensor([NAN]), lib.tensor([NAN])),
    lambda lib: (lib.tensor([INF, -INF]), lib.tensor([INF, -INF])),
    lambda lib: (lib.tensor([1.0]), lib.tensor([INF])),
    lambda lib: (lib.tensor([INF]), lib.tensor([1.0])),
    lambda lib: (lib.zeros(0), lib.zeros(0)),
    lambda lib: (1.0, 1.1),
    lambda lib: (1.0, 1.0 + 1e-8),
    lambda lib: ([lib.ones(1), 2], [lib.ones(1), 3]),
    lambda lib: ([1], (1,)),
    lambda lib: ([1], [1, 2]),
    lambda lib: ({"a": lib.ones(1)}, {"a": lib.ones(1)}),
    lambda lib: ({"a": lib.ones(1)}, {"a": lib.zeros(1)}),
    lambda lib: ({"a": 1}, {"b": 1}),
]
OPTIONS = [{}, {"equal_nan": True}, {"check_dtype": False}, {"rtol": 0.5, "atol": 0.5}, {"rtol": 0, "atol": 0}]


def verdict(lib, pair, options):
    try:
        lib.testing.assert_close(*pair(lib), **options)
    except AssertionError:
        return "differ"
    return "close"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_verdict_is_pytorchs(options):
    verdicts = [(verdict(tc, pair, options), verdict(torch, pair, options)) for pair in PAIRS]
    assert [ours for ours, _ in verdicts] == [theirs for _, theirs in verdicts]
    assert len(set(verdicts)) == 2


def test_it_says_where_and_how_far():
    x = tc.zeros(2, 2)
    x[1, 0] = 3
    said = message(AssertionError, tc.testing.assert_close, [x], [tc.zeros(2, 2)])
    assert said.startswith(
        "1 of 4 elements differ, the first at (1, 0): 3.0, expected 0.0; the largest difference is 3 "
    )
    assert said.endswith("in item [0]")
    assert message(AssertionError, tc.testing.assert_close, 1, 2, msg="no") == "no"
    assert message(AssertionError, tc.testing.assert_close, 1, 2, msg=lambda said: said[:4]) == "1 of"


def test_what_cannot_be_compared():
    assert "got str and str" in message(TypeError, tc.testing.assert_close, "a", "a")
    assert "both rtol and atol" in message(OptionError, tc.testing.assert_close, 1, 1, rtol=1.0)


def test_it_takes_arrays():
    tc.testing.assert_close(tc.ones(2), np.ones(2))
