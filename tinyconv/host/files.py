"""Write files so that they are whole or not there at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import FileIO, RawIOBase
from pathlib import Path

from tinyconv.errors import DataError

if sys.platform != "win32":
    import fcntl


@contextmanager
def atomic(path: Path, follow: bool = True) -> Iterator[Path]:
    """A path to write to, in a `with` block; the file there replaces `path` in one step when the block is done.

    A reader, a crash or a loss of power finds either the old file or the whole new one. A block that fails leaves
    nothing behind; what a killed process leaves is removed when `path` is written next. A link is followed where the
    user chose `path`, as an editor would; with `follow=False`, in a cache, it is replaced, as all but a folder is.
    Raises OSError where `path` exists and is a folder, or, followed, is not a regular file.
    """
    path = Path(os.path.realpath(path)) if follow else path
    old = path.stat() if follow and path.exists() else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(f"{path} is not a regular file")
    clear(path)
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")  # same folder, so that the replace is atomic
    with held(beside, wait=True) as part:  # whoever clears away just then has it for a moment
        mode = (old or beside.stat()).st_mode  # kept, whatever mode the writer leaves
        beside.chmod(0o600)  # nobody reads a part
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # else the new name may reach the disk before the bytes do
        beside.chmod(mode | 0o600)  # a umask cannot take it from its owner
        if sys.platform == "win32" and part is not None:
            part.close()  # an open file cannot be renamed there
        os.replace(beside, path)


def clear(path: Path) -> None:
    """Remove what killed writers of `path` have left beside it. The file that a living one holds stays."""
    for part in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):  # it is held; or the file system has no locks, and nobody knows
            if sys.platform == "win32":
                part.unlink()  # an open file cannot be removed there
            else:
                with part.open("rb+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[RawIOBase | None]:
    """The file at `path`, made if missing and removed after the `with` block; None where another holds it.

    The system lets go of what a process held, whatever ended it: a file that it left is taken over. Where the file
    system has no locks, everybody holds it.
    """
    file = _take(path, wait)
    try:
        yield file
    finally:
        if file is not None and sys.platform == "win32":
            file.close()
            with suppress(PermissionError):  # another has taken it meanwhile
                path.unlink(missing_ok=True)
        elif file is not None:
            path.unlink(missing_ok=True)  # before it is let go of: then another may hold it
            file.close()


def _take(path: Path, wait: bool) -> RawIOBase | None:
    if sys.platform == "win32":  # an open file cannot be removed there: what can be removed is not held
        try:
            path.unlink(missing_ok=True)
            return path.open("xb", buffering=0)
        except (PermissionError, FileExistsError):
            return None
    else:
        while True:
            file = FileIO(path, "ab", opener=_open_no_link)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                file.close()
                return None
            except OSError:  # a file system without locks
                return file
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            file.close()  # its holder removed it after it was opened here


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def check_writable(folder: Path) -> None:
    """Create `folder`, and raise OSError if nothing can be written in it, before there is work to lose."""
    import tempfile  # here: importing the package needs none of it

    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def cache_dir() -> Path:
    """The folder for downloads and compiled code: `tinyconv` in XDG_CACHE_HOME, or else in the user's cache folder.

    Raises DataError where this user has no home folder that it could be in.
    """
    if Path(xdg := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():  # the standard: "ignore relative paths"
        return Path(xdg, "tinyconv")
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():  # a relative HOME would be another one in each folder
        raise DataError("there is no home folder for a cache; set HOME, or XDG_CACHE_HOME to a folder for it")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "tinyconv", "Cache")
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "tinyconv"
