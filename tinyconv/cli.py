"""The command line: `tinyconv train | eval | predict | data | doctor`.

Exit codes: 0 success; 1 bad input, data or checkpoint, with the reason on standard error; 2 wrong usage; 130 stopped by
Ctrl-C after saving (143 by SIGTERM).
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from io import TextIOWrapper
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Table
except ImportError as error:  # `import tinyconv` needs NumPy alone; the command line needs more
    raise SystemExit(f"the tinyconv command needs {error.name}: pip install 'tinyconv[train]'") from None

import numpy as np

import tinyconv
from tinyconv import data, models
from tinyconv.environment import environment, version_of
from tinyconv.errors import CheckpointError, TinyconvError
from tinyconv.train import (
    RECIPES,
    EpochReport,
    Session,
    StepReport,
    check_place,
    evaluate,
    load_checkpoint,
    new_run,
    predict,
    resume,
    start,
)

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(help="Fetch, list and verify datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

DataDir = Annotated[Path | None, typer.Option(help="Folder with the data files (torchvision's layout is understood).")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the BLAS library; LeNet gains nothing from more.")]

SYNTHETIC = "synthetic: drawn when needed, no files to fetch"


def main() -> None:
    """Run the command line; every error raised on purpose becomes one message and exit code 1."""
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the console cannot show must not end a training
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except (TinyconvError, ValueError, OSError) as error:
        if not isinstance(error, TinyconvError) and type(error) not in (ValueError, FileNotFoundError, PermissionError):
            raise
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tinyconv {tinyconv.__version__}")
        raise typer.Exit


# --- train ----------------------------------------------------------------------------------------------------------


@app.command()
def train(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(models.MODELS)}.")] = None,
    data_name: Annotated[str, typer.Option("--data", help="mnist, fashion-mnist or synthetic.")] = "mnist",
    recipe: Annotated[
        str, typer.Option(help=f"One of: {', '.join(RECIPES)}. The options below change it.")
    ] = "default",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; the peak of a one-cycle schedule.")] = None,
    schedule: Annotated[str | None, typer.Option(help="onecycle or constant.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0)] = None,
    shift: Annotated[int | None, typer.Option(min=0, help="Shift training images by up to so many pixels.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the model, as NAME=VALUE: padding=2.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, the order of the images and their shifts.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoint (default: runs/MODEL-DATA-RECIPE-seedN.safetensors, with -2, -3 ... if taken)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint that is there.")] = False,
    resume_from: Annotated[Path | None, typer.Option("--resume", help="Continue from this checkpoint.")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    device: Device = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Train a model, or continue a training, and report the test accuracy.

    A checkpoint is written after every epoch, and when Ctrl-C stops the training; --resume continues it bit for bit.
    One that is there already is left alone unless --overwrite says otherwise.
    """
    with _threads(threads):
        if resume_from is not None:
            _refuse_with_resume(context)
            session = resume(resume_from, root=data_dir, offline=offline, device=device)
        else:
            if model is None:
                raise typer.BadParameter(f"name a model ({', '.join(models.MODELS)}), or --resume a checkpoint")
            changes = {
                "epochs": epochs,
                "batch_size": batch_size,
                "lr": lr,
                "schedule": schedule,
                "weight_decay": weight_decay,
                "shift": shift,
                "label_smoothing": label_smoothing,
            }
            if model not in models.MODELS:
                raise typer.BadParameter(f"no model {model!r}; there are {', '.join(models.MODELS)}")
            try:
                chosen = replace(_recipe(recipe), **{key: value for key, value in changes.items() if value is not None})
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            run = new_run(model, data_name, seed, chosen, **_options(option or []))
            session = start(run, root=data_dir, offline=offline, device=device)
        if out is None:
            default = Path("runs", f"{model}-{data_name}-{recipe}-seed{seed}.safetensors")
            out = resume_from or (default if overwrite else _free(default))
        elif out.exists() and out != resume_from and not overwrite:
            raise CheckpointError(
                f"there is a file at {out}: continue it with --resume, replace it with --overwrite, "
                "or choose another place with --out"
            )
        check_place(out)
        if session.trainer.finished and out != resume_from:
            session.save(out)  # no epoch is left after which it would be
        with _stop_signals() as stop:
            _run(session, out, stop, as_json)


def _free(path: Path) -> Path:
    """`path`, or the first of `path`-2, `path`-3 ... that is not taken."""
    names = chain([path], (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in count(2)))
    return next(name for name in names if not name.exists())


