"""Entries of KERNELS in compiled.py: activations, sums, dropout, average pools, batch norm, wide convolutions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyconv import ops
from tinyconv.ops.norm import move_statistics
from tinyconv.program.code import Buffer, Memory, Operand
from tinyconv.program.program import Instruction, Value
from tinyconv.shapes import adaptive_bounds, product

if TYPE_CHECKING:
    from tinyconv.program.compiled import Lowering

FLOAT = np.dtype(np.float32)
NO_WAY = 255
"""What stands for no place in the bytes that hold the places of maxima."""


def made_by(i: Instruction) -> Value:
    """The first output of an instruction, which it has."""
    assert i.outputs[0] is not None
    return i.outputs[0]


def elements(value: Value) -> int:
    """Numbers of one image."""
    return product(value.shape[1:])


def layout(value: Value) -> tuple[int, ...]:
    """c, h, w and the strides of n, c, h, w in elements: what take_images, give_images and dropout need."""
    c, h, w = value.shape[1:] if len(value.shape) == 4 else (1, 1, elements(value))
    return c, h, w, c * h * w, h * w, w, 1


def maps(value: Value) -> tuple[int, ...]:
    """c, h, w, where every feature of (N, C) is a channel."""
    return value.shape[1:] if len(value.shape) == 4 else (value.shape[1], 1, 1)


class Kernels:
    """An entry: the kernels of an op, of which the first input is float32, and so are the others but the second."""

    second: np.dtype[Any] = FLOAT
    meets = False  # whether it takes what needs all images at once
    further = False  # whether outputs after the first may be asked for

    def fits(self, forward: Instruction) -> str:
        """Why there is no kernel for this forward and its backward; empty if there is."""
        return "" if len(forward.inputs[0].shape) in (2, 4) else "neither maps nor features"

    def forward(self, to: Lowering, i: Instruction) -> None:
        raise NotImplementedError

    def backward(self, to: Lowering, i: Instruction) -> None:
        raise NotImplementedError


class Elementwise(Kernels):
    """Numbers that depend on those at their place. The kernel of the backward takes dy, and x or y."""

    def __init__(self, kernel: str, backward: str, takes: str, number: str = "") -> None:
        self.kernel, self.back, self.takes, self.number = kernel, backward, takes, number

    def numbers(self, forward: Instruction) -> tuple[float, ...]:
        return (forward.geometry[self.number],) if self.number else ()

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x,), y = i.inputs, made_by(i)
        source, made = to.lanes(x), to.made(y)
        to.tile(self.kernel, (made, source), (elements(x),), self.numbers(i))
        to.saved[i] = {"x": source, "y": made}[self.takes]

    def backward(self, to: Lowering, i: Instruction) -> None:
        (dy,), dx = i.inputs, made_by(i)
        assert i.of is not None
        source = to.lanes(dy)
        to.tile(self.back, (to.made(dx), source, to.saved[i.of]), (elements(dx),), self.numbers(i.of))


class Add(Kernels):
    """The sum of two values of one shape."""

    def fits(self, forward: Instruction) -> str:
        a, b = forward.inputs
        alike = isinstance(a, Value) and isinstance(b, Value) and a.shape == b.shape
        return super().fits(forward) if alike else "shapes that differ"

    def forward(self, to: Lowering, i: Instruction) -> None:
        added(to, i)

    def backward(self, to: Lowering, i: Instruction) -> None:
        for grad in i.outputs:
            if grad is not None:
                to.same(grad, i.inputs[0])


def added(to: Lowering, i: Instruction) -> None:
    """The sum of two values in tiles."""
    (a, b), y = i.inputs, made_by(i)
    sources = to.lanes(a), to.lanes(b)
    to.tile("add", (to.made(y), *sources), (elements(y),))


class Dropout(Kernels):
    """x keep / (1 - p), with an array of bool that the host makes."""

    second = np.dtype(np.bool_)

    def fits(self, forward: Instruction) -> str:
        x, keep = forward.inputs
        return super().fits(forward) if keep.shape == x.shape else "no mask of its shape"

    def numbers(self, forward: Instruction) -> tuple[float]:
        p = forward.geometry["p"]
        return (1 / (1 - p) if p < 1 else 0,)

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, keep), y = i.inputs, made_by(i)
        source, mask = to.lanes(x), to.pointer(keep, cut=True)
        to.tile("dropout", (to.made(y), source, mask), layout(x), self.numbers(i))
        to.saved[i] = mask

    def backward(self, to: Lowering, i: Instruction) -> None:
        dx = made_by(i)
        assert i.of is not None
        source = to.lanes(i.inputs[0])
        to.tile("dropout", (to.made(dx), source, to.saved[i.of]), layout(dx), self.numbers(i.of))


class AvgPool(Kernels):
    """Averages of windows, and of cells."""

    def fits(self, forward: Instruction) -> str:
        return "" if product(made_by(forward).shape) else "nothing to compute"

    def sizes(self, forward: Instruction) -> tuple[int, ...]:
        """pool_sizes in maps.c, and whether padding counts."""
        x, y, g = forward.inputs[0], made_by(forward), forward.geometry
        window = (*g["kernel"], *g["stride"], *g["padding"]) if "kernel" in g else (0,) * 6
        return *x.shape[1:], *window, *y.shape[2:], 0, g.get("count_include_pad", False)

    def numbers(self, forward: Instruction) -> tuple[float]:
        return (forward.geometry.get("divisor") or 0,)

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x,), y = i.inputs, made_by(i)
        source = to.lanes(x)
        to.tile("avg_pool", (to.made(y), source), self.sizes(i), self.numbers(i))

    def backward(self, to: Lowering, i: Instruction) -> None:
        (dy,), dx = i.inputs, made_by(i)
        assert i.of is not None
        source = to.lanes(dy)
        to.tile("avg_pool_back", (to.made(dx), source), self.sizes(i.of), self.numbers(i.of))


class CellMax(AvgPool):
    """Maxima of cells."""

    def fits(self, forward: Instruction) -> str:
        x, out = forward.inputs[0], forward.geometry["out"]
        most = product(max(b - a for a, b in adaptive_bounds(*axis)) for axis in zip(x.shape[2:], out, strict=True))
        return super().fits(forward) or ("" if most <= NO_WAY else f"cells of more than {NO_WAY} numbers")

    def forward(self, to: Lowering, i: Instruction) -> None:
        x, y = i.inputs[0], made_by(i)
        source, to.saved[i] = to.lanes(x), Buffer(elements(y), itemsize=1)
        to.tile("cell_max", (to.made(y), to.saved[i], source), self.sizes(i))

    def backward(self, to: Lowering, i: Instruction) -> None:
        (dy,), dx = i.inputs, made_by(i)
        assert i.of is not None
        source = to.lanes(dy)
        to.tile("cell_max_back", (to.made(dx), source, to.saved[i.of]), self.sizes(i.of))


class BatchNorm(Kernels):
    """Batch normalisation: by tile with given statistics; else the tiles meet, and know those of the batch."""

    meets = further = True

    def fits(self, forward: Instruction) -> str:
        tracked = any(isinstance(v, Value) and v.array is None for v in forward.inputs[1:])
        return "statistics or weights that are computed" if tracked else super().fits(forward)

    def forward(self, to: Lowering, i: Instruction) -> None:
        (x, weight, bias, mean, var), (y, *found) = i.inputs, i.outputs
        source, size, eps = to.lanes(x), maps(x), (i.geometry["eps"],)
        assert y is not None
        if mean is None:
            moments = to.each_tile(2 * size[0])
            to.tile("norm_moments", (moments, source), size, outputs=0)
            statistics: tuple[Operand, ...] = tuple(Memory(to.array_of(value)) for value in found if value is not None)
            to.whole("norm_statistics", (*statistics, moments), (size[0], to.tiles, x.shape[0], size[1] * size[2]))
        else:
            statistics = to.pointer(mean), to.pointer(var)
        to.tile("norm", (to.made(y), source, *statistics, to.pointer(weight), to.pointer(bias)), size, eps)
        to.saved[i] = source, statistics

    def backward(self, to: Lowering, i: Instruction) -> None:
        forward, (dx, dweight, dbias, *_) = i.of, i.outputs
        assert forward is not None
        (x, weight, _, mean, _), (source, statistics) = forward.inputs, to.saved[forward]
        dy, size, eps = to.lanes(i.inputs[0]), maps(x), (forward.geometry["eps"],)
        n = product(x.shape) // size[0] if mean is None else 0
        sums: tuple[Any, ...] = (dbias, dweight)
        if n and dx:
            sums = tuple(np.empty(size[0], np.float32) if v is None else v for v in sums)
        records = [None if v is None else to.summed(v) for v in sums]
        if any(records):
            to.tile("norm_sums", (*records, dy, source, *statistics), size, eps, outputs=0)
        if dx:
            totals = [to.total(v) for v in sums] if n else [None, None]
            to.tile("norm_back", (to.made(dx), dy, source, *statistics, to.pointer(weight), *totals), (*size, n), eps)


FROM_CHANNELS = 24
"""Channels and filters from which Winograd's way wins: of 32 x 32 at 16x16 by 1.2, of 256 x 256 at 7x7 by 1.4."""


