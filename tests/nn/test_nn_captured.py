"""Layers in captured steps: what a replay gives is what the eager step gives."""

import numpy as np
import pytest
from oracle import assert_allclose

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn


class Sampled(nn.Module):
    """A spatial transformer with one map that is learned."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(tc.tensor([[[0.9, 0.1, 0.05], [-0.1, 0.8, 0.1]]]))

    def forward(self, x):
        grid = F.affine_grid(self.theta.expand(len(x), 2, 3), x.shape, align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)


STEPS = {
    "ConvTranspose2d": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(3, 2, 2, 2), nn.Flatten(), nn.Linear(128, 4)
        ),
        (8, 1, 8, 8),
    ),
    "one image": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(1), nn.Linear(9, 4)),
        (1, 8, 8),
    ),
    "signals": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 4)
        ),
        (4, 2, 16),
    ),
    "vision": (
        lambda: nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Upsample(scale_factor=1.5, mode="bilinear"),
            nn.Upsample(7),
            Sampled(),
            nn.Flatten(),
            nn.Linear(98, 4),
        ),
        (4, 2, 4, 4),
    ),
    "windows": (lambda: nn.Sequential(nn.Unfold(3), nn.Fold(8, 3), nn.Flatten(), nn.Linear(64, 4)), (4, 1, 8, 8)),
}


@pytest.mark.parametrize("kernels", ["compiled", "numpy", "readable"])
@pytest.mark.parametrize("name", STEPS)
def test_captured_steps_give_what_eager_ones_do(name, kernels):
    make, shape = STEPS[name]
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal(shape).astype(np.float32) for _ in range(4)]

    def trained(wrapped):
        tc.manual_seed(0)
        net = make()
        optimizer = tc.optim.SGD(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), tc.zeros(len(x) if x.ndim != 3 or name == "signals" else 4, dtype=tc.int64))
            loss.backward()
            optimizer.step()
            return loss

        run = tc.capture(step) if wrapped else step
        with tc.using(kernels):
            return [run(tc.tensor(batch)).item() for batch in batches]

    assert_allclose(trained(True), trained(False), rtol=1e-5, atol=1e-6)
