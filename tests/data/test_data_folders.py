"""One's own pictures, in a folder for each class."""

import numpy as np
import pytest

from tinyconv import data
from tinyconv.data import folder, vision
from tinyconv.errors import DataError

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def put(path, mode="RGB", size=(6, 8)):
    """Write a picture of random pixels, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    picture = Image.fromarray(RNG.integers(0, 256, (*size, *channels), np.uint8))
    picture.save(path)
    return picture


def test_grey_pictures_stay_grey(tmp_path):
    one, two = put(tmp_path / "b" / "1.png", "L"), put(tmp_path / "a" / "sub" / "2.png", "L")
    found = folder(tmp_path)
    assert (found.images.shape, found.classes, found.labels.tolist()) == ((2, 1, 6, 8), ("a", "b"), [0, 1])
    np.testing.assert_array_equal(found.images[:, 0], [np.asarray(two), np.asarray(one)])
    x = found.images / 255
    np.testing.assert_allclose([found.mean[0], found.std[0]], [x.mean(), x.std()], atol=6e-5)
    assert folder(tmp_path, channels=3).images.shape == (2, 3, 6, 8)
    assert abs(found.normalized().mean()) < 1e-3


def test_one_picture_of_colours_makes_all_of_three_channels(tmp_path):
    grey, colours = put(tmp_path / "a" / "1.png", "L"), put(tmp_path / "b" / "2.png")
    found = folder(tmp_path)
    np.testing.assert_array_equal(found.images[0], [np.asarray(grey)] * 3)
    np.testing.assert_array_equal(found.images[1], np.asarray(colours).transpose(2, 0, 1))
    np.testing.assert_array_equal(folder(tmp_path, channels=1).images[1, 0], np.asarray(colours.convert("L")))


def test_what_is_transparent_becomes_white(tmp_path):
    path = tmp_path / "a" / "1.png"
    path.parent.mkdir()
    array = np.zeros((2, 2, 4), np.uint8)
    array[0, :, 3] = 255
    Image.fromarray(array).save(path)
    assert folder(tmp_path).images[0].tolist() == [[[0, 0], [255, 255]]] * 3


def test_sixteen_bits_of_grey(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.array([[0, 1000], [2000, 4000]], np.uint16)).save(tmp_path / "a" / "1.png")
    assert folder(tmp_path).images[0].tolist() == [[[0, 64], [128, 255]]]


@pytest.mark.parametrize(("size", "shape"), [(4, (4, 4)), ((3, 9), (3, 9))])
def test_size(tmp_path, size, shape):
    put(tmp_path / "a" / "1.png"), put(tmp_path / "a" / "2.png", size=(20, 5)), put(tmp_path / "b" / "3.jpg", "L")
    assert folder(tmp_path, size=size).images.shape == (3, 3, *shape)


def test_it_trains(tmp_path):
    for i in range(12):
        put(tmp_path / "ab"[i % 2] / f"{i}.png")
    train, held_out = data.random_split(folder(tmp_path), [0.75, 0.25])
    assert [x.shape for x, _ in data.DataLoader(train, 4, shuffle=True)] == [(4, 3, 6, 8), (4, 3, 6, 8), (1, 3, 6, 8)]
    assert data.DataLoader(held_out).in_memory


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        (lambda root: None, {}, r"nowhere: there is no such folder; needed is one with a folder for each class"),
        (None, {}, None),
        (lambda root: root.mkdir(), {}, r"no folder of a class is in it; needed is"),
        (lambda root: put(root / "1.png"), {}, r"no folder of a class is in it; move its pictures into a"),
        (lambda root: (root / "cat").mkdir(parents=True), {}, r"cat: the folder of a class has no picture; their"),
        (lambda root: (put(root / "a" / "1.png"), put(root / "a" / "2.png", size=(5, 5))), {},
         r"2.png has 5x5 pixels, and .*1.png 6x8: images of one size are needed, which size=6 makes of them"),
        (lambda root: (put(root / "a" / "1.png"), (root / "a" / "2.png").write_bytes(b"junk")), {},
         r"2.png is no picture that can be read"),
        (lambda root: (put(root / "a" / "1.png"), cut(root / "a" / "1.png")), {}, r"1.png cannot be read as a picture"),
        (lambda root: put(root / "a" / "1.png"), {"size": 0}, "folder: size: expected an integer >= 1, got 0"),
        (lambda root: put(root / "a" / "1.png"), {"size": (3, 4, 5)}, "folder: size: expected an integer"),
        (lambda root: put(root / "a" / "1.png"), {"channels": 2}, "folder: channels must be 1, 3 or None, got 2"),
        (lambda root: put(root / "a" / "1.png"), {"size": 1 << 40}, "folder: size must be at most"),
    ],
)  # fmt: skip
def test_bad_folders(tmp_path, make, options, expected):
    root = tmp_path / "nowhere"
    if make is None:
        root.write_text("")
        expected = "nowhere: is no folder"
    else:
        make(root)
    with pytest.raises(DataError, match=expected):
        folder(root, **options)


def test_more_than_fits_into_memory(tmp_path, monkeypatch):
    put(tmp_path / "a" / "1.png"), put(tmp_path / "a" / "2.png")
    monkeypatch.setattr("tinyconv.data.folders.MOST", 200)
    with pytest.raises(DataError, match=r"2 pictures like .*1.png take more than .* GiB; a smaller size=.*ImageFolder"):
        folder(tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def test_image_folders_open_pictures_when_they_are_asked_for(tmp_path):
    put(tmp_path / "a" / "1.png"), put(tmp_path / "b" / "2.png", "L")
    (tmp_path / "b" / "3.png").write_bytes(b"junk")
    found = vision.ImageFolder(tmp_path)
    assert ([found[i][0].mode for i in (0, 1)], len(found)) == (["RGB", "RGB"], 3)
    with pytest.raises(DataError, match=r"3.png is no picture") as caught:
        list(data.DataLoader(found, 3))
    assert caught.value.__notes__[0] == "in item 2 of the ImageFolder that a DataLoader loads"
    only = vision.ImageFolder(tmp_path, is_valid_file=lambda path: path.endswith("1.png"), allow_empty=True)
    assert (only.classes, len(only)) == (["a", "b"], 1)
    paths = vision.ImageFolder(tmp_path, loader=lambda path: path[-5:], target_transform=lambda y: -y)
    assert paths[1] == ("2.png", -1)
