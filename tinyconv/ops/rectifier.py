"""Relatives of ReLU: elementwise functions that are flat, linear or exponential on either side of a kink."""

from tinyconv.ops.elementwise import Clamp, unbroadcast


class Hardtanh(Clamp):
    """y = min(max(x, low), high);  dx = dy where low < x < high: 0 at both kinks, where Clamp passes dy on."""

    @staticmethod
    def backward(xp, saved, dy, needs, *, low, high):
        (x,) = saved
        return (xp.where(xp.less_equal(x, low) | xp.greater_equal(x, high), 0, dy),)


class Hardswish:
    """y = x r(x) with r(x) = min(max(x + 3, 0), 6) / 6;  dx = dy (r + x / 6) where -3 < x < 3, dy r elsewhere.

    Howard et al., arXiv:1905.02244.
    """

    @staticmethod
    def forward(xp, x):
        ramp = xp.minimum(xp.maximum(x + 3, 0), 6) / 6
        return x * ramp, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        slope = xp.where(xp.greater_equal(x, 3), 1, x / 3 + 0.5)
        return (dy * xp.where(xp.less_equal(x, -3), 0, slope),)


class Prelu:
    """y = x where x > 0 else slope x, the slope learned (He et al., arXiv:1502.01852);  dslope = x dy there, else 0."""

    @staticmethod
    def forward(xp, x, slope):
        return xp.where(xp.greater(x, 0), x, slope * x), (x, slope)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, slope = saved
        right = xp.greater(x, 0)
        return (
            xp.where(right, dy, slope * dy) if needs[0] else None,
            unbroadcast(xp, xp.where(right, 0, x * dy), slope.shape) if needs[1] else None,
        )


class Elu:
    """y = scale x where x > 0 else scale alpha (e^(rate x) - 1);  dx = scale dy, or scale alpha rate e^(rate x) dy.

    ELU (Clevert et al., arXiv:1511.07289), SELU (Klambauer et al., arXiv:1706.02515), CELU (Barron, arXiv:1704.07483).
    """

    @staticmethod
    def forward(xp, x, *, alpha, scale, rate):
        left = xp.where(xp.less_equal(x, 0), x, 0)  # on the right e^x may overflow
        return xp.where(xp.less_equal(x, 0), scale * alpha * xp.expm1(rate * left), scale * x), (x, left)

    @staticmethod
    def backward(xp, saved, dy, needs, *, alpha, scale, rate):
        x, left = saved
        return (dy * xp.where(xp.less_equal(x, 0), scale * alpha * rate * xp.exp(rate * left), scale),)


class Softplus:
    """y = ln(1 + e^(beta x)) / beta, and x itself where beta x > threshold;  dx = dy / (1 + e^(-beta x)), and dy there.

    Dugas et al., 2001. The logarithm is logaddexp(beta x, 0), which does not overflow.
    """

    @staticmethod
    def forward(xp, x, *, beta, threshold):
        z = beta * x
        return xp.where(xp.greater(z, threshold), x, xp.logaddexp(z, xp.zeros_like(z)) / beta), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, beta, threshold):
        z = beta * saved[0]
        return (xp.where(xp.greater(z, threshold), dy, dy / (1 + xp.exp(-z))),)
