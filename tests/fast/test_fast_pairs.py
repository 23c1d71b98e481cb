"""The fast pairs against the readable ones, called as pairs, on geometries large enough for every way in them.

tests/ops holds them to the same argument spaces as the readable ops; here are the sizes that those do not reach.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyconv as tc

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv import functional as F
from tinyconv import nn, ops, variants
from tinyconv.engine.variants import op_name
from tinyconv.fast import cuda
from tinyconv.fast.numpy import conv, dense, norm, pool
from tinyconv.fast.numpy.layout import images, in_rows, rows
from tinyconv.host import threads
from tinyconv.ops.conv import maps_of
from tinyconv.ops.windows import images_of

NEEDS = (True,) * 5
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_warnings():
    """As where ops run: infinities and NaN are values like others."""
    with np.errstate(all="ignore"):
        yield


SPECIAL = [np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan]


@st.composite
def convolutions(draw):
    """Sizes of a convolution: more channels, images and padding than the argument space of conv2d has."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (3, 1)]))
    padding = draw(st.one_of(st.just((0, 0)), st.tuples(st.integers(0, 6), st.integers(0, 6))))
    size = [max(1, k - 2 * p) + draw(st.integers(0, 9)) for k, p in zip(kernel, padding, strict=True)]
    n, c, f = (
        draw(st.sampled_from([1, 2, 17, 33])),
        draw(st.sampled_from([1, 3, 24, 40])),
        draw(st.sampled_from([1, 5, 32])),
    )
    return (n, c, *size), (f, c, *kernel), stride, padding


def compare(fast, readable, inputs, dtype, **geometry):
    """Both pairs on the same arrays and the same gradient; images come in either memory order."""
    rng = np.random.default_rng(0)
    y, saved = readable.forward(np, *inputs, **geometry)
    found, kept = fast.forward(np, *inputs, **geometry)
    ys, founds = ((value if isinstance(value, tuple) else (value,)) for value in (y, found))
    dy = rng.standard_normal(ys[0].shape).astype(dtype)
    expected = [*ys, *readable.backward(np, saved, dy, NEEDS[: len(inputs)], **geometry)]
    got = [*founds, *fast.backward(np, kept, dy, NEEDS[: len(inputs)], **geometry)]
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-3}
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, **tolerance)


@settings(max_examples=150)
@given(convolutions(), st.sampled_from([np.float64, np.float32]), st.booleans())
def test_conv2d(sizes, dtype, innermost):
    x_shape, w_shape, stride, padding = sizes
    rng = np.random.default_rng(1)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1]))
    x = images(rows(x)) if innermost else x
    geometry = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": 1}
    assert conv.applies(x, weight, bias, **geometry)
    compare(conv.Conv2d, ops.Conv2d, (x, weight, bias), dtype, **geometry)


@settings(max_examples=100)
@given(convolutions(), st.sampled_from([np.float64, np.float32]), st.booleans(), st.tuples(*[st.integers(0, 2)] * 2))
def test_conv_transpose2d(sizes, dtype, innermost, extra):
    """From the maps of such a convolution to images of its size; with more rows or columns where there is a stride."""
    x_shape, w_shape, stride, padding = sizes
    maps = maps_of(x_shape, w_shape, stride, padding, (1, 1))
    extra = tuple(min(e, s - 1) for e, s in zip(extra, stride, strict=True))
    geometry = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": (1, 1), "groups": 1}
    if min(images_of(maps, w_shape, **geometry)[2:]) < 1:
        return
    rng = np.random.default_rng(1)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (maps, w_shape, w_shape[1:2]))
    x = images(rows(x)) if innermost else x
    assert conv.applies(x, weight, bias, **geometry)
    compare(conv.ConvTranspose2d, ops.ConvTranspose2d, (x, weight, bias), dtype, **geometry)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)])
