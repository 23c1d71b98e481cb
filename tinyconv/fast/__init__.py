"""Fast pairs: the same ops in other words, for the sake of speed. Delete this folder and all still works.

Every pair here must give what the readable one gives, to rounding, on every geometry: `tests/fast` compares them. Those
for NumPy (`tiled`) and for CuPy (`cuda`) run where nothing else is chosen; `TINYCONV_FAST=0` in the environment, or
`tinyconv.using("readable")`, leaves the ops as they are written. The compiled pairs for NumPy (`native`) run only where
they are asked for, by `tinyconv.using("native")` or `TINYCONV_FAST=native`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.engine.variants import defaults, op_name, register, register_kernel
from tinyconv.fast import cuda, native
from tinyconv.fast.numpy import conv, dense, norm, pool

CHOICE = os.environ.get("TINYCONV_FAST", "1")

# glibc gives blocks above a threshold back to the system when they are freed, and each is then paged in again at its
# first touch: half of the time of a training step. The threshold grows to the largest block ever freed, up to 32 MiB.
np.empty(31 << 20, np.uint8)


TILED: tuple[tuple[Any, Any, Any], ...] = (
    (ops.Conv2d, conv.Conv2d, conv.applies),
    (ops.Conv2dRelu, conv.Conv2dRelu, conv.applies),
    (ops.Conv2dReluMaxPool2d, conv.Conv2dReluMaxPool2d, conv.applies_with_pool),
    (ops.MaxPool2d, pool.MaxPool2d, pool.applies),
    (ops.ReluMaxPool2d, pool.ReluMaxPool2d, pool.applies),
    (ops.BatchNorm, norm.BatchNorm, norm.applies),
    (ops.Relu, dense.Relu, dense.relu_applies),
    (ops.Linear, dense.Linear, dense.matrices_apply),
    (ops.LinearRelu, dense.LinearRelu, dense.matrices_apply),
    (ops.Reshape, dense.Reshape, dense.flattens),
    (ops.CrossEntropy, dense.CrossEntropy, dense.cross_entropy_applies),
)

for _name, _backend, _pairs, _itself in (
    ("native", "numpy", native.PAIRS, CHOICE == "native"),
    ("tiled", "numpy", TILED, CHOICE != "0"),
    ("cuda", "cupy", cuda.PAIRS, CHOICE != "0"),
):
    for _op, _pair, _applies in _pairs:
        register(op_name(_op), _name, _pair, backend=_backend, applies=_applies)
        if _itself:
            defaults[_op] = [*defaults.get(_op, []), _name]

for _name, _kernel in cuda.KERNELS.items():
    register_kernel(_name, "cuda", _kernel, backend="cupy", by_default=CHOICE != "0")
