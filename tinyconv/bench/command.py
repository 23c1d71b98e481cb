"""The `tinyconv bench` commands: measure, show, and write the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tinyconv.bench import record

app = typer.Typer(help="Measure, beside other libraries where they are installed.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="The record (default: benchmarks/records in a checkout, else here).")]
AsJson = Annotated[bool, typer.Option("--json", help="The record on standard output, and nothing else there.")]
Threads = Annotated[list[int] | None, typer.Option(min=1, help="1 and 2 unless given; may be given again.")]


@app.command()
def conv(
    batch: Annotated[int, typer.Option(min=1)] = 128,
    layer: Annotated[
        list[int] | None, typer.Option(help="Only this layer, by number from 0; may be given again.")
    ] = None,
    threads: Threads = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG or SVG file.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """A convolution as loops, as a matrix product (im2col), tiled, compiled, and PyTorch's."""
    from tinyconv.bench import conv as bench

    if layer and not all(0 <= i < len(bench.LAYERS) for i in layer):
        names = ", ".join(f"{i}: {known.name}" for i, known in enumerate(bench.LAYERS))
        raise typer.BadParameter(f"no layer {layer}; there are {names}")
    parts = bench.run(threads or (1, 2), batch, layer)
    path = _finish("conv", parts, out, as_json)
    if not as_json:
        for name, part in parts.items():
            for measured in part["layers"]:
                _show_conv(f"{measured['layer']['name']}, batch {batch}, {name}", measured, part["peak_gflops"])
    if plot is not None:
        from tinyconv.bench.plots import conv_plot

        conv_plot(json.loads(path.read_text(encoding="utf-8")), plot)


@app.command()
def lenet(
    part: Annotated[list[str] | None, typer.Option(help="step, inference, scaling, memory or process; all.")] = None,
    library: Annotated[list[str] | None, typer.Option(help="One of those compared; may be given again; all.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Batch sizes of the training step.")] = None,
    steps: Annotated[int, typer.Option(min=8, help="Steps of each library, up to batch 512.")] = 200,
    threads: Threads = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with MNIST, for `process`.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the training steps into this PNG or SVG file.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """LeNet's training step, inference, memory and a whole training, beside other libraries."""
    from tinyconv.bench import lenet as bench
    from tinyconv.bench.libraries import LIBRARIES

    for wanted, known, what in ((part, bench.PARTS, "part"), (library, LIBRARIES, "library")):
        for name in wanted or ():
            if name not in known:
                raise typer.BadParameter(f"no {what} {name!r}; there are {', '.join(known)}")
    parts = bench.run(
        part or bench.PARTS, threads or (1, 2), batch or bench.BATCHES, library or tuple(LIBRARIES), steps, data_dir
    )
    path = _finish("lenet", parts, out, as_json)
    if not as_json:
        for name, measured in parts.items():
            _show_part(name, measured)
    if plot is not None:
        from tinyconv.bench.plots import lenet_plot

        lenet_plot(json.loads(path.read_text(encoding="utf-8")), plot)


@app.command()
def cifar(
    batch: Annotated[int, typer.Option(min=2)] = 128,
    steps: Annotated[int, typer.Option(min=4)] = 200,
    threads: Threads = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """A training step of a 3x3 network with batch normalisation, beside PyTorch."""
    from tinyconv.bench import cifar as bench

    parts = bench.run(threads or (1, 2), batch, steps)
    _finish("cifar", parts, out, as_json)
    if not as_json:
        for name, measured in parts.items():
            _show_part(name, {"batches": [measured]})


@app.command()
def ops(
    part: Annotated[list[str] | None, typer.Option(help="overhead, startup or summary; all.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """What one small operation costs, how long tapes scale, how long importing takes, and a summary of VGG-16."""
    from tinyconv.bench import ops as bench

    for name in part or ():
        if name not in bench.PARTS:
            raise typer.BadParameter(f"no part {name!r}; there are {', '.join(bench.PARTS)}")
    parts = bench.run(part or bench.PARTS)
    _finish("ops", parts, out, as_json)
    if not as_json:
        for row in parts.get("overhead", {}).get("calls", ()):
            print(f"{row['op']:8s} {row['library']:9s} {row['median_us']:6.2f} us")
        for what, ms in parts.get("startup", {}).get("median_ms", {}).items():
            print(f"{what:16s} {ms:7.1f} ms")
        for row in parts.get("summary", {}).get("models", ()):
            print(f"{'summary of ' + row['model']:21s} {row['median_ms']:7.1f} ms, {row['peak_mib']:.2f} MiB")


def _finish(name: str, parts: dict[str, Any], out: Path | None, as_json: bool) -> Path:
    path = record.save(name, parts, out)
    if as_json:
        print(path.read_text(encoding="utf-8"), end="")
    else:
        Console(stderr=True).print(f"record: {path}", highlight=False, soft_wrap=True)
    return path


def _show_conv(title: str, measured: Any, peak: float) -> None:
    table = _table(title, ["", "forward ms", "GFLOP/s", "of peak", "backward ms", "GFLOP/s", "of peak", "extra MiB"])
    for row in measured["rows"]:
        if "forward" not in row:
            table.add_row(row["name"], row.get("missing", ""))
            continue
        cells = [row["name"]]
        for half in (row["forward"], row["backward"]):
            cells += [f"{half['ms']:.2f}", f"{half['gflops']:.1f}", f"{half['gflops'] / peak:.0%}"]
        table.add_row(*cells, "n/a" if row["extra_mib"] is None else f"{row['extra_mib']:.1f}")
    Console().print(table)


def _show_part(name: str, measured: Any) -> None:
    """A part of a record as a table: libraries beside PyTorch, or one line a figure."""
    if "batches" not in measured:
        for key, value in measured.items():
            if not key.startswith("samples"):
                print(f"{name}: {key}: {value}")
        return
    for one in measured["batches"]:
        table = _table(
            f"{name}, batch {one['batch']}", ["", "ms", "middle half", "calls", "of PyTorch's", "middle half"]
        )
        for library, row in one["summary"].items():
            ratio = row["ratio"]
            table.add_row(
                library,
                f"{row['median_ms']:.3f}",
                _range(row["quartiles_ms"], 3),
                str(row["calls"]),
                "" if ratio is None else f"{ratio:.2f}",
                "" if ratio is None else _range(row["ratio_quartiles"], 2),
            )
        for library, reason in one["missing"].items():
            table.add_row(library, reason)
        Console().print(table)


def _range(pair: Sequence[float], digits: int) -> str:
    return f"{pair[0]:.{digits}f} to {pair[1]:.{digits}f}"


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    return table
