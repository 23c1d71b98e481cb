"""The linear layer."""

from __future__ import annotations

from tinyconv import ops
from tinyconv.tensor.tensor import Tensor, apply


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x weight^T + bias: (..., I) with weight (O, I) gives (..., O). Like `torch.nn.functional.linear`.

        F.linear(tc.randn(8, 20), tc.randn(5, 20), tc.randn(5)).shape  # (8, 5)

    Args:
        input: x, (..., I), floating point.
        weight: (O, I), of the dtype of the input.
        bias: (O,), of the same dtype; or None.

    Raises ShapeError where sizes do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    return apply(ops.Linear, input, weight, bias)
