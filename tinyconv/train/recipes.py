"""Recipes: how a model is trained. `RECIPES` has those with a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from tinyconv.calls import Checked
from tinyconv.data import AlternatingFlip, Augment, Compose, Cutout, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.errors import no_such
from tinyconv.host import limits
from tinyconv.nn import BatchNorm1d, BatchNorm2d, Linear, Module
from tinyconv.optim import SGD, Adam, AdamW, Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler, OneCycleLR
from tinyconv.train.fields import check_fields

GREY = 120
"""A pixel value near the mean of photographs."""
MOST_PIXELS, MOST_RATE = 1024, 1e6
"""The largest shift, crop and cutout, larger than any image here; and the largest learning rate and weight decay."""


@dataclass(frozen=True)
class Recipe(Checked):
    """How a model is trained: with cross-entropy, an optimiser and a schedule, on images plain or augmented.

        recipe = Recipe(epochs=10, optimizer="sgd", lr=0.1, weight_decay=5e-4, crop=4, flip=True)

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step.
        lr: Learning rate: the peak of the schedule.
        schedule: "onecycle" rises and falls along a cosine, from `lr` / 25 and to almost 0 (Smith & Topin,
            arXiv:1708.07120). "triangle" rises in a line from `lr` / 5 for 23 % of the steps and falls in a line to
            almost 0. "constant" stays at `lr`.
        weight_decay: Decoupled with "adam", an L2 penalty with "sgd".
        shift: Augmentation: shift each image at random by up to this many pixels; black comes in.
        label_smoothing: Share of each label that is spread evenly over all classes.
        optimizer: "adam", which is AdamW where there is weight decay, or "sgd", with Nesterov momentum 0.9.
        crop: Augmentation: pad each image by this many mirrored pixels, then crop it at random.
        flip: Augmentation: mirror each image left to right with probability 1/2.
        layer_rates: With "sgd", use the learning rates of `layer_groups` and not one for all layers.
        cutout: Augmentation: cover part of each image with a grey square of this many pixels a side.
        alternating: With `flip`, mirror each image in every second epoch, in the first with probability 1/2.

    Raises TypeError for a value of another type, and ValueError for one out of range.
    """

    epochs: int = 5
    batch_size: int = 128
    lr: float = 5e-3
    schedule: Literal["onecycle", "triangle", "constant"] = "onecycle"
    weight_decay: float = 0.0
    shift: int = 0
    label_smoothing: float = 0.0
    optimizer: Literal["adam", "sgd"] = "adam"
    crop: int = 0
    flip: bool = False
    layer_rates: bool = False
    cutout: int = 0
    alternating: bool = False

    def __post_init__(self) -> None:
        pixels = dict.fromkeys(("shift", "crop", "cutout"), (0, MOST_PIXELS))
        rates = dict.fromkeys(("lr", "weight_decay"), (0, MOST_RATE))
        whole = {"epochs": (1, limits.EPOCHS), "batch_size": (1, limits.SIZE)}
        check_fields(self, label_smoothing=(0, 1), **pixels, **rates, **whole)
        if self.alternating and not self.flip:
            raise ValueError("alternating says how flip=True mirrors images, but flip is False")
        if self.layer_rates and self.optimizer != "sgd":
            raise ValueError(f"layer_rates are for optimizer='sgd'; {self.optimizer!r} scales each step by itself")

    def augmentation(self) -> Augment | None:
        """The augmentations of this recipe as one, or None where it has none."""
        steps: list[Augment] = [RandomShift(self.shift)] if self.shift else []
        steps += [RandomCrop(self.crop)] if self.crop else []
        steps += [AlternatingFlip() if self.alternating else RandomHorizontalFlip()] if self.flip else []
        steps += [Cutout(self.cutout, GREY)] if self.cutout else []
        return Compose(tuple(steps)) if len(steps) > 1 else next(iter(steps), None)

    def optimizer_of(self, model: Module) -> Optimizer:
        """The optimiser, for the parameters of `model`. With `layer_rates` it freezes some, see `layer_groups`."""
        if self.optimizer == "sgd":
            groups = layer_groups(model, self.lr, self.weight_decay) if self.layer_rates else model.parameters()
            return SGD(groups, self.lr, momentum=0.9, weight_decay=self.weight_decay, nesterov=True)
        if self.weight_decay:
            return AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return Adam(model.parameters(), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The schedule of the learning rate for a training of `steps` optimiser steps; None where it is constant."""
        if self.schedule == "constant":
            return None
        shape: dict[str, Any] = {"cycle_momentum": self.optimizer != "sgd"}  # which keeps its 0.9
        if self.schedule == "triangle":
            shape |= {"pct_start": 0.23, "anneal_strategy": "linear", "div_factor": 5}
        return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], steps, **shape)


