"""How a tensor prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinyconv.arrays.backend import META, backend_of, captured_step
from tinyconv.engine.dtypes import DEFAULT_FLOAT
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.variants import place_of, shown

if TYPE_CHECKING:
    from tinyconv.tensor.tensor import Tensor


def formatted(t: Tensor, spec: str) -> str:
    """`f"{t:.2f}"`: the number of a 0-d tensor in that format."""
    try:
        return format(t.item() if spec and t.ndim == 0 else repr(t), spec)
    except ValueError as error:
        if t.ndim == 0:
            raise
        raise ValueError(
            f"f'{{x:{spec}}}' formats one number, and x has shape {t.shape}: x.item() if it has one element, x.mean(), "
            f"or [f'{{v:{spec}}}' for v in x.tolist()]"
        ) from error


def shown_tensor(t: Tensor) -> str:
    """`tensor([1., 2.], grad_fn=<Mul (readable)>)`: values, what is unusual about it, and the op and pair that ran."""
    backend = backend_of(t.array)
    values = (
        "..."
        if backend is META
        else np.array2string(backend.to_numpy(t.array), separator=", ", prefix="tensor(", precision=4)
    )
    notes = [values]
    if backend is META or (t.numel() == 0 and t.shape != (0,)):
        notes.append(f"size={t.shape}")
    if t.dtype not in (DEFAULT_FLOAT, np.int64, np.bool_):
        notes.append(f"dtype={t.dtype}")
    if t.device != "cpu":
        notes.append(f"device='{t.device}'")
    if isinstance(t._node, OpNode):
        notes.append(f"grad_fn=<{shown(t._node.op, t._node.pair)}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    return f"tensor({', '.join(notes)})"


def tensor_html(t: Tensor) -> str:
    """What a notebook shows: the kind of tensor, the op that made it and where that is read, and the values."""
    from tinyconv import notebook

    backend, node = backend_of(t.array), t._node
    made = isinstance(node, OpNode)
    head = notebook.caption(
        type(t).__name__,
        str(tuple(t.array.shape)),
        str(t.dtype),
        f"on {t.device}" if t.device != "cpu" else "",
        f"made by {shown(node.op, node.pair)}, {place_of(node.op)}" if isinstance(node, OpNode) else "",
        "requires grad" if t.requires_grad and not made else "",
    )
    if backend is META:
        return notebook.page(head, notebook.text("no values on this device"))
    if captured_step.get() is not None:
        return notebook.page(head, notebook.text("no value is read while a step is captured"))
    return notebook.page(head, notebook.shown_array(t.array, backend.to_numpy))
