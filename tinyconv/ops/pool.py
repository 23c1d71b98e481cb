"""Pooling. Position (u, v) of all windows at once is one strided slice of the (padded) input, so pooling is KH * KW
operations on slices, and its backward adds to the same slices."""

from tinyconv.errors import DtypeError, ShapeError
from tinyconv.ops.conv import check_images, check_window
from tinyconv.shapes import adaptive_bounds, pool_output_size


def output_size(shape, kernel, stride, padding, dilation, ceil_mode):
    return tuple(
        pool_output_size(*sizes, ceil_mode) for sizes in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    )


def rim(size, out, kernel, stride, padding, dilation):
    """What to pad one axis by, (before, after), so that `out` windows fit; ceil_mode may need more than `padding`."""
    return padding, max(padding, (out - 1) * stride + dilation * (kernel - 1) + 1 - size - padding)


def window_slices(kernel, stride, dilation, out):
    """For each window position, row by row, the slice of the padded input that holds it for every window."""
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = kernel, stride, dilation, out
    for u in range(kh):
        for v in range(kw):
            yield (
                ...,
                slice(u * dh, u * dh + sh * (oh - 1) + 1, sh),
                slice(v * dw, v * dw + sw * (ow - 1) + 1, sw),
            )


def check_pool(name, x, kernel, stride, padding, ceil_mode, dilation=None):
    check_images(name, x, axes=len(kernel))
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ShapeError(f"{name}: padding {padding} is more than half of kernel {kernel}: some windows would be empty")
    if (
        not ceil_mode
        or min(output_size(x.shape, kernel, stride, padding, dilation or (1,) * len(kernel), ceil_mode)) < 1
    ):
        check_window(name, x.shape[2:], kernel, padding, dilation)  # else the only window may hang over the end
    check_floating(name, x)


def check_floating(name, x):
    if x.dtype.kind != "f":
        raise DtypeError(f"{name}: expected a floating-point input, got {x.dtype}: x.float()?")


class MaxPool2d:
    """y[n,c,i,j] = max_uv x[n, c, i*SH + u*DH - PH, j*SW + v*DW - PW];  dx = dy at the place of the maximum.

    The first of equal elements counts, row by row; NaN is larger than everything. Beside y comes `place`, the number
    u * KW + v of the maximum in its window: backward needs nothing else.
    """

    name = "max_pool2d"

    @staticmethod
    def check(x, *, kernel, stride, padding, dilation, ceil_mode):
        check_pool("max_pool2d", x, kernel, stride, padding, ceil_mode, dilation)
        out = output_size(x.shape, kernel, stride, padding, dilation, ceil_mode)
        for n, o, k, s, p, d in zip(x.shape[2:], out, kernel, stride, padding, dilation, strict=True):
            # A dilated window may step over all of a small image: then the step into it leads out of it again.
            if p and any(not any(0 <= i * s + u * d - p < n for u in range(k)) for i in range(o)):
                raise ShapeError(
                    f"max_pool2d: dilation {dilation} and padding {padding} make a window that touches no element of "
                    f"the {x.shape[2]}x{x.shape[3]} input; a maximum of nothing does not exist"
                )

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, dilation, ceil_mode):
        size = x.shape
        out = output_size(size, kernel, stride, padding, dilation, ceil_mode)
        rims = [rim(*axis) for axis in zip(size[2:], out, kernel, stride, padding, dilation, strict=True)]
        if any(any(widths) for widths in rims):
            x = xp.pad(x, ((0, 0), (0, 0), *rims), constant_values=-xp.inf)
        first, *rest = window_slices(kernel, stride, dilation, out)
        y = x[first]
        place = xp.zeros(y.shape, xp.int32) + first_inside(xp, kernel, stride, padding, dilation, out)
        for number, window in enumerate(rest, start=1):
            candidate = x[window]
            larger = xp.greater(candidate, y) | xp.not_equal(candidate, candidate)  # or NaN
            place = xp.where(larger, number, place)
            y = xp.maximum(y, candidate)
        return (y, place), (place, size, rims)

    @staticmethod
    def backward(xp, saved, dy, needs, *, kernel, stride, padding, dilation, ceil_mode):
        place, (n, c, h, w), ((top, bottom), (left, right)) = saved
        dx = xp.zeros((n, c, top + h + bottom, left + w + right), dy.dtype)
        for number, window in enumerate(window_slices(kernel, stride, dilation, dy.shape[2:])):
            dx[window] += xp.where(xp.equal(place, number), dy, 0)
        return (dx[:, :, top : top + h, left : left + w],)


