"""Functions of neural networks, with the names and arguments of `torch.nn.functional`.

Each checks and completes its arguments, then applies an op of `tinyconv.ops`, which has the formula and the gradients.
Images are (N, C, H, W): examples, channels, rows, columns. Tensors on different devices raise DeviceError everywhere.
In the examples `F` is `tinyconv.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.context import is_grad_enabled
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.each_step import computed
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.options import finite, fraction, non_negative, real
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import GraphError, ShapeError, shortened, suggest_names
from tinyconv.ops.conv import check_images
from tinyconv.ops.norm import move_statistics
from tinyconv.shapes import Pair, check_broadcast, pair, same_padding, sizes_of, whole
from tinyconv.tensor.creation import made, rand_like
from tinyconv.tensor.refusals import refuse
from tinyconv.tensor.tensor import Tensor, apply, unary, wrap
from tinyconv.user_frame import warn

Size: TypeAlias = int | Sequence[int]
OutputSize: TypeAlias = int | Sequence[int | None]
Padding: TypeAlias = Size | Literal["same", "valid"]
Reduction: TypeAlias = Literal["none", "mean", "sum"]


# --- layers with weights --------------------------------------------------------------------------------------------


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate images (N, C, H, W) with filters (F, C / groups, KH, KW): (N, F, OH, OW).

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, and OW likewise. `ops.Conv2d` has the formula and
    its gradients. Like `torch.nn.functional.conv2d`.

        F.conv2d(tc.randn(8, 3, 32, 32), tc.randn(16, 3, 5, 5), padding=2).shape  # (8, 16, 32, 32)

    Args:
        input: Images (N, C, H, W), floating point.
        weight: Filters (F, C / groups, KH, KW), of the dtype of the input.
        bias: One number per filter, (F,), of the same dtype; or None.
        stride: Step between windows. Like `padding` and `dilation` a number or a pair (height, width).
        padding: Zeros on each side. "same" keeps the size (stride 1 only), "valid" is 0.
        dilation: Step between the elements of a filter.
        groups: Number of groups that channels and filters are split into; a filter sees the channels of its group.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    strides, dilations = pair(stride, "conv2d: stride", minimum=1), pair(dilation, "conv2d: dilation", minimum=1)
    groups = whole(groups, "conv2d: groups", minimum=1)
    paddings = conv_padding(padding, strides)
    if paddings == "same":
        paddings = (0, 0)
        if _tensor("conv2d", "weight", weight).ndim == 4 and _tensor("conv2d", "input", input).ndim == 4:
            (top, bottom), (left, right) = (
                same_padding(k, d) for k, d in zip(weight.shape[2:], dilations, strict=True)
            )
            paddings = (top, left)
            if bottom > top or right > left:
                input = pad(input, (0, right - left, 0, bottom - top))
    geometry = {"stride": strides, "padding": paddings, "dilation": dilations, "groups": groups}
    return apply(ops.Conv2d, input, weight, bias, **geometry)


def conv_padding(padding: Padding, strides: Pair) -> Pair | Literal["same"]:
    """The `padding` of a convolution as a pair of numbers; "same" stays "same", for it depends on the kernel.

        F.conv_padding("valid", (2, 2))  # (0, 0)

    Args:
        padding: A number, a pair (height, width), "same" or "valid".
        strides: The stride of the convolution, a pair.

    Raises ShapeError where the stride is not 1 with "same", and where numbers are negative or not whole.
    """
    if isinstance(padding, str) and padding == "same":
        if strides != (1, 1):
            raise ShapeError(f"conv2d: padding='same' keeps the size, which stride {strides} does not; give numbers")
        return "same"
    if isinstance(padding, str) and padding == "valid":
        return 0, 0
    return pair(padding, "conv2d: padding ('same', 'valid', or numbers)")


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x weight^T + bias: (..., I) with weight (O, I) gives (..., O). Like `torch.nn.functional.linear`.

        F.linear(tc.randn(8, 20), tc.randn(5, 20), tc.randn(5)).shape  # (8, 5)

    Args:
        input: x, (..., I), floating point.
        weight: (O, I), of the dtype of the input.
        bias: (O,), of the same dtype; or None.

    Raises ShapeError where sizes do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    return apply(ops.Linear, input, weight, bias)


# --- pooling --------------------------------------------------------------------------------------------------------


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any: ...
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.functional.max_pool2d`.

    OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, and OW likewise. NaN is larger than every number.

        F.max_pool2d(tc.randn(8, 3, 32, 32), 2).shape  # (8, 3, 16, 16)

    Args:
        input: Images (N, C, H, W), floating point.
        kernel_size: Size of a window. Like `stride`, `padding` and `dilation` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of -inf on each side, at most half the kernel.
        dilation: Step between the elements of a window.
        ceil_mode: Round OH and OW up: the last window may hang over the end.
        return_indices: Return also where each maximum is, as h * W + w: int64, of the shape of the output.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    kernel, strides = _window("max_pool2d", kernel_size, stride)
    paddings, dilations = pair(padding, "max_pool2d: padding"), pair(dilation, "max_pool2d: dilation", minimum=1)
    geometry = {"kernel": kernel, "stride": strides, "padding": paddings, "dilation": dilations}
    y, place = apply(ops.MaxPool2d, input, ceil_mode=bool(ceil_mode), **geometry)
    if not return_indices:
        return y
    xp, (oh, ow), w = backend_of(place.array).xp, y.shape[2:], input.shape[3]

    def indices(place: Any) -> Any:
        u, v = xp.divmod(place.astype("int64"), kernel[1])  # where in its window
        rows = xp.arange(oh)[:, None] * strides[0] - paddings[0] + u * dilations[0]
        return rows * w + xp.arange(ow) * strides[1] - paddings[1] + v * dilations[1]

    return y, wrap(computed(indices, place.array))


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Tensor:
    """The mean of every window of images: (N, C, H, W) gives (N, C, OH, OW). Like `torch.nn.functional.avg_pool2d`.

    OH = floor((H + 2 padding - KH) / stride) + 1, and OW likewise.

        F.avg_pool2d(tc.ones(1, 1, 2, 2), 2).tolist()  # [[[[1.0]]]]

    Args:
        input: Images (N, C, H, W), floating point.
        kernel_size: Size of a window. Like `stride` and `padding` a number or a pair (height, width).
        stride: Step between windows; the kernel size unless given.
        padding: Rows and columns of zeros on each side, at most half the kernel.
        ceil_mode: Round OH and OW up: the last window may hang over the end.
        count_include_pad: Count the zeros of the padding as elements of a window.
        divisor_override: Divide the sum of a window by this number, not by that of its elements.

    Raises ShapeError where shapes or geometry do not fit, and DtypeError where the input is not floating point.
    """
    kernel, strides = _window("avg_pool2d", kernel_size, stride)
    divisor = None if divisor_override is None else finite("avg_pool2d: divisor_override", divisor_override)
    if divisor == 0:
        raise ShapeError("avg_pool2d: divisor_override must not be 0")
    geometry = {"kernel": kernel, "stride": strides, "padding": pair(padding, "avg_pool2d: padding")}
    return apply(
        ops.AvgPool2d,
        input,
        **geometry,
        ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
        divisor=divisor,
    )


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The means of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    Row i of the cells covers rows floor(i H / OH) to ceil((i + 1) H / OH). Like
    `torch.nn.functional.adaptive_avg_pool2d`.

        F.adaptive_avg_pool2d(tc.randn(8, 3, 13, 17), 4).shape  # (8, 3, 4, 4)

    Args:
        input: Images (N, C, H, W), floating point.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    return apply(ops.AdaptiveAvgPool2d, input, out=_adaptive("adaptive_avg_pool2d", input, output_size))


@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any: ...
def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maxima of OH x OW cells that cover images of any size: (N, C, H, W) gives (N, C, OH, OW).

    The cells are those of `adaptive_avg_pool2d`. Like `torch.nn.functional.adaptive_max_pool2d`.

        F.adaptive_max_pool2d(tc.randn(8, 3, 13, 17), (4, None)).shape  # (8, 3, 4, 17)

    Args:
        input: Images (N, C, H, W), floating point.
        output_size: OH and OW, a number or a pair; None in the pair keeps the size of that axis.
        return_indices: Return also where each maximum is, as h * W + w: int64, of the shape of the output.

    Raises ShapeError where shapes do not fit, and DtypeError where the input is not floating point.
    """
    y, place = apply(ops.AdaptiveMaxPool2d, input, out=_adaptive("adaptive_max_pool2d", input, output_size))
    return (y, place) if return_indices else y


