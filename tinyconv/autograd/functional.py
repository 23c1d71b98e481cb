"""Derivatives of a function: its Jacobian and Hessian, and their products with vectors, which need neither of the two.

For one tensor that goes in or comes out a result is a tensor, for a tuple a tuple. What does not depend on an input has
the derivative 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tinyconv.engine.context import enable_grad
from tinyconv.errors import GraphError, suggest_names
from tinyconv.tensor.creation import ones_like, zeros, zeros_like
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.joins import stack
from tinyconv.tensor.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Given: TypeAlias = "Tensor | Sequence[Tensor]"


def jacobian(func: Callable[..., Any], inputs: Given, create_graph: bool = False) -> Any:
    """The derivative of every output by every input, of shape (*output.shape, *input.shape).

    Args:
        func: Takes the inputs, and returns a tensor or a tuple of them.
        inputs: A tensor, or several.
        create_graph: Record it, so that it can be differentiated again.

    Each element of the outputs takes a walk of its own. Raises GraphError where `func` returns no tensors. Like
    `torch.autograd.functional.jacobian`.

        tc.autograd.functional.jacobian(lambda x: x * x, tc.ones(2)).tolist()  # [[2.0, 0.0], [0.0, 2.0]]
    """
    given, outputs, several = _run("jacobian", func, inputs, create_graph)
    found = []
    for out in outputs:
        flat = out.reshape(-1)
        rows = [_grads([flat[i]], given, None, create_graph) for i in range(flat.numel())]
        parts = []
        for k, x in enumerate(given):
            shape = (*out.shape, *x.shape)
            parts.append(stack([row[k] for row in rows]).reshape(shape) if rows else zeros(shape, dtype=x.dtype))
        found.append(_like(inputs, parts))
    return tuple(found) if several else found[0]


def hessian(func: Callable[..., Any], inputs: Given, create_graph: bool = False) -> Any:
    """The second derivatives of `func`, whose result has one element, by every two inputs: (*a.shape, *b.shape).

    Args:
        func: Takes the inputs, and returns a tensor with one element.
        inputs: A tensor, or several: then there is a tuple for each of them.
        create_graph: Record it, so that it can be differentiated again.

    Raises GraphError where `func` returns anything else. Like `torch.autograd.functional.hessian`.

        tc.autograd.functional.hessian(lambda x: (x**3).sum(), tc.ones(2)).tolist()  # [[6.0, 0.0], [0.0, 6.0]]
    """

    def slopes(*xs: Tensor) -> Any:
        return _like(inputs, _grads([_number("hessian", func(*xs))], xs, None, True))

    return jacobian(slopes, inputs, create_graph)


def vjp(func: Callable[..., Any], inputs: Given, v: Given | None = None, create_graph: bool = False) -> tuple[Any, Any]:
    """The outputs of `func`, and v^T J, with J its Jacobian: what one walk back gives.

    Args:
        func: Takes the inputs, and returns a tensor or a tuple of them.
        inputs: A tensor, or several.
        v: A tensor for each output, of its shape; an output with one element needs none.
        create_graph: Record it, so that it can be differentiated again.

    Raises GraphError where `func` returns no tensors, or `v` does not fit. Like `torch.autograd.functional.vjp`.

        outputs, slopes = tc.autograd.functional.vjp(model, images, tc.ones(8, 10))
    """
    given, outputs, several = _run("vjp", func, inputs, create_graph)
    found = _grads(outputs, given, _vectors("vjp", v, outputs), create_graph)
    return _results(outputs, several, create_graph), _like(inputs, found)


def jvp(func: Callable[..., Any], inputs: Given, v: Given | None = None, create_graph: bool = False) -> tuple[Any, Any]:
    """The outputs of `func`, and J v, with J its Jacobian: how far they move when the inputs move by v.

    Args:
        func: Takes the inputs, and returns a tensor or a tuple of them.
        inputs: A tensor, or several.
        v: A tensor for each input, of its shape; an input with one element needs none.
        create_graph: Record it, so that it can be differentiated again.

    v^T J is linear in v, and J is its derivative by v: so this walks back twice. Raises GraphError where `func` returns
    no tensors, or `v` does not fit. Like `torch.autograd.functional.jvp`.

        outputs, moved = tc.autograd.functional.jvp(model, images, tc.ones_like(images))
    """
    given, outputs, several = _run("jvp", func, inputs, create_graph)
    vectors = _vectors("jvp", v, given)
    us = [zeros_like(out).requires_grad_() for out in outputs]
    slopes = _grads(outputs, given, us, True)
    found = _grads(slopes, us, vectors, create_graph)
    return _results(outputs, several, create_graph), tuple(found) if several else found[0]


def hvp(func: Callable[..., Any], inputs: Given, v: Given | None = None, create_graph: bool = False) -> tuple[Any, Any]:
    """The output of `func`, which has one element, and H v, with H its Hessian, which is symmetric.

    Args:
        func: Takes the inputs, and returns a tensor with one element.
        inputs: A tensor, or several.
        v: A tensor for each input, of its shape; an input with one element needs none.
        create_graph: Record it, so that it can be differentiated again.

    Raises GraphError where `func` returns anything else, or `v` does not fit. Like `torch.autograd.functional.hvp`.

        loss, curved = tc.autograd.functional.hvp(lambda w: ((x @ w) ** 2).sum(), w, direction)
    """
    given, outputs, _ = _run("hvp", func, inputs, create_graph)
    slopes = _grads([_number("hvp", outputs[0])], given, None, True)
    found = _grads(slopes, given, _vectors("hvp", v, given), create_graph)
    return _results(outputs, False, create_graph), _like(inputs, found)


def vhp(func: Callable[..., Any], inputs: Given, v: Given | None = None, create_graph: bool = False) -> tuple[Any, Any]:
    """The output of `func`, and v^T H, with H its Hessian: the same as `hvp`, for H is symmetric.

    Args:
        func: Takes the inputs, and returns a tensor with one element.
        inputs: A tensor, or several.
        v: A tensor for each input, of its shape; an input with one element needs none.
        create_graph: Record it, so that it can be differentiated again.

    Raises what `hvp` raises. Like `torch.autograd.functional.vhp`.

        loss, curved = tc.autograd.functional.vhp(lambda w: ((x @ w) ** 2).sum(), w, direction)
    """
    return hvp(func, inputs, v, create_graph)


def _run(what: str, func: Callable[..., Any], inputs: Given, linked: bool) -> tuple[list[Tensor], list[Tensor], bool]:
    """The inputs as they are differentiated by, the outputs, and whether those are a tuple."""
    listed = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    with enable_grad():
        given = [x.reshape(x.shape) if linked and x.requires_grad else x.detach().requires_grad_() for x in listed]
        found = func(*given)
    outputs = list(found) if isinstance(found, tuple | list) else [found]
    for out in outputs:
        if not isinstance(out, Tensor):
            raise GraphError(f"{what}: the function must return a tensor or a tuple of them, got {type(out).__name__}")
    return given, outputs, isinstance(found, tuple | list)


def _grads(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor] | None, create_graph: bool
) -> list[Tensor]:
    """The gradient of each input, zeros where the outputs do not depend on it."""
    seeds = [ones_like(out) for out in outputs] if seeds is None else seeds
    linked = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
    if not linked:
        return [zeros_like(x) for x in inputs]
    roots, starts = zip(*linked, strict=True)
    found = grad(roots, inputs, starts, True, create_graph, materialize_grads=True)
    return [x for x in found if x is not None]


def _vectors(what: str, v: Given | None, like: Sequence[Tensor]) -> list[Tensor]:
    if v is None:
        if any(t.numel() != 1 for t in like):
            raise GraphError(f"{what}: v may only be left out for one element; pass a tensor {like[0].shape}")
        return [ones_like(t) for t in like]
    vectors = [v] if isinstance(v, Tensor) else list(v)
    if [t.shape for t in vectors] != [t.shape for t in like]:
        raise GraphError(f"{what}: v must have shapes {[t.shape for t in like]}, got {[t.shape for t in vectors]}")
    return vectors


def _number(what: str, out: Any) -> Tensor:
    if not isinstance(out, Tensor) or out.numel() != 1:
        got = f"one of shape {out.shape}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise GraphError(f"{what}: the function must return a tensor with one element, got {got}")
    return out.reshape(())


def _like(inputs: Given, found: Sequence[Any]) -> Any:
    return found[0] if isinstance(inputs, Tensor) else tuple(found)


def _results(outputs: Sequence[Tensor], several: bool, linked: bool) -> Any:
    found = tuple(out if linked else out.detach() for out in outputs)
    return found if several else found[0]


suggest_names(globals())
