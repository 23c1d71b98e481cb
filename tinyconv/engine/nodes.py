"""The two kinds of nodes on the tape of tensors: leaves, where gradients end up, and ops that were run."""

from __future__ import annotations

import os
from inspect import unwrap
from operator import methodcaller
from threading import RLock
from typing import Any, TypeAlias, cast

import numpy as np

from tinyconv.arrays.backend import Array, ready
from tinyconv.engine.context import Layer, context
from tinyconv.engine.each_step import computed
from tinyconv.engine.tape import Node, number
from tinyconv.engine.variants import op_name, place_of, shown
from tinyconv.engine.wide import widened
from tinyconv.engine.writes import Storage
from tinyconv.errors import GraphError

RETAIN: Any = object()  # in OpNode.grad: the gradient that arrives is wanted
FREED: Any = object()  # in OpNode.saved: the node was walked
one_at_a_time = RLock()
"""Held while a leaf's gradient is added to and while a node is released: two threads may be walking back at once. It is
taken once for each node, and a signal handler that walks back can take it again."""
if hasattr(os, "register_at_fork"):  # a child has no thread that would let it go
    os.register_at_fork(
        before=one_at_a_time.acquire, after_in_parent=one_at_a_time.release, after_in_child=one_at_a_time.release
    )


class Gradient:
    """A gradient that a node keeps: the array, and the count of writes to it. `Tensor.grad` makes a Tensor of it."""

    __slots__ = ("_storage", "array")

    def __init__(self, array: Array) -> None:
        self.array, self._storage = array, Storage()


