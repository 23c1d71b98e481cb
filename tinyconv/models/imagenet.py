"""The nets of ImageNet, by shape: for their tables of parameters, MACs and receptive fields. They train like any other.

Made inside `with tc.device("meta")` they take no memory.
"""

from __future__ import annotations

from typing import Literal

from tinyconv import nn
from tinyconv.tensor.tensor import Tensor


class AlexNet(nn.Sequential):
    """Five convolutions, three linear layers: 61,100,840 parameters for 1,000 classes and images of 224x224.

    On one GPU, as in Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d(6), nn.Flatten(),
            nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(),
            nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, num_classes),
        )  # fmt: skip


class VGG16(nn.Sequential):
    """Thirteen convolutions 3x3, three linear layers: 138,357,544 parameters for 1,000 classes.

    Configuration D of Simonyan & Zisserman, arXiv:1409.1556.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000) -> None:
        layers: list[nn.Module] = []
        channels = in_channels
        for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        super().__init__(
            *layers, nn.AdaptiveAvgPool2d(7), nn.Flatten(),
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, num_classes),
        )  # fmt: skip


class Bottleneck(nn.Module):
    """relu(x + f(x)), with f a convolution 1x1, one 3x3 and one 1x1 to four times as many filters."""

    def __init__(self, channels: int, filters: int, stride: int, stride_at: str) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_at == "1x1" else (1, stride)
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 1, first, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, second, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, 4 * filters, 1, bias=False), nn.BatchNorm2d(4 * filters),
        )  # fmt: skip
        self.shortcut = nn.Identity() if channels == 4 * filters else nn.Sequential(
            nn.Conv2d(channels, 4 * filters, 1, stride, bias=False), nn.BatchNorm2d(4 * filters)
        )  # fmt: skip
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet50(nn.Sequential):
    """Sixteen bottleneck blocks: 25,557,032 parameters for 1,000 classes.

    He et al., arXiv:1512.03385, halve the resolution in the first 1x1 convolution of a stage; `stride_at="3x3"` does it
    in the 3x3 one, as most programs do since, which sees less far.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, stride_at: Literal["1x1", "3x3"] = "1x1") -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
        ]  # fmt: skip
        channels = 64
        for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for block in range(blocks):
                stride = 2 if filters > 64 and not block else 1
                layers.append(Bottleneck(channels, filters, stride, stride_at))
                channels = 4 * filters
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
