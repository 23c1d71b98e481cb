"""Functions of neural networks, with torch's names and arguments. Each fills in its geometry and applies an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.context import is_grad_enabled
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import GraphError, ShapeError
from tinyconv.host.user_frame import warn
from tinyconv.ops.norm import move_statistics
from tinyconv.shapes import Pair, pair, same_padding
from tinyconv.tensor.creation import rand_like, tensor
from tinyconv.tensor.tensor import Tensor, apply, unary, wrap

Size: TypeAlias = int | Sequence[int]
Reduction: TypeAlias = Literal["none", "mean", "sum"]


# --- layers with weights --------------------------------------------------------------------------------------------


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images (N, C, H, W) with filters (F, C / groups, KH, KW): (N, F, OH, OW).

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1. `padding="same"` keeps the size (stride 1 only),
    "valid" is none. See `ops.Conv2d` for the formula and its gradients.
    """
    return _conv2d(ops.Conv2d, input, weight, bias, stride, padding, dilation, groups)


def _conv2d(
    op: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size | Literal["same", "valid"],
    dilation: Size,
    groups: int,
    **further: Any,
) -> Tensor:
    strides, dilations = pair(stride, "conv2d: stride", minimum=1), pair(dilation, "conv2d: dilation", minimum=1)
    if groups < 1:
        raise ShapeError(f"conv2d: groups must be at least 1, got {groups}")
    paddings = conv_padding(padding, strides)
    if paddings == "same":
        paddings = (0, 0)
        if weight.ndim == 4 and input.ndim == 4:
            (top, bottom), (left, right) = (
                same_padding(k, d) for k, d in zip(weight.shape[2:], dilations, strict=True)
            )
            paddings = (top, left)
            if bottom > top or right > left:
                input = pad(input, (0, right - left, 0, bottom - top))
    geometry = {"stride": strides, "padding": paddings, "dilation": dilations, "groups": groups}
    return apply(op, input, weight, bias, **geometry, **further)


