"""Reductions: every spelling of `dim`, ties, NaN, zeros in products, and nothing to reduce."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import prod as product
from typing import Any

import numpy as np

from tinyconv.check.draw import FLOATS, LAYOUTS, VALUES, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.elementwise import extremum
from tinyconv.testing.spaces.geometry import (
    ANY,
    KINK,
    any_dtype,
    any_shape,
    away,
    broadcast_shapes,
    finite,
    floats_among,
    numbers,
    one_dim,
    reduced_axes,
    reduction,
    steepest,
    torch_dtype,
)

SPECIAL = (*VALUES, "special")


@space("sum")
def sum_(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)
    options = reduction(draw, x.ndim)
    target = draw.choice((None, None, None, None, *FLOATS, "int64", "int32"))
    if target is None or (np.dtype(target).kind == "i" and not finite(x)):
        needs = floats_among(draw, [x])
        return Case(
            "Tensor.sum", [x], options, needs=needs, magnitude="terms", differentiable=bool(needs), smooth=finite(x)
        )
    draw.note("dtype=")
    needs = floats_among(draw, [x]) if np.dtype(target).kind == "f" else []
    return Case(
        "Tensor.sum",
        [x],
        {**options, "dtype": target},
        needs=needs,
        magnitude="terms",
        differentiable=bool(needs),
        smooth=finite(x) and target == "float64",
        theirs=lambda x, dtype, **options: x.sum(**options, dtype=torch_dtype(dtype)),
    )


@space("mean")
def mean(draw: Draw) -> Case:
    x = draw.array(any_shape(draw), any_dtype(draw, FLOATS), SPECIAL)
    options = reduction(draw, x.ndim)
    return Case("Tensor.mean", [x], options, magnitude="terms", smooth=finite(x))


# --- extremes -------------------------------------------------------------------------------------------------------


def not_empty(draw: Draw, options: dict[str, Any] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with at least one element along the axes that are reduced; other axes may be empty."""
    axes = range(len(shape)) if options is None else reduced_axes(options, len(shape))
    return tuple(max(n, 1) if i in axes else n for i, n in enumerate(shape))


def apart(x: Array, axes: tuple[int, ...], sign: int) -> bool:
    """Whether the largest (sign 1) or smallest (-1) element along `axes` is further from the next than a step."""
    if not finite(x):
        return False
    if not x.size or not axes:
        return True
    flat = np.moveaxis(x, axes, range(len(axes))).reshape(product(x.shape[i] for i in axes), -1)
    ranked = np.sort(sign * flat.astype(np.float64), axis=0)
    return len(ranked) < 2 or away(ranked[-1] - ranked[-2], KINK)


def shared_extreme(draw: Draw, name: str, sign: int) -> Case:
    """`amax` and `amin`. Inputs with NaN are compared by value alone."""
    shape = any_shape(draw)
    options = reduction(draw, len(shape))
    x = numbers(draw, not_empty(draw, options, shape), any_dtype(draw), (*VALUES, "infinite", "special"))
    needs = floats_among(draw, [x])
    differentiable = bool(needs) and not np.isnan(x).any()
    return Case(
        f"Tensor.{name}",
        [x],
        options,
        needs=needs,
        differentiable=differentiable,
        smooth=apart(x, reduced_axes(options, x.ndim), sign),
    )


@space("amax")
def amax(draw: Draw) -> Case:
    return shared_extreme(draw, "amax", 1)


@space("amin")
def amin(draw: Draw) -> Case:
    return shared_extreme(draw, "amin", -1)


def extreme(draw: Draw, name: str, sign: int) -> Case:
    """All three forms of `max` and `min`: of all elements, along one dim with indices, of two tensors."""
    form = draw.choice(("along one dim", "everything", "two tensors"))
    if form == "two tensors":
        draw.note("two tensors")
        case = extremum(draw, f"{name}imum")
        case.call = f"Tensor.{name}"
        return case
    shape = any_shape(draw)
    options: dict[str, Any] = {}
    if form == "along one dim":
        options = one_dim_options(draw, len(shape))
        draw.note("values and indices")
    else:
        draw.note("all dims")
    x = numbers(draw, not_empty(draw, options, shape), any_dtype(draw), SPECIAL)
    needs = floats_among(draw, [x])
    return Case(
        f"Tensor.{name}",
        [x],
        options,
        needs=needs,
        differentiable=bool(needs),
        smooth=apart(x, reduced_axes(options, x.ndim), sign),
    )


