"""Datasets: found or fetched, verified, augmented, and served in batches."""

from tinyconv.data.augment import (
    AlternatingFlip,
    Augment,
    Compose,
    Cutout,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
)
from tinyconv.data.cifar import read_cifar10
from tinyconv.data.datasets import Dataset, cifar10, describe, fashion_mnist, load, mnist, synthetic_digits
from tinyconv.data.idx import read_idx, write_idx
from tinyconv.data.loader import DataLoader
from tinyconv.data.picture import place_ink, read_photograph, read_picture
from tinyconv.data.sources import FileStatus, fetch, list_datasets, locate, verify
from tinyconv.errors import suggest_names
from tinyconv.host.files import cache_dir

__all__ = [
    "AlternatingFlip",
    "Augment",
    "Compose",
    "Cutout",
    "DataLoader",
    "Dataset",
    "FileStatus",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomShift",
    "cache_dir",
    "cifar10",
    "describe",
    "fashion_mnist",
    "fetch",
    "list_datasets",
    "load",
    "locate",
    "mnist",
    "place_ink",
    "read_cifar10",
    "read_idx",
    "read_photograph",
    "read_picture",
    "synthetic_digits",
    "verify",
    "write_idx",
]

suggest_names(globals())