def _window(name: str, kernel_size: Size, stride: Size | None) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = pair(kernel_size, f"{name}: kernel_size", minimum=1)
    return kernel, kernel if stride is None else pair(stride, f"{name}: stride", minimum=1)


def _adaptive(name: str, input: Tensor, output_size: OutputSize) -> Pair:
    check_images(name, _tensor(name, "input", input).array)
    size: Any = output_size
    if isinstance(output_size, Sequence) and len(output_size) == 2:
        size = [n if wanted is None else wanted for n, wanted in zip(input.shape[2:], output_size, strict=True)]
    return pair(size, f"{name}: output_size", minimum=1)


# --- activations ----------------------------------------------------------------------------------------------------


# `inplace` is PyTorch's, and changes nothing: the input is left as it is, and so is what the tape has saved of it. What
# counts is the value, and programs written with `inplace` take that: x = F.relu(x, inplace=True).


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with gradient 0 at 0. NaN stays NaN. Like `torch.nn.functional.relu`.

        F.relu(tc.tensor([-1.0, 2.0])).tolist()  # [0.0, 2.0]

    Args:
        input: x, of any shape; the output has its dtype.
        inplace: Accepted, and the same either way: a new tensor, never a write into `input`.

    Raises DtypeError for anything but a Tensor.
    """
    return _tensor("relu", "input", input).relu()


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x (Maas et al., 2013). Like `torch.nn.functional.leaky_relu`.

        F.leaky_relu(tc.tensor([-1.0, 2.0]), 0.5).tolist()  # [-0.5, 2.0]

    Args:
        input: x, of any shape; integers become float32.
        negative_slope: The slope on the left of 0.
        inplace: Accepted, and the same either way: a new tensor, never a write into `input`.

    Raises DtypeError for anything but a Tensor, and OptionError for a slope that is no number.
    """
    return unary(ops.LeakyRelu, input, slope=real("leaky_relu: negative_slope", negative_slope))


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, arXiv:1606.08415).

    Like `torch.nn.functional.gelu`.

        F.gelu(tc.tensor([0.0, 10.0])).tolist()  # [0.0, 10.0]

    Args:
        input: x, of any shape; integers become float32.
        approximate: "none", or "tanh" for a cheaper approximation (section 2 of the paper).

    Raises ValueError where `approximate` is neither, and DtypeError for anything but a Tensor.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {shortened(approximate)}")
    return unary(ops.Gelu if approximate == "none" else ops.GeluTanh, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow. Like `torch.nn.functional.sigmoid`.

        F.sigmoid(tc.tensor([0.0])).tolist()  # [0.5]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return _tensor("sigmoid", "input", input).sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent. Like `torch.nn.functional.tanh`.

        F.tanh(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return _tensor("tanh", "input", input).tanh()


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x) (Elfwing et al., arXiv:1702.03118). Like `torch.nn.functional.silu`.

        F.silu(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.
        inplace: Accepted, and the same either way: a new tensor, never a write into `input`.

    Raises DtypeError for anything but a Tensor.
    """
    return unary(ops.Silu, input)


def softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """e^x / sum e^x along `dim`, without overflow. Like `torch.nn.functional.softmax`.

        F.softmax(tc.zeros(2), dim=0).tolist()  # [0.5, 0.5]

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which the output adds up to 1.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return _tensor("softmax", "input", input).softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """x - ln sum e^x along `dim`, without overflow. Like `torch.nn.functional.log_softmax`.

        round(F.log_softmax(tc.zeros(2), dim=0)[0].item(), 4)  # -0.6931

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which e^output adds up to 1.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return _tensor("log_softmax", "input", input).log_softmax(dim, dtype)


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
    """Standardise each channel of (N, C, ...), then scale and shift it (Ioffe & Szegedy, arXiv:1502.03167).

    In training with the mean and variance of the batch, else with the running ones. In training the running ones, if
    given, move in place by `momentum` towards those of the batch (there the variance divides by n - 1). Like
    `torch.nn.functional.batch_norm`.

        F.batch_norm(tc.randn(8, 3, 5, 5), None, None, training=True).shape  # (8, 3, 5, 5)

    Args:
        input: (N, C, ...), floating point.
        running_mean, running_var: (C,), of the same dtype, and without gradient; None only in training.
        weight, bias: Scale and shift, (C,), of the same dtype; None is 1 and 0.
        training: Whether to use the statistics of the batch.
        momentum: The part of a running statistic that the batch replaces.
        eps: Added to the variance, so that no channel is divided by 0.

    Raises ShapeError where sizes do not fit, running statistics are missing, or a batch in training has one value per
    channel; DtypeError where dtypes differ or are not floating point; GraphError where running statistics require grad;
    OptionError where `momentum` is no number or `eps` is negative.
    """
    momentum, eps = real("batch_norm: momentum", momentum), non_negative("batch_norm: eps", eps)
    if not training and (running_mean is None or running_var is None):
        raise ShapeError("batch_norm: evaluation needs running_mean and running_var; training=True does without")
    _constant("batch_norm", "running_mean", running_mean)
    _constant("batch_norm", "running_var", running_var)
    given = (None, None) if training else (running_mean, running_var)
    y, mean, var = apply(ops.BatchNorm, input, weight, bias, *given, eps=eps)
    if training and running_mean is not None and running_var is not None:
        if not running_mean.shape == running_var.shape == mean.shape:
            raise ShapeError(
                f"batch_norm: x has {mean.shape[0]} channels, so running_mean and running_var must be {mean.shape}, "
                f"got {running_mean.shape} and {running_var.shape}"
            )
        n = input.numel() // max(input.shape[1], 1)
        statistics = running_mean.array, running_var.array, mean.array, var.array
        backend = backend_of(y.array, *statistics)  # refuses two devices
        move = kernel_for("running_statistics", backend.name, *statistics) or move_statistics
        with np.errstate(all="ignore"):  # infinities and NaN go through here as they do through ops
            computed(partial(move, backend.xp, momentum=momentum, unbiased=n / (n - 1)), *statistics)
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
    """Standardise each example over its last axes, then scale and shift (Ba, Kiros & Hinton, arXiv:1607.06450).

    Like `torch.nn.functional.layer_norm`.

        F.layer_norm(tc.randn(8, 5, 20), 20).shape  # (8, 5, 20)

    Args:
        input: (..., *normalized_shape), floating point.
        normalized_shape: The sizes of the axes to standardise over; a number is the last axis alone.
        weight, bias: Scale and shift, of shape `normalized_shape` and the same dtype; None is 1 and 0.
        eps: Added to the variance, so that nothing is divided by 0.

    Raises ShapeError where sizes do not fit, DtypeError where dtypes differ or are not floating point, and OptionError
    where `eps` is not a finite number.
    """
    shape = tuple(sizes_of((normalized_shape,), "layer_norm: normalized_shape"))
    return apply(ops.LayerNorm, input, weight, bias, shape=shape, eps=finite("layer_norm: eps", eps))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014).

    The random numbers are those of `tinyconv.manual_seed`. Like `torch.nn.functional.dropout`.

        F.dropout(tc.ones(2), p=1.0).tolist()  # [0.0, 0.0]

    Args:
        input: Any shape, floating point.
        p: The probability that an element becomes 0.
        training: Where False, the input comes back as it is.
        inplace: Accepted, and the same either way: never a write into `input`.

    Raises OptionError where `p` is not between 0 and 1, and DtypeError in training for an input of another dtype.
    """
    _tensor("dropout", "input", input)
    p = fraction("dropout: p", p)
    if not training or p == 0:
        return input
    chances = rand_like(input.float() if input.dtype == np.float16 else input)  # p may be no number of float16
    return apply(ops.Dropout, input, chances >= p, p=p)


def pad(
    input: Tensor,
    pad: Sequence[int],
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant",
    value: float = 0.0,
) -> Tensor:
    """Pad the last axes, or crop them where a number is negative. Like `torch.nn.functional.pad`.

        F.pad(tc.tensor([1.0, 2.0]), (1, 2)).tolist()  # [0.0, 1.0, 2.0, 0.0, 0.0]

    Args:
        input: A tensor of any shape and dtype.
        pad: (before, after) of the last axis, then of the one before it, and so on.
        mode: "constant" fills with `value`, "reflect" mirrors without repeating the edge, "replicate" repeats the edge,
            and "circular" wraps around.
        value: The number that "constant" fills with.

    Raises ShapeError where `pad` does not fit the axes, ValueError for another mode or a value that is no number, and
    DtypeError for anything but a Tensor.
    """
    if not isinstance(pad, Sequence | np.ndarray):
        raise ShapeError(f"pad: expected (before, after) for each axis, the last one first, got {pad!r}")
    pad, value = sizes_of(tuple(pad), "pad: widths"), real("pad: value", value)
    _tensor("pad", "input", input)
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
    """Continue one axis at both ends by its own elements: look up which of them each position takes."""
    n = input.shape[axis]
    limit = {"reflect": n - 1, "replicate": None, "circular": n}
    if mode not in limit:
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {shortened(mode)}")
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
        first, last = max(-before, 0), n - max(-after, 0)  # what is cropped must not come back at the other end
        source = [first + (i - first) % (last - first) for i in positions]
    elif mode == "replicate":
        source = [min(max(i, 0), n - 1) for i in positions]
    else:
        source = [n - 1 - abs(n - 1 - abs(i)) for i in positions]
    index = made(input.device, (len(source),), np.int64, partial(np.asarray, source, np.int64), False)
    return input[(slice(None),) * axis + (index,)]


# --- losses ---------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of softmax(input) with class indices or probabilities. Like `torch.nn.functional.cross_entropy`.

    `input` are logits: softmax is part of this function. It warns of logits that come straight out of softmax; the
    tape shows it that, so only while it records.

        round(F.cross_entropy(tc.zeros(8, 2), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        input: Logits (N, C), (N, C, ...) or (C,), floating point.
        target: Class indices (N, ...), integers; or probabilities, of the shape and dtype of the input.
        weight: A weight for each class, (C,), of the same dtype.
        ignore_index: A class index that does not count.
        reduction: "mean" divides by the weights of the targets (for probabilities, by N), "sum" adds up, "none" gives
            a loss for each target: (N, ...).
        label_smoothing: The part e of a target that is spread evenly over the classes (Szegedy et al.,
            arXiv:1512.00567).

    Raises ShapeError where shapes do not fit or an index is not a class (on a GPU indices are not checked), DtypeError
    where dtypes do not fit, ValueError for another reduction or smoothing, and GraphError where `weight` requires grad.
    """
    _tensor("cross_entropy", "input", input), _tensor("cross_entropy", "target", target)
    _check_reduction("cross_entropy", reduction)
    label_smoothing = fraction("cross_entropy: label_smoothing", label_smoothing)
    ignore_index = whole(ignore_index, "cross_entropy: ignore_index")
    if isinstance(input._node, OpNode) and input._node.op is ops.Softmax:
        warn(
            "cross_entropy: the input comes out of softmax, but cross_entropy takes logits and applies softmax itself; "
            "applied twice it flattens the gradients: remove the softmax from the model"
        )
    if input.ndim == 1:
        _check_one_row("cross_entropy", input, target)
        loss = cross_entropy(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction, label_smoothing)
        return loss.squeeze(0) if reduction == "none" else loss
    if target.is_floating_point() and target.ndim == input.ndim:
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / max(input.shape[1], 1)
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
    """Negative log-likelihood of class indices under log-probabilities. Like `torch.nn.functional.nll_loss`.

        round(F.nll_loss(tc.zeros(8, 2).log_softmax(1), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        input: Log-probabilities (N, C), (N, C, ...) or (C,), floating point.
        target: Class indices (N, ...), integers.
        weight: A weight for each class, (C,), of the dtype of the input.
        ignore_index: A class index that does not count.
        reduction: "mean" divides by the weights of the targets, "sum" adds up, "none" gives a loss for each target.

    Raises ShapeError where shapes do not fit or an index is not a class (on a GPU indices are not checked), DtypeError
    where dtypes do not fit, ValueError for another reduction, and GraphError where `weight` requires grad.
    """
    _tensor("nll_loss", "input", input), _tensor("nll_loss", "target", target)
    _check_reduction("nll_loss", reduction)
    ignore_index = whole(ignore_index, "nll_loss: ignore_index")
    if input.ndim == 1:
        _check_one_row("nll_loss", input, target)
        loss = nll_loss(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction)
        return loss.squeeze(0) if reduction == "none" else loss
    _constant("nll_loss", "weight", weight)
    return apply(ops.NllLoss, input, target, weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """(input - target)^2. Like `torch.nn.functional.mse_loss`.

        F.mse_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 9.0

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point, and
    ValueError for another reduction.
    """
    return _elementwise_loss("mse_loss", ops.MseLoss, input, target, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """|input - target|. Like `torch.nn.functional.l1_loss`.

        F.l1_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 3.0

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point, and
    ValueError for another reduction.
    """
    return _elementwise_loss("l1_loss", ops.L1Loss, input, target, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of sigmoid(input) with probabilities, without overflow.

    Like `torch.nn.functional.binary_cross_entropy_with_logits`.

        round(F.binary_cross_entropy_with_logits(tc.zeros(4), tc.ones(4)).item(), 4)  # 0.6931

    Args:
        input: Logits of any shape, floating point.
        target: Probabilities, of the shape and dtype of the input.
        weight: A weight for each element; it must broadcast to the input.
        reduction: "mean", "sum", or "none" for a loss of each element.
        pos_weight: A weight for the positive class; it must broadcast to the input.

    Raises ShapeError where shapes do not fit, DtypeError where dtypes differ or are not floating point, ValueError for
    another reduction, and GraphError where a weight requires grad.
    """
    _check_reduction("binary_cross_entropy_with_logits", reduction)
    _constant("binary_cross_entropy_with_logits", "weight", weight)
    _constant("binary_cross_entropy_with_logits", "pos_weight", pos_weight)
    return apply(ops.BceWithLogits, input, target, weight, pos_weight, reduction=reduction)


def _elementwise_loss(name: str, op: Any, input: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    _tensor(name, "input", input), _tensor(name, "target", target)
    _check_reduction(name, reduction)
    check_broadcast(name, input, target)
    if input.shape != target.shape:
        warn(f"{name}: input is {input.shape} and target {target.shape}; they are broadcast, which is rarely meant")
    return apply(op, input, target, reduction=reduction)


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {shortened(reduction)}")


def _check_one_row(name: str, input: Tensor, target: Tensor) -> None:
    """One row of scores has one target, unless they are probabilities; many are the argmax of rows, mostly."""
    if target.ndim and not (target.is_floating_point() and target.shape == input.shape):
        if target.is_floating_point() and not input.is_floating_point():
            raise ShapeError(
                f"{name}: input must be scores and target class numbers, got input {input.dtype} {input.shape} and "
                f"target {target.dtype} {target.shape}: were they swapped?"
            )
        raise ShapeError(
            f"{name}: one row of scores {input.shape} has one target (), not {target.shape}; was it made by argmax? "
            "It needs the scores themselves, (N, C)"
        )


def _constant(name: str, what: str, tensor: Tensor | None) -> None:
    """Refuse a tensor that requires grad where its gradient would silently be missing."""
    if tensor is not None and _tensor(name, what, tensor).requires_grad and is_grad_enabled():
        raise GraphError(f"{name}: {what} is a constant here and has no gradient; use {what}.detach()")


def _tensor(name: str, what: str, value: Tensor) -> Tensor:
    """The value, if it is a Tensor; DtypeError for anything else, which has no methods of one."""
    if not isinstance(value, Tensor):
        refuse(name, what, value)
    return value


suggest_names(globals())
