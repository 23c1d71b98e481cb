"""The argument spaces of interpolation, sampling and shuffles: sizes first."""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from tinyconv.check.draw import Draw
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.conv import both_ways, spelled, spelled_one
from tinyconv.testing.spaces.geometry import any_dtype, finite, floats_among, numbers
from tinyconv.testing.spaces.keywords import keyword_case

FACTORS = (2.0, 0.5, 1.5, 3.0, 0.7, 2.3, 1.0, 1.1)


def batch(draw: Draw) -> tuple[int, int]:
    n, c = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 3)
    draw.note_if(n < 2, f"N = {n}")
    return n, c


@space("interpolate")
def interpolate(draw: Draw) -> Case:
    axes = draw.choice([2, 2, 1])
    modes = ["nearest", "bilinear", "bicubic", "area", "nearest-exact"]
    mode = draw.choice(modes if axes == 2 else ["nearest", "linear", "area", "nearest-exact"])
    options: dict[str, Any] = {"mode": mode}
    used = [1.0] * axes
    draw.note(mode)
    n, c = batch(draw)
    size = both_ways(draw, 2, 6)[-axes:]
    spell: Any = spelled if axes == 2 else spelled_one
    if draw.flag():
        factors = [draw.choice(FACTORS), draw.choice(FACTORS)]
        options["scale_factor"] = factors[0] if axes == 1 or draw.flag() else factors
        used = factors if isinstance(options["scale_factor"], list) else [factors[0]] * axes
        out = [floor(s * f) for s, f in zip(size, used, strict=True)]
        if draw.flag():
            options["recompute_scale_factor"] = True
            draw.note("recompute_scale_factor")
        # Where images of one channel lie in memory as with the channels last, PyTorch finds other neighbours.
        c = max(c, 2)
        draw.note("scale_factor")
    else:
        wanted = draw.choice([both_ways(draw, 1, 4), both_ways(draw, 2, 9), (size[0], 2 * size[-1])])
        options["size"], out = spell(draw, wanted), list(wanted[-axes:])
        draw.note("size")
    draw.note_if(any(o > s for o, s in zip(out, size, strict=True)), "larger")
    draw.note_if(any(o < s for o, s in zip(out, size, strict=True)), "smaller")
    if mode in ("linear", "bilinear", "bicubic"):
        if draw.flag():
            options["align_corners"] = draw.flag()
            draw.note_if(options["align_corners"], "align_corners")
        if axes == 2 and min(out) > 1 and draw.flag():  # a width of 1 PyTorch gets wrong
            options["antialias"] = True
            draw.note("antialias")
    values = ("normal", "ties", "special") if mode in ("nearest", "nearest-exact", "area") else ("normal", "ties")
    layouts = ("contiguous", "sliced", "reversed", "read-only")  # "permuted" has the channels last to PyTorch
    x = draw.array((n, c, *size), draw.dtype(), values, layouts)
    # There PyTorch's forward looks at the factor, and its backward at the sizes alone.
    by_factor = "scale_factor" in options and "recompute_scale_factor" not in options
    signals = by_factor and axes == 1 and mode == "nearest" and out[0] in (size[0], 2 * size[0])
    uneven = by_factor and "antialias" in options and any(o != s * f for o, s, f in zip(out, size, used, strict=True))
    fair = not (signals or uneven)
    return keyword_case("functional.interpolate", {"input": x}, options, magnitude=8, differentiable=fair)


@space("affine_grid")
def affine_grid(draw: Draw) -> Case:
    n, size = draw.integer(1, 2), both_ways(draw, 1, 4)
    options: dict[str, Any] = {"size": (n, draw.integer(1, 2), *size), "align_corners": min(size) > 1 and draw.flag()}
    draw.note_if(options["align_corners"], "align_corners")
    draw.note_if(1 in size, "one row or column")
    theta = draw.array((n, 2, 3), draw.dtype())
    return keyword_case("functional.affine_grid", {"theta": theta}, options, magnitude=8)


@space("grid_sample")
def grid_sample(draw: Draw) -> Case:
    """Places near an image, or exactly on its edges and pixels, where which gradient is chosen counts."""
    (n, c), size, out = batch(draw), both_ways(draw, 1, 5), both_ways(draw, 1, 3)
    mode, padding = draw.choice(["bilinear", "nearest"]), draw.choice(["zeros", "border", "reflection"])
    options = {"mode": mode, "padding_mode": padding, "align_corners": draw.flag()}
    draw.note(mode, padding)
    draw.note_if(options["align_corners"], "align_corners")
    draw.note_if(1 in size, "one row or column")
    dtype, exact = draw.dtype(), not draw.integer(0, 2)
    if exact:
        draw.note("places on edges and pixels")
        grid = draw.arrange(
            draw.values((n, *out, 2), dtype, "ties") * dtype.type(0.5), draw.choice(["contiguous", "sliced"])
        )
    else:
        grid = draw.array((n, *out, 2), dtype, ("normal",))
    x = draw.array((n, c, *size), dtype, ("normal", "ties"))
    arrays = {"input": x, "grid": grid}
    needs = floats_among(draw, list(arrays.values()))
    smooth = not exact and mode == "bilinear"
    return keyword_case(
        "functional.grid_sample", arrays, options, needs=needs, smooth=smooth, second_order=not exact, magnitude=64
    )


@space("pixel_shuffle")
def pixel_shuffle(draw: Draw) -> Case:
    r, lead = draw.integer(1, 3), draw.shape(0, 2, 1, 2)
    x = numbers(draw, (*lead, draw.integer(1, 2) * r**2, *both_ways(draw, 1, 3)), any_dtype(draw))
    return _moved(draw, "pixel_shuffle", x, {"upscale_factor": r})


@space("pixel_unshuffle")
def pixel_unshuffle(draw: Draw) -> Case:
    r, lead = draw.integer(1, 3), draw.shape(0, 2, 1, 2)
    h, w = both_ways(draw, 1, 3)
    x = numbers(draw, (*lead, draw.integer(1, 2), h * r, w * r), any_dtype(draw))
    return _moved(draw, "pixel_unshuffle", x, {"downscale_factor": r})


@space("channel_shuffle")
def channel_shuffle(draw: Draw) -> Case:
    groups = draw.integer(1, 3)
    x = numbers(draw, (*batch(draw)[:1], groups * draw.integer(1, 2), *draw.shape(1, 2, 1, 3)), any_dtype(draw))
    return _moved(draw, "channel_shuffle", x, {"groups": groups})


def _moved(draw: Draw, name: str, x: np.ndarray[Any, Any], options: dict[str, Any]) -> Case:
    draw.note_if(1 in options.values(), "nothing moves")
    made = keyword_case(f"functional.{name}", {"input": x}, options, differentiable=x.dtype.kind == "f")
    made.second_order = finite(x)
    return made
