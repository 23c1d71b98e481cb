"""check_op finds shapes from the signature alone, finds mistakes, and says clearly where it cannot go on."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import ops
from tinyconv.check import GradcheckError, check_op, op_cases


class Softplus:
    @staticmethod
    def forward(xp, x, *, beta):
        return xp.logaddexp(xp.zeros_like(x), beta * x) / beta, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, beta):
        (x,) = saved
        return (dy / (1 + xp.exp(-beta * x)),)


class BetaForgotten(Softplus):
    @staticmethod
    def backward(xp, saved, dy, needs, *, beta):
        return Softplus.backward(xp, saved, dy, needs, beta=1.0)


RIGHT = [
    (Softplus, {"beta": 2.0}),
    (ops.Add, {}),
    (ops.Log, {}),
    (ops.Cat, {"axis": 0}),
    (ops.Matmul, {}),
    (ops.Linear, {}),
    (ops.Conv2d, {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}),
    (ops.LayerNorm, {"shape": (4,), "eps": 1e-5}),
    (ops.Softmax, {"axis": 0}),
    (ops.MaxPool2d, {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}),
    (tc.functional.cross_entropy, {}),
    (lambda x, width=1.0: (-((x / width) ** 2)).exp(), {"width": 2.0}),
]


@pytest.mark.parametrize(("op", "geometry"), RIGHT)
def test_right_ops_pass(op, geometry):
    report = check_op(op, **geometry)
    assert report.ok
    assert report.failures == []
    assert 0 < report.error < 1e-6


def shapes_of(op, **options):
    return [case.shapes for case in op_cases(op, **options)]


def test_what_is_drawn():
    assert shapes_of(Softplus, beta=2.0) == ["(3,4)", "()", "(5,)", "(2,3,4)", "(2,4,5,6)", "(2,4,6,6)", "(0,3)"]
    assert {"(3,4) (3,4)", "(3,4) (4,)", "(5,) ()"} <= set(shapes_of(ops.Add))
    assert shapes_of(ops.Matmul)[0] == "(3,4) (4,4)"
    assert "(2,4,5,6) (4,4,3,3) (4,)" in shapes_of(ops.Conv2d, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    assert {shapes.count("(") for shapes in shapes_of(ops.Cat, axis=0)} == {1, 2}
    assert "()" not in shapes_of(ops.Softmax, axis=0), "1 whatever the input: nothing to learn from"
    assert shapes_of(ops.Add, cases=2) == ["(3,4) (3,4)", "(3,4) (4,)"]
    assert shapes_of(ops.Add, shapes=[(2, 1), (1, 3)]) == ["(2,1) (1,3)"]


def test_a_function_that_needs_positive_numbers_gets_them():
    assert all((case.inputs[0] > 0).all() for case in op_cases(ops.Log))


def test_the_seed_is_what_chance_there_is():
    first, same, other = (op_cases(Softplus, beta=1.0, seed=seed)[0].inputs[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("case", op_cases(Softplus, beta=2.0), ids=str)
def test_as_one_writes_it_with_pytest(case):
    assert case.check()
    assert str(case) == f"Softplus {case.shapes}"


def test_a_mistake_is_reported_with_the_table():
    with pytest.raises(GradcheckError) as caught:
        check_op(BetaForgotten, beta=2.0)
    lines = str(caught.value).splitlines()
    assert lines[0] == "BetaForgotten: FAILED, 7 cases"
    assert lines[1].split() == ["(3,4)", "8.5e-01", "wrong", "gradient"]
    assert lines[7].split() == ["(0,3)", "0.0e+00", "ok"]
    assert lines[8] == "with (3,4), BetaForgotten: wrong gradient"
    assert lines[9].startswith("  input 0, shape (3, 4), at [")
    assert caught.value.report.verdict == "wrong gradient"
    report = check_op(BetaForgotten, beta=2.0, raise_exception=False)
    assert not report
    assert len(report.failures) == 6
    with pytest.raises(GradcheckError, match="wrong gradient"):
        report.cases[0].check()


def test_beta_1_hides_it():
    assert check_op(BetaForgotten, beta=1.0), "so the test above is refused for beta alone"


def test_given_inputs():
    logits, target = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    geometry = {"ignore_index": -1, "reduction": "mean"}
    assert check_op(ops.NllLoss, inputs=[logits, target, None], **geometry).cases[0].shapes == "(5,3) (5,) None"
    x, w, b = np.random.default_rng(1).standard_normal((4, 3)), np.array([1.0, 2, 3]), np.zeros(3)
    with pytest.warns(UserWarning, match="BatchNorm: output 1, 2 is floating point and has no gradient"):
        assert check_op(ops.BatchNorm, inputs=[x, w, b, None, None], eps=0.1)


@pytest.mark.parametrize(
    ("op", "options", "words"),
    [
        (Softplus, {}, r"Softplus needs beta: check_op\(Softplus, beta=\.\.\.\)"),
        (Softplus, {"beta": 1.0, "gamma": 2}, "Softplus has no option gamma; it has beta"),
        (ops.Add, {"axis": 0}, "Add has no option axis; it has none"),
        (3, {}, "int is neither an op nor a function of tensors: it has no forward and no backward"),
        (type("Half", (), {"forward": print}), {}, "Half is neither an op .*: it has no backward"),
        (lambda: tc.zeros(1), {}, "takes no arrays"),
    ],
)
def test_what_is_not_called_like_that(op, options, words):
    with pytest.raises(TypeError, match=words):
        check_op(op, **options)


def test_what_no_shapes_can_be_found_for():
    with pytest.raises(
        tc.ShapeError, match=r"(?s)NllLoss takes none of the \d+ combi.* \(5,\): .*give shapes=.*inputs="
    ):
        check_op(ops.NllLoss, ignore_index=-1, reduction="mean")
    with pytest.raises(tc.ShapeError, match="all: the output does not depend on the input"):
        check_op(lambda x: x * 0)
    with pytest.raises(tc.ShapeError, match="the output is not finite, for normal and for positive numbers"):
        check_op(lambda x: x / 0)


def test_a_mistake_in_float32_alone():
    class Coarse:
        @staticmethod
        def forward(xp, x):
            return x * (1 if x.dtype == np.float64 else 1.5), ()

        @staticmethod
        def backward(xp, saved, dy, needs):
            return (dy,)

    with pytest.raises(GradcheckError, match="the output differs in float32, by more than its rounding"):
        check_op(Coarse)


# --- what would pass for nothing -------------------------------------------------------------------------------------


class Scaled:
    """y = w x, or x without a w; and dw is wrong."""

    @staticmethod
    def forward(xp, x, w=None):
        return (x if w is None else x * w), (x, w)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, w = saved
        return (dy, None) if w is None else (dy * w, 2 * dy * x)


class ScaledCounting(Scaled):
    @staticmethod
    def backward(xp, saved, dy, needs):
        return Scaled.backward(xp, saved, dy, needs)[: len(needs)]


@pytest.mark.parametrize("op", [Scaled, ScaledCounting])
def test_an_array_that_may_be_left_out_is_drawn_with_and_without(op):
    report = check_op(op, shapes=[(3, 4)], raise_exception=False)
    assert report.ok, report
    report = check_op(op, raise_exception=False)
    assert not report.ok
    assert {case.shapes.count("(") for case in report.cases} == {1, 2}
    assert {case.shapes.count("(") for case, _ in report.failures} == {2}
    with pytest.warns(UserWarning, match=r"input 1 \(w\) was never given"):
        check_op(op, cases=1)


def test_an_array_that_is_never_taken_is_no_pass():
    class Picky(Scaled):
        @staticmethod
        def forward(xp, x, w=None):
            assert w is None or w.shape == (77,), "77 weights"
            return Scaled.forward(xp, x, w)

    with pytest.raises(tc.ShapeError, match=r"input 1 \(w\) was never given, so nothing is known"):
        check_op(Picky)


class Replayed:
    """Wrong where there are four axes."""

    @staticmethod
    def forward(xp, x):
        return x * x, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (dy * x * (2 + (x.ndim == 4)),)


def test_a_failure_is_replayed_by_the_call_it_prints():
    report = check_op(Replayed, seed=5, raise_exception=False)
    _, found = report.failures[0]
    assert f"to replay it: {found.replay}" in str(report)
    with pytest.raises(GradcheckError) as caught:
        eval(found.replay, {"check_op": check_op, "Replayed": Replayed})
    assert caught.value.report == found
    assert repr(report) == str(report)


# --- users' mistakes ------------------------------------------------------------------------------------------------


class NoSaved:
    @staticmethod
    def forward(xp, x):
        return x * 2

    backward = Scaled.backward


class NotStatic:
    def forward(self, xp, x):
        return x, ()

    def backward(self, xp, saved, dy, needs):
        return (dy,)


class TorchStyle:
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, dy):
        return dy


class Misspelt(Scaled):
    @staticmethod
    def forward(xp, x):
        return xp.tahn(x), ()


@pytest.mark.parametrize(
    ("op", "options", "words"),
    [
        (NoSaved, {}, "NoSaved.forward must return two things, y and what backward needs.* one ndarray"),
        (NotStatic, {}, "NotStatic.forward takes self: put @staticmethod above it"),
        (TorchStyle, {}, "TorchStyle.forward takes ctx, as a torch.autograd.Function does"),
        (Replayed(), {}, r"an op is a class, not an instance of it: check_op\(Replayed"),
        (lambda x: 3, {}, "must return a tensor, or several; it returned 3"),
        (tc.nn.Linear, {}, "Linear is a class of modules: give an instance of it"),
        (Replayed, {"shapes": 5}, r"a shape for each array, as in shapes=\[\(2, 3\)\], got 5"),
        (Replayed, {"shapes": [(2,), (2,)]}, "Replayed takes 1, got 2"),
        (Replayed, {"x": 3}, "x of Replayed is an array, not an option"),
    ],
)
def test_mistakes_are_named(op, options, words):
    with pytest.raises(TypeError, match=words):
        check_op(op, **options)


def test_an_error_in_forward_is_shown_with_its_line():
    words = r"all: forward raised AttributeError: .*tahn.* at test_check_own.py:\d+: return xp.tahn\(x\), \(\)"
    with pytest.raises(tc.ShapeError, match=words):
        check_op(Misspelt)


def test_an_error_in_backward_is_shown_with_its_line_and_once():
    class Fails(Replayed):
        @staticmethod
        def backward(xp, saved, dy, needs):
            return (undefined,)  # noqa: F821

    text = str(check_op(Fails, raise_exception=False))
    assert "backward raised NameError: name 'undefined' is not defined at test_check_own.py:" in text
    assert text.count("broken contract") <= 3, text


def test_modules_are_checked_with_their_parameters():
    assert check_op(tc.nn.Linear(3, 4), shapes=[(5, 3)])
    assert check_op(tc.nn.Tanh())


def test_little_that_was_taken_is_told():
    class Pairs(Replayed):
        @staticmethod
        def forward(xp, x):
            assert x.shape == (5,), "five"
            return Replayed.forward(xp, x)

    assert "only (5,) was checked: 6 other combinations of shapes were refused" in str(
        check_op(Pairs, raise_exception=False)
    )