NORM_BIASES, HEAD = 64, 1 / 81
"""The learning rates of the biases of normalisations and of the last linear layer, as multiples of the filters'."""


def layer_groups(model: Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for SGD, for a net of convolutions, normalisations and one linear layer at the end.

    The biases of normalisations learn 64 times as fast, because their gradients are small. The scales of normalisations
    are frozen here, because the filters behind them scale as well. The last layer learns at 1/81 of the rate, which is
    what dividing its logits by 9 would do. Every group decays by the same share per step, lr * weight_decay. From
    Jordan, arXiv:2404.00498.

    Args:
        model: The net. Its scales get `requires_grad` False.
        lr: Learning rate of the first group: all other parameters.
        weight_decay: Weight decay of the first group.
    """
    norms = [module for module in model.modules() if isinstance(module, BatchNorm1d | BatchNorm2d)]
    linear = [module for module in model.modules() if isinstance(module, Linear)][-1:]
    biases = [norm.bias for norm in norms if norm.bias is not None]
    scales = [norm.weight for norm in norms if norm.weight is not None]
    for scale in scales:
        scale.requires_grad_(False)
    head = [parameter for layer in linear for parameter in layer.parameters()]
    apart = {id(parameter) for parameter in (*biases, *scales, *head)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    return [
        {"params": parameters, "lr": factor * lr, "weight_decay": weight_decay / factor}
        for parameters, factor in ((rest, 1), (biases, NORM_BIASES), (head, HEAD))
        if parameters
    ]


CIFAR = Recipe(
    epochs=16,
    batch_size=512,
    lr=0.5,
    schedule="triangle",
    weight_decay=2e-3,
    label_smoothing=0.2,
    optimizer="sgd",
    crop=2,
    flip=True,
    layer_rates=True,
    alternating=True,
)
"""One hour on two CPU cores. The values are those of Jordan, arXiv:2404.00498, but for the epochs (there 9.9), the
batch (there 1024), the momentum (there 0.85; the rate is such that an image moves the weights as far), and no
lookahead."""


class _Named(dict[str, Recipe]):
    """Recipes by name. A name that is not there is answered with those that are."""

    def __missing__(self, name: str) -> Recipe:
        raise KeyError(no_such("recipe", name, self))


RECIPES: dict[str, Recipe] = _Named(
    {
        "default": Recipe(),
        "lesson": Recipe(lr=1e-3, schedule="constant"),
        "fast": Recipe(epochs=2, lr=1.6e-2, label_smoothing=0.2),  # 99 % of MNIST, as soon as can be
        "best": Recipe(epochs=40, lr=4e-3, weight_decay=0.02, shift=1, label_smoothing=0.05),
        "cifar-lenet": Recipe(epochs=20, lr=3e-3, weight_decay=0.2, label_smoothing=0.1),
        "cifar": CIFAR,
        "cifar-full": replace(CIFAR, epochs=60, crop=4, cutout=8),  # for a GPU
    }
)
"""The recipes that `tinyconv train --recipe` knows, by name."""

USUAL = {("cifarnet", "cifar10"): "cifar", ("lenet5", "cifar10"): "cifar-lenet"}
"""The recipe for a model and a dataset that "default" is not meant for."""


def usual_recipe(model: str, data: str) -> str:
    """The name of the recipe that `tinyconv train` uses for the model and the dataset of these names.

    usual_recipe("cifarnet", "cifar10")  # "cifar"
    """
    return USUAL.get((model, data), "default")