class Winograd:
    """Conv2d of wide layers by 16 products in the place of 36, with ReLU and max-pooling as kernels of their own."""

    def takes(self, size: tuple[int, ...]) -> bool:
        """Whether it is meant for a convolution of these sizes: conv_sizes in maps.c."""
        c, _, _, f, kh, kw, sh, sw, _, _, oh, ow, _ = size
        wide = min(c, f) >= FROM_CHANNELS and c % 4 == f % 4 == 0
        return wide and (kh, kw, sh, sw) == (3, 3, 1, 1) and min(oh, ow) > 1

    def filters(self, to: Lowering, weight: Value, turned: bool) -> Memory:
        f, c, _, _ = weight.shape
        made = Memory(np.empty(16 * f * c, np.float32))
        to.before("winograd_filters", (made, to.pointer(weight)), (f, c, turned))
        return made

    def room(self, to: Lowering, size: tuple[int, ...]) -> Buffer:
        return Buffer(to.library.winograd_room(size[0], size[3]), room=True)

    def forward(self, to: Lowering, i: Instruction, size: tuple[int, ...]) -> None:
        (x, weight, bias), y = i.inputs, made_by(i)
        source, filters = to.lanes(x), self.filters(to, weight, turned=False)
        pool, (f, oh, ow) = i.op is ops.Conv2dReluMaxPool2d, (size[3], *size[10:12])
        maps = Buffer(f * oh * ow) if pool else to.made(y)
        to.tile("winograd", (maps, source, filters, to.pointer(bias), self.room(to, size)), size)
        kept: Any = maps if i.op is ops.Conv2dRelu else None
        if pool:
            kept = Buffer(elements(y), itemsize=1)
            to.tile("max_pool", (to.made(y), kept, maps), (f, oh, ow, *POOL, *y.shape[2:], True))
        to.saved[i] = source, kept

    def backward(self, to: Lowering, i: Instruction, size: tuple[int, ...]) -> None:
        forward, (dx, dw, db) = i.of, i.outputs
        assert forward is not None
        (_, weight, _), (source, kept) = forward.inputs, to.saved[forward]
        (c, h, w, f, *_), (ph, pw, oh, ow) = size, size[8:12]
        dy = to.lanes(i.inputs[0])
        if kept is not None:
            maps = Buffer(f * oh * ow)
            if i.op is ops.Conv2dRelu:
                to.tile("relu_back", (maps, dy, kept), (f * oh * ow,))
            else:
                to.tile("max_pool_back", (maps, dy, kept), (f, oh, ow, *POOL, *i.inputs[0].shape[2:], True))
            dy = maps
        if dx is not None:
            filters = self.filters(to, weight, turned=True)
            around = (f, oh, ow, c, 3, 3, 1, 1, 2 - ph, 2 - pw, h, w, False)
            to.tile("winograd", (to.made(dx), dy, filters, None, self.room(to, around)), around)
        if dw is not None:
            room = Buffer(to.library.winograd_dw_room(c, f), room=True)
            to.tile("winograd_dw", (to.summed(dw), source, dy, room), size, outputs=0)
        if db is not None:
            to.tile("channel_sums", (to.summed(db), dy), (f, oh, ow), outputs=0)


