"""Jobs of the Train page."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tinyconv.engine.context import no_grad
from tinyconv.host import limits
from tinyconv.train import RECIPES, Recipe, Run, load_checkpoint, resume, save_weights, start, usual_recipe
from tinyconv.train.checkpoint import free_place, usual_places
from tinyconv.web import layers
from tinyconv.web.jobs import JobError, job
from tinyconv.web.studio import Studio
from tinyconv.web.subject import fetching
from tinyconv.web.training import Training, command


@job("train.state")
def state(studio: Studio) -> dict[str, Any]:
    """All that the page shows: the recipes, the checkpoint, the training so far, and those before it."""
    subject, training = studio.subject, studio.state.get("train")
    run = subject.run
    return {
        "recipes": {name: asdict(recipe) for name, recipe in RECIPES.items()},
        "usual": usual_recipe(run.model, run.data) if run else None,
        "begin": None if run is None else _begin(studio, run, training),
        "checkpoint": _checkpoint(studio),
        "training": None if training is None else training.about() | training.now() | training.since(),
        "runs": studio.kept.get("runs", []),
    }


def _begin(studio: Studio, run: Run, training: Training | None) -> dict[str, Any]:
    """What the fields of the page begin with.

    They are those of the training, or of the checkpoint; else those of the training of the model before, if the same
    recipe is usual for both; else those of the usual recipe.
    """
    kept = studio.kept.get("run")
    if training is None and studio.subject.checkpoint is None and kept is not None and _alike(run, kept[0]):
        (before, name), is_kept = kept, True
    else:
        before, name, is_kept = run, _name_of(run) if training is None else training.recipe, False
    return {"recipe": name, "seed": str(before.seed), "fields": before.recipe, "kept": is_kept}


def _alike(run: Run, other: Run) -> bool:
    return run.data == other.data and usual_recipe(run.model, run.data) == usual_recipe(other.model, other.data)


def _name_of(run: Run) -> str:
    """The recipe that the run follows; the usual one where it has no name."""
    return next((name for name, r in RECIPES.items() if asdict(r) == run.recipe), usual_recipe(run.model, run.data))


def _checkpoint(studio: Studio) -> dict[str, Any] | None:
    """How far the training of the subject's file is."""
    subject = studio.subject
    if subject.checkpoint is None or "train" in studio.state:
        return None
    found = load_checkpoint(subject.checkpoint)
    at = found.trainer["progress"]
    return {
        "name": subject.checkpoint.name,
        "epoch": at["epoch"],
        "step": at["step"],
        "epochs": found.run.recipe["epochs"],
        "longer": found.run.recipe["schedule"] == "constant",
        "history": at["history"],
    }


def _plain(name: str, recipe: Recipe, error: Exception) -> str:
    """The error of a field as the page says it: a person who types a number knows no types."""
    usual = getattr(recipe, name, None)
    kind = {int: "a whole number", float: "a number"}.get(type(usual))
    return str(error) if kind is None or isinstance(error, ValueError) else f"write {kind}, such as {usual:g}"


def _planned(studio: Studio, recipe: str, seed: str, changes: dict[str, Any]) -> tuple[Run | None, dict[str, str]]:
    """The run that these fields of the page describe, or what is wrong with which of them."""
    run = studio.subject.run
    if run is None:
        raise JobError(f"{studio.subject.title} came from Python, without a recipe: train it there")
    base, errors = RECIPES.get(recipe), {}
    if base is None:
        return None, {"recipe": f"there is no recipe {recipe!r}"}
    for name, value in changes.items():
        try:
            replace(Recipe(optimizer="sgd"), **{name: value})  # each alone, so that each has its own error
        except (ValueError, TypeError) as error:
            errors[name] = _plain(name, base, error)
    if not (seed.isascii() and seed.isdigit() and int(seed) <= limits.SEED):
        errors["seed"] = f"seed must be a whole number from 0 to {limits.SEED:,}"
    if errors:
        return None, errors
    try:
        return replace(run, seed=int(seed), recipe=asdict(replace(base, **changes))), {}
    except (ValueError, TypeError) as error:  # two that do not go together
        return None, {"layer_rates": str(error)}


@job("train.check", newest=True)
def check(studio: Studio, recipe: str, seed: str, changes: dict[str, Any]) -> dict[str, Any]:
    """What is wrong with the fields, by name; else the command that trains the same."""
    run, errors = _planned(studio, recipe, seed, changes)
    return {"errors": errors, "command": None if run is None else command(run, recipe)}


