"""Rounding, and what is left over. Steps are flat: their gradient is 0."""

from tinyconv.errors import DtypeError
from tinyconv.ops.elementwise import shape_of, unbroadcast


class Step:
    """y = floor x, ceil x, trunc x or rint x, the one that `step` names;  dx = 0."""

    @staticmethod
    def forward(xp, x, *, step):
        return getattr(xp, step)(x), ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, step):
        return (xp.zeros_like(dy),)


class Sign:
    """y = 1 where x > 0, -1 where x < 0, else 0;  dx = 0."""

    @staticmethod
    def forward(xp, x):
        return xp.greater(x, 0).astype(x.dtype) - xp.less(x, 0).astype(x.dtype), ()

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (xp.zeros_like(dy),)


def kind_of(operand):
    """ "f", "i", "u" or "b": what an array holds, or what kind of number this is."""
    return operand.dtype.kind if hasattr(operand, "dtype") else type(operand).__name__[0]


class Division:
    """What whole quotients and remainders refuse."""

    @staticmethod
    def check(a, b):
        if kind_of(a) == kind_of(b) == "b":
            raise DtypeError("division: bools have no whole quotient and no remainder: x.long()?")

    @staticmethod
    def check_values(a, b):
        if "f" in (kind_of(a), kind_of(b)) or 0 in shape_of(a):
            return
        if not (b != 0 if isinstance(b, int) else (b != 0).all()):
            raise ZeroDivisionError("division: integers have no quotient by 0; floating-point numbers do: x.float()?")


class FloorDivide(Division):
    """y = floor(a / b);  da = db = 0."""

    @staticmethod
    def forward(xp, a, b):
        return xp.floor_divide(a, b), (shape_of(a), shape_of(b))

    @staticmethod
    def backward(xp, saved, dy, needs):
        return tuple(xp.zeros(shape, dy.dtype) if need else None for shape, need in zip(saved, needs, strict=True))


class TruncDivide(Division):
    """y = a / b, cut off towards 0;  da = db = 0."""

    @staticmethod
    def forward(xp, a, b):
        y = (a - xp.fmod(a, b)) // b if "f" not in (kind_of(a), kind_of(b)) else xp.trunc(a / b)
        return y, (shape_of(a), shape_of(b))

    backward = FloorDivide.backward


class Remainder(Division):
    """y = a - b floor(a / b), which has the sign of b;  da = dy,  db = -dy floor(a / b)."""

    @staticmethod
    def forward(xp, a, b):
        return xp.remainder(a, b), (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(xp, dy, shape_of(a)) if needs[0] else None,
            unbroadcast(xp, -dy * xp.floor_divide(a, b), shape_of(b)) if needs[1] else None,
        )


class Fmod(Division):
    """y = a - b trunc(a / b), which has the sign of a;  da = dy,  db = -dy trunc(a / b)."""

    @staticmethod
    def forward(xp, a, b):
        return xp.fmod(a, b), (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(xp, dy, shape_of(a)) if needs[0] else None,
            unbroadcast(xp, -dy * xp.trunc(a / b), shape_of(b)) if needs[1] else None,
        )
