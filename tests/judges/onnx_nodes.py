"""The judge: the node cases of the ONNX standard, each of one operator with its inputs and the outputs it must give.

`tinyconv.onnx.nodes` translates an operator's attributes into a call of our functions; `RULES` says which cases are
out of scope and why; `judge(op)` asks all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from scope import DIFFERS, NOT_ASKED, Rule, Tally, rows

import tinyconv as tc
from tinyconv.check.reference import Disagreement, as_tuple, compare, largest
from tinyconv.onnx.loading import attribute
from tinyconv.onnx.nodes import DTYPES, NODES

Array = np.ndarray[Any, Any]

FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}
"""Cases whose outputs were typed in with four digits, the last of which is not always rounded."""


# --- cases ----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One node: its operator, attributes, inputs (None where one is left out), and expected outputs."""

    name: str
    op: str
    attributes: dict[str, Any]
    inputs: list[Array | None]
    outputs: list[Array]
    training: None = None

    @property
    def dtype(self) -> str:
        return self.inputs[0].dtype.name if self.inputs and self.inputs[0] is not None else "none"

    def __str__(self) -> str:
        return self.name

    def input(self, place: int) -> Array | None:
        return self.inputs[place] if len(self.inputs) > place else None

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def compare(self, node: Callable[..., Any]) -> None:
        """Raise Disagreement where the translated node gives other outputs.

        The standard allows 0.1 %. We allow only the roundings of the largest number that takes part.
        """
        tensors = [None if array is None else tc.from_numpy(array) for array in self.inputs]
        found = as_tuple(node(self, *tensors))
        if len(found) < len(self.outputs):
            raise Disagreement(f"{len(found)} outputs, expected {len(self.outputs)}")
        arrays = [array for array in (*self.inputs, *self.outputs) if array is not None and array.dtype.kind == "f"]
        magnitude = max(map(largest, arrays), default=0)
        for i, (ours, expected) in enumerate(zip(found, self.outputs, strict=False)):
            array = ours.array
            if self.name in FOUR_DIGITS:
                array = np.where(abs(array - expected) < 1e-4, expected, array)
            compare(f"output {i}", array, expected, magnitude)


@cache
def cases() -> dict[str, list[Case]]:
    """The cases of the operators in `NODES`, by operator; the same numbers each time."""
    state = np.random.get_state()  # noqa: NPY002 - they are drawn from NumPy's global generator
    np.random.seed(0)  # noqa: NPY002
    with np.errstate(all="ignore"):  # some of the outputs are infinite
        collected = collect_testcases(None)
    np.random.set_state(state)  # noqa: NPY002
    found: dict[str, list[Case]] = {op: [] for op in NODES}
    for case in collected:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in NODES and not nodes[0].domain:
            found[nodes[0].op_type].append(_case(case, nodes[0]))
    return found


def _case(case: Any, node: Any) -> Case:
    ((given, expected),) = case.data_sets
    arrays = iter(given)
    attributes = {one.name: attribute(one) for one in node.attribute}
    inputs = [_array(next(arrays)) if name else None for name in node.input]
    return Case(case.name, node.op_type, attributes, inputs, [_array(array) for array in expected])


