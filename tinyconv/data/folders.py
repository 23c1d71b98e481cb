"""One's own pictures, in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tinyconv.data.augment import checked
from tinyconv.data.datasets import ImageDataset
from tinyconv.data.picture import is_deep, look, opened
from tinyconv.engine.options import count
from tinyconv.errors import DataError, listed, shortened

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
"""How the names of pictures end, in small letters."""
MOST = 8 << 30  # bytes of images in memory
LARGEST = 10_000  # pixels a side of an image that is scaled


def folder(
    path: str | os.PathLike[str], size: int | tuple[int, int] | None = None, channels: int | None = None
) -> ImageDataset:
    """Your own pictures as images in memory: a folder with a folder for each class, `path/cat/1.png`, `path/dog/2.jpg`.

        pictures = tc.data.folder("pictures", size=32)
        train, held_out = tc.data.random_split(pictures, [0.9, 0.1])

    The folders' names, in the order of the alphabet, are the classes; pictures may lie in folders below. Files whose
    names begin with a dot, or do not end as pictures do (png, jpg, gif, bmp, webp, tiff), are passed over.

    Args:
        path: The folder.
        size: (height, width) of the images, or one number for both. A picture is scaled to cover it, and what is left
            over at two sides is cut off. Unless given, all pictures must have one size.
        channels: 1 for grey, 3 for red, green and blue; unless given, 1 where all pictures are grey. What is
            transparent becomes white.

    The mean and the deviation are those of these pixels. Raises DataError, with the path, where there is no such
    folder, no class, a class without a picture, a picture that cannot be read or, without `size`, of another size than
    the first; where all would take more than 8 GiB; and where Pillow is not installed.
    """
    if channels not in (None, 1, 3):
        raise DataError(f"folder: channels must be 1, 3 or None, got {shortened(channels)}")
    classes, samples = found_in(Path(path))
    return read(samples, classes, size, channels)


def read(
    samples: list[tuple[Path, int]],
    classes: list[str],
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
) -> ImageDataset:
    """The pictures at these paths, with these labels, as `folder` reads them."""
    wanted = None
    if size is not None:
        h, w = (size, size) if not isinstance(size, tuple | list) or len(size) != 2 else size
        wanted = checked(count, "folder: size", h), checked(count, "folder: size", w)
        if max(wanted) > LARGEST:
            raise DataError(f"folder: size must be at most {LARGEST:,}, got {shortened(size)}")
    images: list[Any] = []
    for place, _ in samples:
        image = read_image(place, wanted, channels)
        if images and image.shape[1:] != images[0].shape[1:]:
            (one, other), here = (image.shape[1:], images[0].shape[1:]), samples[0][0]
            raise DataError(
                f"{place} has {one[0]}x{one[1]} pixels, and {here} {other[0]}x{other[1]}: images of one size are "
                f"needed, which size={min(other)} makes of them"
            )
        if image.nbytes * len(samples) > MOST:
            raise DataError(
                f"{len(samples):,} pictures like {place} take more than {MOST >> 30} GiB; a smaller size=, or "
                "tinyconv.data.vision.ImageFolder, which opens them when they are asked for"
            )
        images.append(image)
    depth = max(len(image) for image in images)  # grey ones among others
    whole = np.stack([np.broadcast_to(image, (depth, *image.shape[1:])) for image in images])
    shares = [whole[:, c].astype(np.float32) / np.float32(255) for c in range(depth)]
    mean = tuple(round(float(share.mean(dtype=np.float64)), 4) for share in shares)
    std = tuple(max(round(float(share.std(dtype=np.float64)), 4), 1e-4) for share in shares)
    return ImageDataset(whole, np.array([label for _, label in samples], np.int64), tuple(classes), mean, std)


@dataclass(frozen=True)
class PictureFolder:
    """Your own pictures, as `folder` reads them, parted into those to train on and those held out to test on.

    Where the folder has `train` and `test` (or `val`, `valid`, `validation`), each with a folder for each class, these
    are the parts. Else of each class a fifth is held out: which pictures, depends on their paths in the folder alone.

        pictures = tc.data.PictureFolder("pets", size=32)
        train, test = pictures.load("train"), pictures.load("test")

    Args:
        path: The folder.
        size: Pixels a side of the images; unless given, all pictures must have one size.
        channels: 1 for grey, 3 for red, green and blue; unless given, 1 where all pictures are grey.

    Both parts have the mean and the deviation of the training images. The methods raise DataError like `folder`.
    """

    path: str | os.PathLike[str]
    size: int | tuple[int, int] | None = None
    channels: int | None = None

    def parts(self) -> tuple[list[str], dict[str, list[tuple[Path, int]]], str]:
        """The classes, the pictures of "train" and of "test", and how they were parted, in words."""
        root = Path(self.path)
        held = next((root / name for name in ("test", "val", "valid", "validation") if (root / name).is_dir()), None)
        if held is not None and (root / "train").is_dir():
            (classes, train), (others, test) = found_in(root / "train"), found_in(held)
            if others != classes:
                raise DataError(f"{held} has the classes {listed(others)}, and {root / 'train'} {listed(classes)}")
            return classes, {"train": train, "test": test}, f"tested on the {len(test):,} pictures in {held}"
        classes, samples = found_in(root)
        found: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
        for label, name in enumerate(classes):
            own = [sample for sample in samples if sample[1] == label]
            if len(own) < 2:
                raise DataError(f"{root / name} has one picture; two are needed, to train on and to test on")
            own.sort(key=lambda sample: sha256(sample[0].relative_to(root).as_posix().encode()).digest())
            few = max(1, len(own) // 5)
            found["test"] += sorted(own[:few])
            found["train"] += sorted(own[few:])
        held_out, whole = len(found["test"]), len(samples)
        return classes, found, f"{held_out:,} of its {whole:,} pictures, a fifth of each class, are held out to test on"

    def outline(self) -> tuple[tuple[int, int, int], list[str]]:
        """The shape (C, H, W) that the images will have, and the classes; only headers are read."""
        classes, parts, _ = self.parts()
        first, depth = None, self.channels or 1
        for place, _ in [*parts["train"], *parts["test"]]:
            h, w, grey = look(place)
            if self.size is None and first is not None and (h, w) != first:
                raise DataError(
                    f"{place} has {h}x{w} pixels, and others {first[0]}x{first[1]}: images of one size are needed; "
                    f"--size {min(first)} (size={min(first)}) makes them so"
                )
            first = first or (h, w)
            depth = depth if self.channels or grey else 3
        size = self.size or first or (1, 1)
        h, w = (size, size) if isinstance(size, int) else size
        return (depth, h, w), classes

    def load(self, split: Literal["train", "test"] = "train") -> ImageDataset:
        """The images of a part. Raises DataError for another word."""
        if split not in ("train", "test"):
            raise DataError(f"split must be 'train' or 'test', got {shortened(split)}")
        classes, parts, _ = self.parts()
        shape, _ = self.outline()
        train = read(parts["train"], classes, shape[1:], shape[0])
        if split == "train":
            return train
        return replace(read(parts["test"], classes, shape[1:], shape[0]), mean=train.mean, std=train.std)


def found_in(
    root: Path, is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False
) -> tuple[list[str], list[tuple[Path, int]]]:
    """The names of the classes below a folder, and the path and the label of each picture, in order.

    Raises DataError where there is no such folder, no class, or a class without a picture.
    """
    valid = is_valid_file or (lambda path: path.lower().endswith(ENDINGS))
    if not root.is_dir():
        why = "is no folder" if root.exists() else "there is no such folder"
        raise DataError(f"{root}: {why}; needed is one with a folder for each class: {root / 'CLASS' / '1.png'}")
    try:
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        samples: list[tuple[Path, int]] = []
        for label, name in enumerate(classes):
            before = len(samples)
            for place, folders, files in os.walk(root / name, followlinks=True):
                folders.sort()
                paths = (Path(place, file) for file in sorted(files) if not file.startswith("."))
                samples += [(path, label) for path in paths if valid(str(path))]
            if len(samples) == before and not allow_empty:
                ends = listed(ENDINGS, 8)
                raise DataError(f"{root / name}: the folder of a class has no picture; their names end in {ends}")
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    if not classes:
        loose = any(valid(str(entry)) for entry in root.iterdir())
        fix = "move its pictures into" if loose else "needed is"
        raise DataError(f"{root}: no folder of a class is in it; {fix} a folder for each: {root / 'CLASS' / '1.png'}")
    return classes, samples


def read_image(path: str | os.PathLike[str], size: tuple[int, int] | None, channels: int | None) -> Any:
    """A picture as uint8 (1 or 3, H, W)."""
    from PIL import Image, ImageOps

    picture = opened(path, keep_grey=True)
    if is_deep(picture):
        values = np.asarray(picture, np.float64)
        low, high = float(values.min()), float(values.max())
        picture = Image.fromarray(((values - low) * (255 / max(high - low, 1e-30))).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA"):
        rgba = picture.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        picture = flat.convert("L" if picture.mode == "LA" else "RGB")
    if channels is not None:
        picture = picture.convert("L" if channels == 1 else "RGB")
    if size is not None:
        picture = ImageOps.fit(picture, size[::-1], Image.Resampling.BILINEAR)
    x = np.asarray(picture)
    return x[None] if x.ndim == 2 else np.ascontiguousarray(x.transpose(2, 0, 1))
