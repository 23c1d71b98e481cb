"""A recipe of `tinyconv train lenet5` in PyTorch: `python torch_recipe.py FOLDER RECIPE SEED [compile]`.

FOLDER has MNIST's four files; RECIPE is the recipe as JSON, and has no augmentation. All of the data are in memory.
Written as a user of PyTorch would who wants it fast: batches are cut from one shuffled index, with no DataLoader
between. The test accuracy is printed as JSON after each epoch. Nothing of tinyconv is imported.
"""

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


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


def optimizer_of(recipe: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    rate, decay = recipe["lr"], recipe["weight_decay"]
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=decay, nesterov=True)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)


def schedule_of(recipe: Mapping[str, Any], optimizer: torch.optim.Optimizer, steps: int) -> Any:
    if recipe["schedule"] == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    shape: dict[str, Any] = {"cycle_momentum": recipe["optimizer"] != "sgd"}
    if recipe["schedule"] == "triangle":
        shape |= {"pct_start": 0.23, "anneal_strategy": "linear", "div_factor": 5}
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe["lr"], steps, **shape)


def main(folder: Path, recipe: Mapping[str, Any], seed: int, compiled: bool) -> None:
    torch.manual_seed(seed)
    images, labels = read(folder, "train-images"), read(folder, "train-labels").long()
    test_images, test_labels = read(folder, "t10k-images"), read(folder, "t10k-labels").long()

    def normal(x: torch.Tensor) -> torch.Tensor:
        return ((x.unsqueeze(1).float() / 255) - 0.1307) / 0.3081

    model: Any = LeNet5()
    optimizer = optimizer_of(recipe, model)
    scheduler = schedule_of(recipe, optimizer, recipe["epochs"] * -(-len(images) // recipe["batch_size"]))
    model = torch.compile(model, dynamic=False) if compiled else model
    accuracy = 0.0
    for _ in range(recipe["epochs"]):
        model.train()
        for index in torch.randperm(len(images)).split(recipe["batch_size"]):
            optimizer.zero_grad()
            scores = model(normal(images[index]))
            loss = F.cross_entropy(scores, labels[index], label_smoothing=recipe["label_smoothing"])
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
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), "compile" in sys.argv[4:])
