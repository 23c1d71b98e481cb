"""The checkers pass the right ops and refuse every mutant: the test of the tests."""

import numpy as np
import pytest
from mutants import BREACHES, DOCUMENT, MUTANTS, QUESTIONS, ask_differences, ask_torch, document, gradient, value
from oracle import FLOATS, Disagreement

import tinyconv as tc
from tinyconv import ops
from tinyconv.check import check_op

BREACH_VERDICTS = {"broken contract", "not deterministic", "float32", "wrong gradient"}
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some of the mistakes overflow


def test_every_op_has_a_mutant():
    missing = set(ops.__all__) - {mutant.op.__name__ for mutant in MUTANTS}
    assert not missing, "write a question and a mutant for each"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", QUESTIONS)
def test_the_right_op_agrees_with_torch(op, dtype):
    ask_torch(op, op, dtype)


@pytest.mark.parametrize("op", QUESTIONS)
def test_the_right_op_agrees_with_differences(op):
    report = ask_differences(op, op)
    assert report.ok, report


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_torch_refuses(mutant, dtype):
    with pytest.raises((Disagreement, tc.GraphError)):  # the tape itself refuses gradients of a wrong shape
        ask_torch(mutant.mutate(mutant.op), mutant.op, dtype)


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_differences_refuse_what_they_can_see(mutant):
    report = ask_differences(mutant.mutate(mutant.op), mutant.op)
    assert report.ok == bool(mutant.unseen), report


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.mistake)
def test_check_op_refuses_a_breach(breach):
    report = check_op(breach.op, raise_exception=False)
    assert {found.verdict for _, found in report.failures} & BREACH_VERDICTS


@pytest.mark.parametrize("op", [ops.Mul, ops.Relu])
def test_what_the_breaches_are_made_of_is_right(op):
    assert check_op(op)


@pytest.mark.parametrize("op", QUESTIONS)
def test_a_float64_among_float32_is_refused(op):
    with pytest.raises(Disagreement, match="output 0: float64"):
        ask_torch(value(lambda y: y.astype(np.float64))(op), op, np.float32)
    first, *_ = QUESTIONS[op].needs or [0]
    with pytest.raises(tc.GraphError, match="returned a gradient of float64"):
        ask_torch(gradient(first, lambda dx: dx.astype(np.float64))(op), op, np.float32)


@pytest.mark.parametrize("op", [ops.Conv2d, ops.Linear, ops.BatchNorm, ops.CrossEntropy, ops.Gelu, ops.Softmax])
def test_float32_precision_in_a_float64_is_refused(op):
    def through_float32(array):
        return array.astype(np.float32).astype(np.float64)

    for mutate in (value(through_float32), gradient(0, through_float32)):
        with pytest.raises(Disagreement):
            ask_torch(mutate(op), op, np.float64)
    assert ask_differences(gradient(0, through_float32)(op), op).verdict == "float32"
    assert not ask_differences(value(through_float32)(op), op)


def test_the_document_has_them_all():
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run PYTHONPATH=.:tests python tests/check/mutants.py"
    readme = (DOCUMENT.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"[{len(MUTANTS)} mutants](docs/mutants.md)" in readme
