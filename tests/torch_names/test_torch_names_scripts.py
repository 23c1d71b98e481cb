"""Scripts as people write them, run on PyTorch and, with their imports renamed alone, here: the losses are the same.

Each trains for twenty steps on real pictures. It keeps the weights that it starts with in a file, so that the second
run, here, starts with those of the first: `torch.load` reads what PyTorch has saved.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vision_oracle  # noqa: F401  # skips where there is no torchvision

from tinyconv import data

BEGIN = """
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.transforms import ToTensor

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def begin(model):
    # no dropout, which draws other numbers, and float64, for which a sum in another order is no other sum
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if os.path.exists("start.pt"):
        model.load_state_dict(torch.load("start.pt", weights_only=True, map_location=device))
    else:
        torch.save(model.state_dict(), "start.pt")
    return model.to(device).double()
"""

DIGITS = (
    BEGIN
    + """
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 12, 3, 1)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(12 * 144, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(self.drop(x), 1)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


def train(model, device, loader, optimizer, epoch, losses):
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        data, target = data.to(device).double(), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if batch_idx == 9:
            return


def test(model, device, loader):
    model.eval()
    test_loss = correct = 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device).double(), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
            break
    return test_loss / len(data), correct


def main():
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train_set = datasets.MNIST("data", train=True, download=True, transform=transform)
    loader = torch.utils.data.DataLoader(train_set, batch_size=64, num_workers=0, pin_memory=False)
    tests = torch.utils.data.DataLoader(datasets.MNIST("data", train=False, transform=transform), batch_size=200)
    model = begin(Net())
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    losses = []
    for epoch in range(1, 3):
        train(model, device, loader, optimizer, epoch, losses)
        scheduler.step()
    print(json.dumps([*losses, *test(model, device, tests)]))


if __name__ == "__main__":
    main()
"""
)

QUICK = (
    BEGIN
    + """
training_data = datasets.MNIST(root="data", train=True, download=True, transform=ToTensor())
train_dataloader = DataLoader(training_data, batch_size=64)
for X, y in train_dataloader:
    shape = [*X.shape, str(y.dtype).split(".")[-1]]
    break


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def forward(self, x):
        x = self.flatten(x)
        return self.linear_relu_stack(x)


model = begin(NeuralNetwork().to(device))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)
losses = []


def train(dataloader, model, loss_fn, optimizer):
    size = len(dataloader.dataset)
    model.train()
    for batch, (X, y) in enumerate(dataloader):
        X, y = X.to(device).double(), y.to(device)
        loss = loss_fn(model(X), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if batch == 19:
            return size


losses.append(train(train_dataloader, model, loss_fn, optimizer))
torch.save(model.state_dict(), "model.pth")
model = NeuralNetwork().to(device)
model.load_state_dict(torch.load("model.pth", weights_only=True))
model.double().eval()
x, y = training_data[0][0], training_data[0][1]
with torch.no_grad():
    pred = model(x.to(device).double())
    losses += [*pred[0].tolist(), int(pred[0].argmax(0)), y]
print(json.dumps(losses + shape))
"""
)

COLOURS = (
    BEGIN
    + """
transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
trainset = torchvision.datasets.CIFAR10(root="data", train=True, download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(trainset, batch_size=4, shuffle=False, num_workers=0)
images, labels = next(iter(trainloader))
grid = torchvision.utils.make_grid(images / 2 + 0.5).numpy()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


net = begin(Net())
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
losses = [grid.sum().item(), trainset.classes[labels[0]]]
for i, data in enumerate(trainloader, 0):
    inputs, labels = data
    optimizer.zero_grad()
    outputs = net(inputs.double())
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if i == 19:
        break
_, predicted = torch.max(outputs.data, 1)
print(json.dumps(losses + [(predicted == labels).sum().item()]))
"""
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, request):
    """A folder with MNIST's pictures, as both libraries read them."""
    folder = tmp_path_factory.mktemp("pictures")
    root = request.getfixturevalue("mnist_root")
    raw = folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, name in (("train", "train"), ("test", "t10k")):
        digits = data.mnist(part, root)
        data.write_idx(raw / f"{name}-images-idx3-ubyte", digits.images[:, 0])
        data.write_idx(raw / f"{name}-labels-idx1-ubyte", digits.labels.astype(np.uint8))
    return folder


@pytest.fixture
def colours(pictures, mnist_root):
    """The same folder, and in it 60,000 of those digits, each plane of another, in both layouts of CIFAR-10."""
    digits = data.mnist("train", mnist_root)
    grey = np.pad(digits.images[:, 0], ((0, 0), (2, 2), (2, 2)))
    rows = np.stack([grey, np.roll(grey, 1, axis=0), np.roll(grey, 2, axis=0)], axis=1).reshape(-1, 3072)
    rows = np.concatenate([digits.labels[:, None].astype(np.uint8), rows], axis=1)
    binary, pickled = pictures / "data" / "cifar-10-batches-bin", pictures / "data" / "cifar-10-batches-py"
    for folder in (binary, pickled):
        folder.mkdir()
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, part in zip(names, np.split(rows, 6), strict=True):
        part.tofile(binary / f"{name}.bin")
        (pickled / name).write_bytes(pickle.dumps({"data": part[:, 1:], "labels": part[:, 0].tolist()}))
    (pickled / "batches.meta").write_bytes(pickle.dumps({"label_names": list(data.describe("cifar10").classes)}))
    return pictures


def run(script, folder, ours):
    """The numbers that a script prints, in a process of its own; `ours` runs it by `tinyconv run`."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    command = ["-m", "tinyconv", "run", "script.py"] if ours else ["-c", THEIRS]
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here), str(here.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "TINYCONV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


THEIRS = """
import runpy
from vision_oracle import torchvision
torchvision.datasets.CIFAR10._check_integrity = lambda self: True  # these pictures were packed by the test
torchvision.datasets.cifar.check_integrity = lambda *args: True
runpy.run_path("script.py", run_name="__main__")
"""


def compare(script, folder):
    """The losses of twenty steps, and what else a script prints, here and on PyTorch."""
    (folder / "start.pt").unlink(missing_ok=True)
    theirs = run(script, folder, ours=False)
    ours = run(script, folder, ours=True)
    assert len(ours) == len(theirs) > 20
    numbers = [i for i, value in enumerate(theirs) if isinstance(value, float)]
    np.testing.assert_allclose([ours[i] for i in numbers], [theirs[i] for i in numbers], rtol=1e-9)
    assert [v for i, v in enumerate(ours) if i not in numbers] == [v for i, v in enumerate(theirs) if i not in numbers]
    return theirs


@pytest.mark.slow
@pytest.mark.mnist
def test_a_convnet_on_digits(pictures):
    """torch.nn.functional, Adadelta, StepLR, datasets and transforms of torchvision, a loader of each part."""
    losses = compare(DIGITS, pictures)
    assert losses[19] < 0.6 * losses[0]


@pytest.mark.slow
@pytest.mark.mnist
def test_a_first_script(pictures):
    """Sequential, SGD, `len(loader.dataset)`, a model saved and loaded, one picture of a dataset."""
    losses = compare(QUICK, pictures)
    assert losses[20] == 60_000
    assert losses[-5:] == [64, 1, 28, 28, "int64"]


@pytest.mark.slow
@pytest.mark.mnist
def test_a_convnet_in_colour(colours):
    """CIFAR10, a grid of images, momentum, `torch.max` of outputs."""
    compare(COLOURS, colours)
