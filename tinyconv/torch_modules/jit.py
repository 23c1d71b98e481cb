"""`tinyconv.jit`: a model is not compiled from its source here, so these return what they are given.

The numbers are the same. To make a training step faster, see `tc.capture`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from tinyconv.errors import suggest_names
from tinyconv.nn.module import Module as ScriptModule

__all__ = [
    "Final", "ScriptModule", "annotate", "export", "freeze", "ignore", "interface", "is_scripting", "is_tracing",
    "optimize_for_inference", "script", "script_if_tracing", "script_method", "trace", "unused",
]  # fmt: skip
Anything = TypeVar("Anything")


def script(obj: Anything, *args: Any, **kwargs: Any) -> Anything:
    """What is given, as it is."""
    return obj


def trace(func: Anything, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Anything:
    """The model or function, as it is."""
    return func


def export(fn: Anything) -> Anything:
    """The function, as it is."""
    return fn


unused = interface = script_if_tracing = script_method = _overload = _overload_method = export


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function, as it is: `@ignore`, or `@ignore(drop=True)`."""
    return drop if callable(drop) else export


def freeze(mod: Anything, *args: Any, **kwargs: Any) -> Anything:
    """The model, as it is."""
    return mod


optimize_for_inference = freeze


def annotate(the_type: Any, the_value: Anything) -> Anything:
    """The value."""
    return the_value


def is_scripting() -> bool:
    """False: Python runs the model."""
    return False


is_tracing: Callable[[], bool] = is_scripting

suggest_names(globals())
