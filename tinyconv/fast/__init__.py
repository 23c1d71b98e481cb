"""Fast pairs for NumPy: the same ops in other words, for the sake of speed. Delete this folder and all still works.

Every pair here must give what the readable one gives, to rounding, on every geometry: `tests/fast` compares them. They
run where NumPy does and nothing else is chosen; `TINYCONV_FAST=0` in the environment, or `tinyconv.using("readable")`,
leaves the ops as they are written.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast import conv, dense, norm, pool
from tinyconv.variants import automatic, op_name, register

NAME = "tiled"

# glibc gives blocks above a threshold back to the system when they are freed, and each is then paged in again at its
# first touch: half of the time of a training step. The threshold grows to the largest block ever freed, up to 32 MiB.
np.empty(31 << 20, np.uint8)


def _register(op: Any, pair: Any, applies: Any) -> None:
    register(op_name(op), NAME, pair, backend="numpy", applies=applies)
    if os.environ.get("TINYCONV_FAST", "1") != "0":
        automatic[op] = NAME


_register(ops.Conv2d, conv.Conv2d, conv.applies)
_register(ops.Conv2dRelu, conv.Conv2dRelu, conv.applies)
_register(ops.Conv2dReluMaxPool2d, conv.Conv2dReluMaxPool2d, conv.applies_with_pool)
_register(ops.MaxPool2d, pool.MaxPool2d, pool.applies)
_register(ops.ReluMaxPool2d, pool.ReluMaxPool2d, pool.applies)
_register(ops.BatchNorm, norm.BatchNorm, norm.applies)
_register(ops.Relu, dense.Relu, dense.relu_applies)
_register(ops.Linear, dense.Linear, dense.matrices_apply)
_register(ops.LinearRelu, dense.LinearRelu, dense.matrices_apply)
_register(ops.Reshape, dense.Reshape, dense.flattens)
_register(ops.CrossEntropy, dense.CrossEntropy, dense.cross_entropy_applies)
