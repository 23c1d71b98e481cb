"""Files that are whole or not there at all."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` in one step when the block is done.

    A reader, a crash or a loss of power meets the old file or the whole new one; of a failed block nothing stays. A
    link is followed; what is no regular file (a folder, a device) raises OSError, and is not replaced.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # same folder, so that the replace is atomic
    beside.touch()
    mode = (path if path.exists() else beside).stat().st_mode  # what a new file has, whatever the writer makes of it
    try:
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # or the new name may reach the disk before the bytes do
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make `folder`, and raise the OSError that writing in it would, before there is work to lose."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def cache_dir() -> Path:
    """Where downloads, and what was compiled, are kept: the user's cache folder, as this platform has it, or below
    `XDG_CACHE_HOME`."""
    if Path(xdg := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():  # the standard: "ignore relative paths"
        return Path(xdg, "tinyconv")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "tinyconv", "Cache")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tinyconv"
