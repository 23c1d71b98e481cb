"""PyTorch's samples of the ops we share: answered as torch does, gradients too, or put out of scope by a rule."""

import pytest

pytest.importorskip("expecttest", reason="torch's op database needs expecttest")

import torch
from opinfo import DTYPES, OURS, RANDOM, RULES, Ours, judge, judge_all, judge_op, op_db, summary, supported
from scope import REFUSED, Rule, Tally, unused

import tinyconv as tc

torch.set_num_threads(1)  # the samples are tiny

# An even kernel with padding="same" costs torch a copy, of which it warns. Where the shapes of input and target differ,
# torch and tinyconv both warn, and both broadcast.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
    pytest.mark.filterwarnings("ignore:(mse|l1)_loss. input is .* they are broadcast:UserWarning"),
    pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter:UserWarning"),
    pytest.mark.filterwarnings("ignore:Using a target size .* is different to the input size:UserWarning"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("op", "dtype"), [(op, d) for op in OURS for d in DTYPES if supported(op, d)])
def test_samples_are_answered_as_torch_does(op, dtype):
    tally = judge(op, dtype)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.passed or tally.out_of_scope


def test_no_op_that_is_shared_is_left_out():
    here = {*tc.__all__, *tc.functional.__all__, *dir(tc.zeros(1))} - {"trace"}  # of the tape; torch's is of a matrix
    shared = {info.name for info in op_db if info.name.removeprefix("nn.functional.") in here}
    assert shared - set(OURS) == RANDOM


@pytest.mark.slow
def test_every_op_of_the_table_is_asked_something():
    answered = {tally.op for tally in judge_all() if tally.passed}
    assert set(OURS) == answered


@pytest.mark.slow
def test_every_rule_is_met():
    assert unused(RULES, judge_all()) == []


@pytest.mark.slow
def test_the_summary_adds_up():
    rows = summary()
    assert len({(row["op"], row["dtype"]) for row in rows}) == len(rows)
    assert sum(row["passed"] for row in rows) > 6000
    assert {reason for row in rows for reason in row["out_of_scope"]} == {rule.reason for rule in RULES}


# --- the judge is judged --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("add", lambda x, y, alpha=1: x.add(y, alpha=alpha) + 1e-4),
        ("exp", lambda x: x.exp().detach() + 0 * x),
        ("sum", lambda x, dim=None, keepdim=False: x.sum(dim, keepdim=not keepdim)),
        ("amax", lambda x, dim=None, keepdim=False: x.float().amax(dim, keepdim)),
        ("max", lambda x, *a, **k: x.min(*a, **k)),
        ("nn.functional.relu", lambda x: tc.functional.leaky_relu(x, 1e-3)),
        ("nn.functional.pad", lambda x, pad, mode="constant", value=0: tc.functional.pad(x, pad, mode, value=1.0)),
    ],
)
def test_a_wrong_answer_is_a_fault(op, wrong):
    assert judge_op(op, "float64", Ours(wrong, OURS[op].magnitude)).faults


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp", "tanh"])
def test_a_wrong_answer_to_integers_is_a_fault(op):
    """Integers allow the rounding of what is computed from them: 64 units in the last place of 9 are 7e-5."""
    right = OURS[op].function
    assert not judge_op(op, "int64", OURS[op]).faults
    assert judge_op(op, "int64", Ours(lambda x, *args, **kwargs: right(x, *args, **kwargs) + 2e-4, 1)).faults


def test_a_rule_that_covers_what_is_answered_is_a_fault():
    tally = Tally("add", "float32")
    sample = Sum("add", "float32")
    tally.ask(sample, lambda: None, [Rule("sums", lambda s: True)])
    assert tally.faults == [f"{sample}: is answered rightly, so it is not out of scope: sums"]


def test_an_error_that_is_not_a_refusal_is_not_swallowed():
    def crash():
        raise ZeroDivisionError

    for rules in ([], [Rule("sums", lambda s: True)]):
        with pytest.raises(ZeroDivisionError):
            Tally("add", "float32").ask(Sum("add", "float32"), crash, rules)
    assert not issubclass(ZeroDivisionError, REFUSED)


class Sum:
    def __init__(self, op, dtype):
        self.op, self.dtype = op, dtype

    def __str__(self):
        return f"{self.op} of {self.dtype}"
