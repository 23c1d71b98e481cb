"""DataParallel: the same numbers in tiles, whatever the threads; and what it says when a module does not fit it."""

import threading
from typing import NamedTuple

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.host import threads


@pytest.fixture
def threads_as_they_were():
    before = threads._chosen, threads.get_num_threads()
    yield
    tc.set_num_threads(before[1])
    threads._chosen = before[0]


def small_net():
    tc.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 8), nn.Tanh(), nn.Linear(8, 4)
    )


def batch(n):
    rng = np.random.default_rng(1)
    return tc.tensor(rng.standard_normal((n, 1, 8, 8), np.float32)), tc.tensor(rng.integers(0, 4, n))


def gradients(model, run, x, y):
    model.zero_grad()
    F.cross_entropy(run(x), y).backward()
    return [p.grad.array.copy() for p in model.parameters()]


@pytest.mark.parametrize(("n", "tile"), [(7, 2), (8, 4), (65, 40), (150, None), (5, 5), (3, 1)])
def test_outputs_and_gradients_are_those_of_the_module(n, tile):
    model, (x, y) = small_net(), batch(n)
    parallel = nn.DataParallel(model, threads=2, tile=tile)
    np.testing.assert_allclose(parallel(x).array, model(x).array, rtol=1e-5, atol=1e-6)
    found, expected = gradients(model, parallel, x, y), gradients(model, model, x, y)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def wide_net():
    """64 images make products of 34 million multiplications in it, which BLAS's threads would share out."""
    tc.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 520), nn.Tanh(), nn.Linear(520, 1030), nn.Tanh(), nn.Linear(1030, 4)
    )


@pytest.mark.parametrize("make", [small_net, wide_net])
@pytest.mark.parametrize(("n", "tile"), [(40, 8), (300, None)])
def test_the_result_does_not_depend_on_the_threads(make, n, tile, threads_as_they_were):
    model, (x, y) = make(), batch(n)
    found = []
    for count in (1, 2, 2, 3, 5):
        tc.set_num_threads(count)
        found += [gradients(model, nn.DataParallel(model, count, tile), x, y)]
        found += [gradients(model, nn.DataParallel(model, 1, tile), x, y)]
    for others in found[1:]:
        for ours, theirs in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("n", "tree"),
    [
        (65, lambda a, b: a + b),
        (256, lambda a, b, c, d: (a + b) + (c + d)),
        (440, lambda a, b, c, d, e, f, g: ((a + b) + (c + d)) + ((e + f) + g)),
    ],
)
def test_gradients_are_the_tree_of_those_of_tiles_of_64(n, tree):
    model, (x, _) = small_net(), batch(n)
    dy = tc.randn(n, 4)
    nn.DataParallel(model, threads=2)(x).backward(dy)
    found, parts = [p.grad.array for p in model.parameters()], []
    for start in range(0, n, 64):
        model.zero_grad()
        model(x[start : start + 64]).backward(dy[start : start + 64])
        parts.append([p.grad.array for p in model.parameters()])
    for ours, theirs in zip(found, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(ours, tree(*theirs))


def test_a_tile_that_does_not_use_a_weight_has_no_part_in_its_gradient():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(tc.ones(1))
            self.unused = nn.Parameter(tc.ones(1))

        def forward(self, x):
            return x * self.weight if x[0, 0].item() >= 2.0 else x * 1.0

    model = Choosing()
    nn.DataParallel(model, threads=2, tile=1)(tc.arange(6).float().unsqueeze(1)).sum().backward()
    assert model.weight.grad.tolist() == [2.0 + 3.0 + 4.0 + 5.0]
    assert model.unused.grad is None


def test_it_is_one_node_and_tiles_run_on_several_threads():
    names = set()
    meeting = threading.Barrier(2, timeout=10)

    class Noting(nn.Module):
        def forward(self, x):
            names.add(threading.get_ident())
            meeting.wait()  # only two threads at once get past this
            return x * 2.0

    x = tc.ones(4, 3, requires_grad=True)
    y = nn.DataParallel(Noting(), threads=2, tile=2)(x)
    assert y.grad_fn.op.name == "data_parallel"
    assert len(y.grad_fn.parents) == 1
    assert len(names) == 2
    y.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 4


@pytest.mark.parametrize(
    ("n", "tile", "sizes"),
    [(10, 4, [4, 4, 2]), (64, None, [64]), (65, None, [64, 1]), (192, None, [64] * 3), (0, 3, [0])],
)
def test_all_tiles_but_the_last_are_full(n, tile, sizes):
    seen = []

    class Noting(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x

    nn.DataParallel(Noting(), threads=1, tile=tile)(tc.ones(n, 2))
    assert seen == sizes


def test_gradients_of_inputs_and_of_tensors_from_outside():
    weight = tc.randn(3, 2, requires_grad=True)
    scale = weight * 2.0  # computed before: its own graph goes on outside

    class Outer(nn.Module):
        def forward(self, x, shift, factor):
            return (x @ scale + shift) * factor

    x, shift = tc.randn(6, 3, requires_grad=True), tc.randn(6, 2, requires_grad=True)
    parallel = nn.DataParallel(Outer(), threads=2, tile=2)
    (parallel(x, shift, factor=3.0) ** 2).sum().backward()
    found = [t.grad.array.copy() for t in (x, shift, weight)]
    for t in (x, shift, weight):
        t.grad = None
    (((x @ (weight * 2.0) + shift) * 3.0) ** 2).sum().backward()
    for ours, t in zip(found, (x, shift, weight), strict=True):
        np.testing.assert_allclose(ours, t.grad.array, rtol=1e-5)


def test_a_hook_sees_the_whole_gradient_once():
    model, (x, y) = small_net(), batch(8)
    seen = []
    weight = next(model.parameters())
    handle = weight.register_hook(lambda grad: seen.append(grad.array.copy()))
    found = gradients(model, nn.DataParallel(model, tile=2), x, y)
    handle.remove()
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], found[0])


