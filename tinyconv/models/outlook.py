"""Ideas that came after LeNet, one at a time, each in a net small enough to be set beside it.

All take images (N, in_channels, H, W) of 16x16 and larger and give logits (N, num_classes).
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyconv import nn
from tinyconv.errors import ShapeError, shortened
from tinyconv.host import limits
from tinyconv.tensor.tensor import Tensor


class LeNetGAP(nn.Sequential):
    """LeNet's two blocks, a third convolution, and the mean of each map instead of a flattening: 21,182 parameters.

    The head depends neither on the size of the image nor on where in it something is. Images (N, in_channels, H, W) of
    at least 16x16 give logits (N, num_classes). Lin, Chen & Yan, "Network in network", arXiv:1312.4400.

        tc.models.lenet_gap()(tc.zeros(8, 1, 40, 56)).shape  # (8, 10)

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 120, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(120, num_classes),
        )  # fmt: skip


class LeNetVGG(nn.Sequential):
    """Two convolutions 3x3 where LeNet has one 5x5: the same receptive field, 18 weights for 25, one ReLU more.

    Images (N, in_channels, H, W) of at least 16x16 give logits (N, num_classes). Simonyan & Zisserman,
    arXiv:1409.1556.

        tc.models.lenet_vgg()(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class LeNetStrided(nn.Sequential):
    """Convolutions with stride 2 where LeNet pools. Springenberg et al., arXiv:1412.6806.

    Images (N, in_channels, H, W) give logits (N, num_classes).

        tc.models.lenet_strided()(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(6, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(784, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class LeNetBN(nn.Sequential):
    """LeNet with batch normalisation between each layer and its ReLU. Ioffe & Szegedy, arXiv:1502.03167.

    The normalised layers have no bias: the normalisation would subtract it again. Images (N, in_channels, H, W) of at
    least 16x16 give logits (N, num_classes).

        tc.models.lenet_bn()(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 6, 5, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 120, bias=False), nn.BatchNorm1d(120), nn.ReLU(),
            nn.Linear(120, 84, bias=False), nn.BatchNorm1d(84), nn.ReLU(), nn.Linear(84, num_classes),
        )  # fmt: skip


class Residual(nn.Module):
    """relu(shortcut(x) + f(x)): f is two convolutions 3x3 with batch norm.

    The shortcut is x itself, or a convolution 1x1 where the shape changes. (N, channels, H, W) gives (N, filters,
    H / stride, W / stride), rounded up.
    """

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
    """A residual net as for CIFAR-10: images (N, in_channels, H, W) of any size give logits (N, num_classes).

    `blocks` residual blocks of each width; the first block of every further width halves the resolution. He et al.,
    arXiv:1512.03385, section 4.2: 6 `blocks` + 2 layers, as it is 8 of them with 77,562 parameters.

        tc.models.resnet(blocks=3, in_channels=3)(tc.zeros(8, 3, 32, 32)).shape  # (8, 10)

    Args:
        widths: Filters of each stage.
        blocks: Residual blocks in a stage.
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, in_channels: int = 1, num_classes: int = 10
    ) -> None:
        if not widths or not 0 < blocks * len(widths) <= limits.LAYERS:
            raise ShapeError(f"ResNet: 1 to {limits.LAYERS:,} blocks, got {shortened(blocks)} of {len(widths)} widths")
        channels = widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        ]  # fmt: skip
        for stage, filters in enumerate(widths):
            for block in range(blocks):
                layers.append(Residual(channels, filters, stride=2 if stage and not block else 1))
                channels = filters
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
