"""Boxed arrays: an op's own source, run on tensors.

The gradient of a gradient needs a backward pass that is itself recorded. No op is written a second time for it: ops are
written against `xp` and what arrays can do, and a `Boxed` can do the same, each time through `apply`. Where `forward`
and `backward` get boxed arrays, and a `Library` in place of NumPy, the op's work goes on the tape.

Only floating-point arrays that an op is given, or makes of those, are boxed. Everything else stays an array: masks,
indices, comparisons.

Writing (`x[index] = v`, `x += v`, `add.at`) gives a boxed array another tensor, so that everybody who holds the array
sees it. A view writes through to its array. If the array was written to otherwise since the view was made, the view is
refused: no tensor would tell what it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tinyconv import ops
from tinyconv.errors import GraphError
from tinyconv.shapes import axes_of, axis_of, product


class Boxed:
    """An array as an op sees it; every use of it is recorded."""

    __slots__ = ("_base", "_seen", "_tensor", "_versions", "library")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, library: Library, tensor: Any, base: tuple[Boxed, Callable[[Any], None], Any] | None = None
    ) -> None:
        self.library, self._tensor = library, tensor
        self._base = base  # for a view: its array, how to write to that, and the index that made the view
        self._versions = 0  # how often it was written to
        self._seen = base[0]._versions if base else 0

    @property
    def tensor(self) -> Any:
        if self._base is not None and (self._base[0].tensor is None or self._base[0]._versions != self._seen):
            raise self.library.unable("a view of an array that was written to since the view was made")
        return self._tensor

    def write(self, tensor: Any) -> None:
        """Be this tensor from now on; a view writes it to its place in its array, too."""
        if self._base is not None:
            base, through, _ = self._base
            through(tensor)
            self._seen = base._versions
        self._tensor = tensor
        self._versions += 1

    def _view(self, boxed: Any, back: Callable[[Any], Any]) -> Any:
        """`boxed`, made from this by moving elements, as a view; `back` undoes the move."""
        return Boxed(self.library, boxed.tensor, (self, lambda tensor: self.write(back(tensor)), None))

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise self.library.unable("NumPy's own functions")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """`array * boxed`, numpy.exp(boxed), and `array += boxed`, which gives the name another array."""
        if method != "__call__":
            raise self.library.unable(f"numpy.{ufunc.__name__}.{method}")
        if options.keys() - {"out"} or any(out is not inputs[0] for out in options.get("out", ())):
            raise self.library.unable(f"numpy.{ufunc.__name__} with {', '.join(options)}")
        return getattr(self.library, ufunc.__name__)(*inputs)

    def __array_function__(self, function: Any, *args: Any, **options: Any) -> Any:
        raise self.library.unable(f"numpy.{function.__name__}")

    shape = property(lambda self: self.tensor.array.shape)
    dtype = property(lambda self: self.tensor.array.dtype)
    ndim = property(lambda self: self.tensor.array.ndim)
    size = property(lambda self: self.tensor.array.size)
    itemsize = property(lambda self: self.tensor.array.itemsize)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of row-major memory, whatever the array has: `as_strided` reads them so."""
        return tuple(product(self.shape[i + 1 :]) * self.itemsize for i in range(self.ndim))

    def __len__(self) -> int:
        return len(self.tensor.array)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and NumPy look for
            raise AttributeError(name)
        raise self.library.unable(f"array.{name}")

    def _no_number(self) -> Any:
        raise self.library.unable("a value as a Python number")

    __bool__ = __float__ = __int__ = __index__ = item = _no_number

    # Arithmetic, as NumPy does it.

    def __add__(self, other: Any) -> Any:
        return self.library.run(ops.Add, self, other)

    def __radd__(self, other: Any) -> Any:
        return self.library.run(ops.Add, other, self)

    def __sub__(self, other: Any) -> Any:
        return self.library.run(ops.Sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.library.run(ops.Sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return self.library.run(ops.Mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.library.run(ops.Mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.library.run(ops.Div, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.library.run(ops.Div, other, self)

    def __pow__(self, other: Any) -> Any:
        return self.library.run(ops.Pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.library.run(ops.Pow, self.library.xp.asarray(other, dtype=self.dtype), self)

    def __matmul__(self, other: Any) -> Any:
        return self.library.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self.library.matmul(other, self)

    def __neg__(self) -> Any:
        return self.library.run(ops.Neg, self)

    def __abs__(self) -> Any:
        return self.library.run(ops.Abs, self)

    # In place: the same object, so that other names of it see the write.

    def __iadd__(self, other: Any) -> Any:
        return self._be(self + other)

    def __isub__(self, other: Any) -> Any:
        return self._be(self - other)

    def __imul__(self, other: Any) -> Any:
        return self._be(self * other)

    def __itruediv__(self, other: Any) -> Any:
        return self._be(self / other)

    def _be(self, result: Any) -> Any:
        if result.shape != self.shape or result.dtype != self.dtype:
            raise self.library.unable(f"writing {result.dtype} {result.shape} into {self.dtype} {self.shape}")
        self.write(result.tensor)
        return self

    # Comparisons are constants.

    def __eq__(self, other: object) -> Any:
        return self.library.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return self.library.not_equal(self, other)

    def __lt__(self, other: Any) -> Any:
        return self.library.less(self, other)

    def __le__(self, other: Any) -> Any:
        return self.library.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return self.library.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return self.library.greater_equal(self, other)

    # Shapes.

    @property
    def T(self) -> Any:  # the array's name for it
        return self.transpose()

    def reshape(self, *shape: Any) -> Any:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        moved, own = self.library.run(ops.Reshape, self, shape=tuple(sizes)), self.shape
        return self._view(moved, lambda tensor: self.library.box(tensor)._moved(ops.Reshape, shape=own))

    def _moved(self, op: Any, **geometry: Any) -> Any:
        return self.library.run(op, self, **geometry).tensor

    def ravel(self) -> Any:
        return self.reshape(-1)

    def flatten(self) -> Any:
        return self.reshape(-1).copy()

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        order = tuple(order) or tuple(reversed(range(self.ndim)))
        axes = axes_of(order, self.ndim, "transpose")
        moved, back = self.library.run(ops.Permute, self, axes=axes), tuple(axes.index(i) for i in range(self.ndim))
        return self._view(moved, lambda tensor: self.library.box(tensor)._moved(ops.Permute, axes=back))

    def swapaxes(self, first: int, second: int) -> Any:
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return self.transpose(axes)

    def squeeze(self, axis: Any = None) -> Any:
        gone = axes_of(axis, self.ndim, "squeeze")
        return self.reshape(tuple(n for i, n in enumerate(self.shape) if n != 1 or i not in gone))

    def __getitem__(self, index: Any) -> Any:
        simple = _is_simple(index)
        found = self.library.run(ops.Index, self, index=index, simple=simple)
        if not simple or any(getattr(part, "ndim", 0) for part in _parts(index)):
            return found  # by masks and arrays: a copy, as in NumPy
        write = lambda tensor: self._put(index, self.library.box(tensor))  # noqa: E731
        return Boxed(self.library, found.tensor, (self, write, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        # `x[index] += v` takes the view x[index], adds v to it, which writes through, and then calls this.
        base = value._base if isinstance(value, Boxed) else None
        if base is None or base[0] is not self or base[2] is not index or value._seen != self._versions:
            self._put(index, value)

    def _put(self, index: Any, value: Any) -> None:
        self.write(self.library.run(ops.Put, self, value, index=index).tensor)

    # What arrays have as methods too.

    def astype(self, dtype: Any) -> Any:
        return self.library.run(ops.Cast, self, dtype=dtype)

    def copy(self) -> Any:
        return self.library.run(ops.Copy, self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self.library.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self.library.mean(self, axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self.library.max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        return self.library.min(self, axis, keepdims=keepdims)


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_simple(index: Any) -> bool:
    """Whether an index names no element twice."""
    return not any(
        isinstance(part, list | tuple | range) or (getattr(part, "ndim", 0) and part.dtype.kind in "iu")
        for part in _parts(index)
    )


class Library:
    """The array library `xp` for boxed arrays: what ops use of it, recorded through `apply`.

    A call without any boxed array goes to `xp` itself.
    """

    def __init__(self, xp: Any, apply: Callable[..., Any], wrap: Callable[[Any], Any], op: str) -> None:
        self.xp, self._apply, self._wrap, self._op = xp, apply, wrap, op

    # Made when asked for: a library that held them would be a cycle.
    lib = property(lambda self: SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=self._as_strided)))
    add = property(lambda self: _Add(self))

    def __getattr__(self, name: str) -> Any:
        """A function of `xp`: recorded if elementwise, called on the arrays if its result is constant, else refused."""
        found = getattr(self.xp, name)
        if not callable(found) or isinstance(found, type):  # inf, float32
            return found
        if name in _ELEMENTWISE:

            def recorded(*arrays: Any, **options: Any) -> Any:
                if options:
                    raise self.unable(f"xp.{name} with {', '.join(options)}")
                return self.run(_ELEMENTWISE[name], *arrays)

        elif name in _CONSTANT:
            recorded = lambda *args, **options: found(*map(unbox, args), **options)  # noqa: E731
        else:

            def recorded(*args: Any, **options: Any) -> Any:
                raise self.unable(f"xp.{name}")

        return lambda *args, **options: (recorded if _any_boxed(args) else found)(*args, **options)

    def unable(self, what: str) -> GraphError:
        return GraphError(
            f"create_graph: op {self._op!r} uses {what}, which cannot be recorded; to have gradients of its gradient, "
            "write the op with the functions of xp and methods of arrays that tinyconv/arrays/boxed.py has"
        )

    def run(self, op: Any, *arrays: Any, **geometry: Any) -> Any:
        """One op on boxed arrays, arrays and numbers."""
        inputs = [a.tensor if isinstance(a, Boxed) else self._wrap(a) if hasattr(a, "dtype") else a for a in arrays]
        y = self._apply(op, *inputs, **geometry)
        return self.box(y[0] if isinstance(y, tuple) else y)

    def box(self, tensor: Any) -> Any:
        return Boxed(self, tensor)

    # Arrays that an op makes in order to write into them.

    def zeros(self, shape: Any, dtype: Any = None) -> Any:
        return self.box(self._wrap(self.xp.zeros(shape, dtype)))

    empty = zeros

    def zeros_like(self, x: Any) -> Any:
        return self.zeros(x.shape, x.dtype)

    empty_like = zeros_like

    def ones_like(self, x: Any) -> Any:
        return self.xp.ones(x.shape, x.dtype)

    # Functions of several arrays, or with axes.

    def power(self, a: Any, b: Any) -> Any:
        return a**b if isinstance(a, Boxed) or not isinstance(b, Boxed) else b.__rpow__(a)

    def matmul(self, a: Any, b: Any) -> Any:
        if a.ndim == 1:
            return self.matmul(a.reshape(1, -1), b).squeeze(-1 if b.ndim == 1 else -2)
        if b.ndim == 1:
            return self.matmul(a, b.reshape(-1, 1)).squeeze(-1)
        return self.run(ops.Matmul, a, b)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        condition = unbox(condition)
        return self.run(ops.Where, condition, a, b) if _any_boxed((a, b)) else self.xp.where(condition, a, b)

    def _reduce(self, op: Any, name: str, x: Any, axis: Any, keepdims: bool, **geometry: Any) -> Any:
        if not isinstance(x, Boxed):
            return getattr(self.xp, name)(x, axis=axis, keepdims=keepdims)
        axes = axes_of(axis, x.ndim, name) if axis != () and x.ndim else ()
        return self.run(op, x, axes=axes, keepdims=keepdims, **geometry)

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
        return self._reduce(ops.Sum, "sum", x if dtype is None else x.astype(dtype), axis, keepdims)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self._reduce(ops.Mean, "mean", x, axis, keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self._reduce(ops.Amax, "max", x, axis, keepdims)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self._reduce(ops.Amin, "min", x, axis, keepdims)

    def var(self, x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.var(x, axis=axis, keepdims=keepdims, ddof=ddof)
        return self._reduce(ops.Var, "var", x, axis, keepdims, correction=ddof)

    def prod(self, x: Any, axis: int) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.prod(x, axis=axis)
        return self.run(ops.Prod, x.swapaxes(axis, -1)).reshape(_without(x.shape, axis))

    def cumprod(self, x: Any, axis: int) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.cumprod(x, axis=axis)
        lead = (slice(None),) * axis_of(axis, x.ndim, "cumprod")
        parts = [x[(*lead, slice(i, i + 1))] for i in range(x.shape[axis])]
        for i in range(1, len(parts)):
            parts[i] = parts[i - 1] * parts[i]
        return self.concatenate(parts, axis=axis) if parts else x

    def cumsum(self, x: Any, axis: int, dtype: Any = None) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.cumsum(x, axis=axis, dtype=dtype)
        return self.run(ops.Cumsum, x if dtype is None else x.astype(dtype), axis=axis)

    def flip(self, x: Any, axis: int) -> Any:
        return x[(*(slice(None),) * axis_of(axis, x.ndim, "flip"), slice(None, None, -1))]

    def concatenate(self, arrays: Any, axis: int = 0) -> Any:
        if not _any_boxed(arrays):
            return self.xp.concatenate(arrays, axis=axis)
        return self.run(ops.Cat, *arrays, axis=axis_of(axis, arrays[0].ndim, "concatenate"))

    def stack(self, arrays: Any, axis: int = 0) -> Any:
        arrays = list(arrays)
        if not _any_boxed(arrays):
            return self.xp.stack(arrays, axis=axis)
        return self.run(ops.Stack, *arrays, axis=axis_of(axis, arrays[0].ndim + 1, "stack"))

    def pad(self, x: Any, widths: Any, constant_values: Any = 0) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.pad(x, widths, constant_values=constant_values)
        return self.run(ops.Pad, x, widths=tuple(widths), value=constant_values)

    def broadcast_to(self, x: Any, shape: Any) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.broadcast_to(x, shape)
        return self.run(ops.Expand, x, shape=tuple(shape))

    def expand_dims(self, x: Any, axis: int) -> Any:
        at = axis_of(axis, x.ndim + 1, "expand_dims")
        return x.reshape((*x.shape[:at], 1, *x.shape[at:]))

    def take_along_axis(self, x: Any, index: Any, axis: int) -> Any:
        if not isinstance(x, Boxed):
            return self.xp.take_along_axis(x, index, axis=axis)
        at = axis_of(axis, x.ndim, "take_along_axis")
        grid = [
            self.xp.arange(n).reshape(tuple(-1 if i == k else 1 for i in range(x.ndim)))
            for k, n in enumerate(index.shape)
        ]
        return x[tuple(index if k == at else places for k, places in enumerate(grid))]

    def _as_strided(self, x: Any, shape: Any, strides: Any) -> Any:
        """An index into x: `as_strided` of the numbers of its elements tells which one each element of the view is."""
        if not isinstance(x, Boxed):
            return self.xp.lib.stride_tricks.as_strided(x, shape=shape, strides=strides)
        places = self.xp.arange(x.size)
        steps = tuple(step // x.itemsize * places.itemsize for step in strides)
        return x.reshape(-1)[self.xp.lib.stride_tricks.as_strided(places, shape=shape, strides=steps)]


class _Add:
    """`xp.add`, and `xp.add.at`."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def __call__(self, a: Any, b: Any) -> Any:
        return self._library.run(ops.Add, a, b) if _any_boxed((a, b)) else a + b

    def at(self, x: Any, index: Any, values: Any) -> None:
        x.write(self._library.run(ops.AddAt, x, values, index=index).tensor)


_ELEMENTWISE: dict[str, Any] = {  # and NumPy's names of the operators
    "abs": ops.Abs,
    "absolute": ops.Abs,
    "arccos": ops.Acos,
    "arcsin": ops.Asin,
    "arctan": ops.Atan,
    "arctan2": ops.Atan2,
    "cos": ops.Cos,
    "cosh": ops.Cosh,
    "divide": ops.Div,
    "exp": ops.Exp,
    "expm1": ops.Expm1,
    "fmod": ops.Fmod,
    "log": ops.Log,
    "log10": ops.Log10,
    "log1p": ops.Log1p,
    "log2": ops.Log2,
    "logaddexp": ops.LogAddExp,
    "maximum": ops.Maximum,
    "minimum": ops.Minimum,
    "multiply": ops.Mul,
    "negative": ops.Neg,
    "remainder": ops.Remainder,
    "sin": ops.Sin,
    "sinh": ops.Sinh,
    "sqrt": ops.Sqrt,
    "subtract": ops.Sub,
    "tan": ops.Tan,
    "tanh": ops.Tanh,
}
# Their derivative is zero wherever they have one.
_CONSTANT = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isfinite", "isnan", "isinf", "sign",
    "argmax", "argmin", "floor", "floor_divide", "ceil", "round", "rint", "trunc", "shape", "ndim", "size",
}  # fmt: skip


def unbox(value: Any) -> Any:
    """The array inside a boxed one; anything else as it is."""
    return value.tensor.array if isinstance(value, Boxed) else value


def _any_boxed(values: Any) -> bool:
    return any(isinstance(value, Boxed) for value in values)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    at = axis_of(axis, len(shape), "axis")
    return (*shape[:at], *shape[at + 1 :])
