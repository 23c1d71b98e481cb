"""grad: the gradients of some tensors with respect to others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import methodcaller
from typing import Any

from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.context import enable_grad
from tinyconv.engine.each_step import computed
from tinyconv.engine.nodes import Leaf
from tinyconv.errors import GraphError
from tinyconv.tensor.refusals import refuse
from tinyconv.tensor.tensor import Tensor, check_gradient, wrap
from tinyconv.tensor.walking import walk_back


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    *,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to each of `inputs`, a tuple with a tensor of each one's shape and dtype.

    Args:
        outputs: What is differentiated: one tensor or several, whose gradients add up.
        inputs: With respect to what. Nothing is added to their `.grad`.
        grad_outputs: The gradient of something with respect to each output, of its shape and dtype. An output with one
            element needs none.
        retain_graph: Keep what the walked part of the tape saved, so that it can be walked again.
        create_graph: Record the gradients, so that they can be differentiated again; the graph is kept.
        only_inputs: Changes nothing, as in torch, where programs of old still give it.
        allow_unused: None for an input that the outputs do not depend on, where it would raise.
        materialize_grads: Zeros for such an input.

    Raises GraphError where an input does not require grad or is unused, an output has no gradient of its own, or the
    graph was freed; and DtypeError for anything but tensors. Like `torch.autograd.grad`.

        (dx,) = tc.grad((x * x).sum(), x)
    """
    roots, wanted = _tensors("outputs", outputs), _tensors("inputs", inputs)
    seeds: list[Tensor | None] = [None] * len(roots)
    if grad_outputs is not None:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    nodes = []
    for i, t in enumerate(wanted):
        if not t.requires_grad or t._node is None:
            raise GraphError(f"grad: input {i} of shape {t.shape} does not require grad")
        nodes.append(t._node)
    for root, seed in zip(roots, seeds, strict=False):
        if seed is not None:
            check_gradient("grad: gradient", seed, root)
    found = walk_back("grad", roots, seeds, retain_graph, create_graph, nodes)
    for i, (node, t) in enumerate(zip(nodes, wanted, strict=True)):
        if node not in found and materialize_grads:
            zeros = wrap(backend_of(t.array).xp.zeros_like(t.array))
            found[node] = zeros if create_graph else zeros.array
        elif node not in found and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {i}; with allow_unused=True its gradient is None"
            )
    for node in nodes:
        if isinstance(node, Leaf):
            node.fresh = None  # it was asked for here, and goes no further
    # A copy of what is borrowed, so that no two of the results share memory.
    if create_graph:
        with enable_grad():
            return tuple(found[node].clone() if node in found else None for node in nodes)
    copy = methodcaller("copy")
    return tuple(wrap(computed(copy, ready(found[node]))) if node in found else None for node in nodes)


def _tensors(what: str, given: Any) -> list[Tensor]:
    tensors = [given] if isinstance(given, Tensor) or not isinstance(given, Iterable) else list(given)
    for t in tensors:
        if not isinstance(t, Tensor):
            refuse("grad", what, t)
    return tensors
