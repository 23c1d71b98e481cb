"""Recipes: how a model is trained, by name."""

from __future__ import annotations

from dataclasses import dataclass

from tinyconv.data import RandomShift
from tinyconv.nn import Module
from tinyconv.optim import Adam, AdamW, Optimizer
from tinyconv.optim.lr_scheduler import LRScheduler, OneCycleLR
from tinyconv.train.fields import check_types


@dataclass(frozen=True)
class Recipe:
    """Adam (AdamW where there is weight decay) on cross-entropy, with a constant learning rate or one cycle of it."""

    epochs: int = 5
    batch_size: int = 128
    lr: float = 5e-3  # the peak, for a one-cycle schedule (Smith & Topin, arXiv:1708.07120)
    schedule: str = "onecycle"  # or "constant"
    weight_decay: float = 0.0
    shift: int = 0  # augmentation: random shifts of up to so many pixels
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in {"epochs": 1, "batch_size": 1, "shift": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.schedule not in ("onecycle", "constant"):
            raise ValueError(f"schedule must be 'onecycle' or 'constant', got {self.schedule!r}")

    def augmentation(self) -> RandomShift | None:
        return RandomShift(self.shift) if self.shift else None

    def optimizer(self, model: Module) -> Optimizer:
        if self.weight_decay:
            return AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return Adam(model.parameters(), lr=self.lr)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """The schedule over `steps` optimiser steps, the whole training."""
        return OneCycleLR(optimizer, self.lr, steps) if self.schedule == "onecycle" else None


RECIPES = {
    "default": Recipe(),
    "lesson": Recipe(lr=1e-3, schedule="constant"),
    "best": Recipe(epochs=40, lr=4e-3, weight_decay=0.02, shift=1, label_smoothing=0.05),
}
