"""Elements picked by index tensors and masks, and put there; their order, and their counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
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
    finite,
    floats_among,
    numbers,
    one_dim,
)

SPECIAL = (*VALUES, "special")


def places(draw: Draw, shape: tuple[int, ...], size: int, *, once: int | None = None) -> Array:
    """Integers below `size`; with `once`, an axis along which no two are the same."""
    rng = np.random.default_rng(draw.integer(0, 2**32 - 1))
    if once is not None:
        order = np.argsort(rng.random((*shape[:once], size, *shape[once + 1 :])), axis=once)
        return order[(slice(None),) * once + (slice(shape[once]),)]
    draw.note("integer array")
    return rng.integers(0, max(size, 1), shape)


def indexed(draw: Draw) -> tuple[Array, int, tuple[int, ...]]:
    """An array, one of its axes, and the shape of an index along it, at most as large along the others."""
    x = numbers(draw, any_shape(draw, 0, 3), any_dtype(draw), SPECIAL)
    dim = one_dim(draw, x.ndim)
    if not x.ndim:
        return x, dim, ()
    shape = tuple(n if draw.integer(0, 2) else draw.integer(0, n) for n in x.shape)
    length = draw.integer(0, 4) if x.shape[dim] else 0
    return x, dim, tuple(length if i == dim % x.ndim else n for i, n in enumerate(shape))


def picked(
    draw: Draw, name: str, inputs: list[Array], options: dict[str, Any], terms: float = 1, **fields: Any
) -> Case:
    needs = floats_among(draw, inputs)
    return Case(
        name,
        inputs,
        options,
        needs=needs,
        magnitude=terms,
        differentiable=bool(needs),
        smooth=finite(*(x for x in inputs if x.dtype.kind == "f")),
        **fields,
    )


@space("gather")
def gather(draw: Draw) -> Case:
    x, dim, shape = indexed(draw)
    index = places(draw, shape, x.shape[dim] if x.ndim else 1)
    options = {"dim": dim}
    return picked(
        draw,
        "gather",
        [x, index],
        options,
        max(shape, default=1),
        theirs=lambda x, i, dim, **options: x.gather(dim, i, **options),
        ours=lambda x, i, dim, **options: tc.gather(x, dim, i, **options),
    )


@space("take_along_dim")
def take_along_dim(draw: Draw) -> Case:
    """What argsort returns, or any places; other axes may broadcast."""
    x, dim, _ = indexed(draw)
    x = x.reshape(1) if not x.ndim else x
    if not x.size:
        x = numbers(draw, (2, 3), x.dtype)
        dim = 0
    shape = tuple(draw.integer(1, 4) if i == dim % x.ndim else draw.choice((n, 1)) for i, n in enumerate(x.shape))
    draw.note_if(shape != x.shape, "broadcast index")
    index = places(draw, shape, x.shape[dim])
    if draw.flag():
        draw.note("negative index")
        index[...] = np.where(index % 2, index - x.shape[dim], index)
    if draw.flag():
        draw.note("flattened")
        return picked(draw, "take_along_dim", [x, places(draw, shape, x.size)], {}, index.size)
    return picked(draw, "take_along_dim", [x, index], {"dim": dim}, 4 * x.size)


def scattered(draw: Draw, name: str, add: bool) -> Case:
    """Places that differ along the axis, unless what is there is added up or one number."""
    x, dim, shape = indexed(draw)
    number = not add and draw.flag()
    size = x.shape[dim] if x.ndim else 1
    if not (add or number) and shape:
        shape = tuple(min(n, size) if i == dim % x.ndim else n for i, n in enumerate(shape))
    index = places(draw, shape, size, once=None if add or number or not shape else dim % x.ndim)
    if number:
        draw.note("a number")
        value = 2 if x.dtype.kind != "b" else True
        call = lambda x, index, dim, value: getattr(x, name)(dim, index, value)  # noqa: E731
        return picked(draw, f"Tensor.{name}", [x, index], {"dim": dim, "value": value}, **both(call))
    larger = tuple(n + draw.choice((0, 0, 0, 0, 0, 1)) for n in shape)
    source = numbers(draw, larger, x.dtype, SPECIAL)
    put = lambda x, index, source, dim, **options: getattr(x, name)(dim, index, source, **options)  # noqa: E731
    terms = 4 * max(max(shape, default=1), 1)
    case = picked(draw, f"Tensor.{name}", [x, index, source], {"dim": dim}, terms, **both(put))
    if larger != shape:
        draw.note("larger src")
        case.needs = [0] if x.dtype.kind == "f" else []  # PyTorch fails to give its gradient
    return case


@space("scatter")
def scatter(draw: Draw) -> Case:
    return scattered(draw, "scatter", False)


@space("scatter_add")
def scatter_add(draw: Draw) -> Case:
    return scattered(draw, "scatter_add", True)


def in_place(case: Case) -> Case:
    """The same case, with the method that writes into a copy of the input."""
    run = case.ours
    assert run is not None
    case.call += "_"
    case.ours = case.theirs = lambda x, *given, **options: _written(run, x.clone(), *given, **options)
    return case


class _InPlace:
    """A tensor whose methods have an underscore more."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __getattr__(self, name: str) -> Any:
        return getattr(self.x, f"{name}_")


