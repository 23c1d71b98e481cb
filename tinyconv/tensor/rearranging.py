"""Functions that put elements in other places: turned around, shifted, repeated, in triangles and on diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinyconv import ops, shapes
from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import real
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.tensor.inplace import assign
from tinyconv.tensor.joins import cat, stack
from tinyconv.tensor.picking import check_values_known, index_select
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Dim, Scalar
from tinyconv.tensor.tensor import Tensor, apply, wrap

__all__ = [
    "diag", "diag_embed", "diagonal", "flip", "fliplr", "flipud", "repeat_interleave", "roll", "rot90", "tile", "tril",
    "triu",
]  # fmt: skip


def flip(input: Tensor, *axes: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """A copy with the order of the elements along `dims` turned around: `x.flip(0, 1)`, `flip(x, (0, 1))`.

    Raises ShapeError for an axis that does not exist, or is named twice. Like `torch.flip`.
    """
    check_tensor("flip", input)
    named = shapes.sizes_of(axes if dims is None else (dims,), "flip: dims")
    turned = shapes.axes_of(named, input.ndim, "flip") if named and input.ndim else ()
    index = tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(input.ndim))
    return apply(ops.Index, input, index=(*index, ...), simple=True).clone()


def fliplr(input: Tensor) -> Tensor:
    """`flip` along the second axis. Raises ShapeError where there is none."""
    if check_tensor("fliplr", input).ndim < 2:
        raise ShapeError(f"fliplr: expected at least 2 axes, got {input.shape}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """`flip` along the first axis. Raises ShapeError where there is none."""
    if check_tensor("flipud", input).ndim < 1:
        raise ShapeError(f"flipud: expected at least 1 axis, got {input.shape}")
    return flip(input, 0)


def roll(input: Tensor, shifts: int | Sequence[int], dims: Dim = None) -> Tensor:
    """The elements moved on by `shifts` along `dims`; what leaves at one end comes in at the other.

    Without `dims` the flattened tensor is rolled. Raises ShapeError where there are not as many shifts as dims, or an
    axis does not exist. Like `torch.roll`.
    """
    check_tensor("roll", input)
    if dims is None or (isinstance(dims, Sequence) and not dims):
        (shift,) = _listed("roll: shifts", shifts, 1)
        return _rolled(input.reshape(-1), shift, 0).reshape(input.shape)
    named = dims if isinstance(dims, Sequence) else (dims,)
    out = input.clone()
    for shift, dim in zip(_listed("roll: shifts", shifts, len(named)), named, strict=True):
        axis = shapes.axis_of(dim, input.ndim, "roll")
        out = _rolled(out, shift, axis) if out.ndim else out
    return out


def _rolled(x: Tensor, shift: int, axis: int) -> Tensor:
    start = -shift % max(x.shape[axis], 1)
    lead = (slice(None),) * axis
    return cat([x[(*lead, slice(start, None))], x[(*lead, slice(None, start))]], axis)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of one axis, as a new last axis of `size` elements; the axis itself counts the windows.

    Window i begins at i * step, and the last one ends within the axis. `functional.unfold` has the windows of images. A
    copy, where `torch.Tensor.unfold` is a view. Raises ShapeError where no window fits.
    """
    check_tensor("unfold", input)
    axis = shapes.axis_of(dimension, input.ndim, "unfold")
    size, step = shapes.whole(size, "unfold: size", minimum=0), shapes.whole(step, "unfold: step", minimum=1)
    if not input.ndim:
        return unfold(input.reshape(1), 0, size, step)[0]
    if size > input.shape[axis]:
        raise ShapeError(f"unfold: a window of {size} does not fit into an axis of {input.shape[axis]} ({input.shape})")
    windows, lead = (input.shape[axis] - size) // step + 1, (slice(None),) * axis
    if size and size <= windows:  # the j-th elements of all windows at once, for each j
        reach = (windows - 1) * step + 1
        return stack([input[(*lead, slice(j, j + reach, step))] for j in range(size)], dim=-1)
    parts = [input[(*lead, slice(i * step, i * step + size))] for i in range(windows)]
    return stack(parts, dim=axis).movedim(axis + 1, -1)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k quarters, from the first of two `dims` towards the second. Like `torch.rot90`.

    Raises ShapeError unless two different axes are named.
    """
    if not isinstance(dims, Sequence) or len(dims) != 2 or check_tensor("rot90", input).ndim < 2:
        raise ShapeError(
            f"rot90: expected two dims of a tensor with at least 2, got {shortened(dims)} of {input.shape}"
        )
    first, second = shapes.axes_of(dims, input.ndim, "rot90")
    turns = shapes.whole(k, "rot90: k") % 4
    if turns == 2:
        return flip(input, first, second)
    if turns == 0:
        return input.clone()
    return flip(input.transpose(first, second), first if turns == 1 else second)


# --- repeated -------------------------------------------------------------------------------------------------------


def repeat(self: Tensor, *repeats: int | Sequence[int]) -> Tensor:
    """A copy with the whole tensor so many times along each axis; more numbers than axes add axes in front.

    Raises ShapeError for fewer numbers than axes, and for one below 0. Like `torch.Tensor.repeat`.
    """
    times = shapes.sizes_of(repeats, "repeat: times")
    if len(times) < self.ndim or min(times, default=0) < 0:
        raise ShapeError(f"repeat: {self.shape} needs a number >= 0 for each axis at least, got {tuple(times)}")
    own = (1,) * (len(times) - self.ndim) + self.shape
    spread = self.reshape([size for n in own for size in (1, n)])
    whole = spread.expand([size for k, n in zip(times, own, strict=True) for size in (k, n)])
    out = whole.reshape([k * n for k, n in zip(times, own, strict=True)])
    return out.clone() if set(times) <= {1} else out  # else the reshape has copied


def tile(input: Tensor, *repeats: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """`repeat`, where fewer numbers than axes are for the last ones. Raises ShapeError for one below 0."""
    check_tensor("tile", input)
    times = shapes.sizes_of(repeats if dims is None else (dims,), "tile: dims")
    return repeat(input, *[1] * (input.ndim - len(times)), *times)


def repeat_interleave(
    input: Tensor, repeats: int | Tensor, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice along `dim`) so many times, side by side; without `dim`, of the flattened tensor.

    Args:
        input: A tensor; or, alone, the repeats: then the result says which element is where.
        repeats: A number for all, or a tensor with one for each.
        dim: The axis.
        output_size: It changes nothing; in torch it saves a wait for a GPU.

    Raises ShapeError where there are not as many repeats as elements, DtypeError unless they are integers, and
    CaptureError for a tensor of them in a captured step, since the shape depends on its values. Like
    `torch.repeat_interleave`.
    """
    x = (
        check_tensor("repeat_interleave", input).reshape(-1)
        if dim is None
        else check_tensor("repeat_interleave", input)
    )
    axis = shapes.axis_in(0 if dim is None else dim, x.shape, "repeat_interleave")
    if not isinstance(repeats, Tensor):
        times = shapes.whole(repeats, "repeat_interleave: repeats", minimum=0)
        spread = x.unsqueeze(axis + 1).expand(*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        return spread.reshape([*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1 :]])
    check_values_known("repeat_interleave", repeats, "repeat by an int")
    if repeats.dtype.kind not in "iu":
        raise DtypeError(f"repeat_interleave: repeats must be integers, got {repeats.dtype}: repeats.long()?")
    if repeats.ndim > 1 or repeats.numel() not in (1, x.shape[axis]):
        raise ShapeError(f"repeat_interleave: {repeats.shape} repeats do not fit {x.shape[axis]} elements")
    backend = backend_of(x.array, repeats.array)
    each = backend.to_numpy(repeats.array.reshape(-1))
    places = np.arange(x.shape[axis]).repeat(each)
    return index_select(x, axis, wrap(backend.asarray(places, x.device)))


