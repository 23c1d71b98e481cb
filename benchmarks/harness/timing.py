"""Timing in turns: each library does a few steps, then the next, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any

PAUSE = 0.03
"""Seconds: BLAS and OpenMP let their threads spin for up to about that long before they sleep."""
WARM = 3
"""Calls before those that are measured."""


def in_turns(
    functions: Mapping[str, Callable[[], Any]],
    turns: int,
    burst: int = 4,
    rarely: Mapping[str, int] | None = None,
    warm: int = WARM,
) -> dict[str, list[list[float]]]:
    """Seconds that each call took: for each function a list of turns, each a list of `burst` calls.

    A turn begins with a pause, for the threads of the function before it go on looking for work for a while, and with
    `warm` calls that are not measured, until caches, clocks and threads are as they are in a long loop. A function that
    `rarely` gives a number n takes part in every n-th turn, with one call.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in functions}
    for turn in range(turns):
        for name, function in functions.items():
            every = (rarely or {}).get(name, 1)
            if turn % every:
                continue
            time.sleep(PAUSE)
            for _ in range(warm if every == 1 else 1):
                function()
            samples[name].append([timed(function) for _ in range(burst if every == 1 else 1)])
    return samples


def shared(samples: Mapping[str, list[list[float]]], steps: int) -> dict[str, list[list[float]]]:
    """What one step took, out of samples that took so many steps each."""
    return {name: [[seconds / steps for seconds in turn] for turn in turns] for name, turns in samples.items()}


def timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def summary(samples: Mapping[str, list[list[float]]], reference: str) -> dict[str, dict[str, Any]]:
    """For each function: the median and quartiles of its calls in milliseconds, their number, and the median and
    quartiles of its ratio to the reference, turn by turn."""
    found = {}
    for name, turns in samples.items():
        calls = [1e3 * seconds for turn in turns for seconds in turn]
        every = max(1, round(len(samples.get(reference, turns)) / len(turns)))
        of_reference = samples.get(reference, [])[::every]
        ratios = [median(ours) / median(theirs) for ours, theirs in zip(turns, of_reference, strict=False)]
        found[name] = {
            "median_ms": median(calls),
            "quartiles_ms": middle_half(calls),
            "best_ms": min(calls),
            "calls": len(calls),
            "ratio": median(ratios) if ratios else None,
            "ratio_quartiles": middle_half(ratios) if ratios else None,
        }
    return found


def middle_half(numbers: list[float]) -> list[float]:
    if len(numbers) < 2:
        return [*numbers, *numbers]
    low, _, high = quantiles(numbers, n=4)
    return [low, high]


def rounded(samples: Mapping[str, list[list[float]]]) -> dict[str, list[list[float]]]:
    """The samples in milliseconds, to a tenth of a microsecond: what a record keeps."""
    return {name: [[round(1e3 * seconds, 4) for seconds in turn] for turn in turns] for name, turns in samples.items()}
