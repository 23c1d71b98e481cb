"""Functions that give the same elements another shape or order, which are methods of Tensor too: `tc.flatten(x, 1)`.

Results are views where NumPy can make one.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyconv import ops, shapes
from tinyconv.errors import ShapeError
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Dim
from tinyconv.tensor.tensor import Tensor, apply

__all__ = ["chunk", "flatten", "permute", "reshape", "split", "squeeze", "t", "transpose", "unsqueeze"]


def reshape(input: Tensor, *sizes: int | Sequence[int], shape: Sequence[int] | None = None) -> Tensor:
    """The same elements, row by row, in another shape; one size may be -1. ShapeError where the sizes do not fit.

    x.reshape(2, -1), x.reshape((2, -1)), tc.reshape(x, (2, -1))
    """
    check_tensor("reshape", input)
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
    axis = shapes.axis_of(dim, input.ndim, "split")
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
    total = input.shape[shapes.axis_of(dim, input.ndim, "chunk")]
    if total == 0:
        return (input,) * chunks
    return split(input, -(-total // chunks), dim)
