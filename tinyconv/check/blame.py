"""Say in one sentence which line of the user raised an exception, as a traceback does at length."""

from __future__ import annotations

import importlib
import linecache
import re
import traceback
from pathlib import Path

import numpy as np

import tinyconv as tc
from tinyconv.errors import printable

_NOT_THE_USERS = tuple(str(Path(module.__file__ or "").parent) for module in (tc, np, importlib))


def users_line(error: BaseException) -> str:
    """` at mine.py:12: return 2 * x`, the innermost of the user's lines in the traceback; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {Path(error.filename).name}:{error.lineno}: {printable((error.text or '').strip(), 160)}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*_NOT_THE_USERS, "<")):
            line = linecache.getline(frame.filename, frame.lineno or 0).strip()
            return f" at {Path(frame.filename).name}:{frame.lineno}" + (f": {printable(line, 160)}" if line else "")
    return ""


def raised(what: str, error: BaseException) -> str:
    """The sentence that `what` raised `error`, with the user's line and the likely fix."""
    text = printable(error.msg if isinstance(error, SyntaxError) else str(error), 1000)
    what, text = printable(what), f": {text}" if text else ""
    return f"{what} raised {type(error).__name__}{text}{users_line(error)}{_hint(str(error))}"


def _hint(text: str) -> str:
    if "read-only" in text:
        return " (inputs and dy belong to others and must not be written to)"
    half = re.search(r"\b(forward|backward)\(\) .*positional argument", text)
    if half is None:
        return ""
    called = (
        "forward(xp, *arrays, **geometry)" if half[1] == "forward" else "backward(xp, saved, dy, needs, **geometry)"
    )
    return f" (it is called as {called}; is a @staticmethod missing above it?)"
