"""The argument spaces of pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.check.draw import LAYOUTS, Array, Draw
from tinyconv.shapes import pair, pool_output_size
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.conv import both_ways, spelled
from tinyconv.testing.spaces.geometry import away, finite
from tinyconv.testing.spaces.keywords import keyword_case


def pooling(draw: Draw, dilations: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of an input, and a geometry of windows none of which is empty."""
    kernel = draw.choice([both_ways(draw, 2, 2), both_ways(draw, 1, 3), both_ways(draw, 1, 3)])
    dilation = both_ways(draw, 1, draw.choice([1, 3])) if dilations else (1, 1)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    padding = pair([draw.integer(0, k // 2) for k in kernel] if draw.flag() else 0, "padding")
    # A dilated window may step over an image smaller than its step, from padding into padding.
    least = (max(1, r - 2 * p, d if p else 1) for r, p, d in zip(reach, padding, dilation, strict=True))
    extra = both_ways(draw, 0, draw.choice([4, 1, 0]))
    size = tuple(n + e for n, e in zip(least, extra, strict=True))
    stride = draw.choice([None, both_ways(draw, 1, 2), both_ways(draw, 1, 4)])

    options: dict[str, Any] = {"kernel_size": spelled(draw, kernel)}
    if stride is not None or draw.flag():
        options["stride"] = None if stride is None else spelled(draw, stride)
    if padding != (0, 0) or draw.flag():
        options["padding"] = spelled(draw, padding)
    if dilations and (dilation != (1, 1) or draw.flag()):
        options["dilation"] = spelled(draw, dilation)
    ceil_mode = draw.flag()
    if ceil_mode:
        options["ceil_mode"] = True
    n, c = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 2)

    steps = stride or kernel
    axes = list(zip(size, kernel, steps, padding, dilation, strict=True))
    draw.note("stride left out" if stride is None else "stride")
    draw.note_if(any(s > r for s, r in zip(steps, reach, strict=True)), "stride > kernel")
    draw.note_if(any(s < r for s, r in zip(steps, reach, strict=True)), "overlapping windows")
    draw.note_if(reach == size and padding == (0, 0), "kernel = input")
    draw.note_if(kernel == (1, 1), "1x1 kernel")
    draw.note_if(padding != (0, 0), "padding")
    draw.note_if(any(p and 2 * p == k for p, k in zip(padding, kernel, strict=True)), "padding = kernel / 2")
    draw.note_if(dilation != (1, 1), "dilation")
    draw.note_if(any(pool_output_size(*axis, False) * axis[2] < axis[0] + 2 * axis[3] for axis in axes), "rest")
    draw.note_if(ceil_mode, "ceil_mode")
    larger = any(pool_output_size(*axis, True) > pool_output_size(*axis, False) for axis in axes)
    draw.note_if(ceil_mode and larger, "ceil_mode, window over the edge")
    draw.note_if(n < 2, f"N = {n}")
    return (n, c, *size), options


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
    shape, options = pooling(draw, dilations=True)
    x, smooth = maxima(draw, shape)
    _maybe_indices(draw, options)
    # Where windows overlap, gradients add up.
    return keyword_case("functional.max_pool2d", {"input": x}, options, smooth=smooth, magnitude=1)


@space("avg_pool2d")
def avg_pool2d(draw: Draw) -> Case:
    shape, options = pooling(draw, dilations=False)
    if draw.flag():
        options["count_include_pad"] = draw.flag()
        draw.note_if(not options["count_include_pad"], "count_include_pad=False")
    if draw.flag():
        options["divisor_override"] = draw.choice([None, 1, 2, 5])
        draw.note_if(options["divisor_override"], "divisor_override")
    x = draw.array(shape, draw.dtype(), ("normal", "ties", "special"))
    return keyword_case("functional.avg_pool2d", {"input": x}, options, magnitude="terms")


def adaptive(draw: Draw) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The shape of an input, and an output size: smaller, equal or larger, as an integer, a pair or with None."""
    n, c, h, w = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 2), *both_ways(draw, 1, 7)
    wanted = draw.choice([both_ways(draw, 1, 3), both_ways(draw, 1, 8), (1, 1), (h, w)])
    output_size: Any = spelled(draw, wanted)
    kept = draw.choice(["neither", "neither", "height", "width", "both"])
    if kept != "neither":
        output_size = (None if kept != "width" else wanted[0], None if kept != "height" else wanted[1])
        draw.note("None in output_size")
    out = [n if k is None else k for n, k in zip((h, w), output_size, strict=True)] if kept != "neither" else wanted
    draw.note_if(any(o > size for o, size in zip(out, (h, w), strict=True)), "output > input")
    draw.note_if(any(size % o for o, size in zip(out, (h, w), strict=True)), "cells overlap")
    draw.note_if(tuple(out) == (1, 1), "one cell")
    draw.note_if(n < 2, f"N = {n}")
    return (n, c, h, w), {"output_size": output_size}


@space("adaptive_avg_pool2d")
def adaptive_avg_pool2d(draw: Draw) -> Case:
    shape, options = adaptive(draw)
    x = draw.array(shape, draw.dtype(), ("normal", "ties", "special"))
    return keyword_case("functional.adaptive_avg_pool2d", {"input": x}, options, smooth=finite(x), magnitude="terms")


@space("adaptive_max_pool2d")
def adaptive_max_pool2d(draw: Draw) -> Case:
    shape, options = adaptive(draw)
    x, smooth = maxima(draw, shape, several_nan=False)
    _maybe_indices(draw, options)
    return keyword_case("functional.adaptive_max_pool2d", {"input": x}, options, smooth=smooth, magnitude=1)


def _maybe_indices(draw: Draw, options: dict[str, Any]) -> None:
    if draw.flag():
        options["return_indices"] = True
        draw.note("return_indices")
