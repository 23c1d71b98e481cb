"""Models by name: what `tinyconv train NAME` builds, and what a checkpoint names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from tinyconv import nn
from tinyconv.arrays.backend import device
from tinyconv.errors import ShapeError, no_such, printable, shortened, suggest_names
from tinyconv.host import limits
from tinyconv.models.cake import cake
from tinyconv.models.cifarnet import CifarNet
from tinyconv.models.imagenet import VGG16, AlexNet, ResNet50
from tinyconv.models.lenet import LeNet5, LeNet5Of1998
from tinyconv.models.mlp import MLP
from tinyconv.models.outlook import LeNetBN, LeNetGAP, LeNetStrided, LeNetVGG, ResNet
from tinyconv.shapes import Shape

# One row for each model: its name on the command line and in checkpoints, its name in Python, and its class.
MODELS: Mapping[str, Callable[..., nn.Module]] = {
    "lenet5": (lenet5 := LeNet5),
    "lenet5_1998": (lenet5_1998 := LeNet5Of1998),
    "mlp": (mlp := MLP),
    "cifarnet": (cifarnet := CifarNet),
    "lenet_gap": (lenet_gap := LeNetGAP),
    "lenet_vgg": (lenet_vgg := LeNetVGG),
    "lenet_strided": (lenet_strided := LeNetStrided),
    "lenet_bn": (lenet_bn := LeNetBN),
    "resnet": (resnet := ResNet),
    "alexnet": (alexnet := AlexNet),
    "vgg16": (vgg16 := VGG16),
    "resnet50": (resnet50 := ResNet50),
    "cake": cake,
}

_OWN: dict[str, Callable[..., nn.Module]] = {}  # what `register` was given

IMAGES: Mapping[str, Shape] = {
    "cifarnet": (3, 32, 32),
    **dict.fromkeys(("alexnet", "vgg16", "resnet50"), (3, 224, 224)),
}
"""The images (C, H, W) that a model is made for, unless they are 1x28x28."""

# fmt: off
__all__ = [  # noqa: RUF022
    "IMAGES", "MODELS", "create", "is_known", "options_for", "register",
    "lenet5", "lenet5_1998", "mlp", "cifarnet", "lenet_gap", "lenet_vgg", "lenet_strided", "lenet_bn", "resnet",
    "alexnet", "vgg16", "resnet50", "cake",
    "AlexNet", "CifarNet", "LeNet5", "LeNet5Of1998", "LeNetBN", "LeNetGAP", "LeNetStrided", "LeNetVGG", "MLP",
    "ResNet", "ResNet50", "VGG16",
]
# fmt: on


def create(name: str, /, **options: Any) -> nn.Module:
    """Build the model called `name`, one of `MODELS`, with options of its own.

        tc.models.create("lenet5", padding=2)

    Raises ValueError, with the names there are, for any other name; ValueError for an option that the model lacks or
    that is beyond the bounds of `tinyconv.host.limits`; ShapeError, before memory is taken, for more parameters than
    those allow; and what the model itself raises for a value that it cannot take.
    """
    build = _named(name)
    if name in _OWN:
        return _built(name, build, options)
    for option, value in options.items():
        _check_bounds(f"model {name!r}: {printable(option, 80)}", value)
    try:
        with device("meta"):
            parameters = sum(parameter.numel() for parameter in build(**options).parameters())
        if parameters > limits.PARAMETERS:
            raise ShapeError(
                f"model {name!r} with {shortened(options)} has {parameters:,} parameters; at most "
                f"{limits.PARAMETERS:,} are built by name: in Python, tinyconv.models.{name} has no such bound"
            )
        return build(**options)
    except (TypeError, LookupError, ArithmeticError, AttributeError) as error:  # a value of another type
        said = printable(str(error))
        raise ValueError(f"model {name!r} cannot be built with {shortened(options)}: {said}") from error


def register(name: str, build: Callable[..., nn.Module]) -> None:
    """Let `name` be a model of your own, for `create`, for trainings and for the checkpoints that name it.

        tc.models.register("mine", MyNet)
        session = tc.train.start(tc.train.new_run("mine", "mnist", 0, tc.train.RECIPES["default"]))

    It holds for this process: a checkpoint says the name and never brings code with it.

    Args:
        name: The name; ValueError where a model of `MODELS` has it.
        build: A class or a function that makes the model. Where it takes `in_channels`, `num_classes`, `size` or
            `in_features`, it is given those of the data.
    """
    if name in MODELS:
        raise ValueError(f"{name!r} is a model of tinyconv.models already; choose another name")
    if not callable(build):
        raise TypeError(f"register: expected a class or a function that makes a model, got {shortened(build)}")
    _OWN[name] = build


def is_known(name: str) -> bool:
    """Whether `create` knows the name: a model of `MODELS`, or one that was registered."""
    return name in MODELS or name in _OWN


def _built(name: str, build: Callable[..., nn.Module], options: dict[str, Any]) -> nn.Module:
    """A model of the user's own; what its code raises stays as it is."""
    model = build(**options)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must make an nn.Module, got {shortened(model)}: does it return the model?")
    return model


def options_for(name: str, image: Shape, classes: int) -> dict[str, Any]:
    """The options that fit the model called `name` to a dataset. Those that are its defaults are left out.

        tc.models.options_for("lenet5", (3, 32, 32), 10)  # {"in_channels": 3, "size": 32}

    Args:
        name: One of `MODELS`; ValueError, with the names there are, for any other.
        image: The shape (C, H, W) of one image.
        classes: The number of classes to tell apart.
    """
    channels, height, width = image
    asked = signature(_named(name)).parameters
    fitting = {
        "in_channels": channels,
        "size": height,
        "in_features": channels * height * width,
        "num_classes": classes,
    }
    return {key: value for key, value in fitting.items() if key in asked and asked[key].default != value}


def _check_bounds(what: str, value: Any) -> None:
    """Raise ValueError for a text, a list or a whole number beyond all use."""
    size, most = (abs(value), limits.SIZE) if isinstance(value, int) else (0, 0)
    if isinstance(value, str | list | tuple):
        size, most = len(value), limits.TEXT if isinstance(value, str) else limits.LAYERS
    if size > most:
        raise ValueError(f"{what} is {shortened(value)}: at most {most:,} is taken")
    for part in value if isinstance(value, list | tuple) else ():
        _check_bounds(what, part)


def _named(name: str) -> Callable[..., nn.Module]:
    if not is_known(name):
        raise ValueError(no_such("model", name, [*MODELS, *_OWN]))
    return MODELS[name] if name in MODELS else _OWN[name]


suggest_names(globals())
