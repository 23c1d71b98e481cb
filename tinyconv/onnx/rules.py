"""Which ONNX nodes each op becomes: the table that `export` writes graphs by.

A rule is given the writer, the op's operands (tensors of the graph, numbers, None) and its geometry. Where ONNX has no
such operator, the nodes repeat the op's own arithmetic in its order, so that a graph that is loaded gives the same
bits; where they cannot (the logarithm of a sum of two powers, windows of adaptive pooling), the same to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.errors import OnnxError
from tinyconv.onnx.traced import Count, Sizes
from tinyconv.onnx.writer import Arg, Rule, Writer
from tinyconv.ops.pool import counted, output_size, rim
from tinyconv.shapes import adaptive_bounds, product

RULES: dict[Any, Rule] = {}
"""The rule of each op."""
COMPUTED: dict[str, Rule] = {}
"""The rule of each function outside the tape, by its name."""


def rule(*of: Any) -> Callable[[Rule], Rule]:
    """Register a rule for ops, or, under its name, for a function outside the tape."""

    def register(function: Rule) -> Rule:
        for op in of:
            (COMPUTED if isinstance(op, str) else RULES)[op] = function
        return function

    return register


def fixed(sizes: Sequence[int | Count]) -> tuple[int, ...]:
    """Sizes that must not depend on the batch."""
    if any(isinstance(n, Count) for n in sizes):
        raise OnnxError(f"a size would be fixed that depends on the batch, in ({', '.join(map(str, sizes))})")
    return tuple(n for n in sizes if isinstance(n, int))


# --- one node -------------------------------------------------------------------------------------------------------


def plain(kind: str) -> Rule:
    """An operator that takes the operands as they are."""
    return lambda w, *inputs: w(kind, *inputs)


for _op, _kind in {
    ops.Relu: "Relu", ops.Sigmoid: "Sigmoid", ops.Tanh: "Tanh", ops.Hardswish: "HardSwish", ops.Prelu: "PRelu",
    ops.Neg: "Neg", ops.Abs: "Abs", ops.Exp: "Exp", ops.Log: "Log", ops.Sqrt: "Sqrt", ops.Sign: "Sign",
    ops.Copy: "Identity", ops.Matmul: "MatMul", ops.Sin: "Sin", ops.Cos: "Cos", ops.Tan: "Tan", ops.Asin: "Asin",
    ops.Acos: "Acos", ops.Atan: "Atan", ops.Sinh: "Sinh", ops.Cosh: "Cosh", ops.Erf: "Erf",
}.items():  # fmt: skip
    RULES[_op] = plain(_kind)


def pair(w: Writer, kind: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands, the second of which ONNX wants in the dtype of the first. Numbers take that of the other."""
    if isinstance(a, Arg) and isinstance(b, Arg) and a.dtype != b.dtype:
        dtype = np.result_type(a.dtype, b.dtype)
        return w.cast(a, dtype), w.cast(b, dtype)
    if not isinstance(a, Arg):
        return w.constant(a, b.dtype), b
    return a, b


def both(kind: str) -> Rule:
    def write(w: Writer, a: Any, b: Any, **given: Any) -> Arg:
        return w(kind, *pair(w, kind, a, b))

    return write


for _op, _kind in {ops.Sub: "Sub", ops.Div: "Div", ops.Maximum: "Max", ops.Minimum: "Min"}.items():
    RULES[_op] = both(_kind)


@rule(ops.Pow)
def power(w: Writer, a: Any, b: Any) -> Arg:
    a, b = pair(w, "Pow", a, b)
    if a.dtype.kind == "f" or a.dtype.itemsize > 2:
        return w("Pow", a, b)
    b = b if isinstance(b, Arg) else w.constant(b, a.dtype)  # small integers have no powers there
    return w.cast(w("Pow", w.cast(a, np.int64), w.cast(b, np.int64)), a.dtype)


