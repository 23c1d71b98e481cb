"""Augmentations against their plain definition, one image at a time."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from tinyconv.data import AlternatingFlip, Compose, Cutout, DataLoader, RandomCrop, RandomHorizontalFlip, RandomShift
from tinyconv.errors import DataError

IMAGES = np.arange(200 * 2 * 5 * 6, dtype=np.uint16).reshape(200, 2, 5, 6) + 1  # no two pixels alike, none is 0
ALL = [RandomShift(2), RandomShift(0), RandomCrop(2), RandomHorizontalFlip(0.5), RandomCrop(3, "edge"),
       Cutout(3), Cutout(0), Compose((RandomShift(1), RandomHorizontalFlip(), Cutout(2, 9)))]  # fmt: skip


def windows(image, padding, size=None, **pad):
    """Every window in one padded image, of its own size or of another, by the shift that gives it."""
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), **pad)
    h, w = image.shape[1:] if size is None else (size, size)
    rows, columns = padded.shape[1] - h + 1, padded.shape[2] - w + 1
    return {(i, j): padded[:, i : i + h, j : j + w] for i in range(rows) for j in range(columns)}


@pytest.mark.parametrize(
    ("augment", "padding", "options"),
    [
        (RandomShift(2, fill=7), 2, {"constant_values": 7}),
        (RandomCrop(2), 2, {"mode": "reflect"}),
        (RandomCrop(1, "edge"), 1, {"mode": "edge"}),
        (RandomCrop(1, "constant"), 1, {}),
        (RandomCrop(0, size=4), 0, {"size": 4}),
        (RandomCrop(0, size=1), 0, {"size": 1}),
        (RandomCrop(1, size=3), 1, {"size": 3, "mode": "reflect"}),
        (RandomCrop(1, "constant", size=6), 1, {"size": 6}),
    ],
    ids=str,
)
def test_windows(augment, padding, options):
    chosen = []
    for image, out in zip(IMAGES, augment(IMAGES, np.random.default_rng(0)), strict=True):
        places = windows(image, padding, **options)
        chosen += [place for place, window in places.items() if np.array_equal(window, out)]
    assert len(chosen) == len(IMAGES)
    assert len(set(chosen)) == len(places)  # every place, both axes independent
    assert len({top - left for top, left in chosen}) > 1


def test_cutout():
    """A square around every pixel of the image; only the part within the image is covered."""
    for size, before, after in ((3, 1, 2), (4, 2, 2)):
        centres = set()
        for image, out in zip(IMAGES, Cutout(size, fill=7)(IMAGES, np.random.default_rng(0)), strict=True):
            found = []
            for row, column in np.ndindex(5, 6):
                expected = image.copy()
                expected[:, max(0, row - before) : row + after, max(0, column - before) : column + after] = 7
                found += [(row, column)] if np.array_equal(expected, out) else []
            assert found
            centres.update(found)
        assert len(centres) == 5 * 6


def test_flip():
    out = RandomHorizontalFlip(0.25)(IMAGES, np.random.default_rng(0))
    flipped = (out == IMAGES[..., ::-1]).all(axis=(1, 2, 3))
    kept = (out == IMAGES).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert 0.15 < flipped.mean() < 0.35
    np.testing.assert_array_equal(RandomHorizontalFlip(1)(IMAGES, np.random.default_rng(0)), IMAGES[..., ::-1])
    np.testing.assert_array_equal(RandomHorizontalFlip(0)(IMAGES, np.random.default_rng(0)), IMAGES)


def flips(loader, epoch, start=0):
    """Which images a loader of IMAGES mirrors in an epoch, in their own order; None where it shows none."""
    found = np.full(len(IMAGES), None)
    for x, labels in loader.arrays(epoch, start):
        for image, label in zip(x, labels, strict=True):
            original = IMAGES[label].astype(np.float32)
            found[label] = bool((image == original[..., ::-1]).all())
            assert found[label] or (image == original).all()
    return found


@pytest.mark.parametrize(
    "augment", [AlternatingFlip(), Compose((RandomCrop(0), Compose((AlternatingFlip(),))))], ids=str
)
def test_images_take_turns_at_being_mirrored(augment):
    """Half of them in the first epoch, the others in the next, whatever the order and the batches are."""

    def loader(size=32, shuffle=True, seed=3):
        images = IMAGES.astype(np.float32), np.arange(len(IMAGES))
        return DataLoader(images, size, shuffle=shuffle, seed=seed, augment=augment)

    first = flips(loader(), 0)
    assert 0.4 < first.mean() < 0.6
    np.testing.assert_array_equal(flips(loader(), 1), ~first.astype(bool))
    np.testing.assert_array_equal(flips(loader(), 6), first)
    np.testing.assert_array_equal(flips(loader(size=7), 2), first)
    np.testing.assert_array_equal(flips(loader(shuffle=False), 3), ~first.astype(bool))
    assert (flips(loader(seed=4), 0) != first).any()
    resumed, there = flips(loader(), 5, start=4), loader().order(5)[4 * 32 :]
    np.testing.assert_array_equal(resumed[there], ~first.astype(bool)[there])
    assert (resumed == None).sum() == 4 * 32  # noqa: E711


def test_what_takes_turns_is_pinned():
    """As what is drawn is."""
    mirrored = AlternatingFlip().for_batch(7, 0, np.arange(40)).draw((40, 1, 1, 1), np.random.default_rng())[0]
    assert "".join("01"[int(is_so)] for is_so in mirrored) == "0011001000010010001011101010001101111000"


class Brighter:
    """One's own augmentation that depends on the epoch."""

    def __init__(self, by=0):
        self.by = by

    def for_batch(self, seed, epoch, index):
        return Brighter(1000 * seed + 100 * epoch + index[0])

    def __call__(self, images, rng):
        return images + self.by


