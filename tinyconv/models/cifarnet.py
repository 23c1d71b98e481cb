"""A small convolutional network for colour images, as they are built since VGG and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from tinyconv import nn


class CifarNet(nn.Sequential):
    """For each width two blocks of conv 3x3, batch norm, ReLU, the second ending in a 2x2 max-pooling; then the mean
    over all positions, and one linear layer: images of any size from 8x8 on.

    935,786 parameters for widths 32, 96 and 256, three channels and ten classes. The convolutions are padded to keep
    the size, and have no bias, for the normalisation would take it off again.
    """

    def __init__(self, widths: Sequence[int] = (32, 96, 256), in_channels: int = 3, num_classes: int = 10) -> None:
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            for pooling in ([], [nn.MaxPool2d(2)]):
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                layers += pooling
                channels = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
        super().__init__(*layers)
