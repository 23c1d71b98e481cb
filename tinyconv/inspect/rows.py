"""The rows of a trace: what is known of each op and leaf, and the table that they are printed as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

from tinyconv.engine.variants import op_name, place_of

SHOWN = 100  # rows; of longer tapes the middle is left out


class Part(NamedTuple):
    """An op that a fused op is made of."""

    name: str  # "Relu"
    source: str  # where its backward is to be read: "tinyconv/ops/activation.py:16"


def parts_of(op: Any) -> tuple[Part, ...]:
    """The parts of a fused op, in the order of the forward; empty for any other op."""
    return tuple(Part(op_name(part), place_of(part)) for part in getattr(op, "parts", ()))


@dataclass
class Row:
    """An op on the tape."""

    number: int  # its place in the walk; 1 is the loss
    op: str  # "conv2d"
    variant: str  # the pair that ran: "readable", "tiled"; "" for one that is no longer registered
    title: str  # both, as messages name them: "conv2d (tiled)"
    source: str  # where the readable backward of the op stands, whichever pair ran: "tinyconv/ops/conv.py:102"
    parts: tuple[Part, ...]  # what a fused op is made of
    shape: tuple[int, ...]  # of its output
    dtype: str
    saved: int  # bytes that stay alive for its backward; not those that an op before it keeps already
    inputs: tuple[int | str | None, ...]  # numbers of rows, names of leaves; None for what needs no gradient
    layer: str  # the path of the module that ran it; the class of the model itself
    line: str | None  # of the user's program; known inside detect_anomaly
    grad: float | None = None  # L2 norm of the gradient of its output, once walked


@dataclass
class LeafRow:
    """A leaf of the tape: a parameter, or an input that requires grad."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    grad: float | None = None  # L2 norm of what the walk brought it


def table(rows: Sequence[Row], leaves: Sequence[LeafRow], most: int | None, width: int | None, places: bool) -> str:
    """The ops, an empty line, and the leaves, in the fullest form that keeps to `width` columns."""
    dtypes = {row.dtype for row in rows} | {leaf.dtype for leaf in leaves}
    of = f"{dtypes.pop()} " if len(dtypes) == 1 else ""  # said once, in the heads
    walked = any(row.grad is not None for row in rows)
    table: list[Line] = [["leaf", f"{of}values", *["gradient"] * walked]]
    table += [[leaf.name, _array(leaf, of), *[shown_norm(leaf.grad)] * walked] for leaf in leaves]
    if width is None:
        text = _aligned(_ops(rows, most, of, walked, places, _Form(place=places)))
    else:
        for form in _forms(rows):
            ops = _ops(rows, most, of, walked, places, form)
            text = _aligned(ops)
            if max(map(len, text)) <= width:
                break
        else:
            text = _fitted(ops, width)
    return "\n".join([*text, "", *_aligned(table)])


Line: TypeAlias = list[str] | str  # cells, or a text across all columns


class _Form(NamedTuple):
    """How much room a table takes."""

    inputs: int = 0  # 0: whole names; 1: `.weight` for a parameter of the row's own layer; 2: `…` for these and `-`
    place: bool = False  # a column for where an op is to be read
    line: bool = True  # a column for the user's lines; False: they stand under their rows
    longest: int = 1000  # a title longer than this stands above its row


_LONGEST = 16  # a title up to this length never stands above its row


def _forms(rows: Sequence[Row]) -> Iterator[_Form]:
    """From wide to narrow."""
    yield _Form(place=True)
    yield _Form()
    longest, *shorter = sorted({len(row.title) for row in rows}, reverse=True)
    for n in (longest, *(n for n in shorter if n > _LONGEST), _LONGEST):
        yield _Form(inputs=1, line=False, longest=n)
        yield _Form(inputs=2, line=False, longest=n)


