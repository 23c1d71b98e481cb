"""The command line: `tinyconv train | eval | predict | summary | maps | report | gradcheck | bench | data | doctor`.

Exit codes: 0 success; 1 a wrong gradient; 1 bad input, data or checkpoint, with the reason on standard error; 2 wrong
usage; 130 stopped by Ctrl-C after saving (143 by SIGTERM).
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import chain, count, islice, takewhile
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
from tinyconv import data, models, nn
from tinyconv.bench.command import app as bench_app
from tinyconv.environment import environment, version_of
from tinyconv.errors import CakeError, CheckpointError, ShapeError, TinyconvError, VariantError
from tinyconv.shapes import Shape
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
    usual_recipe,
)

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(help="Fetch, list and verify datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")

DataDir = Annotated[Path | None, typer.Option(help="Folder with the data files (torchvision's layout is understood).")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads to work with (default: the cores there are; the result is the same).")
]

PROFILED = 20  # steps
DATASETS = ", ".join(data.list_datasets())
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
        said = "\n".join([str(error), *getattr(error, "__notes__", [])])
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(said)}", highlight=False, soft_wrap=True)
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
    data_name: Annotated[str, typer.Option("--data", help=f"{DATASETS} or synthetic.")] = "mnist",
    recipe: Annotated[
        str | None,
        typer.Option(help=f"One of: {', '.join(RECIPES)} (default: by model and data). The options below change it."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; the peak of a one-cycle schedule.")] = None,
    schedule: Annotated[str | None, typer.Option(help="onecycle or constant.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0)] = None,
    shift: Annotated[int | None, typer.Option(min=0, help="Shift training images by up to so many pixels.")] = None,
    crop: Annotated[
        int | None, typer.Option(min=0, help="Crop training images at random, mirrored by so many pixels around.")
    ] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror every other training image.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam (AdamW with weight decay) or sgd.")] = None,
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
    threads: Threads = None,
    as_json: Json = False,
    profile: Annotated[
        bool, typer.Option("--profile", help=f"Say where the time of the first {PROFILED} steps went, and go on.")
    ] = False,
    profile_trace: Annotated[
        Path | None, typer.Option(help="Profile, and write a trace for chrome://tracing or Perfetto to this file.")
    ] = None,
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
                "crop": crop,
                "flip": flip,
                "label_smoothing": label_smoothing,
                "optimizer": optimizer,
            }
            if model not in models.MODELS:
                raise typer.BadParameter(f"no model {model!r}; there are {', '.join(models.MODELS)}")
            recipe = recipe or usual_recipe(model, data_name)
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
        if profile_trace is not None:
            check_place(profile_trace)
        with _stop_signals() as stop:
            _run(session, out, stop, as_json, _profiled(session, profile_trace) if profile or profile_trace else None)


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
    allowed |= {"profile", "profile_trace"}
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


def _profiled(session: Session, trace: Path | None) -> Iterator[StepReport | EpochReport]:
    """The training's reports, after the first of which some steps are profiled."""
    reports = session.trainer.run()
    yield from islice(reports, 1)  # what is done once is not what the others are made of
    with tinyconv.profile() as measured:
        yield from islice(reports, PROFILED)
    print(f"\n{measured}\n", file=sys.stderr)
    if trace is not None:
        measured.chrome_trace(trace)
        print(f"trace: {trace}", file=sys.stderr)
    yield from reports


