"""The compiled kernels, and pairs for convolutions that run in them: `tinyconv.using("native")`.

Captured steps run in them where they can be had (`engine.kernels`); nothing needs them. The pairs are never chosen by
themselves (unless TINYCONV_FAST=native is in the environment); what is here of them only packs weights and passes
addresses.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tinyconv import ops
from tinyconv.engine import kernels
from tinyconv.fast.numpy import conv as tiled
from tinyconv.fast.numpy.layout import Array, images, rows
from tinyconv.fast.numpy.pool import relu_backward
from tinyconv.host.threads import Once, free_threads
from tinyconv.shapes import Pair, conv_output_size

WORTH_A_THREAD = 1_000_000
"""Multiplications, about 20 us of one core. A thread of team.h that still looks for work is there in about 2 us."""
FEW_IMAGES = 4
"""Images below which most lanes would be empty: one takes 0.30 ms through LeNet here, and 0.24 in NumPy."""
FEW_WEIGHTS = 1 << 13
"""Weights up to which the gradient of the filters is summed in registers here; for more, BLAS is faster."""


class _Images(ctypes.Structure):
    """`images` in conv.c."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n", "c", "h", "w", "sn", "sc", "sh", "sw")),
    ]

    @classmethod
    def of(cls, x: Array) -> _Images:
        sn, sc, sh, sw = (stride // x.itemsize for stride in x.strides)
        return cls(address(x), *x.shape, sn, sc, sh, sw)


class _Filters(ctypes.Structure):
    """`filters` in conv.c."""

    _fields_ = [("data", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("f", "c", "kh", "kw", "group"))]


class Filters:
    """Weights (F, C, KH, KW) as conv.c reads them: a struct, and the array that it points to."""

    def __init__(self, weight: Array) -> None:
        f, c, kh, kw = weight.shape
        group = next(g for g in (6, 4, 3, 2, 1) if f % g == 0)
        self.array = np.ascontiguousarray(weight.reshape(f // group, group, c, kh, kw).transpose(0, 3, 2, 4, 1))
        self.struct = _Filters(address(self.array), f, c, kh, kw, group)


@Once
def found() -> kernels.Found:
    """The compiled kernels: shipped with the package, kept in the cache, or compiled now.

    Raises VariantError where they cannot be had, and looks again when it is called again.
    """
    from tinyconv.fast.native import build  # here: it needs modules that take as long to import as the ops

    return build.library()


def library() -> Any:
    """The library of the compiled kernels. Raises VariantError where it cannot be had."""
    return found().library


kernels.find = found


def lanes() -> int:
    """Numbers in a vector of the processor that the library was compiled for: 16, 8 or 4."""
    count: int = library().lanes_of_a_vector()
    return count


def turned(weight: Array) -> Array:
    """The filters of the gradient of the images: turned around, channels and filters exchanged."""
    return weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


class _Task(ctypes.Structure):
    """`task` in conv.c."""

    _fields_ = [
        *((name, _Images) for name in ("x", "dy")),
        *((name, _Filters) for name in ("k", "turned")),
        *((name, ctypes.c_void_p) for name in ("bias", "y", "dw", "db", "dx", "way")),
        *((name, ctypes.c_int64) for name in ("ph", "pw", "relu", "threads", "size")),
        ("memory", ctypes.c_void_p),
    ]


def run(function: str, work: int, vectors: int, padding: Pair, **of: Any) -> None:
    """Call a function of conv.c with a task of these parts; an array goes as its address.

    `work`, in multiplications, says how many threads the task is worth. The scratch memory of each thread holds
    `vectors` vectors and begins at a multiple of 64.
    """
    threads = max(1, min(free_threads(), -(-of["x"].n // lanes()), work // WORTH_A_THREAD))
    memory = np.empty(4 * lanes() * threads * vectors + 64, np.uint8)
    task = _Task(
        ph=padding[0], pw=padding[1], threads=threads, size=vectors, memory=-(-address(memory) // 64) * 64,
        **{name: address(part) if isinstance(part, np.ndarray) else part for name, part in of.items()},
    )  # fmt: skip
    getattr(library(), function)(ctypes.byref(task))


def address(array: Array) -> int:
    """Where its first element lies. (`array.ctypes.data` says the same in three times the time.)"""
    found: int = array.__array_interface__["data"][0]
    return found


def elementwise(x: Array) -> Array:
    """x itself if its strides are whole elements, as in all but odd views; else a copy."""
    return x if all(stride % x.itemsize == 0 for stride in x.strides) else x.copy()


def correlate(x: Array, weight: Array, bias: Any, relu: bool, padding: Pair) -> Array:
    """weight over x, + bias, then ReLU if `relu`: images with the batch innermost."""
    (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
    oh, ow = conv_output_size(h, kh, padding=ph), conv_output_size(w, kw, padding=pw)
    x, filters, y = elementwise(x), Filters(weight), np.empty((oh, f, ow, n), np.float32)
    bias = None if bias is None else np.ascontiguousarray(bias)
    scratch = (h + 2 * ph) * c * (w + 2 * pw) + f * ow
    source, work = _Images.of(x), y.size * c * kh * kw
    run("correlate", work, scratch, padding, x=source, k=filters.struct, bias=bias, y=y, relu=relu)
    return images(y)


def filters_gradient(x: Array, dy: Array, weight: Array, padding: Pair) -> Array:
    if weight.size > FEW_WEIGHTS:
        return tiled.filters_gradient(rows(x), rows(dy), (1, 1), padding, weight.shape)
    (n, c, h, w), (kh, kw), (ph, pw) = x.shape, weight.shape[2:], padding
    x, dy, filters = elementwise(x), elementwise(dy), Filters(weight)
    by_block = np.empty((-(-n // lanes()), *weight.shape), np.float32)
    run(
        "filters_gradient", dy.size * c * kh * kw,
        (h + 2 * ph) * c * (w + 2 * pw) + dy.size // n + weight.size, padding,
        x=_Images.of(x), dy=_Images.of(dy), k=filters.struct, dw=by_block,
    )  # fmt: skip
    return np.add.reduce(by_block, axis=0)


def applies(x: Array, weight: Array, bias: Any, *, stride: Pair, padding: Pair, **geometry: Any) -> bool:
    """Some images of float32 at stride 1, padded by less than the kernel: then dx is such a convolution too."""
    less = all(p < k for p, k in zip(padding, weight.shape[2:], strict=True))
    fits = len(x) >= FEW_IMAGES and x.dtype == np.float32 and stride == (1, 1) and less
    return fits and tiled.applies(x, weight, bias, **geometry)


def applies_with_pool(x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], **geometry: Any) -> bool:
    """Where the convolution does, the pooling is 2x2 of maps of even size, and the weights are few."""
    return (
        weight.size <= FEW_WEIGHTS
        and applies(x, weight, bias, **geometry)
        and tiled.applies_with_pool(x, weight, bias, pool=pool, **geometry)
    )


class Conv2d:
    """Must equal `ops.Conv2d` (tinyconv/ops/conv.py), to rounding. One image a SIMD lane."""

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
    """Must equal `ops.Conv2dRelu` (tinyconv/ops/fused.py), to rounding. Bias and ReLU are in the same pass."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, *, padding: Pair, **geometry: Any) -> Any:
        y = correlate(x, weight, bias, True, padding)
        return y, (x, weight, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        x, weight, y = saved
        return Conv2d.backward(xp, (x, weight), relu_backward(y, dy), needs, **geometry)


class Conv2dReluMaxPool2d:
    """Must equal `ops.Conv2dReluMaxPool2d` (tinyconv/ops/fused.py), to rounding. One call forward, one back."""

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], padding: Pair, **geometry: Any
    ) -> Any:
        (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
        oh, ow = conv_output_size(h, kh, padding=ph), conv_output_size(w, kw, padding=pw)
        shape = oh // 2, f, ow // 2, n
        x, filters, y, way = elementwise(x), Filters(weight), np.empty(shape, np.float32), np.empty(shape, np.uint8)
        bias = None if bias is None else np.ascontiguousarray(bias)
        run(
            "correlate_and_pool", 4 * y.size * c * kh * kw, (h + 2 * ph) * c * (w + 2 * pw) + 2 * f * ow, padding,
            x=_Images.of(x), k=filters.struct, bias=bias, y=y, way=way,
        )  # fmt: skip
        return images(y), (x, weight, way)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Array, needs: Any, *, pool: dict[str, Any], padding: Pair, **geometry: Any
    ) -> Any:
        x, weight, way = saved
        (n, c, h, w), (f, _, kh, kw), (ph, pw) = x.shape, weight.shape, padding
        dy, blocks = elementwise(dy), -(-n // lanes())
        dw = np.empty((blocks, *weight.shape), np.float32) if needs[1] else None
        db = np.empty((blocks, f), np.float32) if needs[2] else None
        dx = np.empty((h, c, w, n), np.float32) if needs[0] else None
        filters, back = Filters(weight), Filters(turned(weight))
        maps = (2 * dy.shape[2] + 2 * (kh - 1)) * f * (2 * dy.shape[3] + 2 * (kw - 1))
        run(
            "pooled_gradients", 4 * dy.size * c * kh * kw * (1 + needs[0]),
            (h + 2 * ph) * c * (w + 2 * pw) + maps + c * w + weight.size, padding,
            x=_Images.of(x), dy=_Images.of(dy), way=way, k=filters.struct, turned=back.struct, dw=dw, db=db, dx=dx,
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
