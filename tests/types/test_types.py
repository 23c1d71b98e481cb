"""A user's script passes the type checkers that editors run, and runs."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("script.py")
CHECKERS = {
    "mypy": ["-m", "mypy", "--strict", "--no-incremental", "--config-file", ""],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}


def complaints(checker, script, folder):
    """What a checker says of a script that lies outside of this checkout, as a user's does."""
    place = folder / "script.py"
    place.write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, *CHECKERS[checker], place], cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_users_script_is_well_typed(checker, tmp_path):
    pytest.importorskip(checker)
    assert complaints(checker, SCRIPT.read_text(encoding="utf-8"), tmp_path) == ""


WRONG = [
    'tc.zeros(3).sum(dim="rows")',
    "tc.sum(input=3)",
    "tc.zeros(3).reshape(1.5)",
    "F.relu(tc.zeros(3), slope=2)",
    'nn.Linear("a", 10)',
    "accuracy(1, 2, 3)",
    "tc.zeros(3).flaten()",
]


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_mistakes_are_seen(checker, tmp_path):
    """The types say something: a checker that knows nothing but Any would pass these lines too."""
    pytest.importorskip(checker)
    script = SCRIPT.read_text(encoding="utf-8")
    said = complaints(checker, "\n".join([script, *WRONG]), tmp_path)
    first = len(script.splitlines()) + 2
    missed = [line for i, line in enumerate(WRONG, start=first) if f"script.py:{i}:" not in said]
    assert not missed, said


def test_it_runs(capsys):
    assert runpy.run_path(str(SCRIPT))["main"]() > 0
    assert "(6, 1, 5, 5)" in capsys.readouterr().out
