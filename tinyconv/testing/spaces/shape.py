"""Ops that move elements: views, joins, every kind of index; and tensors made from numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.tensor.index import integers_first
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
    ordered_dims,
    repeats,
    some_dims,
    torch_dtype,
)

SPECIAL = (*VALUES, "special")


def drawn(draw: Draw, min_dims: int = 0, max_dims: int = 4) -> Array:
    """An array of any dtype."""
    return numbers(draw, any_shape(draw, min_dims, max_dims), any_dtype(draw), SPECIAL)


def moved(draw: Draw, name: str, x: Array, options: dict[str, Any] | None = None, **fields: Any) -> Case:
    needs = floats_among(draw, [x])
    return Case(name, [x], options or {}, needs=needs, differentiable=bool(needs), smooth=finite(x), **fields)


# --- views ----------------------------------------------------------------------------------------------------------


def refactored(draw: Draw, count: int) -> list[int]:
    """Sizes whose product is `count`: its prime factors, dealt out to a few axes."""
    sizes = [1] * draw.integer(1 if count != 1 else 0, 4)
    if count == 0:
        sizes = [draw.integer(0, 3) for _ in sizes]
        sizes[draw.integer(0, len(sizes) - 1)] = 0
        return sizes
    factor = 2
    while count > 1:
        if count % factor:
            factor += 1
        else:
            count //= factor
            sizes[draw.integer(0, len(sizes) - 1)] *= factor
    return sizes


@space("reshape")
def reshape(draw: Draw) -> Case:
    """One size may be -1, if it follows from the others. `view` does the same here; torch's needs a fitting layout."""
    x = drawn(draw)
    sizes = refactored(draw, x.size)
    if sizes and draw.flag():
        axis = draw.integer(0, len(sizes) - 1)
        if prod(sizes[:axis] + sizes[axis + 1 :]):
            sizes[axis] = -1
            draw.note("-1")
    draw.note_if(not sizes, "to 0-d")
    spelling = draw.choice(("sizes", "tuple", "view"))
    if spelling == "view":
        draw.note("view")
        return moved(draw, "Tensor.reshape", x, ours=lambda x: x.view(*sizes), theirs=lambda x: x.reshape(sizes))
    if spelling == "tuple" or not sizes:
        return moved(draw, "Tensor.reshape", x, {"shape": tuple(sizes)}, **both(lambda x, shape: x.reshape(shape)))
    return moved(draw, "Tensor.reshape", x, **both(lambda x: x.reshape(*sizes)))


@space("flatten")
def flatten(draw: Draw) -> Case:
    x = drawn(draw)
    options = {}
    axes = sorted(draw.integer(0, max(x.ndim, 1) - 1) for _ in range(2))
    for name, axis in zip(("start_dim", "end_dim"), axes, strict=True):
        if draw.flag():
            negative = draw.flag()
            options[name] = axis - max(x.ndim, 1) * negative
            draw.note(name)
            draw.note_if(negative, "negative dim")
    return moved(draw, "flatten", x, options)


@space("squeeze")
def squeeze(draw: Draw) -> Case:
    """Axes that are named and do not have size 1 stay."""
    shape = tuple(draw.choice((1, 3, 1, 2, 1, 3, 0)) for _ in range(draw.integer(0, 4)))
    x = numbers(draw, shape, any_dtype(draw), SPECIAL)
    form = draw.choice(("all", "one", "several"))
    options: dict[str, Any] = {}
    if form == "all":
        draw.note("all dims")
    else:
        options["dim"] = one_dim(draw, x.ndim) if form == "one" else some_dims(draw, x.ndim)
        named = options["dim"] if form == "several" else (options["dim"],)
        draw.note_if(x.ndim and any(shape[i] != 1 for i in named), "not of size 1")
    return moved(draw, "squeeze", x, options)


@space("unsqueeze")
def unsqueeze(draw: Draw) -> Case:
    x = drawn(draw, max_dims=3)
    return moved(draw, "unsqueeze", x, {"dim": one_dim(draw, x.ndim + 1)})


@space("permute")
def permute(draw: Draw) -> Case:
    x = drawn(draw)
    dims = ordered_dims(draw, x.ndim, x.ndim)
    if dims and draw.flag():
        return moved(draw, "Tensor.permute", x, **both(lambda x: x.permute(*dims)))
    return moved(draw, "Tensor.permute", x, {"dims": dims}, **both(lambda x, dims: x.permute(dims)))


