"""What came after LeNet, one idea at a time, each on a net small enough to be set beside it.

All take images of any size from 28x28 on: (N, in_channels, H, W) -> (N, num_classes).
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyconv import nn
from tinyconv.tensor.tensor import Tensor


class LeNetGAP(nn.Sequential):
    """LeNet's two blocks, a third convolution, and the mean of each map in place of the flattening: 21,182 parameters.

    The head no longer knows the size of the image, nor where in it something was (Lin, Chen & Yan, "Network in
    network", arXiv:1312.4400).
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 120, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(120, num_classes),
        )  # fmt: skip


class LeNetVGG(nn.Sequential):
    """Two convolutions 3x3 where LeNet has one 5x5: they see as far, with 18 weights for 25 and a ReLU more.

    Simonyan & Zisserman, arXiv:1409.1556.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class LeNetStrided(nn.Sequential):
    """Convolutions that take two steps at a time where LeNet pools (Springenberg et al., arXiv:1412.6806)."""

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(6, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(784, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class LeNetBN(nn.Sequential):
    """LeNet with batch normalisation between each layer and its ReLU (Ioffe & Szegedy, arXiv:1502.03167).

    What is normalised needs no bias.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 120, bias=False), nn.BatchNorm1d(120), nn.ReLU(),
            nn.Linear(120, 84, bias=False), nn.BatchNorm1d(84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class Residual(nn.Module):
    """relu(x + f(x)), with f two convolutions 3x3; a 1x1 convolution on the way of x where its shape changes."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters),
        )  # fmt: skip
        changes = channels != filters or stride != 1
        self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False) if changes else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Sequential):
    """Residual blocks, `blocks` of each width, the first of every further width at half the resolution.

    As for CIFAR-10 in He et al., arXiv:1512.03385, section 4.2: 6 `blocks` + 2 layers; 8 of them with 77,562 parameters
    for one channel.
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, in_channels: int = 1, num_classes: int = 10
    ) -> None:
        channels = widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        ]  # fmt: skip
        for stage, filters in enumerate(widths):
            for block in range(blocks):
                layers.append(Residual(channels, filters, stride=2 if stage and not block else 1))
                channels = filters
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
