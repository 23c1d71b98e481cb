"""The compiled pairs: held to the readable ones, built once, and clear about why they cannot be."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv import functional as F
from tinyconv import nn, ops
from tinyconv.fast import native
from tinyconv.fast.native import build
from tinyconv.fast.numpy import pool
from tinyconv.fast.numpy.layout import images, rows

pytestmark = pytest.mark.skipif(not any(map(shutil.which, build.COMPILERS)), reason="there is no C compiler")

SPECIAL = [np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan]


@pytest.fixture(autouse=True)
def no_warnings():
    with np.errstate(all="ignore"):
        yield


@st.composite
def convolutions(draw):
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    padding = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    size = [max(1, k - 2 * p) + draw(st.integers(0, 13)) for k, p in zip(kernel, padding, strict=True)]
    n, c, f = draw(st.integers(4, 40)), draw(st.sampled_from([1, 2, 3, 6])), draw(st.sampled_from([1, 2, 3, 5, 6, 16]))
    return (n, c, *size), (f, c, *kernel), padding


def compare(fast, readable, inputs, exact=False, **geometry):
    y, saved = readable.forward(np, *inputs, **geometry)
    found, kept = fast.forward(np, *inputs, **geometry)
    dy = np.random.default_rng(0).standard_normal(y.shape, np.float32)
    needs = (True,) * 3
    expected = [y, *readable.backward(np, saved, dy, needs, **geometry)]
    got = [found, *fast.backward(np, kept, dy, needs, **geometry)]
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4 * max(1.0, abs(b).max()))


def arrays(sizes, innermost, choose=None):
    rng = np.random.default_rng(1)
    x, weight, bias = (rng.standard_normal(s, np.float32) for s in (sizes[0], sizes[1], sizes[1][:1]))
    x = x if choose is None else rng.choice(choose, sizes[0]).astype(np.float32)
    return (images(rows(x)) if innermost else x), weight, bias


@settings(max_examples=150)
@given(convolutions(), st.booleans())
def test_convolutions(sizes, innermost):
    geometry = {"stride": (1, 1), "padding": sizes[2], "dilation": (1, 1), "groups": 1}
    inputs = arrays(sizes, innermost)
    assert native.applies(*inputs, **geometry)
    compare(native.Conv2d, ops.Conv2d, inputs, **geometry)
    compare(native.Conv2dRelu, ops.Conv2dRelu, inputs, **geometry)
    if native.applies_with_pool(*inputs, pool=pool.GEOMETRY, **geometry):
        compare(native.Conv2dReluMaxPool2d, ops.Conv2dReluMaxPool2d, inputs, pool=pool.GEOMETRY, **geometry)


@pytest.mark.parametrize("values", [[-1.0, 0.0, 1.0], SPECIAL])
def test_ties_and_nan_go_the_same_way(values):
    """A kernel of one element that copies: what is pooled is what was drawn."""
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    for seed in range(20):
        x = np.random.default_rng(seed).choice(values, (19, 1, 4, 6)).astype(np.float32)
        inputs = x, np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
        y, saved = ops.Conv2dReluMaxPool2d.forward(np, *inputs, pool=pool.GEOMETRY, **geometry)
        found, kept = native.Conv2dReluMaxPool2d.forward(np, *inputs, pool=pool.GEOMETRY, **geometry)
        np.testing.assert_array_equal(found, y)
        dy = np.random.default_rng(seed).standard_normal(y.shape, np.float32)
        pairs = ((native.Conv2dReluMaxPool2d, kept), (ops.Conv2dReluMaxPool2d, saved))
        (a, *_), (b, *_) = (
            p.backward(np, s, dy, (True, False, False), pool=pool.GEOMETRY, **geometry) for p, s in pairs
        )
        np.testing.assert_array_equal(a, b)


def test_wide_layers_leave_their_filters_to_blas():
    sizes = (17, 40, 6, 5), (36, 40, 3, 3), (1, 1)
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    compare(native.Conv2d, ops.Conv2d, arrays(sizes, True), **geometry)


def test_threads_do_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(native, "WORTH_A_THREAD", 1)
    geometry = {"stride": (1, 1), "padding": (2, 2), "dilation": (1, 1), "groups": 1, "pool": pool.GEOMETRY}
    inputs = arrays(((70, 2, 8, 8), (4, 2, 5, 5), (2, 2)), False)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(native, "free_threads", lambda count=count: count)
        y, saved = native.Conv2dReluMaxPool2d.forward(np, *inputs, **geometry)
        grads = native.Conv2dReluMaxPool2d.backward(np, saved, np.ones_like(y), (True,) * 3, **geometry)
        found.append([array.tobytes() for array in (y, *grads)])
    assert found[0] == found[1] == found[2]


def test_two_callers_at_once_get_what_one_gets(monkeypatch):
    """The threads in team.h serve one at a time; the other does its work alone. Many short tasks, so that they meet."""
    monkeypatch.setattr(native, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(native, "free_threads", lambda: 3)
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    inputs = arrays(((70, 2, 6, 6), (4, 2, 3, 3), (0, 0)), False)
    expected = native.Conv2d.forward(np, *inputs, **geometry)[0].tobytes()

    def many(_):
        return all(native.Conv2d.forward(np, *inputs, **geometry)[0].tobytes() == expected for _ in range(300))

    with ThreadPoolExecutor(3) as pool_of_callers:
        assert all(pool_of_callers.map(many, range(3)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_child_works_alone():
    """It has none of the threads that its parent had, and must not wait for them."""
    code = """
