"""Losses as modules, with torch's names and arguments; the functions in `functional` say what they compute."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

from tinyconv import functional as F
from tinyconv.engine.options import finite, fraction, non_negative, positive, real
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import Reduction, reduction_of
from tinyconv.nn.module import Module
from tinyconv.shapes import whole
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HingeEmbeddingLoss",
    "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "MarginRankingLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss",
    "NLLLoss", "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss",
]
# fmt: on


REDUCTIONS = "none", "mean", "sum"


def said(names: tuple[str, ...]) -> str:
    """A list as a sentence has it."""
    return f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"


class _Loss(Module):
    """The base of the losses: a weight, which is a buffer, and a reduction."""

    weight: Tensor | None
    per_class: ClassVar[bool] = False  # whether the weight has one number a class
    reductions: ClassVar[tuple[str, ...]] = REDUCTIONS

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Any = "mean",
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        called = f"a loss is made first, and then called: nn.{owner}()(input, target)"
        if self.per_class and isinstance(weight, Tensor) and weight.ndim != 1:
            raise ShapeError(f"{owner}: weight must hold one number a class, (C,), got {weight.shape}; {called}")
        for what, flag in {"size_average": size_average, "reduce": reduce}.items():
            if isinstance(flag, Tensor):
                raise ValueError(f"{owner}: {what} must be True or False, got a tensor; {called}")
        if not isinstance(reduction, str) or reduction not in self.reductions:
            got = f"a tensor; {called}" if isinstance(reduction, Tensor) else repr(reduction)
            raise ValueError(f"{owner}: reduction must be {said(self.reductions)}, got {got}")
        if size_average is not None or reduce is not None:
            reduction = reduction_of(owner, size_average, reduce, "mean")
        self.register_buffer("weight", weight)
        self.reduction: Any = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """Softmax and cross-entropy of logits (N, C, ...) with class indices (N, ...) or probabilities (N, C, ...).

    `functional.cross_entropy` says what it computes. Like `torch.nn.CrossEntropyLoss`.

        round(nn.CrossEntropyLoss()(tc.zeros(8, 2), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each class, (C,), of the dtype of the logits. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        ignore_index: A class index that does not count.
        reduction: "mean", "sum", or "none" for a loss of each target.
        label_smoothing: The part of a target that is spread evenly over the classes.

    Raises ShapeError for a weight of another shape or an `ignore_index` that is no integer, ValueError for another
    reduction, and OptionError where `label_smoothing` is not in [0, 1]. A call raises what `functional.cross_entropy`
    does.
    """

    per_class = True

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = whole(ignore_index, "CrossEntropyLoss: ignore_index")
        self.label_smoothing = fraction("CrossEntropyLoss: label_smoothing", label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """Negative log-likelihood of class indices (N, ...) under log-probabilities (N, C, ...). Like `torch.nn.NLLLoss`.

        round(nn.NLLLoss()(tc.zeros(8, 2).log_softmax(1), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each class, (C,), of the dtype of the input. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        ignore_index: A class index that does not count.
        reduction: "mean", "sum", or "none" for a loss of each target.

    Raises ShapeError for a weight of another shape or an `ignore_index` that is no integer, and ValueError for another
    reduction. A call raises what `functional.nll_loss` does.
    """

    per_class = True

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = whole(ignore_index, "NLLLoss: ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class _Plain(_Loss):
    """The base of losses without a weight."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(None, size_average, reduce, reduction)


class MSELoss(_Plain):
    """(input - target)^2 of two tensors of one shape and dtype. Like `torch.nn.MSELoss`.

        nn.MSELoss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 9.0

    Args:
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises what `functional.mse_loss` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Plain):
    """|input - target| of two tensors of one shape and dtype. Like `torch.nn.L1Loss`.

        nn.L1Loss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 3.0

    Args:
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises what `functional.l1_loss` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Plain):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = input - target (Girshick, arXiv:1504.08083).

    Like `torch.nn.SmoothL1Loss`.

        nn.SmoothL1Loss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 2.5

    Args:
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.
        beta: Where the parabola ends, at least 0.

    Raises ValueError for another reduction, and OptionError where `beta` is no number >= 0. A call raises what
    `functional.smooth_l1_loss` does.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = non_negative("SmoothL1Loss: beta", beta)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target (Huber, 1964).

    Like `torch.nn.HuberLoss`.

        nn.HuberLoss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 2.5

    Args:
        reduction: "mean", "sum", or "none" for a loss of each element.
        delta: Where the parabola ends, above 0.

    Raises ValueError for another reduction, and OptionError where `delta` is no number > 0. A call raises what
    `functional.huber_loss` does.
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = positive("HuberLoss: delta", delta)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(_Plain):
    """t (ln t - x), of log-probabilities x and probabilities t (Kullback-Leibler). Like `torch.nn.KLDivLoss`.

        nn.KLDivLoss(reduction="batchmean")(tc.zeros(2, 2), tc.ones(2, 2)).item()  # 0.0

    Args:
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "batchmean", the sum divided by the size of the first axis; "mean", "sum" or "none".
        log_target: Whether the target is the logarithm of probabilities.

    Raises ValueError for another reduction. A call raises what `functional.kl_div` does.
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction | Literal["batchmean"] = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, cast("Reduction", reduction))
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Plain):
    """e^x - t x: minus the logarithm of the probability of t in a Poisson distribution of mean e^x, but for ln t!.

    Like `torch.nn.PoissonNLLLoss`.

        nn.PoissonNLLLoss()(tc.zeros(4), tc.ones(4)).item()  # 1.0

    Args:
        log_input: Whether the input is logarithms; if not the loss is x - t ln(x + eps).
        full: Whether to add ln t!, by Stirling's formula, where t > 1.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        eps: What keeps the logarithm finite.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction, and OptionError where `eps` is no number. A call raises what
    `functional.poisson_nll_loss` does.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, real("PoissonNLLLoss: eps", eps)

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """(ln var + (x - t)^2 / var) / 2, minus the logarithm of a normal density. Like `torch.nn.GaussianNLLLoss`.

        nn.GaussianNLLLoss()(tc.zeros(4), tc.ones(4), tc.ones(4)).item()  # 0.5

    Args:
        full: Whether to add ln(2 pi) / 2.
        eps: The least variance.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction, and OptionError where `eps` is no number > 0. A call raises what
    `functional.gaussian_nll_loss` does.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, positive("GaussianNLLLoss: eps", eps)

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class BCELoss(_Loss):
    """Cross-entropy of probabilities with probabilities of their shape. Like `torch.nn.BCELoss`.

    For logits take BCEWithLogitsLoss, which is exact far out.

        round(nn.BCELoss()(tc.full((4,), 0.5), tc.ones(4)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each element; it must broadcast to the input. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises ShapeError where shapes do not fit, and what
    `functional.binary_cross_entropy` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of sigmoid(logits) with probabilities of their shape. Like `torch.nn.BCEWithLogitsLoss`.

        round(nn.BCEWithLogitsLoss()(tc.zeros(4), tc.ones(4)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each element; it must broadcast to the input. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.
        pos_weight: A weight for the positive class; it must broadcast to the input. It is a buffer.

    Raises ValueError for another reduction. A call raises what `functional.binary_cross_entropy_with_logits` does.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class HingeEmbeddingLoss(_Plain):
    """x where t = 1, max(0, margin - x) where t = -1: x is a distance of two that are alike, or not.

    Like `torch.nn.HingeEmbeddingLoss`.

        nn.HingeEmbeddingLoss(reduction="none")(tc.zeros(2), tc.tensor([1.0, -1.0])).tolist()  # [0.0, 1.0]

    Args:
        margin: The distance from which on those that are not alike cost nothing.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction, and OptionError where a number is none. A call raises what
    `functional.hinge_embedding_loss` does.
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = finite("HingeEmbeddingLoss: margin", margin)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_Plain):
    """max(0, margin - t (x1 - x2)): x1 is to be larger where t = 1, smaller where t = -1.

    Like `torch.nn.MarginRankingLoss`.

        nn.MarginRankingLoss()(tc.zeros(2), tc.ones(2), tc.ones(2)).item()  # 1.0

    Args:
        margin: By how much.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction, and OptionError where a number is none. A call raises what
    `functional.margin_ranking_loss` does.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = finite("MarginRankingLoss: margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Plain):
    """1 - cos where t = 1, max(0, cos - margin) where t = -1, with the cosine of the angle between two vectors.

    Like `torch.nn.CosineEmbeddingLoss`.

        nn.CosineEmbeddingLoss()(tc.ones(2, 3), tc.ones(2, 3), -tc.ones(2)).shape  # ()

    Args:
        margin: The cosine up to which those that are not alike cost nothing.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ValueError for another reduction, and OptionError where a number is none. A call raises what
    `functional.cosine_embedding_loss` does.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = finite("CosineEmbeddingLoss: margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(_Plain):
    """max(0, margin + |a - p| - |a - n|): the anchor a is to be nearer to p than to n (Schroff et al., 2015).

    The source is arXiv:1503.03832. Like `torch.nn.TripletMarginLoss`.

        nn.TripletMarginLoss()(tc.zeros(2, 3), tc.zeros(2, 3), tc.zeros(2, 3)).item()  # 1.0

    Args:
        margin: By how much.
        p: The norm, 1, 2 or infinity.
        eps: Added to each difference, so that the gradient of a distance of 0 is finite.
        swap: Whether |p - n| counts where it is less than |a - n|.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ValueError for another reduction, and OptionError where a number is none. A call raises what
    `functional.triplet_margin_loss` does.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin, self.p = finite("TripletMarginLoss: margin", margin), real("TripletMarginLoss: p", p)
        self.eps, self.swap = finite("TripletMarginLoss: eps", eps), swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class SoftMarginLoss(_Plain):
    """ln(1 + e^(-t x)), for targets t of 1 and -1. Like `torch.nn.SoftMarginLoss`.

        round(nn.SoftMarginLoss()(tc.zeros(2), tc.ones(2)).item(), 4)  # 0.6931

    Args:
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises what `functional.soft_margin_loss` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_Loss):
    """The mean over the classes j of max(0, margin - x_t + x_j)^p, without j = t (Crammer & Singer, 2001).

    Like `torch.nn.MultiMarginLoss`.

        nn.MultiMarginLoss()(tc.zeros(2, 4), tc.tensor([0, 3])).item()  # 0.75

    Args:
        p: 1 or 2.
        margin: By how much the score of the target is to be above the others.
        weight: A weight for each class, (C,), of the dtype of the input. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ShapeError for a weight of another shape, ValueError for another reduction or p, and OptionError where the
    margin is no number. A call raises what `functional.multi_margin_loss` does.
    """

    per_class = True

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.p, self.margin = whole(p, "MultiMarginLoss: p"), finite("MultiMarginLoss: margin", margin)
        if self.p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """The mean over the classes of the cross-entropy of sigmoid(x) with 0 or 1: several labels may be right.

    Like `torch.nn.MultiLabelSoftMarginLoss`.

        round(nn.MultiLabelSoftMarginLoss()(tc.zeros(2, 3), tc.ones(2, 3)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each class, (C,), of the dtype of the input. It is a buffer.
        size_average, reduce: What `reduction` says, as older programs say it, with a warning.
        reduction: "mean", "sum", or "none" for a loss of each example.

    Raises ValueError for another reduction. A call raises ShapeError where shapes do not fit, and what
    `functional.multilabel_soft_margin_loss` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
