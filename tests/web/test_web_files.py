"""The files of the pages: each is in the wheel, and each that a page names is there."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import tinyconv

STATIC = Path(tinyconv.__file__).parent / "web" / "static"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".html", ".js", ".css"))])
def test_what_a_file_loads_is_there_and_ours(name):
    text = (STATIC / name).read_text(encoding="utf-8")
    if "vendor/" in name:
        return
    folder = (STATIC / name).parent
    loaded = re.findall(r"""(?:from|import)\s*\(?\s*'([^']+)'""", text) if name.endswith(".js") else []
    loaded += re.findall(r'(?:href|src)="([^"#]+)"', text) if name.endswith(".html") else []
    for place in loaded:
        assert place.startswith(("./", "../", "/static/")), f"{name} loads {place}"
        path = STATIC / place.removeprefix("/static/") if place.startswith("/") else folder / place
        assert path.is_file(), f"{name} loads {place}, which is not there"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".html")])
def test_a_page_has_nothing_that_its_policy_forbids(name):
    text = (STATIC / name).read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text)


def test_no_page_is_ignored_by_git():
    """What git ignores is not in the wheel: `build/` and `dist/` are."""
    if shutil.which("git") is None or not (STATIC.parents[2] / ".git").exists():
        pytest.skip("this is no checkout")
    done = subprocess.run(["git", "check-ignore", "--no-index", *FILES], cwd=STATIC, capture_output=True, text=True)
    assert done.stdout == ""
    assert subprocess.run(["git", "check-ignore", "--no-index", "build/x.js"], cwd=STATIC).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling builds the wheel")
def test_the_wheel_has_the_pages(tmp_path):
    root = STATIC.parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name.removeprefix("tinyconv/web/static/") for name in wheel.namelist()}
    assert set(FILES) <= names