class ArrayNode(Node):
    """A node that gets arrays: those of float16 are added up in float32, where 2048 + 1 is not 2048."""

    __slots__ = ()
    dtype: Any

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes of what the op was given, None for what needs no gradient, each with 0. As in torch."""
        return tuple((parent, 0) for parent in self.parents)

    def added(self, total: Array, grad: Array, owned: bool) -> Array:
        found = super().added(total if owned else widened(total), grad, owned)
        observer = context.get().observer
        if observer is not None:
            observer.summed(total, grad, found)
        return found

    def rounded(self, total: Array) -> Array:
        dtype = self.dtype
        return total if total.dtype == dtype else computed(methodcaller("astype", dtype), total)


class Leaf(ArrayNode):
    """Where gradients end up: the node of a tensor that requires grad and was not computed."""

    __slots__ = ("array", "converted", "fresh", "grad", "storage")
    is_leaf = True

    def __init__(self, array: Array, storage: Storage) -> None:
        super().__init__()
        self.array, self.storage = array, storage
        self.converted = False  # since a tensor asked for its gradient
        self.grad: Any = None  # a Gradient; or a Tensor with that array, once somebody asked for it
        self.fresh: Array = None  # the gradient on its way here that nobody else will hold

    def __repr__(self) -> str:
        return f"<Leaf: {self.dtype} {self.shape}>"

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def pull(self, grad: Array, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        ready(grad)
        owned = owned or (grad is self.fresh and not self.hooks)  # a hook may have kept it
        self.fresh = None
        with one_at_a_time:
            kept = self.grad
            first = kept is None
            if kept is None:
                # A borrowed gradient may be a view of another one, or the caller's own array.
                self.grad = kept = Gradient(grad if owned else grad.copy())
            else:
                kept.array += grad
                kept._storage.wrote(kept.array)
        observer = context.get().observer
        if observer is not None:
            observer.gathered(self, kept.array, grad, first)
        return ()


# The inputs that need no gradient, by number, each with its storage: nothing else could find them again.
Constants: TypeAlias = dict[int, tuple[Any, Storage | None]]
NONE: Constants = {}


def constants_of(inputs: tuple[Any, ...], arrays: list[Any], parents: list[Any]) -> Constants:
    """The inputs that need no gradient; a number has no storage."""
    constants: Constants = {}
    for i, parent in enumerate(parents):
        if parent is None:
            array, storage = arrays[i], None
            if hasattr(array, "shape"):
                storage = inputs[i]._storage
                storage.recorded = True
            constants[i] = array, storage
    return constants


class OpNode(ArrayNode):
    """One op that was run: its pair, what the pair saved, and the geometry it was called with.

    Its repr says where the op is to be read, and which pair ran.
    """

    __slots__ = (
        "constants", "dtype", "geometry", "grad", "layer", "line", "op", "others", "pair", "saved", "shape", "storage",
        "xp",
    )  # fmt: skip
    array: Array = None  # the output, kept by nodes that could not compute it again

    def __init__(
        self, op: Any, pair: Any, xp: Any, parents: list[Any], constants: Constants, geometry: dict[str, Any],
        saved: Any, array: Array, storage: Storage, layer: Layer | None,
    ) -> None:  # fmt: skip
        self.order, self.parents, self.hooks = number(), parents, None  # super().__init__ would cost 0.1 us
        self.op, self.pair, self.xp, self.geometry = op, pair, xp, geometry
        self.constants, self.saved = constants, saved
        self.shape, self.dtype, self.storage = array.shape, array.dtype, storage  # of the output
        self.others: tuple[Storage, ...] = ()  # of its further outputs
        self.layer = layer  # the module that ran it
        self.line: str | None = None  # of the user's program; noted only under detect_anomaly
        self.grad: Any = None  # as in a Leaf, for `retain_grad`

    def __reduce__(self) -> Any:
        raise GraphError(f"the tape cannot be copied or pickled, but only its leaves: {self!r}; use x.detach()")

    def __repr__(self) -> str:
        parts = getattr(self.op, "parts", None)  # a fused op is read in its parts
        read = " + ".join(f"{op_name(part)} {place_of(part)}" for part in parts) if parts else place_of(self.op)
        ran = "" if unwrap(self.pair) is self.op else f"; ran {place_of(self.pair)}"
        return f"<{shown(self.op, self.pair)}: {read}{ran}>"

    def _error(self, message: str) -> GraphError:
        """An error of this node, signed with where its op is to be read."""
        error = GraphError(f"backward: {message}")
        error.add_note(repr(self))
        return error

    def pull(self, grad: Array, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        saved = self.check_saved()
        if self.grad is not None:
            self.keep(grad)
        ready(grad)
        try:
            grads: tuple[Any, ...] = self.pair.backward(self.xp, saved, grad, needs, **self.geometry)
        except Exception as error:
            error.add_note(f"in the backward of {self!r}")
            raise
        self.check_gradients(grads)
        if getattr(self.pair, "returns_fresh", False):  # nobody else will hold them, so a leaf need not copy its own
            for parent, parent_grad in zip(self.parents, grads, strict=True):
                if parent is not None and parent.is_leaf:
                    cast(Leaf, parent).fresh = parent_grad
        observer = context.get().observer
        if observer is not None:
            observer.pulled(self, self.pair, grad, grads)
        return grads

    def keep(self, grad: Array) -> None:
        """Add to the gradient that `retain_grad` asked for, if it did."""
        if self.grad is not None:
            with one_at_a_time:
                self.grad = Gradient(grad.copy() if self.grad is RETAIN else self.grad.array + grad)

    def check_saved(self) -> Any:
        """What was saved. GraphError unless it is still there, and as it was."""
        constants, saved = self.constants, self.saved  # `release`, by another thread, drops them in the other order
        if saved is FREED:
            raise self._freed()
        for i, parent in enumerate((*self.parents, self)):
            storage = constants[i][1] if parent is None else cast(Any, parent).storage
            if storage is not None and storage.changed_since(self.order):
                self._refuse(saved, i, storage.memory)
        for storage in self.others:
            if storage.changed_since(self.order):
                self._refuse(saved, len(self.parents), storage.memory)
        return saved

    def _freed(self) -> GraphError:
        return self._error(
            f"the graph through {shown(self.op, self.pair)} was walked before and what it saved is freed; to walk "
            "it twice, call the first backward with retain_graph=True"
        )

    def _refuse(self, saved: Any, i: int, memory: Array) -> None:
        """GraphError if the pair saved a part of this memory."""
        for array in saved:
            if hasattr(array, "strides") and self.xp.may_share_memory(array, memory):
                what = "an output" if i == len(self.parents) else f"input {i}"
                raise self._error(
                    f"{shown(self.op, self.pair)} saved {what} ({array.dtype}, shape {array.shape}) for "
                    "its gradient, and it was written to in place since; write to a copy (x.clone()), or make a new "
                    "tensor (x = x + 1 instead of x += 1)"
                )

    def check_gradients(self, grads: Any) -> None:
        """GraphError unless the op's backward, which may be a user's, returned what it should."""
        if not isinstance(grads, tuple) or len(grads) != len(self.parents):
            got = f"{len(grads)} of them" if isinstance(grads, tuple) else f"a {type(grads).__name__}"
            raise self._error(
                f"{shown(self.op, self.pair)} has {len(self.parents)} inputs, and its backward must return a "
                f"tuple with a gradient (or None) for each, got {got}"
            )
        for i, (parent, grad) in enumerate(zip(cast(Any, self.parents), grads, strict=True)):
            if parent is None or grad is None:
                continue
            if grad.shape != parent.shape or grad.dtype != parent.dtype:
                if parent.is_leaf and parent.converted:
                    raise self._error(
                        f"input {i} of {shown(self.op, self.pair)} was converted to {parent.dtype} "
                        f"{parent.shape} after the forward (module.to, x.data = ...); convert before it"
                    )
                raise self._error(
                    f"{shown(self.op, self.pair)} returned a gradient of {grad.dtype} {grad.shape} for input {i}, "
                    f"which is {parent.dtype} {parent.shape}"
                )

    def release(self) -> None:
        with one_at_a_time:
            if self.saved is FREED:  # by another thread, since `pull`
                raise self._freed()
            self.saved = FREED
        self.constants = NONE
        self.layer = None  # a module may hold its output
