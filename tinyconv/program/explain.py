"""What a captured step does, for a reader: its programs as plain data, and the text that `print(step)` makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from inspect import signature
from itertools import groupby
from operator import methodcaller
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinyconv.engine.tree import TILE
from tinyconv.engine.variants import PROGRAM, name_of, op_name, place_of
from tinyconv.program.program import Instruction, Program, Value
from tinyconv.shapes import product

if TYPE_CHECKING:
    from tinyconv.program.compiled import CompiledRun
    from tinyconv.program.run import NumpyRun

NATIVE = Path(__file__).parents[1] / "fast" / "native"

# Plain data: what JSON keeps, with numbers as they are.


def described(run: NumpyRun | CompiledRun) -> dict[str, Any]:
    """A program and what runs it, in plain values. Instructions are numbered from 1, and name values by numbers."""
    program, used, tiled = run.program, run.used(), run.by_tile
    numbers = {instruction: i for i, instruction in enumerate(program.instructions, 1)}
    why = dict(program.notes)
    names = _names(program)
    values = [
        {
            "number": value.number,
            "kind": value.kind,
            "name": value.name or names.get(id(value.array), ""),
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            "memory": value.memory,
        }
        for value in program.values
    ]
    return {
        "inputs": [value.number for value in program.inputs],
        "results": [value.number for value in program.results],
        "instructions": [
            _described(instruction, section, numbers, why) | _run_by(run, instruction, instruction in tiled)
            for instruction, section in zip(program.instructions, _sections(program.instructions), strict=True)
        ],
        "values": values,
        "bytes": {kind: _bytes(program.values, kind) for kind in ("input", "held", "constant", "made")},
        "memory": None if used is None else used._asdict(),
    }


def _names(program: Program) -> dict[int, str]:
    """What the modules that ran call their arrays, by the id of the array; the outermost module ran last."""
    names: dict[int, str] = {}
    for module in program.modules:
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            names[id(tensor.array)] = name
    for leaf, gradient in program.gradients:
        if (name := names.get(id(leaf.array))) is not None:
            names[id(gradient.array)] = f"{name}.grad"
    return names


def _sections(instructions: Sequence[Instruction]) -> Iterator[str]:
    """For each instruction "host", "forward", "backward" or "update", which is what comes after the gradients."""
    now = "forward"
    last = max((i for i, one in enumerate(instructions) if one.kind == "backward"), default=-1)
    for i, one in enumerate(instructions):
        if one.kind in ("backward", "sum", "keep"):
            now = "backward"
        elif one.kind == "forward" and i < last:
            now = "forward"
        elif one.kind not in ("host", "stage") and now == "backward":
            now = "update"
        yield "host" if one.kind in ("host", "stage") else now


def _described(
    one: Instruction, section: str, numbers: Mapping[Instruction, int], why: Mapping[Instruction, str]
) -> dict[str, Any]:
    forward = one if one.of is None else one.of
    return {
        "number": numbers[one],
        "section": section,
        "kind": one.kind,
        "op": "" if one.op is None else op_name(one.op),
        "computes": [
            {"name": _name(part), "geometry": _plain(part.geometry), "layer": part.layer, "line": part.line}
            for part in forward.parts or (forward,)
        ],
        "inputs": _plain(list(one.inputs)),
        "outputs": [None if value is None else value.number for value in one.outputs],
        "of": numbers.get(forward) if one.kind == "backward" else None,
        "gradients": _gradients(one),
        "not_fused": next((why[part] for part in (one, *one.parts) if part in why), ""),
        "variant": "" if one.op is None else name_of(one.op, one.pair),
        "layer": one.layer,
        "line": one.line,
    }


def _run_by(run: NumpyRun | CompiledRun, one: Instruction, by_tile: bool) -> dict[str, Any]:
    """What runs an instruction: in C or not, and where that is to be read; and whether it goes tile by tile."""
    name = run.kernel(one)
    moves_nothing = run.executor == "compiled" and by_tile and not name
    return {
        "compiled": bool(name) or moves_nothing,
        "not_compiled": getattr(run, "without", {}).get(one.of or one, ""),
        "kernel": _place_in_c(name) if name else "" if moves_nothing else _kernel(one),
        "by_tile": by_tile,
    }


@cache
def _place_in_c(name: str) -> str:
    """`tinyconv/fast/native/maps.c:121`, where the kernel of this name begins, as a function or made by a macro."""
    begins = re.compile(rf"(static void |[A-Z]+\(){name}\b").match
    for path in sorted(NATIVE.glob("*.c")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if begins(line):
                return f"{OURS}fast/native/{path.name}:{number}"
    return f"{OURS}fast/native: {name}"


def _name(one: Instruction) -> str:
    """What an instruction computes, as functions have it: `max_pool2d`, `cross_entropy`, `Adam.step`, `norm`."""
    if one.op is not None:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op_name(one.op)).lower()
    if one.optimizer is not None:
        return f"{type(one.optimizer).__name__}.step"
    function = _function(one)
    if function is None:
        return one.kind
    if isinstance(function, methodcaller):
        return repr(function).split("'")[1]
    owner = getattr(function, "__self__", None)
    name: str = getattr(function, "__qualname__", "") or getattr(function, "__name__", type(function).__name__)
    if owner is not None and not isinstance(owner, type):
        name = f"{type(owner).__name__}.{function.__name__}"  # the object's class, not one that it inherits from
    return name.partition(".<locals>")[0].replace("._", ".").lstrip("_")


def _function(one: Instruction) -> Any:
    """The function that runs an instruction, without the arguments that it was given before; None if there is none."""
    function: Any = one.function
    if one.op is not None:
        function = getattr(one.pair, one.kind)
    elif one.optimizer is not None:
        function = one.optimizer.rule
    while isinstance(function, partial):
        function = function.func
    return function


def _kernel(one: Instruction) -> str:
    """Where that function is to be read: `tinyconv/fast/numpy/conv.py:340`; "" of one of NumPy's own."""
    function = _function(one)
    return "" if function is None or isinstance(function, np.ufunc | methodcaller) else place_of(function)


