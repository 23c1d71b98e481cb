"""Normalisations."""

from __future__ import annotations

from functools import partial
from operator import methodcaller

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, non_negative, real
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import DtypeError, ShapeError
from tinyconv.functional.arguments import Size, check_constant, checked_tensor
from tinyconv.functional.padding import pad
from tinyconv.functional.pooling import avg_pool2d
from tinyconv.ops.norm import move_statistics
from tinyconv.shapes import check_broadcast, product, sizes_of, whole
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.signatures import Dim
from tinyconv.tensor.tensor import Tensor, apply, wrap

__all__ = [
    "batch_norm",
    "cosine_similarity",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "pairwise_distance",
    "rms_norm",
]


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
    check_constant("batch_norm", "running_mean", running_mean)
    check_constant("batch_norm", "running_var", running_var)
    given = (None, None) if training else (running_mean, running_var)
    y, mean, var = apply(ops.BatchNorm, input, weight, bias, *given, eps=eps)
    if training and running_mean is not None and running_var is not None and input.numel():  # nothing teaches nothing
        move_running(
            "batch_norm", running_mean, running_var, mean, var, momentum, input.numel() // max(input.shape[1], 1)
        )
    return y


def move_running(
    name: str, running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor, momentum: float, n: int
) -> None:
    """Move running statistics by `momentum` towards those of `n` values a channel."""
    if not running_mean.shape == running_var.shape == mean.shape:
        raise ShapeError(
            f"{name}: x has {mean.shape[0]} channels, so running_mean and running_var must be {mean.shape}, "
            f"got {running_mean.shape} and {running_var.shape}"
        )
    statistics = running_mean.array, running_var.array, mean.array, var.array
    backend = backend_of(*statistics)  # refuses two devices
    move = kernel_for("running_statistics", backend.name, *statistics) or move_statistics
    with np.errstate(all="ignore"):  # infinities and NaN go through here as they do through ops
        computed(partial(move, backend.xp, momentum=momentum, unbiased=n / (n - 1)), *statistics)
    for running in (running_mean, running_var):
        running._storage.wrote(running.array)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Standardise the channels of each example in groups, then scale and shift each channel (Wu & He, 2018).

    The source is arXiv:1803.08494. Like `torch.nn.functional.group_norm`.

        F.group_norm(tc.randn(8, 6, 5, 5), 3).shape  # (8, 6, 5, 5)

    Args:
        input: (N, C, ...), floating point.
        num_groups: The number of groups, which divides C.
        weight, bias: Scale and shift, (C,), of the same dtype; None is 1 and 0.
        eps: Added to the variance, so that no group is divided by 0.

    Raises ShapeError where sizes do not fit, DtypeError where dtypes differ or are not floating point, and OptionError
    where `eps` is negative.
    """
    groups, eps = whole(num_groups, "group_norm: num_groups", minimum=1), non_negative("group_norm: eps", eps)
    return apply(ops.GroupNorm, checked_tensor("group_norm", "input", input), weight, bias, groups=groups, eps=eps)[0]


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of each example, then scale and shift it (Ulyanov et al., arXiv:1607.08022).

    Like `torch.nn.functional.instance_norm`: with the statistics of the input, towards whose means over the batch
    running ones, if given, move in place; or with the running ones.

        F.instance_norm(tc.randn(8, 3, 5, 5)).shape  # (8, 3, 5, 5)

    Args:
        input: (N, C, L) or (N, C, H, W), floating point.
        running_mean, running_var: (C,), of the same dtype, and without gradient.
        weight, bias: Scale and shift, (C,), of the same dtype; None is 1 and 0.
        use_input_stats: Whether to use the statistics of the input.
        momentum: The part of a running statistic that the input replaces.
        eps: Added to the variance, so that no channel is divided by 0.

    Raises ShapeError where sizes do not fit, a channel has one value, or running statistics are missing; DtypeError
    where dtypes differ or are not floating point; GraphError where running statistics require grad; OptionError where
    `momentum` is no number or `eps` is negative.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    momentum, eps = real("instance_norm: momentum", momentum), non_negative("instance_norm: eps", eps)
    if checked_tensor("instance_norm", "input", input).ndim < 3:
        raise ShapeError(f"instance_norm: expected (N, C, L) or (N, C, H, W), got {input.shape}")
    if product(input.shape[2:]) == 1:
        raise ShapeError(f"instance_norm: one value a channel has no variance, got {input.shape}")
    check_constant("instance_norm", "running_mean", running_mean)
    check_constant("instance_norm", "running_var", running_var)
    y, *found = apply(ops.GroupNorm, input, weight, bias, groups=max(input.shape[1], 1), eps=eps)
    if running_mean is not None and running_var is not None and input.numel():
        mean, var = (wrap(computed(methodcaller("mean", axis=0), each.array)) for each in found)
        move_running("instance_norm", running_mean, running_var, mean, var, momentum, product(input.shape[2:]))
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


def rms_norm(input: Tensor, normalized_shape: Size, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Divide each example by the root mean square of its last axes (Zhang & Sennrich, arXiv:1910.07467).

    Like `torch.nn.functional.rms_norm`.

        F.rms_norm(tc.full((4,), 2.0), 4, eps=0.0).tolist()  # [1.0, 1.0, 1.0, 1.0]

    Args:
        input: (..., *normalized_shape), floating point.
        normalized_shape: The sizes of the axes to take the mean over; a number is the last axis alone.
        weight: A scale, of shape `normalized_shape` and the same dtype; None is 1.
        eps: Added to the mean square; the machine epsilon of the dtype unless given.

    Raises ShapeError where sizes do not fit, DtypeError where the input is not floating point, and OptionError where
    `eps` is no finite number.
    """
    shape = tuple(sizes_of((normalized_shape,), "rms_norm: normalized_shape"))
    x = checked_tensor("rms_norm", "input", input)
    if not x.is_floating_point():
        raise DtypeError(f"rms_norm: expected a floating-point tensor, got {x.dtype}: x.float()?")
    if x.shape[max(x.ndim - len(shape), 0) :] != shape or (weight is not None and weight.shape != shape):
        also = "" if weight is None else f", with a weight of shape {weight.shape}"
        raise ShapeError(f"rms_norm: normalized_shape is {shape}, which does not fit {x.shape}{also}")
    eps = float(np.finfo(x.dtype).eps) if eps is None else finite("rms_norm: eps", eps)
    wide = x.float() if x.dtype == np.float16 else x
    y = (wide / ((wide * wide).mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).sqrt()).to(x.dtype)
    return y if weight is None else y * weight