def test_frozen_parameters_get_none():
    model, (x, y) = small_net(), batch(8)
    model[0].requires_grad_(False)
    F.cross_entropy(nn.DataParallel(model, tile=2)(x), y).backward()
    assert model[0].weight.grad is None
    assert model[4].weight.grad is not None


def test_without_recording_there_is_no_node():
    model, (x, _) = small_net(), batch(8)
    with tc.no_grad():
        assert nn.DataParallel(model, tile=2)(x).grad_fn is None


def test_a_graph_is_walked_once_unless_it_is_retained():
    model, (x, _) = small_net(), batch(8)
    loss = nn.DataParallel(model, tile=2)(x).sum()
    loss.backward(retain_graph=True)
    once = model[0].weight.grad.array.copy()
    loss.backward()
    np.testing.assert_allclose(model[0].weight.grad.array, 2 * once, rtol=1e-6)
    assert "walked before" in message(tc.GraphError, loss.backward)


def test_a_write_between_forward_and_backward_is_found():
    model, (x, _) = small_net(), batch(8)
    loss = nn.DataParallel(model, tile=2)(x).sum()
    with tc.no_grad():
        model[4].weight.zero_()
    assert "was written to in place since" in message(tc.GraphError, loss.backward)


def test_dropout_draws_a_stream_for_each_tile_whatever_the_threads():
    model = nn.Sequential(nn.Dropout(0.5))
    x = tc.ones(40, 10)
    drawn = []
    for count in (1, 2, 4):
        tc.manual_seed(3)
        drawn.append(nn.DataParallel(model, threads=count, tile=5)(x).array)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert len({row.tobytes() for row in drawn[0].reshape(8, 50)}) == 8  # no two tiles alike
    tc.manual_seed(3)
    first = nn.DataParallel(model, tile=5)(x).array
    assert (nn.DataParallel(model, tile=5)(x).array != first).any()  # and the next call draws anew


def test_where_nothing_is_random_nothing_is_drawn():
    tc.manual_seed(0)
    before = tc.get_rng_state()
    nn.DataParallel(small_net(), tile=2)(batch(8)[0])
    tc.manual_seed(0)
    assert tc.get_rng_state() == before


