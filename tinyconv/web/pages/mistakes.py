"""Jobs of the Mistakes page: what the model makes of each test image."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.nn import DataParallel
from tinyconv.train import predict
from tinyconv.web.jobs import JobError, job
from tinyconv.web.layers import moment
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

PIECE = 0.1
"""Seconds of a piece of the measurement: so long other jobs wait."""
MOST = 200
"""Images that a page gets at once."""


class Measurement:
    """The probabilities that a model gives the classes of each test image, a piece at a time.

    It has a copy of the weights, so that they are those of one moment whatever trains meanwhile.
    """

    def __init__(self, subject: Subject, step: int | None) -> None:
        self.subject, self.images, self.step = subject, subject.images, step
        self.weights = moment(subject)
        self.done = 0
        self._model = DataParallel(deepcopy(subject.model))
        self._size = 64
        self._parts: list[NDArray[Any]] = []

    @property
    def finished(self) -> bool:
        """Whether all images are through."""
        return self.done == len(self.images)

    def go_on(self) -> None:
        """Let the model read some more images: as many as took about PIECE the last time."""
        began, piece = time.perf_counter(), self.images.images[self.done : self.done + self._size]
        self._parts.append(predict(self._model, self.subject.input(piece).numpy()))
        self.done += len(piece)
        seconds = time.perf_counter() - began
        self._size = int(min(max(self._size * PIECE / seconds, 1), 2 * self._size))
        if self.finished:
            self.probabilities = np.concatenate(self._parts)
            self.predictions = self.probabilities.argmax(1)

    def result(self) -> dict[str, Any]:
        """The confusion matrix, rows by label and columns by prediction, and what follows from it."""
        labels, n = self.images.labels, max(len(self.images.classes), self.probabilities.shape[1])
        matrix = np.zeros((n, n), np.int64)
        np.add.at(matrix, (labels, self.predictions), 1)
        right = matrix.diagonal()
        with np.errstate(invalid="ignore"):  # 0 / 0 of a class without images, or that is never given, is NaN
            recall, precision = right / matrix.sum(1), right / matrix.sum(0)
        return {
            "right": int(right.sum()),
            "total": len(labels),
            "matrix": matrix,
            "recall": recall,
            "precision": precision,
            "classes": [*self.images.classes, *map(str, range(len(self.images.classes), n))],
            "step": self.step,
        }

    def cell(self, truth: int | None, prediction: int | None) -> NDArray[np.int64]:
        """The numbers of the images of a cell of the matrix; of all mistakes in a row, a column or all, without one."""
        labels, found = self.images.labels, self.predictions
        chosen = labels != found if truth is None or prediction is None else np.ones(len(labels), bool)
        if truth is not None:
            chosen &= labels == truth
        if prediction is not None:
            chosen &= found == prediction
        return np.flatnonzero(chosen)


def _step(studio: Studio) -> int | None:
    training = studio.state.get("train")
    return None if training is None else int(training.done)


def _measured(studio: Studio) -> Measurement:
    measurement: Measurement | None = studio.state.get("mistakes")
    if measurement is None:
        raise JobError("nothing has been measured yet: measure first")
    return measurement


@job("mistakes.state")
def state(studio: Studio) -> dict[str, Any]:
    """What was measured last, whether the weights are still those, and how far a measurement under way is."""
    last, now = studio.state.get("mistakes"), studio.state.get("measuring")
    return {
        "measured": None if last is None else last.result(),
        "stale": last is not None and last.weights != moment(studio.subject),
        "under_way": None if now is None else {"done": now.done, "total": len(now.images)},
        "training": studio.busy,
    }


@job("mistakes.begin")
def begin(studio: Studio) -> dict[str, Any]:
    """Begin to measure the weights as they are now. `mistakes.go_on` does it, as often as it takes."""
    measurement = Measurement(studio.subject, _step(studio))
    if not len(measurement.images):
        raise JobError("there are no test images to measure it on")
    studio.state["measuring"] = measurement
    return {"done": 0, "total": len(measurement.images)}


@job("mistakes.go_on")
def go_on(studio: Studio) -> dict[str, Any] | None:
    """A piece more. None where nothing is under way."""
    measurement: Measurement | None = studio.state.get("measuring")
    if measurement is None:
        return None
    measurement.go_on()
    if measurement.finished:
        studio.state["mistakes"] = studio.state.pop("measuring")
    return {"done": measurement.done, "total": len(measurement.images)}


@job("mistakes.cell", newest=True)
def cell(
    studio: Studio,
    truth: int | None = None,
    prediction: int | None = None,
    sure: bool = True,
    start: int = 0,
    count: int = 60,
) -> dict[str, Any]:
    """Images of a cell of the matrix, by the probability of the prediction: the largest first if `sure`."""
    measurement = _measured(studio)
    numbers = measurement.cell(truth, prediction)
    given = measurement.probabilities[numbers, measurement.predictions[numbers]]
    order = np.argsort(-given if sure else given, kind="stable")
    numbers = numbers[order][start : start + min(count, MOST)]
    labels, found = measurement.images.labels[numbers], measurement.predictions[numbers]
    return {
        "total": len(order),
        "numbers": numbers,
        "labels": labels,
        "predictions": found,
        "given": measurement.probabilities[numbers, found],
        "images": measurement.images.images[numbers],
    }
