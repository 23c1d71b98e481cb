"""Functions that give the same elements another shape or order, which are methods of Tensor too: `tc.flatten(x, 1)`.

Results are views where NumPy can make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinyconv import ops, shapes
from tinyconv.errors import ShapeError, shortened
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Dim
from tinyconv.tensor.tensor import Tensor, apply

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors", "broadcast_to", "chunk", "dsplit", "flatten",
    "hsplit", "moveaxis", "movedim", "narrow", "permute", "ravel", "reshape", "select", "split", "squeeze", "swapaxes",
    "swapdims", "t", "tensor_split", "transpose", "unbind", "unflatten", "unsqueeze", "vsplit",
]  # fmt: skip


def reshape(input: Tensor, *sizes: int | Sequence[int], shape: Sequence[int] | None = None) -> Tensor:
    """The same elements, row by row, in another shape; one size may be -1. ShapeError where the sizes do not fit.

    x.reshape(2, -1), x.reshape((2, -1)), tc.reshape(x, (2, -1))
    """
    check_tensor("reshape", input)
    if len(sizes) == 1 and isinstance(sizes[0], np.dtype | type):
        raise ShapeError("view: bytes are not read as another dtype here; x.to(dtype) converts the values")
    to = shapes.sizes_of(sizes if shape is None else (shape,), "reshape: sizes")
    return apply(ops.Reshape, input, shape=shapes.infer_reshape(input.shape, to))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one: `x.flatten(1)` keeps the batch. ShapeError for other axes."""
    check_tensor("flatten", input)
    return reshape(input, *shapes.flattened(input.shape, start_dim, end_dim))


