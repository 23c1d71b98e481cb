"""Weights that are computed from others before each call: weight norm, and spectral norm."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from tinyconv.engine.context import no_grad
from tinyconv.engine.options import positive
from tinyconv.errors import ModuleError, ShapeError, shortened
from tinyconv.functional.linear import linear
from tinyconv.functional.normalization import normalize
from tinyconv.nn.convolution import ConvTranspose1d, ConvTranspose2d
from tinyconv.nn.hooks import Hook
from tinyconv.nn.lazy import UninitializedParameter
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import axis_of, whole
from tinyconv.tensor.creation import randn
from tinyconv.tensor.tensor import Tensor

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]

Layer = TypeVar("Layer", bound=Module)


class _Computed:
    """A forward pre-hook that computes the weight `name` of its module, which is a plain attribute from then on."""

    suffixes: ClassVar[tuple[str, ...]]  # of the names of what it is computed from

    def __init__(self, name: str) -> None:
        self.name = name
        self.names = [name + suffix for suffix in self.suffixes]

    def parts(self, weight: Tensor) -> list[Tensor]:
        """What the weight is computed from, in the order of the names."""
        raise NotImplementedError

    def weight(self, module: Module, training: bool) -> Tensor:
        """The weight, from its parts."""
        raise NotImplementedError

    def first(self, module: Module) -> Tensor:
        """The weight before the first call."""
        return self.weight(module, False)

    def __call__(self, module: Module, inputs: tuple[Any, ...]) -> None:
        setattr(module, self.name, self.weight(module, module.training))

    def attach(self, module: Module, what: str) -> None:
        """Take the place of the parameter."""
        owner, weight = f"{what}: {type(module).__name__}.{self.name}", module._parameters.get(self.name)
        if any(hook.function.name == self.name for hook in _hooks(module, type(self))):
            raise ModuleError(f"{owner} has one already")
        if isinstance(weight, UninitializedParameter):
            raise ModuleError(f"{owner} has no shape before the first call: run the model once")
        if weight is None:
            raise ModuleError(f"{owner} is no parameter; it has {', '.join(module._parameters) or 'none'}")
        parts = self.parts(weight)
        delattr(module, self.name)
        for name, part in zip(self.names, parts, strict=True):
            if isinstance(part, Parameter):
                module.register_parameter(name, part)
            else:
                module.register_buffer(name, part)
        setattr(module, self.name, self.first(module))
        module._hook(Hook("forward_pre", self, of_each_replica=True))

    @classmethod
    def detach(cls, module: Module, name: str, what: str) -> None:
        """Make the weight a parameter again, of the value that it has now."""
        hook = next((hook for hook in _hooks(module, cls) if hook.function.name == name), None)
        if hook is None:
            raise ValueError(f"{what}: {type(module).__name__} has none of {shortened(name)}")
        with no_grad():
            weight = hook.function.weight(module, False)
        module._unhook(hook)
        for own in (name, *hook.function.names):
            delattr(module, own)
        module.register_parameter(name, Parameter(weight))


def _hooks(module: Module, kind: type) -> list[Any]:
    return [hook for hook in module._hooks or () if type(hook.function) is kind]


def lengths(weight: Tensor, dim: int | None) -> Tensor:
    """The norms of a weight over all axes but `dim`, or over all where that is None or, as in torch, -1."""
    if dim is None or dim == -1:
        return weight.norm()
    kept = axis_of(dim, weight.ndim, "weight_norm")
    others = tuple(axis for axis in range(weight.ndim) if axis != kept)
    return weight.norm(2, others, True) if others else weight.abs()


def rows(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix, whose rows lie along `dim`."""
    return weight.movedim(dim, 0).flatten(1)


def vectors(weight: Tensor, dim: int, eps: float) -> list[Tensor]:
    """Random vectors of length 1 to begin with: u for the rows of the matrix, v for its columns."""
    sizes = rows(weight, dim).shape
    return [normalize(randn(size, dtype=weight.dtype, device=weight.device), dim=0, eps=eps) for size in sizes]