def first_inside(xp, kernel, stride, padding, dilation, out):
    """The number of each window's first position that is not padding: the place of its maximum if all of it is -inf."""
    if not any(padding):
        return 0
    u, v = (
        xp.maximum(-((xp.arange(o, dtype=xp.int32) * s - p) // d), 0)  # ceil((p - i s) / d), or 0
        for o, s, p, d in zip(out, stride, padding, dilation, strict=True)
    )
    return u[:, None] * kernel[1] + v


class AvgPool2d:
    """y[n,c,i,j] = sum_uv x[n, c, i*SH + u - PH, j*SW + v - PW] / D[i,j];  dx = dy / D, to all of the window.

    D is KH * KW; or, where a window hangs over the edge, the part of it inside the padded input (or, without
    `count_include_pad`, inside the input itself); or the `divisor` given.
    """

    @staticmethod
    def check(x, *, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
        check_pool("avg_pool2d", x, kernel, stride, padding, ceil_mode)

    @staticmethod
    def forward(xp, x, *, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
        size = x.shape
        out = output_size(size, kernel, stride, padding, (1, 1), ceil_mode)
        rims = [rim(*axis) for axis in zip(size[2:], out, kernel, stride, padding, (1, 1), strict=True)]
        if any(any(widths) for widths in rims):
            x = xp.pad(x, ((0, 0), (0, 0), *rims))
        if divisor is None and not any(any(widths) for widths in rims):
            divisor = kernel[0] * kernel[1]
        elif divisor is None:
            rows, columns = (
                counted(xp, xp.arange(o) * s - p, k, n, p if count_include_pad else 0)
                for o, k, s, p, n in zip(out, kernel, stride, padding, size[2:], strict=True)
            )
            divisor = (rows[:, None] * columns).astype(x.dtype)
        y = sum(x[window] for window in window_slices(kernel, stride, (1, 1), out)) / divisor
        return y, (divisor, size, rims)

    @staticmethod
    def backward(xp, saved, dy, needs, *, kernel, stride, padding, ceil_mode, count_include_pad, divisor):
        divisor, (n, c, h, w), ((top, bottom), (left, right)) = saved
        share = dy / divisor
        dx = xp.zeros((n, c, top + h + bottom, left + w + right), dy.dtype)
        for window in window_slices(kernel, stride, (1, 1), dy.shape[2:]):
            dx[window] += share
        return (dx[:, :, top : top + h, left : left + w],)


def counted(xp, start, kernel, size, padding):
    """How many elements windows from `start` cover on one axis, counting `padding` at both ends."""
    return xp.minimum(start + kernel, size + padding) - xp.maximum(start, -padding)


class AdaptiveAvgPool2d:
    """y[n,c,i,j] = the mean over the i-th of OH intervals of the height and the j-th of OW of the width;

    dx = dy / size of the cell, to all of the cell. Cells may overlap.
    """

    @staticmethod
    def check(x, *, out):
        check_adaptive("adaptive_avg_pool2d", x)

    @staticmethod
    def forward(xp, x, *, out):
        rows, columns = adaptive_bounds(x.shape[2], out[0]), adaptive_bounds(x.shape[3], out[1])
        means = xp.stack([xp.mean(x[:, :, top:bottom], axis=2) for top, bottom in rows], axis=2)  # (N, C, OH, W)
        y = xp.stack([xp.mean(means[..., left:right], axis=3) for left, right in columns], axis=3)
        return y, (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, out):
        (shape,) = saved
        dx = xp.zeros(shape, dy.dtype)
        for i, (top, bottom) in enumerate(adaptive_bounds(shape[2], out[0])):
            for j, (left, right) in enumerate(adaptive_bounds(shape[3], out[1])):
                share = dy[:, :, i : i + 1, j : j + 1] / ((bottom - top) * (right - left))
                dx[:, :, top:bottom, left:right] += share
        return (dx,)


def check_adaptive(name, x, axes=2):
    check_images(name, x, axes=axes)
    check_floating(name, x)
    if 0 in x.shape[2:]:
        raise ShapeError(f"{name}: {x.shape} has cells with nothing in them")


class AdaptiveMaxPool2d:
    """y[n,c,i,j] = the maximum over the i-th of OH intervals of the height and the j-th of OW of the width;

    dx = dy at its place, the first one where several are equal (or NaN). Beside y come the places, numbered h * W + w.
    """

    @staticmethod
    def check(x, *, out):
        check_adaptive("adaptive_max_pool2d", x)

    @staticmethod
    def forward(xp, x, *, out):
        n, c, h, w = x.shape
        values, within, places = [], [], []  # the place of each maximum in its cell, and in the image
        for top, bottom in adaptive_bounds(h, out[0]):
            for left, right in adaptive_bounds(w, out[1]):
                cell = x[:, :, top:bottom, left:right].reshape(n, c, (bottom - top) * (right - left))
                place = xp.argmax(cell, axis=2)
                values.append(xp.take_along_axis(cell, place[..., None], axis=2)[..., 0])
                within.append(place)
                places.append((top + place // (right - left)) * w + left + place % (right - left))
        y, within, places = (xp.stack(cells, axis=2).reshape(n, c, *out) for cells in (values, within, places))
        return (y, places), (within, x.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, out):
        within, shape = saved
        dx = xp.zeros(shape, dy.dtype)
        for i, (top, bottom) in enumerate(adaptive_bounds(shape[2], out[0])):
            for j, (left, right) in enumerate(adaptive_bounds(shape[3], out[1])):
                cell = (..., slice(i, i + 1), slice(j, j + 1))
                places = xp.arange((bottom - top) * (right - left)).reshape(bottom - top, right - left)
                dx[..., top:bottom, left:right] += xp.where(xp.equal(places, within[cell]), dy[cell], 0)
        return (dx,)
