"""Recipes: how a model is trained, by name."""

from __future__ import annotations

from dataclasses import dataclass

from tinyconv.data import Augment, Compose, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.nn import Module
from tinyconv.optim import SGD, Adam, AdamW, Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler, OneCycleLR
from tinyconv.train.fields import check_types


@dataclass(frozen=True)
class Recipe:
    """Cross-entropy with an optimiser and a constant learning rate or one cycle of it, on augmented images or plain.

    "adam" is AdamW where there is weight decay; "sgd" is stochastic gradient descent with Nesterov momentum.
    """

    epochs: int = 5
    batch_size: int = 128
    lr: float = 5e-3  # the peak, for a one-cycle schedule (Smith & Topin, arXiv:1708.07120)
    schedule: str = "onecycle"  # or "constant"
    weight_decay: float = 0.0
    shift: int = 0  # augmentation: random shifts of up to so many pixels, black behind
    label_smoothing: float = 0.0
    optimizer: str = "adam"  # or "sgd"
    crop: int = 0  # augmentation: random crops of the image mirrored at its border by so many pixels
    flip: bool = False  # augmentation: every other image mirrored, left to right

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in {"epochs": 1, "batch_size": 1, "shift": 0, "crop": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name, known in {"schedule": ("onecycle", "constant"), "optimizer": ("adam", "sgd")}.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {getattr(self, name)!r}")

    def augmentation(self) -> Augment | None:
        steps: list[Augment] = [RandomShift(self.shift)] if self.shift else []
        steps += [RandomCrop(self.crop)] if self.crop else []
        steps += [RandomHorizontalFlip()] if self.flip else []
        return Compose(tuple(steps)) if len(steps) > 1 else next(iter(steps), None)

    def optimizer_of(self, model: Module) -> Optimizer:
        if self.optimizer == "sgd":
            return SGD(model.parameters(), self.lr, momentum=0.9, weight_decay=self.weight_decay, nesterov=True)
        if self.weight_decay:
            return AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return Adam(model.parameters(), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The schedule over `steps` optimiser steps, the whole training."""
        if self.schedule != "onecycle":
            return None
        return OneCycleLR(optimizer, self.lr, steps, cycle_momentum=self.optimizer != "sgd")  # which keeps its 0.9


RECIPES = {
    "default": Recipe(),
    "lesson": Recipe(lr=1e-3, schedule="constant"),
    "best": Recipe(epochs=40, lr=4e-3, weight_decay=0.02, shift=1, label_smoothing=0.05),
    "cifar-lenet": Recipe(epochs=20, lr=3e-3, weight_decay=0.2, label_smoothing=0.1),
    "cifar": Recipe(
        epochs=16,
        batch_size=256,
        lr=0.2,
        weight_decay=5e-4,
        label_smoothing=0.1,
        optimizer="sgd",
        crop=2,
        flip=True,
    ),
}

USUAL = {("cifarnet", "cifar10"): "cifar", ("lenet5", "cifar10"): "cifar-lenet"}
"""Which recipe trains a model on a dataset, where none is chosen and "default" is not meant for it."""


def usual_recipe(model: str, data: str) -> str:
    """The name of the recipe that trains `model` on `data` where none is chosen."""
    return USUAL.get((model, data), "default")
