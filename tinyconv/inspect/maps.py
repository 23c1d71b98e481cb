"""feature_maps: what the layers of a model make of one image, and which of its pixels they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tinyconv.errors import DataError, ShapeError, shortened
from tinyconv.inspect import pictures
from tinyconv.inspect.pictures import HostArray
from tinyconv.inspect.tracer import LayerObserver, observe
from tinyconv.nn import Conv2d, DataParallel, Module
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerMaps:
    """The output of one layer, and what its strongest cell sees."""

    name: str  # "features.0"
    kind: str  # "Conv2d"
    maps: HostArray  # (C, H, W)
    filters: HostArray | None  # (F, C / groups, KH, KW) of a convolution; None for any other layer
    cell: tuple[int, int, int]  # the map, row and column of the largest value
    rows: tuple[int, int]  # the rows of the image that the cell depends on: (first, past the last)
    columns: tuple[int, int]  # and the columns


@dataclass(frozen=True)
class FeatureMaps:
    """What `feature_maps` returns. Its arrays are NumPy arrays.

        found = tc.feature_maps(model, image)
        found.save("maps.png")
        found["conv1"].maps.shape  # (6, 24, 24)

    `save(path)` draws it with matplotlib (PNG, SVG or PDF); a notebook shows it by itself.
    """

    image: HostArray  # (C, H, W), as the model was given it
    picture: HostArray  # (H, W) or (H, W, 3), to be shown, from 0 to 1
    scores: HostArray  # (classes,), the model's output: logits
    gradient: HostArray  # (C, H, W), of the largest score with respect to the image
    layers: tuple[LayerMaps, ...]
    classes: tuple[str, ...]  # the names of the scores

    @property
    def winner(self) -> int:
        """The class of the largest score."""
        return int(self.scores.argmax())

    def __getitem__(self, name: str) -> LayerMaps:
        """The layer of that name. Raises KeyError, with the names that there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {shortened(name)} here; there are {', '.join(layer.name for layer in self.layers)}")

    def figure(self) -> Figure:
        """The picture as a matplotlib Figure. Raises DataError where matplotlib is not installed."""
        return pictures.feature_maps(self)

    def save(self, path: str | Path) -> Path:
        """Draw it into a file in the format of its name, and return the path; missing folders are made.

        Raises DataError where the file cannot be written, or matplotlib is not installed.
        """
        return pictures.save(self.figure(), path)

    def _repr_png_(self) -> bytes | None:
        try:
            return pictures.png(self.figure())
        except DataError:  # no matplotlib: the text says what there is
            return None

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.name} {layer.maps.shape}" for layer in self.layers)
        winner = self.classes[self.winner]
        return f"<FeatureMaps of an image {self.image.shape}: {layers}; the largest score is that of {winner}>"


def feature_maps(
    model: Module,
    image: Tensor | ArrayLike,
    layers: str | Sequence[str] | None = None,
    *,
    picture: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> FeatureMaps:
    """What the layers of a model make of one image, and which of its pixels their strongest cells see.

        tc.feature_maps(model, images[0]).save("maps.png")

    The model runs in evaluation mode and is left as it was, its gradients too.

    Args:
        model: A model that gives scores (1, classes) for one image.
        image: The image, (C, H, W) or (1, C, H, W), as the model takes it: normalised, if it was trained so.
        layers: The names of the layers wanted, as `tc.summary` has them; all convolutions unless given.
        picture: What is shown in place of the image: (C, H, W), uint8 or floats, with 1 or 3 channels.
        classes: The names of the scores; their numbers unless given.

    Raises ShapeError for another shape, for a name that no layer with maps has, and for a model that gives no scores.
    """
    if isinstance(model, DataParallel):
        model = model.module
    parameters = list(model.parameters())
    like = parameters[0] if parameters else None
    given = image.detach() if isinstance(image, Tensor) else Tensor(np.array(image))
    given = given.unsqueeze(0) if given.ndim == 3 else given
    if given.ndim != 4 or given.shape[0] != 1:
        raise ShapeError(f"feature_maps: expected one image, (C, H, W) or (1, C, H, W), got {given.shape}")
    x = (given if like is None else given.to(like.device).to(like.dtype)).clone().requires_grad_()
    observer = LayerObserver(model)
    observer.begin(x, {id(parameter) for parameter in parameters})
    scores = observe(model, observer, model, x)
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        found = f"{scores.shape}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ShapeError(f"feature_maps: expected scores (1, classes) from the model, got {found}")
    (gradient,) = grad(scores.max(), x)
    assert gradient is not None
    modules = dict(model.named_modules())
    found_layers = {}
    for step, out in zip(observer.steps, observer.outputs, strict=True):
        module = modules.get(step.name.partition("#")[0])
        convolution = module if isinstance(module, Conv2d) else None
        if out.ndim == 4 and step.fields is not None:
            if layers is None and convolution is None:
                continue
            maps = _host(out)[0]
            cell = tuple(int(i) for i in np.unravel_index(np.nanargmax(maps), maps.shape))
            rows, columns = (axis.span(at, n) for axis, at, n in zip(step.fields, cell[1:], x.shape[2:], strict=True))
            filters = None if convolution is None else _host(convolution.weight)
            found_layers[step.name] = LayerMaps(
                step.name, step.kind, maps, filters, (cell[0], cell[1], cell[2]), rows, columns
            )
    wanted = list(found_layers) if layers is None else [layers] if isinstance(layers, str) else list(layers)
    for name in wanted:
        if name not in found_layers:
            raise ShapeError(f"feature_maps: no layer {shortened(name)} has maps; these do: {', '.join(found_layers)}")
    numbers = tuple(map(str, range(scores.shape[1])))
    return FeatureMaps(
        image=_host(x)[0],
        picture=_shown(_host(x)[0] if picture is None else np.asarray(picture)),
        scores=_host(scores)[0],
        gradient=_host(gradient)[0],
        layers=tuple(found_layers[name] for name in wanted),
        classes=tuple(classes or numbers),
    )


def _host(t: Tensor) -> HostArray:
    return t.detach().cpu().numpy().copy()


def _shown(image: HostArray) -> HostArray:
    """(C, H, W) as (H, W) or (H, W, 3), from 0 to 1; the mean of the channels unless there are 3."""
    if image.dtype == np.uint8:
        image = image / 255
    else:
        low, high = float(image.min()), float(image.max())
        image = (image - low) / (high - low if high > low else 1)
    return image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0)
