"""How many threads BLAS uses for a product, so that their number changes no bit of it.

OpenBLAS cuts a product up among its threads, and its kernels for processors without AVX-512 round an element by where
it lies in their tiles: made by two threads, a product of 72x30 and 30x320 differs from that of one in 19 % of its
elements. So each product is made by one thread, and several threads make several products. What is left to BLAS's
threads is a long product that stands alone: that of a large linear layer, or of a convolution with one row of output.
On such a processor its bits depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tinyconv.host.threads import blas_alone

Result = TypeVar("Result")

TINY = 1 << 18
"""Multiplications for which BLAS calls no threads anyway."""
SHORT = 20_000_000
"""Multiplications, about 0.4 ms of a core, up to which BLAS works alone: its threads take as long to come as they save,
and look for more work for a while after, on the cores that ours are on (a LeNet step took 5.0 ms; alone, 4.2)."""


def with_blas_for(multiplications: int, function: Callable[..., Result], *args: Any) -> Result:
    """function(*args), while BLAS has as many threads as are good for products of so many multiplications."""
    return blas_alone(function, *args) if TINY < multiplications <= SHORT else function(*args)
