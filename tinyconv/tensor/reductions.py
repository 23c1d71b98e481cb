"""Functions along axes, which are methods of Tensor too: `tc.sum(x, 0)` is `x.sum(0)`.

`dim` is an axis, several axes, or None for all; `keepdim` leaves the reduced axes in, with size 1. NumPy's `axis` and
`keepdims` are understood too. An axis that does not exist raises ShapeError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any, NamedTuple, overload

import numpy as np

from tinyconv import ops, shapes
from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.dtypes import DEFAULT_FLOAT, Dtype, as_dtype
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import finite, number, real
from tinyconv.engine.variants import op_name
from tinyconv.errors import DtypeError, OptionError, shortened
from tinyconv.tensor.memory import into
from tinyconv.tensor.pointwise import isnan, maximum, minimum, sign
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Dim, Extreme, numpy_names
from tinyconv.tensor.tensor import Tensor, apply, unary, wrap

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum", "dist",
    "log_softmax", "logsumexp", "max", "mean", "median", "min", "nanmean", "nansum", "norm", "prod", "softmax", "std",
    "std_mean", "sum", "var", "var_mean",
]  # fmt: skip


def _reduce(op: Any, x: Tensor, dim: Dim, keepdim: bool, **geometry: Any) -> Tensor:
    axes = shapes.axes_of(dim, x.ndim, op_name(op).lower())  # a wrong dim is one for a 0-d tensor too
    return apply(op, x, axes=axes if x.ndim else (), keepdims=bool(keepdim), **geometry)


def _without_gradient(t: Tensor, name: str, axis: Any, keepdim: bool) -> Tensor:
    return wrap(computed(methodcaller(name, axis=axis, keepdims=keepdim), ready(t.array)))


# --- sums and what is made of them ----------------------------------------------------------------------------------


@numpy_names
def sum(
    input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None, *, out: Tensor | None = None
) -> Tensor:
    """The sum along `dim`. Integers and bools give an int64, unless `dtype` says otherwise."""
    wanted = _summed_in(input, dtype)
    return into(out, _reduce(ops.Sum, input.to(wanted), dim, keepdim).to(wanted))  # NumPy sums an int32 in int64


def _summed_in(input: Tensor, dtype: Dtype) -> np.dtype[Any]:
    return as_dtype(dtype if dtype is not None else input.dtype if input.dtype.kind == "f" else np.int64)


@numpy_names
def nansum(
    input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None, *, out: Tensor | None = None
) -> Tensor:
    """The sum along `dim` of what is not NaN, otherwise as `sum`."""
    return into(out, sum(_without_nan(input), dim, keepdim, dtype))


def _without_nan(input: Tensor) -> Tensor:
    return apply(ops.Where, isnan(input), 0.0, input) if input.dtype.kind == "f" else input


@numpy_names
def mean(
    input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None, *, out: Tensor | None = None
) -> Tensor:
    """The mean along `dim`, computed in `dtype` if one is given; NaN for an empty tensor.

    Raises DtypeError unless the dtype is floating point.
    """
    return into(out, _reduce(ops.Mean, _floating("mean", input, dtype), dim, keepdim))


@numpy_names
def nanmean(
    input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None, *, out: Tensor | None = None
) -> Tensor:
    """The mean along `dim` of what is not NaN, otherwise as `mean`."""
    x = _floating("nanmean", input, dtype)
    count = (~isnan(x)).sum(dim, keepdim)
    return into(out, sum(_without_nan(x), dim, keepdim) / count)


def _floating(name: str, input: Tensor, dtype: Dtype) -> Tensor:
    """The input, in `dtype` if one is given. Raises DtypeError unless it is floating point then."""
    x = input if dtype is None else input.to(dtype)
    if x.dtype.kind != "f":
        raise DtypeError(f"{name}: expected a floating-point tensor, got {x.dtype}: x.float().{name}()")
    return x


@numpy_names
def var(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The variance along `dim`, sum (x - mean)^2 / (n - correction); `unbiased=False` is `correction=0`.

    Raises DtypeError unless the dtype is floating point.
    """
    return into(out, _spread(input, ops.Var, dim, correction, keepdim, unbiased))


