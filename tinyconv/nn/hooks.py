"""What is called around a module's `forward`: hooks, each a function that may look at, or replace, what goes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tinyconv.errors import CallError


@dataclass(frozen=True, eq=False)
class Hook:
    """A function that a module calls. `kind` is "forward_pre" or "forward", as in the method that registered it."""

    kind: str
    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


def called(module: Any, hooks: Sequence[Hook], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What `module` gives: its `forward` between its hooks."""
    owner = module if module.replica_of is None else module.replica_of
    for hook in hooks:
        if hook.kind == "forward_pre":
            inputs, options = _replaced(hook, owner, inputs, options)
    waiting, output = [hook for hook in hooks if hook.kind == "forward"], None
    try:
        output = module.forward(*inputs, **options)
        while waiting:
            output = _looked_at(waiting.pop(0), owner, inputs, options, output)
        return output
    except Exception:
        for hook in waiting:
            if hook.always_call:
                with suppress(Exception):  # the first error is the one to be seen
                    _looked_at(hook, owner, inputs, options, output)
        raise


def _replaced(
    hook: Hook, module: Any, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after a pre-hook has seen them."""
    if not hook.with_kwargs:
        given = hook.function(module, inputs)
        return inputs if given is None else given if isinstance(given, tuple) else (given,), options
    given = hook.function(module, inputs, options)
    if given is None:
        return inputs, options
    if not isinstance(given, tuple) or len(given) != 2:
        raise CallError(
            f"{type(module).__name__}: a forward pre-hook with_kwargs=True returns None, or the arguments and the "
            f"keyword arguments (args, kwargs), got a {type(given).__name__}"
        )
    return given


def _looked_at(hook: Hook, module: Any, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
    """The output after a forward hook has seen it."""
    kwargs = (options,) if hook.with_kwargs else ()
    given = hook.function(module, inputs, *kwargs, output)
    return output if given is None else given
