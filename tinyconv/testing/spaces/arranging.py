"""Views by their other names in torch, pieces, joins along other axes, and copies in another order."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import (
    ANY,
    any_dtype,
    any_shape,
    both,
    broadcast_shapes,
    finite,
    floats_among,
    numbers,
    one_dim,
    ordered_dims,
    repeats,
)
from tinyconv.testing.spaces.shape import drawn, moved, parts, refactored

SPECIAL = (*VALUES, "special")


# --- views ----------------------------------------------------------------------------------------------------------


def widened(draw: Draw) -> tuple[Array, tuple[int, ...]]:
    """An array, and a larger shape that it broadcasts to."""
    target = any_shape(draw, max_dims=3)
    shape = tuple(draw.choice((n, 1)) for n in target[draw.integer(0, len(target)) :])
    return numbers(draw, shape, any_dtype(draw), SPECIAL), target


@space("broadcast_to")
def broadcast_to(draw: Draw) -> Case:
    x, target = widened(draw)
    return moved(draw, "broadcast_to", x, {"size": target}, magnitude=repeats([x.shape, target]))


@space("expand_as")
def expand_as(draw: Draw) -> Case:
    x, target = widened(draw)
    return moved(
        draw,
        "Tensor.expand_as",
        x,
        magnitude=repeats([x.shape, target]),
        ours=lambda x: x.expand_as(tc.zeros(target)),
        theirs=lambda x: x.expand_as(torch().zeros(target)),
    )


@space("view_as")
def view_as(draw: Draw) -> Case:
    x = drawn(draw)
    to = refactored(draw, x.size)
    return moved(
        draw,
        "Tensor.view_as",
        x,
        ours=lambda x: x.view_as(tc.zeros(to)),
        theirs=lambda x: x.contiguous().view_as(torch().zeros(to)),
    )


@space("reshape_as")
def reshape_as(draw: Draw) -> Case:
    x = drawn(draw)
    to = refactored(draw, x.size)
    ours, theirs = (lambda x: x.reshape_as(tc.zeros(to))), (lambda x: x.reshape_as(torch().zeros(to)))
    return moved(draw, "Tensor.reshape_as", x, ours=ours, theirs=theirs)


@space("broadcast_tensors")
def broadcast_tensors(draw: Draw) -> Case:
    shapes = broadcast_shapes(draw, ["a", "b", "c"][: draw.integer(1, 3)])
    arrays = parts(draw, shapes)
    needs = floats_among(draw, arrays)
    return Case(
        "broadcast_tensors",
        arrays,
        needs=needs,
        magnitude=repeats(shapes),
        differentiable=bool(needs),
        smooth=finite(*arrays),
    )


@space("movedim")
def movedim(draw: Draw) -> Case:
    x = drawn(draw)
    count = draw.integer(0, x.ndim)
    source, destination = (list(ordered_dims(draw, x.ndim, count)) for _ in range(2))
    if count == 1 and draw.flag():
        return moved(draw, "movedim", x, {"source": source[0], "destination": destination[0]})
    draw.note("several dims")
    return moved(draw, "movedim", x, {"source": tuple(source), "destination": tuple(destination)})


@space("swapaxes")
def swapaxes(draw: Draw) -> Case:
    x = drawn(draw)
    return moved(draw, "swapaxes", x, {"axis0": one_dim(draw, x.ndim), "axis1": one_dim(draw, x.ndim)})


@space("swapdims")
def swapdims(draw: Draw) -> Case:
    x = drawn(draw)
    return moved(draw, "swapdims", x, {"dim0": one_dim(draw, x.ndim), "dim1": one_dim(draw, x.ndim)})


@space("mT")
def matrices_transposed(draw: Draw) -> Case:
    return moved(draw, "Tensor.mT", drawn(draw, min_dims=2), **both(lambda x: x.mT))


@space("H")
def matrix_transposed(draw: Draw) -> Case:
    return moved(draw, "Tensor.H", drawn(draw, min_dims=2, max_dims=2), **both(lambda x: x.H))


@space("ravel")
def ravel(draw: Draw) -> Case:
    return moved(draw, "ravel", drawn(draw))


@space("unflatten")
def unflatten(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1)
    dim = one_dim(draw, x.ndim)
    to = refactored(draw, x.shape[dim]) or [1]
    i = draw.integer(0, len(to) - 1)
    if draw.flag() and np.prod(to[:i] + to[i + 1 :]):
        draw.note("-1")
        to[i] = -1
    return moved(draw, "Tensor.unflatten", x, {"dim": dim, "sizes": tuple(to)})


@space("select")
def select(draw: Draw) -> Case:
    shape = tuple(max(n, 1) for n in any_shape(draw, 1))
    x = numbers(draw, shape, any_dtype(draw), SPECIAL)
    dim = one_dim(draw, x.ndim)
    return moved(draw, "select", x, {"dim": dim, "index": draw.integer(-shape[dim], shape[dim] - 1)})


@space("narrow")
def narrow(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1)
    dim = one_dim(draw, x.ndim)
    start = draw.integer(0, x.shape[dim])
    length = draw.integer(0, x.shape[dim] - start)
    if x.shape[dim] > start and draw.flag():
        draw.note("negative start")
        start -= x.shape[dim]
    return moved(draw, "narrow", x, {"dim": dim, "start": start, "length": length})


@space("unbind")
def unbind(draw: Draw) -> Case:
    shape = tuple(max(n, 1) for n in any_shape(draw, 1))
    x = numbers(draw, shape, any_dtype(draw), SPECIAL)
    return moved(draw, "unbind", x, {"dim": one_dim(draw, x.ndim)})


@space("tensor_split")
def tensor_split(draw: Draw) -> Case:
    """Into a number of pieces, or at places, beyond the ends too."""
    x = drawn(draw, min_dims=1)
    dim = one_dim(draw, x.ndim)
    cuts: Any = draw.integer(1, 5)
    if draw.flag():
        draw.note("at places")
        cuts = tuple(draw.integer(-5, 6) for _ in range(draw.integer(0, 3)))
    return moved(
        draw,
        "tensor_split",
        x,
        {"dim": dim},
        ours=lambda x, dim: tc.tensor_split(x, cuts, dim),
        theirs=lambda x, dim: x.tensor_split(cuts, dim),
    )


def equal_split(draw: Draw, name: str, axis: int, least: int) -> Case:
    """Into equal pieces, or at places."""
    x = drawn(draw, min_dims=least)
    axis = 0 if x.ndim == 1 else axis
    cuts: Any = draw.choice([n for n in range(1, 5) if x.shape[axis] % n == 0])
    if draw.flag():
        draw.note("at places")
        cuts = tuple(draw.integer(-5, 6) for _ in range(draw.integer(0, 3)))
    run = lambda x, indices_or_sections: getattr(x, name)(indices_or_sections)  # noqa: E731
    return moved(draw, name, x, {"indices_or_sections": cuts}, **both(run))


@space("hsplit")
def hsplit(draw: Draw) -> Case:
    return equal_split(draw, "hsplit", 1, 1)


@space("vsplit")
def vsplit(draw: Draw) -> Case:
    return equal_split(draw, "vsplit", 0, 2)


@space("dsplit")
def dsplit(draw: Draw) -> Case:
    return equal_split(draw, "dsplit", 2, 3)


def grown(draw: Draw, name: str) -> Case:
    arrays = [drawn(draw) for _ in range(draw.integer(1, 2))]
    needs = floats_among(draw, arrays)
    draw.note_if(len(arrays) > 1, "several tensors")
    return Case(name, arrays, needs=needs, differentiable=bool(needs), smooth=finite(*arrays), joined=draw.flag())


@space("atleast_1d")
def atleast_1d(draw: Draw) -> Case:
    return grown(draw, "atleast_1d")


@space("atleast_2d")
def atleast_2d(draw: Draw) -> Case:
    return grown(draw, "atleast_2d")


@space("atleast_3d")
def atleast_3d(draw: Draw) -> Case:
    return grown(draw, "atleast_3d")


# --- joins ----------------------------------------------------------------------------------------------------------


def stacked(draw: Draw, name: str, shape: tuple[int, ...], along: int | None) -> Case:
    """Tensors of this shape but along one axis, and among them perhaps one of torch's old empty kind."""
    shapes = []
    for _ in range(draw.integer(1, 3)):
        free = draw.integer(0, 3)
        shapes.append(tuple(free if i == along else n for i, n in enumerate(shape)))
    arrays = parts(draw, shapes)
    needs = floats_among(draw, arrays)
    return Case(name, arrays, needs=needs, joined=True, differentiable=bool(needs), smooth=finite(*arrays))


