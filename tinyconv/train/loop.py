"""The training loop, one step at a time, so that it can be watched, stopped and resumed between any two steps."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from math import isfinite, nan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyconv import functional as F
from tinyconv.arrays.backend import backend_for, captured_step
from tinyconv.capture import Captured
from tinyconv.data import DataLoader, ImageDataset
from tinyconv.distributed.communicator import current, share_of
from tinyconv.engine.context import no_grad
from tinyconv.engine.options import count, fraction, integer
from tinyconv.engine.tree import TILE
from tinyconv.errors import ShapeError, TinyconvError, shortened
from tinyconv.host import limits
from tinyconv.nn import DataParallel, DistributedDataParallel, Module
from tinyconv.optim import Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler
from tinyconv.tensor.creation import get_rng_state, set_rng_state, tensor, zeros
from tinyconv.tensor.tensor import Tensor, wrap
from tinyconv.train.fields import check_fields
from tinyconv.user_frame import warn

READ = 50
"""Steps between two readings of the losses that a GPU has summed. It would have to wait if each step were read."""
TESTED = 1000
"""Images in a batch when a model is tested."""
REHEARSED = 4
"""Batches up to which a test is run eagerly: to record it takes the time of two batches."""
DOUBT = 0.9
"""A probability under this is a doubt: LeNet-5 has it for 1.3% of the test digits that it reads right, and for 67% of
those that it reads wrong."""
MOST = 1e300
"""The largest loss, sum of losses and number of seconds that a report may have: a larger one cannot be drawn."""


class DivergedError(TinyconvError, ArithmeticError):
    """The training loss is NaN or infinite: the learning rate is likely too high."""


@dataclass
class Progress:
    """Where a training stands: all of it but the weights, the optimiser, the schedule and the random numbers."""

    epoch: int = 0  # epochs done
    step: int = 0  # batches done in the epoch under way
    loss_sum: float = 0.0  # over the examples of that epoch
    examples: int = 0
    seconds: float = 0.0  # spent on that epoch
    history: list[dict[str, Any]] = field(default_factory=list)  # the EpochReports, as dictionaries


@dataclass(frozen=True)
class StepReport:
    """What `Trainer.run` yields after each optimiser step.

    `epoch` and `step` count from 1, `steps` is their number in an epoch, and `loss` is the loss of the batch. On a GPU,
    which must not wait for each step, `loss` is the mean since the losses were last read: they are read at the first
    step of an epoch, at every 50th after it, and at the last.
    """

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EvalReport:
    """What `Trainer.run` yields after each batch of the test that ends an epoch: `batch` of `batches`, from 1."""

    epoch: int
    batch: int
    batches: int


@dataclass(frozen=True)
class EpochReport:
    """What `Trainer.run` yields after each epoch.

    `epoch` counts from 1, `train_loss` is the mean over its images, `test_accuracy` (0 to 1) is measured after it, and
    `seconds` is the time that it took, with the test.
    """

    epoch: int
    train_loss: float
    test_accuracy: float
    seconds: float

    def __post_init__(self) -> None:
        check_fields(self, epoch=(1, limits.EPOCHS), train_loss=(0, MOST), test_accuracy=(0, 1), seconds=(0, MOST))


def history_of(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The reports of epochs, as dictionaries, checked: ValueError or TypeError where they are of another kind.

    Epochs may be left out, as in the log of a training that was resumed, but come in their order.
    """
    reports = [EpochReport(**entry) for entry in entries]
    for before, after in pairwise(reports):
        if after.epoch <= before.epoch:
            raise ValueError(f"epoch {after.epoch} comes after epoch {before.epoch}: are these two runs?")
    return [asdict(report) for report in reports]


def progress_of(state: Mapping[str, Any], epochs: int) -> Progress:
    """The progress of a training of so many epochs, checked: ValueError or TypeError where it cannot be one."""
    progress = Progress(**state)
    check_fields(
        progress, epoch=(0, epochs), step=(0, limits.SIZE), loss_sum=(0, MOST), examples=(0, 1 << 40), seconds=(0, MOST)
    )
    reported = [entry["epoch"] for entry in history_of(progress.history)]
    if reported != list(range(1, progress.epoch + 1)):
        raise ValueError(f"{progress.epoch} epochs are done, but {len(reported)} are reported, or others")
    return progress


