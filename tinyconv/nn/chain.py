"""chain: modules one after another, and several of them as one op where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyconv import functional as F
from tinyconv import ops
from tinyconv.engine.context import context
from tinyconv.engine.variants import has_choice
from tinyconv.errors import TinyconvError
from tinyconv.nn.layers import Conv2d, Linear, MaxPool2d, ReLU
from tinyconv.nn.module import Module
from tinyconv.tensor.tensor import Tensor

__all__ = ["chain"]


def chain(x: Any, *modules: Module) -> Any:
    """Call modules one after another: modules[-1](... modules[1](modules[0](x))).

    A convolution or a linear layer, a ReLU and a max-pooling that follow each other run as one op, recorded under the
    first of them, where that op has a variant that gains by it (see `tinyconv.using`). The types decide: a class
    derived from one of these layers runs by itself. Under `detect_anomaly` each of them runs by itself.

        nn.chain(tc.zeros(8, 20), nn.Linear(20, 5), nn.ReLU()).shape  # (8, 5)

    Args:
        x: What the first module takes.
        modules: Any modules; without one `x` comes back.

    Raises what the modules raise.
    """
    apart = context.get().observer is not None or not isinstance(x, Tensor)
    rest = list(modules)
    while rest:
        together, count = (None, 1) if apart else _together(rest)
        if together is None:
            x = rest[0](x)
        else:
            try:
                x = rest[0].within(together, x, *rest[:count])
            except TinyconvError:
                for module in rest[:count]:  # one by one, so that the error names the one at fault
                    x = module(x)
        del rest[:count]
    return x


def _together(modules: Sequence[Module]) -> tuple[Callable[..., Tensor] | None, int]:
    """The function that runs the first of these modules as one op, and how many; None, 1 where there is none."""
    kinds = tuple([type(module) for module in modules[:3]])
    while len(kinds) > 1:
        op, function = _TOGETHER.get(kinds, (None, None))
        if op is not None and has_choice(op) and not getattr(modules[len(kinds) - 1], "return_indices", False):
            return function, len(kinds)
        kinds = kinds[:-1]
    return None, 1


def _conv_relu(x: Tensor, conv: Conv2d, relu: ReLU) -> Tensor:
    return F.conv2d_relu(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _conv_relu_pool(x: Tensor, conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> Tensor:
    geometry: dict[str, Any] = {
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
    }
    return F.conv2d_relu_max_pool2d(x, conv.weight, conv.bias, *_geometry(pool), **geometry)


def _relu_pool(x: Tensor, relu: ReLU, pool: MaxPool2d) -> Tensor:
    return F.relu_max_pool2d(x, *_geometry(pool))


def _linear_relu(x: Tensor, linear: Linear, relu: ReLU) -> Tensor:
    return F.linear_relu(x, linear.weight, linear.bias)


def _geometry(pool: MaxPool2d) -> tuple[Any, ...]:
    return pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode


_TOGETHER: dict[tuple[type, ...], tuple[Any, Callable[..., Tensor]]] = {
    (Conv2d, ReLU, MaxPool2d): (ops.Conv2dReluMaxPool2d, _conv_relu_pool),
    (Conv2d, ReLU): (ops.Conv2dRelu, _conv_relu),
    (Linear, ReLU): (ops.LinearRelu, _linear_relu),
    (ReLU, MaxPool2d): (ops.ReluMaxPool2d, _relu_pool),
}
