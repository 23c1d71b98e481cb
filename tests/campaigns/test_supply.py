"""The campaign sees what it looks for: each thing that it attacks, broken."""

import pickle
import random
import sys

import pytest

from campaigns import supply
from tinyconv.data import packages, sources
from tinyconv.host.files import atomic

ANYTHING = """
import ctypes
build._kept = lambda path: ctypes.CDLL(str(path)) if path.exists() else None
build.private_folder = lambda folder: folder
"""


def follow(monkeypatch):
    monkeypatch.setattr(sources, "atomic", lambda path, follow: atomic(path))


def believe(monkeypatch):
    monkeypatch.setattr(sources, "_intact", lambda array, place, file: array)


def unpickle(monkeypatch):
    monkeypatch.setattr(packages, "_Arrays", pickle.Unpickler)


def load_anything(monkeypatch):
    monkeypatch.setattr(supply, "PRELUDE", ANYTHING)


def current_folder_first(monkeypatch):
    monkeypatch.setattr(supply, "START", [sys.executable, "-m", "tinyconv"])


@pytest.mark.parametrize(
    ("kind", "broken", "seen", "most"),
    [
        ("links and other things in the cache", follow, "something outside was changed", 60),
        ("mirrors that lie", believe, "wrong data", 40),
        ("files of the user's", believe, "wrong data", 60),
        ("wheels", unpickle, "foreign code ran", 60),
        pytest.param("compiled code in the cache", load_anything, "foreign code ran", 20, marks=pytest.mark.slow),
        pytest.param("compiled code in the cache", load_anything, "SIGBUS", 40, marks=pytest.mark.slow),
        pytest.param(
            "commands in a foreign folder", current_folder_first, "foreign code ran", 2, marks=pytest.mark.slow
        ),
    ],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_what_is_broken_is_seen(monkeypatch, tmp_path, kind, broken, seen, most):
    broken(monkeypatch)
    for i in range(most):
        found = supply.attempt(kind, supply.KINDS[kind], random.Random(i), tmp_path / str(i), "again")
        if seen in found.failure:
            return
    pytest.fail(f"{most} attempts saw nothing")