@rule(ops.Add)
def add(w: Writer, a: Any, b: Any) -> Arg:
    return w("Or" if w.outs[0][1].kind == "b" else "Add", *pair(w, "Add", a, b))


@rule(ops.Mul)
def mul(w: Writer, a: Any, b: Any) -> Arg:
    return w("And" if w.outs[0][1].kind == "b" else "Mul", *pair(w, "Mul", a, b))


@rule(ops.Where)
def where(w: Writer, condition: Arg, a: Any, b: Any) -> Arg:
    _, dtype = w.outs[0]
    a, b = (w.cast(x, dtype) if isinstance(x, Arg) else w.constant(x, dtype) for x in (a, b))
    return w("Where", condition, a, b, dtype=dtype)


@rule(ops.Clamp, ops.Hardtanh)
def clamp(w: Writer, x: Arg, *, low: Any, high: Any) -> Arg:
    return w("Clip", x, low, high)


@rule(ops.LeakyRelu)
def leaky_relu(w: Writer, x: Arg, *, slope: float) -> Arg:
    return w("LeakyRelu", x, alpha=float(slope))


def softmax(kind: str) -> Rule:
    def write(w: Writer, x: Arg, *, axis: int) -> Arg:
        if x.sizes:
            return w(kind, x, axis=axis)
        return w.reshape(w(kind, w.reshape(x, [1]), axis=0), [])  # a number alone has no axis

    return write


for _op, _kind in {ops.Softmax: "Softmax", ops.LogSoftmax: "LogSoftmax"}.items():
    RULES[_op] = softmax(_kind)


@rule(ops.Cast)
def cast(w: Writer, x: Arg, *, dtype: Any) -> Arg:
    return w.cast(x, dtype)


@rule(ops.Step)
def step(w: Writer, x: Arg, *, step: str) -> Arg:
    if step == "trunc":
        return w("Mul", w("Sign", x), w("Floor", w("Abs", x)))
    return w({"floor": "Floor", "ceil": "Ceil", "rint": "Round"}[step], x)


# --- activations ----------------------------------------------------------------------------------------------------


@rule(ops.Silu)
def silu(w: Writer, x: Arg) -> Arg:
    return w("Mul", x, w("Sigmoid", x))


@rule(ops.Gelu)
def gelu(w: Writer, x: Arg) -> Arg:
    if w.opset >= 20:
        return w("Gelu", x)
    phi = w("Mul", w("Add", w("Erf", w("Mul", x, math.sqrt(0.5))), 1), 0.5)
    return w("Mul", x, phi)


@rule(ops.GeluTanh)
def gelu_tanh(w: Writer, x: Arg) -> Arg:
    if w.opset >= 20:
        return w("Gelu", x, approximate="tanh")
    cube = w("Mul", w("Mul", w("Mul", x, ops.GeluTanh.c), x), x)
    t = w("Tanh", w("Mul", w("Add", x, cube), ops.GeluTanh.k))
    return w("Mul", w("Mul", x, w("Add", t, 1)), 0.5)


@rule(ops.Elu)
def elu(w: Writer, x: Arg, *, alpha: float, scale: float, rate: float) -> Arg:
    if rate == 1 == scale:
        return w("Elu", x, alpha=float(alpha))
    if rate == 1:
        return w("Selu", x, alpha=float(alpha), gamma=float(scale))
    if scale == 1 and math.isclose(alpha * rate, 1) and x.dtype == np.float32:
        return w("Celu", x, alpha=float(alpha))
    left = w("Mul", expm1(w, w("Mul", w("Min", x, 0), rate)), scale * alpha)
    return w("Where", w("LessOrEqual", x, 0, dtype=bool), left, w("Mul", x, scale), dtype=x.dtype)