import os, numpy as np, tinyconv as tc
from tinyconv.fast import native
native.WORTH_A_THREAD = 1
tc.set_num_threads(2)
x, conv = tc.ones(64, 1, 8, 8), tc.nn.Conv2d(1, 4, 3)
with tc.using("native"):
    before = conv(x).numpy().tobytes()
    child = os.fork()
    if child == 0:
        os._exit(0 if conv(x).numpy().tobytes() == before else 1)
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, cwd=Path(tc.__file__).parents[1]
    )


def test_what_it_does_not_take_runs_tiled():
    with tc.using("native"):
        x = tc.randn(4, 4, 6, 6)
        assert F.conv2d(x, tc.randn(2, 4, 3, 3, requires_grad=True)).grad_fn.pair is native.Conv2d
        few = F.conv2d(x[:3], tc.randn(2, 4, 3, 3, requires_grad=True))
        assert few.grad_fn.pair.__module__ == "tinyconv.fast.numpy.conv"
        strided = F.conv2d(x, tc.randn(2, 4, 3, 3, requires_grad=True), stride=2)
        assert strided.grad_fn.pair.__module__ == "tinyconv.fast.numpy.conv"
        grouped = F.conv2d(x, tc.randn(2, 2, 3, 3, requires_grad=True), groups=2)
        assert grouped.grad_fn.pair is ops.Conv2d
        double = F.conv2d(x.double(), tc.randn(2, 4, 3, 3, dtype=tc.float64, requires_grad=True))
        assert double.grad_fn.pair.__module__ == "tinyconv.fast.numpy.conv"


def test_a_training_follows_the_readable_one():
    def losses(name):
        tc.manual_seed(0)
        model = tc.models.LeNet5()
        run = nn.DataParallel(model, threads=2, tile=20)
        optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
        x, y = tc.rand(40, 1, 28, 28), tc.randint(0, 10, (40,))
        found = []
        with tc.using(name):
            for _ in range(8):
                optimizer.zero_grad()
                loss = F.cross_entropy(run(x), y)
                loss.backward()
                optimizer.step()
                found.append(loss.item())
        return found

    np.testing.assert_allclose(losses("native"), losses("readable"), rtol=1e-4)


@pytest.mark.slow
def test_a_mistake_in_the_source_is_seen(tmp_path, monkeypatch):
    files = build.sources()
    (name,) = (name for name, text in files.items() if text.count("factor += group;") == 1)
    mistaken = files[name].replace("factor += group;", "factor += group - (j == 1);")
    wrong = build.load(files | {name: mistaken}, tmp_path).library
    monkeypatch.setattr(native, "library", lambda: wrong)
    geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    with pytest.raises(AssertionError):
        compare(native.Conv2d, ops.Conv2d, arrays(((3, 2, 6, 6), (4, 2, 3, 3), (0, 0)), False), **geometry)


def test_importing_builds_nothing(tmp_path):
    code = "import tinyconv; assert 'native' in tinyconv.variants.available('conv2d')"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=Path(tc.__file__).parents[1])
    assert list(tmp_path.iterdir()) == []


def test_asked_for_in_the_environment():
    code = """
import tinyconv as tc
x = tc.nn.Conv2d(1, 2, 3)(tc.ones(4, 1, 5, 5))
y = tc.nn.Conv2d(1, 2, 3, stride=2)(tc.ones(4, 1, 5, 5))
print(x.grad_fn.pair.__module__, y.grad_fn.pair.__module__)
"""
    environment = os.environ | {"TINYCONV_FAST": "native"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(tc.__file__).parents[1],
    )
    assert run.stdout.split() == ["tinyconv.fast.native", "tinyconv.fast.numpy.conv"]
