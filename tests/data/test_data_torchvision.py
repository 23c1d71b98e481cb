"""Readers, transforms and datasets beside torchvision's, on the same files and pictures."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from messages import message
from PIL import Image
from vision_oracle import torchvision

import tinyconv as tc
from tinyconv import data
from tinyconv.data import transforms, vision

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


# --- transforms -----------------------------------------------------------------------------------------------------

T = torchvision.transforms
RNG = np.random.default_rng(0)
PICTURES = {
    "grey": Image.fromarray(RNG.integers(0, 256, (13, 17), np.uint8)),
    "RGB": Image.fromarray(RNG.integers(0, 256, (13, 17, 3), np.uint8)),
    "RGBA": Image.fromarray(RNG.integers(0, 256, (17, 13, 4), np.uint8)),
    "bits": Image.fromarray(RNG.integers(0, 256, (13, 17), np.uint8)).convert("1"),
    "deep": Image.fromarray(RNG.integers(0, 1000, (13, 17)).astype(np.int32)),
    "floats": Image.fromarray(RNG.random((13, 17), np.float32)),
}
FLOATS = RNG.random((3, 13, 17), np.float32)
BYTES = RNG.integers(0, 256, (3, 13, 17), np.uint8)


def arrays(ours, theirs):
    """Both results as arrays, of one kind."""
    if isinstance(theirs, Image.Image):
        assert (type(ours), ours.mode) == (Image.Image, theirs.mode)
        return np.asarray(ours), np.asarray(theirs)
    assert isinstance(ours, tc.Tensor)
    return ours.numpy(), theirs.numpy()


def equal(ours, theirs, tolerance=0.0):
    ours, theirs = arrays(ours, theirs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kind", PICTURES)
def test_to_tensor(kind):
    equal(transforms.ToTensor()(PICTURES[kind]), T.ToTensor()(PICTURES[kind]))
    equal(transforms.PILToTensor()(PICTURES[kind]), T.PILToTensor()(PICTURES[kind]))


@pytest.mark.parametrize("array", [BYTES.transpose(1, 2, 0), BYTES[0], FLOATS.transpose(1, 2, 0).astype(np.float64)])
def test_arrays_to_tensors(array):
    equal(transforms.ToTensor()(array), T.ToTensor()(array))


@pytest.mark.parametrize("kind", ["grey", "RGB", "RGBA"])
def test_back_to_pictures(kind):
    for make in (lambda m: m.ToTensor()(PICTURES[kind]), lambda m: m.PILToTensor()(PICTURES[kind])):
        equal(transforms.ToPILImage()(make(transforms)), T.ToPILImage()(make(T)))
    array = np.asarray(PICTURES[kind])
    equal(transforms.ToPILImage()(array), T.ToPILImage()(array))
    equal(transforms.ToPILImage("L")(array), PICTURES[kind].convert("L"))


# What is done, to which pictures (floats and deep ones cannot be cropped beyond their border, say), and how near.
EXACT = [
    lambda m: m.CenterCrop(8),
    lambda m: m.CenterCrop((5, 9)),
    lambda m: m.CenterCrop(20),
    lambda m: m.Pad(3),
    lambda m: m.Pad((2, 1), fill=7),
    lambda m: m.Pad((1, 2, 3, 4), padding_mode="edge"),
    lambda m: m.Pad(4, padding_mode="reflect"),
    lambda m: m.Pad(4, padding_mode="symmetric"),
    lambda m: m.RandomHorizontalFlip(p=1),
    lambda m: m.RandomVerticalFlip(p=1),
    lambda m: m.RandomHorizontalFlip(p=0),
    lambda m: m.RandomCrop((13, 17)),
    lambda m: m.RandomCrop(13, pad_if_needed=True, padding=0),
    lambda m: m.Compose([m.Pad(1), m.Lambda(lambda x: x), m.CenterCrop(6)]),
    lambda m: m.Resize((13, 17)),
    lambda m: m.Resize((20, 7), interpolation=m.InterpolationMode.NEAREST),
]


def both_tensors(array):
    return tc.tensor(array), torch.tensor(array)


@pytest.mark.parametrize("number", range(len(EXACT)))
@pytest.mark.parametrize("kind", ["grey", "RGB", "RGBA", "floats tensor", "bytes tensor", "batch"])
def test_moves_of_pixels(number, kind):
    tensors = {"floats tensor": FLOATS, "bytes tensor": BYTES, "batch": BYTES[None].repeat(2, 0)}
    ours, theirs = both_tensors(tensors[kind]) if kind in tensors else (PICTURES[kind], PICTURES[kind])
    if number in (11, 12) and kind == "RGBA":  # of which a part would be taken at random
        ours = theirs = PICTURES["RGB"]
    if number == 12:
        ours, theirs = (x.crop((0, 0, 13, 13)) if isinstance(x, Image.Image) else x[..., :13] for x in (ours, theirs))
    equal(EXACT[number](transforms)(ours), EXACT[number](T)(theirs))


@pytest.mark.parametrize("how", ["BILINEAR", "BICUBIC"])
@pytest.mark.parametrize("size", [(20, 30), (5, 6), (7, 40), 9, [26]])
@pytest.mark.parametrize("antialias", [True, False])
def test_resize(how, size, antialias):
    def made(m):
        return m.Resize(size, interpolation=getattr(m.InterpolationMode, how), antialias=antialias)

    for kind in ("grey", "RGB", "RGBA") if antialias else ():
        equal(made(transforms)(PICTURES[kind]), made(T)(PICTURES[kind]))
    ours, theirs = both_tensors(FLOATS)
    equal(made(transforms)(ours), made(T)(theirs), 1e-5)
    ours, theirs = both_tensors(BYTES)
    equal(made(transforms)(ours), made(T)(theirs), 1.0)  # PyTorch computes bytes in integers


def test_resize_by_the_shorter_side():
    for options in ({"max_size": 12}, {"max_size": 30}):
        for kind in ("grey", "RGBA"):
            equal(transforms.Resize(11, **options)(PICTURES[kind]), T.Resize(11, **options)(PICTURES[kind]))


@pytest.mark.parametrize("channels", [1, 3])
def test_grayscale(channels):
    for kind in ("grey", "RGB"):
        equal(transforms.Grayscale(channels)(PICTURES[kind]), T.Grayscale(channels)(PICTURES[kind]))
    for array in (FLOATS, BYTES):
        ours, theirs = both_tensors(array)
        equal(transforms.Grayscale(channels)(ours), T.Grayscale(channels)(theirs), 1e-6)


# What a function is called with, after the picture.
FUNCTIONS = [
    ("resize", (9,)),
    ("resize", ([5, 20],)),
    ("crop", (2, 3, 5, 6)),
    ("crop", (-2, 12, 20, 9)),
    ("resized_crop", (1, 2, 6, 7, [4, 4])),
    ("center_crop", (8,)),
    ("pad", (2, 9)),
    ("hflip", ()),
    ("vflip", ()),
    ("rotate", (33.0,)),
    ("to_grayscale", (3,)),
]


@pytest.mark.parametrize(("name", "given"), FUNCTIONS)
def test_transforms_as_functions(name, given):
    from torchvision.transforms import functional as theirs

    ours = tc.torchvision.transforms.functional
    for kind in ("grey", "RGB"):
        equal(getattr(ours, name)(PICTURES[kind], *given), getattr(theirs, name)(PICTURES[kind], *given))
    for a, b in map(both_tensors, (FLOATS, BYTES)):
        near = 1.0 if a.dtype == tc.uint8 and "resize" in name else 1e-5
        more = {"antialias": True} if "resize" in name else {}
        function = T.Grayscale(3) if name == "to_grayscale" else getattr(theirs, name)  # the function is for Pillow
        expected = function(b) if name == "to_grayscale" else function(b, *given, **more)
        equal(getattr(ours, name)(a, *given), expected, near)


def test_conversions_as_functions():
    from torchvision.transforms import functional as theirs

    with tc.as_torch():
        import torchvision.transforms.functional as ours
    picture = PICTURES["RGB"]
    equal(ours.to_tensor(picture), theirs.to_tensor(picture))
    equal(ours.pil_to_tensor(picture), theirs.pil_to_tensor(picture))
    equal(ours.to_pil_image(ours.to_tensor(picture)), theirs.to_pil_image(theirs.to_tensor(picture)))
    half = [0.5] * 3
    equal(ours.normalize(ours.to_tensor(picture), half, half), theirs.normalize(theirs.to_tensor(picture), half, half))
    a, b = both_tensors(BYTES)
    equal(ours.convert_image_dtype(a), theirs.convert_image_dtype(b))


def test_random_grayscale():
    for p in (0.0, 1.0):
        for kind in ("grey", "RGB"):
            equal(transforms.RandomGrayscale(p)(PICTURES[kind]), T.RandomGrayscale(p)(PICTURES[kind]))
        for ours, theirs in map(both_tensors, (FLOATS, BYTES, BYTES[:1])):
            equal(transforms.RandomGrayscale(p)(ours), T.RandomGrayscale(p)(theirs), 1e-6)


@pytest.mark.parametrize("angle", [0, 7.3, -33, 90, 180, 271.5])
@pytest.mark.parametrize("options", [{}, {"center": (3, 4)}, {"fill": 7}, {"fill": (1, 2, 3)}], ids=str)
def test_rotation(angle, options):
    def made(m, **more):
        return m.RandomRotation((angle, angle), **options, **more)

    several = options.get("fill") == (1, 2, 3)
    for kind in ("RGB",) if several else ("grey", "RGB", "RGBA"):
        equal(made(transforms)(PICTURES[kind]), made(T)(PICTURES[kind]))
        equal(made(transforms, expand=True)(PICTURES[kind]), made(T, expand=True)(PICTURES[kind]))
        smooth = [made(m, interpolation=m.InterpolationMode.BILINEAR)(PICTURES[kind]) for m in (transforms, T)]
        equal(*smooth)
    for ours, theirs in map(both_tensors, (FLOATS, BYTES, BYTES[None].repeat(2, 0))):
        equal(made(transforms)(ours), made(T)(theirs))


def test_rotations_are_drawn_evenly():
    tc.manual_seed(0)
    picture = tc.zeros(1, 9, 9)
    picture[0, 0, 4] = 1.0  # above the middle
    turn = transforms.RandomRotation(90)
    places = {divmod(int(turn(picture).argmax()), 9) for _ in range(40)}
    assert len(places) > 6
    assert max(row for row, _ in places) <= 5
    assert repr(turn).startswith("RandomRotation(degrees=[-90, 90]")


def test_rotations_that_are_not_here():
    for degrees in (-3, "10", (1, 2, 3)):
        assert "one number >= 0 or two" in message(tc.errors.DataError, transforms.RandomRotation, degrees)
    turn = transforms.RandomRotation(10, expand=True)
    assert message(tc.errors.DataError, turn, tc.zeros(1, 4, 4)).endswith("turn it before ToTensor()")


def test_normalize():
    ours, theirs = both_tensors(FLOATS)
    numbers = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    equal(transforms.Normalize(*numbers)(ours), T.Normalize(*numbers)(theirs))
    equal(transforms.Normalize((0.5,), (0.5,))(ours), T.Normalize((0.5,), (0.5,))(theirs))
    transforms.Normalize(*numbers, inplace=True)(ours)
    equal(ours, T.Normalize(*numbers)(theirs))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
@pytest.mark.parametrize("array", [BYTES, FLOATS])
def test_dtypes(array, dtype):
    ours, theirs = both_tensors(array)
    equal(transforms.ConvertImageDtype(dtype)(ours), T.ConvertImageDtype(getattr(torch, dtype))(theirs))
    v2 = pytest.importorskip("torchvision.transforms.v2")
    for scale in (True, False):
        equal(transforms.ToDtype(dtype, scale)(ours), v2.ToDtype(getattr(torch, dtype), scale=scale)(theirs))
    equal(transforms.ToImage()(PICTURES["RGB"]), v2.ToImage()(PICTURES["RGB"]).as_subclass(torch.Tensor))


def test_random_crops_are_parts_of_the_picture_wherever_they_are():
    tc.manual_seed(0)
    array = np.arange(6 * 7, dtype=np.uint8).reshape(6, 7)
    crop = transforms.Compose([transforms.RandomCrop(4), transforms.ToTensor()])
    places = {crop(Image.fromarray(array)).numpy().tobytes() for _ in range(200)}
    x = array.astype(np.float32) / 255
    assert places == {x[i : i + 4, j : j + 4].tobytes() for i in range(3) for j in range(4)}
    flips = [transforms.RandomHorizontalFlip()(tc.tensor(array))[0, 0].item() for _ in range(400)]
    assert 150 < flips.count(0) < 250
    tc.manual_seed(1)
    first = [transforms.RandomCrop(4)(tc.tensor(array)).tolist() for _ in range(9)]
    tc.manual_seed(1)
    assert [transforms.RandomCrop(4)(tc.tensor(array)).tolist() for _ in range(9)] == first
    for picture in (Image.fromarray(array), tc.tensor(array)[None]):
        shapes = {_shape(transforms.RandomResizedCrop((3, 5))(picture)) for _ in range(50)}
        assert shapes == {(3, 5)}
    wide = Image.fromarray(np.zeros((2, 400), np.uint8))
    assert _shape(transforms.RandomResizedCrop(4)(wide)) == (4, 4)
    assert [transforms.RandomApply([transforms.Lambda(lambda x: 7)], p)(3) for p in (0, 1)] == [3, 7]


def _shape(picture):
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else picture.shape[-2:]


@pytest.mark.parametrize(
    ("make", "given", "expected"),
    [
        (lambda: transforms.ToTensor(), [1, 2], "takes a picture of Pillow or an array .*, got a list"),
        (lambda: transforms.ToTensor(), np.zeros(3), r"got an array \(3,\)"),
        (lambda: transforms.Normalize((0.5,), (0.5,)), PICTURES["grey"], r"got a Image; ToTensor\(\) comes before it"),
        (lambda: transforms.Normalize((0.5,), (0.5,)), tc.tensor(BYTES), "takes a floating Tensor"),
        (lambda: transforms.Normalize((0.5,) * 2, (0.5,) * 2), tc.tensor(FLOATS), "mean and std need 3 numbers"),
        (lambda: transforms.Normalize((0.5,), (0.0,)), tc.tensor(FLOATS), "std not 0"),
        (lambda: transforms.Resize(0), None, "Resize: size: expected an integer >= 1, got 0"),
        (lambda: transforms.Resize((1, 2, 3)), None, r"one number or \(height, width\), got \(1, 2, 3\)"),
        (lambda: transforms.RandomCrop(30), PICTURES["grey"], "30x30 pixels of a picture of 13x17; padding="),
        (lambda: transforms.RandomCrop(3), np.zeros((5, 5)), r"got an array \(5, 5\): ToTensor\(\) first"),
        (lambda: transforms.Pad((1, 2, 3)), None, "padding must be 1, 2 or 4 whole numbers"),
        (lambda: transforms.Pad(1, padding_mode="mirror"), None, "padding_mode must be constant, edge"),
        (lambda: transforms.Grayscale(2), None, "num_output_channels must be 1 or 3, got 2"),
        (lambda: transforms.Grayscale(), tc.tensor(FLOATS[:2]), "takes 1 or 3 channels"),
        (lambda: transforms.Lambda(3), None, "Lambda takes a function, got 3"),
        (lambda: transforms.RandomHorizontalFlip(2), None, "RandomHorizontalFlip: p"),
        (lambda: transforms.ToPILImage(), tc.ones(2, 4, 4), "1, 3 or 4 channels"),
        (
            lambda: transforms.Resize(4, transforms.InterpolationMode.BOX),
            tc.tensor(FLOATS),
            "resized with nearest, bilinear or bicubic",
        ),
    ],
)
def test_what_no_transform_takes(make, given, expected):
    with pytest.raises((TypeError, ValueError), match=expected):
        make()(given)


# --- datasets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def digits(tmp_path):
    """Files as MNIST's, in torchvision's layout, with other bytes."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in NAMES:
        array = RNG.integers(0, 256, (7, 28, 28), np.uint8) if "images" in name else RNG.integers(0, 10, 7, np.uint8)
        data.write_idx(folder / name, array)
    return tmp_path


