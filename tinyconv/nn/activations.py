"""Activations as layers, with torch's names and arguments; the functions in `functional` say what they compute.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`. An input may have any shape, unless it says otherwise.
"""

from __future__ import annotations

from typing import Literal

from tinyconv import functional as F
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import finite, non_negative, real
from tinyconv.errors import ShapeError
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import whole
from tinyconv.tensor.creation import zeros
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softmax2d",
    "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]
# fmt: on


class _InPlace(Module):
    """The base of layers that have no other option."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(x, 0), with gradient 0 at 0. Like `torch.nn.ReLU`.

        nn.ReLU()(tc.tensor([-1.0, 2.0])).tolist()  # [0.0, 2.0]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class ReLU6(_InPlace):
    """min(max(x, 0), 6), with gradient 0 at 0 and 6. Like `torch.nn.ReLU6`.

        nn.ReLU6()(tc.tensor([-1.0, 8.0])).tolist()  # [0.0, 6.0]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


class SiLU(_InPlace):
    """x sigmoid(x) (Elfwing et al., arXiv:1702.03118). Like `torch.nn.SiLU`.

        nn.SiLU()(tc.zeros(1)).tolist()  # [0.0]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """x tanh(ln(1 + e^x)) (Misra, arXiv:1908.08681). Like `torch.nn.Mish`.

        nn.Mish()(tc.zeros(1)).tolist()  # [0.0]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class SELU(_InPlace):
    """scale x where x > 0, else scale alpha (e^x - 1) (Klambauer et al., arXiv:1706.02515). Like `torch.nn.SELU`.

        round(nn.SELU()(tc.ones(1)).item(), 4)  # 1.0507

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class Hardswish(_InPlace):
    """x hardsigmoid(x) (Howard et al., arXiv:1905.02244). Like `torch.nn.Hardswish`.

        nn.Hardswish()(tc.tensor([0.0, 4.0])).tolist()  # [0.0, 4.0]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # as torch prints it


class Hardsigmoid(_InPlace):
    """min(max(x + 3, 0), 6) / 6. Like `torch.nn.Hardsigmoid`.

        nn.Hardsigmoid()(tc.zeros(1)).tolist()  # [0.5]

    Args:
        inplace: Write the values into the input, and return that.

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""  # as torch prints it


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x (Maas et al., 2013). Like `torch.nn.LeakyReLU`.

        nn.LeakyReLU(0.5)(tc.tensor([-1.0, 2.0])).tolist()  # [-0.5, 2.0]

    Args:
        negative_slope: The slope on the left of 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError for a slope that is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = real("LeakyReLU: negative_slope", negative_slope), inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{', inplace=True' * bool(self.inplace)}"


class RReLU(Module):
    """x where x > 0, else a x, in training with `a` drawn for each element (Xu et al., arXiv:1505.00853).

    In evaluation a is (lower + upper) / 2. Like `torch.nn.RReLU`.

        nn.RReLU(0.25, 0.75).eval()(tc.tensor([-1.0, 2.0])).tolist()  # [-0.5, 2.0]

    Args:
        lower: The least slope on the left of 0.
        upper: The greatest one.
        inplace: Write the values into the input, and return that.

    Raises OptionError for slopes that are not finite. A call raises what `functional.rrelu` does.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = finite("RReLU: lower", lower), finite("RReLU: upper", upper), inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}{', inplace=True' * bool(self.inplace)}"


class PReLU(Module):
    """x where x > 0, else weight x, with one learned `weight` or one for each channel (He et al., arXiv:1502.01852).

    Like `torch.nn.PReLU`.

        nn.PReLU()(tc.tensor([-1.0, 2.0])).tolist()  # [-0.25, 2.0]

    Args:
        num_parameters: 1, or the number of channels C of an input (N, C, ...).
        init: What the weights are at first.
        device: Where the weight is made; the default device unless given.
        dtype: Its dtype, floating point; float32 unless given.

    Raises DtypeError for another dtype, ShapeError where `num_parameters` is no integer >= 0, and OptionError where
    `init` is no number. A call raises what `functional.prelu` does.
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: str | None = None, dtype: Dtype = None
    ) -> None:
        super().__init__()
        self.num_parameters = whole(num_parameters, "PReLU: num_parameters", minimum=0)
        self.init = real("PReLU: init", init)
        self.weight = Parameter(zeros(self.num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make every weight `init` again."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1) (Clevert et al., arXiv:1511.07289). Like `torch.nn.ELU`.

        nn.ELU(0.5)(tc.tensor([-1e9, 2.0])).tolist()  # [-0.5, 2.0]

    Args:
        alpha: Minus the limit on the left.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `alpha` is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = real(f"{type(self).__name__}: alpha", alpha), inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{', inplace=True' * bool(self.inplace)}"


class CELU(ELU):
    """x where x > 0, else alpha (e^(x / alpha) - 1) (Barron, arXiv:1704.07483). Like `torch.nn.CELU`.

        nn.CELU(0.5)(tc.tensor([-1e9, 2.0])).tolist()  # [-0.5, 2.0]

    Args:
        alpha: Minus the limit on the left; not 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `alpha` is no number. A call raises what `functional.celu` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class Hardtanh(Module):
    """x limited to [min_val, max_val], with gradient 0 at both. Like `torch.nn.Hardtanh`.

        nn.Hardtanh()(tc.tensor([-3.0, 0.5, 3.0])).tolist()  # [-1.0, 0.5, 1.0]

    Args:
        min_val, max_val: The limits.
        inplace: Write the values into the input, and return that.

    Raises OptionError where a limit is no number, and ValueError unless `min_val` is below `max_val`. A call raises
    DtypeError for anything but a Tensor.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val, self.max_val = real("Hardtanh: min_val", min_val), real("Hardtanh: max_val", max_val)
        self.inplace = inplace
        if not self.min_val < self.max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val, got {self.min_val} and {self.max_val}")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}{', inplace=True' * bool(self.inplace)}"


class Threshold(Module):
    """x where x > threshold, else `value`. Like `torch.nn.Threshold`.

        nn.Threshold(1.0, 20.0)(tc.tensor([0.5, 2.0])).tolist()  # [20.0, 2.0]

    Args:
        threshold: What x is compared with.
        value: What takes the place of all that is not above it.
        inplace: Write the values into the input, and return that.

    Raises OptionError where one is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value = real("Threshold: threshold", threshold), real("Threshold: value", value)
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}{', inplace=True' * bool(self.inplace)}"


