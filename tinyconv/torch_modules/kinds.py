"""What scripts of old make and ask for: `FloatTensor(2, 3)`, `isinstance(x, LongTensor)`, `Variable(x)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.errors import DtypeError
from tinyconv.tensor.convert import is_tensor
from tinyconv.tensor.creation import tensor, zeros
from tinyconv.tensor.tensor import Tensor


class _Kind(type):
    """The kind of tensors of one dtype. Calling it makes one; no tensor has it as its class."""

    dtype: np.dtype[Any]

    def __call__(cls, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return tensor(data[0], dtype=cls.dtype)
        return zeros(data or (0,), dtype=cls.dtype)

    def __instancecheck__(cls, x: Any) -> bool:
        return is_tensor(x) and x.dtype == cls.dtype


class _AnyTensor(type):
    """The class of `Variable`. Calling it passes a tensor on; every tensor is an instance."""

    def __call__(cls, data: Tensor, requires_grad: bool = False) -> Tensor:
        if not is_tensor(data):
            raise DtypeError(
                f"Variable: takes a tensor, got {type(data).__name__}; tinyconv.tensor makes one of numbers"
            )
        return data.detach().requires_grad_(requires_grad)

    def __instancecheck__(cls, x: Any) -> bool:
        return is_tensor(x)


class Variable(metaclass=_AnyTensor):
    """What tensors with gradients once were: `Variable(x, requires_grad=True)` is a leaf that shares the memory of x.

    `isinstance(x, Variable)` is true of every tensor. DtypeError for anything but a tensor. Like
    `torch.autograd.Variable`.
    """


def _kind(name: str, dtype: Any) -> Any:
    doc = f"""{np.dtype(dtype)} tensors: `{name}([1, 0])` of numbers, `{name}(2, 3)` of zeros in that shape."""
    return _Kind(name, (), {"__doc__": doc, "__module__": __name__, "dtype": np.dtype(dtype)})


BoolTensor = _kind("BoolTensor", np.bool_)
ByteTensor = _kind("ByteTensor", np.uint8)
CharTensor = _kind("CharTensor", np.int8)
ShortTensor = _kind("ShortTensor", np.int16)
IntTensor = _kind("IntTensor", np.int32)
LongTensor = _kind("LongTensor", np.int64)
HalfTensor = _kind("HalfTensor", np.float16)
FloatTensor = _kind("FloatTensor", np.float32)
DoubleTensor = _kind("DoubleTensor", np.float64)
