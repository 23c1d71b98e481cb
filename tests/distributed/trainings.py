"""Small trainings for ranks: each gives its losses and what it has trained, as bytes."""

import numpy as np

import tinyconv as tc
from tinyconv import nn
from tinyconv.functional import cross_entropy


def convnet(norm=False):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(36, 10),
    )  # fmt: skip


def train(captured, images, norm=False, steps=4):
    """Train with Adam on noise. Returns losses, and parameters and buffers."""
    tc.manual_seed(0)
    net = convnet(norm)
    model = nn.DistributedDataParallel(net)
    optimizer, rng = tc.optim.Adam(net.parameters(), lr=1e-2), np.random.default_rng(0)

    def step(x, y):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    call, losses = tc.capture(step) if captured else step, []
    for _ in range(steps):
        x = tc.tensor(rng.standard_normal((images, 1, 8, 8)), dtype=tc.float32)
        losses.append(call(x, tc.tensor(rng.integers(0, 10, images))).item())
    return losses, b"".join(t.detach().numpy().tobytes() for t in [*net.parameters(), *net.buffers()])
