"""`capture` on the CPU in the hands of somebody new: a replay does what the step would do now, or there is a reason."""

import asyncio
import copy
import pickle
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, optim

CALLS = 7


@pytest.fixture(autouse=True)
def in_numpy():
    """There a replay has the bits of the step. Compiled ones differ by rounding: test_program_compiled.py."""
    before = tc.variants.kernels()
    tc.variants.set_kernels("numpy")
    yield
    tc.variants.set_kernels(before)


def xs(n=CALLS, shape=(4, 3)):
    return [tc.tensor(np.random.default_rng(i).standard_normal(shape, np.float32)) for i in range(n)]


def plain(value):
    """What a step returned, as values that can be compared."""
    if isinstance(value, tc.Tensor):
        return value.tolist()
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def both(make, calls, before=lambda i, *held: None):
    """What a step returns in some calls, eager and captured.

    `make()` is (step, the tensors to be compared in the end, ...), and `before(i, ...)` is called before call i.
    """
    found = []
    for captured in (False, True):
        tc.manual_seed(0)
        step, end, *held = make()
        run = tc.capture(step) if captured else step
        returned = []
        for i, args in enumerate(calls):
            before(i, *held)
            returned.append(plain(run(*args)))
        found.append((returned, plain(end())))
        if captured:
            assert run.to_dict()["state"] == "replayed"
    return found


def same(make, calls, before=lambda i, *held: None):
    eager, captured = both(make, calls, before)
    alike(captured, eager)


def alike(found, expected):
    """The same nested values; numbers to rounding, for a fused op may round in another way."""
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            alike(a, b)
    else:
        assert found == (pytest.approx(expected, 1e-4, 1e-6) if isinstance(expected, float) else expected)


def singly(tensors):
    return [(t,) for t in tensors]


# --- a replay sees what it takes --------------------------------------------------------------------------------------

INDICES = [tc.tensor(np.random.default_rng(i).integers(0, 4, 5)) for i in range(CALLS)]
STEPS = {
    "rows": lambda x, i: x[i],
    "elements": lambda x, i: x[i, 0] * 2,
    "where it is largest": lambda x, i: x[x.argmax(0)],
    "the place of the largest": lambda x, i: x.max(1)[1],
    "no number below 0, of integers": lambda x, i: (i - 2).relu().reshape(5, 1),
    "written rows": lambda x, i: _written(x.clone(), i, 0.0),
    "written where": lambda x, i: _written(x.clone(), x > 0, 0.0),
    "shuffled": lambda x, i: x[tc.randperm(4)],
    "drawn": lambda x, i: F.dropout(x, 0.5) + tc.randn(4, 3),
    "a view": lambda x, i: _written(x.clone()[1], 0, 5.0),
    "its argument": lambda x, i: (x, i),
    "numbers": lambda x, i: [x.sum(), {"rows": i}["rows"], None, "word", 3],
}


def _written(x, where, value):
    x[where] = value
    return x


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_replay_takes_what_it_is_given(step):
    same(lambda: (step, list), list(zip(xs(), INDICES, strict=True)))


def test_one_tensor_given_twice_is_not_two_tensors_given_once():
    data = xs()
    same(lambda: (lambda x, y: x * 2 + y, list), [(data[0], data[0])] * 4 + [(data[1], data[2])] * 4 + [(data[0],) * 2])


def test_gradients_by_grad_are_those_of_the_replay():
    def make():
        weight = tc.ones(3, requires_grad=True)
        return lambda x: tc.grad((x * weight).pow(2).sum(), weight)[0], list

    same(make, singly(xs()))


# --- a replay does what the step would do now -------------------------------------------------------------------------


def training(optimizer=optim.Adam):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    rule = optimizer(model[0].parameters(), lr=0.1)

    def step(x):
        model.zero_grad()
        loss = model(x).pow(2).sum()
        loss.backward()
        rule.step()
        return loss

    return step, lambda: list(model.parameters()), model, rule


