"""The compiled executor: held to the eager step and to the readable pairs, the same bits on any number of threads."""

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, ops, optim
from tinyconv.check.draw import RandomDraw
from tinyconv.engine import kernels
from tinyconv.engine.context import context
from tinyconv.engine.tree import TILE
from tinyconv.program.compiled import KERNELS, TWO_BY_TWO, CompiledRun
from tinyconv.program.program import Instruction, Program, Value
from tinyconv.program.record import Recorder
from tinyconv.testing import spaces
from tinyconv.testing.case import draw_case

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and with them the compiled kernels")
if kernels.for_programs().library is None:
    pytest.skip(f"no compiled kernels: {kernels.for_programs().how}", allow_module_level=True)

assert spaces  # importing it fills the argument spaces
RATE = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 0.05}


@pytest.fixture(autouse=True)
def threads():
    before = tc.get_num_threads()
    yield
    tc.set_num_threads(before)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def batch(n, seed=0, shape=(1, 28, 28), classes=10):
    rng = np.random.default_rng(seed)
    return tc.tensor(rng.standard_normal((n, *shape), np.float32)), tc.tensor(rng.integers(0, classes, n))


def training(make=LeNet, rule="Adam", loss=F.cross_entropy, **options):
    """A model and a step that returns the loss."""
    tc.manual_seed(0)
    model = make()
    optimizer = getattr(optim, rule)(model.parameters(), **{"lr": RATE[rule], **options})

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return model, step, optimizer


def run_of(captured):
    (entry,) = captured.entries
    assert isinstance(entry.run, CompiledRun)
    return entry.run


def assert_whole(captured):
    """All of the program is one piece of code, besides what the host does before it."""
    run = run_of(captured)
    assert run.without == {}
    assert sum(hasattr(piece, "code") for piece in run.pieces) == 1
    return run


