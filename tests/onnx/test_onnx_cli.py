"""`tinyconv export`."""

import json

import numpy as np
import pytest
from commands import run_here

pytest.importorskip("onnx", reason="ONNX files need onnx")

import onnx

import tinyconv as tc
from tinyconv.data import synthetic_digits
from tinyconv.train import RECIPES, load_checkpoint, new_run, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint of a training that was begun, and code of one's own with its weights."""
    folder = tmp_path_factory.mktemp("begun")
    run = new_run("mlp", "synthetic", 0, RECIPES["default"], hidden=8)
    start(run).save(folder / "mlp.safetensors")
    (folder / "net.py").write_text(
        "from tinyconv import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n",
        encoding="utf-8",
    )
    (folder / "odd.py").write_text(
        "from tinyconv import nn\n\n\nclass Odd(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(784, 10)\n\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1)).cumprod(1)\n",
        encoding="utf-8",
    )
    return folder


def test_a_checkpoint(folder):
    said = run_here("export", "mlp.safetensors", cwd=folder).stdout
    assert "largest difference" in said
    assert "images: uint8 (batch, 1, 28, 28) -> scores: float32 (batch, 10)" in said
    proto = onnx.load(folder / "mlp.onnx")
    about = {one.key: one.value for one in proto.metadata_props}
    assert (about["model"], about["data"], about["classes"].split()) == ("mlp", "synthetic", [*"0123456789"])
    digits = synthetic_digits(6, seed=1)
    scores = load_checkpoint(folder / "mlp.safetensors").model()(tc.tensor(digits.normalized())).array
    assert np.array_equal(tc.onnx.load(folder / "mlp.onnx")(tc.tensor(digits.images)).array, scores)


def test_raw_and_json(folder):
    found = json.loads(run_here("export", "mlp.safetensors", "raw.onnx", "--raw", "--json", cwd=folder).stdout)
    assert (found["path"], found["opset"], found["ir_version"]) == ("raw.onnx", 18, 8)
    assert found["inputs"] == ["images: float32 (batch, 1, 28, 28)"]
    assert found["difference"] <= found["allowed"]


def test_code_of_ones_own(folder):
    said = run_here("export", "net.py:Net", "own.onnx", "--opset", "20", cwd=folder).stdout
    assert "opset 20, IR 9" in said


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["mlp.safetensors", "--opset", "5"], 1, "opset must be 17 to 22, got 5"),
        (["mlp.safetensors", "a.onnx", "b.onnx"], 2, "the file to write ends in .onnx, and there is one"),
        (["odd.py:Odd", "odd.onnx"], 1, "Cumprod has no ONNX form here"),
    ],
)
def test_mistakes(folder, args, code, said):
    assert said in run_here("export", *args, code=code, cwd=folder).stderr
    assert not (folder / "odd.onnx").exists()
