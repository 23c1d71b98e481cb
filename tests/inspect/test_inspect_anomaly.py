"""detect_anomaly: the first op that makes a NaN or an infinity is named, and nobody else is."""

import threading
import warnings

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn, ops
from tinyconv.data import DataLoader, synthetic_digits
from tinyconv.engine.context import context
from tinyconv.engine.variants import place_of
from tinyconv.ops import loops

INF, NAN = float("inf"), float("nan")


def leaf(*values, dtype=tc.float32):
    return tc.tensor(values, dtype=dtype, requires_grad=True)


def said(function):
    """What `function` is answered with under detect_anomaly, without the line, which changes with this file."""
    text = message(tc.AnomalyError, tc.detect_anomaly()(function))
    return [line for line in text.split("\n  ") if not line.startswith("at test_inspect_anomaly.py:")]


FIX = {
    "Div": "likely fix: keep the divisor away from 0: x / (y + eps), y.clamp(min=eps)",
    "Exp": "likely fix: let softmax, log_softmax, logsumexp or sigmoid take the exponential: they cannot overflow",
    "Log": "likely fix: keep what goes in above 0: (x + eps).log(), x.clamp(min=eps); of a softmax, use log_softmax",
    "Sqrt": "likely fix: keep what goes in above 0: (x + eps).sqrt(), x.clamp(min=eps)",
}


READ = {op: f"read it: {place_of(getattr(ops, op))}" for op in (*FIX, "Mul", "CrossEntropy")}
HELD = "already holds NaN: in the data, made by optimizer.step(), or made before this block"


FORWARD = {
    "log of 0": (
        lambda: leaf(0, 1, 2).log(),
        [
            "Log (readable) made 1 -inf (first at [0]) in its output float32 (3,)",
            "input 0: float32 (3,), 0 to 2",
            READ["Log"],
            FIX["Log"],
        ],
    ),
    "0 / 0": (
        lambda: tc.zeros(2, 3) / tc.zeros(2, 3),
        [
            "Div (readable) made 6 NaN (first at [0, 0]) in its output float32 (2, 3)",
            "input 0: float32 (2, 3), all 0",
            "input 1: float32 (2, 3), all 0",
            READ["Div"],
            FIX["Div"],
        ],
    ),
    "overflow": (
        lambda: tc.tensor([1.0, 200.0]).exp(),
        [
            "Exp (readable) made 1 inf (first at [1]) in its output float32 (2,)",
            "input 0: float32 (2,), 1 to 200",
            READ["Exp"],
            FIX["Exp"],
        ],
    ),
    "overflow of float16": (
        lambda: tc.tensor([300.0], dtype=tc.float16) * tc.tensor([300.0], dtype=tc.float16),
        [
            "Mul (readable) made 1 inf (first at [0]) in its output float16 (1,)",
            "input 0: float16 (1,), all 300",
            "input 1: float16 (1,), all 300",
            READ["Mul"],
        ],
    ),
    "a number": (
        lambda: tc.tensor([-1.0, 0.0]) / 0.0,
        [
            "Div (readable) made 1 NaN and 1 -inf (first at [0]) in its output float32 (2,)",
            "input 0: float32 (2,), -1 to 0",
            "input 1: 0.0",
            READ["Div"],
            FIX["Div"],
        ],
    ),
    "0-d": (
        lambda: tc.tensor(-1.0).sqrt(),
        ["Sqrt (readable) made 1 NaN in its output float32 ()", "input 0: float32 (), -1", READ["Sqrt"], FIX["Sqrt"]],
    ),
    "standardised by the std of a constant": (
        lambda: (tc.full((4,), 5.0) - 5.0) / tc.full((4,), 5.0).std(),
        [
            "Div (readable) made 4 NaN (first at [0]) in its output float32 (4,)",
            "input 0: float32 (4,), all 0",
            "input 1: float32 (), 0",
            READ["Div"],
            FIX["Div"],
        ],
    ),
    "a mask that leaves nothing": (
        tc.using("readable")(lambda: F.cross_entropy(tc.full((1, 3), -INF), tc.tensor([1]))),
        [
            "CrossEntropy (readable) made 1 NaN in its output float32 () out of infinities",
            "input 0: float32 (1, 3), 3 -inf (first at [0, 0])",
            "input 1: int64 (1,), all 1",
            READ["CrossEntropy"],
        ],
    ),
    "a NaN in the data": (
        lambda: tc.tensor([[1.0, 2.0], [NAN, NAN]]) * 2.0,
        [
            f"input 0 of Mul (readable) {HELD}",
            "input 0: float32 (2, 2), 1 to 2, 2 NaN (first at [1, 0])",
            "input 1: 2.0",
        ],
    ),
    "a number that is NaN": (
        lambda: tc.tensor(2.0) * NAN,
        [
            f"input 1 of Mul (readable) {HELD}",
            "input 0: float32 (), 2",
            "input 1: nan",
        ],
    ),
}


