"""Arrays that have a shape and a dtype and no elements: device "meta".

Ops run on them as they are written: shapes are checked and worked out, nothing is computed, and no memory is taken. A
`MetaArray` holds a NumPy array with one element that is shown everywhere (strides of 0), and NumPy's own views of it
give the shapes. Ufuncs and functions that would compute have rules here, which NumPy's protocols find.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinyconv.errors import DeviceError
from tinyconv.shapes import Shape


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy as a method; it finds its rule as any call of the function does."""
    return lambda self, *args, **options: function(self, *args, **options)


class MetaArray(NDArrayOperatorsMixin):
    """An array that has an outline, its shape and dtype, and no elements."""

    __slots__ = ("outline",)
    base = None  # views share no memory, for there is none
    flags = SimpleNamespace(c_contiguous=True, writeable=True)

    def __init__(self, shape: Any, dtype: Any) -> None:
        self.outline = np.broadcast_to(np.empty((), dtype), shape)

    shape: Shape = property(lambda self: self.outline.shape)  # type: ignore[assignment]
    dtype: np.dtype[Any] = property(lambda self: self.outline.dtype)  # type: ignore[assignment]
    ndim: int = property(lambda self: self.outline.ndim)  # type: ignore[assignment]
    size: int = property(lambda self: self.outline.size)  # type: ignore[assignment]
    itemsize: int = property(lambda self: self.outline.itemsize)  # type: ignore[assignment]
    nbytes: int = property(lambda self: self.outline.nbytes)  # type: ignore[assignment]
    strides: Shape = property(lambda self: self.outline.strides)  # type: ignore[assignment]
    T = property(lambda self: _around(self.outline.T))

    def __reduce__(self) -> Any:
        return MetaArray, (self.shape, self.dtype)

    def __len__(self) -> int:
        return len(self.outline)

    def __repr__(self) -> str:
        return f"MetaArray({self.shape}, {self.dtype})"

    # Views, and copies of nothing.

    def reshape(self, *shape: Any) -> MetaArray:
        return _around(self.outline.reshape(*shape))

    def transpose(self, *axes: Any) -> MetaArray:
        return _around(self.outline.transpose(*axes))

    def swapaxes(self, a: int, b: int) -> MetaArray:
        return _around(self.outline.swapaxes(a, b))

    def squeeze(self, axis: Any = None) -> MetaArray:
        return _around(self.outline.squeeze(axis))

    def ravel(self, order: str = "C") -> MetaArray:
        return _around(self.outline.reshape(-1))

    def view(self) -> MetaArray:
        return _around(self.outline)

    def astype(self, dtype: Any, copy: bool = True) -> MetaArray:
        return MetaArray(self.shape, dtype)

    def copy(self) -> MetaArray:
        return _around(self.outline)

    def __getitem__(self, index: Any) -> MetaArray:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, MetaArray) for part in parts):
            index = tuple(_places(part) if isinstance(part, MetaArray) else part for part in parts)
        return MetaArray(_nothing(self.shape)[index].shape, self.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        shape = self[index].shape
        np.broadcast_to(_nothing(_shape_of(value)), shape)

    sum, mean, max, min = (_method(function) for function in (np.sum, np.mean, np.max, np.min))
    argmax, argmin, any, all = (_method(function) for function in (np.argmax, np.argmin, np.any, np.all))

    # Values: there are none.

    def _refuse(self, *args: Any, **options: Any) -> Any:
        raise DeviceError(
            f"a {self.dtype} {self.shape} on device 'meta' has a shape and no values: a model or an op asked for one "
            "(item(), bool(), numpy(), a mask as an index, or a value moved to another device)"
        )

    __bool__ = __int__ = __float__ = __index__ = __iter__ = __array__ = item = tolist = _refuse
    __dlpack__ = __dlpack_device__ = _refuse

    # How NumPy's functions find their rules.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "at":
            return None
        if method == "reduce":
            options.setdefault("axis", 0)
            return (_counted if ufunc in (np.add, np.multiply) else _reduced)(inputs[0], **options)
        shapes = [_shape_of(value) for value in inputs]
        shape = _product_shape(*shapes) if ufunc is np.matmul else np.broadcast_shapes(*shapes)
        outs = options.get("out") or (None,) * ufunc.nout
        for out in outs:
            if out is not None and out.shape != shape:
                raise ValueError(f"{ufunc.__name__}: {shape} does not fit into {out.shape}")
        kinds = tuple(_kind(value) for value in inputs)
        dtypes = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout))[-ufunc.nout :]
        made = tuple(MetaArray(shape, dtype) if out is None else out for out, dtype in zip(outs, dtypes, strict=True))
        return made if len(made) > 1 else made[0]

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        rule = _RULES.get(function)
        if rule is None:
            raise DeviceError(f"np.{function.__name__} has no rule for arrays on device 'meta'")
        return rule(*args, **options)


def _around(outline: np.ndarray[Any, Any]) -> MetaArray:
    made: MetaArray = object.__new__(MetaArray)
    made.outline = outline
    return made


def _nothing(shape: Any) -> Any:
    """An array of this shape whose elements have no bytes, so that joining and indexing it takes no memory either."""
    return np.broadcast_to(np.empty((), "V0"), shape)


def _shape_of(value: Any) -> Shape:
    return np.shape(getattr(value, "outline", value))


