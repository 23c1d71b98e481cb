"""Functions of several ops, in float16: computed in float32 and rounded once, as single ops are (`engine.wide`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np

from tinyconv.engine.wide import FLOAT16
from tinyconv.tensor.tensor import Tensor

P = ParamSpec("P")


def rounded_once(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Let a function of several ops take its float16 tensors as float32, and round its result and their gradients.

    What it computes on the way may not fit into float16, or cancel. Where floating-point dtypes differ, nothing is
    converted, so that it refuses them as ever.
    """

    @wraps(function)
    def rounding(*args: P.args, **options: P.kwargs) -> Tensor:
        given = [v for v in (*args, *options.values()) if isinstance(v, Tensor) and v.dtype.kind == "f"]
        if not given or any(v.dtype != FLOAT16 for v in given):
            return function(*args, **options)
        wide: Callable[..., Tensor] = function
        return wide(*map(_wide, args), **{name: _wide(v) for name, v in options.items()}).to(np.float16)

    return rounding


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == FLOAT16 else value
