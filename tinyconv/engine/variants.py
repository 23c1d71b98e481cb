"""Variants: other ways to compute the same op, chosen by name.

    with tc.using(conv2d="loop"):
        model(x)

A variant replaces the whole (forward, backward) pair of an op, so what it saves is its own business; it must give what
the readable pair gives. One table serves three ends: choosing an implementation, the axis of the benchmarks, and the
matrix of the tests.

Where nothing is chosen an op runs its default variant, if it has one that takes the inputs (`tinyconv.fast` registers
those), else itself. `using("readable")` runs the ops themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from inspect import unwrap
from pathlib import Path
from types import CodeType
from typing import Any

from tinyconv import ops
from tinyconv.engine.context import Change, Context, context
from tinyconv.errors import VariantError, shortened
from tinyconv.ops import loops

READABLE = "readable"
"""The op itself: a name that every op has."""
KERNELS = ("compiled", "numpy", READABLE)
"""What may run. Compiled: captured steps run in the library of `tinyconv.fast.native`, where it can be had. NumPy:
they run in NumPy. Either way eager ops run the fast pairs for NumPy. Readable: every op runs as it is written in
`tinyconv.ops`, and nothing is fused."""
PROGRAM = "program"
"""The row of the table that says what captured steps run in: `using("numpy")` chooses there."""


@dataclass(frozen=True)
class Variant:
    """One pair for one op: where it runs, and for which inputs."""

    name: str
    pair: Any  # a class with forward and backward
    backend: str | None = None  # "numpy", "cupy", or None for any
    applies: Callable[..., bool] | None = None  # (*arrays, **geometry): whether the pair takes these; None: all


_table: dict[str, dict[str, list[Variant]]] = {}  # op -> name -> one for each backend it is written for
defaults: dict[Any, list[str]] = {}
"""The default variants of an op, best first: the first whose `applies` accepts the inputs runs.