@pytest.mark.parametrize("special", [False, True])
def test_one_image(special, padding, stride):
    """A batch of one is not laid out anew: it goes through one product."""
    rng = np.random.default_rng(0)
    x, weight, bias = rng.standard_normal((1, 3, 19, 11)), rng.standard_normal((5, 3, 4, 4)), rng.standard_normal(5)
    if special:
        x, weight, bias = x.round(), np.sign(weight), bias.round()  # ties
        x[0, 0, 5, 5] = np.nan
    geometry = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": 1}
    for op, pair, more in (
        (ops.Conv2d, conv.Conv2d, {}),
        (ops.Conv2dRelu, conv.Conv2dRelu, {}),
        (ops.Conv2dReluMaxPool2d, conv.Conv2dReluMaxPool2d, {"pool": pool.GEOMETRY}),
    ):
        y, saved = op.forward(np, x, weight, bias, **geometry, **more)
        found, kept = pair.forward(np, x, weight, bias, **geometry, **more)
        np.testing.assert_allclose(found, y, rtol=1e-12, atol=1e-12)
        dy = rng.standard_normal(y.shape)
        expected = op.backward(np, saved, dy, NEEDS, **geometry, **more)
        for ours, theirs in zip(pair.backward(np, kept, dy, NEEDS, **geometry, **more), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("workspace", [1, 3000, 8 << 20])
@pytest.mark.parametrize("shape", [(6, 3, 5, 5), (64, 40, 3, 3), (150, 120, 3, 3), (150, 40, 3, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_conv2d_in_parts(monkeypatch, workspace, shape, stride):
    """Less workspace than one row needs, than all rows need, and enough."""
    monkeypatch.setattr(conv, "WORKSPACE", workspace)
    rng = np.random.default_rng(1)
    x, weight, bias = (rng.standard_normal(s) for s in ((16, shape[1], 9, 8), shape, shape[:1]))
    geometry = {"stride": stride, "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    compare(conv.Conv2d, ops.Conv2d, (x, weight, bias), np.float64, **geometry)


@pytest.fixture
def own_threads():
    """The test may set the number of threads."""
    before = tc.get_num_threads()
    yield
    tc.set_num_threads(before)


@pytest.mark.parametrize("worth", [1e-3, threads.WORTH_A_THREAD])  # ours share out everything; and leave some to BLAS
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize(
    ("pair", "shape", "filters", "options"),
    [
        (conv.Conv2d, (40, 6, 13, 12), (16, 6, 5, 5), {"padding": (0, 0)}),
        (conv.Conv2d, (40, 48, 13, 8), (32, 48, 3, 3), {"padding": (1, 1)}),
        (conv.Conv2d, (40, 16, 5, 8), (30, 16, 3, 3), {"padding": (1, 1)}),
        (conv.Conv2d, (40, 8, 9, 8), (30, 8, 3, 3), {"padding": (2, 2), "stride": (2, 1)}),
        (conv.Conv2d, (64, 32, 9, 36), (80, 32, 3, 3), {"padding": (1, 1), "stride": (2, 1)}),
        (conv.Conv2d, (70, 24, 5, 6), (20, 24, 5, 5), {"padding": (0, 0)}),  # one row of output
        (conv.Conv2d, (110, 1, 5, 60), (150, 1, 5, 1), {"padding": (0, 0)}),
        (conv.Conv2dRelu, (70, 3, 30, 30), (4, 3, 3, 3), {"padding": (2, 2)}),
        (conv.Conv2dReluMaxPool2d, (70, 2, 28, 28), (6, 2, 5, 5), {"padding": (0, 0), "pool": pool.GEOMETRY}),
        (pool.MaxPool2d, (70, 5, 10, 26), None, pool.GEOMETRY),
        (pool.ReluMaxPool2d, (70, 5, 10, 26), None, pool.GEOMETRY),
        (pool.MaxPool2d, (70, 5, 11, 27), None, pool.GEOMETRY),
        (dense.Relu, (70, 5, 11, 26), None, {}),
        (norm.BatchNorm, (70, 5, 11, 26), (), {"eps": 1e-5}),
        (norm.BatchNorm, (110, 150, 1, 60), (), {"eps": 1e-5}),
        (dense.Linear, (700, 12), (800, 12), {}),
        (dense.LinearRelu, (70, 100), (60, 100), {}),
    ],
)
@pytest.mark.usefixtures("own_threads")
def test_threads_do_not_change_a_bit(monkeypatch, pair, shape, filters, options, special, worth):
    pytest.importorskip("threadpoolctl", reason="without it BLAS's threads cannot be told")
    monkeypatch.setattr(threads, "WORTH_A_THREAD", worth)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    if special:
        x[rng.random(shape) < 0.01] = np.nan
    inputs = [images(rows(x)) if x.ndim == 4 else x]
    if filters:
        inputs += [rng.standard_normal(filters).astype(np.float32), rng.standard_normal(filters[0]).astype(np.float32)]
        options = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, **options} if x.ndim == 4 else options
    elif filters is not None:
        inputs += [np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32), None, None]
    found = []
    for count in (1, 2, 3):
        tc.set_num_threads(count)  # and BLAS's, which would round a product otherwise if it shared that out
        y, saved = pair.forward(np, *inputs, **options)
        ys = y if isinstance(y, tuple) else (y,)
        dy = np.random.default_rng(1).standard_normal(ys[0].shape).astype(np.float32)
        grads = pair.backward(np, saved, dy, NEEDS[: len(inputs)], **options)
        found.append([array.tobytes() for array in (*ys, *grads) if array is not None])
    assert found[0] == found[1] == found[2]


@pytest.mark.usefixtures("own_threads")
def test_blas_is_alone_where_the_environment_asks_for_one_thread(monkeypatch):
    """TINYCONV_NUM_THREADS=1 tells our threads and not BLAS's."""
    pytest.importorskip("threadpoolctl", reason="without it BLAS's threads cannot be told")
    tc.set_num_threads(2)
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr(threads, "_default", lambda: 1)
    assert threads.blas_alone(lambda: {library.get_num_threads() for library in threads._blas()}) == {1}
    assert {library.get_num_threads() for library in threads._blas()} == {2}


def test_a_mistake_in_a_pair_is_seen(monkeypatch):
    monkeypatch.setattr(conv, "column_range", lambda v, ow, sw, pw, w: (0, ow))  # padding taken for image
    with pytest.raises((AssertionError, ValueError)):
        test_conv2d_in_parts(monkeypatch, 8 << 20, (64, 40, 3, 3), (2, 2))


@settings(max_examples=200)
@given(st.data())
def test_pools_choose_the_same_elements(data):
    """Ties, infinities and NaN among values and gradients: equal to the bit."""
    n, c, h, w = (data.draw(st.integers(1, 4)) for _ in range(4))
    over = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))  # a row, a column that no window has
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    pools = [[-1.0, 0.0, 1.0, 2.0], SPECIAL, rng.standard_normal(50)]
    x = rng.choice(pools[data.draw(st.integers(0, 2))], (n, c, 2 * h + over[0], 2 * w + over[1])).astype(dtype)
    dy = rng.choice([[1.0, 2.0, -1.0, 0.5], SPECIAL][data.draw(st.integers(0, 1))], (n, c, h, w)).astype(dtype)
    for fast, readable in ((pool.MaxPool2d, ops.MaxPool2d), (pool.ReluMaxPool2d, ops.ReluMaxPool2d)):
        y, saved = readable.forward(np, x, **pool.GEOMETRY)
        found, kept = fast.forward(np, x, **pool.GEOMETRY)
        for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, y)), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        (dx,) = fast.backward(np, kept, dy, (True,), **pool.GEOMETRY)
        np.testing.assert_array_equal(dx, readable.backward(np, saved, dy, (True,), **pool.GEOMETRY)[0])


