"""ONNX's operators as functions of ours: the table that `load` runs graphs by.

A function takes a node, of which it reads the attributes, and the node's inputs: tensors, and None where one is left
out. It returns a tensor, or a tuple of them where the node may have several outputs. The standard's own cases are put
to each (tests/judges/onnx_nodes.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Protocol

import numpy as np

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import ops
from tinyconv.errors import OnnxError
from tinyconv.tensor.tensor import Tensor, apply, wrap

DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16,
    11: np.float64,
}  # fmt: skip
"""By the numbers that `onnx.TensorProto` gives them."""


class Node(Protocol):
    """What a function is told of its node."""

    attributes: dict[str, Any]
    outputs: Sequence[Any]  # one each, so that their number is known
    training: bool | None  # the mode of the module; None where the node alone decides

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where the node has none."""


Function = Callable[..., Any]


def numbers(t: Tensor) -> list[Any]:
    """The values of a tensor that says what is to be done: a shape, axes, places. They follow from shapes alone."""
    values: list[Any] = t.array.tolist()
    return values


def value(t: Tensor) -> Any:
    """The one value of such a tensor."""
    return t.array.reshape(-1)[0].item()


# --- windows --------------------------------------------------------------------------------------------------------


def windows(node: Node, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations, and the padding (before, after) of each axis."""
    axes = len(kernel)
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    auto, pads = node.get("auto_pad", "NOTSET"), node.get("pads", [0] * 2 * axes)
    if auto in ("SAME_UPPER", "SAME_LOWER"):  # as many windows as strides fit; an odd one out goes to that end
        padding = []
        for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less, more = total // 2, total - total // 2
            padding.append((less, more) if auto == "SAME_UPPER" else (more, less))
        return strides, dilations, padding
    return strides, dilations, list(zip(pads[:axes], pads[axes:], strict=True))


def even(padding: list[tuple[int, int]], kernel: list[int] | None = None) -> list[int] | None:
    """The padding of each axis where it is the same before and after, and no more than half of a kernel; else None."""
    if any(before != after for before, after in padding):
        return None
    halves = [before for before, _ in padding]
    return None if kernel and any(2 * p > k for p, k in zip(halves, kernel, strict=True)) else halves


def padded(x: Tensor, padding: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    return F.pad(x, [n for pair in reversed(padding) for n in pair], value=value)


def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations, padding = windows(node, x, list(weight.shape[2:]))
    function: Function = F.conv1d if len(padding) == 1 else F.conv2d
    around = even(padding)
    if around is None:
        x, around = padded(x, padding), [0] * len(padding)
    return function(x, weight, bias, strides, around, dilations, node.get("group", 1))


def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The standard takes other paddings before and after, or a size: what is left over is cut off here."""
    axes, kernel = x.ndim - 2, weight.shape[2:]
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    extra, pads = node.get("output_padding", [0] * axes), node.get("pads", [0] * 2 * axes)
    function: Function = F.conv_transpose1d if axes == 1 else F.conv_transpose2d
    wanted, auto, groups = node.get("output_shape"), node.get("auto_pad", "NOTSET"), node.get("group", 1)
    if wanted is None and auto == "NOTSET" and pads[:axes] == pads[axes:]:
        return function(x, weight, bias, strides, pads[:axes], extra, groups, dilations)
    y = function(x, weight, bias, strides, 0, 0, groups, dilations)
    if wanted is None and auto != "NOTSET":
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        total = [
            (n - 1) * s + e + (k - 1) * d + 1 - w
            for n, s, e, k, d, w in zip(x.shape[2:], strides, extra, kernel, dilations, wanted, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = less + more if auto == "SAME_UPPER" else more + less
    widths = [(-before, e - after) for before, after, e in zip(pads[:axes], pads[axes:], extra, strict=True)]
    return padded(y, widths)


def col2im(node: Node, x: Tensor, size: Tensor, block: Tensor) -> Tensor:
    ones, pads = [1] * size.numel(), node.get("pads", [0] * 2 * size.numel())
    padding = list(pads[: len(ones)])
    return F.fold(x, numbers(size), numbers(block), node.get("dilations", ones), padding, node.get("strides", ones))


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """The standard's two orders of channels: "CRD" is PyTorch's, "DCR" has the pixels outermost."""
    r = node.attributes["blocksize"]
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, r)
    return F.pixel_shuffle(F.channel_shuffle(x, r * r), r)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    y = F.pixel_unshuffle(x, r := node.attributes["blocksize"])
    return y if node.get("mode", "DCR") == "CRD" else F.channel_shuffle(y, y.shape[1] // r**2)


def grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear"}.get(node.get("mode", "linear"), node.get("mode"))
    return F.grid_sample(x, grid, mode, node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0)))


def max_unpool(node: Node, x: Tensor, places: Tensor, size: Tensor | None = None) -> Tensor:
    kernel, strides = node.attributes["kernel_shape"], node.get("strides")
    return F.max_unpool2d(x, places, kernel, strides, 0, None if size is None else numbers(size))


def max_pool(node: Node, x: Tensor) -> Any:
    kernel = node.attributes["kernel_shape"]
    strides, dilations, padding = windows(node, x, kernel)
    ceil_mode, function = bool(node.get("ceil_mode", 0)), F.max_pool1d if len(kernel) == 1 else F.max_pool2d
    halves = even(padding, kernel)
    if halves is None:
        return function(padded(x, padding, -math.inf), kernel, strides, 0, dilations, ceil_mode)
    if len(node.outputs) < 2:
        return function(x, kernel, strides, halves, dilations, ceil_mode)
    y, places = function(x, kernel, strides, halves, dilations, ceil_mode, return_indices=True)
    n, c, *size = x.shape
    image = tc.arange(n * c).reshape(n, c, *[1] * len(size))
    return y, places + image * math.prod(size)  # the standard counts through the whole input


def avg_pool(node: Node, x: Tensor) -> Tensor:
    kernel, ceil_mode = node.attributes["kernel_shape"], bool(node.get("ceil_mode", 0))
    strides, _, padding = windows(node, x, kernel)
    with_pads = bool(node.get("count_include_pad", 0))
    function: Function = F.avg_pool1d if len(kernel) == 1 else F.avg_pool2d
    halves = even(padding, kernel)
    if halves is not None:
        return function(x, kernel, strides, halves, ceil_mode, with_pads)
    y: Tensor = function(padded(x, padding), kernel, strides, 0, ceil_mode)
    if with_pads:
        return y
    return y / function(padded(tc.ones_like(x), padding), kernel, strides, 0, ceil_mode)


# --- resizing -------------------------------------------------------------------------------------------------------

PLACES: dict[str, Callable[[Any, float, int, int], Any]] = {
    "half_pixel": lambda at, scale, n, m: (at + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda at, scale, n, m: n / 2 * (1 - m / (scale * n)) + (at + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda at, scale, n, m: (at + 0.5) / scale - 0.5 if m > 1 else 0 * at,
    "align_corners": lambda at, scale, n, m: at * ((n - 1) / (m - 1)) if m > 1 else 0 * at,
    "asymmetric": lambda at, scale, n, m: at / scale,
}
"""Where each of m outputs lies among n inputs, by coordinate_transformation_mode."""

ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(
    node: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Each axis in turn: every output is a weighted sum of one, two or four inputs."""
    mode, places = node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel")
    if places not in PLACES:
        raise OnnxError(f"Resize: the coordinates {places!r} are not covered; those of {', '.join(PLACES)} are")
    if node.get("antialias", 0):
        raise OnnxError("Resize: antialias is not covered")
    axes = [axis % x.ndim for axis in node.get("axes") or range(x.ndim)]
    for axis, scale, m in zip(axes, *_scales(node, [x.shape[axis] for axis in axes], scales, sizes), strict=True):
        n = x.shape[axis]
        if m == n and scale == 1:
            continue
        at = PLACES[places](np.arange(m, dtype=np.float64), scale, n, m)
        if mode == "nearest":
            taps = ROUNDINGS[node.get("nearest_mode", "round_prefer_floor")](at)[None]
            weights = np.ones_like(taps)
        else:
            taps, weights = _taps(node, mode, at)
            if node.get("exclude_outside", 0):
                weights = np.where((taps >= 0) & (taps < n), weights, 0)
                weights = weights / weights.sum(0)
        taps = taps.clip(0, n - 1).astype(np.int64)
        along = (m, *[1] * (x.ndim - axis - 1))
        parts = [x.index_select(axis, wrap(tap)) for tap in taps]
        if len(parts) > 1:
            parts = [
                part * wrap(weight.reshape(along).astype(x.dtype)) for part, weight in zip(parts, weights, strict=True)
            ]
        x = reduce(T.add, parts)
    return x


def _scales(
    node: Node, before: list[int], scales: Tensor | None, sizes: Tensor | None
) -> tuple[list[float], list[int]]:
    """The scale of each axis, and its size afterwards."""
    if sizes is None or not sizes.numel():
        if scales is None or not scales.numel():
            raise OnnxError("Resize: neither scales nor sizes are given")
        found = numbers(scales)
        return found, [math.floor(n * scale) for n, scale in zip(before, found, strict=True)]
    wanted, policy = numbers(sizes), node.get("keep_aspect_ratio_policy", "stretch")
    found = [m / n for m, n in zip(wanted, before, strict=True)]
    if policy != "stretch":
        one = min(found) if policy == "not_larger" else max(found)
        return [one] * len(found), [math.floor(n * one + 0.5) for n in before]
    return found, wanted


def _taps(node: Node, mode: str, at: Any) -> tuple[Any, Any]:
    """The inputs that take part in each output, and with what weights: two arrays (taps, outputs)."""
    first = np.floor(at)
    t = at - first
    if mode == "linear":
        return np.stack([first, first + 1]), np.stack([1 - t, t])
    a = node.get("cubic_coeff_a", -0.75)  # Keys, "Cubic convolution interpolation for digital image processing", 1981

    def near(t: Any) -> Any:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Any) -> Any:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    weights = np.stack([far(1 + t), near(t), near(1 - t), far(2 - t)])
    return np.stack([first - 1, first, first + 1, first + 2]), weights


# --- products, losses and normalisation -----------------------------------------------------------------------------


def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    a = a.T if node.get("transA") else a
    if node.get("transB") and alpha == beta == 1 and a.dtype.kind == "f" and (c is None or c.shape == b.shape[:1]):
        return F.linear(a, b, c)
    y = a @ (b.T if node.get("transB") else b) * alpha
    return y if c is None else y + c * beta


def flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis if axis == x.ndim else axis % x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def cross_entropy(node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Any:
    return F.cross_entropy(x, target, weight, **loss_options(node)), F.log_softmax(x, 1)


def nll_loss(node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return F.nll_loss(x, target, weight, **loss_options(node))


def loss_options(node: Node) -> dict[str, Any]:
    return {"ignore_index": node.get("ignore_index", -100), "reduction": node.get("reduction", "mean")}


def batch_norm(node: Node, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
    """In a module the mode decides, and running statistics move in place, as those of a layer of `nn` do."""
    momentum, eps = node.get("momentum", 0.9), node.get("epsilon", 1e-5)
    if node.training is not None or not node.get("training_mode", 0):
        return F.batch_norm(x, mean, var, weight, bias, bool(node.training), 1 - momentum, eps), mean, var
    mean, var, before = mean.clone(), var.clone(), var.clone()
    y = F.batch_norm(x, mean, var, weight, bias, True, 1 - momentum, eps)
    n = x.numel() // x.shape[1]  # the standard's running variance moves to that with n, ours to that with n - 1
    moved = before * momentum + (var - before * momentum) * ((n - 1) / n)
    return y, mean, moved


def layer_norm(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    axis, eps = node.get("axis", -1) % x.ndim, node.get("epsilon", 1e-5)
    dims = tuple(range(axis, x.ndim))
    y = F.layer_norm(x, x.shape[axis:], weight, bias, eps)
    if len(node.outputs) < 2:
        return y
    return y, x.mean(dims, keepdim=True), (x.var(dims, correction=0, keepdim=True) + eps) ** -0.5


def instance_norm(node: Node, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.group_norm(x, x.shape[1], weight, bias, node.get("epsilon", 1e-5))


def group_norm(node: Node, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Before opset 21 a group, and not a channel, has a weight."""
    groups, channels = node.attributes["num_groups"], x.shape[1]
    if weight.numel() != channels:
        weight, bias = (one.repeat_interleave(channels // groups) for one in (weight, bias))
    return F.group_norm(x, groups, weight, bias, node.get("epsilon", 1e-5))


def dropout(node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    """In a module the mode decides whether it drops."""
    p, on = 0.5 if ratio is None else value(ratio), node.training
    on = training is not None and bool(value(training)) if on is None else on
    y = F.dropout(x, p, on)
    return (y, x == x) if len(node.outputs) > 1 else y


# --- shapes ---------------------------------------------------------------------------------------------------------


def pad(node: Node, x: Tensor, pads: Tensor, fill: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    named = range(x.ndim) if axes is None else [axis % x.ndim for axis in numbers(axes)]
    widths, ends = [(0, 0)] * x.ndim, numbers(pads)
    for axis, before, after in zip(named, ends[: len(ends) // 2], ends[len(ends) // 2 :], strict=True):
        widths[axis] = (before, after)
    modes: dict[str, Any] = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    flat = [n for width in reversed(widths) for n in width]
    return F.pad(x, flat, modes[node.get("mode", "constant")], 0.0 if fill is None else value(fill))


def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    sizes = numbers(shape)
    if not node.get("allowzero"):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


def axes_of(node: Node, axes: Tensor | None) -> list[int] | None:
    """The axes that a node names, as an input or, in old opsets, an attribute."""
    found: list[int] | None = node.get("axes") if axes is None else numbers(axes)
    return found


def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze(axes_of(node, axes))


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    named = axes_of(node, axes) or []
    for axis in sorted(axis % (x.ndim + len(named)) for axis in named):
        x = x.unsqueeze(axis)
    return x


def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    if sizes is not None:
        return x.split(numbers(sizes), axis)
    return x.split(-(-x.shape[axis] // len(node.outputs)), axis)


def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(*np.broadcast_shapes(x.shape, tuple(numbers(shape))))


def slices(node: Node, x: Tensor, starts: Tensor, ends: Tensor, axes: Any = None, steps: Any = None) -> Tensor:
    index: list[Any] = [slice(None)] * x.ndim
    named = range(starts.numel()) if axes is None else numbers(axes)
    jumps = [1] * starts.numel() if steps is None else numbers(steps)
    for axis, start, end, step in zip(named, numbers(starts), numbers(ends), jumps, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def gather(node: Node, x: Tensor, places: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    if not places.ndim:  # one place: a view, as x[i] is
        return x[(slice(None),) * axis + (value(places),)]
    return x[(slice(None),) * axis + (places,)]


def gather_elements(node: Node, x: Tensor, places: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, tc.where(places < 0, places + x.shape[axis], places))


def gather_nd(node: Node, x: Tensor, places: Tensor) -> Tensor:
    if node.get("batch_dims", 0):
        raise OnnxError("GatherND: batch_dims are not covered")
    return x[places.unbind(-1)]


def shape(node: Node, x: Tensor) -> Tensor:
    return wrap(np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64))


def constant_of_shape(node: Node, sizes: Tensor) -> Tensor:
    fill = np.asarray(node.get("value", np.zeros(1, np.float32)))
    return tc.full(tuple(numbers(sizes)), fill.item(), dtype=fill.dtype)


def topk(node: Node, x: Tensor, k: Tensor) -> Any:
    return x.topk(value(k), node.get("axis", -1), bool(node.get("largest", 1)), bool(node.get("sorted", 1)))


def cast(node: Node, x: Tensor) -> Tensor:
    kind = node.attributes["to"]
    if kind not in DTYPES:
        raise OnnxError(f"Cast to data type {kind}, which no tensor here has")
    return x.to(np.dtype(DTYPES[kind]))


def cumsum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    if node.get("exclusive", 0):
        raise OnnxError("CumSum: exclusive sums are not covered")
    at = value(axis)
    sums = x.flip(at).cumsum(at).flip(at) if node.get("reverse", 0) else x.cumsum(at)
    return sums.to(x.dtype)  # those of integers are int64 here


# --- elementwise, and over axes -------------------------------------------------------------------------------------


def reduction(function: Function) -> Function:
    """A Reduce... operator: `function(x, dim, keepdim)`, with the axes as an input or an attribute, or left out."""

    def reduced(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        dims = tuple(axes_of(node, axes) or ())
        if not dims and node.get("noop_with_empty_axes"):
            return x
        return function(x, dims or tuple(range(x.ndim)), bool(node.get("keepdims", 1)))

    return reduced


T: Any = Tensor  # type checkers do not know all of its methods yet where this file is read


def prod(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The product along several axes, one after the other, because ours takes one."""
    for axis in sorted((dim % x.ndim for dim in dims), reverse=True):
        x = x.prod(axis, keepdim)
    return x


def arg(function: Function) -> Function:
    return lambda node, x: function(x, node.get("axis", 0), bool(node.get("keepdims", 1)))


def elementwise(function: Function) -> Function:
    """An operator that takes tensors alone."""
    return lambda node, *tensors: function(*tensors)


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """An operator that takes any number of tensors, applied to two at a time."""
    return lambda node, *tensors: reduce(function, tensors)


def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if low is None and high is None:
        return x
    bounds = [None if bound is None else value(bound) for bound in (low, high)]
    return x.clamp(*bounds)


def divide(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """The quotient; that of integers without its remainder, as in C."""
    return a / b if a.dtype.kind == "f" else a.div(b, rounding_mode="trunc")


def modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a.fmod(b) if node.get("fmod", 0) else a.remainder(b)


def elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node.get("alpha", 1.0))


def selu(node: Node, x: Tensor) -> Tensor:
    alpha, scale = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    return apply(ops.Elu, x, alpha=alpha, scale=scale, rate=1.0)


NODES: dict[str, Function] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Col2Im": col2im,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "GridSample": grid_sample,
    "MaxUnpool": max_unpool,
    "AffineGrid": lambda node, theta, size: F.affine_grid(theta, numbers(size), bool(node.get("align_corners", 0))),
    "MaxPool": max_pool,
    "AveragePool": avg_pool,
    "Resize": resize,
    "GlobalAveragePool": lambda node, x: F.adaptive_avg_pool2d(x, 1),
    "GlobalMaxPool": lambda node, x: F.adaptive_max_pool2d(x, 1),
    "Gemm": gemm,
    "MatMul": elementwise(T.matmul),
    "Flatten": flatten,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "NegativeLogLikelihoodLoss": nll_loss,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "Dropout": dropout,
    "Pad": pad,
    "Relu": elementwise(F.relu),
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node.get("alpha", 0.01)),
    "PRelu": lambda node, x, slope: apply(ops.Prelu, x, slope),
    "Elu": elu,
    "Selu": selu,
    "Celu": lambda node, x: F.celu(x, node.get("alpha", 1.0)),
    "Softplus": elementwise(F.softplus),
    "HardSwish": elementwise(F.hardswish),
    "HardSigmoid": lambda node, x: (x * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0, 1),
    "Mish": elementwise(F.mish),
    "Softsign": elementwise(F.softsign),
    "ThresholdedRelu": lambda node, x: tc.where(x > node.get("alpha", 1.0), x, 0.0),
    "Gelu": lambda node, x: F.gelu(x, node.get("approximate", "none")),
    "Swish": lambda node, x: F.silu(x),
    "Sigmoid": elementwise(F.sigmoid),
    "Tanh": elementwise(F.tanh),
    "Softmax": lambda node, x: F.softmax(x, node.get("axis", -1)),
    "LogSoftmax": lambda node, x: F.log_softmax(x, node.get("axis", -1)),
    "Add": elementwise(T.add),
    "Sub": elementwise(T.sub),
    "Mul": elementwise(T.mul),
    "Div": divide,
    "Pow": elementwise(T.pow),
    "Mod": modulo,
    "Neg": elementwise(T.neg),
    "Abs": elementwise(T.abs),
    "Sign": elementwise(T.sign),
    "Floor": elementwise(T.floor),
    "Ceil": elementwise(T.ceil),
    "Round": elementwise(T.round),
    "Exp": elementwise(T.exp),
    "Log": elementwise(T.log),
    "Sqrt": elementwise(T.sqrt),
    "Sin": elementwise(T.sin),
    "Cos": elementwise(T.cos),
    "Tan": elementwise(T.tan),
    "Asin": elementwise(T.asin),
    "Acos": elementwise(T.acos),
    "Atan": elementwise(T.atan),
    "Sinh": elementwise(T.sinh),
    "Cosh": elementwise(T.cosh),
    "Atanh": lambda node, x: (x.log1p() - (-x).log1p()) / 2,
    "Erf": elementwise(T.erf),
    "Reciprocal": lambda node, x: 1 / x,
    "Clip": clip,
    "Sum": folded(T.add),
    "Mean": lambda node, *tensors: reduce(T.add, tensors) / len(tensors),
    "Max": folded(T.maximum),
    "Min": folded(T.minimum),
    "Where": elementwise(tc.where),
    "Equal": elementwise(T.eq),
    "Less": elementwise(T.lt),
    "LessOrEqual": elementwise(T.le),
    "Greater": elementwise(T.gt),
    "GreaterOrEqual": elementwise(T.ge),
    "And": elementwise(T.__and__),
    "Or": elementwise(T.__or__),
    "Xor": elementwise(T.__xor__),
    "Not": elementwise(T.__invert__),
    "BitwiseAnd": elementwise(T.__and__),
    "BitwiseOr": elementwise(T.__or__),
    "BitwiseXor": elementwise(T.__xor__),
    "BitwiseNot": elementwise(T.__invert__),
    "IsNaN": elementwise(T.isnan),
    "ReduceSum": reduction(T.sum),
    "ReduceMean": reduction(T.mean),
    "ReduceMax": reduction(T.amax),
    "ReduceMin": reduction(T.amin),
    "ReduceProd": reduction(prod),
    "ReduceL1": reduction(lambda x, dim, keepdim: x.abs().sum(dim, keepdim)),
    "ReduceL2": reduction(lambda x, dim, keepdim: (x**2).sum(dim, keepdim).sqrt()),
    "ReduceSumSquare": reduction(lambda x, dim, keepdim: (x**2).sum(dim, keepdim)),
    "ReduceLogSum": reduction(lambda x, dim, keepdim: x.sum(dim, keepdim).log()),
    "ReduceLogSumExp": reduction(T.logsumexp),
    "ArgMax": arg(T.argmax),
    "ArgMin": arg(T.argmin),
    "CumSum": cumsum,
    "Concat": lambda node, *tensors: tc.cat(tensors, node.attributes["axis"]),
    "Transpose": lambda node, x: x.permute(node.get("perm", tuple(range(x.ndim))[::-1])),
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Split": split,
    "Expand": expand,
    "Slice": slices,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "TopK": topk,
    "Tile": lambda node, x, repeats: x.tile(*numbers(repeats)),
    "Range": lambda node, start, limit, delta: tc.arange(value(start), value(limit), value(delta), dtype=start.dtype),
    "Shape": shape,
    "ConstantOfShape": constant_of_shape,
    "Cast": cast,
    "Identity": lambda node, x: x,
}
