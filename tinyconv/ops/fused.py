"""Several ops in a row as one: what a captured step makes of layers that follow each other.

Here they just run one after another, so values and gradients are, to the bit, those of the separate ops. They are ops
of their own for the sake of variants, which do better when they see what comes next: a ReLU after the pooling works on
a quarter of the numbers, and what backward does not need is never written. Eager code runs the ops that it names.
"""

from typing import Any, NamedTuple

from tinyconv.ops.activation import Relu
from tinyconv.ops.conv import Conv2d, maps_of
from tinyconv.ops.linear import Linear
from tinyconv.ops.pool import MaxPool2d


class ReluMaxPool2d:
    """y = max_pool2d(relu(x)), without the places of the maxima."""

    name = "relu_max_pool2d"
    parts = (Relu, MaxPool2d)
    check = MaxPool2d.check

    @staticmethod
    def forward(xp, x, **geometry):
        positive, from_relu = Relu.forward(xp, x)
        (y, _), from_pool = MaxPool2d.forward(xp, positive, **geometry)
        return y, (*from_relu, *from_pool)

    @staticmethod
    def backward(xp, saved, dy, needs, **geometry):
        positive, *from_pool = saved
        (dpositive,) = MaxPool2d.backward(xp, from_pool, dy, needs, **geometry)
        return Relu.backward(xp, (positive,), dpositive, needs)


class Conv2dRelu:
    """y = relu(conv2d(x, weight, bias))."""

    name = "conv2d_relu"
    parts = (Conv2d, Relu)
    check = Conv2d.check

    @staticmethod
    def forward(xp, x, weight, bias, **geometry):
        maps, from_conv = Conv2d.forward(xp, x, weight, bias, **geometry)
        y, from_relu = Relu.forward(xp, maps)
        return y, (*from_conv, *from_relu)

    @staticmethod
    def backward(xp, saved, dy, needs, **geometry):
        x, weight, *from_relu = saved
        (dmaps,) = Relu.backward(xp, from_relu, dy, (True,))
        return Conv2d.backward(xp, (x, weight), dmaps, needs, **geometry)


class Outline(NamedTuple):
    """As much of an array as `check` looks at, before the array exists."""

    shape: Any
    dtype: Any

    @property
    def ndim(self):
        return len(self.shape)


class Conv2dReluMaxPool2d:
    """y = max_pool2d(relu(conv2d(x, weight, bias))); the dict `pool` holds the geometry of the pooling."""

    name = "conv2d_relu_max_pool2d"
    parts = (Conv2d, Relu, MaxPool2d)

    @staticmethod
    def check(x, weight, bias, *, pool, **geometry):
        Conv2d.check(x, weight, bias, **geometry)
        MaxPool2d.check(Outline(maps_of(x.shape, weight.shape, **geometry), x.dtype), **pool)

    @staticmethod
    def forward(xp, x, weight, bias, *, pool, **geometry):
        maps, from_conv = Conv2d.forward(xp, x, weight, bias, **geometry)
        y, from_rest = ReluMaxPool2d.forward(xp, maps, **pool)
        return y, (*from_conv, *from_rest)

    @staticmethod
    def backward(xp, saved, dy, needs, *, pool, **geometry):
        x, weight, *from_rest = saved
        (dmaps,) = ReluMaxPool2d.backward(xp, from_rest, dy, (True,), **pool)
        return Conv2d.backward(xp, (x, weight), dmaps, needs, **geometry)


class LinearRelu:
    """y = relu(x weight^T + bias)."""

    name = "linear_relu"
    parts = (Linear, Relu)
    check = Linear.check

    @staticmethod
    def forward(xp, x, weight, bias):
        sums, from_linear = Linear.forward(xp, x, weight, bias)
        y, from_relu = Relu.forward(xp, sums)
        return y, (*from_linear, *from_relu)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, weight, *from_relu = saved
        (dsums,) = Relu.backward(xp, from_relu, dy, (True,))
        return Linear.backward(xp, (x, weight), dsums, needs)
