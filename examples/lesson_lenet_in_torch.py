"""Give the PyTorch LeNet5 of the lesson the weights that were trained here, and compare the logits.

    tinyconv train lenet5 --data mnist --epochs 5 --seed 0       # `make lenet` does this
    python examples/lesson_lenet_in_torch.py runs/lenet5-mnist-default-seed0.safetensors

Needs PyTorch, and says over the 10,000 test images how far apart the two are.
"""

import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import max_pool2d, relu

import tinyconv as tc
from tinyconv.data import mnist
from tinyconv.train import load_checkpoint


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = max_pool2d(relu(self.conv1(x)), 2)
        x = max_pool2d(relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = relu(self.fc1(x))
        x = relu(self.fc2(x))
        return self.fc3(x)


def main(path, test=None):
    test = test or mnist("test")
    images = test.normalized()

    ours = load_checkpoint(path).model()
    with tc.no_grad():
        our_logits = ours(tc.tensor(images)).numpy()

    theirs = LeNet5()
    theirs.load_state_dict({k: v for k, v in load_file(path).items() if not k.startswith("optimizer/")})
    with torch.no_grad():
        their_logits = theirs(torch.from_numpy(images)).numpy()

    for name, logits in (("tinyconv", our_logits), ("PyTorch", their_logits)):
        print(f"{name}: test accuracy {(logits.argmax(1) == test.labels).mean():.2%}")
    largest = abs(our_logits - their_logits).max()
    print(f"largest difference of two logits: {largest:.1e}, where the largest logit is {abs(our_logits).max():.0f}")
    return largest


if __name__ == "__main__":
    main(*sys.argv[1:])
