"""Activations: elementwise functions of one input, and softmax, which couples the elements along one axis."""

from math import pi, sqrt

from tinyconv.ops.special import erf


class Relu:
    """y = max(x, 0);  dx = dy where y > 0, and 0 at the kink. NaN passes through, both ways."""

    @staticmethod
    def forward(xp, x):
        y = xp.maximum(x, 0)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (y,) = saved
        return (xp.where(xp.less_equal(y, 0), 0, dy),)


class LeakyRelu:
    """y = x where x > 0 else slope x;  dx = dy where x > 0 else slope dy (Maas et al., 2013)."""

    @staticmethod
    def forward(xp, x, *, slope):
        return xp.where(xp.greater(x, 0), x, slope * x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, slope):
        (x,) = saved
        return (xp.where(xp.greater(x, 0), dy, slope * dy),)


class Sigmoid:
    """y = 1 / (1 + e^-x);  dx = dy y (1 - y). Where e^-x overflows, y is 0 as it should be."""

    @staticmethod
    def forward(xp, x):
        y = 1 / (1 + xp.exp(-x))
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (y,) = saved
        return (dy * y * (1 - y),)


class Tanh:
    """y = tanh x;  dx = dy (1 - y^2)."""

    @staticmethod
    def forward(xp, x):
        y = xp.tanh(x)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (y,) = saved
        return (dy * (1 - y * y),)


class Silu:
    """y = x s(x) with s the logistic sigmoid;  dx = dy s (1 + x (1 - s)) (Elfwing et al., arXiv:1702.03118)."""

    @staticmethod
    def forward(xp, x):
        s = 1 / (1 + xp.exp(-x))
        return x * s, (x, s)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, s = saved
        return (dy * s * (1 + x * (1 - s)),)


class Gelu:
    """y = x P(x), P the normal distribution function (1 + erf(x / sqrt 2)) / 2, p its density;  dx = dy (P + x p(x)).

    Hendrycks & Gimpel, arXiv:1606.08415.
    """

    @staticmethod
    def forward(xp, x):
        return x * _normal_cdf(xp, x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        density = xp.exp(x * x * -0.5) * (1 / sqrt(2 * pi))
        return (dy * (_normal_cdf(xp, x) + x * density),)


def _normal_cdf(xp, x):
    return (1 + erf(xp, x * sqrt(0.5))) * 0.5


class GeluTanh:
    """y = x (1 + t) / 2 with t = tanh(k (x + c x^3)), k = sqrt(2 / pi), c = 0.044715: the cheaper GELU.

    dx = dy ((1 + t) / 2 + x / 2 (1 - t^2) k (1 + 3 c x^2)). Hendrycks & Gimpel, arXiv:1606.08415, section 2.
    """

    k, c = sqrt(2 / pi), 0.044715

    @classmethod
    def forward(cls, xp, x):
        t = xp.tanh(cls.k * (x + cls.c * x * x * x))
        return x * (1 + t) * 0.5, (x, t)

    @classmethod
    def backward(cls, xp, saved, dy, needs):
        x, t = saved
        dt = (1 - t * t) * cls.k * (1 + 3 * cls.c * x * x)
        return (dy * 0.5 * (1 + t + x * dt),)


class Dropout:
    """y = x keep / (1 - p), where `keep` is true with probability 1 - p;  dx = dy keep / (1 - p).

    The division keeps the mean of y that of x (Srivastava et al., 2014). p = 1 drops everything.
    """

    @staticmethod
    def forward(xp, x, keep, *, p):
        mask = keep.astype(x.dtype) * (1 / (1 - p) if p < 1 else 0)
        return x * mask, (mask,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, p):
        (mask,) = saved
        return dy * mask, None


class Softmax:
    """y_i = e^x_i / sum_j e^x_j along `axis`;  dx = y (dy - sum_j dy_j y_j). The maximum is taken off first."""

    @staticmethod
    def forward(xp, x, *, axis):
        e = xp.exp(x - peak(xp, x, axis))
        y = e / xp.sum(e, axis=axis, keepdims=True)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis):
        (y,) = saved
        return (y * (dy - xp.sum(dy * y, axis=axis, keepdims=True)),)


class LogSoftmax:
    """y_i = x_i - ln sum_j e^x_j along `axis`;  dx = dy - e^y sum_j dy_j."""

    @staticmethod
    def forward(xp, x, *, axis):
        y = log_softmax(xp, x, axis)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis):
        (y,) = saved
        return (dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True),)


def log_softmax(xp, x, axis):
    shifted = x - peak(xp, x, axis)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def peak(xp, x, axis):
    """max(x) along `axis`, kept as an axis: what is taken off before `exp` so that nothing overflows."""
    return xp.max(x, axis=axis, keepdims=True) if x.size else x  # an empty x has no maximum