def _recipe(name: str) -> Any:
    if name not in RECIPES:
        raise typer.BadParameter(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def _options(pairs: list[str]) -> dict[str, Any]:
    """`padding=2` -> {"padding": 2}: values are read as JSON."""
    options = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            raise typer.BadParameter(f"--option takes NAME=VALUE with a number or a list, got {pair!r}") from None
    return options


def _refuse_with_resume(context: typer.Context) -> None:
    """A checkpoint says what the training is; only where things are may be said anew."""
    allowed = {"resume_from", "out", "overwrite", "data_dir", "offline", "device", "threads", "as_json"}
    given = [
        name
        for name in sorted(context.params)
        if name not in allowed and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if given:
        raise typer.BadParameter(
            f"--resume continues the training the checkpoint describes; leave out {', '.join(given)}"
        )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of dying of them; a second one is left to do what it always does."""
    received: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def on_signal(number: int, frame: Any) -> None:
        received.append(number)
        print("stopping after this step to save; once more to abort", file=sys.stderr, flush=True)
        for sign, handler in before.items():
            signal.signal(sign, handler)

    for sign in (signal.SIGINT, signal.SIGTERM):
        before[sign] = signal.signal(sign, on_signal)
    try:
        yield received
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _run(session: Session, out: Path, stop: list[int], as_json: bool) -> None:
    trainer = session.trainer
    if trainer.finished and not as_json:
        print(f"all {trainer.epochs} epochs were trained already; to train longer, start anew with more --epochs")
    parameters = sum(parameter.numel() for parameter in session.model.parameters())
    with _display(session, parameters, as_json) as show:
        for report in trainer.run():
            if isinstance(report, EpochReport):
                session.save(out)
            show(report)
            if stop:
                break
    if stop and not trainer.finished:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)  # not while saving
        session.save(out)
        at = trainer.progress
        if as_json:
            print(json.dumps({"stopped": True, "epoch": at.epoch, "step": at.step, "checkpoint": str(out)}), flush=True)
        message = (
            f"stopped in epoch {at.epoch + 1} after step {at.step}; "
            f"continue with: tinyconv train --resume {shlex.quote(str(out))}"
        )
        Console(stderr=True).print(_escaped(message), highlight=False, soft_wrap=True)
        raise typer.Exit(128 + stop[0])
    last = trainer.progress.history[-1]
    seconds = sum(entry["seconds"] for entry in trainer.progress.history)
    final = {
        "final": True,
        "epochs": trainer.epochs,
        "train_loss": last["train_loss"],
        "test_accuracy": last["test_accuracy"],
        "seconds": seconds,
        "parameters": parameters,
        "checkpoint": str(out),
    }
    if as_json:
        print(json.dumps(final), flush=True)
    else:
        console = Console()
        console.print(
            f"test accuracy [bold]{last['test_accuracy']:.2%}[/bold] after {trainer.epochs} epochs in {seconds:.1f} s "
            f"({parameters:,} parameters)\ncheckpoint: {_escaped(str(out))}",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def _display(session: Session, parameters: int, as_json: bool) -> Iterator[Any]:
    """A function that shows reports: JSON lines, a live bar on a terminal, else a line an epoch."""
    trainer, console = session.trainer, Console()
    if as_json:
        yield lambda report: print(json.dumps(asdict(report)), flush=True) if isinstance(report, EpochReport) else None
        return
    run = session.run
    console.print(
        f"{run.model} on {run.data}: {parameters:,} parameters, {len(trainer.loader.images):,} images, "
        f"{trainer.epochs} epochs of {len(trainer.loader)} steps, seed {run.seed}",
        highlight=False,
        soft_wrap=True,
    )
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total}  loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    at = trainer.progress
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        total = trainer.epochs * len(trainer.loader)
        done = at.epoch * len(trainer.loader) + at.step
        task = progress.add_task("", total=total, completed=done, epoch=at.epoch + 1, loss=0.0)

        def show(report: StepReport | EpochReport) -> None:
            if isinstance(report, StepReport):
                progress.update(task, advance=1, epoch=report.epoch, loss=report.loss)
            else:
                progress.console.print(
                    f"epoch {report.epoch}: train loss {report.train_loss:.4f}, "
                    f"test accuracy {report.test_accuracy:.2%}, {report.seconds:.1f} s",
                    highlight=False,
                )

        yield show


# --- eval, predict --------------------------------------------------------------------------------------------------


@app.command("eval")
def eval_(
    checkpoint: Annotated[Path, typer.Argument(help="What `tinyconv train` wrote.")],
    data_name: Annotated[str | None, typer.Option("--data", help="Another dataset than it was trained on.")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    device: Device = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Test a trained model on the test images."""
    found = load_checkpoint(checkpoint)
    model = found.model().to(device=device)
    dataset = data.load(data_name or found.run.data, "test", data_dir, offline)
    with _threads(threads):
        accuracy = evaluate(model, dataset, device=device)
    if as_json:
        print(json.dumps({"model": found.run.model, "test_accuracy": accuracy, "images": len(dataset)}), flush=True)
    else:
        wrong = round((1 - accuracy) * len(dataset))
        print(f"{found.run.model}: test accuracy {accuracy:.2%} ({wrong} of {len(dataset):,} images wrong)")


@app.command("predict")
def predict_(
    checkpoint: Annotated[Path, typer.Argument(help="What `tinyconv train` wrote.")],
    pictures: Annotated[list[Path], typer.Argument(help="PNG or JPEG files of one digit (or garment) each.")],
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Say what pictures show, with the probability of every class."""
    found = load_checkpoint(checkpoint)
    model = found.model().to(device=device)
    kind = data.describe(found.run.data)
    images = np.stack([data.read_picture(path, found.run.options.get("size", 28)) for path in pictures])
    dataset = replace(kind, images=images, labels=np.zeros(len(images), np.int64))
    probabilities = predict(model, dataset.normalized(), device=device)
    console = Console()
    ink = "#" if console.options.ascii_only else "█"
    for path, row in zip(pictures, probabilities, strict=True):
        best = int(row.argmax())
        if as_json:
            shares = {name: float(p) for name, p in zip(kind.classes, row, strict=True)}
            print(json.dumps({"image": str(path), "label": kind.classes[best], "probabilities": shares}), flush=True)
            continue
        table = Table(title=f"{_escaped(str(path))}: {kind.classes[best]} ({row[best]:.1%})", title_justify="left")
        table.add_column("class")
        table.add_column("probability", justify="right")
        table.add_column("")
        for name, p in zip(kind.classes, row, strict=True):
            table.add_row(name, f"{p:.4f}", ink * round(30 * float(p)))
        console.print(table)


# --- data -----------------------------------------------------------------------------------------------------------


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(data.list_datasets())}.")] = "mnist",
    data_dir: DataDir = None,
    offline: Offline = False,
) -> None:
    """Get a dataset, if it is not there already, and verify it."""
    print(SYNTHETIC if name == "synthetic" else f"{name}: {data.fetch(name, data_dir, offline)}")


@data_app.command("list")
def data_list(data_dir: DataDir = None) -> None:
    """List the datasets and where they are."""
    for name in data.list_datasets():
        print(f"{name}: {data.locate(name, data_dir) or 'not here; get it with: tinyconv data fetch ' + name}")
    print(SYNTHETIC)


@data_app.command("verify")
def data_verify(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(data.list_datasets())}.")] = "mnist",
    data_dir: DataDir = None,
) -> None:
    """Compare every file of a dataset with its SHA-256; exit code 1 if one is missing or damaged."""
    states = data.verify(name, data_dir)
    for path, status in states:
        print(f"{path}: {status}")
    if any(status != "ok" for _, status in states):
        raise typer.Exit(1)


# --- doctor ---------------------------------------------------------------------------------------------------------


@app.command()
def doctor() -> None:
    """Print what this installation consists of: versions, BLAS, threads, GPU, data."""
    print(f"tinyconv: {tinyconv.__version__}")
    for what, found in environment().items():
        print(f"{what}: {'; '.join(found) or 'unknown' if isinstance(found, list) else found}")
    for name in ("typer", "rich", "safetensors", "pooch", "pillow", "threadpoolctl", "torch"):
        print(f"{name}: {version_of(name)}")
    for name in data.list_datasets():
        print(f"data: {name}: {data.locate(name) or 'not found'}")


# --- shared ---------------------------------------------------------------------------------------------------------


def _threads(threads: int) -> Any:
    """Limit BLAS to so many threads, in a `with` block.

    One LeNet step takes 19.3 ms with one thread and 18.3 with two, but several times as long with two on a processor
    that has something else to do, where they wait for each other.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads, user_api="blas")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