def _gradients(one: Instruction) -> list[str]:
    """The gradients that a backward makes: `dx`, `dweight`."""
    if one.kind != "backward":
        return []
    names = [name for name in signature(one.pair.forward).parameters if name != "xp"]
    return [f"d{name}" for name, value in zip(names, one.outputs, strict=False) if value is not None]


def _plain(nested: Any) -> Any:
    """Nested values as JSON has them. A value of the program is `{"value": its number}`."""
    if isinstance(nested, Value):
        return {"value": nested.number}
    if isinstance(nested, Mapping):
        return {str(key): _plain(part) for key, part in nested.items()}
    if isinstance(nested, list | tuple):
        return [_plain(part) for part in nested]
    if isinstance(nested, np.generic):
        return nested.item()
    return nested if nested is None or isinstance(nested, bool | int | float | str) else str(nested)


def _bytes(values: Iterable[Value], kind: str) -> int:
    """The bytes of the arrays of this kind; where several share memory, the largest counts."""
    sizes: dict[int, int] = {}
    for value in values:
        if value.kind == kind:
            sizes[value.memory] = max(sizes.get(value.memory, 0), product(value.shape) * value.dtype.itemsize)
    return sum(sizes.values())


# The text, made of that data alone.

WIDTH = 120
"""The most characters of a line."""
LAYER = 20
"""The most characters of a layer's path; a longer one is shown by its end."""
OURS = "tinyconv/"
HEADS = ("#", "computes", "shapes", "layer", f"kernel, in {OURS}")
TITLES = {"host": "from the host, anew for each replay", "forward": "forward", "backward": "backward"}
TITLES |= {"update": "update, and what is done after it"}
USUAL = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "ceil_mode": False, "eps": 1e-5}
USUAL |= {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0, "negative_slope": 0.01}
"""Geometry that goes without saying, because it most often is so."""


