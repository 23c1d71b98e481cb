"""Functions of `torch` that choose how it computes, where there is nothing to choose here."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.engine.dtypes import DEFAULT_FLOAT, Dtype, as_dtype
from tinyconv.errors import DtypeError
from tinyconv.torch_modules.amp import GradScaler, autocast

__all__ = [
    "GradScaler",
    "are_deterministic_algorithms_enabled",
    "autocast",
    "channels_last",
    "compile",
    "contiguous_format",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_autocast_enabled",
    "preserve_format",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_num_interop_threads",
    "typename",
    "use_deterministic_algorithms",
]  # fmt: skip


channels_last, contiguous_format, preserve_format = "channels_last", "contiguous_format", "preserve_format"
"""Memory formats, for `memory_format=`, which changes nothing here: strides are no promise."""


def compile(model: Any = None, **options: Any) -> Any:
    """The model or function, as it is; without one a decorator that does the same. `tc.capture` makes a step faster."""
    return (lambda model: model) if model is None else model


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Do nothing: the same program gives the same bits here."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: there are no others."""
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """Do nothing: products of float32 are computed in float32."""


def get_float32_matmul_precision() -> str:
    """`"highest"`."""
    return "highest"


def set_num_interop_threads(n: int) -> None:
    """Do nothing: one op runs at a time. `tc.set_num_threads` is for the threads within one."""


def get_num_interop_threads() -> int:
    """1: one op runs at a time."""
    return 1


def set_default_dtype(d: Dtype) -> None:
    """Do nothing for float32, which is the default. Raises DtypeError for another dtype."""
    if as_dtype(d) != DEFAULT_FLOAT:
        raise DtypeError(
            f"set_default_dtype: the default is always float32 here; name {as_dtype(d)} where tensors are made, "
            "dtype=..., and convert a model with model.double()"
        )


def get_default_dtype() -> np.dtype[Any]:
    """float32."""
    return DEFAULT_FLOAT


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """False: mixed precision is not here."""
    return False


def typename(obj: Any) -> str:
    """The name of a value's type with its module: `tinyconv.nn.layers.Conv2d`."""
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