@pytest.mark.parametrize("shape", [(3, 4), (700, 90), (5, 6, 4, 4), (33, 64, 12, 12)])
@pytest.mark.parametrize("special", [False, True])
def test_relu(shape, special):
    rng = np.random.default_rng(0)
    x = rng.choice(SPECIAL, shape) if special else rng.standard_normal(shape)
    for array in (x, images(rows(x)) if x.ndim == 4 else x):
        dy = rng.choice(SPECIAL, shape) if special else rng.standard_normal(shape)
        y, saved = ops.Relu.forward(np, array)
        found, kept = dense.Relu.forward(np, array)
        np.testing.assert_array_equal(found, y)
        np.testing.assert_array_equal(
            dense.Relu.backward(np, kept, dy, (True,))[0], ops.Relu.backward(np, saved, dy, (True,))[0]
        )
        assert not np.shares_memory(found, array)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (5, 3, 4, 7), (64, 33, 9, 9)])
def test_batch_norm(shape, fixed, affine):
    rng = np.random.default_rng(0)
    x, c = rng.standard_normal(shape) * 3 + 100, shape[1]
    weight, bias = (rng.standard_normal(c) for _ in range(2)) if affine else (None, None)
    mean, var = (rng.standard_normal(c), rng.random(c) + 0.5) if fixed else (None, None)
    for array in (x, images(rows(x))):
        y, saved = ops.BatchNorm.forward(np, array, weight, bias, mean, var, eps=1e-5)
        found, kept = norm.BatchNorm.forward(np, array, weight, bias, mean, var, eps=1e-5)
        for a, b in zip(found, y, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        dy = rng.standard_normal(shape)
        needs = (True, affine, affine, False, False)
        pairs = ((norm.BatchNorm, kept), (ops.BatchNorm, saved))
        found, expected = (pair.backward(np, of_pair, dy, needs, eps=1e-5) for pair, of_pair in pairs)
        for a, b in zip(found[: 3 if affine else 1], expected, strict=False):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 130])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignored", ["none", "some", "all"])
