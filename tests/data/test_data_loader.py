"""The loader: what is in a batch, which batch it is, and that a resumed epoch is the same epoch."""

from __future__ import annotations

import numpy as np
import pytest

from tinyconv.data import DataLoader, RandomShift, synthetic_digits
from tinyconv.errors import DataError
from tinyconv.tensor.tensor import Tensor

DIGITS = synthetic_digits(50, size=8)
X, Y = DIGITS.normalized(), DIGITS.labels


def run(loader, epoch=0, start=0):
    return [(x.copy(), y.copy()) for x, y in loader.arrays(epoch, start)]


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [16, 16, 16, 2]), (True, [16, 16, 16])])
def test_in_order(drop_last, sizes):
    loader = DataLoader(DIGITS, 16, drop_last=drop_last)
    batches = run(loader)
    assert [len(y) for _, y in batches] == sizes
    assert len(loader) == len(sizes)
    x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    np.testing.assert_array_equal(x, X[: len(x)])  # a batch is normalised to the bit as the whole is
    np.testing.assert_array_equal(y, Y[: len(y)])
    assert (x.dtype, y.dtype) == (np.float32, np.int64)


def test_whole_batches_only():
    assert len(DataLoader(DIGITS, 25)) == len(DataLoader(DIGITS, 25, drop_last=True)) == 2
    assert len(DataLoader(DIGITS, 1000)) == 1
    assert len(DataLoader(DIGITS)) == 50


def test_shuffled_is_every_image_once_with_its_label():
    loader = DataLoader(DIGITS, 16, shuffle=True)
    order = loader.order(0)
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, np.arange(50))
    x, y = (np.concatenate(arrays) for arrays in zip(*run(loader), strict=True))
    np.testing.assert_array_equal(x, X[order])
    np.testing.assert_array_equal(y, Y[order])


def test_order_is_a_function_of_seed_and_epoch_alone():
    orders = [tuple(DataLoader(DIGITS, 7, shuffle=True, seed=s).order(e)) for s in range(4) for e in range(4)]
    assert len(set(orders)) == 16
    loader = DataLoader(DIGITS, 13, shuffle=True, seed=2)
    run(loader, 9)
    assert tuple(loader.order(3)) == orders[2 * 4 + 3]


def test_order_is_pinned():
    """A checkpoint resumed by another version must go on in the order it began with."""
    assert list(DataLoader(DIGITS, shuffle=True, seed=1).order(2)[:8]) == [34, 6, 15, 1, 25, 13, 8, 26]


@pytest.mark.parametrize("augment", [None, RandomShift(2)], ids=str)
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_resume_is_bit_exact(augment, start):
    def loader():
        return DataLoader(DIGITS, 16, shuffle=True, seed=5, augment=augment)

    assert same(run(loader(), 3, start), run(loader(), 3)[start:])


def test_resume_computes_no_skipped_batch():
    calls = []

    def augment(images, rng):
        calls.append(rng.random())
        return images

    loader = DataLoader(DIGITS, 16, augment=augment)
    run(loader, 1, start=3)
    assert len(calls) == 1
    run(loader, 0)
    run(loader, 1)
    assert calls[0] == calls[-1]
    assert len(set(calls)) == 8  # each batch of each epoch draws its own numbers


def test_augmentation_and_order_draw_from_different_streams():
    drawn = []

    def augment(images, rng):
        drawn.append(tuple(rng.permutation(50)))
        return images

    loader = DataLoader(DIGITS, 50, shuffle=True, augment=augment)
    run(loader)
    assert drawn[0] != tuple(loader.order(0))  # were (seed, epoch, 0) the entropy, it would be (seed, epoch)


def test_augmentation_sees_raw_pixels():
    x, _ = run(DataLoader(DIGITS, 50, augment=RandomShift(8)))[0]
    black = np.float32(-DIGITS.mean[0] / DIGITS.std[0])
    assert (x == black).any(axis=(1, 2, 3)).mean() > 0.9
    assert x.min() == black


def test_pairs():
    x, y = run(DataLoader((X.astype(np.float64), Y.astype(np.uint8)), 50))[0]
    np.testing.assert_array_equal(x, X)
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    x, _ = run(DataLoader((DIGITS.images, Y), 50))[0]
    np.testing.assert_allclose(x, DIGITS.images / 255, rtol=1e-6)


def test_batches_are_copies():
    x, y = next(DataLoader((X, Y), 50).arrays(0))
    x[:], y[:] = 0, 0
    np.testing.assert_array_equal(X, DIGITS.normalized())
    assert Y.any()


def test_tensors_and_epochs():
    loader = DataLoader(DIGITS, 16, shuffle=True, seed=0)
    for epoch in (0, 1):
        assert loader.epoch == epoch
        batches = list(loader)
        assert all(isinstance(value, Tensor) for batch in batches for value in batch)
        assert same([(x.numpy(), y.numpy()) for x, y in batches], run(loader, epoch))
    loader.set_epoch(0)
    assert np.array_equal(next(iter(loader))[1].numpy(), run(loader, 0)[0][1])
    assert loader.epoch == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataLoader(DIGITS, 0), "batch_size: expected an integer >= 1, got 0"),
        (lambda: DataLoader((X, Y[:3])), r"50 items need as many labels or targets, got 3, of shape \(3,\)"),
        (lambda: DataLoader((X.astype(int), Y)), "images must be uint8 or floating, got int64"),
        (lambda: DataLoader(DIGITS[:0]), "the dataset is empty"),
        (lambda: DataLoader(DIGITS, 51, drop_last=True), "drop_last leaves no batch: batch_size 51 of 50 images"),
        (lambda: DataLoader(DIGITS, seed=-1), "seed: expected an integer >= 0, got -1"),
        (lambda: DataLoader(DIGITS).set_epoch(-1), "epoch: expected an integer >= 0, got -1"),
        (lambda: run(DataLoader(DIGITS), -2), "epoch: expected an integer >= 0, got -2"),
        (lambda: run(DataLoader(DIGITS, 16), 0, 5), "an epoch here has 4 batches, cannot start from number 5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize(("augment", "got"), [
    (lambda images, rng: images[:2], r"\(2, 1, 8, 8\)"),
    (lambda images, rng: images[:, 0], r"\(4, 8, 8\)"),
    (lambda images, rng: None, "NoneType"),
    (lambda images, rng: list(images), "list"),
], ids=["fewer", "no channels", "return forgotten", "a list"])  # fmt: skip
def test_an_augmentation_that_gives_other_images(augment, got):
    """Two images with four labels were a batch."""
    loader = DataLoader(DIGITS, 4, augment=augment)
    with pytest.raises(DataError, match=rf"augment must return 4 images \(N, C, H, W\), as it was given, got {got}"):
        next(iter(loader))
