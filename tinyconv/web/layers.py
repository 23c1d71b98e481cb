"""What the layers of the model under study make of images, as the pages get it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.engine.context import no_grad
from tinyconv.engine.writes import checksum
from tinyconv.errors import ShapeError
from tinyconv.inspect.field import Fields
from tinyconv.inspect.tracer import LayerObserver, observe
from tinyconv.nn import Module
from tinyconv.nn.stateless import functional_call
from tinyconv.tensor.tensor import Tensor
from tinyconv.train import DOUBT
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

MOST_CELLS = 1 << 18
"""Numbers of one layer that a page gets: the first maps that fit in. LeNet has 4,608 at most."""


def run(model: Module, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[LayerObserver, Tensor]:
    """Run the model on a batch, watched: the observer has each layer's output. The model is left in its mode.

    With a `state`, it runs with those weights and buffers in place of its own.

    Raises ShapeError for a model that gives anything but scores (N, classes).
    """
    observer = LayerObserver(model)
    observer.begin(x, {id(parameter) for parameter in model.parameters()})
    scores = observe(model, observer, functional_call, model, state or {}, (x,))
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        found = f"{scores.shape}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ShapeError(f"the studio needs a model that gives scores (N, classes), got {found}")
    return observer, scores


def seen(observer: LayerObserver, scores: Tensor) -> dict[str, Any]:
    """What the layers made of the first image of a batch.

    Returns:
        scores: float32 (classes,).
        probabilities: Their softmax.
        doubt: A largest probability under this is a doubt.
        layers: A list, in the order in which they ran, with for each
            name, kind: As in the rows of `tc.summary`: "pool#2", "MaxPool2d".
            shape: That of all its maps, [16, 4, 4], or of its vector, [120].
            maps: float32 (M, H, W), or (M,) for a vector; M is fewer than the layer has where these are too many.
            field: For rows and for columns {size, jump, start}: cell i of a map depends on the pixels from
                start + i * jump on, size of them. None where it does not depend on the image.
    """
    with no_grad():
        shares = scores[:1].softmax(1)
    layers = []
    for step, out in zip(observer.steps, observer.outputs, strict=True):
        found = np.atleast_1d(host(out))[0]  # an op may give one number for the whole batch
        found = found if found.ndim == 3 else found.ravel()
        most = max(1, MOST_CELLS // max(1, found[0].size)) if len(found) else 0
        layers.append(
            {
                "name": step.name,
                "kind": step.kind,
                "shape": list(step.output_shape) or [1],
                "maps": found[:most],
                "field": field(step.fields),
            }
        )
    return {"scores": host(scores)[0], "probabilities": host(shares)[0], "doubt": DOUBT, "layers": layers}


def field(fields: Fields | None) -> list[dict[str, int]] | None:
    """Receptive fields of rows and columns as a page reads them."""
    return None if fields is None else [axis._asdict() for axis in fields]


def host(t: Tensor) -> NDArray[Any]:
    """The values of a tensor, in memory of their own."""
    return np.array(t.detach().cpu().numpy())


def when(studio: Studio) -> dict[str, Any]:
    """Which weights a page is shown.

    Returns:
        training: Whether they are being trained, so that the next answer may be another.
        after: The steps of that training so far, or of the one that was paused or ended; None where there is none.
    """
    training = studio.state.get("train")
    if training is None:
        return {"training": False, "after": None}
    return {"training": training.status == "running", "after": training.done}


def moment(subject: Subject) -> int:
    """A checksum of the weights: it is another one after a step of training."""
    found = 0
    for t in subject.model.state_dict().values():
        found = (31 * found + checksum(t.detach().cpu().numpy())) % (1 << 31)
    return found
