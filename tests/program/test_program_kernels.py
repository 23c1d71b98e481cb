"""Kernels in C of activations, pools, sums, dropout, batch norm and wide convolutions, as instructions of programs.

Each is held to the readable pair all over its argument space, on batches that fill no tile and no vector.
"""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import HypothesisDraw, compare

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.engine import kernels
from tinyconv.engine.context import context
from tinyconv.program.compiled import compiled
from tinyconv.program.fuse import fused
from tinyconv.program.record import Recorder
from tinyconv.testing import spaces  # noqa: F401
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and with them the compiled kernels")
if kernels.for_programs().library is None:
    pytest.skip(f"no compiled kernels: {kernels.for_programs().how}", allow_module_level=True)

IMAGES = [1, 5, 16, 17, 63, 64, 65, 130]
"""Batches: parts of a vector, of a tile, and several tiles."""


@pytest.fixture(autouse=True)
def threads():
    before = tc.get_num_threads()
    with np.errstate(all="ignore"):
        yield
    tc.set_num_threads(before)


def results(function, inputs, dy):
    """What the readable pairs give: y and the gradients."""
    leaves = [tc.from_numpy(array).requires_grad_(array.dtype.kind == "f") for array in inputs]
    with tc.using("readable"):
        y = function(*leaves)
    y = y[0] if isinstance(y, tuple) else y
    y.backward(tc.from_numpy(dy))
    return [y.array, *(leaf.grad.array for leaf in leaves if leaf.grad is not None)]


def run_in_c(function, inputs, dy):
    """The same by a program in C: recorded with other images, and run with these."""
    leaves = [tc.from_numpy(array.copy()).requires_grad_(array.dtype.kind == "f") for array in inputs]
    leaves[0].array[...], cotangent, before = 1, tc.from_numpy(np.ones_like(dy)), context.get()
    recorder = Recorder([leaves[0], cotangent])
    try:
        context.set(before.but(observer=recorder))
        y = function(*leaves)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(cotangent)
    finally:
        context.set(before)
    run = compiled(fused(recorder.program([y])))
    assert run is not None
    assert not run.without
    kept = [leaf.grad.array for leaf in leaves if leaf.grad is not None]
    for array in kept:
        array[...] = np.nan
    (found,) = run([inputs[0], dy])
    return [found, *kept]


def shape_of(function, inputs):
    y = function(*map(tc.from_numpy, inputs))
    return (y[0] if isinstance(y, tuple) else y).shape


