"""The judge: the node cases of the ONNX standard, each of one operator with its inputs and the outputs it must give.

`NODES` translates an operator's attributes into a call of our functions; `RULES` says which cases are out of scope and
why; `judge(op)` asks all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases
from scope import DIFFERS, NOT_ASKED, Rule, Tally, rows

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.check.reference import Disagreement, as_tuple, compare, largest
from tinyconv.tensor.tensor import Tensor

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
    attributes = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    inputs = [np.asarray(next(arrays)) if name else None for name in node.input]
    return Case(case.name, node.op_type, attributes, inputs, [np.asarray(array) for array in expected])


# --- from a node's attributes to our functions ----------------------------------------------------------------------


def windows(case: Case, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations, and the padding (before, after) of each axis."""
    axes = len(kernel)
    strides, dilations = case.get("strides", [1] * axes), case.get("dilations", [1] * axes)
    auto, pads = case.get("auto_pad", "NOTSET"), case.get("pads", [0] * 2 * axes)
    if auto in ("SAME_UPPER", "SAME_LOWER"):  # as many windows as strides fit; an odd one out goes to that end
        padding = []
        for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less, more = total // 2, total - total // 2
            padding.append((less, more) if auto == "SAME_UPPER" else (more, less))
        return strides, dilations, padding
    return strides, dilations, list(zip(pads[:axes], pads[axes:], strict=True))


