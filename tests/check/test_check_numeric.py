"""gradcheck: what it passes, what it refuses and in which words. No mistake is small enough to hide."""

import numpy as np
import pytest
import torch

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.check import GradcheckError, gradcheck

MODES = ["directions", "jacobian"]


def normal(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def verdict(fn, inputs, **options):
    return gradcheck(fn, inputs, raise_exception=False, **options)


def skewed(x, factor, where=slice(None)):
    """A tensor of x's value whose gradient is multiplied by `factor` at `where`."""
    change = np.zeros(x.shape)
    change[where] = factor - 1
    return x + (x - x.detach()) * tc.tensor(change)


# --- what passes ----------------------------------------------------------------------------------------------------

RIGHT = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [normal(2, 2, 4, 4), normal(3, 2, 3, 3), normal(3)]),
    "0-d": (lambda x: x * x, [normal()]),
    "two outputs": (lambda x: (x * 2, x.exp()), [normal(3)]),
    "an output without a gradient": (lambda x: x.max(dim=0), [normal(3, 2)]),
    "an integer among the inputs": (lambda x, i: x[i], [normal(4, 2), np.array([0, 2, 2])]),
    "not an array": (lambda x, n: x**n, [normal(4), 3]),
    "float32 inputs": (tc.exp, [normal(4).astype(np.float32)]),
    "values of 1e8": (lambda x: x * x, [1e8 * normal(5)]),
    "values of 1e-8": (tc.sqrt, [1e-8 * (1 + abs(normal(5)))]),
    "a gradient of 1e-9": (lambda x: x * 1e-9, [normal(5)]),
    "an offset of 1e6": (lambda x: x + 1e6, [normal(5)]),
    "steep near the edge of the domain": (tc.log, [abs(normal(1000)) + 1e-5]),
    "a kink a step away": (tc.relu, [np.array([3e-7, -1.0])]),
    "flat at a minimum": (lambda x: x.var(dim=1).sum() + x[0, 0], [np.ones((3, 2))]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RIGHT)
def test_passes(name, mode):
    fn, inputs = RIGHT[name]
    if mode == "jacobian" and np.size(inputs[0]) > 100:
        inputs = [x[:20] for x in inputs]
    report = gradcheck(fn, inputs, mode=mode)
    assert report
    assert report.error < 1e-5, "far below what is allowed"


def test_a_module_and_its_parameters():
    tc.manual_seed(0)
    model = tc.nn.Sequential(tc.nn.Conv2d(1, 2, 3), tc.nn.Tanh(), tc.nn.Flatten(), tc.nn.Linear(18, 2))
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    assert gradcheck(model, [normal(2, 1, 5, 5)])
    for name, p in model.named_parameters():  # a copy was checked
        assert p.dtype == tc.float32
        np.testing.assert_array_equal(p.numpy(), before[name])
        assert p.grad is None


def test_a_wrong_gradient_of_a_parameter_is_named():
    class Layer(tc.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = tc.nn.Parameter(np.ones(3, np.float32))

        def forward(self, x):
            return x * skewed(self.weight, 2.0, 1)

    report = verdict(Layer(), [normal(4, 3)])
    assert report.verdict == "wrong gradient"
    assert (report.worst.input, report.worst.index, report.worst.value) == ("weight", (1,), 1.0)
    assert report.worst.analytic == pytest.approx(2 * report.worst.numeric, rel=1e-6)


def test_only_what_requires_grad_is_checked():
    x, y = tc.tensor(normal(3), requires_grad=True), tc.tensor(normal(3))
    assert gradcheck(lambda x, y: x * y.detach(), [x, y])
    assert verdict(lambda x, y: x * y.detach(), [x.detach(), y]).worst.input == "input 1"


def test_an_input_without_effect_is_mentioned():
    report = gradcheck(lambda x, y: x * 2 + y * 0, [normal(3), normal(3)])
    assert report.unmoved == ("input 1",)
    assert "no effect: input 1" in str(report)


# --- no mistake is small enough -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fn", [lambda x: x**2, lambda x: (x**2).sum(), lambda x: x.tanh()])
def test_one_wrong_element_of_ten_thousand(fn, seed):
    x = 1 + abs(normal(100, 100, seed=seed))
    assert gradcheck(fn, [x], seed=seed)
    at = (17, seed)
    scale = np.sqrt(np.mean(tc.grad(fn(t := tc.tensor(x, requires_grad=True)).sum(), t)[0].numpy() ** 2))
    slope = tc.grad(fn(t := tc.tensor(x, requires_grad=True)).sum(), t)[0].numpy()[at]
    report = verdict(lambda x: fn(skewed(x, 1 + 1e-3 * scale / slope, at)), [x], seed=seed)
    assert report.verdict == "wrong gradient"
    assert report.worst.index == at
    assert report.worst.value == x[at]
    assert "the other " in report.message


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [0.0, -1.0, 0.999, 1.001, 2.0, 1e6])
def test_a_wrong_factor(factor, mode):
    report = verdict(lambda x, w: x @ skewed(w, factor), [normal(3, 4), normal(4, 2)], mode=mode)
    assert report.verdict == "wrong gradient"
    assert report.worst.input == "input 1"
    assert report.worst.analytic == pytest.approx(factor * report.worst.numeric, rel=1e-5, abs=1e-12)
    if mode == "directions":
        hint = (
            "analytic is 0: backward returns None" if factor == 0 else f"analytic is {factor:.5g} times numeric in all"
        )
        assert hint in report.message


