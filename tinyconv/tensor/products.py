"""Products of matrices, which are methods of Tensor too: `tc.matmul(a, b)` is `a.matmul(b)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.tensor import Tensor

__all__ = ["matmul"]


def matmul(input: Tensor, other: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """The matrix product (..., N, K) @ (..., K, M) = (..., N, M), with batch axes broadcast, by NumPy's rule.

    A vector is a row on the left and a column on the right. Raises ShapeError where the sizes do not fit, and
    DtypeError where the dtypes differ.
    """
    check_tensor("matmul", input)
    return input @ other
