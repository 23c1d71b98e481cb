"""The functions of `cupy`'s namespace that tinyconv uses, with CuPy's arguments, and no others."""

import inspect
from importlib import import_module
from types import SimpleNamespace

import numpy as np

from standin import cuda
from standin.arrays import (
    as_operand,
    blas,
    index_parts,
    kernel,
    ndarray,
    operand,
    view_or_copy,
    wait_for_masks,
    wrapped,
    write,
)

# As CuPy declares them. METHODS are those of `ndarray`, without the array.
KERNELS = """
    all(a, axis=None, out=None, keepdims=False)
    any(a, axis=None, out=None, keepdims=False)
    argmax(a, axis=None, dtype=None, out=None, keepdims=False)
    argmin(a, axis=None, dtype=None, out=None, keepdims=False)
    argsort(a, axis=-1, kind=None)
    concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
    cumprod(a, axis=None, dtype=None, out=None)
    cumsum(a, axis=None, dtype=None, out=None)
    max(a, axis=None, out=None, keepdims=False)
    mean(a, axis=None, dtype=None, out=None, keepdims=False)
    min(a, axis=None, out=None, keepdims=False)
    pad(array, pad_width, mode='constant', **kwargs)
    prod(a, axis=None, dtype=None, out=None, keepdims=False)
    roll(a, shift, axis=None)
    sort(a, axis=-1, kind=None)
    stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
    std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
    sum(a, axis=None, dtype=None, out=None, keepdims=False)
    take(a, indices, axis=None, out=None)
    take_along_axis(a, indices, axis)
    tile(A, reps)
    var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
    where(condition, x, y)
"""
PRODUCTS = """
    dot(a, b, out=None)
    tensordot(a, b, axes=2)
"""
VIEWS = """
    broadcast_to(array, shape)
    expand_dims(a, axis)
    flip(a, axis=None)
    moveaxis(a, source, destination)
    ravel(a, order='C')
    reshape(a, newshape, order='C')
    squeeze(a, axis=None)
    swapaxes(a, axis1, axis2)
    transpose(a, axes=None)
"""
METHODS = """
    all(axis=None, out=None, keepdims=False)
    any(axis=None, out=None, keepdims=False)
    argmax(axis=None, out=None, dtype=None, keepdims=False)
    argmin(axis=None, out=None, dtype=None, keepdims=False)
    argsort(axis=-1, kind=None)
    cumprod(axis=None, dtype=None, out=None)
    cumsum(axis=None, dtype=None, out=None)
    dot(b, out=None)
    max(axis=None, out=None, keepdims=False)
    mean(axis=None, dtype=None, out=None, keepdims=False)
    min(axis=None, out=None, keepdims=False)
    prod(axis=None, dtype=None, out=None, keepdims=False)
    std(axis=None, dtype=None, out=None, ddof=0, keepdims=False)
    sum(axis=None, dtype=None, out=None, keepdims=False)
    take(indices, axis=None, out=None)
    var(axis=None, dtype=None, out=None, ddof=0, keepdims=False)
"""
UFUNCS = """
    abs absolute add arccos arcsin arctan arctan2 bitwise_and bitwise_or bitwise_xor ceil cos cosh divide divmod
    equal exp expm1 floor floor_divide fmod greater greater_equal invert isfinite isinf isnan left_shift less less_equal
    log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply negative
    not_equal power reciprocal remainder right_shift rint sign sin sinh sqrt square subtract tan tanh true_divide trunc
"""


def signatures(text: str) -> dict[str, inspect.Signature]:
    """What such a list declares, by name."""
    declared = {}
    for line in text.split("\n"):
        name, _, arguments = line.strip().partition("(")
        if name:
            exec(f"def {name}({arguments}: ...", {}, declared)
    return {name: inspect.signature(function) for name, function in declared.items()}


def _given(signature, args, options):
    """The arguments that differ from their defaults, those without one in order."""
    bound = signature.bind(*args, **options)
    first, rest = [], {}
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            rest.update(value)
        elif parameter.default is parameter.empty:
            first.append(value)
        elif value is not parameter.default:
            rest[name] = value
    return first, rest


def _checked(name, values):
    for value in values:
        if not isinstance(value, ndarray):
            raise TypeError(f"{name}: expected cupy.ndarrays, got {type(value)}")


def _function(name, signature, run):
    numpys = getattr(np, name)

    def function(*args, **options):
        first, rest = _given(signature, args, options)
        if name in ("concatenate", "stack"):
            first[0] = list(first[0])
            _checked(name, first[0])
            if len(first[0]) > 8 and cuda.capturing():
                cuda.transfer("to_device")  # CuPy's kernel for many takes a table of their addresses
        elif name == "where":
            _checked(name, first[:1])
        else:
            _checked(name, first[: 2 if run is _product or "indices" in signature.parameters else 1])
        return run(numpys, *first, **rest)

    function.__name__, function.__signature__ = name, signature
    return function


def _run(numpys, *args, out=None, **options):
    if out is None:
        return kernel(numpys, *args, **options)
    _checked(f"{numpys.__name__}: out", [out])
    return write(lambda x, *held: numpys(*held, out=x, **options), out, *args)


def _product(numpys, *args, **options):
    blas()
    return _run(numpys, *args, **options)


def _method(name, signature):
    def method(self, *args, **options):
        first, rest = _given(signature, args, options)
        return FUNCTIONS[name](self, *first, **rest)

    return method


