"""The user's line: the innermost line on the stack that is not in this package."""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from pathlib import Path
from types import FrameType

_OURS = str(Path(__file__).parents[1]) + os.sep


def user_line() -> str:
    """The line as a text: `train.py:42, in forward: x = self.fc1(x)`."""
    frame, _ = _user_frame()
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    return f"{Path(code.co_filename).name}:{frame.f_lineno}, in {code.co_name}" + (f": {source}" if source else "")


def warn(message: str) -> None:
    """Give a warning that points to the user's line."""
    _, level = _user_frame()
    warnings.warn(message, stacklevel=level)


def _user_frame() -> tuple[FrameType, int]:
    """The frame of that line, and its level above the function that asks. The outermost frame if all are ours."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    return frame, level
