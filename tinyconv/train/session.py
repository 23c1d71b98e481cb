"""A training from its description: what `tinyconv train` runs, and what a checkpoint brings back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from tinyconv import data, models
from tinyconv.data import describe
from tinyconv.errors import CheckpointError, DataError
from tinyconv.nn import DataParallel, Module
from tinyconv.tensor.creation import manual_seed
from tinyconv.train import checkpoint
from tinyconv.train.checkpoint import Run
from tinyconv.train.loop import Trainer
from tinyconv.train.recipes import Recipe

WHITENED = 5000
"""Images that the first layer of a CifarNet is made of: half a million patches for twelve directions."""


@dataclass(frozen=True)
class Session:
    """A run, built: its model and the trainer that trains it, in tiles (`nn.DataParallel`)."""

    run: Run
    model: Module
    trainer: Trainer

    def save(self, path: str | PathLike[str]) -> Path:
        """Write a checkpoint from which `resume` continues bit for bit."""
        return checkpoint.save(path, self.run, self.model, self.trainer.optimizer, self.trainer.state_dict())


def start(
    run: Run, *, root: str | PathLike[str] | None = None, offline: bool = False, device: str | None = None
) -> Session:
    """Build a run at its beginning: the seed gives the weights, the order of the examples and their augmentation."""
    recipe = Recipe(**run.recipe)
    train, test = (data.load(run.data, split, root, offline) for split in ("train", "test"))
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
    trainer = Trainer(DataParallel(model), optimizer, scheduler, loader, test, recipe.epochs, recipe.label_smoothing)
    return Session(run, model, trainer)


def resume(
    path: str | PathLike[str],
    *,
    root: str | PathLike[str] | None = None,
    offline: bool = False,
    device: str | None = None,
) -> Session:
    """Build the run that a checkpoint is of, where the checkpoint left it."""
    found = checkpoint.load(path)
    try:
        session = start(found.run, root=root, offline=offline, device=device)
        session.model.load_state_dict(found.model_state)
        session.trainer.optimizer.load_state_dict(found.optimizer_state)
        session.trainer.load_state_dict(found.trainer)
    except DataError:  # the dataset is not to be had, which is not the checkpoint's fault
        raise
    except checkpoint.NONSENSE as error:
        raise CheckpointError(f"{path}: its training cannot be continued: {checkpoint.reason(error)}") from error
    return session


def new_run(model: str, data: str, seed: int, recipe: Recipe, /, **options: object) -> Run:
    """The description of a run, with every field of its recipe.

    The model is made to fit the dataset's images and classes, as far as the `options` leave it open.
    """
    kind = describe(data)
    fitting = models.options_for(model, kind.images.shape[1:], len(kind.classes))
    return Run(model, fitting | options, data, seed, asdict(recipe))