def test_batch_norm_standardises_tiles_and_keeps_the_statistics_of_the_first():
    norm, alone = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    x = tc.randn(6, 2, 3, 3)
    y = nn.DataParallel(norm, threads=2, tile=3)(x)
    expected = [alone(x[:3]), nn.BatchNorm2d(2)(x[3:])]
    np.testing.assert_allclose(y.array, np.concatenate([t.array for t in expected]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_mean.array, alone.running_mean.array, rtol=1e-6)
    assert norm.num_batches_tracked.item() == 1


def test_an_attribute_set_in_forward_is_that_of_the_first_tile():
    class Remembering(nn.Module):
        def forward(self, x):
            self.seen = x[0, 0].item()
            return x

    model = Remembering()
    nn.DataParallel(model, threads=2, tile=1)(tc.tensor([[1.0], [2.0], [3.0]]))
    assert model.seen == 1.0


def test_variants_and_modes_of_the_caller_hold_in_tiles():
    model, (x, _) = small_net(), batch(4)
    with tc.using("readable"):
        plain = model(x).array
        np.testing.assert_array_equal(nn.DataParallel(model, threads=2, tile=4)(x).array, plain)

    class Noting(nn.Module):
        def forward(self, x):
            seen.append(tc.is_grad_enabled())
            return x

    seen = []
    with tc.no_grad():
        nn.DataParallel(Noting(), threads=2, tile=1)(tc.ones(3, 1))
    assert seen == [False] * 3


def test_inside_another_it_runs_on_one_thread():
    inner = nn.DataParallel(small_net(), threads=2, tile=2)
    x, _ = batch(8)
    np.testing.assert_allclose(
        nn.DataParallel(inner, threads=2, tile=4)(x).array, inner.module(x).array, rtol=1e-5, atol=1e-6
    )


def test_detect_anomaly_names_the_users_line():
    class Log(nn.Module):
        def forward(self, x):
            return (x - 1.0).log()

    with tc.detect_anomaly():
        text = message(tc.AnomalyError, nn.DataParallel(Log(), threads=2, tile=1), tc.zeros(4, 1))
    assert "test_nn_parallel.py" in text


def test_state_is_the_modules_under_its_name():
    model = small_net()
    parallel = nn.DataParallel(model)
    assert set(parallel.state_dict()) == {f"module.{name}" for name in model.state_dict()}
    assert "threads=None, tile=64" in repr(parallel)
    assert parallel.eval() is parallel
    assert not model[0].training


def test_a_gradient_of_its_gradient_is_refused():
    model, (x, _) = small_net(), batch(8)
    y = nn.DataParallel(model, tile=2)(x)
    weights = list(model.parameters())
    text = message(tc.GraphError, lambda: tc.grad((y * y).sum(), weights, create_graph=True))
    assert "model.module" in text


@pytest.mark.parametrize(
    ("module", "args", "expected"),
    [
        (
            nn.Flatten(0),
            (tc.ones(4, 2),),
            "must return a tensor with the batch first, got one of shape (4,) for 2 examples",
        ),
        (nn.Identity(), (tc.tensor(1.0),), "cut along axis 0, where all must be equally long; got ()"),
    ],
)
def test_what_does_not_fit(module, args, expected):
    assert expected in message(tc.ShapeError, nn.DataParallel(module, tile=2), *args)


def test_tensors_of_different_lengths():
    class Sum(nn.Module):
        def forward(self, x, y):
            return x + y

    text = message(tc.ShapeError, nn.DataParallel(Sum(), tile=2), tc.ones(4, 1), tc.ones(3, 1))
    assert text.splitlines()[0] == (
        "DataParallel: tensors are cut along axis 0, where all must be equally long; got (4, 1), (3, 1); what is not "
        "one row for each example belongs in the module, as an attribute or a buffer"
    )


class Weighted(nn.Module):
    """x * w, with w at some place among the arguments."""

    def __init__(self, place):
        super().__init__()
        object.__setattr__(self, "place", place)

    def forward(self, x, *args, **options):
        return x * self.place(*args, **options)


class Pair(NamedTuple):
    weight: tc.Tensor
    name: str


PLACES = {
    "an argument": (lambda w: w, lambda w: ((w,), {})),
    "a keyword": (lambda *, by: by, lambda w: ((), {"by": w})),
    "a list": (lambda parts: parts[1], lambda w: (([None, w],), {})),
    "a dict in a tuple": (lambda parts: parts[0]["w"], lambda w: ((({"w": w, "n": 3},),), {})),
    "a named tuple": (lambda pair: pair.weight, lambda w: ((), {"pair": Pair(w, "w")})),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_is_cut_wherever_it_is_among_the_arguments(place):
    """In a list it went whole to each tile."""
    find, put = PLACES[place]
    x, w = (tc.randn(7, 3, requires_grad=True) for _ in range(2))
    args, options = put(w)
    parallel = nn.DataParallel(Weighted(find), threads=2, tile=2)
    y = parallel(x, *args, **options)
    np.testing.assert_array_equal(y.array, (x * w).array)
    (y**2).sum().backward()
    found = [t.grad.array.copy() for t in (x, w)]
    x.grad = w.grad = None
    ((x * w) ** 2).sum().backward()
    for ours, t in zip(found, (x, w), strict=True):
        np.testing.assert_allclose(ours, t.grad.array, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (6, 3)])
@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_of_another_length_is_refused_wherever_it_is(place, shape):
    find, put = PLACES[place]
    args, options = put(tc.ones(*shape) if shape else tc.tensor(1.0))
    said = message(tc.ShapeError, nn.DataParallel(Weighted(find), tile=2), tc.ones(7, 3), *args, **options)
    assert f"equally long; got (7, 3), {shape}; what is not one row for each" in said


@pytest.mark.parametrize(("made", "rows"), [
    (lambda x: x @ x.transpose(0, 1), "float32 (N, 3) and float32 (N, 2)"),
    (lambda x: x.double() if len(x) == 2 else x, "float32 (N, 5) and float64 (N, 5)"),
    (lambda x: x.unsqueeze(1) if len(x) == 2 else x, "float32 (N, 5) and float32 (N, 1, 5)"),
])  # fmt: skip
def test_tiles_that_do_not_fit_together(made, rows):
    class Uneven(nn.Module):
        def forward(self, x):
            return made(x)

    said = message(tc.ShapeError, nn.DataParallel(Uneven(), tile=3), tc.ones(5, 5))
    assert said.splitlines()[0] == (
        f"DataParallel: the tiles gave {rows}: what the module computes for an example must not depend on how many "
        "others there are"
    )


def test_an_error_in_a_tile_is_that_of_the_first_that_failed():
    class Failing(nn.Module):
        def forward(self, x):
            raise tc.ShapeError(f"tile from {x[0].item()}")

    x = tc.arange(6).float()
    text = message(tc.ShapeError, nn.DataParallel(Failing(), threads=1, tile=2), x)
    assert text == "tile from 0.0\n  in layer 'module': Failing()"
    assert nn.DataParallel(nn.Identity(), tile=2)(x).tolist() == [0, 1, 2, 3, 4, 5]  # and the threads go on


@pytest.mark.parametrize("options", [{"threads": 0}, {"tile": 0}, {"tile": 2.5}, {"threads": True}])
def test_options_that_make_no_sense(options):
    name = next(iter(options))
    expected = f"DataParallel: {name} must be an integer of at least 1, got {options[name]!r}"
    assert message(ValueError, lambda: nn.DataParallel(nn.Identity(), **options)) == expected
    with pytest.raises(TypeError, match="expected a Module"):
        nn.DataParallel(lambda x: x)


def test_a_training_follows_the_plain_one():
    losses = []
    for wrap in (lambda m: m, lambda m: nn.DataParallel(m, threads=2, tile=16)):
        model = small_net()
        run, optimizer = wrap(model), tc.optim.Adam(model.parameters(), lr=1e-2)
        x, y = batch(64)
        of_run = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.cross_entropy(run(x), y)
            loss.backward()
            optimizer.step()
            of_run.append(loss.item())
        losses.append(of_run)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0][-1] < 0.9 * losses[0][0]


