"""Convolutions without columns: products that find the elements of a window where they lie (conv.cu).

Bias, ReLU and 2x2 max-pooling, if they follow, are in the same launch, and maps that are pooled are never written;
backward undoes what followed where it reads dy. Where the channels are whole steps, forward and backward each put the
weights into another order first. product.py counts the launches.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinyconv import ops
from tinyconv.fast.cuda import pool as pooling
from tinyconv.fast.cuda.build import MOST, REAL
from tinyconv.fast.cuda.product import After, gradients, multiply, product
from tinyconv.ops.conv import maps_of
from tinyconv.ops.pool import output_size
from tinyconv.shapes import Pair, Shape
from tinyconv.shapes import product as elements

Array = Any

DIVISOR = np.dtype([("by", np.int32), ("multiplier", np.uint32), ("shift", np.int32)])
"""`divisor` in product.cuh."""
GEOMETRY = np.dtype(
    [(name, np.int32) for name in ("n", "groups", "c", "f", "h", "oh", "ph", "pw", "sh", "sw", "dh", "dw")]
    + [(name, DIVISOR) for name in ("image", "w", "map", "ow", "kernel", "kw", "by_sh", "by_sw")]
)
"""`conv` in conv.cu."""
WINDOWS = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
"""The pooling that the product itself does."""


def divisor(by: int) -> tuple[int, int, int]:
    """A number to divide by, at least 1, with the multiplication and the shift that do it."""
    shift = (by - 1).bit_length()
    return by, -(-(1 << 31 + shift) // by), shift


class Plan(NamedTuple):
    """What follows from a geometry."""

    conv: np.ndarray[Any, Any]  # as kernels take it
    y: Shape
    positions: int  # that a filter lies at, over all images


@cache
def plan(x: Shape, weight: Shape, pooled: bool, *, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Plan:
    (n, c, h, w), (f, _, kh, kw) = x, weight
    oh, ow = maps_of(x, weight, stride, padding, dilation)[2:]
    if pooled:
        oh, ow = oh // 2, ow // 2
    sizes = n, groups, c // groups, f // groups, h, oh, *padding, *stride, *dilation
    divisors = (divisor(by) for by in (h * w, w, oh * ow, ow, kh * kw, kw, *stride))
    return Plan(np.array((*sizes, *divisors), GEOMETRY), (n, f, oh, ow), n * oh * ow * (4 if pooled else 1))


def applies(x: Array, weight: Array, bias: Any, **geometry: Any) -> bool:
    """float32 and float64, any geometry, where there are weights and pixels, and an int can count the elements."""
    most = max(x.size, weight.size, elements(maps_of(x.shape, weight.shape, **geometry)))
    return x.dtype.char in REAL and 0 not in (*weight.shape, *x.shape[2:]) and most <= MOST


def applies_with_pool(x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], **geometry: Any) -> bool:
    """Where the convolution does; windows other than 2x2 go to a kernel of their own, if that takes them."""
    if not applies(x, weight, bias, **geometry):
        return False
    maps = maps_of(x.shape, weight.shape, **geometry)
    return pools_itself(maps, **pool) or (
        len(x) > 0 and elements(pool["kernel"]) <= pooling.NUMBERS and elements(output_size(maps, **pool)) <= MOST
    )


def pools_itself(maps: Shape, *, ceil_mode: bool, **windows: Pair) -> bool:
    """Whether windows are 2x2, side by side, and cover the maps. Elements that no window covers would take no part in
    backward here; in the readable op they do, with a gradient of zero, which makes NaN of an infinite image."""
    return windows == WINDOWS and maps[2] % 2 == 0 == maps[3] % 2


def correlate(
    xp: Any, x: Array, weight: Array, bias: Any, geometry: dict[str, Any], after: After = "NOTHING"
) -> tuple[Any, Any, tuple[Array, Array]]:
    """y; the places of the maxima, a byte each, if a POOL comes after; and x and weight without holes."""
    x, weight = xp.ascontiguousarray(x), xp.ascontiguousarray(weight)
    bias = None if bias is None else xp.ascontiguousarray(bias)
    conv, size, positions = plan(x.shape, weight.shape, after == "POOL", **geometry)
    y, groups = xp.empty(size, x.dtype), geometry["groups"]
    place = xp.empty(size, xp.uint8) if after == "POOL" else None
    made, channels = product(len(weight) // groups, positions, groups), weight.shape[1]
    filters = in_steps(xp, weight) if made.tile.in_steps(channels) else weight
    multiply(xp, "conv.cu:forward", y, made, x, filters, bias, y, place, conv, after=after, channels=channels)
    return y, place, (x, weight)


def in_steps(xp: Any, weight: Array) -> Array:
    """The weights as (KH, KW, C, F), where sums go in steps of channels (conv.cu)."""
    return xp.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def backward(
    xp: Any, x: Array, weight: Array, dy: Array, needs: Any, geometry: dict[str, Any], y: Any = None, place: Any = None
) -> tuple[Any, Any, Any]:
    """(dx, dweight, dbias) from the gradient of what followed the convolution: a ReLU, if its output `y` is given, or a
    ReLU and a pooling, if `place`, the places of the maxima, is given."""
    conv, _, positions = plan(x.shape, weight.shape, place is not None, **geometry)
    (n, c, h, w), groups, size = x.shape, geometry["groups"], weight.shape
    of_x, channels = product(c // groups, n * h * w, groups), len(weight) // groups
    if needs[0] and of_x.tile.in_steps(channels):
        weight = in_steps(xp, weight)
    arrays = xp.ascontiguousarray(dy), y, place, x, weight
    after: After = "NOTHING" if y is None and place is None else "RELU" if place is None else "POOL"
    return gradients(
        xp, "conv.cu:backward", arrays, (conv,), size, needs, of_x, positions, groups, after=after, channels=channels
    )


class Conv2d:
    """Must equal `ops.Conv2d` (tinyconv/ops/conv.py), to rounding. Makes no columns."""

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, **geometry: Any) -> Any:
        y, _, saved = correlate(xp, x, weight, bias, geometry)
        return y, saved

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        x, weight = saved
        return backward(xp, x, weight, dy, needs, geometry)


class Conv2dRelu:
    """Must equal `ops.Conv2dRelu` (tinyconv/ops/fused.py), to rounding. Bias and ReLU are in the product."""

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, **geometry: Any) -> Any:
        y, _, saved = correlate(xp, x, weight, bias, geometry, "RELU")
        return y, (*saved, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        x, weight, y = saved
        return backward(xp, x, weight, dy, needs, geometry, y=y)


class Conv2dReluMaxPool2d:
    """Must equal `ops.Conv2dReluMaxPool2d` (tinyconv/ops/fused.py), to rounding.

    Bias, ReLU and 2x2 pooling are in the product. Saves a byte for each maximum, and neither maps nor y.
    """

    returns_fresh = True

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], **geometry: Any) -> Any:
        if pools_itself(maps_of(x.shape, weight.shape, **geometry), **pool):
            y, place, saved = correlate(xp, x, weight, bias, geometry, "POOL")
            return y, (*saved, place)
        maps, _, saved = correlate(xp, x, weight, bias, geometry)
        y, from_pool = pooling.ReluMaxPool2d.forward(xp, maps, **pool)
        return y, (*saved, *from_pool)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, pool: dict[str, Any], **geometry: Any) -> Any:
        x, weight, place, *size = saved
        if not size:
            return backward(xp, x, weight, dy, needs, geometry, place=place)
        (dmaps,) = pooling.ReluMaxPool2d.backward(xp, (place, *size), dy, (True,), **pool)
        return backward(xp, x, weight, dmaps, needs, geometry)


PAIRS = (
    (ops.Conv2d, Conv2d, applies),
    (ops.Conv2dRelu, Conv2dRelu, applies),
    (ops.Conv2dReluMaxPool2d, Conv2dReluMaxPool2d, applies_with_pool),
)
