"""A small convolutional network for colour images, as they are built since VGG and batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv import nn
from tinyconv.engine.context import no_grad
from tinyconv.tensor.creation import tensor

PATCH = 2
"""Height and width of the first layer's filters."""
FAINT = 5e-4
"""Variance, in normalised images, below which a direction of patches is more noise than image and is not amplified. In
CIFAR-10 the directions of a 2x2 patch have variances of 10 (its brightness) to 0.0006 (changes of colour within it)."""
FIRST_LOGITS = 1 / 9
"""Factor on the usual first weights of the head, because the maxima that it sees are larger than other inputs."""


class CifarNet(nn.Sequential):
    """A net for small photographs: images (N, in_channels, H, W) of at least 9x9 give logits (N, num_classes).

    A first layer of 2x2 filters and GELU; for each width a conv 3x3, 2x2 max-pooling, batch norm and GELU, then the
    same without the pooling; the maximum over all positions; and one linear layer. It has 1,972,802 parameters as it
    is, for three channels and ten classes.

    The 3x3 convolutions are padded to keep the size. They have no bias, because the normalisation would subtract it
    again. Each begins as the identity on as many channels as it has filters for, so that images pass through from the
    first step on. `whiten` makes the filters of the first layer from images. The layers and the first weights are those
    of Jordan, arXiv:2404.00498.

        model = tc.models.cifarnet(widths=[32, 64, 160])
        model(tc.zeros(8, 3, 32, 32)).shape  # (8, 10)

    Args:
        widths: Filters of the convolutions, two of each width.
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """

    def __init__(self, widths: Sequence[int] = (64, 256, 256), in_channels: int = 3, num_classes: int = 10) -> None:
        channels = 2 * in_channels * PATCH**2
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, PATCH), nn.GELU()]
        for width in widths:
            for pooling in ([nn.MaxPool2d(2)], []):
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                with no_grad():
                    nn.init.dirac_(conv.weight[:channels])
                layers += [conv, *pooling, nn.BatchNorm2d(width), nn.GELU()]
                channels = width
        head = nn.Linear(channels, num_classes)
        for parameter in head.parameters():
            parameter.data *= FIRST_LOGITS
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)

    @no_grad()
    def whiten(self, images: NDArray[np.floating[Any]]) -> None:
        """Make the filters of the first layer from normalised `images` (N, C, H, W), and freeze them.

        The training then begins with inputs that do not repeat each other. With the covariance of the C x 2 x 2
        patches = V diag(l) V^T, filter k is v_k / sqrt(l_k + FAINT), the largest l first. Its outputs are uncorrelated
        and have unit variance, except for faint directions. Each filter is there a second time with the other sign,
        for the values that GELU takes away.

            images, labels = next(loader.arrays(0))
            model.whiten(images)

        Coates & Ng, "Learning feature representations with k-means", 2012; frozen and with both signs in Jordan,
        arXiv:2404.00498.
        """
        weight = self[0].weight
        size = weight.shape[1:]
        windows = np.lib.stride_tricks.sliding_window_view(np.asarray(images), size[1:], axis=(2, 3))
        patches = windows[:, :, ::3, ::3].transpose(0, 2, 3, 1, 4, 5).reshape(-1, np.prod(size)).astype(np.float64)
        patches -= patches.mean(0)
        variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))  # the smallest first
        filters = (directions / np.sqrt(variances + FAINT)).T[::-1].reshape(-1, *size)
        weight[...] = tensor(np.concatenate([filters, -filters]), dtype=weight.dtype, device=weight.device)
        weight.requires_grad_(False)
