"""The argument spaces of functions that do the work of several. They are those of the first of these functions."""

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
    # Distinct values are multiples of 1/8, and one is 0, where ReLU has its kink. Moved by 1/16, none is.
    options, inputs = base.options, [base.inputs[0] + base.inputs[0].dtype.type(base.smooth / 16)]
    made = keyword_case("functional.relu_max_pool2d", {"input": inputs[0]}, options, magnitude=1)
    pool = keyword_case("functional.max_pool2d", {"input": inputs[0]}, options)
    made.theirs = lambda x, **options: pool.theirs(x.relu(), **options)  # type: ignore[misc]
    made.second_order, made.smooth = finite(inputs[0]), base.smooth and away(inputs[0])
    return made


@space("conv2d_relu_max_pool2d")
def conv2d_relu_max_pool2d(draw: Draw) -> Case:
    """The pooling fits the maps that the convolution makes: 2x2, or less where they are smaller."""
    base = SPACES["conv2d"](draw)
    maps = _values(base)
    pool = {"kernel_size": tuple(min(2, n) for n in maps.shape[2:]), "ceil_mode": draw.flag()}
    stride = draw.choice([None, 1, 2])
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    options = {**base.options, **pool, "pool_stride": stride} | ({} if len(arrays) == 3 else {"bias": None})
    then = keyword_case("functional.max_pool2d", {"input": maps}, {})
    made = keyword_case(
        "functional.conv2d_relu_max_pool2d", arrays, options, needs=base.needs, magnitude=base.magnitude
    )

    def theirs(*tensors: Any, kernel_size: Any, pool_stride: Any, ceil_mode: bool, **geometry: Any) -> Any:
        made_maps = base.theirs(*tensors, **geometry).relu()  # type: ignore[misc]
        return then.theirs(made_maps, kernel_size=kernel_size, stride=pool_stride, ceil_mode=ceil_mode)  # type: ignore[misc]

    made.theirs = theirs
    made.second_order = finite(maps)
    made.smooth = base.smooth and away(maps) and away(np.diff(np.sort(maps, axis=None)))
    return made


def followed(base: Case, call: str) -> Case:
    """The case of a function that does what the one of `base` does, and then a ReLU."""
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    made = keyword_case(call, arrays, base.options, needs=base.needs, magnitude=base.magnitude)
    made.theirs = lambda *tensors, **options: base.theirs(*tensors, **options).relu()  # type: ignore[misc]
    values = _values(base)
    made.second_order, made.smooth = finite(values), base.smooth and away(values)
    return made


def _values(case: Case) -> Array:
    """The result of our own function, to see how far from a kink it is."""
    result: Any = case.function()(*(tc.tensor(array) for array in case.inputs))
    return result.array
