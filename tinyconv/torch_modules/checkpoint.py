"""`tinyconv.utils.checkpoint`: forward is not computed twice here, so no memory is saved; gradients are the same.

A batch norm inside counts each batch once. PyTorch's second forward moves its running statistics a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tinyconv.errors import suggest_names

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, recorded as ever."""
    return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Iterable[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **options: Any,
) -> Any:
    """`input` through all of the functions or layers, one after the other, recorded as ever."""
    for function in functions:
        input = function(input)
    return input


suggest_names(globals())
