"""The user's line: the innermost line on the stack that is not in this package."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import warnings
from pathlib import Path
from types import FrameType

LONGEST = 160  # characters of a line that are shown
_OURS = str(Path(__file__).parent) + os.sep
_WITH = contextlib.__file__  # calls what is ours at the end of a `with` block that is ours too
_IMPORT = "<frozen importlib"  # runs what is ours when it is imported
# Called by libraries, in no user's name.
_NOBODYS = (f"{_OURS}cli{os.sep}", f"{_OURS}host{os.sep}threads.py", f"{_OURS}web{os.sep}studio.py")


def user_line() -> str:
    """The line as a text, `train.py:42, in forward: x = self.fc1(x)`; empty where no line of a user's is running."""
    frame, _, inner = _user_frame()
    code = frame.f_code
    if code.co_filename.startswith(_OURS) or inner.startswith(_NOBODYS):
        return ""
    source = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()[:LONGEST]
    return f"{place(code.co_filename, frame.f_lineno)}, in {code.co_name}" + (f": {source}" if source else "")


def place(file: str, line: int) -> str:
    """`train.py:42`, or the line in its cell where a notebook made up the name of the file."""
    cell = "ipykernel_" in file or file.startswith("<ipython")
    return f"line {line} of a cell" if cell else f"{Path(file).name}:{line}"


def warn(message: str) -> None:
    """Give a warning that points to the user's line."""
    _, level, _ = _user_frame()
    warnings.warn(message, stacklevel=level)


def _user_frame() -> tuple[FrameType, int, str]:
    """The frame of that line, its level above the function that asks, and the file of ours that it called.

    The outermost frame if all are ours.
    """
    frame, level, inner = sys._getframe(1), 1, ""
    while frame.f_back is not None and (file := frame.f_code.co_filename).startswith((_OURS, _WITH, _IMPORT)):
        inner = file if file.startswith(_OURS) else inner
        frame, level = frame.f_back, level + 1
    return frame, level, inner
