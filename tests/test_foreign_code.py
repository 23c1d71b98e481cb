"""A folder full of other people's code: nothing in it is run by being the current one."""

import os
import subprocess
import sys
from pathlib import Path

import foreign
import pytest

from tinyconv.fast.native import build
from tinyconv.host import environment

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="shell scripts")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module of every name that is imported anywhere, and PATH that begins in it."""
    here = tmp_path / "here"
    foreign.fill(here, tmp_path / "ran")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    for name in ("TINYCONV_DATA", "CC", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    return here


def nothing_ran(tmp_path):
    return not (tmp_path / "ran").exists() or pytest.fail((tmp_path / "ran").read_text())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["doctor"], 0),
        (["data", "list"], 0),
        (["data", "fetch", "mnist"], 1),
        (["summary", "lenet5"], 0),
        (["predict", "none.safetensors", "none.png"], 1),
        (["bench", "--help"], 0),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_the_command_imports_nothing_from_the_current_folder(folder, tmp_path, arguments, code):
    command = Path(sys.executable).with_name("tinyconv")
    if not command.exists():
        pytest.skip("the command is not installed beside this Python")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert nothing_ran(tmp_path)
    assert done.returncode == code, done.stderr


def test_the_folder_is_as_bad_as_it_looks(folder, tmp_path):
    """What is asked for with the current folder in front does run."""
    subprocess.run([sys.executable, "-m", "typer"], check=False, capture_output=True)
    subprocess.run("git", check=False)
    assert {"git"} < set((tmp_path / "ran").read_text().split())


def test_neither_a_commit_nor_a_compiler_is_asked_of_it(folder, tmp_path):
    environment.commit()
    assert Path(build.find_compiler()[0]).parent != folder
    assert nothing_ran(tmp_path)
