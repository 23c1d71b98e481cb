"""check_op: shapes found from the signature alone, mistakes found, and clear words where it cannot go on."""

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
    assert shapes_of(Softplus, beta=2.0) == ["(3,4)", "()", "(5,)", "(2,3,4)", "(2,4,5,6)", "(0,3)"]
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
    assert lines[0] == "BetaForgotten: FAILED, 6 cases"
    assert lines[1].split() == ["(3,4)", "8.5e-01", "wrong", "gradient"]
    assert lines[6].split() == ["(0,3)", "0.0e+00", "ok"]
    assert lines[7] == "with (3,4), BetaForgotten: wrong gradient"
    assert lines[8].startswith("  input 0, shape (3, 4), at [")
    assert caught.value.report.verdict == "wrong gradient"
    report = check_op(BetaForgotten, beta=2.0, raise_exception=False)
    assert not report
    assert len(report.failures) == 5
    with pytest.raises(GradcheckError, match="wrong gradient"):
        report.cases[0].check()


def test_beta_1_hides_it():
    assert check_op(BetaForgotten, beta=1.0), "so the test above is refused for beta alone"


def test_given_inputs():
    logits, target = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    geometry = {"ignore_index": -1, "reduction": "mean"}
    assert check_op(ops.NllLoss, inputs=[logits, target, None], **geometry).cases[0].shapes == "(5,3) (5,) None"
    x, w, b = np.random.default_rng(1).standard_normal((4, 3)), np.array([1.0, 2, 3]), np.zeros(3)
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
    with pytest.raises(tc.ShapeError, match=r"NllLoss takes none of the \d+ combinations .*; say shapes=.*inputs="):
        check_op(ops.NllLoss, ignore_index=-1, reduction="mean")
    with pytest.raises(tc.ShapeError, match="first was refused with the output does not depend on the input"):
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

    with pytest.raises(GradcheckError, match="the output is another in float32, by more than its rounding"):
        check_op(Coarse)