def assert_close(found, expected, tolerance=1e-5):
    """Equal to rounding, of the largest number."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 130])
def test_a_lenet_step_is_the_eager_one_to_rounding(n):
    (plain, eager, _), (model, step, _) = training(), training()
    captured = tc.capture(step)
    for i in range(12):
        x, y = batch(n, seed=i)
        assert_close(captured(x, y).numpy(), eager(x, y).numpy())
        if i < 4:  # later the two drift apart, as any two orders of summation do
            for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
                assert_close(p.grad.numpy(), q.grad.numpy()), name
    assert_whole(captured)


@pytest.mark.parametrize("n", [5, 130, 64 * 21 + 3])
def test_one_and_three_threads_give_the_same_bits(n):
    def after(threads):
        model, step, _ = training()
        captured, losses = tc.capture(step), []
        for i in range(5):
            tc.set_num_threads(threads if i > 1 else 1)  # BLAS gives an eager step of so many images other bits
            losses.append(captured(*batch(n, seed=i)).item())
        return losses, [p.numpy().tobytes() for p in model.parameters()], assert_whole(captured)

    (*first, _), (*second, _), (*third, run) = after(1), after(2), after(3)
    assert first == second == third
    (code,) = (piece.code for piece in run.pieces if hasattr(piece, "code"))
    assert code.units < len(range(0, n, TILE)) or n < 1000  # the largest batch: more tiles than units


def test_the_number_of_threads_may_change():
    _, step, _ = training()
    captured = tc.capture(step)
    losses = []
    for threads in (1, 1, 1, 3, 2, 1):
        tc.set_num_threads(threads)
        losses.append(captured(*batch(130)).item())
    tc.set_num_threads(1)
    _, step, _ = training()
    captured = tc.capture(step)
    assert losses == [captured(*batch(130)).item() for _ in losses]


RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01, "maximize": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.01, "amsgrad": True, "maximize": True, "betas": (0.8, 0.99), "eps": 1e-6}),
    ("AdamW", {"weight_decay": 0.1}),
]


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4))


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_updates_are_the_rules(rule, options):
    """A changed rate and a state that was loaded count from the next step on; eager and captured steps take turns."""
    (plain, eager, first), (model, step, second) = training(small, rule, **options), training(small, rule, **options)
    captured = tc.capture(step)
    for i in range(12):
        x, y = batch(20, seed=i, shape=(3, 3), classes=4)
        if i == 5:
            first.param_groups[0]["lr"] = second.param_groups[0]["lr"] = 0.01
        if i == 8:
            second.load_state_dict(first.state_dict())
        eager(x, y)
        (step if i == 10 else captured)(x, y)
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            assert_close(p.numpy(), q.numpy())
            for name, value in first.state[q].items():
                assert_close(np.asarray(second.state[p][name]), np.asarray(value)), name
    assert_whole(captured)


def test_a_buffer_begins_with_the_first_gradient_in_a_replay():
    (plain, eager, first), (model, step, second) = (
        training(small, "SGD", momentum=0.9, dampening=0.5) for _ in range(2)
    )
    captured = tc.capture(step)
    for i in range(6):
        if i == 4:
            first.state.clear()
            second.state.clear()
        x, y = batch(20, seed=i, shape=(3, 3), classes=4)
        eager(x, y), captured(x, y)
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        assert_close(p.numpy(), q.numpy())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_leaves_out_what_is_ignored(reduction, smoothing):
    def loss(scores, y):
        return F.cross_entropy(scores, y, ignore_index=2, label_smoothing=smoothing, reduction=reduction)

    (plain, eager, _), (model, step, _) = (training(small, "SGD", loss=loss, lr=1e-3) for _ in range(2))
    captured = tc.capture(step)
    for i in range(5):
        x, y = batch(70, seed=i, shape=(3, 3), classes=4)
        assert_close(captured(x, y).numpy(), eager(x, y).numpy())
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            assert_close(p.grad.numpy(), q.grad.numpy())
    assert_whole(captured)


def test_a_label_that_is_no_class_stops_the_step_before_it_changes_anything():
    model, step, optimizer = training(small)
    captured = tc.capture(step)
    for i in range(4):
        captured(*batch(70, seed=i, shape=(3, 3), classes=4))
    before = [p.numpy().tobytes() for p in model.parameters()]
    x, y = batch(70, shape=(3, 3), classes=4)
    y[66] = 4
    text = message(tc.ShapeError, captured, x, y)
    assert "class indices 0 to 3 (scores have 4 classes), got 4 (1 such)" in text
    assert [p.numpy().tobytes() for p in model.parameters()] == before
    assert {state["step"] for state in optimizer.state.values()} == {4}
    captured(*batch(70, shape=(3, 3), classes=4))
    assert {state["step"] for state in optimizer.state.values()} == {5}


@pytest.mark.parametrize("n", [1, 5, 64, 130])
def test_inference_gives_the_scores_of_the_model(n):
    tc.manual_seed(0)
    model = LeNet().eval()
    captured = tc.capture(model)
    with tc.no_grad():
        for i in range(4):
            x, _ = batch(n, seed=i)
            assert_close(captured(x).numpy(), model(x).numpy())
    assert_whole(captured)


@pytest.mark.parametrize("n", [1, 5, 67])
def test_lanes_without_an_image_add_nothing_to_a_sum(n):
    """An infinite weight times their zeros is NaN, which the images do not have: for them the ReLU gives 0."""

    def make():
        model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        with tc.no_grad():
            model[0].weight[0] = np.inf
        return model

    (plain, eager, _), (model, step, _) = training(make, "SGD"), training(make, "SGD")
    captured, x, y = tc.capture(step), -tc.ones(n, 2), tc.zeros(n, dtype="int64")
    for _ in range(4):
        captured(x, y), eager(x, y)
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            assert np.isfinite(q.grad.numpy()).all()
            assert_close(p.grad.numpy(), q.grad.numpy())
    assert_whole(captured)


def test_what_has_no_kernel_runs_in_numpy_between_pieces_of_code():
    def make():
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.Softmax(1), nn.Flatten(), nn.Linear(6 * 7 * 7, 10),
        )  # fmt: skip

    (plain, eager, _), (model, step, _) = training(make, "SGD"), training(make, "SGD")
    captured = tc.capture(step)
    for i in range(6):
        x, y = batch(70, seed=i)
        assert_close(captured(x, y).numpy(), eager(x, y).numpy())
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            assert_close(p.grad.numpy(), q.grad.numpy())
    run = run_of(captured)
    assert {i.op: why for i, why in run.without.items()} == {ops.Softmax: "no kernel"}
    assert sum(hasattr(piece, "code") for piece in run.pieces) == 3


# --- Each kernel against the readable pair ---------------------------------------------------------------------------

SPACES = {
    "conv2d": 40,
    "conv2d_relu": 40,
    "conv2d_relu_max_pool2d": 4,
    "linear": 40,
    "linear_relu": 40,
    "relu": 40,
    "max_pool2d": 60,
    "relu_max_pool2d": 60,
    "flatten": 20,
    "cross_entropy": 15,
}
"""Argument spaces, and of 480 cases of each how many at least have kernels. All floats become float32, and all
integers int64."""


class Asked:
    """An op on arrays, as a program: forward, then backward of a gradient."""

    def __init__(self, op, arrays, geometry, seed):
        self.op, self.arrays, self.geometry = op, arrays, geometry
        with np.errstate(all="ignore"):
            y, saved = op.forward(np, *arrays, **geometry)
            self.y = np.asarray(y[0] if isinstance(y, tuple) else y)
            self.dy = np.random.default_rng(seed).standard_normal(self.y.shape).astype(np.float32)
            self.needs = tuple(array is not None and array.dtype == np.float32 for array in arrays)
            grads = op.backward(np, saved, self.dy, self.needs, **geometry)
        self.expected = [self.y, *(grad for grad, need in zip(grads, self.needs, strict=True) if need)]
        self.run = CompiledRun(self.program(), kernels.for_programs().library)

    def program(self):
        values = []

        def value(kind, array):
            values.append(Value(len(values), kind, array.shape, array.dtype, memory=len(values)))
            return values[-1]

        inputs = [None if array is None else value("input", array) for array in self.arrays]
        y, dy = value("made", self.y), value("input", self.dy)
        grads = [value("made", a) if need else None for a, need in zip(self.arrays, self.needs, strict=True)]
        forward = Instruction("forward", tuple(inputs), (y,), self.op, self.op, self.geometry)
        backward = Instruction("backward", (dy,), tuple(grads), self.op, self.op, self.geometry, self.needs, forward)
        given, results = (*inputs, dy), (y, *grads)
        return Program([forward, backward], *([v for v in some if v] for some in (given, results)), values)

    def assert_agrees(self):
        found = self.run([array for array in (*self.arrays, self.dy) if array is not None])
        largest = max(np.abs(a[np.isfinite(a)]).max(initial=1) for a in self.expected)
        for a, b in zip(found, self.expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * largest)


def asked_by(case, n, seed):
    """What a case asks for, on a batch of `n` images; None where that is not one op of float32, with kernels."""
    dtypes = {"f": np.float32, "i": np.int64, "u": np.int64}
    arrays = [a.astype(dtypes.get(a.dtype.kind, a.dtype), order="C") for a in case.inputs]
    tensors = [tc.tensor(array) for array in arrays]
    recorder, now = Recorder(tensors), context.get()
    try:
        context.set(now.but(observer=recorder))
        result = case.function()(*tensors)
    finally:
        context.set(now)
    made = recorder.program([result] if isinstance(result, tc.Tensor) else list(result)).instructions
    x = arrays[0]
    if len(made) != 1 or made[0].op not in KERNELS or x.ndim < 2 or not len(x) or x.dtype != np.float32:
        return None
    (forward,), by_number = made, {v.number: a for v, a in zip(recorder.inputs, arrays, strict=True)}
    arrays, geometry = [None if v is None else by_number[v.number] for v in forward.inputs], forward.geometry
    if geometry.get("shape", x.shape)[0] != len(x):
        return None
    for i, array in enumerate(arrays):
        if i == 0 or (array is not None and array.dtype == np.int64):  # images, or scores and their classes
            arrays[i] = array[np.arange(n) % len(array)]
    if "shape" in geometry:
        geometry = {**geometry, "shape": (n, *geometry["shape"][1:])}
    return Asked(forward.op, arrays, geometry, seed)


@pytest.mark.parametrize("name", SPACES)
def test_kernels_compute_what_the_readable_pairs_do(name):
    """Also with NaN and infinities; on batches that fill no vector, some vectors, and more than a tile."""
    taken = 0
    for seed in range(480):
        case, n = draw_case(name, RandomDraw(seed)), (1, 3, 9, 66)[seed % 4]
        asked = asked_by(case, n, seed)
        if asked is not None and not asked.run.without:
            taken += 1
            try:
                asked.assert_agrees()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {n} images: {case!r}") from error
    assert taken >= SPACES[name]


@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_more_channels_and_larger_maps(seed):
    """Every group of filters, width of a tile and kernel, with and without padding, strides and pooling."""
    rng = np.random.default_rng(seed)
    kernel, (c, f) = tuple(rng.integers(1, 7, 2)), rng.choice([1, 2, 3, 4, 5, 6, 8, 12], 2)
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    op = (ops.Conv2d, ops.Conv2dRelu, ops.Conv2dReluMaxPool2d)[seed % 3]
    stride = (1, 1) if op is ops.Conv2dReluMaxPool2d else tuple(map(int, rng.integers(1, 3, 2)))
    size = [max(1, k - 2 * p) + int(rng.integers(1, 14)) for k, p in zip(kernel, padding, strict=True)]
    geometry = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": 1}
    if op is ops.Conv2dReluMaxPool2d:
        geometry["pool"] = TWO_BY_TWO
    shapes = (int(rng.integers(1, 70)), c, *size), (f, c, *kernel), (f,)
    asked = Asked(op, [rng.standard_normal(shape, np.float32) for shape in shapes], geometry, seed)
    assert asked.run.without == {}
    asked.assert_agrees()


@pytest.mark.parametrize("seed", range(30))
def test_a_few_images_go_one_after_another(seed):
    """A filter a lane, and a feature a lane: forward, with and without bias, padding, strides, ReLU and pooling."""
    rng = np.random.default_rng(seed)
    n, c, f = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.choice([1, 5, 8, 9, 16, 17]))
    kernel = int(rng.integers(1, 6))
    padding, bias = int(rng.integers(0, kernel)), bool(rng.integers(0, 2))
    tail = [[], [nn.ReLU()], [nn.ReLU(), nn.MaxPool2d(2)]][seed % 3]
    stride = 1 if len(tail) == 2 else int(rng.integers(1, 3))
    size = 2 * int(rng.integers(4, 12)) + kernel - 1 - 2 * padding  # the pooled maps are even
    tc.manual_seed(seed)
    conv = nn.Conv2d(c, f, kernel, stride=stride, padding=padding, bias=bias)
    x = tc.tensor(rng.choice([-1.0, 0.5, 2.0, np.nan if seed % 5 == 0 else 3.0], (n, c, size, size)).astype(np.float32))
    features = int(np.prod(nn.Sequential(conv, *tail)(x).shape[1:]))
    model = nn.Sequential(conv, *tail, nn.Flatten(), nn.Linear(features, 11, bias=bias), nn.ReLU(), nn.Linear(11, 3))
    captured = tc.capture(model)
    with tc.no_grad():
        for _ in range(3):
            found = captured(x)
        np.testing.assert_allclose(found.numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)
    run = assert_whole(captured)
    assert {call.kernel for p in run.pieces for stretch in p.code.stretches for call in stretch.calls} == {
        "few_conv",
        "few_linear",
    }


def test_a_gradient_is_written_row_by_row_whatever_the_eager_step_made():
    """The two gradients of a convolution that is used twice are summed eagerly in another order of axes."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(75, 3)

        def forward(self, x):
            return self.fc(self.conv(F.relu(self.conv(x))).flatten(1))

    (plain, eager, _), (model, step, _) = training(Twice, "SGD"), training(Twice, "SGD")
    captured = tc.capture(step)
    for i in range(4):
        x, y = batch(16, seed=i, shape=(3, 5, 5), classes=3)
        assert_close(captured(x, y).numpy(), eager(x, y).numpy())
        assert_close(model.conv.weight.grad.numpy(), plain.conv.weight.grad.numpy())
    assert_whole(captured)


def test_the_gradients_of_two_scaled_losses_are_two_numbers():
    """NumPy computes them as numbers of its own, which have no address that lasts."""

    def run(capture):
        tc.manual_seed(0)
        model = nn.Linear(7, 3)

        def step(x, y):
            model.zero_grad()
            for factor in (1, 0.5):
                (F.cross_entropy(model(x), y, reduction="sum") * 0.01 * factor).backward()

        step = tc.capture(step) if capture else step
        for i in range(4):
            step(*batch(16, seed=i, shape=(7,), classes=3))
        return model.weight.grad.numpy()

    assert_close(run(True), run(False))
