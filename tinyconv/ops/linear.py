"""Matrix products."""

from tinyconv.errors import DtypeError, ShapeError
from tinyconv.ops.elementwise import unbroadcast
from tinyconv.shapes import product


def same_dtype(name, **arrays):
    """The dtype check every op with weights makes: one floating-point dtype for all its arrays."""
    arrays = {what: array for what, array in arrays.items() if array is not None}
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) == 1 and dtypes.pop().kind == "f":
        return
    first, *rest = arrays.items()
    for what, array in arrays.items():
        if array.dtype.kind != "f":
            raise DtypeError(f"{name}: {what} must be floating point, got {array.dtype}: {what}.float()?")
    for what, array in rest:
        if array.dtype != first[1].dtype:
            raise DtypeError(
                f"{name}: {first[0]} is {first[1].dtype} and {what} is {array.dtype}; "
                f"convert one: {first[0]}.to({what}.dtype), or the whole model with model.to(dtype)"
            )


class Matmul:
    """y[..., i, j] = sum_k a[..., i, k] b[..., k, j];  da = dy b^T,  db = a^T dy, summed over broadcast axes."""

    @staticmethod
    def check(a, b):
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise ShapeError(
                f"matmul: {a.shape} @ {b.shape}: the last axis of the first operand must equal "
                "the second-to-last of the second (the only one, if it has one axis)"
            )
        if a.dtype != b.dtype or a.dtype.kind == "b":
            same_dtype("matmul", a=a, b=b)  # which says what to do

    @staticmethod
    def forward(xp, a, b):
        return a @ b, (a, b)

    @staticmethod
    def backward(xp, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(xp, dy @ b.swapaxes(-1, -2), a.shape) if needs[0] else None,
            unbroadcast(xp, a.swapaxes(-1, -2) @ dy, b.shape) if needs[1] else None,
        )


class Linear:
    """y[n, o] = bias[o] + sum_i weight[o, i] x[n, i], for x of shape (..., I) and weight (O, I).

    dx = dy @ weight,   dweight = dy^T @ x,   dbias = sum_n dy.
    """

    name = "linear"

    @staticmethod
    def check(x, weight, bias):
        if weight.ndim != 2:
            raise ShapeError(f"linear: weight must be (out_features, in_features), got {weight.shape}")
        o, i = weight.shape
        if x.ndim == 0 or x.shape[-1] != i:
            raise ShapeError(f"linear: expected {i} features (weight is ({o}, {i})), got {x.shape}{_hint(x.shape, i)}")
        if bias is not None and bias.shape != (o,):
            raise ShapeError(f"linear: bias must be ({o},), one an output feature, got {bias.shape}")
        same_dtype("linear", x=x, weight=weight, bias=bias)

    @staticmethod
    def forward(xp, x, weight, bias):
        y = x @ weight.T
        return y if bias is None else y + bias, (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, weight = saved
        o, i = weight.shape
        n = product(dy.shape[:-1])  # every leading axis is a batch axis
        rows = dy.reshape(n, o)
        return (
            dy @ weight if needs[0] else None,
            rows.T @ x.reshape(n, i) if needs[1] else None,
            xp.sum(rows, axis=0) if needs[2] else None,
        )


def _hint(shape, features):
    """What a wrong number of features most likely means."""
    if len(shape) == 4:
        _, c, h, w = shape
        if c * h * w == features:
            return ": feature maps meet a linear layer, flatten them first: x.flatten(1) or nn.Flatten()"
        return (
            f": feature maps meet a linear layer; flattened they have {c} * {h} * {w} = {c * h * w} features: "
            f"flatten them and use nn.Linear({c * h * w}, ...)"
        )
    if len(shape) == 2:
        return (
            f": if this head follows a flatten, it was sized for another input; for this one it is "
            f"nn.Linear({shape[1]}, ...)"
        )
    return ""


class Embedding:
    """y[i] = weight[index[i]], rows of a table (V, D);  dweight = 0, with dy added at [index], but not at `padding`.

    It is one_hot(index) @ weight, without the zeros.
    """

    @staticmethod
    def check(weight, index, *, padding):
        if weight.ndim != 2:
            raise ShapeError(f"embedding: weight must be (num_embeddings, embedding_dim), got {weight.shape}")
        if index.dtype.kind not in "iu":
            raise DtypeError(f"embedding: the input must be integers, rows of the table, got {index.dtype}: x.long()?")
        if product(index.shape) and not len(weight):
            raise ShapeError(f"embedding: there is no row in a table of shape {weight.shape}")

    @staticmethod
    def check_values(weight, index, *, padding):
        if index.size and not 0 <= int(index.min()) <= int(index.max()) < len(weight):
            raise ShapeError(
                f"embedding: the table has {len(weight)} rows, so indices must be 0 to {len(weight) - 1}, got "
                f"{int(index.min())} to {int(index.max())}"
            )

    @staticmethod
    def forward(xp, weight, index, *, padding):
        return weight[index], (index, weight.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, padding):
        index, shape = saved
        if padding is not None:
            dy = xp.where((index == padding)[..., None], 0, dy)
        dweight = xp.zeros(shape, dy.dtype)
        xp.add.at(dweight, index, dy)
        return dweight, None
