"""Recipes: how a model is trained, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tinyconv.data import Augment, Compose, Cutout, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.nn import BatchNorm1d, BatchNorm2d, Linear, Module
from tinyconv.optim import SGD, Adam, AdamW, Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler, OneCycleLR
from tinyconv.train.fields import check_types

GREY = 120
"""The value of a byte about which those of photographs lie."""


@dataclass(frozen=True)
class Recipe:
    """Cross-entropy with an optimiser and a constant learning rate or one cycle of it, on augmented images or plain.

    "adam" is AdamW where there is weight decay; "sgd" is stochastic gradient descent with Nesterov momentum. Of the
    cycles "onecycle" rises and falls as a cosine does and ends at nothing; "triangle" goes straight up from a fifth of
    the rate in the first 23 % of the steps, and straight down to nothing.
    """

    epochs: int = 5
    batch_size: int = 128
    lr: float = 5e-3  # the peak, for a one-cycle schedule (Smith & Topin, arXiv:1708.07120)
    schedule: str = "onecycle"  # or "triangle", or "constant"
    weight_decay: float = 0.0
    shift: int = 0  # augmentation: random shifts of up to so many pixels, black behind
    label_smoothing: float = 0.0
    optimizer: str = "adam"  # or "sgd"
    crop: int = 0  # augmentation: random crops of the image mirrored at its border by so many pixels
    flip: bool = False  # augmentation: every other image mirrored, left to right
    layer_rates: bool = False  # with "sgd": not one rate for all layers, but those of `layer_groups`
    cutout: int = 0  # augmentation: a grey square of so many pixels on each image

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in {"epochs": 1, "batch_size": 1, "shift": 0, "crop": 0, "cutout": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        kinds = {"schedule": ("onecycle", "triangle", "constant"), "optimizer": ("adam", "sgd")}
        for name, known in kinds.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {getattr(self, name)!r}")
        if self.layer_rates and self.optimizer != "sgd":
            raise ValueError(f"layer_rates are for optimizer='sgd'; {self.optimizer!r} scales each step by itself")

    def augmentation(self) -> Augment | None:
        steps: list[Augment] = [RandomShift(self.shift)] if self.shift else []
        steps += [RandomCrop(self.crop)] if self.crop else []
        steps += [RandomHorizontalFlip()] if self.flip else []
        steps += [Cutout(self.cutout, GREY)] if self.cutout else []
        return Compose(tuple(steps)) if len(steps) > 1 else next(iter(steps), None)

    def optimizer_of(self, model: Module) -> Optimizer:
        if self.optimizer == "sgd":
            groups = layer_groups(model, self.lr, self.weight_decay) if self.layer_rates else model.parameters()
            return SGD(groups, self.lr, momentum=0.9, weight_decay=self.weight_decay, nesterov=True)
        if self.weight_decay:
            return AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return Adam(model.parameters(), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The schedule over `steps` optimiser steps, the whole training."""
        if self.schedule == "constant":
            return None
        shape: dict[str, Any] = {"cycle_momentum": self.optimizer != "sgd"}  # which keeps its 0.9
        if self.schedule == "triangle":
            shape |= {"pct_start": 0.23, "anneal_strategy": "linear", "div_factor": 5}
        return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], steps, **shape)


NORM_BIASES, HEAD = 64, 1 / 81
"""How many times the rate of the filters the biases of normalisations take, and the last linear layer."""


def layer_groups(model: Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for SGD, for networks of convolutions, normalisations and one linear layer at the end.

    The biases of normalisations learn faster, for their gradients are small. Their scales are frozen here: the filters
    behind them scale as well. The last layer learns slower, as one would whose logits are divided by 9. Each step takes
    the same share, lr * weight_decay, off the parameters of every group. From Jordan, arXiv:2404.00498.
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
    epochs=10,
    batch_size=256,
    lr=0.25,
    schedule="triangle",
    weight_decay=1.3e-3,
    label_smoothing=0.2,
    optimizer="sgd",
    crop=4,
    flip=True,
    layer_rates=True,
)
"""For two CPU cores, an hour."""

RECIPES = {
    "default": Recipe(),
    "lesson": Recipe(lr=1e-3, schedule="constant"),
    "best": Recipe(epochs=40, lr=4e-3, weight_decay=0.02, shift=1, label_smoothing=0.05),
    "cifar-lenet": Recipe(epochs=20, lr=3e-3, weight_decay=0.2, label_smoothing=0.1),
    "cifar": CIFAR,
    "cifar-full": replace(CIFAR, epochs=60, cutout=8),  # for a GPU
}

USUAL = {("cifarnet", "cifar10"): "cifar", ("lenet5", "cifar10"): "cifar-lenet"}
"""Which recipe trains a model on a dataset, where none is chosen and "default" is not meant for it."""


def usual_recipe(model: str, data: str) -> str:
    """The name of the recipe that trains `model` on `data` where none is chosen."""
    return USUAL.get((model, data), "default")
