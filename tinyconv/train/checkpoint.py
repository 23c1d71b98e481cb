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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv import models
from tinyconv.arrays.backend import backend_of
from tinyconv.errors import CheckpointError, TinyconvError
from tinyconv.host.files import atomic, held
from tinyconv.nn import Module
from tinyconv.nn.module import check_state, host_array
from tinyconv.optim import Optimizer
from tinyconv.tensor.creation import tensor
from tinyconv.tensor.tensor import Tensor
from tinyconv.train.fields import check_types

FORMAT = 1
PREFIX = "optimizer/"

# The errors that code raises when a damaged or foreign file gives it values of a wrong kind or size.
NONSENSE = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError, RecursionError)


@dataclass(frozen=True)
class Run:
    """The description of a training: enough to build the same one again. `new_run` makes one.

    Args:
        model: A name of `models.MODELS`.
        options: Options of the model.
        data: The name of a dataset, or "synthetic".
        seed: Decides the weights, the order of the images and their augmentation.
        recipe: The fields of a `Recipe`.
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    data: str = "mnist"
    seed: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that `load_checkpoint` has read.

    `path` is the file, `run` describes the training, `trainer` is the state of the Trainer, `model_state` has the
    model's NumPy arrays by name, and `optimizer_state` is a `state_dict` of the optimiser.

        model = load_checkpoint("runs/lenet5-mnist-default-seed0.safetensors").model()
    """

    path: Path
    run: Run
    trainer: dict[str, Any]
    model_state: dict[str, Any]
    optimizer_state: dict[str, Any]

    def model(self) -> Module:
        """Build the model, with its weights, in evaluation mode. Raises CheckpointError where they do not fit it."""
        try:
            model = models.create(self.run.model, **self.run.options)
            model.load_state_dict(self.model_state)
        except NONSENSE as error:
            raise CheckpointError(f"{self.path}: its model cannot be built: {reason(error)}") from error
        return model.eval()


def save(path: str | os.PathLike[str], run: Run, model: Module, optimizer: Optimizer, trainer: dict[str, Any]) -> Path:
    """Write a checkpoint to `path`, creating its folder, and return the path.

    Args:
        path: The file, replaced in one step if it exists.
        run: The description of the training.
        model: The model: its state is saved.
        optimizer: Its optimiser: its state is saved.
        trainer: What `Trainer.state_dict` returns.

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
    metadata, arrays = _read(path)
    ours = "tinyconv" in metadata
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


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the checkpoint at `path`. Raises CheckpointError where it is missing, damaged, or another kind of file."""
    metadata, arrays = _read(path)
    if "tinyconv" not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a tinyconv checkpoint: its metadata do not name a model; "
            "load plain weights with model.load_state_dict(safetensors.numpy.load_file(path))"
        )
    try:
        document = json.loads(metadata["tinyconv"])
        if document["format"] != FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {document['format']}; this version reads {FORMAT}")
        state: dict[int, dict[str, Any]] = {int(i): dict(s) for i, s in document["optimizer"]["scalars"].items()}
        for name in [name for name in arrays if name.startswith(PREFIX)]:
            index, _, entry = name.removeprefix(PREFIX).partition("/")
            state.setdefault(int(index), {})[entry] = arrays.pop(name)
        optimizer_state = {"state": state, "param_groups": document["optimizer"]["param_groups"]}
        found = Checkpoint(Path(path), Run(**document["run"]), document["trainer"], arrays, optimizer_state)
        check_types(found)
        check_types(found.run)
        return found
    except CheckpointError:
        raise
    except NONSENSE as error:
        raise CheckpointError(f"{path}: its metadata are not those of a checkpoint: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The text of an error of NONSENSE, with its type unless the error is one of ours: `KeyError: 'run'`."""
    return str(error) if isinstance(error, TinyconvError) else f"{type(error).__name__}: {error}"


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """The metadata and the arrays of a safetensors file; CheckpointError if it is missing, damaged or another kind."""
    safetensors = _safetensors()
    if not Path(path).is_file():
        raise CheckpointError(f"no checkpoint at {path}: there is no such file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no dict)
            arrays = {name: file.get_tensor(name) for name, kind in kinds.items() if kind != "BF16"}
            for name, array in arrays.items():
                if array.dtype.kind == "V":  # float8, where ml_dtypes is installed
                    raise TypeError(f"{name} is {array.dtype}")
            metadata = file.metadata() or {}
        if len(arrays) < len(kinds):
            arrays |= _bfloat16(Path(path))
        return metadata, arrays
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        if zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path} looks like a file of torch.save, which only PyTorch can read; there, write it again with "
                "safetensors.torch.save_file(model.state_dict(), path)"
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is damaged or cut short, or not a safetensors file ({error})"
        ) from error
    except (TypeError, AttributeError) as error:  # float8: safetensors asks NumPy for a type that it lacks
        raise CheckpointError(
            f"{path} cannot be read: it has numbers of a type that NumPy lacks ({error}); save them as float32"
        ) from error


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
                upper = np.frombuffer(file.read(end - begin), "<u2").astype(np.uint32)
                arrays[name] = (upper << 16).view(np.float32).reshape(entry["shape"])
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