def gradient(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def hold(function, inputs, magnitude=0, exact=False):
    """Compare y and all gradients. `magnitude`: as in `compare`; "terms": those of the sums."""
    dy = gradient(shape_of(function, inputs))
    found, expected = run_in_c(function, inputs, dy), results(function, inputs, dy)
    terms = [magnitude] * len(found)
    if magnitude == "terms":
        terms = results(function, [abs(array) for array in inputs], abs(dy))
    for i, (a, b, size) in enumerate(zip(found, expected, terms, strict=True)):
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            compare(f"result {i}", np.asarray(a, order="C"), b, size)


def widened(draw, x, n):
    """A batch of n images: those of x again and again."""
    x = np.asarray(x, np.float32)
    assume(x.shape[0] > 0)
    order = np.random.default_rng(draw(st.integers(0, 3))).integers(0, len(x), n)
    order[: len(x)] = np.arange(len(x))[:n]
    return np.ascontiguousarray(x[order])


@st.composite
def values_in(draw, case_values):
    """These values, in maps or features of a batch."""
    n, shape = draw(st.sampled_from(IMAGES)), draw(st.sampled_from([(7,), (2, 3, 3), (1, 1, 1)]))
    values = np.asarray(case_values, np.float32).ravel()
    assume(values.size)
    return np.resize(values, (n, *shape))


# --- Of single numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["leaky_relu", "tanh", "sigmoid", "silu", "gelu"])
@settings(max_examples=50)
@given(data=st.data())
def test_activations(op, data):
    case = draw_case(op, HypothesisDraw(data.draw))
    x = data.draw(values_in(case.inputs[0]))
    hold(case.function(), [x], case.magnitude, exact=op == "leaky_relu")


def errors_in_ulp(function, exact, x):
    x = np.asarray(x, np.float32)
    found = run_in_c(function, [x.reshape(-1, 1)], np.ones((x.size, 1), np.float32))[0].ravel()
    truth = exact(x.astype(np.float64))
    rounded = np.abs(truth).astype(np.float32)
    return np.abs(found - truth) / np.spacing(np.maximum(rounded, np.finfo(np.float32).smallest_normal))


NEAR_AND_FAR = np.concatenate(
    [
        np.linspace(-87, 87, 100_001),
        np.linspace(-2, 2, 100_001),
        *(sign * 10 ** np.linspace(-30, 1, 10_001) for sign in (1, -1)),
    ]
)


@pytest.mark.parametrize(
    ("function", "exact", "ulp"),
    [
        (tc.tanh, np.tanh, 3),
        (tc.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 3),
        (F.silu, lambda x: x / (1 + np.exp(-x)), 4),
    ],
)  # fmt: skip
def test_how_exact_activations_are(function, exact, ulp):
    """The figures that points.c states, against float64."""
    assert errors_in_ulp(function, exact, NEAR_AND_FAR).max() < ulp


def test_how_exact_the_normal_distribution_function_is():
    """To 3e-7, as points.c states; math.erfc gives the truth. The slope of GELU has the density too."""
    x = np.linspace(-14, 14, 100_001).astype(np.float32).reshape(-1, 1)
    normal = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x[:, 0].tolist()])[:, None]
    density = np.exp(-(x.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    value, slope = run_in_c(F.gelu, [x], np.ones_like(x))
    assert (abs(value - x * normal) <= 3e-7 * abs(x)).all()
    assert abs(slope - (normal + x * density)).max() <= 4e-7


def test_activations_far_out_are_those_of_the_readable_pairs():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-40, -1e-40, 104, -104], np.float32).reshape(-1, 1)
    for function in (tc.tanh, tc.sigmoid, F.silu, F.gelu, lambda x: F.gelu(x, "tanh")):
        found, expected = run_in_c(function, [x], x)[0], results(function, [x], x)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-38)
        np.testing.assert_array_equal(np.signbit(found[1:5]), np.signbit(expected[1:5]))


@settings(max_examples=50)
@given(data=st.data())
def test_sums_and_gradients_that_meet(data):
    """x goes two ways, of which one is longer, as in a residual block: the two gradients are added."""
    case = draw_case("relu", HypothesisDraw(data.draw))
    x = data.draw(values_in(case.inputs[0]))
    hold(lambda x: F.leaky_relu(x, 0.5) + x, [x], exact=True)
    hold(lambda x: x + x, [x], exact=True)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 3)])
@pytest.mark.parametrize("p", [0.25, 1.0])
@pytest.mark.parametrize("n", IMAGES)
def test_dropout(n, p, shape):
    """Captured and eager, with the same random numbers."""

    def outcome(wrap):
        tc.manual_seed(5)
        weight = tc.ones(1, *shape, requires_grad=True)
        layer, found = nn.Linear(int(np.prod(shape)), 3), []

        def step(x):
            weight.grad = layer.weight.grad = layer.bias.grad = None
            y = layer(F.dropout(x, p).flatten(1))
            loss = F.cross_entropy(F.dropout(y, p / 2), tc.zeros(len(x), dtype=tc.int64))
            loss.backward()
            return loss

        step = wrap(step)
        for seed in range(4):
            x = tc.from_numpy(gradient((n, *shape), seed))
            found += [step(x).numpy(), layer.weight.grad.numpy().copy()]
        return found, step

    (found, step), (expected, _) = outcome(tc.capture), outcome(lambda step: step)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert sum(hasattr(piece, "code") for piece in step.entries[0].run.pieces) == 1


