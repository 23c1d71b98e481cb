"""What is no operand or input of an op, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import signature
from typing import Any, NoReturn

import numpy as np

from tinyconv.engine.options import number
from tinyconv.engine.variants import op_name
from tinyconv.errors import DtypeError, OptionError, shortened
from tinyconv.tensor.convert import is_tensor


def constant_input(value: Any, op: Any, inputs: tuple[Any, ...]) -> Any:
    """A number or None, which ops take as they are. DtypeError for anything else."""
    if type(value) is float or type(value) is int or value is None:
        return value
    found = number(value) if isinstance(value, np.generic) or not hasattr(value, "dtype") else None
    if found is None:
        _refuse_input(op, inputs, value)
    return found


def refuse_number(op: Any, arrays: Sequence[Any], error: AttributeError) -> None:
    """Raise DtypeError where an op's check failed because it was given a number, or None, for an array."""
    if isinstance(error.obj, int | float | None) and any(given is error.obj for given in arrays):
        _refuse_input(op, arrays, error.obj)


def _refuse_input(op: Any, inputs: Sequence[Any], value: Any) -> NoReturn:
    i = next(i for i, given in enumerate(inputs) if given is value or isinstance(given, int | float))
    names = [*signature(op.forward).parameters][1:]  # without the array library
    refuse(op_name(op), names[min(i, len(names) - 1)], inputs[i])


def refuse(name: str, what: str, value: Any) -> NoReturn:
    """Raise DtypeError where an argument should be a tensor."""
    hint = f": tinyconv.tensor({what})?" if hasattr(value, "dtype") or isinstance(value, list | tuple) else ""
    if isinstance(value, tuple) and any(hasattr(part, "_tracked") for part in value):
        hint = " of tensors: is it a batch? for images, labels in loader"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()  # an op without a name of its own has its class's
    raise DtypeError(f"{name}: {what} must be a Tensor, got {type(value).__name__}{hint}")


def check_tensor(name: str, value: Any, what: str = "input") -> Any:
    """The tensor that an argument of a function has to be; DtypeError where it is none."""
    if not is_tensor(value):
        refuse(name, what, value)
    return value


def check_not_bool(name: str, *operands: Any) -> None:
    """Raise DtypeError where NumPy has no minus: for bools."""
    if all(isinstance(x, bool) or getattr(x, "dtype", None) == np.bool_ for x in operands):
        raise DtypeError(f"{name}: bools have no minus: ~x is where x is False, x ^ y where they differ; or x.long()")


def check_exponent(name: str, exponent: Any) -> None:
    """Raise OptionError for integers to a negative integer power, which are no integers."""
    if name == "pow" and bool((exponent.array < 0).any() if is_tensor(exponent) else exponent < 0):
        raise OptionError("pow: integers to a negative integer power are no integers: x.float() ** exponent?")


def check_fits(name: str, a: Any, b: Any) -> None:
    """Raise DtypeError where a number is none that the dtype of a tensor of integers has."""
    for x, value in ((a, b), (b, a)):
        whole = isinstance(value, int) and getattr(x, "dtype", np.dtype(bool)).kind in "iu"
        if whole and not np.iinfo(x.dtype).min <= value <= np.iinfo(x.dtype).max:
            raise DtypeError(f"{name}: {shortened(value)} does not fit {x.dtype}: x.long()?")


def check_not_floating(name: str, *operands: Any) -> None:
    """Raise DtypeError for operands that have no bits to combine."""
    kinds = [str(x.dtype) if hasattr(x, "dtype") else type(x).__name__ for x in operands]
    if any(kind.startswith("float") for kind in kinds):
        raise DtypeError(f"{name}: expected bools or integers, got {' and '.join(kinds)}: compare first, (x > 0)")


def check_integers(name: str, a: Any, b: Any) -> None:
    """Raise DtypeError for operands of a shift that are no integers; what shifts may be a bool."""
    kinds = [str(x.dtype) if hasattr(x, "dtype") else type(x).__name__ for x in (a, b)]
    if kinds[0] == "bool" or any(kind.startswith("float") for kind in kinds):
        raise DtypeError(f"{name}: expected integers, got {' and '.join(kinds)}: x.long()?")


def refused(name: str, value: Any, expected: str = "a tensor or a number") -> Any:
    """NotImplemented for an operand that may know what to do with a tensor; DtypeError for one that cannot."""
    name, kind = name.lower(), type(value)
    if (
        kind.__module__ != "builtins"
        and not isinstance(value, np.generic)
        and name not in ("maximum", "minimum", "clamp")
    ):
        return NotImplemented
    hint = ": tinyconv.tensor([...])?" if isinstance(value, list | tuple) else ""
    raise DtypeError(f"{name}: expected {expected}, got {kind.__name__}{hint}")
