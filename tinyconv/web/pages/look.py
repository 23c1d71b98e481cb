"""Jobs of the Look page. What they return depends on their arguments and the weights alone, so it can be kept."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.engine.context import no_grad
from tinyconv.errors import ShapeError, listed, shortened
from tinyconv.inspect.tracer import LayerObserver, Step, run_on_outlines
from tinyconv.nn import Conv2d, Linear, Module
from tinyconv.shapes import product
from tinyconv.tensor.gradients import grad
from tinyconv.web import layers as web_layers
from tinyconv.web.jobs import job
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

EXAMPLES = 10
"""Test images of each class to pick from."""
STRONGEST = 9
CHUNK = 100  # images that run together in a search, at most
CELLS = 1 << 22  # numbers that the layers make of them, at most, unless one image makes more
PATIENCE = 0.05  # seconds that a search keeps the model, before others get their turn


@job("look.layers")
def layers(studio: Studio) -> dict[str, Any]:
    """The layers, their weights, and test images to pick from.

    Returns:
        weights: A checksum of all weights: after a step of training it is another one.
        layers: A list, in the order in which they run, with for each
            name, kind, shape, field: See `layers.seen`.
            parameters: How many numbers it learns.
            filters: float32 (F, C, KH, KW): a convolution's weight, or a linear layer's with each row as pictures of
                the maps that it reads, (F, 1, 1, I) where it reads no maps. None for a layer without. A large layer has
                only the first filters that fit into `layers.MOST_CELLS` numbers.
            bias: float32 (F,), or None.
        count: How many test images there are.
        examples: `numbers`, `labels` int32 (N,) and `images` uint8 (N, C, H, W): the first ten of each class.

    Raises DataError where the test images cannot be had.
    """
    subject = studio.subject
    observer = LayerObserver(subject.model)
    run_on_outlines(subject.model, observer, 1, subject.shape)
    modules = dict(subject.model.named_modules())
    found, maps = [], subject.shape  # of the last layer that had maps
    for step in observer.steps:
        module = modules.get(step.name.partition("#")[0])
        filters, bias = _filters(module, maps) if step.params else (None, None)
        maps = step.output_shape if len(step.output_shape) == 3 else maps
        found.append(
            {
                "name": step.name,
                "kind": step.kind,
                "shape": list(step.output_shape),
                "field": web_layers.field(step.fields),
                "parameters": step.params,
                "filters": filters,
                "bias": bias,
            }
        )
    images = subject.images
    numbers = np.concatenate([np.flatnonzero(images.labels == k)[:EXAMPLES] for k in range(len(images.classes))])
    examples = {"numbers": numbers, "labels": images.labels[numbers], "images": images.images[numbers]}
    return {
        "weights": web_layers.moment(subject),
        "layers": found,
        "count": len(images),
        "examples": examples,
    }


def _filters(module: Module | None, maps: tuple[int, ...]) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    if not isinstance(module, Conv2d | Linear):
        return None, None
    weight = web_layers.host(module.weight)
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), *(maps if product(maps) == weight.shape[1] else (1, 1, weight.shape[1])))
    most = max(1, web_layers.MOST_CELLS // weight[0].size)
    bias = None if module.bias is None else web_layers.host(module.bias)[:most]
    return weight[:most], bias


@job("look.image", newest=True)
def image(studio: Studio, number: int, score: int | None = None) -> dict[str, Any]:
    """What the model makes of a test image, and the gradient of a score with respect to its pixels.

    Args:
        number: That of the test image.
        score: The class whose score it is; the largest score unless given.

    Returns:
        number, label: Which image it is, and what it shows.
        image: uint8 (C, H, W).
        score: The class of the gradient.
        gradient: float32 (C, H, W): how the score grows with each pixel, as the model gets them (normalised).
        weights: As in `look.layers`.
        training, after: See `layers.when`.
        scores, probabilities, doubt, layers: See `layers.seen`.

    Raises DataError for a number, and ShapeError for a class, that is not there.
    """
    subject = studio.subject
    one = subject.image(number)
    x = subject.input(one.images).requires_grad_()
    observer, scores = web_layers.run(subject.model, x)
    if score is None:
        score = int(web_layers.host(scores)[0].argmax())
    if not 0 <= score < scores.shape[1]:
        raise ShapeError(f"look.image: there is no score {score}: the model gives {scores.shape[1]}")
    (gradient,) = grad(scores[0, score], x)
    assert gradient is not None
    return {
        "number": number,
        "label": int(one.labels[0]),
        "image": one.images[0],
        "score": score,
        "gradient": web_layers.host(gradient)[0],
        "weights": web_layers.moment(subject),
        **web_layers.when(studio),
        **web_layers.seen(observer, scores),
    }


@job("look.strongest", newest=True)
def strongest(studio: Studio, layer: str, map: int) -> dict[str, Any]:
    """The test images in which a map is largest. Asked again, it looks at more of them, until `done` is `count`.

    Args:
        layer: The name of the layer.
        map: The number of its map, or of the number in its vector.

    Returns:
        layer, map: As given.
        weights: As in `look.layers`: those that the search began with.
        done, count: How many test images were looked at, and how many there are.
        numbers, labels: int32 (K,) of the images, the strongest first; K is 9 or fewer.
        images: uint8 (K, C, H, W).
        values: float32 (K,): the largest value in the map.
        places: int32 (K, 2): its row and column in the map.
        field: See `layers.seen`.

    Raises ShapeError for a layer or map that is not there, and DataError where the test images cannot be had.
    """
    weights = web_layers.moment(studio.subject)
    search: _Search | None = studio.state.get("look.strongest")
    if search is None or search.parts != _parts(studio.subject) or (search.weights != weights and search.ended):
        search = studio.state["look.strongest"] = _Search(studio.subject, weights)
    search.check(layer, map)
    until = time.monotonic() + PATIENCE
    while not search.ended:
        search.go_on()
        if time.monotonic() > until:
            break
    return search.found(layer, map)


def _parts(subject: Subject) -> list[Any]:
    """The layers of the model and the shapes of its weights, by which a user's model that was rebuilt is known."""
    layers = [(name, type(module)) for name, module in subject.model.named_modules()]
    return [*layers, *((name, t.shape) for name, t in subject.model.state_dict().items())]


