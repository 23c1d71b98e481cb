"""Start other programs: the one place that does.

A child runs nothing of the current folder: its program is found in the absolute folders of PATH, it works in a folder
of its own, and a Python imports nothing but what is installed (`PYTHON`). It ends in bounded time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PYTHON = (sys.executable, "-I")
"""This interpreter, deaf to the current folder, to PYTHONPATH (an empty entry in it is the current folder) and to what
lies in the user's own site-packages: what it runs belongs to this environment."""
KEPT = 1 << 16
"""Bytes of a child's output that are read."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative for a signal), and the beginning of what it said on both outputs."""

    code: int
    said: str


def program(name: str) -> str | None:
    """The absolute path of a program, or None where there is none.

    A name with a folder in it ("./cc") says where it is; any other is looked for in the absolute folders of PATH, so
    that an empty entry or a dot there finds nothing in the current folder.
    """
    if os.path.dirname(name):
        return shutil.which(os.path.abspath(name))
    found = shutil.which(name, path=os.pathsep.join(filter(os.path.isabs, os.get_exec_path())))
    return found if found and os.path.isabs(found) else None  # Windows looks in the current folder all the same


def run_child(
    command: Sequence[str],
    *,
    folder: str | Path,
    timeout: float,
    most: int = 1 << 24,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end. What it writes is for this user alone.

    Args:
        command: Its absolute path and its arguments.
        folder: Where it works: a folder that nobody else writes to.
        timeout: Seconds after which it is killed, with what it started.
        most: Bytes of the largest file that it may write (on Linux), its output among them.
        env: Its environment, unless it is ours.

    Raises OSError where it cannot be started or does not end in time.
    """
    with tempfile.TemporaryFile() as output:  # a pipe would be held open by what it leaves running
        child = subprocess.Popen(
            list(command), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            umask=0o077,
            start_new_session=True,  # no terminal to ask on, and a group to kill
        )  # fmt: skip
        try:
            if sys.platform == "linux":
                import resource

                with suppress(OSError, ValueError):  # it has ended, or its limit is lower
                    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (most, most))
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{Path(command[0]).name} did not end within {timeout:g} s") from None
        finally:
            if child.returncode is None:
                if sys.platform == "win32":
                    child.kill()
                else:
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        return Ended(code, output.read(KEPT).decode(errors="replace"))
