"""What a tensor is by torch's other names, its dtype in one word, and new tensors like it: methods and properties."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv.engine.dtypes import Dtype, as_dtype
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.shapes import axis_in
from tinyconv.tensor.creation import empty, full, ones, tensor, zeros
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.signatures import Scalar
from tinyconv.tensor.tensor import Tensor

TYPES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "float32": "Float", "float64": "Double",
}  # fmt: skip

# --- what it is -----------------------------------------------------------------------------------------------------


def nelement(self: Tensor) -> int:
    """The number of elements, as `numel`."""
    return self.numel()


def ndimension(self: Tensor) -> int:
    """The number of axes, as `ndim`."""
    return self.ndim


def stride(self: Tensor, dim: int | None = None) -> Any:
    """How many elements of memory lie between two neighbours along each axis, or along one. Shapes are a promise,
    strides are not: an op may give its result any. ShapeError for an axis that does not exist."""
    steps = tuple(step // self.dtype.itemsize for step in self.array.strides)
    return steps if dim is None else steps[axis_in(dim, self.shape, "stride")]


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie row by row in memory, without gaps. `memory_format` is not looked at."""
    return bool(self.array.flags.c_contiguous)


def _itemsize(self: Tensor) -> int:
    """The bytes of one element, as `element_size()`."""
    return self.element_size()


def _nbytes(self: Tensor) -> int:
    """The bytes of all elements."""
    return self.element_size() * self.numel()


def _is_cuda(self: Tensor) -> bool:
    """Whether the elements are on a GPU."""
    return self.device.startswith("cuda")


def _matrices_transposed(self: Tensor) -> Tensor:
    """The matrices (..., N, M) transposed. Raises ShapeError for fewer than 2 axes."""
    if self.ndim < 2:
        raise ShapeError(f"mT: expected at least 2 axes, got {self.shape}")
    return self.transpose(-1, -2)


def _matrix_transposed(self: Tensor) -> Tensor:
    """The transpose of a matrix; of complex numbers, which are not here, it would be the conjugate one too.

    Raises ShapeError for another number of axes.
    """
    if self.ndim not in (0, 2):
        raise ShapeError(f"H: expected a matrix, 2 axes, got {self.shape}; x.mT transposes each of a batch")
    return self.T


def _never(self: Tensor) -> bool:
    """False: tensors are dense and not quantised here, on the CPU or on a GPU of CUDA."""
    return False


def is_complex(self: Tensor) -> bool:
    """False: tensors are real here."""
    return False


def get_device(self: Tensor) -> int:
    """The number of the GPU that it is on, -1 on the CPU."""
    return int(self.device.partition(":")[2] or 0) if self.is_cuda else -1


itemsize, nbytes, is_cuda = property(_itemsize), property(_nbytes), property(_is_cuda)
is_mps = is_quantized = is_sparse = is_xpu = property(_never)
mT, H = property(_matrices_transposed), property(_matrix_transposed)

# --- its dtype ------------------------------------------------------------------------------------------------------


def type(self: Tensor, dtype: Dtype | str = None, non_blocking: bool = False) -> Any:
    """This tensor in another dtype, given as one or by the name of a type, "torch.FloatTensor".

    Without a dtype, the name of this tensor's: "torch.FloatTensor", "torch.cuda.LongTensor". Raises DtypeError for a
    dtype that tensors cannot have.
    """
    if dtype is None:
        return f"torch.{'cuda.' * self.is_cuda}{TYPES.get(self.dtype.name, self.dtype.name)}Tensor"
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        word = dtype.rpartition(".")[2].removesuffix("Tensor")
        found = [name for name, kind in TYPES.items() if kind == word]
        if not found:
            raise DtypeError(f"type: no type {shortened(dtype)}; x.to(tinyconv.float32), for example")
        return self.to("cuda" if "cuda." in dtype else self.device, found[0])
    return self.to(getattr(dtype, "device", None) or self.device, as_dtype(dtype))


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the dtype of `other`, and on its device."""
    return self.to(check_tensor("type_as", other, "other"))


def _cast(name: str, dtype: builtins.type[np.generic]) -> Callable[..., Tensor]:
    """The method that gives a tensor as one dtype."""

    def cast(self: Tensor, memory_format: Any = None) -> Tensor:
        return self.to(dtype)

    cast.__name__ = cast.__qualname__ = name
    cast.__module__ = __name__
    cast.__doc__ = f"This tensor as {dtype.__name__}; gradients flow through. `memory_format` is not looked at."
    return cast


to_bool, to_byte, to_char = _cast("bool", np.bool_), _cast("byte", np.uint8), _cast("char", np.int8)
to_short, to_int, to_long = _cast("short", np.int16), _cast("int", np.int32), _cast("long", np.int64)
to_half, to_float, to_double = _cast("half", np.float16), _cast("float", np.float32), _cast("double", np.float64)


# --- new tensors like it --------------------------------------------------------------------------------------------


def new(self: Tensor, *data: Any) -> Tensor:
    """`x.new(2, 3)`, or of a shape, is `x.new_empty(2, 3)`; of numbers, in a list or an array, `x.new_tensor`."""
    if len(data) == 1 and not isinstance(data[0], int | np.integer | tuple):
        return new_tensor(self, data[0])
    return new_empty(self, *(data or (0,)))


def new_tensor(
    self: Tensor, data: Any, *, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of `data`, of the dtype and on the device of this one unless others are given.

    Raises what `tensor` raises.
    """
    return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_zeros(
    self: Tensor, *shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of this size, of the dtype and on the device of this tensor unless others are given."""
    dtype, device = dtype or self.dtype, device or self.device
    return zeros(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def new_ones(
    self: Tensor, *shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of this size, of the dtype and on the device of this tensor unless others are given."""
    dtype, device = dtype or self.dtype, device or self.device
    return ones(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def new_full(
    self: Tensor, size: Any, fill_value: Scalar, *, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One number everywhere, of the dtype and on the device of this tensor unless others are given."""
    return full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def new_empty(
    self: Tensor, *shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of this size whose values nobody promises, of the dtype and on the device of this one unless given."""
    dtype, device = dtype or self.dtype, device or self.device
    return empty(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)
