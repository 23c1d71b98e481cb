"""Functions that pick elements by index tensors and masks, or put elements there."""

from __future__ import annotations

from functools import partial
from operator import methodcaller
from typing import Any

from tinyconv import ops, shapes
from tinyconv.arrays.backend import META, Array, backend_of, refuse_in_capture
from tinyconv.engine.dtypes import category
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import real
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.inplace import assign
from tinyconv.tensor.refusals import check_tensor, refuse
from tinyconv.tensor.signatures import Scalar
from tinyconv.tensor.tensor import Tensor, apply, operand, wrap

__all__ = [
    "argwhere", "gather", "index_add", "index_copy", "index_fill", "index_select", "masked_fill", "masked_scatter",
    "masked_select", "nonzero", "scatter", "scatter_add", "take", "take_along_dim",
]  # fmt: skip


# --- along an axis --------------------------------------------------------------------------------------------------


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """y[i][j] = x[i][index[i][j]] for dim = 1, and so on for other axes: a result of the shape of `index`.

    `index` has as many axes as `input`, and along each but `dim` at most its size. `sparse_grad` changes nothing: the
    gradient is dense. Raises ShapeError where the sizes do not fit, DtypeError unless the index holds integers, and
    IndexError for a place that is not there. Like `torch.gather`.
    """
    x, places, axis = _along("gather", input, dim, index)
    if places.ndim != x.ndim:  # torch takes an index of any shape that has no elements
        return x.reshape(-1)[:0].reshape(index.shape)
    if places.shape == (*x.shape[:axis], 1, *x.shape[axis + 1 :]):
        return apply(ops.Pick, x, wrap(places), axis=axis, keepdims=True).reshape(index.shape)
    return apply(ops.Index, x, index=grid(places, axis), simple=False).reshape(index.shape)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, but both broadcast along the other axes, and places below 0 count from the end.

    It takes what `argsort` and `topk` return; without `dim`, of the flattened input. Raises what `gather` raises.
    """
    if dim is None:
        flat = check_tensor("take_along_dim", input).reshape(-1)
        return take_along_dim(flat, _indices("take_along_dim", indices).reshape(-1), 0)
    axis = shapes.axis_in(dim, check_tensor("take_along_dim", input).shape, "take_along_dim")
    if _indices("take_along_dim", indices).ndim != input.ndim:
        raise ShapeError(f"take_along_dim: {indices.shape} must have as many axes as {input.shape}")
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in (input, indices)]
    whole = shapes.broadcast_shape("take_along_dim", *rest)
    x, places = (t.expand(*whole[:axis], t.shape[axis], *whole[axis:]) for t in (input, indices))
    named = computed(partial(_from_the_end, size=input.shape[axis]), places.array)
    return gather(x, axis, wrap(named))


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Scalar | None = None,
    *,
    value: Scalar | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`input` with y[i][index[i][j]] = src[i][j] for dim = 1, and so on for other axes. Like `torch.scatter`.

    Args:
        input: A tensor.
        dim: The axis that the index goes along.
        index: Integers, with as many axes as `input`. Where it names a place twice, nobody promises which value is
            there in the end.
        src: A tensor of the dtype of `input`, at least as large as `index` along each axis; or a number.
        value: A number, by torch's other name.
        reduce: "add" adds to what is there. Nothing else is known: for "multiply" there is no gradient in torch either.

    Raises ShapeError where the sizes do not fit, DtypeError where the dtypes do not, IndexError for a place that is
    not there, and ValueError for another `reduce`.
    """
    check_tensor("scatter", input)
    if reduce not in (None, "add"):
        raise ValueError(f"scatter: reduce must be 'add' or None, got {shortened(reduce)}")
    if (src is None) == (value is None):
        raise DtypeError("scatter: expected either src, a tensor, or value, a number")
    given = value if src is None else src
    if isinstance(given, Tensor) and given.ndim == 0 and index.ndim > 0:
        given = given.expand(*index.shape)
    return _scattered("scatter", reduce == "add", input, dim, index, given)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`input` with y[i][index[i][j]] += src[i][j] for dim = 1, as often as the index names a place.

    Like `torch.scatter_add`. Raises what `scatter` raises.
    """
    if not isinstance(src, Tensor):
        refuse("scatter_add", "src", src)
    return _scattered("scatter_add", True, input, dim, index, src)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of `input` along `dim` that `index`, one axis of integers, names: `x[index]` for dim = 0.

    Raises ShapeError for another shape of the index, DtypeError for another dtype, and IndexError for a place that is
    not there. Like `torch.index_select`.
    """
    x, lead, places = _slices("index_select", input, dim, index)
    y: Tensor = apply(ops.Index, x, index=(*lead, places), simple=False)
    return y if input.ndim else y.reshape(())


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1) -> Tensor:
    """`input` with alpha times each slice of `source` added at the slice along `dim` that `index` names.

    Raises what `index_select` raises, and DtypeError where the dtypes differ. Like `torch.index_add`.
    """
    factor = real("index_add: alpha", alpha)
    if factor != 1 and isinstance(source, Tensor):
        source = source * factor if source.dtype.kind != "u" else (source.long() * factor).to(source.dtype)
    return _into_slices("index_add", True, input, dim, index, source)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`input` with the slices along `dim` that `index` names replaced by those of `source`.

    Raises what `index_add` raises. Like `torch.index_copy`.
    """
    return _into_slices("index_copy", False, input, dim, index, source)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Scalar) -> Tensor:
    """`input` with one number, or a 0-d tensor, in the slices along `dim` that `index` names, also from the end.

    Raises what `index_select` raises. Like `torch.index_fill`.
    """
    size = shapes.axis_in(dim, check_tensor("index_fill", input).shape or (1,), "index_fill")
    named = computed(partial(_from_the_end, size=(input.shape or (1,))[size]), _indices("index_fill", index).array)
    x, lead, places = _slices("index_fill", input, dim, wrap(named))
    axis = len(lead)
    named = computed(partial(_named, shape=tuple(n if i == axis else 1 for i, n in enumerate(x.shape))), places)
    y: Tensor = apply(ops.Where, wrap(named), _fitting("index_fill", value, input), x)
    return y.reshape(input.shape)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened `input` that `index` names: a result of the shape of `index`.

    Raises DtypeError unless the index holds integers, and IndexError for a place that is not there. Like `torch.take`.
    """
    flat = check_tensor("take", input).reshape(-1)
    places = _kept("take", index)
    if index.numel() and not flat.numel():
        raise IndexError(
            f"take: there is nothing in {input.shape} to take from, and the index has {index.numel()} places"
        )
    return apply(ops.Index, flat, index=(places,), simple=False)


