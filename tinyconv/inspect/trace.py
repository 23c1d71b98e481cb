"""trace: the tape as it will be walked, printed or drawn; and after the walk, how large the gradients were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOENT
from html import escape
from math import isfinite
from os import PathLike
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, overload
from weakref import ref

from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.context import Layer
from tinyconv.engine.nodes import Leaf, OpNode
from tinyconv.engine.tape import below
from tinyconv.engine.variants import shown
from tinyconv.engine.writes import base_of
from tinyconv.errors import DtypeError, GraphError
from tinyconv.host.files import atomic
from tinyconv.tensor.tensor import Tensor

_SHOWN = 100  # rows; of longer tapes the middle is left out


@dataclass
class Row:
    """An op on the tape."""

    number: int  # its place in the walk; 1 is the loss
    op: str
    shape: tuple[int, ...]  # of its output
    dtype: str
    saved: int  # bytes that stay alive for its backward, if no op before it keeps them already
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
    grad: float | None = None


class Trace:
    """What `trace` returns: `rows` in the order of the walk, `leaves`, `saved` bytes in all; prints as a table
    that fits the terminal; `table` gives it whole.

    It keeps no array alive, and no gradient is changed by it.
    """

    def __init__(self, rows: list[Row], leaves: list[LeafRow]) -> None:
        self.rows, self.leaves = rows, leaves
        self.saved = sum(row.saved for row in rows)
        self.walking = False  # since the gradient of the loss itself came by

    def table(self, rows: int | None = _SHOWN, width: int | None = None) -> str:
        """As text, of at most `rows` ops: of more the middle is left out; None for all of them.

        Lines are cut to `width` columns, if it is given; `print(trace)` gives that of the terminal.
        """
        dtypes = {row.dtype for row in self.rows} | {leaf.dtype for leaf in self.leaves}
        of = f"{dtypes.pop()} " if len(dtypes) == 1 else ""  # said once, in the heads
        walked = any(row.grad is not None for row in self.rows)
        lines = any(row.line for row in self.rows)
        head = ["#", "op", f"{of}output", "saved", "inputs", "made by", *["gradient"] * walked, *["line"] * lines]
        leaves = [["leaf", f"{of}values", *["gradient"] * walked]]
        leaves += [[leaf.name, _array(leaf, of), *[_norm(leaf.grad)] * walked] for leaf in self.leaves]

        def ops(short: bool) -> list[list[str]]:
            table = [head]
            for row in _ends(self.rows, rows):
                if isinstance(row, int):
                    table.append([f"... {row} more"])
                    continue
                saved, inputs = _size(row.saved) if row.saved else "", ", ".join(_inputs(row, short))
                cells = [str(row.number), row.op, _array(row, of), saved, inputs, row.layer]
                table.append([*cells, *[_norm(row.grad)] * walked, *[row.line or ""] * lines])
            return table

        text = _aligned(ops(short=False))
        if width is not None and max(map(len, text)) > width:
            text = _fitted(ops(short=True), width)
        return "\n".join([*text, "", *_aligned(leaves), "", self.summary()])

    def __repr__(self) -> str:
        return self.table(width=max(80, get_terminal_size().columns))

    def summary(self) -> str:
        """`13 ops and 10 leaves; the tape holds 5.6 MiB besides the leaves`."""
        ops, leaves = (
            f"{n} {what}" + "s" * (n != 1) for n, what in ((len(self.rows), "op"), (len(self.leaves), "leaf"))
        )
        return f"{ops} and {leaves.replace('leafs', 'leaves')}; the tape holds {_size(self.saved)} besides the leaves"

    @overload
    def to_svg(self, path: None = None) -> str: ...
    @overload
    def to_svg(self, path: str | PathLike[str]) -> None: ...
    def to_svg(self, path: str | PathLike[str] | None = None) -> str | None:
        """The tape as a picture, for light and dark pages; returned, or written to `path`."""
        return _written(_drawing(self, alone=True), path)

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str]) -> None: ...
    def to_html(self, path: str | PathLike[str] | None = None) -> str | None:
        """A page with the picture and the table; returned, or written to `path`."""
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>trace</title>\n'
            "<style>:root{color-scheme:light dark}body{font-family:system-ui,sans-serif;margin:2rem}"
            f"</style></head>\n<body>\n{self._repr_html_()}\n</body>\n</html>\n"
        )
        return _written(page, path)

    def _repr_html_(self) -> str:
        table = f"<details><summary>as a table</summary><pre>{_text(self.table())}</pre></details>"
        return f"{_drawing(self, alone=False)}\n{table}"


def trace(loss: Tensor, model: Any = None) -> Trace:
    """The tape behind `loss`, before it is walked: its ops with what they save, who ran them, and the leaves.

        t = tc.trace(loss)
        loss.backward()
        print(t)

    Printed after `loss.backward()` it has the L2 norm of every gradient too, as it came to the op or leaf; NaN and
    infinities are marked. Layers and parameters are named as the module that was called names them; where that was only
    a part of the model, give `model`.
    """
    if not isinstance(loss, Tensor):
        raise DtypeError(f"trace: expected a Tensor, got {type(loss).__name__}")
    if model is not None and not hasattr(model, "named_modules"):
        raise TypeError(f"trace: model must be a Module, got {type(model).__name__}")
    if not isinstance(loss._node, OpNode) or not loss.requires_grad:
        reason = (
            "is a leaf, so nothing leads to it"
            if loss.requires_grad
            else "does not require grad: no tensor it was computed from has requires_grad=True, or it was computed "
            "inside no_grad()"
        )
        raise GraphError(f"trace: there is no tape behind this tensor of shape {loss.shape}: it {reason}")
    nodes = below([loss._node])
    ops = [node for node in nodes if isinstance(node, OpNode)]
    for op in ops:
        try:
            op.check_saved()
        except GraphError as error:
            raise GraphError(
                f"trace: trace the loss before backward, which frees its tape, and before anything on it is written to "
                f"({error})"
            ) from error
    leaves = [node for node in nodes if isinstance(node, Leaf)]
    roots = [model] if model is not None else [node.layer.root for node in ops if node.layer is not None]
    paths = {} if model is None else {id(module): path for path, module in model.named_modules()}
    names = _leaf_names(leaves, roots)
    numbers: dict[Any, int | str] = {node: i + 1 for i, node in enumerate(ops)} | {leaf: names[leaf] for leaf in leaves}
    saved = _saved(ops, leaves)
    rows = [
        Row(
            i + 1, shown(node.op, node.pair), node.shape, str(node.dtype), saved[i],
            tuple(None if parent is None else numbers[parent] for parent in node.parents),
            _layer(node.layer, paths), node.line,
        )
        for i, node in enumerate(ops)
    ]  # fmt: skip
    leaf_rows = [LeafRow(names[leaf], leaf.shape, str(leaf.dtype)) for leaf in leaves]
    found = Trace(rows, leaf_rows)
    for op, row in zip(ops, rows, strict=True):
        _listen(op, row, found)
    for leaf, leaf_row in zip(leaves, leaf_rows, strict=True):
        _listen(leaf, leaf_row, found)
    return found


def _layer(layer: Layer | None, paths: dict[int, str]) -> str:
    if layer is None:
        return ""
    return paths.get(id(layer.module), "") or layer.path or type(layer.module).__name__


def _leaf_names(leaves: list[Leaf], roots: list[Any]) -> dict[Leaf, str]:
    known: dict[int, str] = {}
    for root in dict.fromkeys(roots):
        for name, parameter in root.named_parameters():
            known.setdefault(id(parameter._node), name)
    return {leaf: known.get(id(leaf), f"leaf {i + 1}") for i, leaf in enumerate(leaves)}


def _saved(ops: list[OpNode], leaves: list[Leaf]) -> list[int]:
    """How many bytes each op keeps alive. What several keep counts once, for the first that ran; leaves never do.

    A view keeps all of the memory that it is a part of.
    """
    counted = {id(base_of(leaf.array)) for leaf in leaves}
    sizes = []
    for node in reversed(ops):
        size = 0
        for array in _arrays([node.saved, *node.constants.values()]):
            memory = base_of(array)
            if id(memory) not in counted:
                counted.add(id(memory))
                size += memory.nbytes
        sizes.append(size)
    return sizes[::-1]


def _arrays(saved: Any) -> Iterator[Array]:
    if isinstance(saved, tuple | list):
        for part in saved:
            yield from _arrays(part)
    elif hasattr(saved, "strides"):
        yield saved


class _Listener:
    """A hook that notes the norm of the gradient that comes to a node in the walk from the loss.

    On a leaf, which outlives many traces, it takes itself away (`hooks`); other nodes die with the graph.
    """

    def __init__(self, entry: Row | LeafRow, found: Trace, hooks: list[Any] | None) -> None:
        self.entry, self.trace, self.hooks = entry, ref(found), hooks

    def __call__(self, grad: Any) -> None:
        at = self.trace()
        if at is not None and self.entry is at.rows[0]:
            at.walking = True
        if at is not None and at.walking and self.entry.grad is None:
            array = grad.array if isinstance(grad, Tensor) else grad
            xp = backend_of(array).xp
            self.entry.grad = float(xp.linalg.norm(array.astype("float64").ravel()))
        if self.hooks is not None and (at is None or at.walking):  # a walk from elsewhere may come by before
            self.hooks.remove(self)


def _listen(node: Any, entry: Row | LeafRow, found: Trace) -> None:
    if node.hooks is None:
        node.hooks = []
    node.hooks.append(_Listener(entry, found, node.hooks if node.is_leaf else None))


# --- as text --------------------------------------------------------------------------------------------------------


def _ends(rows: list[Row], most: int | None = _SHOWN) -> Iterator[Row | int]:
    """The rows; of more than `most` the first and the last, and between them how many are left out."""
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


def _inputs(row: Row, short: bool) -> Iterator[str]:
    """What the op read; in short, a parameter of its own layer without the path of that: `.weight`."""
    for name in row.inputs:
        own = short and row.layer and str(name).startswith(f"{row.layer}.")
        yield "-" if name is None else str(name)[len(row.layer) :] if own else str(name)


_LEAST = {"line": 20, "inputs": 14, "made by": 8}  # columns that may be cut, in this order, and down to where


def _fitted(table: list[list[str]], width: int) -> list[str]:
    """The table with its widest columns cut, so that no line is longer."""
    widths = _widths(table)
    over = sum(widths) + 2 * (len(widths) - 1) - width
    for name, least in _LEAST.items():
        if name in table[0]:
            i = table[0].index(name)
            less = max(0, min(over, widths[i] - least))
            widths[i], over = widths[i] - less, over - less
    cut = [[_cut(cell, n) for cell, n in zip(row, widths, strict=True)] if len(row) > 1 else row for row in table]
    return [_cut(line, width) for line in _aligned(cut)]


def _widths(table: list[list[str]]) -> list[int]:
    return [max(len(row[i]) for row in table if len(row) > 1) for i in range(len(table[0]))]


def _aligned(table: list[list[str]]) -> list[str]:
    widths = _widths(table)
    return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=False)).rstrip() for row in table]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _size(n: int) -> str:
    value, units = float(n), ["B", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 100 else f"{value:.3g} {units[0]}"


def _norm(grad: float | None) -> str:
    return "" if grad is None else f"{grad:.3g}" if isfinite(grad) else f"{grad} (!)".replace("nan", "NaN")


def _written(text: str, path: str | PathLike[str] | None) -> str | None:
    """The text, or None once it is in a file: a notebook would show what a last line gives."""
    if path is None:
        return text
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(ENOENT, "there is no such folder to write to", str(Path(path).parent))
    with atomic(Path(path)) as beside:
        beside.write_text(text, encoding="utf-8")
    return None


# --- as a picture ---------------------------------------------------------------------------------------------------

_WIDTH, _ROW, _GAP, _LANE = 500, 46, 16, 14  # of a box, the height of one, between two, between two lanes
_CHIP = 22  # the height of a leaf and the space under it
_HUES = ("#3b82f6", "#d97706", "#059669", "#a855f7", "#db2777", "#0891b2")  # legible on white and on black
_WRONG = "#dc2626"


def _drawing(found: Trace, alone: bool) -> str:
    """Rows from the loss down. An edge to the next row is an arrow between the two, any other one runs in a lane.

    In a page (not `alone`) everything has the colour of its text.
    """
    shown = list(_ends(found.rows))
    place = {row.number: i for i, row in enumerate(shown) if isinstance(row, Row)}
    cut = next((i for i, row in enumerate(shown) if isinstance(row, int)), -1)  # where all the others are
    norms = {leaf.name: leaf.grad for leaf in found.leaves}
    every = {
        (place.get(row.number, cut), place.get(to, cut))
        for row in found.rows
        for to in row.inputs
        if isinstance(to, int)
    }
    edges = sorted((i, j) for i, j in every if i != j)
    lanes = _lanes([(i, j) for i, j in edges if j > i + 1])
    left = 20 + _LANE * (1 + max(lanes.values(), default=-1)) + (12 if lanes else 0)
    tops, y = [], 58
    for row in shown:
        tops.append(y)
        y += (24 if isinstance(row, int) else _height(row)) + _GAP
    most = max((row.saved for row in found.rows), default=0)
    chips = [_chips(row, norms) for row in shown]
    width = left + _WIDTH + 40 + max((_wide(text, 11) + 16 for texts in chips for text, _ in texts), default=0)
    parts = [
        _label(left, 26, f"backward from {found.rows[0].op}", 15, 'font-weight="600"'),
        _label(left, 44, found.summary(), 11, 'fill-opacity=".65"'),
    ]
    for i, row in enumerate(shown):
        if isinstance(row, int):
            parts.append(f'<text x="{left + 20}" y="{tops[i] + 16}" font-size="12">… {row} more</text>')
        else:
            parts += _box(row, left, tops[i], most)
            parts += _leaves(chips[i], left + _WIDTH, tops[i], _height(row))
    bottoms = [top + (24 if isinstance(row, int) else _height(row)) for top, row in zip(tops, shown, strict=True)]
    for i, j in edges:
        if j == i + 1:
            x = left + 26
            parts.append(_arrow(f"M{x} {bottoms[i]}V{tops[j] - 1}", "currentColor", (x, tops[j], 0)))
            continue
        x, a, b = left - 14 - _LANE * lanes[i, j], bottoms[i] - 10, tops[j] + 10
        path = f"M{left} {a}H{x + 8}Q{x} {a} {x} {a + 8}V{b - 8}Q{x} {b} {x + 8} {b}H{left - 1}"
        parts.append(_arrow(path, _HUES[lanes[i, j] % len(_HUES)], (left, b, -90)))
    font = 'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"'
    size = f'width="{width:.0f}" height="{y}" viewBox="0 0 {width:.0f} {y}"'
    style = ""
    if alone:
        style = (
            "<style>.page{color:#1f2937}.paper{fill:#fff}@media (prefers-color-scheme:dark)"
            '{.page{color:#e5e7eb}.paper{fill:#111827}}</style>\n<rect class="paper" width="100%" height="100%"/>\n'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="page" {size} {font} fill="currentColor">\n'
        + style + "\n".join(parts) + "\n</svg>"
    )  # fmt: skip


def _lanes(edges: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """A lane for each edge, the short ones inside, so that no two in one lane meet."""
    lanes: dict[tuple[int, int], int] = {}
    taken: list[list[tuple[int, int]]] = []
    for i, j in sorted(edges, key=lambda edge: edge[1] - edge[0]):
        free = (n for n, others in enumerate(taken) if all(j <= a or b <= i for a, b in others))
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((i, j))
        lanes[i, j] = lane
    return lanes


def _height(row: Row) -> int:
    return max(_ROW, _CHIP * sum(isinstance(name, str) for name in row.inputs) + 2)


def _box(row: Row, x: int, y: int, most: int) -> list[str]:
    """One op: its name and layer, its output, what it saved as a bar, its gradient."""
    wrong = row.grad is not None and not isfinite(row.grad)
    edge = f'stroke="{_WRONG}" stroke-width="2"' if wrong else 'stroke="currentColor" stroke-opacity=".3"'
    parts = [
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_height(row)}" rx="7" fill-opacity=".05" {edge}/>',
        _label(x + 12, y + 19, row.op, 14, 'font-weight="600"', limit=180),
        _label(x + 12, y + 36, f"in {row.layer}" if row.layer else "", 11, 'fill-opacity=".65"', limit=180),
        _label(x + 200, y + 19, _sizes(row.shape), 13, limit=150),
        _label(x + 200, y + 36, row.dtype, 11, 'fill-opacity=".65"'),
    ]
    if row.saved:
        bar = max(2, round(110 * row.saved / most))
        parts += [
            _label(x + 370, y + 16, f"saves {_size(row.saved)}", 11),
            f'<rect x="{x + 370}" y="{y + 21}" width="{bar}" height="4" rx="2" fill="{_HUES[0]}"/>',
        ]
    if row.grad is not None:
        colour = f'fill="{_WRONG}" font-weight="600"' if wrong else ""
        parts.append(_label(x + 370, y + 39, f"grad {_norm(row.grad)}", 11, colour))
    return parts


def _chips(row: Row | int, norms: dict[str, float | None]) -> list[tuple[str, bool]]:
    """The leaves that an op reads, and whether their gradient is no number."""
    names = [] if isinstance(row, int) else [name for name in row.inputs if isinstance(name, str)]
    grads = [norms[name] for name in names]
    return [
        (name if grad is None else f"{name}  grad {_norm(grad)}", grad is not None and not isfinite(grad))
        for name, grad in zip(names, grads, strict=True)
    ]


def _leaves(chips: list[tuple[str, bool]], x: int, y: int, height: int) -> list[str]:
    parts, top = [], y + (height - _CHIP * len(chips)) // 2
    for i, (text, wrong) in enumerate(chips):
        middle = top + _CHIP * i + _CHIP // 2
        colour = _WRONG if wrong else _HUES[2]
        parts += [
            f'<path d="M{x} {middle}H{x + 20}" stroke="{colour}" stroke-opacity=".7"/>',
            f'<rect x="{x + 20}" y="{middle - 9}" width="{_wide(text, 11) + 16:.0f}" height="18" rx="9" '
            f'fill="{colour}" fill-opacity=".12" stroke="{colour}" stroke-opacity=".6"/>',
            _label(x + 28, middle + 4, text, 11),
        ]
    return parts


def _arrow(path: str, colour: str, tip: tuple[int, int, int]) -> str:
    x, y, turn = tip
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-opacity=".8"/>'
        f'<path d="M-4 -7L0 0L4 -7Z" transform="translate({x} {y}) rotate({turn})" fill="{colour}"/>'
    )


def _label(x: float, y: float, text: str, size: int, look: str = "", limit: float = 1e9) -> str:
    """A line of text, cut to a width."""
    if _wide(text, size) > limit:
        text = _cut(text, int(limit / _wide("x", size)))
    return f'<text x="{x}" y="{y}" font-size="{size}" {look}>{_text(text)}</text>'


def _wide(text: str, size: int) -> float:
    return 0.602 * size * len(text)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _text(text: str) -> str:
    """As XML: escaped, and without the characters that it cannot have."""
    return escape("".join(c if c.isprintable() or c == "\n" else "?" for c in text))
