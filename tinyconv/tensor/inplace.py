"""Writing in place: what `x += y`, `x.relu_()` and `inplace=True` do.

Where nothing is recorded, the values are written into the tensor's memory, and all that share it see them. Where they
are, the tensor gets new memory and a new place on the tape, and so do its views. The old memory stays as it was, for
the tape may have saved it: a gradient that PyTorch refuses, because what it needs was overwritten, is right here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import META, Array, backend_of, captured_step
from tinyconv.engine.context import context
from tinyconv.engine.dtypes import category
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.options import number
from tinyconv.engine.writes import Storage
from tinyconv.errors import DtypeError, GraphError, ShapeError
from tinyconv.tensor import arranging, pointwise
from tinyconv.tensor.convert import is_tensor, to_array, writeable
from tinyconv.tensor.index import integers_first, parts_of, placed
from tinyconv.tensor.memory import rebind, write
from tinyconv.tensor.signatures import Index, Operand, Scalar
from tinyconv.tensor.tensor import Tensor, apply, wrap

__all__ = [
    "abs_",
    "acos_",
    "asin_",
    "atan_",
    "ceil_",
    "clamp_",
    "clamp_max_",
    "clamp_min_",
    "clip_",
    "cos_",
    "cosh_",
    "erf_",
    "exp_",
    "expm1_",
    "floor_",
    "log1p_",
    "log2_",
    "log10_",
    "log_",
    "nan_to_num_",
    "neg_",
    "reciprocal_",
    "relu_",
    "round_",
    "rsqrt_",
    "sigmoid_",
    "sin_",
    "sinh_",
    "sqrt_",
    "square_",
    "tan_",
    "tanh_",
    "trunc_",
]  # fmt: skip


def assign(t: Tensor, what: str, value: Tensor) -> Tensor:
    """`t` with `value` in it: written into its memory, or, where that has to be recorded, in new memory."""
    if value.shape != t.shape:
        raise ShapeError(f"{what}: the result has shape {value.shape} and cannot be written into {t.shape}")
    if category(value.dtype) > category(t.dtype):
        raise DtypeError(f"{what}: the result is {value.dtype} and cannot be written into {t.dtype}")
    if context.get().recording and (t.requires_grad or value.requires_grad):
        if not value.requires_grad:  # what t was before has no part in what it is now: a gradient of 0
            value = apply(ops.Where, wrap(backend_of(t.array).xp.ones_like(t.array, bool)), value.to(t.dtype), t)
        if t.is_leaf and t.requires_grad:
            raise GraphError(
                f"{what}: a leaf that requires grad cannot be changed in place while recording; "
                "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
            )
        if t._storage.shared and t.numel() and not META.owns(t.array):
            _assign_to_views(t, what, value.to(t.dtype))
        else:
            _become(t, value.to(t.dtype))
    else:
        write(t, ..., value.array)
    return t


def replace(t: Tensor, what: str, value: Tensor) -> Tensor:
    """`t` with `value`, a result that nobody else holds, in it. No copy is made where `t` alone has its memory."""
    recorded = context.get().recording and (t.requires_grad or value.requires_grad)
    if recorded or value.dtype != t.dtype or value.shape != t.shape or not _alone(t):
        return t if value is t else assign(t, what, value)
    _become(t, value)
    return t


def _become(t: Tensor, value: Tensor) -> None:
    _keep_as_before(t._node, value._node)
    t.array, t._node, t._storage, t._tracked = value.array, value._node, value._storage, value._tracked


def _keep_as_before(before: Any, now: Any) -> None:
    """Where a tensor was asked to keep its gradient (`retain_grad`), it keeps that of what it is now."""
    if isinstance(before, OpNode) and isinstance(now, OpNode) and before is not now:
        before.grad, now.grad = None, before.grad


def _alone(t: Tensor) -> bool:
    """Whether nobody would notice that `t`, which no op computed, holds another array."""
    step = captured_step.get()
    return (
        t._node is None
        and not (t._storage.shared or t._storage.lent)
        and writeable(t.array)
        and (step is None or step.made_here(t.array))
    )


def _assign_to_views(t: Tensor, what: str, value: Tensor) -> None:
    """Record `value` as what `t` is, and what its views are where they overlap with it, all of them in new memory."""
    held = t._storage.views
    if not all(map(is_tensor, held)):
        raise GraphError(
            f"{what}: this tensor shares its memory with a NumPy array (x.numpy()), and what is recorded cannot be "
            "written there; make a new tensor, as in x = x + 1"
        )
    views: list[Tensor] = [view for view in held if view is not t]
    if any(view.is_leaf and view.requires_grad for view in views):
        raise GraphError(
            f"{what}: a view of a leaf that requires grad cannot be changed in place while recording; "
            "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
        )
    if (step := captured_step.get()) is not None:
        step.refuse(
            f"capture: {what} writes into a tensor that has views, which is not replayed; make a new tensor, as in "
            "x = x + 1"
        )
    moved, xp = [t, *views], backend_of(t.array).xp
    places = _places([view.array for view in moved])
    memory = xp.zeros(max(int(at.max(initial=0)) for at in places) + 1, t.dtype)
    for view, at in zip(moved[::-1], places[::-1], strict=True):
        memory[xp.asarray(at)] = value.array if view is t else view.array
    results = [value] + [_overlaid(view, at, value, places[0]) for view, at in zip(views, places[1:], strict=True)]
    storage, tracked = Storage(), t.requires_grad
    storage.recorded = True
    storage.share(*moved)
    for view, at, result in zip(moved, places, results, strict=True):
        part = memory[int(at.flat[0]) :] if at.size else memory
        view.array = xp.lib.stride_tricks.as_strided(part, view.shape, view.array.strides)
        view._storage = storage
        if (view is t or view.requires_grad or not tracked) and isinstance(result._node, OpNode):
            _keep_as_before(view._node, result._node)
            view._node, view._tracked = result._node, True  # what was detached stays so
            result._node.storage = storage


def _places(arrays: list[Array]) -> list[np.ndarray[Any, Any]]:
    """Where in the memory that they share each element of these arrays is: the numbers of the elements, from 0."""
    found = []
    for array in arrays:
        at = np.asarray(_address(array) // array.itemsize)
        for n, stride in zip(array.shape, array.strides, strict=True):
            at = at[..., None] + np.arange(n) * (stride // array.itemsize)
        found.append(at)
    first = min(int(at.min()) for at in found if at.size)
    return [at - first for at in found]


def _address(array: Array) -> int:
    data = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    return int(data)


def _overlaid(view: Tensor, at: np.ndarray[Any, Any], value: Tensor, written: np.ndarray[Any, Any]) -> Tensor:
    """`view`, of the elements at the places `at`, with those of `value` where `value` was written to the same place."""
    where = np.full(max(at.max(initial=0), written.max()) + 1, -1)
    where[written] = np.arange(written.size).reshape(written.shape)
    source = where[at].reshape(-1)
    taken = np.flatnonzero(source >= 0)
    if not taken.size:
        return view
    into, out_of = (backend_of(view.array).asarray(index, view.device) for index in (taken, source[taken]))
    picked = apply(ops.Index, value.reshape(-1), index=(out_of,), simple=True)
    return apply(ops.Put, view.reshape(-1), picked, index=(into,)).reshape(view.shape)


def put(input: Tensor, index: Index, value: Any) -> None:
    """Write values, which may broadcast, where an index names elements: `x[index] = value`. They are cast to its dtype.

    Raises ShapeError where they do not fit, and GraphError on a leaf that requires grad while recording.
    """
    parts, _ = parts_of(index)
    if not isinstance(value, Tensor):
        given = number(value)
        value = wrap(to_array(value, None, input.device)) if given is None else given
    if context.get().recording and (input.requires_grad or getattr(value, "requires_grad", False)):
        assign(input, "x[...] = value", _with(input, parts, value))
        return
    first, parts = integers_first(parts, input.ndim)
    x = input if first is None else input.detach()[first]
    if isinstance(value, Tensor):
        backend_of(x.array, value.array)  # refuses two devices
        value = value.array
    write(x, placed(parts, x.array), value)


def _with(input: Tensor, parts: tuple[Any, ...], value: Any) -> Tensor:
    """`input` with the value at an index, as a new tensor."""
    first, rest = integers_first(parts, input.ndim)
    named = input.detach()[parts]
    if isinstance(value, Tensor):
        extra = max(value.ndim - named.ndim, 0)
        value = value.to(input.dtype)
        value = (value.reshape(value.shape[extra:]) if set(value.shape[:extra]) <= {1} else value).expand(named.shape)
    if first is None:
        return apply(ops.Put, input, value, index=placed(rest, input.array))
    places = wrap(backend_of(input.array).xp.arange(input.numel()).reshape(input.shape))[parts].array
    return apply(ops.Put, input.reshape(-1), value, index=(places,)).reshape(input.shape)


# --- the methods, and functions of their names ------------------------------------------------------------------------


def add_(input: Tensor, other: Operand, alpha: Scalar | Tensor = 1) -> Tensor:
    """Add alpha `other` to this tensor, in place. GraphError on a leaf that requires grad while recording."""
    return assign(input, "+=", input + pointwise.scaled("add_", input, other, alpha))


def sub_(input: Tensor, other: Operand, alpha: Scalar | Tensor = 1) -> Tensor:
    """Subtract alpha `other` in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(input, "-=", input - pointwise.scaled("sub_", input, other, alpha))


