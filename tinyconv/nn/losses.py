"""Losses as modules, with torch's names and arguments; the functions in `functional` say what they compute."""

from __future__ import annotations

from typing import ClassVar

from tinyconv import functional as F
from tinyconv.engine.options import fraction
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import Reduction
from tinyconv.nn.module import Module
from tinyconv.shapes import whole
from tinyconv.tensor.tensor import Tensor

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class _Loss(Module):
    """The base of the losses: a weight, moved with the module but not saved, and a reduction."""

    weight: Tensor | None
    per_class: ClassVar[bool] = False  # whether the weight has one number a class

    def __init__(self, weight: Tensor | None = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        owner = type(self).__name__
        called = f"a loss is made first, and then called: nn.{owner}()(input, target)"
        if self.per_class and isinstance(weight, Tensor) and weight.ndim != 1:
            raise ShapeError(f"{owner}: weight must hold one number a class, (C,), got {weight.shape}; {called}")
        if not isinstance(reduction, str) or reduction not in ("none", "mean", "sum"):
            got = f"a tensor; {called}" if isinstance(reduction, Tensor) else repr(reduction)
            raise ValueError(f"{owner}: reduction must be 'none', 'mean' or 'sum', got {got}")
        self.register_buffer("weight", weight, persistent=False)
        self.reduction: Reduction = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """Softmax and cross-entropy of logits (N, C, ...) with class indices (N, ...) or probabilities (N, C, ...).

    `functional.cross_entropy` says what it computes. Like `torch.nn.CrossEntropyLoss`.

        round(nn.CrossEntropyLoss()(tc.zeros(8, 2), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each class, (C,), of the dtype of the logits. It is a buffer, but not saved.
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
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = whole(ignore_index, "CrossEntropyLoss: ignore_index")
        self.label_smoothing = fraction("CrossEntropyLoss: label_smoothing", label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """Negative log-likelihood of class indices (N, ...) under log-probabilities (N, C, ...). Like `torch.nn.NLLLoss`.

        round(nn.NLLLoss()(tc.zeros(8, 2).log_softmax(1), tc.zeros(8, dtype=tc.int64)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each class, (C,), of the dtype of the input. It is a buffer, but not saved.
        ignore_index: A class index that does not count.
        reduction: "mean", "sum", or "none" for a loss of each target.

    Raises ShapeError for a weight of another shape or an `ignore_index` that is no integer, and ValueError for another
    reduction. A call raises what `functional.nll_loss` does.
    """

    per_class = True

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: Reduction = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = whole(ignore_index, "NLLLoss: ignore_index")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """(input - target)^2 of two tensors of one shape and dtype. Like `torch.nn.MSELoss`.

        nn.MSELoss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 9.0

    Args:
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises what `functional.mse_loss` does.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__(None, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(MSELoss):
    """|input - target| of two tensors of one shape and dtype. Like `torch.nn.L1Loss`.

        nn.L1Loss()(tc.zeros(4), tc.full((4,), 3.0)).item()  # 3.0

    Args:
        reduction: "mean", "sum", or "none" for a loss of each element.

    Raises ValueError for another reduction. A call raises what `functional.l1_loss` does.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of sigmoid(logits) with probabilities of their shape. Like `torch.nn.BCEWithLogitsLoss`.

        round(nn.BCEWithLogitsLoss()(tc.zeros(4), tc.ones(4)).item(), 4)  # 0.6931

    Args:
        weight: A weight for each element; it must broadcast to the input. It is a buffer, but not saved.
        reduction: "mean", "sum", or "none" for a loss of each element.
        pos_weight: A weight for the positive class; it must broadcast to the input. It is a buffer, but not saved.

    Raises ValueError for another reduction. A call raises what `functional.binary_cross_entropy_with_logits` does.
    """

    pos_weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, reduction: Reduction = "mean", pos_weight: Tensor | None = None
    ) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)
