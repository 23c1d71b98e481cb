"""Checking gradients: against finite differences, and against PyTorch.

    tinyconv.check.gradcheck(lambda x, w: tinyconv.functional.conv2d(x, w, padding=1), [x, w])
    tinyconv.check.check_op(MyOp, beta=2.0)
    tinyconv.check.compare_with_torch(tinyconv.Tensor.relu, torch.relu, [x])

All three raise an AssertionError that says what is wrong, so a test is one line. docs/gradcheck.md has more.
"""

from tinyconv.check.numeric import GradcheckError, Report, gradcheck
from tinyconv.check.own import OpCase, OpReport, check_op, op_cases
from tinyconv.check.reference import Agreement, Disagreement, Vacuous, compare_with_torch

__all__ = [
    "Agreement",
    "Disagreement",
    "GradcheckError",
    "OpCase",
    "OpReport",
    "Report",
    "Vacuous",
    "check_op",
    "compare_with_torch",
    "gradcheck",
    "op_cases",
]
