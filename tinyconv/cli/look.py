"""`tinyconv summary`, `maps`, `report` and `curves`: look at a model, and at what it does with images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tinyconv
from tinyconv import models, nn
from tinyconv.cli.common import (
    CheckpointFile,
    DataDir,
    Json,
    Offline,
    Options,
    TestData,
    Threads,
    Weights,
    checkpoint_of,
    is_code,
    model_of_code,
    options_of,
    pictured,
    test_images,
    threads_of,
)
from tinyconv.data import ImageDataset
from tinyconv.errors import DataError, TinyconvError, printable, shortened
from tinyconv.host import limits
from tinyconv.models.cake import or_a_model
from tinyconv.saving.document import parsed
from tinyconv.shapes import Shape
from tinyconv.train import check_images, load_checkpoint, predict
from tinyconv.train.checkpoint import is_checkpoint
from tinyconv.train.loop import history_of


def summary(
    what: Annotated[
        str,
        typer.Argument(
            help="The name of a model; a cake, its layers in one line: 'conv 6 5; relu; pool 2; flatten; fc 10'; a "
            "checkpoint; or MODULE:NAME or FILE.py:NAME of a model or of a function that makes one."
        ),
    ],
    input_shape: Annotated[
        str | None,
        typer.Option("--input", help="Shape of one input, CxHxW (default: what the model is made for, else 1x28x28)."),
    ] = None,
    option: Options = None,
    form: Annotated[
        str, typer.Option("--format", help="Format to print: table, markdown, html, json, cake or python.")
    ] = "table",
    as_json: Json = False,
) -> None:
    """List the layers of a model: shapes, parameters, MACs and FLOPs, receptive fields, memory. Nothing is computed.

    The slices of a cake are conv FILTERS KERNEL, pool KERNEL, avgpool, gap, adaptive SIZE, bn, relu, dropout, flatten,
    fc FEATURES and others. They take options as NAME=VALUE: 'conv 16 3 stride=2 padding=1 bias=no'.
    """
    form = "json" if as_json else form
    forms = ("table", "markdown", "html", "json", "cake", "python")
    if form not in forms:
        raise typer.BadParameter(f"--format is one of {', '.join(forms)}, got {shortened(form)}")
    with tinyconv.device("meta"):
        model, shape = _to_summarise(what, _shape(input_shape), options_of(option or []))
    if form in ("cake", "python"):
        cake = tinyconv.Cake.of(model)
        print(cake if form == "cake" else cake.to_python(shape), end="\n" if form == "cake" else "")
        return
    try:
        found = tinyconv.summary(model, shape)
    except Exception as error:
        if isinstance(error, TinyconvError) or ":" not in what:
            raise
        from tinyconv.check.blame import raised

        raise typer.BadParameter(raised(f"{what}: its forward", error)) from None
    console = Console()
    if form == "table":
        console.print(found) if console.is_terminal else print(found)  # a file need not be cut to a width
    else:
        print({"markdown": found.to_markdown, "html": found.to_html, "json": found.to_json}[form]())


def _to_summarise(what: str, shape: Shape | None, options: dict[str, Any]) -> tuple[nn.Module, Shape]:
    """The model that `what` names or describes, and the shape of one of its inputs."""
    if what in models.MODELS:
        shape = shape or models.IMAGES.get(what, (1, 28, 28))
        fitting = models.options_for(what, shape, 10) if len(shape) == 3 else {}
        fitting.pop("num_classes", None)
        return models.create(what, **(fitting | options)), shape
    if is_checkpoint(what):
        found = load_checkpoint(Path(what))
        if is_code(found.run.model):
            raise typer.BadParameter(f"{what} is of {found.run.model}: tinyconv summary {found.run.model}")
        kind = found.run.kind()
        return models.create(found.run.model, **found.run.options), shape or kind.images.shape[1:]
    if is_code(what):
        shape = shape or (1, 28, 28)
        return model_of_code(what, shape, **options), shape
    if options:
        raise typer.BadParameter(f"--option is for a model by name: {', '.join(models.MODELS)}; or FILE.py:NET")
    shape = shape or (1, 28, 28)
    with or_a_model(what, models.MODELS):
        return tinyconv.Cake.parse(what).build(shape), shape


def _shape(text: str | None) -> Shape | None:
    if text is None:
        return None
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and len(size) < 10 and 0 < int(size) <= limits.SIZE for size in sizes[:99]):
        raise typer.BadParameter(
            f"--input is CxHxW, such as 1x28x28 or 3x32x32, got {shortened(text)}; a size is 1 to {limits.SIZE:,}"
        )
    return tuple(map(int, sizes))


def maps(
    checkpoint: CheckpointFile,
    weights: Weights = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer to show, by its name in `tinyconv summary`; may be repeated (default: all convolutions)."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--digit", "--class", help="Show a test image of this class: 7, or 'cat'.")
    ] = None,
    number: Annotated[
        int, typer.Option(min=0, help="Which test image to show, counted from 0; with --digit, which of that class.")
    ] = 0,
    image: Annotated[Path | None, typer.Option(help="Show this picture file instead of a test image.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture to write (default: CHECKPOINT-maps.png, beside the checkpoint).")
    ] = None,
    data_name: TestData = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Draw how the layers of a trained model respond to one image.

    The picture has the image, with a frame around what the strongest cell of each layer sees; the gradient of the
    winning score; and the filters and feature maps of each layer.
    """
    from tinyconv.inspect import pictures

    pictures.check_installed()
    found = checkpoint_of(checkpoint, weights, data_name)
    check_images(found.run)
    if image is not None:
        if label is not None or number:
            raise typer.BadParameter("--image names the picture to show: leave out --digit and --number")
        shown = pictured(found, [image])
    else:
        shown = _chosen(test_images(found, data_name, data_dir, offline), label, number)
    drawn = tinyconv.feature_maps(
        found.model(), shown.normalized()[0], layer, picture=shown.images[0], classes=shown.classes
    )
    path = drawn.save(out or found.path.with_name(f"{found.path.stem}-maps.png"))
    console = Console()
    truth = "" if image is not None else f"; its label is {shown.classes[int(shown.labels[0])]}"
    console.print(escape(f"classified as {drawn.classes[drawn.winner]}{truth}"), highlight=False)
    table = Table()
    for head in ("layer", "maps", "strongest cell (map, row, column)", "sees rows", "sees columns"):
        table.add_column(head)
    for one in drawn.layers:
        sees = [f"{first} to {past - 1}" for first, past in (one.rows, one.columns)]
        table.add_row(one.name, "x".join(map(str, one.maps.shape)), ", ".join(map(str, one.cell)), *sees)
    console.print(table)
    print(f"picture: {path}")


