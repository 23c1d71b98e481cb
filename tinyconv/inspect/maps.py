"""feature_maps: what the layers of a model make of one image, and which of its pixels they look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.errors import ShapeError
from tinyconv.inspect import pictures
from tinyconv.inspect.pictures import HostArray
from tinyconv.inspect.tracer import LayerObserver, observed
from tinyconv.nn import Conv2d, DataParallel, Module
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.tensor import Tensor


@dataclass(frozen=True)
class LayerMaps:
    """The output of one layer, and what its strongest cell sees."""

    name: str
    kind: str
    maps: HostArray  # (C, H, W)
    filters: HostArray | None  # (F, C / groups, KH, KW), of a convolution
    cell: tuple[int, int, int]  # the map, row and column of the largest value
    rows: tuple[int, int]  # of the image that the cell depends on: [first, past the last)
    columns: tuple[int, int]


@dataclass(frozen=True)
class FeatureMaps:
    """What `feature_maps` returns. Arrays are NumPy's.

    `save(path)` draws it (PNG, SVG or PDF, by matplotlib); a notebook shows it by itself.
    """

    image: HostArray  # (C, H, W), as the model was given it
    picture: HostArray  # (H, W) or (H, W, 3), to be shown
    scores: HostArray  # (classes,), the model's output: logits
    gradient: HostArray  # (C, H, W), of the largest score with respect to the image
    layers: tuple[LayerMaps, ...]
    classes: tuple[str, ...]

    @property
    def winner(self) -> int:
        """The class of the largest score."""
        return int(self.scores.argmax())

    def __getitem__(self, name: str) -> LayerMaps:
        """The layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r} here; there are {', '.join(layer.name for layer in self.layers)}")

    def figure(self) -> Any:
        """As a matplotlib Figure."""
        return pictures.feature_maps(self)

    def save(self, path: str | Path) -> Path:
        """Draw it into a file, whose name says the format."""
        return pictures.save(self.figure(), path)

    def _repr_png_(self) -> bytes:
        return pictures.png(self.figure())


def feature_maps(
    model: Module,
    image: Any,
    layers: str | list[str] | None = None,
    *,
    picture: Any = None,
    classes: tuple[str, ...] | None = None,
) -> FeatureMaps:
    """What the layers make of one image, (C, H, W) or (1, C, H, W), of the kind that the model takes (normalised).

        tc.feature_maps(model, images[0]).save("maps.png")

    `layers` names those wanted, as `tc.summary` does; all convolutions unless given. `picture`, uint8 (C, H, W), is
    shown in place of the image, and `classes` are the names of the scores. The model runs in evaluation mode and is
    left as it was, gradients too. Raises ShapeError for another shape, for a name that no layer with maps has, and for
    a model that gives no scores (1, classes).
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
    observer = LayerObserver(model, x, {id(parameter) for parameter in parameters})
    with observed(model, observer):
        scores = model(x)
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
            raise ShapeError(f"feature_maps: no layer {name!r} has maps; these do: {', '.join(found_layers)}")
    numbers = tuple(map(str, range(scores.shape[1])))
    return FeatureMaps(
        image=_host(x)[0],
        picture=_shown(_host(x)[0] if picture is None else np.asarray(picture)),
        scores=_host(scores)[0],
        gradient=_host(gradient)[0],
        layers=tuple(found_layers[name] for name in wanted),
        classes=classes or numbers,
    )


def _host(t: Tensor) -> HostArray:
    return t.detach().cpu().numpy().copy()


def _shown(image: HostArray) -> HostArray:
    """(C, H, W) as (H, W) or (H, W, 3) in [0, 1]; of other numbers of channels the mean."""
    if image.dtype == np.uint8:
        image = image / 255
    else:
        low, high = float(image.min()), float(image.max())
        image = (image - low) / (high - low if high > low else 1)
    return image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0)
