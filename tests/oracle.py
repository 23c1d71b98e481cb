"""What tests compare with: Hypothesis choosing in the argument spaces, the strictest judge, results of any device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv.arrays.backend import backend_of
from tinyconv.check.draw import FLOATS, LAYOUTS, Draw, arrange
from tinyconv.check.reference import (
    Disagreement,
    Vacuous,
    as_tuple,
    compare,
    compare_values,
    compare_with_torch,
    normal,
)

torch.set_num_threads(1)  # the tensors are tiny: waking a second thread costs more than it brings

__all__ = [
    "FLOATS", "LAYOUTS", "Disagreement", "HypothesisDraw", "Vacuous", "arrange", "assert_allclose",
    "assert_array_equal", "check", "check_values", "compare", "host", "normal", "on", "on_the_host", "share_memory",
]  # fmt: skip


on_the_host = pytest.mark.parametrize("device", ["cpu"], indirect=True)
"""Marks a test of what only arrays in host memory do, in a file whose tests run on every device."""


def on(device: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which moves its inputs from the CPU to this device and its outputs back, gradients included."""

    def moved(*tensors: Any) -> Any:
        with tc.device(device):
            outputs = as_tuple(function(*(t.to(device) for t in tensors)))
        assert {y.device for y in outputs} == {str(tc.device(device))}
        return tuple(y.cpu() for y in outputs)

    return function if device == "cpu" else moved


def host(value: Any) -> Any:
    """A tensor or array of any device as an array of NumPy; anything else as it is."""
    array = value.array if isinstance(value, tc.Tensor) else value
    return array.get() if hasattr(array, "__cuda_array_interface__") else array


def share_memory(a: Any, b: Any) -> Any:
    return backend_of(a, b).xp.shares_memory(a, b)


def assert_array_equal(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(host(found), host(expected))


def assert_allclose(found: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(host(found), host(expected), **tolerance)


check = partial(compare_with_torch, magnitude=0)  # the strictest; a test that needs more room says so
check_values = compare_values


class HypothesisDraw(Draw):
    """Choices that Hypothesis makes through the `draw` of a composite strategy. It searches, and shrinks what fails."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))
