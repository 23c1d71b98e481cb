"""Tensor, and `apply`: the only bridge between ops (pure functions on arrays) and the tape (nodes, no arrays)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from operator import invert
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy import ndarray  # by its own name on the way of every op

from tinyconv import ops, shapes
from tinyconv.arrays.backend import NUMPY, Array, backend_of, place_of, ready
from tinyconv.arrays.backend import device as Device
from tinyconv.engine.context import context, quiet
from tinyconv.engine.dtypes import DEFAULT_FLOAT, Dtype, as_dtype, dtype_of_number, result_type
from tinyconv.engine.each_step import computed, taken
from tinyconv.engine.nodes import NONE, RETAIN, Gradient, Leaf, OpNode, constants_of
from tinyconv.engine.options import number, plain
from tinyconv.engine.variants import defaults, op_name, select
from tinyconv.engine.wide import Wide, in_float16, is_wide
from tinyconv.engine.writes import Storage
from tinyconv.errors import DtypeError, GraphError, ShapeError
from tinyconv.tensor.convert import Move, cuda_name, destination, to_array, writeable
from tinyconv.tensor.index import check_index, integers_first, parts_of, placed
from tinyconv.tensor.memory import copy_leaf, lend_to_numpy, rebind, share_memory, take_apart, unpickle
from tinyconv.tensor.protocols import call_function, call_ufunc
from tinyconv.tensor.refusals import (
    check_exponent,
    check_fits,
    check_integers,
    check_not_bool,
    check_not_floating,
    constant_input,
    refuse,
    refuse_number,
    refused,
)
from tinyconv.tensor.show import formatted, shown_tensor, tensor_html
from tinyconv.tensor.signatures import HookHandle, Index, Operand, Scalar
from tinyconv.tensor.walking import walk_back

if TYPE_CHECKING:
    from tinyconv.tensor.methods import Methods
else:
    Methods = object  # `tensor.methods` attaches them, for they need what is below

# --- apply ----------------------------------------------------------------------------------------------------------


def apply(op: Any, *inputs: Any, **geometry: Any) -> Any:
    """Run `op` on tensors (and Python numbers, and None) and record it: how every function here is made.

    Returns a Tensor; or, where the op's forward returns a tuple, a tuple of Tensors of which the first has the
    gradient. Raises DtypeError for inputs of another type, DeviceError where devices meet, and what the op's checks
    raise. What decides how the op runs, besides its arguments, is in `engine.context`.
    """
    now = context.get()
    arrays: list[Any] = []
    parents: list[Leaf | OpNode | None] = []
    on_host, tracked = True, False
    for t in inputs:
        parent = None
        if isinstance(t, Tensor):
            array = t.array
            if type(array) is not ndarray:
                on_host = False
            if t._tracked:
                parent, tracked = t._node, True
        else:
            array = t if type(t) is float else constant_input(t, op, inputs)
        arrays.append(array)
        parents.append(parent)
    if geometry:  # a NumPy scalar among the numbers would turn a float32 into a float64
        geometry = {name: plain(v) if isinstance(v, _NUMPY) else v for name, v in geometry.items()}
    backend = NUMPY if on_host else backend_of(*arrays)
    xp, (check, check_values, wide) = backend.xp, _known(op)
    if check is not None:
        try:
            check(*arrays, **geometry)
        except AttributeError as error:  # a number, or None, where the op needs an array
            refuse_number(op, arrays, error)
            raise
        if check_values is not None and on_host:  # elsewhere a look at a value would wait for the device
            check_values(*arrays, **geometry)
    pair = op if now.plain and op not in defaults else select(op, backend.name, arrays, geometry)
    if wide and in_float16(arrays):
        pair = Wide(pair)
    try:
        if now.quiet:  # `quietly`, written out because every op comes here
            y, saved = pair.forward(xp, *arrays, **geometry)
        else:
            y, saved = quiet.context.run(pair.forward, xp, *arrays, **geometry)
    except MemoryError as error:
        backend.out_of_memory(op_name(op), error)
        raise
    rest: tuple[Tensor, ...] = ()
    if type(y) is tuple:
        y, rest = y[0], tuple([wrap(other) for other in y[1:]])
    out = wrap(y)
    y = out.array
    if y.base is not None:
        share_memory(out, inputs, xp)
    else:
        for array in arrays:
            if array is y:
                share_memory(out, inputs, xp)
    if tracked and now.recording and y.dtype.kind == "f":
        constants = constants_of(inputs, arrays, parents) if None in parents else NONE
        node = OpNode(op, pair, xp, parents, constants, geometry, saved, y, out._storage, now.layer)
        if rest:  # a pair may save them as well as y
            node.others = tuple([other._storage for other in rest])
            for storage in node.others:
                storage.recorded = True
        out._node, out._tracked = node, True
    if now.observer is not None:
        now.observer.made(op, pair, inputs, geometry, (out, *rest))
    return (out, *rest) if rest else out


@cache
def _known(op: Any) -> tuple[Any, Any, bool]:
    """The op's `check` and `check_values`, or None, and `is_wide`. Kept: looking takes as long as a small product."""
    return getattr(op, "check", None), getattr(op, "check_values", None), is_wide(op)


