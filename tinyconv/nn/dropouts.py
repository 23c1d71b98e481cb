"""Dropout as layers, with torch's names and arguments; the functions in `functional` say what they compute.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from tinyconv import functional as F
from tinyconv.engine.options import fraction
from tinyconv.nn.module import Module
from tinyconv.tensor.tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """The base of them: a probability, and whether the input is written to."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p, self.inplace = fraction(f"{type(self).__name__}: p", p), inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, zero each element with probability `p` and divide the rest by 1 - p (Srivastava et al., 2014).

    Like `torch.nn.Dropout`.

        nn.Dropout(0.5).eval()(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        p: The probability that an element becomes 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.dropout` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L) (Tompson et al., arXiv:1411.4280).

    Like `torch.nn.Dropout1d`.

        nn.Dropout1d(1.0)(tc.ones(1, 2, 3)).sum().item()  # 0.0

    Args:
        p: The probability that a channel becomes 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.dropout1d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Dropout of whole channels of images (N, C, H, W) (Tompson et al., arXiv:1411.4280).

    Like `torch.nn.Dropout2d`.

        nn.Dropout2d(1.0)(tc.ones(1, 2, 3, 3)).sum().item()  # 0.0

    Args:
        p: The probability that a channel becomes 0.
        inplace: Write the values into the input, and return that.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.dropout2d` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for SELU, which keeps mean 0 and variance 1 as they are (Klambauer et al., arXiv:1706.02515).

    Like `torch.nn.AlphaDropout`.

        nn.AlphaDropout().eval()(tc.ones(2)).tolist()  # [1.0, 1.0]

    Args:
        p: The probability that an element is dropped.
        inplace: Without effect, as in PyTorch: the function takes it.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.alpha_dropout` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """AlphaDropout of whole channels of (N, C, ...).

    Like `torch.nn.FeatureAlphaDropout`.

        nn.FeatureAlphaDropout().eval()(tc.ones(1, 2)).tolist()  # [[1.0, 1.0]]

    Args:
        p: The probability that a channel is dropped.
        inplace: Without effect, as in PyTorch: the function takes it.

    Raises OptionError where `p` is not between 0 and 1. A call raises what `functional.feature_alpha_dropout` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