def test_errors_of_opposite_sign_do_not_cancel():
    def fn(x):
        return skewed(skewed(x, 1.01, 0), 0.99, 1).sum()

    for seed in range(20):
        assert verdict(fn, [np.ones(2)], seed=seed).verdict == "wrong gradient"


def test_a_wrong_gradient_that_is_tiny_by_itself():
    assert verdict(lambda x: skewed(x, 1.01) * 1e-12, [normal(5)]).verdict == "wrong gradient"


@pytest.mark.parametrize("mode", MODES)
def test_the_element_is_found_in_jacobian_mode_too(mode):
    report = verdict(lambda x: (x * 3, skewed(x, 1.01, (1, 2)).exp()), [normal(2, 3)], mode=mode)
    assert report.worst.index == (1, 2)
    assert report.worst.output == ((1, 1, 2) if mode == "jacobian" else None)
    assert ("(the derivative of output 1 at [1, 2])" in report.message) == (mode == "jacobian")


def test_the_message():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: skewed(x, 2.0).tanh(), [np.array([[0.25]])], seed=7)
    lines = str(caught.value).splitlines()
    assert lines[0] == "<lambda>: wrong gradient"
    assert lines[1] == "  input 0, shape (1, 1), at [0, 0], where it is 0.25:"
    assert lines[2].startswith("  analytic ")
    assert lines[3] == "  analytic is 2 times numeric there"
    assert lines[4] == "  ops on the tape: Sub, Mul, Add, Tanh"
    assert lines[5] == "  to replay it: the same inputs, seed=7"
    report = caught.value.report
    assert (report.worst.value, report.seed, report.ops[-1]) == (0.25, 7, "Tanh")
    assert verdict(lambda x: skewed(x, 2.0).tanh(), [np.array([[0.25]])], seed=7) == report
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, tc.TinyconvError)


# --- other verdicts -------------------------------------------------------------------------------------------------


def impure():
    calls = []

    def fn(x):
        calls.append(None)
        return x * len(calls)

    return fn


def careless(x):
    y = x * 2
    with tc.no_grad():
        x.detach().array[0] = 0
    return y


