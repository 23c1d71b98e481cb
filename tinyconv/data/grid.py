"""Many images as one, named as in `torchvision.utils`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.errors import ShapeError, suggest_names
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images (N, C, H, W), a list of them (C, H, W), or one (H, W), as one image of `nrow` columns; without gradients.

        tc.torchvision.utils.make_grid(tc.zeros(10, 1, 28, 28), nrow=5).shape  # (3, 62, 152)

    One channel becomes three that are equal. `padding` pixels of `pad_value` are around and between images. `normalize`
    brings values from `value_range`, or from the smallest and the largest there are, to 0 to 1; `scale_each` asks each
    image for its own. Raises ShapeError for another shape. Like `torchvision.utils.make_grid`.
    """
    parts = [tensor] if isinstance(tensor, Tensor) else list(tensor)
    arrays = [part.cpu().detach().numpy() for part in parts]
    images: np.ndarray[Any, Any] = arrays[0] if isinstance(tensor, Tensor) else np.stack(arrays)
    if not 2 <= images.ndim <= 4:
        raise ShapeError(f"make_grid: expected images (N, C, H, W), (C, H, W) or (H, W), got shape {images.shape}")
    images = images.reshape((1,) * (4 - images.ndim) + images.shape)
    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    if normalize:
        images = images.copy()
        for group in images if scale_each else [images]:
            low, high = (group.min(), group.max()) if value_range is None else value_range
            group[...] = (group.clip(low, high) - low) / max(high - low, 1e-5)
    n, c, h, w = images.shape
    if n == 1:
        return wrap(images[0].copy())
    columns = min(nrow, n)
    rows = -(-n // columns)
    grid = np.full((c, rows * (h + padding) + padding, columns * (w + padding) + padding), pad_value, images.dtype)
    for i, image in enumerate(images):
        top, left = (place * (size + padding) + padding for place, size in zip(divmod(i, columns), (h, w), strict=True))
        grid[:, top : top + h, left : left + w] = image
    return wrap(grid)


def save_image(tensor: Tensor | Sequence[Tensor], fp: Any, format: str | None = None, **options: Any) -> None:
    """Write `make_grid(tensor, **options)`, of values from 0 to 1, as a picture file; `fp` is a path or an open file.

    Raises what `make_grid` and Pillow raise. Like `torchvision.utils.save_image`.
    """
    from PIL import Image

    grid = make_grid(tensor, **options).numpy()
    pixels = (grid * 255 + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(pixels).save(fp, format=format)


suggest_names(globals())