@space("transpose")
def transpose(draw: Draw) -> Case:
    x = drawn(draw)
    dims = {"dim0": one_dim(draw, x.ndim), "dim1": one_dim(draw, x.ndim)}
    draw.note_if(dims["dim0"] == dims["dim1"], "the same dim")
    return moved(draw, "transpose", x, dims)


@space("T")
def reversed_axes(draw: Draw) -> Case:
    """torch wants matrices here, so it is asked for `permute`."""
    x = drawn(draw)
    return moved(draw, "Tensor.T", x, ours=lambda x: x.T, theirs=lambda x: x.permute(tuple(reversed(range(x.ndim)))))


@space("t")
def t(draw: Draw) -> Case:
    return moved(draw, "Tensor.t", drawn(draw, max_dims=2))


@space("expand")
def expand(draw: Draw) -> Case:
    """Axes of size 1 are repeated, perhaps 0 times, and axes are added in front."""
    shape = tuple(draw.choice((1, 1, 2, 3, 1, 2, 0)) for _ in range(draw.integer(0, 3)))
    x = numbers(draw, shape, any_dtype(draw), SPECIAL)
    lead = list(any_shape(draw, max_dims=2, max_side=3))
    target = [draw.choice((3, 2, 1, 4, 3, 0)) if n == 1 else n for n in shape]
    sizes = lead + [-1 if to == n and draw.flag() else to for n, to in zip(shape, target, strict=True)]
    draw.note_if(lead, "new dims")
    draw.note_if(-1 in sizes, "-1")
    terms = repeats([shape, (*lead, *target)])
    if sizes and draw.flag():
        return moved(draw, "Tensor.expand", x, magnitude=terms, **both(lambda x: x.expand(*sizes)))
    return moved(draw, "Tensor.expand", x, magnitude=terms, **both(lambda x: x.expand(tuple(sizes))))


@space("split")
def split(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1)
    dim = one_dim(draw, x.ndim)
    if draw.flag():
        size: Any = draw.integer(1, 5)
        draw.note_if(x.shape[dim] % size, "a rest")
    else:
        size, left = [], x.shape[dim]
        while left or not size:
            size.append(draw.integer(0 if len(size) < 3 else left, left))
            left -= size[-1]
        draw.note("sizes")
        draw.note_if(0 in size, "size 0")
    options = {"split_size_or_sections": size} | ({} if dim == 0 and draw.flag() else {"dim": dim})
    return moved(draw, "split", x, options)


@space("chunk")
def chunk(draw: Draw) -> Case:
    x = drawn(draw, min_dims=1)
    dim, chunks = one_dim(draw, x.ndim), draw.integer(1, 6)
    draw.note_if(chunks > x.shape[dim], "more than there are")
    draw.note_if(x.shape[dim] % chunks, "a rest")
    return moved(draw, "chunk", x, {"chunks": chunks, "dim": dim})


# --- joins ----------------------------------------------------------------------------------------------------------


def parts(draw: Draw, shapes: list[tuple[int, ...]]) -> list[Array]:
    """One array for each shape, all with the same dtype or each with its own."""
    dtype = any_dtype(draw) if draw.flag() else None
    arrays = [numbers(draw, shape, dtype or any_dtype(draw), SPECIAL) for shape in shapes]
    draw.note_if(len({array.dtype for array in arrays}) > 1, "mixed dtypes")
    draw.note_if(len(arrays) == 1, "one tensor")
    return arrays


def joined(draw: Draw, name: str, arrays: list[Array], dim: int) -> Case:
    options = {} if dim == 0 and draw.flag() else {"dim": dim}
    needs = floats_among(draw, arrays)
    return Case(
        name,
        arrays,
        options,
        needs=needs,
        joined=True,
        differentiable=bool(needs),
        smooth=finite(*arrays),
    )


@space("cat")
def cat(draw: Draw) -> Case:
    shape = list(any_shape(draw, 1, 3, max_side=3))
    dim, shapes = one_dim(draw, len(shape)), []
    for _ in range(draw.integer(1, 4)):
        shape[dim] = draw.integer(0, 3)
        shapes.append(tuple(shape))
    draw.note_if(any(each[dim] == 0 for each in shapes), "size 0")
    case = joined(draw, "cat", parts(draw, shapes), dim)
    if not draw.integer(0, 4):
        draw.note("torch's old empty tensor")
        case.inputs = [*case.inputs, np.zeros(0, draw.choice(("float32", "int64")))]
    return case


