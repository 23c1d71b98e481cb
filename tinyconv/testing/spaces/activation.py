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
INTEGERS = ("int64", "int32")
ANY_NUMBER = (*FLOATS, *INTEGERS)


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


@space("rrelu")
def rrelu(draw: Draw) -> Case:
    """Only what does not depend on random numbers: evaluation, and two slopes that are one."""
    x = activated(draw)
    training = draw.flag()
    lower, upper = draw.choice(((0.25, 0.25), (-1.0, -1.0)) if training else ((0.125, 0.5), (0.25, 1), (-0.5, 0.25)))
    draw.note_if(training, "training")
    options = {"lower": lower, "upper": upper, "training": training}
    return pointwise(draw, "functional.rrelu", x, magnitude=0, kinked=True, options=options)


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


KINKED: dict[str, tuple[Any, ...]] = {  # options to draw from, the kinks that they make, and dtypes beside floats
    "relu6": ({}, lambda **_: (0, 6), ("int64", "int32", "uint8")),
    "hardtanh": (
        {"min_val": (-1.0, -2, 0.5), "max_val": (1.0, 2, 0.5)},
        lambda min_val=-1.0, max_val=1.0: (min_val, max_val),
        INTEGERS,
    ),
    "hardsigmoid": ({}, lambda **_: (-3, 3), ()),
    "hardswish": ({}, lambda **_: (-3, 3), ()),
    "softshrink": ({"lambd": (0.5, 1, 0.0)}, lambda lambd=0.5: (-lambd, lambd), ()),
    "hardshrink": ({"lambd": (0.5, 1, 0.0)}, lambda lambd=0.5: (-lambd, lambd), ()),
    "threshold": (
        {"threshold": (0.5, -1, 2.0), "value": (20.0, 0, -1)},
        lambda threshold, value: (threshold,),
        INTEGERS,
    ),
    "elu": ({"alpha": (1.0, 0.5, 2, -0.5, 0)}, lambda **_: (0,), ()),
    "celu": ({"alpha": (1.0, 0.5, 2)}, lambda **_: (0,), ()),
    "selu": ({}, lambda **_: (0,), ()),
}
"""Activations with kinks: what they have in common is all that a space has to say."""


def kinked(name: str) -> None:
    """Register the space of one of them. Not at NaN, whose gradient in torch depends on where it lies in memory."""
    choices, kinks, integers = KINKED[name]
    values = VALUES if name == "hardswish" else (*VALUES, "infinite")

    @space(name)
    def one(draw: Draw) -> Case:
        floats = ("float32",) if name == "hardsigmoid" else FLOATS  # torch's 1/6 has no more digits than that
        x = activated(draw, (*floats, *integers), values)
        required = name == "threshold"
        options = {key: draw.choice(those) for key, those in choices.items() if required or draw.flag()}
        for key in options:
            draw.note(key)
        case = pointwise(draw, f"functional.{name}", x, options=options)
        case.smooth &= all(away(x.astype(np.float64) - kink) for kink in kinks(**options))
        case.second_order &= case.smooth and name != "hardsigmoid"  # for which torch has none
        return case


for _name in KINKED:
    kinked(_name)


@space("softplus")
def softplus(draw: Draw) -> Case:
    options = {}
    if draw.flag():
        options["beta"] = draw.choice((2.0, 0.5, 1))
        draw.note("beta")
    if draw.flag():
        options["threshold"] = draw.choice((1.0, 20, 0.0))
        draw.note("threshold")
    x = activated(draw)
    case = pointwise(draw, "functional.softplus", x, options=options)
    beta, threshold = options.get("beta", 1.0), options.get("threshold", 20.0)
    away_from_it = away(beta * x.astype(np.float64) - threshold)
    case.smooth &= away_from_it and threshold == 20  # a lower one is a step
    case.second_order &= away_from_it and bool((beta * x > -80).all())  # below that, e^-x overflows, as in silu
    return case


@space("logsigmoid")
def logsigmoid(draw: Draw) -> Case:
    x = activated(draw)
    case = pointwise(draw, "functional.logsigmoid", x)
    case.second_order &= bool((abs(x) < 80).all())
    return case


@space("softsign")
def softsign(draw: Draw) -> Case:
    return pointwise(draw, "functional.softsign", activated(draw, ANY_NUMBER), kinked=True)


@space("tanhshrink")
def tanhshrink(draw: Draw) -> Case:
    return pointwise(draw, "functional.tanhshrink", activated(draw, ANY_NUMBER))


@space("mish")
def mish(draw: Draw) -> Case:
    """Without infinities, whose gradients are NaN here and there."""
    x = activated(draw, values=VALUES)
    case = pointwise(draw, "functional.mish", x)
    case.second_order &= bool((abs(x) < 80).all())
    return case


@space("glu")
def glu(draw: Draw) -> Case:
    shape = list(any_shape(draw, min_dims=1))
    dim = one_dim(draw, len(shape))
    shape[dim] *= 2
    x = numbers(draw, shape, any_dtype(draw, FLOATS))
    case = pointwise(draw, "functional.glu", x, options={"dim": dim})
    if dim == -1 and draw.flag():
        case.options = {}
    return case


@space("prelu")
def prelu(draw: Draw) -> Case:
    """One slope, or one for each channel, of inputs with and without channels."""
    shape, dtype = any_shape(draw), any_dtype(draw, FLOATS)
    slopes = shape[1] if len(shape) > 1 and shape[1] and draw.flag() else 1
    draw.note("a slope for each channel" if slopes > 1 else "one slope")
    arrays = [numbers(draw, shape, dtype, SPECIAL), draw.array((slopes,), dtype)]
    needs = floats_among(draw, arrays)
    return Case(
        "functional.prelu",
        arrays,
        needs=needs,
        magnitude="terms",
        smooth=away(arrays[0]) and finite(*arrays),
        second_order=away(arrays[0]) and finite(*arrays),
    )


@space("softmin")
def softmin(draw: Draw) -> Case:
    return along_one_dim(draw, "softmin")


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