def text(data: Mapping[str, Any]) -> str:
    """The text for what `Captured.to_dict` returns."""
    lines = [f"{data['step']}: {data['says']}"]
    for i, program in enumerate(data["programs"], 1):
        lines += [
            "",
            f"program {i}: {data['step']}({program['arguments']}){'' if program['records'] else ', under no_grad'}",
        ]
        chosen = [f"{op}={name}" for op, name in program["variants"].items() if op != PROGRAM]
        if chosen:
            lines += wrap(f"variants: {', '.join(chosen)}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        if program["state"] != "replayed":
            lines += [f"  {part}" for line in program["says"].splitlines() for part in wrap(line, WIDTH - 2)]
            continue
        for about in (_executor(program), _tiles(program), _arrays(program), _memory(program)):
            lines += wrap(about, WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines += ["", *table(program)]
    return "\n".join(lines)


def _executor(program: Mapping[str, Any]) -> str:
    """What runs the program, and why; in C, which instructions NumPy runs all the same."""
    if program["executor"] == "numpy":
        return f"executor: numpy; {program['why']}"
    rest = [one for one in program["instructions"] if one["section"] != "host" and one["kernel"]]
    rest = [one for one in rest if not one["compiled"]]
    where = f"{_numbers(rest)} in NumPy, the others in C" if rest else "all instructions in C"
    return f"executor: compiled, {where}; the library is {program['why']}"


def _tiles(program: Mapping[str, Any]) -> str:
    tiled = [one for one in program["instructions"] if one["by_tile"]]
    return f"tiles: {_numbers(tiled)} for one tile of {TILE} images after another" if tiled else ""


def _numbers(found: Sequence[Mapping[str, Any]]) -> str:
    """`1-14, 16`."""
    numbers = [one["number"] for one in found]
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _arrays(program: Mapping[str, Any]) -> str:
    sizes = {kind: f"{size / 1e6:,.2f} MB" for kind, size in program["bytes"].items()}
    outside = "of the model (parameters, gradients, buffers)"
    return f"arrays: {sizes['input']} of arguments, {sizes['held']} {outside}, {sizes['made']} made by instructions"


def _memory(program: Mapping[str, Any]) -> str:
    used = program["memory"]
    if used is None:
        return "memory: planned in the first replay"
    shared, apart, whole = (f"{used[key] / 1e6:,.2f} MB" for key in ("shared", "apart", "whole"))
    blocks = "1 block" if used["blocks"] == 1 else f"{used['blocks']} blocks"
    sharing = f"where {used['arrays']} arrays share room ({apart} apart)"
    return f"memory: {shared} in {blocks}, {sharing}; {whole} for the whole batch and for sums"


class _Row(NamedTuple):
    """A line of the table, with what heads it."""

    section: str
    line: str
    cells: tuple[str, ...]


def table(data: Mapping[str, Any]) -> list[str]:
    """The lines of the table of a program that is described so."""
    for whole in (True, False):
        rows = list(_rows(data["instructions"], data["values"], whole))
        widths = [max(map(len, column)) for column in zip(HEADS, *(row.cells for row in rows), strict=True)]
        if sum(widths) + 2 * len(widths) <= WIDTH:
            break
    rows.sort(key=lambda row: row.section != "host")  # what the host does comes first; the rest stays in its order
    lines, section, line = [_aligned(HEADS, widths)], "", ""
    for row in rows:
        if row.section != section:
            section, line = row.section, ""
            lines += ["", TITLES[section]]
        if row.line != line and section in ("forward", "update"):
            line = row.line
            lines.append(line or "(in the library)")
        lines.append(_aligned(row.cells, widths))
    for key, title in (("not_fused", "not fused with what follows"), ("not_compiled", "not in C")):
        reasons: dict[str, list[Mapping[str, Any]]] = {}
        for one in data["instructions"]:
            if one[key] and one["kind"] == "forward":
                name = "" if key == "not_fused" else f"{' + '.join(part['name'] for part in one['computes'])}: "
                reasons.setdefault(f"{name}{one[key]}", []).append(one)
        lines += ["", title] if reasons else []
        lines += [f"  {_numbers(found)}  {reason}" for reason, found in reasons.items()]
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in lines]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    number, *rest = zip(cells, widths, strict=True)
    return "  ".join([f"  {number[0].rjust(number[1])}", *(cell.ljust(width) for cell, width in rest)]).rstrip()


def _rows(
    instructions: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]], whole: bool
) -> Iterator[_Row]:
    """A row for each instruction, and one for gradients that are kept in turn; `whole` with the shapes of inputs."""
    for kind, found in groupby(instructions, lambda one: one["kind"]):
        group = list(found)
        if kind == "keep":
            yield _kept(group, values)
            continue
        for one in group:
            layer = one["layer"]
            layer = layer if len(layer) <= LAYER else f"...{layer[3 - LAYER :]}"
            shapes, kernel = _shapes(one, values, whole), one["kernel"].removeprefix(OURS)
            cells = str(one["number"]), _said(one, values), shapes, layer, kernel
            yield _Row(one["section"], one["line"], cells)


