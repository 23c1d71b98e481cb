"""Activations: functions of each element, and softmax along one axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import inf
from typing import Any, Literal, ParamSpec

from tinyconv import ops
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import finite, non_negative, real
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.functional.arguments import checked_tensor
from tinyconv.shapes import axis_of
from tinyconv.tensor.inplace import replace
from tinyconv.tensor.refusals import check_fits
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.tensor import Tensor, apply, unary
from tinyconv.user_frame import warn

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with gradient 0 at 0. NaN stays NaN. Like `torch.nn.functional.relu`.

        F.relu(tc.tensor([-1.0, 2.0])).tolist()  # [0.0, 2.0]

    Args:
        input: x, of any shape; the output has its dtype.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    y = checked_tensor("relu", "input", input).relu()
    return _in("relu", input, y, inplace)


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
    return _in("leaky_relu", input, y, inplace)


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
    return _in("silu", input, unary(ops.Silu, input), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(ln(1 + e^x)) (Misra, arXiv:1908.08681). Like `torch.nn.functional.mish`.

        F.mish(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    return _in("mish", input, _mish(_floating("mish", input)), inplace)


@rounded_once
def _mish(x: Tensor) -> Tensor:
    return x * softplus(x).tanh()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), with gradient 0 at 0 and 6. Like `torch.nn.functional.relu6`.

        F.relu6(tc.tensor([-1.0, 2.0, 8.0])).tolist()  # [0.0, 2.0, 6.0]

    Args:
        input: x, of any shape; the output has its dtype.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    checked_tensor("relu6", "input", input)
    return _in("relu6", input, apply(ops.Hardtanh, input, low=0, high=6), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val], with gradient 0 at both. Like `torch.nn.functional.hardtanh`.

        F.hardtanh(tc.tensor([-3.0, 0.5, 3.0])).tolist()  # [-1.0, 0.5, 1.0]

    Args:
        input: x, of any shape; the output has its dtype.
        min_val, max_val: The limits, numbers.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor and for limits that its dtype does not have, OptionError where a limit
    is no number, ValueError where `min_val` is above `max_val`, and GraphError for a write into a leaf that requires
    grad.
    """
    checked_tensor("hardtanh", "input", input)
    low, high = real("hardtanh: min_val", min_val), real("hardtanh: max_val", max_val)
    if low > high:
        raise ValueError(f"hardtanh: min_val must not be above max_val, got {low} and {high}")
    if not input.is_floating_point():
        low, high = int(low), int(high)
        check_fits("hardtanh: min_val", input, low)
        check_fits("hardtanh: max_val", input, high)
    return _in("hardtanh", input, apply(ops.Hardtanh, input, low=low, high=high), inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else `value`. Like `torch.nn.functional.threshold`.

        F.threshold(tc.tensor([0.5, 2.0]), 1.0, 20.0).tolist()  # [20.0, 2.0]

    Args:
        input: x, of any shape; the output has its dtype.
        threshold: What x is compared with.
        value: What takes the place of all that is not above it.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, OptionError where a number is none, and GraphError for a write into a
    leaf that requires grad.
    """
    checked_tensor("threshold", "input", input)
    limit, value = real("threshold: threshold", threshold), real("threshold: value", value)
    if not input.is_floating_point():
        limit, value = int(limit), int(value)
    return _in("threshold", input, apply(ops.Where, input <= limit, value, input), inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6, a sigmoid of straight lines. Like `torch.nn.functional.hardsigmoid`.

        F.hardsigmoid(tc.tensor([-4.0, 0.0, 4.0])).tolist()  # [0.0, 0.5, 1.0]

    Args:
        input: x, of any shape; integers become float32.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    return _in("hardsigmoid", input, _hardsigmoid(_floating("hardsigmoid", input)), inplace)


@rounded_once  # x + 3 would be 6 before x is 3
def _hardsigmoid(x: Tensor) -> Tensor:
    return apply(ops.Hardtanh, x + 3, low=0, high=6) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x) (Howard et al., arXiv:1905.02244). Like `torch.nn.functional.hardswish`.

        F.hardswish(tc.tensor([0.0, 4.0])).tolist()  # [0.0, 4.0]

    Args:
        input: x, of any shape; integers become float32.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    return _in("hardswish", input, unary(ops.Hardswish, input), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^x - 1) (Clevert et al., arXiv:1511.07289). Like `torch.nn.functional.elu`.

        F.elu(tc.tensor([-1e9, 2.0]), 0.5).tolist()  # [-0.5, 2.0]

    Args:
        input: x, of any shape; integers become float32.
        alpha: Minus the limit on the left.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, OptionError where `alpha` is no number, and GraphError for a write into
    a leaf that requires grad.
    """
    return _in("elu", input, unary(ops.Elu, input, alpha=real("elu: alpha", alpha), scale=1, rate=1), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """scale x where x > 0, else scale alpha (e^x - 1), with scale 1.0507 and alpha 1.6733.

    With these, means 0 and variances 1 stay so from layer to layer (Klambauer et al., arXiv:1706.02515). Like
    `torch.nn.functional.selu`.

        round(F.selu(tc.tensor([1.0])).item(), 4)  # 1.0507

    Args:
        input: x, of any shape; integers become float32.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, and GraphError for a write into a leaf that requires grad.
    """
    y = unary(ops.Elu, input, alpha=1.6732632423543772, scale=1.0507009873554805, rate=1)
    return _in("selu", input, y, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^(x / alpha) - 1) (Barron, arXiv:1704.07483). Like `torch.nn.functional.celu`.

        F.celu(tc.tensor([-1e9, 2.0]), 0.5).tolist()  # [-0.5, 2.0]

    Args:
        input: x, of any shape; integers become float32.
        alpha: Minus the limit on the left; not 0.
        inplace: Write the values into `input`, and return that.

    Raises DtypeError for anything but a Tensor, OptionError where `alpha` is no number, ZeroDivisionError where it is
    0, and GraphError for a write into a leaf that requires grad.
    """
    alpha = finite("celu: alpha", alpha)
    return _in("celu", input, unary(ops.Elu, input, alpha=alpha, scale=1, rate=1 / alpha), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """ln(1 + e^(beta x)) / beta, without overflow: a smooth ReLU. Like `torch.nn.functional.softplus`.

        round(F.softplus(tc.tensor([0.0])).item(), 4)  # 0.6931

    Args:
        input: x, of any shape; integers become float32.
        beta: How sharp the bend is.
        threshold: Where beta x is larger, the output is x.

    Raises DtypeError for anything but a Tensor, and OptionError where `beta` or `threshold` is no number.
    """
    beta, threshold = real("softplus: beta", beta), real("softplus: threshold", threshold)
    return unary(ops.Softplus, input, beta=beta, threshold=threshold)


def logsigmoid(input: Tensor) -> Tensor:
    """ln sigmoid(x) = -ln(1 + e^-x), without overflow. Like `torch.nn.functional.logsigmoid`.

        round(F.logsigmoid(tc.tensor([0.0])).item(), 4)  # -0.6931

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return -softplus(-_floating("logsigmoid", input), threshold=inf)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|). Like `torch.nn.functional.softsign`.

        F.softsign(tc.tensor([-1.0, 3.0])).tolist()  # [-0.5, 0.75]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return checked_tensor("softsign", "input", input) / (input.abs() + 1)


@rounded_once
def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x). Like `torch.nn.functional.tanhshrink`.

        F.tanhshrink(tc.tensor([0.0])).tolist()  # [0.0]

    Args:
        input: x, of any shape; integers become float32.

    Raises DtypeError for anything but a Tensor.
    """
    return checked_tensor("tanhshrink", "input", input) - input.tanh()


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved by `lambd` towards 0, which it does not cross. Like `torch.nn.functional.softshrink`.

        F.softshrink(tc.tensor([-2.0, 0.25, 2.0])).tolist()  # [-1.5, 0.0, 1.5]

    Args:
        input: x, of any shape; integers become float32.
        lambd: How far, at least 0.

    Raises DtypeError for anything but a Tensor, and OptionError where `lambd` is no finite number >= 0.
    """
    x, lambd = _floating("softshrink", input), non_negative("softshrink: lambd", lambd)
    return x - x.clamp(-lambd, lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, but 0 where -lambd <= x <= lambd. Like `torch.nn.functional.hardshrink`.

        F.hardshrink(tc.tensor([-2.0, 0.25, 2.0])).tolist()  # [-2.0, 0.0, 2.0]

    Args:
        input: x, of any shape; integers become float32.
        lambd: The half width of what becomes 0.

    Raises DtypeError for anything but a Tensor, and OptionError where `lambd` is no number.
    """
    x, lambd = _floating("hardshrink", input), real("hardshrink: lambd", lambd)
    return apply(ops.Where, (x >= -lambd) & (x <= lambd), 0.0, x)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight x, one weight for all channels or one for each (He et al., arXiv:1502.01852).

    Like `torch.nn.functional.prelu`.

        F.prelu(tc.tensor([-1.0, 2.0]), tc.tensor([0.5])).tolist()  # [-0.5, 2.0]

    Args:
        input: x, floating point: (N, C, ...), or any shape where there is one weight.
        weight: (1,), (C,), or 0-d, of the dtype of the input.

    Raises ShapeError for another number of weights, and DtypeError where dtypes differ or are not floating point.
    """
    checked_tensor("prelu", "input", input), checked_tensor("prelu", "weight", weight)
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.numel() not in (1, channels) or weight.ndim > 1 or not (input.ndim or weight.numel() == 1):
        raise ShapeError(f"prelu: input is {input.shape}, so weight must be (1,) or ({channels},), got {weight.shape}")
    if input.dtype != weight.dtype or not input.is_floating_point():
        raise DtypeError(f"prelu: input and weight need one floating-point dtype, got {input.dtype} and {weight.dtype}")
    if weight.numel() == 1:
        weight = weight.reshape(())
    elif input.ndim > 1:
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    return apply(ops.Prelu, input, weight)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of the input along `dim` (Dauphin et al., arXiv:1612.08083).

    Like `torch.nn.functional.glu`.

        F.glu(tc.zeros(3, 4)).shape  # (3, 2)

    Args:
        input: A tensor with an even number of elements along `dim`; integers become float32.
        dim: The axis that is halved.

    Raises ShapeError for an axis that does not exist or cannot be halved, and DtypeError for anything but a Tensor.
    """
    x = _floating("glu", input)
    axis = axis_of(dim, x.ndim, "glu")
    if x.ndim == 0 or x.shape[axis] % 2:
        raise ShapeError(f"glu: axis {dim} is to be halved, and the input is {x.shape}")
    half = x.shape[axis] // 2
    a, b = (x[(slice(None),) * axis + (part,)] for part in (slice(None, half), slice(half, None)))
    return a * b.sigmoid()


def softmax(input: Tensor, dim: int | None = None, dtype: Dtype = None) -> Tensor:
    """e^x / sum e^x along `dim`, without overflow. Like `torch.nn.functional.softmax`.

        F.softmax(tc.zeros(2), dim=0).tolist()  # [0.5, 0.5]

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which the output adds up to 1. Without it, with a warning, 0 for inputs of 0, 1 or 3 axes
            and else 1.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return checked_tensor("softmax", "input", input).softmax(_dim("softmax", input, dim), dtype)


def softmin(input: Tensor, dim: int | None = None, dtype: Dtype = None) -> Tensor:
    """e^-x / sum e^-x along `dim`, without overflow. Like `torch.nn.functional.softmin`.

        F.softmin(tc.zeros(2), dim=0).tolist()  # [0.5, 0.5]

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which the output adds up to 1; without it, that of `softmax`.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return (-checked_tensor("softmin", "input", input)).softmax(_dim("softmin", input, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Dtype = None) -> Tensor:
    """x - ln sum e^x along `dim`, without overflow. Like `torch.nn.functional.log_softmax`.

        round(F.log_softmax(tc.zeros(2), dim=0)[0].item(), 4)  # -0.6931

    Args:
        input: x, of any shape; integers become float32.
        dim: The axis along which e^output adds up to 1; without it, that of `softmax`.
        dtype: The dtype to compute in; that of the input unless given.

    Raises DtypeError for anything but a Tensor, and ShapeError for an axis that does not exist.
    """
    return checked_tensor("log_softmax", "input", input).log_softmax(_dim("log_softmax", input, dim), dtype)


def _dim(name: str, input: Tensor, dim: int | None) -> int:
    """The axis that is meant where none is given: an old rule, and rarely what was meant."""
    if dim is not None:
        return dim
    found = 0 if input.ndim in (0, 1, 3) else 1
    warn(f"{name}: no dim is given; taken along axis {found} of {input.shape}, as older programs mean it: dim={found}?")
    return found


def _floating(name: str, input: Tensor) -> Tensor:
    return input if checked_tensor(name, "input", input).is_floating_point() else input.float()


def _in(name: str, input: Tensor, y: Tensor, inplace: bool) -> Tensor:
    """What a function returns: its values `y`, written into the input if that is asked for."""
    return replace(input, name, y) if inplace else y


P = ParamSpec("P")


def in_place(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The function with `inplace=True`, under the name that has an underscore at its end."""
    name = function.__name__

    @wraps(function)
    def written(*args: P.args, **options: P.kwargs) -> Tensor:
        given: Any = {**options, "inplace": True}
        return function(*args, **given)

    written.__name__ = written.__qualname__ = f"{name}_"
    written.__doc__ = f"In place: {function.__doc__}".replace(f"F.{name}(", f"F.{name}_(")
    return written


celu_ = in_place(celu)
elu_ = in_place(elu)
hardtanh_ = in_place(hardtanh)
leaky_relu_ = in_place(leaky_relu)
relu_ = in_place(relu)
selu_ = in_place(selu)
threshold_ = in_place(threshold)
