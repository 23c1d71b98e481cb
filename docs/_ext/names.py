"""The public names: what is documented, tested for a docstring, and listed in the reference, each on one page."""

import functools
import inspect
from pathlib import Path
from types import ModuleType

import tinyconv as tc
from tinyconv import check, data, functional, models, nn, optim, train
from tinyconv.data import transforms, vision

ROOMS = {  # by the name under which a user writes it
    "tinyconv": tc,
    "tinyconv.functional": functional,
    "tinyconv.nn": nn,
    "tinyconv.nn.init": nn.init,
    "tinyconv.nn.utils": nn.utils,
    "tinyconv.optim": optim,
    "tinyconv.optim.lr_scheduler": optim.lr_scheduler,
    "tinyconv.optim.swa_utils": optim.swa_utils,
    "tinyconv.data": data,
    "tinyconv.data.transforms": transforms,
    "tinyconv.data.vision": vision,
    "tinyconv.models": models,
    "tinyconv.train": train,
    "tinyconv.check": check,
    "tinyconv.inspect": tc.inspect,
    "tinyconv.onnx": tc.onnx,
    "tinyconv.autograd": tc.autograd,
    "tinyconv.autograd.functional": tc.autograd.functional,
}


FOREIGN = [tc.dtype, tc.finfo, tc.iinfo, tc.Size]  # NumPy's and Python's: not ours to describe
PREFIXES = {"tc": "tinyconv", "F": "tinyconv.functional"}


def exported(room):
    """The names that a room exports: its `__all__`, or else those that are made in it; and what they stand for."""
    names = getattr(room, "__all__", None)
    if names is None:
        made = {name: str(getattr(value, "__module__", "")) for name, value in vars(room).items()}
        names = [name for name, module in made.items() if module.startswith(room.__name__)]
    return {name: getattr(room, name) for name in names if not name.startswith("_")}


def described(value):
    """Whether a value is one that has a docstring: a module, a class or a function."""
    return isinstance(value, ModuleType | type) or inspect.isroutine(value)


def members(cls):
    """The public methods and properties of a class that are written in tinyconv: the name of each and its owner."""
    for base in [base for base in cls.__mro__ if base.__module__.startswith("tinyconv")]:
        for name, value in vars(base).items():
            kinds = property | functools.cached_property | classmethod | staticmethod
            if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds)):
                yield name, base


@functools.cache
def homes():
    """Each public name once: its full name, where it is documented, and the value. The first room that has it counts.

    Modules are left out: they are rooms themselves, or have none of ours in them.
    """
    found, seen = {}, set()
    for room, module in ROOMS.items():
        values = exported(module).items()
        for name, value in sorted(values, key=lambda item: item[0] != getattr(item[1], "__name__", "")):  # aliases last
            if isinstance(value, ModuleType):
                continue
            if described(value) and value not in FOREIGN:
                if id(value) in seen:
                    continue
                seen.add(id(value))
            found[f"{room}.{name}"] = value
    return found


@functools.cache
def full_names():
    """All ways to write a public name in full, with the one under which it is documented."""
    by_value = {id(value): full for full, value in homes().items() if described(value)}
    found = {full: full for full in homes()}
    for room, module in ROOMS.items():
        for name, value in exported(module).items():
            if id(value) in by_value:
                found.setdefault(f"{room}.{name}", by_value[id(value)])
    return found


def found(text, scope=""):
    """The documented name that a piece of code in a docstring stands for, or None; `scope` is where it is written."""
    text = text.removesuffix("()")
    if not all(part.isidentifier() for part in text.split(".")):
        return None
    first, _, rest = text.partition(".")
    written = f"{PREFIXES[first]}.{rest}" if first in PREFIXES and rest else text
    room = scope
    while "." in room:
        room = room.rpartition(".")[0]
        if full := full_names().get(f"{room}.{written}"):
            return full if full != scope else None
    full = full_names().get(written) or (full_names().get(f"tinyconv.{written}") if "." in written else None)
    return full if full != scope else None


def place(full):
    """The file and line where a documented name, or a method of one, is defined; None where there is no source."""
    try:
        value = tc
        for name in full.split(".")[1:]:
            value = getattr(value, name)
        return place_of(inspect.unwrap(getattr(value, "fget", value)))
    except (AttributeError, TypeError, OSError):
        return None


def place_of(value):
    """The file and line where a class or function begins."""
    return Path(inspect.getsourcefile(value)), inspect.getsourcelines(value)[1]
