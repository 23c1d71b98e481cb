"""Losses."""

from __future__ import annotations

from math import log, pi
from typing import Any, Literal

from tinyconv import ops
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.options import fraction, non_negative, positive, real
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import Reduction, check_constant, check_reduction, checked_tensor, reduction_of
from tinyconv.shapes import check_broadcast, whole
from tinyconv.tensor.creation import full_like
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.tensor import Tensor, apply
from tinyconv.user_frame import warn

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
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
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        ignore_index: A class index that does not count.
        reduction: "mean" divides by the weights of the targets (for probabilities, by N), "sum" adds up, "none" gives
            a loss for each target: (N, ...).
        label_smoothing: The part e of a target that is spread evenly over the classes (Szegedy et al.,
            arXiv:1512.00567).

    Raises ShapeError where shapes do not fit or an index is not a class (on a GPU indices are not checked), DtypeError
    where dtypes do not fit, ValueError for another reduction or smoothing, and GraphError where `weight` requires grad.
    """
    checked_tensor("cross_entropy", "input", input), checked_tensor("cross_entropy", "target", target)
    reduction = reduction_of("cross_entropy", size_average, reduce, reduction)
    label_smoothing = fraction("cross_entropy: label_smoothing", label_smoothing)
    ignore_index = whole(ignore_index, "cross_entropy: ignore_index")
    if isinstance(input._node, OpNode) and input._node.op is ops.Softmax:
        warn(
            "cross_entropy: the input comes out of softmax, but cross_entropy takes logits and applies softmax itself; "
            "applied twice it flattens the gradients: remove the softmax from the model"
        )
    if input.ndim == 1:
        _check_one_row("cross_entropy", input, target)
        one, its = input.unsqueeze(0), target.unsqueeze(0)
        loss = cross_entropy(one, its, weight, None, ignore_index, None, reduction, label_smoothing)
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
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of class indices under log-probabilities. Like `torch.nn.functional.nll_loss`.

        round(F.nll_loss(tc.zeros(8, 2).log_softmax(1), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        input: Log-probabilities (N, C), (N, C, ...) or (C,), floating point.
        target: Class indices (N, ...), integers.
        weight: A weight for each class, (C,), of the dtype of the input.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        ignore_index: A class index that does not count.
        reduction: "mean" divides by the weights of the targets, "sum" adds up, "none" gives a loss for each target.

    Raises ShapeError where shapes do not fit or an index is not a class (on a GPU indices are not checked), DtypeError
    where dtypes do not fit, ValueError for another reduction, and GraphError where `weight` requires grad.
    """
    checked_tensor("nll_loss", "input", input), checked_tensor("nll_loss", "target", target)
    reduction = reduction_of("nll_loss", size_average, reduce, reduction)
    ignore_index = whole(ignore_index, "nll_loss: ignore_index")
    if input.ndim == 1:
        _check_one_row("nll_loss", input, target)
        loss = nll_loss(input.unsqueeze(0), target.unsqueeze(0), weight, None, ignore_index, None, reduction)
        return loss.squeeze(0) if reduction == "none" else loss
    check_constant("nll_loss", "weight", weight)
    return apply(ops.NllLoss, input, target, weight, ignore_index=ignore_index, reduction=reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """(input - target)^2. Like `torch.nn.functional.mse_loss`.

        F.mse_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 9.0

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point, and
    ValueError for another reduction.
    """
    reduction = reduction_of("mse_loss", size_average, reduce, reduction)
    return _elementwise_loss("mse_loss", ops.MseLoss, input, target, reduction=reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """|input - target|. Like `torch.nn.functional.l1_loss`.

        F.l1_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 3.0

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point, and
    ValueError for another reduction.
    """
    reduction = reduction_of("l1_loss", size_average, reduce, reduction)
    return _elementwise_loss("l1_loss", ops.L1Loss, input, target, reduction=reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = input - target (Girshick, arXiv:1504.08083).

    It is `huber_loss` with delta = beta, divided by beta; and with beta = 0 `l1_loss`. Like
    `torch.nn.functional.smooth_l1_loss`.

        F.smooth_l1_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 2.5

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.
        beta: Where the parabola ends, at least 0.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point,
    ValueError for another reduction, and OptionError where `beta` is no number >= 0.
    """
    reduction = reduction_of("smooth_l1_loss", size_average, reduce, reduction)
    beta = non_negative("smooth_l1_loss: beta", beta)
    if beta == 0:
        return _elementwise_loss("smooth_l1_loss", ops.L1Loss, input, target, reduction=reduction)
    return _elementwise_loss("smooth_l1_loss", ops.HuberLoss, input, target, reduction=reduction, delta=beta) / beta


def huber_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target (Huber, 1964).

    Like `torch.nn.functional.huber_loss`.

        F.huber_loss(tc.zeros(4), tc.full((4,), 3.0)).item()  # 2.5

    Args:
        input: Any shape, floating point.
        target: The same shape and dtype; another shape is broadcast, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.
        delta: Where the parabola ends, above 0.

    Raises ShapeError where shapes do not broadcast, DtypeError where dtypes differ or are not floating point,
    ValueError for another reduction, and OptionError where `delta` is no number > 0.
    """
    check_reduction("huber_loss", reduction)
    delta = positive("huber_loss: delta", delta)
    return _elementwise_loss("huber_loss", ops.HuberLoss, input, target, reduction=reduction, delta=delta)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction | Literal["batchmean"] = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (ln t - x), of log-probabilities x and probabilities t: how far apart two distributions are (Kullback-Leibler).

    Where t = 0 it is 0. Like `torch.nn.functional.kl_div`.

        F.kl_div(tc.zeros(2, 2), tc.ones(2, 2), reduction="batchmean").item()  # 0.0

    Args:
        input: Log-probabilities of any shape, floating point.
        target: Probabilities that broadcast with it, of its dtype; or their logarithms.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "batchmean" divides the sum by the size of the first axis; "mean" by that of all, with a warning;
            "sum" adds up, "none" gives a loss for each element.
        log_target: Whether the target is the logarithm of probabilities.

    Raises ShapeError where shapes do not broadcast, DtypeError where one is not floating point, and ValueError for
    another reduction.
    """
    checked_tensor("kl_div", "input", input), checked_tensor("kl_div", "target", target)
    check_broadcast("kl_div", input, target)
    how: Reduction = "sum" if reduction == "batchmean" else reduction
    how = reduction_of("kl_div", size_average, reduce, how)
    if reduction == "mean" and how == "mean":
        warn("kl_div: 'mean' divides by the size of all axes; the divergence is what 'batchmean' gives")
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target * (apply(ops.Where, target == 0, 1.0, target).log() - input)
    loss = reduced(loss, how)
    return loss / (input.shape[0] if input.ndim else 1) if reduction == "batchmean" else loss


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """-(t ln x + (1 - t) ln(1 - x)) of probabilities x; no logarithm is below -100.

    For logits take `binary_cross_entropy_with_logits`, which is exact far out. Like
    `torch.nn.functional.binary_cross_entropy`.

        round(F.binary_cross_entropy(tc.full((4,), 0.5), tc.ones(4)).item(), 4)  # 0.6931

    Args:
        input: Probabilities of any shape, floating point.
        target: Probabilities, of the shape and dtype of the input.
        weight: A weight for each element; it must broadcast to the input.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not fit or an element of the input is no probability (on a GPU they are not
    checked), DtypeError where dtypes differ or are not floating point, ValueError for another reduction, and GraphError
    where a weight requires grad.
    """
    reduction = reduction_of("binary_cross_entropy", size_average, reduce, reduction)
    check_constant("binary_cross_entropy", "weight", weight)
    return apply(ops.Bce, input, target, weight, reduction=reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """e^x - t x: minus the logarithm of the probability of t in a Poisson distribution of mean e^x, but for ln t!.

    Like `torch.nn.functional.poisson_nll_loss`.

        F.poisson_nll_loss(tc.zeros(4), tc.ones(4)).item()  # 1.0

    Args:
        input: Logarithms of means, any shape, floating point; or the means.
        target: Counts that broadcast with it.
        log_input: Whether the input is logarithms; if not the loss is x - t ln(x + eps).
        full: Whether to add ln t!, by Stirling's formula, where t > 1.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        eps: What keeps the logarithm finite.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, and ValueError for another reduction.
    """
    checked_tensor("poisson_nll_loss", "input", input), checked_tensor("poisson_nll_loss", "target", target)
    check_broadcast("poisson_nll_loss", input, target)
    reduction = reduction_of("poisson_nll_loss", size_average, reduce, reduction)
    eps = real("poisson_nll_loss: eps", eps)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        count = apply(ops.Where, target > 1, target, 1)
        stirling = count * count.log() - count + 0.5 * (2 * pi * count).log()
        loss = loss + apply(ops.Where, target > 1, stirling, 0.0)
    return reduced(loss, reduction)


@rounded_once
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """(ln var + (x - t)^2 / var) / 2: minus the logarithm of a normal density of mean x at t, but for ln 2 pi.

    Like `torch.nn.functional.gaussian_nll_loss`.

        F.gaussian_nll_loss(tc.zeros(4), tc.ones(4), 1.0).item()  # 0.5

    Args:
        input: Means x, any shape, floating point.
        target: What was observed, t, of the same shape.
        var: Variances that broadcast to the input, or one number.
        full: Whether to add ln(2 pi) / 2.
        eps: The least variance; where it counts, the gradient is that of the variance all the same.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, ValueError for another reduction or a variance below 0, and
    OptionError where `eps` is no number > 0.
    """
    checked_tensor("gaussian_nll_loss", "input", input), checked_tensor("gaussian_nll_loss", "target", target)
    check_reduction("gaussian_nll_loss", reduction)
    eps = positive("gaussian_nll_loss: eps", eps)
    if not isinstance(var, Tensor):
        var = full_like(input, real("gaussian_nll_loss: var", var))
    elif var.ndim == input.ndim - 1 and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)  # one variance for each row
    check_broadcast("gaussian_nll_loss", input, target, var)
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    return reduced(loss + 0.5 * log(2 * pi) if full else loss, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
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
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.
        pos_weight: A weight for the positive class; it must broadcast to the input.

    Raises ShapeError where shapes do not fit, DtypeError where dtypes differ or are not floating point, ValueError for
    another reduction, and GraphError where a weight requires grad.
    """
    reduction = reduction_of("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    check_constant("binary_cross_entropy_with_logits", "weight", weight)
    check_constant("binary_cross_entropy_with_logits", "pos_weight", pos_weight)
    return apply(ops.BceWithLogits, input, target, weight, pos_weight, reduction=reduction)


def reduced(loss: Tensor, reduction: Reduction) -> Tensor:
    """The losses of all elements as they are, added up, or their mean."""
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _elementwise_loss(name: str, op: Any, input: Tensor, target: Tensor, **geometry: Any) -> Tensor:
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    check_broadcast(name, input, target)
    if input.shape != target.shape:
        warn(f"{name}: input is {input.shape} and target {target.shape}; they are broadcast, which is rarely meant")
    return apply(op, input, target, **geometry)


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
