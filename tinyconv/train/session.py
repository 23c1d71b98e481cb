"""A training built from its description: what `tinyconv train` runs, and what a checkpoint brings back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

from tinyconv import data, models
from tinyconv.arrays.backend import device_name
from tinyconv.data import PictureFolder, describe
from tinyconv.data.datasets import Split
from tinyconv.engine import variants
from tinyconv.engine.kernels import running
from tinyconv.errors import CheckpointError, DataError, shortened
from tinyconv.nn import Module
from tinyconv.tensor.creation import manual_seed
from tinyconv.train import checkpoint
from tinyconv.train.checkpoint import Run
from tinyconv.train.loop import EpochReport, Report, StepReport, Trainer
from tinyconv.train.recipes import Recipe
from tinyconv.user_frame import warn

SPLITS: tuple[Split, Split] = "train", "test"
WHITENED = 5000
"""Images from which the first layer of a CifarNet is made: half a million patches for twelve directions."""


@dataclass(frozen=True)
class Session:
    """A training that `start` or `resume` has built.

    `run` describes it, `model` is what is trained, and `trainer` trains it.
    """

    run: Run
    model: Module
    trainer: Trainer

    def save(self, path: str | PathLike[str]) -> Path:
        """Write a checkpoint from which `resume` continues bit for bit, and return its path.

        Raises CheckpointError where it cannot be written.
        """
        trainer = self.trainer
        kernels = _kernels(trainer, search=False) if trainer.progress.step or trainer.progress.epoch else None
        return checkpoint.save(path, self.run, self.model, trainer.optimizer, trainer.state_dict(), kernels)

    def saving(self, path: str | PathLike[str], steps: int | None = None, seconds: float = 300.0) -> Iterator[Report]:
        """Train to the end, like `Trainer.run`, and keep a checkpoint at `path`: whatever happens, little is lost.

            for report in session.saving("lenet5.safetensors", seconds=60):
                print(report)

        It is written after every epoch, and within one as often as the other arguments say.

        Args:
            path: The file, replaced in one step each time.
            steps: Steps from one checkpoint to the next.
            seconds: Unless `steps` is given: the time from one checkpoint to the next, which the step under way ends.

        Gives a warning where it cannot be written (a full disk), and trains on. Raises CheckpointError where that is
        the last one, and DivergedError like `Trainer.run`.
        """
        since, saved = 0, time.monotonic()
        for report in self.trainer.run():
            since += isinstance(report, StepReport)
            late = time.monotonic() - saved >= seconds if steps is None else since >= steps
            if isinstance(report, EpochReport) or (isinstance(report, StepReport) and late):
                try:
                    self.save(path)
                except CheckpointError as error:
                    if self.trainer.finished:
                        raise
                    warn(f"the training goes on, but {error}")
                since, saved = 0, time.monotonic()
            yield report


def start(
    run: Run, *, root: str | PathLike[str] | None = None, offline: bool = False, device: str | None = None
) -> Session:
    """Build a training at its beginning. The seed decides the weights, the order of the images and their augmentation.

        session = start(new_run("lenet5", "synthetic", 0, RECIPES["default"]))
        for report in session.trainer.run():
            print(report)

    Args:
        run: What to train, on what, and how: see `new_run`.
        root: Folder with the data files; unless given, the usual places (see `tinyconv.data.sources`).
        offline: Never use the network.
        device: "cpu", "cuda" or "cuda:N"; the default device unless given.

    Raises DataError where the dataset cannot be had, DeviceError where the device is missing, ValueError or TypeError
    for a model, an option or a recipe that is unknown, and ShapeError where the model cannot take the images.
    """
    if not isinstance(run, Run):
        raise TypeError(f"start takes what new_run(model, data, seed, recipe) returns, got {shortened(run)}")
    recipe = Recipe(**run.recipe)
    checkpoint.check_images(run)  # before anything is fetched
    train, test = (run.images(split, root, offline) for split in SPLITS)
    manual_seed(run.seed)
    model = models.create(run.model, **run.options)
    if isinstance(model, models.CifarNet):
        images, _ = next(data.DataLoader(train, WHITENED).arrays(0))
        model.whiten(images)
    model = model.to(device=device)
    loader = data.DataLoader(
        train, recipe.batch_size, shuffle=True, seed=run.seed, augment=recipe.augmentation(), device=device
    )
    optimizer = recipe.optimizer_of(model)
    scheduler = recipe.scheduler(optimizer, steps=recipe.epochs * len(loader))
    trainer = Trainer(model, optimizer, scheduler, loader, test, recipe.epochs, recipe.label_smoothing)
    return Session(run, model, trainer)


def resume(
    path: str | PathLike[str],
    *,
    epochs: int | None = None,
    root: str | PathLike[str] | None = None,
    offline: bool = False,
    device: str | None = None,
) -> Session:
    """Build the training that the checkpoint at `path` describes, at the step where it was saved.

    Args:
        path: The checkpoint: a file of `Session.save`.
        epochs: Train this many in all; those of the checkpoint unless given. See `longer`.
        root: Folder with the data files; unless given, the usual places (see `tinyconv.data.sources`).
        offline: Never use the network.
        device: "cpu", "cuda" or "cuda:N", which need not be the one before; the default device unless given.

    Gives a warning where other kernels trained it than will go on with it: the rest has other bits then. Raises
    CheckpointError where the file is missing, damaged or of another model; DataError and DeviceError like `start`.
    """
    found = longer(checkpoint.load(path), epochs)
    with checkpoint.blamed(path, "its training cannot be continued", passing=DataError):
        session = start(found.run, root=root, offline=offline, device=device)
        session.model.load_state_dict(found.model_state)
        session.trainer.optimizer.load_state_dict(found.optimizer_state)
        session.trainer.load_state_dict(found.trainer)
    if found.kernels is not None and found.kernels != (now := _kernels(session.trainer)):
        warn(f"{path} was trained with {found.kernels} kernels, and goes on with {now}: they round differently")
    return session


def _kernels(trainer: Trainer, search: bool = True) -> str:
    """The kernels that train; `search` is that of `running`."""
    on_gpu = device_name(trainer.loader.device).startswith("cuda")
    return "cuda" if on_gpu and variants.kernels() != variants.READABLE else running(search)


def longer(found: checkpoint.Checkpoint, epochs: int | None) -> checkpoint.Checkpoint:
    """The checkpoint, as if it came from a training of so many epochs; None leaves it as it is.

    With a constant learning rate the epochs that are done are the same then, bit for bit. Raises CheckpointError where
    the rates depend on the number of all epochs, or more of them are done.
    """
    schedule, before = found.run.recipe.get("schedule"), found.run.recipe.get("epochs")
    if epochs is None or epochs == before:
        return found
    done = found.trainer["progress"]["epoch"]
    if schedule != "constant":
        raise CheckpointError(
            f"{found.path}: its learning rates are those of {schedule!r} over {before} epochs, and those of its {done} "
            f"epochs would have been others over {epochs}; train anew with {epochs} epochs, or with the schedule "
            "'constant', which can be made longer"
        )
    if epochs < done:
        raise CheckpointError(f"{found.path}: {done} epochs are done already, which is more than {epochs}")
    return replace(found, run=replace(found.run, recipe=found.run.recipe | {"epochs": epochs}))


def new_run(model: str, data: str | PictureFolder, seed: int, recipe: Recipe, /, **options: object) -> Run:
    """The description of a training, for `start`. The model is fitted to the images and classes of the dataset.

        new_run("lenet5", "cifar10", 0, Recipe()).options  # {"in_channels": 3, "size": 32}

    Args:
        model: A name of `models.MODELS`, or one that `models.register` was given.
        data: The name of a dataset, or "synthetic"; or a folder of your own pictures, whose training images are read
            for their mean and deviation.
        seed: Decides the weights, the order of the images and their augmentation.
        recipe: How to train.
        options: Options of the model. They win over what fits the dataset.

    Raises ValueError for an unknown model, DataError for an unknown dataset and for a folder that cannot be read, and
    TypeError for another recipe.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"new_run: recipe must be a Recipe, got {shortened(recipe)}; RECIPES has those with a name")
    if not isinstance(data, PictureFolder):
        kind, pictures = describe(data), {}
    else:
        kind = data.load("train")
        pictures = {
            "shape": list(kind.images.shape[1:]), "classes": list(kind.classes), "mean": list(kind.mean),
            "std": list(kind.std),
        }  # fmt: skip
        data = os.path.abspath(data.path)
    fitting = models.options_for(model, kind.images.shape[1:], len(kind.classes))
    return Run(model, fitting | options, data, seed, asdict(recipe), pictures)