def largest(matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """u^T W v. The vectors are copied: the next call moves them, and the gradient of this one may come after it."""
    return (u.clone() * linear(v.clone(), matrix)).sum()


def axis_of_rows(module: Module, dim: int | None) -> int:
    """`dim`, or where it is None the axis of the output."""
    return int(isinstance(module, ConvTranspose1d | ConvTranspose2d)) if dim is None else dim


class WeightNorm(_Computed):
    """weight = g v / |v|, where the norm is taken over all axes but `dim`, or over all where that is None."""

    suffixes = "_g", "_v"

    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = dim

    def parts(self, weight: Tensor) -> list[Tensor]:
        direction = weight.detach()
        return [Parameter(part, weight.requires_grad) for part in (lengths(direction, self.dim), direction)]

    def weight(self, module: Module, training: bool) -> Tensor:
        g, v = (getattr(module, name) for name in self.names)
        computed: Tensor = v * (g / lengths(v, self.dim))
        return computed


class SpectralNorm(_Computed):
    """weight = w / s, where s = u^T W v is nearly the largest singular value of w as a matrix W, its rows along `dim`.

    The vectors are moved at each call in training, v <- W^T u / |W^T u| and u <- W v / |W v|: the power iteration.
    """

    suffixes = "_orig", "_u", "_v"

    def __init__(self, name: str, iterations: int, eps: float, dim: int) -> None:
        super().__init__(name)
        self.iterations, self.eps, self.dim = iterations, eps, dim

    def parts(self, weight: Tensor) -> list[Tensor]:
        if weight.ndim < 2:
            raise ShapeError(f"spectral_norm: expected a weight of at least two axes, got {weight.shape}")
        self.dim = axis_of(self.dim, weight.ndim, "spectral_norm")
        return [weight, *vectors(weight.detach(), self.dim, self.eps)]

    def first(self, module: Module) -> Tensor:
        """Itself, in the memory of `weight_orig`, so that an initialiser that writes into the weight is heard."""
        original: Tensor = getattr(module, self.names[0])
        return original.detach()

    def weight(self, module: Module, training: bool) -> Tensor:
        w, u, v = (getattr(module, name) for name in self.names)
        matrix = rows(w, self.dim)
        if training:
            with no_grad():
                for _ in range(self.iterations):
                    v.copy_(normalize(linear(u, matrix.t()), dim=0, eps=self.eps))
                    u.copy_(normalize(linear(v, matrix), dim=0, eps=self.eps))
        return w / largest(matrix, u, v)


def weight_norm(module: Layer, name: str = "weight", dim: int | None = 0) -> Layer:
    """Split a weight into its length and its direction, weight = g v / |v|, and train these (arXiv:1602.07868).

    The parameters are `weight_g` and `weight_v`, and `weight` is computed before each call. Like
    `torch.nn.utils.weight_norm`.

        list(nn.utils.weight_norm(nn.Linear(20, 5)).state_dict())  # ["bias", "weight_g", "weight_v"]

    Args:
        module: The layer, which is changed and returned.
        name: The name of the weight.
        dim: The axis along which each slice has a length of its own; None or, as in torch, -1 for one length.

    Raises ModuleError where there is no such parameter, or it has a weight norm already, and ShapeError where it has
    no such axis.
    """
    WeightNorm(name, dim).attach(module, "weight_norm")
    return module


def remove_weight_norm(module: Layer, name: str = "weight") -> Layer:
    """Make the weight a parameter again, of the value that it has now. Like `torch.nn.utils.remove_weight_norm`.

    Returns the module. Raises ValueError where there is no weight norm of that name.
    """
    WeightNorm.detach(module, name, "remove_weight_norm")
    return module


def spectral_norm(
    module: Layer, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Layer:
    """Divide a weight by its largest singular value before each call (Miyato et al., arXiv:1802.05957).

    It is found by the power iteration, a step of it at each call in training, from random vectors. The parameter is
    `weight_orig`, the buffers `weight_u` and `weight_v`. Like `torch.nn.utils.spectral_norm`.

        list(nn.utils.spectral_norm(nn.Linear(20, 5)).state_dict())  # ["bias", "weight_orig", "weight_u", "weight_v"]

    Args:
        module: The layer, which is changed and returned.
        name: The name of the weight, of at least two axes.
        n_power_iterations: Steps of the power iteration at each call, >= 1.
        eps: The least length that a vector is divided by.
        dim: The axis of the rows of the matrix. Unless given 1 for a transposed convolution, else 0.

    Raises ModuleError where there is no such parameter, or it has a spectral norm already, ShapeError for a vector,
    another axis and for no steps, and OptionError for an `eps` that is not above 0.
    """
    steps = whole(n_power_iterations, "spectral_norm: n_power_iterations", minimum=1)
    of_rows = axis_of_rows(module, dim)
    SpectralNorm(name, steps, positive("spectral_norm: eps", eps), of_rows).attach(module, "spectral_norm")
    return module


def remove_spectral_norm(module: Layer, name: str = "weight") -> Layer:
    """Make the weight a parameter again, of the value that it has now. Like `torch.nn.utils.remove_spectral_norm`.

    Returns the module. Raises ValueError where there is no spectral norm of that name.
    """
    SpectralNorm.detach(module, name, "remove_spectral_norm")
    return module