def one_dim_options(draw: Draw, ndim: int) -> dict[str, Any]:
    """`dim`, perhaps with `keepdim`, perhaps by NumPy's names."""
    options: dict[str, Any] = {"dim": one_dim(draw, ndim)}
    if draw.flag():
        draw.note("keepdim")
        options["keepdim"] = True
    if not draw.integer(0, 3):
        draw.note("axis, keepdims")
        options = {{"dim": "axis", "keepdim": "keepdims"}[name]: value for name, value in options.items()}
    return options


@space("max")
def max_(draw: Draw) -> Case:
    return extreme(draw, "max", 1)


@space("min")
def min_(draw: Draw) -> Case:
    return extreme(draw, "min", -1)


def place(draw: Draw, name: str) -> Case:
    shape = any_shape(draw)
    options: dict[str, Any] = {}
    if draw.flag():
        options = one_dim_options(draw, len(shape))
    else:
        draw.note("all dims")
        if draw.flag():
            draw.note("keepdim")
            options = {"keepdim": True}
    dtypes = tuple(d for d in ANY if d != "bool")
    x = numbers(draw, not_empty(draw, options, shape), any_dtype(draw, dtypes), SPECIAL)
    return Case(f"Tensor.{name}", [x], options, differentiable=False)


@space("argmax")
def argmax(draw: Draw) -> Case:
    return place(draw, "argmax")


@space("argmin")
def argmin(draw: Draw) -> Case:
    return place(draw, "argmin")


# --- spread ---------------------------------------------------------------------------------------------------------


@space("var")
def var(draw: Draw) -> Case:
    return spread(draw, "var")


@space("std")
def std(draw: Draw) -> Case:
    return spread(draw, "std")


def spread(draw: Draw, name: str) -> Case:
    """Variances of few values too, down to one and none, which have no variance.

    Equal values are drawn as integers, whose mean is exact: where the deviation is nothing but rounding, the slope of
    its root is arbitrary.
    """
    values = draw.choice(SPECIAL)
    layouts = LAYOUTS if values == "ties" or name == "var" else [each for each in LAYOUTS if each != "broadcast"]
    x = draw.array(any_shape(draw), any_dtype(draw, FLOATS), [values], layouts)
    options = reduction(draw, x.ndim, everything=None)
    correction = draw.choice((None, 0, 1, None, 0, 1, 2))
    if correction is not None:
        draw.note(f"correction={correction}")
        if correction < 2 and draw.flag():
            draw.note("unbiased=")
            options["unbiased"] = bool(correction)
        else:
            options["correction"] = correction
    axes = reduced_axes(options, x.ndim)
    n = product(x.shape[i] for i in axes)
    free = n - (1 if correction is None else correction)
    draw.note_if(free <= 0, "no degrees of freedom")
    differentiable = free > 0 and () not in options.values()
    smooth, magnitude = finite(x), 1.0
    if free > 0:
        with np.errstate(all="ignore"):
            deviation = np.asarray(x.astype(np.float64).std(axis=axes))
        # x - mean is as exact as the rounding of the largest x. The root divides by the deviation, where it is not 0.
        steep = steepest(x) * 4 * n / free
        magnitude = steep
        if name == "std":
            magnitude = 4 * n / free * max(1, steepest(steepest(x) / deviation[deviation > 0]))
            smooth = smooth and away(deviation, 0.05)
    return Case(
        f"Tensor.{name}",
        [x],
        options,
        magnitude=magnitude,
        differentiable=differentiable,
        smooth=smooth,
        second_order=smooth,  # at a deviation of 0 the second derivative of the root is infinite
        theirs=_without_warning(lambda x, **options: getattr(x, name)(**options)),
    )


