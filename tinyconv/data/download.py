"""Files of a dataset over HTTP, alone or in an archive, and the progress bar for them.

What is fetched is handed back in memory and nothing is written; `sources` decides whether it is what it should be.
"""

from __future__ import annotations

import hashlib
import io
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import urljoin, urlsplit

from tinyconv.errors import DataError, printable

Progress: TypeAlias = Callable[[str, int, int], None]  # (message, bytes done, bytes in all); 0, 0 for a plain message

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds: a mirror that is down should not be waited for
SLOWEST = 100_000  # bytes a second: a mirror that sends fewer is left for the next
CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Archive:
    """A gzipped tar archive with all files in one folder: its name, that folder, its size in bytes and SHA-256."""

    name: str
    folder: str
    size: int
    sha256: str


def unpack(content: io.BytesIO, archive: Archive, files: dict[str, int]) -> dict[str, io.BytesIO]:
    """Files, by name and size in bytes, out of an archive. Raises DataError before it opens one of another SHA-256."""
    check_sha256(content.getbuffer(), archive.sha256)
    return members_of(content, archive.folder, files)


def check_sha256(content: bytes | memoryview, sha256: str, what: str = "") -> None:
    """Raise DataError where `content` has another SHA-256. `what` is the beginning of the message."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(f"{what}has the SHA-256 {digest}, expected {sha256}")


def members_of(content: BinaryIO, folder: str, files: dict[str, int]) -> dict[str, io.BytesIO]:
    """Files, by name and largest size, in `folder` of a gzipped tar archive, read into memory.

    No path in the archive is followed, and no link. Raises DataError where a file is missing or larger.
    """
    import tarfile  # here, because importing the package is common and a download is rare

    found: dict[str, io.BytesIO] = {}
    wanted = {f"{folder}/{name}": name for name in files}
    content.seek(0)
    try:
        with tarfile.open(fileobj=content, mode="r|gz") as members:  # one after another, to the last that is wanted
            for member in members:
                name = wanted.pop(member.name, None)
                if name is not None and member.isreg():
                    if member.size > files[name]:
                        raise DataError(f"has {member.size:,} bytes of {name}, expected at most {files[name]:,}")
                    file = members.extractfile(member)
                    found[name] = io.BytesIO(file.read() if file else b"")
                if not wanted:
                    break
    except DataError:
        raise
    except (EOFError, OSError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"is not the archive it should be: {error}") from error
    if missing := [name for name in files if name not in found]:
        raise DataError(f"is not the archive it should be: it has no file {folder}/{missing[0]}")
    return found


def seconds_for(size: int) -> float:
    """How long a download of so many bytes may take: 30 s, and 100 kB in each second more."""
    return READ_TIMEOUT + size / SLOWEST


def from_mirror(url: str, most: int, report: Progress) -> io.BytesIO:
    """The content at `url`.

    Raises DataError, with the reason, where it cannot be had, exceeds `most` bytes, or takes longer than
    `seconds_for(most)`: a server that sends a byte now and then never makes a read time out.
    """
    try:
        import requests
    except ImportError:
        raise DataError("requests is not installed (pip install 'tinyconv[train]')") from None
    content, given_up = io.BytesIO(), Event()
    chunks: SimpleQueue[bytes | int | Exception] = SimpleQueue()  # the size that is announced, the content, its end

    def fetch() -> None:
        try:
            with requests.get(
                url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), hooks={"response": _refuse_downgrade},
                headers={"Accept-Encoding": "identity"},
            ) as response:  # fmt: skip
                response.raise_for_status()
                announced = response.headers.get("Content-Length", "")
                chunks.put(int(announced) if announced.isdecimal() else 0)
                got = 0
                # As it was sent: what unpacks on the way would unpack more than `most`.
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    chunks.put(chunk)
                    got += len(chunk)
                    if got > most or given_up.is_set():
                        return
                chunks.put(b"")
        except Exception as error:  # to be raised where it is waited for
            chunks.put(error)

    # A thread of its own: there is no other way to leave a read that gets a byte now and then.
    Thread(target=fetch, name=f"download {url}", daemon=True).start()
    until, announced = time.monotonic() + seconds_for(most), 0
    try:
        while (chunk := chunks.get(timeout=max(0.0, until - time.monotonic()))) != b"":
            if isinstance(chunk, Exception):
                raise DataError(_reason(chunk)) from chunk
            if isinstance(chunk, int):
                announced = chunk
                continue
            if content.tell() + len(chunk) > most:
                raise DataError(f"sends more than {most} bytes")
            content.write(chunk)
            if announced:
                report(url, min(content.tell(), announced), announced)
    except Empty:
        got = f"{content.tell():,} bytes in {seconds_for(most):.0f} s"
        raise DataError(f"given up: {got} are slower than {SLOWEST // 1000} kB/s") from None
    finally:
        given_up.set()
    return content


def _refuse_downgrade(response: Any, **_: Any) -> None:
    """Called with each response, before a redirect in it is followed."""
    if response.is_redirect:
        to = urljoin(response.url, response.headers["location"])
        if urlsplit(to).scheme not in ({"https"} if response.url.startswith("https:") else {"http", "https"}):
            response.close()
            raise DataError(f"redirects to {printable(to, 200)}, expected https")


def _reason(error: BaseException) -> str:
    """The plain words of the system, which lie under the layers of the HTTP library."""
    while error.__context__ is not None:
        error = error.__context__
    return printable(str(error), 200) or type(error).__name__


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
