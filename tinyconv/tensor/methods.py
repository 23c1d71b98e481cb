"""The functions that are methods of Tensor as well: each is written once, and `x.exp()` is `tc.exp(x)`."""

from __future__ import annotations

from tinyconv.tensor import pointwise
from tinyconv.tensor.tensor import Tensor


class Methods:
    """A base of Tensor for type checkers. At run time Tensor gets the functions themselves, below."""

    exp = pointwise.exp
    log = pointwise.log
    sqrt = pointwise.sqrt


for _name, _function in vars(Methods).items():
    if not _name.startswith("__"):
        setattr(Tensor, _name, _function)
