"""Elementwise ops. Operands broadcast as in NumPy; a gradient is summed back over the axes that were broadcast."""

from tinyconv.ops.reduce import total
from tinyconv.shapes import broadcast_axes


def shape_of(operand):
    """The shape of an array; a Python number has that of a 0-d array."""
    return getattr(operand, "shape", ())


def unbroadcast(xp, grad, shape):
    """The transpose of broadcasting: sum `grad` over the axes along which an array of `shape` was repeated."""
    if grad.shape == shape:
        return grad
    return total(xp, grad, broadcast_axes(shape, grad.shape), False).reshape(shape)


class Add:
    """y = a + b;  da = dy,  db = dy."""

    @staticmethod
    def forward(xp, a, b):
        return a + b, (shape_of(a), shape_of(b))

    @staticmethod
    def backward(xp, saved, dy, needs):
        a_shape, b_shape = saved
        return (
            unbroadcast(xp, dy, a_shape) if needs[0] else None,
            unbroadcast(xp, dy, b_shape) if needs[1] else None,
        )


class Sub:
    """y = a - b;  da = dy,  db = -dy."""

    @staticmethod
    def forward(xp, a, b):
        return a - b, (shape_of(a), shape_of(b))

    @staticmethod
    def backward(xp, saved, dy, needs):
        a_shape, b_shape = saved
        return (
            unbroadcast(xp, dy, a_shape) if needs[0] else None,
            unbroadcast(xp, -dy, b_shape) if needs[1] else None,
        )


class Mul:
    """y = a b;  da = dy b,  db = dy a."""

    @staticmethod
    def forward(xp, a, b):
        return a * b, (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(xp, dy * b, a.shape) if needs[0] else None,
            unbroadcast(xp, dy * a, b.shape) if needs[1] else None,
        )


class Div:
    """y = a / b;  da = dy / b,  db = -dy a / b^2."""

    @staticmethod
    def forward(xp, a, b):
        return a / b, (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(xp, dy / b, a.shape) if needs[0] else None,
            unbroadcast(xp, -dy * (a / b / b), b.shape) if needs[1] else None,
        )


class Pow:
    """y = a^b;  da = dy b a^(b-1),  db = dy a^b ln a.

    Where b = 0, da = 0, and where a = 0 and b >= 0, db = 0: the limits, in place of the 0 * inf the formulas give.
    """

    @staticmethod
    def forward(xp, a, b):
        y = a**b
        if a.dtype.kind == "b" and y.dtype.kind == "i" and y.dtype.itemsize == 1:  # NumPy's power of bools is an int8
            y = y.astype(bool)
        return y, (a, b, y)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b, y = saved
        da = db = None
        if needs[0]:
            da = unbroadcast(xp, xp.where(xp.equal(b, 0), 0, dy * (b * a ** (b - 1))), a.shape)
        if needs[1]:
            flat = xp.equal(a, 0) & xp.greater_equal(b, 0)
            db = unbroadcast(xp, xp.where(flat, 0, dy * (y * xp.log(a))), b.shape)
        return da, db


class Maximum:
    """y = max(a, b);  the gradient goes to the larger, half to each where they are equal. NaN wins."""

    @staticmethod
    def forward(xp, a, b):
        return xp.maximum(a, b), (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        share = xp.where(xp.equal(a, b), dy * 0.5, dy)
        return (
            unbroadcast(xp, xp.where(xp.less(a, b), 0, share), a.shape) if needs[0] else None,
            unbroadcast(xp, xp.where(xp.greater(a, b), 0, share), b.shape) if needs[1] else None,
        )


class Minimum:
    """y = min(a, b) = -max(-a, -b);  the gradient goes to the smaller, half to each where they are equal. NaN wins."""

    @staticmethod
    def forward(xp, a, b):
        return xp.minimum(a, b), (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return Maximum.backward(xp, (-a, -b), dy, needs)


class LogAddExp:
    """y = ln(e^a + e^b), without overflow;  da = dy e^(a - y),  db = dy e^(b - y)."""

    @staticmethod
    def forward(xp, a, b):
        y = xp.logaddexp(a, b)
        return y, (a, b, y)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b, y = saved
        return (
            unbroadcast(xp, dy * xp.exp(a - y), a.shape) if needs[0] else None,
            unbroadcast(xp, dy * xp.exp(b - y), b.shape) if needs[1] else None,
        )


class Where:
    """y = a where condition else b;  da = dy where condition, db = dy elsewhere. The condition has no gradient."""

    @staticmethod
    def forward(xp, condition, a, b):
        return xp.where(condition, a, b), (condition, shape_of(a), shape_of(b))

    @staticmethod
    def backward(xp, saved, dy, needs):
        condition, a_shape, b_shape = saved
        return (
            None,
            unbroadcast(xp, xp.where(condition, dy, 0), a_shape) if needs[1] else None,
            unbroadcast(xp, xp.where(condition, 0, dy), b_shape) if needs[2] else None,
        )


class Clamp:
    """y = min(max(x, low), high);  dx = dy where low <= x <= high. Either bound, a number, may be None."""

    @staticmethod
    def forward(xp, x, *, low, high):
        y = x if low is None else xp.maximum(x, low)
        return y if high is None else xp.minimum(y, high), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, low, high):
        (x,) = saved
        if low is not None:
            dy = xp.where(xp.greater_equal(x, low), dy, 0)
        if high is not None:
            dy = xp.where(xp.less_equal(x, high), dy, 0)
        return (dy,)


class Neg:
    """y = -x;  dx = -dy."""

    @staticmethod
    def forward(xp, x):
        return -x, ()

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (-dy,)


class Abs:
    """y = |x|;  dx = dy sign(x), which is 0 at 0 and NaN at NaN."""

    @staticmethod
    def forward(xp, x):
        return xp.abs(x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (dy * xp.sign(x),)


class Exp:
    """y = e^x;  dx = dy y."""

    @staticmethod
    def forward(xp, x):
        y = xp.exp(x)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (y,) = saved
        return (dy * y,)


class Log:
    """y = ln x;  dx = dy / x."""

    @staticmethod
    def forward(xp, x):
        return xp.log(x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (dy / x,)


class Sqrt:
    """y = sqrt(x);  dx = dy / (2 y)."""

    @staticmethod
    def forward(xp, x):
        y = xp.sqrt(x)
        return y, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (y,) = saved
        return (dy / (2 * y),)


class Cast:
    """y = x in another dtype;  dx = dy in the dtype of x. Only floating-point dtypes pass a gradient."""

    @staticmethod
    def forward(xp, x, *, dtype):
        return x.astype(dtype), (x.dtype,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, dtype):
        (x_dtype,) = saved
        return (dy.astype(x_dtype),)


class Copy:
    """y = x in memory of its own;  dx = dy."""

    @staticmethod
    def forward(xp, x):
        return x.copy(), ()

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (dy,)