@space("stack")
def stack(draw: Draw) -> Case:
    shape = any_shape(draw, 0, 3, max_side=3)
    dim = one_dim(draw, len(shape) + 1)
    return joined(draw, "stack", parts(draw, [shape] * draw.integer(1, 4)), dim)


# --- indices --------------------------------------------------------------------------------------------------------


def one_slice(draw: Draw, n: int) -> slice:
    """A slice with any start, stop and step, also beyond the ends."""
    start, stop = (draw.choice((None, draw.integer(-n - 1, n + 1))) for _ in range(2))
    step = draw.choice((None, 1, 2, -1, -2, 3))
    draw.note("slice")
    draw.note_if(step is not None and step != 1, "step")
    draw.note_if(step is not None and step < 0, "negative step")
    return slice(start, stop, step)


def places(draw: Draw, n: int, shape: tuple[int, ...]) -> Array:
    """Integers that name elements of an axis of size n, from either end."""
    rng = np.random.default_rng(draw.integer(0, 2**32 - 1))
    low = -n if draw.flag() else 0
    chosen = rng.integers(low, n, shape) if n else np.zeros(shape, np.int64)
    if n and draw.flag():
        chosen = rng.choice(rng.integers(low, n, 2), shape)  # two elements, repeated
    draw.note("integer array")
    draw.note_if((chosen < 0).any(), "negative index")
    return chosen.astype(draw.choice((np.int64, np.int32)))