def conv_padding(padding: Size | Literal["same", "valid"], strides: Pair) -> Pair | Literal["same"]:
    """A convolution's `padding` as a pair of numbers, or "same", which needs the kernel and stride 1."""
    if padding == "same":
        if strides != (1, 1):
            raise ShapeError(f"conv2d: padding='same' keeps the size, which stride {strides} does not; give numbers")
        return "same"
    if padding == "valid":
        return 0, 0
    return pair(padding, "conv2d: padding ('same', 'valid', or numbers)")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x weight^T + bias: (..., I) with weight (O, I) and bias (O,) gives (..., O)."""
    return apply(ops.Linear, input, weight, bias)


# --- pooling --------------------------------------------------------------------------------------------------------


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of images (N, C, H, W); stride is the kernel size unless given.

    With `return_indices` also where it was, as h * W + w (int64).
    """
    geometry = _max_pool(kernel_size, stride, padding, dilation, ceil_mode)
    y, place = apply(ops.MaxPool2d, input, **geometry)
    if not return_indices:
        return y
    kernel, strides, paddings, dilations = (geometry[name] for name in ("kernel", "stride", "padding", "dilation"))
    xp = backend_of(place.array).xp
    u, v = xp.divmod(place.array.astype("int64"), kernel[1])  # where in its window
    rows = xp.arange(y.shape[2])[:, None] * strides[0] - paddings[0] + u * dilations[0]
    columns = xp.arange(y.shape[3]) * strides[1] - paddings[1] + v * dilations[1]
    return y, wrap(rows * input.shape[3] + columns)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of images (N, C, H, W); stride is the kernel size unless given."""
    kernel, strides = _window("avg_pool2d", kernel_size, stride)
    if divisor_override == 0:
        raise ShapeError("avg_pool2d: divisor_override must not be 0")
    geometry = {"kernel": kernel, "stride": strides, "padding": pair(padding, "avg_pool2d: padding")}
    return apply(
        ops.AvgPool2d,
        input,
        **geometry,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
        divisor=divisor_override,
    )


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of OH x OW cells that cover images (N, C, H, W), whatever their size; None keeps an axis."""
    return apply(ops.AdaptiveAvgPool2d, input, out=_adaptive("adaptive_avg_pool2d", input, output_size))


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of OH x OW cells that cover images (N, C, H, W); with `return_indices` also where, as h * W + w."""
    y, place = apply(ops.AdaptiveMaxPool2d, input, out=_adaptive("adaptive_max_pool2d", input, output_size))
    return (y, place) if return_indices else y


def _window(name: str, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = pair(kernel_size, f"{name}: kernel_size", minimum=1)
    return kernel, kernel if stride is None else pair(stride, f"{name}: stride", minimum=1)


def _max_pool(kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool) -> dict[str, Any]:
    kernel, strides = _window("max_pool2d", kernel_size, stride)
    return {
        "kernel": kernel,
        "stride": strides,
        "padding": pair(padding, "max_pool2d: padding"),
        "dilation": pair(dilation, "max_pool2d: dilation", minimum=1),
        "ceil_mode": bool(ceil_mode),
    }


def _adaptive(name: str, input: Tensor, output_size: Any) -> tuple[int, int]:
    ops.conv.check_images(name, input.array)
    if isinstance(output_size, Sequence) and len(output_size) == 2:
        output_size = [n if wanted is None else wanted for n, wanted in zip(input.shape[2:], output_size, strict=True)]
    return pair(output_size, f"{name}: output_size", minimum=1)


# --- activations ----------------------------------------------------------------------------------------------------


def relu(input: Tensor) -> Tensor:
    """max(x, 0)."""
    return input.relu()


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return unary(ops.LeakyRelu, input, slope=negative_slope)


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x times the probability that a standard normal is below x; "tanh" is a cheaper approximation."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return unary(ops.Gelu if approximate == "none" else ops.GeluTanh, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def silu(input: Tensor) -> Tensor:
    """x sigmoid(x)."""
    return unary(ops.Silu, input)


def softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """e^x / sum e^x along `dim`, of x in `dtype` if one is given."""
    return input.softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """x - ln sum e^x along `dim`, of x in `dtype` if one is given."""
    return input.log_softmax(dim, dtype)


# --- several at once ------------------------------------------------------------------------------------------------
# What `nn.chain` makes of layers that follow each other. Values and gradients are those of the separate functions.


def linear_relu(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """relu(linear(input, weight, bias))."""
    return apply(ops.LinearRelu, input, weight, bias)


def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """relu(conv2d(input, ...))."""
    return _conv2d(ops.Conv2dRelu, input, weight, bias, stride, padding, dilation, groups)


def relu_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """max_pool2d(relu(input), ...)."""
    return apply(ops.ReluMaxPool2d, input, **_max_pool(kernel_size, stride, padding, dilation, ceil_mode))


def conv2d_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Size,
    pool_stride: Size | None = None,
    pool_padding: Size = 0,
    pool_dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """max_pool2d(relu(conv2d(input, weight, bias, stride, ...)), kernel_size, pool_stride, ...)."""
    pool = _max_pool(kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode)
    return _conv2d(ops.Conv2dReluMaxPool2d, input, weight, bias, stride, padding, dilation, groups, pool=pool)


# --- normalisation, dropout, padding --------------------------------------------------------------------------------


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of (N, C, ...): with its own statistics in training, else with the running ones.

    In training the running statistics, if given, move by `momentum` towards those of the batch (the variance with
    n - 1), in place.
    """
    if not training and (running_mean is None or running_var is None):
        raise ShapeError("batch_norm: evaluation needs running_mean and running_var")
    _constant("batch_norm", "running_mean", running_mean)
    _constant("batch_norm", "running_var", running_var)
    given = (None, None) if training else (running_mean, running_var)
    y, mean, var = apply(ops.BatchNorm, input, weight, bias, *given, eps=eps)
    if training and running_mean is not None and running_var is not None:
        n = input.numel() // input.shape[1]
        statistics = running_mean.array, running_var.array, mean.array, var.array
        backend = backend_of(y.array, *statistics)  # refuses two devices
        move = kernel_for("running_statistics", backend.name, *statistics) or move_statistics
        with np.errstate(all="ignore"):  # infinities and NaN go through here as they do through ops
            move(backend.xp, *statistics, momentum, n / (n - 1))
        for running in (running_mean, running_var):
            running._storage.wrote(running.array)
    return y


