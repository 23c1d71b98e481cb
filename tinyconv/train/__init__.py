"""Training: recipes, the loop, and checkpoints from which a training continues bit for bit.

from tinyconv.train import RECIPES, EpochReport, new_run, start

session = start(new_run("lenet5", "mnist", 0, RECIPES["default"]))
for report in session.saving("lenet5.safetensors"):
    if isinstance(report, EpochReport):
        print(report.epoch, report.test_accuracy)
"""

from tinyconv.errors import suggest_names
from tinyconv.train.checkpoint import Checkpoint, Run, check_images, check_place, load_weights, save_weights
from tinyconv.train.checkpoint import load as load_checkpoint
from tinyconv.train.loop import DOUBT, DivergedError, EpochReport, EvalReport, StepReport, Trainer, evaluate, predict
from tinyconv.train.recipes import RECIPES, Recipe, usual_recipe
from tinyconv.train.session import Session, new_run, resume, start

__all__ = [
    "DOUBT",
    "RECIPES",
    "Checkpoint",
    "DivergedError",
    "EpochReport",
    "EvalReport",
    "Recipe",
    "Run",
    "Session",
    "StepReport",
    "Trainer",
    "check_images",
    "check_place",
    "evaluate",
    "load_checkpoint",
    "load_weights",
    "new_run",
    "predict",
    "resume",
    "save_weights",
    "start",
    "usual_recipe",
]

suggest_names(globals())