def advanced_shapes(draw: Draw, count: int, trues: int | None) -> list[tuple[int, ...]]:
    """Shapes of integer arrays that broadcast together, and with a mask that has `trues` true elements."""
    if trues is not None:
        return [draw.choice(((trues,), (1,))) for _ in range(count)]
    whole = draw.choice(((3,), (1,), (2, 2), (0,), (4,), ()))
    return [tuple(draw.choice((n, 1)) for n in whole[draw.choice((0, 0, len(whole) // 2)) :]) for _ in range(count)]


def one_index(draw: Draw, x_shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An index into some of the axes, each by an integer, slice, array or mask, with None and Ellipsis between them."""
    advanced = draw.choice(("none", "arrays", "mask", "mask and arrays"))
    used = draw.integer(0, len(x_shape)) or draw.integer(0, len(x_shape))
    ellipsis = draw.integer(0, used) if draw.flag() else None
    # Axes before an Ellipsis are counted from the front, those after it from the back.
    cut = used if ellipsis is None else ellipsis
    axes = [*range(cut), *range(len(x_shape) - used + cut, len(x_shape))]
    kinds = [draw.choice(("slice", "integer", "advanced", "advanced")) for _ in axes]
    if advanced == "none":
        kinds = ["slice" if kind == "advanced" else kind for kind in kinds]
    masked = kinds.index("advanced") if advanced.startswith("mask") and "advanced" in kinds else None
    if advanced == "mask" and masked is not None:
        kinds = [kind if kind != "advanced" or i == masked else "slice" for i, kind in enumerate(kinds)]
    mask: Any = None
    span = 1
    if masked is not None:
        while masked + span < len(axes) and masked + span != ellipsis and draw.flag():
            span += 1
        mask = draw.values(tuple(x_shape[i] for i in axes[masked : masked + span]), np.bool_, "ties")
        draw.note("mask")
        draw.note_if(span > 1, "mask over several dims")
    kept = [i for i in range(len(axes)) if masked is None or not masked < i < masked + span]
    arrays = [i for i in kept if kinds[i] == "advanced" and i != masked]
    shapes = advanced_shapes(draw, len(arrays), None if mask is None else int(mask.sum()))
    if not all(x_shape[axes[i]] for i in arrays):  # an empty axis has no element to name
        shapes = [(0,)] * len(arrays) if mask is None else shapes
    index: list[Any] = []
    for i in kept:
        n = x_shape[axes[i]]
        if i == ellipsis:
            index.append(...)
        if draw.integer(0, 5) == 5:
            index.append(None)
            draw.note("None")
        if i == masked:
            index.append(mask)
        elif i in arrays and (n or shapes[arrays.index(i)] == (0,)):
            index.append(places(draw, n, shapes[arrays.index(i)]))
        elif kinds[i] == "integer" and n:
            index.append(draw.integer(-n, n - 1))
            draw.note("integer")
            draw.note_if(index[-1] < 0, "negative index")
        else:
            index.append(one_slice(draw, n))
    if ellipsis is not None:
        draw.note("Ellipsis")
        if ellipsis not in kept:
            index.append(...)
    return tuple(index)


def spelled(draw: Draw, index: tuple[Any, ...]) -> Any:
    """The same index, perhaps with lists or tensors in place of arrays, and without the tuple around a single part."""
    form = draw.choice(("arrays", "lists", "tensors"))
    if any(isinstance(part, np.ndarray) for part in index):
        draw.note_if(form == "lists", "list")
        draw.note_if(form == "tensors", "tensor index")
    parts = tuple(part if not isinstance(part, np.ndarray) else _as(form, part) for part in index)
    return parts[0] if len(parts) == 1 and draw.flag() else parts


def _as(form: str, part: Array) -> Any:
    if form == "tensors":
        return tc.tensor(part)
    return part.tolist() if form == "lists" and part.ndim == 1 else part


def named_by_torch(shape: tuple[int, ...], index: tuple[Any, ...]) -> Any:
    """The numbers of the elements that an index names, in torch's order. A step below 0 is one above 0 of a flip."""
    numbers = torch().arange(prod(shape)).reshape(shape)
    used = sum(part.ndim if _is_mask(part) else part is not None and part is not Ellipsis for part in index)
    parts: list[Any] = []
    axis = 0
    for part in index:
        if isinstance(part, slice):
            start, stop, step = part.indices(shape[axis])
            if step < 0:
                numbers = numbers.flip(axis)
                first = shape[axis] - 1 - start
                part = slice(first, first - step * len(range(start, stop, step)), -step)
        parts.append(_tensor(part) if isinstance(part, np.ndarray) else part)
        axis += len(shape) - used if part is Ellipsis else part.ndim if _is_mask(part) else part is not None
    return numbers[tuple(parts)]


def _is_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == np.bool_


@space("__getitem__")
def getitem(draw: Draw) -> Case:
    """The order of axes is torch's, and so is the gradient: an element that is named more than once gets a sum."""
    x = drawn(draw)
    if x.ndim and x.shape[0] and draw.integer(0, 3) == 3:
        return _index_by_input(draw, x)
    parts = index = one_index(draw, x.shape)
    named = np.arange(x.size).reshape(x.shape)[index]
    ours_index = spelled(draw, index)
    terms = int(np.bincount(named.ravel(), minlength=1).max())
    draw.note_if(terms > 1, "repeated indices")
    draw.note_if(len({type(part) for part in index}) > 1, "combined")
    return moved(
        draw,
        "Tensor.__getitem__",
        x,
        {"index": ours_index},
        magnitude=terms if terms > 1 else 0,
        ours=lambda x, index: x[index],
        theirs=lambda x, index: x.reshape(-1)[named_by_torch(x.shape, parts)],
    )


def _index_by_input(draw: Draw, x: Array) -> Case:
    """An index tensor or a mask as an input, given to both libraries as it is."""
    if draw.flag():
        index = draw.values(x.shape[: draw.integer(1, x.ndim)], np.bool_, "ties")
        draw.note("mask")
    else:
        index = places(draw, x.shape[0], draw.shape(0, 2, 0, 4)).astype(np.int64)
    draw.note("tensor index")
    terms = 1 if index.dtype == np.bool_ else int(np.bincount(index.ravel() % x.shape[0], minlength=1).max())
    draw.note_if(terms > 1, "repeated indices")
    needs = floats_among(draw, [x])
    return Case(
        "Tensor.__getitem__",
        [x, index],
        needs=needs,
        magnitude=terms if terms > 1 else 0,
        differentiable=bool(needs),
        smooth=finite(x),
    )


@space("__setitem__")
def setitem(draw: Draw) -> Case:
    """A copy is written to. An element that is named twice is set to a single number.

    With several, nobody promises which of them it becomes.
    """
    x = drawn(draw)
    parts = one_index(draw, x.shape)
    first, rest = integers_first(parts, x.ndim)
    named = np.arange(x.size).reshape(x.shape)[() if first is None else first][rest]
    index = spelled(draw, parts)
    if np.bincount(named.ravel(), minlength=1).max() > 1 or draw.flag():
        number = draw.choice((2, 0, 1.5)) if x.dtype.kind == "f" else draw.choice((2, 0, True))
        draw.note("python number")
        inputs, value = [x], lambda given: number
    else:
        shape = tuple(draw.choice((n, 1)) for n in named.shape[draw.integer(0, named.ndim) :])
        draw.note_if(shape != named.shape, "broadcast right")
        inputs, value = [x, numbers(draw, shape, x.dtype, SPECIAL)], lambda given: given[0]

    def ours(x: Any, *given: Any) -> Any:
        y = x.clone()
        y[index] = value(given)
        return y

    def theirs(x: Any, *given: Any) -> Any:
        y = x.clone().reshape(-1)
        y[named_by_torch(x.shape, parts)] = value(given)
        return y.reshape(x.shape)

    needs = floats_among(draw, inputs)
    return Case(
        "Tensor.__setitem__",
        inputs,
        needs=needs,
        magnitude=named.size,
        differentiable=bool(needs),
        smooth=finite(*inputs),
        ours=ours,
        theirs=theirs,
    )


def _tensor(array: Array) -> Any:
    """The array as a tensor of torch."""
    return torch().from_numpy(np.array(array))


@space("__iter__")
def iterate(draw: Draw) -> Case:
    """A loop over the first axis."""
    shape = (draw.integer(1, 4), *any_shape(draw, max_dims=3))
    x = numbers(draw, shape, any_dtype(draw), SPECIAL)
    return moved(draw, "Tensor.__iter__", x, **both(lambda x: tuple(x)))


# --- tensors from numbers -------------------------------------------------------------------------------------------


def made(name: str, inputs: list[Array], options: dict[str, str], call: Callable[..., Any]) -> Case:
    """The case of `call(function, *inputs)`, where `function` is the one of this name with these options."""

    def ours(*tensors: Any, **options: Any) -> Any:
        return call(partial(getattr(tc, name), **options), *tensors)

    def theirs(*tensors: Any, **options: Any) -> Any:
        if "dtype" in options:
            options["dtype"] = torch_dtype(options["dtype"])
        return call(partial(getattr(torch(), name), **options), *tensors)

    return Case(name, inputs, options, differentiable=False, ours=ours, theirs=theirs)


def _maybe_dtype(draw: Draw, dtypes: Sequence[str] = ANY) -> dict[str, str]:
    """`dtype=`, or nothing."""
    if not draw.flag():
        return {}
    dtype = any_dtype(draw, dtypes)
    draw.note("dtype=")
    return {"dtype": dtype.name}


def _like(draw: Draw, name: str, *values: Any) -> Case:
    x = drawn(draw)
    return made(name, [x], _maybe_dtype(draw), lambda function, x: function(x, *values))


@space("zeros_like")
def zeros_like(draw: Draw) -> Case:
    return _like(draw, "zeros_like")


@space("ones_like")
def ones_like(draw: Draw) -> Case:
    return _like(draw, "ones_like")


@space("full_like")
def full_like(draw: Draw) -> Case:
    return _like(draw, "full_like", draw.choice((2, 1, 0, True)))


def _of_shape(draw: Draw, name: str, *values: Any, dtypes: Sequence[str] = ANY) -> Case:
    """The shape is that of an input, given as a tuple."""
    x = draw.array(any_shape(draw), np.dtype(FLOATS[0]), ("ties",))
    return made(name, [x], _maybe_dtype(draw, dtypes), lambda function, x: function(tuple(x.shape), *values))


@space("zeros")
def zeros(draw: Draw) -> Case:
    return _of_shape(draw, "zeros")


@space("ones")
def ones(draw: Draw) -> Case:
    return _of_shape(draw, "ones")


@space("full")
def full(draw: Draw) -> Case:
    """The dtype is that of the number, unless it is given."""
    number = draw.choice((2, 0, 1, True, 2.0, 0.5, float("inf"), float("nan")))
    return _of_shape(draw, "full", number, dtypes=ANY if np.isfinite(number) else FLOATS)


@space("arange")
def arange(draw: Draw) -> Case:
    """Start, end and step, up or down, integers or not. Each is a 0-d input, and passed as a Python number."""
    count = draw.integer(1, 3)
    start, length = draw.integer(-3, 3), draw.integer(0, 6)
    step: Any = draw.choice((1, 2, -1, 0.5, -0.25, 3)) if count == 3 else 1
    end: Any = start + length * step + draw.choice((0, step * 0.5))
    if count == 1:
        start, end = 0, end - start
    draw.note_if(step < 0, "negative step")
    draw.note_if(length == 0, "empty")
    given = [np.asarray(n) for n in ((end,), (start, end), (start, end, step))[count - 1]]
    whole = all(isinstance(n, int) for n in (start, end, step))
    options = _maybe_dtype(draw, (*FLOATS, "int64", "int32") if whole else FLOATS)
    draw.note_if(not whole, "not integers")
    return made("arange", given, options, lambda function, *numbers: function(*(n.item() for n in numbers)))


@space("empty_like")
def empty_like(draw: Draw) -> Case:
    """Its values are nobody's business: they are multiplied by 0."""
    x = drawn(draw)
    return made("empty_like", [x], _maybe_dtype(draw), lambda function, x: function(x).fill_(0))


@space("linspace")
def linspace(draw: Draw) -> Case:
    """Up, down or nowhere; of one number or none too. The count is the size of an input."""
    x = np.zeros(draw.integer(0, 7), np.float32)
    first, last = (draw.choice((0, 1, -2, 0.5, 3.25, -1e3)) for _ in range(2))
    draw.note_if(x.size < 2, "one number, or none")
    case = made("linspace", [x], _maybe_dtype(draw, FLOATS), lambda function, x: function(first, last, len(x)))
    case.magnitude = 1e3
    return case


@space("logspace")
def logspace(draw: Draw) -> Case:
    x = np.zeros(draw.integer(0, 7), np.float32)
    first, last, base = (draw.choice(each) for each in ((0, -1, 1.5), (1, 2, -1), (10.0, 2.0)))
    return made("logspace", [x], {"dtype": "float64"}, lambda function, x: function(first, last, len(x), base))


@space("eye")
def eye(draw: Draw) -> Case:
    x = np.zeros(draw.shape(1, 2, 0, 4), np.float32)
    return made("eye", [x], _maybe_dtype(draw), lambda function, x: function(*x.shape))


def triangle_places(draw: Draw, name: str) -> Case:
    x = np.zeros(draw.shape(2, 2, 0, 4), np.float32)
    offset = draw.integer(-3, 3)
    return made(name, [x], {}, lambda function, x: function(*x.shape, offset))


@space("tril_indices")
def tril_indices(draw: Draw) -> Case:
    return triangle_places(draw, "tril_indices")


@space("triu_indices")
def triu_indices(draw: Draw) -> Case:
    return triangle_places(draw, "triu_indices")


@space("meshgrid")
def meshgrid(draw: Draw) -> Case:
    """The grid of vectors and 0-d tensors, in both orders."""
    arrays = parts(draw, [any_shape(draw, 0, 1) for _ in range(draw.integer(1, 3))])
    dtype = arrays[0].dtype  # torch wants one
    with np.errstate(invalid="ignore"):  # integers have no NaN: any number stands for it
        arrays = [array.astype(dtype) for array in arrays]
    needs = floats_among(draw, arrays)
    return Case(
        "meshgrid",
        arrays,
        {"indexing": draw.choice(("ij", "xy"))},
        needs=needs,
        joined=draw.flag(),
        magnitude=64,
        differentiable=bool(needs),
        smooth=finite(*arrays),
    )


@space("as_tensor")
def as_tensor(draw: Draw) -> Case:
    return made("as_tensor", [drawn(draw)], _maybe_dtype(draw), lambda function, x: function(x))


@space("one_hot")
def one_hot(draw: Draw) -> Case:
    x = np.asarray(draw.values(any_shape(draw, 0, 3), np.int64, "ties") + 2)
    options = {"num_classes": draw.integer(5, 7)} if draw.integer(0, 3) or not x.size else {}
    draw.note_if(not options, "classes counted")
    return Case("functional.one_hot", [x], options, differentiable=False)