@pytest.mark.parametrize("case", FORWARD)
def test_what_a_forward_makes(case):
    function, lines = FORWARD[case]
    assert said(function) == [f"detect_anomaly: {lines[0]}", *lines[1:]]


def test_another_pair_and_the_parts_of_a_fused_op_are_placed():
    weight, pair = tc.full((2, 3), 3e38), "linear_relu (readable)"
    parts = [f"  linear: {place_of(ops.Linear)}", f"  Relu: {place_of(ops.Relu)}"]
    with tc.using("readable"):
        lines = said(lambda: tc.apply(ops.LinearRelu, tc.ones(1, 3), weight, None))
    assert lines[0].startswith(f"detect_anomaly: {pair} made 2 inf (first at [0, 0])")
    assert lines[-3:] == [f"read it: {place_of(ops.LinearRelu)}", *parts]
    with tc.using("loop"):
        lines = said(lambda: F.linear(tc.ones(1, 3), weight))
    assert lines[0].startswith("detect_anomaly: linear (loop) made 2 inf")
    assert lines[-2:] == [f"read it: {place_of(ops.Linear)}", f"what ran: {place_of(loops.Linear)}"]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_backward_by_another_pair_is_placed(create_graph):
    """A recorded walk runs the readable backward, whichever pair ran forward."""
    with tc.using("loop"):
        y = F.linear(tc.zeros(1, 2, requires_grad=True), tc.full((1, 2), 1e30))
    lines = said(lambda: y.backward(tc.full((1, 1), 1e30), create_graph=create_graph))
    ran = [] if create_graph else [f"what ran: {place_of(loops.Linear)}"]
    assert f"the backward of linear ({'readable' if create_graph else 'loop'}) made" in lines[0]
    assert lines[-1 - len(ran) :] == [f"read it: {place_of(ops.Linear)}", *ran]


def test_a_clock_is_not_what_ran():
    with tc.profile():
        assert said(lambda: leaf(0).log())[-2:] == [READ["Log"], FIX["Log"]]


INFINITE = tc.tensor([0.0, -INF])
PASSED = {
    "copied": lambda: INFINITE.clone(),
    "a mask": lambda: tc.where(tc.tensor([True, False]), leaf(1, 2), -INF).softmax(0).sum().backward(),
    "padding": lambda: F.pad(leaf(1, 2), (1, 1), value=-INF),
    "its exponential": lambda: INFINITE.exp(),
    "a NaN that is cut out": lambda: tc.where(tc.tensor([True, False]), tc.tensor([1.0, NAN]), 0.0),
    "nothing": lambda: tc.zeros(0, 3).log(),
    "integers": lambda: tc.tensor([1, 2]) + tc.tensor([3, 4]),
    "bools": lambda: tc.tensor([True, False]).reshape(2, 1),
    "an infinity among the answers only": lambda: tc.tensor([1.0, INF]) > 0,
}


@pytest.mark.parametrize("case", PASSED)
def test_what_is_no_anomaly(case):
    with tc.detect_anomaly():
        PASSED[case]()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        with pytest.warns(UserWarning, match="holds 1 module"):
            self.unregistered = [nn.Linear(3, 3)]

    def forward(self, x, bad):
        if bad == "root":
            return (self.features(x) * 0.0).log()
        if bad == "child":
            nn.init.constant_(self.features[0].weight, 3e38)
            return self.features(x)
        nn.init.constant_(self.unregistered[0].weight, 3e38)
        return self.unregistered[0](x)


@pytest.mark.parametrize(
    ("bad", "layer", "source"),
    [
        ("root", "in Net", "return (self.features(x) * 0.0).log()"),
        ("child", "in layer 'features.0': Linear(in_features=3, out_features=3, bias=True)", "return self.features(x)"),
        ("unregistered", "in layer 'Linear': Linear(", "return self.unregistered[0](x)"),
    ],
)
def test_the_layer_and_the_users_line_are_named(bad, layer, source):
    text = message(tc.AnomalyError, tc.detect_anomaly()(Net()), tc.ones(2, 3), bad)
    assert f"\n  {layer}" in text
    (line,) = (line for line in text.split("\n  ") if line.startswith("at "))
    name, _, code = line.partition(", in forward: ")
    assert name.startswith("at test_inspect_anomaly.py:")
    assert int(name.rpartition(":")[2]) > 100
    assert code == source


