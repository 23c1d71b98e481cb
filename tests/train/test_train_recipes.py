"""Recipes: what they make of their fields, and which one trains what."""

from dataclasses import replace

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import models, nn
from tinyconv.data import AlternatingFlip, Compose, Cutout, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.optim import SGD, Adam, AdamW
from tinyconv.train import RECIPES, Recipe, new_run, start, usual_recipe


def test_augmentation():
    assert Recipe().augmentation() is None
    assert Recipe(shift=2).augmentation() == RandomShift(2)
    assert Recipe(crop=4).augmentation() == RandomCrop(4)
    both = Recipe(crop=4, flip=True).augmentation()
    assert both == Compose((RandomCrop(4), RandomHorizontalFlip()))
    assert Recipe(flip=True, alternating=True).augmentation() == AlternatingFlip()
    covered = Recipe(shift=1, cutout=8).augmentation()
    assert covered == Compose((RandomShift(1), Cutout(8, fill=120)))


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


def test_rates_by_layer():
    """Every parameter is in one group, but for the scales of normalisations; every group decays alike."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, affine=False), nn.Flatten(),
        nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 3),
    )  # fmt: skip
    optimizer = Recipe(optimizer="sgd", lr=0.5, weight_decay=0.01, layer_rates=True).optimizer_of(model)
    rest, biases, head = optimizer.param_groups
    assert rest["params"] == [*model[0].parameters(), *model[2].parameters(), *model[5].parameters()]
    assert biases["params"] == [model[1].bias, model[6].bias]
    assert head["params"] == list(model[7].parameters())
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 32, 0.5 / 81]
    assert not model[1].weight.requires_grad
    assert not model[6].weight.requires_grad
    for group in optimizer.param_groups:
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.005)
        assert group["nesterov"]
    (rest, head) = Recipe(optimizer="sgd", layer_rates=True).optimizer_of(models.lenet5()).param_groups
    assert (len(rest["params"]), len(head["params"])) == (8, 2)


def test_a_slow_head_is_one_whose_logits_are_divided():
    """The rate 1/81 of weights 1/9 as large does what dividing the logits by 9 does, to the last bits."""
    tc.manual_seed(0)
    slow, divided = (models.cifarnet(widths=[4]).double() for _ in range(2))
    divided.load_state_dict(slow.state_dict())
    with tc.no_grad():
        for parameter in divided[-1].parameters():
            parameter *= 9
    x, y = tc.randn(6, 3, 9, 9, dtype=tc.float64), tc.tensor(np.arange(6))
    recipe = Recipe(optimizer="sgd", lr=0.1, weight_decay=0.01, layer_rates=True)
    optimizers = [recipe.optimizer_of(model) for model in (slow, divided)]
    optimizers[1].param_groups[2].update(lr=0.1, weight_decay=0.01)
    for _ in range(5):
        for optimizer, model, scale in zip(optimizers, (slow, divided), (1, 1 / 9), strict=True):
            optimizer.zero_grad()
            tc.functional.cross_entropy(scale * model(x), y).backward()
            optimizer.step()
    for ours, theirs in zip(slow[:-1].parameters(), divided[:-1].parameters(), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(slow[-1].parameters(), divided[-1].parameters(), strict=True):
        np.testing.assert_allclose(9 * ours.numpy(), theirs.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [("onecycle", {0: 1 / 25, 29: 1, 99: 4e-6}), ("triangle", {0: 0.2, 11: 0.6, 22: 1, 99: 2e-5}), ("constant", {})],
)
def test_schedules(schedule, at):
    recipe = Recipe(optimizer="sgd", schedule=schedule, lr=2.0, layer_rates=True)
    model = models.cifarnet(widths=[4])
    for parameter in model.parameters():
        parameter.grad = tc.zeros_like(parameter)
    optimizer = recipe.optimizer_of(model)
    scheduler = recipe.scheduler(optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        if scheduler is not None:
            optimizer.step()
            scheduler.step()
    for step, share in at.items() or {0: 1, 99: 1}.items():
        assert rates[step] == pytest.approx([2 * share, 2 * share * 64, 2 * share / 81], rel=1e-6)


def test_which_recipe_trains_what():
    assert usual_recipe("cifarnet", "cifar10") == "cifar"
    assert usual_recipe("lenet5", "cifar10") == "cifar-lenet"
    assert usual_recipe("lenet5", "mnist") == usual_recipe("mlp", "cifar10") == "default"
    assert RECIPES["cifar-lenet"].augmentation() is None  # what is said of it is said without augmentation


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schedule", "square", "schedule must be 'onecycle' or 'triangle' or 'constant', got 'square'"),
        ("layer_rates", True, "layer_rates are for optimizer='sgd'; 'adam' scales each step by itself"),
        ("crop", -1, "crop must be at least 0, got -1"),
        ("cutout", -1, "cutout must be at least 0, got -1"),
        ("optimizer", "lion", "optimizer must be 'adam' or 'sgd', got 'lion'"),
        ("alternating", True, "alternating says how flip=True mirrors images, but flip is False"),
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


@pytest.mark.slow
def test_the_recipe_of_cifar_learns():
    """On drawn digits, which are there without a download; all its parts at once."""
    tc.manual_seed(0)
    recipe = replace(RECIPES["cifar"], epochs=2, batch_size=250)
    session = start(new_run("cifarnet", "synthetic", 0, recipe, widths=[8]))
    reports = [report for report in session.trainer.run() if hasattr(report, "test_accuracy")]
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].test_accuracy > 0.3  # of ten classes, some of which a mirror changes
    assert np.isfinite(reports[-1].train_loss)
