"""The judge of optimisers: `optim_db`, the options that PyTorch tests its own optimisers with.

Each optimiser that we share takes ten steps with those options, from the same weights and with the same gradients, in
float64 and float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scope import DIFFERS, Rule, Tally
from torch.testing._internal.common_optimizers import optim_db

import tinyconv as tc
from tinyconv import optim
from tinyconv.check.reference import compare

DTYPES = ("float32", "float64")
STEPS = 10
OPTIMISERS = {info.optim_cls.__name__: info for info in optim_db if hasattr(optim, info.optim_cls.__name__)}
"""The entries of the database whose optimiser is here."""


@dataclass
class Use:
    """One use of an optimiser: its options."""

    op: str
    dtype: str
    options: dict[str, Any]
    description: str

    def __str__(self) -> str:
        return f"{self.op}({self.options}) of {self.dtype}"

    def compare(self) -> None:
        """Raise Disagreement where weights after ten steps are not PyTorch's."""
        rng = np.random.default_rng(0)
        shapes = [(3, 4), (2, 5)] if self.op == "Muon" else [(3, 4), (5,), ()]  # Muon is for matrices
        weights = [rng.standard_normal(shape).astype(self.dtype) for shape in shapes]
        slopes = [[rng.standard_normal(shape).astype(self.dtype) for shape in shapes] for _ in range(STEPS)]
        theirs = [torch.tensor(w, requires_grad=True) for w in weights]
        ours = [tc.tensor(w, requires_grad=True) for w in weights]
        their_optimiser = OPTIMISERS[self.op].optim_cls(theirs, **self.options)
        our_optimiser = getattr(optim, self.op)(ours, **{name: ours_of(value) for name, value in self.options.items()})
        for step in slopes:
            for p, q, slope in zip(ours, theirs, step, strict=True):
                p.grad, q.grad = tc.tensor(slope), torch.tensor(slope)
            our_optimiser.step()
            their_optimiser.step()
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            compare(f"parameter {i}", p.detach().numpy(), q.detach().numpy(), magnitude=1.0)


def ours_of(value: Any) -> Any:
    """An option as it is written here."""
    if isinstance(value, tuple):
        return tuple(map(ours_of, value))
    return tc.tensor(value.numpy()) if isinstance(value, torch.Tensor) else value


def uses(name: str, dtype: str) -> Iterator[Use]:
    """The options of an optimiser that the database has."""
    for sample in OPTIMISERS[name].optim_inputs_func(device="cpu"):
        yield Use(name, dtype, dict(sample.kwargs), sample.desc)


RULES = [
    Rule("Muon, whose iteration PyTorch computes in bfloat16", lambda use: True, ("Muon",), DIFFERS),
    Rule(
        "NAdam in float64, whose product of momenta PyTorch keeps in float32",
        lambda use: use.dtype == "float64",
        ("NAdam",),
        DIFFERS,
    ),
]


def judge(name: str, dtype: str) -> Tally:
    """Ask one optimiser with all options."""
    tally = Tally(name, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for use in uses(name, dtype):
            tally.ask(use, use.compare, RULES)
    return tally


def judge_all() -> list[Tally]:
    return [judge(name, dtype) for name in OPTIMISERS for dtype in DTYPES]