def layer_norm(
    input: Tensor,
    normalized_shape: Size,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise over the last axes, those of `normalized_shape`."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return apply(ops.LayerNorm, input, weight, bias, shape=shape, eps=eps)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014)."""
    p = float(p)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, 0 to 1, got {p}")
    if not training or p == 0:
        return input
    return apply(ops.Dropout, input, rand_like(input) >= p, p=p)


def pad(
    input: Tensor,
    pad: Sequence[int],
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant",
    value: float = 0.0,
) -> Tensor:
    """Pad the last axes: `pad` = (before, after) of the last axis, then of the one before it, and so on.

    A negative number crops. "constant" fills with `value`, "reflect" mirrors without repeating the edge, "replicate"
    repeats the edge, "circular" wraps around.
    """
    pad = list(pad)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ShapeError(
            f"pad: expected (before, after) for each of up to {input.ndim} axes, the last one first, got {tuple(pad)}"
        )
    widths = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    for (before, after), n in zip(widths, input.shape, strict=True):
        if before + after + n < 0 or -before > n or -after > n:
            raise ShapeError(f"pad: cannot crop {(before, after)} from an axis of {n} (input {input.shape})")
    if mode != "constant":
        for axis, (before, after) in enumerate(widths):
            if before or after:
                input = _extend(input, axis, before, after, mode)
        return input
    cropped = tuple(
        slice(max(-before, 0), n - max(-after, 0)) for (before, after), n in zip(widths, input.shape, strict=True)
    )
    if any(before < 0 or after < 0 for before, after in widths):
        input = input[cropped]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if not any(any(width) for width in widths):
        return input
    return apply(ops.Pad, input, widths=tuple(widths), value=value)


def _extend(input: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """One axis continued at both ends by its own elements: a lookup of which element stands where."""
    n = input.shape[axis]
    limit = {"reflect": n - 1, "replicate": None, "circular": n}
    if mode not in limit:
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    most = limit[mode]
    if n == 0 or (most is not None and max(before, after) > most):
        raise ShapeError(
            f"pad: {mode} padding of {(before, after)} needs an axis longer than {n} (input {input.shape})"
        )
    if n + before + after <= 0 and mode != "circular":
        raise ShapeError(
            f"pad: {mode} padding of {(before, after)} leaves nothing of an axis of {n} (input {input.shape})"
        )
    positions = range(-before, n + after)
    if mode == "circular":
        first, last = max(-before, 0), n - max(-after, 0)  # what is cropped does not come back at the other end
        source = [first + (i - first) % (last - first) for i in positions]
    elif mode == "replicate":
        source = [min(max(i, 0), n - 1) for i in positions]
    else:
        source = [n - 1 - abs(n - 1 - abs(i)) for i in positions]
    return input[(slice(None),) * axis + (tensor(source, dtype=np.int64, device=input.device),)]


# --- losses ---------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of logits (N, C) or (N, C, ...) with class indices (N, ...), or with probabilities like the logits.

    `input` are logits: softmax is part of this function. `weight` (C,) weighs the classes, `ignore_index` is a target
    that does not count, `label_smoothing` e mixes targets with e of the uniform distribution. "mean" divides by the
    weights of the targets (for probabilities, by N).

    Logits that come straight out of softmax are warned of; they are known by the tape, so only while it records.
    """
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if isinstance(input._node, OpNode) and input._node.op is ops.Softmax:
        warn(
            "cross_entropy: the input comes out of softmax, but cross_entropy takes logits and applies softmax itself; "
            "applied twice it flattens the gradients: remove the softmax from the model"
        )
    if input.ndim == 1:
        loss = cross_entropy(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction, label_smoothing)
        return loss.squeeze(0) if reduction == "none" else loss
    if target.is_floating_point() and target.ndim == input.ndim:
        if label_smoothing:
            e = float(label_smoothing)
            target = target * (1 - e) + e / input.shape[1]
        return apply(ops.SoftCrossEntropy, input, target, weight, reduction=reduction)
    _constant("cross_entropy", "weight", weight)
    return apply(
        ops.CrossEntropy,
        input,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood of class indices (N, ...) under log-probabilities (N, C, ...)."""
    _check_reduction("nll_loss", reduction)
    if input.ndim == 1:
        loss = nll_loss(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction)
        return loss.squeeze(0) if reduction == "none" else loss
    _constant("nll_loss", "weight", weight)
    return apply(ops.NllLoss, input, target, weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """(x - target)^2."""
    return _elementwise_loss("mse_loss", ops.MseLoss, input, target, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """|x - target|."""
    return _elementwise_loss("l1_loss", ops.L1Loss, input, target, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of sigmoid(x) with probabilities of the same shape, without overflow.

    `weight` and `pos_weight` (of the positive class) broadcast against the input.
    """
    _check_reduction("binary_cross_entropy_with_logits", reduction)
    _constant("binary_cross_entropy_with_logits", "weight", weight)
    _constant("binary_cross_entropy_with_logits", "pos_weight", pos_weight)
    return apply(ops.BceWithLogits, input, target, weight, pos_weight, reduction=reduction)


def _elementwise_loss(name: str, op: Any, input: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    _check_reduction(name, reduction)
    if input.shape != target.shape:
        warn(f"{name}: input is {input.shape} and target {target.shape}; they are broadcast, which is rarely meant")
    return apply(op, input, target, reduction=reduction)


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def _constant(name: str, what: str, tensor: Tensor | None) -> None:
    """Refuse to record what would silently get no gradient."""
    if tensor is not None and tensor.requires_grad and is_grad_enabled():
        raise GraphError(f"{name}: {what} is a constant here and has no gradient; use {what}.detach()")
