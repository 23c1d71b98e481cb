"""Normalisation.

The ops standardise x over some axes, x^ = (x - mean) / s with s = sqrt(var + eps), then scale and shift,
y = weight x^ + bias. Over n elements, with d = dy weight,

    dx = (d - mean(d) - x^ mean(d x^)) / s,   dweight = sum dy x^,   dbias = sum dy,

the two means being what mean and var contribute; where they are constants (evaluation) dx is just d / s.
"""

from tinyconv.errors import ShapeError
from tinyconv.ops.linear import same_dtype
from tinyconv.ops.reduce import average
from tinyconv.shapes import product


def standardise(xp, x, axes, eps):
    """x^, 1 / s, and the mean and (biased) variance over `axes`, which stay as axes of size 1."""
    mean = average(xp, x, axes, True)
    centred = x - mean
    var = average(xp, centred * centred, axes, True)
    scale = 1 / xp.sqrt(var + eps)
    return centred * scale, scale, mean, var


def standardise_backward(xp, d, xhat, scale, axes):
    return scale * (d - average(xp, d, axes, True) - xhat * average(xp, d * xhat, axes, True))


class BatchNorm:
    """Standardise each channel of x (N, C, ...) over the batch and all positions (Ioffe & Szegedy, arXiv:1502.03167).

    `mean` and `var`, of shape (C,), are used where given; else those of x are, and come back beside y.
    """

    @staticmethod
    def check(x, weight, bias, mean, var, *, eps):
        if x.ndim < 2:
            raise ShapeError(f"batch_norm: expected (N, C, ...), got {x.shape}")
        c = x.shape[1]
        for what, array in {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}.items():
            if array is not None and array.shape != (c,):
                raise ShapeError(f"batch_norm: x has {c} channels, so {what} must be ({c},), got {array.shape}")
        if mean is None and product((x.shape[0], *x.shape[2:])) == 1:
            raise ShapeError(
                f"batch_norm: one value a channel has no variance to train on, got {x.shape}; "
                "use a larger batch (drop_last=True drops a last batch of one), or model.eval()"
            )
        same_dtype("batch_norm", x=x, weight=weight, bias=bias, running_mean=mean, running_var=var)

    @staticmethod
    def forward(xp, x, weight, bias, mean, var, *, eps):
        axes = (0, *range(2, x.ndim))
        column = (1, -1) + (1,) * (x.ndim - 2)  # (C,) -> (1, C, 1, ...)
        fixed = mean is not None
        if fixed:
            scale = 1 / xp.sqrt(var.reshape(column) + eps)
            xhat = (x - mean.reshape(column)) * scale
        else:
            xhat, scale, mean, var = standardise(xp, x, axes, eps)
        y = xhat if weight is None else xhat * weight.reshape(column)
        y = y if bias is None else y + bias.reshape(column)
        return (y, mean.reshape(-1), var.reshape(-1)), (xhat, scale, weight, fixed)

    @staticmethod
    def backward(xp, saved, dy, needs, *, eps):
        xhat, scale, weight, fixed = saved
        axes = (0, *range(2, dy.ndim))
        dx = None
        if needs[0]:
            d = dy if weight is None else dy * weight.reshape((1, -1) + (1,) * (dy.ndim - 2))
            dx = d * scale if fixed else standardise_backward(xp, d, xhat, scale, axes)
        return (
            dx,
            xp.sum(dy * xhat, axis=axes) if needs[1] else None,
            xp.sum(dy, axis=axes) if needs[2] else None,
            None,
            None,
        )


def move_statistics(xp, running_mean, running_var, mean, var, momentum, unbiased):
    """Move running statistics (C,), in place, by `momentum` towards those of a batch, the variance times `unbiased`,
    n / (n - 1). A kernel may be registered in its place (`variants.register_kernel`)."""
    for running, found in ((running_mean, mean), (running_var, var * unbiased)):
        running *= 1 - momentum
        running += momentum * found


class LayerNorm:
    """Standardise each example over its last axes, those of `shape` (Ba, Kiros & Hinton, arXiv:1607.06450)."""

    @staticmethod
    def check(x, weight, bias, *, shape, eps):
        if x.shape[max(x.ndim - len(shape), 0) :] != shape:
            raise ShapeError(f"layer_norm: normalized_shape is {shape}, which is not how {x.shape} ends")
        for what, array in {"weight": weight, "bias": bias}.items():
            if array is not None and array.shape != shape:
                raise ShapeError(f"layer_norm: {what} must be {shape}, the normalized_shape, got {array.shape}")
        same_dtype("layer_norm", x=x, weight=weight, bias=bias)

    @staticmethod
    def forward(xp, x, weight, bias, *, shape, eps):
        axes = tuple(range(x.ndim - len(shape), x.ndim))
        xhat, scale, _, _ = standardise(xp, x, axes, eps)
        y = xhat if weight is None else xhat * weight
        return y if bias is None else y + bias, (xhat, scale, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, shape, eps):
        xhat, scale, weight = saved
        axes = tuple(range(dy.ndim - len(shape), dy.ndim))
        lead = tuple(range(dy.ndim - len(shape)))
        d = dy if weight is None else dy * weight
        return (
            standardise_backward(xp, d, xhat, scale, axes) if needs[0] else None,
            xp.sum(dy * xhat, axis=lead) if needs[1] else None,
            xp.sum(dy, axis=lead) if needs[2] else None,
        )


class GroupNorm:
    """Standardise the channels of each example, (N, C, ...), in `groups` (Wu & He, arXiv:1803.08494).

    A group for each channel is instance normalisation (Ulyanov et al., arXiv:1607.08022). `mean` and `var`, of shape
    (N, groups), come back beside y.
    """

    @staticmethod
    def check(x, weight, bias, *, groups, eps):
        if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
            raise ShapeError(f"group_norm: expected (N, C, ...) with C in {groups} equal groups, got {x.shape}")
        for what, array in {"weight": weight, "bias": bias}.items():
            if array is not None and array.shape != (x.shape[1],):
                raise ShapeError(
                    f"group_norm: x has {x.shape[1]} channels, so {what} must be ({x.shape[1]},), got {array.shape}"
                )
        same_dtype("group_norm", x=x, weight=weight, bias=bias)

    @staticmethod
    def forward(xp, x, weight, bias, *, groups, eps):
        grouped = x.reshape(x.shape[0], groups, product(x.shape[1:]) // groups)
        xhat, scale, mean, var = standardise(xp, grouped, (2,), eps)
        column = (1, -1) + (1,) * (x.ndim - 2)  # (C,) -> (1, C, 1, ...)
        y = xhat.reshape(x.shape)
        y = y if weight is None else y * weight.reshape(column)
        y = y if bias is None else y + bias.reshape(column)
        return (y, mean[..., 0], var[..., 0]), (xhat, scale, weight)

    @staticmethod
    def backward(xp, saved, dy, needs, *, groups, eps):
        xhat, scale, weight = saved
        axes = (0, *range(2, dy.ndim))
        d = dy if weight is None else dy * weight.reshape((1, -1) + (1,) * (dy.ndim - 2))
        return (
            standardise_backward(xp, d.reshape(xhat.shape), xhat, scale, (2,)).reshape(dy.shape) if needs[0] else None,
            xp.sum(dy * xhat.reshape(dy.shape), axis=axes) if needs[1] else None,
            xp.sum(dy, axis=axes) if needs[2] else None,
        )
