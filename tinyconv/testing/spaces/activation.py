"""Activations, at their kinks, far out, and at infinities and NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyconv.check.draw import FLOATS, VALUES, Array, Draw
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import ANY, any_dtype, any_shape, away, finite, floats_among, numbers, one_dim

FAR = (1.0, 5.0, 30.0, 1e4)
SPECIAL = (*VALUES, "special")


def activated(draw: Draw, dtypes: Sequence[str] = FLOATS, values: Sequence[str] = SPECIAL) -> Array:
    """An input that may be so large that e^x overflows and underflows."""
    x = numbers(draw, any_shape(draw), any_dtype(draw, dtypes), values)
    scale = draw.choice(FAR) if x.dtype.kind == "f" else 1.0
    if scale == 1.0:
        return x
    draw.note("far out")
    return np.asarray(x * x.dtype.type(scale))


def pointwise(
    draw: Draw,
    call: str,
    x: Array,
    magnitude: float = 1,
    kinked: bool = False,
    options: dict[str, Any] | None = None,
) -> Case:
    """A function of each element, perhaps `kinked` at 0.

    Far out it is flat, or so steep that differences are all rounding, and so the case is not smooth.
    """
    needs = floats_among(draw, [x])
    smooth = away(x) if kinked else finite(x)
    return Case(
        call,
        [x],
        options or {},
        needs=needs,
        magnitude=magnitude,
        differentiable=bool(needs),
        smooth=smooth and bool((abs(x.astype(np.float64)) < 1e3).all()),
        second_order=finite(x),  # the second derivatives at infinities are 0 * inf
    )


@space("relu")
def relu(draw: Draw) -> Case:
    x = activated(draw, (*FLOATS, "int64", "int32", "uint8"))
    return pointwise(draw, "functional.relu", x, magnitude=0, kinked=True)


@space("leaky_relu")
def leaky_relu(draw: Draw) -> Case:
    """The slope may also be 0, 1 or negative."""
    x = activated(draw)
    slope = draw.choice((None, 0.3, 0, 1, 2.5, -0.5))
    options = {} if slope is None else {"negative_slope": slope}
    draw.note_if(slope is not None, "negative_slope")
    return pointwise(draw, "functional.leaky_relu", x, magnitude=0, kinked=True, options=options)


@space("sigmoid")
def sigmoid(draw: Draw) -> Case:
    return pointwise(draw, "functional.sigmoid", activated(draw, ANY))


@space("tanh")
def tanh(draw: Draw) -> Case:
    return pointwise(draw, "functional.tanh", activated(draw, ANY))


@space("silu")
def silu(draw: Draw) -> Case:
    x = activated(draw)
    case = pointwise(draw, "functional.silu", x)
    case.second_order &= bool((x > -80).all())  # below that, e^-x overflows in float32: see DECISIONS
    return case


@space("gelu")
def gelu(draw: Draw) -> Case:
    approximate = draw.choice((None, "none", "tanh"))
    special = draw.integer(0, 2) == 2
    if special and approximate != "tanh":
        x = activated(draw, ("float64",))  # torch's float32 kernel makes NaN of infinity
    else:
        x = activated(draw, values=SPECIAL if special else VALUES)
    options = {} if approximate is None else {"approximate": approximate}
    draw.note_if(approximate == "tanh", "approximate='tanh'")
    return pointwise(draw, "functional.gelu", x, options=options)


@space("softmax")
def softmax(draw: Draw) -> Case:
    return along_one_dim(draw, "softmax")


@space("log_softmax")
def log_softmax(draw: Draw) -> Case:
    return along_one_dim(draw, "log_softmax")


def along_one_dim(draw: Draw, name: str) -> Case:
    """Every axis from either end, a row of one element, batches without a row, and rows masked by -inf."""
    x = activated(draw, values=(*VALUES, "infinite", "special"))
    dim = one_dim(draw, x.ndim)
    draw.note_if(x.ndim and x.shape[dim] == 1, "one element")
    if x.size and finite(x) and draw.integer(0, 3) == 3:
        x = np.where(draw.values(x.shape, np.bool_, "ties"), x, -np.inf).astype(x.dtype)
        draw.note("masked by -inf")
    return pointwise(draw, f"functional.{name}", x, options={"dim": dim})
