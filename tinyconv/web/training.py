"""A training that the pages watch: the steps of `tinyconv train`, one at a time, and what they have shown so far."""

from __future__ import annotations

import shlex
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv import data, models
from tinyconv.errors import TinyconvError
from tinyconv.nn.module import host_array
from tinyconv.tensor.creation import get_rng_state, set_rng_state
from tinyconv.train import EpochReport, EvalReport, Recipe, Run, Session, StepReport
from tinyconv.train.recipes import RECIPES
from tinyconv.web.studio import Studio

OFTEN = 0.25
"""Seconds between two reports. Showing 4 a second takes Chromium 6 % of a core, from those that train; 10 take 10 %."""
BINS = 33
"""Bars of a histogram."""
_numbers = count(1)


class Training:
    """A session, its reports so far, and the generator that goes on with it between the jobs.

    The model is in evaluation mode whenever a job has its turn, and the random numbers that jobs draw are not those of
    the training: its weights are the same bits as without any page.

    Args:
        session: What is trained.
        title: What the pages call the model.
        recipe: The name of the recipe that it began with.
        resumed: Whether it goes on with a checkpoint.
    """

    def __init__(self, session: Session, title: str, recipe: str, resumed: bool = False) -> None:
        self.session, self.title, self.recipe, self.resumed = session, title, recipe, resumed
        self.number = next(_numbers)  # by which a page knows that it is another one
        self.status = "paused"  # or running, finished, failed
        self.said = ""  # what ended it, where it failed
        self.peak = float(session.run.recipe["lr"])
        self.rates: list[dict[str, Any]] = []  # what was changed by hand: after which step, from which peak, to which
        self.saved: list[dict[str, Any]] = []  # the path, and whether it can be resumed
        self.parameters = sum(parameter.numel() for parameter in session.model.parameters())
        at = session.trainer.progress
        self.entry = self.about() | {"number": self.number, "history": at.history}  # in the table of runs
        self.steps = len(session.trainer.loader)  # in an epoch
        self.first = self.done = at.epoch * self.steps + at.step  # steps
        self.testing = 0.0  # the share that is done of the test under way
        self.spent = 0.0  # seconds in which it was running
        self._measured: dict[str, Any] | None = None
        self._losses = array("f")
        self._reports = session.trainer.run()
        self._random = get_rng_state()
        self._told = (0, 0)  # losses and epochs that the pages know

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained."""
        return self.session.trainer.finished

    def step(self) -> bool:
        """Make one step, or test one batch. False where the training is at its end."""
        model = self.session.model
        set_rng_state(self._random)
        model.train()
        try:
            report = next(self._reports, None)
        except Exception as error:
            self.status, self.said = "failed", str(error)
            if not isinstance(error, TinyconvError):  # the terminal gets the rest
                raise
            return False
        finally:
            model.eval()
            self._random = get_rng_state()
        if isinstance(report, StepReport):
            self._losses.append(report.loss)
            self.done += 1
        self.testing = report.batch / report.batches if isinstance(report, EvalReport) else 0.0
        if isinstance(report, EpochReport):
            self.entry["history"] = self.history
        if self.finished:
            self.status = "finished"
        return report is not None and not self.finished

    def activity(self, studio: Studio) -> Iterator[None]:
        """Train until the end, or until this is closed, and tell the pages how it goes."""
        self.status, began, told = "running", time.monotonic(), 0.0
        try:
            while self.step():
                now = time.monotonic()
                self.spent, began = self.spent + now - began, now
                if now - told >= OFTEN:
                    self.tell(studio)
                    told = now
                yield
        finally:
            if self.status == "running":
                self.status = "paused"
            self.tell(studio)

    def tell(self, studio: Studio) -> None:
        """Report what is new since the last time."""
        known, (losses, epochs) = self._told, (len(self._losses), len(self.history))
        self._told = losses, epochs
        studio.report("train", self.now() | self.since(*known))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The reports of the epochs that are done."""
        return self.session.trainer.progress.history

    def since(self, losses: int = 0, epochs: int = 0) -> dict[str, Any]:
        """The losses and the epochs from these numbers on. A page that lacks some before them asks for all of them."""
        return {
            "lossesFrom": losses,
            "losses": np.array(self._losses[losses:], np.float32),
            "epochsFrom": epochs,
            "history": self.history[epochs:],
        }

    def now(self) -> dict[str, Any]:
        """Where it stands: numbers alone, since a page gets this many times a second."""
        trainer = self.session.trainer
        at, total = trainer.progress, trainer.epochs * self.steps
        own = self.done - self.first
        return {
            "number": self.number,
            "status": self.status,
            "said": self.said,
            "done": self.done,
            "total": total,
            "steps": self.steps,
            "first": self.first,
            "testing": self.testing,
            "loss": self._losses[-1] if self._losses else None,
            "rate": trainer.optimizer.param_groups[0]["lr"],
            "speed": at.examples / at.seconds if at.seconds and not self.testing else None,
            "left": self.spent / own * (total - self.done) if own and not self.finished else None,
        }

    def about(self) -> dict[str, Any]:
        """What does not change from step to step."""
        run = self.session.run
        return {
            "title": self.title,
            "cake": run.options.get("slices") if run.model == "cake" else None,
            "recipe": self.recipe,
            "changes": changes_of(run, self.recipe),
            "seed": str(run.seed),
            "fields": run.recipe,
            "data": run.data,
            "images": len(self.session.trainer.loader.images),
            "parameters": self.parameters,
            "peak": self.peak,
            "rates": self.rates,
            "saved": self.saved,
            "resumed": self.resumed,
        }

    def set_peak(self, lr: float) -> None:
        """Let the schedule go on as if its learning rate were `lr` from here. The recipe says something else then."""
        trainer, factor = self.session.trainer, lr / self.peak
        schedule = trainer.scheduler
        if schedule is None:
            for group in trainer.optimizer.param_groups:
                group["lr"] *= factor
        else:
            state = schedule.state_dict()
            points = [[factor * rate for rate in point] for point in state["lr_points"]]
            now = [factor * rate for rate in state["_last_lr"]]
            schedule.load_state_dict(state | {"lr_points": points, "_last_lr": now})
        self.rates.append({"step": self.done, "from": self.peak, "to": lr})
        self.peak = lr

    def measured_step(self) -> None:
        """Make a step, and note what it did to each parameter."""
        before, done = self._weights(), self.done
        self.step()
        if self.done > done:  # it was no batch of the test
            gradients = {name: p.grad for name, p in self.session.model.named_parameters()}
            rows = [_row(name, now, before[name], gradients[name]) for name, now in self._weights().items()]
            self._measured = {"step": self.done, "rows": rows}

    def measured(self) -> dict[str, Any]:
        """How the weights are spread, and, where the last step was measured, its gradients and what it changed."""
        if self._measured is None or self._measured["step"] != self.done:
            self._measured = {"step": self.done, "rows": [_row(name, now) for name, now in self._weights().items()]}
        return self._measured

    def _weights(self) -> dict[str, NDArray[Any]]:
        return {name: host_array(parameter) for name, parameter in self.session.model.named_parameters()}


