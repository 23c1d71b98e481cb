"""Fast pairs: the same ops in other words, for the sake of speed. Delete this folder and all still works.

The docstring of a pair names the op that it must equal on every geometry, and how nearly: to rounding, or to the bit
(but for the sign of a zero). `tests/fast` compares them. The pairs for NumPy (`tiled`) and for CuPy (`cuda`) run where
nothing else is chosen; `TINYCONV_KERNELS=readable` in the environment (or `TINYCONV_FAST=0`), or
`tinyconv.using("readable")`, leaves the ops as they are written. The compiled pairs for NumPy (`native`) run only where
they are asked for, by `tinyconv.using("native")` or `TINYCONV_FAST=native`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.arrays.backend import when_cupy_is_named
from tinyconv.engine.variants import offer, op_name, register, register_kernel
from tinyconv.fast import native
from tinyconv.fast.numpy import conv, dense, norm, pool

# glibc gives blocks above a threshold back to the system when they are freed, and each is then paged in again at its
# first touch: half of the time of a training step. The threshold grows to the largest block ever freed, up to 32 MiB.
np.empty(31 << 20, np.uint8)


TILED: tuple[tuple[Any, Any, Any], ...] = (
    (ops.Conv2d, conv.Conv2d, conv.applies),
    (ops.ConvTranspose2d, conv.ConvTranspose2d, conv.applies),
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


def _register(name: str, backend: str, pairs: Iterable[tuple[Any, Any, Any]], by_default: bool = True) -> None:
    for op, pair, applies in pairs:
        register(op_name(op), name, pair, backend=backend, applies=applies)
        if by_default:
            offer(op, name, ("compiled",) if name == "native" else ("compiled", "numpy"))


def _register_cuda() -> None:
    """The variants `cuda`: whoever never names CuPy does not wait for their import."""
    from tinyconv.fast import cuda

    _register("cuda", "cupy", cuda.PAIRS)
    for name, kernel in cuda.KERNELS.items():
        register_kernel(name, "cuda", kernel, backend="cupy")


_register("native", "numpy", native.PAIRS, by_default=os.environ.get("TINYCONV_FAST") == "native")
_register("tiled", "numpy", TILED)
when_cupy_is_named.append(_register_cuda)
