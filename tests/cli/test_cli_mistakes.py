"""Mistakes on the command line: what is said, and the exit code, which --help documents."""

import sys

import pytest
from commands import run_here
from messages import message
from safetensors.numpy import load_file

from tinyconv import data, models
from tinyconv.errors import CheckpointError, DataError
from tinyconv.inspect import pictures
from tinyconv.train import RECIPES, new_run, resume, start

MLP = {"hidden": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two checkpoints of trainings that were begun: one of a schedule, one of a constant rate."""
    folder = tmp_path_factory.mktemp("begun")
    for name in ("default", "lesson"):
        start(new_run("mlp", "synthetic", 0, RECIPES[name], **MLP)).save(folder / f"{name}.safetensors")
    (folder / "notes.txt").write_text("no checkpoint, no picture", encoding="utf-8")
    (folder / "net.py").write_text("model = 3\n", encoding="utf-8")
    return folder


# --- the exit code of every command ---------------------------------------------------------------------------------

CODES = [
    (0, "--help"),
    (0, "--version"),
    (2, ""),
    (2, "trian lenet5", "No such command 'trian'. Did you mean 'train'?"),
    (2, "--verson", "No such option: --verson"),
    (0, "train --help"),
    (2, "train"),
    (2, "train lenet --data synthetic", "resnet50, cake; did you mean 'lenet5'?"),
    (2, "train LeNet5 --data synthetic", "did you mean 'lenet5'?"),
    (2, "train mlp --data synthetic --recipe defalt", "cifar-full; did you mean 'default'?"),
    (2, "train mlp --data synthetic --epoch 3", "No such option: --epoch (Possible options: --epochs)"),
    (2, "train mlp --data synthetic --epochs five"),
    (2, "train mlp cifarnet"),
    (1, "train mlp --data mnst", "which has no files; did you mean 'mnist'?"),
    (1, "train mlp --data synthetic --device gpu", "unknown device 'gpu'"),
    (1, "train mlp --data nowhere", "no dataset is called 'nowhere'; there are mnist, "),
    (1, "train mlp --data nowhere", "no files; nor is it a folder of pictures, with nowhere/CLASS/1.png"),
    (1, "eval default.safetensors --data no/where", "nor is it a folder of pictures, with no/where/CLASS/1.png"),
    (1, "train --resume nowhere", "no checkpoint at nowhere: there is no such file"),
    (1, "train --resume notes.txt"),
    (2, "train --resume lesson.safetensors --lr 1", "leave out --lr"),
    (0, "eval --help"),
    (2, "eval"),
    (0, "eval default.safetensors"),
    (1, "eval .", "no checkpoint at .: there is no such file: that is a folder; did you mean "),
    (1, "eval lenet5", "lenet5 is a model, and tinyconv train lenet5 writes a checkpoint of it"),
    (1, "eval default", "there is no such file; did you mean default.safetensors?"),
    (1, "eval notes.txt"),
    (1, "eval default.safetensors --data mnst", "did you mean 'mnist'?"),
    (2, "predict default.safetensors", "Missing argument 'pictures'"),
    (1, "predict default.safetensors notes.txt"),
    (1, "predict notes.txt default.safetensors"),
    (1, "export nowhere", "no checkpoint at nowhere: there is no such file"),
    (2, "export default.safetensors out.tflite", "the file to write ends in .onnx"),
    (0, "summary lenet5"),
    (2, "summary"),
    (1, "summary lenet", "or was a model meant: lenet5?"),
    (2, "summary lenet5 --format tabel"),
    (2, "summary lenet5 --input big"),
    (2, "summary net.py:modle", "did you mean model?"),
    (2, "summary net.py:model"),
    (2, "maps"),
    (2, "maps default.safetensors --digit cat"),
    (1, "maps nowhere"),
    (2, "report"),
    (1, "report nowhere"),
    (2, "curves"),
    (1, "curves nowhere"),
    (1, "curves default.safetensors", "no epoch of this run was finished"),
    (2, "gradcheck conv2", "did you mean conv2d"),
    (2, "gradcheck conv2d --strid 2", "conv2d has no option strid; it has stride"),
    (0, "gradcheck relu --cases 1"),
    (2, "data"),
    (2, "data fetsh", "Did you mean 'fetch'?"),
    (1, "data fetch mnst", "did you mean 'mnist'?"),
    (0, "data fetch synthetic"),
    (0, "data list"),
    (1, "data verify mnst"),
    (0, "studio --help"),
    (1, "studio lenet", "or was a model meant: lenet5?"),
    (1, "studio nowhere.safetensors", "no checkpoint at nowhere.safetensors"),
    (1, "studio notes.txt", "cannot be read as a checkpoint"),
    (1, "studio lenet5 --data mnst", "did you mean 'mnist'?"),
    (1, "studio lenet5 --data synthetic --host nowhere.invalid", "127.0.0.1 is this machine"),
    (1, "studio lenet5 --data synthetic --host 192.0.2.77", "'192.0.2.77' is no address of this machine"),
    (2, "studio net.py:modle", "did you mean model?"),
    (2, "studio net.py:model"),
    (2, "studio --port 65536"),
    (0, "run --help"),
    (2, "run"),
    (2, "run nowhere.py", "no file 'nowhere.py'"),
    (0, "run net.py --its-own"),
    (0, "doctor"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "line", "said"), [(*row, "")[:3] for row in CODES], ids=[row[1] for row in CODES])
def test_exit_codes(folder, code, line, said):
    done = run_here(*line.split(), code=code, cwd=folder)
    assert said in done.stderr
    assert bool(done.stderr) == (code != 0 and line not in ("", "data"))


def test_every_command_is_tried_and_the_codes_are_documented():
    done = run_here("--help").stdout
    commands = {line.split()[1] for line in done.splitlines() if line.startswith("│ ") and line[2].isalpha()}
    assert commands - {"bench"} <= {row[1].split()[0] for row in CODES if row[1]}  # bench needs a checkout
    text = " ".join(done.split())
    assert "Exit codes: 0 success; 1 a wrong gradient, or bad input, data or checkpoint" in text
    assert "2 wrong usage" in text


# --- no data --------------------------------------------------------------------------------------------------------

DRAWN = "\n  to do without: --data synthetic draws digits, in Python tinyconv.data.load('synthetic', 'train')\n"


def test_without_data_and_network_the_drawn_digits_are_named(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TINYCONV_DATA", raising=False)
    assert DRAWN in run_here("train", "mlp", "--offline", code=1, cwd=tmp_path).stderr
    assert DRAWN in message(DataError, data.mnist, offline=True)
    data.load("synthetic", "train")


def test_names_in_python():
    assert message(ValueError, models.create, "lenet").endswith(", resnet50, cake; did you mean 'lenet5'?")
    assert message(DataError, data.load, "mnst").endswith("; did you mean 'mnist'?")
    said = message(KeyError, lambda: RECIPES["defalt"])
    assert "no recipe 'defalt'; there are default, lesson, " in said
    assert "did you mean 'default'?" in said
    assert "default" in RECIPES
    assert RECIPES.get("defalt") is None
    assert message(TypeError, new_run, "mlp", "synthetic", 0, "default") == (
        "new_run: recipe must be a Recipe, got 'default'; RECIPES has those with a name"
    )
    assert message(TypeError, start, "lenet5") == (
        "start takes what new_run(model, data, seed, recipe) returns, got 'lenet5'"
    )


# --- more epochs ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_epochs_at_a_constant_rate_are_those_of_a_longer_training(tmp_path):
    quick = ["train", "mlp", "--data", "synthetic", "--recipe", "lesson", "--option", "hidden=8", "--batch-size", 1000]
    run_here(*quick, "--epochs", 2, "--out", "long.safetensors", cwd=tmp_path)
    run_here(*quick, "--epochs", 1, "--out", "short.safetensors", cwd=tmp_path)
    run_here("train", "--resume", "short.safetensors", "--epochs", 2, cwd=tmp_path)
    ours, theirs = (load_file(tmp_path / f"{name}.safetensors") for name in ("short", "long"))
    assert {name: array.tobytes() for name, array in ours.items()} == {n: a.tobytes() for n, a in theirs.items()}
    said = run_here("train", "--resume", "short.safetensors", "--epochs", 1, cwd=tmp_path, code=1).stderr
    assert "short.safetensors: 2 epochs are done already, which is more than 1" in said


def test_more_epochs_under_a_schedule_are_refused_with_the_reason(folder):
    path = folder / "default.safetensors"
    said = message(CheckpointError, resume, path, epochs=20)
    assert said == (
        f"{path}: its learning rates are those of 'onecycle' over 5 epochs, and those of its 0 epochs would have been "
        "others over 20; train anew with 20 epochs, or with the schedule 'constant', which can be made longer"
    )
    before = path.read_bytes()
    assert said in run_here("train", "--resume", path, "--epochs", 20, code=1).stderr
    assert path.read_bytes() == before
    assert resume(path, epochs=5).trainer.epochs == 5
    assert resume(folder / "lesson.safetensors", epochs=9).trainer.epochs == 9


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["maps", "report", "curves"])
def test_a_missing_matplotlib_is_noticed_before_anything_is_computed(folder, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("tinyconv.cli.look.load_checkpoint", lambda path: pytest.fail("a checkpoint was read first"))
    said = run_here(command, "default.safetensors", cwd=folder, code=1).stderr
    assert said == "error: pictures need matplotlib: pip install 'tinyconv[pictures]'\n"
    assert message(DataError, pictures.check_installed).startswith("pictures need matplotlib")
