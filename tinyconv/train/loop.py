"""The training loop, one step at a time, so that it can be watched, stopped and resumed between any two."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from typing import Any

import numpy as np

from tinyconv import functional as F
from tinyconv.arrays.backend import Array, backend_for
from tinyconv.capture import capture
from tinyconv.data import DataLoader, Dataset
from tinyconv.engine.context import no_grad
from tinyconv.errors import TinyconvError
from tinyconv.nn import Module
from tinyconv.optim import Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler
from tinyconv.tensor.creation import get_rng_state, set_rng_state, tensor, zeros
from tinyconv.train.fields import check_types

READ = 50
"""Steps from one to the next after which the losses that a GPU has summed are read. To read each would let it wait."""
TESTED = 1000
"""Images of the test set at a time."""


class DivergedError(TinyconvError, ArithmeticError):
    """The loss is no longer a finite number."""


@dataclass
class Progress:
    """Where a training is: everything about it that is neither weights nor optimiser."""

    epoch: int = 0  # epochs done
    step: int = 0  # batches done in the epoch under way
    loss_sum: float = 0.0  # over the examples of that epoch
    examples: int = 0
    seconds: float = 0.0  # spent on that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # the EpochReports, as dictionaries


@dataclass(frozen=True)
class StepReport:
    """After one optimiser step: `epoch` and `step` count from 1, `loss` is that of its batch.

    On a GPU, which is not made to wait, it is the mean since the losses were last read: at the first step, at every
    50th after it, and at the last.
    """

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochReport:
    """After one epoch: the mean training loss over it, the test accuracy (0 to 1) after it, the seconds it took."""

    epoch: int
    train_loss: float
    test_accuracy: float
    seconds: float


class Trainer:
    """Trains `model` on `loader` with cross-entropy, and tests it on `test` after every epoch.

        for report in trainer.run():
            print(report)

    One optimiser step is taken between two reports, and stopping there loses nothing: a trainer that is given the
    weights, the optimiser's state and `state_dict()` continues bit for bit.

    On a GPU the images stay there, steps are captured (`tinyconv.capture`), but for an epoch's last batch where that is
    smaller, and losses are summed there and read now and then.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        loader: DataLoader,
        test: Dataset,
        epochs: int,
        label_smoothing: float = 0.0,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.loader, self.epochs, self.label_smoothing = loader, epochs, label_smoothing
        self.test = DataLoader(test, TESTED, device=loader.device)
        self.progress = Progress()
        self._loss = nan  # for reports
        self._read_at = 0  # examples
        self._replayed = capture(self._step, loader.device)
        on_host = backend_for(loader.device).on_host
        # What the losses of the epoch sum to on the device, of which progress has what was read.
        self._sum = None if on_host else zeros((), dtype="float64", device=loader.device)

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.epochs

    def run(self) -> Iterator[StepReport | EpochReport]:
        """Train from where `progress` is to the end of the last epoch."""
        while not self.finished:
            yield from self._epoch()

    def _epoch(self) -> Iterator[StepReport | EpochReport]:
        at, steps = self.progress, len(self.loader)
        self.model.train()
        self._begin()
        started = time.perf_counter()
        while at.step < steps:
            examples = min(self.loader.batch_size, len(self.loader.images) - at.step * self.loader.batch_size)
            if examples == self.loader.batch_size:
                self._replayed()
            else:  # captured steps have one shape
                self._step()
            at.step += 1
            at.examples += examples
            if (at.step - 1) % READ == 0 or at.step == steps:
                self._read()
            at.seconds += time.perf_counter() - started
            yield StepReport(at.epoch + 1, at.step, steps, self._loss)
            started = time.perf_counter()  # what the reader of the report did is not ours
        accuracy = evaluate(self.model, self.test)
        at.seconds += time.perf_counter() - started
        report = EpochReport(at.epoch + 1, at.loss_sum / at.examples, accuracy, at.seconds)
        self.progress = Progress(epoch=at.epoch + 1, history=[*at.history, asdict(report)])
        yield report

    def _step(self) -> None:
        x, y = self.loader.batch_at(lambda: (self.progress.epoch, self.progress.step))
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y, label_smoothing=self.label_smoothing)
        if self._sum is None:
            self._loss = float(loss)
            self._check(self.progress.step + 1)
            self.progress.loss_sum += self._loss * len(y)
        else:
            self._sum += loss.detach().double() * len(y)
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def _begin(self) -> None:
        """Go on summing the losses of the epoch where its progress is."""
        if self._sum is not None:
            self._sum[...] = self.progress.loss_sum
            self._read_at = self.progress.examples

    def _read(self) -> None:
        """Bring progress up to what the device has summed."""
        at = self.progress
        if self._sum is None or at.examples == self._read_at:
            return
        total = self._sum.item()
        self._loss = (total - at.loss_sum) / (at.examples - self._read_at)
        at.loss_sum, self._read_at = total, at.examples
        self._check(at.step)

    def _check(self, step: int) -> None:
        if not isfinite(self._loss):
            raise DivergedError(
                f"the loss is {self._loss} at epoch {self.progress.epoch + 1}, step {step}; "
                "the learning rate is likely too high (--lr), or the data hold infinities"
            )

    def state_dict(self) -> dict[str, Any]:
        """Progress, schedule and random numbers, of plain Python values that JSON keeps exactly."""
        self._read()
        schedule = None if self.scheduler is None else self.scheduler.state_dict()
        return {"progress": asdict(self.progress), "schedule": schedule, "rng": get_rng_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        progress = Progress(**state["progress"])
        check_types(progress)
        for entry in progress.history:
            check_types(EpochReport(**entry))
        if len(progress.history) != progress.epoch:
            raise ValueError(f"{progress.epoch} epochs are done, but {len(progress.history)} are reported")
        self.progress = progress
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["schedule"])
        set_rng_state(state["rng"])


@no_grad()
def predict(model: Module, images: Array, batch_size: int = 1000, device: str | None = None) -> Array:
    """Class probabilities (N, classes), on the host, of normalised images (N, C, H, W), in evaluation mode."""
    training = model.training
    model.eval()
    try:
        parts = [
            model(tensor(images[start : start + batch_size], device=device)).softmax(1).cpu().numpy()
            for start in range(0, len(images), batch_size)
        ]
    finally:
        model.train(training)
    return np.concatenate(parts)


@no_grad()
def evaluate(
    model: Module,
    data: Dataset | DataLoader,
    batch_size: int = TESTED,
    device: str | None = None,
    mirrored: bool = False,
) -> float:
    """The share of the images that `model`, in evaluation mode, classifies right.

    With `mirrored` it is shown each image as it is and left to right, and the mean of its probabilities counts. The
    right ones are counted on the device, and one number is read. Of a loader, which may keep its images there from one
    call to the next, the batches of its first epoch are taken.
    """
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, device=device)
    right = zeros((), dtype="int64", device=loader.device)
    training = model.training
    model.eval()
    try:
        for x, y in loader.batches(0):
            scores = model(x)
            if mirrored:
                scores = scores.softmax(1) + model(x[:, :, :, ::-1]).softmax(1)
            right += (scores.argmax(1) == y).sum()
    finally:
        model.train(training)
    return right.item() / len(loader.images)