def at(when, change):
    return lambda i, *held: change(*held) if i == when else None


def _frozen(model, rule):
    model[0].weight.requires_grad_(False)


def _grouped(model, rule):
    rule.add_param_group({"params": list(model[2].parameters())})


CHANGES = {
    "a parameter": lambda model, rule: setattr(model[0], "weight", nn.Parameter(tc.ones(4, 3))),
    "a layer": lambda model, rule: model.__setitem__(1, nn.Tanh()),
    "a bias that is gone": lambda model, rule: setattr(model[0], "bias", None),
    "a frozen parameter": _frozen,
    "a written parameter": lambda model, rule: model.load_state_dict(
        nn.Sequential(*map(copy.copy, model)).state_dict()
    ),
    "a rate": lambda model, rule: rule.param_groups[0].update(lr=0.5),
    "a group": _grouped,
    "the optimiser's state": lambda model, rule: rule.load_state_dict(copy.deepcopy(rule.state_dict())),
    "gradients": lambda model, rule: model.zero_grad(),
    "an unrelated layer": lambda model, rule: nn.Sequential(nn.ReLU()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_between_two_calls_is_seen(change):
    same(training, singly(xs()), at(4, change))


def test_an_unrelated_layer_does_not_cost_the_program():
    step, _, model, _ = training()
    run = tc.capture(step)
    for x in xs(3):
        run(x)
    before = run.entries[0].run
    nn.Sequential(nn.ReLU(), nn.Linear(3, 3))
    run(xs(1)[0])
    assert run.entries[0].run is before
    model[1] = nn.Tanh()
    run(xs(1)[0])
    assert run.entries[0].run is not before


def test_each_mode_of_a_model_has_a_program():
    calls = []

    def make():
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

        def step(x):
            calls.append(1)
            return model(x)

        return step, lambda: list(model.buffers()), model

    def before(i, model):
        model.train(i % 2 == 0)

    same(make, singly(xs(12)), before)
    assert len(calls) == 12 + 4, "twice in each mode"


def test_other_shapes_have_programs_of_their_own():
    data = xs(1)[0]
    same(lambda: (lambda x: x * 2, list), [(data[: 1 + i % 3],) for i in range(9)])


def hooked():
    model = nn.Linear(3, 2)
    model.weight.register_hook(lambda grad: grad * 2)

    def step(x):
        model.zero_grad()
        y = model(x)
        y.register_hook(lambda grad: grad * 3)
        y.retain_grad()
        y.pow(2).sum().backward()
        return y.grad, model.weight.grad

    return step, lambda: [*model.parameters(), model.weight.grad]


def test_what_hooks_compute_is_part_of_the_program():
    same(hooked, singly(xs()))


@pytest.mark.parametrize("when", [1, 2, 3])
def test_an_error_in_the_step_leaves_nothing_behind(when):
    step, state, *_ = training(optim.SGD)
    plain_step, plain_state, *_ = training(optim.SGD)
    calls = []

    def failing(x):
        calls.append(1)
        if len(calls) == when:
            step(x)
            raise RuntimeError("my own")
        return step(x)

    for target, source in zip(state(), plain_state(), strict=True):
        with tc.no_grad():
            target[...] = source
    run = tc.capture(failing)
    for i, x in enumerate(xs(), 1):
        expected = plain_step(x).item()
        if i == when and i <= 2:
            with pytest.raises(RuntimeError, match="my own"):
                run(x)
        else:
            alike(run(x).item(), expected)
    alike(plain(state()), plain(plain_state()))


def test_a_label_that_is_no_class_is_found_in_a_replay_and_changes_nothing():
    model = nn.Linear(3, 2)
    rule = optim.SGD(model.parameters(), lr=0.1)

    @tc.capture
    def step(x, y):
        rule.zero_grad()
        F.cross_entropy(model(x), y).backward()
        rule.step()

    data, labels = xs(), tc.tensor([0, 1, 0, 1])
    for x in data[:4]:
        step(x, labels)
    before = plain(list(model.parameters()))
    with pytest.raises(tc.ShapeError, match="class indices 0 to 1"):
        step(data[4], tc.tensor([0, 1, 0, 7]))
    assert plain(list(model.parameters())) == before
    step(data[5], labels)
    assert plain(list(model.parameters())) != before


def test_a_loss_that_was_returned_cannot_be_walked_back_and_says_so_at_the_first_call():
    run = tc.capture(lambda x: (x * WEIGHT).sum())
    for _ in range(4):
        said = message(tc.GraphError, run(tc.ones(3)).backward)
        assert "or a captured step returned it, which has to walk back itself" in said


def test_what_a_step_returns_is_a_copy_from_the_first_call_on():
    weight = tc.ones(3, requires_grad=True)
    run = tc.capture(lambda: (weight, weight * 2))
    for _ in range(4):
        kept, double = run()
        assert not kept.requires_grad
        assert not double.requires_grad
        with tc.no_grad():
            kept[...] = 5.0
    assert weight.tolist() == [1.0, 1.0, 1.0]


# --- where it is called -----------------------------------------------------------------------------------------------


def test_threads_that_call_one_step_take_turns():
    total, (x,) = tc.zeros(()), xs(1)

    def step(x):
        total[...] = total + 1.0
        return (x * total).sum() / x.sum()

    run, seen = tc.capture(step), []

    def work():
        seen.extend(run(x) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(t.item()) for t in seen) == list(range(1, 61))


class Stepper:
    def __init__(self, factor):
        self.factor = tc.tensor(factor)

    @tc.capture
    def step(self, x):
        return x * self.factor


def test_a_captured_method_has_programs_for_each_object():
    two, three = Stepper(2.0), Stepper(3.0)
    for x in xs():
        assert two.step(x).tolist() == (x * 2).tolist()
        assert three.step(x).tolist() == (x * 3).tolist()
    assert "2 programs" in str(Stepper.step)
    assert "a Stepper" in Stepper.step.explain()


def test_a_captured_step_inside_another_is_part_of_it():
    inner = tc.capture(lambda x: x * 2)
    for x in xs(3):
        inner(x)
    same(lambda: (lambda x: inner(x) + 1, list), singly(xs()))


@tc.capture
def doubled(x):
    return x * 2


def test_a_captured_function_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy(doubled) is doubled


def test_a_captured_model_is_copied_without_its_programs():
    model = tc.capture(nn.Linear(3, 2))
    (x,) = xs(1)
    for _ in range(3):
        model(x)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.entries == []
        assert twin.step.weight is not model.step.weight
        alike(twin(x).tolist(), model(x).tolist())


def test_a_captured_model_can_have_layers_of_any_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.step, self.device, self.lock = nn.Linear(3, 3), nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.lock(self.device(self.step(x)))

    model = Net()
    run = tc.capture(model)
    for x in xs(4):
        alike(run(x).tolist(), model(x).tolist())


@pytest.mark.parametrize(
    ("block", "eager"),
    [(tc.no_grad, 2), (lambda: tc.using("readable"), 2), (tc.detect_anomaly, 5), (tc.profile, 5)],
    ids=["no_grad", "using", "detect_anomaly", "profile"],
)
def test_under_a_block_that_changes_ops_there_is_another_program_or_none(block, eager):
    calls, model = [], nn.Linear(3, 2)

    @tc.capture
    def step(x):
        calls.append(1)
        return model(x)

    data = xs(8)
    for x in data[:3]:
        step(x)
    assert len(calls) == 2
    for x in data[:5]:
        with block():
            inside = step(x)
        np.testing.assert_allclose(inside.numpy(), model(x).detach().numpy(), rtol=1e-5)
    assert len(calls) == 2 + eager
    step(data[7])
    assert len(calls) == 2 + eager, "the program from before the block is still there"


# --- what is refused --------------------------------------------------------------------------------------------------

WEIGHT = tc.ones(3, requires_grad=True)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", tc.zeros(()))

    def forward(self, x):
        self.seen = self.seen + x.sum()
        return x


@dataclass
class Output:
    loss: tc.Tensor


COUNTING = Counting()
BEFORE = WEIGHT * 2
READS = (
    "reads values of a tensor of shape {} on the host, which a replay cannot do; return the tensor and read it after "
    "the step (.item(), float, print, .cpu()), and use where() for an if"
)
TAKES = (
    "takes NumPy or Python data of shape {}, and every replay would take the same again; make a tensor of it before "
    "the step, or give that as an argument"
)
RETURNS = "returns a {}, and a replay cannot renew what is in it; return tensors, or tuples, lists and dicts of them"
REFUSED = {
    "item": (lambda x: x.sum().item(), READS.format("()")),
    "float": (lambda x: float(x.sum()), READS.format("()")),
    "if": (lambda x: x if x.sum() > 0 else -x, READS.format("()")),
    "print": (lambda x: f"{x.sum()}", READS.format("()")),
    "tolist": (lambda x: x.tolist(), READS.format("(3,)")),
    "numpy": (lambda x: x.numpy(), READS.format("(3,)")),
    "asarray": (lambda x: np.asarray(x), READS.format("(3,)")),
    "a row by number": (lambda x: x[x.argmax()], READS.format("()")),
    "numbers": (lambda x: x + tc.tensor([1.0, 2.0, 3.0]), TAKES.format("(3,)")),
    "an array": (lambda x: x + np.ones(3, np.float32), TAKES.format("(3,)")),
    "shared memory": (lambda x: x + tc.from_numpy(np.ones(3, np.float32)), TAKES.format("(3,)")),
    "drawn by NumPy": (lambda x: x[np.random.default_rng().permutation(3)], TAKES.format("(3,)")),
    "rows of a list": (lambda x: x[[0, 2]], TAKES.format("(2,)")),
    "a mask": (
        lambda x: x[x > 0],
        "picks elements by a mask of shape (3,), and how many those are depends on its values; keep the shape: "
        "where(mask, x, 0.0), or x * mask",
    ),
    "gradients of gradients": (
        lambda x: tc.grad((WEIGHT * WEIGHT * x).sum(), WEIGHT, create_graph=True)[0],
        "differentiates gradients (create_graph=True), which a replay cannot do; call the step itself, without capture",
    ),
    "a graph from before": (
        lambda x: (BEFORE * x).sum().backward(retain_graph=True),
        "walks back through what was computed before it; compute it inside the step, or detach it",
    ),
    "a buffer": (
        COUNTING,
        "gives Counting.seen another buffer, which a replay cannot do; write into it: seen[...] = value",
    ),
    "an object": (lambda x: Output(x.sum()), RETURNS.format("Output")),
    "a set": (lambda x: {x.sum()}, RETURNS.format("set")),
    "a generator": (lambda x: (row for row in (x,)), RETURNS.format("generator")),
}


@pytest.mark.parametrize(("step", "text"), REFUSED.values(), ids=REFUSED)
def test_refused(step, text):
    """The first call runs; from the second on there is the reason, with the line, and nothing has been changed."""
    run = tc.capture(step)
    x = tc.ones(3)
    run(x)
    for _ in range(2):
        said = message(tc.CaptureError, run, x)
        assert said.splitlines()[0] == f"capture: the step {text}"
        assert said.splitlines()[1].startswith("  at test_capture_mistakes.py:")
    assert f"cannot be captured: the step {text}" in str(run)
    assert (tc.ones(2) * 2).tolist() == [2.0, 2.0], "nothing is recorded any more"


def test_an_argument_that_requires_grad_is_refused():
    run, x = tc.capture(lambda x: (x * x).sum()), tc.ones(3, requires_grad=True)
    run(x)
    assert message(tc.CaptureError, run, x).startswith(
        "capture: an argument of shape (3,) requires grad; give the step data, x.detach(), and no parameters, which it "
        "finds where they are"
    )


def test_a_refusal_is_found_before_the_step_has_changed_anything():
    step, state, *_ = training(optim.SGD)
    run = tc.capture(lambda x: step(x).item())
    data = xs(3)
    run(data[0])
    before = plain(state())
    for x in data:
        with pytest.raises(tc.CaptureError):
            run(x)
    assert plain(state()) == before


async def later(x):
    return x


def one_by_one(x):
    yield x


async def all_later(x):
    yield x


NO_FUNCTIONS = {
    "a generator": (one_by_one, "one_by_one is a generator, and calling it runs none of its body; capture a function"),
    "async": (later, "later is an async function, and calling it runs none of its body; capture a function"),
    "an async generator": (all_later, "all_later is an async function, and calling it runs none of its body"),
    "a tensor": (tc.ones(2), "expected a function, got tensor([1., 1.])"),
    "called": (3, "expected a function, got 3"),
}


@pytest.mark.parametrize(("step", "text"), NO_FUNCTIONS.values(), ids=NO_FUNCTIONS)
def test_what_is_no_function_is_refused_at_once(step, text):
    assert message(TypeError, tc.capture, step).startswith(f"capture: {text}")


def test_arguments_that_never_come_twice_are_told_of():
    run = tc.capture(lambda x, rate: x * rate)
    x = tc.ones(2)
    for i in range(4):
        run(x, i / 10)
    with pytest.warns(UserWarning, match=r"<lambda> was called with 4 kinds of arguments and with none of them twice"):
        run(x, 0.5)


def test_other_objects_are_arguments_by_their_identity():
    """An array's own == gives no bool, and a tensor's neither."""
    run = tc.capture(lambda x, other: x * 2)
    x, arrays = tc.ones(2), [np.ones(3), np.zeros(3)]
    for i in range(6):
        assert run(x, arrays[i % 2]).tolist() == [2.0, 2.0]
    assert len(run.entries) == 2


def test_a_step_is_captured_in_a_task_as_anywhere():
    run = tc.capture(lambda x: x * 2)

    async def task(x):
        return run(x).tolist()

    async def every():
        return await asyncio.gather(*(task(x) for x in xs()))

    assert asyncio.run(every()) == [(x * 2).tolist() for x in xs()]


def test_a_number_of_another_type_is_another_argument():
    run = tc.capture(lambda x, flag: x + 1 if flag is True else x * 3)
    x = tc.ones(2)
    for _ in range(3):
        assert run(x, True).tolist() == [2.0, 2.0]
        assert run(x, 1).tolist() == [3.0, 3.0]
        assert run(x, flag=True).tolist() == [2.0, 2.0]
    assert len(run.entries) == 3


@pytest.mark.parametrize("inside", [False, True], ids=["added to", "dropped"])
def test_gradients_that_the_recorded_call_did_not_find_are_what_the_step_takes_them_for(inside):
    """Gradients are added up over two calls, and the one that was recorded began with none."""

    def gradients(capture):
        tc.manual_seed(0)
        layer = nn.Linear(3, 2)

        def step(x):
            if inside:
                layer.zero_grad()
            layer(x).sum().backward()

        step, found = (tc.capture(step) if capture else step), []
        for i in range(8):
            if i in (1, 5):
                layer.zero_grad()
            step(tc.tensor(np.full((2, 3), i + 1, np.float32)))
            found.append(layer.weight.grad.numpy().copy())
        return found

    for replayed, eager in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_allclose(replayed, eager, rtol=1e-6)
