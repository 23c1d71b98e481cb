"""Functions that order elements, look for them among others, and count them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinyconv import ops, shapes
from tinyconv.arrays.backend import Array, backend_of, ready
from tinyconv.engine.dtypes import result_type
from tinyconv.engine.each_step import computed
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.tensor.picking import check_values_known, grid, take_along_dim
from tinyconv.tensor.refusals import check_tensor, refuse
from tinyconv.tensor.signatures import Extreme, Operand
from tinyconv.tensor.tensor import Tensor, apply, kind_of, operand, wrap

__all__ = [
    "argsort", "bincount", "bucketize", "isin", "kthvalue", "msort", "searchsorted", "sort", "topk", "unique",
    "unique_consecutive",
]  # fmt: skip


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Extreme:
    """The elements in order along `dim`, as (values, indices): where each was. NaN counts as the largest.

    Equal elements keep their order, also where `stable=False` would let them lose it. Gradients go back to where the
    values came from. Raises ShapeError for an axis that does not exist. Like `torch.sort`.
    """
    places = argsort(input, dim, descending)
    return Extreme(_picked(input, places, dim), places)


def msort(input: Tensor) -> Tensor:
    """The elements in order along the first axis: `sort(input, 0)[0]`."""
    return sort(input, 0).values


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The places of the elements in order along `dim`, int64: the indices that `sort` returns.

    Raises ShapeError for an axis that does not exist.
    """
    axis = shapes.axis_of(dim, check_tensor("argsort", input).ndim, "argsort")
    if not input.ndim:
        return wrap(computed(partial(_order, axis=0, descending=False, shape=(1,)), ready(input.array))).reshape(())
    return wrap(computed(partial(_order, axis=axis, descending=bool(descending)), ready(input.array)))


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Extreme:
    """The k largest elements along `dim` (or smallest), as (values, indices), the first of equal ones first.

    They are in order, also where `sorted=False` would let them be in any. Raises ShapeError where there are fewer than
    k, and for an axis that does not exist. Like `torch.topk`.
    """
    axis = shapes.axis_of(dim, check_tensor("topk", input).ndim, "topk")
    count = shapes.whole(k, "topk: k", minimum=0)
    if count > input.shape[axis] if input.ndim else count != 1:
        raise ShapeError(f"topk: there are no {count} elements along dim {dim} of {input.shape}")
    places = argsort(input, dim, largest)
    if input.ndim:
        places = wrap(computed(partial(_first, axis=axis, count=count), places.array))
    return Extreme(_picked(input, places, dim), places)


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Extreme:
    """The k-th smallest element along `dim`, counted from 1, as (values, indices). Like `torch.kthvalue`.

    Raises ShapeError where there are fewer than k, and for an axis that does not exist.
    """
    axis = shapes.axis_of(dim, check_tensor("kthvalue", input).ndim, "kthvalue")
    size = input.shape[axis] if input.ndim else 1
    if not 1 <= shapes.whole(k, "kthvalue: k") <= size:
        raise ShapeError(f"kthvalue: k must be from 1 to {size} along dim {dim} of {input.shape}, got {k}")
    if not input.ndim:
        return Extreme(input, argsort(input))
    places = wrap(computed(partial(_first, axis=axis, count=int(k), start=int(k) - 1), argsort(input, dim).array))
    values = apply(ops.Pick, input, places, axis=axis, keepdims=bool(keepdim))
    return Extreme(values, places if keepdim else places.squeeze(axis))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements, in order; with `dim`, the different slices along it. Each NaN is one of its own.

    Args:
        input: A tensor of any dtype. The result has no gradient.
        sorted: They are in order in any case.
        return_inverse: Also return, for each element of `input`, the place of its equal in the result.
        return_counts: Also return how often each is there.
        dim: The axis of the slices that are compared; None for the elements of all.

    Returns one tensor, or a tuple of those that were asked for. Raises ShapeError for an axis that does not exist, and
    CaptureError in a captured step, for how many there are depends on values. Like `torch.unique`.
    """
    x = check_tensor("unique", input)
    check_values_known("unique", x)
    axis = None if dim is None else shapes.axis_of(dim, x.ndim, "unique")
    array = x.array if x.ndim or axis is None else x.array.reshape(1)
    asked = {"return_inverse": True, "return_counts": True, "equal_nan": False, "axis": axis}
    found, inverse, counts = backend_of(array).xp.unique(array, **asked)
    wanted = [inverse.reshape(array.shape if axis is None else -1)] * bool(return_inverse)
    return _results([found, *wanted, *[counts] * bool(return_counts)])


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements of the flattened input without those that equal the one before; with `dim`, slices along it.

    Arguments, results and errors are those of `unique`.
    """
    x = check_tensor("unique_consecutive", input).detach()
    check_values_known("unique_consecutive", x)
    axis = 0 if dim is None else shapes.axis_of(dim, x.ndim, "unique_consecutive")
    rows = x.reshape(-1) if dim is None or not x.ndim else x.transpose(0, axis)
    array, xp = rows.array, backend_of(rows.array).xp
    new = xp.ones(len(array), bool)
    new[1:] = (array[1:] != array[:-1]).reshape(max(len(array) - 1, 0), shapes.product(array.shape[1:])).any(axis=1)
    starts = xp.nonzero(new)[0]
    found = array[starts]
    inverse = (xp.cumsum(new) - 1).reshape(x.shape if dim is None else -1)
    ends = xp.concatenate([starts[1:], xp.full(len(starts[:1]), len(array))])
    return _results(
        [found if dim is None or not x.ndim else found.swapaxes(0, axis)]
        + [inverse] * bool(return_inverse)
        + [ends - starts] * bool(return_counts)
    )


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each integer from 0 on is in `input`, one axis: int64; or the sum of its weights, float32 or float64.

    Raises ShapeError for other shapes, DtypeError unless `input` holds integers, ValueError where one is below 0, and
    CaptureError in a captured step, for the length of the result depends on values. Like `torch.bincount`.
    """
    x = _integers("bincount", input)
    check_values_known("bincount", x)
    least = shapes.whole(minlength, "bincount: minlength", minimum=0)
    if x.ndim != 1 or (weights is not None and check_tensor("bincount", weights, "weights").shape != x.shape):
        given = x.shape if weights is None else f"{x.shape} and weights of {weights.shape}"
        raise ShapeError(f"bincount: expected one axis, and as many weights as integers, got {given}")
    if x.numel() and x.min().item() < 0:
        raise ValueError(f"bincount: expected integers from 0 on, got {x.min().item()}")
    xp = backend_of(x.array).xp
    if weights is None:
        return wrap(xp.bincount(x.array, minlength=least).astype(np.int64))
    summed = xp.bincount(x.array, weights.array, least)
    return wrap(summed.astype(np.float32 if weights.dtype == np.float32 else np.float64))


def searchsorted(
    sorted_sequence: Tensor,
    input: Operand,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each value would go in a sequence that is in order along its last axis, for it to stay so.

    Args:
        sorted_sequence: One axis; or several, of which all but the last are those of `input`.
        input: The values, a tensor or a number.
        out_int32: Whether the result is int32; otherwise it is int64.
        right: Whether a value goes behind its equals; otherwise in front of them.
        side: "right" or "left", by NumPy's name.
        sorter: The order of a sequence that is not in order: what `argsort` returns.

    Raises ShapeError where the leading axes differ, and ValueError for another side. Like `torch.searchsorted`.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', and not against right=True: {shortened(side)}")
    sequence, values = check_tensor("searchsorted", sorted_sequence, "sorted_sequence"), operand(input)
    if values is None:
        refuse("searchsorted", "input", input)
    if sorter is not None:
        sequence = take_along_dim(sequence, sorter, -1)
    dtype = result_type(map(kind_of, (sequence, values)))
    values = wrap(backend_of(sequence.array).xp.asarray(values, dtype)) if not isinstance(values, Tensor) else values
    if sequence.ndim == 0 or (sequence.ndim > 1 and sequence.shape[:-1] != values.shape[:-1]):
        raise ShapeError(f"searchsorted: a sequence of shape {sequence.shape} does not fit values of {values.shape}")
    found = partial(_places, side=side or ("right" if right else "left"), dtype=np.int32 if out_int32 else np.int64)
    return wrap(computed(found, ready(sequence.array), values.array))


def bucketize(input: Operand, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between `boundaries`, one axis in order, that each value is in: int64.

    Raises ShapeError for boundaries with another number of axes. Like `torch.bucketize`.
    """
    if check_tensor("bucketize", boundaries, "boundaries").ndim != 1:
        raise ShapeError(f"bucketize: boundaries must have one axis, got {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements: Operand, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which of `elements` are among `test_elements`, bool; `invert` asks which are not.

    One of them may be a number. `assume_unique` changes nothing. Raises DtypeError for anything but tensors and
    numbers. Like `torch.isin`.
    """
    xs = [operand(elements), operand(test_elements)]
    if None in [x if x is None else 0 for x in xs]:
        refuse("isin", "elements", elements if xs[0] is None else test_elements)
    arrays = [x.array if isinstance(x, Tensor) else np.asarray(x) for x in xs]
    xp = backend_of(*(x.array for x in xs if isinstance(x, Tensor))).xp
    arrays = [xp.asarray(array) for array in arrays]
    return wrap(computed(partial(xp.isin, invert=bool(invert)), *arrays))


# --- what they share ------------------------------------------------------------------------------------------------


def _integers(name: str, x: Any) -> Tensor:
    if check_tensor(name, x).dtype.kind not in "iu":
        raise DtypeError(f"{name}: expected integers, got {x.dtype}: x.long()?")
    return x


def _results(arrays: list[Array]) -> Any:
    found = tuple(map(wrap, arrays))
    return found if len(found) > 1 else found[0]


def _order(x: Array, *, axis: int, descending: bool, shape: shapes.Shape | None = None) -> Array:
    """`argsort`. A descending one turns the axis around before and after, so that equal elements keep their order."""
    xp = backend_of(x).xp
    x = x if shape is None else x.reshape(shape)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)


def _first(places: Array, *, axis: int, count: int, start: int = 0) -> Array:
    return places[(slice(None),) * axis + (slice(start, count),)].copy()


def _picked(input: Tensor, places: Tensor, dim: int) -> Tensor:
    """The elements at places that differ from each other: their gradients are written, not added up."""
    if not input.ndim:
        return input.clone()
    axis = shapes.axis_of(dim, input.ndim, "sort")
    y: Tensor = apply(ops.Index, input, index=grid(places.array, axis), simple=True)
    return y


def _places(sequence: Array, values: Array, *, side: str, dtype: Any) -> Array:
    xp = backend_of(sequence).xp
    if sequence.ndim == 1:
        return xp.asarray(xp.searchsorted(sequence, values, side)).astype(dtype)
    found = xp.empty(values.shape, dtype)
    for row in np.ndindex(*sequence.shape[:-1]):
        found[row] = xp.searchsorted(sequence[row], values[row], side)
    return found