OTHERS = {
    "kink": (
        tc.relu,
        [np.array([1.0, 0.0])],
        "kink or tie",
        r"suspected at input 0, shape \(2,\), at \[1\], where it is 0",
    ),
    "tie": (
        lambda x: x.max(),
        [np.array([1.0, 3.0, 3.0])],
        "kink or tie",
        r"where it is 3: the slopes on its two sides",
    ),
    "abs": (tc.abs, [np.array([0.0, 2.0])], "kink or tie", "move the input away"),
    "jump": (lambda x: tc.where(x > 0.5, x * 3, x), [np.array([0.5, 1.0])], "noise", "is not continuous"),
    "digits lost": (lambda x: (x + 1e9) - 1e9, [normal(4)], "noise", "subtracts large numbers"),
    "no input": (lambda: tc.zeros(1), [], "nothing to check", "no input is floating point"),
    "integers": (lambda x: x * 2, [np.arange(3)], "nothing to check", "no input is floating point"),
    "empty input": (lambda x: x * 2, [np.zeros((0, 3))], "nothing to check", "all inputs are empty"),
    "empty output": (lambda x: x[:0], [normal(3)], "nothing to check", "all outputs are empty"),
    "detached": (lambda x: x.detach(), [normal(3)], "nothing to check", "leaves the tape"),
    "times zero": (lambda x: x * 0, [normal(3)], "nothing to check", "do not depend on the inputs"),
    "flat": (lambda x: x.softmax(0).sum(), [normal(3)], "nothing to check", "the function is flat here"),
    "dead": (tc.relu, [np.array([-1.0, -2.0])], "nothing to check", "do not depend on the inputs, or not here"),
    "NaN in": (tc.exp, [np.array([0.0, np.nan])], "not finite", "input 0 holds infinities or NaN"),
    "NaN out": (tc.log, [np.array([1.0, -1.0])], "not finite", r"output 0 is nan at \[1\]"),
    "infinite gradient": (tc.sqrt, [np.array([1.0, 0.0])], "not finite", r"the gradient of input 0 is inf at \[1\]"),
    "float32 output": (lambda x: x.float() * 2, [normal(3)], "float32", "output 0 is float32 although"),
    "float32 inside": (lambda x: (x.float() * 2).double(), [normal(3)], "float32", "every element of the gradient"),
    "float32 value": (lambda x: x + (x.float().double() - x).detach(), [normal(3)], "noise", "computes in float32"),
    "dropout": (F.dropout, [normal(30)], "not deterministic", "tinyconv.manual_seed"),
    "counting calls": (impure(), [normal(3)], "not deterministic", "output 0 differs at the second call"),
    "writes to its input": (careless, [normal(3)], "broken contract", "the function wrote to input 0"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OTHERS)
def test_verdicts(name, mode):
    fn, inputs, expected, words = OTHERS[name]
    report = verdict(fn, inputs, mode=mode)
    assert report.verdict == expected, report
    with pytest.raises(GradcheckError, match=words):
        gradcheck(fn, inputs, mode=mode)


def test_a_kink_is_not_passed_where_the_subgradient_is_the_mean():
    """abs has gradient 0 at 0, which is what central differences give: they alone would pass it."""
    assert verdict(tc.abs, [np.zeros(3)]).verdict == "kink or tie"


def test_the_kinked_element_of_many_is_found():
    x = 1 + abs(normal(3000))
    x[1234] = 0
    report = verdict(tc.relu, [x])
    assert (report.verdict, report.worst.index) == ("kink or tie", (1234,))


def test_a_backward_that_raises():
    class Raises:
        @staticmethod
        def forward(xp, x):
            return x * 2, ()

        @staticmethod
        def backward(xp, saved, dy, needs):
            raise KeyError("oops")

    report = verdict(lambda x: tc.apply(Raises, x), [normal(3)])
    assert report.verdict == "broken contract"
    assert "backward raised KeyError: 'oops'" in report.message


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "fast"}, "mode must be 'directions' or 'jacobian', got 'fast'"),
        ({"directions": 1}, "at least 2 directions are needed, got 1"),
        ({"eps": 0}, "eps and rtol must be above 0"),
        ({"rtol": -1}, "eps and rtol must be above 0"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        gradcheck(tc.exp, [normal(3)], **options)


def test_a_function_of_arrays_is_refused():
    with pytest.raises(TypeError, match=r"must return tensors; output 0 is a ndarray: an array inside a function"):
        gradcheck(lambda x: x.detach().numpy() * 2, [normal(3)])


def test_tolerances_and_step_are_used():
    def fn(x):
        return skewed(x, 1.01).tanh()

    assert not verdict(fn, [normal(5)])
    assert verdict(fn, [normal(5)], rtol=0.1)
    assert verdict(fn, [normal(5)], atol=1.0)
    coarse, fine = (verdict(tc.exp, [normal(5)], eps=eps).error for eps in (1e-2, 1e-5))
    assert coarse > 10 * fine


def test_the_seed_is_what_chance_there_is():
    errors = [gradcheck(tc.tanh, [normal(5)], seed=seed).error for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]
    state = tc.get_rng_state()
    gradcheck(tc.tanh, [normal(5)])
    assert repr(tc.get_rng_state()) == repr(state)


def test_a_function_that_takes_gradients_itself():
    def slope(x, factor=1.0):
        return skewed(tc.grad((x.tanh() ** 2).sum(), x, create_graph=True)[0], factor)

    assert gradcheck(slope, [normal(4)])
    assert verdict(lambda x: slope(x, 1.01), [normal(4)]).verdict == "wrong gradient"


class AnOp:
    forward = backward = print


@pytest.mark.parametrize(
    ("fn", "inputs", "words"),
    [
        ("conv2d", [normal(3)], "got the name 'conv2d': give the function, .*check_op"),
        (AnOp, [normal(3)], r"AnOp is an op: use check_op\(AnOp, inputs="),
        (tc.nn.Linear, [normal(3)], "give an instance of it"),
        (tc.exp, [torch.ones(3)], r"input 0 is a torch.Tensor; give an array: x.detach\(\).numpy\(\)"),
        (lambda x: None, [normal(3)], "output 0 is a NoneType"),
    ],
)
def test_what_is_no_function_of_arrays(fn, inputs, words):
    with pytest.raises(TypeError, match=words):
        gradcheck(fn, inputs)


def test_a_number_is_no_input_with_a_gradient():
    with pytest.raises(GradcheckError, match=r"input 0 is 0.5, of type float: give np.array\(0.5\)"):
        gradcheck(tc.exp, [0.5])
