"""The errors tinyconv raises on bad input.

Each says what was given, what was needed and the likely fix, and each is also the built-in error a NumPy or PyTorch
user would catch (`ShapeError` is a `ValueError`, and so on). On its way out of a model an error gets the path of the
layer that it came from: `features.0.conv`. The last line that Python, pytest and a notebook show of it is the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from tinyconv import torch_names
from tinyconv.user_frame import user_line


def shortened(value: Any, most: int = 80) -> str:
    """`repr(value)` for a message; of more than `most` characters only the beginning, and how many there are."""
    try:
        cut = isinstance(value, str | bytes) and len(value) > most
        text = repr(value[:most] if cut else value)
    except Exception:  # an int of more than 4,300 digits, lists in lists beyond all depth, a __repr__ that fails
        return f"a value of type {type(value).__name__}"
    if cut:
        return f"{text}... ({len(value):,} characters)"
    return text if isinstance(value, str) or len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def printable(text: str, most: int = 400) -> str:
    """A text that others wrote, for a message: control characters escaped, of a long one the beginning and the end."""
    if len(text) > most:
        text = f"{text[: most - 80]} ... {text[-80:]}"
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def listed(names: Iterable[Any], most: int = 6) -> str:
    """The first `most` names, shortened, and the number of the others: `a, b and 1,234 more`."""
    every = list(names)
    shown = ", ".join(printable(str(name), 80) for name in every[:most])
    return f"{shown} and {len(every) - most:,} more" if len(every) > most else shown


class TinyconvError(Exception):
    """Base of every error that is raised on purpose; `except tinyconv.TinyconvError` catches these and no others."""

    layer: str = ""  # dotted path of the module whose forward raised, filled in as the error leaves each module
    kind: str = ""  # repr of that innermost module

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        line = user_line()
        if line and line not in super().__str__():
            self.add_note(f"  at {line}")

    def __str__(self) -> str:
        message = Exception.__str__(self)  # not that of KeyError, which puts quotes around it
        return f"{message}\n  in layer {self.layer!r}: {self.kind}" if self.layer else message


class ShapeError(TinyconvError, ValueError):
    """Rank, channels, sizes or geometry do not fit."""


class CakeError(ShapeError):
    """A slice of a cake that cannot be read, or does not fit on what is under it.

    `slice` counts from 1; `text[start:end]` is where it stands.
    """

    def __init__(self, message: str, slice: int, start: int, end: int) -> None:
        super().__init__(message)
        self.slice, self.start, self.end = slice, start, end

    def __reduce__(self) -> Any:
        return type(self), (self.args[0], self.slice, self.start, self.end), self.__dict__


class DtypeError(TinyconvError, TypeError):
    """The dtype is not one the operation takes, or two of them differ."""


class CallError(TinyconvError, TypeError):
    """A call with arguments that do not fit, or of a `forward` that returns nothing."""


class OptionError(TinyconvError, ValueError):
    """An option is no number, or out of range; or an optimiser cannot work with a list of parameters."""


class DeviceError(TinyconvError, RuntimeError):
    """Arrays on different devices met, or the device asked for is not there."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A GPU has no memory left for what an operation makes."""


class GraphError(TinyconvError, RuntimeError):
    """The tape cannot be walked: freed, changed in place, or never recorded."""


class DataError(TinyconvError, ValueError):
    """A data file is damaged, of another format, or cannot be had from any source."""


class CheckpointError(TinyconvError, ValueError, RuntimeError):
    """A checkpoint is damaged, or belongs to another model, for which PyTorch's programs catch RuntimeError."""


class OnnxError(TinyconvError, ValueError):
    """A model cannot be written as ONNX, runtimes disagree with it, or an ONNX file cannot be read."""


class ModuleError(TinyconvError, KeyError):
    """A module cannot have a child, a parameter or a buffer of that name, or a child that holds the module itself."""


class VariantError(TinyconvError, LookupError):
    """No op, or no variant of an op, goes by that name."""


class AnomalyError(TinyconvError, FloatingPointError):
    """A NaN or an infinity was made where `detect_anomaly` looks."""


class CaptureError(TinyconvError, RuntimeError):
    """A step that is captured does what no replay could repeat."""


_ELSEWHERE = {  # what NumPy, PyTorch and others call what has another name here
    "array": "tensor",
    "asarray": "tensor",
    "as_tensor": "tensor",
    "axis": "dim",
    "concat": "cat",
    "concatenate": "cat",
    "epsilon": "eps",
    "filters": "out_channels",
    "gpu": "cuda",
    "learning_rate": "lr",
    "pool_size": "kernel_size",
    "rate": "p",
    "slope": "negative_slope",
    "units": "out_features",
}


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'Conv2d'?`, or nothing where no name is like it."""
    known, name = list(names), name[:80]
    lower = {name.lower(): name for name in known}
    instead = _ELSEWHERE.get(name.lower())
    near = [instead] if instead in known else get_close_matches(name, known, n=1, cutoff=0.7)
    near = near or [whole for whole in known if name and (whole.startswith(name) or whole.endswith(f"_{name}"))]
    near = near or [lower[found] for found in get_close_matches(name.lower(), lower, n=1, cutoff=0.7)]
    return f"; did you mean {near[0]!r}?" if near else ""


def no_such(kind: str, name: Any, names: Iterable[str]) -> str:
    """`no model 'lenet'; there are lenet5, mlp; did you mean 'lenet5'?`"""
    return f"no {kind} {shortened(name)}; there are {', '.join(names)}{did_you_mean(str(name), names)}"


def suggest_names(module: dict[str, Any], later: Mapping[str, str] | None = None) -> None:
    """Let a module, given by its `globals()`, answer a name that it lacks: with the one that is like it, or what it is.

    Modules that PyTorch has there and that live elsewhere here (`tinyconv.torch_names`) are imported when asked
    for, and so are the names in `later`, from the file of the package that stands beside each. Python itself suggests
    names too, but only where a script ends with the error, not in a notebook.
    """

    def __getattr__(name: str) -> Any:
        if place := torch_names.where(f"{module['__name__']}.{name}"):
            return import_module(f"tinyconv.{place}")
        if later and name in later:
            return getattr(import_module(f"tinyconv.{later[name]}"), name)
        raise no_attribute(module, name)

    module["__getattr__"] = __getattr__
    module.setdefault("__path__", [])  # a package: `from it import NAME` asks `tinyconv.torch_names` too


def no_attribute(module: dict[str, Any], name: str) -> AttributeError:
    """What to raise where a module, given by its `globals()`, has no such name."""
    made = (key for key, value in module.items() if getattr(value, "__module__", "").startswith("tinyconv"))
    return missing(
        f"module {torch_names.shown(module['__name__'])!r}", module["__name__"], name, module.get("__all__", made)
    )


def missing(what: str, owner: str, name: str, names: Iterable[str]) -> AttributeError:
    """What to raise where `what`, which has `names`, lacks one: the name that is like it, or what PyTorch's is."""
    hint, names = "", list(names)
    if not name.startswith("_"):
        misspelt = name.lower() in {known.lower() for known in names}
        said = "" if misspelt else import_module("tinyconv.torch_names.answers").answer(owner, name)
        hint = said or did_you_mean(name, names)
    # With an object, Python would add a suggestion of its own.
    return AttributeError(f"{what} has no attribute {name!r}{hint}", name=name, obj=None)
