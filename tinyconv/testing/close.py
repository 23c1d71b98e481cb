"""`assert_close`, for tests of your own: two tensors, numbers, or containers of them, are the same but for rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyconv.errors import OptionError
from tinyconv.tensor.tensor import Tensor

TOLERANCES = {"float16": (1e-3, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}
"""The relative and the absolute difference that a dtype may have: PyTorch's. Other dtypes may have none."""


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere.

    Args:
        actual, expected: Tensors, arrays of NumPy, numbers, or sequences and mappings of them, of one structure.
        rtol, atol: Both, or none: those of the dtype, in `TOLERANCES`; the larger ones where two dtypes differ.
        equal_nan: Whether NaN is equal to NaN.
        check_device, check_dtype: Whether tensors must be on one device, and of one dtype.
        check_stride: Whether they must lie in memory alike.
        msg: What to say instead, or a function that makes it of what would be said.

    Raises TypeError for what cannot be compared, and OptionError where only one tolerance is given. Like
    `torch.testing.assert_close`.
    """
    if (rtol is None) != (atol is None):
        raise OptionError("assert_close: give both rtol and atol, or neither")
    checks = {"dtype": check_dtype, "device": check_device, "stride": check_stride}
    found = _difference(actual, expected, rtol, atol, equal_nan, [name for name, wanted in checks.items() if wanted])
    if found:
        raise AssertionError(msg(found) if callable(msg) else msg or found)


def _difference(
    actual: Any, expected: Any, rtol: float | None, atol: float | None, equal_nan: bool, checks: list[str]
) -> str:
    """What the first difference is; "" where there is none."""
    pairs: dict[Any, tuple[Any, Any]] = {}
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            missing, more = (sorted(map(repr, a)) for a in (expected.keys() - actual, actual.keys() - expected))
            return f"the keys differ: {', '.join(missing) or 'none'} missing, {', '.join(more) or 'none'} too many"
        pairs = {key: (actual[key], expected[key]) for key in expected}
    elif _is_list(actual) and _is_list(expected):
        if len(actual) != len(expected):
            return f"the lengths differ: {len(actual)}, expected {len(expected)}"
        pairs = dict(enumerate(zip(actual, expected, strict=True)))
    else:
        return _difference_of_arrays(actual, expected, rtol, atol, equal_nan, checks)
    for key, (a, b) in pairs.items():
        if found := _difference(a, b, rtol, atol, equal_nan, checks):
            return f"{found}\nin item [{key!r}]"
    return ""


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _difference_of_arrays(
    actual: Any, expected: Any, rtol: float | None, atol: float | None, equal_nan: bool, checks: list[str]
) -> str:
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        facts = {name: [getattr(t, name) for t in (actual, expected)] for name in ("shape", *checks)}
        for name, (a, b) in facts.items():
            a, b = (a(), b()) if callable(a) else (a, b)
            if a != b:
                return f"the {name} differs: {a}, expected {b}"
    a, b = (v.detach().cpu().numpy() if isinstance(v, Tensor) else np.asarray(v) for v in (actual, expected))
    if a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        got = f"{type(actual).__name__} and {type(expected).__name__}"
        raise TypeError(f"assert_close: expected tensors, numbers, or sequences and mappings of them, got {got}")
    if a.shape != b.shape:
        return f"the shape differs: {a.shape}, expected {b.shape}"
    if rtol is None or atol is None:
        rtol, atol = np.max([TOLERANCES.get(v.dtype.name, (0.0, 0.0)) for v in (a, b)], axis=0)
    with np.errstate(all="ignore"):
        error = np.abs(np.subtract(a, b, dtype=np.float64))
        allowed = atol + rtol * np.abs(b.astype(np.float64))
        same = (a == b) | (np.isfinite(error) & (allowed > 0) & (error <= allowed))  # large integers are equal, or not
        same |= equal_nan & np.isnan(a) & np.isnan(b)
    if same.all():
        return ""
    where = tuple(int(i) for i in np.argwhere(~same)[0])
    return (
        f"{np.size(same) - np.count_nonzero(same)} of {same.size} elements differ, the first at {where}: {a[where]}, "
        f"expected {b[where]}; the largest difference is {np.max(error):.3g} (atol={atol:g}, rtol={rtol:g} are allowed)"
    )