def mul_(input: Tensor, other: Operand) -> Tensor:
    """Multiply by `other` in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(input, "*=", input * other)


def div_(input: Tensor, other: Operand) -> Tensor:
    """Divide by `other` in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(input, "/=", input / other)


def pow_(input: Tensor, exponent: Operand) -> Tensor:
    """Raise to the power of `exponent` in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(input, "**=", input**exponent)


def copy_(input: Tensor, source: Operand | Sequence[Any]) -> Tensor:
    """Write the values of `source`, which may broadcast, into this tensor; they are cast to its dtype.

    Raises ShapeError where they do not fit, and GraphError on a leaf that requires grad while recording.
    """
    value = source if isinstance(source, Tensor) else wrap(to_array(source, input.dtype, input.device))
    value = value.to(input.device).to(input.dtype).expand(*input.shape)
    recorded = context.get().recording and (input.requires_grad or value.requires_grad)
    return assign(input, "copy_", value.clone() if recorded else value)  # else it would share the memory of the source


def fill_(input: Tensor, value: Scalar) -> Tensor:
    """Write one number everywhere. Raises GraphError on a leaf that requires grad while recording."""
    return copy_(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros everywhere. Raises GraphError on a leaf that requires grad while recording."""
    return copy_(input, 0)


def bitwise_and_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_and` in place. DtypeError where the result is of another kind than the tensor, as of bools and ints."""
    return assign(input, "&=", input & other)


def bitwise_or_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_or` in place. DtypeError where the result is of another kind than the tensor, as of bools and ints."""
    return assign(input, "|=", input | other)


def bitwise_xor_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_xor` in place. DtypeError where the result is of another kind than the tensor, as of bools and ints."""
    return assign(input, "^=", input ^ other)


