"""A source of random numbers of one's own, beside the one that `manual_seed` starts."""

from __future__ import annotations

import secrets
from copy import deepcopy
from typing import Any

import numpy as np

from tinyconv.engine.options import integer
from tinyconv.errors import OptionError, shortened


class Generator:
    """Random numbers apart from those of `manual_seed`, for what takes `generator=`: a DataLoader, a sampler, randperm.

        order = tc.randperm(10, generator=tc.Generator().manual_seed(0))

    Like `torch.Generator`; the numbers are those of NumPy's PCG64, drawn on the host whatever the device. A new one
    gives the same numbers each time, until it is seeded.

    Args:
        device: Taken for PyTorch's sake: the numbers do not depend on it.
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from this seed; returns the generator. Raises OptionError unless it is an integer >= 0."""
        self._seed = integer("manual_seed: seed", seed, 0)
        self.numbers = np.random.Generator(np.random.PCG64(self._seed))
        """NumPy's generator behind this one."""
        return self

    def seed(self) -> int:
        """Start anew from a seed that the operating system draws; returns it."""
        return self.manual_seed(secrets.randbits(63)).initial_seed()

    def initial_seed(self) -> int:
        """The seed that the numbers began with."""
        return self._seed

    def get_state(self) -> dict[str, Any]:
        """The state, of plain integers and strings; unlike PyTorch's it is no tensor."""
        return dict(deepcopy(self.numbers.bit_generator.state))

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to a state that `get_state` returned. Raises OptionError for anything else."""
        try:
            self.numbers.bit_generator.state = state
        except (TypeError, ValueError, KeyError):
            raise OptionError(f"set_state: expected what get_state returned, got {shortened(state)}") from None


def numbers_of(generator: Generator | np.random.Generator) -> np.random.Generator:
    """NumPy's generator behind what was given as `generator=`. Raises OptionError where that is none."""
    found = getattr(generator, "numbers", generator)
    if not isinstance(found, np.random.Generator):
        raise OptionError(f"generator: expected a tinyconv.Generator, got {shortened(generator)}")
    return found
