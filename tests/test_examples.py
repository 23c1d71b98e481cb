"""The experiments among the examples: each run small, as a reader would run it, and what it prints and writes."""

import json
import math
import os
import runpy
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc

EXAMPLES = Path(__file__).parent.parent / "examples"


def functions(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def python(name, *options, **environment):
    """Run an example in a process of its own, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *options],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done


def run(name, out, *options):
    """Run an example, and again out of its record, where there is no matplotlib; the record, and what was printed."""
    done = python(name, "--out", out, *options)
    path = out / f"{name}.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["experiment"] == name
    assert {"options", "date", "commit", "environment"} <= set(record)
    assert functions(name)["table"](record) in done.stdout
    if find_spec("matplotlib"):
        width, height = struct.unpack(">II", (out / f"{name}.png").read_bytes()[16:24])
        assert min(width, height) > 600

    (out / "none").mkdir()
    (out / "none" / "matplotlib.py").write_text("raise ModuleNotFoundError('there is no matplotlib')", encoding="utf-8")
    again = python(name, "--out", out / "again", "--from-record", path, PYTHONPATH=str(out / "none"))
    assert functions(name)["table"](record) in again.stdout
    assert again.stderr.startswith("no picture: there is no matplotlib; pip install matplotlib, then --from-record")
    assert not list((out / "again").iterdir())
    return record, done.stdout


@pytest.mark.slow
def test_mlp_vs_lenet(tmp_path):
    options = ("--data", "synthetic", "--hidden", "16", "8", "--seeds", "0", "1", "--epochs", "1", "--jobs", "2")
    record, printed = run("mlp_vs_lenet", tmp_path, *options)
    lenet, *mlps = record["rows"]
    assert (lenet["parameters"], lenet["macs"]) == (44_426, 281_640)
    assert [(row["parameters"], row["macs"]) for row in mlps] == [(6_370, 6_352), (12_730, 12_704)]
    for row in record["rows"]:
        accuracies = [found["accuracy"] for found in row["runs"]]
        assert [found["seed"] for found in row["runs"]] == [0, 1]
        assert min(accuracies) > 0.5
        assert row["mean_accuracy"] == pytest.approx(sum(accuracies) / 2)
        assert row["sd_accuracy"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert "No MLP here reaches a mean of 99.0%; the best is 784-16-10" in printed

    lenet["mean_accuracy"], mlps[1]["mean_accuracy"] = 0.992, 0.991
    assert functions("mlp_vs_lenet")["answer"](record) == (
        "The narrowest MLP here with a mean of 99.0% is 784-16-10: 99.10% with 12,730 parameters, 0.3 times those of "
        "LeNet-5, which reaches a mean of 99.20%."
    )


@pytest.mark.slow
def test_shift(tmp_path):
    options = ("--data", "synthetic", "--reach", "1", "--seeds", "0", "--epochs", "1", "--jobs", "2")
    record, printed = run("shift", tmp_path, *options)
    assert [row["model"] for row in record["rows"]] == ["lenet5", "mlp", "lenet_gap", "lenet5"]
    assert [row["recipe"]["shift"] for row in record["rows"]] == [0, 0, 0, 1]
    for row in record["rows"]:
        ((a, b, c), (d, unmoved, e), (f, g, h)) = row["runs"][0]["accuracies"]
        near, far = row["by_distance"]
        assert near == {"mean": unmoved, "sd": 0}
        assert far["mean"] == pytest.approx((a + b + c + d + e + f + g + h) / 8)
        assert unmoved > 0.5
    assert "LeNet-5 at 1 px: " in printed


def test_shift_moves_right_and_down():
    moved = functions("shift")["moved"]
    image = np.arange(1, 13).reshape(1, 1, 3, 4)
    padded = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)))
    assert moved(padded, 2, 0, 0).tolist() == image.tolist()
    assert moved(padded, 2, 1, 0)[0, 0].tolist() == [[0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]
    assert moved(padded, 2, -1, 2)[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [2, 3, 4, 0]]


@pytest.mark.slow
def test_gotchas(tmp_path):
    record, _ = run("gotchas", tmp_path, "--data", "synthetic", "--steps", "30")
    expected = {
        "no flatten before the head": "flatten them first: x.flatten(1) or nn.Flatten()",
        "channels last": "channels last? x.permute(0, 3, 1, 2)",
        "no channel axis": "one channel missing? x.unsqueeze(1)",
        "a head made for images of another size": "for this one it is nn.Linear(256, ...)",
        "bytes, not floats": "must be floating point, got uint8: x.float()?",
        "batch norm and one image, eval() forgotten": "or model.eval()",
    }
    assert list(record["refused"]) == list(expected)
    for name, said in expected.items():
        assert said in record["refused"][name]
    assert "nn.AdaptiveAvgPool2d(1) before the flattening" in record["huge_head"]

    trained = record["trained"]
    same_start = ("no mistake", "zero_grad() forgotten", "learning rate 10 times too high")
    assert len({trained[name]["losses"][0] for name in same_start}) == 1
    assert (len(trained["no mistake"]["losses"]), trained["no mistake"]["said"]) == (30, "")
    twice = trained["softmax before cross_entropy"]
    assert "cross_entropy takes logits" in twice["said"]
    assert min(twice["losses"]) > math.log(1 + 9 / math.e)
    assert max(abs(loss - math.log(10)) for loss in trained["all parameters start at 0"]["losses"]) < 0.1

    assert list(record["unevaled"]) == ["batch norm", "dropout"]
    for row in record["unevaled"].values():
        assert len(row["without"]) == len(record["batches"])
        assert all(0 < accuracy <= 1 for accuracy in (row["with"], *row["without"]))


def test_gotchas_says_where_the_loss_is_no_number():
    gotchas, digits = functions("gotchas"), tc.data.synthetic_digits(1280)
    row = gotchas["fit"](tc.models.lenet5(), digits, digits, lr=1e6)
    assert row["losses"]
    assert row["accuracy"] is None
    assert row["said"].startswith("DivergedError: the loss is nan at epoch 1, step ")


@pytest.mark.slow
def test_loops_to_im2col(tmp_path):
    record, printed = run("loops_to_im2col", tmp_path, "--batch", "2", "--turns", "1")
    steps = ["six loops", "two loops", "im2col", "tiled, the default"]
    assert [(row["layer"], row["step"]) for row in record["rows"]] == [
        (layer, step) for layer in ("conv1", "conv2") for step in steps
    ]
    for row in record["rows"]:
        assert row["difference"] < 1e-4
        assert all(len(row[half]["samples_ms"]) > 0 < row[half]["ms"] for half in ("forward", "backward"))
    assert "conv1: all give the same" in printed


@pytest.mark.slow
def test_many_ranks():
    out = python("many_ranks").stdout
    assert "rank 1 of 2: loss " in out
    assert out.endswith("the weights of 2 ranks and of one are the same\n")
