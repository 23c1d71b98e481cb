"""Readers beside torchvision's, on the same files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from vision_oracle import torchvision

from tinyconv import data

NAMES = [
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize("train", [True, False])
def test_idx_files(tmp_path, kind, train):
    rng = np.random.default_rng(0)
    folder = tmp_path / kind / "raw"
    folder.mkdir(parents=True)
    for name in NAMES:
        array = rng.integers(0, 256, (7, 28, 28), np.uint8) if "images" in name else rng.integers(0, 10, 7, np.uint8)
        data.write_idx(folder / name, array)
    theirs = getattr(torchvision.datasets, kind)(tmp_path, train=train)
    images, labels = (data.read_idx(folder / name) for name in (NAMES[:2] if train else NAMES[2:]))
    np.testing.assert_array_equal(theirs.data.numpy(), images)
    np.testing.assert_array_equal(theirs.targets.numpy(), labels)


def test_cifar10_files(tmp_path, monkeypatch):
    """torchvision reads the version for Python and this library the binary one: both lay an image out alike."""
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (6, 1 + 3072), np.uint8)
    records[:, 0] %= 10
    (tmp_path / "batch.bin").write_bytes(records.tobytes())
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    batch = {"data": records[:, 1:], "labels": records[:, 0].tolist()}
    (folder / "test_batch").write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    theirs = torchvision.datasets.CIFAR10
    files = {"train_list": [], "test_list": [["test_batch", None]], "meta": theirs.meta | {"md5": None}}
    for name, value in files.items():
        monkeypatch.setattr(theirs, name, value)
    found = theirs(tmp_path, train=False)
    images, labels = data.read_cifar10(tmp_path / "batch.bin")
    np.testing.assert_array_equal(found.data.transpose(0, 3, 1, 2), images)
    assert found.targets == labels.tolist()


def test_real_mnist(mnist_root, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in NAMES:  # torchvision reads files that are unpacked
        data.write_idx(folder / name, data.read_idx(next((Path(mnist_root) / "MNIST" / "raw").glob(f"{name}*"))))
    theirs, ours = torchvision.datasets.MNIST(tmp_path, train=False), data.mnist("test", mnist_root)
    np.testing.assert_array_equal(theirs.data.numpy(), ours.images[:, 0])
    np.testing.assert_array_equal(theirs.targets.numpy(), ours.labels)
    assert [name.split(" - ")[0] for name in theirs.classes] == list(ours.classes)