def test_cross_entropy(n, ignored, reduction):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((n, 10)) * 30, rng.integers(0, 10, n)
    target[: {"none": 0, "some": n // 2, "all": n}[ignored]] = 255
    options = {"ignore_index": 255, "reduction": reduction, "label_smoothing": 0.0}
    assert dense.cross_entropy_applies(logits, target, None, **options)
    with np.errstate(all="ignore"):
        y, saved = ops.CrossEntropy.forward(np, logits, target, None, **options)
        found, kept = dense.CrossEntropy.forward(np, logits, target, None, **options)
        np.testing.assert_allclose(found, y, rtol=1e-12)
        for _ in range(2):  # the graph may be walked again
            dx, *_ = dense.CrossEntropy.backward(np, kept, np.float64(2.0), NEEDS, **options)
            expected, *_ = ops.CrossEntropy.backward(np, saved, np.float64(2.0), NEEDS, **options)
            np.testing.assert_allclose(dx, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("change", [{"reduction": "none"}, {"label_smoothing": 0.1}, {"weight": True}])
def test_cross_entropy_leaves_the_rest_to_the_op(change):
    weight = np.ones(10) if change.pop("weight", None) else None
    options = {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0} | change
    assert not dense.cross_entropy_applies(np.zeros((2, 10)), np.array([0, 1]), weight, **options)


# --- in a network ---------------------------------------------------------------------------------------------------


def test_images_stay_in_their_order_from_layer_to_layer():
    """From the first convolution to the head nothing is laid out anew, forward or back."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    x = tc.randn(8, 1, 10, 10)
    seen = []
    for layer in model:
        x = layer(x)
        assert in_rows(x.array), layer
        x.register_hook(lambda grad: seen.append(in_rows(grad.array)))
    x.flatten(1).sum().backward()
    assert seen[1:] == [True] * (len(model) - 1)  # the first gradient is that of a sum: one number, repeated


def both_ways(function):
    with tc.using("readable"):
        expected = function()
    return function(), expected


def test_a_training_follows_the_readable_one():
    def losses():
        tc.manual_seed(0)
        model = tc.models.LeNet5()
        optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
        x, y = tc.rand(32, 1, 28, 28), tc.randint(0, 10, (32,))
        found = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    found, expected = both_ways(losses)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_gradients_of_gradients_go_through_the_readable_op():
    def penalty():
        tc.manual_seed(0)
        model = tc.models.LeNet5()
        x = tc.rand(4, 1, 28, 28, requires_grad=True)
        (dx,) = tc.grad(model(x).tanh().sum(), x, create_graph=True)
        (dx * dx).sum().backward()
        return model.conv1.weight.grad.array

    found, expected = both_ways(penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_a_write_into_what_a_pair_saved_is_found():
    x = tc.randn(4, 1, 6, 6).permute(0, 1, 2, 3)
    weight = tc.randn(2, 1, 3, 3, requires_grad=True)
    y = F.conv2d(x, weight)
    weight.data.zero_()
    with pytest.raises(tc.GraphError, match="written to in place"):
        y.sum().backward()


def test_a_class_derived_from_an_op_is_another_op():
    class Mine(ops.Relu):
        @staticmethod
        def forward(xp, x):
            return x + 7, (x,)

    assert ops.Relu in variants.defaults
    assert tc.apply(Mine, tc.zeros(2)).tolist() == [7.0, 7.0]


# --- what they say --------------------------------------------------------------------------------------------------

OPS = {op_name(op): op for op in vars(ops).values() if hasattr(op, "backward")}
REGISTERED = [
    (OPS[name], kind, variant.pair)
    for name, kinds in variants._table.items()
    for kind, rows in kinds.items()
    for variant in rows
    if name in OPS and variant.pair is not OPS[name] and kind != "cuda"
]
PAIRS = REGISTERED + [(op, "cuda", pair) for op, pair, _ in cuda.PAIRS]  # registered when CuPy is named


@pytest.mark.parametrize(("op", "kind", "pair"), PAIRS, ids=lambda part: getattr(part, "__name__", part))
def test_a_pair_names_the_op_that_it_must_equal(op, kind, pair):
    """And the file of that op, and how nearly."""
    place = Path(inspect.getsourcefile(op)).relative_to(Path(tc.__file__).parents[1]).as_posix()
    named = rf"Must equal `ops\.{op.__name__}` \({re.escape(place)}\)[:,] [^.]*\bto (the bit|rounding)[.:]"
    assert re.search(named, " ".join(pair.__doc__.split())), pair.__doc__


def test_some_pairs_of_every_kind_are_asked():
    assert {kind for _, kind, _ in PAIRS} >= {"loop", "tiled", "native", "cuda"}


# --- with and without -----------------------------------------------------------------------------------------------

QUESTION = """
import tinyconv as tc
from tinyconv import nn, ops, variants
from tinyconv.host import threads
x = tc.randn(4, 1, 8, 8)
y = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))(x)
y.sum().backward()
print(y.grad_fn.op.__name__, y.grad_fn.pair is y.grad_fn.op, len(variants.defaults) > 0)
"""


def answer(cwd, **environment):
    run = subprocess.run(
        [sys.executable, "-c", QUESTION],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()


def test_switched_off_in_the_environment():
    root = Path(tc.__file__).parents[1]
    assert answer(root, TINYCONV_FAST="1") == ["MaxPool2d", "False", "True"]
    assert answer(root, TINYCONV_FAST="0") == ["MaxPool2d", "True", "False"]


def test_the_cuda_pairs_wait_until_cupy_is_named():
    """And the compiler's module until something is compiled: so importing the package takes 14 ms less."""
    code = """
import sys
import tinyconv as tc
assert not {"tinyconv.fast.cuda", "tinyconv.fast.native.build"} & set(sys.modules)
assert "cuda" not in tc.variants.available("conv2d")
import standin
with standin.installed():
    y = tc.nn.Conv2d(1, 2, 3).to("cuda")(tc.ones(1, 1, 5, 5, device="cuda"))
    print(y.grad_fn.pair.__module__, tc.variants.available("sgd"), tc.variants.available("batch"))
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(tc.__file__).parents[1]), str(TESTS)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split(maxsplit=1) == ["tinyconv.fast.cuda.conv", "['cuda'] ['cuda']\n"]


def test_deleted_it_is_not_missed(tmp_path):
    shutil.copytree(
        Path(tc.__file__).parent, tmp_path / "tinyconv", ignore=shutil.ignore_patterns("fast", "__pycache__")
    )
    assert answer(tmp_path, PYTHONPATH=str(tmp_path)) == ["MaxPool2d", "True", "False"]


def test_switched_off_by_using():
    x = tc.ones(3, 2, requires_grad=True)
    with tc.using("readable"):
        assert F.linear(x, tc.ones(4, 2)).grad_fn.pair is ops.Linear
        with tc.using(linear="tiled"):
            assert F.linear(x, tc.ones(4, 2)).grad_fn.pair is dense.Linear
        with tc.using(linear="loop"):
            assert F.linear(x, tc.ones(4, 2)).grad_fn.pair is not dense.Linear
    assert F.linear(x, tc.ones(4, 2)).grad_fn.pair is dense.Linear
    with pytest.raises(tc.VariantError, match="that name is the op's own"):
        tc.register("linear", "readable", dense.Linear)
