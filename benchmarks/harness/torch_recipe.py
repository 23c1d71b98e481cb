"""The default recipe of `tinyconv train lenet5` in PyTorch: `python torch_recipe.py FOLDER` with MNIST's four files.

Adam, one cycle of the learning rate up to 5e-3 and down, batches of 128, five epochs; all of the data in memory.
Written as a user of PyTorch would who wants it fast: batches are cut from one shuffled index, with no DataLoader
between. The test accuracy is printed as JSON. Nothing of tinyconv is imported.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH, RATE = 5, 128, 5e-3


class LeNet5(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        out: torch.Tensor = self.fc3(F.relu(self.fc2(x)))
        return out


def read(folder: Path, name: str) -> torch.Tensor:
    """The array in an IDX file, packed or not."""
    packed = next(folder.rglob(f"{name}*.gz"), None)
    path = packed or next(folder.rglob(f"{name}*"))
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy())


def main(folder: Path) -> None:
    torch.manual_seed(0)
    images, labels = read(folder, "train-images"), read(folder, "train-labels").long()
    test_images, test_labels = read(folder, "t10k-images"), read(folder, "t10k-labels").long()

    def normal(x: torch.Tensor) -> torch.Tensor:
        return ((x.unsqueeze(1).float() / 255) - 0.1307) / 0.3081

    model = LeNet5()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    steps = EPOCHS * -(-len(images) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    accuracy = 0.0
    for _ in range(EPOCHS):
        model.train()
        for index in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(normal(images[index])), labels[index])
            loss.backward()
            if not loss.isfinite():
                raise ArithmeticError("the loss is not finite")
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            chosen = torch.cat([model(normal(part)).argmax(1) for part in test_images.split(1000)])
        accuracy = (chosen == test_labels).float().mean().item()
        print(json.dumps({"test_accuracy": accuracy}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