@pytest.mark.parametrize("n", [9, 70])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_scores_that_are_no_numbers_and_do_not_count(n, smoothing):
    """The loss is that of the others, and the gradient NaN there alone, not where lanes have no image."""
    x, target = np.random.default_rng(0).standard_normal((n, 3), np.float32), np.arange(n) % 3
    x[5::6] = np.nan
    hold(lambda x: F.cross_entropy(x, tc.tensor(target), ignore_index=2, label_smoothing=smoothing), [x], 1)


# --- Pools ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["avg_pool2d", "adaptive_avg_pool2d", "max_pool2d", "adaptive_max_pool2d"])
@settings(max_examples=60)
@given(data=st.data())
def test_pools(op, data):
    case = draw_case(op, HypothesisDraw(data.draw))
    case.options.pop("return_indices", None)
    assume(case.options.get("dilation", 1) in (1, (1, 1)))
    images = case.inputs[0] if case.inputs[0].ndim == 4 else case.inputs[0][None]  # one image alone is a batch of one
    x = widened(data.draw, images, data.draw(st.sampled_from(IMAGES)))
    hold(case.function(), [x], "terms" if "avg" in op else 9)


@pytest.mark.parametrize("special", [[np.nan], [np.nan, np.inf, -np.inf], [-np.inf], [0.0, -0.0, 1.0]])
def test_maxima_of_cells_are_the_first(special):
    """Several NaN in one cell: the first is it, though in a window of max_pool2d the last is."""
    x = np.random.default_rng(0).choice([*special, 1.0, 2.0], (70, 2, 5, 7)).astype(np.float32)
    hold(lambda x: F.adaptive_max_pool2d(x, (2, 3)), [x], exact=True)
    hold(lambda x: F.max_pool2d(x, 3, 2, 1), [x], 9)


# --- Batch norm -----------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(data=st.data())
def test_batch_norm(data):
    case = draw_case("batch_norm", HypothesisDraw(data.draw))
    options, (x, *others) = dict(case.options), case.inputs
    assume(x.ndim in (2, 4) and x.shape[1] > 0)
    tracked = "running statistics" in case.classes
    rng, n = np.random.default_rng(data.draw(st.integers(0, 9))), data.draw(st.sampled_from(IMAGES[1:]))
    x = widened(data.draw, x, n) + rng.standard_normal((n, *x.shape[1:]), np.float32) / 8
    others = [np.asarray(array, np.float32) for array in others]
    affine = others[: len(others) - 2 * tracked]
    running = others[len(affine) :] or [None, None]
    names = [name for name in ("weight", "bias") if case.classes & {name, "weight and bias"}]

    def function(x, *affine):
        kept = [None if array is None else tc.from_numpy(array.copy()) for array in running]
        return F.batch_norm(x, *kept, **dict(zip(names, affine, strict=True)), **options)

    finite = np.isfinite(x).all()
    hold(function, [x, *affine], 1 + 30 * case.magnitude if finite and np.isfinite(case.magnitude) else np.inf)


def test_statistics_of_a_batch_are_exact_far_from_zero():
    """One pass over sums of squares would lose all digits here."""
    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((150, 3, 4, 5))).astype(np.float32)
    layer, same = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def step(x):
        return layer(x) + 0

    captured = tc.capture(step)
    with tc.no_grad():
        for _ in range(4):
            captured(tc.from_numpy(x)), same(tc.from_numpy(x))
    var = x.astype(np.float64).var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_var.numpy(), 1 - 0.9**4 + (var - 1) * (1 - 0.9**4) + 0.9**4, rtol=2e-5)
    np.testing.assert_allclose(layer.running_mean.numpy(), same.running_mean.numpy(), rtol=1e-6)


