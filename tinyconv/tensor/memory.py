"""The memory of a tensor: writing into it, lending it to NumPy, copying it, holding another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.arrays.backend import META, Array, backend_of, captured_step, ready, refuse_reading
from tinyconv.engine.context import context
from tinyconv.engine.dtypes import category
from tinyconv.engine.nodes import Leaf
from tinyconv.engine.writes import Storage, base_of
from tinyconv.errors import DeviceError, DtypeError, GraphError, ShapeError
from tinyconv.tensor.convert import is_tensor, to_array, writeable
from tinyconv.tensor.index import check_index

if TYPE_CHECKING:
    from tinyconv.tensor.tensor import Tensor


def share_memory(out: Tensor, inputs: tuple[Any, ...], xp: Any) -> None:
    """Let a result that is a view of an input share that input's count of writes."""
    for t in inputs:
        if is_tensor(t) and xp.may_share_memory(out.array, t.array):
            out._storage = t._storage
            out._storage.recorded |= t._tracked
            out._storage.share(t, out)
            return


def write(t: Tensor, where: Any, values: Any) -> None:
    """Write into the memory of a tensor, and count it. GraphError where it cannot be written to."""
    if not writeable(t.array):
        raise GraphError(
            "this tensor cannot be written to: its elements share memory (expand), or NumPy holds it read-only; "
            "write to a copy, x.clone()"
        )
    try:
        ready(t.array)[where] = values
    except IndexError:
        check_index(where)
        raise
    except ValueError as error:
        raise ShapeError(f"x[...] = value with x of shape {t.shape}: {error}") from None
    t._storage.wrote(t.array)
    step = captured_step.get()
    if step is not None:
        step.wrote(t.array, where, values)


def into(out: Tensor | None, value: Tensor) -> Tensor:
    """`value`, written into the `out` that a function was given. A tensor without elements takes the shape of `value`.

    Raises GraphError where it would have to be recorded, ShapeError for another shape, and DtypeError for an `out` of a
    lesser kind than the result.
    """
    if out is None:
        return value
    if not is_tensor(out):
        raise DtypeError(f"out= must be a Tensor, got {type(out).__name__}")
    if context.get().recording and (out._tracked or value._tracked):
        raise GraphError(
            "out=: what is written there is not recorded, and a tensor here requires grad; take what is returned, or "
            "write inside `with tinyconv.no_grad():`"
        )
    if category(value.dtype) > category(out.dtype):
        raise DtypeError(f"out=: the result is {value.dtype} and cannot be written into {out.dtype}")
    if not out.numel() and value.numel():
        rebind(out, value.array.astype(out.dtype), Storage())
    elif out.shape != value.shape:
        raise ShapeError(f"out=: the result has shape {value.shape} and cannot be written into {out.shape}")
    else:
        write(out, ..., value.array)
    return out


def rebind(t: Tensor, array: Array, storage: Storage) -> None:
    """Let a tensor hold another array from now on, perhaps of another dtype or on another device."""
    t.array, t._storage = array, storage
    if isinstance(t._node, Leaf):
        t._node.converted |= array.dtype != t._node.array.dtype or array.shape != t._node.array.shape
        t._node.array, t._node.storage = array, storage


def lend_to_numpy(t: Tensor) -> np.ndarray[Any, Any]:
    """A NumPy array with the tensor's memory: read-only if the tensor requires grad, else noted as lent."""
    if META.owns(t.array):
        META.to_numpy(t.array)  # which says why not
    if t.device != "cpu":
        raise DeviceError(f"numpy: this tensor is on {t.device}; bring it over first: x.cpu().numpy()")
    refuse_reading(t.array)
    view: np.ndarray[Any, Any] = t.array.view()
    t._storage.share(t, view)
    if t._tracked:
        view.flags.writeable = False
    elif view.flags.writeable:
        t._storage.lend(view)
    return view


def copy_leaf(t: Tensor, memo: dict[Any, Any]) -> Tensor:
    """A deep copy of a leaf: its values, its gradient, whether it requires grad, and its type."""
    if not t.is_leaf:
        raise GraphError("deepcopy: only leaves can be copied with their gradients; use x.detach().clone()")
    out = object.__new__(type(t))
    memo[id(t)] = out
    memory = whole(t)
    if id(memory) not in memo:  # else another tensor with this memory was copied, and the copies share one too
        memo[id(memory)], memo[id(t._storage)] = ready(memory).copy(), Storage()
    out.array = memo[id(memory)].reshape(t.shape)
    out._storage, out._node, out._tracked = memo.setdefault(id(t._storage), Storage()), None, t._tracked
    if t._node is not None:
        out._node = Leaf(out.array, out._storage)
        out.grad = None if t.grad is None else t.grad.clone()
    return out


def whole(t: Tensor) -> Array:
    """The array that owns the memory of `t` where `t` is all of it, in its order; else the array of `t`.

    By it a copy knows tensors that share their memory, such as those of a `state_dict`. A part of a larger memory is
    copied alone: a batch is not to take the whole data set with it.
    """
    base, flags = base_of(t.array), t.array.flags
    same = flags.c_contiguous and base.flags.c_contiguous and (base.size, base.dtype) == (t.array.size, t.dtype)
    return base if same else t.array


def take_apart(t: Tensor) -> tuple[Any, ...]:
    """What `unpickle` takes. Tensors that share their memory give it the same objects, on the host."""
    if not t.is_leaf:
        raise GraphError("pickle: only leaves can be pickled, the tape cannot; use x.detach()")
    here = t.device in _HERE
    memory, storage = (whole(t), t._storage) if here else (backend_of(t.array).to_numpy(t.array), None)
    return type(t), memory, t.device, t.requires_grad, t.shape, storage


def unpickle(
    kind: type[Tensor], memory: Any, device: str, requires_grad: bool, shape: Any = None, storage: Any = None
) -> Tensor:
    """The leaf that `take_apart` took apart. Pickles from before tensors shared their memory lack the last two."""
    out = object.__new__(kind)
    array = memory if device in _HERE else to_array(memory, memory.dtype, device)
    out.array = array if shape is None else array.reshape(shape)
    out._storage, out._node, out._tracked = storage or Storage(), None, False
    return out.requires_grad_(requires_grad)


_HERE = ("cpu", "meta")  # devices whose arrays are pickled as they are
