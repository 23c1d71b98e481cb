"""The argument spaces of functions that do the work of several: those of the first of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import Array, Draw
from tinyconv.testing.case import SPACES, Case, space
from tinyconv.testing.spaces.geometry import away, finite
from tinyconv.testing.spaces.keywords import keyword_case

NAMES = ("input", "weight", "bias")


@space("conv2d_relu")
def conv2d_relu(draw: Draw) -> Case:
    return followed(SPACES["conv2d"](draw), "functional.conv2d_relu")


@space("linear_relu")
def linear_relu(draw: Draw) -> Case:
    return followed(SPACES["linear"](draw), "functional.linear_relu")


@space("relu_max_pool2d")
def relu_max_pool2d(draw: Draw) -> Case:
    base = SPACES["max_pool2d"](draw)
    base.options.pop("return_indices", None)
    # Distinct values are eighths, of which one is 0, where ReLU has its kink: half of that further on none is.
    options, inputs = base.options, [base.inputs[0] + base.inputs[0].dtype.type(base.smooth / 16)]
    made = keyword_case("functional.relu_max_pool2d", {"input": inputs[0]}, options, magnitude=1)
    pool = keyword_case("functional.max_pool2d", {"input": inputs[0]}, options)
    made.theirs = lambda x: pool.theirs(x.relu())  # type: ignore[misc]
    made.second_order, made.smooth = finite(inputs[0]), base.smooth and away(inputs[0])
    return made


@space("conv2d_relu_max_pool2d")
def conv2d_relu_max_pool2d(draw: Draw) -> Case:
    """A pooling that fits what the convolution leaves: of 2x2, or less where that is less."""
    base = SPACES["conv2d"](draw)
    maps = _values(base)
    pool = {"kernel_size": tuple(min(2, n) for n in maps.shape[2:]), "ceil_mode": draw.flag()}
    stride = draw.choice([None, 1, 2])
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    options = {**base.options, **pool, "pool_stride": stride} | ({} if len(arrays) == 3 else {"bias": None})
    then = keyword_case("functional.max_pool2d", {"input": maps}, {**pool, "stride": stride})
    made = keyword_case(
        "functional.conv2d_relu_max_pool2d", arrays, options, needs=base.needs, magnitude=base.magnitude
    )
    made.theirs = lambda *tensors: then.theirs(base.theirs(*tensors).relu())  # type: ignore[misc]
    made.second_order = finite(maps)
    made.smooth = base.smooth and away(maps) and away(np.diff(np.sort(maps, axis=None)))
    return made


def followed(base: Case, call: str) -> Case:
    """The case of a function that is the one of `base` and then a ReLU."""
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    made = keyword_case(call, arrays, base.options, needs=base.needs, magnitude=base.magnitude)
    made.theirs = lambda *tensors: base.theirs(*tensors).relu()  # type: ignore[misc]
    values = _values(base)
    made.second_order, made.smooth = finite(values), base.smooth and away(values)
    return made


def _values(case: Case) -> Array:
    """What our own function gives, to see how far from a kink it is."""
    result: Any = case.function()(*(tc.tensor(array) for array in case.inputs))
    return result.array