@pytest.fixture
def trusted(monkeypatch):
    """Let any bytes be MNIST's and CIFAR-10's."""
    monkeypatch.setattr(data.sources, "read_verified", lambda folder, file: _decoded(folder / file.name, file))
    monkeypatch.setattr(data.sources, "locate", lambda name, root: _layout(name, root))


def _layout(name, root):
    return Path(root) / data.sources.SOURCES[name].layouts[0]


def _decoded(path, file):
    with path.open("rb") as stream:
        return file.format.decode(stream, 1 << 28)


CHAINS = [
    lambda m: None,
    lambda m: m.ToTensor(),
    lambda m: m.Compose([m.ToTensor(), m.Normalize((0.1307,), (0.3081,))]),
]


@pytest.mark.parametrize("chain", CHAINS)
def test_mnist_items(digits, trusted, chain):
    theirs = torchvision.datasets.MNIST(digits, transform=chain(T), target_transform=lambda y: y + 1)
    ours = vision.MNIST(digits, transform=chain(transforms), target_transform=lambda y: y + 1)
    assert (len(ours), ours.classes, ours.class_to_idx) == (len(theirs), theirs.classes, theirs.class_to_idx)
    for (x, y), (expected, label) in zip(ours, theirs, strict=True):
        equal(x, expected)
        assert y == label
    equal(ours.data, theirs.data)
    equal(ours.targets, theirs.targets)
    assert ours.train_data is ours.test_data is ours.data  # names of old
    assert ours.train_labels is ours.test_labels is ours.targets
    assert repr(ours).splitlines()[:4] == repr(theirs).splitlines()[:4]


