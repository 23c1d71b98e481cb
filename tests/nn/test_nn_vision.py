"""Layers that make images larger and shuffle them, and a spatial transformer, against torch's."""

import numpy as np
import pytest
from oracle import assert_allclose
from test_nn_layers import build, compare, image

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.check import gradcheck

torch = pytest.importorskip("torch")

LAYERS = [
    ("Upsample", (), {"scale_factor": 2}),
    ("Upsample", ((5, 9),), {"mode": "bilinear"}),
    ("Upsample", (), {"scale_factor": (1.5, 0.5), "mode": "bicubic", "align_corners": True}),
    ("UpsamplingNearest2d", (9,), {}),
    ("UpsamplingBilinear2d", (), {"scale_factor": 3}),
    ("PixelShuffle", (2,), {}),
    ("ChannelShuffle", (2,), {}),
]


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("name", "args", "options"), LAYERS)
def test_layers(name, args, options):
    ours, theirs = build(name, args, options)
    compare(ours, theirs, image())
    assert repr(ours) == repr(theirs)


def test_pixels_as_channels_and_back():
    x = tc.tensor(image(h=8))
    ours, theirs = build("PixelUnshuffle", (2,), {})
    compare(ours, theirs, image(h=8))
    assert nn.PixelShuffle(2)(ours(x)).tolist() == x.tolist()


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("align", [True, False])
def test_a_spatial_transformer(align):
    """A map from coordinates to coordinates, and the image that it moves: gradients of both."""

    def moved(functional, x, theta):
        grid = functional.affine_grid(theta, x.shape, align_corners=align)
        return functional.grid_sample(x, grid, align_corners=align)

    theta = np.random.default_rng(3).standard_normal((2, 2, 3)).astype(np.float32)
    x, maps = tc.tensor(image(), requires_grad=True), tc.tensor(theta, requires_grad=True)
    x2, maps2 = torch.tensor(image(), requires_grad=True), torch.tensor(theta, requires_grad=True)
    y, expected = moved(F, x, maps), moved(torch.nn.functional, x2, maps2)
    assert_allclose(y, expected.detach(), rtol=1e-4, atol=1e-5)
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    assert_allclose(x.grad, x2.grad, rtol=1e-4, atol=1e-4)
    assert_allclose(maps.grad, maps2.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_an_image_is_where_it_was(padding):
    """The identity map reads each pixel at its own place."""
    x = tc.tensor(image(), dtype=tc.float64)
    grid = F.affine_grid(tc.tensor(np.tile(np.eye(2, 3), (2, 1, 1))), x.shape, align_corners=False)
    for mode in ("bilinear", "nearest"):
        assert_allclose(F.grid_sample(x, grid, mode, padding, align_corners=False), x, rtol=1e-12, atol=1e-12)


def test_samples_agree_with_differences():
    rng = np.random.default_rng(0)
    x = tc.tensor(rng.standard_normal((1, 2, 4, 5)), requires_grad=True)
    grid = tc.tensor(rng.uniform(-1.4, 1.4, (1, 3, 3, 2)), requires_grad=True)
    for padding in ("zeros", "border", "reflection"):
        assert gradcheck(lambda x, grid, padding=padding: F.grid_sample(x, grid, padding_mode=padding), [x, grid])


def test_integers_have_nearest_neighbours():
    x = tc.arange(6).reshape(1, 1, 2, 3)
    assert F.interpolate(x, scale_factor=(2, 1)).tolist() == [[[[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]]]
    assert F.interpolate(x, scale_factor=(2, 1)).dtype == tc.int64


WRONG = {
    "interpolate: expected size or scale_factor, one of them, got neither": lambda: F.interpolate(tc.ones(1, 1, 2, 2)),
    "interpolate: mode must be one of nearest, .*, got 'cubic'": lambda: F.interpolate(
        tc.ones(1, 1, 2), 3, mode="cubic"
    ),
    "interpolate: mode 'bilinear' takes .N, C, H, W., got .1, 1, 2.": lambda: F.interpolate(
        tc.ones(1, 1, 2), 3, mode="bilinear"
    ),
    "interpolate: align_corners is for linear, bilinear and bicubic, not for 'nearest'": lambda: F.interpolate(
        tc.ones(1, 1, 2), 3, align_corners=True
    ),
    "interpolate: antialias is for bilinear and bicubic, not for 'area'": lambda: F.interpolate(
        tc.ones(1, 1, 2, 2), 3, mode="area", antialias=True
    ),
    "interpolate: recompute_scale_factor has no meaning beside size": lambda: F.interpolate(
        tc.ones(1, 1, 2), 3, recompute_scale_factor=True
    ),
    "interpolate: expected 2 sizes or factors, got .3, 3, 3.": lambda: F.interpolate(tc.ones(1, 1, 2, 2), (3, 3, 3)),
    "interpolate: sizes must be at least 1, got .2, 2. and .0, 0.": lambda: F.interpolate(tc.ones(1, 1, 2, 2), 0),
    "affine_grid: expected theta .N, 2, 3. and size .N, C, H, W.": lambda: F.affine_grid(tc.ones(1, 3), (1, 1, 2, 2)),
    "grid_sample: grid must be .1, OH, OW, 2., places in each image, got .2, 3, 3, 2.": lambda: F.grid_sample(
        tc.ones(1, 1, 2, 2), tc.ones(2, 3, 3, 2)
    ),
    "grid_sample: mode must be 'bilinear' or 'nearest', got 'bicubic'": lambda: F.grid_sample(
        tc.ones(1, 1, 2, 2), tc.ones(1, 3, 3, 2), "bicubic"
    ),
    "grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got 'reflect'": lambda: F.grid_sample(
        tc.ones(1, 1, 2, 2), tc.ones(1, 3, 3, 2), padding_mode="reflect"
    ),
    "pixel_shuffle: 3 channels cannot be laid out as 2x2 pixels each": lambda: F.pixel_shuffle(tc.ones(3, 2, 2), 2),
    "pixel_unshuffle: 3x2 pixels cannot be cut into 2x2": lambda: F.pixel_unshuffle(tc.ones(1, 3, 2), 2),
    "channel_shuffle: expected .N, C, .... with C in 2 equal groups": lambda: F.channel_shuffle(tc.ones(1, 3, 2), 2),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_does_not_fit_is_refused(text):
    with pytest.raises(ValueError, match=f"^{text}"):
        WRONG[text]()