# --- triangles and diagonals ----------------------------------------------------------------------------------------


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices (..., N, M), 0 above the diagonal; `diagonal` moves it up. Like `torch.tril`.

    Raises ShapeError for fewer than 2 axes.
    """
    return _triangle("tril", input, diagonal, False)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices (..., N, M), 0 below the diagonal; `diagonal` moves it up. Like `torch.triu`.

    Raises ShapeError for fewer than 2 axes.
    """
    return _triangle("triu", input, diagonal, True)


def tril_(self: Tensor, diagonal: int = 0) -> Tensor:
    """`tril`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "tril_", tril(self, diagonal))


def triu_(self: Tensor, diagonal: int = 0) -> Tensor:
    """`triu`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "triu_", triu(self, diagonal))


def _triangle(name: str, input: Any, k: int, upper: bool) -> Tensor:
    if check_tensor(name, input).ndim < 2:
        raise ShapeError(f"{name}: expected matrices, at least 2 axes, got {input.shape}")
    xp, shape, k = backend_of(input.array).xp, input.shape[-2:], shapes.whole(k, f"{name}: diagonal")
    inside = wrap(computed(partial(_inside, xp, shape, k, upper)))
    return apply(ops.Where, inside, input, wrap(xp.zeros((), input.dtype)))


