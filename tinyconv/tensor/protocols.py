"""NumPy's functions of tensors: `np.sum(t)` is a Tensor on the tape, `np.exp(t)` an array that leaves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.errors import GraphError
from tinyconv.tensor.convert import is_tensor
from tinyconv.tensor.signatures import REFLECTED


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`ndarray * tensor` is a Tensor; `np.exp(tensor)` what NumPy gives of the array, see `call_function`."""
    _refuse_out(ufunc, options)
    operator = REFLECTED.get(ufunc.__name__) if method == "__call__" and not options else None
    if operator is not None and not is_tensor(inputs[0]):
        return getattr(inputs[1], operator)(inputs[0])
    return _outside(ufunc, inputs, getattr(ufunc, method)(*_arrays(inputs), **options))


_REDUCTIONS = {  # those that are methods of a Tensor as well, and what the methods take
    np.sum: "axis dtype keepdims", np.prod: "axis dtype keepdims", np.mean: "axis dtype keepdims",
    np.max: "axis keepdims", np.amax: "axis keepdims", np.min: "axis keepdims", np.amin: "axis keepdims",
    np.std: "axis ddof keepdims", np.var: "axis ddof keepdims", np.all: "axis keepdims", np.any: "axis keepdims",
}  # fmt: skip
_NAMES = {np.max: "amax", np.min: "amin"}  # of which equal elements share the gradient, as of max()


def _reduced(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """`np.sum(t, axis=0)` by the method of the tensor; NotImplemented for a call that the method does not take.

    Integers have no mean in PyTorch, and NumPy gives a float64: there and for several axes of a product, where methods
    have one, the values are NumPy's.
    """
    given = {} if len(args) < 2 else dict(zip(("axis",), args[1:], strict=False))
    options = {name: value for name, value in (given | options).items() if value is not None}
    t: Any = args[0] if args else None
    if not is_tensor(t) or len(args) > 2 or options.keys() - set(_REDUCTIONS[function].split()):
        return NotImplemented
    if t.dtype.kind != "f" and function in (np.mean, np.std, np.var):
        return NotImplemented
    if function in (np.std, np.var):
        options["correction"] = options.pop("ddof", 0)
    if function is np.prod and not isinstance(options.get("axis", 0), int):
        return NotImplemented
    return getattr(t, _NAMES.get(function, function.__name__))(**options)


def call_function(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Reductions of a Tensor are its methods, with NumPy's arguments: `np.sum(t)`, `np.std(t, axis=0)` over n.

    For others, what NumPy's function gives of the arrays in the tensors: `np.concatenate([t, a])`. Tensors that require
    grad give integers, bools and shapes alone then: floating-point numbers would need a gradient.
    """
    _refuse_out(function, options)
    if function in _REDUCTIONS and (found := _reduced(function, args, options)) is not NotImplemented:
        return found
    if function in (np.shape, np.ndim, np.size) and is_tensor(args[0]) and len(args) == 1:  # also on a GPU
        return {np.shape: args[0].shape, np.ndim: args[0].ndim, np.size: args[0].numel()}[function]
    return _outside(function, (args, options), function(*_arrays(args), **_arrays(options)))


def _outside(function: Any, given: Any, found: Any) -> Any:
    """What a function found, unless a gradient through it would be lost."""
    if _any_tracked(given) and _any_floating(found):
        raise GraphError(
            f"np.{function.__name__} is not recorded, so the gradient through it would be missing; use tinyconv's own "
            "functions, or leave the tape on purpose with x.detach()"
        )
    return found


def _arrays(value: Any) -> Any:
    """`value` with arrays for the tensors in it; those of tensors that require grad are read-only."""
    if is_tensor(value):
        return value.numpy()
    if isinstance(value, dict):
        return {name: _arrays(item) for name, item in value.items()}
    return type(value)(map(_arrays, value)) if type(value) in (list, tuple) else value


def _any_tracked(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(map(_any_tracked, value.values() if isinstance(value, dict) else value))
    return is_tensor(value) and value._tracked


def _any_floating(found: Any) -> bool:
    if isinstance(found, list | tuple):
        return any(map(_any_floating, found))
    return isinstance(found, float) or getattr(getattr(found, "dtype", None), "kind", "") in ("f", "c")


def _refuse_out(function: Any, options: dict[str, Any]) -> None:
    out = options.get("out")
    if any(map(is_tensor, out if isinstance(out, tuple) else (out,))):
        raise TypeError(f"np.{function.__name__}(..., out=tensor) is not possible; write x[...] = value, under no_grad")
