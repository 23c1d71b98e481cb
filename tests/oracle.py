"""What tests ask `tinyconv.check` with: Hypothesis choosing for the argument spaces, and arrays of its own."""

from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tinyconv.check.draw import FLOATS, LAYOUTS, Draw, RandomDraw, arrange
from tinyconv.check.reference import Disagreement, Vacuous, compare, compare_values, compare_with_torch, normal

torch.set_num_threads(1)  # the tensors are tiny: waking a second thread costs more than it brings

__all__ = [
    "FLOATS", "LAYOUTS", "Disagreement", "HypothesisDraw", "Vacuous", "arrange", "arrays", "check", "check_values",
    "compare", "dtypes", "normal", "shapes",
]  # fmt: skip

check = partial(compare_with_torch, magnitude=0)  # the strictest: a test that needs more room says so
check_values = compare_values


class HypothesisDraw(Draw):
    """Choices made by Hypothesis, through the `draw` of a composite strategy: it searches, and shrinks what fails."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def arrays(draw, shape, dtype, kinds=("normal", "ties"), layouts=LAYOUTS):
    """An array of this shape and dtype, its values from a drawn seed, its layout drawn."""
    chance = RandomDraw(draw(st.integers(0, 2**32 - 1), label="seed"))
    array = chance.values(shape, dtype, draw(st.sampled_from(kinds), label="values"))
    return arrange(array, draw(st.sampled_from(layouts), label="layout"))


def shapes(min_dims=0, max_dims=4, min_side=0, max_side=4):
    """Shapes small enough to print."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


dtypes = st.sampled_from([np.dtype(name) for name in FLOATS])
