"""The argument spaces of unfold and fold. The window is drawn first, as for conv2d."""

from __future__ import annotations

from typing import Any

from tinyconv.check.draw import Draw
from tinyconv.shapes import conv_output_size, product
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.conv import Window, maybe_one, spelled, window
from tinyconv.testing.spaces.keywords import keyword_case


def geometry(draw: Draw) -> tuple[Window, dict[str, Any]]:
    drawn = window(draw)
    options: dict[str, Any] = {"kernel_size": spelled(draw, drawn.kernel)}
    for name, usual in {"dilation": 1, "padding": 0, "stride": 1}.items():
        value = getattr(drawn, name)
        if value != (usual, usual) or draw.flag():
            options[name] = spelled(draw, value)
            draw.note_if(value != (usual, usual), name)
    draw.note_if(drawn.kernel == (1, 1), "1x1 kernel")
    draw.note_if(any(s < r for s, r in zip(drawn.stride, drawn.reach, strict=True)), "overlapping windows")
    draw.note_if(any(s > r for s, r in zip(drawn.stride, drawn.reach, strict=True)), "stride > kernel")
    return drawn, options


def batch(draw: Draw) -> tuple[int, int]:
    n, c = draw.choice([1, 2, 1, 2, 0]), draw.integer(1, 3)
    draw.note_if(n < 2, f"N = {n}")
    return n, c


@space("unfold")
def unfold(draw: Draw) -> Case:
    """The windows of images, and at times those of one axis, by the method of that name."""
    if not draw.integer(0, 3):
        shape = draw.shape(1, 3, 1, 6)
        axis = draw.integer(0, len(shape) - 1)
        size, step = draw.integer(0, shape[axis]), draw.integer(1, 4)
        draw.note("Tensor.unfold")
        x = draw.array(shape, draw.dtype(), ("normal", "ties", "special"))
        dim = axis - draw.choice([0, len(shape)])
        return Case("Tensor.unfold", [x], {"dimension": dim, "size": size, "step": step}, magnitude="terms")
    drawn, options = geometry(draw)
    x = draw.array((*batch(draw), *drawn.size), draw.dtype(), ("normal", "ties", "special"))
    return maybe_one(draw, keyword_case("functional.unfold", {"input": x}, options, magnitude="terms"))


@space("fold")
def fold(draw: Draw) -> Case:
    drawn, options = geometry(draw)
    options["output_size"] = spelled(draw, drawn.size)
    n, c = batch(draw)
    axes = zip(drawn.size, drawn.kernel, drawn.stride, drawn.padding, drawn.dilation, strict=True)
    windows = product(conv_output_size(*axis) for axis in axes)
    columns = draw.array((n, c * product(drawn.kernel), windows), draw.dtype(), ("normal", "ties", "special"))
    return maybe_one(draw, keyword_case("functional.fold", {"input": columns}, options, magnitude="terms"))