POOL = (2, 2, 2, 2, 0, 0)
"""Windows, strides and padding of the pooling that is fused with a convolution."""


def moved(to: Lowering, i: Instruction) -> bool:
    """The running statistics of a batch normalisation, where this computes them and they can be moved by a kernel."""
    function = i.function if i.kind == "compute" else None
    if not isinstance(function, partial) or function.func is not move_statistics:
        return False
    if any(value.dtype != np.float32 or value.array is None for value in i.inputs[:2]):
        return False
    arrays = [to.pointer(value) for value in i.inputs]
    options = function.keywords
    to.whole("norm_running", arrays, i.inputs[0].shape, (options["momentum"], options["unbiased"]))
    return True


ENTRIES: dict[Any, Any] = {
    ops.LeakyRelu: Elementwise("leaky_relu", "leaky_relu_back", "x", "slope"),
    ops.Tanh: Elementwise("tanh_", "tanh_back", "y"),
    ops.Sigmoid: Elementwise("sigmoid", "sigmoid_back", "y"),
    ops.Silu: Elementwise("silu", "silu_back", "x"),
    ops.Gelu: Elementwise("gelu", "gelu_back", "x"),
    ops.GeluTanh: Elementwise("gelu_tanh", "gelu_tanh_back", "x"),
    ops.Add: Add(),
    ops.Dropout: Dropout(),
    **dict.fromkeys((ops.AvgPool2d, ops.AdaptiveAvgPool2d), AvgPool()),
    ops.AdaptiveMaxPool2d: CellMax(),
    ops.BatchNorm: BatchNorm(),
}
