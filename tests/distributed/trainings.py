"""Small trainings for ranks: each gives its losses and what it has trained, as bytes."""

import hashlib
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

import tinyconv as tc
from tinyconv import data, models, nn
from tinyconv.engine import variants
from tinyconv.functional import cross_entropy
from tinyconv.train import Trainer


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


NETS = {
    "mnist": "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; dropout; fc 10",
    "cifar10": "conv 8 3; relu; pool 2; conv 16 3; relu; pool 2; flatten; dropout; fc 10",
    "synthetic": "conv 4 5; relu; pool 3; flatten; dropout; fc 10",
}


@contextmanager
def settings(chosen, number):
    """A `with` block on these kernels, with so many threads."""
    kernels, before = variants.kernels(), tc.get_num_threads()
    variants.set_kernels(chosen)
    tc.set_num_threads(number)
    try:
        yield
    finally:
        variants.set_kernels(kernels)
        tc.set_num_threads(before)


def epoch(name, chosen, number):
    """`trained`, on these kernels, with so many threads."""
    with settings(chosen, number):
        return trained(name)


def trained(name, images=5000, batch=300):
    """An epoch on the first images of a dataset, as the command trains. Returns its figures, and a hash of what has
    been trained."""
    train_on, test_on = data.load(name, "train", offline=True), data.load(name, "test", offline=True)
    train_on = replace(train_on, images=train_on.images[:images], labels=train_on.labels[:images])
    test_on = replace(test_on, images=test_on.images[:700], labels=test_on.labels[:700])
    tc.manual_seed(0)
    channels, size, _ = train_on.images.shape[1:]
    model = models.create("cake", slices=NETS[name], in_channels=channels, size=size)
    optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
    loader = data.DataLoader(train_on, batch, shuffle=True, seed=0, augment=data.RandomShift(2))
    *_, last = Trainer(model, optimizer, None, loader, test_on, 1).run()
    weights = b"".join(t.detach().numpy().tobytes() for t in [*model.parameters(), *model.buffers()])
    return [last.train_loss, last.test_accuracy, hashlib.sha256(weights).hexdigest()]
