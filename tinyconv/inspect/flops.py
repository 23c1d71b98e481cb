"""What an op costs, from the shapes of what goes in and its geometry: integers only.

One multiply-accumulate (MAC) is two floating-point operations (FLOPs). An op that multiplies no matrices counts one
FLOP for each element of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyconv.shapes import Shape, conv_output_size, product

Shapes = Sequence[Shape | None]  # of the inputs of an op; None for what is not an array


def conv2d_macs(x: Shape, weight: Shape, geometry: Mapping[str, Any]) -> int:
    """N F OH OW C / groups KH KW. The bias is added, not multiplied, so it does not count."""
    axes = zip(x[2:], weight[2:], *(geometry[name] for name in ("stride", "padding", "dilation")), strict=True)
    return x[0] * product(conv_output_size(*axis) for axis in axes) * product(weight)


def conv_transpose2d_macs(x: Shape, weight: Shape, geometry: Mapping[str, Any]) -> int:
    """N C H W F / groups KH KW: each element of x is multiplied with its filter."""
    return x[0] * product(x[2:]) * product(weight)


def linear_macs(x: Shape, weight: Shape, geometry: Mapping[str, Any]) -> int:
    """The rows of x, times the elements of the weight."""
    return product(x[:-1]) * product(weight)


def matmul_macs(a: Shape, b: Shape, geometry: Mapping[str, Any]) -> int:
    """The elements of the output, times the length of the sums."""
    return product(np.broadcast_shapes(a[:-2], b[:-2])) * a[-2] * a[-1] * b[-1]


MACS: dict[str, Callable[[Shape, Shape, Mapping[str, Any]], int]] = {
    "conv2d": conv2d_macs,
    "conv2d_relu": conv2d_macs,
    "conv2d_relu_max_pool2d": conv2d_macs,
    "conv_transpose2d": conv_transpose2d_macs,
    "linear": linear_macs,
    "linear_relu": linear_macs,
    "Matmul": matmul_macs,
}
"""By the name of the op. A fused op counts its convolution or product alone: next to that the rest is negligible."""


def macs(op: str, shapes: Shapes, geometry: Mapping[str, Any]) -> int | None:
    """The multiply-accumulates of one forward of the op with that name; None for an op that has none."""
    count = MACS.get(op)
    if count is None:
        return None
    first, second = shapes[:2]
    return count(first or (), second or (), geometry)


def forward_flops(op: str, shapes: Shapes, geometry: Mapping[str, Any], out: Shape) -> int:
    """2 for each MAC; for an op without any, 1 for each element of the output."""
    found = macs(op, shapes, geometry)
    return product(out) if found is None else 2 * found


def backward_flops(op: str, shapes: Shapes, geometry: Mapping[str, Any], needs: Sequence[bool], out: Shape) -> int:
    """For a product, as many as its forward for each operand whose gradient is wanted; for any other op, 1 for each
    element of each gradient."""
    found = macs(op, shapes, geometry)
    if found is not None:
        return 2 * found * sum(needs[:2])
    return sum(product(shape) for shape, needed in zip(shapes, needs, strict=False) if needed and shape is not None)
