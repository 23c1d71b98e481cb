"""Recipes: what they make of their fields, and which one trains what."""

from dataclasses import replace

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import models
from tinyconv.data import Compose, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.optim import SGD, Adam, AdamW
from tinyconv.train import RECIPES, Recipe, new_run, start, usual_recipe


def test_augmentation():
    assert Recipe().augmentation() is None
    assert Recipe(shift=2).augmentation() == RandomShift(2)
    assert Recipe(crop=4).augmentation() == RandomCrop(4)
    both = Recipe(crop=4, flip=True).augmentation()
    assert both == Compose((RandomCrop(4), RandomHorizontalFlip()))


@pytest.mark.parametrize(
    ("changes", "kind", "options"),
    [
        ({}, Adam, {}),
        ({"weight_decay": 0.1}, AdamW, {"weight_decay": 0.1}),
        ({"optimizer": "sgd", "weight_decay": 5e-4}, SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    ],
)
def test_optimisers(changes, kind, options):
    optimizer = replace(Recipe(lr=0.25), **changes).optimizer_of(models.mlp(4))
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["lr"] == 0.25
    assert {name: group[name] for name in options} == options


def test_which_recipe_trains_what():
    assert usual_recipe("cifarnet", "cifar10") == "cifar"
    assert usual_recipe("lenet5", "cifar10") == "cifar-lenet"
    assert usual_recipe("lenet5", "mnist") == usual_recipe("mlp", "cifar10") == "default"
    assert RECIPES["cifar-lenet"].augmentation() is None  # what is said of it is said without augmentation


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("crop", -1, "crop must be at least 0, got -1"),
        ("optimizer", "lion", "optimizer must be 'adam' or 'sgd', got 'lion'"),
        ("flip", 1, "flip must be of type bool, got 1"),
        ("epochs", True, "epochs must be of type int, got True"),
    ],
)
def test_what_is_no_recipe(field, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        replace(Recipe(), **{field: value})


def test_a_recipe_of_before_is_one_still():
    """Checkpoints keep the fields that there were."""
    old = {"epochs": 5, "batch_size": 128, "lr": 5e-3, "schedule": "onecycle", "weight_decay": 0.0, "shift": 0}
    assert Recipe(**old, label_smoothing=0.0) == Recipe()


def test_a_model_is_made_to_fit_the_dataset():
    assert new_run("lenet5", "cifar10", 0, Recipe()).options == {"in_channels": 3, "size": 32}
    assert new_run("lenet5", "mnist", 0, Recipe()).options == {}
    assert new_run("cifarnet", "mnist", 0, Recipe(), widths=[4]).options == {"in_channels": 1, "widths": [4]}
    assert new_run("lenet5", "cifar10", 0, Recipe(), size=40).options == {"in_channels": 3, "size": 40}  # as it is told


def test_the_recipe_of_cifar_learns():
    """On drawn digits, which are there without a download; all its parts at once."""
    tc.manual_seed(0)
    recipe = replace(RECIPES["cifar"], epochs=2, batch_size=250)
    session = start(new_run("cifarnet", "synthetic", 0, recipe, widths=[8]))
    reports = [report for report in session.trainer.run() if hasattr(report, "test_accuracy")]
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].test_accuracy > 0.3  # of ten classes, some of which a mirror changes
    assert np.isfinite(reports[-1].train_loss)
