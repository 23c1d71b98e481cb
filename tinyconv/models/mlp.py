"""Multi-layer perceptrons: what LeNet is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinyconv import nn
from tinyconv.errors import ShapeError


class MLP(nn.Sequential):
    """Flatten, then linear layers with ReLU between them: `in_features`, the sizes in `hidden`, `num_classes`."""

    def __init__(self, hidden: int | Sequence[int] = 128, in_features: int = 784, num_classes: int = 10) -> None:
        sizes = [in_features, *([hidden] if isinstance(hidden, int) else hidden), num_classes]
        if min(sizes) < 1:
            raise ShapeError(f"MLP: every layer needs at least one feature, got sizes {sizes}")
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])
