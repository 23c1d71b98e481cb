"""Train LeNet-5 on two processes, and on one: the weights are the same, to the last bit.

python examples/many_ranks.py [RANKS]
"""

import sys

import numpy as np

import tinyconv as tc
from tinyconv import models, nn
from tinyconv.functional import cross_entropy

IMAGES, BATCH = 2000, 250  # 250 images are three full tiles of 64 and a part of one


def train():
    """Train for an epoch on drawn digits. What it returns on the first rank is what `run` returns."""
    tc.manual_seed(0)
    net = models.LeNet5()
    model = nn.DistributedDataParallel(net)
    optimizer = tc.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    digits = tc.data.synthetic_digits(IMAGES, seed=0)

    @tc.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for x, y in tc.data.DataLoader(digits, BATCH, shuffle=True, seed=0):  # the whole batch, on every rank
        loss = step(x, y)
    print(f"rank {tc.distributed.get_rank()} of {tc.distributed.get_world_size()}: loss {loss.item():.4f}")
    return [p.detach().numpy() for p in net.parameters()]


def main(ranks=2):
    several, alone = tc.distributed.run(train, ranks), train()
    same = all(np.array_equal(a, b) for a, b in zip(several, alone, strict=True))
    print(f"the weights of {ranks} ranks and of one are {'the same' if same else 'different'}")
    return same


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
