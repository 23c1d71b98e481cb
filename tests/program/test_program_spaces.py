"""Every public op in a captured step: a replay on other values gives what the op gives, and the same gradients."""

import re

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.check.draw import RandomDraw
from tinyconv.check.reference import as_tuple
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

DEPENDS = "whose result has a shape that depends on values"
REFUSED = {
    "__getitem__": "picks elements by a mask|takes NumPy or Python data|reads values of a tensor of shape",
    "__setitem__": "picks elements by a mask|takes NumPy or Python data|reads values of a tensor of shape",
    "arange": "reads values of a tensor of shape",  # its space asks a tensor for the number it holds
    "nn.BatchNorm": "reads values of a tensor of shape",  # with momentum=None it divides by a count
    "one_hot": f"calls one_hot, {DEPENDS}.*; name num_classes",
    "repeat_interleave": f"calls repeat_interleave, {DEPENDS}.*; repeat by an int",  # where a tensor has the repeats
    "allclose": r"reads values of a tensor of shape \(\)",  # what it gives is a bool of the host, as equal's is
    "equal": r"reads values of a tensor of shape \(\)",
    "masked_select": r"picks elements by a mask|reads values of a tensor of shape \(\)",
    "argwhere": f"calls nonzero, {DEPENDS}",
    "bincount": f"calls bincount, {DEPENDS}",
    "masked_scatter": f"calls nonzero, {DEPENDS}",  # it counts the elements of its mask
    "masked_scatter_": f"calls nonzero, {DEPENDS}",
    "nonzero": f"calls nonzero, {DEPENDS}",
    "unique": f"calls unique, {DEPENDS}",
    "unique_consecutive": f"calls unique_consecutive, {DEPENDS}",
}
"""Ops that a captured step may refuse, and the reasons."""
NEVER_REPLAYED = {
    "arange", "allclose", "equal", "masked_select", "argwhere", "bincount", "masked_scatter", "masked_scatter_",
    "nonzero", "unique", "unique_consecutive",
}  # fmt: skip
"""Those that it refuses whatever their arguments."""
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}


class Step:
    """A case as a step: its arguments are written into tensors outside, which have gradients."""

    def __init__(self, case):
        self.function = case.function()
        floating = [i for i, array in enumerate(case.inputs) if array.dtype.kind == "f"]
        needs = floating if case.needs is None else case.needs
        self.leaves = [
            tc.tensor(array).requires_grad_(case.differentiable and i in needs) for i, array in enumerate(case.inputs)
        ]

    def __call__(self, *arguments):
        for leaf, value in zip(self.leaves, arguments, strict=True):
            leaf.grad = None
            with tc.no_grad():
                leaf[...] = value
        outputs = [y for y in as_tuple(self.function(*self.leaves)) if isinstance(y, tc.Tensor)]
        for y in outputs:
            if y.requires_grad:
                y.backward(tc.ones_like(y), retain_graph=True)
        return outputs, [leaf.grad for leaf in self.leaves if leaf.grad is not None]


def turned(case):
    """Other inputs of the same kind: the same numbers, from the last to the first."""
    return [tc.tensor(np.flip(array).copy()) for array in case.inputs]


def differences(name, seeds):
    """Captured and eager, on values that were not recorded; whether there was a program."""
    replayed = 0
    for seed in range(seeds):
        case = draw_case(name, RandomDraw(seed))
        first, second = [tc.tensor(array.copy()) for array in case.inputs], turned(case)
        try:
            expected = Step(case)(*second)
        except tc.TinyconvError:
            continue  # the other values are not in its space
        run = tc.capture(Step(case))
        try:
            for arguments in (first, first, first):
                run(*arguments)
        except tc.CaptureError as error:
            if name not in REFUSED or not re.search(REFUSED[name], str(error)):
                raise AssertionError(f"{name}, seed {seed}: {case!r}") from error
            continue
        assert run.to_dict()["state"] == "replayed"
        replayed += 1
        found = run(*second)
        for ours, theirs in zip(found[0] + found[1], expected[0] + expected[1], strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            tolerance = TOLERANCE.get(str(ours.dtype), 0)
            scale = float(np.max(np.abs(theirs.numpy()), initial=0, where=np.isfinite(theirs.numpy())))
            np.testing.assert_allclose(
                ours.numpy(), theirs.numpy(), tolerance, tolerance * scale, err_msg=f"{name}, seed {seed}: {case!r}"
            )
    return replayed


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_replay_gives_what_the_op_gives(name):
    assert (differences(name, 12) > 0) == (name not in NEVER_REPLAYED)
