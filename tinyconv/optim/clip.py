"""Keeping gradients from exploding, between `backward()` and the optimiser's step."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import inf, isfinite
from operator import methodcaller
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import non_negative, number, positive
from tinyconv.engine.wide import widened
from tinyconv.errors import TinyconvError
from tinyconv.optim.optimizer import ParameterError, listed
from tinyconv.tensor.tensor import Tensor, wrap


class NonFiniteError(TinyconvError, RuntimeError):
    """A value that must be finite is NaN or infinite."""


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients, in place and by one factor, so that as one vector they are no longer than `max_norm`.

    Each is multiplied by min(1, max_norm / (n + 1e-6)), with n the norm of that vector. Returns n before scaling, shape
    (), in the dtype of the gradients; 0 if there are none.

    Args:
        parameters: One tensor or an iterable of them; those without a gradient are passed over.
        max_norm: >= 0; `math.inf` measures and leaves the gradients alone.
        norm_type: p of the p-norm, > 0; `math.inf` for the largest absolute value.
        error_if_nonfinite: Raise NonFiniteError, with the gradients untouched, if n is NaN or infinite. This waits for
            the device. Without it nothing waits, and NaN gradients stay NaN.
        foreach: Taken and changes nothing.

    Raises OptionError where `max_norm` or `norm_type` is out of range, and ParameterError for anything that is not a
    tensor. Like `torch.nn.utils.clip_grad_norm_`; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent
    neural networks", ICML 2013, algorithm 1.

        norm = tc.optim.clip_grad_norm_(model.parameters(), max_norm=1.0)
    """
    longest = _longest("clip_grad_norm_", max_norm)
    grads = _grads("clip_grad_norm_", parameters)
    no_way = f"of the gradients is {{}}, so no factor can bring it to {max_norm}" if error_if_nonfinite else ""
    total = _total("clip_grad_norm_", grads, norm_type, no_way)
    if total is None:
        return Tensor(0.0)
    _scale(grads, longest, total)
    return _rounded(total, grads)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as one vector, shape (), in their dtype; 0 if there are none.

    Args:
        tensors: One tensor or an iterable of them: gradients, or anything else.
        norm_type: p of the p-norm, > 0; `math.inf` for the largest absolute value.
        error_if_nonfinite: Raise NonFiniteError if the norm is NaN or infinite.
        foreach: Taken and changes nothing.

    Raises OptionError where `norm_type` is out of range, and ParameterError for anything that is not a tensor. Like
    `torch.nn.utils.get_total_norm`. No gradient flows through it.

        norm = tc.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    """
    found = _checked("get_total_norm", tensors)
    total = _total("get_total_norm", found, norm_type, "is {}" if error_if_nonfinite else "")
    return Tensor(0.0) if total is None else _rounded(total, found)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """The second half of `clip_grad_norm_`: scale all gradients, in place, by min(1, max_norm / (total_norm + 1e-6)).

    Args:
        parameters: One tensor or an iterable of them; those without a gradient are passed over.
        max_norm: >= 0; with `math.inf` nothing is changed.
        total_norm: What `get_total_norm` gave.
        foreach: Taken and changes nothing.

    Raises OptionError where `max_norm` is out of range, and ParameterError for anything that is not a tensor. Like
    `torch.nn.utils.clip_grads_with_norm_`.

        tc.nn.utils.clip_grads_with_norm_(model.parameters(), 1.0, norm)
    """
    (total,) = _checked("clip_grads_with_norm_", [total_norm])
    grads = _grads("clip_grads_with_norm_", parameters)
    _scale(grads, _longest("clip_grads_with_norm_", max_norm), widened(total.array))


def _longest(what: str, max_norm: float) -> float:
    return inf if number(max_norm) == inf else non_negative(f"{what}: max_norm", max_norm)


def _total(what: str, tensors: list[Tensor], norm_type: float, no_way: str) -> Array | None:
    """The norm of all tensors, as `_norm` gives it; None where there are none. `no_way`: the error if not finite."""
    p = inf if number(norm_type) == inf else positive(f"{what}: norm_type", norm_type)
    if not tensors:
        return None
    arrays = [tensor.array for tensor in tensors]
    with np.errstate(all="ignore"):  # as in ops: infinities show in the values, not in warnings
        total = computed(partial(_norm, backend_of(*arrays).xp, p), *arrays)
    if no_way and not isfinite(total):
        raise NonFiniteError(
            f"{what}: the norm {no_way.format(float(total))}; lower the learning rate, or find the first operation "
            "that gave NaN or infinity with tc.detect_anomaly()"
        )
    return total


def _scale(grads: list[Tensor], longest: float, total: Array) -> None:
    if grads and longest < inf:
        with np.errstate(all="ignore"):
            arrays = [grad.array for grad in grads]
            computed(partial(_shorten, backend_of(*arrays).xp, longest), total, *arrays)
            for grad in grads:
                grad._storage.wrote(grad.array)


def _rounded(total: Array, tensors: list[Tensor]) -> Tensor:
    dtype = np.result_type(*(tensor.dtype for tensor in tensors))
    with np.errstate(all="ignore"):
        return wrap(computed(methodcaller("astype", dtype), total))


def _norm(xp: Any, p: float, *grads: Array) -> Array:
    """The p-norm of all gradients as one vector, a 0-d array; float32 at least, for the squares of float16."""
    norms = xp.empty(len(grads), np.result_type(np.float32, *(grad.dtype for grad in grads)))
    for i, grad in enumerate(grads):  # not stacked: CuPy would bring the addresses of many arrays from the host
        # The order of the elements does not matter to a norm, so ravel need not copy.
        norms[i] = xp.linalg.norm(widened(grad).ravel(order="K"), p)
    return xp.linalg.norm(norms, p)


def _shorten(xp: Any, longest: float, total: Array, *grads: Array) -> None:
    """Scale the gradients, in place, so that their norm `total` becomes `longest` at most."""
    factor = xp.minimum(longest / (total + 1e-6), 1.0)
    for grad in grads:
        grad *= factor


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp each element of each gradient to [-clip_value, clip_value], in place.

    Args:
        parameters: One tensor or an iterable of them; those without a gradient are passed over.
        clip_value: >= 0.
        foreach: Taken and changes nothing.

    Raises OptionError where `clip_value` is out of range, and ParameterError for anything that is not a tensor. Like
    `torch.nn.utils.clip_grad_value_`.

        tc.optim.clip_grad_value_(model.parameters(), 0.5)
    """
    limit = non_negative("clip_grad_value_: clip_value", clip_value)
    for grad in _grads("clip_grad_value_", parameters):
        computed(partial(_clamp, backend_of(grad.array).xp, limit), grad.array)
        grad._storage.wrote(grad.array)


def _clamp(xp: Any, limit: float, grad: Array) -> None:
    xp.clip(grad, -limit, limit, out=grad)


def _grads(what: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [param.grad for param in _checked(what, parameters) if param.grad is not None]


def _checked(what: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    params = [parameters] if isinstance(parameters, Tensor) else listed(parameters, what)
    for param in params:
        if not isinstance(param, Tensor):
            raise ParameterError(
                f"{what}: expected a tensor or an iterable of them, got {type(param).__name__} in it; "
                "pass model.parameters()"
            )
    return params