class _Search:
    """The strongest images of each map of each layer, as far as the test images have been looked at.

    It keeps the weights that it began with: those of a training have changed when the next images are looked at.
    """

    def __init__(self, subject: Subject, weights: int) -> None:
        outlines = LayerObserver(subject.model)
        run_on_outlines(subject.model, outlines, 1, subject.shape)
        self.subject, self.weights, self.parts = subject, weights, _parts(subject)
        self.state = {name: t.detach().clone() for name, t in subject.model.state_dict().items()}
        self.done = 0
        self.best = {step.name: _Best(step) for step in outlines.steps}
        each = sum(product(step.output_shape) for step in outlines.steps)
        self.chunk = max(1, min(CHUNK, CELLS // max(each, 1)))

    @property
    def ended(self) -> bool:
        return self.done == len(self.subject.images)

    def check(self, layer: str, map: int) -> None:
        """ShapeError unless there is such a map."""
        if layer not in self.best:
            raise ShapeError(f"look.strongest: there is no layer {shortened(layer)}; there are {listed(self.best)}")
        if not 0 <= map < self.best[layer].maps:
            raise ShapeError(f"look.strongest: there is no map {map} in {layer}, which has {self.best[layer].maps}")

    def go_on(self) -> None:
        """Look at the next images."""
        images = self.subject.images.images[self.done : self.done + self.chunk]
        with no_grad():
            observer, _ = web_layers.run(self.subject.model, self.subject.input(images), self.state)
        for best, output in zip(self.best.values(), observer.outputs, strict=True):
            best.add(self.done, web_layers.host(output))
        self.done += len(images)
        if self.ended:
            self.state.clear()

    def found(self, layer: str, map: int) -> dict[str, Any]:
        """The result of the job for a map."""
        images, best = self.subject.images, self.best[layer]
        numbers = best.numbers[:, map]
        return {
            "layer": layer,
            "map": map,
            "weights": self.weights,
            "done": self.done,
            "count": len(images),
            "numbers": numbers,
            "labels": images.labels[numbers],
            "images": images.images[numbers],
            "values": best.values[:, map],
            "places": np.stack(np.divmod(best.cells[:, map], best.columns), 1),
            "field": best.field,
        }


class _Best:
    """The strongest images of each map of a layer. Rows are ranks, columns maps."""

    def __init__(self, step: Step) -> None:
        shape = step.output_shape
        self.columns = shape[2] if len(shape) == 3 else 1
        self.maps = shape[0] if len(shape) == 3 else product(shape)
        self.field = web_layers.field(step.fields)
        self.values = np.empty((0, self.maps), np.float32)
        self.cells = self.numbers = np.empty((0, self.maps), np.int64)

    def add(self, first: int, output: NDArray[Any]) -> None:
        """Look at what the layer made of the images from number `first` on."""
        out = np.nan_to_num(output, nan=-np.inf).reshape(len(output), self.maps, -1)  # image, map, cell
        numbers = np.broadcast_to(np.arange(first, first + len(out))[:, None], out.shape[:2])
        values = np.concatenate([self.values, out.max(2)])
        order = np.argsort(-values, axis=0, kind="stable")[:STRONGEST]
        self.values = np.take_along_axis(values, order, 0)
        self.cells = np.take_along_axis(np.concatenate([self.cells, out.argmax(2)]), order, 0)
        self.numbers = np.take_along_axis(np.concatenate([self.numbers, numbers]), order, 0)
