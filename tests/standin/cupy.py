"""What `import cupy` gives where the stand-in is installed: the part of CuPy that tinyconv uses, and no more."""
# ruff: noqa: F401

from numpy import (
    bool_,
    can_cast,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    intp,
    isscalar,
    nan,
    newaxis,
    pi,
    promote_types,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)

from standin import cuda
from standin.arrays import array, asarray, ascontiguousarray, asnumpy, ndarray
from standin.cuda import get_default_memory_pool
from standin.functions import NAMESPACE, lib, linalg, ufunc
from standin.kernels import RawModule

__version__ = "14.0.0"
globals().update(NAMESPACE)
del NAMESPACE