@space("hstack")
def hstack(draw: Draw) -> Case:
    shape = any_shape(draw, 0, 3, 3)
    return stacked(draw, "hstack", shape, min(len(shape), 2) - 1)


@space("vstack")
def vstack(draw: Draw) -> Case:
    shape = any_shape(draw, 0, 3, 3)
    return stacked(draw, "vstack", shape, 0 if len(shape) > 1 else None)


@space("dstack")
def dstack(draw: Draw) -> Case:
    shape = any_shape(draw, 0, 3, 3)
    return stacked(draw, "dstack", shape, 2)


@space("column_stack")
def column_stack(draw: Draw) -> Case:
    shape = any_shape(draw, 0, 3, 3)
    return stacked(draw, "column_stack", shape, 1)


# --- copies in another order ----------------------------------------------------------------------------------------


@space("flip")
def flip(draw: Draw) -> Case:
    x = drawn(draw)
    dims = ordered_dims(draw, x.ndim, draw.integer(0, x.ndim))
    return moved(draw, "flip", x, {"dims": tuple(dims)})


@space("fliplr")
def fliplr(draw: Draw) -> Case:
    return moved(draw, "fliplr", drawn(draw, min_dims=2))


@space("flipud")
def flipud(draw: Draw) -> Case:
    return moved(draw, "flipud", drawn(draw, min_dims=1))