def squeeze(input: Tensor, dim: Dim = None) -> Tensor:
    """Without the axes of size 1; with `dim`, only those of them that it names."""
    check_tensor("squeeze", input)
    none = isinstance(dim, Sequence) and not dim
    axes = () if none else shapes.axes_of(dim, input.ndim, "squeeze")
    return reshape(input, *(n for i, n in enumerate(input.shape) if n != 1 or i not in axes))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With one more axis, of size 1, at `dim`. Raises ShapeError for a place that does not exist."""
    check_tensor("unsqueeze", input)
    axis = shapes.axis_of(dim, input.ndim + 1, "unsqueeze")
    return reshape(input, *input.shape[:axis], 1, *input.shape[axis:])


def permute(input: Tensor, *axes: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """The axes in another order: `x.permute(0, 3, 1, 2)`. ShapeError unless each axis is named once."""
    check_tensor("permute", input)
    order = shapes.sizes_of(axes if dims is None else (dims,), "permute: axes")
    named = shapes.axes_of(order, input.ndim, "permute")
    if len(named) != input.ndim:
        raise ShapeError(f"permute: {input.shape} has {input.ndim} axes, and {tuple(order)} must name each once")
    return apply(ops.Permute, input, axes=named)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged. Raises ShapeError for an axis that does not exist."""
    check_tensor("transpose", input)
    if input.ndim == 0:
        return input
    axes = list(range(input.ndim))
    i, j = (shapes.axis_of(dim, input.ndim, "transpose") for dim in (dim0, dim1))
    axes[i], axes[j] = axes[j], axes[i]
    return apply(ops.Permute, input, axes=tuple(axes))


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix. Raises ShapeError for more than 2 axes."""
    check_tensor("t", input)
    if input.ndim > 2:
        raise ShapeError(f"t: expected at most 2 axes, got {input.shape}; use transpose(dim0, dim1)")
    return input.T


def expand(input: Tensor, *sizes: int | Sequence[int]) -> Tensor:
    """Repeated along its axes of size 1, and new ones in front, without copying; -1 leaves an axis as it is.

    Raises ShapeError where another axis would have to be repeated.
    """
    check_tensor("expand", input)
    return apply(ops.Expand, input, shape=shapes.expanded(input.shape, shapes.sizes_of(sizes, "expand: sizes")))


def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """In pieces along `dim`: of one size each (the last may be smaller), or of the sizes listed.

    Raises ShapeError where the sizes do not add up, or are below 1.
    """
    check_tensor("split", input)
    axis = shapes.axis_in(dim, input.shape, "split")
    sizes = shapes.split_sizes(input.shape[axis], split_size_or_sections, axis)
    lead, start, pieces = (slice(None),) * axis, 0, []
    for n in sizes:
        pieces.append(input[(*lead, slice(start, start + n))])
        start += n
    return tuple(pieces)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """In at most `chunks` pieces of equal size along `dim`, the last perhaps smaller. ShapeError for chunks < 1."""
    check_tensor("chunk", input)
    chunks = shapes.whole(chunks, "chunk: pieces", minimum=1)
    total = input.shape[shapes.axis_in(dim, input.shape, "chunk")]
    if total == 0:
        return (input,) * chunks
    return split(input, -(-total // chunks), dim)


# --- by other names, and one part of it ----------------------------------------------------------------------------


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Repeated to this shape along axes of size 1 and new ones in front, without copying: `x.expand(size)`.

    Raises ShapeError where another axis would have to be repeated.
    """
    return check_tensor("broadcast_to", input).expand(size)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors repeated to the one shape that they broadcast to, without copying. ShapeError where they do not."""
    whole = shapes.broadcast_shape("broadcast_tensors", *(check_tensor("broadcast_tensors", t).shape for t in tensors))
    return tuple(t.expand(whole) for t in tensors)


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Repeated to the shape of `other`, without copying. ShapeError where it cannot be."""
    return self.expand(check_tensor("expand_as", other, "other").shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of `other`. ShapeError where the numbers of elements differ."""
    return self.reshape(check_tensor("view_as", other, "other").shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of `other`. ShapeError where the numbers of elements differ."""
    return self.reshape(check_tensor("reshape_as", other, "other").shape)


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The axes `source` moved to the places `destination`; the others stay in their order.

    Raises ShapeError where an axis does not exist or is named twice, or there are not as many of both. Like
    `torch.movedim`.
    """
    ndim = check_tensor("movedim", input).ndim
    lists = [list(dims) if isinstance(dims, Sequence) else [dims] for dims in (source, destination)]
    if len(lists[0]) != len(lists[1]):
        raise ShapeError(f"movedim: {shortened(source)} and {shortened(destination)} do not name as many axes")
    if ndim == 0 or not lists[0]:
        return input
    sources, places = (shapes.axes_of(dims, ndim, "movedim") for dims in lists)
    to = dict(zip(places, sources, strict=True))
    rest = iter(i for i in range(ndim) if i not in sources)
    return input.permute([to[i] if i in to else next(rest) for i in range(ndim)])


moveaxis = movedim


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged, as `transpose` does. ShapeError for an axis that does not exist."""
    return check_tensor("swapaxes", input).transpose(axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged, as `transpose` does. ShapeError for an axis that does not exist."""
    return check_tensor("swapdims", input).transpose(dim0, dim1)


def ravel(input: Tensor) -> Tensor:
    """The elements in one axis: `x.reshape(-1)`."""
    return check_tensor("ravel", input).reshape(-1)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The axis `dim` as several, of these sizes, one of which may be -1. ShapeError where they do not fit."""
    axis = shapes.axis_of(dim, check_tensor("unflatten", input).ndim, "unflatten")
    if not isinstance(sizes, Sequence) or not sizes:
        raise ShapeError(f"unflatten: expected the sizes of several axes, got {shortened(sizes)}")
    found = shapes.infer_reshape(input.shape[axis : axis + 1], shapes.sizes_of((sizes,), "unflatten: sizes"))
    return input.reshape([*input.shape[:axis], *found, *input.shape[axis + 1 :]])


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice number `index` along `dim`, without that axis: `x[index]` for dim = 0.

    Raises ShapeError for an axis that does not exist, and IndexError for a slice that does not.
    """
    axis = shapes.axis_of(dim, check_tensor("select", input).ndim, "select")
    if not input.ndim:
        raise ShapeError("select: a 0-d tensor has no axis to select from")
    lead: tuple[Any, ...] = (slice(None),) * axis
    place, size = shapes.whole(index, "select: index"), input.shape[axis]
    if not -size <= place < size:
        raise IndexError(f"select: index {place} is out of bounds for axis {axis} with size {size}")
    return input[(*lead, place)]


def narrow(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` slices along `dim`, from `start` on, which counts from the end where it is below 0.

    Raises ShapeError where there are not as many, or the axis does not exist.
    """
    axis = shapes.axis_of(dim, check_tensor("narrow", input).ndim, "narrow")
    size = input.shape[axis] if input.ndim else 0
    first, count = shapes.whole(start, "narrow: start"), shapes.whole(length, "narrow: length", minimum=0)
    first += size if first < 0 else 0
    if not input.ndim or not 0 <= first <= size - count:
        raise ShapeError(f"narrow: {input.shape} has no {length} slices along dim {dim} from {start} on")
    return input[(*(slice(None),) * axis, slice(first, first + count))]


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along `dim`, without that axis. ShapeError for an axis that does not exist."""
    axis = shapes.axis_of(dim, check_tensor("unbind", input).ndim, "unbind")
    if not input.ndim:
        raise ShapeError("unbind: a 0-d tensor has no axis")
    lead: tuple[Any, ...] = (slice(None),) * axis
    return tuple(input[(*lead, i)] for i in range(input.shape[axis]))


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """In pieces along `dim`: so many, the first ones larger by 1 where it does not come out even; or cut at places.

    Raises ShapeError for fewer than 1 piece, and for an axis that does not exist. Like `torch.tensor_split`.
    """
    axis = shapes.axis_of(dim, check_tensor("tensor_split", input).ndim, "tensor_split")
    if not input.ndim:
        raise ShapeError("tensor_split: a 0-d tensor has no axis")
    cuts: Any = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else indices_or_sections
    if isinstance(cuts, Sequence):
        bounds = [0, *shapes.sizes_of((cuts,), "tensor_split: places"), None]
        pieces = [slice(first, last) for first, last in pairwise(bounds)]
    else:
        count = shapes.whole(cuts, "tensor_split: sections", minimum=1)
        size, rest = divmod(input.shape[axis], count)
        starts = [i * size + min(i, rest) for i in range(count + 1)]
        pieces = [slice(first, last) for first, last in pairwise(starts)]
    return tuple(input[(*(slice(None),) * axis, piece)] for piece in pieces)


def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the second axis, or the only one; sections have to be equal. Raises what that raises."""
    return _equal_split("hsplit", input, indices_or_sections, 0 if check_tensor("hsplit", input).ndim == 1 else 1)


def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the first axis of two or more; sections have to be equal. Raises what that raises."""
    return _equal_split("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """`tensor_split` along the third axis; sections have to be equal. Raises what that raises."""
    return _equal_split("dsplit", input, indices_or_sections, 2)


def _equal_split(name: str, input: Tensor, cuts: Any, axis: int, least: int = 0) -> tuple[Tensor, ...]:
    if check_tensor(name, input).ndim < max(axis + 1, least):
        raise ShapeError(f"{name}: expected at least {max(axis + 1, least)} axes, got {input.shape}")
    if not isinstance(cuts, Sequence) and input.shape[axis] % shapes.whole(cuts, f"{name}: sections", minimum=1):
        raise ShapeError(f"{name}: {input.shape[axis]} along axis {axis} cannot be cut into {cuts} equal sections")
    return tensor_split(input, cuts, axis)


def atleast_1d(*tensors: Any) -> Any:
    """A 0-d tensor with one axis, any other as it is; several tensors (or a list) give a tuple."""
    return _each(tensors, 1, lambda t: t.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """With 2 axes at least: a vector is a row. Several tensors (or a list) give a tuple."""
    return _each(tensors, 2, lambda t: t.reshape(1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """With 3 axes at least: a vector has one in front and behind, a matrix one behind. Several give a tuple."""
    return _each(tensors, 3, lambda t: t.unsqueeze(-1) if t.ndim == 2 else t.reshape(1, -1, 1))


def _each(tensors: tuple[Any, ...], ndim: int, grown: Any) -> Any:
    listed = len(tensors) == 1 and isinstance(tensors[0], list | tuple)
    found = tuple(
        t if check_tensor(f"atleast_{ndim}d", t).ndim >= ndim else grown(t) for t in (tensors[0] if listed else tensors)
    )
    return found if listed or len(found) != 1 else found[0]
