"""Ops that move elements and compute nothing: y is a view of x where the array library can give one."""

from tinyconv.ops.elementwise import shape_of, unbroadcast


class Reshape:
    """y = x in another shape;  dx = dy in the shape of x."""

    @staticmethod
    def forward(xp, x, *, shape):
        return x.reshape(shape), (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, shape):
        (x_shape,) = saved
        return (dy.reshape(x_shape),)


class Permute:
    """y[..., i_axes[k] at k, ...] = x[i];  dx = dy with the inverse permutation."""

    @staticmethod
    def forward(xp, x, *, axes):
        return x.transpose(axes), ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, axes):
        return (dy.transpose(tuple(axes.index(i) for i in range(len(axes)))),)


class Expand:
    """y = x repeated to `shape` without copying;  dx = dy summed over the axes that were repeated."""

    @staticmethod
    def forward(xp, x, *, shape):
        return xp.broadcast_to(x, shape), (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, shape):
        (x_shape,) = saved
        return (unbroadcast(xp, dy, x_shape),)


class Index:
    """y = x[index];  dx = 0, with dy added at [index].

    `simple`: the index names no element twice (integers, slices, masks), so that adding is writing.
    """

    @staticmethod
    def forward(xp, x, *, index, simple):
        return x[index], (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, index, simple):
        (shape,) = saved
        if dy.dtype == xp.float16 and not simple:  # a sum, as in `total`
            (dx,) = Index.backward(xp, saved, dy.astype(xp.float32), needs, index=index, simple=simple)
            return (dx.astype(dy.dtype),)
        dx = xp.zeros(shape, dy.dtype)
        if simple:
            dx[index] = dy
        else:
            xp.add.at(dx, index, dy)
        return (dx,)


class Put:
    """y = x, but `value` at [index], which names no element twice;  dx = dy, but 0 there,  dvalue = dy[index]."""

    @staticmethod
    def forward(xp, x, value, *, index):
        y = x.copy()
        y[index] = value
        return y, (shape_of(value),)

    @staticmethod
    def backward(xp, saved, dy, needs, *, index):
        (value_shape,) = saved
        dx = None
        if needs[0]:
            dx = dy[...].copy()  # of a sum NumPy may give a number, which nobody can write to
            dx[index] = 0
        return dx, unbroadcast(xp, dy[index], value_shape) if needs[1] else None


class AddAt:
    """y = x with `value` added at [index], as often as it names an element;  dx = dy,  dvalue = dy[index]."""

    @staticmethod
    def forward(xp, x, value, *, index):
        y = x.copy()
        xp.add.at(y, index, value)
        return y, (shape_of(value),)

    @staticmethod
    def backward(xp, saved, dy, needs, *, index):
        (value_shape,) = saved
        return dy, unbroadcast(xp, dy[index], value_shape) if needs[1] else None


class Cat:
    """y = the inputs end to end along `axis`;  each gets its own stretch of dy."""

    @staticmethod
    def forward(xp, *parts, axis):
        return xp.concatenate(parts, axis=axis), tuple(part.shape[axis] for part in parts)

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis):
        grads, start = [], 0
        for size, needed in zip(saved, needs, strict=True):
            stretch = (slice(None),) * axis + (slice(start, start + size),)
            grads.append(dy[stretch] if needed else None)
            start += size
        return tuple(grads)


class Stack:
    """y = the inputs side by side along a new `axis`;  each gets its own slice of dy."""

    @staticmethod
    def forward(xp, *parts, axis):
        return xp.stack(parts, axis=axis), ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, axis):
        lead = (slice(None),) * axis
        return tuple(dy[(*lead, i)] if needed else None for i, needed in enumerate(needs))


class Pad:
    """y = x with `value` around it, `widths` = ((before, after), ...) an axis;  dx = dy without its rim."""

    @staticmethod
    def forward(xp, x, *, widths, value):
        return xp.pad(x, widths, constant_values=value), (x.shape,)

    @staticmethod
    def backward(xp, saved, dy, needs, *, widths, value):
        (shape,) = saved
        return (dy[tuple(slice(before, before + n) for (before, _), n in zip(widths, shape, strict=True))],)
