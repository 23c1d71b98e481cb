"""Class indices as rows of zeros and a one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, ready
from tinyconv.engine.each_step import computed
from tinyconv.errors import DtypeError
from tinyconv.shapes import whole
from tinyconv.tensor.picking import check_values_known
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["one_hot"]


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """y[..., c] = 1 where input[...] = c, else 0: int64, (*) -> (*, num_classes). Like `torch.nn.functional.one_hot`.

    Args:
        input: Class indices from 0 on, integers of any shape.
        num_classes: How many classes there are; -1 for as many as the largest index needs, which asks for its value.

    Raises DtypeError unless the indices are integers, ShapeError for fewer than one class, and ValueError, on the CPU,
    for an index out of range, or where -1 is to be found out from no index.

        F.one_hot(tc.tensor([0, 2]), 3).tolist()  # [[1, 0, 0], [0, 0, 1]]
    """
    if check_tensor("one_hot", input).dtype.kind not in "iu":
        raise DtypeError(f"one_hot: class indices are integers, got {input.dtype}: input.long()?")
    count = whole(num_classes, "one_hot: num_classes", minimum=-1)
    if count == -1:
        check_values_known("one_hot", input, "name num_classes")
        if not input.numel():
            raise ValueError("one_hot: no index says how many classes there are; name num_classes")
        count = int(input.max().item()) + 1
    whole(count, "one_hot: num_classes", minimum=1)
    array = ready(input.array)
    if backend_of(array).on_host and array.size and not 0 <= array.min() <= array.max() < count:
        given = f"{array.min()} to {array.max()}"
        raise ValueError(f"one_hot: expected class indices from 0 to {count - 1}, got some from {given}")
    return wrap(computed(partial(_rows, count=count), array))


def _rows(index: Array, *, count: int) -> Any:
    places = backend_of(index).xp.arange(count)
    return (index[..., None] == places).astype(np.int64)
