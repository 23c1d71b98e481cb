"""Models of one's own, FILE.py:NET, and one's own pictures, --data FOLDER, through every command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from commands import run_here
from PIL import Image

import tinyconv as tc
from tinyconv import models, train

NET = """
import tinyconv as tc
from tinyconv import nn


class Net(nn.Module):
    def __init__(self, in_channels=1, num_classes=10, width=4):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(tc.relu(self.conv(x)).mean((2, 3)))


def make(num_classes):
    return Net(3, num_classes)


def needs(width, depth):
    return Net(width=width)


def inner():
    raise KeyError("nothing")


def broken():
    return inner()


def no_net():
    return 3


class Pair(Net):
    def forward(self, x):
        return super().forward(x), x


class Bad(Net):
    def forward(self, x):
        raise ValueError("not today")


made = Net(3, 2)
three = 3
"""
TRAIN = ["--data", "pets", "--epochs", 8, "--size", 12, "--batch-size", 8, "--lr", 0.05, "--schedule", "constant"]


def pets(folder, names=("cat", "dog")):
    """Reddish cats and greenish dogs, of two sizes."""
    rng = np.random.default_rng(0)
    for i in range(20):
        image = rng.integers(0, 120, (12 + i % 3, 14, 3), np.uint8)
        image[..., i % 2] += 120
        path = folder / names[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    pets(folder / "pets")
    done = run_here("train", "net.py:Net", *TRAIN, "--out", "net.safetensors", cwd=folder)
    assert "pets: 4 of its 20 pictures, a fifth of each class, are held out to test on" in done.stdout
    assert "test accuracy 100.00% after 8 epochs" in done.stdout
    state = train.load_weights(folder / "net.safetensors")
    train.save_weights(state, folder / "weights.safetensors")
    return folder


@pytest.fixture
def here(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "own"


def said(*args, cwd, code=0):
    done = run_here(*args, cwd=cwd, code=code)
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())


OWN = ["net.py:Net", "net.safetensors"]


def test_a_checkpoint_remembers_what_it_was_trained_on(trained):
    run = train.load_checkpoint(trained / "net.safetensors").run
    assert (run.model, run.options, run.data) == (
        "net.py:Net", {"in_channels": 3, "num_classes": 2}, str(trained / "pets"),
    )  # fmt: skip
    assert (run.pictures["shape"], run.pictures["classes"], len(run.code)) == ([3, 12, 12], ["cat", "dog"], 64)
    assert run.kind().classes == ("cat", "dog")


@pytest.mark.parametrize("data", [(), ("--data", "pets")])
def test_eval(trained, data):
    assert "net.py:Net: test accuracy 100.00% (0 of 4 images wrong)" in said("eval", *OWN, *data, cwd=trained)


def test_eval_on_other_pictures(here):
    pets(here / "more")
    assert "0 of 20 images wrong" in said("eval", *OWN, "--data", "more", cwd=here)
    shutil.rmtree(here / "more" / "cat")
    assert "0 of 10 images wrong" in said("eval", *OWN, "--data", "more", cwd=here)
    (here / "more" / "dog").rename(here / "more" / "cow")
    assert "more has folders for cow, and the classes are cat, dog" in said(
        "eval", *OWN, "--data", "more", cwd=here, code=1
    )


def test_predict_needs_no_pictures_of_the_training(here):
    done = run_here("predict", *OWN, "pets/dog/1.png", "pets/cat/2.png", "--json", cwd=here)
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["dog", "cat"]
    run = replace(train.load_checkpoint(here / "net.safetensors").run, data="gone")
    assert run.kind().classes == ("cat", "dog")
    with pytest.raises(tc.DataError, match="gone: there is no such folder"):
        run.images("test")
    assert "name the pictures after the checkpoint" in said("predict", *OWN, cwd=here, code=2)


def test_plain_weights(trained):
    args = ["net.py:Net", "weights.safetensors", "--data", "pets", "--size", 12]
    assert "(0 of 4 images wrong)" in said("eval", *args, cwd=trained)
    assert "dog (" in said("predict", *args, "pets/dog/1.png", cwd=trained)


def test_a_model_as_it_is(trained):
    assert "net.py:made: test accuracy" in said("eval", "net.py:made", "--data", "pets", "--size", 12, cwd=trained)


def test_maps_and_report(here):
    assert "classified as cat; its label is cat" in said("maps", *OWN, "--class", "cat", cwd=here)
    assert (here / "net-maps.png").is_file()
    assert "0 of 4 images wrong" in said("report", *OWN, cwd=here)
    assert (here / "net-report" / "curves.png").is_file()


def test_summary(trained):
    done = json.loads(run_here("summary", "net.py:Net", "--option", "width=6", "--json", cwd=trained).stdout)
    assert done["total_params"] == 6 * 9 + 6 + 6 * 10 + 10
    made = json.loads(run_here("summary", "net.py:make", "--input", "3x8x8", "--json", cwd=trained).stdout)
    assert made["total_params"] == 4 * 27 + 4 + 4 * 10 + 10


def test_resume(here):
    done = said("train", "net.py:Net", "--resume", "net.safetensors", "--epochs", 9, cwd=here)
    assert "epoch 9" in done
    assert "epoch 8" not in done
    other = tc.train.load_checkpoint(here / "net.safetensors")
    assert len(other.trainer["progress"]["history"]) == 9


@pytest.mark.parametrize("command", [["eval"], ["predict"], ["maps"], ["report"], ["train", "--resume"]])
def test_no_checkpoint_runs_code_by_itself(trained, command):
    pictures = ["pets/cat/0.png"] * (command == ["predict"])
    text = said(*command, "net.safetensors", *pictures, cwd=trained, code=2)
    assert "is of 'net.py:Net', and no checkpoint runs code by itself: name the code before it, net.py:Net" in text


def test_code_that_has_changed(here):
    with (here / "net.py").open("a") as file:
        file.write("\nx = 1\n")
    text = "net.py:Net is not the code that trained net.safetensors: its file has changed"
    assert text in said("eval", *OWN, cwd=here)
    assert text in said("train", "net.py:Net", "--resume", "net.safetensors", cwd=here)


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("gone.py:Net", 2, "no file 'gone.py'"),
        ("net.py", 2, "say what in it is meant, net.py:NAME"),
        ("net.py:Nat", 2, "net has no 'Nat'; did you mean Net?"),
        ("net.py:three", 2, "must be an nn.Module, or a class or function that makes one, got 3"),
        ("net.py:needs", 2, "net.py:needs: missing a required argument: 'width'; --option NAME=VALUE gives it"),
        ("net.py:no_net", 2, "must be an nn.Module or a function that makes one; calling it gave 3"),
        ("net.py:broken", 2, "net.py:broken() raised KeyError: 'nothing' at net.py"),
        ("net.py:Pair", 1, "net.py:Pair gives a tuple for the 3x12x12 images of"),
        (
            "theirs.py:Net",
            2,
            "theirs.py:Net is a module of PyTorch's: import tinyconv in its place",
        ),
        ("net.py:Bad", 1, "net.py:Bad cannot take the 3x12x12 images of"),
        ("bad.py:Net", 2, "importing bad raised ZeroDivisionError: division by zero at bad.py:2: x = 1 / 0"),
    ],
)
def test_code_that_makes_no_model(here, name, code, expected):
    (here / "bad.py").write_text("y = 2\nx = 1 / 0\n")
    (here / "theirs.py").write_text("import torch\n\nNet = torch.nn.Flatten\n")
    assert expected in said("train", name, *TRAIN, "--out", "x", cwd=here, code=code)


def test_pictures_of_one_class_are_nothing_to_learn(tmp_path):
    pets(tmp_path / "pets", ["cat", "cat"])
    text = said("train", "lenet5", "--data", "pets", "--size", 28, cwd=tmp_path, code=1)
    assert "pets has one class, cat: two or more are needed to tell apart" in text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("net.py:broken", ["return inner()", 'raise KeyError("nothing")']),
        ("net.py:Bad", ['raise ValueError("not today")']),
        ("bad.py:Net", ["x = 1 / 0"]),
    ],
)
def test_the_lines_of_the_users_code_are_shown(here, name, lines):
    (here / "bad.py").write_text("y = 2\nx = 1 / 0\n")
    done = run_here("train", name, *TRAIN, "--out", "x", cwd=here, code=1 if "Bad" in name else 2)
    shown = [line.strip() for line in done.stderr.splitlines()]
    assert all(line in shown for line in lines)
    assert f'File "{here}' in done.stderr
    assert "tinyconv/cli" not in done.stderr


def test_folders_that_cannot_be_trained_on(here):
    assert "images of one size are needed; --size 12" in said("train", "net.py:Net", "--data", "pets", cwd=here, code=1)
    assert "--size is for --data FOLDER" in said("train", "mlp", "--data", "synthetic", "--size", 9, cwd=here, code=2)
    (here / "one" / "cat").mkdir(parents=True)
    shutil.copy(here / "pets" / "cat" / "0.png", here / "one" / "cat")
    assert "has one picture; two are needed" in said("train", "net.py:Net", "--data", "one", cwd=here, code=1)


def test_a_folder_with_parts_of_its_own(here):
    pets(here / "two" / "train")
    pets(here / "two" / "val")
    text = said("train", "net.py:Net", *TRAIN, "--data", "two", "--epochs", 1, "--out", "x", cwd=here)
    assert "tested on the 20 pictures in two/val" in text
    assert "of 20 images wrong" in said("eval", "net.py:Net", "x", cwd=here)
    shutil.rmtree(here / "two" / "val" / "cat")
    assert "val has the classes dog, and two/train cat, dog" in said(
        "train", "net.py:Net", *TRAIN, "--data", "two", cwd=here, code=1
    )


def test_a_model_by_name_on_pictures_of_ones_own(here):
    said("train", "lenet5", *TRAIN, "--epochs", 1, "--size", 28, cwd=here)
    (path,) = (here / "runs").iterdir()
    assert path.name == "lenet5-pets-default-seed0.safetensors"
    assert "of 4 images wrong" in said("eval", path, cwd=here)


def test_registered_models_train_from_python(monkeypatch):
    monkeypatch.setattr(models, "_OWN", {})
    with pytest.raises(ValueError, match="mine"):
        models.create("mine")
    models.register("mine", lambda num_classes: tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(784, num_classes)))
    run = train.new_run("mine", "synthetic", 0, train.Recipe(epochs=1, batch_size=1000))
    assert (run.options, models.is_known("mine")) == ({"num_classes": 10}, True)
    train.check_images(run)
    for wrong, error in (("lenet5", ValueError), ("other", TypeError)):
        with pytest.raises(error, match=r"choose another name|expected a class or a function"):
            models.register(wrong, 3)
    models.register("nothing", lambda: None)
    with pytest.raises(ValueError, match=r"nothing must make an nn\.Module, got None"):
        models.create("nothing")


@pytest.mark.parametrize(
    "pictures",
    [
        {"shape": [3, 4]},
        {"shape": [2, 4, 4]},
        {"shape": [3, 4, 10**9]},
        {"mean": [0.0]},
        {"std": [0, 0, 0]},
        {"classes": 3},
    ],
)
def test_pictures_described_as_none_are(pictures):
    good = {"shape": [3, 4, 4], "classes": ["a"], "mean": [0.1] * 3, "std": [1.0] * 3}
    assert train.Run("lenet5", pictures=good).kind().images.shape == (0, 3, 4, 4)
    with pytest.raises(tc.DataError, match=r"what is said of the pictures of pets is wrong|mean and std"):
        train.Run("lenet5", data="pets", pictures=good | pictures).kind()
