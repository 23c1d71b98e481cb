"""What is trained in a benchmark: a net from the same weights in every library, and its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import models, nn

Array = np.ndarray[Any, Any]
Weights = dict[str, Array]
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam's
OTHER_FUNCTIONS = ("parallel", "TF32", "bfloat16")
"""In the names of libraries that compute another function of the net: batch normalisation of tiles, and not of the
batch; products of rounded numbers."""


@dataclass(frozen=True)
class Task:
    """A net, and the optimiser's name and options, which are the same in `tinyconv.optim` and `torch.optim`.

    `near` is how near to ours, relatively, the first losses have to be, and `loose` how near those of OTHER_FUNCTIONS.
    """

    name: str  # "lenet5", "cifarnet" or "stack": what libraries know it by
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]  # of an image: (C, H, W)
    optimizer: str
    options: Mapping[str, float]
    near: float
    loose: float

    def model(self) -> nn.Module:
        """The net at seed 0."""
        tc.manual_seed(0)
        return self.make()

    def weights(self) -> Weights:
        """Its weights and buffers, by the names of ours."""
        return {name: t.numpy().copy() for name, t in self.model().state_dict().items()}

    def batch(self, n: int, seed: int = 0) -> tuple[Array, Array]:
        """Made-up images (n, C, H, W), float32, and labels (n,), int64."""
        rng = np.random.default_rng(seed)
        return rng.standard_normal((n, *self.shape), np.float32), rng.integers(0, 10, n)

    def tolerance(self, library: str) -> float:
        return self.loose if any(word in library for word in OTHER_FUNCTIONS) else self.near


def stack() -> nn.Module:
    """For each width twice a 3x3 convolution, batch norm and ReLU, then a pooling; the mean of each map, and a head."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (32, 64, 160):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


LENET = Task("lenet5", models.LeNet5, (1, 28, 28), "Adam", {"lr": LR}, near=1e-4, loose=1e-4)
"""There is no normalisation in it: of tiles or of a batch, its function is the same."""
STACK = Task("stack", stack, (3, 32, 32), "Adam", {"lr": LR}, near=1e-3, loose=2e-2)
CIFAR = Task("cifarnet", models.CifarNet, (3, 32, 32), "SGD", {"lr": 0.01, "momentum": 0.9}, near=1e-3, loose=5e-2)
"""As `tinyconv train cifarnet` makes it. bfloat16 rounds to 1/256, and the steps carry that on."""
