"""Cases of functions that some tensors may be left out of: all are passed by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from tinyconv.check.draw import Array
from tinyconv.testing.case import Case
from tinyconv.testing.spaces.geometry import finite

EXPECTED_WARNINGS = r"Using padding='same' with even kernel|Using a target size|.*they are broadcast, which is rarely"
"""What is said of arguments that belong to the space all the same."""


def keyword_case(
    call: str, arrays: Mapping[str, Array], options: dict[str, Any], *, smooth: bool = True, **facts: Any
) -> Case:
    """The case of `call` with these arrays and options by name; infinities and NaN make it unfit for differences."""

    def by_name(*tensors: Any) -> Case:
        return Case(call, (), dict(zip(arrays, tensors, strict=True)) | options)

    def quietly(function: Callable[..., Any]) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=EXPECTED_WARNINGS)
            return function()

    return Case(
        call,
        list(arrays.values()),
        options,
        smooth=smooth and finite(*arrays.values()),
        ours=lambda *tensors: quietly(by_name(*tensors).function()),
        theirs=lambda *tensors: quietly(by_name(*tensors).torch_function()),
        **facts,
    )