The key is the op itself and not its name, because a class derived from an op is another op. A kernel (see
`register_kernel`) goes by its name. Where the kernels of the process are readable it is empty."""
_offered: list[tuple[Any, str, Iterable[str]]] = []  # the defaults: an op, the variant, and the kernels it belongs to


def _kernels_of_environment() -> str:
    given = os.environ.get("TINYCONV_KERNELS", "")
    if given and given not in KERNELS:
        said = f"TINYCONV_KERNELS is {shortened(given)}; it takes {', '.join(KERNELS)}"
        if _is_command():  # its code is imported after this, and can catch nothing
            print(f"error: {said}", file=sys.stderr)
            raise SystemExit(2)
        raise VariantError(said)
    return given or (READABLE if os.environ.get("TINYCONV_FAST") == "0" else KERNELS[0])


def _is_command() -> bool:
    """Whether this process is the tinyconv command: its script, or `python -m tinyconv`."""
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if sys.argv[:1] == ["-m"] else []
    return module[:1] == ["tinyconv"] or Path(*sys.argv[:1]).stem == "tinyconv"


_kernels = _kernels_of_environment()


def kernels() -> str:
    """Which kernels are chosen here: "compiled", "numpy" or "readable" (see `KERNELS`).

    `using` chooses for a block; else `set_kernels`, TINYCONV_KERNELS or TINYCONV_FAST=0 for the process. "compiled" is
    the default, and does not say that there is a compiler: `engine.kernels.for_programs` does.
    """
    return (context.get().variants or {}).get(PROGRAM, _kernels)


def set_kernels(name: str) -> None:
    """Choose the kernels of the process, in all its threads: "compiled", "numpy" or "readable".

        tc.variants.set_kernels("numpy")

    Raises VariantError for another name. A step that is captured keeps those that it was captured with.
    """
    global _kernels
    if name not in KERNELS:
        raise VariantError(f"set_kernels: there are {', '.join(KERNELS)}, got {shortened(name)}")
    _kernels = name
    defaults.clear()
    for key, variant, belongs_to in _offered:
        _make_default(key, variant, belongs_to)


def offer(key: Any, variant: str, to: Iterable[str] = ("compiled", "numpy")) -> None:
    """Make a registered variant a default one of an op, after those before it, where these kernels are chosen."""
    _offered.append((key, variant, to))
    _make_default(key, variant, to)


def _make_default(key: Any, variant: str, to: Iterable[str]) -> None:
    if _kernels in to and variant not in defaults.get(key, ()):
        defaults[key] = [*defaults.get(key, ()), variant]


@cache
def op_name(op: Any) -> str:
    """What messages and `using` call an op. Kept: a name that is missing takes a third of a small product."""
    name: str = getattr(op, "name", None) or op.__name__
    return name


def shown(op: Any, pair: Any) -> str:
    """An op and the variant of it that ran, as messages name them: `conv2d (tiled)`, `Mul (readable)`."""
    return f"{op_name(op)} ({name_of(op, pair) or 'a variant no longer registered'})"


def place_of(pair: Any) -> str:
    """Where the backward of an op or of a variant is to be read: `tinyconv/ops/conv.py:108`.

    The line is the first of its body, so that a debugger stops there: `b tinyconv/ops/conv.py:108`.
    """
    pair = unwrap(pair)
    backward = unwrap(getattr(pair, "backward", pair))  # an op of the user's may lack one
    code = getattr(backward, "__code__", None)
    if code is None:  # compiled, or an object that can be called
        return f"{pair.__module__}.{getattr(pair, '__qualname__', type(pair).__qualname__)}"
    body = [line for *_, line in code.co_lines() if line is not None and line > code.co_firstlineno]
    return f"{file_of(code)}:{min(body, default=code.co_firstlineno)}"


def file_of(code: CodeType) -> str:
    """The file of a piece of code: `tinyconv/ops/conv.py`; relative to the working folder too, else absolute."""
    for root in (_ROOT, os.path.realpath(os.curdir) if os.path.isdir(os.curdir) else _ROOT):
        if code.co_filename.startswith(root + os.sep):
            return Path(code.co_filename).relative_to(root).as_posix()
    return code.co_filename


_ROOT = str(Path(__file__).parents[2])


def register(
    op: str,
    name: str,
    pair: Any,
    *,
    backend: str | None = None,
    applies: Callable[..., bool] | None = None,
) -> None:
    """Add a variant of an op: another pair of functions that gives the same values and gradients.

    Args:
        op: The op's name, such as "conv2d".
        name: What `using` and messages call the variant.
        pair: A class with `forward` and `backward`, with the signatures of the op's own (see `tinyconv.ops`).
        backend: "numpy" or "cupy" where the pair works on the arrays of one library only.
        applies: `applies(*arrays, **geometry)` says whether the pair takes these inputs. Where it is false, or on
            another backend, the pair that would run without the choice runs instead.

    Raises VariantError where the pair lacks a half, or the name is "readable".

        tc.register("Exp", "mine", MyExp)
        with tc.using(Exp="mine"):
            x.exp()
    """
    for half in ("forward", "backward"):
        if not callable(getattr(pair, half, None)):
            raise VariantError(f"register({op!r}, {name!r}): {pair!r} has no {half}; a variant is a whole pair")
    if name == READABLE:
        raise VariantError(f"register({op!r}, {name!r}): that name is the op's own; choose another")
    _add(op, Variant(name, pair, backend, applies))


def register_kernel(name: str, variant: str, kernel: Any, *, backend: str) -> None:
    """Add a variant of a function without a backward: an optimiser's rule, the making of a batch.

    What the kernel takes and does is between it and its caller. It runs where `using` chooses it and where nothing is
    chosen, unless the kernels of the process are readable. Where its `applies(*args)` is false, the readable function
    runs.
    """
    _add(name, Variant(variant, kernel, backend, getattr(kernel, "applies", None)))
    offer(name, variant)


def _add(op: str, new: Variant) -> None:
    """Put a variant into the table, in place of the one of its name and backend."""
    rows = _table.setdefault(op, {})
    rows[new.name] = [*(variant for variant in rows.get(new.name, []) if variant.backend != new.backend), new]


def kernel_for(name: str, backend: str, *args: Any) -> Any:
    """The kernel that runs in place of a readable function; None where the readable one is to run."""
    choice = (context.get().variants or {}).get(name)
    return None if choice == READABLE else _taking(name, choice, defaults.get(name, ()), backend, list(args), {})


def available(op: str | None = None) -> dict[str, list[str]] | list[str]:
    """The names of the variants of `op`; without `op`, of every op that has some. Every op also has "readable".

    Raises VariantError where the op has no variants.
    """
    if op is None:
        return {name: list(rows) for name, rows in _table.items()}
    return list(variants_of(op))


def variants_of(op: str) -> dict[str, list[Variant]]:
    """The rows of the table for one op; VariantError if it has none."""
    if op not in _table:
        raise VariantError(f"no op {shortened(op)} has variants; these do: {', '.join(_table)}")
    return _table[op]


class using(Change):
    """Choose variants within a `with` block (or a decorated function).

    Args:
        everywhere: A variant to choose for every op that has one of that name. `"readable"` lets every op run as it is
            written in `tinyconv.ops`; `"numpy"` and `"compiled"` say what steps that are captured in the block run in.
        **choices: The variant for single ops: `conv2d="loop"`.

    Nested blocks add up, and the innermost wins. Backward uses the pair that forward used, wherever it is called.
    Raises VariantError for an op or a variant that does not exist.

        with tc.using(conv2d="loop"):
            y = model(x)
    """

    def __init__(self, everywhere: str | None = None, /, **choices: str) -> None:
        super().__init__()
        if everywhere is not None:
            found = {op: everywhere for op, rows in _table.items() if everywhere in rows or everywhere == READABLE}
            if not found:
                names = list(dict.fromkeys(name for rows in _table.values() for name in rows))
                there = ", ".join([READABLE, *names])
                raise VariantError(f"no op has a variant {shortened(everywhere)}; there are {there}")
            choices = found | choices
        for op, name in choices.items():
            if name not in variants_of(op) and name != READABLE:
                raise VariantError(
                    f"{op} has no variant {shortened(name)}; it has {', '.join([READABLE, *_table[op]])}"
                )
        self.choices = choices

    def changed(self, now: Context) -> Context:
        """The context with these choices in it."""
        return now.but(variants=(now.variants or {}) | self.choices)


def select(op: Any, backend: str, arrays: list[Any], geometry: dict[str, Any]) -> Any:
    """The pair to run `op` with: the variant chosen for it, else a default one, else the op itself.

    A variant that does not take these inputs is passed over.
    """
    now = context.get()
    name = op_name(op)
    choice = now.variants.get(name) if now.variants else None
    pair = op if choice == READABLE else _taking(name, choice, defaults.get(op, ()), backend, arrays, geometry) or op
    return pair if now.profiler is None else now.profiler.timed(op, pair, arrays, geometry, now.layer)


def _taking(
    name: str, choice: str | None, otherwise: Iterable[str], backend: str, arrays: list[Any], geometry: dict[str, Any]
) -> Any:
    """The pair of the first of these variants that takes the inputs; None if none does."""
    for wanted in otherwise if choice is None else (choice, *otherwise):
        for variant in _table[name][wanted]:
            here = variant.backend == backend or variant.backend is None
            if here and (variant.applies is None or variant.applies(*arrays, **geometry)):
                return variant.pair
    return None


def name_of(op: Any, pair: Any) -> str:
    """The name of the variant that `pair` is: "readable" for the op itself, "" for one no longer registered."""
    pair = unwrap(pair)  # a profiler puts a clock around it
    if pair is op:
        return READABLE
    rows = _table.get(op_name(op), {}).items()
    return next((name for name, row in rows if any(variant.pair is pair for variant in row)), "")


_table[PROGRAM] = {name: [] for name in KERNELS if name != READABLE}
for _op, _loop in ((ops.Conv2d, loops.Conv2d), (ops.MaxPool2d, loops.MaxPool2d), (ops.Linear, loops.Linear)):
    register(_op.name, "im2col", _op)
    register(_op.name, "loop", _loop, backend="numpy")
