"""What several commands share: options, and how they are read."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

import tinyconv
from tinyconv import data, models, nn
from tinyconv.data import ImageDataset, PictureFolder
from tinyconv.data.folders import LARGEST, read_image
from tinyconv.data.sources import source
from tinyconv.engine import variants
from tinyconv.engine.variants import KERNELS
from tinyconv.errors import CheckpointError, DataError, listed, no_such, printable, shortened
from tinyconv.host import limits
from tinyconv.saving.document import parsed
from tinyconv.shapes import Shape
from tinyconv.torch_names import is_pytorchs
from tinyconv.train import RECIPES, Checkpoint, Run, check_images, load_checkpoint, load_weights, new_run
from tinyconv.train.checkpoint import is_checkpoint

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
CheckpointFile = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="Checkpoint that `tinyconv train` wrote; or FILE.py:NET, a class, a function or a model of your own, with "
        "its checkpoint or a file of weights after it.",
    ),
]
Weights = Annotated[
    Path | None, typer.Argument(metavar="[WEIGHTS]", help="With FILE.py:NET, its checkpoint or a file of its weights.")
]
TestData = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Dataset, or folder of pictures with a folder for each class, to test on (default: what the model was "
        "trained on, of a folder the part that was held out).",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(min=1, max=LARGEST, help="With --data FOLDER: scale its pictures to so many pixels a side."),
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

    def __init__(self, aloud: bool = True) -> None:
        self.signal, self.aloud = 0, aloud
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
        if self.aloud and sys.__stderr__ is not None:
            with suppress(OSError):  # not through its buffer, which the signal may have interrupted
                os.write(sys.__stderr__.fileno(), b"stopping after this step, to save; Ctrl-C now aborts\n")

    def ignore(self) -> None:
        for sign in self.before:
            signal.signal(sign, signal.SIG_IGN)


@contextmanager
def stop_signals(aloud: bool = True) -> Iterator[Stop]:
    """Collect Ctrl-C, SIGTERM and SIGHUP instead of dying of them. A second Ctrl-C does what it does elsewhere.

    `aloud`: say so when one comes.
    A signal that is ignored stays so: `nohup` is there to outlive a closed terminal.
    """
    stop, signs = Stop(aloud), [signal.SIGINT, signal.SIGTERM]
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
    file = None
    OWN.add(os.getcwd() + os.sep)
    if module_name.endswith(".py"):
        file = Path(module_name)
        if not file.is_file():
            raise typer.BadParameter(f"no file {shortened(module_name, 1000)}")
        sys.path.insert(0, str(file.parent))
        OWN.add(str(file.resolve().parent) + os.sep)
        module_name = file.stem
    try:
        found = import_module(module_name) if file is None else _module_in(file)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
        raise typer.BadParameter(
            f"no module {shortened(error.name)} in the current folder or among those installed"
        ) from None
    except (Exception, SystemExit) as error:  # a script may end so
        if not module_name or module_name.startswith("."):
            raise typer.BadParameter(f"{shortened(place)} names no module: {printable(str(error))}") from None
        show_lines(error)
        raise typer.BadParameter(raised(f"importing {module_name}", error)) from None
    for name in path.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise typer.BadParameter(f"{printable(module_name)} has no {shortened(path)}{hint}")
        found = getattr(found, name)
    return found


def _module_in(file: Path) -> Any:
    """The module that is in a file, which may have the name of another one that is imported."""
    here = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(file.resolve())), None)
    if here is not None:
        return here
    name = file.stem if file.stem not in sys.modules else f"_{file.stem}_of_the_command"
    spec = spec_from_file_location(name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_code(what: str) -> bool:
    """Whether a text that names no model and no checkpoint is MODULE:NAME or FILE.py:NAME. A cake has no colon."""
    return ":" in what or what.endswith(".py")


def model_of_code(place: str, image: Shape = (1, 28, 28), classes: int = 10, **options: Any) -> nn.Module:
    """The model that MODULE:NAME or FILE.py:NAME is, or makes for these images: a class, a function or a model."""
    use_code(place)
    fitting = models.options_for(place, image, classes) if len(image) == 3 else {}
    return models.create(place, **(fitting | options))


def _check_ours(place: str, kind: type[Any]) -> None:
    """Refuse a model of PyTorch's, whose class this is."""
    if is_pytorchs(kind):
        raise typer.BadParameter(f"{place} is a module of PyTorch's: import tinyconv in its place where it is written")


def use_code(place: str, name: str | None = None) -> str:
    """Let MODULE:NAME or FILE.py:NAME name a model (`models.register`), under that name or another.

    Returns the SHA-256 of its file.
    """
    loaded = load_named(place)
    _check_ours(place, loaded if isinstance(loaded, type) else type(loaded))
    if not isinstance(loaded, nn.Module) and not callable(loaded):
        raise typer.BadParameter(
            f"{place} must be an nn.Module, or a class or function that makes one, got {shortened(loaded)}"
        )

    def build(**options: Any) -> nn.Module:
        from tinyconv.check.blame import raised  # here: other commands need not wait for the import

        if isinstance(loaded, nn.Module):
            return deepcopy(loaded)
        try:
            inspect.signature(loaded).bind(**options)
        except TypeError as error:
            raise typer.BadParameter(f"{place}: {error}; --option NAME=VALUE gives it, or a default") from None
        except ValueError:  # a built-in, whose arguments nobody knows
            pass
        try:
            model = loaded(**options)
        except Exception as error:
            show_lines(error)
            raise typer.BadParameter(raised(f"{place}()", error)) from None
        _check_ours(place, type(model))
        if not isinstance(model, nn.Module):
            raise typer.BadParameter(
                f"{place} must be an nn.Module or a function that makes one; calling it gave {model!r:.60}"
            )
        return model

    if not isinstance(loaded, nn.Module):
        with suppress(TypeError, ValueError):
            build.__signature__ = inspect.signature(loaded)  # type: ignore[attr-defined]
    models.register(name or place, build)
    module = place.rpartition(":")[0]
    file = Path(module) if module.endswith(".py") else Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