@space("roll")
def roll(draw: Draw) -> Case:
    """Along one axis or several, the same one twice too, or flattened; by more than there are."""
    x = drawn(draw)
    if not x.ndim or not draw.integer(0, 2):
        draw.note("flattened")
        return moved(draw, "roll", x, {"shifts": draw.integer(-7, 7)})
    if draw.flag():
        return moved(draw, "roll", x, {"shifts": draw.integer(-7, 7), "dims": one_dim(draw, x.ndim)})
    draw.note("several dims")
    dims = tuple(one_dim(draw, x.ndim) for _ in range(draw.integer(1, 3)))
    return moved(draw, "roll", x, {"shifts": tuple(draw.integer(-5, 5) for _ in dims), "dims": dims})


@space("rot90")
def rot90(draw: Draw) -> Case:
    x = drawn(draw, min_dims=2)
    return moved(draw, "rot90", x, {"k": draw.integer(-5, 5), "dims": tuple(ordered_dims(draw, x.ndim, 2))})


@space("repeat")
def repeat(draw: Draw) -> Case:
    x = drawn(draw, max_dims=3)
    times = [draw.choice((2, 1, 3, 0)) for _ in range(x.ndim + draw.integer(0, 2))]
    spread = max(int(np.prod(times)), 1)
    return moved(draw, "Tensor.repeat", x, magnitude=spread, **both(lambda x: x.repeat(tuple(times))))


@space("tile")
def tile(draw: Draw) -> Case:
    x = drawn(draw, max_dims=3)
    times = tuple(draw.choice((2, 1, 3, 0)) for _ in range(draw.integer(0, x.ndim + 1)))
    draw.note_if(len(times) < x.ndim, "fewer than axes")
    options = {"dims": times}
    return moved(draw, "tile", x, options, magnitude=max(int(np.prod(times)), 1), **both(lambda x, dims: x.tile(dims)))


