"""Gradients that can be differentiated again (`create_graph=True`).

Gradients are tensors here, and every op's own source runs on tensors (`arrays.boxed`). For that an op's forward is run
once more, on its inputs with their places on the tape, so that what it saves is on the tape too. Those inputs are
computed again from the leaves on, for no node keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from tinyconv import ops
from tinyconv.arrays import boxed
from tinyconv.arrays.backend import Array
from tinyconv.engine.context import context, quietly
from tinyconv.engine.nodes import FREED, OpNode, one_at_a_time
from tinyconv.engine.tape import Mirror, Node, below, mirrored, walk
from tinyconv.engine.variants import op_name
from tinyconv.engine.wide import Wide, widened
from tinyconv.engine.writes import Storage
from tinyconv.errors import GraphError
from tinyconv.tensor.convert import Move
from tinyconv.tensor.tensor import Tensor, apply, kept_gradient, wrap
from tinyconv.tensor.walking import ways


def recorded_walk(roots: Iterable[tuple[Node, Any]], *, retain: bool, wanted: Iterable[Node] | None) -> dict[Node, Any]:
    """`tape.walk`, recorded itself: it walks mirrors of the nodes, whose `pull` runs the ops on tensors."""
    roots, now = list(roots), context.get()
    second = SecondOrder(now.observer)
    mirrors = mirrored(below(node for node, _ in roots), {}, second.mirror)
    starts = [(mirrors[node], seed if isinstance(seed, Tensor) else wrap(seed)) for node, seed in roots]
    try:
        context.set(now.but(recording=True, observer=None))  # SecondOrder tells the observer what it should know
        known = None if wanted is None else [mirrors[node] for node in wanted if node in mirrors]
        found = walk(starts, retain=retain, wanted=known)
        return {cast(Mirror, mirror).node: grad for mirror, grad in found.items()}
    finally:
        context.set(now)


ways[True] = recorded_walk


class SecondOrder:
    """One walk that is recorded itself, and the outputs that it had to compute again."""

    def __init__(self, observer: Any = None) -> None:
        self._outputs: dict[OpNode, Array] = {}
        self._observer = observer

    def mirror(self, node: Node, parents: Sequence[Node | None]) -> Node:
        """The node that takes the place of `node` in this walk."""
        return _Recorded(self, node, parents)

    def pull(self, node: Any, grad: Tensor, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if node.is_leaf:
            with one_at_a_time:
                kept = kept_gradient(node)
                node.grad = grad.clone() if kept is None else kept + grad  # it may be lent to others too
            if self._observer is not None:
                self._observer.gathered(node, node.grad.array, grad.array, kept is None)
            return ()
        if self._observer is not None:  # the steps of a backward are its business, but are to know whose they are
            context.set(context.get().but(observer=self._observer.within(node), layer=node.layer))
        node.check_saved()
        self._check_inputs(node)
        if node.grad is not None:
            kept = kept_gradient(node)
            node.grad = grad.clone() if kept is None else kept + grad
        if hasattr(node, "on_tensors"):  # of a Function, whose backward is written on tensors
            return cast("tuple[Any, ...]", node.on_tensors(grad, needs))
        if node.op is Move:  # between two array libraries, where no xp is both
            return (grad.to(node.saved[0]),)
        library = boxed.Library(node.xp, apply, wrap, op_name(node.op))
        inputs = [
            self._constant(library, *node.constants[i])
            if parent is None
            else library.box(_on_tape(self._array(parent), parent))
            for i, parent in enumerate(node.parents)
        ]
        wide = isinstance(node.pair, Wide)
        y, saved = node.op.forward(library, *(map(widened, inputs) if wide else inputs), **node.geometry)
        y = y[0] if isinstance(y, tuple) else y
        # An output that was saved is that of this node: its gradient is the op's own formula, not that of its steps.
        saved = tuple(library.box(_output_of(node, s.tensor.array)) if s is y else s for s in saved)
        if node.pair is node.op:  # what a variant saves is its own business
            self._compare(node, saved)
        pair = Wide(node.op) if wide else node.op
        grads = pair.backward(library, saved, library.box(grad), needs, **node.geometry)
        if isinstance(grads, tuple):
            grads = tuple(g.tensor if isinstance(g, boxed.Boxed) else g if g is None else wrap(g) for g in grads)
        node.check_gradients(grads)
        if self._observer is not None:
            self._observer.pulled(node, node.op, grad.array, [None if g is None else g.array for g in grads])
        return cast("tuple[Any, ...]", grads)

    @staticmethod
    def _constant(library: boxed.Library, value: Any, storage: Storage | None) -> Any:
        """An input without a gradient: boxed too if it is floating point, for `constant += boxed` to work.

        Masks and indices stay arrays, and have no storage that would know of writes: they are copied.
        """
        if storage is None:
            return value
        if value.dtype.kind != "f":
            return value.copy()
        t = wrap(value)
        t._storage = storage
        return library.box(t)

    @staticmethod
    def _check_inputs(node: OpNode) -> None:
        """What an input was when the op ran it has to be still, also where the op did not save it."""
        for i, parent in enumerate(node.parents):
            storage = node.constants[i][1] if parent is None else cast(Any, parent).storage
            if storage is not None and storage.changed_since(node.order):
                raise GraphError(
                    f"create_graph: input {i} of {op_name(node.op)!r} was written to in place since, and is needed "
                    "once more; write to a copy (x.clone()), or make a new tensor (x = x + 1 instead of x += 1)"
                )

    def _array(self, parent: Any) -> Array:
        return parent.array if parent.array is not None else self._output(parent)

    def _output(self, node: OpNode) -> Array:
        """What a node's op gave, computed again from the leaves on: in a loop, for chains may be long."""
        pending = [node]
        while pending:
            at = pending[-1]
            if at in self._outputs:
                pending.pop()
                continue
            if at.saved is FREED:
                raise GraphError(
                    f"create_graph: the output of {op_name(at.op)!r} has to be computed again from what leads to it, "
                    "and that was walked and freed; call the first backward with retain_graph=True"
                )
            self._check_inputs(at)
            missing = [
                parent
                for parent in cast("list[OpNode | None]", at.parents)
                if parent is not None and parent.array is None and parent not in self._outputs
            ]
            if missing:
                pending += missing
            else:
                arrays = [
                    at.constants[i][0] if parent is None else self._array(parent) for i, parent in enumerate(at.parents)
                ]
                y, _ = quietly(at.pair.forward, at.xp, *arrays, **at.geometry)
                self._outputs[at] = wrap(y[0] if isinstance(y, tuple) else y).array
        return self._outputs[node]

    @staticmethod
    def _compare(node: OpNode, again: tuple[Any, ...]) -> None:
        """Whether running forward again saved what it did then, floats to half the digits."""
        for new, old in zip(map(boxed.unbox, again), node.saved, strict=True):
            kind = getattr(getattr(old, "dtype", None), "kind", "")
            if kind and kind != "f" and not (new == old).all():
                raise _unlike(node)
            if kind == "f":
                xp = node.xp
                with np.errstate(all="ignore"):
                    size = xp.where(xp.isfinite(old), xp.abs(old), 0).max() if old.size else 0
                    near = xp.abs(new - old) <= size * float(np.finfo(old.dtype).eps) ** 0.5
                    same = near | xp.equal(new, old) | (xp.not_equal(new, new) & xp.not_equal(old, old))
                if not same.all():
                    raise _unlike(node)


