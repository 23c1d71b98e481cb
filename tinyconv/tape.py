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

number: Callable[[], int] = count(1).__next__
"""The next number. Nodes have one, and so have writes to memory: which came first can always be told."""


class Node:
    """One recorded operation: where its gradient comes from, and how to pass it on."""

    __slots__ = ("hooks", "order", "parents")
    is_leaf = False  # a leaf keeps the gradients that reach it; it has no parents

    def __init__(self, parents: Sequence[Node | None] = ()) -> None:
        self.order = number()
        self.parents = parents  # None where the input needs no gradient
        self.hooks: list[Callable[[Any], Any]] | None = None

    def pull(self, grad: Any, owned: bool, needs: tuple[bool, ...]) -> Sequence[Any]:
        """The gradients of the parents, given that of this node's output.

        `owned`: nothing else holds `grad`. `needs`: which parents' gradients are wanted; the others may be None.
        """
        raise NotImplementedError

    @property
    def gives(self) -> bool:
        """Whether nobody else will hold the gradients that `pull` returns, so that they need not be copied."""
        return False

    def release(self) -> None:
        """Drop what was saved for `pull`: this node has been walked."""


def _pull(node: Node, grad: Any, owned: bool, needs: tuple[bool, ...]) -> Sequence[Any]:
    return node.pull(grad, owned, needs)


def walk(
    roots: Iterable[tuple[Node, Any]],
    *,
    retain: bool = False,
    capture: Iterable[Node] | None = None,
    stop: bool = False,
    pull: Callable[[Any, Any, bool, tuple[bool, ...]], Sequence[Any]] = _pull,
) -> dict[Node, Any]:
    """Send the gradients `roots` back through the graph; return those that reach the nodes in `capture`.

    With `capture` given, only what leads to the nodes in it is walked, and freed; everything else is left alone. With
    `stop` the walk ends at them, and their hooks are left to another, which will pass on what this one returns.
    `pull(node, grad, owned, needs)` may do what `node.pull` does in another way.

    The first gradient to reach a node is borrowed (it may be an array that somebody else holds), the second makes a
    sum that the walk owns, the third and later are added to that sum in place. So `x + x`, diamonds and views come
    out right without any op thinking about aliasing. What comes from a node that `gives` is owned from the first.
    """
    captured: dict[Node, Any] = {}
    roots = list(roots)
    wanted = set(capture or ())
    useful = None if capture is None else leading_to(wanted, [node for node, _ in roots])
    pending: dict[Node, list[Any]] = {}  # node -> [gradient so far, whether the walk owns it]
    heap: list[tuple[int, Node]] = []
    gives = pull is _pull  # of another way nothing is known

    def send(node: Node, grad: Any, given: bool = False) -> None:
        entry = pending.get(node)
        if entry is None:
            pending[node] = [grad, given]
            heappush(heap, (-node.order, node))
        elif entry[1]:
            entry[0] += grad
        else:
            pending[node] = [entry[0] + grad, True]

    for node, grad in roots:
        if useful is None or node in useful:
            send(node, grad)
    while heap:
        _, node = heappop(heap)
        grad, owned = pending.pop(node)
        if stop and node in wanted:
            captured[node] = grad
            continue
        for hook in tuple(node.hooks or ()):  # a copy: a hook may remove itself
            replaced = hook(grad)
            grad, owned = grad if replaced is None else replaced, False  # the hook may have kept what it was given
        if node in wanted:
            captured[node], owned = grad, False
        needs = tuple([parent is not None and (useful is None or parent in useful) for parent in node.parents])
        if useful is not None and not any(needs):
            continue
        for parent, parent_grad, needed in zip(node.parents, pull(node, grad, owned, needs), needs, strict=True):
            if needed and parent is not None and parent_grad is not None:
                send(parent, parent_grad, gives and node.gives)
        if not retain:
            node.release()
    return captured


def leading_to(wanted: set[Node], roots: Iterable[Node]) -> set[Node]:
    """The nodes below `roots` from which the walk gets to a wanted one, and these themselves."""
    seen: set[Node] = set()
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += [parent for parent in node.parents if parent is not None]
    useful = wanted & seen
    for node in sorted(seen, key=lambda node: node.order):  # parents first
        if any(parent in useful for parent in node.parents):
            useful.add(node)
    return useful
