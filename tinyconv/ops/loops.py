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
from tinyconv.ops.pool import output_size
from tinyconv.shapes import conv_output_size


def window(i, j, kernel, stride, padding, dilation, size):
    """The positions of window (i, j) that lie inside the image: u, v in the kernel with row, column in the image."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), (h, w) = kernel, stride, padding, dilation, size
    for u in range(kh):
        for v in range(kw):
            row, column = i * sh + u * dh - ph, j * sw + v * dw - pw
            if 0 <= row < h and 0 <= column < w:
                yield u, v, row, column


class Conv2d:
    """y[n,f,i,j] = bias[f] + sum_cuv weight[f,c,u,v] x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW]."""

    name = "conv2d"
    check = Im2colConv2d.check

    @staticmethod
    def forward(xp, x, weight, bias, *, stride, padding, dilation, groups):
        (n_all, _, h, w), (f_all, c_each, kh, kw) = x.shape, weight.shape
        oh = conv_output_size(h, kh, stride[0], padding[0], dilation[0])
        ow = conv_output_size(w, kw, stride[1], padding[1], dilation[1])
        y = xp.zeros((n_all, f_all, oh, ow), x.dtype)
        for n, f, i, j in product(range(n_all), range(f_all), range(oh), range(ow)):
            first = f // (f_all // groups) * c_each  # the first channel of the group of filter f
            if bias is not None:
                y[n, f, i, j] = bias[f]
            for u, v, row, column in window(i, j, (kh, kw), stride, padding, dilation, (h, w)):
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
    """y[n,c,i,j] = max_uv x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW], the first of equals; NaN beats all."""

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
    """y[n,o] = bias[o] + sum_i weight[o,i] x[n,i]."""

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
        dx, dweight, dbias = (
            xp.zeros(rows.shape, x.dtype),
            xp.zeros(weight.shape, x.dtype),
            xp.zeros(len(weight), x.dtype),
        )
        for n, o in product(*map(range, dy_rows.shape)):
            dbias[o] += dy_rows[n, o]
            for i in range(x.shape[-1]):
                dweight[o, i] += rows[n, i] * dy_rows[n, o]
                dx[n, i] += weight[o, i] * dy_rows[n, o]
        grads = dx.reshape(x.shape), dweight, dbias
        return tuple(grad if needed else None for grad, needed in zip(grads, needs, strict=True))