def _written(run: Callable[..., Any], x: Any, *given: Any, **options: Any) -> Any:
    return run(_InPlace(x), *given, **options)


@space("scatter_")
def scatter_(draw: Draw) -> Case:
    return in_place(scattered(draw, "scatter", False))


@space("scatter_add_")
def scatter_add_(draw: Draw) -> Case:
    return in_place(scattered(draw, "scatter_add", True))


# --- slices ---------------------------------------------------------------------------------------------------------


def slices(draw: Draw, once: bool) -> tuple[Array, int, Array]:
    """An array with an axis, one of its axes, and places along it."""
    x = numbers(draw, any_shape(draw, 1, 3), any_dtype(draw), SPECIAL)
    dim = one_dim(draw, x.ndim)
    size = x.shape[dim]
    count = draw.integer(0, size if once else 4) if size else 0
    return x, dim, places(draw, (count,), size, once=0 if once else None)


@space("index_select")
def index_select(draw: Draw) -> Case:
    x, dim, index = slices(draw, False)
    call = lambda x, index, dim: x.index_select(dim, index)  # noqa: E731
    return picked(draw, "Tensor.index_select", [x, index], {"dim": dim}, 4, **both(call))


def into_slices(draw: Draw, name: str, once: bool) -> Case:
    x, dim, index = slices(draw, once)
    shape = tuple(len(index) if i == dim % x.ndim else n for i, n in enumerate(x.shape))
    source = numbers(draw, shape, x.dtype, SPECIAL)
    call = lambda x, index, source, dim, **options: getattr(x, name)(dim, index, source, **options)  # noqa: E731
    return picked(draw, f"Tensor.{name}", [x, index, source], {"dim": dim}, 8, **both(call))


@space("index_add")
def index_add(draw: Draw) -> Case:
    case = into_slices(draw, "index_add", False)
    if draw.flag() and case.inputs[0].dtype != np.bool_:
        draw.note("alpha=2")
        dim = case.inputs[0].ndim - 1
        count = min(case.inputs[0].shape[dim], 2)
        case.inputs = [case.inputs[0], np.zeros(count, np.int64), case.inputs[0][..., :count].copy()]
        case.options = {"dim": dim, "alpha": 2}
    return case


@space("index_add_")
def index_add_(draw: Draw) -> Case:
    return in_place(into_slices(draw, "index_add", False))


@space("index_copy")
def index_copy(draw: Draw) -> Case:
    return into_slices(draw, "index_copy", True)


@space("index_copy_")
def index_copy_(draw: Draw) -> Case:
    return in_place(into_slices(draw, "index_copy", True))


def filled(draw: Draw) -> Case:
    """By a number, or by a 0-d tensor, whose gradient counts each place once."""
    x, dim, index = slices(draw, False)
    call = lambda x, index, value=1, *, dim: x.index_fill(dim, index, value)  # noqa: E731
    if draw.flag():
        return picked(draw, "Tensor.index_fill", [x, index], {"dim": dim}, **both(call))
    draw.note("a 0-d tensor")
    return picked(draw, "Tensor.index_fill", [x, index, numbers(draw, (), x.dtype)], {"dim": dim}, 64, **both(call))


@space("index_fill")
def index_fill(draw: Draw) -> Case:
    return filled(draw)


@space("index_fill_")
def index_fill_(draw: Draw) -> Case:
    return in_place(filled(draw))


