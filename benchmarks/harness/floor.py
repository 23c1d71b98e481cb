"""The arithmetic floor: the time that a step's products would take at the rate of one large product of BLAS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import tinyconv as tc
from harness.tasks import Task
from harness.timing import timed
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.inspect.flops import MACS

FEW = 4  # images: enough to normalise a batch


def flops(task: Task, batch: int, training: bool) -> int:
    """The floating-point operations of all products of a step, two for each multiply-accumulate: forward, and where it
    is a training step the gradients of weights, and those of inputs that need one."""
    x, y = (tc.tensor(array) for array in task.batch(FEW))
    return flops_of(task.model(), x, y if training else None) * batch // FEW


def flops_of(model: nn.Module, x: tc.Tensor, y: tc.Tensor | None) -> int:
    """Those of this model, on images x: with labels y in a training step, without in a forward."""
    with tc.profile() as found:
        if y is not None:
            F.cross_entropy(model(x), y).backward()
        else:
            with tc.no_grad():
                model(x)
    return sum(event.flops for event in found.events if event.name in MACS)


def gemm_peak(n: int = 1536) -> float:
    """GFLOP/s of NumPy's largest float32 product: the best of several, for it is a limit."""
    a, b = (np.random.default_rng(i).standard_normal((n, n), np.float32) for i in range(2))
    best = min(timed(lambda: a @ b) for _ in range(8))
    return 2 * n**3 / best / 1e9


def beside_floor(summary: Mapping[str, Mapping[str, Any]], operations: int) -> dict[str, Any]:
    """The summary of `timing.summary`, with the share of each row's time that the floor is: 1 is as fast as products
    can be. And what the floor is made of: the operations, and the peak, which is measured now."""
    peak = gemm_peak()
    floor_ms = operations / peak / 1e6
    rows = {name: {**row, "floor_share": floor_ms / row["median_ms"]} for name, row in summary.items()}
    return {"flops": operations, "peak_gflops": peak, "floor_ms": floor_ms, "summary": rows}
