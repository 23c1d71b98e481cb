"""The training loop, one step at a time, so that it can be watched, stopped and resumed between any two."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from tinyconv import functional as F
from tinyconv.backend import Array
from tinyconv.creation import get_rng_state, set_rng_state, tensor
from tinyconv.data import DataLoader, Dataset
from tinyconv.errors import TinyconvError
from tinyconv.modes import no_grad
from tinyconv.nn import Module
from tinyconv.optim import Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler
from tinyconv.tensor import Tensor
from tinyconv.train.fields import check_types


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
    """After one optimiser step: `epoch` and `step` count from 1, `loss` is that of its batch."""

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
        self.loader, self.test, self.epochs, self.label_smoothing = loader, test, epochs, label_smoothing
        self.progress = Progress()

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.epochs

    def run(self) -> Iterator[StepReport | EpochReport]:
        """Train from where `progress` is to the end of the last epoch."""
        while not self.finished:
            yield from self._epoch()

    def _epoch(self) -> Iterator[StepReport | EpochReport]:
        at = self.progress
        self.model.train()
        started = time.perf_counter()
        for x, y in self.loader.batches(at.epoch, at.step):
            loss = self._step(x, y)
            at.step += 1
            at.loss_sum += loss * len(y)
            at.examples += len(y)
            at.seconds += time.perf_counter() - started
            yield StepReport(at.epoch + 1, at.step, len(self.loader), loss)
            started = time.perf_counter()  # what the reader of the report did is not ours
        accuracy = evaluate(self.model, self.test, device=self.loader.device)
        at.seconds += time.perf_counter() - started
        report = EpochReport(at.epoch + 1, at.loss_sum / at.examples, accuracy, at.seconds)
        self.progress = Progress(epoch=at.epoch + 1, history=[*at.history, asdict(report)])
        yield report

    def _step(self, x: Tensor, y: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y, label_smoothing=self.label_smoothing)
        value = float(loss)
        if not isfinite(value):
            raise DivergedError(
                f"the loss is {value} at epoch {self.progress.epoch + 1}, step {self.progress.step + 1}; "
                "the learning rate is likely too high (--lr), or the data hold infinities"
            )
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return value

    def state_dict(self) -> dict[str, Any]:
        """Progress, schedule and random numbers, of plain Python values that JSON keeps exactly."""
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


def evaluate(model: Module, dataset: Dataset, batch_size: int = 1000, device: str | None = None) -> float:
    """The share of `dataset` that `model`, in evaluation mode, classifies right."""
    chosen = predict(model, dataset.normalized(), batch_size, device).argmax(1)
    return float((chosen == dataset.labels).mean())
