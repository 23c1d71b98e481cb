"""`tinyconv run SCRIPT.py`: a PyTorch script as it is."""

import subprocess
import sys

import pytest

SCRIPT = """
import argparse
import sys
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from helper import double


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return F.relu(self.conv(x)).flatten(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--end", default="well")
    args = parser.parse_args()
    torch.manual_seed(double(1))
    print(tuple(Net()(torch.zeros(2, 1, 5, 5)).shape), __file__ == sys.argv[0], torch.__name__)
    if args.end == "exit":
        sys.exit(3)
    if args.end == "missing":
        torch.fft.fft(torch.zeros(2))
    if args.end == "warn":
        warnings.warn("careful")


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "helper.py").write_text("def double(x):\n    return 2 * x\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path / "script.py"


def run(*args):
    return subprocess.run([sys.executable, "-m", "tinyconv", "run", *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("end", "code"), [("well", 0), ("exit", 3), ("missing", 1), ("warn", 0)])
def test_a_script_runs_as_it_is(script, end, code):
    done = run(script, "--end", end)
    assert done.returncode == code, done.stderr
    assert done.stdout == "(2, 18) True tinyconv\n"
    if end == "missing":
        first, *_, last = done.stderr.splitlines()
        assert first == "Traceback (most recent call last):"
        assert (
            f'File "{script}", line {SCRIPT.splitlines().index("        torch.fft.fft(torch.zeros(2))") + 1}'
            in done.stderr
        )
        assert "tinyconv/cli" not in done.stderr
        assert last.startswith("AttributeError: module 'tinyconv' has no attribute 'fft', a Fourier transform")
    elif end == "warn":
        assert "UserWarning: careful" in done.stderr
    else:
        assert done.stderr == ""


def test_a_file_that_is_not_there(tmp_path):
    done = run(tmp_path / "none.py")
    assert done.returncode == 2
    assert "no file" in done.stderr