def _kind(value: Any) -> Any:
    """What decides the dtype of a result: a dtype, or the type of a Python number."""
    if hasattr(value, "dtype"):
        return value.dtype
    return np.dtype(np.bool_) if isinstance(value, bool) else type(value)


def _places(index: MetaArray) -> Any:
    if index.dtype.kind not in "iu":
        index._refuse()  # how many elements a mask picks depends on its values
    return np.broadcast_to(np.int8(0), index.shape)


def _product_shape(a: Shape, b: Shape) -> Shape:
    if not a or not b or a[-1] != b[-2:][0]:
        raise ValueError(f"matmul: {a} @ {b}")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *a[-2:-1], *b[-1:][: len(b) - 1])


def _reduced(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None, **_: Any) -> MetaArray:
    named = (axis,) if isinstance(axis, int) else axis
    axes = range(x.ndim) if axis is None or not x.ndim else [a % x.ndim for a in named]
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    shape = kept if keepdims else [n for i, n in enumerate(kept) if i not in axes]
    return MetaArray(shape, dtype or x.dtype)


def _counted(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None, **_: Any) -> MetaArray:
    """A sum; that of booleans and small integers is an int64."""
    return _reduced(x, axis, keepdims, dtype or np.sum(np.empty(0, x.dtype)).dtype)


def _averaged(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> MetaArray:
    return _reduced(x, axis, keepdims, dtype or (x.dtype if x.dtype.kind == "f" else np.float64))


def _of_dtype(dtype: Any) -> Callable[..., MetaArray]:
    return lambda x, axis=None, keepdims=False: _reduced(x, axis, keepdims, dtype)


def _chosen(condition: Any, a: Any, b: Any) -> MetaArray:
    shape = np.broadcast_shapes(*map(_shape_of, (condition, a, b)))
    return MetaArray(shape, np.result_type(*(np.empty(0, v.dtype) if hasattr(v, "dtype") else v for v in (a, b))))


def _padded(x: Any, widths: Any, mode: str = "constant", **_: Any) -> MetaArray:
    return MetaArray([n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)], x.dtype)


def _joined(parts: Any, axis: int = 0, out: Any = None) -> MetaArray:
    """Worked out, for NumPy walks through all elements of what it joins, though they have no bytes: hours for some."""
    shapes = [part.shape for part in parts]
    if len({(len(shape), *shape[:axis], *shape[axis:][1:]) for shape in shapes}) > 1:
        np.concatenate([_nothing(shape) for shape in shapes], axis=axis)  # it raises, and says which sizes differ
    if out is not None:
        return out
    shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis:][1:])
    return MetaArray(shape, np.result_type(*(part.dtype for part in parts)))


def _stacked(parts: Any, axis: int = 0) -> MetaArray:
    return _joined([np.expand_dims(part, axis) for part in parts], axis)


def _viewed(function: Any) -> Callable[..., MetaArray]:
    return lambda x, *args, **options: _around(function(x.outline, *args, **options))


def _alike(x: Any, dtype: Any = None, **_: Any) -> MetaArray:
    return MetaArray(x.shape, dtype or x.dtype)


_RULES: dict[Any, Callable[..., Any]] = {
    np.sum: _counted,
    np.prod: _counted,
    np.mean: _averaged,
    np.max: _reduced,
    np.min: _reduced,
    np.any: _of_dtype(np.bool_),
    np.all: _of_dtype(np.bool_),
    np.argsort: lambda x, axis, kind: MetaArray(x.shape, np.int64),
    np.searchsorted: lambda sequence, values, side: MetaArray(values.shape, np.int64),
    np.isin: lambda x, values, invert: MetaArray(x.shape, np.bool_),
    np.argmax: _of_dtype(np.int64),
    np.argmin: _of_dtype(np.int64),
    np.where: _chosen,
    np.pad: _padded,
    np.concatenate: _joined,
    np.stack: _stacked,
    np.expand_dims: _viewed(np.expand_dims),
    np.broadcast_to: _viewed(np.broadcast_to),
    np.flip: _viewed(np.flip),
    np.cumprod: lambda x, axis: MetaArray(x.shape, _counted(x).dtype),
    np.cumsum: lambda x, axis, dtype: MetaArray(x.shape, dtype),
    np.clip: lambda x, low, high, out: out,
    np.linalg.norm: lambda x, order: MetaArray((), x.dtype),
    np.zeros_like: _alike,
    np.ones_like: _alike,
    np.empty_like: _alike,
    np.take: lambda x, places, axis: MetaArray(x.shape[:axis] + places.shape + x.shape[axis + 1 :], x.dtype),
    np.take_along_axis: lambda x, index, axis: MetaArray(index.shape, x.dtype),
    np.may_share_memory: lambda *_: False,
}


def _strided(x: Any, shape: Shape, strides: Shape) -> MetaArray:
    return MetaArray(shape, x.dtype)


class _Library:
    """NumPy's namespace; its functions that make arrays make them without elements."""

    lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_strided))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def zeros(self, shape: Any, dtype: Any = float) -> MetaArray:
        return MetaArray(shape, dtype)

    empty = ones = zeros

    def arange(self, *args: Any, dtype: Any = None) -> MetaArray:
        return self.asarray(np.arange(*args, dtype=dtype))

    def asarray(self, values: Any, dtype: Any = None) -> MetaArray:
        if isinstance(values, MetaArray):
            return _alike(values, dtype)
        found = np.asarray(values, dtype)
        return MetaArray(found.shape, found.dtype)

    array = asarray


LIBRARY = _Library()
