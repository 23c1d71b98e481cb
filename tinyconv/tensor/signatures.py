"""What the methods of Tensor take and return: the types of their arguments, NumPy's names for them, small results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeAlias, TypeVar

import numpy as np

from tinyconv.tensor.refusals import check_tensor

if TYPE_CHECKING:
    from tinyconv.tensor.tensor import Tensor

Scalar: TypeAlias = bool | int | float
Operand: TypeAlias = "Tensor | Scalar | np.generic | np.ndarray[Any, Any]"
Dim: TypeAlias = int | Sequence[int] | None
IndexPart: TypeAlias = (
    "int | np.integer[Any] | slice | EllipsisType | Tensor | np.ndarray[Any, Any] | Sequence[int] | None"
)
Index: TypeAlias = "IndexPart | tuple[IndexPart, ...]"
P = ParamSpec("P")
Result = TypeVar("Result")


def numpy_names(method: Callable[P, Result]) -> Callable[P, Result]:
    """Let a reduction be called with NumPy's `axis` and `keepdims` too, as torch does. It refuses what is no Tensor."""
    name = method.__name__

    @wraps(method)
    def renamed(*args: P.args, **options: P.kwargs) -> Result:
        check_tensor(name, args[0] if args else options.get("input"))
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in options:
                options[ours] = options.pop(theirs)
        return method(*args, **options)

    return renamed


REFLECTED = {  # NumPy's name of an operator, and ours with the tensor on its right
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
}


class Extreme(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Tensor
    indices: Tensor


class HookHandle:
    """What registers a hook returns: `remove()` takes the hook away, and so does the end of a `with` block."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove = remove

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.remove()
