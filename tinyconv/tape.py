"""The tape: nodes, and the walk back through them. It knows neither arrays nor ops.

Every node is numbered when it is made, and its parents were made before it, so creation order is already a topological
order. The walk is a loop over a heap, newest first: no recursion (a chain of 100,000 works), and one fixed order of
summation (the same program gives the same bits).

Gradients are whatever `+` and `+=` work on; the tests use floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

_order = count()


class Node:
    """One recorded operation: where its gradient comes from, and how to pass it on."""

    __slots__ = ("hooks", "order", "parents")
    is_leaf = False  # a leaf keeps the gradients that reach it; it has no parents

    def __init__(self, parents: Sequence[Node | None] = ()) -> None:
        self.order = next(_order)
        self.parents = parents  # None where the input needs no gradient
        self.hooks: list[Callable[[Any], Any]] | None = None

    def pull(self, grad: Any, owned: bool) -> Iterable[Any]:
        """The gradients of the parents, given that of this node's output. `owned`: nothing else holds `grad`."""
        raise NotImplementedError

    def release(self) -> None:
        """Drop what was saved for `pull`: this node has been walked."""


def walk(
    roots: Iterable[tuple[Node, Any]], *, retain: bool = False, capture: Iterable[Node] | None = None
) -> dict[Node, Any]:
    """Send the gradients `roots` back through the graph; return those that reach the nodes in `capture`.

    With `capture` given, leaves that were not asked for are left alone, and nothing older than the oldest wanted node
    is walked at all.

    The first gradient to reach a node is borrowed (it may be an array that somebody else holds), the second makes a
    sum that the walk owns, the third and later are added to that sum in place. So `x + x`, diamonds and views come
    out right without any op thinking about aliasing.
    """
    captured: dict[Node, Any] = {}
    wanted = None if capture is None else set(capture)
    oldest = -1 if wanted is None else min((node.order for node in wanted), default=0)
    pending: dict[Node, list[Any]] = {}  # node -> [gradient so far, whether the walk owns it]
    heap: list[tuple[int, Node]] = []

    def send(node: Node, grad: Any) -> None:
        entry = pending.get(node)
        if entry is None:
            pending[node] = [grad, False]
            heappush(heap, (-node.order, node))
        elif entry[1]:
            entry[0] += grad
        else:
            pending[node] = [entry[0] + grad, True]

    for node, grad in roots:
        send(node, grad)
    while heap:
        _, node = heappop(heap)
        grad, owned = pending.pop(node)
        if wanted is not None and node.is_leaf and node not in wanted:
            continue
        for hook in tuple(node.hooks or ()):  # a copy: a hook may remove itself
            replaced = hook(grad)
            grad, owned = grad if replaced is None else replaced, False  # the hook may have kept what it was given
        if wanted is not None:
            if node in wanted:
                captured[node] = grad
                owned = False
            if node.order <= oldest or node.is_leaf:
                continue
        for parent, parent_grad in zip(node.parents, node.pull(grad, owned), strict=True):
            if parent is not None and parent_grad is not None and parent.order >= oldest:
                send(parent, parent_grad)
        if not retain:
            node.release()
    return captured
