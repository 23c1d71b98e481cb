"""Gradients, and functions with gradients of one's own, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyconv.autograd import functional
from tinyconv.engine.context import context, enable_grad, no_grad
from tinyconv.engine.options import flag
from tinyconv.errors import GraphError, suggest_names
from tinyconv.tensor.custom import Function, once_differentiable
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.tensor import Tensor, check_gradient
from tinyconv.tensor.walking import walk_back

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
]


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    *,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add to `.grad` of every leaf the gradients of these tensors with respect to it. Like `torch.autograd.backward`.

    Args:
        tensors: What is differentiated: one tensor or several, whose gradients add up.
        grad_tensors: The gradient of something with respect to each, of its shape and dtype. A tensor with one element
            needs none.
        retain_graph: Keep what the tape saved, so that it can be walked again.
        create_graph: Record the gradients, so that they can be differentiated again.
        inputs: Add to `.grad` of these leaves alone.

    Raises GraphError where a tensor does not require grad, or its graph was freed.

        tc.autograd.backward([loss, penalty])
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds: list[Tensor | None] = [None] * len(roots)
    if grad_tensors is not None:
        seeds = [grad_tensors] if isinstance(grad_tensors, Tensor) else list(grad_tensors)
    if inputs is None:
        for root, seed in zip(roots, seeds, strict=False):
            if seed is not None:
                check_gradient("backward: gradient", seed, root)
        walk_back("backward", roots, seeds, retain_graph, create_graph)
        return
    leaves = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not leaves:
        raise GraphError("backward: inputs is empty; leave it out for the gradients of all leaves")
    found = grad(roots, leaves, seeds, retain_graph, create_graph, allow_unused=True)
    for leaf, gradient in zip(leaves, found, strict=True):
        if gradient is not None:
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def set_detect_anomaly(mode: bool, check_nan: bool = True) -> Restored:
    """Switch `detect_anomaly` on or off for this thread from here on; as a `with` block, within that.

        tc.autograd.set_detect_anomaly(True)

    Args:
        mode: Whether to look for NaN and infinities.
        check_nan: False checks nothing and only notes the lines of your program.

    Raises OptionError where `mode` is not a bool. Like `torch.autograd.set_detect_anomaly`.
    """
    from tinyconv.inspect import detect_anomaly

    now, on = context.get(), flag("set_detect_anomaly: mode", mode)
    context.set(detect_anomaly(check_nan).changed(now) if on else now.but(observer=None))
    return Restored(now.observer)


class Restored:
    """A `with` block at whose end the observer before `set_detect_anomaly` is back."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None:
        context.set(context.get().but(observer=self._before))


suggest_names(globals(), later={"gradcheck": "check", "detect_anomaly": "inspect", "Variable": "torch_modules.kinds"})
