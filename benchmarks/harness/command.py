"""The `tinyconv bench` commands: measure, show, and write the record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from harness import record
from tinyconv.arrays.backend import device_name

app = typer.Typer(
    help="Time ops and training steps beside other libraries.", no_args_is_help=True, add_completion=False
)

Out = Annotated[Path | None, typer.Option(help="File for the record (default: benchmarks/records).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record, and nothing else, to standard output.")]
Threads = Annotated[
    list[int] | None, typer.Option(min=1, help="Number of threads; repeat it for several (default: 1, 2).")
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N. A GPU has other parts and libraries.")]


@app.command()
def conv(
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 128,
    layer: Annotated[
        list[int] | None, typer.Option(help="Number of a layer, from 0; repeat it for several (default: all).")
    ] = None,
    threads: Threads = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the comparison into this PNG or SVG file.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """A convolution as loops, as a matrix product (im2col), tiled, compiled, and PyTorch's."""
    from harness import conv as bench

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
        from harness.plots import conv_plot

        conv_plot(json.loads(path.read_text(encoding="utf-8")), plot)


@app.command()
def lenet(
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="step, inference, memory or process; with --device cuda step or training. Repeat it for several "
            "(default: all)."
        ),
    ] = None,
    library: Annotated[
        list[str] | None, typer.Option(help="Library to compare with; repeat it for several (default: all).")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Images in a batch of the training step; repeat it for several.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Steps to time in each library (default: 200, and a tenth of them above batch 512; with --device cuda "
            "2000).",
        ),
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    data_dir: Annotated[Path | None, typer.Option(help="Folder with MNIST, for process and training.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the training steps into this PNG or SVG file.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """LeNet's training step, inference, memory and a whole training, beside other libraries."""
    from harness import lenet as bench
    from harness.libraries import LIBRARIES

    if _on_gpu(device, {"--threads": threads, "--plot": plot}):
        _lenet_on_gpu(device, part, library, batch, steps, data_dir, out, as_json)
        return
    _check_known("part", part, bench.PARTS)
    _check_known("library", library, LIBRARIES)
    if plot is not None and "step" not in (part or bench.PARTS):
        raise typer.BadParameter("--plot draws the training steps: add --part step")
    batches = batch or bench.BATCHES
    parts = bench.run(
        part or bench.PARTS,
        threads or (1, 2),
        batches,
        library or tuple(LIBRARIES),
        steps or 200,
        data_dir,
    )
    path = _finish("lenet", parts, out, as_json)
    if not as_json:
        _show_parts(parts)
    if plot is not None:
        from harness.plots import lenet_plot

        drawn = 128 if 128 in batches else batches[0]
        lenet_plot(json.loads(path.read_text(encoding="utf-8")), plot, drawn)


@app.command()
def cifar(
    batch: Annotated[
        int | None, typer.Option(min=2, help="Images in a batch (default: 128; with --device cuda 512).")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=4, help="Steps to time in each library (default: 20; with --device cuda 2000)."),
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of threads; repeat it for several (default: 2).")
    ] = None,
    net: Annotated[
        list[str] | None, typer.Option(help="stack or cifarnet; repeat it for both (default: both).")
    ] = None,
    device: Device = "cpu",
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """A training step of 3x3 networks with batch normalisation, beside PyTorch; on a GPU also beside others."""
    from harness import cifar as bench

    if _on_gpu(device, {"--threads": threads, "--net": net}):
        from harness import gpu

        batches = (batch,) if batch else gpu.BATCHES["cifar"]
        parts = gpu.run("cifar", device, batches, tuple(gpu.LIBRARIES["cifar"]), steps or gpu.STEPS)
        _finish("cifar-cuda", parts, out, as_json)
        if not as_json:
            _show_parts(parts)
        return
    _check_known("net", net, bench.TASKS)
    parts = bench.run(threads or (2,), batch or 128, steps or 20, net or tuple(bench.TASKS))
    _finish("cifar", parts, out, as_json)
    if not as_json:
        _show_parts({name: {"batches": [measured]} for name, measured in parts.items()})


@app.command()
def ops(
    part: Annotated[
        list[str] | None, typer.Option(help="overhead, startup or summary; repeat it for several (default: all).")
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """What one small operation costs, how long tapes scale, how long importing takes, and a summary of VGG-16."""
    from harness import ops as bench

    _check_known("part", part, bench.PARTS)
    parts = bench.run(part or bench.PARTS)
    _finish("ops", parts, out, as_json)
    if not as_json:
        for row in parts.get("overhead", {}).get("calls", ()):
            print(f"{row['op']:8s} {row['library']:9s} {row['median_us']:6.2f} us")
        for what, ms in parts.get("startup", {}).get("median_ms", {}).items():
            print(f"{what:16s} {ms:7.1f} ms")
        for row in parts.get("summary", {}).get("models", ()):
            print(f"{'summary of ' + row['model']:21s} {row['median_ms']:7.1f} ms, {row['peak_mib']:.2f} MiB")


def _on_gpu(device: str, of_the_cpu: Mapping[str, Any]) -> bool:
    """Whether `device` is a GPU. Raises BadParameter where an option is given that means nothing there."""
    if not device_name(device).startswith("cuda"):
        if device_name(device) != "cpu":
            raise typer.BadParameter(f"nothing can be timed on device {device!r}; use cpu, cuda or cuda:N")
        return False
    for option, value in of_the_cpu.items():
        if value is not None:
            raise typer.BadParameter(f"{option} is for the CPU; leave it out with --device {device}")
    return True


def _lenet_on_gpu(
    device: str,
    part: Sequence[str] | None,
    library: Sequence[str] | None,
    batch: Sequence[int] | None,
    steps: int | None,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from harness import gpu, training

    _check_known("part", part, gpu.PARTS)
    _check_known("library", library, gpu.LIBRARIES["lenet"])
    parts: dict[str, Any] = {}
    if "step" in (part or gpu.PARTS):
        names = library or tuple(gpu.LIBRARIES["lenet"])
        parts |= gpu.run("lenet", device, batch or gpu.BATCHES["lenet"], names, steps or gpu.STEPS)
    if "training" in (part or gpu.PARTS):
        parts |= training.run(device, data_dir)
    _finish("lenet-cuda", parts, out, as_json)
    if not as_json:
        _show_parts(parts)


def _check_known(what: str, names: Sequence[str] | None, known: Iterable[str]) -> None:
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"no {what} {name!r}; there are {', '.join(known)}")


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


def _show_parts(parts: Mapping[str, Any]) -> None:
    """Show parts of a record: libraries beside PyTorch as a table, other figures one a line."""
    for name, measured in parts.items():
        for one in measured.get("batches", ()):
            _show_step(f"{name}, batch {one['batch']}", one)
        if "batches" not in measured:
            for key, value in measured.items():
                if not key.startswith("samples"):
                    print(f"{name}: {key}: {value}")


def _show_step(title: str, one: Mapping[str, Any]) -> None:
    launches = one.get("launches")  # on a GPU
    heads = ["", "ms", "middle half", "samples", "of PyTorch's", "middle half"]
    table = _table(title, [*heads, "floor's share" if launches is None else "kernels"])
    for library, row in one["summary"].items():
        ratio = row["ratio"]
        cells = [
            library,
            f"{row['median_ms']:.3f}",
            _range(row["quartiles_ms"], 3),
            str(row["calls"]),
            "" if ratio is None else f"{ratio:.2f}",
            "" if ratio is None else _range(row["ratio_quartiles"], 2),
        ]
        cells.append(f"{row['floor_share']:.0%}" if launches is None else str(launches[library].get("kernels", "")))
        table.add_row(*cells)
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
