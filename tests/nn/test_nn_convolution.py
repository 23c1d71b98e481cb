"""Convolutions and pools, of images and of signals, and windows, against torch's modules, and what ties them."""

import numpy as np
import pytest
from oracle import assert_allclose, assert_array_equal
from test_nn_layers import build, compare, image

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")

SIGNALS = image()[:, :, :, 0]
LAYERS = [
    *(
        ("Conv2d", (4, 6, 3), {"padding": (1, 2), "padding_mode": mode})
        for mode in ("reflect", "replicate", "circular")
    ),
    ("Conv2d", (4, 6, (3, 4)), {"padding": "same", "dilation": (1, 2), "padding_mode": "reflect"}),
    ("Conv1d", (4, 6, 3), {}),
    ("Conv1d", (4, 6, (3,)), {"stride": 2, "padding": (1,), "dilation": 2, "groups": 2, "bias": False}),
    ("Conv1d", (4, 6, 5), {"padding": "same"}),
    ("Conv1d", (4, 6, 3), {"padding": "valid"}),
    ("Conv1d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}),
    ("ConvTranspose2d", (4, 6, 3), {}),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
    ("ConvTranspose2d", (4, 6, 2), {"dilation": 2, "output_padding": 1, "bias": False}),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("ConvTranspose1d", (4, 6, (2,)), {"groups": 2, "dilation": 3, "bias": False}),
    ("MaxPool1d", (2,), {}),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("AvgPool1d", (2,), {}),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}),
    ("LPPool1d", (2, 3), {"stride": 2, "ceil_mode": True}),
    ("LPPool2d", (2, (2, 3)), {}),
    ("AdaptiveAvgPool1d", (3,), {}),
    ("AdaptiveMaxPool1d", ((3,),), {}),
    ("MaxPool2d", ((2,),), {}),
    ("Unfold", ((3, 2),), {"dilation": (1, 2), "padding": 1, "stride": 2}),
]


@pytest.mark.parametrize("one", [False, True], ids=["batch", "one"])
@pytest.mark.parametrize(("name", "args", "options"), LAYERS)
def test_layers(name, args, options, one):
    """Also of one example without a batch axis."""
    ours, theirs = build(name, args, options)
    x = SIGNALS if name.endswith("1d") else image()
    compare(ours, theirs, x[0] if one else x)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if not isinstance(args[0], tuple) and "valid" not in options.values():  # what torch keeps as it was given
        assert repr(ours) == repr(theirs)


def test_fold():
    columns = torch.nn.Unfold((3, 2), stride=2)(torch.tensor(image())).numpy()
    ours, theirs = build("Fold", ((7, 6), (3, 2)), {"stride": 2})
    compare(ours, theirs, columns)
    compare(ours, theirs, columns[0])
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("size", [(14, 12), (15, 13), (2, 6, 15, 12)])
def test_the_output_size_of_a_transposed_convolution(size):
    ours, theirs = build("ConvTranspose2d", (4, 6, 2), {"stride": 2})
    y, expected = ours(tc.tensor(image()), size), theirs(torch.tensor(image()), list(size))
    assert y.shape == tuple(expected.shape)
    assert_allclose(y, expected.detach(), rtol=2e-5, atol=2e-6)


def test_a_layer_of_a_batch_makes_of_one_image_what_it_makes_of_it_in_a_batch():
    net = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    x = tc.tensor(image())
    assert net(x[1]).shape == (3, 1, 1)
    assert_allclose(net(x[1]), net(x)[1], rtol=1e-6, atol=1e-6)


def test_maxima_of_one_image_have_places():
    x = image()[0]
    for name in ("max_pool2d", "adaptive_max_pool2d"):
        ours = getattr(F, name)(tc.tensor(x), 2, return_indices=True)
        theirs = getattr(torch.nn.functional, name)(torch.tensor(x), 2, return_indices=True)
        for a, b in zip(ours, theirs, strict=True):
            assert_array_equal(a, b)
    layer = nn.AdaptiveMaxPool1d(3, return_indices=True)
    expected = torch.nn.AdaptiveMaxPool1d(3, return_indices=True)(torch.tensor(SIGNALS))
    for a, b in zip(layer(tc.tensor(SIGNALS)), expected, strict=True):
        assert_array_equal(a, b)