def _run(
    session: Session, out: Path, stop: list[int], as_json: bool, reports: Iterator[StepReport | EpochReport] | None
) -> None:
    trainer = session.trainer
    if trainer.finished and not as_json:
        print(f"all {trainer.epochs} epochs were trained already; to train longer, start anew with more --epochs")
    parameters = sum(parameter.numel() for parameter in session.model.parameters())
    with _display(session, parameters, as_json) as show:
        for report in reports or trainer.run():
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
                left = (trainer.epochs - report.epoch) * report.seconds / 60
                progress.console.print(
                    f"epoch {report.epoch}: train loss {report.train_loss:.4f}, "
                    f"test accuracy {report.test_accuracy:.2%}, {report.seconds:.1f} s"
                    + (f", about {left:.0f} min left" if left > 2 else ""),
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
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Test a trained model on the test images."""
    found = load_checkpoint(checkpoint)
    model = found.model().to(device=device)
    dataset = data.load(data_name or found.run.data, "test", data_dir, offline)
    with _threads(threads):
        accuracy = evaluate(nn.DataParallel(model), dataset, device=device)
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


# --- summary --------------------------------------------------------------------------------------------------------


@app.command()
def summary(
    what: Annotated[
        str,
        typer.Argument(
            help="A cake ('conv 6 5; relu; pool 2; flatten; fc 10'), the name of a model, a checkpoint, or MODULE:NAME "
            "or FILE.py:NAME of a model, or a function that makes one."
        ),
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input", help="One input, CxHxW (default: what the model is made for, or 1x28x28).")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the model, as NAME=VALUE: padding=2.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, markdown, html, json, cake or python.")] = "table",
    as_json: Json = False,
) -> None:
    """Show the layers of a model: shapes, parameters, MACs and FLOPs, receptive fields, memory. Nothing is computed.

    Slices of a cake: conv FILTERS KERNEL, pool KERNEL, avgpool, gap, adaptive SIZE, bn, relu, dropout, flatten, fc
    FEATURES and others, with options as NAME=VALUE: 'conv 16 3 stride=2 padding=1 bias=no'.
    """
    form = "json" if as_json else form
    forms = ("table", "markdown", "html", "json", "cake", "python")
    if form not in forms:
        raise typer.BadParameter(f"--format is one of {', '.join(forms)}, got {form!r}")
    with tinyconv.device("meta"):
        model, shape = _to_summarise(what, _shape(input_shape), _options(option or []))
    if form in ("cake", "python"):
        cake = tinyconv.Cake.of(model)
        print(cake if form == "cake" else cake.to_python(shape), end="\n" if form == "cake" else "")
        return
    found = tinyconv.summary(model, shape)
    console = Console()
    if form == "table":
        console.print(found) if console.is_terminal else print(found)  # a file has no width to keep to
    else:
        print({"markdown": found.to_markdown, "html": found.to_html, "json": found.to_json}[form]())


def _to_summarise(what: str, shape: Shape | None, options: dict[str, Any]) -> tuple[nn.Module, Shape]:
    """The model that is meant, and the shape of one of its inputs."""
    if what in models.MODELS:
        usual = {"cifarnet": (3, 32, 32), "alexnet": (3, 224, 224), "vgg16": (3, 224, 224), "resnet50": (3, 224, 224)}
        shape = shape or usual.get(what, (1, 28, 28))
        fitting = models.options_for(what, shape, 10) if len(shape) == 3 else {}
        fitting.pop("num_classes", None)
        return models.create(what, **(fitting | options)), shape
    if what.endswith(".safetensors") or (Path(what).is_file() and not what.endswith(".py")):
        found = load_checkpoint(Path(what))
        kind = data.describe(found.run.data)
        return found.model(), shape or kind.images.shape[1:]
    if options:
        raise typer.BadParameter(f"--option belongs to a model of these: {', '.join(models.MODELS)}")
    if ":" in what:
        loaded = _load(what)
        model = loaded if isinstance(loaded, nn.Module) else loaded()
        if not isinstance(model, nn.Module):
            raise typer.BadParameter(f"{what} is no model, and made a {type(model).__name__} when it was called")
        return model, shape or (1, 28, 28)
    shape = shape or (1, 28, 28)
    try:
        return tinyconv.Cake.parse(what).build(shape), shape
    except CakeError as error:
        near = get_close_matches(what, models.MODELS, n=1)
        if near:
            error.add_note(f"or was a model meant: {', '.join(near)}?")
        raise


def _shape(text: str | None) -> Shape | None:
    if text is None:
        return None
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise typer.BadParameter(f"--input is CxHxW, such as 1x28x28 or 3x32x32, got {text!r}")
    return tuple(map(int, sizes))


# --- gradcheck ------------------------------------------------------------------------------------------------------


@app.command(context_settings={"ignore_unknown_options": True})
def gradcheck(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ops, or one and its options, or MODULE:NAME or FILE.py:NAME of an op of yours; all ops unless given."
        ),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="How many to check of each op.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    with_torch: Annotated[bool, typer.Option("--torch", help="Compare with PyTorch too, which must be there.")] = False,
    as_json: Json = False,
) -> None:
    """Check gradients against finite differences; exit code 1 when something is wrong.

    Without a name, all ops; `tinyconv gradcheck conv2d --stride 2 --padding 1,2` is one with options, and
    `tinyconv gradcheck mymodule:MyOp --beta 2.0` one of your own, from the current folder.

    The options of an op are given like those of the command: --padding same, --dim -1, --keepdim. Arguments are drawn.
    """
    from tinyconv.check.blame import place_of, raised
    from tinyconv.check.own import OpArgumentError
    from tinyconv.check.table import known

    names, options = _split_options(what or [])
    own = [name for name in names if ":" in name or "." in name]
    try:
        for name in names:
            if name not in own:
                known(name)
    except VariantError as error:
        raise typer.BadParameter(f"{error}; an op of your own is MODULE:NAME") from None
    if options and len(names) != 1:
        raise typer.BadParameter(
            f"--{next(iter(options))} is an option of an op: name one op, and its options after it"
        )
    if with_torch and find_spec("torch") is None:
        raise typer.BadParameter("--torch needs PyTorch: pip install torch")
    if own and (with_torch or len(names) > 1):
        raise typer.BadParameter(
            f"{own[0]} has no counterpart in PyTorch to be found: use tinyconv.check.compare_with_torch in a test"
            if with_torch
            else f"check {own[0]} alone"
        )
    try:
        failed = (
            _gradcheck_own(own[0], what or [], cases, seed, options, as_json)
            if own
            else _gradcheck_public(names, cases, seed, options, with_torch, as_json)
        )
    except (OpArgumentError, ShapeError) as error:
        raise typer.BadParameter(str(error)) from None
    except Exception as error:
        if not own or not place_of(error):
            raise
        raise typer.BadParameter(raised(own[0], error)) from None
    if failed:
        raise typer.Exit(1)


def _gradcheck_public(
    names: list[str], cases: int, seed: int, options: dict[str, Any], with_torch: bool, as_json: bool
) -> bool:
    from tinyconv.check.table import check_public, public_ops

    names = names or public_ops()
    stderr = Console(stderr=True)
    rows = []
    with Progress(console=stderr, transient=True, disable=as_json or not stderr.is_terminal) as progress:
        task = progress.add_task("", total=cases * len(names))
        for k, name in enumerate(names):
            progress.update(task, completed=cases * k, description=name)
            row = check_public(
                name,
                cases=cases,
                seed=seed,
                options=options,
                with_torch=with_torch,
                on_case=lambda: progress.advance(task),
            )
            rows.append(row)
            if as_json:
                print(json.dumps(asdict(row)), flush=True)
    failed = [row for row in rows if not row.ok]
    if as_json:
        return bool(failed)
    console = Console()
    table = Table()
    for name in ("op", "cases", "drawn", "worst error", *(["PyTorch"] if with_torch else [])):
        table.add_column(name, justify="left" if name == "op" else "right")
    table.add_column("verdict")
    for row in rows:
        if row.verdict != "no gradient":
            torch = [] if not with_torch else ["-" if row.torch_error is None else f"{row.torch_error:.2f}"]
            verdict = row.verdict if row.ok else f"[red]{row.verdict}[/red]"
            table.add_row(row.op, str(row.cases), str(row.tried), f"{row.error:.1e}", *torch, verdict)
    if table.row_count:
        console.print(table)
    without = [row.op for row in rows if row.verdict == "no gradient"]
    lines = [f"no gradient to check: {', '.join(without)}"] if without else []
    lines += [f"\n{row.message}" for row in failed]
    units = "errors are shares of the gradient, up to 1e-4 is allowed" + (
        "; PyTorch: in units in the last place, up to 64" if with_torch else ""
    )
    if table.row_count:
        count = f"{table.row_count} op{'s' * (table.row_count > 1)}"
        lines.append(f"{len(failed)} of {count} failed" if failed else f"{count}, all right; {units}")
    console.print(_escaped("\n".join(lines)), highlight=False, soft_wrap=True)
    return bool(failed)


def _gradcheck_own(place: str, words: list[str], cases: int, seed: int, options: dict[str, Any], as_json: bool) -> bool:
    from tinyconv.check import check_op

    if "inputs" in options:
        raise typer.BadParameter("arrays cannot be given here: tinyconv.check.check_op(op, inputs=[...]) takes them")
    report = check_op(_load(place), cases=cases, seed=seed, raise_exception=False, **options)
    if as_json:
        for case, found in zip(report.cases, report.reports, strict=True):
            print(json.dumps({"op": report.name, "shapes": case.shapes, **asdict(found)}), flush=True)
    else:
        Console().print(_escaped(str(report)), highlight=False, soft_wrap=True)
        for case, _ in report.failures[:1]:
            shapes = str([np.shape(x) for x in case.inputs if x is not None])
            words = [*words, *([] if "shapes" in options else ["--shapes", shapes]), "--seed", str(case.seed)]
            print(f"or, here: tinyconv gradcheck {shlex.join(words)}")
    return not report.ok


def _load(place: str) -> Any:
    """What MODULE:NAME, MODULE.NAME or FILE.py:NAME names; modules of the current folder are found."""
    from tinyconv.check.blame import raised

    module_name, _, path = place.rpartition(":" if ":" in place else ".")
    if place.endswith(".py") or not path:
        raise typer.BadParameter(f"{place!r} names no op in it: {place.rstrip(':')}:NAME")
    sys.path.insert(0, "")
    if module_name.endswith(".py"):
        file = Path(module_name)
        if not file.is_file():
            raise typer.BadParameter(f"no file {module_name!r}")
        sys.path.insert(0, str(file.parent))
        module_name = file.stem
    try:
        found = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
        raise typer.BadParameter(f"no module {error.name!r} in the current folder or among those installed") from None
    except Exception as error:
        if not module_name or module_name.startswith("."):
            raise typer.BadParameter(f"{place!r} names no module: {error}") from None
        raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
    for name in path.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise typer.BadParameter(f"{module_name} has no {path!r}{hint}")
        found = getattr(found, name)
    return found


def _split_options(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """`conv2d --stride 2 --padding 1,2` -> (["conv2d"], {"stride": 2, "padding": (1, 2)})."""
    names = list(takewhile(lambda word: not word.startswith("--"), words))
    options: dict[str, Any] = {}
    rest = words[len(names) :]
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        options[name.replace("-", "_")] = _literal(value)
        if rest and not rest[0].startswith("--"):
            raise typer.BadParameter(f"--{name} has one value, got {value} and {rest[0]}; a pair is {value},{rest[0]}")
    return names, options


def _literal(text: str) -> Any:
    """A number, a tuple, True, None; anything else is a string."""
    try:
        return literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


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


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Work with so many threads in a `with` block, and let BLAS have no more than that."""
    before = tinyconv.get_num_threads()
    tinyconv.set_num_threads(threads or before)
    try:
        yield
    finally:
        tinyconv.set_num_threads(before)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