def _chosen(dataset: ImageDataset, label: str | None, number: int) -> ImageDataset:
    """A dataset of one image: number `number` of all images, or of those of the class `label`."""
    which = np.arange(len(dataset))
    if label is not None:
        if label not in dataset.classes:
            raise typer.BadParameter(f"no class {shortened(label)}; there are {', '.join(dataset.classes)}")
        which = np.flatnonzero(dataset.labels == dataset.classes.index(label))
    if number >= len(which):
        raise typer.BadParameter(f"--number {number}: there are {len(which):,} such images, numbered from 0")
    return dataset[which[number : number + 1]]


def report(
    checkpoint: CheckpointFile,
    weights: Weights = None,
    data_name: TestData = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to (default: CHECKPOINT-report, beside the checkpoint).")
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    threads: Threads = None,
) -> None:
    """Draw what a trained model gets wrong and how its training went: confusion.png, mistakes.png, curves.png."""
    from tinyconv.inspect import pictures

    pictures.check_installed()
    found = checkpoint_of(checkpoint, weights, data_name)
    dataset = test_images(found, data_name, data_dir, offline)
    folder = out or found.path.with_name(f"{found.path.stem}-report")
    with threads_of(threads):
        probabilities = predict(nn.DataParallel(found.model()), dataset.normalized())
    matrix = np.zeros((len(dataset.classes),) * 2, np.int64)
    np.add.at(matrix, (dataset.labels, probabilities.argmax(1)), 1)
    figures = {
        "confusion": pictures.confusion(matrix, dataset.classes),
        "mistakes": pictures.mistakes(dataset.images, dataset.labels, probabilities, dataset.classes),
    }
    history = found.trainer["progress"]["history"]
    if history:  # a training that was stopped in its first epoch has none
        figures["curves"] = pictures.curves({found.run.model: history})
    wrong = matrix - np.diag(np.diag(matrix))
    print(f"{wrong.sum():,} of {len(dataset):,} images wrong; the most frequent mistakes:")
    table = Table()
    for head in ("label", "classified as", "times"):
        table.add_column(head, justify="right" if head == "times" else "left")
    for place in np.argsort(-wrong, axis=None, kind="stable")[:8]:
        i, j = divmod(int(place), len(wrong))
        if wrong[i, j]:
            table.add_row(dataset.classes[i], dataset.classes[j], f"{wrong[i, j]:,}")
    Console().print(table)
    for name, figure in figures.items():
        print(f"picture: {pictures.save(figure, folder / f'{name}.png')}")


def curves(
    runs: Annotated[
        list[Path], typer.Argument(help="Checkpoints, or files with the output of `tinyconv train --json`.")
    ],
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("curves.png"),
) -> None:
    """Draw the training loss and the test accuracy of one or more runs, epoch by epoch."""
    from tinyconv.inspect import pictures

    pictures.check_installed()
    histories = {path.stem: _history(path) for path in runs}
    if len(histories) < len(runs):
        raise typer.BadParameter("two of these files have the same name, which labels a run: rename one of them")
    print(f"picture: {pictures.save(pictures.curves(histories), out)}")


def _history(path: Path) -> list[dict[str, Any]]:
    """The epochs of a run, read from its checkpoint or its log."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        history: list[dict[str, Any]] = load_checkpoint(path).trainer["progress"]["history"]
    else:
        try:
            if path.stat().st_size > limits.HEADER:
                raise ValueError(f"it has {path.stat().st_size:,} bytes")
            entries = [parsed(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            history = history_of(entry for entry in entries if "epoch" in entry and "stopped" not in entry)
        except (ValueError, TypeError) as error:
            said = printable(str(error))
            raise DataError(f"{path} is not the output of one `tinyconv train --json`: {said}") from None
    if not history:
        raise DataError(f"{path}: no epoch of this run was finished, so there is nothing to draw")
    return history
