"""Checkpoints: one safetensors file with all that is needed to continue a training, or to use the model.

Its tensors are the model's state under its own names (`conv1.weight`, so that any reader of safetensors, PyTorch's too,
can load it), and the optimiser's as `optimizer/INDEX/NAME`. Its metadata are one JSON document under the key
`tinyconv`. A checkpoint is always whole (`host.files.atomic`), and nothing in it is executed. A file of weights has the
tensors of a model alone, as `safetensors.torch.save_file` writes them too.
"""

from __future__ import annotations

import json
import os
import shlex
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyconv import data as datasets
from tinyconv import models
from tinyconv.arrays.backend import backend_of, device
from tinyconv.data import ImageDataset, PictureFolder, describe
from tinyconv.data.datasets import Split
from tinyconv.data.folders import read
from tinyconv.engine.variants import KERNELS
from tinyconv.errors import CheckpointError, DataError, ShapeError, TinyconvError, listed, printable, shortened
from tinyconv.host import limits
from tinyconv.host.files import atomic, held
from tinyconv.inspect.tracer import LayerObserver, run_on_outlines
from tinyconv.nn import Module
from tinyconv.nn.module import check_fits, check_state, host_array
from tinyconv.optim import Optimizer
from tinyconv.saving.document import NONSENSE, parsed
from tinyconv.saving.safetensors import DTYPES, from_bfloat16
from tinyconv.shapes import Shape
from tinyconv.tensor.creation import tensor
from tinyconv.tensor.tensor import Tensor
from tinyconv.train.fields import check_fields
from tinyconv.train.loop import progress_of
from tinyconv.train.recipes import Recipe

FORMAT = 1
PREFIX = "optimizer/"


@dataclass(frozen=True)
class Run:
    """The description of a training: enough to build the same one again. `new_run` makes one.

    Args:
        model: A name of `models.MODELS`.
        options: Options of the model.
        data: The name of a dataset, or "synthetic".
        seed: Decides the weights, the order of the images and their augmentation.
        recipe: The fields of a `Recipe`.
        pictures: Where `data` is a folder of one's own pictures: the shape of an image, the classes, mean and std.
        code: The SHA-256 of the file with the model, where that is one of your own and in a file.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    data: str = "mnist"
    seed: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=dict)
    code: str = ""

    def kind(self) -> ImageDataset:
        """The dataset without its images: the shape of one, the classes, mean and std, which need no file.

        Raises DataError where no dataset has that name, and for pictures of a strange kind.
        """
        if not self.pictures:
            return describe(self.data)
        try:
            c, h, w = self.pictures["shape"]
            classes, mean, std = (tuple(self.pictures[key]) for key in ("classes", "mean", "std"))
            if not (c in (1, 3) and 0 < h <= limits.SIZE and 0 < w <= limits.SIZE and all(map(isfinite, mean + std))):
                raise ValueError(f"images {shortened(self.pictures['shape'])}")
            if not all(isinstance(name, str) for name in classes) or not all(std):
                raise ValueError(f"classes {shortened(classes)}")
            return ImageDataset(np.empty((0, c, h, w), np.uint8), np.empty(0, np.int64), classes, mean, std)
        except (TypeError, ValueError, KeyError) as error:
            raise DataError(f"what is said of the pictures of {printable(self.data)} is wrong: {error}") from None

    def images(self, split: Split, root: str | os.PathLike[str] | None = None, offline: bool = False) -> ImageDataset:
        """The images to train or to test on. Raises DataError where they cannot be had, or are others now."""
        if not self.pictures:
            return datasets.load(self.data, split, root, offline)
        kind = self.kind()
        c, h, w = kind.images.shape[1:]
        classes, parts, _ = PictureFolder(self.data).parts()
        found = read(parts[split], classes, (h, w), c)
        if found.classes != kind.classes:
            raise DataError(f"{self.data} has the classes {listed(found.classes)} now, and had {listed(kind.classes)}")
        return replace(found, mean=kind.mean, std=kind.std)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that `load_checkpoint` has read.

    `path` is the file, `run` describes the training, `trainer` is the state of the Trainer, `model_state` has the
    model's NumPy arrays by name, `optimizer_state` is a `state_dict` of the optimiser, and `kernels` names those that
    trained it: "compiled", "numpy", "readable", or "cuda" on a GPU; None in files that do not say.

        model = load_checkpoint("runs/lenet5-mnist-default-seed0.safetensors").model()
    """

    path: Path
    run: Run
    trainer: dict[str, Any]
    model_state: dict[str, Any]
    optimizer_state: dict[str, Any]
    kernels: str | None = None

    def model(self) -> Module:
        """Build the model, with its weights, in evaluation mode. Raises CheckpointError where they do not fit it."""
        with blamed(self.path, "its model cannot be built"):
            model = models.create(self.run.model, **self.run.options)
            model.load_state_dict(self.model_state)
        return model.eval()


