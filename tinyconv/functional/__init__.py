"""Functions of neural networks, with the names and arguments of `torch.nn.functional`.

Each checks and completes its arguments, then applies an op of `tinyconv.ops`, which has the formula and the gradients.
Images are (N, C, H, W): examples, channels, rows, columns. Tensors on different devices raise DeviceError everywhere.
In the examples `F` is `tinyconv.functional`.
"""
# ruff: noqa: F403

from tinyconv.errors import suggest_names
from tinyconv.functional import activation as _activation
from tinyconv.functional import chance as _chance
from tinyconv.functional import convolution as _convolution
from tinyconv.functional import dropout as _dropout
from tinyconv.functional import loss as _loss
from tinyconv.functional import margin as _margin
from tinyconv.functional import normalization as _normalization
from tinyconv.functional import pooling as _pooling
from tinyconv.functional import sparse as _sparse
from tinyconv.functional import vision as _vision
from tinyconv.functional import windows as _windows
from tinyconv.functional.activation import *
from tinyconv.functional.chance import *
from tinyconv.functional.convolution import *
from tinyconv.functional.dropout import *
from tinyconv.functional.linear import bilinear, embedding, linear
from tinyconv.functional.loss import *
from tinyconv.functional.margin import *
from tinyconv.functional.normalization import *
from tinyconv.functional.padding import pad
from tinyconv.functional.pooling import *
from tinyconv.functional.sparse import *
from tinyconv.functional.vision import *
from tinyconv.functional.windows import *

__all__ = [
    "bilinear",
    "embedding",
    "linear",
    "pad",
]
__all__ += _activation.__all__
__all__ += _chance.__all__
__all__ += _convolution.__all__
__all__ += _dropout.__all__
__all__ += _loss.__all__
__all__ += _margin.__all__
__all__ += _normalization.__all__
__all__ += _pooling.__all__
__all__ += _sparse.__all__
__all__ += _vision.__all__
__all__ += _windows.__all__

suggest_names(globals())
