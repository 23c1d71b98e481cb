"""Three nets of ImageNet, for their tables of parameters, MACs and receptive fields. They train like any other net.

Those that are made inside `with tc.device("meta")` have shapes only and take no memory.
"""

from __future__ import annotations

from typing import Literal

from tinyconv import nn
from tinyconv.tensor.tensor import Tensor


class AlexNet(nn.Sequential):
    """Five convolutions and three linear layers: 61,100,840 parameters for 1,000 classes.

    Images (N, in_channels, H, W) of at least 63x63, made for 224x224, give logits (N, num_classes). The version for one
    GPU: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997. Like
    `torchvision.models.alexnet`.

        with tc.device("meta"):
            print(tc.summary(tc.models.alexnet(), (3, 224, 224)))

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
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
    """Thirteen convolutions 3x3 and three linear layers: 138,357,544 parameters for 1,000 classes.

    Images (N, in_channels, H, W) of at least 32x32, made for 224x224, give logits (N, num_classes). Configuration D of
    Simonyan & Zisserman, arXiv:1409.1556. Like `torchvision.models.vgg16`.

        with tc.device("meta"):
            print(tc.summary(tc.models.vgg16(), (3, 224, 224)))

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
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
    """relu(shortcut(x) + f(x)): f is a conv 1x1, one 3x3 and one 1x1 to 4 `filters`, each with batch norm.

    The shortcut is x itself, or a conv 1x1 with batch norm where the number of channels changes. (N, channels, H, W)
    gives (N, 4 filters, H / stride, W / stride), rounded up.
    """

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

    Images (N, in_channels, H, W) of any size, made for 224x224, give logits (N, num_classes). He et al.,
    arXiv:1512.03385. `torchvision.models.resnet50` has `stride_at="3x3"`.

        with tc.device("meta"):
            print(tc.summary(tc.models.resnet50(), (3, 224, 224)))

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
        stride_at: The convolution of a stage's first block that halves the resolution: "1x1", the first one, as in the
            paper, or "3x3", as in most programs since; its receptive field is smaller.
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
