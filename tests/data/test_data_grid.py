"""Many images as one: torchvision's answer, to the last pixel."""

import io

import numpy as np
import pytest
import torch
from messages import message
from PIL import Image
from vision_oracle import torchvision

import tinyconv as tc
from tinyconv.data.grid import make_grid, save_image

RNG = np.random.default_rng(0)
BATCH = RNG.standard_normal((7, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nrow": 3},
        {"nrow": 3, "padding": 0},
        {"normalize": True},
        {"normalize": True, "scale_each": True},
        {"normalize": True, "value_range": (-0.5, 0.5), "pad_value": 0.25},
    ],
)
@pytest.mark.parametrize("images", [BATCH, BATCH[:, :1], BATCH[:1], BATCH[0], BATCH[0, 0]], ids=lambda x: str(x.shape))
def test_a_grid_is_torchvisions(images, options):
    before = images.copy()
    ours, theirs = make_grid(tc.tensor(images), **options), torchvision.utils.make_grid(torch.tensor(images), **options)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(images, before)


def test_a_list_of_images():
    ours, theirs = make_grid([tc.tensor(x) for x in BATCH]), torchvision.utils.make_grid([*map(torch.tensor, BATCH)])
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_the_tensor_keeps_its_values():
    x = tc.tensor(BATCH)
    make_grid(x, normalize=True)
    np.testing.assert_array_equal(x.numpy(), BATCH)


def test_a_file_has_torchvisions_pixels():
    def pixels(save, tensor):
        file = io.BytesIO()
        save(tensor, file, format="png", nrow=3)
        return np.asarray(Image.open(file))

    images = np.abs(BATCH)
    found = pixels(save_image, tc.tensor(images))
    np.testing.assert_array_equal(found, pixels(torchvision.utils.save_image, torch.tensor(images)))


def test_other_shapes_are_refused():
    assert "expected images (N, C, H, W)" in message(tc.ShapeError, make_grid, tc.zeros(3))
