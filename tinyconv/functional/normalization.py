"""Normalisations."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, non_negative, real
from tinyconv.engine.variants import kernel_for
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import (
    Size,
    check_constant,
)
from tinyconv.ops.norm import move_statistics
from tinyconv.shapes import sizes_of
from tinyconv.tensor.tensor import Tensor, apply


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
