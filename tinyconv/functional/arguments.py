"""The checks of arguments that functions share, and the types of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from tinyconv.engine.context import is_grad_enabled
from tinyconv.errors import GraphError, shortened
from tinyconv.tensor.refusals import refuse
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn

Size: TypeAlias = int | Sequence[int]
OutputSize: TypeAlias = int | Sequence[int | None]
Padding: TypeAlias = Size | Literal["same", "valid"]
Reduction: TypeAlias = Literal["none", "mean", "sum"]


def checked_tensor(name: str, what: str, value: Tensor) -> Tensor:
    """The value, if it is a Tensor; DtypeError for anything else, which has no methods of one."""
    if not isinstance(value, Tensor):
        refuse(name, what, value)
    return value


def batch_of(input: Tensor, axes: int = 2) -> tuple[Tensor, bool]:
    """One example (C, H, W), or (C, L) with one axis, as a batch of one, and whether it was one."""
    if isinstance(input, Tensor) and len(input.array.shape) == 1 + axes:
        return input.unsqueeze(0), True
    return input, False


def check_constant(name: str, what: str, tensor: Tensor | None) -> None:
    """Refuse a tensor that requires grad where its gradient would silently be missing."""
    if tensor is not None and checked_tensor(name, what, tensor).requires_grad and is_grad_enabled():
        raise GraphError(f"{name}: {what} is a constant here and has no gradient; use {what}.detach()")


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {shortened(reduction)}")


def reduction_of(name: str, size_average: bool | None, reduce: bool | None, reduction: Reduction) -> Reduction:
    """The reduction that is meant, checked. `size_average` and `reduce` are how older programs said it: with a warning.

    ValueError for another reduction, and for a flag that is none: the reduction itself, most likely.
    """
    if size_average is not None or reduce is not None:
        for what, value in {"size_average": size_average, "reduce": reduce}.items():
            if value is not None and not isinstance(value, bool):
                hint = f"; reduction={value!r}?" if isinstance(value, str) else ""
                raise ValueError(f"{name}: {what} must be True or False, got {shortened(value)}{hint}")
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warn(f"{name}: size_average and reduce are how older programs say reduction={reduction!r}")
    check_reduction(name, reduction)
    return reduction
