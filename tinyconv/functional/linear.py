"""The linear layer."""

from __future__ import annotations

import numpy as np

from tinyconv import ops
from tinyconv.engine.context import no_grad
from tinyconv.engine.options import finite, real
from tinyconv.errors import OptionError, ShapeError
from tinyconv.functional.arguments import checked_tensor
from tinyconv.shapes import whole
from tinyconv.tensor.creation import zeros_like
from tinyconv.tensor.joins import where
from tinyconv.tensor.rounding import rounded_once
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


@rounded_once
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


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a table that the input names: (...) gives (..., D). Like `torch.nn.functional.embedding`.

        F.embedding(tc.tensor([[0, 2]]), tc.randn(3, 5)).shape  # (1, 2, 5)

    Args:
        input: Rows of the table, integers of any shape.
        weight: The table (V, D), floating point.
        padding_idx: A row that gets no gradient; negative numbers count from the end.
        max_norm: Rows that are used and longer than this are shortened to it first, in the table.
        norm_type: The norm that says how long a row is.
        scale_grad_by_freq: Not here: OptionError where it is True.
        sparse: Changes nothing, for gradients are whole tensors here.

    Raises ShapeError where the table is none or an index is no row of it (on a GPU indices are not checked), DtypeError
    where the input is not integers, and OptionError where a number is none.
    """
    checked_tensor("embedding", "input", input), checked_tensor("embedding", "weight", weight)
    if scale_grad_by_freq:
        raise OptionError(
            "embedding: scale_grad_by_freq is not here; divide the gradient by the counts in a hook of the weight"
        )
    padding = None if padding_idx is None else whole(padding_idx, "embedding: padding_idx")
    if padding is not None:
        if weight.ndim != 2 or not -len(weight) <= padding < len(weight):
            raise ShapeError(f"embedding: padding_idx {padding} is no row of a table of shape {weight.shape}")
        padding %= len(weight)
    order = real("embedding: norm_type", norm_type)
    if max_norm is not None:
        _shorten(input, weight, finite("embedding: max_norm", max_norm), order)
    return apply(ops.Embedding, weight, input, padding=padding)


def _shorten(input: Tensor, weight: Tensor, most: float, norm_type: float) -> None:
    """Shorten the rows of a table that the input names to norm `most`, in place."""
    with no_grad():
        used = zeros_like(weight[:, 0], dtype=np.bool_)
        used[input.reshape(-1)] = True
        length = weight.norm(norm_type, 1)
        weight.mul_(where(used & (length > most), most / (length + 1e-7), 1.0).unsqueeze(1))
