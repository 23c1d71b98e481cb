"""`tinyconv bench` in a checkout, from any folder, and where the package is installed without one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinyconv

PACKAGE = Path(tinyconv.__file__).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package alone, as pip installs it."""
    folder = tmp_path_factory.mktemp("site-packages")
    shutil.copytree(PACKAGE, folder / "tinyconv", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def bench(*words, cwd, package=PACKAGE.parent):
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "tinyconv", "bench", *words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--help"], 0)], ids=["nothing", "--help"])
def test_it_lists_the_benchmarks(words, code, tmp_path):
    done = bench(*words, cwd=tmp_path)
    assert done.returncode == code
    shown = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert shown.startswith("Usage: tinyconv bench [OPTIONS] COMMAND [ARGS]...")
    for name in ("conv", "lenet", "cifar", "ops"):
        assert f" {name} " in shown
    assert "completion" not in shown


def test_a_benchmark_has_help_of_its_own(tmp_path):
    done = bench("conv", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.split()[:5] == ["Usage:", "tinyconv", "bench", "conv", "[OPTIONS]"]
    assert "--layer" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["conv", "--nonsense"], "No such option: --nonsense"),
        (["ops", "--part", "nonsense"], "no part 'nonsense'; there are overhead, startup, summary"),
    ],
    ids=" ".join,
)
def test_wrong_usage(words, message, tmp_path):
    done = bench(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--help"], ["conv", "--help"], ["nonsense"]], ids=" ".join)
def test_without_a_checkout_it_says_where_the_benchmarks_are(words, installed, tmp_path):
    done = bench(*words, cwd=tmp_path, package=installed)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the benchmarks are not part of the installed package, and there are none in "
        f"{installed / 'benchmarks'}: clone the repository, run `pip install -e '.[train]'` in it, then `tinyconv "
        "bench` again\n"
    )
    assert done.stdout == ""
