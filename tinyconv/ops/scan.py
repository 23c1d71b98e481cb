"""Running sums and products along one axis."""


class Cumsum:
    """y_i = sum_(j <= i) x_j along an axis;  dx_i = sum_(j >= i) dy_j."""

    @staticmethod
    def forward(xp, x, *, axis):
        return xp.cumsum(x, axis=axis, dtype=x.dtype), ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis):
        return (xp.flip(xp.cumsum(xp.flip(dy, axis), axis=axis, dtype=dy.dtype), axis),)


class Cumprod:
    """y_i = prod_(j <= i) x_j along the last axis;  dx_i = before_i s_i, where before_i = prod_(j < i) x_j and
    s_i = dy_i + x_(i+1) s_(i+1), from the end. No quotient y / x is taken: x may hold zeros.
    """

    @staticmethod
    def forward(xp, x):
        return xp.cumprod(x, axis=-1), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        before = xp.cumprod(xp.concatenate([xp.ones_like(x[..., :1]), x[..., :-1]], axis=-1), axis=-1)
        sums = [dy[..., -1]]
        for i in range(x.shape[-1] - 2, -1, -1):
            sums.append(dy[..., i] + x[..., i + 1] * sums[-1])
        return (before * xp.stack(sums[::-1], axis=-1),)
