"""Files of a dataset over HTTP, alone or in an archive, and the progress bar for them.

What is fetched is handed back in memory and nothing is written; `sources` decides whether it is what it should be.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from tinyconv.errors import DataError

Progress: TypeAlias = Callable[[str, int, int], None]  # (message, bytes done, bytes in all); 0, 0 for a plain message

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds: a mirror that is down should not be waited for


@dataclass(frozen=True)
class Archive:
    """A gzipped tar archive with all files in one folder: its name, that folder, its size in bytes and SHA-256."""

    name: str
    folder: str
    size: int
    sha256: str


def from_archive(url: str, archive: Archive, names: list[str], report: Progress) -> dict[str, io.BytesIO]:
    """The files `names` out of the archive at `url`. Raises DataError before it opens one with another SHA-256."""
    content = from_mirror(url, archive.size, report)
    check_sha256(content.getbuffer(), archive.sha256)
    return members_of(content, archive.folder, names)


def check_sha256(content: bytes | memoryview, sha256: str, what: str = "") -> None:
    """Raise DataError where `content` has another SHA-256. `what` is the beginning of the message."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(f"{what}has the SHA-256 {digest}, expected {sha256}")


def members_of(content: io.BytesIO, folder: str, names: list[str]) -> dict[str, io.BytesIO]:
    """The files `names` in `folder` of a gzipped tar archive, read into memory: no path in the archive is followed."""
    import tarfile  # here, because importing the package is common and a download is rare

    content.seek(0)
    try:
        with tarfile.open(fileobj=content, mode="r:gz") as members:
            found = {name: members.extractfile(f"{folder}/{name}") for name in names}
            return {name: io.BytesIO(member.read()) for name, member in found.items() if member is not None}
    except (KeyError, OSError, tarfile.TarError) as error:
        raise DataError(f"is not the archive it should be: {error}") from error


def from_mirror(url: str, most: int, report: Progress) -> io.BytesIO:
    """The content at `url`. Raises DataError, with the reason, where it cannot be had or exceeds `most` bytes."""
    try:
        import pooch
    except ImportError:
        raise DataError("pooch is not installed (pip install 'tinyconv[train]')") from None
    content = _Bounded(most)
    bar = _Bar(lambda done, total: report(url, done, total))
    handled = sys.exception()  # a caller's: not a cause of what goes wrong here, though Python chains it
    with ExitStack() as responses:

        def close_at_exit(response: Any, **_: Any) -> None:  # pooch leaves it open where reading fails
            responses.callback(response.close)

        options = {"timeout": (CONNECT_TIMEOUT, READ_TIMEOUT), "hooks": {"response": close_at_exit}}
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=_Bar.CHUNK, **options)(url, content, None)
        except OSError as error:
            # The plain words of the system lie under the layers of the HTTP library.
            cause: BaseException = error
            while cause.__context__ not in (None, handled):
                cause = cause.__context__
            raise DataError(str(cause) or type(cause).__name__) from error
    return content


class _Bounded(io.BytesIO):
    """A buffer that refuses to grow beyond `most` bytes, whatever a server sends."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def write(self, chunk: Any, /) -> int:
        if self.tell() + len(chunk) > self.most:
            raise DataError(f"sends more than {self.most} bytes")
        return super().write(chunk)


class _Bar:
    """The progress bar that pooch asks for: it sets `total`, then calls `update` once per chunk."""

    CHUNK = 1 << 16  # bytes

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.report = report
        self.total = self.done = 0

    def update(self, nbytes: int) -> None:
        self.done = min(self.done + nbytes, self.total)
        self.report(self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


@contextmanager
def terminal() -> Iterator[Progress]:
    """A `Progress` on the standard error output: plain messages as lines, and with rich a bar for each download."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
        from rich.progress import Progress as Bars
    except ImportError:
        yield lambda message, done, total: None if total else print(message, file=sys.stderr)
        return

    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn()
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def report(message: str, done: int, total: int) -> None:
            if not total:
                console.print(message, markup=False, highlight=False, soft_wrap=True)
                return
            if message not in tasks:
                tasks[message] = bars.add_task(message)
            bars.update(tasks[message], completed=done, total=total)

        yield report