def test_a_loader_cuts_batches_out_of_what_a_pixelwise_transform_leaves(digits, trusted):
    chain = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    ours = vision.MNIST(digits, transform=chain)
    loader = data.DataLoader(ours, 3)
    assert loader.in_memory
    items = data.DataLoader(ours, 3, collate_fn=lambda items: data.default_collate(items))
    assert not items.in_memory
    for (x, y), (expected, labels) in zip(loader, items, strict=True):
        equal_ours(x, expected)
        equal_ours(y, labels)
    ours.data, ours.targets = ours.data[2:4], ours.targets[2:4]  # as is done to take some classes alone
    ours.transform = transforms.ToTensor()
    ((x, y),) = data.DataLoader(ours, 4)
    assert [t.tolist() for t in (x, y)] == [t.tolist() for t in next(iter(loader))]
    assert y.tolist() == ours.targets.tolist()
    ours.transform = transforms.Compose([transforms.Pad(1), transforms.ToTensor()])
    assert next(iter(loader))[0].shape == (2, 1, 30, 30)
    ours.transform = None
    with pytest.raises(tc.DataError, match="got a picture of Pillow; give the dataset transform="):
        next(iter(loader))


def equal_ours(one, other):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_cifar10_items(tmp_path, trusted, monkeypatch):
    files = [file.name for file in data.sources.SOURCES["cifar10"].files]
    folder = _layout("cifar10", tmp_path)
    folder.mkdir(parents=True)
    records = RNG.integers(0, 256, (4, 3073), np.uint8)
    records[:, 0] %= 10
    for name in files:
        (folder / name).write_bytes(records.tobytes())
    ours = vision.CIFAR10(tmp_path, train=False, transform=transforms.ToTensor())
    assert (ours.data.shape, ours.targets) == ((4, 32, 32, 3), records[:, 0].tolist())
    image, label = ours[1]
    np.testing.assert_array_equal(image.numpy(), records[1, 1:].reshape(3, 32, 32).astype(np.float32) / np.float32(255))
    assert (label, ours.classes[2], ours.class_to_idx["dog"]) == (records[1, 0], "bird", 5)
    x, _ = next(iter(data.DataLoader(ours, 4)))
    assert (x.numpy() == np.stack([ours[i][0].numpy() for i in range(4)])).all()


