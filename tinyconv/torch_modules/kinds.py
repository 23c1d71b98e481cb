"""What scripts of old make and ask for: `FloatTensor(2, 3)`, `isinstance(x, LongTensor)`, `Variable(x)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.errors import DtypeError
from tinyconv.tensor.convert import is_tensor
from tinyconv.tensor.creation import tensor, zeros
from tinyconv.tensor.tensor import Tensor


class _Kind(type):
    """The kind of tensors of one dtype, on a GPU or not. Calling it makes one; no tensor has it as its class."""

    dtype: np.dtype[Any]
    device: str

    def __call__(cls, *data: Any) -> Tensor:
        if len(data) == 1 and not isinstance(data[0], int):
            return tensor(data[0], dtype=cls.dtype, device=cls.device)
        return zeros(data or (0,), dtype=cls.dtype, device=cls.device)

    def __instancecheck__(cls, x: Any) -> bool:
        return is_tensor(x) and x.dtype == cls.dtype and x.is_cuda == (cls.device != "cpu")


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


def _kinds(name: str, dtype: Any) -> tuple[Any, Any]:
    """The kind of this name on the CPU and on a GPU."""
    doc = f"""{np.dtype(dtype)} tensors: `{name}([1, 0])` of numbers, `{name}(2, 3)` of zeros in that shape."""
    about = {"__doc__": doc, "__module__": __name__, "dtype": np.dtype(dtype)}
    cpu, cuda = (_Kind(name, (), about | {"device": device}) for device in ("cpu", "cuda"))
    return cpu, cuda


BoolTensor, CudaBoolTensor = _kinds("BoolTensor", np.bool_)
ByteTensor, CudaByteTensor = _kinds("ByteTensor", np.uint8)
CharTensor, CudaCharTensor = _kinds("CharTensor", np.int8)
ShortTensor, CudaShortTensor = _kinds("ShortTensor", np.int16)
IntTensor, CudaIntTensor = _kinds("IntTensor", np.int32)
LongTensor, CudaLongTensor = _kinds("LongTensor", np.int64)
HalfTensor, CudaHalfTensor = _kinds("HalfTensor", np.float16)
FloatTensor, CudaFloatTensor = _kinds("FloatTensor", np.float32)
DoubleTensor, CudaDoubleTensor = _kinds("DoubleTensor", np.float64)