def test_ones_own_augmentation_may_ask_for_the_epoch():
    images = np.zeros((6, 1, 2, 2), np.float32), np.arange(6)
    loader = DataLoader(images, 3, seed=5, augment=Compose((Brighter(), RandomShift(0))))
    assert [x[0, 0, 0, 0] for x, _ in loader.arrays(2)] == [5200, 5203]


def test_compose_is_one_after_the_other():
    rng = np.random.default_rng(0)
    expected = RandomHorizontalFlip()(RandomShift(1)(IMAGES, rng), rng)
    out = Compose((RandomShift(1), RandomHorizontalFlip()))(IMAGES, np.random.default_rng(0))
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("augment", "digest"),
    [
        (RandomShift(3, fill=7.9), "7b07859fae73f4de"),
        (RandomCrop(3, "edge"), "3d29e9e2517710af"),
        (RandomHorizontalFlip(0.3), "31d182c7ea1afdb1"),
        (RandomCrop(1, size=4), "ae9403cc16c8a50b"),
        (Cutout(3, fill=7.9), "88b1f77430749dc9"),
        (Compose((RandomShift(1, fill=-1), RandomHorizontalFlip(), RandomCrop(2))), "de87cf563e39267f"),
    ],
    ids=str,
)
def test_what_is_drawn_is_pinned(augment, digest):
    """A checkpoint resumed by another version must go on with the images it would have had."""
    out = augment(IMAGES, np.random.default_rng(7))
    assert sha256(out.astype("<u2").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("augment", ALL, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pure_and_of_the_same_kind(augment, dtype):
    images = IMAGES.astype(dtype)
    before = images.copy()
    out = augment(images, np.random.default_rng(5))
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(out, augment(images, np.random.default_rng(5)))
    assert (out.dtype, out.shape) == (images.dtype, images.shape)
    assert not np.shares_memory(out, images)
    assert augment(images[:0], np.random.default_rng(5)).shape == (0, 2, 5, 6)


@pytest.mark.parametrize("augment", ALL, ids=str)
def test_images_without_channels_are_refused(augment):
    with pytest.raises(DataError, match=r"takes images \(N, C, H, W\), got shape \(3, 5, 6\); add the channel"):
        augment(np.zeros((3, 5, 6)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomShift(-1), "RandomShift: pixels: expected an integer >= 0, got -1"),
        (lambda: RandomCrop(-1), "RandomCrop: padding: expected an integer >= 0, got -1"),
        (lambda: RandomCrop(1, "wrap"), "mode reflect, edge or constant, got .*wrap"),
        (lambda: RandomCrop(1, size=0), "RandomCrop: size: expected an integer >= 1, got 0"),
        (
            lambda: RandomCrop(1, size=8)(IMAGES, np.random.default_rng(0)),
            r"cannot cut 8x8 pixels out of images of \(5, 6\), padded by 1; take a smaller size or more padding",
        ),
        (lambda: Cutout(-1), "Cutout: size: expected an integer >= 0, got -1"),
        (lambda: RandomHorizontalFlip(1.5), r"p: expected a number from 0 to 1, got 1.5"),
        (lambda: RandomHorizontalFlip(float("nan")), "got nan"),
        (
            lambda: AlternatingFlip()(IMAGES, np.random.default_rng(0)),
            r"needs a DataLoader that tells it the epoch: DataLoader\(data, augment=AlternatingFlip\(\)\)",
        ),
        (lambda: RandomCrop(5)(IMAGES, np.random.default_rng(0)), r"cannot mirror 5 pixels of images of \(5, 6\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(DataError, match=message):
        make()
