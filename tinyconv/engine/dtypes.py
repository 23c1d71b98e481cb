"""Dtypes: which ones tensors have, and which one an operation on several has (torch's rule)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinyconv.errors import DtypeError, did_you_mean, shortened

Dtype: TypeAlias = DTypeLike | None  # tinyconv.float32, np.float32, "float32"; None where a default is taken
DEFAULT_FLOAT = np.dtype(np.float32)
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
_KNOWN = {np.dtype(code) for code in "?bhilqBHILQefd"}


def as_dtype(dtype: Dtype) -> np.dtype[Any]:
    """`dtype` as NumPy's, in this machine's byte order; DtypeError if tensors cannot have it."""
    try:
        found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    except (TypeError, ValueError):
        meant = did_you_mean(dtype, DTYPES) if isinstance(dtype, str) else ""
        raise DtypeError(f"not a dtype: {shortened(dtype)}{meant or '; tinyconv.float32, for example'}") from None
    if found not in _KNOWN:
        raise DtypeError(f"tensors of {found} are not supported: bool, integers, float16, float32 and float64 are")
    return found


def category(dtype: np.dtype[Any]) -> int:
    """0 for bool, 1 for integers, 2 for floating point: a result never falls below its operands."""
    return {"b": 0, "f": 2}.get(dtype.kind, 1)


def result_type(operands: Iterable[tuple[np.dtype[Any], int | None]]) -> np.dtype[Any]:
    """The dtype of an operation on operands given as (dtype, number of axes); a Python number has None for axes.

    Tensors with axes decide. A 0-d tensor, and after it a Python number, has a say only if its category (bool < integer
    < floating point) is higher than that of what came before, and then brings its own dtype. Torch's rule:
    https://pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc
    """
    result: np.dtype[Any] | None = None
    groups: tuple[list[np.dtype[Any]], ...] = ([], [], [])
    for dtype, ndim in operands:
        groups[2 if ndim is None else 0 if ndim else 1].append(dtype)
    for group in groups:
        top = max(map(category, group), default=-1)
        if result is None or top > category(result):
            for dtype in group:
                if category(dtype) == top:
                    result = dtype if result is None or category(result) < top else np.promote_types(result, dtype)
    if result is None:
        raise ValueError("result_type: no operands")
    return result


def dtype_of_number(number: bool | int | float) -> np.dtype[Any]:
    """What a Python number counts as: bool, int64 or float32."""
    if isinstance(number, bool):
        return np.dtype(np.bool_)
    return np.dtype(np.int64) if isinstance(number, int) else DEFAULT_FLOAT
