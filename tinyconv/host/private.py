"""Folders that only this user can change, for code that is kept there and run again."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinyconv.host.files import held


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be, as the system knows it without links.

    Raises PermissionError where others can change what is in it; the message says who, and how to mend it.
    """
    make_private(folder)
    folder = folder.resolve()
    if refused := refusal(folder):
        raise PermissionError(refused)
    return folder


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone, whatever the umask."""
    for place in (*reversed(folder.parents), folder):
        if not place.exists():
            place.mkdir(0o700, exist_ok=True)
            place.chmod(0o700)


def refusal(folder: Path) -> str:
    """Whom a folder (without links) lets change what is in it, and how to mend that; "" where nobody else can.

    The folder and all above it must belong to this user or to root, and others must not be able to write in them. A
    folder above may be one like /tmp, in which everybody can write and nobody can take away what is another's.
    """
    if sys.platform == "win32":  # its cache folder is the user's
        return ""
    for place in (folder, *folder.parents):
        state = place.lstat()
        if state.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to {_name_of(state.st_uid)}"
        if state.st_mode & 0o022 and (place == folder or not state.st_mode & stat.S_ISVTX):
            return f"others can write in {place} (chmod {'700' if place == folder else 'go-w'} {place})"
    return ""


def _name_of(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (user {uid})"
    except KeyError:
        return f"user {uid}"


def read_own(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file of this user or root that others cannot write. No link is followed.

    Raises OSError where `path` is anything else.
    """
    place = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(place, "rb") as file:
        state = os.fstat(place)
        ours = sys.platform == "win32" or (state.st_uid in (0, os.geteuid()) and not state.st_mode & 0o022)
        if not stat.S_ISREG(state.st_mode) or not ours:
            raise PermissionError(f"{path} is not a file that this user alone can write")
        return file.read(most)


@contextmanager
def in_turn(path: Path, patience: float) -> Iterator[None]:
    """A `with` block that one process at a time is in, and one thread of it: the one that holds `path`.

    Raises TimeoutError after `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        with held(path) as file:
            if file is not None:
                yield
                return
        if time.monotonic() > until:
            raise TimeoutError(f"another process has held {path} for {patience:.0f} s")
        time.sleep(0.05)
