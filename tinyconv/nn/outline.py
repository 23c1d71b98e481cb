"""What a notebook shows of a module: its layers, one in another, with arguments and the count of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tinyconv import notebook
from tinyconv.errors import ModuleError, printable

if TYPE_CHECKING:
    from tinyconv.nn.module import Module, Parameter

OPEN, MOST, DEEPEST = 2, 500, 30  # levels that are open at first; layers, and levels, that are shown at all


def module_html(module: Module, base: type[Module]) -> str | None:
    """The module as nested lines that open and close; None for a class that does not print as `base` does."""
    if type(module).__repr__ is not base.__repr__:
        return None
    every = list(module.parameters())
    trained = [p for p in every if p.requires_grad]
    notes = [f"{_count(every)} parameters", f"{_count(trained)} of them trained" * (len(trained) < len(every))]
    notes.append("in training mode" if module.training else "in evaluation mode")
    left = [MOST]
    body = _layer("", module, base, 0, left)
    more = sum(1 for _ in module.modules()) - MOST if left[0] <= 0 else 0
    beyond = notebook.text(f"and {more:,} more") if more > 0 else ""
    return notebook.page(notebook.caption(type(module).__name__, *notes), body, beyond)


def _layer(name: str, module: Module, base: type[Module], level: int, left: list[int]) -> str:
    """A module, and under it those in it; `left` counts down how many may still be written."""
    left[0] -= 1
    if type(module).__repr__ is base.__repr__:
        said = f"{type(module).__name__}({', '.join(module.extra_repr().splitlines())})"
    else:
        said = repr(module)
    every = list(module.parameters())
    line = (
        f'<span class="line"><span><span class="note">{notebook.escaped(f"({name}): " if name else "")}</span>'
        f"{notebook.escaped(printable(said))}</span> <span>{_count(every) if every else ''}</span></span>"
    )
    inside = [_parameter(key, p) for key, p in module.named_parameters(recurse=False)]
    children = module._named_modules() if level < DEEPEST else []
    inside += [_layer(key, child, base, level + 1, left) for key, child in children if left[0] > 0]
    if not inside:
        return f'<div class="leaf">{line}</div>'
    opened = ' open=""' if level < OPEN and children else ""
    return f'<details{opened}><summary>{line}</summary><div class="in">{"".join(inside)}</div></details>'


def _parameter(name: str, p: Parameter) -> str:
    notes = [] if p.requires_grad else ["frozen"]
    try:
        said = f"{p.shape} {p.dtype}"
    except ModuleError:
        said = "no shape before the first call"
    return f'<div class="leaf note">{notebook.escaped(", ".join([f"{name} {said}", *notes]))}</div>'


def _count(parameters: Iterable[Parameter]) -> str:
    """How many numbers they hold; "?" where a lazy layer does not know it yet."""
    total, known = 0, True
    for p in parameters:
        try:
            total += p.numel()
        except ModuleError:
            known = False
    return f"{total:,}" if known else f"{total:,} + ?"
