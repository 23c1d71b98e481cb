"""Functions of several tensors: where, cat and stack, and those by other axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np

from tinyconv import ops, shapes
from tinyconv.engine.dtypes import result_type
from tinyconv.errors import DtypeError, ShapeError
from tinyconv.tensor.arranging import atleast_1d, atleast_2d, atleast_3d
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.picking import nonzero
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Operand
from tinyconv.tensor.tensor import Tensor, apply, kind_of, operand, wrap

__all__ = ["cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "row_stack", "stack", "vstack", "where"]


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor: ...
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Any:
    """`input` where `condition` is true, else `other`; all three broadcast. Like `torch.where`.

    Args:
        condition: A bool tensor. Alone, it gives the places where it is true: `nonzero(condition, as_tuple=True)`.
        input, other: Tensors or numbers. The result has the dtype that their sum would have.

    Raises DtypeError where the condition is not bool, or an operand is neither a tensor nor a number, and ShapeError
    where the shapes do not broadcast.

        tc.where(x > 0, x, 0.0)
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor) or condition.dtype != np.bool_:
        raise DtypeError(f"where: the condition must be a bool tensor, got {getattr(condition, 'dtype', condition)}")
    a, b = operand(input), operand(other)
    if a is None or b is None:
        given = " and ".join(type(value).__name__ for value in (input, other))
        raise DtypeError(f"where: expected tensors or numbers, got {given}")
    dtype = result_type(map(kind_of, (a, b)))
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = wrap(to_array(a, None, condition.device))
    a, b = (x.to(dtype) if isinstance(x, Tensor) else x for x in (a, b))
    try:
        chosen: Tensor = apply(ops.Where, condition, a, b)
    except ValueError:
        shapes.check_broadcast("where", condition, a, b)
        raise
    return chosen


def where_true(input: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """This tensor where `condition` is true, else `other`: `where(condition, x, other)`, as a method `x.where(...)`."""
    return where(condition, input, other)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors end to end along `dim`; their other sizes must be equal. Like `torch.cat`.

    An empty tensor with one axis fits any others: older code begins with `cat([tensor([]), x])`, and so does torch.
    The result has the dtype that the sum of the tensors would have. Raises ShapeError where there is no tensor or the
    sizes do not fit, and DtypeError for anything but tensors.

        tc.cat([tc.ones(2, 3), tc.zeros(1, 3)]).shape  # (3, 3)
    """
    return _join(ops.Cat, "cat", tensors, dim, 0)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, side by side along a new axis at `dim`. Like `torch.stack`.

    The result has the dtype that the sum of the tensors would have. Raises ShapeError where there is no tensor or the
    shapes differ, and DtypeError for anything but tensors.

        tc.stack([tc.ones(3), tc.zeros(3)]).shape  # (2, 3)
    """
    return _join(ops.Stack, "stack", tensors, dim, 1)


concat = concatenate = cat


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors end to end along the second axis, vectors along their only one. Raises what `cat` raises."""
    grown = _grown("hstack", tensors, atleast_1d)
    return cat(grown, 0 if grown[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors end to end along the first axis, where vectors are rows. Raises what `cat` raises."""
    return cat(_grown("vstack", tensors, atleast_2d))


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors end to end along the third axis, as `atleast_3d` makes them. Raises what `cat` raises."""
    return cat(_grown("dstack", tensors, atleast_3d), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`hstack`, where vectors are columns. Raises what `cat` raises."""
    return cat(_grown("column_stack", tensors, lambda t: t.reshape(-1, 1) if t.ndim < 2 else t), 1)


def _grown(name: str, tensors: Any, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    if not isinstance(tensors, Iterable) or isinstance(tensors, Tensor):
        raise DtypeError(f"{name}: expected a list of tensors, got {type(tensors).__name__}")
    grown = [change(check_tensor(name, t, f"number {i}")) for i, t in enumerate(tensors)]
    if not grown:
        raise ShapeError(f"{name}: expected at least one tensor")
    return grown


def _join(op: Any, name: str, tensors: Sequence[Tensor], dim: int, new_axes: int) -> Tensor:
    if not isinstance(tensors, Iterable):
        raise DtypeError(f"{name}: expected a list of tensors, got {type(tensors).__name__}")
    tensors = list(tensors)
    if not tensors:
        raise ShapeError(f"{name}: expected at least one tensor")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise DtypeError(f"{name}: expected tensors, number {i} is a {type(t).__name__}")
    dtype = result_type(map(kind_of, tensors))
    if not new_axes and any(t.ndim != 1 for t in tensors):
        tensors = [t for t in tensors if t.shape != (0,)] or tensors
    axis = shapes.axis_of(dim, tensors[0].ndim + new_axes, name)
    rests = {t.shape if new_axes else (*t.shape[:axis], -1, *t.shape[axis + 1 :]) for t in tensors}
    if len(rests) > 1 or (not new_axes and tensors[0].ndim == 0):
        raise ShapeError(f"{name}: the shapes do not fit along dim {dim}: {', '.join(str(t.shape) for t in tensors)}")
    joined: Tensor = apply(op, *(t.to(dtype) for t in tensors), axis=axis)
    return joined
