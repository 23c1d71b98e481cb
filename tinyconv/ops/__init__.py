"""The book: every operation, its backward right under its forward.

An op is a class with two pure functions on arrays:

    forward(xp, *arrays, **geometry) -> y, saved
    backward(xp, saved, dy, needs, **geometry) -> one gradient for each array, None where `needs` says no

`xp` is the array library (numpy, cupy). `saved` is all that forward leaves for backward: the memory a tape holds is
what you see there. y may be a tuple: its first array is differentiated, the others are not (a maximum, and its place).

`check(*arrays, **geometry)`, where an op has one, finds mistakes of shape and dtype before any arithmetic.
`check_values`, with the same arguments, finds mistakes of values, such as class indices out of range; it runs only on
the host, where reading a value costs no wait. `name` is what messages and `tinyconv.using` call the op; without it
they use the name of the class. `parts` lists the ops that a fused op stands for.

Infinities and NaN are values like others: NumPy's warnings about them are off while an op runs.

Operands may have any strides. The dtype of y, and of every gradient, is that of the inputs. No op knows of Tensor.
Float16 is computed in float32 where more than one step is made: `tinyconv.engine.wide` has the list of those ops.
"""

from tinyconv.ops.activation import Dropout, Gelu, GeluTanh, LeakyRelu, LogSoftmax, Relu, Sigmoid, Silu, Softmax, Tanh
from tinyconv.ops.conv import Conv2d
from tinyconv.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Clamp,
    Copy,
    Div,
    Exp,
    Log,
    LogAddExp,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Sqrt,
    Sub,
    Where,
)
from tinyconv.ops.fused import Conv2dRelu, Conv2dReluMaxPool2d, LinearRelu, ReluMaxPool2d
from tinyconv.ops.linear import Embedding, Linear, Matmul
from tinyconv.ops.loss import Bce, BceWithLogits, CrossEntropy, HuberLoss, L1Loss, MseLoss, NllLoss, SoftCrossEntropy
from tinyconv.ops.norm import BatchNorm, GroupNorm, LayerNorm
from tinyconv.ops.pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d
from tinyconv.ops.rectifier import Elu, Hardswish, Hardtanh, Prelu, Softplus
from tinyconv.ops.reduce import Amax, Amin, LogSumExp, Mean, Norm, Pick, PNorm, Prod, Std, Sum, Var
from tinyconv.ops.rounding import FloorDivide, Fmod, Remainder, Sign, Step, TruncDivide
from tinyconv.ops.sampling import GridSample
from tinyconv.ops.scan import Cumprod, Cumsum
from tinyconv.ops.shape import AddAt, Cat, Expand, Index, Pad, Permute, Put, Reshape, Stack
from tinyconv.ops.transcendental import (
    Acos,
    Asin,
    Atan,
    Atan2,
    Cos,
    Cosh,
    Erf,
    Expm1,
    Log1p,
    Log2,
    Log10,
    Sin,
    Sinh,
    Tan,
)
from tinyconv.ops.windows import ConvTranspose2d, Fold, Unfold

__all__ = [
    "Abs",
    "Acos",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "Add",
    "AddAt",
    "Amax",
    "Amin",
    "Asin",
    "Atan",
    "Atan2",
    "AvgPool2d",
    "BatchNorm",
    "Bce",
    "BceWithLogits",
    "Cast",
    "Cat",
    "Clamp",
    "Conv2d",
    "Conv2dRelu",
    "Conv2dReluMaxPool2d",
    "ConvTranspose2d",
    "Copy",
    "Cos",
    "Cosh",
    "CrossEntropy",
    "Cumprod",
    "Cumsum",
    "Div",
    "Dropout",
    "Elu",
    "Embedding",
    "Erf",
    "Exp",
    "Expand",
    "Expm1",
    "FloorDivide",
    "Fmod",
    "Fold",
    "Gelu",
    "GeluTanh",
    "GridSample",
    "GroupNorm",
    "Hardswish",
    "Hardtanh",
    "HuberLoss",
    "Index",
    "L1Loss",
    "LayerNorm",
    "LeakyRelu",
    "Linear",
    "LinearRelu",
    "Log",
    "Log1p",
    "Log2",
    "Log10",
    "LogAddExp",
    "LogSoftmax",
    "LogSumExp",
    "Matmul",
    "MaxPool2d",
    "Maximum",
    "Mean",
    "Minimum",
    "MseLoss",
    "Mul",
    "Neg",
    "NllLoss",
    "Norm",
    "PNorm",
    "Pad",
    "Permute",
    "Pick",
    "Pow",
    "Prelu",
    "Prod",
    "Put",
    "Relu",
    "ReluMaxPool2d",
    "Remainder",
    "Reshape",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sin",
    "Sinh",
    "SoftCrossEntropy",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Stack",
    "Std",
    "Step",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "TruncDivide",
    "Unfold",
    "Var",
    "Where",
]
