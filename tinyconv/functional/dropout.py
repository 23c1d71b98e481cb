"""Dropout: of elements, and of whole channels."""

from __future__ import annotations

from math import sqrt

import numpy as np

from tinyconv import ops
from tinyconv.engine.options import fraction
from tinyconv.errors import ShapeError
from tinyconv.functional.arguments import checked_tensor
from tinyconv.shapes import Shape
from tinyconv.tensor.creation import rand
from tinyconv.tensor.inplace import replace
from tinyconv.tensor.tensor import Tensor, apply
from tinyconv.user_frame import warn

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "feature_alpha_dropout"]


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014).

    The random numbers are those of `tinyconv.manual_seed`. Like `torch.nn.functional.dropout`.

        F.dropout(tc.ones(2), p=1.0).tolist()  # [0.0, 0.0]

    Args:
        input: Any shape, floating point.
        p: The probability that an element becomes 0.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises OptionError where `p` is not between 0 and 1, DtypeError in training for an input of another dtype, and
    GraphError for a write into a leaf that requires grad.
    """
    return _dropped("dropout", input, p, training, inplace, checked_tensor("dropout", "input", input).shape)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L) (Tompson et al., arXiv:1411.4280).

    Like `torch.nn.functional.dropout1d`.

        F.dropout1d(tc.ones(1, 2, 3), p=1.0).sum().item()  # 0.0

    Args:
        input: (N, C, L) or (C, L), floating point.
        p: The probability that a channel becomes 0.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises ShapeError where the input has another number of axes, and what `dropout` does.
    """
    if checked_tensor("dropout1d", "input", input).ndim not in (2, 3):
        raise ShapeError(f"dropout1d: expected (N, C, L) or (C, L), got {input.shape}")
    return _dropped("dropout1d", input, p, training, inplace, (*input.shape[:-1], 1))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of images (N, C, H, W) (Tompson et al., arXiv:1411.4280).

    It takes an input (N, C, ...) with another number of axes too, with a warning. Like
    `torch.nn.functional.dropout2d`.

        F.dropout2d(tc.ones(1, 2, 3, 3), p=1.0).sum().item()  # 0.0

    Args:
        input: (N, C, H, W), floating point.
        p: The probability that a channel becomes 0.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises ShapeError where the input has fewer than two axes, and what `dropout` does.
    """
    if checked_tensor("dropout2d", "input", input).ndim < 2:
        raise ShapeError(f"dropout2d: expected (N, C, H, W), got {input.shape}")
    if input.ndim != 4:
        better = "dropout1d, or x.unsqueeze(0) for one image" if input.ndim == 3 else "dropout"
        warn(f"dropout2d: expected (N, C, H, W), got {input.shape}, taken for (N, C, ...): {better}?")
    return _dropped("dropout2d", input, p, training, inplace, (*input.shape[:2], *(1,) * (input.ndim - 2)))


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """In training, put -1.7581 (the lower limit of SELU) for elements, and keep mean 0 and variance 1 as they are.

    The source is Klambauer et al., arXiv:1706.02515. Like `torch.nn.functional.alpha_dropout`.

        F.alpha_dropout(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        input: Any shape, floating point.
        p: The probability that an element is dropped.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises what `dropout` does.
    """
    return _alpha("alpha_dropout", input, p, training, inplace, checked_tensor("alpha_dropout", "input", input).shape)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...). Like `torch.nn.functional.feature_alpha_dropout`.

        F.feature_alpha_dropout(tc.ones(1, 2)).tolist()  # [[1.0, 1.0]]

    Args:
        input: (N, C, ...), floating point.
        p: The probability that a channel is dropped.
        training: Where False, the input comes back as it is.
        inplace: Write the values into `input`, and return that.

    Raises ShapeError where the input has fewer than two axes, and what `dropout` does.
    """
    if checked_tensor("feature_alpha_dropout", "input", input).ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: expected (N, C, ...), got {input.shape}")
    shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha("feature_alpha_dropout", input, p, training, inplace, shape)


def _kept(input: Tensor, p: float, shape: Shape) -> Tensor:
    """Whether each is kept; `p` may be no number of float16."""
    dtype = np.float32 if input.dtype == np.float16 else input.dtype
    return rand(shape, dtype=dtype, device=input.device) >= p


def _dropped(name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: Shape) -> Tensor:
    p = fraction(f"{name}: p", p)
    if not training or p == 0:
        return input
    y = apply(ops.Dropout, input, _kept(input, p, shape), p=p)
    return replace(input, name, y) if inplace else y


def _alpha(name: str, input: Tensor, p: float, training: bool, inplace: bool, shape: Shape) -> Tensor:
    p = fraction(f"{name}: p", p)
    if not training or p == 0:
        return input
    low = -1.7580993408473766
    scale = 1 / sqrt((1 - p) * (1 + p * low * low)) if p < 1 else 0.0
    y = apply(ops.Where, _kept(input, p, shape), input, low) * scale + (-scale * p * low)
    return replace(input, name, y) if inplace else y
