"""What several commands share: options, and how they are read."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

import tinyconv
from tinyconv import data, nn
from tinyconv.data import ImageDataset
from tinyconv.engine import variants
from tinyconv.engine.variants import KERNELS
from tinyconv.errors import no_such, printable, shortened
from tinyconv.host import limits
from tinyconv.saving.document import parsed
from tinyconv.train import Checkpoint

DataDir = Annotated[Path | None, typer.Option(help="Folder with the data files; torchvision's layout is understood.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line on standard output, and nothing else there.")
]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda or cuda:N (default: cpu).")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=limits.THREADS,
        help="CPU threads (default: OMP_NUM_THREADS, else one per core). The result does not change.",
    ),
]
Kernels = Annotated[
    str | None,
    typer.Option(
        help=f"What the CPU runs: {', '.join(KERNELS)} (default: TINYCONV_KERNELS, else compiled where they "
        "can be had, else numpy). The result changes by rounding."
    ),
]
CheckpointFile = Annotated[Path, typer.Argument(help="Checkpoint that `tinyconv train` wrote.")]
TestData = Annotated[
    str | None, typer.Option("--data", help="Dataset to test on (default: the one that the model was trained on).")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="Option of the model as NAME=VALUE, such as padding=2; may be repeated."),
]


@contextmanager
def threads_of(threads: int | None) -> Iterator[None]:
    """Use this many threads in a `with` block, BLAS included; None keeps the number that is set."""
    before = tinyconv.get_num_threads()
    tinyconv.set_num_threads(threads or before)
    try:
        yield
    finally:
        tinyconv.set_num_threads(before)


@contextmanager
def kernels_of(name: str | None) -> Iterator[None]:
    """Run these kernels in a `with` block; None keeps those that are chosen."""
    if name is not None and name not in KERNELS:
        raise typer.BadParameter(no_such("kernels", name, KERNELS))
    before = variants.kernels()
    if name is not None:
        variants.set_kernels(name)
    try:
        yield
    finally:
        if name is not None:
            variants.set_kernels(before)


class Stop:
    """Whether a signal has asked the training to stop, and which one."""

    def __init__(self) -> None:
        self.signal = 0
        self.training = False
        self.before: dict[signal.Signals, Any] = {}  # the handlers that these replace

    def begin_training(self) -> None:
        """From now on there is a training to save, and signals wait for that; before, they end the command at once."""
        self.training = True
        if self.signal:  # in a callback, which swallowed the exception
            raise SystemExit(128 + self.signal)

    def on_signal(self, number: int, frame: Any) -> None:
        self.signal = number
        if not self.training:
            raise SystemExit(128 + number)
        self.ignore()  # the shell and the kernel both tell of a closed terminal, and `timeout` sends SIGTERM twice
        if signal.SIGINT in self.before:
            signal.signal(signal.SIGINT, self.before[signal.SIGINT])
        if sys.__stderr__ is not None:
            with suppress(OSError):  # not through its buffer, which the signal may have interrupted
                os.write(sys.__stderr__.fileno(), b"stopping after this step, to save; Ctrl-C now aborts\n")

    def ignore(self) -> None:
        for sign in self.before:
            signal.signal(sign, signal.SIG_IGN)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Collect Ctrl-C, SIGTERM and SIGHUP instead of dying of them. A second Ctrl-C does what it does elsewhere.

    A signal that is ignored stays so: `nohup` is there to outlive a closed terminal.
    """
    stop, signs = Stop(), [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32":
        signs.append(signal.SIGHUP)
    stop.before = {sign: signal.getsignal(sign) for sign in signs if signal.getsignal(sign) is not signal.SIG_IGN}
    for sign in stop.before:
        signal.signal(sign, stop.on_signal)
    try:
        yield stop
    finally:
        for sign, handler in stop.before.items():
            signal.signal(sign, handler)


LONGEST = 1900
"""Characters of an error. What errors quote is shortened where they are made, all but paths."""


def complain(error: Exception) -> None:
    """Print an error, with its notes, on the standard error output."""
    said = printable("\n".join([str(error), *getattr(error, "__notes__", [])]), LONGEST)
    Console(stderr=True).print(f"[red]error:[/red] {escape(said)}", highlight=False, soft_wrap=True)


def options_of(pairs: list[str]) -> dict[str, Any]:
    """`padding=2` -> {"padding": 2}: a value is read as JSON, and where it is not JSON, as a word."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise typer.BadParameter(f"--option takes NAME=VALUE, got {shortened(pair)}")
        try:
            options[name] = parsed(value)
        except ValueError:
            options[name] = value
    return options


def load_named(place: str) -> Any:
    """What MODULE:NAME, MODULE.NAME or FILE.py:NAME names. Modules are looked for in the current folder too."""
    from tinyconv.check.blame import raised

    module_name, _, path = place.rpartition(":" if ":" in place else ".")
    if place.endswith(".py") or not path:
        module = printable(place.rstrip(":"))
        raise typer.BadParameter(f"{shortened(place, 400)} is a file or module: say what in it is meant, {module}:NAME")
    sys.path.insert(0, "")
    if module_name.endswith(".py"):
        file = Path(module_name)
        if not file.is_file():
            raise typer.BadParameter(f"no file {shortened(module_name, 1000)}")
        sys.path.insert(0, str(file.parent))
        module_name = file.stem
    try:
        found = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
        raise typer.BadParameter(
            f"no module {shortened(error.name)} in the current folder or among those installed"
        ) from None
    except (Exception, SystemExit) as error:  # a script may end so
        if not module_name or module_name.startswith("."):
            raise typer.BadParameter(f"{shortened(place)} names no module: {printable(str(error))}") from None
        raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
    for name in path.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise typer.BadParameter(f"{printable(module_name)} has no {shortened(path)}{hint}")
        found = getattr(found, name)
    return found


def is_code(what: str) -> bool:
    """Whether a text that names no model and no checkpoint is MODULE:NAME or FILE.py:NAME. A cake has no colon."""
    return ":" in what or what.endswith(".py")


def model_of_code(place: str) -> nn.Module:
    """The model that MODULE:NAME or FILE.py:NAME is, or that it makes where it is a function."""
    from tinyconv.check.blame import raised  # here: other commands need not wait for the import

    loaded = load_named(place)
    try:
        model = loaded if isinstance(loaded, nn.Module) else loaded()
    except Exception as error:
        raise typer.BadParameter(raised(f"{place}()", error)) from None
    if not isinstance(model, nn.Module):
        raise typer.BadParameter(
            f"{place} must be an nn.Module or a function that makes one; calling it gave {model!r:.60}"
        )
    return model


def pictured(found: Checkpoint, pictures: list[Path]) -> ImageDataset:
    """Picture files as images of the kind that the model was trained on. Their labels, which nobody knows, are 0."""
    kind = data.describe(found.run.data)
    channels, size, _ = kind.images.shape[1:]
    read = data.read_photograph if channels == 3 else data.read_picture
    images = np.stack([read(path, found.run.options.get("size") or size) for path in pictures])
    return replace(kind, images=images, labels=np.zeros(len(images), np.int64))
