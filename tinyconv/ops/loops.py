"""conv2d, max_pool2d and linear as naked loops: the specification.

Nothing here is clever. Each forward is its formula with a loop for every index, and each backward the same loops again:
where forward reads `y += w * x`, backward reads `dx += w * dy` and `dw += x * dy`. Everything fast is tested against
these, and timed against them. NumPy only: one element at a time is no way to use a GPU.
"""

from itertools import product
from math import prod

from tinyconv.ops import Conv2d as Im2colConv2d
from tinyconv.ops import Linear as MatmulLinear
from tinyconv.ops import MaxPool2d as SlicedMaxPool2d
from tinyconv.ops.conv import maps_of
from tinyconv.ops.pool import output_size


def window(i, j, kernel, stride, padding, dilation, size):
    """The positions of window (i, j) that lie inside the image: u, v in the kernel with row, column in the image."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), (h, w) = kernel, stride, padding, dilation, size
    for u in range(kh):
        for v in range(kw):
            row, column = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= row < h and 0 <= column < w:
                yield u, v, row, column


class Conv2d:
    """y[n,f,i,j] = bias[f] + sum_cuv weight[f,c,u,v] x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW].

    Must equal `ops.Conv2d` (tinyconv/ops/conv.py), to rounding.
    """

    name = "conv2d"
    check = Im2colConv2d.check

    @staticmethod
    def forward(xp, x, weight, bias, *, stride, padding, dilation, groups):
        f_all, c_each, kh, kw = weight.shape
        y = xp.zeros(maps_of(x.shape, weight.shape, stride, padding, dilation), x.dtype)
        for n, f, i, j in product(*map(range, y.shape)):
            first = f // (f_all // groups) * c_each  # the first channel of the group of filter f
            if bias is not None:
                y[n, f, i, j] = bias[f]
            for u, v, row, column in window(i, j, (kh, kw), stride, padding, dilation, x.shape[2:]):
                for c in range(c_each):
                    y[n, f, i, j] += weight[f, c, u, v] * x[n, first + c, row, column]
        return y, (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, stride, padding, dilation, groups):
        x, weight = saved
        f_all, c_each, kh, kw = weight.shape
        dx, dweight, dbias = xp.zeros(x.shape, x.dtype), xp.zeros(weight.shape, x.dtype), xp.zeros(f_all, x.dtype)
        for n, f, i, j in product(*map(range, dy.shape)):
            first = f // (f_all // groups) * c_each
            dbias[f] += dy[n, f, i, j]
            for u, v, row, column in window(i, j, (kh, kw), stride, padding, dilation, x.shape[2:]):
                for c in range(c_each):
                    dweight[f, c, u, v] += x[n, first + c, row, column] * dy[n, f, i, j]
                    dx[n, first + c, row, column] += weight[f, c, u, v] * dy[n, f, i, j]
        return tuple(grad if needed else None for grad, needed in zip((dx, dweight, dbias), needs, strict=True))


class MaxPool2d:
    """y[n,c,i,j] = max_uv x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW], the first of equals; NaN beats all.

    Must equal `ops.MaxPool2d` (tinyconv/ops/pool.py): maxima and places to the bit, sums of gradients to rounding.
    """

    name = "max_pool2d"
    check = SlicedMaxPool2d.check

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, dilation, ceil_mode):
        oh, ow = output_size(x.shape, kernel, stride, padding, dilation, ceil_mode)
        y = xp.full((*x.shape[:2], oh, ow), -xp.inf, x.dtype)
        place = xp.full(y.shape, -1, xp.int32)
        for n, c, i, j in product(*map(range, y.shape)):
            for u, v, row, column in window(i, j, kernel, stride, padding, dilation, x.shape[2:]):
                value = x[n, c, row, column]
                if place[n, c, i, j] < 0 or value > y[n, c, i, j] or value != value:  # the last: NaN
                    y[n, c, i, j] = value
                    place[n, c, i, j] = u * kernel[1] + v
        return (y, place), (place, x.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, kernel, stride, padding, dilation, ceil_mode):
        place, shape = saved
        dx = xp.zeros(shape, dy.dtype)
        for n, c, i, j in product(*map(range, dy.shape)):
            u, v = divmod(int(place[n, c, i, j]), kernel[1])
            row, column = i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1]
            dx[n, c, row, column] += dy[n, c, i, j]
        return (dx,)


class Linear:
    """y[n,o] = bias[o] + sum_i weight[o,i] x[n,i]. Must equal `ops.Linear` (tinyconv/ops/linear.py), to rounding."""

    name = "linear"
    check = MatmulLinear.check

    @staticmethod
    def forward(xp, x, weight, bias):
        rows = x.reshape(prod(x.shape[:-1]), x.shape[-1])
        y = xp.zeros((len(rows), len(weight)), x.dtype)
        for n, o in product(*map(range, y.shape)):
            if bias is not None:
                y[n, o] = bias[o]
            for i in range(x.shape[-1]):
                y[n, o] += weight[o, i] * rows[n, i]
        return y.reshape(*x.shape[:-1], len(weight)), (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, weight = saved
        n_rows = prod(x.shape[:-1])
        rows, dy_rows = x.reshape(n_rows, x.shape[-1]), dy.reshape(n_rows, len(weight))
        dx, dweight, dbias = (xp.zeros(shape, x.dtype) for shape in (rows.shape, weight.shape, len(weight)))
        for n, o in product(*map(range, dy_rows.shape)):
            dbias[o] += dy_rows[n, o]
            for i in range(x.shape[-1]):
                dweight[o, i] += rows[n, i] * dy_rows[n, o]
                dx[n, i] += weight[o, i] * dy_rows[n, o]
        grads = dx.reshape(x.shape), dweight, dbias
        return tuple(grad if needed else None for grad, needed in zip(grads, needs, strict=True))