def _array(value: Any) -> Array:
    """What a case has for a tensor: an array, or the standard's own form."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


# --- what is out of scope -------------------------------------------------------------------------------------------


POOLS = ("MaxPool", "AveragePool")


def is_volume(case: Case) -> bool:
    """Whether the case has three spatial axes."""
    x = case.inputs[0]
    if case.op in ("Col2Im", "AffineGrid"):
        sizes = case.inputs[1]
        return sizes is not None and sizes.size == (3 if case.op == "Col2Im" else 5)
    return x is not None and x.ndim == 5


def nothing_to_choose(case: Case) -> bool:
    """Whether an axis that is reduced is empty."""
    x, axes = case.inputs[0], case.input(1)
    return x is not None and axes is not None and any(x.shape[axis] == 0 for axis in axes)


def last_of_equals(case: Case) -> bool:
    """Whether the case asks for the last of equal extremes, and has equal ones."""
    x, axis = case.inputs[0], case.get("axis", 0)
    if x is None or not case.get("select_last_index"):
        return False
    extreme = x.max(axis, keepdims=True) if case.op == "ArgMax" else x.min(axis, keepdims=True)
    return bool(((x == extreme).sum(axis) > 1).any())


def fractional_corners(case: Case) -> bool:
    """Whether corners are to be aligned in a size that is not rounded down; PyTorch and onnxruntime round it down."""
    x, scales = case.inputs[0], case.input(2)
    if x is None or scales is None or case.get("coordinate_transformation_mode") != "align_corners":
        return False
    return bool((np.array(x.shape) * scales % 1 != 0).any())


KNOWN = {np.dtype(dtype).name for dtype in DTYPES.values()}


RULES = [
    Rule(
        "dtypes that no tensor here has",
        lambda c: not {c.dtype, c.outputs[0].dtype.name} <= KNOWN,
        ("Cast", "Celu", "Range"),
        (TypeError, ValueError),
    ),
    Rule("axes of a batch", lambda c: c.get("batch_dims", 0) > 0, ("GatherND",)),
    Rule("exclusive sums", lambda c: c.get("exclusive") == 1, ("CumSum",)),
    Rule(
        "three spatial axes",
        is_volume,
        (*POOLS, "Conv", "ConvTranspose", "Col2Im", "GridSample", "AffineGrid"),
        (ValueError,),
    ),
    Rule("antialiased sizes", lambda c: c.get("antialias", 0) == 1, ("Resize",)),
    Rule(
        "boxes of the image",
        lambda c: c.get("coordinate_transformation_mode") == "tf_crop_and_resize",
        ("Resize",),
    ),
    Rule("corners of a size that is no whole number", fractional_corners, ("Resize",), DIFFERS),
    Rule("places in an output of another size", lambda c: c.input(2) is not None, ("MaxUnpool",), DIFFERS),
    Rule("cubic samples of a grid", lambda c: c.get("mode") == "cubic", ("GridSample",), (ValueError,)),
    Rule("max pooling of integers", lambda c: c.dtype == "uint8", ("MaxPool",)),
    Rule("indices counted by columns", lambda c: c.get("storage_order") == 1, ("MaxPool",), DIFFERS),
    Rule("dilation of average pooling", lambda c: max(c.get("dilations", [1])) > 1, ("AveragePool",), DIFFERS),
    Rule("the extreme of no elements", nothing_to_choose, ("ReduceMax", "ReduceMin")),
    Rule("the last of equal extremes", last_of_equals, ("ArgMax", "ArgMin"), DIFFERS),
    Rule(
        "a fractional power of integers as an integer",
        lambda c: "int" in c.dtype and c.inputs[1].dtype.kind == "f",
        ("Pow",),
        DIFFERS,
    ),
    Rule("strings", lambda c: c.dtype == "object", ("Equal",)),
    Rule("random numbers", lambda c: bool(c.input(2)) and bool(c.input(1)), ("Dropout",), NOT_ASKED),
]


# --- the judgement --------------------------------------------------------------------------------------------------


def judge_op(op: str, node: Callable[..., Any]) -> list[Tally]:
    """Ask one translation all cases of an operator. Returns a tally for each dtype."""
    tallies: dict[str, Tally] = {}
    for case in cases()[op]:
        tally = tallies.setdefault(case.dtype, Tally(op, case.dtype))
        tally.ask(case, lambda case=case: case.compare(node), RULES)
    return list(tallies.values())


@cache
def judge(op: str) -> list[Tally]:
    """`judge_op` of the operator's translation, once per process."""
    return judge_op(op, NODES[op])


def judge_all() -> list[Tally]:
    return [tally for op in NODES for tally in judge(op)]


def summary() -> list[dict[str, Any]]:
    """A row for each operator and dtype: the number of cases that pass, and of those out of scope, by reason."""
    return rows(judge_all())