@numpy_names
def std(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The standard deviation along `dim`: the square root of `var`, with the same arguments and errors."""
    return into(out, _spread(input, ops.Std, dim, correction, keepdim, unbiased))


@numpy_names
def var_mean(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean along `dim`, with the arguments and errors of `var`."""
    return var(input, dim, correction, keepdim, unbiased), mean(input, None if isinstance(dim, bool) else dim, keepdim)


@numpy_names
def std_mean(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean along `dim`, with the arguments and errors of `var`."""
    return std(input, dim, correction, keepdim, unbiased), mean(input, None if isinstance(dim, bool) else dim, keepdim)


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
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Dtype = None, *, out: Tensor | None = None
) -> Tensor:
    """The product of all elements, or along one `dim`. Integers and bools give an int64, unless `dtype` says so."""
    wanted = _summed_in(input, dtype)
    x = input.to(wanted)
    if dim is None or x.ndim == 0:
        shapes.axes_of(dim, x.ndim, "prod")
        return into(out, apply(ops.Prod, x.reshape(-1)).to(wanted))  # NumPy multiplies a uint8 in uint64
    axis = shapes.axis_of(dim, x.ndim, "prod")
    found = apply(ops.Prod, x.transpose(axis, -1)).to(wanted).unsqueeze(-1).transpose(axis, -1)
    return into(out, found if keepdim else found.squeeze(axis))


@numpy_names
def cumsum(input: Tensor, dim: int, dtype: Dtype = None, *, out: Tensor | None = None) -> Tensor:
    """At each place, the sum along `dim` up to it. Integers and bools give an int64, unless `dtype` says otherwise."""
    x, axis = input.to(_summed_in(input, dtype)), shapes.axis_of(dim, input.ndim, "cumsum")
    return into(out, apply(ops.Cumsum, x, axis=axis) if x.ndim else x.clone())


@numpy_names
def cumprod(input: Tensor, dim: int, dtype: Dtype = None, *, out: Tensor | None = None) -> Tensor:
    """At each place, the product along `dim` up to it. Integers and bools give an int64, unless `dtype` says so."""
    x, axis = input.to(_summed_in(input, dtype)), shapes.axis_of(dim, input.ndim, "cumprod")
    if not x.ndim or not x.numel():
        return into(out, x.clone())
    return into(out, apply(ops.Cumprod, x.transpose(axis, -1)).to(x.dtype).transpose(axis, -1))


@numpy_names
def norm(
    input: Tensor,
    p: float | str | None = 2,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: Dtype = None,
    out: Tensor | None = None,
) -> Tensor:
    """The norm of all elements, or along `dim`: (sum |x|^p)^(1/p); p = "fro" is 2.

    p may be infinity, max |x|; -infinity, min |x|; and 0, the number of elements that are not 0. Raises OptionError for
    another p, and DtypeError unless the dtype is floating point.
    """
    x, kind = _floating("norm", input, dtype), p if isinstance(p, str) else number(2 if p is None else p)
    return into(out, _norm(x, 2 if kind == "fro" else kind, dim, keepdim, p))


def _norm(x: Tensor, p: Any, dim: Dim, keepdim: bool, given: Any) -> Tensor:
    if not isinstance(p, int | float) or p != p:
        raise OptionError(f"norm: p must be a number or 'fro', got {shortened(given)}")
    if p == 2:
        return _reduce(ops.Norm, x, dim, keepdim)
    if p == 1:
        return x.abs().sum(dim, keepdim)
    if p in (float("inf"), float("-inf")):
        return amax(x.abs(), dim, keepdim) if p > 0 else amin(x.abs(), dim, keepdim)
    if p == 0:
        return sum(apply(ops.Where, x != 0, 1.0, sign(x)), dim, keepdim)  # on the tape, with gradients of 0
    return _reduce(ops.PNorm, x, dim, keepdim, p=p)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of input - other, which broadcast."""
    check_tensor("dist", input)
    return norm(input - check_tensor("dist", other), real("dist: p", p))


@numpy_names
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """ln sum e^x along `dim`, without overflow; integers become float32."""
    x = input if input.dtype.kind == "f" else input.to(DEFAULT_FLOAT)
    return into(out, _reduce(ops.LogSumExp, x, dim, keepdim))


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
def amax(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The maximum along `dim`; equal maxima share its gradient evenly. ShapeError along an axis of size 0."""
    shapes.check_not_empty("amax", input.shape, dim)
    return into(out, _reduce(ops.Amax, input, dim, keepdim))


@numpy_names
def amin(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The minimum along `dim`; equal minima share its gradient evenly. ShapeError along an axis of size 0."""
    shapes.check_not_empty("amin", input.shape, dim)
    return into(out, _reduce(ops.Amin, input, dim, keepdim))


class Range(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Range:
    """The minimum and the maximum, as `amin` and `amax` have them: of all, or along one `dim`."""
    return Range(amin(input, dim, keepdim), amax(input, dim, keepdim))


@overload
def median(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> Extreme: ...
@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | Extreme:
    """The middle element of all, the lower of two; or along one `dim`, as (values, indices). NaN where there is one.

    Equal elements share the gradient of the median of all evenly. Raises ShapeError along an axis of size 0.
    """
    shapes.check_not_empty("median", input.shape, dim)
    axis = shapes.axis_of(0 if dim is None else dim, 1 if dim is None else input.ndim, "median")
    x = input.reshape(-1) if dim is None or not input.ndim else input
    places = wrap(computed(partial(_middle, axis=axis), ready(x.array)))
    if dim is not None:
        values = apply(ops.Pick, x, places, axis=axis, keepdims=bool(keepdim) and input.ndim > 0)
        return Extreme(values, places if keepdim and input.ndim else places.squeeze(axis))
    middle = apply(ops.Pick, x.detach(), places, axis=0, keepdims=True)
    if x.dtype.kind != "f":
        return middle.squeeze(0)
    named = (x == middle) | isnan(x)
    low, high = (apply(ops.Where, named, x, fill) for fill in (float("inf"), float("-inf")))
    y: Tensor = apply(ops.Where, middle.squeeze(0) == float("-inf"), amin(low), amax(high))
    return y


def _middle(x: Any, *, axis: int) -> Any:
    """Where the lower of the middle elements along an axis is, or the first NaN, with the axis in, of size 1."""
    xp = backend_of(x).xp
    place = xp.take(xp.argsort(x, axis=axis, kind="stable"), xp.asarray([(x.shape[axis] - 1) // 2]), axis=axis)
    unknown = x != x
    first = xp.expand_dims(xp.argmax(unknown, axis=axis), axis)
    return xp.where(xp.any(unknown, axis=axis, keepdims=True), first, place)


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
def all(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """Whether all elements are true (not zero): a bool tensor. True for an empty tensor."""
    return into(out, _without_gradient(input, "all", shapes.axes_or_none(dim, input.ndim, "all"), keepdim))


@numpy_names
def any(input: Tensor, dim: Dim = None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """Whether any element is true (not zero, NaN among them): a bool tensor. False for an empty tensor."""
    return into(out, _without_gradient(input, "any", shapes.axes_or_none(dim, input.ndim, "any"), keepdim))


@numpy_names
def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """How many elements along `dim` are not 0: int64."""
    return sum(input != 0, dim)