@space("repeat_interleave")
def repeat_interleave(draw: Draw) -> Case:
    x = drawn(draw, max_dims=3)
    dim = one_dim(draw, x.ndim) if x.ndim and draw.flag() else None
    draw.note_if(dim is None, "flattened")
    size = x.size if dim is None else x.shape[dim]
    options = {} if dim is None else {"dim": dim}
    if draw.flag():
        return moved(draw, "repeat_interleave", x, {"repeats": draw.integer(0, 3), **options}, magnitude=3)
    draw.note("a tensor of repeats")
    count = draw.choice((size, 1))
    times = np.array([draw.integer(0, 3) for _ in range(count)], np.int64)
    needs = floats_among(draw, [x])
    return Case(
        "repeat_interleave",
        [x, times],
        options,
        needs=needs,
        magnitude=3,
        differentiable=bool(needs),
        smooth=finite(x),
    )


# --- triangles and diagonals ----------------------------------------------------------------------------------------


def triangle(draw: Draw, name: str) -> Case:
    x = drawn(draw, min_dims=2)
    return moved(draw, name, x, {"diagonal": draw.integer(-4, 4)} if draw.flag() else {})


@space("tril")
def tril(draw: Draw) -> Case:
    return triangle(draw, "tril")


@space("triu")
def triu(draw: Draw) -> Case:
    return triangle(draw, "triu")


@space("diagonal")
def diagonal(draw: Draw) -> Case:
    x = drawn(draw, min_dims=2)
    options: dict[str, int] = {"offset": draw.integer(-3, 3)} if draw.flag() else {}
    if draw.flag():
        draw.note("other axes")
        options["dim1"], options["dim2"] = ordered_dims(draw, x.ndim, 2)
    return moved(draw, "diagonal", x, options)


@space("diag")
def diag(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1, max_dims=2)
    draw.note("of a vector" if x.ndim == 1 else "of a matrix")
    return moved(draw, "diag", x, {"diagonal": draw.integer(-3, 3)} if draw.flag() else {})


@space("diag_embed")
def diag_embed(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1, max_dims=3)
    options: dict[str, int] = {"offset": draw.integer(-3, 3)} if draw.flag() else {}
    if draw.flag():
        draw.note("other axes")
        options["dim1"], options["dim2"] = ordered_dims(draw, x.ndim + 1, 2)
    return moved(draw, "diag_embed", x, options)


@space("fill_diagonal_")
def fill_diagonal_(draw: Draw) -> Case:
    """Matrices, tall ones too, and cubes. Values alone: a number has no gradient."""
    cube = (draw.integer(1, 4),) * 3
    shape = cube if not draw.integer(0, 3) else (draw.integer(1, 7), draw.integer(1, 4))
    x = numbers(draw, shape, any_dtype(draw, tuple(d for d in ANY if d != "bool")), SPECIAL)
    options = {"wrap": True} if len(shape) == 2 and draw.flag() else {}
    draw.note_if(options, "wrap")

    def filled(x: Any, **options: Any) -> Any:
        return x.clone().fill_diagonal_(2, **options)

    return Case("Tensor.fill_diagonal_", [x], options, differentiable=False, **both(filled))


def in_place(draw: Draw, name: str) -> Case:
    """A copy is written to, and its gradient is that of what it was copied from."""
    x = numbers(draw, any_shape(draw, 2), any_dtype(draw, FLOATS), SPECIAL)
    options = {"diagonal": draw.integer(-4, 4)}
    return moved(draw, f"Tensor.{name}", x, options, **both(lambda x, **given: getattr(x.clone(), name)(**given)))


@space("tril_")
def tril_(draw: Draw) -> Case:
    return in_place(draw, "tril_")


@space("triu_")
def triu_(draw: Draw) -> Case:
    return in_place(draw, "triu_")
