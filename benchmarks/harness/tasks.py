"""What is trained in a benchmark: a net from the same weights in every library, and its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import models, nn

Array = np.ndarray[Any, Any]
Weights = dict[str, Array]
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8  # Adam's
ROUNDED = ("TF32", "bfloat16")
"""In the names of libraries that multiply rounded numbers."""


class LeNetOfFunctions(nn.Module):
    """LeNet as lessons write it, with the layers of `net`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: tc.Tensor) -> tc.Tensor:
        net: Any = self.net
        x = F.max_pool2d(F.relu(net.conv1(x)), 2)
        x = F.max_pool2d(F.relu(net.conv2(x)), 2)
        x = x.flatten(1)
        x = F.relu(net.fc1(x))
        x = F.relu(net.fc2(x))
        return net.fc3(x)


def lenet_of_layers(net: Any) -> nn.Module:
    """LeNet as one Sequential, with the layers of `net`."""
    return nn.Sequential(
        *(net.conv1, nn.ReLU(), nn.MaxPool2d(2)),
        *(net.conv2, nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(net.fc1, nn.ReLU(), net.fc2, nn.ReLU(), net.fc3),
    )


class StackOfFunctions(nn.Module):
    """A Sequential as lessons write it: its layers with parameters, and functions in the places of the others."""

    FUNCTIONS: Mapping[type, Callable[[Any, tc.Tensor], tc.Tensor]] = {
        nn.ReLU: lambda layer, x: F.relu(x),
        nn.GELU: lambda layer, x: F.gelu(x, layer.approximate),
        nn.MaxPool2d: lambda layer, x: F.max_pool2d(x, layer.kernel_size),
        nn.AdaptiveAvgPool2d: lambda layer, x: F.adaptive_avg_pool2d(x, layer.output_size),
        nn.AdaptiveMaxPool2d: lambda layer, x: F.adaptive_max_pool2d(x, layer.output_size),
        nn.Flatten: lambda layer, x: x.flatten(1),
    }

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: tc.Tensor) -> tc.Tensor:
        for layer in self.net.children():
            function = self.FUNCTIONS.get(type(layer))
            x = layer(x) if function is None else function(layer, x)
        return x


STYLES: dict[str, dict[str, Callable[[Any], nn.Module]]] = {
    "lenet5": {"functions": LeNetOfFunctions, "Sequential": lenet_of_layers},
    "stack": {"functions": StackOfFunctions, "Sequential": lambda net: net},
    "cifarnet": {"functions": StackOfFunctions, "Sequential": lambda net: net},
}
"""The ways in which a net is written, by its name: each takes the net, and has its layers."""


@dataclass(frozen=True)
class Task:
    """A net, and the optimiser's name and options, which are the same in `tinyconv.optim` and `torch.optim`.

    `near` is how near to ours, relatively, the first losses have to be. `loose` is how near those of ROUNDED have to
    be, and in float32 our gradients to PyTorch's: where two values are equal but for rounding, another may be the
    maximum.
    """

    name: str  # "lenet5", "cifarnet" or "stack": what libraries know it by
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]  # of an image: (C, H, W)
    optimizer: str
    options: Mapping[str, float]
    near: float
    loose: float
    dtype: str = "float32"

    def model(self) -> nn.Module:
        """The net at seed 0."""
        tc.manual_seed(0)
        return self.make().to(dtype=self.dtype)

    def weights(self) -> Weights:
        """Its weights and buffers, by the names of ours."""
        return {name: t.numpy().copy() for name, t in self.model().state_dict().items()}

    def batch(self, n: int, seed: int = 0) -> tuple[Array, Array]:
        """Made-up images (n, C, H, W) and labels (n,), int64."""
        rng = np.random.default_rng(seed)
        return rng.standard_normal((n, *self.shape), np.float32).astype(self.dtype), rng.integers(0, 10, n)

    def tolerance(self, library: str) -> float:
        return self.loose if any(word in library for word in ROUNDED) else self.near


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
STACK = Task("stack", stack, (3, 32, 32), "Adam", {"lr": LR}, near=5e-3, loose=2e-2)
"""Adam's first steps are as long as its rate, however small a gradient is: rounding grows to 5e-5 in six of them."""
CIFAR = Task("cifarnet", models.CifarNet, (3, 32, 32), "SGD", {"lr": 0.01, "momentum": 0.9}, near=1e-3, loose=5e-2)
"""As `tinyconv train cifarnet` makes it. bfloat16 rounds to 1/256, and the steps carry that on."""