class ufunc:
    """An elementwise function: `out` must be an array of the device, and there is no `where`."""

    def __init__(self, name: str) -> None:
        self.name, self.numpys = name, getattr(np, name)

    def __repr__(self) -> str:
        return f"<ufunc 'cupy_{self.name}'>"

    def __call__(self, *args, out=None, dtype=None, casting="same_kind"):
        if not any(isinstance(arg, ndarray) for arg in args):
            operand(list(args))  # names NumPy's arrays
        options = {} if dtype is None else {"dtype": dtype}
        args, outs = args[: self.numpys.nin], args[self.numpys.nin :]
        out = outs[0] if outs else out
        if out is None:
            return kernel(self.numpys, *args, **options)
        if not isinstance(out, ndarray):
            raise TypeError("Output arguments type must be cupy.ndarray")
        return write(lambda x, *held: self.numpys(*held, out=x, casting=casting, **options), out, *args)


class _Add(ufunc):
    def at(self, a, indices, b=None) -> None:
        """a[indices] += b, as often as an element is named; in no order that could be relied on."""
        if a.dtype.char not in "ilqILQefd":
            raise TypeError(
                "cupy.add.at only supports int32, int64, float16, float32, float64, uint32, uint64 as data type"
            )
        parts = index_parts(indices)
        wait_for_masks(parts)
        b = b if isinstance(b, ndarray) else as_operand(b, a.dtype)
        write(lambda x, b, *parts: np.add.at(x, wrapped(x.shape, parts), b), a, b, *parts)


def copyto(dst, src, casting="same_kind", where=None):
    _checked("copyto", [dst])
    write(lambda x, *held: np.copyto(x, held[0], casting, *held[1:]), dst, src, *([] if where is None else [where]))


def clip(a, a_min, a_max, out=None):
    _checked("clip", [a])
    return _run(np.clip, a, a_min, a_max, out=out)


def nonzero(a):
    cuda.transfer("to_host")  # how many there are
    cuda.wait()
    return kernel(np.nonzero, a)


def unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True):
    _checked("unique", [ar])
    cuda.transfer("to_host")  # how many there are
    cuda.wait()
    return kernel(np.unique, ar, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan)


def bincount(x, weights=None, minlength=None):
    _checked("bincount", [x])
    cuda.transfer("to_host")  # the largest
    cuda.wait()
    return kernel(np.bincount, x, *([] if weights is None else [weights]), minlength=minlength or 0)


def searchsorted(a, v, side="left", sorter=None):
    _checked("searchsorted", [a, v])
    return kernel(np.searchsorted, a, v, side)


def isin(element, test_elements, assume_unique=False, invert=False):
    _checked("isin", [element, test_elements])
    return kernel(np.isin, element, test_elements, invert=invert)


def empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def full(shape, fill_value, dtype=None, order="C"):
    return kernel(np.full, shape, fill_value, dtype, order, keep_order=True)


def zeros(shape, dtype=float, order="C"):
    return full(shape, 0, dtype, order)


def ones(shape, dtype=float, order="C"):
    return full(shape, 1, dtype, order)


def full_like(a, fill_value, dtype=None, order="K", subok=None, shape=None):
    return kernel(np.full_like, a, fill_value, dtype, order, shape=shape, keep_order=True)


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    made = np.empty_like(operand(prototype), dtype, order, shape=shape)
    return ndarray(made.shape, made.dtype, order="C" if made.flags.c_contiguous else "F")


def zeros_like(a, dtype=None, order="K", subok=None, shape=None):
    return full_like(a, 0, dtype, order, subok, shape)


def ones_like(a, dtype=None, order="K", subok=None, shape=None):
    return full_like(a, 1, dtype, order, subok, shape)


def arange(start, stop=None, step=1, dtype=None):
    return kernel(lambda: np.arange(*((start,) if stop is None else (start, stop, step)), dtype=dtype))


def matmul(x1, x2, out=None):
    _checked("matmul", [x1, x2])
    return _product(np.matmul, x1, x2, out=out)


def norm(x, ord=None, axis=None, keepdims=False):
    _checked("norm", [x])
    if x.ndim - (axis is not None) == 2 and ord in (2, -2, "nuc") and cuda.capturing():
        raise NotImplementedError("calling cuSOLVER API during stream capture is currently unsupported")
    return kernel(np.linalg.norm, x, ord=ord, axis=axis, keepdims=keepdims)


def as_strided(x, shape=None, strides=None):
    return view_or_copy(np.lib.stride_tricks.as_strided, x, shape, strides)


def may_share_memory(a, b, max_work=None):
    return np.may_share_memory(a._host, b._host)


def shares_memory(a, b, max_work=None):
    return np.shares_memory(a._host, b._host)


def get_array_module(*args):
    return import_module("standin.cupy") if any(isinstance(arg, ndarray) for arg in args) else np


FUNCTIONS = {
    name: _function(name, signature, run)
    for text, run in ((KERNELS, _run), (PRODUCTS, _product), (VIEWS, view_or_copy))
    for name, signature in signatures(text).items()
}
FUNCTIONS |= {"amax": FUNCTIONS["max"], "amin": FUNCTIONS["min"]}
FUNCTIONS |= {name: (_Add if name == "add" else ufunc)(name) for name in UFUNCS.split()}
for _name, _signature in signatures(METHODS).items():
    setattr(ndarray, _name, _method(_name, _signature))
ndarray.clip = lambda self, min=None, max=None, out=None: clip(self, min, max, out)
ndarray.nonzero = nonzero

linalg = SimpleNamespace(norm=norm)
lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=as_strided))
NAMESPACE = FUNCTIONS | {
    function.__name__: function
    for function in (
        arange, bincount, clip, copyto, empty, empty_like, full, full_like, get_array_module, isin, matmul,
        may_share_memory, nonzero, ones, ones_like, searchsorted, shares_memory, unique, zeros, zeros_like,
    )
}  # fmt: skip