OWN: set[str] = set()
"""The folders of the code that the command line has named."""


def show_lines(error: BaseException) -> None:
    """Print the lines of the user's code that an error came through, innermost last, as Python does."""
    lines: list[traceback.FrameSummary] = []
    cause: BaseException | None = error
    while cause is not None:
        lines = [*lines, *traceback.extract_tb(cause.__traceback__)]
        cause = cause.__cause__
    ours = os.path.dirname(tinyconv.__file__) + os.sep
    own = [line for line in lines if line.filename.startswith(tuple(OWN)) and "site-packages" not in line.filename]
    text = "".join(traceback.format_list([line for line in own if not line.filename.startswith(ours)])).rstrip()
    if text:
        Console(stderr=True).print(escape(text), highlight=False, soft_wrap=True)


def checkpoint_of(what: str, weights: Path | None, data_name: str | None = None, size: int | None = None) -> Checkpoint:
    """The checkpoint that a command is given; or FILE.py:NET, with the weights in a file, as if it were one.

    Code runs only where the command line names it: a checkpoint that names code is refused without.
    """
    if is_checkpoint(what) or not is_code(what):
        if weights is not None:
            raise typer.BadParameter(f"{shortened(what)} has its weights: leave out {shortened(str(weights))}")
        found = load_checkpoint(Path(what))
        check_code(found)
        return found
    code = use_code(what)
    if weights is not None:
        with suppress(CheckpointError):
            found = load_checkpoint(weights)
            if found.run.code and found.run.code != code:
                warnings.warn(f"{what} is not the code that trained {weights}: its file has changed", stacklevel=1)
            if found.run.model not in models.MODELS:
                return replace(found, run=replace(found.run, model=what))
    if (pictures := picture_folder(data_name, size)) is None:
        run = Run(what, data=data_name or "mnist", code=code)
        kind = run.kind()
        run = replace(run, options=models.options_for(what, kind.images.shape[1:], len(kind.classes)))
    else:
        run = replace(new_run(what, pictures, 0, RECIPES["default"]), code=code)
    nothing = {"progress": {"epoch": 0, "step": 0, "history": []}}
    if weights is None:
        state = models.create(what, **run.options).state_dict()
        return Checkpoint(Path(Path(what.rpartition(":")[2]).name), run, nothing, _arrays(state), {})
    return Checkpoint(weights, run, nothing, _arrays(load_weights(weights)), {})


def check_code(found: Checkpoint, option: str = "") -> None:
    """Refuse a checkpoint of a model whose code the command line has not named."""
    name = found.run.model
    if is_code(name) and not models.is_known(name):
        raise typer.BadParameter(
            f"{found.path} is of {shortened(name)}, and no checkpoint runs code by itself: name the code before it, "
            f"{printable(name)} {option}{found.path}"
        )


def _arrays(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu().numpy() for name, value in state.items()}


def picture_folder(name: str | None, size: int | None = None) -> PictureFolder | None:
    """The folder of pictures that --data names, if it is no dataset. DataError for what is neither."""
    if name is None or name == "synthetic":
        return None
    try:
        source(name)
    except DataError as error:
        if Path(name).is_dir():
            return PictureFolder(name, size)
        said = str(error)
        hint = "" if said.endswith("?") else f"; nor is it a folder of pictures, with {Path(name, 'CLASS', '1.png')}"
        raise DataError(f"{said}{hint}") from None
    return None


def test_images(found: Checkpoint, name: str | None, root: Path | None, offline: bool) -> ImageDataset:
    """The images to test on: those held out, those of another dataset, or all pictures in another folder."""
    pictures = picture_folder(name)
    if name is None or (pictures is not None and os.path.abspath(name) == found.run.data):
        check_images(found.run)
        return found.run.images("test", root, offline)
    if pictures is None:
        check_images(found.run, name)
        return data.load(name, "test", root, offline)
    check_images(found.run)
    kind = found.run.kind()
    c, h, w = kind.images.shape[1:]
    read = data.folder(name, (h, w), c)
    if missing := set(read.classes) - set(kind.classes):
        raise DataError(
            f"{name} has folders for {listed(sorted(missing))}, and the classes are {listed(kind.classes, 20)}"
        )
    labels = np.array([kind.classes.index(label) for label in read.classes], np.int64)[read.labels]
    return replace(kind, images=read.images, labels=labels)


def pictured(found: Checkpoint, pictures: list[Path]) -> ImageDataset:
    """Picture files as images of the kind that the model was trained on. Their labels, which nobody knows, are 0."""
    kind = found.run.kind()
    channels, size, _ = kind.images.shape[1:]
    if found.run.pictures:  # which were read as they are
        images = np.stack([read_image(path, kind.images.shape[2:], channels) for path in pictures])
        return replace(kind, images=images, labels=np.zeros(len(images), np.int64))
    read = data.read_photograph if channels == 3 else data.read_picture
    images = np.stack([read(path, found.run.options.get("size") or size) for path in pictures])
    return replace(kind, images=images, labels=np.zeros(len(images), np.int64))