# --- threads --------------------------------------------------------------------------------------------------------


def test_set_num_threads(threads_as_they_were):
    tc.set_num_threads(3)
    assert tc.get_num_threads() == 3
    for wrong in (0, -1, 1.5, True, "2"):
        assert "expected a number of threads" in message(ValueError, tc.set_num_threads, wrong)
    assert tc.get_num_threads() == 3


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": "3", "TINYCONV_NUM_THREADS": "7"}, 7),
        ({"OPENBLAS_NUM_THREADS": "0", "MKL_NUM_THREADS": "4"}, 4),
        ({"TINYCONV_NUM_THREADS": "1000000000", "OMP_NUM_THREADS": "²", "MKL_NUM_THREADS": "3"}, 3),
        ({"TINYCONV_NUM_THREADS": "9" * 5000, "OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_the_environment_says_how_many(monkeypatch, variables, expected):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    threads._default.cache_clear()
    try:
        assert threads._default() == expected
    finally:
        threads._default.cache_clear()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_parallel_gives_results_in_order(count):
    assert threads.parallel(lambda i: i * i, 50, count) == [i * i for i in range(50)]
    assert threads.parallel(lambda i: i, 0, count) == []


def test_parallel_raises_the_first_error_after_all_have_stopped():
    running = set()

    def work(i):
        running.add(i)
        try:
            if i == 3:
                raise KeyError(i)
        finally:
            running.discard(i)

    with pytest.raises(KeyError, match="3"):
        threads.parallel(work, 10, 3)
    assert not running


def test_blas_works_alone_inside_and_as_before_afterwards():
    pytest.importorskip("threadpoolctl")
    numbers = [library.get_num_threads() for library in threads._blas()]
    inside = threads.parallel(lambda i: [library.get_num_threads() for library in threads._blas()], 2, 2)
    assert inside == [[1] * len(numbers)] * 2
    assert [library.get_num_threads() for library in threads._blas()] == numbers


def test_gradients_of_float16_are_summed_in_float32():
    """500 tiles of 10: in float16 the sum of ones came to 4824."""
    layer = nn.Linear(2, 1).to(dtype=tc.float16)
    nn.DataParallel(layer, tile=10)(tc.ones(5000, 2, dtype=tc.float16)).sum().backward()
    assert layer.bias.grad.dtype == np.float16
    assert layer.bias.grad.item() == 5000
