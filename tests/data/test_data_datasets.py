"""`ImageDataset` and the drawn digits."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tinyconv.data import ImageDataset, load, synthetic_digits
from tinyconv.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 2, 3, 5), np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0])


def make(**changes) -> ImageDataset:
    fields = {"images": IMAGES, "labels": LABELS, "classes": ("a", "b", "c"), "mean": (0.1, 0.5), "std": (0.3, 0.2)}
    return ImageDataset(**{**fields, **changes})


def test_normalized_against_the_formula():
    x = make().normalized()
    assert (x.dtype, x.shape) == (np.float32, IMAGES.shape)
    for channel, (mean, std) in enumerate([(0.1, 0.3), (0.5, 0.2)]):
        np.testing.assert_allclose(x[:, channel], (IMAGES[:, channel] / 255.0 - mean) / std, rtol=1e-5, atol=1e-6)


def test_subsets():
    dataset = make()
    assert len(dataset) == 6
    np.testing.assert_array_equal(dataset.subset(4).images, IMAGES[:4])
    np.testing.assert_array_equal(dataset[1::2].labels, LABELS[1::2])
    np.testing.assert_array_equal(dataset[LABELS == 2].images, IMAGES[2:4])
    assert dataset[:0].mean == (0.1, 0.5)
    with pytest.raises(DataError, match="subset takes 0 to 6 images, got 7"):
        dataset.subset(7)
    with pytest.raises(TypeError, match="takes a number, a slice or an array of indices, got 'a'"):
        dataset["a"]
    with pytest.raises(IndexError, match="index 6 of a dataset of 6 images"):
        dataset[6]
    with pytest.raises(FrozenInstanceError):
        dataset.mean = (0.0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:, 0]}, r"uint8 \(N, C, H, W\), got uint8 \(6, 3, 5\); add the channel .*images\[:, None\]"),
        ({"images": IMAGES / 255}, r"got float64 \(6, 2, 3, 5\); \(images \* 255\)"),
        ({"labels": LABELS[:5]}, r"labels must be int64 \(6,\), one per image, got int64 \(5,\)"),
        ({"labels": LABELS.astype(np.uint8)}, "got uint8"),
        ({"labels": LABELS + 1}, "labels must be 0 to 2, one per class, got 1 to 3"),
        ({"labels": LABELS - 1}, "got -1 to 1"),
        ({"mean": (0.1,)}, "mean and std need 2 numbers, one per channel"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_digits_are_a_function_of_their_arguments():
    digits = synthetic_digits(1030, seed=3)
    assert (digits.images.shape, digits.images.dtype) == ((1030, 1, 28, 28), np.uint8)
    np.testing.assert_array_equal(np.bincount(digits.labels), [103] * 10)
    np.testing.assert_array_equal(digits.images, synthetic_digits(1030, seed=3).images)
    assert (digits.images != synthetic_digits(1030, seed=4).images).any(axis=(1, 2, 3)).all()
    assert synthetic_digits(3, size=8).images.shape == (3, 1, 8, 8)
    assert len(synthetic_digits(0)) == 0
    with pytest.raises(DataError, match="n >= 0 images of size >= 8 pixels, got n=1, size=7"):
        synthetic_digits(1, size=7)


def test_digits_stay_inside_and_have_the_mean_and_deviation_they_say():
    digits = synthetic_digits(4000)
    x = digits.normalized()
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    ink = (digits.images > 60).mean(axis=(0, 1))
    edge = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    assert edge.max() < 0.01 < 0.2 < ink.max()


def test_digits_can_be_learnt():
    train, test = load("synthetic"), load("synthetic", "test")
    assert (len(train), len(test)) == (10_000, 2_000)

    def accuracy(labels):  # of a least-squares fit to random features: far above chance, far from easy
        weight = np.random.default_rng(0).standard_normal((784, 500), np.float32) / 28
        features, unseen = (np.maximum(d.normalized().reshape(len(d), -1) @ weight, 0) for d in (train, test))
        fit = np.linalg.solve(features.T @ features + np.eye(500), features.T @ np.eye(10)[labels])
        return ((unseen @ fit).argmax(axis=1) == test.labels).mean()

    assert accuracy(train.labels) > 0.8
    assert accuracy(np.random.default_rng(0).permutation(train.labels)) < 0.2


@pytest.mark.parametrize(("index", "said"), [
    (np.ones(9, bool), r"an array bool \(9,\) does not index 10 images: boolean index did not match"),
    (np.array([3, 10]), r"an array int64 \(2,\) does not index 10 images: index 10 is out of bounds"),
    (np.array([1.0]), r"an array float64 \(1,\) does not index 10 images: arrays used as indices must be of integer"),
    (np.array([[1, 2]]), r"images must be uint8 \(N, C, H, W\), got uint8 \(1, 2, 1, 28, 28\)"),
], ids=["a mask of another set", "past the end", "floats", "a table"])  # fmt: skip
def test_an_index_that_does_not_fit(index, said):
    with pytest.raises(DataError, match=said):
        synthetic_digits(10)[index]
