"""Datasets: found or fetched, verified, augmented, and served in batches."""

from typing import TYPE_CHECKING

from tinyconv.data.augment import (
    AlternatingFlip,
    Augment,
    Compose,
    Cutout,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
)
from tinyconv.data.base import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from tinyconv.data.cifar import read_cifar10
from tinyconv.data.collate import default_collate, default_convert
from tinyconv.data.datasets import ImageDataset, cifar10, describe, fashion_mnist, load, mnist, synthetic_digits
from tinyconv.data.idx import read_idx, write_idx
from tinyconv.data.loader import DataLoader
from tinyconv.data.picture import place_ink, read_photograph, read_picture
from tinyconv.data.samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tinyconv.data.sources import FileStatus, fetch, list_datasets, locate, verify
from tinyconv.errors import suggest_names
from tinyconv.host.files import cache_dir

if TYPE_CHECKING:
    from tinyconv.data.folders import PictureFolder, folder

__all__ = [
    "AlternatingFlip",
    "Augment",
    "BatchSampler",
    "Compose",
    "ConcatDataset",
    "Cutout",
    "DataLoader",
    "Dataset",
    "FileStatus",
    "ImageDataset",
    "IterableDataset",
    "PictureFolder",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomSampler",
    "RandomShift",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "cache_dir",
    "cifar10",
    "default_collate",
    "default_convert",
    "describe",
    "fashion_mnist",
    "fetch",
    "folder",
    "list_datasets",
    "load",
    "locate",
    "mnist",
    "place_ink",
    "random_split",
    "read_cifar10",
    "read_idx",
    "read_photograph",
    "read_picture",
    "synthetic_digits",
    "verify",
    "write_idx",
]

suggest_names(globals(), later={"PictureFolder": "data.folders", "folder": "data.folders"})
