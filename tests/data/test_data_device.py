"""Batches made on the device: to the bit those of the CPU's loader, and next to nothing goes over for one."""

import numpy as np
import pytest
from standin import counted, kernels

import tinyconv as tc
from tinyconv.capture import capture
from tinyconv.data import (
    AlternatingFlip,
    Compose,
    Cutout,
    DataLoader,
    ImageDataset,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
)
from tinyconv.errors import CaptureError, DataError

N, C, H, W = 23, 3, 9, 14  # of images: more pixels in one than threads in a block
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (N, C, H, W), np.uint8)
LABELS = RNG.integers(0, 10, N)
PHOTOGRAPHS = ImageDataset(BYTES, LABELS, tuple("0123456789"), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
DATA = {
    "dataset": PHOTOGRAPHS,
    "bytes": (BYTES, LABELS.astype(np.uint8)),
    **{name: (RNG.standard_normal((N, C, H, W)).astype(name), LABELS) for name in ("float16", "float32", "float64")},
}


def invert(images, rng):
    """An augmentation that the library does not know."""
    return np.where(rng.random(len(images))[:, None, None, None] < 0.5, images.max() - images, images)


class DimmedShift(RandomShift):
    def __call__(self, images, rng):
        return super().__call__(images, rng) // 2


AUGMENTATIONS = [
    None,
    RandomShift(2),
    RandomShift(0),
    RandomShift(20, fill=7.9),
    RandomCrop(8),
    RandomCrop(3, "edge"),
    RandomCrop(1, "constant"),
    RandomHorizontalFlip(),
    AlternatingFlip(),
    Compose(()),
    Compose((RandomCrop(4), Compose((AlternatingFlip(),)))),
    Compose((RandomCrop(4), RandomHorizontalFlip())),
    Compose((RandomHorizontalFlip(), RandomShift(3, fill=255), RandomCrop(12, "edge"), RandomHorizontalFlip())),
    Compose((RandomShift(1), Compose((RandomCrop(2), RandomShift(2, fill=9))))),
    RandomCrop(0, size=7),
    Cutout(4, fill=9.9),
    Compose((RandomCrop(0, size=7), RandomHorizontalFlip(), RandomCrop(2), Cutout(5), RandomCrop(1, "edge"))),
    Compose((Cutout(4), RandomHorizontalFlip(), RandomCrop(3, "constant", size=13), RandomCrop(2, size=15))),
    Compose((RandomHorizontalFlip(),) * 9),  # more than the kernel takes
]
ON_HOST = [invert, DimmedShift(2), Compose((RandomShift(1), invert))]


def loaders(data=PHOTOGRAPHS, **options):
    """One on the CPU and one on the device."""
    options = {"batch_size": 5, "shuffle": True, "seed": 3, **options}
    return [DataLoader(data, device=device, **options) for device in ("cpu", "cuda")]


def on_host(batch):
    return [tensor.to("cpu").numpy() for tensor in batch]


def assert_same(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("choice", ["cuda", "readable"])
@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=str)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_a_batch_is_that_of_the_cpu(standin_cuda, data, augment, choice):
    expected, found = loaders(data, augment=augment)
    tc.ones(1, device="cuda")  # the first array there brings the variants
    with tc.using(choice):
        assert_same(map(on_host, found.batches(1)), expected.arrays(1))
        assert_same(map(on_host, found.batches(0, start=3)), expected.arrays(0, start=3))


@pytest.mark.parametrize("augment", ON_HOST, ids=["own", "derived", "composed"])
def test_an_augmentation_of_ones_own_works_on_the_host(standin_cuda, augment):
    expected, found = loaders(augment=augment)
    assert_same(map(on_host, found), expected.arrays(0))


def test_the_order_of_blocks_and_threads_does_not_matter(standin_cuda, monkeypatch):
    monkeypatch.setattr(kernels, "reversed_order", True)
    expected, found = loaders(augment=Compose((RandomCrop(4), RandomHorizontalFlip())))
    assert_same(map(on_host, found), expected.arrays(0))


def test_the_images_go_over_once(standin_cuda):
    _, loader = loaders(augment=Compose((RandomCrop(4), RandomHorizontalFlip())))
    with counted() as count:
        next(iter(loader))
    assert count.to_device == 4  # images, labels, the values of bytes, and what belongs to the batch
    for batches in (iter(loader), iter(loader)):
        for _ in range(len(loader)):
            with counted() as count:
                next(batches)
            assert (count.to_device, count.to_host, count.synchronisations, count.launches) == (1, 0, 0, 1)


def test_little_goes_over_for_a_batch(standin_cuda, monkeypatch):
    """The index, row, column and flip of each image, as int32: a hundredth of a photograph's pixels in float32."""
    sent = []
    asarray = standin_cuda.asarray
    monkeypatch.setattr(standin_cuda, "asarray", lambda a, *args: sent.append(a.nbytes) or asarray(a, *args))
    _, loader = loaders(augment=Compose((RandomCrop(4), RandomHorizontalFlip())))
    for _ in loader:
        pass
    assert sent[3:] == [4 * 4 * n for n in (5, 5, 5, 5, 3)]


def test_padding_that_cannot_be_mirrored_is_named(standin_cuda):
    _, loader = loaders(augment=RandomCrop(9))
    with pytest.raises(DataError, match=r"cannot mirror 9 pixels of images of \(9, 14\)"):
        next(iter(loader))


def test_another_gpu(standin_cuda):
    loader = DataLoader(PHOTOGRAPHS, 5, device="cuda:1")
    for images, labels in loader.arrays(0):
        tc.zeros(1, device="cuda:0")  # which is the current one from then on
        x, y = loader.next()
        assert x.device == y.device == "cuda:1"
        assert_same([on_host((x, y))], [(images, labels)])


# --- next, and captured steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"], indirect=True)
@pytest.mark.parametrize("drop_last", [False, True])
def test_next_goes_from_epoch_to_epoch(device, drop_last):
    loader = DataLoader(PHOTOGRAPHS, 5, shuffle=True, drop_last=drop_last, augment=RandomShift(1), device=device)
    expected = [batch for epoch in range(3) for batch in loader.arrays(epoch)]
    assert_same([on_host(loader.next()) for _ in expected], expected)
    assert loader.epoch == 3
    loader.set_epoch(1, 2)
    assert_same([on_host(loader.next()) for _ in range(3)], expected[len(loader) + 2 :][:3])
    loader.set_epoch(2)
    assert_same([on_host(loader.next())], expected[2 * len(loader) :][:1])
    for _ in loader:
        pass
    assert loader.epoch == 3
    assert_same([on_host(loader.next())], list(loader.arrays(3))[:1])


def test_next_of_nothing():
    loader = DataLoader(PHOTOGRAPHS, 5)
    for start in (-1, 5):
        with pytest.raises(DataError, match=f"an epoch here has 5 batches, cannot start from number {start}"):
            loader.set_epoch(0, start)
    with pytest.raises(DataError, match="epoch: expected an integer >= 0, got -1"):
        loader.set_epoch(-1)


@pytest.mark.parametrize(
    "augment",
    [None, Compose((RandomCrop(4), RandomHorizontalFlip())), AlternatingFlip(), invert],
    ids=["none", "crop and flip", "turns", "own"],
)
def test_a_captured_step_takes_its_own_batch(standin_cuda, augment):
    loader = DataLoader(PHOTOGRAPHS, 5, shuffle=True, drop_last=True, augment=augment, device="cuda")
    expected = [batch for epoch in range(3) for batch in loader.arrays(epoch)]

    @capture
    def step():
        x, y = loader.next()
        return x + 1, y

    found = []
    for _ in expected:
        with counted() as count:
            x, y = step()
        found.append(on_host((x - 1, y)))
    assert count.to_device == 1
    for (x, y), (images, labels) in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, images, atol=1e-6)
        np.testing.assert_array_equal(y, labels)
    loader.set_epoch(1, 2)
    np.testing.assert_array_equal(step()[1].to("cpu").numpy(), expected[len(loader) + 2][1])


def test_a_captured_step_takes_no_smaller_batch(standin_cuda):
    loader = DataLoader(PHOTOGRAPHS, 5, device="cuda")
    step = capture(loader.next)
    step()
    step()
    with pytest.raises(CaptureError, match=r"the last batch of an epoch has 3 images, the others 5, .*drop_last=True"):
        step()


# --- on a GPU -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", AUGMENTATIONS, ids=str)
def test_on_a_gpu_the_bits_are_those_of_the_cpu(gpu, augment):
    for data in DATA.values():
        expected, found = loaders(data, augment=augment)
        assert_same(map(on_host, found.batches(1)), expected.arrays(1))