def bitwise_left_shift_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_left_shift` in place. Raises DtypeError for anything but integers."""
    return assign(input, "<<=", input << other)


def bitwise_right_shift_(input: Tensor, other: Operand) -> Tensor:
    """`bitwise_right_shift` in place. Raises DtypeError for anything but integers."""
    return assign(input, ">>=", input >> other)


P = ParamSpec("P")


def _in_place(function: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The function that writes what `function` gives into its input."""
    name = f"{function.__name__}_"

    @wraps(function)
    def in_place(input: Tensor, /, *args: P.args, **options: P.kwargs) -> Tensor:
        return replace(input, name, function(input, *args, **options))

    in_place.__name__ = in_place.__qualname__ = name
    in_place.__module__ = __name__
    in_place.__doc__ = (
        f"`{name[:-1]}` in place. Raises what that does, GraphError on a leaf that requires grad while recording, and "
        "DtypeError where the result is of another kind than the tensor."
    )
    return in_place


abs_ = _in_place(pointwise.abs)
acos_ = _in_place(pointwise.acos)
addcdiv_ = _in_place(pointwise.addcdiv)
addcmul_ = _in_place(pointwise.addcmul)
asin_ = _in_place(pointwise.asin)
atan_ = _in_place(pointwise.atan)
ceil_ = _in_place(pointwise.ceil)
clamp_ = clip_ = _in_place(pointwise.clamp)
clamp_max_ = _in_place(pointwise.clamp_max)
clamp_min_ = _in_place(pointwise.clamp_min)
cos_ = _in_place(pointwise.cos)
cosh_ = _in_place(pointwise.cosh)
erf_ = _in_place(pointwise.erf)
exp_ = _in_place(pointwise.exp)
expm1_ = _in_place(pointwise.expm1)
floor_ = _in_place(pointwise.floor)
floor_divide_ = _in_place(pointwise.floor_divide)
fmod_ = _in_place(pointwise.fmod)
lerp_ = _in_place(pointwise.lerp)
log_ = _in_place(pointwise.log)
log10_ = _in_place(pointwise.log10)
log1p_ = _in_place(pointwise.log1p)
log2_ = _in_place(pointwise.log2)
nan_to_num_ = _in_place(pointwise.nan_to_num)
neg_ = _in_place(pointwise.neg)
reciprocal_ = _in_place(pointwise.reciprocal)
relu_ = _in_place(pointwise.relu)
remainder_ = _in_place(pointwise.remainder)
round_ = _in_place(pointwise.round)
rsqrt_ = _in_place(pointwise.rsqrt)
sigmoid_ = _in_place(pointwise.sigmoid)
sign_ = _in_place(pointwise.sign)
sin_ = _in_place(pointwise.sin)
sinh_ = _in_place(pointwise.sinh)
sqrt_ = _in_place(pointwise.sqrt)
square_ = _in_place(pointwise.square)
tan_ = _in_place(pointwise.tan)
tanh_ = _in_place(pointwise.tanh)
trunc_ = _in_place(pointwise.trunc)


# --- another shape for the same tensor ------------------------------------------------------------------------------


def _reshaped(function: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The method that lets a tensor be, from now on, the view of its memory that the function gives."""
    name = f"{function.__name__}_"

    @wraps(function)
    def in_place(input: Tensor, /, *args: P.args, **options: P.kwargs) -> Tensor:
        leaf = input.is_leaf and input.requires_grad
        if leaf and context.get().recording:
            raise GraphError(
                f"{name}: a leaf that requires grad cannot be changed in place while recording; "
                f"x = x.{function.__name__}(...) makes a new tensor"
            )
        if (step := captured_step.get()) is not None and input.is_leaf and not step.made_here(input.array):
            step.refuse(
                f"capture: {name} changes the shape of a tensor from outside the step, which is not replayed; "
                f"x = x.{function.__name__}(...) makes a new tensor"
            )
        view = function(input, *args, **options)
        if leaf:
            rebind(input, view.array, view._storage)
        else:
            _become(input, view)
        return input

    in_place.__name__ = in_place.__qualname__ = name
    in_place.__module__ = __name__
    in_place.__doc__ = f"`x = x.{name[:-1]}(...)` for all who have x. GraphError on a leaf that requires grad."
    return in_place


squeeze_, unsqueeze_ = _reshaped(arranging.squeeze), _reshaped(arranging.unsqueeze)
t_, transpose_ = _reshaped(arranging.t), _reshaped(arranging.transpose)


def detach_(input: Tensor) -> Tensor:
    """Take a tensor off the tape: it is a leaf that requires no grad from now on. Returns the tensor."""
    if not input.is_leaf:
        input._node = None
    input._tracked = False
    return input