@job("train.start", writes=True)
def start_training(
    studio: Studio, recipe: str, seed: str, changes: dict[str, Any], running: bool = True
) -> dict[str, Any]:
    """Begin anew, with new weights; `running` False makes no step yet. Says what is wrong with the fields instead."""
    run, errors = _planned(studio, recipe, seed, changes)
    if run is None:
        return {"errors": errors}
    subject = studio.subject
    with fetching(run.data):
        session = start(run, root=subject.root, offline=subject.offline)
    if subject.checkpoint is not None:  # the weights are no longer those of the file
        subject.title, subject.checkpoint = run.model, None
    training = Training(session, subject.title, recipe)
    _watch(studio, training)
    if running:
        studio.go_on_with(training.activity(studio))
    return {"errors": {}}


@job("train.resume", writes=True)
def resume_training(studio: Studio, epochs: int | None = None) -> None:
    """Go on with the checkpoint that the model was read from, to `epochs` epochs in all."""
    subject = studio.subject
    if subject.checkpoint is None or subject.run is None:
        raise JobError("this model was not read from a checkpoint: start a training")
    with fetching(subject.run.data):
        session = resume(subject.checkpoint, epochs=epochs, root=subject.root, offline=subject.offline)
    training = Training(session, subject.title, _name_of(subject.run), resumed=True)
    _watch(studio, training)
    studio.go_on_with(training.activity(studio))


def _watch(studio: Studio, training: Training) -> None:
    """Let all pages look at the model that is trained."""
    studio.stop()
    subject, runs = studio.subject, studio.kept.setdefault("runs", [])
    subject.model, subject.run, subject.trained = training.session.model.eval(), training.session.run, True
    studio.state["train"] = training
    runs[:] = [run for run in runs if run["history"]]  # one that was given up at once is none to compare with
    runs.append(training.entry)
    studio.kept["run"] = training.session.run, training.recipe
    studio.report("outline", subject.outline())


def _training(studio: Studio) -> Training:
    training: Training | None = studio.state.get("train")
    if training is None:
        raise JobError("there is no training yet: start one")
    return training


@job("train.pause", writes=True)
def pause(studio: Studio) -> None:
    """Stop after the step under way. The training can go on."""
    _training(studio)
    studio.stop()


@job("train.go_on", writes=True)
def go_on(studio: Studio) -> None:
    """Go on until the end."""
    training = _training(studio)
    if training.status == "paused":
        studio.go_on_with(training.activity(studio))


@job("train.step", writes=True)
def one_step(studio: Studio, measured: bool = False) -> None:
    """Make one step of the optimiser, and stop; `measured` also notes what it does to the weights."""
    training = _training(studio)
    studio.stop()
    if training.status == "paused":
        step, before = training.measured_step if measured else training.step, training.done
        while training.status == "paused" and training.done == before:  # the test after an epoch may come first
            step()
        training.tell(studio)


@job("train.weights", newest=True)
def weights(studio: Studio) -> dict[str, Any]:
    """How the weights are spread, and the gradients. While it trains, a step is made and measured for it."""
    training = _training(studio)
    if training.status == "running":
        training.measured_step()
    return training.measured()


@job("train.rate", writes=True)
def rate(studio: Studio, lr: Any) -> dict[str, Any]:
    """Change the peak of the learning rate from here on."""
    training = _training(studio)
    try:
        value = replace(Recipe(), lr=lr).lr
        if value <= 0:
            raise ValueError("lr must be above 0")
    except (ValueError, TypeError) as error:
        return {"errors": {"lr": _plain("lr", Recipe(), error)}}
    training.set_peak(float(value))
    training.tell(studio)
    return {"errors": {}}


@job("train.save", writes=True)
def save(studio: Studio) -> dict[str, Any]:
    """Write a checkpoint under its usual name, or the weights alone where a rate was changed by hand."""
    training = _training(studio)
    name = "rates-by-hand" if training.rates else training.recipe
    with free_place(usual_places(training.session.run, name)) as place:
        if training.rates:
            save_weights(training.session.model.state_dict(), place)
        else:
            training.session.save(place)
    training.saved.append({"path": str(place), "whole": not training.rates})
    return training.saved[-1]


@job("train.maps", newest=True)
def maps(studio: Studio, image: int, layer: str | None = None) -> dict[str, Any]:
    """What a layer, the first unless it is named, makes of a test image with the weights as they are now.

    Returns:
        image, label: uint8 (C, H, W), and the class that it shows.
        probabilities: float32 (classes,).
        names: Those of all layers.
        layer: See `layers.seen`.
    """
    subject = studio.subject
    one = subject.image(image)
    with no_grad():
        found = layers.seen(*layers.run(subject.model, subject.input(one.images)))
    all_of_them = found["layers"]
    return {
        "image": one.images[0],
        "label": int(one.labels[0]),
        "probabilities": found["probabilities"],
        "names": [each["name"] for each in all_of_them],
        "layer": next((each for each in all_of_them if each["name"] == layer), all_of_them[0]),
    }