@rule(ops.Softplus)
def softplus(w: Writer, x: Arg, *, beta: float, threshold: float) -> Arg:
    if beta == 1 and threshold == 20 and x.dtype != np.float64:
        return w("Softplus", x)
    z = x if beta == 1 else w("Mul", x, beta)
    y = w("Softplus", z) if beta == 1 else w("Div", w("Softplus", z), beta)
    return w("Where", w("Greater", z, threshold, dtype=bool), x, y, dtype=x.dtype)


@rule(ops.LogAddExp)
def log_add_exp(w: Writer, a: Any, b: Any) -> Arg:
    a, b = pair(w, "Max", a, b)
    return w("Add", w("Max", a, b), w("Softplus", w("Neg", w("Abs", w("Sub", a, b)))))


# --- windows --------------------------------------------------------------------------------------------------------


def image(x: Arg) -> tuple[int, int]:
    """The height and width of images, which a graph fixes where windows hang over their edge."""
    h, w = fixed(x.sizes[2:])
    return h, w


@rule(ops.Conv2d)
def conv(w: Writer, x: Arg, weight: Arg, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Arg:
    return w(
        "Conv", x, weight, bias, kernel_shape=fixed(weight.sizes[2:]), strides=stride, pads=[*padding, *padding],
        dilations=dilation, group=groups,
    )  # fmt: skip


@rule(ops.ConvTranspose2d)
def conv_transpose(
    w: Writer, x: Arg, weight: Arg, bias: Any, *, output_padding: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Arg:  # fmt: skip
    return w(
        "ConvTranspose", x, weight, bias, kernel_shape=fixed(weight.sizes[2:]), strides=stride,
        pads=[*padding, *padding], dilations=dilation, group=groups, output_padding=output_padding,
    )  # fmt: skip


def ends(x: Arg, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> list[int]:
    """`pads` with which all windows fit: what ceil_mode means differs from one runtime to another."""
    if not ceil_mode:
        return [*padding, *padding]
    size = (0, 0, *image(x))
    out = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    rims = [rim(*axis) for axis in zip(size[2:], out, kernel, stride, padding, dilation, strict=True)]
    return [*(before for before, _ in rims), *(after for _, after in rims)]


@rule(ops.MaxPool2d)
def max_pool(w: Writer, x: Arg, *, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    pads = ends(x, kernel, stride, padding, dilation, ceil_mode)
    if any(pad >= k for pad, k in zip(pads, (*kernel, *kernel), strict=True)):  # which runtimes refuse
        top, left, bottom, right = pads
        border = w.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        x, pads = w("Pad", x, border, w.constant(-math.inf, x.dtype)), [0] * 4
    return w("MaxPool", x, kernel_shape=kernel, strides=stride, pads=pads, dilations=dilation), None


@rule(ops.AvgPool2d)
def avg_pool(
    w: Writer, x: Arg, *, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor: Any
) -> Arg:
    pads = ends(x, kernel, stride, padding, (1, 1), ceil_mode)
    options = {"kernel_shape": kernel, "strides": stride}
    if divisor is None and pads == [*padding, *padding]:
        return w("AveragePool", x, pads=pads, count_include_pad=int(count_include_pad), **options)
    if any(pads):
        top, left, bottom, right = pads
        x_shape = x.sizes
        x = w("Pad", x, w.constant([0, 0, top, left, 0, 0, bottom, right], np.int64))
        x.shape = x_shape
    y = w("AveragePool", x, **options)
    if divisor is not None:
        return w("Mul", y, product(kernel) / divisor)
    size = image(x)
    out = output_size((0, 0, *size), kernel, stride, padding, (1, 1), ceil_mode)
    rows, columns = (
        counted(np, np.arange(o) * s - p, k, n, p if count_include_pad else 0)
        for o, k, s, p, n in zip(out, kernel, stride, padding, size, strict=True)
    )
    return w("Mul", y, w.constant(product(kernel) / (rows[:, None] * columns), x.dtype))


def adaptive(w: Writer, x: Arg, out: Any, pool: str, whole: str, reduction: str) -> Arg:
    """Cells of one size are windows; else each row of cells is a slice, and then each column."""
    if tuple(out) == (1, 1):
        return w(whole, x)
    size = image(x)
    if all(n % cells == 0 for n, cells in zip(size, out, strict=True)):
        kernel = [n // cells for n, cells in zip(size, out, strict=True)]
        return w(pool, x, kernel_shape=kernel, strides=kernel)
    for axis, n, cells in zip((2, 3), size, out, strict=True):
        parts = [
            w.reduce(reduction, w("Slice", x, *(w.constant([i], np.int64) for i in (*cell, axis))), [axis])
            for cell in adaptive_bounds(n, cells)
        ]
        x = parts[0] if cells == 1 else w("Concat", *parts, axis=axis)
    return x


@rule(ops.AdaptiveAvgPool2d)
def adaptive_avg_pool(w: Writer, x: Arg, *, out: Any) -> Arg:
    return adaptive(w, x, out, "AveragePool", "GlobalAveragePool", "ReduceMean")


@rule(ops.AdaptiveMaxPool2d)
def adaptive_max_pool(w: Writer, x: Arg, *, out: Any) -> Any:
    return adaptive(w, x, out, "MaxPool", "GlobalMaxPool", "ReduceMax"), None


@rule(ops.Unfold)
def unfold(w: Writer, x: Arg, *, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Arg:
    """A convolution whose filters pick one element each."""
    (c,), k = fixed(x.sizes[1:2]), product(kernel)
    picks = np.tile(np.eye(k).reshape(k, 1, *kernel), (c, 1, 1, 1))
    y = w(
        "Conv", x, w.constant(picks, x.dtype), kernel_shape=kernel, strides=stride, pads=[*padding, *padding],
        dilations=dilation, group=c,
    )  # fmt: skip
    return w.reshape(y, w.outs[0][0])


@rule(ops.Fold)
def fold(w: Writer, cols: Arg, *, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Arg:
    if w.opset < 18:
        raise OnnxError("Col2Im is in opset 18 and later")
    shapes = (w.constant(list(fixed(sizes)), np.int64) for sizes in (size, kernel))
    return w("Col2Im", cols, *shapes, strides=stride, pads=[*padding, *padding], dilations=dilation)


@rule(ops.GridSample)
def grid_sample(w: Writer, x: Arg, grid: Arg, *, nearest: bool, padding: str, align: bool) -> Arg:
    mode = "nearest" if nearest else "linear" if w.opset >= 20 else "bilinear"
    return w("GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=int(align))


# --- products and normalisation -------------------------------------------------------------------------------------


@rule(ops.Linear)
def linear(w: Writer, x: Arg, weight: Arg, bias: Any) -> Arg:
    if len(x.sizes) == 2:
        return w("Gemm", x, weight, bias, transB=1)
    y = w("MatMul", x, w("Transpose", weight, perm=[1, 0]))
    return y if bias is None else w("Add", y, bias)


@rule(ops.Embedding)
def embedding(w: Writer, weight: Arg, index: Arg, *, padding: Any) -> Arg:
    return w("Gather", weight, index, axis=0)


def scales(w: Writer, weight: Any, bias: Any, shape: Sequence[int], dtype: Any) -> tuple[Arg, Arg]:
    """Scale and shift, which ONNX does not leave out."""
    return (
        w.constant(np.ones(shape), dtype) if weight is None else weight,
        w.constant(np.zeros(shape), dtype) if bias is None else bias,
    )


@rule(ops.BatchNorm)
def batch_norm(w: Writer, x: Arg, weight: Any, bias: Any, mean: Any, var: Any, *, eps: float) -> Any:
    channels = fixed(x.sizes[1:2])
    if mean is not None:
        given = scales(w, weight, bias, channels, x.dtype)
        return w("BatchNormalization", x, *given, mean, var, epsilon=float(eps)), None, None
    axes = [0, *range(2, len(x.sizes))]
    column = [1, *channels, *[1] * (len(x.sizes) - 2)]
    mean = w.reduce("ReduceMean", x, axes)
    centred = w("Sub", x, mean)
    var = w.reduce("ReduceMean", w("Mul", centred, centred), axes)
    y = w("Mul", centred, w("Reciprocal", w("Sqrt", w("Add", var, eps))))
    for kind, part in (("Mul", weight), ("Add", bias)):
        y = y if part is None else w(kind, y, w.reshape(part, column))
    return y, w.reshape(mean, channels), w.reshape(var, channels)


@rule(ops.LayerNorm)
def layer_norm(w: Writer, x: Arg, weight: Any, bias: Any, *, shape: Sizes, eps: float) -> Arg:
    scale, shift = scales(w, weight, bias, fixed(shape), x.dtype)
    return w("LayerNormalization", x, scale, None if bias is None else shift, axis=-len(shape), epsilon=float(eps))


@rule(ops.GroupNorm)
def group_norm(w: Writer, x: Arg, weight: Any, bias: Any, *, groups: int, eps: float) -> Any:
    (c,) = fixed(x.sizes[1:2])
    if groups == c and len(x.sizes) > 2:
        return w("InstanceNormalization", x, *scales(w, weight, bias, [c], x.dtype), epsilon=float(eps)), None, None
    whole = product(fixed(x.sizes[1:]))
    grouped = w.reshape(x, [x.sizes[0], groups, whole // groups])
    ones, zeros = scales(w, None, None, [groups], x.dtype)
    y = w.reshape(w("InstanceNormalization", grouped, ones, zeros, epsilon=float(eps)), x.sizes)
    column = [c, *[1] * (len(x.sizes) - 2)]
    for kind, part in (("Mul", weight), ("Add", bias)):
        y = y if part is None else w(kind, y, w.reshape(part, column))
    return y, None, None


# --- reductions -----------------------------------------------------------------------------------------------------


def reduction(kind: str) -> Rule:
    def write(w: Writer, x: Arg, *, axes: Any, keepdims: bool) -> Arg:
        truth = x.dtype.kind == "b"
        return w.reduce(kind, w.cast(x, np.uint8) if truth else x, axes, keepdims)

    return write


for _op, _kind in {
    ops.Sum: "ReduceSum", ops.Mean: "ReduceMean", ops.Amax: "ReduceMax", ops.Amin: "ReduceMin",
    ops.LogSumExp: "ReduceLogSumExp",
}.items():  # fmt: skip
    RULES[_op] = reduction(_kind)


@rule(ops.Pick)
def pick(w: Writer, x: Arg, index: Arg, *, axis: int, keepdims: bool) -> Arg:
    y = w("GatherElements", x, index, axis=axis)
    return y if keepdims else w("Squeeze", y, w.constant([axis], np.int64))


@rule(ops.Var)
def var(w: Writer, x: Arg, *, axes: Any, keepdims: bool, correction: float) -> Arg:
    centred = w("Sub", x, w.reduce("ReduceMean", x, axes))
    y = w.reduce("ReduceMean", w("Mul", centred, centred), axes, keepdims)
    if not correction:
        return y
    n = product(fixed([x.sizes[axis] for axis in axes]))
    free = max(n - correction, 0)
    return w("Mul", y, n * (1 / free if free else math.inf))


@rule(ops.Std)
def std(w: Writer, x: Arg, **geometry: Any) -> Arg:
    return w("Sqrt", var(w, x, **geometry))


@rule(ops.Norm)
def norm(w: Writer, x: Arg, *, axes: Any, keepdims: bool) -> Arg:
    return w("Sqrt", w.reduce("ReduceSum", w("Mul", x, x), axes, keepdims))


@rule(ops.PNorm)
def p_norm(w: Writer, x: Arg, *, p: float, axes: Any, keepdims: bool) -> Arg:
    return w("Pow", w.reduce("ReduceSum", w("Pow", w("Abs", x), p), axes, keepdims), 1 / p)


@rule(ops.Prod)
def prod(w: Writer, x: Arg) -> Arg:
    return w.reduce("ReduceProd", x, [-1], False)


@rule(ops.Cumsum)
def cumsum(w: Writer, x: Arg, *, axis: int) -> Arg:
    return w("CumSum", x, w.constant(axis, np.int64))


# --- quotients and transcendental functions -------------------------------------------------------------------------


@rule(ops.Fmod)
def fmod(w: Writer, a: Any, b: Any) -> Arg:
    return w("Mod", *pair(w, "Mod", a, b), fmod=1)


@rule(ops.Remainder)
def remainder(w: Writer, a: Any, b: Any) -> Arg:
    a, b = pair(w, "Mod", a, b)
    if a.dtype.kind != "f":
        return w("Mod", a, b)
    b = b if isinstance(b, Arg) else w.constant(b, a.dtype)
    left = w("Mod", a, b, fmod=1)  # has the sign of a; the remainder has that of b
    other = w("Xor", w("Less", left, 0, dtype=bool), w("Less", b, 0, dtype=bool))
    other = w("And", other, w("Not", w("Equal", left, 0, dtype=bool)))
    return w("Where", other, w("Add", left, b), left, dtype=a.dtype)


@rule(ops.FloorDivide)
def floor_divide(w: Writer, a: Any, b: Any) -> Arg:
    a, b = pair(w, "Div", a, b)
    quotient = w("Div", w("Sub", a, remainder(w, a, b)), b)
    return quotient if a.dtype.kind != "f" else w("Round", quotient)


@rule(ops.TruncDivide)
def trunc_divide(w: Writer, a: Any, b: Any) -> Arg:
    a, b = pair(w, "Div", a, b)
    quotient = w("Div", a, b)
    return quotient if a.dtype.kind != "f" else step(w, quotient, step="trunc")


@rule(ops.Expm1)
def expm1(w: Writer, x: Arg) -> Arg:
    """2 sinh(x / 2) e^(x / 2), which keeps the digits of a small x."""
    half = w("Mul", x, 0.5)
    return w("Mul", w("Mul", w("Sinh", half), w("Exp", half)), 2)


@rule(ops.Log1p)
def log1p(w: Writer, x: Arg) -> Arg:
    """2 artanh(x / (2 + x)) where x is small, ln(1 + x) elsewhere."""
    near = w("Mul", w("Atanh", w("Div", x, w("Add", x, 2))), 2)
    small = w("Less", w("Abs", x), 0.5, dtype=bool)
    return w("Where", small, near, w("Log", w("Add", x, 1)), dtype=x.dtype)


@rule(ops.Log2)
def log2(w: Writer, x: Arg) -> Arg:
    return w("Mul", w("Log", x), 1 / math.log(2))


@rule(ops.Log10)
def log10(w: Writer, x: Arg) -> Arg:
    return w("Mul", w("Log", x), 1 / math.log(10))


@rule(ops.Atan2)
def atan2(w: Writer, a: Any, b: Any) -> Arg:
    """The angle of a / b, half a turn further where b is below 0 (or is -0, of which 1 / b is)."""
    a, b = pair(w, "Div", a, b)
    b = b if isinstance(b, Arg) else w.constant(b, a.dtype)
    half, nothing = w.constant(math.pi, a.dtype), w.constant(0, a.dtype)
    below, left = (w("Or", w("Less", x, 0, dtype=bool), w("Less", w("Reciprocal", x), 0, dtype=bool)) for x in (a, b))
    turn = w("Where", below, w.constant(-math.pi, a.dtype), half, dtype=a.dtype)
    turn = w("Where", left, turn, nothing, dtype=a.dtype)
    origin = w("And", w("Equal", a, 0, dtype=bool), w("Equal", b, 0, dtype=bool))
    return w("Where", origin, turn, w("Add", w("Atan", w("Div", a, b)), turn), dtype=a.dtype)


# --- elements moved -------------------------------------------------------------------------------------------------


@rule(ops.Reshape)
def reshape(w: Writer, x: Arg, *, shape: Any) -> Arg:
    return w.reshape(x, w.outs[0][0])


@rule(ops.Permute)
def permute(w: Writer, x: Arg, *, axes: Any) -> Arg:
    return w("Transpose", x, perm=list(axes)) if axes else w("Identity", x)


@rule(ops.Expand)
def expand(w: Writer, x: Arg, *, shape: Any) -> Arg:
    return w("Expand", x, w.integers(w.outs[0][0]))


@rule(ops.Cat)
def cat(w: Writer, *parts: Arg, axis: int) -> Arg:
    _, dtype = w.outs[0]
    return w("Concat", *(w.cast(part, dtype) for part in parts), axis=axis)


@rule(ops.Stack)
def stack(w: Writer, *parts: Arg, axis: int) -> Arg:
    _, dtype = w.outs[0]
    places = w.constant([axis], np.int64)
    return w("Concat", *(w("Unsqueeze", w.cast(part, dtype), places) for part in parts), axis=axis)


@rule(ops.Pad)
def pad(w: Writer, x: Arg, *, widths: Any, value: Any) -> Arg:
    amounts = w.integers([*(before for before, _ in widths), *(after for _, after in widths)])
    return w("Pad", x, amounts, w.constant(value, x.dtype))


@rule(ops.Index)
def index(w: Writer, x: Arg, *, index: Any, simple: bool) -> Arg:
    """Slices and integers are a Slice and a Squeeze, None an Unsqueeze; index arrays, side by side, a Gather."""
    parts = list(index if isinstance(index, tuple) else (index,))
    named = sum(part is not None and part is not Ellipsis for part in parts)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (len(x.sizes) - named)
    cut: list[tuple[int, Any]] = []  # axes, and their slices
    gone, new, arrays = list[int](), list[int](), dict[int, Arg]()
    axis = place = 0  # in x, and in y
    for part in parts:
        if part is None:
            new.append(place)
            place += 1
            continue
        if isinstance(part, slice):
            if part != slice(None):
                cut.append((axis, part))
        elif isinstance(part, int):
            gone.append(axis)
            cut.append((axis, slice(part, part + 1 if part != -1 else None)))
        else:
            arrays[axis - len(gone)] = part
        axis, place = axis + 1, place + (not isinstance(part, int))
    y = x
    if cut:
        y = sliced(w, y, cut)
    if gone:
        y = w("Squeeze", y, w.constant(gone, np.int64))
    if arrays:
        y = gathered(w, y, arrays, new)
    if new:
        y = w("Unsqueeze", y, w.constant(new, np.int64))
    return y if y is not x else w("Identity", x)


def sliced(w: Writer, x: Arg, cut: Sequence[tuple[int, slice]]) -> Arg:
    starts, stops, steps = [], [], []
    for _, part in cut:
        stride = 1 if part.step is None else part.step
        last = (1 << 62) if stride > 0 else -(1 << 62)
        starts.append((0 if stride > 0 else 1 << 62) if part.start is None else part.start)
        stops.append(last if part.stop is None else part.stop)
        steps.append(stride)
    axes = [axis for axis, _ in cut]
    return w("Slice", x, w.integers(starts), w.integers(stops), w.integers(axes), w.integers(steps))


def gathered(w: Writer, x: Arg, arrays: dict[int, Arg], new: Sequence[int]) -> Arg:
    axes = sorted(arrays)
    if any(arg.dtype.kind not in "iu" for arg in arrays.values()):
        raise OnnxError("a mask picks elements whose number depends on values")
    if len(axes) == 1 and not new:
        return w("Gather", x, w.cast(arrays[axes[0]], np.int64), axis=axes[0])
    if axes != list(range(len(axes))) or new:
        raise OnnxError("index arrays with an axis or None before them are not covered")
    shape = np.broadcast_shapes(*(fixed(arrays[axis].sizes) for axis in axes))
    places = []
    for axis in axes:
        whole = w("Expand", w.cast(arrays[axis], np.int64), w.integers(shape))
        places.append(w("Unsqueeze", whole, w.constant([-1], np.int64)))
    return w("GatherND", x, w("Concat", *places, axis=-1))


# --- outside the tape -----------------------------------------------------------------------------------------------


def compared(kind: str, negated: bool = False) -> Rule:
    def write(w: Writer, a: Any, b: Any, given: Any = ()) -> Arg:
        a, b = pair(w, kind, a, b)
        if a.dtype == bool and kind != "Equal":
            a, b = (w.cast(x, np.uint8) if isinstance(x, Arg) else w.constant(x, np.uint8) for x in (a, b))
        y: Arg = w(kind, a, b, dtype=bool)
        return w("Not", y) if negated else y

    return write


for _name, _kind in {
    "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "equal": "Equal",
}.items():  # fmt: skip
    COMPUTED[_name] = compared(_kind)
COMPUTED["not_equal"] = compared("Equal", negated=True)


def bits(kind: str) -> Rule:
    """An operator on bools, or, from opset 18 on, on the bits of integers."""

    def write(w: Writer, *inputs: Any, given: Any = ()) -> Arg:
        a, *rest = pair(w, kind, *inputs) if len(inputs) == 2 else inputs
        return w(kind if a.dtype == bool else f"Bitwise{kind}", a, *rest)

    return write


for _name, _kind in {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor", "invert": "Not"}.items():
    COMPUTED[_name] = bits(_kind)


@rule("isfinite")
def is_finite(w: Writer, x: Arg, given: Any = ()) -> Arg:
    return w("Equal", w("Mul", x, 0), 0, dtype=bool)


@rule("isinf")
def is_inf(w: Writer, x: Arg, given: Any = ()) -> Arg:
    if x.dtype.kind != "f":
        return w("Expand", w.constant(False, bool), w.integers(x.sizes))
    return w("Equal", w("Abs", x), math.inf, dtype=bool)


@rule("isnan.<locals>.<lambda>")
def is_nan(w: Writer, x: Arg, given: Any = ()) -> Arg:
    return w("Not", w("Equal", x, x, dtype=bool))


@rule("astype")
def astype(w: Writer, x: Arg, *, given: Any) -> Arg:
    return w.cast(x, given[0])


@rule("copy")
def copy(w: Writer, x: Arg, given: Any = ()) -> Arg:
    return w("Identity", x)


def arg(kind: str) -> Rule:
    def write(w: Writer, x: Arg, given: Any = (), axis: Any = None, keepdims: bool = False) -> Arg:
        if not x.sizes:
            return w.constant(0, np.int64)
        if axis is not None:
            return w(kind, x, axis=axis, keepdims=int(keepdims), dtype=np.int64)
        y = w(kind, w("Reshape", x, w.constant([-1], np.int64)), axis=0, keepdims=0, dtype=np.int64)
        return w.reshape(y, w.outs[0][0])

    return write


COMPUTED["argmax"], COMPUTED["argmin"] = arg("ArgMax"), arg("ArgMin")


@rule("any")
def some(w: Writer, x: Arg, given: Any = (), axis: Any = None, keepdims: bool = False) -> Arg:
    axes = range(len(x.sizes)) if axis is None else [axis] if isinstance(axis, int) else axis
    return w.cast(w.reduce("ReduceSum", w.cast(w.cast(x, bool), np.int32), list(axes), keepdims), bool)


@rule("all")
def every(w: Writer, x: Arg, **options: Any) -> Arg:
    return w("Not", some(w, w("Not", w.cast(x, bool)).like(x), **options))
