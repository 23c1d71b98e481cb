"""Calls that do not fit: which argument is wrong, what was meant, and what may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dis import get_instructions
from inspect import Parameter, Signature, signature, unwrap
from itertools import pairwise
from typing import Any, Self

from tinyconv.errors import CallError, did_you_mean
from tinyconv.user_frame import place


class Checked:
    """The base of classes whose constructors say what was meant where a call does not fit: `Conv2d(strides=2)`."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        # Python says "missing" itself; and without an argument this is how a copy is made.
        wrong = misfit(cls.__init__, (None, *args), options) if args or options else ""
        if wrong:
            name = cls.__name__
            if any(hasattr(arg, "_tracked") for arg in args):  # a tensor
                wrong += f"; to apply it to a tensor, make it first and then call it: {name}(...)(x)"
            raise CallError(f"{name}: {wrong}\n  it takes {name}{written(cls.__init__, 1)}")
        return super().__new__(cls)


def misfit(function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    """What is wrong with `function(*args, **options)`, and what was meant; empty where the arguments fit."""
    asked = signature(function)
    try:
        asked.bind(*args, **options)
        return ""
    except TypeError as error:
        wrong = str(error)
    hint = meant(function, options)
    return f"got an unexpected keyword argument{hint}" if hint else wrong


def meant(function: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """` 'strides'; did you mean 'stride'?` of the first option that the function does not take, if there is one."""
    asked = signature(function).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in asked.values()):
        return ""
    unknown = next((name for name in options if name not in asked), None)
    if unknown is None:
        return ""
    return f" {unknown!r}{did_you_mean(unknown, asked)}"


def written(function: Callable[..., Any], start: int = 0) -> str:
    """The parameters of a function from number `start` on, without types: `(in_features, out_features, bias=True)`."""
    parameters = list(signature(function).parameters.values())[start:]
    return str(Signature([parameter.replace(annotation=Parameter.empty) for parameter in parameters]))


def method_of(method: Callable[..., Any]) -> str:
    """`forward(self, x) of Net (net.py:12)`."""
    function, owner = _as_written(method), type(getattr(method, "__self__", method))
    code = getattr(function, "__code__", None)
    at = f" ({place(code.co_filename, code.co_firstlineno)})" if code else ""
    return f"{function.__name__}{written(function)} of {owner.__name__}{at}"


def returns(method: Callable[..., Any]) -> bool:
    """Whether it has a `return` with something: a None that it gives may be meant, or comes from elsewhere."""
    code = getattr(_as_written(method), "__code__", None)
    if code is None:
        return True
    kinds = {"RETURN_CONST", "RETURN_VALUE"}
    ends = [pair for pair in pairwise(get_instructions(code)) if pair[1].opname in kinds]
    given = [end if end.opname == "RETURN_CONST" else before for before, end in ends]
    return any(step.opname not in ("LOAD_CONST", "RETURN_CONST") or step.argval is not None for step in given)


def miscalled(method: Callable[..., Any], error: TypeError, options: Mapping[str, Any]) -> CallError:
    """The error of a method whose arguments do not fit, with what was likely meant."""
    likely = meant(method, options).partition(";")[2]
    names = list(signature(getattr(method, "__func__", miscalled)).parameters)
    if not likely and len(names) == 1:
        likely = f" is {'an input' if names == ['self'] else '`self`'} missing in its first line?"
    return CallError(f"{error}{';' * bool(likely)}{likely}\n  it is {method_of(method)}")


def _as_written(method: Callable[..., Any]) -> Any:
    return unwrap(getattr(method, "__func__", method))
