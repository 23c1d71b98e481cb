"""Without PyTorch everything works, except comparing with it: the command line, README, and every argument space."""

import os
import subprocess
import sys

import pytest
from test_package import ROOT, snippets

BLOCK = "import sys; sys.modules['torch'] = None"  # now every way to import it raises ModuleNotFoundError

FEW_DIGITS = """
from tinyconv.data import datasets
datasets.SYNTHETIC_TRAIN, datasets.SYNTHETIC_TEST = 200, 50
"""

COMMAND = """
from runpy import run_module
run_module("tinyconv", run_name="__main__", alter_sys=True)
"""

OWN_OP = """
from tinyconv import ops

class Scaled(ops.LeakyRelu):
    pass
"""


def without_torch(code, *args, cwd=None, exit_code=0):
    """Run Python code in a process that cannot import torch."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-c", f"{BLOCK}\n{code}", *args]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, check=False)
    assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.parametrize(
    "statement",
    [
        "import torch",
        "import torch.nn",
        "from torch import nn",
        "from importlib import import_module; import_module('torch')",
        "__import__('torch')",
    ],
)
def test_torch_is_blocked(statement):
    assert "ModuleNotFoundError" in without_torch(statement, exit_code=1).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["gradcheck", "--help"],
        ["gradcheck", "--cases", "4"],
        ["gradcheck", "conv2d", "--stride", "2", "--cases", "4"],
        ["gradcheck", "own:Scaled", "--slope", "0.5"],
        ["summary", "lenet5"],
        ["train", "lenet5", "--data", "synthetic", "--epochs", "1"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_the_command_line(tmp_path, args):
    (tmp_path / "own.py").write_text(OWN_OP, encoding="utf-8")
    assert without_torch(FEW_DIGITS + COMMAND, *args, cwd=tmp_path).stdout


def test_the_snippets_of_the_readme():
    found = snippets("README.md")
    assert found
    without_torch("\n".join(found))


def test_every_argument_space():
    """A case is drawn, printed and run on our side; only PyTorch's own function may ask for PyTorch."""
    code = """
import warnings
import numpy as np
import tinyconv as tc
from tinyconv.check.draw import RandomDraw
from tinyconv.testing.case import draw_case
from tinyconv.testing.table import public_ops

warnings.simplefilter("ignore")
np.seterr(all="ignore")
for name in public_ops():
    for seed in range(60):
        case = draw_case(name, RandomDraw(seed))
        assert repr(case)
        case.function()(*map(tc.tensor, case.inputs))
    print(name)
"""
    assert len(without_torch(code).stdout.split()) > 100


def test_comparing_says_what_is_missing():
    done = without_torch(COMMAND, "gradcheck", "relu", "--torch", exit_code=2)
    words = " ".join(done.stderr.replace("│", " ").split())
    assert "--torch: comparing with PyTorch needs PyTorch: pip install torch" in words
    code = "from tinyconv.check import compare_with_torch; compare_with_torch(abs, abs, [[1.0]])"
    done = without_torch(code, exit_code=1)
    assert "TinyconvError: comparing with PyTorch needs PyTorch: pip install torch\n" in done.stderr
