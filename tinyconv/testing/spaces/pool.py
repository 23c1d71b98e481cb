"""The argument spaces of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.check.draw import LAYOUTS, Array, Draw
from tinyconv.shapes import pair, pool_output_size
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.conv import both_ways, maybe_one, spelled, spelled_one
from tinyconv.testing.spaces.geometry import away, finite
from tinyconv.testing.spaces.keywords import keyword_case


def pooling(draw: Draw, dilations: bool, axes: int = 2) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of an input, and a geometry of windows none of which is empty. With one axis it is that of signals."""
    spell = spelled if axes == 2 else spelled_one
    kernel = draw.choice([both_ways(draw, 2, 2), both_ways(draw, 1, 3), both_ways(draw, 1, 3)])
    dilation = both_ways(draw, 1, draw.choice([1, 3])) if dilations else (1, 1)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    padding = pair([draw.integer(0, k // 2) for k in kernel] if draw.flag() else 0, "padding")
    stride = draw.choice([None, both_ways(draw, 1, 2), both_ways(draw, 1, 4)])
    steps, ceil_mode = stride or kernel, draw.flag()
    # The only window may hang over the end in ceil_mode. And a dilated one may step over an image smaller than its
    # step, from padding into padding.
    over = [s - 1 if ceil_mode else 0 for s in steps]
    least = (max(1, r - 2 * p - o, d if p else 1) for r, p, o, d in zip(reach, padding, over, dilation, strict=True))
    extra = both_ways(draw, 0, draw.choice([4, 1, 0]))
    size = tuple(n + e for n, e in zip(least, extra, strict=True))

    options: dict[str, Any] = {"kernel_size": spell(draw, kernel)}
    if stride is not None or draw.flag():
        options["stride"] = None if stride is None else spell(draw, stride)
    if padding != (0, 0) or draw.flag():
        options["padding"] = spell(draw, padding)
    if dilations and (dilation != (1, 1) or draw.flag()):
        options["dilation"] = spell(draw, dilation)
    if ceil_mode:
        options["ceil_mode"] = True
    n, c = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 2)

    sizes = list(zip(size, kernel, steps, padding, dilation, strict=True))
    draw.note("stride left out" if stride is None else "stride")
    draw.note_if(any(s > r for s, r in zip(steps, reach, strict=True)), "stride > kernel")
    draw.note_if(any(s < r for s, r in zip(steps, reach, strict=True)), "overlapping windows")
    draw.note_if(reach == size and padding == (0, 0), "kernel = input")
    draw.note_if(kernel == (1, 1), "1x1 kernel")
    draw.note_if(padding != (0, 0), "padding")
    draw.note_if(any(p and 2 * p == k for p, k in zip(padding, kernel, strict=True)), "padding = kernel / 2")
    draw.note_if(dilation != (1, 1), "dilation")
    draw.note_if(any(pool_output_size(*axis, False) * axis[2] < axis[0] + 2 * axis[3] for axis in sizes), "rest")
    draw.note_if(ceil_mode, "ceil_mode")
    larger = any(pool_output_size(*axis, True) > pool_output_size(*axis, False) for axis in sizes)
    draw.note_if(ceil_mode and larger, "ceil_mode, window over the edge")
    draw.note_if(any(r > n + 2 * p for r, n, p in zip(reach, size, padding, strict=True)), "window larger than input")
    draw.note_if(n < 2, f"N = {n}")
    return (n, c, *size[-axes:]), options


def maxima(draw: Draw, shape: tuple[int, ...], several_nan: bool = True) -> tuple[Array, bool]:
    """Values to take maxima of, and whether all of them are far apart."""
    dtype = draw.dtype()
    kind = draw.choice(["distinct", "ties", "distinct", "infinite", "NaN", "-inf"])
    layouts: tuple[str, ...] = LAYOUTS
    if kind == "distinct":  # 1/8 apart
        order = draw.values(shape, dtype, "normal").argsort(axis=None).argsort()
        values = np.asarray((order - order.size // 2) / 8, dtype).reshape(shape)
    elif kind == "-inf":
        values = np.full(shape, -np.inf, dtype)
        draw.note("-inf only")
    elif kind == "NaN" and not several_nan:
        values = draw.values(shape, dtype, "infinite")
        if values.size:
            values.flat[draw.integer(0, values.size - 1)] = np.nan
            draw.note("one NaN")
        layouts = LAYOUTS[:-1]  # without "broadcast", which repeats elements
    else:
        values = draw.values(shape, dtype, "special" if kind == "NaN" else kind)
    array = draw.arrange(values, draw.choice(layouts))
    return array, finite(array) and away(np.diff(np.sort(array, axis=None)))


@space("max_pool2d")
def max_pool2d(draw: Draw) -> Case:
    return maybe_one(draw, max_pooling(draw))


@space("max_pool1d")
def max_pool1d(draw: Draw) -> Case:
    return maybe_one(draw, max_pooling(draw, axes=1))


def max_pooling(draw: Draw, axes: int = 2) -> Case:
    """A case of max_pool2d, or with one axis of max_pool1d."""
    shape, options = pooling(draw, dilations=True, axes=axes)
    x, smooth = maxima(draw, shape)
    _maybe_indices(draw, options)
    # Where windows overlap, gradients add up.
    return keyword_case(f"functional.max_pool{axes}d", {"input": x}, options, smooth=smooth, magnitude=1)


@space("max_unpool2d")
def max_unpool2d(draw: Draw) -> Case:
    return maybe_unpool_one(draw, unpooling(draw, axes=2))


@space("max_unpool1d")
def max_unpool1d(draw: Draw) -> Case:
    return maybe_unpool_one(draw, unpooling(draw, axes=1))


def unpooling(draw: Draw, axes: int) -> Case:
    """The geometry first, then distinct places in what it gives: PyTorch promises nothing where two are the same."""
    spell = spelled if axes == 2 else spelled_one
    kernel, size = both_ways(draw, 1, 3), both_ways(draw, 1, 3)
    stride = draw.choice([None, both_ways(draw, 1, 3)])
    steps = stride or kernel
    padding = pair([draw.integer(0, k // 2) for k in kernel] if draw.flag() else 0, "padding")
    out = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(size, steps, padding, kernel, strict=True)]
    options: dict[str, Any] = {"kernel_size": spell(draw, kernel)}
    wanted = [max(n, m) for n, m in zip(out, size, strict=True)]  # room for each of them
    if stride is not None:
        options["stride"] = spell(draw, stride)
    if padding != (0, 0):
        options["padding"] = spell(draw, padding)
        draw.note("padding")
    if any(abs(n - m) >= s for n, m, s in zip(out, wanted, steps, strict=True)):  # which is not always to be had
        return unpooling(draw, axes)
    if out != wanted or draw.flag():
        options["output_size"] = tuple(wanted[-axes:])
        draw.note("output_size")
    n, c = draw.choice([1, 2, 1, 2]), draw.integer(1, 2)
    count, room = int(np.prod(size[-axes:])), int(np.prod(wanted[-axes:]))
    rng = np.random.default_rng(draw.integer(0, 2**32 - 1))
    places = np.stack([rng.permutation(room)[:count] for _ in range(n * c)]).reshape(n, c, *size[-axes:])
    arrays = {"input": draw.array(places.shape, draw.dtype(), ("normal", "ties", "special")), "indices": places}
    return keyword_case(f"functional.max_unpool{axes}d", arrays, options, needs=[0])


def maybe_unpool_one(draw: Draw, case: Case) -> Case:
    """At times without the batch axis, that of the places too."""
    if len(case.inputs[0]) == 1 and draw.flag():
        case.inputs = [array[0] for array in case.inputs]
        draw.note("no batch axis")
    return case


@space("avg_pool2d")
def avg_pool2d(draw: Draw) -> Case:
    return maybe_one(draw, averages(draw, axes=2))


@space("avg_pool1d")
def avg_pool1d(draw: Draw) -> Case:
    return maybe_one(draw, averages(draw, axes=1))


def averages(draw: Draw, axes: int) -> Case:
    shape, options = pooling(draw, dilations=False, axes=axes)
    if draw.flag():
        options["count_include_pad"] = draw.flag()
        draw.note_if(not options["count_include_pad"], "count_include_pad=False")
    if axes == 2 and draw.flag():
        options["divisor_override"] = draw.choice([None, 1, 2, 5])
        draw.note_if(options["divisor_override"], "divisor_override")
    x = draw.array(shape, draw.dtype(), ("normal", "ties", "special"))
    return keyword_case(f"functional.avg_pool{axes}d", {"input": x}, options, magnitude="terms")


@space("lp_pool2d")
def lp_pool2d(draw: Draw) -> Case:
    return maybe_one(draw, powers(draw, axes=2))


@space("lp_pool1d")
def lp_pool1d(draw: Draw) -> Case:
    return maybe_one(draw, powers(draw, axes=1))


def powers(draw: Draw, axes: int) -> Case:
    """Positive numbers: a root of a sum of powers is steep at 0, and beside it rounding decides."""
    shape, options = pooling(draw, dilations=False, axes=axes)
    options.pop("padding", None)
    kernel = (options["kernel_size"],) if isinstance(options["kernel_size"], int) else options["kernel_size"]
    if axes == 1:
        options["kernel_size"] = kernel[0]  # PyTorch multiplies by it
    shape = (*shape[:2], *(max(n, *kernel) for n in shape[2:]))  # now that nothing is padded
    options["norm_type"] = draw.choice([2, 1, 3, 0.5])
    draw.note(f"p = {options['norm_type']}")
    x = draw.array(shape, draw.dtype(), ("positive",))
    return keyword_case(f"functional.lp_pool{axes}d", {"input": x}, options, magnitude=64)


def adaptive(draw: Draw, axes: int = 2) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of an input, and an output size: smaller, equal or larger, as an integer, a pair or with None."""
    n, c, h, w = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 2), *both_ways(draw, 1, 7)
    wanted = draw.choice([both_ways(draw, 1, 3), both_ways(draw, 1, 8), (1, 1), (h, w)])
    output_size: Any = spelled(draw, wanted) if axes == 2 else spelled_one(draw, wanted)
    kept = draw.choice(["neither", "neither", "height", "width", "both"] if axes == 2 else ["neither"])
    if kept != "neither":
        output_size = (None if kept != "width" else wanted[0], None if kept != "height" else wanted[1])
        draw.note("None in output_size")
    out = [n if k is None else k for n, k in zip((h, w), output_size, strict=True)] if kept != "neither" else wanted
    draw.note_if(any(o > size for o, size in zip(out, (h, w), strict=True)), "output > input")
    draw.note_if(any(size % o for o, size in zip(out, (h, w), strict=True)), "cells overlap")
    draw.note_if(tuple(out) == (1, 1), "one cell")
    draw.note_if(n < 2, f"N = {n}")
    return (n, c, *(h, w)[-axes:]), {"output_size": output_size}


@space("adaptive_avg_pool2d")
def adaptive_avg_pool2d(draw: Draw) -> Case:
    return maybe_one(draw, cell_means(draw, axes=2))


@space("adaptive_avg_pool1d")
def adaptive_avg_pool1d(draw: Draw) -> Case:
    return maybe_one(draw, cell_means(draw, axes=1))


def cell_means(draw: Draw, axes: int) -> Case:
    shape, options = adaptive(draw, axes)
    x = draw.array(shape, draw.dtype(), ("normal", "ties", "special"))
    call = f"functional.adaptive_avg_pool{axes}d"
    return keyword_case(call, {"input": x}, options, smooth=finite(x), magnitude="terms")


@space("adaptive_max_pool2d")
def adaptive_max_pool2d(draw: Draw) -> Case:
    return maybe_one(draw, cell_maxima(draw, axes=2))


@space("adaptive_max_pool1d")
def adaptive_max_pool1d(draw: Draw) -> Case:
    return maybe_one(draw, cell_maxima(draw, axes=1))


def cell_maxima(draw: Draw, axes: int) -> Case:
    shape, options = adaptive(draw, axes)
    x, smooth = maxima(draw, shape, several_nan=False)
    _maybe_indices(draw, options)
    return keyword_case(f"functional.adaptive_max_pool{axes}d", {"input": x}, options, smooth=smooth, magnitude=1)


def _maybe_indices(draw: Draw, options: dict[str, Any]) -> None:
    if draw.flag():
        options["return_indices"] = True
        draw.note("return_indices")