@space("take")
def take(draw: Draw) -> Case:
    """By places in the flattened input, from either end."""
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)
    shape = draw.shape(0, 3, 0, 3) if x.size else (0,)
    index = places(draw, shape, x.size) - (x.size if draw.flag() else 0)
    return picked(draw, "take", [x, index], {}, max(prod(shape), 1))


# --- masks ----------------------------------------------------------------------------------------------------------


def masked(draw: Draw, least: int = 0) -> tuple[Array, Array]:
    """An array and a mask that broadcast to each other."""
    whole = any_shape(draw, least, 3)
    shapes = [tuple(draw.choice((n, n, 1)) for n in whole[draw.choice((0, 0, len(whole))) :]) for _ in range(2)]
    draw.note_if(shapes[0] != shapes[1], "broadcast")
    x = numbers(draw, shapes[0], any_dtype(draw), SPECIAL)
    return x, draw.array(shapes[1], np.dtype(bool), ("ties",))


@space("masked_fill")
def masked_fill(draw: Draw) -> Case:
    """By a number, or by a 0-d tensor, which has a gradient too."""
    x, mask = masked(draw)
    if draw.flag():
        value = 2.5 if x.dtype.kind == "f" else True
        return picked(draw, "masked_fill", [x, mask], {"value": value}, 64)
    draw.note("a 0-d tensor")
    return picked(draw, "masked_fill", [x, mask, numbers(draw, (), x.dtype)], {}, 64)


@space("masked_fill_")
def masked_fill_(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw, 0, 3), any_dtype(draw), SPECIAL)
    mask = draw.array(x.shape[draw.integer(0, x.ndim) :], np.dtype(bool), ("ties",))
    value = 2.5 if x.dtype.kind == "f" else True
    return picked(draw, "Tensor.masked_fill_", [x, mask], {}, **both(lambda x, m: x.clone().masked_fill_(m, value)))


@space("masked_select")
def masked_select(draw: Draw) -> Case:
    x, mask = masked(draw)
    return picked(draw, "masked_select", [x, mask], {}, 64)


def chosen(draw: Draw, name: str) -> Case:
    """More elements than are needed, of any shape."""
    x = numbers(draw, any_shape(draw, 1, 3), any_dtype(draw), SPECIAL)
    mask = draw.array(x.shape, np.dtype(bool), ("ties",))
    source = numbers(draw, (2, x.size), x.dtype, SPECIAL)
    run = lambda x, mask, source: getattr(x.clone(), name)(mask, source)  # noqa: E731
    return picked(draw, f"Tensor.{name}", [x, mask, source], {}, **both(run))


@space("masked_scatter")
def masked_scatter(draw: Draw) -> Case:
    return chosen(draw, "masked_scatter")


@space("masked_scatter_")
def masked_scatter_(draw: Draw) -> Case:
    return chosen(draw, "masked_scatter_")


@space("nonzero")
def nonzero(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw, 0, 3), any_dtype(draw), SPECIAL)
    options = {"as_tuple": True} if draw.flag() else {}
    draw.note_if(options, "as_tuple")
    return Case("nonzero", [x], options, differentiable=False)


@space("argwhere")
def argwhere(draw: Draw) -> Case:
    return Case("argwhere", [numbers(draw, any_shape(draw, 0, 3), any_dtype(draw), SPECIAL)], differentiable=False)


# --- order ----------------------------------------------------------------------------------------------------------


def orderly(draw: Draw, *, ties: bool) -> tuple[Array, int]:
    """An array, with equal elements or without, and one of its axes."""
    shape = any_shape(draw, 0, 3)
    dtype = any_dtype(draw, ANY if ties else FLOATS)
    x = numbers(draw, shape, dtype, SPECIAL if ties else ("normal",))
    if not ties and len(np.unique(x)) < x.size:  # a layout that repeats elements
        x = np.asarray(np.random.default_rng(0).permutation(x.size).reshape(shape), dtype)
    return x, one_dim(draw, x.ndim)


@space("sort")
def sort(draw: Draw) -> Case:
    """Equal elements keep their order, in torch where it is asked to."""
    x, dim = orderly(draw, ties=True)
    options = {"dim": dim, "descending": draw.flag(), "stable": True}
    draw.note_if(options["descending"], "descending")
    return picked(draw, "sort", [x], options, theirs=lambda x, **options: tuple(torch().sort(x, **options)))


@space("msort")
def msort(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw, 1, 3), any_dtype(draw, FLOATS), ("normal",))
    return picked(draw, "msort", [x], {}, 4)