def _inside(xp: Any, shape: shapes.Shape, k: int, upper: bool) -> Array:
    """Where a matrix is in a triangle."""
    n, m = shape
    above = xp.arange(m) - xp.arange(n).reshape(n, 1)
    return above >= k if upper else above <= k


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonals of matrices along two axes, in a new last axis in their place; `offset` moves them up.

    A view, so that `x.diagonal().fill_(1)` writes into `x`; a copy where `x` is a part of a larger matrix. Raises
    ShapeError unless two different axes are named. Like `torch.diagonal`.
    """
    axes = [shapes.axis_of(dim, check_tensor("diagonal", input).ndim, "diagonal") for dim in (dim1, dim2)]
    if axes[0] == axes[1] or input.ndim < 2:
        raise ShapeError(f"diagonal: expected two axes of {input.shape}, got {dim1} and {dim2}")
    rest = [i for i in range(input.ndim) if i not in axes]
    offset, steps = shapes.whole(offset, "diagonal: offset"), input.stride()
    if steps[axes[0]] < steps[axes[1]]:  # of a transposed matrix, the same diagonal in rows that follow each other
        axes, offset = axes[::-1], -offset
    rows, columns = (input.shape[axis] for axis in axes)
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = max(offset, 0) + max(-offset, 0) * columns
    flat = input.permute(*rest, *axes).reshape(*(input.shape[axis] for axis in rest), rows * columns)
    step = columns + 1  # from one element of the diagonal to the next
    return flat[..., start : start + (count - 1) * step + 1 : step] if count else flat[..., :0]


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix; or for a vector, the square matrix with it there and 0 elsewhere. Like `torch.diag`.

    Raises ShapeError for more axes.
    """
    if check_tensor("diag", input).ndim not in (1, 2):
        raise ShapeError(f"diag: expected a vector or a matrix, got {input.shape}")
    return diag_embed(input, diagonal) if input.ndim == 1 else _diagonal_of(input, diagonal)


_diagonal_of = diagonal


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices along two new axes, with the last axis of `input` as their diagonal and 0 elsewhere.

    Raises ShapeError unless two different axes are named. Like `torch.diag_embed`.
    """
    if not check_tensor("diag_embed", input).ndim:
        raise ShapeError("diag_embed: expected at least 1 axis, got a 0-d tensor")
    k = shapes.whole(offset, "diag_embed: offset")
    n, lead = input.shape[-1] + abs(k), input.shape[:-1]
    axes = [shapes.axis_of(dim, input.ndim + 1, "diag_embed") for dim in (dim1, dim2)]
    if axes[0] == axes[1]:
        raise ShapeError(f"diag_embed: expected two axes, got {dim1} and {dim2}")
    nothing = wrap(computed(partial(backend_of(input.array).xp.zeros, (*lead, n, n), input.dtype)))
    out: Tensor = apply(ops.Put, nothing, input, index=(..., *_along_diagonal(input, n, n, k)))
    order = iter(range(len(lead)))
    return out.permute([len(lead) + axes.index(i) if i in axes else next(order) for i in range(out.ndim)])


def fill_diagonal_(self: Tensor, fill_value: Scalar, wrap: bool = False) -> Tensor:
    """Write one number on the diagonal of a matrix, or of a tensor with axes of one size. Like torch's.

    `wrap` goes on from the top of a tall matrix after each full diagonal. Raises ShapeError for other shapes, and
    GraphError on a leaf that requires grad while recording.
    """
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise ShapeError(f"fill_diagonal_: expected a matrix, or axes of one size, got {self.shape}")
    fill_value, (n, m) = real("fill_diagonal_: fill_value", fill_value), (self.shape[0], self.shape[-1])
    flat = self.detach().reshape(-1).clone()
    stop = flat.shape[0] if wrap or self.ndim > 2 else min(n, m) * m
    flat[: stop : sum(m**i for i in range(self.ndim))] = fill_value  # a slice, which a captured step writes too
    return assign(self, "fill_diagonal_", flat.reshape(self.shape))


def _along_diagonal(t: Tensor, n: int, m: int, offset: int) -> tuple[Array, Array]:
    """The rows and columns of the elements on a diagonal."""
    k, xp = shapes.whole(offset, "diagonal: offset"), backend_of(t.array).xp
    places = xp.arange(max(min(n + min(k, 0), m - max(k, 0)), 0))
    return places - min(k, 0), places + max(k, 0)


# --- what they share ------------------------------------------------------------------------------------------------


def _listed(what: str, value: int | Sequence[int], count: int) -> list[int]:
    """One integer for each of `count` axes."""
    found = [shapes.whole(v, what) for v in (value if isinstance(value, Sequence) else [value])]
    if len(found) != count:
        raise ShapeError(f"{what}: expected {count}, got {shortened(value)}")
    return found