def padded(x: Tensor, padding: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    return F.pad(x, [n for pair in reversed(padding) for n in pair], value=value)


def conv(case: Case, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations, padding = windows(case, x, list(weight.shape[2:]))
    function = F.conv1d if len(padding) == 1 else F.conv2d
    return function(padded(x, padding), weight, bias, strides, 0, dilations, case.get("group", 1))


def conv_transpose(case: Case, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The standard takes other paddings before and after, or a size: what is left over is cut off here."""
    axes, kernel = x.ndim - 2, weight.shape[2:]
    strides, dilations = case.get("strides", [1] * axes), case.get("dilations", [1] * axes)
    extra, pads = case.get("output_padding", [0] * axes), case.get("pads", [0] * 2 * axes)
    function = F.conv_transpose1d if axes == 1 else F.conv_transpose2d
    y = function(x, weight, bias, strides, 0, 0, case.get("group", 1), dilations)
    wanted = case.get("output_shape")
    if wanted is None and case.get("auto_pad", "NOTSET") != "NOTSET":
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        total = [
            (n - 1) * s + e + (k - 1) * d + 1 - w
            for n, s, e, k, d, w in zip(x.shape[2:], strides, extra, kernel, dilations, wanted, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = less + more if case.get("auto_pad") == "SAME_UPPER" else more + less
    widths = [(-before, e - after) for before, after, e in zip(pads[:axes], pads[axes:], extra, strict=True)]
    return padded(y, widths)


def col2im(case: Case, x: Tensor, size: Tensor, block: Tensor) -> Tensor:
    ones, pads = [1] * size.numel(), case.get("pads", [0] * 2 * size.numel())
    padding = list(pads[: len(ones)])
    return F.fold(x, size.tolist(), block.tolist(), case.get("dilations", ones), padding, case.get("strides", ones))


def depth_to_space(case: Case, x: Tensor) -> Tensor:
    """The standard's two orders of channels: "CRD" is PyTorch's, "DCR" has the pixels outermost."""
    r = case.attributes["blocksize"]
    if case.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, r)
    return F.pixel_shuffle(F.channel_shuffle(x, r * r), r)


def space_to_depth(case: Case, x: Tensor) -> Tensor:
    y = F.pixel_unshuffle(x, r := case.attributes["blocksize"])
    return y if case.get("mode", "DCR") == "CRD" else F.channel_shuffle(y, y.shape[1] // r**2)


def grid_sample(case: Case, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear"}.get(case.get("mode", "linear"), case.get("mode"))
    return F.grid_sample(x, grid, mode, case.get("padding_mode", "zeros"), bool(case.get("align_corners", 0)))


def max_unpool(case: Case, x: Tensor, places: Tensor, size: Tensor | None = None) -> Tensor:
    kernel, strides = case.attributes["kernel_shape"], case.get("strides")
    return F.max_unpool2d(x, places, kernel, strides, 0, None if size is None else size.tolist())


def max_pool(case: Case, x: Tensor) -> Any:
    kernel = case.attributes["kernel_shape"]
    strides, dilations, padding = windows(case, x, kernel)
    ceil_mode, function = bool(case.get("ceil_mode", 0)), F.max_pool1d if len(kernel) == 1 else F.max_pool2d
    if all(before == after and 2 * before <= k for (before, after), k in zip(padding, kernel, strict=True)):
        halves = [before for before, _ in padding]
        y, places = function(x, kernel, strides, halves, dilations, ceil_mode, return_indices=True)
        n, c, *size = x.shape
        image = tc.arange(n * c).reshape(n, c, *[1] * len(size))
        return y, places + image * math.prod(size)  # the standard counts through the whole input
    return function(padded(x, padding, -math.inf), kernel, strides, 0, dilations, ceil_mode)


def avg_pool(case: Case, x: Tensor) -> Tensor:
    kernel, ceil_mode = case.attributes["kernel_shape"], bool(case.get("ceil_mode", 0))
    strides, _, padding = windows(case, x, kernel)
    with_pads, function = bool(case.get("count_include_pad", 0)), F.avg_pool1d if len(kernel) == 1 else F.avg_pool2d
    if all(before == after and 2 * before <= k for (before, after), k in zip(padding, kernel, strict=True)):
        return function(x, kernel, strides, [before for before, _ in padding], ceil_mode, with_pads)
    y = function(padded(x, padding), kernel, strides, 0, ceil_mode)
    if with_pads:
        return y
    return y / function(padded(tc.ones_like(x), padding), kernel, strides, 0, ceil_mode)


def gemm(case: Case, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    y = (a.T if case.get("transA") else a) @ (b.T if case.get("transB") else b) * case.get("alpha", 1.0)
    return y if c is None else y + c * case.get("beta", 1.0)


def flatten(case: Case, x: Tensor) -> Tensor:
    axis = case.get("axis", 1) % x.ndim
    return x.reshape(math.prod(x.shape[:axis]), -1)


def cross_entropy(case: Case, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
    return F.cross_entropy(x, target, weight, **loss_options(case)), F.log_softmax(x, 1)


def nll_loss(case: Case, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return F.nll_loss(x, target, weight, **loss_options(case))


def loss_options(case: Case) -> dict[str, Any]:
    return {"ignore_index": case.get("ignore_index", -100), "reduction": case.get("reduction", "mean")}


def batch_norm(case: Case, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
    training, momentum = bool(case.get("training_mode", 0)), case.get("momentum", 0.9)
    mean, var, before = mean.clone(), var.clone(), var.clone()
    y = F.batch_norm(x, mean, var, weight, bias, training, 1 - momentum, case.get("epsilon", 1e-5))
    n = x.numel() // x.shape[1]  # the standard's running variance moves to that with n, ours to that with n - 1
    moved = before * momentum + (var - before * momentum) * ((n - 1) / n)
    return y, mean, moved


def layer_norm(case: Case, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    axis, eps = case.get("axis", -1) % x.ndim, case.get("epsilon", 1e-5)
    dims = tuple(range(axis, x.ndim))
    y = F.layer_norm(x, x.shape[axis:], weight, bias, eps)
    return y, x.mean(dims, keepdim=True), (x.var(dims, correction=0, keepdim=True) + eps) ** -0.5


def pad(case: Case, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    named = range(x.ndim) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    widths, (before, after) = [(0, 0)] * x.ndim, pads.reshape(2, -1).tolist()
    for axis, *width in zip(named, before, after, strict=True):
        widths[axis] = (width[0], width[1])
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    flat = [n for width in reversed(widths) for n in width]
    return F.pad(x, flat, mode[case.get("mode", "constant")], 0.0 if value is None else value.item())


def reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A Reduce... operator: `function(x, dim, keepdim)`, with the axes as an input or an attribute, or left out."""

    def node(case: Case, x: Tensor, axes: Tensor | None = None) -> Tensor:
        dims = tuple(case.get("axes", ()) if axes is None else axes.tolist())
        if not dims and case.get("noop_with_empty_axes"):
            return x
        return function(x, dims or tuple(range(x.ndim)), bool(case.get("keepdims", 1)))

    return node


def prod(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The product along several axes, one after the other, because ours takes one."""
    for axis in sorted((dim % x.ndim for dim in dims), reverse=True):
        x = x.prod(axis, keepdim)
    return x


def arg(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda case, x: function(x, case.get("axis", 0), bool(case.get("keepdims", 1)))


def elementwise(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operator that takes tensors alone."""
    return lambda case, *tensors: function(*tensors)


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator that takes any number of tensors, applied to two at a time."""
    return lambda case, *tensors: reduce(function, tensors)


def clip(case: Case, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if low is None and high is None:
        return x
    return x.clamp(low, high)


def reshape(case: Case, x: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not case.get("allowzero"):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


def unsqueeze(case: Case, x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axis % (x.ndim + axes.numel()) for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def split(case: Case, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = case.get("axis", 0)
    if sizes is not None:
        return x.split(sizes.tolist(), axis)
    return x.split(-(-x.shape[axis] // len(case.outputs)), axis)


def expand(case: Case, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(*np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def slices(case: Case, x: Tensor, starts: Tensor, ends: Tensor, axes: Any = None, steps: Any = None) -> Tensor:
    index: list[Any] = [slice(None)] * x.ndim
    named = range(starts.numel()) if axes is None else axes.tolist()
    jumps = [1] * starts.numel() if steps is None else steps.tolist()
    for axis, start, end, step in zip(named, starts.tolist(), ends.tolist(), jumps, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def dropout(case: Case, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    p, on = 0.5 if ratio is None else ratio.item(), training is not None and bool(training.item())
    return F.dropout(x, p, on), x == x


NODES: dict[str, Callable[..., Any]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Col2Im": col2im,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "GridSample": grid_sample,
    "MaxUnpool": max_unpool,
    "AffineGrid": lambda case, theta, size: F.affine_grid(theta, size.tolist(), bool(case.get("align_corners", 0))),
    "MaxPool": max_pool,
    "AveragePool": avg_pool,
    "GlobalAveragePool": lambda case, x: F.adaptive_avg_pool2d(x, 1),
    "GlobalMaxPool": lambda case, x: F.adaptive_max_pool2d(x, 1),
    "Gemm": gemm,
    "MatMul": elementwise(Tensor.matmul),
    "Flatten": flatten,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "NegativeLogLikelihoodLoss": nll_loss,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "Dropout": dropout,
    "Pad": pad,
    "Relu": elementwise(F.relu),
    "LeakyRelu": lambda case, x: F.leaky_relu(x, case.get("alpha", 0.01)),
    "Gelu": lambda case, x: F.gelu(x, case.get("approximate", "none")),
    "Swish": lambda case, x: F.silu(x),
    "Sigmoid": elementwise(F.sigmoid),
    "Tanh": elementwise(F.tanh),
    "Softmax": lambda case, x: F.softmax(x, case.get("axis", -1)),
    "LogSoftmax": lambda case, x: F.log_softmax(x, case.get("axis", -1)),
    "Add": elementwise(Tensor.add),
    "Sub": elementwise(Tensor.sub),
    "Mul": elementwise(Tensor.mul),
    "Div": elementwise(Tensor.div),
    "Pow": elementwise(Tensor.pow),
    "Neg": elementwise(Tensor.neg),
    "Abs": elementwise(Tensor.abs),
    "Exp": elementwise(Tensor.exp),
    "Log": elementwise(Tensor.log),
    "Sqrt": elementwise(Tensor.sqrt),
    "Reciprocal": lambda case, x: 1 / x,
    "Clip": clip,
    "Sum": folded(Tensor.add),
    "Mean": lambda case, *tensors: reduce(Tensor.add, tensors) / len(tensors),
    "Max": folded(Tensor.maximum),
    "Min": folded(Tensor.minimum),
    "Where": elementwise(tc.where),
    "Equal": elementwise(Tensor.eq),
    "Less": elementwise(Tensor.lt),
    "LessOrEqual": elementwise(Tensor.le),
    "Greater": elementwise(Tensor.gt),
    "GreaterOrEqual": elementwise(Tensor.ge),
    "And": elementwise(Tensor.__and__),
    "Or": elementwise(Tensor.__or__),
    "Xor": elementwise(Tensor.__xor__),
    "Not": elementwise(Tensor.__invert__),
    "IsNaN": elementwise(Tensor.isnan),
    "ReduceSum": reduction(Tensor.sum),
    "ReduceMean": reduction(Tensor.mean),
    "ReduceMax": reduction(Tensor.amax),
    "ReduceMin": reduction(Tensor.amin),
    "ReduceProd": reduction(prod),
    "ReduceL1": reduction(lambda x, dim, keepdim: x.abs().sum(dim, keepdim)),
    "ReduceL2": reduction(lambda x, dim, keepdim: (x**2).sum(dim, keepdim).sqrt()),
    "ReduceSumSquare": reduction(lambda x, dim, keepdim: (x**2).sum(dim, keepdim)),
    "ReduceLogSum": reduction(lambda x, dim, keepdim: x.sum(dim, keepdim).log()),
    "ReduceLogSumExp": reduction(Tensor.logsumexp),
    "ArgMax": arg(Tensor.argmax),
    "ArgMin": arg(Tensor.argmin),
    "Concat": lambda case, *tensors: tc.cat(tensors, case.attributes["axis"]),
    "Transpose": lambda case, x: x.permute(case.get("perm", tuple(range(x.ndim))[::-1])),
    "Reshape": reshape,
    "Squeeze": lambda case, x, axes=None: x.squeeze(None if axes is None else axes.tolist()),
    "Unsqueeze": unsqueeze,
    "Split": split,
    "Expand": expand,
    "Slice": slices,
    "Gather": lambda case, x, places: x[(slice(None),) * case.get("axis", 0) + (places,)],
}


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


RULES = [
    Rule(
        "three spatial axes",
        is_volume,
        (*POOLS, "Conv", "ConvTranspose", "Col2Im", "GridSample", "AffineGrid"),
        (ValueError,),
    ),
    Rule("places in an output of another size", lambda c: c.input(2) is not None, ("MaxUnpool",), DIFFERS),
    Rule("cubic samples of a grid", lambda c: c.get("mode") == "cubic", ("GridSample",), (ValueError,)),
    Rule("max pooling of integers", lambda c: c.dtype == "uint8", ("MaxPool",)),
    Rule("indices counted by columns", lambda c: c.get("storage_order") == 1, ("MaxPool",), DIFFERS),
    Rule("dilation of average pooling", lambda c: max(c.get("dilations", [1])) > 1, ("AveragePool",), DIFFERS),
    Rule("the extreme of no elements", nothing_to_choose, ("ReduceMax", "ReduceMin")),
    Rule("the last of equal extremes", last_of_equals, ("ArgMax", "ArgMin"), DIFFERS),
    Rule("integer division", lambda c: "int" in c.dtype, ("Div",), DIFFERS),
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
