"""The judge of float16: what PyTorch makes of the same numbers in float64, rounded once.

Float16 has ten bits and ends at 65504. Ops compute in float32 and round their result (`tinyconv.engine.wide`), so it is
right to a few roundings of itself, however large the numbers are that were squared and summed on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check import reference
from tinyconv.check.reference import Array, Disagreement, Vacuous, as_tuple
from tinyconv.testing.case import Case

FLOAT16 = np.dtype(np.float16)
HALF_ROUNDINGS = 4
"""Units in the last place of a float16 result that a few rounded steps may put it off by."""
SCALES = (1, 200)
"""What the first input is multiplied by: of numbers about 200, two squares fit into float16 and three do not."""
IN_STEPS = frozenset({"nn.BatchNorm", "pad", "mul", "mul_", "lp_pool1d", "lp_pool2d"})
"""What is rounded to float16 after each of several steps, as in PyTorch: running statistics, the padding of one axis
after the other, the powers that a pooling sums, and dy * b before it is summed where b was broadcast. Terms are
rounded there, and none may be too large."""

PROBABILITIES = frozenset({"binary_cross_entropy"})
"""What refuses an input above 1, and so every larger scale."""


def in_float16(case: Case, scale: float) -> Case:
    """The case with its floating-point inputs in float16, the first of them multiplied by `scale`."""
    with np.errstate(all="ignore"):
        inputs = [x.astype(FLOAT16) if x.dtype.kind == "f" else x for x in case.inputs]
        if inputs[0].dtype == FLOAT16:
            inputs[0] = inputs[0] * FLOAT16.type(scale)
    return replace(case, inputs=inputs)


def compare_in_float16(name: str, case: Case) -> float:
    """Check that values and gradients of a case in float16 are what PyTorch has for them in float64.

    Returns the worst error in roundings. Raises Disagreement with the first difference, and Vacuous where no input is
    floating point.
    """
    floats = [i for i, x in enumerate(case.inputs) if x.dtype.kind == "f"]
    if not floats:
        raise Vacuous("no input is floating point")
    needs = [] if not case.differentiable else floats if case.needs is None else list(case.needs)
    leaves = [tc.tensor(x).requires_grad_(i in needs) for i, x in enumerate(case.inputs)]
    outputs = as_tuple(case.function()(*leaves))
    exact = [x.astype(np.float64) if i in floats else x for i, x in enumerate(case.inputs)]
    exact_leaves = [reference._to_torch(x).requires_grad_(i in needs) for i, x in enumerate(exact)]
    expected = as_tuple(case.torch_function()(*exact_leaves))
    _compare_dtypes(case, outputs)

    recorded = [i for i, y in enumerate(expected) if y.requires_grad]
    rng = np.random.default_rng(len(floats))
    cotangents = [np.asarray(rng.standard_normal(outputs[i].shape), FLOAT16) for i in recorded]
    for i, dy in zip(recorded, cotangents, strict=True):
        outputs[i].backward(tc.tensor(dy, dtype=outputs[i].dtype), retain_graph=True)
    wide = [dy.astype(np.float64) for dy in cotangents]
    grads = reference._gradients(expected, exact_leaves, needs, recorded, wide) if recorded else []
    of_values, of_grads = reference._magnitudes(
        case.magnitude, case.torch_function(), exact, needs if recorded else (), recorded, wide, grads
    )
    terms = HALF_ROUNDINGS if name in IN_STEPS else 0
    worst = 0.0
    for k, (y, truth) in enumerate(zip(outputs, expected, strict=True)):
        worst = max(worst, _compare(f"output {k}", y.array, truth.detach().numpy(), _number(of_values, k), terms))
    for k, grad in enumerate(grads):
        found = leaves[needs[k]].grad
        if (found is None) != (grad is None):
            raise Disagreement(f"gradient of input {needs[k]}: {found}, expected {grad}")
        if found is not None:
            worst = max(worst, _compare(f"gradient {needs[k]}", found.array, grad, _number(of_grads, k), terms))
    return worst


def _number(magnitudes: Any, k: int) -> Any:
    return magnitudes[k] if isinstance(magnitudes, list) else magnitudes


def _compare_dtypes(case: Case, outputs: Sequence[Any]) -> None:
    """Outputs have the dtypes that PyTorch gives for float16; where it has no such function, they are float16."""
    try:
        expected = as_tuple(case.torch_function()(*map(reference._to_torch, case.inputs)))
        wanted = [str(y.dtype).removeprefix("torch.") for y in expected]
    except RuntimeError:
        wanted = ["float16" if y.is_floating_point() else y.dtype.name for y in outputs]
    if [y.dtype.name for y in outputs] != wanted:
        raise Disagreement(f"outputs are {[y.dtype.name for y in outputs]}, expected {wanted}")


def _compare(what: str, found: Array, truth: Array, magnitude: Any, terms: float) -> float:
    """Compare one array with the truth. An infinity stands for what float16 cannot hold.

    Allowed are roundings of the result, `terms` of its terms, and what float32 loses of these.
    """
    if found.shape != truth.shape or (found.dtype.kind == "f") != (truth.dtype.kind == "f"):
        raise Disagreement(f"{what}: {reference.describe(found)}, expected {reference.describe(truth)}")
    if found.dtype.kind != "f":
        return reference.compare(what, found.astype(truth.dtype), truth)
    half, limits = np.finfo(FLOAT16), np.finfo(np.float32)
    ours = found.astype(np.float64)
    with np.errstate(all="ignore"):
        lost = np.asarray(magnitude) * (terms * float(half.eps) + reference.ROUNDINGS * float(limits.eps))
        allowed = HALF_ROUNDINGS * (float(half.eps) * abs(truth) + float(half.smallest_subnormal)) + lost
        too_large = abs(truth) + allowed > float(half.max)
        error = np.where((ours == truth) | (np.isnan(ours) & np.isnan(truth)), 0, abs(ours - truth) / allowed)
        error = np.where(too_large & np.isinf(ours) & (np.sign(ours) == np.sign(truth)), 0, error)
    if not (error <= 1).all():  # NaN is not
        first = tuple(int(i) for i in np.argwhere(~(error <= 1))[0])
        raise Disagreement(f"{what}: at {first} {ours[first]}, expected {truth[first]} to {allowed[first]:.2g}")
    return float(error.max(initial=0)) * HALF_ROUNDINGS
