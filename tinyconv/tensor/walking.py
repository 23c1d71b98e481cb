"""From tensors to the walk: what may be walked back from, and with which gradient it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv.arrays.backend import backend_of
from tinyconv.engine.tape import Node, walk
from tinyconv.errors import GraphError

if TYPE_CHECKING:
    from tinyconv.tensor.tensor import Tensor

ways: dict[bool, Callable[..., dict[Any, Any]]] = {False: walk}
"""The walk without and with `create_graph`: `tensor.higher` puts the second one here."""


def walk_back(
    what: str,
    roots: Sequence[Tensor],
    seeds: Sequence[Tensor | None],
    retain: bool | None,
    create_graph: bool,
    wanted: list[Any] | None = None,
) -> dict[Any, Any]:
    """Send gradients back from `roots`; return those of the `wanted` nodes: arrays, or Tensors with `create_graph`."""
    if len(roots) != len(seeds):
        raise GraphError(f"{what}: {len(roots)} outputs need as many gradients, got {len(seeds)}")
    starts: list[tuple[Node, Any]] = []
    for root, seed in zip(roots, seeds, strict=True):
        if not root.requires_grad or root._node is None:
            raise GraphError(
                f"{what}: this tensor does not require grad: no tensor it was computed from has requires_grad=True, "
                "it was computed inside no_grad(), or a captured step returned it, which has to walk back itself. Was "
                "it computed from a gradient? Then ask for that with create_graph=True"
            )
        if seed is None and root.numel() != 1:
            raise GraphError(
                f"{what}: only a tensor with one element has a gradient of its own, this one has shape "
                f"{root.shape}; reduce it (loss.mean()) or pass {'grad_outputs' if what == 'grad' else 'gradient'}="
            )
        ones = backend_of(root.array).xp.ones_like
        start = ones(root.array) if seed is None else seed if create_graph else seed.array
        starts.append((root._node, start))
    try:
        with np.errstate(all="ignore"):
            return ways[create_graph](starts, retain=create_graph if retain is None else retain, wanted=wanted)
    except MemoryError as error:
        backend_of(roots[0].array).out_of_memory(what, error)
        raise
