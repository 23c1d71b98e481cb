"""Layers that pad: `functional.pad` with its mode and widths fixed.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from tinyconv import functional as F
from tinyconv.engine.options import real
from tinyconv.errors import ShapeError, shortened
from tinyconv.functional.arguments import Size
from tinyconv.nn.module import Module
from tinyconv.shapes import sizes_of, whole
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "ReflectionPad1d", "ReflectionPad2d",
    "ReplicationPad1d", "ReplicationPad2d", "ZeroPad1d", "ZeroPad2d",
]
# fmt: on


class _Pad(Module):
    """The base of all: how many axes are padded, and with what."""

    _axes: ClassVar[int] = 1
    _mode: ClassVar[Literal["constant", "reflect", "replicate", "circular"]] = "constant"

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = self._widths(padding)

    def _widths(self, padding: Size) -> tuple[int, ...]:
        what, count = f"{type(self).__name__}: padding", 2 * self._axes
        if not isinstance(padding, Sequence):
            return (whole(padding, what),) * count
        widths = tuple(sizes_of((padding,), what))
        if len(widths) != count:
            order = "(left, right)" if count == 2 else "(left, right, top, bottom)"
            raise ShapeError(f"{what}: expected a number or {order}, got {shortened(padding)}")
        return widths

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """The base of the two whose number is to be chosen."""

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = real(f"{type(self).__name__}: value", value)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, value=self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A number around the last axis of an input of any shape. Like `torch.nn.ConstantPad1d`.

        nn.ConstantPad1d(1, 5.0)(tc.zeros(1)).tolist()  # [5.0, 0.0, 5.0]

    Args:
        padding: How many elements on each side, a number or (left, right); negative numbers crop.
        value: What is put there.

    Raises ShapeError for another number of widths, and OptionError for a value that is no number. A call raises what
    `functional.pad` does.
    """


class ConstantPad2d(_ConstantPad):
    """A number around the last two axes of an input of any shape. Like `torch.nn.ConstantPad2d`.

        nn.ConstantPad2d((1, 0, 0, 2), 5.0)(tc.ones(8, 3, 4, 4)).shape  # (8, 3, 6, 5)

    Args:
        padding: How many elements on each side, a number or (left, right, top, bottom); negative numbers crop.
        value: What is put there.

    Raises ShapeError for another number of widths, and OptionError for a value that is no number. A call raises what
    `functional.pad` does.
    """

    _axes = 2


class ZeroPad1d(_Pad):
    """Zeros around the last axis of an input of any shape. Like `torch.nn.ZeroPad1d`.

        nn.ZeroPad1d(1)(tc.ones(1)).tolist()  # [0.0, 1.0, 0.0]

    Args:
        padding: How many elements on each side, a number or (left, right); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """


class ZeroPad2d(_Pad):
    """Zeros around the last two axes of an input of any shape. Like `torch.nn.ZeroPad2d`.

        nn.ZeroPad2d((1, 0, 0, 2))(tc.ones(8, 3, 4, 4)).shape  # (8, 3, 6, 5)

    Args:
        padding: How many elements on each side, a number or (left, right, top, bottom); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _axes = 2


class ReflectionPad1d(_Pad):
    """The last axis continued at both ends as in a mirror, without the edge twice. Like `torch.nn.ReflectionPad1d`.

        nn.ReflectionPad1d(1)(tc.tensor([1.0, 2.0, 3.0])).tolist()  # [2.0, 1.0, 2.0, 3.0, 2.0]

    Args:
        padding: How many elements on each side, a number or (left, right); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes continued at both ends as in a mirror, without the edge twice. Like `torch.nn.ReflectionPad2d`.

        nn.ReflectionPad2d((1, 0, 0, 2))(tc.ones(8, 3, 4, 4)).shape  # (8, 3, 6, 5)

    Args:
        padding: How many elements on each side, a number or (left, right, top, bottom); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _axes = 2
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """The last axis continued at both ends by the edge. Like `torch.nn.ReplicationPad1d`.

        nn.ReplicationPad1d(1)(tc.tensor([1.0, 2.0])).tolist()  # [1.0, 1.0, 2.0, 2.0]

    Args:
        padding: How many elements on each side, a number or (left, right); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """The last two axes continued at both ends by the edge. Like `torch.nn.ReplicationPad2d`.

        nn.ReplicationPad2d((1, 0, 0, 2))(tc.ones(8, 3, 4, 4)).shape  # (8, 3, 6, 5)

    Args:
        padding: How many elements on each side, a number or (left, right, top, bottom); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _axes = 2
    _mode = "replicate"


class CircularPad1d(_Pad):
    """The last axis continued at both ends from the other end, as on a ring. Like `torch.nn.CircularPad1d`.

        nn.CircularPad1d(1)(tc.tensor([1.0, 2.0, 3.0])).tolist()  # [3.0, 1.0, 2.0, 3.0, 1.0]

    Args:
        padding: How many elements on each side, a number or (left, right); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _mode = "circular"


class CircularPad2d(_Pad):
    """The last two axes continued at both ends from the other end, as on a ring. Like `torch.nn.CircularPad2d`.

        nn.CircularPad2d((1, 0, 0, 2))(tc.ones(8, 3, 4, 4)).shape  # (8, 3, 6, 5)

    Args:
        padding: How many elements on each side, a number or (left, right, top, bottom); negative numbers crop.

    Raises ShapeError for another number of widths. A call raises what `functional.pad` does.
    """

    _axes = 2
    _mode = "circular"
