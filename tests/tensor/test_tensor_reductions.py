"""What reductions take besides dims, running sums, medians and norms; and that a captured step replays them."""

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
from tinyconv.tensor import reductions

torch = pytest.importorskip("torch")

X = np.array([[0.5, -2.0, 1.5], [3.0, 0.25, -1.0]], np.float32)
WITH_OUT = {
    "sum": {"dim": 0},
    "nansum": {"dim": 1},
    "mean": {"dim": 0},
    "nanmean": {"dim": 1},
    "prod": {"dim": 1},
    "amax": {"dim": (0, 1)},
    "amin": {"dim": 0},
    "var": {"dim": 1},
    "std": {"dim": 1, "correction": 0},
    "norm": {"dim": 1},
    "logsumexp": {"dim": 1},
    "cumsum": {"dim": 1},
    "cumprod": {"dim": 0},
    "all": {"dim": 0},
    "any": {"dim": 1},
}


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_written_to_and_returned(name):
    def written(library, empty):
        x, kind = library.tensor(X), library.bool if name in ("all", "any") else library.float32
        expected = getattr(library, name)(x, **WITH_OUT[name])
        out = library.zeros(0 if empty else tuple(expected.shape), dtype=kind)
        assert getattr(library, name)(x, **WITH_OUT[name], out=out) is out
        return out.tolist()

    for empty in (True, False):
        assert_allclose(written(tc, empty), written(torch, empty), rtol=1e-6)


def test_every_function_that_takes_out_is_tried():
    takes = {name for name in reductions.__all__ if "out" in getattr(reductions, name).__annotations__}
    assert takes == set(WITH_OUT)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "nansum", "nanmean", "cumsum", "cumprod", "norm"])
def test_dtype_is_what_is_computed_in(name):
    def run(library):
        x = library.tensor([1, 2, 3, 4])
        given = {"dim": 0} if name.startswith("cum") else {}
        y = getattr(library, name)(x.float() if name in ("norm", "nanmean") else x, **given, dtype=library.float64)
        return y.tolist(), str(y.dtype).replace("torch.", "")

    assert run(tc) == run(torch)


def test_a_mean_of_integers_needs_a_dtype():
    assert message(tc.DtypeError, tc.mean, tc.tensor([1])) == (
        "mean: expected a floating-point tensor, got int64: x.float().mean()"
    )


def test_the_median_of_all_shares_its_gradient():
    def run(library, values):
        x = library.tensor(values, requires_grad=True)
        x.median().backward()
        return x.grad.tolist()

    for values in ([2.0, 1.0, 2.0, 3.0, 2.0], [[4.0, 1.0], [3.0, 2.0]]):
        assert run(tc, values) == run(torch, values)


def test_medians_have_names_and_skip_no_nan():
    x = tc.tensor([[3.0, 1.0, 2.0], [np.nan, 1.0, 2.0]])
    values, indices = x.median(dim=1, keepdim=True)
    assert (values.shape, indices.tolist()) == ((2, 1), [[2], [0]])
    assert np.isnan(x.median().item())
    assert tc.tensor([4, 1, 3, 2]).median().item() == 2
    with pytest.raises(tc.ShapeError, match="nothing to choose from"):
        tc.ones(0).median()


def test_aminmax_has_names():
    low, high = found = tc.tensor(X).aminmax(dim=1)
    assert (found.min.tolist(), found.max.tolist()) == (low.tolist(), high.tolist()) == ([-2.0, -1.0], [1.5, 3.0])


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, 0, float("inf"), float("-inf"), "fro", None])
def test_norms(p):
    def run(library):
        x = library.tensor(X.astype(np.float64), requires_grad=True)
        y = library.norm(x, p, 1) if p else library.norm(x, p=p, dim=1)
        if p != 0:
            y.sum().backward()
        return y.tolist(), None if p == 0 else x.grad.tolist()

    for ours, theirs in zip(run(tc), run(torch), strict=True):
        assert theirs is ours is None or np.allclose(ours, theirs, rtol=1e-12)


def test_what_a_norm_refuses():
    assert message(tc.OptionError, tc.norm, tc.ones(1), "nuc") == "norm: p must be a number or 'fro', got 'nuc'"


def test_nothing_has_running_sums_too():
    for name in ("cumsum", "cumprod"):
        assert getattr(tc.ones(2, 0), name)(1).shape == (2, 0)
        assert getattr(tc.tensor(3.0), name)(0).item() == 3
        assert getattr(tc.tensor([True, True]), name)(0).dtype == tc.int64


def test_a_captured_step_computes_them_anew():
    def run(how):
        w = tc.tensor([[0.3, 0.7, 0.2]], requires_grad=True)

        @how
        def step(x, out):
            y = (w * x).cumsum(1).cumprod(0) + x.median(dim=0).values + (w * x).median()
            tc.sum(x, 0, out=out)
            std, mean = tc.std_mean(y, dim=1)
            loss = (std * mean).norm(3) + tc.nanmean(y) * x.count_nonzero() + np.sum(y) + y.aminmax().max
            loss.backward()
            return loss

        found = []
        for i in range(5):
            w.grad, out = None, tc.zeros(3)
            loss = step(tc.tensor([[0.1 + i, 0.5, 0.0], [0.9, i - 2.0, 0.4]]), out)
            found.append((loss.item(), w.grad.tolist(), out.tolist()))
        return found

    assert run(tc.capture) == run(lambda step: step)


@pytest.mark.parametrize(
    "values", [[-np.inf, -1.3], [-np.inf, -np.inf, 1], [np.inf, 1, 2], [np.nan, 1, np.nan]], ids=str
)
def test_a_median_that_is_infinite_gives_its_gradient_to_itself(values):
    def gradient(library):
        x = library.tensor(values, requires_grad=True)
        x.median().backward()
        return x.grad

    np.testing.assert_array_equal(gradient(tc).numpy(), gradient(torch).numpy())
