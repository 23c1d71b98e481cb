"""The argument spaces of convolutions. The window is drawn first, then an image that it fits into."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinyconv.check.draw import Draw
from tinyconv.shapes import Pair, pair, product, transposed_size
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import floats_among
from tinyconv.testing.spaces.keywords import keyword_case


class Window(NamedTuple):
    """A window and the height and width of an image that it fits into."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    size: Pair

    @property
    def reach(self) -> Pair:
        """The size that a window covers, with the gaps that dilation leaves."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1


def both_ways(draw: Draw, low: int, high: int) -> Pair:
    """A number for the height and one for the width; half of the time they are equal."""
    first = draw.integer(low, high)
    return first, first if draw.flag() else draw.integer(low, high)


def spelled(draw: Draw, value: Pair) -> int | Pair:
    """The pair, or at times one integer for two equal numbers."""
    if value[0] != value[1]:
        draw.note("unequal pair")
        return value
    return value[0] if draw.flag() else value


def window(draw: Draw) -> Window:
    """A window of up to 3 x 3 elements, padding that may exceed it, and an image that may be as small as possible."""
    kernel = draw.choice([(1, 1), both_ways(draw, 1, 3), both_ways(draw, 2, 3)])
    stride = both_ways(draw, 1, draw.choice([1, 2, 4]))
    dilation = both_ways(draw, 1, draw.choice([1, 1, 3]))
    drawn = Window(kernel, stride, (0, 0), dilation, (1, 1))
    most = draw.choice(["none", "half", "beyond"])
    padding = [draw.integer(0, {"none": 0, "half": r // 2, "beyond": r + 1}[most]) for r in drawn.reach]
    extra = both_ways(draw, 0, draw.choice([0, 1, 3]))
    size = [max(1, r - 2 * p) + e for r, p, e in zip(drawn.reach, padding, extra, strict=True)]
    return drawn._replace(padding=pair(padding, "padding"), size=pair(size, "size"))


def spelled_one(draw: Draw, value: tuple[int, ...]) -> int | tuple[int, ...]:
    """The last of two numbers, for a signal: as it is, or in a sequence."""
    return value[-1] if draw.flag() else value[-1:]


def maybe_one(draw: Draw, case: Case) -> Case:
    """The same case; at times the batch of one that it has is one example without a batch axis."""
    if len(case.inputs[0]) == 1 and draw.flag():
        case.inputs = [case.inputs[0][0], *case.inputs[1:]]
        draw.note("no batch axis")
    return case


@space("conv2d")
def conv2d(draw: Draw) -> Case:
    return maybe_one(draw, convolution(draw))


@space("conv1d")
def conv1d(draw: Draw) -> Case:
    return maybe_one(draw, convolution(draw, axes=1))


def convolution(draw: Draw, axes: int = 2) -> Case:
    """A case of conv2d, or with one axis of conv1d."""
    spell = spelled if axes == 2 else spelled_one
    drawn, style = window(draw), draw.choice(["numbers", "numbers", "same", "valid"])
    options: dict[str, Any] = {}
    if style != "numbers":
        options["padding"] = style
        draw.note(f"padding='{style}'")
        drawn = drawn._replace(padding=(0, 0))
    elif drawn.padding != (0, 0) or draw.flag():
        options["padding"] = spell(draw, drawn.padding)
    if style == "same":
        drawn = drawn._replace(stride=(1, 1))
        draw.note_if(any((r - 1) % 2 for r in drawn.reach), "padding='same', one side more")
    elif style == "valid":
        size = [max(n, r) for n, r in zip(drawn.size, drawn.reach, strict=True)]
        drawn = drawn._replace(size=pair(size, "size"))
    if drawn.stride != (1, 1) or draw.flag():
        options["stride"] = spell(draw, drawn.stride)
    if drawn.dilation != (1, 1) or draw.flag():
        options["dilation"] = spell(draw, drawn.dilation)
    _note_window(draw, drawn, fits=style != "same")

    groups, c_each, f_each = _groups(draw, options)
    n = draw.choice([1, 2, 1, 2, 0])
    draw.note_if(n < 2, f"N = {n}")
    draw.note_if(groups * c_each == 1, "C = 1")

    dtype = draw.dtype()
    values = ("normal", "ties", "normal", "ties", "special")  # the weights are never "special": see DECISIONS
    arrays = {
        "input": draw.array((n, groups * c_each, *drawn.size[-axes:]), dtype, values),
        "weight": draw.array((groups * f_each, c_each, *drawn.kernel[-axes:]), dtype, values[:4]),
    }
    if draw.flag():
        arrays["bias"] = draw.array((groups * f_each,), dtype, values)
    draw.note("bias" if "bias" in arrays else "no bias")
    needs = floats_among(draw, list(arrays.values()))
    return keyword_case(f"functional.conv{axes}d", arrays, options, needs=needs, magnitude="terms")


def _groups(draw: Draw, options: dict[str, Any]) -> tuple[int, int, int]:
    """The number of groups, and how many channels and filters each has."""
    grouping = draw.choice(["one", "several", "depthwise", "multiplied"])
    groups = 1 if grouping == "one" else draw.integer(2, 3)
    c_each = {"one": draw.integer(1, 3), "several": 2}.get(grouping, 1)
    f_each = {"one": draw.integer(1, 3), "several": draw.integer(1, 2), "depthwise": 1}.get(grouping, 2)
    if groups > 1:
        options["groups"] = groups
        draw.note({"several": "groups", "depthwise": "depthwise"}.get(grouping, "depthwise, two filters a channel"))
    return groups, c_each, f_each


@space("conv_transpose2d")
def conv_transpose2d(draw: Draw) -> Case:
    return maybe_one(draw, transposed(draw, axes=2))


@space("conv_transpose1d")
def conv_transpose1d(draw: Draw) -> Case:
    return maybe_one(draw, transposed(draw, axes=1))


def transposed(draw: Draw, axes: int) -> Case:
    """A case of a convolution run backwards: the window, then as much padding as leaves something of the output."""
    spell = spelled if axes == 2 else spelled_one
    kernel = draw.choice([both_ways(draw, 2, 2), (1, 1), both_ways(draw, 1, 3)])
    stride, dilation = both_ways(draw, 1, draw.choice([1, 2, 3])), both_ways(draw, 1, draw.choice([1, 1, 3]))
    size = both_ways(draw, 1, draw.choice([1, 3]))
    extra, padding = (0, 0), (0, 0)
    if draw.flag():
        extra = pair([draw.integer(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)], "output_padding")
    made = [
        transposed_size(n, k, s, 0, e, d) for n, k, s, e, d in zip(size, kernel, stride, extra, dilation, strict=True)
    ]
    if draw.flag():
        padding = pair([draw.integer(0, (n - 1) // 2) for n in made], "padding")
    options: dict[str, Any] = {}
    found = {"stride": (stride, 1), "padding": (padding, 0), "output_padding": (extra, 0), "dilation": (dilation, 1)}
    for name, (value, usual) in found.items():
        if value != (usual, usual) or draw.flag():
            options[name] = spell(draw, value)
            draw.note_if(value != (usual, usual), name)
    draw.note_if(any(e >= s for e, s in zip(extra, stride, strict=True)), "output_padding >= stride")
    draw.note_if(any(s > k for s, k in zip(stride, kernel, strict=True)), "stride > kernel")
    draw.note_if(kernel == (1, 1), "1x1 kernel")
    draw.note_if(product(size) == 1, "one pixel")

    groups, c_each, f_each = _groups(draw, options)
    n, dtype = draw.choice([1, 2, 1, 2, 0]), draw.dtype()
    draw.note_if(n < 2, f"N = {n}")
    arrays = {
        "input": draw.array((n, groups * c_each, *size[-axes:]), dtype),
        "weight": draw.array((groups * c_each, f_each, *kernel[-axes:]), dtype),
    }
    if draw.flag():
        arrays["bias"] = draw.array((groups * f_each,), dtype)
    draw.note("bias" if "bias" in arrays else "no bias")
    needs = floats_among(draw, list(arrays.values()))
    return keyword_case(f"functional.conv_transpose{axes}d", arrays, options, needs=needs, magnitude="terms")


def _note_window(draw: Draw, drawn: Window, fits: bool) -> None:
    draw.note_if(drawn.kernel == (1, 1), "1x1 kernel")
    draw.note_if(drawn.dilation != (1, 1), "dilation")
    draw.note_if(product(drawn.size) == 1, "one pixel")
    draw.note_if(any(s > k for s, k in zip(drawn.stride, drawn.kernel, strict=True)), "stride > kernel")
    draw.note_if(drawn.padding != (0, 0), "padding")
    draw.note_if(any(2 * p > r for p, r in zip(drawn.padding, drawn.reach, strict=True)), "padding > kernel / 2")
    draw.note_if(any(p >= r for p, r in zip(drawn.padding, drawn.reach, strict=True)), "windows of padding only")
    if fits:
        draw.note_if(drawn.reach == drawn.size and drawn.padding == (0, 0), "kernel = input")
        steps = zip(drawn.size, drawn.padding, drawn.reach, drawn.stride, strict=True)
        draw.note_if(any((n + 2 * p - r) % s for n, p, r, s in steps), "stride leaves a rest")
