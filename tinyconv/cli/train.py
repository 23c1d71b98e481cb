"""`tinyconv train`."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import tinyconv
from tinyconv import data, models
from tinyconv.capture import Captured
from tinyconv.cli.common import (
    DataDir,
    Device,
    Json,
    Kernels,
    Offline,
    Options,
    Size,
    Stop,
    Threads,
    check_code,
    is_code,
    kernels_of,
    options_of,
    picture_folder,
    stop_signals,
    threads_of,
    use_code,
)
from tinyconv.cli.ranks import Ranks, Training, of_mpi, on_ranks, threads_of_a_rank, together
from tinyconv.distributed.communicator import current
from tinyconv.engine.kernels import prepare
from tinyconv.errors import no_such, shortened
from tinyconv.host import limits
from tinyconv.train import (
    RECIPES,
    EpochReport,
    Recipe,
    Session,
    StepReport,
    check_place,
    load_checkpoint,
    new_run,
    usual_recipe,
)
from tinyconv.train.checkpoint import free_place, usual_places
from tinyconv.train.loop import Report
from tinyconv.train.session import longer
from tinyconv.user_frame import warn

PROFILED = 20  # steps
DATASETS = ", ".join(data.list_datasets())


def train(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help=f"Model: {', '.join(models.MODELS)}; or a cake, its layers in one line: 'conv 8 3; relu; pool 2; "
            "flatten; fc 10'; or FILE.py:NET, a class, a function or a model of your own."
        ),
    ] = None,
    data_name: Annotated[
        str,
        typer.Option(
            "--data",
            help=f"Dataset: {DATASETS} or synthetic (digits that are drawn, not downloaded); or a folder of pictures, "
            "with a folder for each class.",
        ),
    ] = "mnist",
    size: Size = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"Recipe: {', '.join(RECIPES)}. Unless given, the usual one for the model and the data. The options "
            "from --epochs to --layer-rates replace parts of it."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=limits.EPOCHS, help="Passes over the training images.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, max=limits.SIZE, help="Images per training step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate: the peak of the schedule.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Schedule of the learning rate: onecycle, triangle or constant.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Weight decay: decoupled with adam, an L2 penalty with sgd.")
    ] = None,
    shift: Annotated[
        int | None, typer.Option(min=0, help="Shift each training image at random by up to this many pixels.")
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(min=0, help="Pad each training image by this many mirrored pixels, then crop it at random."),
    ] = None,
    flip: Annotated[
        bool | None, typer.Option(help="Mirror each training image left to right with probability 1/2.")
    ] = None,
    cutout: Annotated[
        int | None,
        typer.Option(min=0, help="Cover part of each training image with a grey square of this many pixels a side."),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of each label that is spread evenly over all classes.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adam (AdamW if there is weight decay) or sgd (with Nesterov momentum).")
    ] = None,
    layer_rates: Annotated[
        bool | None,
        typer.Option(help="With sgd: learning rates of their own for the biases of normalisations and the last layer."),
    ] = None,
    option: Options = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=limits.SEED, help="Seed for the weights, the order of the images and their augmentation."
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to write (default: runs/MODEL-DATA-RECIPE-seedN.safetensors, with -2, -3 ... if taken)."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the checkpoint if it exists.")] = False,
    save_every: Annotated[
        str,
        typer.Option(
            help="Write the checkpoint within an epoch too: after so many steps (200), or so much time (90s, 5m, 1h)."
        ),
    ] = "5m",
    resume_from: Annotated[Path | None, typer.Option("--resume", help="Continue from this checkpoint.")] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    device: Device = None,
    threads: Threads = None,
    kernels: Kernels = None,
    ranks: Ranks = None,
    as_json: Json = False,
    profile: Annotated[
        bool, typer.Option("--profile", help=f"Print where the time of {PROFILED} steps went, then go on training.")
    ] = False,
    profile_trace: Annotated[
        Path | None, typer.Option(help="Profile, and write a trace to this file, for chrome://tracing or Perfetto.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Print what a captured training step does and what runs it, then go on training."
        ),
    ] = False,
) -> None:
    """Train a model, or continue a training, and report the test accuracy.

    A checkpoint is written after every epoch, as often as --save-every says, and when Ctrl-C, SIGTERM or a closed
    terminal (SIGHUP) stops the training; --resume continues it bit for bit. An existing file is never replaced unless
    --overwrite is given, and no other training can write to the same file meanwhile.
    """
    often = _every(save_every)
    if ranks is not None and (profile or profile_trace):
        raise typer.BadParameter("--profile runs steps without their program, which ranks share: leave out --ranks")
    with (
        threads_of(threads if ranks is None else threads_of_a_rank(ranks, threads)),
        kernels_of(kernels),
        stop_signals() as stop,
        _whoever_reads(),
        ExitStack() as until_the_end,
        of_mpi(ranks),
    ):
        prepare()
        first = current().rank == 0
        if resume_from is not None:
            if model is not None and is_code(model):
                _use_code_again(model, resume_from)
            _refuse_with_resume(context)
            found = load_checkpoint(resume_from)
            check_code(found, "--resume ")
            longer(found, epochs)  # what cannot be continued needs no place
            out = out or resume_from
            if first:
                until_the_end.enter_context(free_place([out], overwrite or out == resume_from))
            # Read only now that no other training can write it.
            training = Training(None, resume_from, epochs, data_dir, offline, device, kernels)
            until_the_end.enter_context(on_ranks(ranks, threads, training))
            session = training.session()
        else:
            if model is None:
                raise typer.BadParameter(f"name a model ({', '.join(models.MODELS)}), or --resume a checkpoint")
            changes: dict[str, Any] = {
                "epochs": epochs,
                "batch_size": batch_size,
                "lr": lr,
                "schedule": schedule,
                "weight_decay": weight_decay,
                "shift": shift,
                "crop": crop,
                "flip": flip,
                "cutout": cutout,
                "label_smoothing": label_smoothing,
                "optimizer": optimizer,
                "layer_rates": layer_rates,
            }
            options = options_of(option or [])
            if ";" in model or " " in model:
                model, options = "cake", {"slices": model, **options}
            code = use_code(model) if model not in models.MODELS and is_code(model) else ""
            if not models.is_known(model):
                raise typer.BadParameter(no_such("model", model, models.MODELS))
            recipe = recipe or usual_recipe(model, data_name)
            pictures = picture_folder(data_name, size)
            if size is not None and pictures is None:
                raise typer.BadParameter(f"--size is for --data FOLDER, and {shortened(data_name)} is no folder")
            try:
                chosen = replace(_recipe(recipe), **{key: value for key, value in changes.items() if value is not None})
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            run = replace(new_run(model, pictures or data_name, seed, chosen, **options), code=code)
            if pictures is not None and not as_json and first:
                print(f"{data_name}: {pictures.parts()[2]}")
            usual = usual_places(run, recipe)
            names = [out] if out else islice(usual, 1) if overwrite else usual
            out = until_the_end.enter_context(free_place(names, overwrite)) if first else Path()
            training = Training(run, None, None, data_dir, offline, device, kernels)
            until_the_end.enter_context(on_ranks(ranks, threads, training))
            session = training.session()
        if session.trainer.finished and out != resume_from:
            session.save(out)  # no epoch is left that would do it
        if profile_trace is not None:
            check_place(profile_trace)
        stop.begin_training()
        reports = together(session.saving(out, **often), stop)
        if explain:
            reports = _explained(session.trainer.captured, reports, as_json)
        if profile or profile_trace:
            reports = _profiled(reports, profile_trace)
        _run(session, out, stop, as_json, reports)


def _use_code_again(model: str, path: Path) -> None:
    """Let a checkpoint go on with the code that it names, which the command line has to name too."""
    code, run = use_code(model), load_checkpoint(path).run
    if run.model in models.MODELS:
        raise typer.BadParameter(f"{path} is of {run.model}; leave out {shortened(model)}")
    if run.code and code != run.code:
        warn(f"{model} is not the code that trained {path}: its file has changed")
    if run.model != model:
        use_code(model, run.model)


def _every(text: str) -> dict[str, Any]:
    """The arguments of `Session.saving` for `200`, `90s`, `5m` or `1h`."""
    found = re.fullmatch(r"(\d{1,9})(s|m|h)?", text.strip())
    if found is None or not int(found[1]):
        raise typer.BadParameter(
            f"--save-every takes steps, such as 200, or a time, such as 90s, 5m or 1h; got {text!r}"
        )
    number, unit = int(found[1]), found[2]
    return {"seconds": number * {"s": 1.0, "m": 60.0, "h": 3600.0}[unit]} if unit else {"steps": number}


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise typer.BadParameter(no_such("recipe", name, RECIPES))
    return RECIPES[name]


def _refuse_with_resume(context: typer.Context) -> None:
    """BadParameter for options that describe a training: with --resume, the checkpoint does that, but for --epochs."""
    allowed = {"resume_from", "out", "overwrite", "save_every", "data_dir", "offline", "device", "threads", "as_json"}
    allowed |= {"kernels", "ranks", "profile", "profile_trace", "explain"}
    allowed |= {"model"} if is_code(context.params.get("model") or "") else set()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in allowed
        and str(context.get_parameter_source(str(parameter.name))).endswith("COMMANDLINE")
    ]
    if given and given != ["--epochs"]:
        raise typer.BadParameter(
            f"--resume continues the training that the checkpoint describes; leave out {', '.join(given)}"
        )


class _Unfailing:
    """A stream that loses what it cannot write: its reader has gone (a pipe, a terminal), or its disk is full."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """Let no output of the block fail: a training is worth more than what it says."""
    out, errors = sys.stdout, sys.stderr
    try:
        with (
            redirect_stdout(cast(Any, out and _Unfailing(out))),
            redirect_stderr(cast(Any, errors and _Unfailing(errors))),
        ):
            yield
    finally:
        for stream in filter(None, (out, errors)):  # None where the process was started without it
            try:
                stream.flush()
            except OSError:  # Python would try again as it ends, and exit with 120
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _explained(step: Captured[..., Any], reports: Iterator[Report], as_json: bool) -> Iterator[Report]:
    """The reports of the training. As soon as it is known what the step does, that is printed."""
    for report in reports:
        if step.to_dict()["state"] != "new":
            if as_json:
                print(json.dumps({"program": step.to_dict()}), flush=True)
            else:
                print(f"\n{step}\n", file=sys.stderr)
            yield report
            break
        yield report
    yield from reports


def _profiled(reports: Iterator[Report], trace: Path | None) -> Iterator[Report]:
    """The reports of the training. Steps 2 to PROFILED + 1 are profiled; the first also does what is done once."""
    yield from islice(reports, 1)
    with tinyconv.profile() as measured:
        yield from islice(reports, PROFILED)
    print(f"\n{measured}\n", file=sys.stderr)
    if trace is not None:
        try:
            measured.chrome_trace(trace)
            print(f"trace: {trace}", file=sys.stderr)
        except OSError as error:
            print(f"no trace: {error}", file=sys.stderr)
    yield from reports


def _run(session: Session, out: Path, stop: Stop, as_json: bool, reports: Iterator[Report]) -> None:
    trainer = session.trainer
    if trainer.finished and not as_json:
        print(
            f"all {trainer.epochs} epochs are trained already; to train longer, start anew with more --epochs, or "
            "where the learning rate is constant --resume with more of them"
        )
    parameters = sum(parameter.numel() for parameter in session.model.parameters())
    with _display(session, parameters, as_json) as show:
        for report in reports:
            show(report)
            if stop.signal:
                break
    if stop.signal and not trainer.finished:
        stop.ignore()  # nothing may stop the saving
        session.save(out)
        at = trainer.progress
        own = f"{shlex.quote(session.run.model)} " if is_code(session.run.model) else ""
        if as_json:
            print(json.dumps({"stopped": True, "epoch": at.epoch, "step": at.step, "checkpoint": str(out)}), flush=True)
        message = (
            f"stopped in epoch {at.epoch + 1} after step {at.step}; "
            f"continue with: tinyconv train {own}--resume {shlex.quote(str(out))}"
        )
        Console(stderr=True).print(escape(message), highlight=False, soft_wrap=True)
        raise typer.Exit(128 + stop.signal)
    last = trainer.progress.history[-1]
    seconds = sum(entry["seconds"] for entry in trainer.progress.history)
    final = {
        "final": True,
        "epochs": trainer.epochs,
        "train_loss": last["train_loss"],
        "test_accuracy": last["test_accuracy"],
        "seconds": seconds,
        "parameters": parameters,
        "ranks": current().size,
        "checkpoint": str(out),
    }
    if as_json:
        print(json.dumps(final), flush=True)
    else:
        console = Console()
        console.print(
            f"test accuracy [bold]{last['test_accuracy']:.2%}[/bold] after {trainer.epochs} epochs in {seconds:.1f} s "
            f"({parameters:,} parameters)\ncheckpoint: {escape(str(out))}",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def _display(session: Session, parameters: int, as_json: bool) -> Iterator[Any]:
    """A function that shows reports: as JSON lines, as a live bar on a terminal, else as one line per epoch."""
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

        def show(report: Report) -> None:
            if isinstance(report, StepReport):
                progress.update(task, advance=1, epoch=report.epoch, loss=report.loss)
            elif isinstance(report, EpochReport):
                left = (trainer.epochs - report.epoch) * report.seconds / 60
                progress.console.print(
                    f"epoch {report.epoch}: train loss {report.train_loss:.4f}, "
                    f"test accuracy {report.test_accuracy:.2%}, {report.seconds:.1f} s"
                    + (f", about {left:.0f} min left" if left > 2 else ""),
                    highlight=False,
                )

        yield show