Report: TypeAlias = StepReport | EvalReport | EpochReport


class Trainer:
    """Train a model with cross-entropy, and test it after every epoch.

        for report in trainer.run():
            print(report)

    There is one optimiser step, or one batch of the test, between two reports, and stopping at a report changes
    nothing: a trainer that is given the weights, the optimiser's state and `state_dict()` continues bit for bit. It
    begins a test that was stopped anew.

    Steps are captured (`tinyconv.capture`) where they can be: a model that reads a value in its forward is called as it
    is. On a GPU the images stay on the device, a smaller last batch is not captured, and losses are summed on the
    device and read now and then. `print(trainer.captured)` shows what a step does, once the first is done.

    Args:
        model: The model, on the device of `loader`: (N, C, H, W) gives logits (N, classes).
        optimizer: The optimiser of its parameters.
        scheduler: Moved after every step; None keeps the learning rate as it is.
        loader: Batches of training images and labels.
        test: Images and labels to test on.
        epochs: Passes over the training images.
        label_smoothing: Share of each label that is spread evenly over all classes.

    Raises TypeError for an argument of another kind, and OptionError for numbers out of range.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        loader: DataLoader,
        test: ImageDataset,
        epochs: int,
        label_smoothing: float = 0.0,
    ) -> None:
        kinds = {"model": (model, Module), "optimizer": (optimizer, Optimizer), "loader": (loader, DataLoader)}
        kinds |= {} if scheduler is None else {"scheduler": (scheduler, LRScheduler)}
        for name, (value, kind) in kinds.items():
            if not isinstance(value, kind):
                got = f"the class {value.__name__}: make one" if isinstance(value, type) else shortened(value)
                raise TypeError(f"Trainer: {name}: expected one of class {kind.__name__}, got {got}")
        if not loader.in_memory:
            raise TypeError(
                "Trainer: loader: expected one without a sampler, of images and labels in memory: an ImageDataset, a "
                "TensorDataset or a pair of arrays; any other loader is for a loop of your own"
            )
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.loader, self.epochs = loader, count("Trainer: epochs", epochs)
        self.label_smoothing = fraction("Trainer: label_smoothing", label_smoothing)
        self.test = DataLoader(test, TESTED, device=loader.device)
        self.progress = Progress()
        # What is recorded: the ranks of a training share the tiles of its steps.
        self._shared = model if current().size == 1 else DistributedDataParallel(model)
        self._loss = nan  # for reports
        self._read_at = 0  # examples
        self.captured = Captured(self._step, loader.device, required=False)
        self._counted = Captured(_right, loader.device, required=False)
        on_host = backend_for(loader.device).on_host
        # The sum of the epoch's losses, on the device; progress has the part that was read.
        self._sum = None if on_host else zeros((), dtype="float64", device=loader.device)

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained."""
        return self.progress.epoch >= self.epochs

    def run(self) -> Iterator[Report]:
        """Train from where the training stands to the end of the last epoch, and yield reports.

        Raises DivergedError when the loss is no longer finite; on the CPU, the weights are then those before that step.
        """
        while not self.finished:
            yield from self._epoch()

    def _epoch(self) -> Iterator[Report]:
        at, steps = self.progress, len(self.loader)
        self._shared.train()
        self._begin()
        started = time.perf_counter()
        while at.step < steps:
            current().place = f"epoch {at.epoch + 1}, step {at.step + 1}"
            size = self.loader.batch_size or 1
            examples = min(size, len(self.loader.images) - at.step * size)
            # A CUDA graph has one shape; a smaller last batch has a program of its own.
            one_shape = examples == size or self._sum is None
            if one_shape:
                self._rehearse(examples)
            before = [] if self._sum is not None else [p.array.copy() for p in self.model.parameters()]
            loss = (self.captured if one_shape else self._step)(examples)
            at.step += 1
            if self._sum is None:
                self._loss = loss.item()
                self._check(at.step, before)
                at.loss_sum += self._loss * examples
            at.examples += examples
            if (at.step - 1) % READ == 0 or at.step == steps:
                self._read()
            at.seconds += time.perf_counter() - started
            yield StepReport(at.epoch + 1, at.step, steps, self._loss)
            started = time.perf_counter()  # the time that the caller took is not counted
        current().place = f"the test of epoch {at.epoch + 1}"
        tested = _tested(self._shared, self.test, self._counted)
        for batch, right in enumerate(tested, 1):  # noqa: B007 (it is read below)
            at.seconds += time.perf_counter() - started
            yield EvalReport(at.epoch + 1, batch, len(self.test))
            started = time.perf_counter()
        accuracy = right.item() / len(self.test.images)
        at.seconds += time.perf_counter() - started
        report = EpochReport(at.epoch + 1, at.loss_sum / at.examples, accuracy, at.seconds)
        self.progress = Progress(epoch=at.epoch + 1, history=[*at.history, asdict(report)])
        self._begin()  # a checkpoint that is written now reads the sum
        yield report

    def _rehearse(self, examples: int) -> None:
        """Have the step's program recorded, and put back what that has changed.

        So all steps of a training are replays, and have the same bits wherever it was stopped and resumed.
        """
        calls, ranks = self.captured.rehearsals(examples), current()
        for _ in range(calls):
            with _put_back(self.model, self.optimizer, self.scheduler):
                self.captured(examples)
        if calls and ranks.size > 1 and ranks.rank == 0 and (found := self.captured.to_dict())["state"] == "refused":
            warn(f"each of the {ranks.size} ranks works out whole batches, as one would: the step {found['says']}")

    def _step(self, examples: int) -> Tensor:
        """A step on the next batch, of so many examples. Returns its loss."""
        x, y = self.loader.batch_at(lambda: (self.progress.epoch, self.progress.step))
        self.optimizer.zero_grad()
        loss = F.cross_entropy(_scores("Trainer", _called(self._shared), x), y, label_smoothing=self.label_smoothing)
        if self._sum is not None:
            self._sum += loss.detach().double() * examples
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss.detach()

    def _begin(self) -> None:
        """Let the device sum the losses of the epoch, from what progress has of them."""
        if self._sum is not None:
            self._sum[...] = self.progress.loss_sum
            self._read_at = self.progress.examples

    def _read(self) -> None:
        """Take over into progress what the device has summed."""
        at = self.progress
        if self._sum is None or at.examples == self._read_at:
            return
        total = self._sum.item()
        self._loss = (total - at.loss_sum) / (at.examples - self._read_at)
        at.loss_sum, self._read_at = total, at.examples
        self._check(at.step)

    def _check(self, step: int, before: Iterable[Any] = ()) -> None:
        """Raise DivergedError where the loss is not finite. The weights become those of `before`, if given."""
        if not isfinite(self._loss):
            with no_grad():
                for parameter, value in zip(self.model.parameters(), before, strict=False):
                    parameter[...] = wrap(value)
            raise DivergedError(
                f"the loss is {self._loss} at epoch {self.progress.epoch + 1}, step {step}; "
                "the learning rate is likely too high (--lr), or the data hold infinities"
            )

    def state_dict(self) -> dict[str, Any]:
        """The progress, the schedule and the random numbers, as Python values that JSON keeps exactly."""
        self._read()
        schedule = None if self.scheduler is None else self.scheduler.state_dict()
        seed = self.loader.seed
        return {"progress": asdict(self.progress), "schedule": schedule, "rng": get_rng_state(), "seed": seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        The weights and the optimiser's state are loaded apart. Raises ValueError or TypeError where `state` is of
        another kind.
        """
        progress = progress_of(state["progress"], self.epochs)
        images, steps = len(self.loader.images), len(self.loader)
        if progress.step > steps or progress.examples != min(progress.step * (self.loader.batch_size or 1), images):
            raise ValueError(f"{progress.step} steps and {progress.examples} examples are not part of one epoch")
        if self.scheduler is not None:
            saved, own = state["schedule"], self.scheduler.state_dict()
            now = {"last_epoch": progress.epoch * steps + progress.step, "_last_lr": own["_last_lr"]}
            if not isinstance(saved, dict) or saved | {"_last_lr": own["_last_lr"]} != own | now:
                raise ValueError("its schedule is not the one of the recipe after so many steps")
            self.scheduler.load_state_dict(saved)
        self.progress = progress
        if self.loader.seed is None and state.get("seed") is not None:  # which was drawn then
            self.loader.seed = integer("Trainer: seed", state["seed"], 0)
        set_rng_state(state["rng"])


@contextmanager
def _put_back(model: Module, optimizer: Optimizer, scheduler: LRScheduler | None) -> Iterator[None]:
    """A `with` block whose steps leave no trace in the model, the optimiser, the schedule and the random numbers.

    Gradients stay: a program that was recorded where there were none would be recorded again where there are.
    """
    tensors = [*model.parameters(), *model.buffers()]
    values = [t.detach().clone() for t in tensors]
    optimizers, schedule = optimizer.state_dict(), None if scheduler is None else scheduler.state_dict()
    chance = get_rng_state()
    try:
        yield
    finally:
        with no_grad():
            for t, value in zip(tensors, values, strict=True):
                t[...] = value
        optimizer.load_state_dict(optimizers)
        if scheduler is not None and schedule is not None:
            scheduler.load_state_dict(schedule)
        set_rng_state(chance)


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """A `with` block with all of `model` in evaluation mode; then each module has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@no_grad()
def predict(
    model: Module, images: NDArray[np.floating[Any]], batch_size: int = TESTED, device: str | None = None
) -> NDArray[np.floating[Any]]:
    """The probabilities (N, classes) that `model` gives to each class, for each image.

        predict(model, test.normalized()).argmax(1)

    Args:
        model: It is run in evaluation mode; then each of its modules is in the mode it was in.
        images: Normalised images (N, C, H, W), of the dtype of the model.
        batch_size: Images at a time.
        device: Where the model is; the default device unless given.

    Raises ShapeError and DtypeError where the images do not fit the model, ShapeError where it does not give
    (N, classes), and OptionError for a batch size below 1.
    """
    step = count("predict: batch_size", batch_size)
    probable = Captured(_probable, device, required=False)
    with _evaluating(model):
        parts = [
            probable(model, tensor(images[start : start + step], device=device)).cpu().numpy()
            for start in range(0, max(len(images), 1), step)  # of no images, too, the model says how many classes
        ]
    return np.concatenate(parts)


def _probable(model: Module, x: Tensor) -> Tensor:
    return _scores("predict", model, x).softmax(1)


def evaluate(
    model: Module,
    data: Any,
    batch_size: int = TESTED,
    device: str | None = None,
    mirrored: bool = False,
    shifted: int = 0,
) -> float:
    """The share of images, 0 to 1, that `model` classifies right.

        evaluate(model, tc.data.mnist("test"))

    They are counted on the device, from which one number is read. Ranks share the images where `model` is a
    DistributedDataParallel: each counts in batches of its own, and all are returned the share, that of one rank.

    Args:
        model: It is run in evaluation mode; then each of its modules is in the mode it was in.
        data: A dataset of images and labels; or a loader of one, which may keep its images on the device from call to
            call: the batches of its first epoch are taken, and `batch_size` and `device` are those of the loader.
        batch_size: Images at a time; with a DistributedDataParallel at most, so that its tiles are full.
        device: Where the model is; the default device unless given.
        mirrored: Classify by the mean of the probabilities of each image and of its mirror image.
        shifted: Unless 0: classify by the mean over each image, which counts for half, and two copies of it, moved by
            this many pixels up and left, and down and right. What comes in is mirrored at the border. With `mirrored`
            each of the three is shown both ways, as in Jordan, arXiv:2404.00498.

    Raises ShapeError where the images do not fit the model, and where it does not give (N, classes), with a class for
    each label; ShapeError for images that are too small to be shifted, and OptionError for a negative number of pixels.
    """
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, device=device)
    views = bool(mirrored), integer("evaluate: shifted", shifted, 0)
    if not loader.in_memory:
        return _share_right(model, loader, *views)
    if isinstance(model, DistributedDataParallel) and backend_for(loader.device).on_host:
        if loader is not data:
            loader = DataLoader(data, _fair(len(loader.images), batch_size, model.tile or TILE))
        return _share_right_of_ranks(model, loader, *views)
    *_, right = _tested(model, loader, Captured(_right, loader.device, required=False), *views)
    return right.item() / len(loader.images)


