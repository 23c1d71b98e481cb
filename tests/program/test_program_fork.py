"""A captured step in a forked child, whatever its parent's threads were doing."""

import os
import threading
import time

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn, optim


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_a_replay_goes_on():
    rng = np.random.default_rng(0)
    x, y = tc.tensor(rng.standard_normal((128, 1, 12, 12), np.float32)), tc.tensor(rng.integers(0, 10, 128))
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 10))
    optimizer = optim.Adam(model.parameters())

    @tc.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    over = threading.Event()

    def replay():
        while not over.is_set():
            step(x, y)

    thread = threading.Thread(target=replay)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.02)
            child = os.fork()
            if child == 0:
                finite = all(np.isfinite(step(x, y).item()) for _ in range(3))
                os._exit(0 if finite else 1)
            ends = time.monotonic() + 60
            while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < ends:
                time.sleep(0.01)
            if found == (0, 0):
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert found == (child, 0), "the child hangs, or failed"
    finally:
        over.set()
        thread.join()