def check_images(run: Run, name: str | None = None) -> None:
    """Raise ShapeError unless the model of `run` takes the images of a dataset, and gives a number for each class.

    Nothing is computed, and no file of the dataset is looked for. A model that is not one of `models.MODELS` cannot be
    built, so it is not checked.

    Args:
        run: The description of a training.
        name: The name of the dataset; unless given, the one of `run`.

    Raises what `models.create` raises too, and DataError where no dataset has that name.
    """
    if not models.is_known(run.model):
        return
    kind = run.kind() if name is None else describe(name)
    image, data = kind.images.shape[1:], f"the {'x'.join(map(str, kind.images.shape[1:]))} images of {name or run.data}"
    with device("meta") if run.model in models.MODELS else nullcontext():  # own code may need numbers
        model = models.create(run.model, **run.options)
    trained = "" if name in (None, run.data) else f"; it was made for those of {run.data}"
    seen = LayerObserver(model)
    try:
        out = run_on_outlines(model, seen, 1, image)
    except ValueError as error:  # ShapeError, and what NumPy says of sizes beyond all bounds
        raise ShapeError(f"{run.model} cannot take {data}{trained}: {error}") from error
    if not isinstance(out, Tensor):
        raise ShapeError(
            f"{run.model} gives a {type(out).__name__} for {data}: a tensor with a number for each class is needed"
        )
    if len(kind.classes) < 2:
        raise DataError(f"{name or run.data} has one class, {kind.classes[0]}: two or more are needed to tell apart")
    if out.shape[1:] != (len(kind.classes),):
        raise ShapeError(
            f"{run.model} gives {out.shape[1:]} for each of {data}, which have {len(kind.classes)} classes{trained}"
        )
    if (size := sum(step.activation_bytes for step in seen.steps)) > limits.ACTIVATIONS:
        raise ShapeError(
            f"the outputs of {run.model} for one of {data} take {size >> 20:,} MiB, and at most "
            f"{limits.ACTIVATIONS >> 20} are allowed"
        )


def save(
    path: str | os.PathLike[str],
    run: Run,
    model: Module,
    optimizer: Optimizer,
    trainer: dict[str, Any],
    kernels: str | None = None,
) -> Path:
    """Write a checkpoint to `path`, creating its folder, and return the path.

    Args:
        path: The file, replaced in one step if it exists.
        run: The description of the training.
        model: The model: its state is saved.
        optimizer: Its optimiser: its state is saved.
        trainer: What `Trainer.state_dict` returns.
        kernels: Those that trained it, for `Checkpoint.kernels`.

    Raises CheckpointError where the file cannot be written; it says whether an older one of this training is there.
    """
    path = Path(path)
    optimizer_state = optimizer.state_dict()
    arrays = {name: _host(tensor.array) for name, tensor in model.state_dict().items()}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in optimizer_state["state"].items():
        for name, value in entries.items():
            if isinstance(value, np.ndarray):
                arrays[f"{PREFIX}{index}/{name}"] = _host(value)
            else:
                scalars.setdefault(str(index), {})[name] = value
    document = {
        "format": FORMAT,
        "run": asdict(run),
        "trainer": trainer,
        "optimizer": {"param_groups": optimizer_state["param_groups"], "scalars": scalars},
        "kernels": kernels,
    }
    with _writing(path, fix=lambda: _older(path, run)):
        _write(path, arrays, {"tinyconv": json.dumps(document)})
    return path


