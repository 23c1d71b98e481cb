"""Cases of functions with tensors that may be left out. All tensors are passed by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tinyconv as tc
from tinyconv.check.draw import Array
from tinyconv.testing.case import Case, find, find_in_torch
from tinyconv.testing.spaces.geometry import finite

EXPECTED_WARNINGS = (
    r"Using padding='same' with even kernel|Using a target size|.*they are broadcast, which is rarely"
    r"|reduction: 'mean' divides the total|kl_div: 'mean' divides"
)
"""Warnings about arguments that belong to the space all the same."""


def keyword_case(
    call: str, arrays: Mapping[str, Array], options: dict[str, Any], *, smooth: bool = True, **facts: Any
) -> Case:
    """The case of `call` with these arrays and options by name. Infinities and NaN make it not smooth."""

    def by_name(function: Callable[..., Any], tensors: Sequence[Any], options: dict[str, Any]) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=EXPECTED_WARNINGS)
            return function(**dict(zip(arrays, tensors, strict=True)), **options)

    return Case(
        call,
        list(arrays.values()),
        options,
        smooth=smooth and finite(*arrays.values()),
        ours=lambda *tensors, **options: by_name(find(tc, call), tensors, options),
        theirs=lambda *tensors, **options: by_name(find_in_torch(call), tensors, options),
        **facts,
    )
