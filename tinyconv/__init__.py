"""tinyconv: a deep-learning micro-framework in NumPy, small enough to read in an evening.

    import tinyconv as tc

To read it, start with `tinyconv.ops` (the operations, backward under forward), then `tinyconv.tape` (the walk back),
then `tinyconv.tensor` (what joins the two).
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as _np

from tinyconv import data, functional, models, nn, optim, variants
from tinyconv.anomaly import detect_anomaly
from tinyconv.backend import device
from tinyconv.capture import capture
from tinyconv.creation import (
    arange,
    from_numpy,
    full,
    full_like,
    get_rng_state,
    is_tensor,
    manual_seed,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    set_rng_state,
    synchronize,
    tensor,
    zeros,
    zeros_like,
)
from tinyconv.errors import (
    AnomalyError,
    CakeError,
    CaptureError,
    CheckpointError,
    DataError,
    DeviceError,
    DtypeError,
    GraphError,
    OutOfMemoryError,
    ShapeError,
    TinyconvError,
    VariantError,
)
from tinyconv.modes import enable_grad, is_grad_enabled, no_grad
from tinyconv.profile import profile
from tinyconv.tensor import Tensor, apply, cat, grad, stack, where
from tinyconv.threads import get_num_threads, set_num_threads
from tinyconv.trace import Trace, trace
from tinyconv.variants import register, using

if _TYPE_CHECKING:
    from tinyconv import check, inspect
    from tinyconv.inspect import Cake, FeatureMaps, Summary, feature_maps, summary

__version__ = "0.1.0"

bool, uint8, int32, int64 = (_np.dtype(name) for name in ("bool", "uint8", "int32", "int64"))
float16, float32, float64 = (_np.dtype(name) for name in ("float16", "float32", "float64"))

# Every method is a function too: tc.exp(x) is x.exp().
exp, log, sqrt, tanh, sigmoid, relu = Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.tanh, Tensor.sigmoid, Tensor.relu
abs, clamp, maximum, minimum = Tensor.abs, Tensor.clamp, Tensor.maximum, Tensor.minimum
add, sub, mul, div, neg, pow, matmul = (
    Tensor.add, Tensor.sub, Tensor.mul, Tensor.div, Tensor.neg, Tensor.pow, Tensor.matmul,
)  # fmt: skip
sum, mean, max, min, amax, amin, argmax, argmin = (
    Tensor.sum, Tensor.mean, Tensor.max, Tensor.min, Tensor.amax, Tensor.amin, Tensor.argmax, Tensor.argmin,
)  # fmt: skip
var, std, prod, norm, logsumexp, softmax, log_softmax = (
    Tensor.var, Tensor.std, Tensor.prod, Tensor.norm, Tensor.logsumexp, Tensor.softmax, Tensor.log_softmax,
)  # fmt: skip
all, any, isnan, isfinite = Tensor.all, Tensor.any, Tensor.isnan, Tensor.isfinite
reshape, flatten, squeeze, unsqueeze, transpose, permute, split, chunk = (
    Tensor.reshape, Tensor.flatten, Tensor.squeeze, Tensor.unsqueeze, Tensor.transpose, Tensor.permute,
    Tensor.split, Tensor.chunk,
)  # fmt: skip

# fmt: off
__all__ = [  # noqa: RUF022
    "abs", "add", "all", "amax", "amin", "AnomalyError", "any", "apply", "arange", "argmax", "argmin", "bool",
    "Cake", "CakeError", "capture", "CaptureError", "cat", "check", "CheckpointError", "chunk", "clamp", "data",
    "DataError", "detect_anomaly", "device", "DeviceError", "div", "DtypeError", "enable_grad", "exp",
    "feature_maps", "FeatureMaps", "flatten", "float16", "float32", "float64", "from_numpy", "full", "full_like",
    "functional", "get_num_threads", "get_rng_state", "grad", "GraphError", "inspect", "int32", "int64",
    "is_grad_enabled", "is_tensor", "isfinite", "isnan", "log", "log_softmax", "logsumexp", "manual_seed", "matmul",
    "max", "maximum", "mean", "min", "minimum", "models", "mul", "neg", "nn", "no_grad", "norm", "ones",
    "ones_like", "optim", "OutOfMemoryError", "permute", "pow", "prod", "profile", "rand", "rand_like", "randint",
    "randn", "randn_like", "randperm", "register", "relu", "reshape", "set_num_threads", "set_rng_state",
    "ShapeError", "sigmoid", "softmax", "split", "sqrt", "squeeze", "stack", "std", "sub", "sum", "Summary", "summary",
    "synchronize", "tanh", "Tensor", "tensor", "TinyconvError", "Trace", "trace", "transpose", "uint8", "unsqueeze",
    "using", "var", "VariantError", "variants", "where", "zeros", "zeros_like",
]
# fmt: on


if _find_spec("tinyconv.fast"):  # nothing here needs it
    _import_module("tinyconv.fast")


_ON_DEMAND = ("check", "inspect")  # for tests and for looking at models, not for training: imported when asked for
_OF_INSPECT = ("Cake", "FeatureMaps", "Summary", "feature_maps", "summary")


def __getattr__(name: str) -> object:
    if name in _ON_DEMAND:
        return _import_module(f"tinyconv.{name}")
    if name in _OF_INSPECT:
        return getattr(_import_module("tinyconv.inspect"), name)
    raise AttributeError(f"module 'tinyconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
