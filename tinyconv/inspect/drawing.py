"""The tape as a picture: an SVG of its rows, from the loss down, and the arrows between them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from tinyconv.inspect.rows import LeafRow, Row, cut, ends, shown_bytes, shown_norm
from tinyconv.notebook import escaped

_WIDTH, _GAP, _LANE = 560, 16, 14  # of a box, between two, between two lanes
_SHAPE, _SIZES = 300, 430  # where in a box the shape stands, and the saved bytes and the gradient
_ROW, _LINE = 46, 15  # the height of a box whose title has one line under it, and of every further line
_CHIP = 22  # the height of a leaf and the space under it
_HUES = ("#3b82f6", "#d97706", "#059669", "#a855f7", "#db2777", "#0891b2")  # legible on white and on black
_WRONG = "#dc2626"


def drawing(rows: Sequence[Row], leaves: Sequence[LeafRow], summary: str, alone: bool) -> str:
    """The SVG: a box for each row, from the loss down, and beside it the leaves that the op reads.

    An edge to the next row is an arrow between the two boxes; any other edge runs in a lane on the left. A drawing that
    stands `alone` has colours for light and dark; inside a page it has the colour of the page's text.
    """
    shown = list(ends(rows))
    place = {row.number: i for i, row in enumerate(shown) if isinstance(row, Row)}
    cut = next((i for i, row in enumerate(shown) if isinstance(row, int)), -1)  # where all the others are
    norms = {leaf.name: leaf.grad for leaf in leaves}
    every = {
        (place.get(row.number, cut), place.get(to, cut)) for row in rows for to in row.inputs if isinstance(to, int)
    }
    edges = sorted((i, j) for i, j in every if i != j)
    lanes = _lanes([(i, j) for i, j in edges if j > i + 1])
    left = 20 + _LANE * (1 + max(lanes.values(), default=-1)) + (12 if lanes else 0)
    tops, y = [], 58
    for row in shown:
        tops.append(y)
        y += (24 if isinstance(row, int) else _height(row)) + _GAP
    most = max((row.saved for row in rows), default=0)
    chips = [_chips(row, norms) for row in shown]
    width = left + _WIDTH + 40 + max((_wide(text, 11) + 16 for texts in chips for text, _ in texts), default=0)
    parts = [
        _label(left, 26, f"backward from {rows[0].title}", 15, 'font-weight="600"'),
        _label(left, 44, summary, 11, 'fill-opacity=".65"'),
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
    extent = f'width="{width:.0f}" height="{y}" viewBox="0 0 {width:.0f} {y}"'
    style = ""
    if alone:
        style = (
            "<style>.page{color:#1f2937}.paper{fill:#fff}@media (prefers-color-scheme:dark)"
            '{.page{color:#e5e7eb}.paper{fill:#111827}}</style>\n<rect class="paper" width="100%" height="100%"/>\n'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="page" {extent} {font} fill="currentColor">\n'
        + style + "\n".join(parts) + "\n</svg>"
    )  # fmt: skip


def _lanes(edges: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """A lane for each edge, short edges inside, so that no two edges in one lane meet."""
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


def _lines(row: Row) -> list[tuple[int, str]]:
    """What stands under the title, and how far in: the layer, and where the op and its parts are to be read."""
    parts = [(12, f"{part.name}: {part.source}") for part in row.parts]
    return [*[(0, f"in {row.layer}")] * bool(row.layer), (0, row.source), *parts]


def _height(row: Row) -> int:
    under = _ROW + _LINE * (len(_lines(row)) - 1)
    return max(under, _CHIP * sum(isinstance(name, str) for name in row.inputs) + 2)


def _box(row: Row, x: int, y: int, most: int) -> list[str]:
    """One op: its name, variant, layer and source, its output, what it saved as a bar, its gradient."""
    wrong = row.grad is not None and not isfinite(row.grad)
    edge = f'stroke="{_WRONG}" stroke-width="2"' if wrong else 'stroke="currentColor" stroke-opacity=".3"'
    parts = [
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_height(row)}" rx="7" fill-opacity=".05" {edge}/>',
        _label(x + 12, y + 19, row.title, 14, 'font-weight="600"', limit=_SHAPE - 20),
        *(
            _label(x + 12 + indent, y + 36 + _LINE * i, line, 11, 'fill-opacity=".65"', limit=_SHAPE - 20 - indent)
            for i, (indent, line) in enumerate(_lines(row))
        ),
        _label(x + _SHAPE, y + 19, _sizes(row.shape), 13, limit=_SIZES - _SHAPE - 10),
        _label(x + _SHAPE, y + 36, row.dtype, 11, 'fill-opacity=".65"'),
    ]
    if row.saved:
        bar = max(2, round(110 * row.saved / most))
        parts += [
            _label(x + _SIZES, y + 16, f"saves {shown_bytes(row.saved)}", 11),
            f'<rect x="{x + _SIZES}" y="{y + 21}" width="{bar}" height="4" rx="2" fill="{_HUES[0]}"/>',
        ]
    if row.grad is not None:
        colour = f'fill="{_WRONG}" font-weight="600"' if wrong else ""
        parts.append(_label(x + _SIZES, y + 39, f"grad {shown_norm(row.grad)}", 11, colour))
    return parts


def _chips(row: Row | int, norms: dict[str, float | None]) -> list[tuple[str, bool]]:
    """The leaves that an op reads, and whether their gradient is NaN or infinite."""
    names = [] if isinstance(row, int) else [name for name in row.inputs if isinstance(name, str)]
    grads = [norms[name] for name in names]
    return [
        (name if grad is None else f"{name}  grad {shown_norm(grad)}", grad is not None and not isfinite(grad))
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
        text = cut(text, int(limit / _wide("x", size)))
    return f'<text x="{x}" y="{y}" font-size="{size}" {look}>{escaped(text)}</text>'


def _wide(text: str, size: int) -> float:
    return 0.602 * size * len(text)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
