"""The tape: nodes, and the walk back through them. It knows neither arrays nor ops.

A node gets a number when it is made, and its parents were made before it, so creation order is already a topological
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
"""The next number. Nodes and writes to memory share one sequence, so it is always known which came first."""


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

    def added(self, total: Any, grad: Any, owned: bool) -> Any:
        """The sum of the gradients that arrived here and one more: in place where the walk owns that sum."""
        if owned:
            total += grad
            return total
        return total + grad

    def rounded(self, total: Any) -> Any:
        """A sum that `added` began, when all have arrived: where it was made in more digits, back to those of one."""
        return total

    def release(self) -> None:
        """Drop what was saved for `pull`: this node has been walked. An error where it is dropped already."""


def walk(
    roots: Iterable[tuple[Node, Any]], *, retain: bool = False, wanted: Iterable[Node] | None = None
) -> dict[Node, Any]:
    """Send the gradients `roots` back through the graph; return those that reach the `wanted` nodes.

    Where `wanted` is given, only the nodes that lead to them are walked and freed. Walked nodes are freed unless
    `retain`.
    """
    roots, found, arriving = list(roots), dict.fromkeys(wanted or ()), Arriving()
    useful = None if wanted is None else leading_to(set(found), [node for node, _ in roots])
    for node, grad in roots:
        if useful is None or node in useful:
            arriving.add(node, grad)
    while arriving.heap:
        node, grad, owned = arriving.newest()
        for hook in tuple(node.hooks or ()):  # a copy: a hook may remove itself
            replaced = hook(grad)
            grad, owned = grad if replaced is None else replaced, False  # the hook may have kept what it was given
        if node in found:
            found[node], owned = grad, False
        needs = tuple([parent is not None and (useful is None or parent in useful) for parent in node.parents])
        if useful is None or any(needs):
            grads = node.pull(grad, owned, needs)
            if not retain:
                node.release()  # before anything is passed on: where two threads are here, one of them gets no further
            for parent, parent_grad, needed in zip(node.parents, grads, needs, strict=True):
                if needed and parent is not None and parent_grad is not None:
                    arriving.add(parent, parent_grad)
    return {node: grad for node, grad in found.items() if grad is not None}


class Arriving:
    """The gradients on their way: for each node the sum so far, and the nodes in a heap, newest first.

    The first gradient of a node is borrowed (somebody else may hold that array), the second makes a sum that the walk
    owns, later ones are added to that sum in place. So `x + x`, diamonds and views come out right, and no op has to
    think about aliasing.
    """

    def __init__(self) -> None:
        self.sums: dict[Node, list[Any]] = {}  # node -> [gradient so far, whether the walk owns it]
        self.heap: list[tuple[int, Node]] = []

    def add(self, node: Node, grad: Any) -> None:
        """One more gradient for a node."""
        entry = self.sums.get(node)
        if entry is None:
            self.sums[node] = [grad, False]
            heappush(self.heap, (-node.order, node))
        else:
            self.sums[node] = [node.added(entry[0], grad, entry[1]), True]

    def newest(self) -> tuple[Node, Any, bool]:
        """The newest node, the whole gradient of its output, and whether nothing else holds that."""
        _, node = heappop(self.heap)
        grad, owned = self.sums.pop(node)
        return node, node.rounded(grad) if owned else grad, owned


def below(roots: Iterable[Node], begun: int = 0) -> list[Node]:
    """The roots and every node that they depend on, newest first: all that a walk may come to, in its order.

    Nodes made before the number `begun` are left out, roots excepted, and so is what lies below them.
    """
    seen: set[Node] = set()
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending += [parent for parent in node.parents if parent is not None and parent.order > begun]
    return sorted(seen, key=lambda node: -node.order)


def leading_to(wanted: set[Node], roots: Iterable[Node]) -> set[Node]:
    """The nodes below `roots` from which the walk gets to a wanted one, and the wanted ones themselves."""
    useful: set[Node] = set()
    for node in reversed(below(roots)):  # parents first
        if node in wanted or any(parent in useful for parent in node.parents):
            useful.add(node)
    return useful


class Mirror(Node):
    """A node that takes another's place in a walk: the same number and hooks, other parents, perhaps another `pull`.

    A walk that goes another way than the tape says walks a graph of mirrors (see `mirrored`).
    """

    __slots__ = ("node",)

    def __init__(self, node: Node, parents: Sequence[Node | None]) -> None:
        self.node, self.order, self.parents, self.hooks = node, node.order, parents, node.hooks

    def pull(self, grad: Any, owned: bool, needs: tuple[bool, ...]) -> Sequence[Any]:
        return self.node.pull(grad, owned, needs)

    def added(self, total: Any, grad: Any, owned: bool) -> Any:
        return self.node.added(total, grad, owned)

    def rounded(self, total: Any) -> Any:
        return self.node.rounded(total)

    def release(self) -> None:
        self.node.release()


def mirrored(
    nodes: Iterable[Node], mirrors: dict[Node, Node], make: Callable[[Node, list[Node | None]], Node] = Mirror
) -> dict[Node, Node]:
    """Mirrors of `nodes`, which come newest first; a parent that has no mirror there or in `mirrors` is left out."""
    mirrors = dict(mirrors)
    for node in reversed(list(nodes)):  # parents first
        mirrors[node] = make(node, [None if parent is None else mirrors.get(parent) for parent in node.parents])
    return mirrors