def _ops(rows: Sequence[Row], most: int | None, of: str, walked: bool, places: bool, form: _Form) -> list[Line]:
    lined = form.line and any(row.line for row in rows)
    heads = ["#", "op", f"{of}output", "saved", "inputs", "made by", *["gradient"] * walked]
    table: list[Line] = [[*heads, *["read it"] * form.place, *["line"] * lined]]
    indent = len(str(len(rows))) + 2
    for row in ends(rows, most):
        if isinstance(row, int):
            table.append(f"... {row} more")
            continue
        number, title = str(row.number), row.title
        if len(title) > form.longest:
            table.append(f"{number:{indent}}{title}")
            number = title = ""
        saved, inputs = shown_bytes(row.saved) if row.saved else "", ", ".join(_inputs(row, form.inputs))
        cells = [number, title, _array(row, of), saved, inputs, row.layer, *[shown_norm(row.grad)] * walked]
        table.append([*cells, *[row.source] * form.place, *[row.line or ""] * lined])
        below = [row.source] * (places and not form.place)
        below += [f"{part.name}: {part.source}" for part in row.parts]
        below += [row.line] if row.line and not lined else []
        table += [" " * (indent + 2) + text for text in below]
    return table


def ends(rows: Sequence[Row], most: int | None = SHOWN) -> Iterator[Row | int]:
    """All rows, or the first and the last of them, `most` in all, and between these how many are left out."""
    if most is None or len(rows) <= most:
        yield from rows
        return
    last = most // 2
    yield from rows[: most - last]
    yield len(rows) - most
    yield from rows[len(rows) - last :]


def _array(entry: Row | LeafRow, of: str) -> str:
    """Shape and dtype, unless that is in the head."""
    return str(entry.shape) if of else f"{entry.dtype} {entry.shape}"


def _inputs(row: Row, short: int) -> list[str]:
    """What the op read, as `_Form.inputs` says; `…` is what is left out."""
    names: list[str] = []
    for name in row.inputs:
        own = bool(row.layer) and str(name).startswith(f"{row.layer}.")
        if short == 2 and (own or name is None):
            names += ["…"] * ("…" not in names)
        else:
            names.append("-" if name is None else str(name)[len(row.layer) :] if short and own else str(name))
    return names


def _fitted(table: list[Line], width: int) -> list[str]:
    """The table with its widest columns cut, so that no line is longer."""
    heads, widths = table[0], _widths(table)
    over = sum(widths) + 2 * (len(widths) - 1) - width
    for name, least in (("inputs", 10), ("made by", 8)):  # in this order, and down to there
        i = heads.index(name)
        less = max(0, min(over, widths[i] - least))
        widths[i], over = widths[i] - less, over - less
    layer = heads.index("made by")
    cut_table = [
        line
        if isinstance(line, str)
        else [cut(cell, n, i == layer) for i, (cell, n) in enumerate(zip(line, widths, strict=True))]
        for line in table
    ]
    return [cut(line, width) for line in _aligned(cut_table)]


def _widths(table: list[Line]) -> list[int]:
    return [
        max(map(len, column)) for column in zip(*(line for line in table if not isinstance(line, str)), strict=True)
    ]


def _aligned(table: list[Line]) -> list[str]:
    widths = _widths(table)
    return [
        line
        if isinstance(line, str)
        else "  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]


def cut(text: str, length: int, front: bool = False) -> str:
    """The text in at most `length` characters; cut in `front` where, as in a path, the end says more."""
    if len(text) <= length:
        return text
    return "…" + text[len(text) - length + 1 :] if front else text[: length - 1] + "…"


def shown_bytes(n: int) -> str:
    """Bytes: `5.57 KiB`."""
    value, units = float(n), ["B", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 100 else f"{value:.3g} {units[0]}"


def shown_norm(grad: float | None) -> str:
    """The norm of a gradient; one that is not finite is marked."""
    return "" if grad is None else f"{grad:.3g}" if isfinite(grad) else f"{grad} (!)".replace("nan", "NaN")