def test_a_convolution_is_a_product_with_unfolded_windows():
    x, weight = tc.randn(2, 3, 6, 7), tc.randn(5, 3, 3, 2)
    columns = F.unfold(x, (3, 2), stride=(1, 2))
    maps = (weight.reshape(5, 18) @ columns).reshape(2, 5, 4, 3)
    assert_allclose(maps, F.conv2d(x, weight, stride=(1, 2)), rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution_is_the_gradient_of_a_convolution():
    x, weight = tc.randn(2, 3, 7, 7, requires_grad=True), tc.randn(5, 3, 3, 3)
    y = F.conv2d(x, weight, stride=2, padding=1)
    seed = tc.randn(*y.shape)
    (dx,) = tc.grad(y, x, seed)
    assert_allclose(F.conv_transpose2d(seed, weight, stride=2, padding=1), dx, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3)])
def test_batch_norm_of_nothing(shape, training):
    ours, theirs = build("BatchNorm2d", (4,), {})
    x = np.zeros(shape, np.float32)
    compare(ours.train(training), theirs.train(training), x)
    for key, value in theirs.state_dict().items():
        assert_array_equal(ours.state_dict()[key], value)


@pytest.mark.parametrize("axes", [1, 2])
def test_maxima_go_back(axes):
    x = SIGNALS if axes == 1 else image()
    pool = getattr(torch.nn, f"MaxPool{axes}d")(3, 2, 1, return_indices=True)
    maxima, places = pool(torch.tensor(x))
    ours, theirs = build(f"MaxUnpool{axes}d", (3, 2, 1), {})
    y = ours(tc.tensor(maxima.numpy()), tc.tensor(places.numpy()), x.shape)
    assert_array_equal(y, theirs(maxima, places, list(x.shape)))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("shape", [(0, 2, 2, 3), (0, 2, 3)])
def test_no_maxima_go_back(shape):
    """Neither of a batch of nothing, nor of one image without channels."""
    places = np.zeros(shape, np.int64)
    theirs = torch.nn.functional.max_unpool2d(torch.zeros(shape), torch.tensor(places), 2)
    assert F.max_unpool2d(tc.zeros(shape), tc.tensor(places), 2).shape == tuple(theirs.shape)


def test_maxima_go_back_to_places_that_are_there():
    x = tc.ones(1, 1, 2)
    if x.device == "cpu":  # elsewhere nobody waits for a look at them
        with pytest.raises(IndexError):
            F.max_unpool1d(x, tc.tensor([[[0, 4]]]), 2)
    with pytest.raises(
        tc.ShapeError, match=r"^max_unpool1d: output_size must be within a stride \(2,\) of \(4,\), got"
    ):
        F.max_unpool1d(x, tc.tensor([[[0, 2]]]), 2, output_size=(6,))
    with pytest.raises(tc.ShapeError, match=r"^max_unpool1d: expected indices of the shape of the input"):
        F.max_unpool1d(x, tc.tensor([[0, 2]]), 2)


PADS = ("ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")


@pytest.mark.parametrize("widths", [2, (1, 3), (0, 2, 3, 1)], ids=str)
@pytest.mark.parametrize("name", PADS)
def test_layers_that_pad(name, widths):
    axes = 2 if isinstance(widths, int) else len(widths) // 2
    ours, theirs = build(f"{name}{axes}d", (widths, 0.5)[: 1 + (name == "ConstantPad")], {})
    x = image()[0] if axes == 2 else SIGNALS
    compare(ours, theirs, x)
    assert repr(ours) == repr(theirs)


def test_layers_that_pad_refuse_widths_of_other_axes():
    text = r"^ZeroPad2d: padding: expected a number or \(left, right, top, bottom\), got \(1, 2\)"
    with pytest.raises(tc.ShapeError, match=text):
        nn.ZeroPad2d((1, 2))