BACKWARD = {
    "the root of 0": (
        lambda: leaf(0, 4).sqrt().sum(),
        [
            "the backward of Sqrt (readable) made 1 inf (first at [0]) in the gradient of input 0, float32 (2,)",
            "gradient of its output: float32 (2,), all 1",
            "saved 0: float32 (2,), 0 to 2",
            READ["Sqrt"],
            FIX["Sqrt"],
        ],
    ),
    "a gradient that overflows, of the second input": (
        lambda: tc.tensor([1.0, 1e30]) / leaf(1, 1e-8) * 1e-4,
        [
            "the backward of Div (readable) made 1 -inf (first at [1]) in the gradient of input 1, float32 (2,)",
            "gradient of its output: float32 (2,), all 0.0001",
            "saved 0 (input 0): float32 (2,), 1 to 1e+30",
            "saved 1 (input 1): float32 (2,), 1e-08 to 1",
            READ["Div"],
            FIX["Div"],
        ],
    ),
}


def backward(loss, **options):
    loss.backward(tc.ones_like(loss), **options)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("case", BACKWARD)
def test_what_a_backward_makes(case, create_graph):
    """In a walk that is recorded too: the op is named, and not the step inside its backward."""
    function, lines = BACKWARD[case]
    text = said(lambda: backward(function(), create_graph=create_graph))
    (line,) = (line for line in text if line.startswith("recorded at test_inspect_anomaly.py:"))
    assert ", in <lambda>: lambda: " in line
    assert [other for other in text if other != line] == [f"detect_anomaly: {lines[0]}", *lines[1:]]


@pytest.mark.parametrize("create_graph", [False, True])
def test_around_the_backward_alone_it_says_how_to_learn_the_line(create_graph):
    loss = leaf(0, 4).sqrt().sum()
    text = said(lambda: loss.backward(create_graph=create_graph))
    assert text[1] == (
        "its line: run the forward (or the backward with create_graph=True) that recorded it inside detect_anomaly too"
    )


def test_around_the_forward_alone_nothing_is_said_of_the_backward():
    x = leaf(0, 4)
    with tc.detect_anomaly():
        loss = x.sqrt().sum()
    loss.backward()
    assert x.grad[0] == INF


def test_the_layer_of_a_backward():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    model = nn.Sequential({"first": nn.Identity(), "root": Root()})
    loss = model(leaf(0, 1)).sum()
    text = message(tc.AnomalyError, tc.detect_anomaly()(loss.backward))
    assert text.endswith("\n  in layer 'root': Root()")


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_infinity_that_a_recorded_backward_masks_is_none(create_graph):
    """The exponent's is y ln x, which is chosen against where x is 0."""
    x, exponent = leaf(0, 1), leaf(2, 2)
    with tc.detect_anomaly():
        (x**exponent).sum().backward(create_graph=create_graph)
    assert exponent.grad.isfinite().all()


def test_the_second_walk_is_checked_too():
    x = leaf(0.0)
    with tc.detect_anomaly():
        (slope,) = tc.grad((x**1.5).sum(), x, create_graph=True)
        with pytest.raises(tc.AnomalyError, match=r"the backward of Pow \(readable\) made 1 inf"):
            slope.sum().backward()


HANDED = [
    (
        lambda loss: loss.backward(tc.tensor(NAN)),
        "the output of Sum (readable), float32 (), holds 1 NaN that no op made",
    ),
    (
        lambda loss: (loss.register_hook(lambda grad: grad * INF), loss.backward()),
        "the output of Sum (readable), float32 (), holds 1 inf",
    ),
]


@pytest.mark.parametrize(("walk", "expected"), HANDED)
def test_a_gradient_that_no_op_made(walk, expected):
    loss = leaf(1, 2).sum()
    text = said(lambda: walk(loss))
    assert expected in text[0]
    assert text[0].endswith("given to backward, returned by a hook, or a sum of gradients that overflowed")


SHARES = "holds 1 inf (first at [0]) that no op made: shares that overflowed when they were added up"


@pytest.mark.parametrize("walks", [1, 2])
def test_shares_that_overflow_at_a_leaf(walks):
    """Every op's gradient is finite, and so is every share: the sum is not."""
    w = leaf(0)

    def run():
        for _ in range(walks):
            loss = (w * 2e38).sum() if walks == 2 else (w * 2e38 + w * 2e38).sum()
            loss.backward()

    assert f"the gradient of a leaf, float32 (1,), {SHARES}" in said(run)[0]
    with tc.detect_anomaly(check_nan=False):
        w.grad = None
        run()
    assert w.grad[0] == INF


