"""Activations: functions of each element, and softmax along one axis."""

from __future__ import annotations

from typing import Literal

from tinyconv import ops
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import real
from tinyconv.errors import shortened
from tinyconv.functional.arguments import (
    checked_tensor,
)
from tinyconv.tensor.inplace import replace
from tinyconv.tensor.tensor import Tensor, unary


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with gradient 0 at 0. NaN stays NaN. Like `torch.nn.functional.relu`.

        F.relu(tc.tensor([-1.0, 2.0])).tolist()  # [0.0, 2.0]

    Args:
        input: x, of any shape; the output has its dtype.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    y = checked_tensor("relu", "input", input).relu()
    return replace(input, "relu", y) if inplace else y


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x (Maas et al., 2013). Like `torch.nn.functional.leaky_relu`.

        F.leaky_relu(tc.tensor([-1.0, 2.0]), 0.5).tolist()  # [-0.5, 2.0]

    Args:
        input: x, of any shape; integers become float32.
        negative_slope: The slope on the left of 0.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, OptionError for a slope that is no number, and GraphError for a write
    into a leaf that requires grad.
    """
    y = unary(ops.LeakyRelu, input, slope=real("leaky_relu: negative_slope", negative_slope))
    return replace(input, "leaky_relu", y) if inplace else y


def gelu(input: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, arXiv:1606.08415).

    Like `torch.nn.functional.gelu`.

        F.gelu(tc.tensor([0.0, 10.0])).tolist()  # [0.0, 10.0]

    Args:
        input: x, of any shape; integers become float32.
        approximate: "none", or "tanh" for a cheaper approximation (section 2 of the paper).

    Raises ValueError where `approximate` is neither, and DtypeError for anything but a Tensor.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {shortened(approximate)}")
    return unary(ops.Gelu if approximate == "none" else ops.GeluTanh, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow. Like `torch.nn.functional.sigmoid`.

        F.sigmoid(tc.tensor([0.0])).tolist()  # [0.5]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return checked_tensor("sigmoid", "input", input).sigmoid()


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent. Like `torch.nn.functional.tanh`.

        F.tanh(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return checked_tensor("tanh", "input", input).tanh()


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x) (Elfwing et al., arXiv:1702.03118). Like `torch.nn.functional.silu`.

        F.silu(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    y = unary(ops.Silu, input)
    return replace(input, "silu", y) if inplace else y


def softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """e^x / sum e^x along `dim`, without overflow. Like `torch.nn.functional.softmax`.

        F.softmax(tc.zeros(2), dim=0).tolist()  # [0.5, 0.5]

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which the output adds up to 1.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return checked_tensor("softmax", "input", input).softmax(dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Dtype = None) -> Tensor:
    """x - ln sum e^x along `dim`, without overflow. Like `torch.nn.functional.log_softmax`.

        round(F.log_softmax(tc.zeros(2), dim=0)[0].item(), 4)  # -0.6931

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which e^output adds up to 1.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return checked_tensor("log_softmax", "input", input).log_softmax(dim, dtype)
