"""Losses."""

from __future__ import annotations

from typing import Any

from tinyconv import ops
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.options import fraction
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import (
    Reduction,
    check_constant,
    check_reduction,
    checked_tensor,
)
from tinyconv.shapes import check_broadcast, whole
from tinyconv.tensor.tensor import Tensor, apply
from tinyconv.user_frame import warn


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
    checked_tensor("cross_entropy", "input", input), checked_tensor("cross_entropy", "target", target)
    check_reduction("cross_entropy", reduction)
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
    check_constant("cross_entropy", "weight", weight)
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
    checked_tensor("nll_loss", "input", input), checked_tensor("nll_loss", "target", target)
    check_reduction("nll_loss", reduction)
    ignore_index = whole(ignore_index, "nll_loss: ignore_index")
    if input.ndim == 1:
        _check_one_row("nll_loss", input, target)
        loss = nll_loss(input.unsqueeze(0), target.unsqueeze(0), weight, ignore_index, reduction)
        return loss.squeeze(0) if reduction == "none" else loss
    check_constant("nll_loss", "weight", weight)
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
    check_reduction("binary_cross_entropy_with_logits", reduction)
    check_constant("binary_cross_entropy_with_logits", "weight", weight)
    check_constant("binary_cross_entropy_with_logits", "pos_weight", pos_weight)
    return apply(ops.BceWithLogits, input, target, weight, pos_weight, reduction=reduction)


def _elementwise_loss(name: str, op: Any, input: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    check_reduction(name, reduction)
    check_broadcast(name, input, target)
    if input.shape != target.shape:
        warn(f"{name}: input is {input.shape} and target {target.shape}; they are broadcast, which is rarely meant")
    return apply(op, input, target, reduction=reduction)


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