def test_a_parameter_whose_shares_overflow_is_named():
    model = nn.Sequential({"fc": nn.Linear(1, 1, bias=False)})
    assert len(list(model.parameters())) == 1  # this is how it learns its path
    model.fc.weight.data.zero_()
    model.fc.weight.grad = tc.full((1, 1), 3e38)
    text = said(lambda: model(tc.full((1, 1), 2e38)).sum().backward())
    assert text[0].startswith("detect_anomaly: the gradient of 'fc.weight', float32 (1, 1), holds 1 inf")


def test_the_steps_of_a_recorded_backward_say_whose_they_are():
    """`within` gives the observer of those steps: it notes where they come from and checks nothing."""
    x = leaf(0, 1)
    with tc.detect_anomaly():
        y = x * 2.0
        before = context.get()
        context.set(before.but(observer=before.observer.within(y._node)))
        step = x.log()
        context.set(before)
        with pytest.raises(tc.AnomalyError) as caught:
            step.backward(tc.ones(2))
    assert step._node.line == f"{y._node.line} (in the backward of Mul (readable))"
    assert f"\n  recorded at {step._node.line}\n" in str(caught.value)
    unknown = leaf(1).exp()._node
    with tc.detect_anomaly():
        assert context.get().observer.within(unknown).line == (
            "an unknown line, for the forward ran outside detect_anomaly (in the backward of Exp (readable))"
        )


def test_a_training_that_blows_up_is_told_where():
    tc.manual_seed(0)
    model = tc.models.LeNet5()
    optimizer = tc.optim.SGD(model.parameters(), lr=5.0, momentum=0.9)

    @tc.detect_anomaly()
    def train():
        for x, y in DataLoader(synthetic_digits(1000), batch_size=50, shuffle=True, seed=0):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    with pytest.raises(tc.AnomalyError) as caught:
        train()
    assert caught.value.layer in dict(model.named_modules())
    assert "F.cross_entropy(model(x), y).backward()" in str(caught.value)


# The manners of a block.


def test_it_ends_with_its_block_also_on_an_error():
    before = context.get()
    with pytest.raises(ValueError, match="mine"), tc.detect_anomaly():
        raise ValueError("mine")
    assert context.get() is before
    assert tc.tensor([0.0]).log() == -INF


def test_blocks_nest():
    with tc.detect_anomaly():
        with tc.detect_anomaly(check_nan=False):
            tc.tensor([0.0]).log()
        with tc.no_grad(), pytest.raises(tc.AnomalyError):
            tc.tensor([0.0]).log()


def test_another_thread_is_not_watched():
    found = []
    with tc.detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(tc.tensor([0.0]).log()))
        thread.start()
        thread.join()
    assert found[0] == -INF


def test_check_nan_false_only_notes_the_lines():
    @tc.detect_anomaly(check_nan=False)
    def run():
        return leaf(0, 1).log()

    y = run()
    assert y._node.line.startswith("test_inspect_anomaly.py:")
    assert y._node.line.endswith(", in run: return leaf(0, 1).log()")
    with tc.detect_anomaly(check_nan=False):
        y.backward(tc.full((2,), NAN))


def test_without_its_brackets_the_decorator_says_so():
    with pytest.raises(
        TypeError, match=r"detect_anomaly: check_nan must be True or False, got .*; @detect_anomaly\(\)\?"
    ):

        @tc.detect_anomaly
        def run():
            pass


def test_values_are_the_same_with_and_without():
    def gradients():
        tc.manual_seed(0)
        model = tc.models.LeNet5()
        F.cross_entropy(model(tc.rand(4, 1, 28, 28)), tc.arange(4)).backward()
        return [p.grad.array.tobytes() for p in model.parameters()]

    assert tc.detect_anomaly()(gradients)() == gradients()


def test_no_warning_of_numpys_comes_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert said(lambda: (leaf(3e38, 3e38) * 10.0).sum())
        assert said(lambda: tc.tensor([NAN, INF, 1.0], dtype=tc.float16) * 1.0)


def test_what_a_module_calls_is_its_layer_and_is_over_afterwards():
    seen = []

    class Inner(nn.Module):
        def forward(self, x):
            seen.append(context.get().layer)
            if x is None:
                raise ValueError("mine")
            return x

    model = nn.Sequential(nn.Sequential(Inner()))
    x = tc.ones(1)
    assert model(x) is x
    with pytest.raises(ValueError, match="mine"):
        model(None)
    assert [layer.path for layer in seen] == ["0.0", "0.0"]
    assert {layer.root for layer in seen} == {model}
    assert context.get().layer is None
    assert np.array_equal(x.array, [1.0])
