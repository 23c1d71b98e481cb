"""Variants: other ways to compute the same op, chosen by name.

    with tc.using(conv2d="loop"):
        model(x)

A variant replaces the whole (forward, backward) pair of an op, so what it saves is its own business; it must give what
the readable pair gives. One table serves three ends: choosing an implementation, the axis of the benchmarks, and the
matrix of the tests.

Where nothing is chosen an op runs itself, or the variant that was registered as its automatic one (`tinyconv.fast` does
that). `using("readable")` runs the ops themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinyconv import loops, ops
from tinyconv.errors import VariantError
from tinyconv.modes import mode

READABLE = "readable"
"""The op itself: a name that every op has."""


@dataclass(frozen=True)
class Variant:
    """One pair for one op: where it runs, and for which inputs."""

    name: str
    pair: Any  # a class with forward and backward
    backend: str | None = None  # "numpy", "cupy", or None for any
    applies: Callable[..., bool] | None = None  # (*arrays, **geometry): whether the pair takes these; None: all

    def takes(self, backend: str, arrays: list[Any], geometry: dict[str, Any]) -> bool:
        return self.backend in (None, backend) and (self.applies is None or self.applies(*arrays, **geometry))


_table: dict[str, dict[str, list[Variant]]] = {}  # op -> name -> one for each backend it is written for
automatic: dict[Any, list[str]] = {}
"""The variants of which the first that takes the inputs runs where none is chosen. By the op itself, not its name: a
class derived from an op is another op. What is no op (see `register_form`) goes by its name."""


def op_name(op: Any) -> str:
    """What an op is called in messages and by `using`."""
    name: str = getattr(op, "name", None) or op.__name__
    return name


def register(
    op: str,
    name: str,
    pair: Any,
    *,
    backend: str | None = None,
    applies: Callable[..., bool] | None = None,
) -> None:
    """Add the variant `name` of `op`, an op's name. It runs where `using` chooses it; else the op itself does.

    `pair` has `forward` and `backward` with the signatures of the op's own. Where `applies(*arrays, **geometry)` is
    false, or on another backend, what would run without the choice runs instead.
    """
    for half in ("forward", "backward"):
        if not callable(getattr(pair, half, None)):
            raise VariantError(f"register({op!r}, {name!r}): {pair!r} has no {half}; a variant is a whole pair")
    if name == READABLE:
        raise VariantError(f"register({op!r}, {name!r}): that name is the op's own; choose another")
    _add(op, Variant(name, pair, backend, applies))


def register_form(name: str, variant: str, form: Any, *, backend: str, by_itself: bool = True) -> None:
    """Add the variant `variant` of what is no op, and so has no backward: an optimiser's rule, the making of a batch.

    What the form takes and does is between it and its caller. It runs where `using` chooses it and, with `by_itself`,
    where nothing is chosen; else, and where it has `applies(*args)` and that is false, the readable one does.
    """
    _add(name, Variant(variant, form, backend, getattr(form, "applies", None)))
    if by_itself:
        automatic[name] = [variant]


def _add(op: str, new: Variant) -> None:
    """Put a variant into the table, in place of the one of its name and backend."""
    rows = _table.setdefault(op, {})
    rows[new.name] = [*(variant for variant in rows.get(new.name, []) if variant.backend != new.backend), new]


def form_of(name: str, backend: str, *args: Any) -> Any:
    """The form to run in place of the readable one, which `form_of` does not know: None where that is to run."""
    choice = (mode.get().variants or {}).get(name)
    return None if choice == READABLE else _taking(name, choice, automatic.get(name, ()), backend, list(args), {})


def available(op: str | None = None) -> dict[str, list[str]] | list[str]:
    """The names of the variants of `op`; without `op`, of every op that has some. All have "readable" besides."""
    if op is None:
        return {name: list(rows) for name, rows in _table.items()}
    return list(variants_of(op))


def variants_of(op: str) -> dict[str, list[Variant]]:
    if op not in _table:
        raise VariantError(f"no op {op!r} has variants; these do: {', '.join(_table)}")
    return _table[op]


@contextmanager
def using(everywhere: str | None = None, /, **choices: str) -> Iterator[None]:
    """Choose variants within a `with` block (or a decorated function): `using(conv2d="loop")`.

    `using("loop")` chooses it for every op that has a variant of that name; `using("readable")` lets every op run as it
    is written in `tinyconv.ops`. Nested blocks add up, the innermost winning. Backward uses the pair that forward used,
    wherever it is called.
    """
    if everywhere is not None:
        found = {op: everywhere for op, rows in _table.items() if everywhere in rows or everywhere == READABLE}
        if not found:
            raise VariantError(f"no op has a variant {everywhere!r}; there are {available()}")
        choices = found | choices
    for op, name in choices.items():
        if name not in variants_of(op) and name != READABLE:
            raise VariantError(f"{op} has no variant {name!r}; it has {', '.join(_table[op])}")
    now = mode.get()
    mode.set(now.but(variants=(now.variants or {}) | choices))
    try:
        yield
    finally:
        mode.set(now)


def select(op: Any, backend: str, arrays: list[Any], geometry: dict[str, Any]) -> Any:
    """The pair to run `op` with: the variant chosen for it, if that takes these inputs, else the automatic one, if that
    does, else the op itself."""
    now = mode.get()
    name = op_name(op)
    choice = now.variants.get(name) if now.variants else None
    pair = op if choice == READABLE else _taking(name, choice, automatic.get(op, ()), backend, arrays, geometry) or op
    return pair if now.profiler is None else now.profiler.timed(op, pair, arrays, geometry, now.layer)


def _taking(
    name: str, choice: str | None, otherwise: Iterable[str], backend: str, arrays: list[Any], geometry: dict[str, Any]
) -> Any:
    """The pair of the first of these variants that takes the inputs; None if none does."""
    for wanted in otherwise if choice is None else (choice, *otherwise):
        for variant in _table[name][wanted]:
            if variant.takes(backend, arrays, geometry):
                return variant.pair
    return None


def name_of(op: Any, pair: Any) -> str:
    """The name of the variant that `pair` is: "readable" for the op itself, "" for one no longer registered."""
    if pair is op:
        return READABLE
    rows = _table.get(op_name(op), {}).items()
    return next((name for name, row in rows if any(variant.pair is pair for variant in row)), "")


def has_choice(op: Any) -> bool:
    """Whether anything but the op itself may run here: a variant that was chosen, or an automatic one."""
    choice = (mode.get().variants or {}).get(op_name(op))
    return op in automatic if choice is None else choice != READABLE


for _op, _loop in ((ops.Conv2d, loops.Conv2d), (ops.MaxPool2d, loops.MaxPool2d), (ops.Linear, loops.Linear)):
    register(_op.name, "im2col", _op)
    register(_op.name, "loop", _loop, backend="numpy")
