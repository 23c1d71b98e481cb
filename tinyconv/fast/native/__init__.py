"""Compiled pairs for convolutions, in C of two hundred lines: `tinyconv.using("native")`.

Never needed and never chosen by itself (unless TINYCONV_FAST=native is in the environment): conv.c is compiled when one
of these pairs first runs, and kept in the user's cache. What is here only packs weights and passes addresses.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.fast import conv as tiled
from tinyconv.fast.layout import Array, images, rows
from tinyconv.fast.native.build import library
from tinyconv.fast.pool import relu_backward
from tinyconv.shapes import Pair, conv_output_size
from tinyconv.threads import get_num_threads, parallel

LANES = 16
WORTH_A_THREAD = 30_000_000
"""Multiplications, about 0.6 ms of one core: below, waking another thread costs what it brings (3.7 ms a LeNet step of
128 images with a second thread, 3.4 without)."""
FEW_WEIGHTS = 1 << 13
"""Up to so many, the gradient of the filters is summed in registers here; of more, BLAS makes it faster."""


class _Images(ctypes.Structure):
    """`images` in conv.c."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in ("n", "c", "h", "w", "sn", "sc", "sh", "sw")),
    ]

    @classmethod
    def of(cls, x: Array) -> _Images:
        sn, sc, sh, sw = (stride // x.itemsize for stride in x.strides)
        return cls(x.ctypes.data, *x.shape, sn, sc, sh, sw)


class _Filters(ctypes.Structure):
    """`filters` in conv.c."""

    _fields_ = [("data", ctypes.c_void_p), *((name, ctypes.c_long) for name in ("f", "c", "kh", "kw", "group"))]


class Filters:
    """Weights (F, C, KH, KW) as conv.c reads them, and the array that holds them."""

    def __init__(self, weight: Array) -> None:
        f, c, kh, kw = weight.shape
        group = next(g for g in (4, 3, 2, 1) if f % g == 0)
        self.array = np.ascontiguousarray(weight.reshape(f // group, group, c, kh, kw).transpose(0, 3, 2, 4, 1))
        self.struct = _Filters(self.array.ctypes.data, f, c, kh, kw, group)


def turned(weight: Array) -> Array:
    """The filters of the gradient of the images: turned around, channels and filters exchanged."""
    return weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


def by_blocks(n: int, work: int, vectors: int, call: Callable[[int, int, Any], None]) -> None:
    """call(first, last, scratch) for blocks of sixteen of n images, shared among threads where `work` is enough.

    `vectors` is how many of 64 bytes the scratch memory holds; it begins at a multiple of 64.
    """
    blocks = -(-n // LANES)
    parts = max(1, min(get_num_threads(), blocks, work // WORTH_A_THREAD))
    ends = [blocks * i // parts for i in range(parts + 1)]

    def run(i: int) -> None:
        memory = np.empty(64 * (vectors + 1), np.uint8)
        call(ends[i], ends[i + 1], ctypes.c_void_p(-(-memory.ctypes.data // 64) * 64))

    parallel(run, parts)


def address(array: Array | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def elementwise(x: Array) -> Array:
    """x itself, if its strides are whole elements, as they are of all but odd views."""
    return x if all(stride % x.itemsize == 0 for stride in x.strides) else x.copy()


def correlate(x: Array, weight: Array, bias: Any, relu: bool, padding: Pair) -> Array:
    """weight over x, + bias, then ReLU: images with the batch innermost."""
    (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
    oh, ow = conv_output_size(h, kh, padding=ph), conv_output_size(w, kw, padding=pw)
    x, filters, y = elementwise(x), Filters(weight), np.empty((oh, f, ow, n), np.float32)
    bias = None if bias is None else np.ascontiguousarray(bias)
    source, run = _Images.of(x), library().correlate
    by_blocks(
        n,
        y.size * c * kh * kw,
        (h + 2 * ph) * c * (w + 2 * pw) + f * ow,
        lambda first, last, scratch: run(
            ctypes.byref(source), ctypes.byref(filters.struct), address(bias), int(relu), _long(ph), _long(pw),
            address(y), _long(first), _long(last), scratch,
        ),
    )  # fmt: skip
    return images(y)


def filters_gradient(x: Array, dy: Array, weight: Array, padding: Pair) -> Array:
    if weight.size > FEW_WEIGHTS:
        return tiled.filters_gradient(rows(x), rows(dy), (1, 1), padding, weight.shape)
    (n, c, h, w), (kh, kw), (ph, pw) = x.shape, weight.shape[2:], padding
    x, dy, filters = elementwise(x), elementwise(dy), Filters(weight)
    by_block = np.empty((-(-n // LANES), *weight.shape), np.float32)
    source, grad, run = _Images.of(x), _Images.of(dy), library().filters_gradient
    by_blocks(
        n,
        dy.size * c * kh * kw,
        (h + 2 * ph) * c * (w + 2 * pw) + dy.size // n,
        lambda first, last, scratch: run(
            ctypes.byref(source), ctypes.byref(grad), ctypes.byref(filters.struct), _long(ph), _long(pw),
            address(by_block), _long(first), _long(last), scratch,
        ),
    )  # fmt: skip
    return np.add.reduce(by_block, axis=0)


_long = ctypes.c_long


def applies(x: Array, weight: Array, bias: Any, *, stride: Pair, padding: Pair, **geometry: Any) -> bool:
    """float32 at stride 1, and padding of less than the kernel, so that dx is such a convolution too."""
    less = all(p < k for p, k in zip(padding, weight.shape[2:], strict=True))
    return x.dtype == np.float32 and stride == (1, 1) and less and tiled.applies(x, weight, bias, **geometry)


def applies_with_pool(x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], **geometry: Any) -> bool:
    """Where the convolution does, the pooling is 2x2 of even sizes, and the filters are few."""
    return (
        weight.size <= FEW_WEIGHTS
        and applies(x, weight, bias, **geometry)
        and tiled.applies_with_pool(x, weight, bias, pool=pool, **geometry)
    )


class Conv2d:
    """See `ops.Conv2d`."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, *, padding: Pair, **geometry: Any) -> Any:
        return correlate(x, weight, bias, False, padding), (x, weight)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, padding: Pair, **geometry: Any) -> Any:
        x, weight = saved
        (kh, kw), (ph, pw) = weight.shape[2:], padding
        return (
            correlate(dy, turned(weight), None, False, (kh - 1 - ph, kw - 1 - pw)) if needs[0] else None,
            filters_gradient(x, dy, weight, padding) if needs[1] else None,
            tiled.bias_gradient(rows(dy)) if needs[2] else None,
        )


class Conv2dRelu:
    """See `ops.Conv2dRelu`."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, *, padding: Pair, **geometry: Any) -> Any:
        y = correlate(x, weight, bias, True, padding)
        return y, (x, weight, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        x, weight, y = saved
        return Conv2d.backward(xp, (x, weight), relu_backward(y, dy), needs, **geometry)


class Conv2dReluMaxPool2d:
    """See `ops.Conv2dReluMaxPool2d`. One call forward, one back."""

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], padding: Pair, **geometry: Any
    ) -> Any:
        (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
        oh, ow = conv_output_size(h, kh, padding=ph), conv_output_size(w, kw, padding=pw)
        shape = oh // 2, f, ow // 2, n
        x, filters, y, way = elementwise(x), Filters(weight), np.empty(shape, np.float32), np.empty(shape, np.uint8)
        bias = None if bias is None else np.ascontiguousarray(bias)
        source, run = _Images.of(x), library().correlate_and_pool
        by_blocks(
            n,
            4 * y.size * c * kh * kw,
            (h + 2 * ph) * c * (w + 2 * pw) + 2 * f * ow,
            lambda first, last, scratch: run(
                ctypes.byref(source), ctypes.byref(filters.struct), address(bias), _long(ph), _long(pw),
                address(y), address(way), _long(first), _long(last), scratch,
            ),
        )  # fmt: skip
        return images(y), (x, weight, way)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Array, needs: Any, *, pool: dict[str, Any], padding: Pair, **geometry: Any
    ) -> Any:
        x, weight, way = saved
        (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
        dy, blocks = elementwise(dy), -(-n // LANES)
        dw = np.empty((blocks, *weight.shape), np.float32) if needs[1] else None
        db = np.empty((blocks, f), np.float32) if needs[2] else None
        dx = np.empty((h, c, w, n), np.float32) if needs[0] else None
        filters, back = Filters(weight), Filters(turned(weight))
        source, grad, run = _Images.of(x), _Images.of(dy), library().pooled_gradients
        maps = (2 * dy.shape[2] + 2 * (kh - 1)) * f * (2 * dy.shape[3] + 2 * (kw - 1))
        by_blocks(
            n,
            4 * dy.size * c * kh * kw * (1 + needs[0]),
            (h + 2 * ph) * c * (w + 2 * pw) + maps + c * w,
            lambda first, last, scratch: run(
                ctypes.byref(source), ctypes.byref(grad), address(way), ctypes.byref(filters.struct),
                ctypes.byref(back.struct), _long(ph), _long(pw), address(dw), address(db), address(dx),
                _long(first), _long(last), scratch,
            ),
        )  # fmt: skip
        return (
            None if dx is None else images(dx),
            None if dw is None else np.add.reduce(dw, axis=0),
            None if db is None else np.add.reduce(db, axis=0),
        )


PAIRS: tuple[tuple[Any, Any, Any], ...] = (
    (ops.Conv2d, Conv2d, applies),
    (ops.Conv2dRelu, Conv2dRelu, applies),
    (ops.Conv2dReluMaxPool2d, Conv2dReluMaxPool2d, applies_with_pool),
)
