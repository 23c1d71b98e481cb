"""Elementary functions beyond exp and log. Each is one line forward and one backward, right under it."""

from tinyconv.ops.elementwise import shape_of, unbroadcast
from tinyconv.ops.special import erf


class Sin:
    """y = sin x;  dx = dy cos x."""

    forward = staticmethod(lambda xp, x: (xp.sin(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * xp.cos(saved[0]),))


class Cos:
    """y = cos x;  dx = -dy sin x."""

    forward = staticmethod(lambda xp, x: (xp.cos(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (-dy * xp.sin(saved[0]),))


class Tan:
    """y = tan x;  dx = dy (1 + y^2)."""

    forward = staticmethod(lambda xp, x: (y := xp.tan(x), (y,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * (1 + saved[0] * saved[0]),))


class Asin:
    """y = arcsin x;  dx = dy / sqrt(1 - x^2)."""

    forward = staticmethod(lambda xp, x: (xp.arcsin(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy / xp.sqrt(1 - saved[0] * saved[0]),))


class Acos:
    """y = arccos x;  dx = -dy / sqrt(1 - x^2)."""

    forward = staticmethod(lambda xp, x: (xp.arccos(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (-dy / xp.sqrt(1 - saved[0] * saved[0]),))


class Atan:
    """y = arctan x;  dx = dy / (1 + x^2)."""

    forward = staticmethod(lambda xp, x: (xp.arctan(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy / (1 + saved[0] * saved[0]),))


class Atan2:
    """y = the angle of the point (b, a), arctan(a / b) in its quadrant;  (da, db) = dy (b, -a) / (a^2 + b^2).

    At the origin, where there is no angle, the gradient is 0.
    """

    @staticmethod
    def forward(xp, a, b):
        return xp.arctan2(a, b), (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        square = a * a + b * b
        flat = xp.equal(square, 0)
        slope = xp.where(flat, 0, dy / xp.where(flat, 1, square))
        return (
            unbroadcast(xp, slope * b, shape_of(a)) if needs[0] else None,
            unbroadcast(xp, slope * -a, shape_of(b)) if needs[1] else None,
        )


class Sinh:
    """y = sinh x;  dx = dy cosh x."""

    forward = staticmethod(lambda xp, x: (xp.sinh(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * xp.cosh(saved[0]),))


class Cosh:
    """y = cosh x;  dx = dy sinh x."""

    forward = staticmethod(lambda xp, x: (xp.cosh(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * xp.sinh(saved[0]),))


class Expm1:
    """y = e^x - 1, exact near 0;  dx = dy (y + 1)."""

    forward = staticmethod(lambda xp, x: (y := xp.expm1(x), (y,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * (saved[0] + 1),))


class Log1p:
    """y = ln(1 + x), exact near 0;  dx = dy / (1 + x)."""

    forward = staticmethod(lambda xp, x: (xp.log1p(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy / (1 + saved[0]),))


class Log2:
    """y = ln x / ln 2;  dx = dy / (x ln 2)."""

    forward = staticmethod(lambda xp, x: (xp.log2(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy / (saved[0] * 0.6931471805599453),))


class Log10:
    """y = ln x / ln 10;  dx = dy / (x ln 10)."""

    forward = staticmethod(lambda xp, x: (xp.log10(x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy / (saved[0] * 2.302585092994046),))


class Erf:
    """y = erf x;  dx = dy 2 / sqrt(pi) e^(-x^2)."""

    forward = staticmethod(lambda xp, x: (erf(xp, x), (x,)))
    backward = staticmethod(lambda xp, saved, dy, needs: (dy * (1.1283791670955126 * xp.exp(-saved[0] * saved[0])),))
