"""Every method of Tensor that is a function in torch too: `tc.exp(x)` is `x.exp()`, and `tc.sum(input=x, dim=0)` works.

The docstring of each is that of the method, where arguments, dtypes and errors are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from tinyconv.engine.dtypes import Dtype
from tinyconv.tensor.refusals import refuse
from tinyconv.tensor.signatures import Dim, Extreme, Operand, numpy_names
from tinyconv.tensor.tensor import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])


def _as(method: Callable[..., Any]) -> Callable[[Function], Function]:
    """Give a function the docstring of the method that it calls."""

    def documented(function: Function) -> Function:
        function.__doc__ = method.__doc__
        return function

    return documented


def _tensor(name: str, input: Tensor) -> Tensor:
    if not isinstance(input, Tensor):
        refuse(name, "input", input)
    return input


@_as(Tensor.tanh)
def tanh(input: Tensor) -> Tensor:
    return _tensor("tanh", input).tanh()


@_as(Tensor.sigmoid)
def sigmoid(input: Tensor) -> Tensor:
    return _tensor("sigmoid", input).sigmoid()


@_as(Tensor.relu)
def relu(input: Tensor) -> Tensor:
    return _tensor("relu", input).relu()


@_as(Tensor.abs)
def abs(input: Tensor) -> Tensor:
    return _tensor("abs", input).abs()


@_as(Tensor.neg)
def neg(input: Tensor) -> Tensor:
    return _tensor("neg", input).neg()


@_as(Tensor.isnan)
def isnan(input: Tensor) -> Tensor:
    return _tensor("isnan", input).isnan()


@_as(Tensor.isfinite)
def isfinite(input: Tensor) -> Tensor:
    return _tensor("isfinite", input).isfinite()


@_as(Tensor.add)
def add(input: Tensor, other: Operand) -> Tensor:
    return _tensor("add", input).add(other)


@_as(Tensor.sub)
def sub(input: Tensor, other: Operand) -> Tensor:
    return _tensor("sub", input).sub(other)


@_as(Tensor.mul)
def mul(input: Tensor, other: Operand) -> Tensor:
    return _tensor("mul", input).mul(other)


@_as(Tensor.div)
def div(input: Tensor, other: Operand) -> Tensor:
    return _tensor("div", input).div(other)


@_as(Tensor.pow)
def pow(input: Tensor, other: Operand) -> Tensor:
    return _tensor("pow", input).pow(other)


@_as(Tensor.maximum)
def maximum(input: Tensor, other: Operand) -> Tensor:
    return _tensor("maximum", input).maximum(other)


@_as(Tensor.minimum)
def minimum(input: Tensor, other: Operand) -> Tensor:
    return _tensor("minimum", input).minimum(other)


@_as(Tensor.matmul)
def matmul(input: Tensor, other: Tensor | np.ndarray[Any, Any]) -> Tensor:
    return _tensor("matmul", input).matmul(other)


@_as(Tensor.clamp)
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    return _tensor("clamp", input).clamp(min, max)


@_as(Tensor.sum)
@numpy_names
def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: Dtype = None) -> Tensor:
    return _tensor("sum", input).sum(dim, keepdim, dtype)


@_as(Tensor.mean)
@numpy_names
def mean(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("mean", input).mean(dim, keepdim)


@_as(Tensor.amax)
@numpy_names
def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("amax", input).amax(dim, keepdim)


@_as(Tensor.amin)
@numpy_names
def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("amin", input).amin(dim, keepdim)


@_as(Tensor.all)
@numpy_names
def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("all", input).all(dim, keepdim)


@_as(Tensor.any)
@numpy_names
def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("any", input).any(dim, keepdim)


@overload
def max(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> Extreme: ...
@overload
def max(input: Tensor, dim: Tensor, keepdim: bool = False) -> Tensor: ...
@_as(Tensor.max)
@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    return _tensor("max", input).max(dim, keepdim)


@overload
def min(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> Extreme: ...
@overload
def min(input: Tensor, dim: Tensor, keepdim: bool = False) -> Tensor: ...
@_as(Tensor.min)
@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    return _tensor("min", input).min(dim, keepdim)


@_as(Tensor.argmax)
@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _tensor("argmax", input).argmax(dim, keepdim)


@_as(Tensor.argmin)
@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _tensor("argmin", input).argmin(dim, keepdim)


@_as(Tensor.var)
@numpy_names
def var(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> Tensor:
    return _tensor("var", input).var(dim, correction, keepdim, unbiased)


@_as(Tensor.std)
@numpy_names
def std(
    input: Tensor,
    dim: Dim | bool = None,
    correction: int | None = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> Tensor:
    return _tensor("std", input).std(dim, correction, keepdim, unbiased)


@_as(Tensor.prod)
@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, dtype: Dtype = None) -> Tensor:
    return _tensor("prod", input).prod(dim, keepdim, dtype)


@_as(Tensor.norm)
@numpy_names
def norm(input: Tensor, p: float | str = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    return _tensor("norm", input).norm(p, dim, keepdim)


@_as(Tensor.logsumexp)
@numpy_names
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    return _tensor("logsumexp", input).logsumexp(dim, keepdim)


@_as(Tensor.softmax)
def softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    return _tensor("softmax", input).softmax(dim, dtype)


@_as(Tensor.log_softmax)
def log_softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    return _tensor("log_softmax", input).log_softmax(dim, dtype)


@_as(Tensor.reshape)
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    return _tensor("reshape", input).reshape(shape)


@_as(Tensor.flatten)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    return _tensor("flatten", input).flatten(start_dim, end_dim)


@_as(Tensor.squeeze)
def squeeze(input: Tensor, dim: Dim = None) -> Tensor:
    return _tensor("squeeze", input).squeeze(dim)


@_as(Tensor.unsqueeze)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    return _tensor("unsqueeze", input).unsqueeze(dim)


@_as(Tensor.transpose)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    return _tensor("transpose", input).transpose(dim0, dim1)


@_as(Tensor.permute)
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    return _tensor("permute", input).permute(dims)


@_as(Tensor.split)
def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    return _tensor("split", input).split(split_size_or_sections, dim)


@_as(Tensor.chunk)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    return _tensor("chunk", input).chunk(chunks, dim)
