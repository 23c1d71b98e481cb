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

from tinyconv import distributed, functional, nn, optim
from tinyconv import torch_names as _torch_names
from tinyconv.arrays.backend import device
from tinyconv.capture import capture
from tinyconv.engine import variants
from tinyconv.engine.context import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
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
    OnnxError,
    OptionError,
    OutOfMemoryError,
    ShapeError,
    TinyconvError,
    VariantError,
)
from tinyconv.errors import no_attribute as _no_attribute
from tinyconv.host.threads import get_num_threads, set_num_threads
from tinyconv.tensor import arranging as _arranging
from tinyconv.tensor import creation as _creation
from tinyconv.tensor import filling as _filling
from tinyconv.tensor import inplace as _inplace
from tinyconv.tensor import joins as _joins
from tinyconv.tensor import picking as _picking
from tinyconv.tensor import pointwise as _pointwise
from tinyconv.tensor import products as _products
from tinyconv.tensor import rearranging as _rearranging
from tinyconv.tensor import reductions as _reductions
from tinyconv.tensor import sorting as _sorting
from tinyconv.tensor.arranging import *
from tinyconv.tensor.convert import is_tensor
from tinyconv.tensor.creation import *
from tinyconv.tensor.filling import *
from tinyconv.tensor.generator import Generator
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.inplace import *
from tinyconv.tensor.joins import *
from tinyconv.tensor.picking import *
from tinyconv.tensor.pointwise import *
from tinyconv.tensor.products import *
from tinyconv.tensor.rearranging import *
from tinyconv.tensor.reductions import *
from tinyconv.tensor.sorting import *
from tinyconv.tensor.tensor import Tensor, apply

if _TYPE_CHECKING:
    from tinyconv import autograd, check, data, inspect, models, onnx, train
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
    from tinyconv.saving import hub, load, save  # noqa: F401
    from tinyconv.torch_modules import accelerator, amp, backends, cuda, distributions, fx, jit, mps, utils, version  # noqa: F401
    from tinyconv.torch_modules.stand_in import as_torch  # noqa: F401
    from tinyconv.torch_modules.switches import *
    from tinyconv.web.door import studio, studio_page

__version__ = "0.2.0"

bool, uint8, int8 = (_np.dtype(name) for name in ("bool", "uint8", "int8"))
int16, int32, int64 = short, int, long = tuple(_np.dtype(f"int{bits}") for bits in (16, 32, 64))
float16, float32, float64 = half, float, double = tuple(_np.dtype(f"float{bits}") for bits in (16, 32, 64))
dtype, finfo, iinfo, Size = _np.dtype, _np.finfo, _np.iinfo, tuple
e, inf, nan, pi = _np.e, _np.inf, _np.nan, _np.pi

# fmt: off
__all__ = [  # noqa: RUF022
    "AnomalyError", "apply", "autograd", "bool", "Cake", "CakeError", "CallError", "capture", "CaptureError",
    "check", "CheckpointError", "data", "DataError", "detect_anomaly", "device", "DeviceError", "distributed",
    "double", "dtype", "DtypeError", "e", "enable_grad", "feature_maps", "FeatureMaps", "finfo", "float", "float16",
    "float32", "float64", "functional", "Generator", "get_num_threads", "grad", "GraphError", "half", "iinfo",
    "inf", "inference_mode", "inspect", "int", "int16", "int32", "int64", "int8", "is_grad_enabled",
    "is_inference_mode_enabled", "is_tensor", "long", "models", "ModuleError", "nan", "nn", "no_grad", "onnx",
    "OnnxError", "optim", "OptionError", "OutOfMemoryError", "pi", "profile", "register", "set_grad_enabled",
    "set_num_threads", "ShapeError", "short", "Size", "studio", "studio_page", "Summary", "summary", "Tensor",
    "TinyconvError", "Trace", "trace", "train", "uint8", "using", "VariantError", "variants",
]
__all__ += ["load", "save"]
__all__ += _arranging.__all__  # one at a time, as type checkers read it
__all__ += _creation.__all__
__all__ += _filling.__all__
__all__ += _inplace.__all__
__all__ += _joins.__all__
__all__ += _picking.__all__
__all__ += _pointwise.__all__
__all__ += _products.__all__
__all__ += _rearranging.__all__
__all__ += _reductions.__all__
__all__ += _sorting.__all__
__all__ += _torch_names.NAMES
# fmt: on


_import_module("tinyconv.tensor.higher")  # registers the walk of create_graph
_import_module("tinyconv.tensor.methods")  # attaches methods to Tensor
if _find_spec("tinyconv.fast"):  # nothing here needs it
    _import_module("tinyconv.fast")


_ROOMS = ("autograd", "check", "data", "inspect", "models", "onnx", "testing", "train")  # imported when asked for
_OF_INSPECT = (
    "Cake", "FeatureMaps", "Summary", "Trace", "detect_anomaly", "feature_maps", "profile", "summary", "trace",
)  # fmt: skip
_LATER = {
    **dict.fromkeys(_OF_INSPECT, "inspect"),
    **dict.fromkeys(("load", "save"), "saving"),
    **dict.fromkeys(("studio", "studio_page"), "web.door"),
    **_torch_names.NAMES,
}  # where a name lives that is imported when it is asked for


def __getattr__(name: str) -> object:
    if place := _torch_names.where(name) or (name if name in _ROOMS else None):
        return _import_module(f"tinyconv.{place}")
    if name in _LATER:
        return getattr(_import_module(f"tinyconv.{_LATER[name]}"), name)
    raise _no_attribute(globals(), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