def _kept(group: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Any]]) -> _Row:
    first, last = group[0]["number"], group[-1]["number"]
    size = sum(product(values[one["outputs"][0]]["shape"]) for one in group)
    number = str(first) if first == last else f"{first}-{last}"
    return _Row("backward", "", (number, "keep the gradients", f"{len(group)} of {size:,} numbers", "", ""))


def _said(one: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> str:
    """`conv2d 6@5x5 + relu + max_pool2d 2x2`."""
    if one["kind"] == "sum":
        return "sum of two gradients"
    parts = one["computes"]
    if one["kind"] != "forward":
        return " + ".join(part["name"] for part in parts)
    return " + ".join(" ".join([part["name"], *_geometry(part, one, values)]) for part in parts)


def _geometry(part: Mapping[str, Any], one: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What there is to say of the geometry: `6@5x5`, `stride 2`."""
    geometry = part["geometry"]
    if part["name"] == "conv2d":
        filters, _, *kernel = values[one["inputs"][1]["value"]]["shape"]
        yield f"{filters}@{_by(kernel)}"
    if "kernel" in geometry:
        yield _by(geometry["kernel"])
    for key, value in geometry.items():
        usual = geometry["kernel"] if key == "stride" and "kernel" in geometry else USUAL.get(key, "")
        if key in ("kernel", "shape") or value == usual:
            continue
        if isinstance(value, list) and all(isinstance(part, int) for part in value):
            yield f"{key} {value[0] if len(set(value)) == 1 else _by(value)}"
        elif isinstance(value, int | float | str):
            yield f"{key} {value}"


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _shapes(one: Mapping[str, Any], values: Sequence[Mapping[str, Any]], whole: bool) -> str:
    """`(128, 1, 28, 28) -> (128, 6, 12, 12)`; of a backward, whose it is and what it gives."""
    if one["kind"] == "backward":
        return f"of {one['of']}: {', '.join(one['gradients'])}"
    given = [values[part["value"]] for part in one["inputs"] if isinstance(part, dict)]
    if one["kind"] == "update":
        return f"{len(given)} parameters, {sum(product(value['shape']) for value in given):,} numbers"
    made = [values[number] for number in one["outputs"] if number is not None]
    if not made:
        held = [value["name"] or f"a tensor {tuple(value['shape'])}" for value in given if value["kind"] == "held"]
        return f"into {held[0]}{f', {len(held) - 1} more' if held[1:] else ''}" if held else ""
    to = f"-> {tuple(made[0]['shape'])}"
    if made[0]["dtype"] != "float32":
        to = f"{to} {made[0]['dtype']}"
    return f"{tuple(given[0]['shape'])} {to}" if given and whole else to


def html(told: Mapping[str, Any]) -> str:
    """The same data for a notebook: a table for each program, and the text under it."""
    from tinyconv import notebook

    parts = [notebook.caption(f"capture({told['step']})", told["says"])]
    heads = ["#", "", "computes", "layer", "makes", "run by", "line"]
    for program in told["programs"]:
        instructions = program.get("instructions", ())
        shapes = {value["number"]: tuple(value["shape"]) for value in program.get("values", ())}
        said = f"{len(instructions)} instructions, {program['executor']}" if instructions else program["says"]
        rows = [
            [
                str(one["number"]),
                one["section"],
                " + ".join(part["name"] for part in one["computes"]),
                one["layer"],
                "; ".join(str(shapes[number]) for number in one["outputs"] if number is not None),
                one["kernel"],
                one["line"] or "",
            ]
            for one in instructions[: notebook.ROWS]
        ]
        parts.append(notebook.caption("program", f"for {program['arguments']}", said))
        parts.append(notebook.table(heads, rows, words=len(heads)) if rows else "")
        more = len(instructions) - len(rows)
        parts.append(notebook.text(f"and {more:,} more") if more else "")
    return notebook.page(*parts, notebook.folded("as a text", notebook.text(text(told))))
