"""A training loop of your own, captured: the Python between the ops runs twice, and a replay does without it.

    python examples/captured.py                                # MNIST
    python examples/captured.py --data synthetic --epochs 1    # drawn digits: nothing to download

Prints once what the step has become (docs/fast.md tells how to read it), then the accuracy after each epoch.
"""

import argparse
import time

import tinyconv as tc
from tinyconv import nn
from tinyconv.data import DataLoader, load
from tinyconv.functional import cross_entropy, max_pool2d, relu
from tinyconv.optim import Adam
from tinyconv.optim.lr_scheduler import OneCycleLR


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):  # written as it is read; a captured step fuses it all the same
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        x = relu(self.fc1(x.flatten(1)))
        return self.fc3(relu(self.fc2(x)))


def train(data, epochs, batch_size=128, peak_lr=5e-3, seed=0):
    """Train a LeNet-5; returns the share of the test images that it reads right."""
    digits, test = load(data, "train"), load(data, "test")
    tc.manual_seed(seed)
    model = LeNet5()
    loader = DataLoader(digits, batch_size, shuffle=True, seed=seed)
    optimizer = Adam(model.parameters(), lr=peak_lr)
    schedule = OneCycleLR(optimizer, max_lr=peak_lr, total_steps=epochs * len(loader))
    seen = tc.zeros(())  # the sum of the losses: a tensor outside the step, which the step writes into

    @tc.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()  # the host does this anew at each replay
        seen[...] = seen + loss.detach() * len(y)  # not loss.item(): a replay reads no value

    @tc.capture
    def right(x, y):
        return (model(x).argmax(1) == y).sum()

    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        model.train()
        seen[...] = 0.0
        for i, (x, y) in enumerate(loader):  # the last batch is smaller, and gets a program of its own
            step(x, y)
            if epoch == 1 and i == 3:
                print(step, flush=True)
        model.eval()
        with tc.no_grad():
            found = sum(right(x, y).item() for x, y in DataLoader(test, 1000))
        print(
            f"epoch {epoch}: train loss {seen.item() / len(digits):.4f}, test accuracy {found / len(test):.2%}, "
            f"{time.perf_counter() - started:.1f} s"
        )
    return found / len(test)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["mnist", "synthetic"], default="mnist")
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    train(asked.data, asked.epochs)


if __name__ == "__main__":
    main()
