"""Layers that learn the size of their input from the first one they get.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from tinyconv.engine.dtypes import Dtype
from tinyconv.errors import ModuleError, ShapeError
from tinyconv.functional.arguments import Padding, Size
from tinyconv.nn.convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, PaddingMode
from tinyconv.nn.layers import Linear
from tinyconv.nn.module import Module, Parameter
from tinyconv.nn.norms import BatchNorm1d, BatchNorm2d, InstanceNorm1d, InstanceNorm2d
from tinyconv.program.outside import Changes
from tinyconv.shapes import Shape
from tinyconv.tensor.creation import ones, zeros
from tinyconv.tensor.memory import rebind
from tinyconv.tensor.tensor import Tensor

# fmt: off
__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyConv1d", "LazyConv2d", "LazyConvTranspose1d", "LazyConvTranspose2d",
    "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyLinear", "UninitializedParameter",
]
# fmt: on


class UninitializedParameter(Parameter):
    """A parameter that has no shape yet: that of a lazy layer before its first call, after which it is a Parameter.

    Like `torch.nn.UninitializedParameter`.

        nn.LazyLinear(5).weight.dtype == tc.float32  # True

    Args:
        requires_grad: Whether it is trained.
        device: Where it will be; the default device unless given.
        dtype: Its dtype, floating point; float32 unless given.

    Asked for its shape, or a number that follows from it, it raises ModuleError.
    """

    __slots__ = ()

    def __init__(self, requires_grad: bool = True, device: str | None = None, dtype: Dtype = None) -> None:
        super().__init__(zeros(0, device=device, dtype=dtype), requires_grad)

    @property
    def shape(self) -> Shape:
        """No shape: ModuleError."""
        raise ModuleError(
            "this parameter of a lazy layer has no shape before the first call: run the model once, on an input of the "
            "right size, and then count its parameters or load a state into them"
        )

    def materialize(self, shape: Shape) -> None:
        """Become a Parameter of this shape, filled with zeros, on the same device and of the same dtype."""
        made = zeros(shape, device=self.device, dtype=self.dtype)
        self.__class__ = Parameter  # type: ignore[assignment]
        rebind(self, made.array, made._storage)

    def __repr__(self) -> str:
        return "<UninitializedParameter>"

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        return notebook.page(notebook.caption(type(self).__name__, "no shape before the first call"))

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        return memo.setdefault(id(self), UninitializedParameter(self.requires_grad, self.device, self.dtype))

    def __reduce__(self) -> Any:
        return UninitializedParameter, (self.requires_grad, self.device, self.dtype)


class Lazy(Module):
    """The base of lazy layers: at its first call one becomes the layer that it is derived from.

    `settled` is that class; `size`, a function of an input, says how many features or channels it has. A state can be
    loaded before the first call too, and then says it.
    """

    settled: ClassVar[Any]
    size_name: ClassVar[str] = "in_channels"  # the attribute that holds the size
    size_axis: ClassVar[int] = 0  # of the input, from its end
    weight: Any
    bias: Any

    def _unsettle(self) -> None:
        """Take the shape of each parameter away."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                kind = parameter.requires_grad, parameter.device, parameter.dtype
                self._parameters[name] = UninitializedParameter(*kind)

    def initialize_parameters(self, input: Tensor) -> None:
        """Make the parameters for such an input, and become the layer itself. ShapeError for too few axes."""
        axes = abs(self.size_axis) if self.size_axis < 0 else self.size_axis + 1
        if input.ndim < axes:
            raise ShapeError(f"{type(self).__name__}: expected an input of at least {axes} axes, got {input.shape}")
        self.settle(input.shape[self.size_axis])

    def settle(self, size: int) -> None:
        """Become the layer for inputs of this size."""
        kind = type(self).settled
        shapes = self._shapes(size)
        for name, shape in shapes.items():
            parameter = self._parameters[name]
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(shape)
        setattr(self, self.size_name, size)
        object.__setattr__(self, "__class__", kind)
        Changes.count += 1
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Nothing yet: there is nothing to draw."""

    def _shapes(self, size: int) -> dict[str, Shape]:
        """The shapes of the parameters, which a layer of this size and its arguments has."""
        raise NotImplementedError

    def before_loading(self, state: Mapping[str, Any], path: str) -> None:
        """Take the size from a state that has one."""
        shape = getattr(state.get(f"{path}weight"), "shape", None)
        if shape is not None and (size := self._size_of(tuple(shape))):
            self.settle(size)

    def _size_of(self, weight: Shape) -> int:
        """The size that a weight of this shape means; 0 for none."""
        return weight[-1] if len(weight) == 2 else 0

    def forward(self, input: Tensor, *more: Any, **options: Any) -> Tensor:
        self.initialize_parameters(input)
        y: Tensor = self.forward(input, *more, **options)  # of what it is now
        return y


class LazyLinear(Lazy, Linear):
    """A Linear whose `in_features` is the size of the last axis of its first input. Like `torch.nn.LazyLinear`.

        nn.LazyLinear(5)(tc.randn(8, 20)).shape  # (8, 5)

    Args:
        out_features: Size of the last axis of the output.
        bias: Whether to add a bias.
        device: Where the parameters are made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises DtypeError for another dtype, and ShapeError for a size that is no integer >= 0. A call raises what
    `functional.linear` does.
    """

    settled = Linear
    size_name, size_axis = "in_features", -1

    def __init__(self, out_features: int, bias: bool = True, device: str | None = None, dtype: Dtype = None) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        self._unsettle()

    def _shapes(self, size: int) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.out_features, size)}
        return shapes | ({} if self.bias is None else {"bias": (self.out_features,)})


class _LazyConvolution(Lazy):
    """The base of lazy convolutions."""

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, ...]
    transposed: bool

    def _shapes(self, size: int) -> dict[str, Shape]:
        if size % self.groups:
            raise ShapeError(f"{type(self).__name__}: {size} channels cannot be split into {self.groups} groups")
        channels = (size, self.out_channels) if self.transposed else (self.out_channels, size)
        shapes: dict[str, Shape] = {"weight": (channels[0], channels[1] // self.groups, *self.kernel_size)}
        return shapes | ({} if self.bias is None else {"bias": (self.out_channels,)})

    def _size_of(self, weight: Shape) -> int:
        if len(weight) != 2 + len(self.kernel_size):
            return 0
        return weight[0] if self.transposed else weight[1] * self.groups


class LazyConv1d(_LazyConvolution, Conv1d):
    """A Conv1d whose `in_channels` is the number of channels of its first input. Like `torch.nn.LazyConv1d`.

        nn.LazyConv1d(16, 3)(tc.randn(8, 3, 10)).shape  # (8, 16, 8)

    Args:
        out_channels: Channels of the output.
        kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: As in Conv1d.

    Raises what Conv1d does, and a call ShapeError where the groups do not divide the channels.
    """

    settled, size_axis = Conv1d, -2

    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__(
            0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self._unsettle()


class LazyConv2d(_LazyConvolution, Conv2d):
    """A Conv2d whose `in_channels` is the number of channels of its first input. Like `torch.nn.LazyConv2d`.

        nn.LazyConv2d(16, 3)(tc.randn(8, 3, 10, 10)).shape  # (8, 16, 8, 8)

    Args:
        out_channels: Channels of the output.
        kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype: As in Conv2d.

    Raises what Conv2d does, and a call ShapeError where the groups do not divide the channels.
    """

    settled, size_axis = Conv2d, -3

    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__(
            0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self._unsettle()


class LazyConvTranspose1d(_LazyConvolution, ConvTranspose1d):
    """A ConvTranspose1d whose `in_channels` is the number of channels of its first input.

    Like `torch.nn.LazyConvTranspose1d`.

        nn.LazyConvTranspose1d(16, 2, stride=2)(tc.randn(8, 3, 10)).shape  # (8, 16, 20)

    Args:
        out_channels: Channels of the output.
        kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: As in
            ConvTranspose1d.

    Raises what ConvTranspose1d does, and a call ShapeError where the groups do not divide the channels.
    """

    settled, size_axis = ConvTranspose1d, -2

    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        geometry = kernel_size, stride, padding, output_padding, groups, bias, dilation
        super().__init__(0, out_channels, *geometry, padding_mode, device, dtype)
        self._unsettle()


class LazyConvTranspose2d(_LazyConvolution, ConvTranspose2d):
    """A ConvTranspose2d whose `in_channels` is the number of channels of its first input.

    Like `torch.nn.LazyConvTranspose2d`.

        nn.LazyConvTranspose2d(16, 2, stride=2)(tc.randn(8, 3, 10, 10)).shape  # (8, 16, 20, 20)

    Args:
        out_channels: Channels of the output.
        kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype: As in
            ConvTranspose2d.

    Raises what ConvTranspose2d does, and a call ShapeError where the groups do not divide the channels.
    """

    settled, size_axis = ConvTranspose2d, -3

    def __init__(
        self,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        geometry = kernel_size, stride, padding, output_padding, groups, bias, dilation
        super().__init__(0, out_channels, *geometry, padding_mode, device, dtype)
        self._unsettle()


class _LazyNorm(Lazy):
    """The base of lazy normalisations, which have running statistics beside parameters."""

    size_name, size_axis = "num_features", 1
    affine: bool
    track_running_stats: bool

    def _shapes(self, size: int) -> dict[str, Shape]:
        return {name: (size,) for name, parameter in self._parameters.items() if parameter is not None}

    def _size_of(self, weight: Shape) -> int:
        return weight[0] if len(weight) == 1 else 0

    def settle(self, size: int) -> None:
        """Become the layer for inputs of this size."""
        for name, make in (("running_mean", zeros), ("running_var", ones)):
            buffer = self._buffers[name]
            if buffer is not None:
                self._buffers[name] = make(size, device=buffer.device, dtype=buffer.dtype)
        super().settle(size)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A BatchNorm1d whose `num_features` is the number of channels of its first input. Like `torch.nn.LazyBatchNorm1d`.

        nn.LazyBatchNorm1d()(tc.randn(8, 3, 5)).shape  # (8, 3, 5)

    Args:
        eps, momentum, affine, track_running_stats, device, dtype, bias: As in BatchNorm1d.

    Raises what BatchNorm1d does.
    """

    settled = BatchNorm1d

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._unsettle()


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A BatchNorm2d whose `num_features` is the number of channels of its first input. Like `torch.nn.LazyBatchNorm2d`.

        nn.LazyBatchNorm2d()(tc.randn(8, 3, 5, 5)).shape  # (8, 3, 5, 5)

    Args:
        eps, momentum, affine, track_running_stats, device, dtype, bias: As in BatchNorm2d.

    Raises what BatchNorm2d does.
    """

    settled = BatchNorm2d

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._unsettle()


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """An InstanceNorm1d whose `num_features` is the number of channels of its first input.

    Like `torch.nn.LazyInstanceNorm1d`.

        nn.LazyInstanceNorm1d()(tc.randn(8, 3, 5)).shape  # (8, 3, 5)

    Args:
        eps, momentum, affine, track_running_stats, device, dtype, bias: As in InstanceNorm1d, but scaling and
            running statistics are on unless they are turned off.

    Raises what InstanceNorm1d does.
    """

    settled = InstanceNorm1d
    size_axis = -2

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._unsettle()


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """An InstanceNorm2d whose `num_features` is the number of channels of its first input.

    Like `torch.nn.LazyInstanceNorm2d`.

        nn.LazyInstanceNorm2d()(tc.randn(8, 3, 5, 5)).shape  # (8, 3, 5, 5)

    Args:
        eps, momentum, affine, track_running_stats, device, dtype, bias: As in InstanceNorm2d, but scaling and
            running statistics are on unless they are turned off.

    Raises what InstanceNorm2d does.
    """

    settled = InstanceNorm2d
    size_axis = -3

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._unsettle()