def _older(path: Path, run: Run) -> str:
    """How to go on where a checkpoint of `run` could not be written."""
    try:
        older = load(path)
        at = older.trainer["progress"]
        done = f"{at['epoch']} epochs and {at['step']} steps"
    except (CheckpointError, *NONSENSE):
        older = None
    if older is None or older.run != run:
        return "nothing of this training is saved there: make room, or choose another place with --out"
    again = f"tinyconv train --resume {shlex.quote(str(path))}"
    return f"the one after {done} is whole: make room, then continue it with: {again}"


def save_weights(state: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write weights as a safetensors file, for PyTorch or for `load_weights`, creating its folder; return the path.

        save_weights(model.state_dict(), "lenet5.safetensors")

    Args:
        state: A `state_dict`: tensors or arrays by name, PyTorch's too, on any device.
        path: The file, replaced in one step if it exists.

    Raises CheckpointError where `state` is not a mapping, or where the file cannot be written.
    """
    check_state(state, "save_weights")
    path = Path(path)
    arrays = {name: np.asarray(host_array(value), order="C") for name, value in state.items()}
    with _writing(path, "weights", lambda: "choose another place"):
        _write(path, arrays, None)
    return path


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the weights in a safetensors file: tensors by name.

        model.load_state_dict(load_weights("lenet5.safetensors"))

    The file is one of `save_weights`, one that PyTorch wrote, or a checkpoint, from which the state of the optimiser is
    left out. bfloat16 becomes float32, which has all its numbers. Raises CheckpointError where the file is missing,
    damaged, not safetensors, or has numbers of a type that NumPy lacks (float8).
    """
    with _opened(path) as (metadata, _, read):
        arrays, ours = read(), "tinyconv" in metadata
    return {name: tensor(array) for name, array in arrays.items() if not (ours and name.startswith(PREFIX))}


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError if a checkpoint could not be written at `path`, before there is a training to lose.

    Creates the folder of `path`, and removes what killed trainings left beside it; `path` itself is neither created nor
    changed.
    """
    path = Path(path)
    with _writing(path), suppress(_NoNeed):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path):  # all that a save does before it writes
            raise _NoNeed


class _NoNeed(Exception):
    """Nothing is to be written."""


@contextmanager
def reserved(path: Path) -> Iterator[bool]:
    """Keep `path` for a training in a `with` block. False: another one, here or in any process, has it.

    The place is checked like `check_place` does.
    """
    check_place(path)
    with ExitStack() as until_the_end:
        with _writing(path):
            real = Path(os.path.realpath(path))
            lock = until_the_end.enter_context(held(real.with_name(f".{real.name}.lock")))
        yield lock is not None


def usual_places(run: Run, recipe: str) -> Iterator[Path]:
    """Where a training goes that names no place: runs/MODEL-DATA-RECIPE-seedN.safetensors, with -2, -3 ... after it.

    A model in FILE.py:NET is called NET there, and a folder of pictures by its own name.
    """
    model, data = run.model.rpartition(":")[2], Path(run.data).name
    first = Path("runs", f"{model}-{data}-{recipe}-seed{run.seed}.safetensors")
    return chain([first], (first.with_stem(f"{first.stem}-{n}") for n in count(2)))


@contextmanager
def free_place(names: Iterable[Path], replaces: bool = False) -> Iterator[Path]:
    """The first of `names` that no running training has, nor, unless it `replaces` one, a file; kept in the block."""
    for name in names:
        with reserved(name) as ours:
            if ours and (replaces or not name.exists()):
                yield name
                return
    if not ours:
        raise CheckpointError(f"another training is writing {name}: let it end, or choose another place with --out")
    raise CheckpointError(
        f"there is a file at {name}: continue it with --resume, replace it with --overwrite, "
        "or choose another place with --out"
    )


def is_checkpoint(what: str) -> bool:
    """Whether a text that may also name a model, be a cake or FILE.py:NAME is the path of a checkpoint."""
    return what.endswith(".safetensors") or (Path(what).is_file() and not what.endswith(".py"))


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint at `path`. Raises CheckpointError where it is missing, damaged, or another kind of file.

    Where the model is one of `models.MODELS`, it is built without memory first, and the arrays are read only if their
    names and shapes are those of this model and its optimiser.
    """
    with _opened(path) as (metadata, outlines, read):
        if "tinyconv" not in metadata:
            raise CheckpointError(
                f"{path} is a safetensors file, but not a tinyconv checkpoint: its metadata do not name a model; "
                "load plain weights with model.load_state_dict(safetensors.numpy.load_file(path))"
            )
        with blamed(path, "its metadata are not those of a checkpoint"):
            document = parsed(metadata["tinyconv"])
            if document["format"] == FORMAT:
                run, trainer = Run(**document["run"]), dict(document["trainer"])
                if (kernels := document.get("kernels")) not in (None, "cuda", *KERNELS):
                    raise ValueError(f"kernels {shortened(kernels)}")
                check_fields(run, seed=(0, limits.SEED))
                run.pictures and run.kind()
                progress_of(trainer["progress"], limits.EPOCHS)
                groups: list[dict[str, Any]] = document["optimizer"]["param_groups"]
                state: dict[int, dict[str, Any]] = {
                    int(i): dict(s) for i, s in document["optimizer"]["scalars"].items()
                }
        if document["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {shortened(document['format'])}; this version reads {FORMAT}"
            )
        shapes: list[Shape] | None = None  # unless the model is one of somebody's own
        own = {name: outline for name, outline in outlines.items() if not name.startswith(PREFIX)}
        if run.model in models.MODELS:
            with blamed(path, "its model cannot be built"), device("meta"):
                model = models.create(run.model, **run.options)
                check_fits(model, own, own)
            with blamed(path, "its training cannot be continued"):
                groups_of = Recipe(**run.recipe).optimizer_of(model).param_groups
                shapes = [parameter.shape for group in groups_of for parameter in group["params"]]
        with blamed(path, "its metadata are not those of a checkpoint"):
            places = {name: _place(name, outlines[name].shape, shapes) for name in outlines.keys() - own.keys()}
        arrays = read()
        for name, (index, entry) in places.items():
            state.setdefault(index, {})[entry] = arrays.pop(name)
        return Checkpoint(Path(path), run, trainer, arrays, {"state": state, "param_groups": groups}, kernels)


def _place(name: str, shape: Shape, shapes: list[Shape] | None) -> tuple[int, str]:
    """The number of the parameter that an array of the optimiser belongs to, and what it is there."""
    number, _, entry = name.removeprefix(PREFIX).partition("/")
    index = int(number)
    if shapes is not None and (not 0 <= index < len(shapes) or shape != shapes[index]):
        of = f"parameter {index} has {shapes[index]}" if 0 <= index < len(shapes) else f"{len(shapes)} parameters"
        raise CheckpointError(f"{printable(name, 120)} has shape {shape}, and there {of}")
    return index, entry


@contextmanager
def blamed(
    path: str | os.PathLike[str], what: str, passing: type[Exception] | tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn an error of NONSENSE in the block into a CheckpointError that says `what` is wrong with the file.

    An error of the types `passing`, which is not the fault of the file, stays what it is.
    """
    try:
        yield
    except passing:
        raise
    except NONSENSE as error:
        said = str(error) if isinstance(error, TinyconvError) else f"{type(error).__name__}: {printable(str(error))}"
        raise CheckpointError(f"{path}: {what}: {said}") from error


class _Outline(NamedTuple):
    shape: Shape
    dtype: np.dtype[Any]


@contextmanager
def _opened(
    path: str | os.PathLike[str],
) -> Iterator[tuple[dict[str, str], dict[str, _Outline], Callable[[], dict[str, Any]]]]:
    """The metadata of a safetensors file, the outlines of its arrays, and a function that reads the arrays.

    Raises CheckpointError, in the block too, where the file is missing, damaged or of another kind. safetensors has
    compared the header with the length of the file by then.
    """
    safetensors, path = _safetensors(), Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}: {_instead(path)}")
    try:
        with path.open("rb") as file:
            begin = file.read(8)
            if (size := int.from_bytes(begin, "little")) > limits.HEADER:
                picture = begin.startswith((b"\x89PNG", b"\xff\xd8\xff"))
                hint = ": it is a picture, and the checkpoint is named first" if picture else ""
                raise ValueError(f"a header of {size:,} bytes; {limits.HEADER:,} are read{hint}")
        with safetensors.safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no dict)
            if strange := sorted(set(kinds.values()) - DTYPES.keys()):
                raise CheckpointError(
                    f"{path} cannot be read: it has numbers of a type that NumPy lacks ({listed(strange)}); "
                    "save them as float32"
                )
            outlines = {
                name: _Outline(tuple(file.get_slice(name).get_shape()), DTYPES[kind]) for name, kind in kinds.items()
            }

            def read() -> dict[str, Any]:
                arrays = {name: file.get_tensor(name) for name, kind in kinds.items() if kind != "BF16"}
                return arrays | (_bfloat16(path) if len(arrays) < len(kinds) else {})

            yield file.metadata() or {}, outlines, read
    except CheckpointError:
        raise
    except (
        OSError,
        safetensors.SafetensorError,
        ValueError,
        MemoryError,
    ) as error:  # the last: 64 GiB of a hole
        if zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path} looks like a file of torch.save; tinyconv.load(path) reads the tensors in it, and "
                "tinyconv.train.save_weights writes a state of them as safetensors"
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is damaged or cut short, or not a safetensors file "
            f"({printable(str(error))})"
        ) from error


def _instead(path: Path) -> str:
    """Why there is no checkpoint, and where one may be."""
    why, found = "there is no such file", path.parent.glob(f"{path.name}*.safetensors")
    if path.is_dir():
        why, found = f"{why}: that is a folder", path.glob("*.safetensors")
    elif str(path) in models.MODELS:
        why += f": {path} is a model, and tinyconv train {path} writes a checkpoint of it"
        found = Path("runs").glob(f"{path}-*.safetensors")
    with suppress(OSError):  # a folder that may not be listed
        newest = max(found, key=lambda file: file.stat().st_mtime, default=None)
        return why if newest is None else f"{why}; did you mean {newest}?"
    return why


def _bfloat16(path: Path) -> dict[str, Any]:
    """The bfloat16 tensors of a safetensors file that is known to be whole, as float32: bfloat16 is its upper half."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        arrays = {}
        for name, entry in header.items():
            if entry.get("dtype") == "BF16":
                begin, end = entry["data_offsets"]
                file.seek(8 + size + begin)
                arrays[name] = from_bfloat16(np.frombuffer(file.read(end - begin), "<u2")).reshape(entry["shape"])
    return arrays


def _write(path: Path, arrays: dict[str, Any], metadata: dict[str, str] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as beside:  # save_file would write a file of its own beside that one, and leave it when killed
        beside.write_bytes(_safetensors().numpy.save(arrays, metadata))


@contextmanager
def _writing(
    path: Path, what: str = "checkpoint", fix: Callable[[], str] = lambda: "choose another place with --out"
) -> Iterator[None]:
    """Turn an error of the block, which writes `path`, into a CheckpointError."""
    safetensors = _safetensors()
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"cannot write the {what} {path}: {error}; {fix()}") from error


def _host(array: Any) -> Any:
    return np.asarray(backend_of(array).to_numpy(array), order="C")  # ascontiguousarray would make 0-d arrays 1-d


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise CheckpointError("checkpoints need safetensors: pip install 'tinyconv[train]'") from error
    return safetensors
