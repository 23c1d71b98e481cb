"""Other programs: found where they are meant to be, in time, and deaf to the current folder."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tinyconv
from tinyconv.host.processes import PYTHON, program, run_child

ROOT = Path(tinyconv.__file__).parent
HARNESS = ROOT.parent / "benchmarks" / "harness"

posix = pytest.mark.skipif(os.name == "nt", reason="scripts, groups and limits of POSIX")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- one place ------------------------------------------------------------------------------------------------------

STARTERS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"}


def starts(source):
    """The lines of a source that start a process, or import what does."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [f"{ast.unparse(node.value)}.{node.attr}"]
        for name in names:
            module, _, last = name.rpartition(".")
            if name.split(".")[0] in ("subprocess", "multiprocessing", "pty", "_posixsubprocess") or (
                module == "os" and (last in STARTERS or last.startswith(("exec", "spawn")))
            ):
                yield node.lineno


@pytest.mark.parametrize(
    ("root", "places"),
    [(ROOT, {"host/processes.py", "distributed/processes.py"}), (HARNESS, {"processes.py"})],  # programs; ranks
)
def test_one_file_starts_processes(root, places):
    if not root.is_dir():
        pytest.skip("no checkout")
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if list(starts(path.read_text("utf-8")))}
    assert found == places


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import subprocess", True),
        ("def f():\n    from subprocess import run", True),
        ("import os\nos.system('x')", True),
        ("from os import popen", True),
        ("os.execvp('x', [])", True),
        ("from multiprocessing import Pool", True),
        ("import os\nos.path.join('x')", False),
        ("from tinyconv.host import processes", False),
    ],
)
def test_every_way_to_start_a_process_is_seen(source, seen):
    assert bool(list(starts(source))) == seen


# --- which program --------------------------------------------------------------------------------------------------


@posix
def test_a_program_is_found_in_the_absolute_folders_of_path(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        script(folder / "tool", "true")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f":.:../here:{there}")
    assert program("tool") == str(there / "tool")
    assert program("./tool") == str(here / "tool")
    assert program("../there/tool") == str(there / "tool")
    monkeypatch.setenv("PATH", ":.")
    assert program("tool") is None
    for name in ("", "./none", str(tmp_path), "none"):
        assert program(name) is None


# --- how it runs ----------------------------------------------------------------------------------------------------


def test_a_child_says_how_it_ended_and_what_it_said(tmp_path):
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    ended = run_child([*PYTHON, "-c", code], folder=tmp_path, timeout=60)
    assert (ended.code, ended.said.split()) == (3, ["out", "err"])


def test_a_python_reads_neither_the_folder_nor_pythonpath(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "json.py").write_text("print('foreign')")
        (tmp_path / name / "sitecustomize.py").write_text("print('foreign')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}{tmp_path / 'there'}")
    for folder in (tmp_path, tmp_path / "here"):
        ended = run_child([*PYTHON, "-c", "import json; print(json.dumps(1))"], folder=folder, timeout=60)
        assert ended.said == "1\n"


@posix
def test_a_child_that_does_not_end_is_killed_with_what_it_started(tmp_path):
    path = script(tmp_path / "slow", f"(while :; do sleep 0.05; date > {tmp_path}/alive; done) & wait")
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"slow did not end within 0.5 s"):
        run_child([str(path)], folder=tmp_path, timeout=0.5)
    assert time.monotonic() - started < 20
    (tmp_path / "alive").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not (tmp_path / "alive").exists()


@posix
def test_what_a_child_leaves_running_is_not_waited_for(tmp_path):
    path = script(tmp_path / "leaves", "sleep 20 &\necho done")
    started = time.monotonic()
    assert run_child([str(path)], folder=tmp_path, timeout=60).said == "done\n"
    assert time.monotonic() - started < 10


@posix
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, MemoryError])
def test_whatever_ends_the_waiting_ends_the_child(tmp_path, monkeypatch, interrupt):
    children = []

    def wait(self, timeout=None, wait=subprocess.Popen.wait):
        if timeout is not None:
            children.append(self)
            raise interrupt
        return wait(self)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(interrupt):
        run_child([str(script(tmp_path / "slow", "sleep 60"))], folder=tmp_path, timeout=60)
    assert children[0].returncode == -9


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_files_and_words_are_bounded(tmp_path):
    path = script(tmp_path / "endless", "exec yes")
    ended = run_child([str(path)], folder=tmp_path, timeout=60, most=1 << 20)
    assert ended.code < 0
    assert len(ended.said) == 1 << 16
    path = script(tmp_path / "writer", "sleep 0.3; yes | head -c 3000000 > big")
    run_child([str(path)], folder=tmp_path, timeout=60, most=1 << 20)
    assert (tmp_path / "big").stat().st_size == 1 << 20


@posix
def test_what_it_writes_is_for_this_user_alone_and_it_has_no_terminal(tmp_path):
    before = os.umask(0)
    try:
        run_child([str(script(tmp_path / "w", "touch x; mkdir y; cat"))], folder=tmp_path, timeout=60)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "y").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_started_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="none"):
        run_child([str(tmp_path / "none")], folder=tmp_path, timeout=1)
