"""Functions along axes, which are methods of Tensor too: `tc.sum(x, 0)` is `x.sum(0)`.

`dim` is an axis, several axes, or None for all; `keepdim` leaves the reduced axes in, with size 1. NumPy's `axis` and
`keepdims` are understood too. An axis that does not exist raises ShapeError.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any, overload

import numpy as np

from tinyconv import ops, shapes
from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.dtypes import DEFAULT_FLOAT, Dtype, as_dtype
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, number
from tinyconv.engine.variants import op_name
from tinyconv.errors import DtypeError, shortened
from tinyconv.tensor.pointwise import maximum, minimum
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Dim, Extreme, numpy_names
from tinyconv.tensor.tensor import Tensor, apply, unary, wrap

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod",
    "softmax", "std", "sum", "var",
]  # fmt: skip


def _reduce(op: Any, x: Tensor, dim: Dim, keepdim: bool, **geometry: Any) -> Tensor:
    axes = shapes.axes_of(dim, x.ndim, op_name(op).lower())  # a wrong dim is one for a 0-d tensor too
    return apply(op, x, axes=axes if x.ndim else (), keepdims=bool(keepdim), **geometry)


def _without_gradient(t: Tensor, name: str, axis: Any, keepdim: bool) -> Tensor:
    return wrap(computed(methodcaller(name, axis=axis, keepdims=keepdim), ready(t.array)))


# --- sums and what is made of them ----------------------------------------------------------------------------------


@numpy_names
def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None) -> Tensor:
    """The sum along `dim`. Integers and bools give an int64, unless `dtype` says otherwise."""
    wanted = as_dtype(dtype if dtype is not None else input.dtype if input.dtype.kind == "f" else np.int64)
    return _reduce(ops.Sum, input.to(wanted), dim, keepdim).to(wanted)  # NumPy sums an int32 in int64


@numpy_names
def mean(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The mean along `dim`; NaN for an empty tensor. Raises DtypeError unless the dtype is floating point."""
    if input.dtype.kind != "f":
        raise DtypeError(f"mean: expected a floating-point tensor, got {input.dtype}: x.float().mean()")
    return _reduce(ops.Mean, input, dim, keepdim)