def _share_right(model: Module, loader: DataLoader, mirrored: bool, shifted: int) -> float:
    """What `evaluate` returns, for batches that a loader makes item by item."""
    right, seen = 0, 0
    for batch in loader:
        if not (isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(t, Tensor) for t in batch)):
            raise TypeError(f"evaluate: expected images and labels, got batches such as {shortened(batch)}")
        x, y = batch
        with _evaluating(model), no_grad():
            right += int(_right(model, x, y, int(y.max().item()), mirrored, shifted).item())
        seen += len(y)
    return right / seen


def _fair(images: int, most: int, tile: int) -> int:
    """So many images at a time, whole tiles and no more than `most` if that is a tile, that each rank has as many
    batches as the others. A cut between tiles changes no bit."""
    tiles, ranks = max(1, -(-images // tile)), current().size
    rounds = -(-tiles // (ranks * max(1, most // tile)))
    return tile * -(-tiles // (ranks * rounds))


def _share_right_of_ranks(model: DistributedDataParallel, loader: DataLoader, mirrored: bool, shifted: int) -> float:
    """What `evaluate` returns, where each rank counts in whole batches of its own: one after the other, none padded."""
    tiled, last, ranks = DataParallel(model.module, model.threads, model.tile), int(loader.labels.max()), current()
    start, stop = share_of(len(loader), ranks.size)[ranks.rank]
    right = 0
    with _evaluating(tiled), no_grad():
        for x, y in islice(loader.batches(0, start), stop - start):
            right += int(_right(tiled, x, y, last, mirrored, shifted).item())
    return int(ranks.allgather(right).sum()) / len(loader.images)


def _tested(
    model: Module, loader: DataLoader, counted: Captured[..., Tensor], mirrored: bool = False, shifted: int = 0
) -> Iterator[Tensor]:
    """Test a batch at a time; how many images were classified right so far, on the device, after each.

    `counted` is `_right`, captured.
    """
    right = zeros((), dtype="int64", device=loader.device)
    last = int(loader.labels.max())
    for x, y in loader.batches(0):
        with _evaluating(model), no_grad():  # and back before the caller has its turn
            if len(loader) > REHEARSED:  # so that all batches are replays; see `Trainer._rehearse`
                chance = get_rng_state()
                for _ in range(counted.rehearsals(model, x, y, last, mirrored, shifted)):
                    counted(model, x, y, last, mirrored, shifted)
                set_rng_state(chance)
            right += counted(model, x, y, last, mirrored, shifted)
        yield right


def _right(model: Module, x: Tensor, y: Tensor, last: int, mirrored: bool, shifted: int) -> Tensor:
    """How many images of a batch are classified right; the labels of the data go up to `last`."""
    model = _called(model)
    scores = _scores("evaluate", model, x)
    if last >= scores.shape[1]:
        raise ShapeError(
            f"evaluate: the labels go up to {last}, but the model gives {scores.shape[1]} scores: "
            f"its last layer needs {last + 1} outputs"
        )
    views = _views(x, mirrored, shifted)
    if views:
        scores = scores.softmax(1)
        for share, view in views:
            scores = scores + share * model(view).softmax(1)
    return (scores.argmax(1) == y).sum()


def _views(x: Tensor, mirrored: bool, shifted: int) -> list[tuple[float, Tensor]]:
    """What images are shown as besides themselves, each with what it counts, where they count 1."""
    views = [(1.0, x)]
    if shifted:
        h, w = x.shape[2:]
        around = F.pad(x, (shifted,) * 4, mode="reflect")
        views += [(0.5, around[:, :, :h, :w]), (0.5, around[:, :, -h:, -w:])]
    return views[1:] + [(share, view[:, :, :, ::-1]) for share, view in views if mirrored]


def _called(model: Module) -> Module:
    """What a step of a Trainer calls. In a program, ranks share the tiles of a DistributedDataParallel; a step that is
    called as it is works out the whole batch on each of them. So both have the bits of one rank."""
    shared = isinstance(model, DistributedDataParallel) and captured_step.get() is None
    return model.module if shared else model


def _scores(what: str, model: Module, x: Tensor) -> Tensor:
    """What the model gives for a batch. Raises ShapeError, signed `what`, unless it is scores (N, classes)."""
    scores = model(x)
    if isinstance(scores, Tensor) and scores.ndim == 2 and len(scores) == len(x):
        return scores
    got, fix = f"a {type(scores).__name__}", "does its forward return the scores alone?"
    if isinstance(scores, Tensor):
        got, fix = str(scores.shape), "does its forward keep axis 0 the batch?"
        if scores.ndim > 2 and len(scores) == len(x):
            fix = "end it with nn.Flatten()"
    raise ShapeError(f"{what}: expected scores ({len(x)}, classes) of {len(x)} images from the model, got {got}: {fix}")