def _without_warning(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without torch's warning that there are no degrees of freedom."""

    def quiet(x: Any, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(x, **options)

    return quiet


# --- others ---------------------------------------------------------------------------------------------------------


@space("prod")
def prod(draw: Draw) -> Case:
    """Zeros are drawn often: beside them, the product of the others is not y / x."""
    x = numbers(draw, any_shape(draw, max_dims=3, max_side=3), any_dtype(draw))
    options = {}
    if draw.flag():
        options = one_dim_options(draw, x.ndim)
    else:
        draw.note("all dims")
    draw.note_if(x.dtype.kind == "f" and bool((x == 0).any()), "zeros")
    needs = floats_among(draw, [x])
    # At two zeros the gradient is 0, and differences find nothing but curvature.
    smooth = int((x == 0).sum()) < 2
    return Case("Tensor.prod", [x], options, needs=needs, differentiable=bool(needs), smooth=smooth)


@space("cumsum")
def cumsum(draw: Draw) -> Case:
    return _running(draw, "cumsum", "terms", SPECIAL)


@space("cumprod")
def cumprod(draw: Draw) -> Case:
    """Zeros are drawn often, as for `prod`."""
    return _running(draw, "cumprod", 0, VALUES)


def _running(draw: Draw, name: str, magnitude: Any, values: Any) -> Case:
    x = numbers(draw, any_shape(draw, max_dims=3), any_dtype(draw), values)
    needs = floats_among(draw, [x])
    options = {"dim": one_dim(draw, x.ndim)}
    good = finite(x) and (name == "cumsum" or int((x == 0).sum()) < 1)
    if name == "cumprod":
        magnitude = 4 * max(1.0, steepest(x)) ** max(x.shape, default=1) * max((*x.shape, 1))
    return Case(
        f"Tensor.{name}", [x], options, needs=needs, magnitude=magnitude, differentiable=bool(needs), smooth=good
    )


@space("nansum")
def nansum(draw: Draw) -> Case:
    return _known_ones(draw, "nansum", any_dtype(draw))


@space("nanmean")
def nanmean(draw: Draw) -> Case:
    return _known_ones(draw, "nanmean", any_dtype(draw, FLOATS))


def _known_ones(draw: Draw, name: str, dtype: np.dtype[Any]) -> Case:
    x = numbers(draw, any_shape(draw), dtype, VALUES)
    if dtype.kind == "f" and draw.flag():
        draw.note("NaN")
        x = np.asarray(np.where(numbers(draw, x.shape, np.dtype(np.bool_)), np.nan, x), dtype)
    options = reduction(draw, x.ndim)
    known = (~np.isnan(x.astype(np.float64))).sum(axis=reduced_axes(options, x.ndim))
    needs = floats_among(draw, [x]) if name == "nansum" or known.all() else []
    return Case(
        f"Tensor.{name}",
        [x],
        options,
        needs=needs,
        magnitude=4,
        differentiable=bool(needs),
        smooth=finite(x),
    )


@space("count_nonzero")
def count_nonzero(draw: Draw) -> Case:
    x = numbers(draw, any_shape(draw), any_dtype(draw), SPECIAL)
    options = reduction(draw, x.ndim)
    dim = options.get("dim", options.get("axis"))
    return Case("Tensor.count_nonzero", [x], {} if dim in (None, ()) else {"dim": dim}, differentiable=False)


@space("median")
def median(draw: Draw) -> Case:
    """Elements along a dim are distinct, for PyTorch chooses among equal ones as it comes."""
    shape = any_shape(draw, max_dims=3)
    options = one_dim_options(draw, len(shape)) if draw.flag() else {}
    shape = not_empty(draw, options, shape)
    x = numbers(draw, shape, any_dtype(draw, FLOATS) if options else any_dtype(draw, (*FLOATS, "int64", "int32")))
    if options:
        x = np.asarray(np.random.default_rng(draw.integer(0, 99)).permutation(x.size).reshape(shape) / 4, x.dtype)
        if x.size and draw.integer(0, 3) == 3:
            x.flat[draw.integer(0, x.size - 1)] = np.nan
            draw.note("NaN")
    needs = floats_among(draw, [x])
    smooth = finite(x) and apart(x, reduced_axes(options, x.ndim), 1) and len(np.unique(x)) == x.size
    return Case("Tensor.median", [x], options, needs=needs, differentiable=bool(needs), smooth=smooth)


@space("aminmax")
def aminmax(draw: Draw) -> Case:
    shape = any_shape(draw)
    options = one_dim_options(draw, len(shape)) if draw.flag() else {}
    options = {{"axis": "dim", "keepdims": "keepdim"}.get(name, name): value for name, value in options.items()}
    x = numbers(draw, not_empty(draw, options, shape), any_dtype(draw), (*VALUES, "infinite"))
    needs = floats_among(draw, [x])
    axes = reduced_axes(options, x.ndim)
    return Case(
        "Tensor.aminmax",
        [x],
        options,
        needs=needs,
        differentiable=bool(needs),
        smooth=apart(x, axes, 1) and apart(x, axes, -1),
    )


@space("std_mean")
def std_mean(draw: Draw) -> Case:
    return _with_mean(draw, "std")


@space("var_mean")
def var_mean(draw: Draw) -> Case:
    return _with_mean(draw, "var")


def _with_mean(draw: Draw, name: str) -> Case:
    case, both_names = spread(draw, name), f"{name}_mean"
    case.inputs = [np.asarray(np.where(np.isfinite(x), x, 2), x.dtype) for x in case.inputs]
    case.call = both_names
    case.theirs = _without_warning(lambda x, **options: getattr(torch(), both_names)(x, **options))
    return case


@space("dist")
def dist(draw: Draw) -> Case:
    """The tensors are apart: some norms have kinks where they meet."""
    dtype = any_dtype(draw, FLOATS)
    x, y = (numbers(draw, shape, dtype) for shape in broadcast_shapes(draw, ("left", "right")))
    y = np.asarray(y + dtype.type(8), dtype)
    options = {"p": p} if (p := draw.choice((None, 2, 1, 3))) else {}
    terms = max(1, product(np.broadcast_shapes(x.shape, y.shape)))
    second = p in (None, 2) or x.size * y.size > 0  # elsewhere PyTorch divides 0 by the norm, 0
    return Case("dist", [x, y], options, magnitude=16 * terms, smooth=True, second_order=second)


@space("logsumexp")
def logsumexp(draw: Draw) -> Case:
    shape = any_shape(draw)
    options = reduction(draw, len(shape))
    if not options or () in options.values():  # torch refuses both
        options = {"dim": tuple(range(max(len(shape), 1)))}
    x = numbers(draw, shape, any_dtype(draw), (*VALUES, "infinite", "special"))
    scale = draw.choice((1, 30, 1e4)) if x.dtype.kind == "f" else 1
    if scale != 1:
        draw.note("far out")
        x = np.asarray(x * x.dtype.type(scale))
    needs = floats_among(draw, [x])
    return Case(
        "Tensor.logsumexp",
        [x],
        options,
        needs=needs,
        magnitude=1,
        differentiable=bool(needs),
        smooth=finite(x) and steepest(x) < 1e3,
        second_order=finite(x),
    )


@space("norm")
def norm(draw: Draw) -> Case:
    """p = 1, 2, infinity and others. Each has a kink at 0; infinity has one at equal extremes too."""
    shape = any_shape(draw)
    options = reduction(draw, len(shape))
    p = draw.choice((None, 2, 1, float("inf"), 3, 1.5, 0.5, 0, float("-inf")))
    if p is not None:
        options["p"] = p
        draw.note(f"p={p}")
    if p in (float("inf"), float("-inf")):
        shape = not_empty(draw, options, shape)
    x = numbers(draw, shape, any_dtype(draw, FLOATS), VALUES)
    smooth = p in (None, 2) and away(x)
    smooth = smooth or (p in (3, 1.5) and away(x, 0.05))
    magnitude = 1.0
    if p in (3, 1.5, 0.5):
        draw.note("another p")
        magnitude = 4.0 * max(x.size, 1) ** max(1 / p - 1, 0) / p if x.size and away(x, 0.05) else 0
        x = x if magnitude else np.asarray(np.where(abs(x) < 0.05, 0, x), x.dtype)
        magnitude = 16.0 * max(x.size, 1)

    def theirs(x: Any, p: float = 2, **options: Any) -> Any:
        """torch's own norm calls this function, which has other names for the options."""
        given = {{"axis": "dim", "keepdims": "keepdim"}.get(name, name): value for name, value in options.items()}
        return torch().linalg.vector_norm(x, p, **given)

    return Case(
        "Tensor.norm",
        [x],
        options,
        magnitude=magnitude,
        differentiable=p != 0,
        smooth=smooth,
        second_order=smooth and (p in (None, 2) or x.size > 0),  # elsewhere PyTorch divides 0 by the norm, 0
        theirs=theirs,
    )


@space("all")
def all_(draw: Draw) -> Case:
    return truth(draw, "all")


@space("any")
def any_(draw: Draw) -> Case:
    return truth(draw, "any")


def truth(draw: Draw, name: str) -> Case:
    """Numbers other than 0 are true, NaN too. `all` of an empty tensor is True, `any` is False."""
    x = numbers(draw, any_shape(draw, max_side=3), any_dtype(draw, tuple(d for d in ANY if d != "uint8")), SPECIAL)
    options = reduction(draw, x.ndim, everything=None)
    if () in options.values():
        options = {}
    return Case(f"Tensor.{name}", [x], options, differentiable=False)