# --- Wide convolutions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", ["nothing", "relu", "relu and pool"])
@pytest.mark.parametrize("padding", [0, 1, 2, (1, 0)])
@pytest.mark.parametrize("size", [(24, 28, 6, 9), (28, 32, 7, 4), (32, 24, 4, 5)])
def test_winograd(size, padding, after):
    n, (c, f, h, w), rng = 70, size, np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(s, np.float32) for s in [(n, c, h, w), (f, c, 3, 3), (f,)])

    def function(x, weight, bias):
        y = F.conv2d(x, weight, bias, padding=padding)
        if after == "nothing":
            return y
        return F.relu(y) if after == "relu" else F.max_pool2d(F.relu(y), 2)

    dy = gradient(shape_of(function, [x, weight, bias]))
    found, expected = run_in_c(function, [x, weight, bias], dy), results(function, [x, weight, bias], dy)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * abs(b).max())


@pytest.mark.slow
def test_the_rounding_of_winograd():
    """The figures that winograd.c states: error against float64, as roots of the means of squares."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((64, 64, 15, 15), np.float32), rng.standard_normal((32, 64, 3, 3), np.float32)

    def function(x, weight):
        return F.conv2d(x, weight, padding=1)

    dy = gradient((64, 32, 15, 15))
    exact = results(function, [x.astype(np.float64), weight.astype(np.float64)], dy.astype(np.float64))
    errors = [
        np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))
        for a, b in zip(run_in_c(function, [x, weight], dy), exact, strict=True)
    ]
    assert all(found < stated for found, stated in zip(errors, (3e-7, 3e-7, 5e-7), strict=True)), errors


# --- Whole nets -----------------------------------------------------------------------------------------------------

NETS = {
    "lenet_bn": {}, "lenet_gap": {}, "lenet_vgg": {}, "lenet_strided": {}, "resnet": {}, "mlp": {},
    "cifarnet": {"widths": [24, 32, 32]},
}  # fmt: skip


def trained(name, wrap, threads, steps):
    """Losses, and all parameters and buffers after some steps."""
    tc.set_num_threads(threads)
    tc.manual_seed(0)
    model, (c, h, w) = tc.models.create(name, **NETS[name]), tc.models.IMAGES.get(name, (1, 28, 28))
    optimizer, rng = tc.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), np.random.default_rng(1)

    @wrap
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    batches = [(gradient((100, c, h, w), i), rng.integers(0, 10, 100)) for i in range(steps)]
    losses = [step(tc.from_numpy(x), tc.from_numpy(y)).item() for x, y in batches]
    return losses, {key: t.numpy().copy() for key, t in model.state_dict().items()}, step


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_the_models_is_one_piece_of_code(name):
    """With batch norm, where the tiles meet, and residuals; the same bits on one and three threads."""
    losses, state, step = trained(name, tc.capture, 1, 4)
    pieces = step.entries[0].run.pieces
    assert sum(hasattr(piece, "code") for piece in pieces) == 1
    again, same, _ = trained(name, tc.capture, 3, 4)
    assert losses == again
    expected, eager, _ = trained(name, lambda step: step, 1, 4)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for key, array in state.items():
        assert array.tobytes() == same[key].tobytes(), key
        np.testing.assert_allclose(array, eager[key], rtol=0, atol=2e-5 * max(1, abs(eager[key]).max()), err_msg=key)


@pytest.mark.parametrize("name", ["resnet", "cifarnet"])
def test_evaluation_is_one_piece_of_code(name):
    tc.manual_seed(0)
    model, shape = tc.models.create(name, **NETS[name]), tc.models.IMAGES.get(name, (1, 28, 28))
    x = tc.from_numpy(gradient((70, *shape)))
    with tc.no_grad():
        model(x)  # statistics other than 0 and 1
        model.eval()
        captured = tc.capture(model)
        for _ in range(3):
            found = captured(x)
        np.testing.assert_allclose(found.numpy(), model(x).numpy(), rtol=1e-4, atol=1e-4)
    assert not captured.entries[0].run.without