def _row(name: str, now: NDArray[Any], before: NDArray[Any] | None = None, gradient: Any = None) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(now.shape),
        "weight": _spread(now),
        "gradient": None if gradient is None else _spread(host_array(gradient)),
        "ratio": None if before is None or not _norm(before) else _norm(now - before) / _norm(before),
    }


def _norm(values: NDArray[Any]) -> float:
    return sqrt(float(np.sum(np.square(values, dtype=np.float64))))


def _spread(values: NDArray[Any]) -> dict[str, Any]:
    """Mean, standard deviation, norm, and how many values are in each of BINS pieces from the least to the most."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, BINS) if finite.size else (np.zeros(BINS, np.int64), np.zeros(2))
    return {
        "mean": float(finite.mean()) if finite.size else None,
        "sd": float(finite.std()) if finite.size else None,
        "norm": _norm(values),
        "least": float(edges[0]),
        "most": float(edges[-1]),
        "counts": counts.astype(np.int32),
        "broken": int(values.size - finite.size),
    }


def changes_of(run: Run, recipe: str) -> list[str]:
    """Where the run differs from the recipe, as the options of `tinyconv train`."""
    usual, words = asdict(RECIPES[recipe]), []
    for name, value in asdict(Recipe(**run.recipe)).items():
        flag = name.replace("_", "-")
        if value != usual[name]:
            words += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return words


def command(run: Run, recipe: str) -> str:
    """What trains the same in a terminal: the same weights, bit for bit."""
    kind = data.describe(run.data)
    options = dict(run.options)
    model = options.pop("slices", run.model) if run.model == "cake" else run.model
    words = ["tinyconv", "train", str(model), "--data", run.data, "--recipe", recipe, *changes_of(run, recipe)]
    fitting = models.options_for(run.model, kind.images.shape[1:], len(kind.classes))
    for name, value in options.items():
        if fitting.get(name) != value:
            words += ["--option", f"{name}={value}"]
    return shlex.join([*words, "--seed", str(run.seed)])
