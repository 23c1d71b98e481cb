"""Functions of neural networks, with the names and arguments of `torch.nn.functional`.

Each checks and completes its arguments, then applies an op of `tinyconv.ops`, which has the formula and the gradients.
Images are (N, C, H, W): examples, channels, rows, columns. Tensors on different devices raise DeviceError everywhere.
In the examples `F` is `tinyconv.functional`.
"""
# ruff: noqa: F403

from tinyconv.errors import suggest_names
from tinyconv.functional import activation as _activation
from tinyconv.functional import dropout as _dropout
from tinyconv.functional import normalization as _normalization
from tinyconv.functional.activation import *
from tinyconv.functional.convolution import conv1d, conv2d, conv_padding, conv_transpose1d, conv_transpose2d
from tinyconv.functional.dropout import *
from tinyconv.functional.linear import bilinear, linear
from tinyconv.functional.loss import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss, nll_loss
from tinyconv.functional.normalization import *
from tinyconv.functional.padding import pad
from tinyconv.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
)
from tinyconv.functional.windows import fold, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "bilinear",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_padding",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "fold",
    "l1_loss",
    "linear",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "unfold",
]
__all__ += _activation.__all__
__all__ += _dropout.__all__
__all__ += _normalization.__all__

suggest_names(globals())
