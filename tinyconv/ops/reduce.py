"""Reductions. `axes` is a tuple of distinct axes counted from the front; `keepdims` leaves them as axes of size 1."""

from tinyconv.shapes import product


def spread(xp, reduced, shape, axes, keepdims):
    """Put the reduced axes back, with size 1, so that the array broadcasts against one of `shape`."""
    if keepdims:
        return reduced
    return reduced.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))


def total(xp, x, axes, keepdims):
    """sum x. NumPy would add float16 in float16, where 2048 + 1 = 2048."""
    if x.dtype != xp.float16:
        return xp.sum(x, axis=axes, keepdims=keepdims)
    return xp.sum(x, axis=axes, keepdims=keepdims, dtype=xp.float32).astype(x.dtype)


def average(xp, x, axes, keepdims):
    """sum x / n; NaN where n = 0."""
    if product(x.shape[axis] for axis in axes):
        return xp.mean(x, axis=axes, keepdims=keepdims)
    return xp.sum(x, axis=axes, keepdims=keepdims) * float("nan")  # xp.mean gives NaN too, and warns


class Sum:
    """y = sum x;  dx = dy, repeated."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        return total(xp, x, axes, keepdims), (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims):
        (shape,) = saved
        return (xp.broadcast_to(spread(xp, dy, shape, axes, keepdims), shape),)


class Mean:
    """y = sum x / n;  dx = dy / n, repeated."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        return average(xp, x, axes, keepdims), (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims):
        (shape,) = saved
        n = product(shape[axis] for axis in axes)
        return (xp.broadcast_to(spread(xp, dy / max(n, 1), shape, axes, keepdims), shape),)


class Amax:
    """y = max x;  dx = dy, shared evenly among the elements that equal the maximum (or are NaN, which beats all)."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        y = xp.max(x, axis=axes, keepdims=keepdims)
        return y, (x, y)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims):
        x, y = saved
        chosen = xp.equal(x, spread(xp, y, x.shape, axes, keepdims)) | xp.not_equal(x, x)
        share = dy / xp.sum(chosen, axis=axes, keepdims=keepdims).astype(dy.dtype)
        return (xp.where(chosen, spread(xp, share, x.shape, axes, keepdims), 0),)


class Amin:
    """y = min x;  dx = dy, shared evenly among the elements that equal the minimum (or are NaN, which beats all)."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        y = xp.min(x, axis=axes, keepdims=keepdims)
        return y, (x, y)

    backward = Amax.backward


class Pick:
    """y = x at `index` along one axis, where `index` has size 1 there;  dx = dy at that place, 0 elsewhere."""

    @staticmethod
    def forward(xp, x, index, *, axis, keepdims):
        y = xp.take_along_axis(x, index, axis=axis)
        return y if keepdims else y.squeeze(axis), (x.shape, index)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis, keepdims):
        shape, index = saved
        return xp.where(one_hot(xp, index, shape, axis), spread(xp, dy, shape, (axis,), keepdims), 0), None


def one_hot(xp, index, shape, axis):
    """Whether each place along `axis` of an array of `shape` is the one that `index`, of size 1 there, names."""
    places = xp.arange(shape[axis]).reshape(tuple(-1 if i == axis else 1 for i in range(len(shape))))
    return xp.equal(places, index)


class Var:
    """y = sum (x - mean)^2 / (n - correction);  dx = dy 2 (x - mean) / (n - correction)."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims, correction):
        n = product(x.shape[axis] for axis in axes)
        centred = x - average(xp, x, axes, True)
        free = max(n - correction, 0)
        scale = 1 / free if free else float("inf")  # 0 * inf = NaN: the variance of one value is not known
        return average(xp, centred * centred, axes, keepdims) * (n * scale), (centred, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims, correction):
        centred, scale = saved
        return (spread(xp, dy, centred.shape, axes, keepdims) * centred * (2 * scale),)


class Std:
    """y = sqrt(var);  dx = dy (x - mean) / (y (n - correction)), and 0 where y is 0, at the kink."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims, correction):
        var, (centred, scale) = Var.forward(xp, x, axes=axes, keepdims=keepdims, correction=correction)
        y = xp.sqrt(var)
        return y, (centred, scale, y)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims, correction):
        centred, scale, y = saved
        slope = xp.where(xp.equal(y, 0), 0, dy * (scale / y))
        return (spread(xp, slope, centred.shape, axes, keepdims) * centred,)


class Norm:
    """y = sqrt(sum x^2);  dx = dy x / y, and 0 where y is 0, at the kink."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        y = xp.sqrt(xp.sum(x * x, axis=axes, keepdims=keepdims))
        return y, (x, y)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims):
        x, y = saved
        dy, y = (spread(xp, t, x.shape, axes, keepdims) for t in (dy, y))
        flat = xp.equal(y, 0)
        return (xp.where(flat, 0, dy * x / xp.where(flat, 1, y)),)


class PNorm:
    """y = (sum |x|^p)^(1/p);  dx = dy sign(x) (|x| / y)^(p-1), and 0 where x is 0, at the kink."""

    @staticmethod
    def forward(xp, x, *, p, axes, keepdims):
        y = xp.sum(xp.abs(x) ** p, axis=axes, keepdims=keepdims) ** (1 / p)
        return y, (x, y)

    @staticmethod
    def backward(xp, saved, dy, needs, *, p, axes, keepdims):
        x, y = saved
        dy, y = (spread(xp, t, x.shape, axes, keepdims) for t in (dy, y))
        flat = xp.equal(x, 0)
        return (xp.where(flat, 0, dy * xp.sign(x) * xp.where(flat, 1, xp.abs(x) / y) ** (p - 1)),)


class Prod:
    """y = prod x along the last axis;  dx_i = dy prod_(j != i) x_j.

    The product of the others is that of all before i times that of all after i, which is right where x holds zeros;
    y / x_i would not be.
    """

    @staticmethod
    def forward(xp, x):
        return xp.prod(x, axis=-1), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        one = xp.ones_like(x[..., :1])
        before = xp.cumprod(xp.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
        after = xp.flip(xp.cumprod(xp.concatenate([one, xp.flip(x, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
        return (dy[..., None] * before * after,)


class LogSumExp:
    """y = ln sum e^x;  dx = dy e^(x - y). The maximum is taken off first; all -inf gives -inf, as does n = 0."""

    @staticmethod
    def forward(xp, x, *, axes, keepdims):
        top = 0
        if all(x.shape[axis] for axis in axes):
            top = xp.max(x, axis=axes, keepdims=True)
            top = xp.where(xp.isfinite(top), top, 0)  # inf - inf would be NaN
        y = xp.log(xp.sum(xp.exp(x - top), axis=axes, keepdims=True)) + top
        y = y if keepdims else y.squeeze(axes)
        return y, (x, y)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes, keepdims):
        x, y = saved
        dy, y = (spread(xp, t, x.shape, axes, keepdims) for t in (dy, y))
        return (dy * xp.exp(x - y),)
