"""Dropout."""

from __future__ import annotations

import numpy as np

from tinyconv import ops
from tinyconv.engine.options import fraction
from tinyconv.functional.arguments import (
    checked_tensor,
)
from tinyconv.tensor.creation import rand_like
from tinyconv.tensor.inplace import replace
from tinyconv.tensor.tensor import Tensor, apply


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014).

    The random numbers are those of `tinyconv.manual_seed`. Like `torch.nn.functional.dropout`.

        F.dropout(tc.ones(2), p=1.0).tolist()  # [0.0, 0.0]

    Args:
        input: Any shape, floating point.
        p: The probability that an element becomes 0.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises OptionError where `p` is not between 0 and 1, DtypeError in training for an input of another dtype, and
    GraphError for a write into a leaf that requires grad.
    """
    checked_tensor("dropout", "input", input)
    p = fraction("dropout: p", p)
    if not training or p == 0:
        return input
    chances = rand_like(input.float() if input.dtype == np.float16 else input)  # p may be no number of float16
    y = apply(ops.Dropout, input, chances >= p, p=p)
    return replace(input, "dropout", y) if inplace else y