@numpy_names
def var(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> Tensor:
    """The variance along `dim`, sum (x - mean)^2 / (n - correction); `unbiased=False` is `correction=0`.

    Raises DtypeError unless the dtype is floating point.
    """
    return _spread(input, ops.Var, dim, correction, keepdim, unbiased)


@numpy_names
def std(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> Tensor:
    """The standard deviation along `dim`: the square root of `var`, with the same arguments and errors."""
    return _spread(input, ops.Std, dim, correction, keepdim, unbiased)


def _spread(
    t: Tensor, op: Any, dim: Dim | bool, correction: int | None, keepdim: bool, unbiased: bool | None
) -> Tensor:
    if t.dtype.kind != "f":
        raise DtypeError(f"{op_name(op).lower()}: expected a floating-point tensor, got {t.dtype}: x.float()?")
    if isinstance(dim, bool):  # torch's older order of arguments: x.var(unbiased)
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    freedom = finite(f"{op_name(op).lower()}: correction", correction)
    return _reduce(op, t, dim, keepdim, correction=freedom)


@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Dtype = None) -> Tensor:
    """The product of all elements, or along one `dim`. Integers and bools give an int64, unless `dtype` says so."""
    wanted = as_dtype(dtype if dtype is not None else input.dtype if input.dtype.kind == "f" else np.int64)
    x = input.to(wanted)
    if dim is None or x.ndim == 0:
        shapes.axes_of(dim, x.ndim, "prod")
        return apply(ops.Prod, x.reshape(-1)).to(wanted)  # NumPy multiplies a uint8 in uint64
    axis = shapes.axis_of(dim, x.ndim, "prod")
    out = apply(ops.Prod, x.transpose(axis, -1)).to(wanted).unsqueeze(-1).transpose(axis, -1)
    return out if keepdim else out.squeeze(axis)


@numpy_names
def norm(input: Tensor, p: float | str = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The norm of all elements, or along `dim`: p = 2 or "fro", (sum x^2)^(1/2); 1, sum |x|; infinity, max |x|.

    Raises ValueError for another p, and DtypeError unless the dtype is floating point.
    """
    if input.dtype.kind != "f":
        raise DtypeError(f"norm: expected a floating-point tensor, got {input.dtype}: x.float().norm()")
    kind = p if isinstance(p, str) else number(p)
    if kind in (2, "fro"):
        return _reduce(ops.Norm, input, dim, keepdim)
    if kind == 1:
        return input.abs().sum(dim, keepdim)
    if kind == float("inf"):
        return input.abs().amax(dim, keepdim)
    raise ValueError(f"norm: p must be 1, 2 or infinity, got {shortened(p)}")


@numpy_names
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """ln sum e^x along `dim`, without overflow; integers become float32."""
    x = input if input.dtype.kind == "f" else input.to(DEFAULT_FLOAT)
    return _reduce(ops.LogSumExp, x, dim, keepdim)


def softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """e^x / sum e^x along `dim`, without overflow, computed in `dtype` if one is given.

    Raises ShapeError for an axis that does not exist.
    """
    check_tensor("softmax", input)
    x = input if dtype is None else input.to(dtype)
    return unary(ops.Softmax, x, axis=shapes.axis_of(dim, input.ndim, "softmax"))


def log_softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """x - ln sum e^x along `dim`, without overflow, computed in `dtype` if one is given.

    Raises ShapeError for an axis that does not exist.
    """
    check_tensor("log_softmax", input)
    x = input if dtype is None else input.to(dtype)
    return unary(ops.LogSoftmax, x, axis=shapes.axis_of(dim, input.ndim, "log_softmax"))


# --- the largest and the smallest -----------------------------------------------------------------------------------


@numpy_names
def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The maximum along `dim`; equal maxima share its gradient evenly. ShapeError along an axis of size 0."""
    shapes.check_not_empty("amax", input.shape, dim)
    return _reduce(ops.Amax, input, dim, keepdim)


@numpy_names
def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The minimum along `dim`; equal minima share its gradient evenly. ShapeError along an axis of size 0."""
    shapes.check_not_empty("amin", input.shape, dim)
    return _reduce(ops.Amin, input, dim, keepdim)


@overload
def max(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> Extreme: ...
@overload
def max(input: Tensor, dim: Tensor, keepdim: bool = False) -> Tensor: ...
@numpy_names
def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | Extreme:
    """The maximum of all; or along one `dim`, as (values, indices), the first of equal maxima.

    Given a tensor, the elementwise maximum. Raises ShapeError along an axis of size 0.
    """
    return _extreme(input, "max", ops.Amax, maximum, dim, keepdim)


@overload
def min(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> Extreme: ...
@overload
def min(input: Tensor, dim: Tensor, keepdim: bool = False) -> Tensor: ...
@numpy_names
def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Tensor | Extreme:
    """The minimum of all; or along one `dim`, as (values, indices), the first of equal minima.

    Given a tensor, the elementwise minimum. Raises ShapeError along an axis of size 0.
    """
    return _extreme(input, "min", ops.Amin, minimum, dim, keepdim)


def _extreme(
    t: Tensor,
    name: str,
    op: Any,
    elementwise: Callable[[Tensor, Tensor], Tensor],
    dim: int | Tensor | None,
    keepdim: bool,
) -> Tensor | Extreme:
    if isinstance(dim, Tensor):
        return elementwise(t, dim)
    shapes.check_not_empty(name, t.shape, dim)
    if dim is None:
        return _reduce(op, t, None, keepdim)
    axis = shapes.axis_of(dim, t.ndim, name)
    if t.ndim == 0:
        return Extreme(t, wrap(backend_of(t.array).xp.zeros((), np.int64)))
    places = _without_gradient(t, f"arg{name}", axis, True)
    values = apply(ops.Pick, t, places, axis=axis, keepdims=bool(keepdim))
    return Extreme(values, places if keepdim else places.squeeze(axis))


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the maximum is, the first of equals: along `dim`, or in the flattened tensor. An int64 tensor.

    Raises ShapeError along an axis of size 0.
    """
    return _arg(input, "argmax", dim, keepdim)


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the minimum is, the first of equals: along `dim`, or in the flattened tensor. An int64 tensor.

    Raises ShapeError along an axis of size 0.
    """
    return _arg(input, "argmin", dim, keepdim)


def _arg(t: Tensor, name: str, dim: int | None, keepdim: bool) -> Tensor:
    shapes.check_not_empty(name, t.shape, dim)
    axis = None if dim is None else shapes.axis_of(dim, t.ndim, name)
    return _without_gradient(t, name, axis if t.ndim else None, keepdim)


# --- of truth -------------------------------------------------------------------------------------------------------


@numpy_names
def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether all elements are true (not zero): a bool tensor. True for an empty tensor."""
    return _without_gradient(input, "all", shapes.axes_or_none(dim, input.ndim, "all"), keepdim)


@numpy_names
def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether any element is true (not zero, NaN among them): a bool tensor. False for an empty tensor."""
    return _without_gradient(input, "any", shapes.axes_or_none(dim, input.ndim, "any"), keepdim)
