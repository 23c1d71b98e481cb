"""Convolution in NumPy at the speed of BLAS: images with the batch innermost (see layout.py), one product a row.

The letters are those of `ops.conv`; L = OW * N is what a row of the output holds for one filter. A row of the output is
a product of the weights with the KH rows of images under it, which lie together in memory:

    columns:  y[h] (F, L) = weight (F, KH KW C) @ cols[h] (KH KW C, L)
    shifts:   parts (KW F, W N) = weight (KW F, KH C) @ x[h ...] (KH C, W N), y[h, f, w] = sum_v parts[v, f, w + v - PW]

The first copies its input KW times, the second adds its output up KW times; which is better depends on C and F.
The gradient of the images is the same sum with the filters turned around and F and C exchanged, so both serve it too,
and a transposed convolution, which is that gradient.
The gradient of the filters is, for each kernel column, a product of rows of images with rows of gradients, and needs no
copy at all; with few channels it takes the columns. BLAS has one path for small products and one for large. Up to SMALL
multiplications the path for small ones is faster, for it packs nothing: where the weights are few, a row is multiplied
in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from tinyconv import ops
from tinyconv.fast.numpy.blas import with_blas_for
from tinyconv.fast.numpy.layout import Array, images, matrices, rows
from tinyconv.fast.numpy.pool import (
    GEOMETRY,
    POOLED_A_US,
    maxima,
    pooled,
    relu_backward,
    relu_in_place,
    spread,
)
from tinyconv.host.memory import empty
from tinyconv.host.threads import in_parts, parallel, threads_for
from tinyconv.ops.conv import maps_of
from tinyconv.ops.windows import images_of
from tinyconv.shapes import Pair

SMALL = 1_000_000
"""Multiplications (M N K) up to which OpenBLAS packs nothing, on AVX-512."""
WORKSPACE = 8 << 20
"""Bytes of columns, or of parts, made at a time; less is slower, more falls out of the cache."""
ROWS = 8
"""Rows that the gradient of the filters is summed over at a time, where the images are padded."""
MULTIPLICATIONS_A_US = 45_000
"""Multiplications in a microsecond of a core: 90 GFLOP/s."""
LARGE = 256
"""Rows of a product that threads may share out in four parts: at least 64 each, or they take longer in all."""
SUMMED_A_US = 8_000
"""Numbers that a product with ones sums up, in a microsecond of a core."""
FEW = 48
"""Numbers in a column of an image's rows under a kernel, all channels, below which products with each kernel column are
too small for BLAS: those of LeNet's first layer, padded, take 3.6 ms for 64 images; one with columns takes 0.7 ms,
and with very few, a quarter of this, 0.5 ms where it makes two rows, though a sixth of it is then of no use."""
GAP = 16
"""Elements between the rows of columns. Rows of whole pages would all fall on the same places of the nearest cache: the
first convolution of LeNet then runs at 58 GFLOP/s, with the gap at 78."""
WIDENING = 2.5
"""Filters a channel up to which sums of shifts are faster, for 3x3 kernels on two cores: with 256 images, 169 GFLOP/s
against 71 from 256 channels to 64, 179 against 156 from 256 to 256, 176 against 145 from 64 to 128; from 64 to 256 they
are slower, 153 against 170."""


def row_groups(oh: int, kh: int, sh: int, ph: int, h: int) -> Iterator[tuple[int, int, int, int]]:
    """(first, last, top, bottom): rows first ... last - 1 of the output see rows top ... bottom - 1 of the kernel.

    The rest of the kernel lies over padding. Rows that see the same are one group: the inner ones, which see it all,
    and a few at either edge.
    """
    first = 0
    while first < oh:
        top, bottom = max(0, ph - first * sh), min(kh, h + ph - first * sh)
        last = first + 1
        while last < oh and (max(0, ph - last * sh), min(kh, h + ph - last * sh)) == (top, bottom):
            last += 1
        yield first, last, top, bottom
        first = last


def column_range(v: int, ow: int, sw: int, pw: int, w: int) -> tuple[int, int]:
    """The columns of the output that see, in kernel column v, a column of the image and not padding."""
    first = max(0, -((v - pw) // sw))
    return first, max(first, min(ow, (w - 1 + pw - v) // sw + 1))


def columns(x: Array, first: int, last: int, kw: int, sw: int, pw: int, ow: int) -> Array:
    """Rows first ... last - 1 of images (H, C, W, N), even beyond the edge, as (rows, KW, C, OW N + GAP), flat."""
    h, c, w, n = x.shape
    pitch = ow * n + GAP
    memory = empty(((last - first) * kw * c * pitch,), x.dtype)
    cols = matrices(memory, 0, (last - first, kw * c * pitch), (kw, c * pitch), (c, pitch), (ow, n), (n, 1))
    if first >= 0 and last <= h and pw == 0 and sw == 1:
        # Nothing lies outside, so one copy does it: at each call threads wait for each other.
        cols[...] = matrices(x, first * c * w * n, (last - first, c * w * n), (kw, n), (c, w * n), (ow, n), (n, 1))
        return memory
    top, bottom = max(first, 0) - first, max(min(last, h) - first, 0)
    cols[:top], cols[max(bottom, top) :] = 0, 0
    for v in range(kw):
        a, b = column_range(v, ow, sw, pw, w)
        cols[top:bottom, v, :, :a], cols[top:bottom, v, :, b:] = 0, 0
        if b > a:
            start = a * sw + v - pw
            cols[top:bottom, v, :, a:b] = x[first + top : first + bottom, :, start : start + (b - a - 1) * sw + 1 : sw]
    return memory


Rows: TypeAlias = Callable[[int, int, Array], None]
"""rows_of(first, last, out) writes rows first ... last - 1 of the output into out (rows, F, OW, N)."""


def by_columns(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Rows:
    """weight (F, C, KH, KW) over x (H, C, W, N), by columns."""
    (_, c, _, n), (f, _, kh, kw), ow = x.shape, weight.shape, size[1]
    (sh, sw), (ph, pw), length, k = stride, padding, ow * n, c * kh * kw
    weight_rows = weight.transpose(0, 2, 3, 1).reshape(f, k)
    block = block_length(length, f * k)
    direct = (kh, kw, sh, sw, ph, pw) == (1,) * 4 + (0, 0)  # 1x1: the images are the columns
    pitch = length if direct else length + GAP
    most = max(1, (WORKSPACE // max(1, kw * c * pitch * x.itemsize) - kh) // sh + 1)
    row, blocks = kw * c * pitch, (length // block, block)

    def rows_of(first: int, last: int, out: Array) -> None:
        step = last - first if direct else most
        for start in range(first, last, step):
            stop = min(last, start + step)
            top = start * sh - ph
            cols = x[start:stop] if direct else columns(x, top, (stop - 1) * sh - ph + kh, kw, sw, pw, ow)
            np.matmul(
                weight_rows,
                matrices(cols, 0, (stop - start, sh * row), blocks, (k, pitch), (block, 1)),
                out=matrices(
                    out, (start - first) * f * length, (stop - start, f * length), blocks, (f, length), (block, 1)
                ),
            )

    return rows_of


def block_length(length: int, others: int) -> int:
    """The longest part of a row, at least 128, that divides it and keeps a product with `others` under SMALL."""
    block = length
    while block % 2 == 0 and block > 128 and block * others > SMALL:
        block //= 2
    return block if block * others <= SMALL else length


def by_shifts(x: Array, weight: Array, padding: Pair, size: Pair) -> Rows:
    """The same at stride 1, as a sum over the kernel's columns of one product, shifted."""
    (h, c, w, n), (f, _, kh, kw), (oh, ow), (ph, pw) = x.shape, weight.shape, size, padding
    if ph > 1:  # else there are few edge rows, and each is worked out by itself
        inner, x = x, empty((h + 2 * ph, c, w, n), x.dtype)
        x[:ph], x[ph : ph + h], x[ph + h :] = 0, inner, 0
        ph, h = 0, h + 2 * ph
    length, row, margin = ow * n, c * w * n, pw * n
    pitch = w * n + margin  # the zeros after one row of parts are those before the next
    weight_rows = np.ascontiguousarray(weight.transpose(3, 0, 2, 1))  # (KW, F, KH, C)
    step = max(1, WORKSPACE // 4 // max(1, kw * f * pitch * x.itemsize))

    def rows_of(first: int, last: int, out: Array) -> None:
        memory = empty((margin + min(step, last - first) * kw * f * pitch,), x.dtype)
        memory[:margin] = 0
        parts = memory[margin:].reshape(-1, kw * f, pitch)
        parts[:, :, w * n :] = 0
        for group_first, group_last, top, bottom in row_groups(oh, kh, 1, ph, h):
            group_first, group_last = max(first, group_first), min(last, group_last)
            if bottom <= top:
                out[max(0, group_first - first) : max(0, group_last - first)] = 0
                continue
            taps = weight_rows[:, :, top:bottom].reshape(kw * f, -1)
            block = block_length(w * n, taps.size)
            blocks = (w * n // block, block)
            for start in range(group_first, group_last, step):
                count = min(step, group_last - start)
                np.matmul(
                    taps,
                    matrices(x, (start + top - ph) * row, (count, row), blocks, (taps.shape[1], w * n), (block, 1)),
                    out=matrices(memory, margin, (count, kw * f * pitch), blocks, (kw * f, pitch), (block, 1)),
                )
                shifted = matrices(memory, 0, (count, kw * f * pitch), (kw, f * pitch + n), (f, pitch), (length, 1))
                to = out[start - first : start - first + count].reshape(count, f, length)
                np.add.reduce(shifted, axis=1, out=to)

    return rows_of


def correlation(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Rows:
    """weight (F, C, KH, KW) over x (H, C, W, N), by the faster way."""
    (f, c, _, kw) = weight.shape
    many = weight.size * 128 > SMALL  # weights: the products are large ones, whatever is done
    if stride == (1, 1) and kw > 1 and (f <= WIDENING * c if many else c > 2 * f):
        return by_shifts(x, weight, padding, size)
    return by_columns(x, weight, stride, padding, size)


def correlate(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Array:
    """All rows of it: (OH, F, OW, N), where `size` is (OH, OW)."""
    out = empty((size[0], len(weight), size[1], x.shape[3]), x.dtype)
    rows_of = correlation(x, weight, stride, padding, size)
    with_blas_for(
        weight.size * size[1] * x.shape[3],
        in_parts, lambda first, last: rows_of(first, last, out[first:last]), size[0], product_us(out, weight),
    )  # fmt: skip
    return out


def product_us(out: Array, weight: Array) -> float:
    """About how many microseconds a core takes for `out`, or for the gradient of the filters from it."""
    return out.size * (weight.size // max(1, len(weight))) / MULTIPLICATIONS_A_US


def images_gradient(dy: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Array:
    """dx (H, C, W, N) from dy (OH, F, OW, N), where `size` is (H, W)."""
    (f, c, kh, kw), (oh, _, ow, n) = weight.shape, dy.shape
    (sh, sw), (ph, pw) = stride, padding
    if stride == (1, 1) and ph < kh and pw < kw:
        turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return correlate(dy, turned, stride, (kh - 1 - ph, kw - 1 - pw), size)
    dx = empty((size[0], c, size[1], n), dy.dtype)
    dx[...] = 0
    taps, length = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)), ow * n
    k = kh * kw * c
    step = max(1, WORKSPACE // max(1, k * length * dy.itemsize))
    for first in range(0, oh, step):
        part = dy[first : first + step]
        parts = multiply(matrices(taps, 0, (len(part), 0), (k, f), (f, 1)), part.reshape(len(part), f, length))
        parts = parts.reshape(len(part), kh, kw, c, ow, n)
        for u in range(kh):
            top, bottom = (min(max(row, first), first + len(part)) for row in column_range(u, oh, sh, ph, size[0]))
            for v in range(kw):
                a, b = column_range(v, ow, sw, pw, size[1])
                if bottom > top and b > a:
                    start, left = top * sh + u - ph, a * sw + v - pw
                    to = dx[
                        start : start + (bottom - top - 1) * sh + 1 : sh, :, left : left + (b - a - 1) * sw + 1 : sw
                    ]
                    to += parts[top - first : bottom - first, u, v, :, a:b]
    return dx


def multiply(left: Array, right: Array) -> Array:
    """left (rows, M, K) @ right (rows, K, N). A product is one thread's; a single large one is made as four."""
    (count, m, k), n = left.shape, right.shape[2]
    out = empty((count, m, n), left.dtype)
    a, b, y = left, right, out
    if count == 1 and m >= LARGE and m % 4 == 0:
        a, b, y = left.reshape(4, m // 4, k), np.broadcast_to(right, (4, k, n)), out.reshape(4, m // 4, n)
    us = out.size * k / MULTIPLICATIONS_A_US
    with_blas_for(
        y[0].size * k,
        in_parts, lambda first, last: np.matmul(a[first:last], b[first:last], out=y[first:last]), len(y), us,
    )  # fmt: skip
    return out


def filters_gradient(x: Array, dy: Array, stride: Pair, padding: Pair, shape: tuple[int, ...]) -> Array:
    """dweight, of `shape` (F, C, KH, KW), from x (H, C, W, N) and dy (OH, F, OW, N)."""
    (f, c, kh, kw), (h, _, w, n), (oh, _, ow, _) = shape, x.shape, dy.shape
    (sh, sw), (ph, pw), length = stride, padding, ow * n
    us = dy.size * c * kh * kw / MULTIPLICATIONS_A_US
    few = kh * c < FEW
    if stride == (1, 1) and padding == (0, 0) and not few:  # all kernel columns at once
        run = (length, 1)
        seen = matrices(x, 0, (oh, c * w * n), (kw, n), (kh * c, w * n), run)
        grad = matrices(dy, 0, (oh, f * length), (kw, 0), run, (f, length))
        products = empty((oh, kw, kh * c, f), x.dtype)
        with_blas_for(
            kh * c * f * length,
            in_parts, lambda a, b: np.matmul(seen[a:b], grad[a:b], out=products[a:b]), oh, us,
        )  # fmt: skip
        return np.add.reduce(products, axis=0).reshape(kw, kh, c, f).transpose(3, 2, 1, 0)
    if stride == (1, 1) and not few:
        pieces = [
            (v, start, min(last, start + ROWS), top, bottom)
            for first, last, top, bottom in row_groups(oh, kh, 1, ph, h)
            for start in range(first, last if bottom > top else first, ROWS)
            for v in range(kw)
            if (seen_by := column_range(v, ow, 1, pw, w))[1] > seen_by[0]
        ]

        def piece(i: int) -> Any:
            v, first, last, top, bottom = pieces[i]
            a, b = column_range(v, ow, 1, pw, w)
            size, run, taps = last - first, ((b - a) * n, 1), (bottom - top) * c
            start = (first + top - ph) * c * w * n + (a + v - pw) * n
            seen = matrices(x, start, (size, c * w * n), (taps, w * n), run)
            grad = matrices(dy, first * f * length + a * n, (size, f * length), run, (f, length))
            return np.add.reduce(np.matmul(seen, grad), axis=0).reshape(bottom - top, c, f)

        total = np.zeros((kw, kh, c, f), x.dtype)
        sums = with_blas_for(kh * c * f * length, parallel, piece, len(pieces), threads_for(us))
        for (v, _, _, top, bottom), found in zip(pieces, sums, strict=True):
            total[v, top:bottom] += found
        return total.transpose(3, 2, 1, 0)
    total, row = np.zeros((kh, kw, c, f), x.dtype), kw * c * (length + GAP)
    two = 2 if kh * c < FEW // 4 and oh % 2 == 0 else 1  # rows of the output at a time, of which each sees kh rows of x
    height = kh + (two - 1) * sh
    step = max(1, (WORKSPACE // max(1, row * x.itemsize) - kh) // (two * sh)) * two
    for first in range(0, oh, step):
        last = min(oh, first + step)
        cols = columns(x, first * sh - ph, (last - 1) * sh - ph + kh, kw, sw, pw, ow)
        count = (last - first) // two
        seen = matrices(cols, 0, (count, two * sh * row), (height * kw * c, length + GAP), (length, 1))
        products = multiply(seen, dy[first:last].reshape(count, two * f, length).transpose(0, 2, 1))
        found = np.add.reduce(products, axis=0).reshape(height, kw, c, two, f)
        for i in range(two):
            total += found[i * sh : i * sh + kh, :, :, i]
    return total.transpose(3, 2, 0, 1)


def bias_gradient(dy: Array) -> Array:
    """dbias (F,) from dy (OH, F, OW, N). A product with ones sums a row faster than a sum does."""
    oh, f, ow, n = dy.shape
    grad, ones, sums = dy.reshape(oh, f, ow * n), np.ones(ow * n, dy.dtype), np.empty((oh, f), dy.dtype)
    with_blas_for(
        f * ow * n,
        in_parts, lambda a, b: np.matmul(grad[a:b], ones, out=sums[a:b]), oh, dy.size / SUMMED_A_US,
    )  # fmt: skip
    return np.add.reduce(sums, axis=0)


def of_one_image(x: Array, weight: Array, stride: Pair, padding: Pair, size: Pair) -> Array:
    """weight (F, C, KH, KW) over x (1, C, H, W), where `size` is (OH, OW): maps (F, OH, OW).

    One product with the columns of the whole image: its rows are too short to be products of their own, and nothing is
    gained by a batch of one innermost.
    """
    (_, c, h, w), (f, _, kh, kw), (oh, ow), (sh, sw), (ph, pw) = x.shape, weight.shape, size, stride, padding
    image = x[0]
    if ph or pw or not image.flags.c_contiguous:
        image = empty((c, h + 2 * ph, w + 2 * pw), x.dtype)
        image[...] = 0
        image[:, ph : ph + h, pw : pw + w] = x[0]
    (_, h, w), cols = image.shape, empty((c, kh, kw, oh, ow), x.dtype)
    np.copyto(cols, matrices(image, 0, (c, h * w), (kh, w), (kw, 1), (oh, sh * w), (ow, sw)))
    maps = empty((f, oh * ow), x.dtype)
    with_blas_for(weight.size * oh * ow, np.matmul, weight.reshape(f, -1), cols.reshape(-1, oh * ow), maps)
    return maps.reshape(f, oh, ow)


def maxima_of_one(maps: Array) -> Array:
    """The maxima (F, OH / 2, OW / 2) of 2x2 windows of maps (F, OH, OW)."""
    f, oh, ow = maps.shape
    columns, y = empty((f, oh // 2, ow), maps.dtype), empty((f, oh // 2, ow // 2), maps.dtype)
    np.maximum(maps[:, 0::2], maps[:, 1::2], out=columns)
    return np.maximum(columns[:, :, 0::2], columns[:, :, 1::2], out=y)


def applies(x: Array, weight: Array, bias: Any, *, dilation: Pair, groups: int, **geometry: Any) -> bool:
    """float32 and float64, which BLAS has; no groups, no dilation."""
    return groups == 1 and dilation == (1, 1) and x.dtype.char in "fd" and x.size > 0 and weight.size > 0


def applies_with_pool(x: Array, weight: Array, bias: Any, *, pool: dict[str, Any], **geometry: Any) -> bool:
    """Where the convolution does, and the pooling is 2x2 of maps of even size."""
    _, _, oh, ow = maps_of(x.shape, weight.shape, **geometry)
    return applies(x, weight, bias, **geometry) and pool == GEOMETRY and oh % 2 == ow % 2 == 0


class Conv2d:
    """Must equal `ops.Conv2d` (tinyconv/ops/conv.py), to rounding.

    Multiplies row by row, with the batch innermost. Saves x in that order, and the weights.
    """

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> Any:
        n, f, oh, ow = maps_of(x.shape, weight.shape, stride, padding, dilation)
        if n == 1:
            y = of_one_image(x, weight, stride, padding, (oh, ow))
            if bias is not None:
                y += bias.reshape(f, 1, 1)
            return y[None], (x, weight)
        x = rows(x)
        y = correlate(x, weight, stride, padding, (oh, ow))
        if bias is not None:
            y += bias.reshape(f, 1, 1)
        return images(y), (images(x), weight)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Array, needs: Any, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> Any:
        x, weight = saved
        x, dy, size = rows(x), rows(dy), x.shape[2:]
        return (
            images(images_gradient(dy, weight, stride, padding, size)) if needs[0] else None,
            filters_gradient(x, dy, stride, padding, weight.shape) if needs[1] else None,
            bias_gradient(dy) if needs[2] else None,
        )


class ConvTranspose2d:
    """Must equal `ops.ConvTranspose2d` (tinyconv/ops/windows.py), to rounding: the same sums, taken the other way."""

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Any, *, stride: Pair, padding: Pair, output_padding: Pair, **rest: Any
    ) -> Any:
        size = images_of(x.shape, weight.shape, stride, padding, output_padding, **rest)[2:]
        x = rows(x)
        y = images_gradient(x, weight, stride, padding, size)
        if bias is not None:
            y += bias.reshape(-1, 1, 1)
        return images(y), (images(x), weight)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Array, needs: Any, *, stride: Pair, padding: Pair, output_padding: Pair, **rest: Any
    ) -> Any:
        x, weight = saved
        x, dy, size = rows(x), rows(dy), x.shape[2:]
        return (
            images(correlate(dy, weight, stride, padding, size)) if needs[0] else None,
            filters_gradient(dy, x, stride, padding, weight.shape) if needs[1] else None,
            bias_gradient(dy) if needs[2] else None,
        )


class Conv2dRelu:
    """Must equal `ops.Conv2dRelu` (tinyconv/ops/fused.py), to rounding. The ReLU is written over the maps."""

    @staticmethod
    def forward(xp: Any, x: Array, weight: Array, bias: Any, **geometry: Any) -> Any:
        y, saved = Conv2d.forward(xp, x, weight, bias, **geometry)
        return relu_in_place(y), (*saved, y)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, **geometry: Any) -> Any:
        x, weight, y = saved
        return Conv2d.backward(xp, (x, weight), relu_backward(y, dy), needs, **geometry)


class Conv2dReluMaxPool2d:
    """Must equal `ops.Conv2dReluMaxPool2d` (tinyconv/ops/fused.py), to rounding.

    Rows of maps are pooled as soon as they are there, and not kept. The bias is added to the maxima: that is the same,
    for rounding never changes an order.
    """

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Any, *, pool: Any, stride: Pair, padding: Pair, **geometry: Any
    ) -> Any:
        n, f, oh, ow = maps_of(x.shape, weight.shape, stride, padding, **geometry)
        if n == 1:
            maps = of_one_image(x, weight, stride, padding, (oh, ow))
            y = maxima_of_one(maps)
            if bias is not None:
                y += bias.reshape(f, 1, 1)
            return np.maximum(y, 0, out=y)[None], (x, weight, y[None], maps[None])
        x = rows(x)
        y, is_right, is_low = pooled(oh // 2, f, ow // 2, n, x.dtype)
        rows_of = correlation(x, weight, stride, padding, (oh, ow))
        maps = empty((oh, f, ow, n), x.dtype)

        def part(first: int, last: int) -> None:
            rows_of(2 * first, 2 * last, maps[2 * first : 2 * last])
            maxima(maps[2 * first : 2 * last], y[first:last], is_right[first:last], is_low[first:last])
            if bias is not None:
                y[first:last] += bias.reshape(f, 1, 1)
            relu_in_place(y[first:last])

        us = 4 * product_us(y, weight) + 4 * y.size / POOLED_A_US
        with_blas_for(weight.size * ow * n, in_parts, part, oh // 2, us)
        return images(y), (images(x), weight, images(y), is_right, is_low)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, pool: Any, **geometry: Any) -> Any:
        x, weight, y, *places = saved
        if len(x) == 1:
            _, from_pool = ops.MaxPool2d.forward(xp, *places, **pool)
            (dmaps,) = ops.MaxPool2d.backward(xp, from_pool, relu_backward(y, dy), (True,), **pool)
            return Conv2d.backward(xp, (x, weight), dmaps, needs, **geometry)
        is_right, is_low = places
        y, dy, (h, f, w, n) = rows(y), rows(dy), rows(y).shape
        dmaps, sums, ones = (
            empty((2 * h, f, 2 * w, n), dy.dtype),
            empty((h, f), dy.dtype),
            np.ones(w * n, dy.dtype),
        )

        def part(first: int, last: int) -> None:
            grad = relu_backward(y[first:last], dy[first:last])
            np.matmul(grad.reshape(last - first, f, w * n), ones, out=sums[first:last])  # what is spread adds up to it
            spread(grad, is_right[first:last], is_low[first:last], dmaps[2 * first : 2 * last])

        with_blas_for(f * w * n, in_parts, part, h, dmaps.size / POOLED_A_US)
        dx, dweight, _ = Conv2d.backward(xp, (x, weight), images(dmaps), (*needs[:2], False), **geometry)
        return dx, dweight, np.add.reduce(sums, axis=0) if needs[2] else None
