"""The ONNX standard's cases of the operators we share: our outputs are right, or a rule puts the case out of scope."""

import pytest

pytest.importorskip("onnx", reason="the cases of the ONNX standard come with onnx")

from onnx_nodes import NODES, RULES, cases, judge, judge_all, judge_op, summary
from scope import unused

import tinyconv as tc
from tinyconv import functional as F


@pytest.mark.slow
@pytest.mark.parametrize("op", NODES)
def test_cases_give_the_outputs_they_must(op):
    for tally in judge(op):
        assert not tally.faults, "\n".join(tally.faults)


@pytest.mark.slow
@pytest.mark.parametrize("op", NODES)
def test_every_operator_has_a_case_that_passes(op):
    assert sum(tally.passed for tally in judge(op)) > 0


@pytest.mark.slow
def test_every_rule_is_met():
    assert unused(RULES, judge_all()) == []


@pytest.mark.slow
def test_the_summary_adds_up():
    rows = summary()
    assert len({(row["op"], row["dtype"]) for row in rows}) == len(rows)
    asked = sum(row["passed"] + sum(row["out_of_scope"].values()) for row in rows)
    assert asked == sum(map(len, cases().values())) > 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("Relu", lambda case, x: F.leaky_relu(x, 1e-3)),
        ("MatMul", lambda case, a, b: a @ b * (1 + 1e-5)),
        ("Conv", lambda case, x, weight: F.conv2d(x, weight, None, case.get("strides", 1))),  # without its padding
        ("ReduceSum", lambda case, x, axes=None: NODES["ReduceMean"](case, x, axes)),
        ("Concat", lambda case, *tensors: tc.cat(tensors[::-1], case.attributes["axis"])),
        ("NegativeLogLikelihoodLoss", lambda case, x, y, weight=None: NODES["NegativeLogLikelihoodLoss"](case, x, y)),
        ("ArgMax", lambda case, x: x.argmax(case.get("axis", 0), bool(case.get("keepdims", 1))).int()),
    ],
)
def test_a_wrong_answer_is_a_fault(op, wrong):
    assert any(tally.faults for tally in judge_op(op, wrong))
