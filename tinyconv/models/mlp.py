"""Multi-layer perceptrons, to compare LeNet with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinyconv import nn
from tinyconv.errors import ShapeError
from tinyconv.shapes import whole


class MLP(nn.Sequential):
    """Flatten, then linear layers with ReLU between them: (N, ...) of `in_features` numbers gives (N, num_classes).

        tc.models.mlp([300, 100])(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        hidden: Size of the hidden layer, or the sizes of several.
        in_features: Numbers in one input; 784 for 1x28x28.
        num_classes: Number of classes.

    Raises ShapeError where a layer has no feature.
    """

    def __init__(self, hidden: int | Sequence[int] = 128, in_features: int = 784, num_classes: int = 10) -> None:
        given = [in_features, *(hidden if isinstance(hidden, list | tuple) else [hidden]), num_classes]
        sizes = [whole(n, "MLP: features") for n in given]
        if min(sizes) < 1:
            raise ShapeError(f"MLP: every layer needs at least one feature, got sizes {sizes}")
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers[:-1])
