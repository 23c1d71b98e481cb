"""`tinyconv summary`, as a user types it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from commands import run_here

import tinyconv as tc
from tinyconv import models, nn
from tinyconv.inspect import Cake
from tinyconv.train import RECIPES, new_run, start

LENET = "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run `tinyconv summary ...` in an empty folder: what it printed, or the words of its complaint."""
    monkeypatch.chdir(tmp_path)

    def summary(*args, code=0):
        done = run_here("summary", *args, code=code)
        assert not (done.stdout if code else done.stderr)
        return done.stdout if code == 0 else " ".join(done.stderr.replace("│", " ").split())

    yield summary
    assert tc.zeros(1).device == "cpu"


# --- what is summed up ----------------------------------------------------------------------------------------------


def test_a_cake(run):
    lines = run(LENET).splitlines()
    assert lines == str(tc.summary(Cake.parse(LENET).build((1, 28, 28)), (1, 28, 28))).splitlines()
    assert lines[2].split()[:5] == ["conv1", "Conv2d", "6x24x24", "156", "86,400"]
    assert lines[-2].split()[:4] == ["total", "44,426", "281,640", "563,280"]


def test_another_input(run):
    assert "62,006  651,720  1,303,440" in run(LENET, "--input", "3x32x32")
    assert "62,006  651,720  1,303,440" in run("lenet5", "--input", "3X32X32")
    assert run("fc 3; relu", "--input", "7").splitlines()[2].split()[:5] == ["fc1", "Linear", "3", "24", "21"]


@pytest.mark.parametrize("name", [name for name in models.MODELS if name != "cake"])
def test_every_model(run, name):
    found = json.loads(run(name, "--json"))
    with tc.device("meta"):
        assert found["total_params"] == sum(p.numel() for p in models.create(name).parameters())
    size = {"alexnet": [3, 224, 224], "vgg16": [3, 224, 224], "resnet50": [3, 224, 224], "cifarnet": [3, 32, 32]}
    assert found["input_shape"] == size.get(name, [1, 28, 28])


def test_options_of_a_model(run):
    assert "61,706" in run("lenet5", "--option", "padding=2")
    assert "266,610" in run("mlp", "--option", "hidden=[300, 100]")
    found = json.loads(run("resnet50", "--option", 'stride_at="3x3"', "--json"))
    assert max(row["receptive_field"] for row in found["layers"] if row["jump"]) == 427
    assert f"{10 * 44_426:,}" not in run("lenet5", "--option", "num_classes=26")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a small net, trained for an epoch on drawn digits."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = replace(RECIPES["default"], epochs=1, batch_size=1000)
    session = start(new_run("mlp", "synthetic", 0, recipe, hidden=16))
    for _ in session.trainer.run():
        pass
    paths = folder / "mlp.safetensors", folder / "checkpoint"
    for path in paths:
        session.save(path)
    return paths


@pytest.mark.parametrize("which", [0, 1], ids=["by its name", "whatever it is called"])
def test_a_checkpoint(run, trained, which):
    found = json.loads(run(trained[which], "--json"))
    assert (found["model"], found["input_shape"], found["total_params"]) == ("MLP", [1, 28, 28], 784 * 16 + 16 + 170)
    assert [row["kind"] for row in found["layers"]] == ["Flatten", "Linear", "ReLU", "Linear"]