class Softplus(Module):
    """ln(1 + e^(beta x)) / beta, without overflow: a smooth ReLU. Like `torch.nn.Softplus`.

        round(nn.Softplus()(tc.zeros(1)).item(), 4)  # 0.6931

    Args:
        beta: How sharp the bend is.
        threshold: Where beta x is larger, the output is x.

    Raises OptionError where one is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = real("Softplus: beta", beta), real("Softplus: threshold", threshold)

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    """x moved by `lambd` towards 0, which it does not cross. Like `torch.nn.Softshrink`.

        nn.Softshrink()(tc.tensor([-2.0, 0.25, 2.0])).tolist()  # [-1.5, 0.0, 1.5]

    Args:
        lambd: How far, at least 0.

    Raises OptionError where `lambd` is no finite number >= 0, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = non_negative("Softshrink: lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(Module):
    """x, but 0 where -lambd <= x <= lambd. Like `torch.nn.Hardshrink`.

        nn.Hardshrink()(tc.tensor([-2.0, 0.25, 2.0])).tolist()  # [-2.0, 0.0, 2.0]

    Args:
        lambd: The half width of what becomes 0.

    Raises OptionError where `lambd` is no number, and a call DtypeError for anything but a Tensor.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = real("Hardshrink: lambd", lambd)

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class GELU(Module):
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel, arXiv:1606.08415).

    Like `torch.nn.GELU`.

        nn.GELU()(tc.tensor([0.0, 10.0])).tolist()  # [0.0, 10.0]

    Args:
        approximate: "none", or "tanh" for a cheaper approximation.

    A call raises ValueError where `approximate` is neither.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate: Literal["none", "tanh"] = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Sigmoid(Module):
    """1 / (1 + e^-x). Like `torch.nn.Sigmoid`.

        nn.Sigmoid()(tc.zeros(1)).tolist()  # [0.5]

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent. Like `torch.nn.Tanh`.

        nn.Tanh()(tc.zeros(1)).tolist()  # [0.0]

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class LogSigmoid(Module):
    """ln sigmoid(x), without overflow. Like `torch.nn.LogSigmoid`.

        round(nn.LogSigmoid()(tc.zeros(1)).item(), 4)  # -0.6931

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|). Like `torch.nn.Softsign`.

        nn.Softsign()(tc.tensor([-1.0, 3.0])).tolist()  # [-0.5, 0.75]

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x). Like `torch.nn.Tanhshrink`.

        nn.Tanhshrink()(tc.zeros(1)).tolist()  # [0.0]

    A call raises DtypeError for anything but a Tensor.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class GLU(Module):
    """a sigmoid(b), where a and b are the halves of the input along `dim` (Dauphin et al., arXiv:1612.08083).

    Like `torch.nn.GLU`.

        nn.GLU()(tc.zeros(3, 4)).shape  # (3, 2)

    Args:
        dim: The axis that is halved.

    Raises ShapeError where `dim` is no integer. A call raises what `functional.glu` does.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = whole(dim, "GLU: dim")

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """e^x / sum e^x along `dim`. Not before CrossEntropyLoss, which applies it itself. Like `torch.nn.Softmax`.

        nn.Softmax(1)(tc.zeros(1, 2)).tolist()  # [[0.5, 0.5]]

    Args:
        dim: The axis along which the output adds up to 1. Without it a call warns, and takes the one that
            `functional.softmax` does.

    Raises ShapeError where `dim` is no integer, and a call where the input has no such axis.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else whole(dim, f"{type(self).__name__}: dim")

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """x - ln sum e^x along `dim`. NLLLoss takes its output. Like `torch.nn.LogSoftmax`.

        round(nn.LogSoftmax(0)(tc.zeros(2))[0].item(), 4)  # -0.6931

    Args:
        dim: The axis along which e^output adds up to 1; without it, as in Softmax.

    Raises ShapeError where `dim` is no integer, and a call where the input has no such axis.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """e^-x / sum e^-x along `dim`. Like `torch.nn.Softmin`.

        nn.Softmin(0)(tc.zeros(2)).tolist()  # [0.5, 0.5]

    Args:
        dim: The axis along which the output adds up to 1; without it, as in Softmax.

    Raises ShapeError where `dim` is no integer, and a call where the input has no such axis.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W), at each position. Like `torch.nn.Softmax2d`.

        nn.Softmax2d()(tc.zeros(1, 2, 1, 1)).flatten().tolist()  # [0.5, 0.5]

    A call raises ShapeError where the input has another number of axes.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: expected (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)