@rounded_once
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha m)^beta, with m the mean of x^2 over `size` neighbouring channels (Krizhevsky et al., 2012).

    Beyond the first and the last channel there are zeros. Like `torch.nn.functional.local_response_norm`.

        F.local_response_norm(tc.ones(1, 3, 2), 3).shape  # (1, 3, 2)

    Args:
        input: (N, C, ...) with at least three axes, floating point.
        size: How many channels, size // 2 of them before the one in question.
        alpha, beta, k: Numbers of the formula.

    Raises ShapeError where the input has fewer axes or `size` is below 1, and OptionError where a number is none.
    """
    size = whole(size, "local_response_norm: size", minimum=1)
    alpha, beta, k = (real(f"local_response_norm: {n}", v) for n, v in {"alpha": alpha, "beta": beta, "k": k}.items())
    if checked_tensor("local_response_norm", "input", input).ndim < 3:
        raise ShapeError(f"local_response_norm: expected (N, C, ...) with at least 3 axes, got {input.shape}")
    if not input.numel():
        return input
    n, c = input.shape[:2]
    squares = pad((input * input).reshape(n, 1, c, -1), (0, 0, size // 2, (size - 1) // 2))
    means = avg_pool2d(squares, (size, 1), stride=1).reshape(input.shape)
    return input / (means * alpha + k) ** beta


@rounded_once
def normalize(input: Tensor, p: float = 2.0, dim: Dim = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|, eps), with the p-norm along `dim`: vectors of length 1. Like `torch.nn.functional.normalize`.

        F.normalize(tc.tensor([3.0, 4.0]), dim=0).tolist()  # [0.6000000238418579, 0.800000011920929]

    Args:
        input: Any shape, floating point.
        p: 1, 2 or infinity, as in `Tensor.norm`.
        dim: The axis or axes of the vectors.
        eps: The smallest length to divide by.

    Raises ShapeError for an axis that does not exist, ValueError for another p, and DtypeError where the input is not
    floating point.
    """
    length = checked_tensor("normalize", "input", input).norm(p, dim, keepdim=True)
    return input / length.clamp(min=finite("normalize: eps", eps))


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between two vectors, x1 x2 / (max(|x1|, eps) max(|x2|, eps)), along `dim`.

    Like `torch.nn.functional.cosine_similarity`.

        F.cosine_similarity(tc.ones(2, 3), tc.ones(2, 3)).shape  # (2,)

    Args:
        x1, x2: Tensors that broadcast, floating point.
        dim: The axis of the vectors.
        eps: The smallest length to divide by.

    Raises ShapeError where they do not broadcast or the axis does not exist, and DtypeError where one is not floating
    point.
    """
    check_broadcast("cosine_similarity", checked_tensor("cosine_similarity", "x1", x1), x2)
    shape = np.broadcast_shapes(x1.shape, checked_tensor("cosine_similarity", "x2", x2).shape)
    a, b = (normalize(x.expand(*shape), dim=dim, eps=eps) for x in (x1, x2))
    return (a * b).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis. Like `torch.nn.functional.pairwise_distance`.

        F.pairwise_distance(tc.zeros(2, 3), tc.ones(2, 3)).shape  # (2,)

    Args:
        x1, x2: Tensors that broadcast, floating point.
        p: 1, 2 or infinity, as in `Tensor.norm`.
        eps: Added to each difference, so that the gradient of a distance of 0 is finite.
        keepdim: Whether to keep the last axis, with size 1.

    Raises ShapeError where they do not broadcast, ValueError for another p, and DtypeError where one is not floating
    point.
    """
    check_broadcast("pairwise_distance", checked_tensor("pairwise_distance", "x1", x1), x2)
    return (x1 - x2 + finite("pairwise_distance: eps", eps)).norm(p, -1, keepdim)
