"""What a notebook shows of an object: parts of HTML, for the `_repr_html_` of tensors, modules, datasets and others.

There is no script in it, every name is escaped, and colours are tints or the colour of the text, so that light and dark
pages can be read. Where a page drops styles, as GitHub does, tables and captions are left. What is large is abbreviated
before it is written.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from math import ceil, isfinite, prod
from struct import pack
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

HostArray: TypeAlias = NDArray[Any]

EDGE = 16  # an axis with more numbers than this is abbreviated in a table
MAPS, PICTURES = 12, 20  # the most heat maps, and pictures, in a row
ROWS = 100  # the most rows of a table of anything else
PIXELS = 128  # the most rows or columns of a picture
FEW = 60  # numbers: so many of three axes or more are written as tables, more are drawn
ABOVE, BELOW, WRONG = (224, 110, 30), (50, 120, 235), (200, 30, 200)  # orange, blue, and magenta for NaN and infinities

_STYLE = """<style>
.tinyconv{padding:.2em .5em;box-sizing:border-box}
.tinyconv{font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto;font-variant-numeric:tabular-nums}
.tinyconv .note{opacity:.72}
.tinyconv table.t{border-collapse:collapse;margin:.35em 0;font-size:12px}
.tinyconv table.t :is(th,td){padding:.12em .6em;border:0;white-space:nowrap;text-align:right;font-weight:400;
max-width:none;background-clip:padding-box}
.tinyconv table.t thead :is(th,td){border-bottom:1px solid #8888;opacity:.8}
.tinyconv table.t tfoot :is(th,td){border-top:1px solid #8888}
.tinyconv table.t .w{text-align:left}
.tinyconv table.n :is(th,td){font-family:ui-monospace,Menlo,Consolas,monospace;padding:.12em .45em}
.tinyconv table.n :is(thead,tbody) th{border:0;opacity:.5;font-size:10px}
.tinyconv .row{display:flex;flex-wrap:wrap;gap:.6em;margin:.4em 0;align-items:flex-end}
.tinyconv .f{display:inline-block;text-align:center;font-size:11px}
.tinyconv img{image-rendering:pixelated;display:block;margin:0 auto;max-width:none;background:none}
.tinyconv details{margin:0;max-width:64em}
.tinyconv summary{cursor:pointer}
.tinyconv .in{margin-left:.45em;padding-left:1em;border-left:1px solid #8886}
.tinyconv .leaf{padding-left:1.05em}
.tinyconv .line{display:inline-flex;gap:1.5em;justify-content:space-between;width:calc(100% - 1.3em);
vertical-align:top}
.tinyconv pre{margin:.3em 0;font-size:12px;overflow-x:auto;background:none;color:inherit}
.tinyconv .bar{display:inline-block;height:.6em;background:rgb(50 120 235/.7);border-radius:2px}
</style>"""


def page(*parts: str) -> str:
    """All parts of what one object shows, with the styles that they share."""
    return f'<div class="tinyconv">{_STYLE}\n' + "\n".join(filter(None, parts)) + "\n</div>"


def escaped(text: str) -> str:
    """Text in HTML, SVG or XML: escaped, and without the characters that XML cannot have."""
    return escape("".join(c if c.isprintable() or c == "\n" else "?" for c in text))


def caption(name: str, *notes: str) -> str:
    """What it is, and what is to be said of it: plain texts; empty ones are left out."""
    said = " · ".join(escaped(note) for note in notes if note)
    return f'<div><b>{escaped(name)}</b> <span class="note">{said}</span></div>'


def note(said: str) -> str:
    """A paragraph of plain text, not as wide as the page."""
    return f'<p class="note" style="max-width:60em;margin:.3em 0">{escaped(said)}</p>'


def folded(title: str, body: str) -> str:
    """A body under a line of text that opens and closes it."""
    return f"<details><summary>{escaped(title)}</summary>{body}</details>"


def text(content: str) -> str:
    """Lines as they are."""
    return f"<pre>{escaped(content)}</pre>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str] = (), words: int = 1) -> str:
    """Rows of plain texts under heads; the first `words` columns are aligned to the left. `Bar` is drawn."""

    def line(cells: Sequence[str], tag: str) -> str:
        side = ' class="w"'
        made = (
            f"<{tag}{side * (i < words)}>{cell.html if isinstance(cell, Bar) else escaped(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    end = f"<tfoot>{line(foot, 'th')}</tfoot>" if foot else ""
    return f'<table class="t"><thead>{line(heads, "th")}</thead>\n<tbody>{body}</tbody>{end}</table>'


class Bar(str):
    """A share as a cell of a table: the text, and a bar as long as the share of `whole`."""

    share: float = 0.0

    @classmethod
    def of(cls, part: float, whole: float) -> Bar:
        """The bar of `part`."""
        share = part / whole if whole else 0.0
        bar = cls(f"{share:.0%}")
        bar.share = share
        return bar

    @property
    def html(self) -> str:
        """The bar, and the text after it."""
        return f'{escaped(self)} <span class="bar" style="width:{60 * self.share:.0f}px"></span>'


# --- numbers ----------------------------------------------------------------------------------------------------------


def shown_array(array: Any, to_host: Any = np.asarray) -> str:
    """The values of an array: tinted numbers where it is small or flat, else a heat map for each of the first planes.

    Args:
        array: One of any library; what is shown of it is brought to the host.
        to_host: The function that does.
    """
    if not prod(array.shape):
        return ""
    if array.ndim < 2:
        return _numbers(*_shortened(array.reshape(1, -1), to_host), heads=array.ndim == 1, rows=False)
    *lead, h, w = array.shape
    written = min(h, w) <= EDGE if not lead else prod(array.shape) <= FEW
    if not lead and written:
        return _numbers(*_shortened(array, to_host))
    step = max(1, ceil(max(h, w) / PIXELS))
    places = list(islice(np.ndindex(*lead), MAPS))
    planes = [to_host(array[place] if written else array[place][::step, ::step]) for place in places]
    reach = max((_reach(plane) for plane in planes), default=0.0)
    zoom = max(1, min(12, (196 if len(places) == 1 else 64) * step // max(h, w)))
    figures = [
        _figure(_numbers(plane, reach=reach) if written else heat(plane, reach, zoom), _place(place) if lead else "")
        for place, plane in zip(places, planes, strict=True)
    ]
    left = prod(lead) - len(places)
    notes = [f"and {left:,} more"] * (left > 0) + [f"every {_nth(step)} row and column"] * (step > 1)
    if not written:
        notes.append(_legend(planes, reach))
    return f'<div class="row">{"".join(figures)}</div><div class="note">{"; ".join(notes)}</div>'


def heat(plane: HostArray, reach: float, zoom: int = 1) -> str:
    """An array (H, W) as a picture: orange above 0, blue below, strongest at `reach` from 0; what is 0 is clear."""
    values = plane.astype(np.float64)
    good = np.isfinite(values)
    share = np.abs(np.where(good, values, 0.0)) / (reach or 1.0)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where((values < 0)[..., None], BELOW, ABOVE)
    pixels[..., 3] = (255 * share.clip(0, 1)).round()
    pixels[~good] = (*WRONG, 255)
    return picture(pixels, zoom, "heat map")


def _numbers(
    shown: HostArray, at: tuple[list[int], list[int]] | None = None, heads: bool = True, rows: bool = True,
    reach: float | None = None,
) -> str:  # fmt: skip
    """A table of numbers, tinted; `at` says which rows and columns these are, and -1 that some are left out there."""
    down, along = at or (list(range(shown.shape[0])), list(range(shown.shape[1])))
    reach = _reach(shown) if reach is None else reach
    number = {-1: "…"}.get
    lines = ["".join(f"<th>{number(j, j)}</th>" for j in along)] if heads else []
    lines = [f"<thead><tr>{'<th></th>' * rows}{line}</tr></thead>" for line in lines]
    for place, i in enumerate(down):
        cells = [
            "<td>…</td>" if i < 0 or j < 0 else _cell(value, reach)
            for j, value in zip(along, shown[place], strict=True)
        ]
        head = f"<th>{number(i, i)}</th>" * rows
        lines.append(f"<tr>{head}{''.join(cells)}</tr>")
    return f'<table class="t n">{"".join(lines)}</table>'


def _cell(value: Any, reach: float) -> str:
    number = float(value)
    written = str(value) if value.dtype.kind in "iub" else f"{number:.4g}"
    share = 1.0 if not isfinite(number) else abs(number) / reach if reach else 0.0
    colour = WRONG if not isfinite(number) else BELOW if number < 0 else ABOVE
    tint = f' style="background:rgba({",".join(map(str, colour))},{0.6 * share:.2f})"' if share > 0.01 else ""
    return f"<td{tint}>{written}</td>"


def _shortened(array: Any, to_host: Any) -> tuple[HostArray, tuple[list[int], list[int]]]:
    """The first and the last of the rows and columns, -1 for those between, and the numbers, with a gap for each -1."""
    kept = []
    for axis, size in enumerate(array.shape):
        ends = list(range(size))
        if size > EDGE:
            ends = [*range(EDGE - 5), -1, *range(size - 4, size)]
            first, last = (array[part] if axis == 0 else array[:, part] for part in (slice(EDGE - 4), slice(-4, None)))
            array = np.concatenate([to_host(first), to_host(last)], axis)
            to_host = np.asarray
        kept.append(ends)
    return to_host(array), (kept[0], kept[1])


def _reach(array: HostArray) -> float:
    """The largest distance from 0 of those that are finite."""
    values = np.abs(array.astype(np.float64))
    return float(values.max(initial=0.0, where=np.isfinite(values)))


def _legend(planes: Sequence[HostArray], reach: float) -> str:
    wrong = sum(int((~np.isfinite(plane.astype(np.float64))).sum()) for plane in planes)
    sides = "orange above 0, blue below" if any((plane < 0).any() for plane in planes) else "orange above 0"
    return f"{sides}, strongest at {reach:.4g} from 0" + f", magenta: {wrong:,} NaN or infinite" * (wrong > 0)


def _place(place: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, place))}]"


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    return f"{number}{ending}"


# --- pictures ---------------------------------------------------------------------------------------------------------


def gallery(pictures: Iterable[tuple[HostArray, str]]) -> str:
    """Pictures, uint8 (C, H, W), each over its label: in colours where there are three channels, else the first."""
    figures = []
    for image, label in pictures:
        step = max(1, ceil(max(image.shape[1:]) / PIXELS))
        small = (image[:3] if len(image) >= 3 else image[:1])[:, ::step, ::step]
        zoom = max(1, 56 // max(1, *small.shape[1:]))
        figures.append(_figure(picture(small.transpose(1, 2, 0), zoom, label), label))
    return f'<div class="row">{"".join(figures)}</div>'


def _figure(body: str, label: str) -> str:
    """A picture or a table over its label; pictures stay in one line where styles are dropped."""
    tag = "span" if body.startswith("<img") else "div"
    return f'<{tag} class="f">{body} {escaped(label)}</{tag}>'


def picture(pixels: HostArray, zoom: int = 1, said: str = "") -> str:
    """Bytes (H, W, 1), (H, W, 3) or (H, W, 4) as an image in the page: grey, colours, colours with an opacity."""
    h, w, channels = pixels.shape
    rows = np.zeros((h, 1 + w * channels), np.uint8)  # a row begins with its filter, 0
    rows[:, 1:] = pixels.reshape(h, w * channels)
    head = pack(">IIBBBBB", w, h, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    source = b64encode(png).decode()
    return f'<img src="data:image/png;base64,{source}" width="{w * zoom}" height="{h * zoom}" alt="{escaped(said)}"/>'
