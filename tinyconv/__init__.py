"""tinyconv: a deep-learning micro-framework in NumPy whose backward pass is there to be read.

    import tinyconv as tc

To read it, start with `tinyconv.ops` (the operations, backward right under forward), then `tinyconv.engine.tape` (the
walk back), then `tinyconv.tensor.tensor` (what joins the two). `docs/architecture.md` has the map.
"""

# ruff: noqa: F403

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as _np

from tinyconv import data, functional, models, nn, optim
from tinyconv.arrays.backend import device
from tinyconv.capture import capture
from tinyconv.engine import variants
from tinyconv.engine.context import enable_grad, is_grad_enabled, no_grad
from tinyconv.engine.variants import register, using
from tinyconv.errors import (
    AnomalyError,
    CakeError,
    CallError,
    CaptureError,
    CheckpointError,
    DataError,
    DeviceError,
    DtypeError,
    GraphError,
    ModuleError,
    OptionError,
    OutOfMemoryError,
    ShapeError,
    TinyconvError,
    VariantError,
)
from tinyconv.errors import no_attribute as _no_attribute
from tinyconv.host.threads import get_num_threads, set_num_threads
from tinyconv.tensor import pointwise as _pointwise
from tinyconv.tensor.convert import is_tensor
from tinyconv.tensor.creation import (
    arange,
    from_numpy,
    full,
    full_like,
    get_rng_state,
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
from tinyconv.tensor.functions import (
    abs,
    add,
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    chunk,
    clamp,
    div,
    flatten,
    isfinite,
    isnan,
    log_softmax,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    mul,
    neg,
    norm,
    permute,
    pow,
    prod,
    relu,
    reshape,
    sigmoid,
    softmax,
    split,
    squeeze,
    std,
    sub,
    sum,
    tanh,
    transpose,
    unsqueeze,
    var,
)
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.joins import cat, stack, where
from tinyconv.tensor.pointwise import *
from tinyconv.tensor.tensor import Tensor, apply

if _TYPE_CHECKING:
    from tinyconv import check, inspect, train
    from tinyconv.inspect import (
        Cake,
        FeatureMaps,
        Summary,
        Trace,
        detect_anomaly,
        feature_maps,
        profile,
        summary,
        trace,
    )
    from tinyconv.web.door import studio, studio_page

__version__ = "0.1.0"

bool, uint8, int32, int64 = (_np.dtype(name) for name in ("bool", "uint8", "int32", "int64"))
float16, float32, float64 = (_np.dtype(name) for name in ("float16", "float32", "float64"))

# fmt: off
__all__ = [  # noqa: RUF022
    "abs", "add", "all", "amax", "amin", "AnomalyError", "any", "apply", "arange", "argmax", "argmin", "bool",
    "Cake", "CakeError", "CallError", "capture", "CaptureError", "cat", "check", "CheckpointError", "chunk", "clamp",
    "data", "DataError", "detect_anomaly", "device", "DeviceError", "div", "DtypeError", "enable_grad",
    "feature_maps", "FeatureMaps", "flatten", "float16", "float32", "float64", "from_numpy", "full", "full_like",
    "functional", "Generator", "get_num_threads", "get_rng_state", "grad", "GraphError", "inspect", "int32", "int64",
    "is_grad_enabled", "is_tensor", "isfinite", "isnan", "log_softmax", "logsumexp", "manual_seed", "matmul",
    "max", "maximum", "mean", "min", "minimum", "models", "ModuleError", "mul", "neg", "nn", "no_grad", "norm", "ones",
    "ones_like", "optim", "OptionError", "OutOfMemoryError", "permute", "pow", "prod", "profile", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "register", "relu", "reshape", "set_num_threads", "set_rng_state",
    "ShapeError", "sigmoid", "softmax", "split", "squeeze", "stack", "std", "studio", "studio_page", "sub",
    "sum", "Summary", "summary", "synchronize", "tanh", "Tensor", "tensor", "TinyconvError", "Trace", "trace", "train",
    "transpose",
    "uint8", "unsqueeze", "using", "var", "VariantError", "variants", "where", "zeros", "zeros_like",
]
__all__ += _pointwise.__all__
# fmt: on


_import_module("tinyconv.tensor.higher")  # registers the walk of create_graph
_import_module("tinyconv.tensor.methods")  # attaches methods to Tensor
if _find_spec("tinyconv.fast"):  # nothing here needs it
    _import_module("tinyconv.fast")


_ROOMS = ("check", "inspect", "train")  # imported when they are asked for
_OF_INSPECT = (
    "Cake", "FeatureMaps", "Summary", "Trace", "detect_anomaly", "feature_maps", "profile", "summary", "trace",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return _import_module(f"tinyconv.{name}")
    if name in _OF_INSPECT:
        return getattr(_import_module("tinyconv.inspect"), name)
    if name in ("studio", "studio_page"):
        return getattr(_import_module("tinyconv.web.door"), name)
    if name in ("save", "load"):
        raise AttributeError(f"module 'tinyconv' has no {name!r}: weights go through tinyconv.train.{name}_weights")
    raise _no_attribute(globals(), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
