"""What many spaces share: drawing dtypes, shapes that broadcast and dims; and measuring how near a kink is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch

ANY = (*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool")
KINK = 1e-3
"""The distance from a kink below which a difference of function values could reach over it."""

Shape = tuple[int, ...]


def both(function: Callable[..., Any]) -> dict[str, Any]:
    """The fields of a `Case` for a function that tinyconv and torch both understand."""
    return {"ours": function, "theirs": function}


def torch_dtype(dtype: Any) -> Any:
    """PyTorch's dtype of this name. Call it where torch's function is called, not where a case is drawn."""
    return getattr(torch(), np.dtype(dtype).name)


def any_shape(draw: Draw, min_dims: int = 0, max_dims: int = 4, max_side: int = 4) -> Shape:
    """A shape that is small enough to print; one in six has no elements."""
    shape = list(draw.shape(min_dims, max_dims, 1, max_side))
    if shape and draw.integer(0, 5) == 5:
        shape[draw.integer(0, len(shape) - 1)] = 0
    return tuple(shape)


def any_dtype(draw: Draw, dtypes: Sequence[str] = ANY) -> np.dtype[Any]:
    """One of `dtypes`; three times in four it is floating point."""
    floats, others = [d for d in dtypes if d in FLOATS], [d for d in dtypes if d not in FLOATS]
    dtype = np.dtype(draw.choice(others if not floats or (others and draw.integer(0, 3) == 3) else floats))
    draw.note({"f": dtype.name, "b": "bools"}.get(dtype.kind, "integers"))
    return dtype


def numbers(draw: Draw, shape: Sequence[int], dtype: np.dtype[Any], values: Sequence[str] = VALUES) -> Array:
    """An array of this dtype: with `values` if it is floating point, otherwise with few integers, or bools."""
    return draw.array(shape, dtype, values if dtype.kind == "f" else ("ties",))


def floats_among(draw: Draw, arrays: Sequence[Array]) -> list[int]:
    """The numbers of the arrays that get a gradient: some of those that can have one."""
    candidates = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    chosen = [candidates[k] for k in draw.subset(len(candidates))] if candidates else []
    draw.note_if(0 < len(chosen) < len(arrays), "constant operand")
    return chosen


def broadcast_shapes(draw: Draw, names: Sequence[str], max_side: int = 3) -> list[Shape]:
    """A shape for each of `names`. Half of the time they are the same; otherwise they must be broadcast."""
    whole = any_shape(draw, max_side=max_side)
    if not draw.flag():
        return [whole for _ in names]
    shapes = [tuple(draw.choice((n, 1)) for n in whole[draw.integer(0, len(whole)) :]) for _ in names]
    result = np.broadcast_shapes(*shapes)
    for name, shape in zip(names, shapes, strict=True):
        draw.note_if(shape != result, f"broadcast {name}")
    return shapes


def repeats(shapes: Sequence[Shape]) -> int:
    """The number of terms that the gradient of an input sums, at most, where inputs of these shapes broadcast."""
    size = prod(np.broadcast_shapes(*shapes))
    return max(max(1, size // max(prod(shape), 1)) for shape in shapes)


def one_dim(draw: Draw, ndim: int) -> int:
    """An axis, counted from either end; a 0-d tensor counts as having one axis."""
    dim = draw.integer(0, max(ndim, 1) - 1)
    if draw.flag():
        dim -= max(ndim, 1)
        draw.note("negative dim")
    return dim


def some_dims(draw: Draw, ndim: int) -> tuple[int, ...]:
    """Distinct axes, in any order and counted from either end."""
    dims = ordered_dims(draw, ndim, draw.integer(1, max(ndim, 1)))
    draw.note_if(len(dims) > 1, "several dims")
    return dims


def ordered_dims(draw: Draw, ndim: int, count: int) -> tuple[int, ...]:
    """`count` distinct axes, in any order and counted from either end."""
    left = list(range(max(ndim, 1)))
    dims = [left.pop(draw.integer(0, len(left) - 1)) - draw.choice((0, max(ndim, 1))) for _ in range(count)]
    draw.note_if(min(dims, default=0) < 0, "negative dim")
    return tuple(dims)


def reduction(draw: Draw, ndim: int, *, everything: Any = "left out") -> dict[str, Any]:
    """`dim` and `keepdim`, by torch's names or NumPy's. `everything` is a value of `dim` that means all axes."""
    form = draw.choice(("one", "all", "several", "one", "several", "all", "several", "()"))
    options: dict[str, Any] = {}
    if form == "one":
        options["dim"] = one_dim(draw, ndim)
    elif form == "several":
        options["dim"] = some_dims(draw, ndim)
    elif form == "()":
        options["dim"] = ()
        draw.note("all dims")
    else:
        draw.note("all dims")
        if everything != "left out" and draw.flag():
            options["dim"] = everything
    if "dim" in options and draw.flag():
        options["keepdim"] = True
        draw.note("keepdim")
    if options and not draw.integer(0, 3):
        draw.note("axis, keepdims")
        options = {{"dim": "axis", "keepdim": "keepdims"}[name]: value for name, value in options.items()}
    return options


def reduced_axes(options: dict[str, Any], ndim: int) -> tuple[int, ...]:
    """The axes that drawn options name, counted from the front."""
    dim = options.get("dim", options.get("axis"))
    if dim is None or dim == ():
        return tuple(range(ndim))
    return tuple(d % max(ndim, 1) for d in (dim if isinstance(dim, tuple) else (dim,)))[: max(ndim, 0)]


def finite(*arrays: Any) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)


def away(distance: Any, least: float = KINK) -> bool:
    """Whether all these distances from a kink are large, so that the function is smooth around its inputs."""
    with np.errstate(all="ignore"):
        return finite(distance) and bool((abs(np.asarray(distance)) > least).all())


def steepest(*slopes: Any) -> float:
    """The largest finite |element| of these derivatives."""
    return max((float(abs(s[np.isfinite(s)]).max(initial=0)) for s in map(np.asarray, slopes)), default=0.0)
