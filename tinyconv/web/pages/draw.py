"""Jobs of the Draw page."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.data.picture import place_ink, read_photograph, read_picture
from tinyconv.engine.context import no_grad
from tinyconv.errors import ShapeError
from tinyconv.web import layers
from tinyconv.web.jobs import job
from tinyconv.web.studio import Studio


@job("draw.maps", newest=True)
def maps(studio: Studio, pixels: NDArray[np.uint8], place: bool = False) -> dict[str, Any]:
    """What the model makes of a drawing.

    Args:
        pixels: The drawing, uint8 (C, k H, k W) for a model that takes (C, H, W): each pixel is the mean of k x k.
        place: Whether to scale and place it first as the digits of MNIST were; for a grey and square image alone.

    Returns:
        image: uint8 (C, H, W): what the model was given.
        training, after: See `layers.when`.
        scores, probabilities, doubt, layers: See `layers.seen`.

    Raises ShapeError for pixels that are no drawing for this model.
    """
    subject = studio.subject
    channels, h, w = subject.shape
    k = pixels.shape[-1] // w if pixels.ndim else 0
    if k < 1 or pixels.shape != (channels, k * h, k * w):
        raise ShapeError(f"draw.maps takes pixels of shape ({channels}, k * {h}, k * {w}), got {pixels.shape}")
    if place and (channels != 1 or h != w):
        raise ShapeError(f"draw.maps places grey and square images alone; this model takes {subject.shape}")
    image = place_ink(pixels[0], h) if place else _means(pixels, k)
    if image.any():
        studio.state["drawn"] = image  # for the Step page
    with no_grad():
        observer, scores = layers.run(subject.model, subject.input(image[None]))
    return {"image": image, **layers.when(studio), **layers.seen(observer, scores)}


@job("draw.example")
def example(studio: Studio, start: int, label: int | None = None) -> dict[str, Any]:
    """A test image to begin with: number `start`, or the first from there on that shows class `label`, going round.

    Returns:
        number, label: Which image it is, and what it shows.
        pixels: uint8 (C, H, W).

    Raises DataError where there is no such image.
    """
    if label is not None:
        start = studio.subject.next_of(label, start)
    one = studio.subject.image(start)
    return {"number": start, "label": int(one.labels[0]), "pixels": one.images[0]}


@job("draw.read")
def read(studio: Studio, name: str, content: NDArray[np.uint8]) -> dict[str, Any]:
    """A picture file as the model takes it, read as `tinyconv predict` reads it.

    Args:
        name: What an error calls the file.
        content: Its bytes, uint8 (N,).

    Returns:
        pixels: uint8 (C, H, W).

    Raises DataError where it cannot be read, and ShapeError for a model that takes neither 1 nor 3 channels.
    """
    channels, h, w = studio.subject.shape
    if h != w or channels not in (1, 3):
        raise ShapeError(f"pictures are made square, in grey or colours; this model takes {studio.subject.shape}")
    opened = BytesIO(content.tobytes())
    opened.name = name  # as an open file has it
    return {"pixels": (read_photograph if channels == 3 else read_picture)(opened, h)}


def _means(pixels: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    c, h, w = pixels.shape
    means = pixels.reshape(c, h // k, k, w // k, k).mean((2, 4))
    return np.asarray(means.round(), np.uint8)