def pictures(folder, sizes=((8, 10),), kinds=("RGB",)):
    """A folder of pictures, two classes and one folder deeper; what of it is no picture is passed over."""
    names = ["dog/b.png", "dog/a.jpg", "cat/x.PNG", "cat/deep/y.png", "cat/.hidden.png", "cat/notes.txt"]
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("no picture")
            continue
        h, w = sizes[i % len(sizes)]
        Image.fromarray(RNG.integers(0, 256, (h, w, 3), np.uint8)).convert(kinds[i % len(kinds)]).save(path)
    return folder


def test_image_folders(tmp_path):
    root = pictures(tmp_path / "animals")
    (root / "cat" / ".hidden.png").unlink()
    theirs = torchvision.datasets.ImageFolder(root, transform=T.ToTensor())
    ours = vision.ImageFolder(root, transform=transforms.ToTensor())
    assert (ours.classes, ours.class_to_idx) == (theirs.classes, theirs.class_to_idx)
    assert sorted(ours.samples) == sorted(theirs.samples)
    assert (sorted(ours.targets), ours.imgs) == (sorted(theirs.targets), ours.samples)
    expected = {path: theirs[i][0] for i, (path, _) in enumerate(theirs.samples)}
    for (path, label), (x, y) in zip(ours.samples, ours, strict=True):
        equal(x, expected[path])
        assert y == label
    assert next(iter(data.DataLoader(ours, 4)))[0].shape == (4, 3, 8, 10)
    in_memory = data.folder(root)
    assert (in_memory.classes, in_memory.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])
    for image, (path, _) in zip(in_memory.images, ours.samples, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1))


def test_fake_data():
    ours = vision.FakeData(3, (3, 4, 5), 7, transforms.ToTensor(), lambda label: label + 1)
    theirs = torchvision.datasets.FakeData(3, (3, 4, 5), 7, T.ToTensor(), lambda label: label + 1)
    assert len(ours) == len(theirs) == len(list(ours)) == 3
    (x, label), (again, _), (other, _) = ours[1], ours[1], ours[2]
    assert (x.shape, x.dtype) == (tuple(theirs[1][0].shape), tc.float32)
    assert 0 < label <= 7
    equal_ours(x, again)
    assert x.tolist() != other.tolist()
    equal_ours(vision.FakeData(3, (3, 4, 5), random_offset=1, transform=transforms.ToTensor())[1][0], other)
    assert vision.FakeData(1, (1, 2, 2))[0][0].mode == "L"
    with pytest.raises(IndexError, match="FakeData: 3 of 3 pictures"):
        ours[3]
