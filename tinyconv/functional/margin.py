"""Losses with a margin: what is right by enough costs nothing."""

from __future__ import annotations

from tinyconv import ops
from tinyconv.engine.options import finite
from tinyconv.errors import ShapeError
from tinyconv.functional.activation import logsigmoid, softplus
from tinyconv.functional.arguments import Reduction, check_constant, checked_tensor, reduction_of
from tinyconv.functional.loss import reduced
from tinyconv.functional.normalization import pairwise_distance
from tinyconv.shapes import check_broadcast, whole
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.tensor import Tensor, apply

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
]


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """x where t = 1, max(0, margin - x) where t = -1: x is a distance of two that are alike, or not.

    Like `torch.nn.functional.hinge_embedding_loss`.

        F.hinge_embedding_loss(tc.zeros(2), tc.tensor([1.0, -1.0]), reduction="none").tolist()  # [0.0, 1.0]

    Args:
        input: Distances x, any shape, floating point.
        target: 1 or -1 for each.
        margin: The distance from which on those that are not alike cost nothing.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, ValueError for another reduction, and OptionError where the margin
    is no number.
    """
    name = "hinge_embedding_loss"
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    check_broadcast(name, input, target)
    reduction, margin = reduction_of(name, size_average, reduce, reduction), finite(f"{name}: margin", margin)
    apart = apply(ops.Where, target != 1, (margin - input).clamp(min=0), 0.0)
    return reduced(apart + apply(ops.Where, target != -1, input, 0.0), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """max(0, margin - t (x1 - x2)): x1 is to be larger where t = 1, smaller where t = -1.

    Like `torch.nn.functional.margin_ranking_loss`.

        F.margin_ranking_loss(tc.zeros(2), tc.ones(2), tc.ones(2)).item()  # 1.0

    Args:
        input1, input2: x1 and x2, of one shape, floating point.
        target: 1 or -1 for each.
        margin: By how much.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, ValueError for another reduction, and OptionError where the margin
    is no number.
    """
    name = "margin_ranking_loss"
    for what, tensor in {"input1": input1, "input2": input2, "target": target}.items():
        checked_tensor(name, what, tensor)
    check_broadcast(name, input1, input2, target)
    reduction, margin = reduction_of(name, size_average, reduce, reduction), finite(f"{name}: margin", margin)
    return reduced((margin - target * (input1 - input2)).clamp(min=0), reduction)


@rounded_once
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """max(0, margin + |a - p| - |a - n|): the anchor a is to be nearer to p than to n (Schroff et al., 2015).

    The source is arXiv:1503.03832. Like `torch.nn.functional.triplet_margin_loss`.

        F.triplet_margin_loss(tc.zeros(2, 3), tc.zeros(2, 3), tc.zeros(2, 3)).item()  # 1.0

    Args:
        anchor, positive, negative: a, p and n, (N, D) or (D,), floating point.
        margin: By how much.
        p: The norm, 1, 2 or infinity.
        eps: Added to each difference, so that the gradient of a distance of 0 is finite.
        swap: Whether |p - n| counts where it is less than |a - n| (Balntas et al., BMVC 2016).
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ShapeError where shapes do not broadcast, ValueError for another reduction or norm, and OptionError where the
    margin is no number.
    """
    name = "triplet_margin_loss"
    for what, tensor in {"anchor": anchor, "positive": positive, "negative": negative}.items():
        checked_tensor(name, what, tensor)
    check_broadcast(name, anchor, positive, negative)
    reduction, margin = reduction_of(name, size_average, reduce, reduction), finite(f"{name}: margin", margin)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced((margin + near - far).clamp(min=0), reduction)


@rounded_once
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """1 - cos where t = 1, max(0, cos - margin) where t = -1, with the cosine of the angle between two vectors.

    Like `torch.nn.functional.cosine_embedding_loss`.

        F.cosine_embedding_loss(tc.ones(2, 3), tc.ones(2, 3), -tc.ones(2)).shape  # ()

    Args:
        input1, input2: Vectors (N, D) or (D,), floating point.
        target: 1 or -1 for each, (N,) or ().
        margin: The cosine up to which those that are not alike cost nothing.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ShapeError where shapes do not fit, ValueError for another reduction, and OptionError where the margin is no
    number.
    """
    name = "cosine_embedding_loss"
    for what, tensor in {"input1": input1, "input2": input2, "target": target}.items():
        checked_tensor(name, what, tensor)
    if not target.ndim + 1 == input1.ndim == input2.ndim or input1.ndim > 2:
        raise ShapeError(
            f"{name}: expected vectors (N, D) and targets (N,), or (D,) and (), got {input1.shape}, {input2.shape} and "
            f"{target.shape}"
        )
    check_broadcast(name, input1, input2)
    reduction, margin = reduction_of(name, size_average, reduce, reduction), finite(f"{name}: margin", margin)
    lengths = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / lengths.sqrt()
    check_broadcast(name, cosine, target)
    loss = apply(ops.Where, target == 1, 1 - cosine, 0.0)
    return reduced(loss + apply(ops.Where, target == -1, (cosine - margin).clamp(min=0), 0.0), reduction)


@rounded_once
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean over the classes j of max(0, margin - x_t + x_j)^p, without j = t (Crammer & Singer, 2001).

    Like `torch.nn.functional.multi_margin_loss`.

        F.multi_margin_loss(tc.zeros(2, 4), tc.tensor([0, 3])).item()  # 0.75

    Args:
        input: Scores (N, C) or (C,), floating point; () is one class.
        target: Class indices (N,) or ().
        p: 1 or 2.
        margin: By how much the score of the target is to be above the others.
        weight: A weight for each class, (C,), of the dtype of the input.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ShapeError where shapes do not fit, ValueError for another reduction or p, OptionError where the margin is no
    number, and GraphError where `weight` requires grad.
    """
    name = "multi_margin_loss"
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    reduction, margin = reduction_of(name, size_average, reduce, reduction), finite(f"{name}: margin", margin)
    check_constant(name, "weight", weight)
    if whole(p, f"{name}: p") not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    if input.ndim < 2:
        one = multi_margin_loss(input.reshape(1, -1), target.reshape(1), p, margin, weight, reduction=reduction)
        return one.reshape(()) if reduction == "none" and not target.ndim else one
    if input.ndim != 2 or target.shape != input.shape[:1] or (weight is not None and weight.shape != input.shape[1:]):
        given = "" if weight is None else f" and a weight {weight.shape}"
        raise ShapeError(f"{name}: expected scores (N, C) and targets (N,), got {input.shape}, {target.shape}{given}")
    if not input.shape[1]:
        raise ShapeError(f"{name}: there is no class in scores of shape {input.shape}")
    right = target.long().unsqueeze(1)
    short = (margin - input.gather(1, right) + input).relu()
    loss = short if p == 1 else short * short
    if weight is not None:
        loss = loss * weight.gather(0, target.long()).unsqueeze(1)
    return reduced(loss.scatter(1, right, 0.0).sum(1) / input.shape[1], reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """ln(1 + e^(-t x)), for targets t of 1 and -1. Like `torch.nn.functional.soft_margin_loss`.

        round(F.soft_margin_loss(tc.zeros(2), tc.ones(2)).item(), 4)  # 0.6931

    Args:
        input: Scores x, any shape, floating point.
        target: 1 or -1 for each, of their dtype.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ShapeError where shapes do not broadcast, and ValueError for another reduction.
    """
    name = "soft_margin_loss"
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    check_broadcast(name, input, target)
    reduction = reduction_of(name, size_average, reduce, reduction)
    return reduced(softplus(-target * input, threshold=float("inf")), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean over the classes of -(t ln s + (1 - t) ln(1 - s)), with s = sigmoid(x): several labels may be right.

    Like `torch.nn.functional.multilabel_soft_margin_loss`.

        round(F.multilabel_soft_margin_loss(tc.zeros(2, 3), tc.ones(2, 3)).item(), 4)  # 0.6931

    Args:
        input: Scores x (..., C), floating point.
        target: 0 or 1 for each, of their shape.
        weight: A weight for each class, which broadcasts to the input.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ShapeError where shapes do not broadcast, ValueError for another reduction, and GraphError where `weight`
    requires grad.
    """
    name = "multilabel_soft_margin_loss"
    checked_tensor(name, "input", input), checked_tensor(name, "target", target)
    check_broadcast(name, input, target)
    check_constant(name, "weight", weight)
    reduction = reduction_of(name, size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return reduced(loss.sum(-1) / (input.shape[-1] if input.ndim else 1), reduction)