@space("argsort")
def argsort(draw: Draw) -> Case:
    x, dim = orderly(draw, ties=True)
    options = {"dim": dim, "descending": draw.flag(), "stable": True}
    return Case("argsort", [x], options, differentiable=False)


@space("topk")
def topk(draw: Draw) -> Case:
    """The elements differ: which of equal ones torch takes, nobody promises."""
    x, dim = orderly(draw, ties=False)
    options: dict[str, Any] = {"k": draw.integer(0, x.shape[dim]) if x.ndim else 1, "dim": dim}
    if draw.flag():
        draw.note("smallest")
        options["largest"] = False
    return picked(draw, "topk", [x], options)


@space("kthvalue")
def kthvalue(draw: Draw) -> Case:
    x, dim = orderly(draw, ties=False)
    if not x.size:
        x = np.ones(1, x.dtype)
        dim = 0
    options: dict[str, Any] = {"k": draw.integer(1, x.shape[dim] if x.ndim else 1), "dim": dim}
    if draw.flag():
        draw.note("keepdim")
        options["keepdim"] = True
    return picked(draw, "kthvalue", [x], options)


# --- looking for, and counting --------------------------------------------------------------------------------------


def different(draw: Draw, name: str, options: dict[str, Any]) -> Case:
    x = numbers(draw, any_shape(draw, 0, 3), any_dtype(draw), ("ties", "normal", "special"))
    for option in ("return_inverse", "return_counts"):
        if draw.flag():
            draw.note(option)
            options[option] = True
    if x.ndim and x.size and not np.isnan(x).any() and draw.flag():
        draw.note("dim=")
        options["dim"] = one_dim(draw, x.ndim)
    return Case(name, [x], options, differentiable=False)


@space("unique")
def unique(draw: Draw) -> Case:
    return different(draw, "unique", {"sorted": True})


@space("unique_consecutive")
def unique_consecutive(draw: Draw) -> Case:
    return different(draw, "unique_consecutive", {})


@space("bincount")
def bincount(draw: Draw) -> Case:
    x = places(draw, (draw.integer(0, 9),), 6)
    options = {"minlength": draw.integer(0, 9)} if draw.flag() else {}
    inputs = [x]
    if x.size and draw.flag():
        draw.note("weights")
        inputs.append(numbers(draw, x.shape, any_dtype(draw, (*FLOATS, "int64"))))
    return Case("bincount", inputs, options, magnitude="terms" if len(inputs) == 1 else 16, differentiable=False)


def sequence_and_values(draw: Draw, rows: tuple[int, ...]) -> list[Array]:
    dtype = any_dtype(draw, (*FLOATS, "int64"))
    sequence = np.sort(draw.values((*rows, draw.integer(0, 5)), dtype, draw.choice(("ties", "normal"))), axis=-1)
    shape = (*rows, draw.integer(0, 4)) if rows else any_shape(draw, 0, 3)
    return [sequence, draw.values(shape, dtype, draw.choice(("ties", "normal")))]


@space("searchsorted")
def searchsorted(draw: Draw) -> Case:
    """In one sequence, or in one for each row."""
    inputs = sequence_and_values(draw, any_shape(draw, 0, 2, 3))
    options: dict[str, Any] = draw.choice(({}, {"right": True}, {"side": "right"}, {"out_int32": True}))
    draw.note(*options)
    return Case("searchsorted", inputs, options, differentiable=False)


@space("bucketize")
def bucketize(draw: Draw) -> Case:
    boundaries, x = sequence_and_values(draw, ())
    options: dict[str, Any] = draw.choice(({}, {"right": True}, {"out_int32": True}))
    return Case("bucketize", [x, boundaries], options, differentiable=False)


@space("isin")
def isin(draw: Draw) -> Case:
    dtype = any_dtype(draw, (*FLOATS, "int64", "int32", "uint8"))
    x = numbers(draw, any_shape(draw), dtype, ("ties", "special"))
    options = {"invert": True} if draw.flag() else {}
    if draw.flag():
        draw.note("python number")
        run = lambda x, **options: torch().isin(x, 1, **options)  # noqa: E731
        return Case("isin", [x], options, differentiable=False, ours=partial(tc.isin, test_elements=1), theirs=run)
    return Case("isin", [x, numbers(draw, any_shape(draw, 0, 2), dtype, ("ties",))], options, differentiable=False)
