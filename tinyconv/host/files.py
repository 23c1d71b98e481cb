"""Write files so that they are whole or not there at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to, in a `with` block; the file there replaces `path` in one step when the block is done.

    A reader, a crash or a loss of power finds either the old file or the whole new one. A block that fails leaves
    nothing behind. A link is followed. Raises OSError where `path` exists and is not a regular file (a folder, a
    device).
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")  # same folder, so that the replace is atomic
    beside.touch()
    mode = (path if path.exists() else beside).stat().st_mode  # kept, whatever mode the writer leaves
    try:
        yield beside
        beside.chmod(mode)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # else the new name may reach the disk before the bytes do
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Create `folder`, and raise OSError if nothing can be written in it, before there is work to lose."""
    import tempfile  # here: importing the package needs none of it

    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def cache_dir() -> Path:
    """The folder for downloads and compiled code: `tinyconv` in XDG_CACHE_HOME, or else in the user's cache folder."""
    if Path(xdg := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():  # the standard: "ignore relative paths"
        return Path(xdg, "tinyconv")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local", "tinyconv", "Cache")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tinyconv"