class _Recorded(Mirror):
    """A node of a walk that is recorded."""

    __slots__ = ("second",)

    def __init__(self, second: SecondOrder, node: Node, parents: Sequence[Node | None]) -> None:
        super().__init__(node, parents)
        self.second = second

    added, rounded = Node.added, Node.rounded  # of tensors, in their dtype

    def pull(self, grad: Tensor, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return self.second.pull(self.node, grad, owned, needs)


def _on_tape(array: Array, node: Any) -> Tensor:
    """A tensor with this place on the tape, and what is known of writes to its memory, which may be a leaf's."""
    t = wrap(array)
    t._node, t._tracked, t._storage = node, True, node.storage
    return t


def _output_of(node: OpNode, array: Array) -> Tensor:
    """A node's output with its place on the tape; where the op computed in float32, as it was before the rounding."""
    t = _on_tape(array, node)
    if array.dtype != node.dtype:
        t = apply(ops.Cast, _on_tape(array.astype(node.dtype), node), dtype=array.dtype)
        t.array = array
    return t


def _unlike(node: OpNode) -> GraphError:
    return GraphError(
        f"create_graph: {op_name(node.op)!r} run again saved other values than the first time: one of its inputs was "
        "written to in place since (write to a copy, x.clone()), or its forward does not give the same twice"
    )
