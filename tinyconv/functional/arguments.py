"""The checks of arguments that functions share, and the types of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from tinyconv.engine.context import is_grad_enabled
from tinyconv.errors import GraphError, shortened
from tinyconv.tensor.refusals import refuse
from tinyconv.tensor.tensor import Tensor

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