def wrap(array: Array) -> Tensor:
    """A tensor around an array, sharing its memory; nothing is checked."""
    out = _new(Tensor)
    out.array = array if type(array) is ndarray or not isinstance(array, np.generic) else np.asarray(array)
    out._node = None
    out._storage = Storage()
    out._tracked = False
    return out


_new: Any = object.__new__
_NUMPY = np.generic, ndarray


def kept_gradient(node: Leaf | OpNode) -> Tensor | None:
    """The gradient that a node keeps, as a Tensor: the same one each time."""
    kept = node.grad
    if type(kept) is Gradient:
        node.grad = wrap(kept.array)
        node.grad._storage = kept._storage
    return None if kept is RETAIN else node.grad


def check_gradient(what: str, value: Any, of: Any) -> None:
    """Refuse a gradient that is no Tensor, or not of the shape and dtype of `of`."""
    if not isinstance(value, Tensor):
        raise DtypeError(f"{what} must be a Tensor, got {type(value).__name__}")
    if value.shape != of.shape or value.dtype != of.dtype:
        raise ShapeError(f"{what} must be {of.dtype} {of.shape}, got {value.dtype} {value.shape}")


# --- Tensor ---------------------------------------------------------------------------------------------------------


class Tensor(Methods):
    """An array, and how it was computed. `Tensor(data)` makes a float32 tensor, as in torch.

    `Tensor(2, 3)` and `Tensor(3)`, of whole numbers alone, have that shape, as in torch; their values nobody promises
    (here they are 0). Where `dtype` is another than float32, `Tensor(3, dtype=...)` is the number 3.

    Args:
        data: Numbers, nested lists, an array or a tensor; it is copied.
        requires_grad: Whether gradients with respect to this tensor are wanted.
        dtype: float32 unless given. `tinyconv.tensor(data)` infers it instead.
        device: "cpu", "cuda" or "meta"; the default device unless given.

    `array` is the array itself, of NumPy or CuPy. Raises DtypeError for a dtype that tensors cannot have, or where
    integers are to require grad.
    """

    __slots__ = ("__weakref__", "_node", "_storage", "_tracked", "array")
    __hash__ = object.__hash__  # `==` compares elements

    array: Array
    _node: Leaf | OpNode | None
    _storage: Storage  # call `_storage.wrote(array)` after a write to the array
    _tracked: bool  # what `requires_grad` shows

    def __init__(
        self,
        data: Any = (),
        *sizes: int,
        requires_grad: bool = False,
        dtype: Dtype = DEFAULT_FLOAT,
        device: str | None = None,
    ) -> None:
        if sizes or (isinstance(data, int | np.integer) and not isinstance(data, bool) and dtype is DEFAULT_FLOAT):
            data = np.zeros(shapes.new_sizes((data, *sizes)), np.float32)
        self.array = to_array(data, dtype, device)
        self._node = None
        self._tracked = False
        self._storage = Storage()
        self.requires_grad_(requires_grad)

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes: a tuple of ints, empty for a 0-d tensor."""
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, a NumPy dtype such as `tinyconv.float32`."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.array.shape)

    @property
    def device(self) -> Device:
        """Where the elements are: `"cpu"`, `"cuda:0"`, or `"meta"` for a tensor that has only a shape."""
        return place_of(self.array)

    @overload
    def size(self, dim: None = None) -> tuple[int, ...]: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> tuple[int, ...] | int:
        """The shape, or the size of one axis. Raises ShapeError for an axis that does not exist."""
        return self.shape if dim is None else self.shape[shapes.axis_in(dim, self.shape, "size")]

    def dim(self) -> int:
        """The number of axes, like `ndim`."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return shapes.product(self.shape)

    def element_size(self) -> int:
        """The bytes of one element."""
        return int(self.dtype.itemsize)

    def is_floating_point(self) -> bool:
        """Whether the dtype is float16, float32 or float64."""
        return self.dtype.kind == "f"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation computed it."""
        return not isinstance(self._node, OpNode)

    @property
    def grad_fn(self) -> OpNode | None:
        """The node of the op that computed it, None for a leaf. Its repr says where that op is to be read."""
        return self._node if isinstance(self._node, OpNode) else None

    @property
    def data(self) -> Tensor:
        """The same memory, outside the tape: `p.data -= lr * p.grad` is not recorded. As in torch."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        check_gradient("data", value, self)
        if value.array is not self.array:
            rebind(self, value.array, value._storage)

    # Gradients.

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far, of the shape and dtype of this tensor; None before any arrived.

        Only leaves keep one, and tensors that were asked to with `retain_grad`.
        """
        return None if self._node is None else kept_gradient(self._node)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            check_gradient("grad", value, self)
            if not writeable(value.array):
                value = value.clone()  # backward will add to it
        if self._node is None:
            self._node = Leaf(self.array, self._storage)
        self._node.grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient with respect to this tensor is wanted, or to any it was computed from."""
        return self._tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients with respect to this tensor, a leaf; or stop asking. Returns this tensor.

        Raises DtypeError where the dtype is not floating point, and GraphError where an op computed the tensor.
        """
        if requires_grad and self.dtype.kind != "f":
            raise DtypeError(f"requires_grad: only floating-point tensors have gradients, this one is {self.dtype}")
        if not self.is_leaf and not requires_grad:
            raise GraphError("requires_grad_(False): this tensor was computed from others; use x.detach()")
        self._storage.recorded |= self._tracked
        if requires_grad and self._node is None:
            self._node = Leaf(self.array, self._storage)
        self._tracked = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep this tensor's gradient though it is no leaf, of its last value. GraphError if it requires no grad."""
        if not self.requires_grad:
            raise GraphError("retain_grad: this tensor does not require grad")
        if isinstance(self._node, OpNode) and self._node.grad is None:
            self._node.grad = RETAIN

    def detach(self) -> Tensor:
        """A tensor with the same memory, outside the tape."""
        out = wrap(self.array)
        out._storage = self._storage
        out._storage.recorded |= self._tracked
        out._storage.share(self, out)
        return out

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add to `.grad` of every leaf the gradient of this tensor with respect to it. Like `torch.Tensor.backward`.

        Args:
            gradient: The gradient of something with respect to this tensor, of its shape and dtype. A tensor with one
                element needs none.
            retain_graph: Keep what the tape saved, so that it can be walked again. Otherwise it is freed on the way.
            create_graph: Record the gradients, so that they can be differentiated again. `.grad` then holds on to the
                graph and the graph to the parameters: use `tinyconv.grad`, or set `.grad = None` in the end.

        Raises GraphError where the tensor does not require grad, has more than one element and no `gradient`, or its
        graph was freed or written to in place.
        """
        if gradient is not None:
            check_gradient("backward: gradient", gradient, self)
        walk_back("backward", [self], [gradient], retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(grad)` when the whole gradient of this tensor is known; what it returns, if not None, replaces it.

        The hook must not write to `grad`. `handle.remove()` takes it away again. Raises GraphError where the tensor
        does not require grad.
        """
        if not self.requires_grad or self._node is None:
            raise GraphError("register_hook: this tensor does not require grad, so no gradient will come")

        def on_gradient(grad: Any) -> Any:  # an array; or a tensor, in a walk that is recorded
            recorded = isinstance(grad, Tensor)
            replaced = hook(grad if recorded else wrap(grad))
            if replaced is None:
                return None
            check_gradient("register_hook: what the hook returns", replaced, grad)
            return replaced if recorded else replaced.array

        if self._node.hooks is None:
            self._node.hooks = []
        hooks = self._node.hooks
        hooks.append(on_gradient)
        return HookHandle(lambda: hooks.remove(on_gradient) if on_gradient in hooks else None)

    # To and from other forms.

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array that shares this tensor's memory.

        The array of a tensor that requires grad is read-only: NumPy's work would not be recorded, and a write would
        spoil what the tape has saved. Raises DeviceError for a tensor on a GPU: bring it over first, with `.cpu()`.
        """
        return lend_to_numpy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array if copy else self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return call_function(function, args, options)

    def __dlpack__(self, **options: Any) -> Any:
        if self.device != "cpu":
            return self.array.__dlpack__(**options)
        self._storage.recorded |= self._tracked
        self._storage.lend(self.array)  # also where it is read-only: some consumers do not heed that
        array = self.numpy()
        try:
            return array.__dlpack__(**options)
        except BufferError:
            if array.flags.writeable:
                raise
            raise BufferError(
                "this tensor requires grad, so its memory is lent for reading alone; DLPack can say so from NumPy 2.1 "
                "on, and to who asks for DLPack 1.0. Hand over x.detach()"
            ) from None

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def item(self) -> Scalar:
        """The one element, as a Python number. Raises ShapeError for a tensor with any other number of elements."""
        if self.numel() != 1:
            raise ShapeError(
                f"item: only a tensor with one element is a number, this one has shape {self.shape}; reduce it "
                "(x.mean()), take one element (x[0]), or all of them (x.tolist())"
            )
        number: Scalar = backend_of(self.array).to_numpy(self.array).item()
        return number

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers; a 0-d tensor gives a number."""
        return backend_of(self.array).to_numpy(self.array).tolist()

    def to(
        self,
        *args: Tensor | Device | str | Dtype | bool,
        device: str | None = None,
        dtype: Dtype = None,
        non_blocking: bool = False,
        copy: bool = False,
        memory_format: str | None = None,
    ) -> Tensor:
        """This tensor with another dtype, on another device, or both. Gradients flow through. Like `torch.Tensor.to`.

        The same tensor if nothing changes, unless `copy`. `non_blocking` changes nothing: a copy to a GPU never waits
        for it, and a copy to the host always does. Nor does `memory_format` here and below: strides are no promise.
        Bools without a name are `non_blocking` and `copy`, in this order.
        Raises DtypeError and DeviceError for what does not exist.

            t.to("cuda"), t.to(tc.float64), t.to(other)
        """
        device, wanted = destination(args, device, dtype)
        out = self
        if wanted is not None and wanted != self.dtype:
            out = apply(ops.Cast, out, dtype=wanted)
        if device is not None and device != self.device:
            out = apply(Move, out, device=device)
        copy = copy or [arg for arg in args if isinstance(arg, bool)][1:2] == [True]
        return out.clone() if copy and out is self else out

    def cpu(self) -> Tensor:
        """This tensor in host memory."""
        return self.to("cpu")

    def cuda(self, device: int | str | Device | None = None, non_blocking: bool = False) -> Tensor:
        """This tensor on a GPU: the first, or `cuda(1)`, `cuda("cuda:1")`. DeviceError where there is none."""
        return self.to(cuda_name(device))

    def clone(self, *, memory_format: str | None = None) -> Tensor:
        """The same values in memory of their own; gradients flow through."""
        return apply(ops.Copy, self)

    def contiguous(self, memory_format: str | None = None) -> Tensor:
        """This tensor if its memory is in row-major order, else a copy that is."""
        return self if self.array.flags.c_contiguous else self.clone()

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        return copy_leaf(self, memo)

    def __reduce__(self) -> Any:
        return unpickle, take_apart(self)

    def __repr__(self) -> str:
        return shown_tensor(self)

    def _repr_html_(self) -> str:
        return tensor_html(self)

    def __format__(self, spec: str) -> str:
        return formatted(self, spec)

    def __len__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor: it holds one number, x.item()")
        return self.shape[0]

    def __contains__(self, value: Operand) -> Any:
        found = self == value
        return isinstance(found, Tensor) and bool(found.any())

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor: it holds one number, x.item()")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> Any:
        if self.numel() != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use .any(), .all() or compare single values"
            )
        return bool(self.item())

    def __float__(self) -> Any:
        return float(self.item())

    def __int__(self) -> Any:
        return int(self.item())

    def __index__(self) -> Any:
        if self.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, this one is {self.dtype}")
        return int(self.item())

    # Arithmetic. Operands broadcast; the dtype of the result is torch's (see `engine.dtypes.result_type`).

    def __add__(self, other: Operand) -> Tensor:
        """self + other, broadcast. Raises ShapeError where the shapes do not broadcast."""
        return binary(ops.Add, self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return binary(ops.Add, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        """self - other, broadcast. Raises ShapeError where the shapes do not broadcast."""
        return binary(ops.Sub, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return binary(ops.Sub, other, self)

    def __mul__(self, other: Operand) -> Tensor:
        """self * other, element by element, broadcast. Raises ShapeError where the shapes do not broadcast."""
        return binary(ops.Mul, self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return binary(ops.Mul, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        """self / other, broadcast; integers become float32. Raises ShapeError where the shapes do not broadcast."""
        return binary(ops.Div, self, other, floating=True)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return binary(ops.Div, other, self, floating=True)

    def __floordiv__(self, other: Operand) -> Tensor:
        """self // other, rounded down, in the dtype of the operands; its gradient is 0."""
        return binary(ops.FloorDivide, self, other)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return binary(ops.FloorDivide, other, self)

    def __mod__(self, other: Operand) -> Tensor:
        """self % other, with the sign of other. Raises ZeroDivisionError for integers by 0."""
        return binary(ops.Remainder, self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return binary(ops.Remainder, other, self)

    def __pow__(self, other: Operand) -> Tensor:
        """self to the power of other, broadcast.

        Raises ShapeError where the shapes do not broadcast, and OptionError for integers to a negative integer power.
        """
        return binary(ops.Pow, self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        base = operand(other)
        if base is None:
            return refused("pow", other)
        # As a tensor, since its logarithm is taken: that of a Python number would be a float64.
        dtype = result_type(map(kind_of, (base, self)))
        return binary(ops.Pow, base if isinstance(base, Tensor) else wrap(to_array(base, dtype, self.device)), self)

    def __matmul__(self, other: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """The matrix product (..., N, K) @ (..., K, M) = (..., N, M), with batch axes broadcast, by NumPy's rule.

        A vector is a row on the left and a column on the right. Raises ShapeError where the sizes do not fit, and
        DtypeError where the dtypes differ.
        """
        return _matmul(self, other)

    def __rmatmul__(self, other: Tensor | np.ndarray[Any, Any]) -> Tensor:
        return _matmul(other, self)

    def __neg__(self) -> Tensor:
        """-self. Raises DtypeError for a bool tensor."""
        check_not_bool("neg", self)
        return apply(ops.Neg, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        """The absolute value of each element; its gradient is 0 at 0."""
        return apply(ops.Abs, self)

    # Comparisons: bool tensors, outside the tape.

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        """Where elements are equal: a bool tensor, broadcast."""
        return compare("equal", self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        """Where elements differ: a bool tensor, broadcast."""
        return compare("not_equal", self, other)

    def __lt__(self, other: Operand) -> Tensor:
        """Where self < other: a bool tensor, broadcast."""
        return compare("less", self, other)

    def __le__(self, other: Operand) -> Tensor:
        """Where self <= other: a bool tensor, broadcast."""
        return compare("less_equal", self, other)

    def __gt__(self, other: Operand) -> Tensor:
        """Where self > other: a bool tensor, broadcast."""
        return compare("greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        """Where self >= other: a bool tensor, broadcast."""
        return compare("greater_equal", self, other)

    def __and__(self, other: Operand) -> Tensor:
        return compare("bitwise_and", self, other)

    def __or__(self, other: Operand) -> Tensor:
        return compare("bitwise_or", self, other)

    def __xor__(self, other: Operand) -> Tensor:
        return compare("bitwise_xor", self, other)

    def __lshift__(self, other: Operand) -> Tensor:
        return compare("left_shift", self, other)

    def __rshift__(self, other: Operand) -> Tensor:
        return compare("right_shift", self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        check_not_floating("invert", self)
        return wrap(computed(invert, ready(self.array)))

    # The rest, in files of their kinds: `tensor.methods` names them all.

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return apply(ops.Permute, self, axes=tuple(range(self.ndim))[::-1])

    def __getitem__(self, index: Index) -> Tensor:
        """What an index names: integers, slices, None, Ellipsis, masks and integer arrays (or tensors of these).

        Axes are in torch's order. A step may be below 0, as in NumPy.
        """
        parts, simple = parts_of(index)
        try:
            first, parts = integers_first(parts, self.ndim)
            x = self if first is None else apply(ops.Index, self, index=first, simple=True)
            return apply(ops.Index, x, index=placed(parts, x.array), simple=simple)
        except IndexError as error:
            if not isinstance(index, int):  # a plain IndexError is how Python's iteration ends
                check_index(index)
                error.add_note(f"in x[...] with x of shape {self.shape}")
            raise


def from_array(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor around a NumPy array that somebody else holds too."""
    as_dtype(array.dtype)
    out = wrap(taken(array, np.asarray(array)))  # a plain array also where it is a memory map
    out._storage.share(out, array)
    return out


def operand(value: Any) -> Any:
    """What an op takes: a Tensor, or a Python number; NumPy's arrays and scalars become those. None for the rest."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and (value.ndim or value.dtype.char != "g"):
        return from_array(value)  # a 0-d array as a 0-d tensor; one of longdouble is what NumPy makes of a number
    if hasattr(value, "__cuda_array_interface__"):
        return wrap(value)
    return number(value)


def kind_of(value: Tensor | Scalar) -> tuple[np.dtype[Any], int | None]:
    """An operand as `result_type` takes it: its dtype, and its number of axes, None for a Python number."""
    return (value.dtype, value.ndim) if isinstance(value, Tensor) else (dtype_of_number(value), None)


def binary(op: Any, a: Any, b: Any, floating: bool = False) -> Any:
    """Two operands, brought to one dtype, to an op that broadcasts; Python numbers stay numbers.

    NotImplemented where one of them may know what to do with a tensor.
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        dtype = a.array.dtype
        fit = dtype == b.array.dtype and (not floating or dtype.kind == "f")
    else:
        tensor, other = (a, b) if isinstance(a, Tensor) else (b, a)
        fit = tensor.array.dtype.kind == "f" and (type(other) is float or type(other) is int)
    if not fit:
        given, (a, b) = (a, b), (operand(a), operand(b))
        if a is None or b is None:
            return refused(op_name(op), given[0] if a is None else given[1])
        dtype = result_type(map(kind_of, (a, b)))
        if floating and dtype.kind != "f":
            dtype = DEFAULT_FLOAT
        a, b = (x.to(dtype) if isinstance(x, Tensor) else x for x in (a, b))
    try:
        return apply(op, a, b)
    except (ValueError, OverflowError):
        shapes.check_broadcast(op_name(op).lower(), a, b)
        check_exponent(op_name(op).lower(), b)
        check_fits(op_name(op).lower(), a, b)
        raise
    except TypeError as error:
        if not isinstance(error, DtypeError):
            check_not_bool(op_name(op).lower(), a, b)
        raise


def compare(ufunc: str, a: Tensor, b: Any) -> Any:
    """What NumPy's function of this name gives of a tensor and an operand, outside the tape; else NotImplemented."""
    other = operand(b)
    if other is None:  # nothing of another kind is equal
        return NotImplemented if ufunc in ("equal", "not_equal") else refused(ufunc, b)
    if not (isinstance(other, Tensor) and other.array.dtype == a.array.dtype):
        dtype = result_type(map(kind_of, (a, other)))  # what they would be added as
        a, other = a.detach().to(dtype), other.detach().to(dtype) if isinstance(other, Tensor) else other
    if ufunc.startswith("bitwise"):
        check_not_floating(ufunc, a, other)
    elif ufunc.endswith("shift"):
        check_integers(ufunc, a, other)
    other = other.array if isinstance(other, Tensor) else other
    shapes.warn_of_pairs(ufunc, a, other)
    try:
        return wrap(computed(getattr(backend_of(a.array, other).xp, ufunc), a.array, other))
    except (ValueError, OverflowError):
        shapes.check_broadcast(ufunc, a, other)
        check_fits(ufunc, a, other)
        raise


def unary(op: Any, x: Tensor, **geometry: Any) -> Tensor:
    """An op with real values; integers become float32 first. DtypeError for anything but a Tensor."""
    if not isinstance(x, Tensor):
        refuse(op_name(op), "input", x)
    return apply(op, x if x.dtype.kind == "f" else x.to(DEFAULT_FLOAT), **geometry)


def _matmul(a: Any, b: Any) -> Any:
    """NumPy's rule: a vector is a row on the left and a column on the right, and its axis goes again."""
    given, (a, b) = (a, b), (operand(a), operand(b))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return refused("matmul", given[isinstance(a, Tensor)], "a tensor")
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}: a 0-d tensor is no matrix; use *")
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a.unsqueeze(0) if row else a, b.unsqueeze(1) if column else b
    try:
        y = apply(ops.Matmul, a, b)
    except ValueError as error:
        if not isinstance(error, ShapeError):
            shapes.broadcast_shape(f"matmul: {a.shape} @ {b.shape}: batch axes", a.shape[:-2], b.shape[:-2])
        raise
    y = y.squeeze(-1) if column else y
    return y.squeeze(-1 if column else -2) if row else y
