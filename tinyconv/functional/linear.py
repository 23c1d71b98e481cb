"""The linear layer."""

from __future__ import annotations

from tinyconv import ops
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import checked_tensor
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


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_k = x1^T weight_k x2 + bias_k: (..., I) and (..., J) give (..., K). Like `torch.nn.functional.bilinear`.

        F.bilinear(tc.randn(8, 3), tc.randn(8, 4), tc.randn(5, 3, 4)).shape  # (8, 5)

    Args:
        input1, input2: x1 and x2, (..., I) and (..., J) with the same first axes, floating point.
        weight: (K, I, J), of their dtype.
        bias: (K,), of the same dtype; or None.

    Raises ShapeError where sizes do not fit, and DtypeError where dtypes differ or are not floating point.
    """
    for what, tensor in {"input1": input1, "input2": input2, "weight": weight}.items():
        checked_tensor("bilinear", what, tensor)
    lead = input1.shape[:-1]
    if (
        weight.ndim != 3
        or input1.ndim < 1
        or input2.shape[:-1] != lead
        or ((input1.shape[-1], input2.shape[-1]) != weight.shape[1:])
    ):
        raise ShapeError(
            f"bilinear: expected (..., I), (..., J) and a weight (K, I, J), got {input1.shape}, {input2.shape} and "
            f"{weight.shape}"
        )
    k, i, j = weight.shape
    pairs = (input1.unsqueeze(-1) * input2.unsqueeze(-2)).reshape(*lead, i * j)
    return linear(pairs, weight.reshape(k, i * j), bias)