# --- by masks -------------------------------------------------------------------------------------------------------


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Scalar) -> Tensor:
    """`input`, but one number (or a 0-d tensor) where `mask` is true; both broadcast. Like `torch.masked_fill`.

    Raises DtypeError unless the mask is bool and the value fits the dtype of `input`, and ShapeError where the shapes
    do not broadcast.
    """
    x = check_tensor("masked_fill", input)
    _mask("masked_fill", mask)
    filling = _fitting("masked_fill", value, x)
    try:
        return apply(ops.Where, mask, filling, x)
    except ValueError:
        shapes.check_broadcast("masked_fill", mask, x)
        raise


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of `input` where `mask` is true, row by row, in one axis; both broadcast.

    Raises DtypeError unless the mask is bool, ShapeError where the shapes do not broadcast, and CaptureError in a
    captured step, for how many there are depends on values.
    """
    shape = shapes.broadcast_shape(
        "masked_select", check_tensor("masked_select", input).shape, _mask("masked_select", mask)
    )
    return input.expand(*shape)[mask.expand(*shape)]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`input`, but where `mask` is true, the elements of `source` one after another. Like `torch.masked_scatter`.

    Raises DtypeError unless the mask is bool and the dtypes are the same, ShapeError where there are too few elements,
    and CaptureError in a captured step.
    """
    shape = shapes.broadcast_shape(
        "masked_scatter", check_tensor("masked_scatter", input).shape, _mask("masked_scatter", mask)
    )
    x, chosen = input.expand(*shape), nonzero(mask.expand(*shape), as_tuple=True)
    count = chosen[0].numel() if shape else int(mask.item())
    values = _same_dtype("masked_scatter", x, source).reshape(-1)
    if values.numel() < count:
        raise ShapeError(f"masked_scatter: the mask has {count} true elements, and source has {values.numel()}")
    if not shape:
        return values[0].reshape(()) if count else x
    return apply(ops.Put, x, values[:count], index=tuple(t.array for t in chosen))


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The places of the elements that are not 0, row by row: int64, (count, axes); or an index for each axis.

    Raises CaptureError in a captured step, for how many there are depends on values. Like `torch.nonzero`.
    """
    x = check_tensor("nonzero", input)
    check_values_known("nonzero", x, "use where()")
    array = x.array if x.ndim or not as_tuple else x.array.reshape(1)
    places = [wrap(axis) for axis in backend_of(array).xp.nonzero(array)] if array.ndim else []
    if as_tuple:
        return tuple(places)
    if not places:
        return wrap(backend_of(array).xp.zeros((int(x != 0), 0), "int64"))
    return wrap(backend_of(array).xp.stack([place.array for place in places], axis=1))


def argwhere(input: Tensor) -> Tensor:
    """The places of the elements that are not 0: `nonzero(input)`."""
    found: Tensor = nonzero(input)
    return found


# --- methods that write into their tensor ---------------------------------------------------------------------------


def masked_fill_(self: Tensor, mask: Tensor, value: Tensor | Scalar) -> Tensor:
    """`masked_fill`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "masked_fill_", masked_fill(self, mask, value))


def masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`masked_scatter`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "masked_scatter_", masked_scatter(self, mask, source))


def scatter_(
    self: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Scalar | None = None,
    *,
    value: Scalar | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`scatter`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "scatter_", scatter(self, dim, index, src, value=value, reduce=reduce))


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "scatter_add_", scatter_add(self, dim, index, src))


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1) -> Tensor:
    """`index_add`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "index_add_", index_add(self, dim, index, source, alpha=alpha))


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`index_copy`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "index_copy_", index_copy(self, dim, index, source))


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Tensor | Scalar) -> Tensor:
    """`index_fill`, in place. Raises GraphError on a leaf that requires grad while recording."""
    return assign(self, "index_fill_", index_fill(self, dim, index, value))


# --- what they share ------------------------------------------------------------------------------------------------


def check_values_known(name: str, x: Tensor, instead: str = "call it before the step") -> None:
    """CaptureError in a captured step, and DeviceError on "meta": the shape of a result depends on values."""
    refuse_in_capture(f"calls {name}, whose result has a shape that depends on values", instead)
    if META.owns(x.array):
        META.to_numpy(x.array)  # which says why not


def _indices(name: str, index: Any) -> Tensor:
    if check_tensor(name, index, "index").dtype.kind not in "iu":
        raise DtypeError(f"{name}: the index must be of integers, got {index.dtype}: index.long()?")
    return index


def _kept(name: str, index: Any) -> Array:
    """The array of an index tensor, copied: the tape keeps it, and others may write to theirs."""
    return computed(methodcaller("copy"), _indices(name, index).array)


def _mask(name: str, mask: Any) -> shapes.Shape:
    """The shape of a mask."""
    if check_tensor(name, mask, "mask").dtype.kind != "b":
        raise DtypeError(f"{name}: the mask must be bool, got {mask.dtype}: mask.bool(), or mask > 0")
    return mask.shape


def _same_dtype(name: str, x: Tensor, source: Any) -> Tensor:
    if check_tensor(name, source, "source").dtype != x.dtype:
        raise DtypeError(f"{name}: input is {x.dtype} and source is {source.dtype}; convert one: .to({x.dtype})")
    return source


def _fitting(name: str, value: Any, x: Tensor) -> Any:
    """A number, or a 0-d tensor in the dtype of `x`, that is to stand among elements of `x`."""
    found = operand(value)
    if found is None or (isinstance(found, Tensor) and found.ndim):
        got = f"shape {found.shape}" if isinstance(found, Tensor) else type(value).__name__
        raise DtypeError(f"{name}: expected a number or a 0-d tensor as value, got {got}")
    if isinstance(found, Tensor) and category(found.dtype) > category(x.dtype):
        raise DtypeError(f"{name}: a value of {found.dtype} does not fit {x.dtype}")
    return found.to(x.dtype) if isinstance(found, Tensor) else wrap(to_array(found, x.dtype, x.device))


def grid(places: Array, axis: int) -> tuple[Array, ...]:
    """An index into all axes, which goes along one by `places` and along the others straight on."""
    xp, n = backend_of(places).xp, places.ndim
    return tuple(
        places if k == axis else xp.arange(size).reshape(tuple(-1 if i == k else 1 for i in range(n)))
        for k, size in enumerate(places.shape)
    )


def _along(name: str, input: Any, dim: int, index: Any) -> tuple[Tensor, Array, int]:
    """A tensor and an index along one of its axes, both with one axis at least, checked."""
    x, places = check_tensor(name, input), _kept(name, index)
    axis = shapes.axis_of(dim, x.ndim, name)
    if x.ndim == 0:
        x = x.reshape(1)
    if places.ndim == 0:
        places = computed(partial(_reshaped, shape=(1,)), places)
    fits = places.ndim == x.ndim and all(
        n <= m or i == axis for i, (n, m) in enumerate(zip(places.shape, x.shape, strict=False))
    )
    if not fits and index.numel():
        raise ShapeError(
            f"{name}: an index of shape {index.shape} does not fit {input.shape} along dim {dim}: it needs as many "
            "axes, and along each other one at most the size"
        )
    _check_places(name, places, x.shape[axis], dim)
    return x, places, axis


def _named(places: Array, shape: shapes.Shape) -> Array:
    """Where an index names a place, in an array of this shape, which has one axis that is larger than 1."""
    found = backend_of(places).xp.zeros(shape, bool)
    found.reshape(-1)[places] = True
    return found


def _from_the_end(places: Array, size: int) -> Array:
    """Places counted from the front, also those below 0."""
    return backend_of(places).xp.where(places < 0, places + size, places)


def _reshaped(array: Array, shape: shapes.Shape) -> Array:
    return array.reshape(shape)


def _check_places(name: str, places: Array, size: int, dim: int) -> None:
    """IndexError for a place that is not there. On a GPU nobody looks, which would wait for it, but where none is."""
    if backend_of(places).on_host and places.size and not 0 <= places.min() <= places.max() < size:
        wrong = places.min() if places.min() < 0 else places.max()
        raise IndexError(f"{name}: index {wrong} is out of range for dim {dim} of size {size}")
    if places.size and not size:
        raise IndexError(f"{name}: the index names {places.size} places along dim {dim}, which has size 0")


def _added(x: Tensor, values: Any, index: tuple[Any, ...]) -> Tensor:
    """`x` with values added at an index. Small integers and bools are added as int64, since CuPy adds no others."""
    if x.dtype.kind == "f" or x.dtype.itemsize > 2:
        return apply(ops.AddAt, x, values, index=index)
    return apply(ops.AddAt, x.long(), values.long(), index=index).to(x.dtype)


def _scattered(name: str, add: bool, input: Any, dim: int, index: Any, source: Any) -> Tensor:
    x, places, axis = _along(name, input, dim, index)
    if places.ndim != x.ndim:  # torch takes an index of any shape that has no elements
        return input.clone()
    if isinstance(source, Tensor):
        source = _same_dtype(name, x, source)
        source = source if source.ndim else source.reshape(1)
        if source.ndim != places.ndim or any(n > m for n, m in zip(places.shape, source.shape, strict=True)):
            raise ShapeError(f"{name}: src of shape {source.shape} is smaller than the index, {index.shape}")
        if source.shape != places.shape:
            source = source[tuple(slice(n) for n in places.shape)]
    else:
        source = _fitting(name, source, x)
    index = grid(places, axis)
    y: Tensor = _added(x, source, index) if add else apply(ops.Put, x, source, index=index)
    return y.reshape(input.shape)


def _slices(name: str, input: Any, dim: int, index: Any) -> tuple[Tensor, tuple[slice, ...], Array]:
    """A tensor with one axis at least, the parts of an index in front of `dim`, and the places there."""
    x, places = check_tensor(name, input), _kept(name, index)
    axis = shapes.axis_of(dim, x.ndim, name)
    if places.ndim > 1:
        raise ShapeError(f"{name}: the index must have one axis, got {places.shape}")
    if not places.ndim:
        places = computed(partial(_reshaped, shape=(1,)), places)
    x = x if x.ndim else x.reshape(1)
    _check_places(name, places, x.shape[axis], dim)
    return x, (slice(None),) * axis, places


def _into_slices(name: str, add: bool, input: Any, dim: int, index: Any, source: Any) -> Tensor:
    x, lead, places = _slices(name, input, dim, index)
    wanted = (*x.shape[: len(lead)], len(places), *x.shape[len(lead) + 1 :])
    values = _same_dtype(name, x, source)
    if values.shape != wanted and (values.ndim or shapes.product(wanted) != 1):
        raise ShapeError(f"{name}: source must have shape {wanted}, got {values.shape}")
    index, values = (*lead, places), values.reshape(wanted)
    y: Tensor = _added(x, values, index) if add else apply(ops.Put, x, values, index=index)
    return y.reshape(input.shape)
