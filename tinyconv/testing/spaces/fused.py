"""The argument spaces of the ops that captured steps fuse into. They are those of the first of the ops they stand for.

No public function runs these ops. So they have functions here, with the arguments of the public ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import ops
from tinyconv.check.draw import Array, Draw
from tinyconv.functional.arguments import Size
from tinyconv.shapes import pair, same_padding
from tinyconv.tensor.tensor import Tensor
from tinyconv.testing.case import SPACES, Case, space
from tinyconv.testing.spaces.conv import convolution
from tinyconv.testing.spaces.geometry import away, finite
from tinyconv.testing.spaces.keywords import keyword_case
from tinyconv.testing.spaces.pool import max_pooling

NAMES = ("input", "weight", "bias")


def linear_relu(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return tc.apply(ops.LinearRelu, input, weight, bias)


def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    geometry = pairs(stride=stride, padding=padding, dilation=dilation)
    return tc.apply(ops.Conv2dRelu, input, weight, bias, groups=groups, **geometry)


def relu_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Any:
    return tc.apply(ops.ReluMaxPool2d, input, **pooling(kernel_size, stride, padding, dilation, ceil_mode))


def conv2d_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Size,
    pool_stride: Size | None = None,
    pool_padding: Size = 0,
    pool_dilation: Size = 1,
    ceil_mode: bool = False,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Any:
    geometry: dict[str, Any] = pairs(stride=stride, padding=padding, dilation=dilation)
    pool = pooling(kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode)
    return tc.apply(ops.Conv2dReluMaxPool2d, input, weight, bias, groups=groups, pool=pool, **geometry)


def pooling(kernel: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool) -> dict[str, Any]:
    """The geometry of a max-pooling, as its op takes it."""
    found = pairs(kernel=kernel, stride=kernel if stride is None else stride, padding=padding, dilation=dilation)
    return {**found, "ceil_mode": ceil_mode}


def pairs(**sizes: Size) -> dict[str, Any]:
    return {name: pair(size, name) for name, size in sizes.items()}


@space("conv2d_relu")
def of_conv2d_relu(draw: Draw) -> Case:
    return followed(numbered(convolution(draw)), "conv2d_relu")


@space("linear_relu")
def of_linear_relu(draw: Draw) -> Case:
    return followed(SPACES["linear"](draw), "linear_relu")


@space("relu_max_pool2d")
def of_relu_max_pool2d(draw: Draw) -> Case:
    base = max_pooling(draw)
    base.options.pop("return_indices", None)
    # Distinct values are multiples of 1/8, and one is 0, where ReLU has its kink. Moved by 1/16, none is.
    options, inputs = base.options, [base.inputs[0] + base.inputs[0].dtype.type(base.smooth / 16)]
    made = keyword_case(called("relu_max_pool2d"), {"input": inputs[0]}, options, magnitude=1)
    pool = keyword_case("functional.max_pool2d", {"input": inputs[0]}, options)
    made.theirs = lambda x, **options: pool.theirs(x.relu(), **options)  # type: ignore[misc]
    made.second_order, made.smooth = finite(inputs[0]), base.smooth and away(inputs[0])
    return made


@space("conv2d_relu_max_pool2d")
def of_conv2d_relu_max_pool2d(draw: Draw) -> Case:
    """The pooling fits the maps that the convolution makes: 2x2, or less where they are smaller."""
    base = numbered(convolution(draw))
    maps = _values(base)
    pool = {"kernel_size": tuple(min(2, n) for n in maps.shape[2:]), "ceil_mode": draw.flag()}
    stride = draw.choice([None, 1, 2])
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    options = {**base.options, **pool, "pool_stride": stride} | ({} if len(arrays) == 3 else {"bias": None})
    then = keyword_case("functional.max_pool2d", {"input": maps}, {})
    made = keyword_case(called("conv2d_relu_max_pool2d"), arrays, options, needs=base.needs, magnitude=base.magnitude)

    def theirs(*tensors: Any, kernel_size: Any, pool_stride: Any, ceil_mode: bool, **geometry: Any) -> Any:
        made_maps = base.theirs(*tensors, **geometry).relu()  # type: ignore[misc]
        return then.theirs(made_maps, kernel_size=kernel_size, stride=pool_stride, ceil_mode=ceil_mode)  # type: ignore[misc]

    made.theirs = theirs
    made.second_order = finite(maps)
    made.smooth = base.smooth and away(maps) and away(np.diff(np.sort(maps, axis=None)))
    return made


def called(name: str) -> str:
    """The name by which a case finds the function of this module."""
    return f"testing.spaces.fused.{name}"


def numbered(case: Case) -> Case:
    """The case of a convolution with numbers where it says "same" or "valid": an op takes no words.

    Where "same" puts one more zero on one side, it is on both here.
    """
    padding = case.options.get("padding")
    if padding == "valid":
        case.options["padding"] = 0
    elif padding == "same":
        dilation = pair(case.options.get("dilation", 1), "dilation")
        case.options["padding"] = tuple(
            same_padding(*axis)[1] for axis in zip(case.inputs[1].shape[2:], dilation, strict=True)
        )
    return case


def followed(base: Case, name: str) -> Case:
    """The case of a function that does what the one of `base` does, and then a ReLU."""
    arrays = dict(zip(NAMES, base.inputs, strict=False))
    made = keyword_case(called(name), arrays, base.options, needs=base.needs, magnitude=base.magnitude)
    made.theirs = lambda *tensors, **options: base.theirs(*tensors, **options).relu()  # type: ignore[misc]
    values = _values(base)
    made.second_order, made.smooth = finite(values), base.smooth and away(values)
    return made


def _values(case: Case) -> Array:
    """The result of our own function, to see how far from a kink it is."""
    result: Any = case.function()(*(tc.tensor(array) for array in case.inputs))
    return result.array
