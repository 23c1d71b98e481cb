"""Shape arithmetic: integers in, integers out. No arrays, no array library, no tape.

Sizes are letters: N batch, C channels in, F filters (channels out), H W height and width, KH KW kernel, SH SW stride,
PH PW padding, DH DW dilation, OH OW output height and width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, TypeAlias

from tinyconv.errors import ShapeError, shortened
from tinyconv.user_frame import warn

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def whole(value: Any, what: str, *, minimum: int | None = None) -> int:
    """An integer of any kind, NumPy's and a 0-d array among them, as Python's; ShapeError for anything else."""
    if type(value) is int and (minimum is None or value >= minimum):
        return value
    try:
        found = index(value)
    except TypeError:
        hint = "; n // 2 is one where n / 2 is not" if isinstance(value, float) and value.is_integer() else ""
        hint = f"; without quotes, {value}" if isinstance(value, str) and value.isdecimal() else hint
        got = f"{value!r}{hint}"
        if shape := getattr(value, "shape", ()):
            fix = f"; a layer is made first, and then called: {what.partition(':')[0]}(...)(x)"
            got = f"an array of shape {tuple(shape)}{fix if what[0].isupper() else ''}"
        raise ShapeError(f"{what}: expected an integer, got {got}") from None
    if minimum is not None and found < minimum:
        raise ShapeError(f"{what}: expected at least {minimum}, got {value!r}")
    return found


def size(value: Any, what: str, *, minimum: int = 0) -> int | Pair:
    """As `pair`, but one number stays one number."""
    both = pair(value, what, minimum=minimum)
    return both if isinstance(value, Sequence) else both[0]


def pair(value: int | Sequence[int], what: str, *, minimum: int = 0) -> Pair:
    """`3` and `(3,)` -> (3, 3); `(1, 2)` -> (1, 2): how every argument with a height and a width may be given."""
    if type(value) is int and value >= minimum:  # the two usual ways, fast: every convolution comes here
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= minimum:
        return value
    if isinstance(value, Sequence) and len(value) == 1 and not isinstance(value, str):
        value = value[0]
    try:
        height, width = (index(v) for v in value) if isinstance(value, Sequence) else (index(value),) * 2
    except (TypeError, ValueError):
        raise ShapeError(f"{what}: expected an integer or a pair (height, width), got {shortened(value)}") from None
    if min(height, width) < minimum:
        raise ShapeError(f"{what}: expected at least {minimum} in each direction, got {shortened(value)}")
    return height, width


def single(value: int | Sequence[int], what: str, *, minimum: int = 0) -> tuple[int]:
    """`3` and `(3,)` -> (3,): how the arguments of signals, which have a length alone, may be given."""
    if isinstance(value, Sequence) and len(value) == 1 and not isinstance(value, str):
        value = value[0]
    if isinstance(value, Sequence):
        raise ShapeError(f"{what}: expected one integer, got {shortened(value)}")
    return (whole(value, what, minimum=minimum),)


def axes_of(dim: int | Sequence[int] | None, ndim: int, what: str) -> tuple[int, ...]:
    """The axes a `dim` argument names, counted from the front and each once; None or () names them all."""
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return tuple(range(ndim))
    axes = tuple(axis_of(d, ndim, what) for d in (dim if isinstance(dim, Sequence) else (dim,)))
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{what}: dim {shortened(dim)} names an axis twice")
    return axes


def axis_of(dim: int, ndim: int, what: str) -> int:
    """`-1` -> ndim - 1. A 0-d tensor counts as having one axis, as in torch."""
    limit = max(ndim, 1)
    try:
        dim = index(dim)
    except TypeError:
        raise ShapeError(f"{what}: dim must be an integer, got {shortened(dim)}") from None
    if not -limit <= dim < limit:
        raise ShapeError(f"{what}: dim {dim} is out of range for {ndim} axes (expected {-limit} to {limit - 1})")
    return dim % limit


def axis_in(dim: int, shape: Sequence[int], what: str) -> int:
    """`axis_of` for what needs an axis that is there: ShapeError for a 0-d tensor too."""
    if not shape:
        raise ShapeError(f"{what}: a 0-d tensor has no axes; give it one first: x.reshape(1)")
    return axis_of(dim, len(shape), what)


def conv_output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Positions at which a window fits: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Zero or less when the window is larger than the padded input (Dumoulin & Visin, arXiv:1603.07285, relationship 14).
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def transposed_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """The smallest size of which `conv_output_size` gives `size`, and `output_padding` more.

    (size - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding (the same paper, relationship 13).
    """
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


def pool_output_size(
    size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """As `conv_output_size`; with `ceil_mode` the last window may hang over the end, if it starts before the right
    padding does (a window of nothing but padding has no maximum)."""
    if not ceil_mode:
        return conv_output_size(size, kernel, stride, padding, dilation)
    out = -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1
    return out - 1 if (out - 1) * stride >= size + padding else out


def same_padding(kernel: int, dilation: int = 1) -> Pair:
    """Padding (before, after) that keeps a stride-1 convolution's size; an odd total puts the extra one after."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def adaptive_bounds(size: int, out: int) -> list[Pair]:
    """The `out` intervals that adaptive pooling cuts `size` into: [floor(i size / out), ceil((i + 1) size / out))."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def broadcast_axes(shape: Shape, to: Shape) -> tuple[int, ...]:
    """The axes of `to` along which an array of `shape` is repeated when broadcast: those its gradient sums over."""
    lead = len(to) - len(shape)
    return tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and to[lead + i] != 1)


def broadcast_shape(what: str, *shapes: Shape) -> Shape:
    """The shape that arrays of these shapes broadcast to; ShapeError where they do not."""
    sizes: list[int] = []
    for shape in shapes:
        sizes = [1] * (len(shape) - len(sizes)) + sizes
        for i, n in enumerate(reversed(shape), 1):
            if n != 1 and sizes[-i] not in (1, n):
                raise ShapeError(f"{what}: shapes {' and '.join(map(str, shapes))} do not broadcast")
            sizes[-i] = n if n != 1 else sizes[-i]
    return tuple(sizes)


def infer_reshape(shape: Shape, to: Sequence[int]) -> Shape:
    """Fill in the one -1 that `reshape` allows."""
    sizes = list(to)
    total = product(shape)
    if sizes.count(-1) == 1 and min(sizes) == -1:
        known = product(n for n in sizes if n != -1)
        if known and total % known == 0:
            sizes[sizes.index(-1)] = total // known
    if any(n < 0 for n in sizes) or product(sizes) != total:
        raise ShapeError(f"reshape: {shape} holds {total} elements and does not fit {tuple(to)}")
    return tuple(sizes)


def sizes_of(args: tuple[Any, ...], what: str) -> list[int]:
    """The sizes in `f(2, 3)` and `f((2, 3))` alike, as Python's integers."""
    given = args[0] if len(args) == 1 and isinstance(args[0], Sequence) and not isinstance(args[0], str) else args
    try:
        return [index(n) for n in given]
    except TypeError:
        raise ShapeError(f"{what} must be integers, got {tuple(given)}") from None


def new_sizes(args: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """The sizes in `f(2, 3)`, `f((2, 3))` and `f(size=(2, 3))` alike, each 0 or more. ShapeError for others."""
    if size is not None and args:
        raise ShapeError(f"sizes are given twice: {args} and size={size}")
    sizes = tuple(sizes_of(args if size is None else (size,), "sizes"))
    if min(sizes, default=0) < 0:
        raise ShapeError(f"sizes cannot be negative, got {sizes}")
    if max(sizes, default=0) >= 2**63:
        raise ShapeError(f"sizes must be below 2^63, got {sizes}")
    return sizes


def flattened(shape: Shape, start_dim: int, end_dim: int) -> Shape:
    """The shape with the axes from `start_dim` to `end_dim` as one."""
    start, end = axis_of(start_dim, len(shape), "flatten"), axis_of(end_dim, len(shape), "flatten")
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in {shape}")
    return (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :])


def expanded(shape: Shape, to: Sequence[int]) -> Shape:
    """`to` with its -1 filled in; ShapeError unless an array of `shape` can be repeated to it without copying."""
    lead = len(to) - len(shape)
    sizes = tuple(shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(to))
    fits = lead >= 0 and min(sizes, default=0) >= 0
    if not fits or any(n != m and n != 1 for n, m in zip(shape, sizes[lead:], strict=True)):
        raise ShapeError(f"expand: {shape} cannot be repeated to {tuple(to)}")
    return sizes


def split_sizes(total: int, sizes: int | Sequence[int], axis: int) -> list[int]:
    """The sizes of the pieces of an axis of size `total`: all of one size but perhaps the last, or those listed."""
    if not isinstance(sizes, Sequence):
        most = whole(sizes, "split: the size of a piece", minimum=1)
        sizes = [min(most, total - start) for start in range(0, total, most)] or [0]
    sizes = sizes_of(tuple(sizes), "split: sizes")
    if sum(sizes) != total:
        raise ShapeError(f"split: the sizes {list(sizes)} add up to {sum(sizes)}, and axis {axis} has {total}")
    return sizes


def axes_or_none(dim: int | Sequence[int] | None, ndim: int, what: str) -> tuple[int, ...] | None:
    """The `axis` of NumPy's reductions. A 0-d tensor has no axis there; `dim` counts one, as in torch."""
    axes = axes_of(dim, ndim, what)
    return axes if dim is not None and ndim else None


def check_not_empty(what: str, shape: Shape, dim: int | Sequence[int] | None) -> None:
    """Raise ShapeError if a choice is to be made along an axis of size 0."""
    if shape and any(shape[axis] == 0 for axis in axes_of(dim, len(shape), what)):
        raise ShapeError(f"{what}: a tensor of shape {shape} has nothing to choose from along dim {dim}")


def check_broadcast(what: str, *operands: object) -> None:
    """Raise ShapeError if these operands do not broadcast; an operand without a shape is a number."""
    known: list[Shape] = [getattr(operand, "shape", ()) for operand in operands]
    sizes = [1] * max(map(len, known))
    for shape in known:
        for i, n in enumerate(reversed(shape)):
            if n == 1:
                continue
            if sizes[i] not in (1, n):
                given = " and ".join(map(str, known)) if len(known) == 2 else ", ".join(map(str, known))
                raise ShapeError(f"{what}: shapes {given} do not broadcast")
            sizes[i] = n


def warn_of_pairs(what: str, a: Any, b: Any) -> None:
    """Warn where == or != of (N, 1) and (N,) compares each with each: an accuracy of that means nothing."""
    column, row = sorted((a.shape, getattr(b, "shape", ())), key=len, reverse=True)
    if what in ("equal", "not_equal") and len(row) == 1 < row[0] and column == (*row, 1):
        warn(
            f"{what}: {column} and {row} give ({row[0]}, {row[0]}), each compared with each; x.squeeze(1) for one by "
            "one, y[:, None] == y[None, :] where each with each is meant"
        )


def product(sizes: Iterable[int]) -> int:
    """The number of elements of a shape."""
    total = 1
    for n in sizes:
        total *= n
    return total
