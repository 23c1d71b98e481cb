"""What tests ask `tinyconv.check` with: Hypothesis choosing for the argument spaces, and the strictest judge."""

from functools import partial
from typing import Any

import torch
from hypothesis import strategies as st

from tinyconv.check.draw import FLOATS, LAYOUTS, Draw, arrange
from tinyconv.check.reference import Disagreement, Vacuous, compare, compare_values, compare_with_torch, normal

torch.set_num_threads(1)  # the tensors are tiny: waking a second thread costs more than it brings

__all__ = [
    "FLOATS", "LAYOUTS", "Disagreement", "HypothesisDraw", "Vacuous", "arrange", "check", "check_values", "compare",
    "normal",
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
