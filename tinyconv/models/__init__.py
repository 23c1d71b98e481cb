"""Models by name: what `tinyconv train NAME` builds, and a checkpoint names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from tinyconv import nn
from tinyconv.models.cake import cake
from tinyconv.models.cifarnet import CifarNet
from tinyconv.models.imagenet import VGG16, AlexNet, ResNet50
from tinyconv.models.lenet import LeNet5, LeNet5Of1998
from tinyconv.models.mlp import MLP
from tinyconv.models.outlook import LeNetBN, LeNetGAP, LeNetStrided, LeNetVGG, ResNet
from tinyconv.shapes import Shape

alexnet = AlexNet
cifarnet = CifarNet
lenet5 = LeNet5
lenet5_1998 = LeNet5Of1998
lenet_bn = LeNetBN
lenet_gap = LeNetGAP
lenet_strided = LeNetStrided
lenet_vgg = LeNetVGG
mlp = MLP
resnet = ResNet
resnet50 = ResNet50
vgg16 = VGG16

MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "lenet5": lenet5,
    "lenet5_1998": lenet5_1998,
    "mlp": mlp,
    "cifarnet": cifarnet,
    "lenet_gap": lenet_gap,
    "lenet_vgg": lenet_vgg,
    "lenet_strided": lenet_strided,
    "lenet_bn": lenet_bn,
    "resnet": resnet,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet50": resnet50,
    "cake": cake,
}


IMAGES: Mapping[str, Shape] = {
    "cifarnet": (3, 32, 32),
    **dict.fromkeys(("alexnet", "vgg16", "resnet50"), (3, 224, 224)),
}
"""What a model is made for, where that is not 1x28x28."""


def create(name: str, /, **options: Any) -> nn.Module:
    """The model called `name`, built with its own options: `create("lenet5", padding=2)`."""
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    try:
        return MODELS[name](**options)
    except TypeError as error:
        raise ValueError(f"model {name!r} cannot be built with {options}: {error}") from error


def options_for(name: str, image: Shape, classes: int) -> dict[str, Any]:
    """The options with which the model called `name` takes images of shape (C, H, W) and tells `classes` apart: those
    that are not what it takes anyway."""
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    channels, height, width = image
    asked = signature(MODELS[name]).parameters
    fitting = {
        "in_channels": channels,
        "size": height,
        "in_features": channels * height * width,
        "num_classes": classes,
    }
    return {key: value for key, value in fitting.items() if key in asked and asked[key].default != value}


__all__ = [
    "MLP",
    "MODELS",
    "VGG16",
    "AlexNet",
    "CifarNet",
    "LeNet5",
    "LeNet5Of1998",
    "LeNetBN",
    "LeNetGAP",
    "LeNetStrided",
    "LeNetVGG",
    "ResNet",
    "ResNet50",
    "alexnet",
    "cake",
    "cifarnet",
    "create",
    "lenet5",
    "lenet5_1998",
    "lenet_bn",
    "lenet_gap",
    "lenet_strided",
    "lenet_vgg",
    "mlp",
    "options_for",
    "resnet",
    "resnet50",
    "vgg16",
]