FILE = """
import tinyconv as tc
from tinyconv import nn

MEAN = tc.tensor([0.5])  # made when this is imported
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


class Net(nn.Module):
    def __init__(self, filters=4):
        super().__init__()
        self.conv = nn.Conv2d(1, filters, 3)

    def forward(self, x):
        return self.conv(x - MEAN)


class Asks(nn.Module):
    def forward(self, x):
        return x if x.sum().item() > 0 else -x


def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def needs(filters):
    return Net(filters)


def fails():
    raise RuntimeError("no luck")


def number():
    return 3


width = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_nets.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("place", "args", "params"),
    [
        ("my_nets.py:net", ["--input", "3x8x8"], 112),
        ("my_nets.py:Net", [], 40),
        ("my_nets.py:make", [], 7850),
        ("my_nets:make", [], 7850),
        ("tinyconv.models:lenet5", [], 44_426),
    ],
)
@pytest.mark.usefixtures("file")
def test_a_model_of_ones_own(run, place, args, params):
    assert json.loads(run(place, *args, "--json"))["total_params"] == params


def test_a_file_elsewhere(run, file, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert json.loads(run(f"{file}:Net", "--json"))["layers"][-1]["output_shape"] == [4, 26, 26]


# --- the formats ----------------------------------------------------------------------------------------------------


def test_json(run):
    out = run("lenet5", "--json")
    assert out.count("\n") == 1
    assert json.loads(out) == tc.summary(models.lenet5(), (1, 28, 28)).to_dict()
    assert run("lenet5", "--format", "json") == out


def test_markdown_and_html(run):
    s = tc.summary(models.lenet5(), (1, 28, 28))
    assert run("lenet5", "--format", "markdown") == s.to_markdown() + "\n"
    assert run("lenet5", "--format", "html") == s.to_html() + "\n"


def test_cake_and_python(run):
    assert run(LENET.replace("; ", "\n"), "--format", "cake") == LENET + "\n"
    text = "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; conv 120 3 padding=1; relu; gap; flatten; fc 10\n"
    assert run("lenet_gap", "--format", "cake") == text
    made = {}
    exec(run("lenet_gap", "--format", "python"), made)
    assert isinstance(made["model"], nn.Sequential)
    assert str(Cake.of(made["model"])) + "\n" == text
    assert "cannot be a slice of a cake" in run("lenet5", "--format", "cake", code=1)


def test_warnings_are_shown(run):
    assert "nn.AdaptiveAvgPool2d(1) before the flattening" in run("vgg16")


def test_no_random_number_and_no_file(run, tmp_path):
    before = tc.get_rng_state()
    run("vgg16")
    assert tc.get_rng_state() == before
    assert list(tmp_path.iterdir()) == []


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "Missing argument"),
        ([""], 1, "an empty cake: write slices between semicolons"),
        (["conv 6 5; pol 2"], 1, "slice 2, 'pol 2': no slice is called 'pol': pool? conv 6 5; pol 2 ^^^^^"),
        (["conv 6 5; fc 3"], 1, "it needs features in one row and gets (6, 24, 24): put flatten before it (3,456)"),
        (["conv 6 5; flatten; fc 3", "--input", "1x4x4"], 1, "kernel 5x5 is larger than the padded input 4x4"),
        (["lenet6"], 1, "or was a model meant: lenet5?"),
        (["lenet5", "--input", "1x28"], 1, "kernel 5x5 is larger than the padded input 1x28"),
        (["lenet5", "--input", "1x32x40"], 1, "in layer 'fc1'"),
        (["lenet5", "--input", "1x1x28x28"], 1, "without the batch it is (1, 28, 28)"),
        (["vgg16", "--input", "3x8x8"], 1, "in layer '23': MaxPool2d"),
        (["lenet5", "--input", "0x28x28"], 2, "--input is CxHxW, such as 1x28x28 or 3x32x32, got '0x28x28'"),
        (["lenet5", "--input", "28,28"], 2, "--input is CxHxW, such as 1x28x28 or 3x32x32, got '28,28'"),
        (["lenet5", "--input", ""], 2, "--input is CxHxW, such as 1x28x28 or 3x32x32, got ''"),
        (["lenet5", "--format", "pdf"], 2, "--format is one of table, markdown, html, json, cake, python, got 'pdf'"),
        (["lenet5", "--option", "padding"], 2, "--option takes NAME=VALUE"),
        (["lenet5", "--option", "colour=1"], 1, "model 'lenet5' cannot be built with {'colour': 1}"),
        (["lenet5", "--option", "size=8"], 1, "images of 8x8 shrink to nothing"),
        (["conv 6 5", "--option", "size=8"], 2, "--option is for a model by name: lenet5"),
        (["cake"], 1, "slices"),
        (["nowhere.safetensors"], 1, "no checkpoint at nowhere.safetensors"),
        (["nowhere.py:Net"], 2, "no file 'nowhere.py'"),
        (["no_such_module:Net"], 2, "no module 'no_such_module'"),
        (["my_nets.py:net"], 1, "conv2d: expected 3 channels"),
        (["my_nets.py:Nut"], 2, "my_nets has no 'Nut'; did you mean Net"),
        (["my_nets.py"], 2, "my_nets.py:NAME"),
        (["my_nets.py:"], 2, "my_nets.py:NAME"),
        (["my_nets.py:number"], 2, "must be an nn.Module or a function that makes one; calling it gave 3"),
        (["my_nets.py:needs"], 2, "my_nets.py:needs: missing a required argument: 'filters'; --option NAME=VALUE"),
        (["my_nets.py:fails"], 2, "no luck"),
        (["my_nets.py:width"], 2, "or a class or function that makes one, got 3"),
        (["my_nets.py:MEAN"], 2, "or a class or function that makes one, got"),
        (["my_nets.py:Asks"], 1, "has a shape and no values"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("file")
def test_bad_input(run, args, code, said):
    assert said in run(*args, code=code)


def test_a_file_that_is_no_checkpoint(run, tmp_path):
    (tmp_path / "notes.txt").write_text("conv 6 5")
    assert "notes.txt" in run("notes.txt", code=1)


def test_a_file_that_cannot_be_imported(run, tmp_path):
    (tmp_path / "broken_nets.py").write_text("import tinyconv\n1 / 0\n")
    assert "division by zero" in run("broken_nets.py:net", code=2)


# --- as it is installed ---------------------------------------------------------------------------------------------


def shell(*args, **environment):
    env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", **environment}
    command = [sys.executable, "-m", "tinyconv", "summary", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)


def test_in_a_process_of_its_own():
    done = shell("conv 6 5; relu; pool 2; flatten; fc 10")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split()[-1] == "columns"  # no terminal: nothing is left out for want of room
    assert lines[-2].split()[:2] == ["total", "8,806"]
    wrong = shell("conv 6 5; pol 2")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == (
        "error: slice 2, 'pol 2': no slice is called 'pol': pool?\n  conv 6 5; pol 2\n            ^^^^^\n"
    )


def test_help():
    text = " ".join(shell("--help").stdout.split())
    for word in ("cake", "--input", "--option", "--format", "--json", "conv FILTERS KERNEL"):
        assert word in text
