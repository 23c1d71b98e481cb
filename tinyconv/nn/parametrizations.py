"""`nn.utils.parametrizations`: weight norm and spectral norm as modules that compute a weight when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from tinyconv.engine.context import no_grad
from tinyconv.engine.options import positive
from tinyconv.errors import suggest_names
from tinyconv.functional.linear import linear
from tinyconv.functional.normalization import normalize
from tinyconv.nn.module import Module
from tinyconv.nn.parametrize import register_parametrization
from tinyconv.nn.reparametrize import axis_of_rows, largest, lengths, rows, vectors
from tinyconv.shapes import axis_of, whole
from tinyconv.tensor.tensor import Tensor

__all__ = ["spectral_norm", "weight_norm"]

Layer = TypeVar("Layer", bound=Module)


class _WeightNorm(Module):
    """g v / |v| of g and v."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / lengths(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths and the direction of a weight."""
        return lengths(weight, self.dim), weight

    def before_loading(self, state: Mapping[str, Any], path: str) -> None:
        """Take a state of the old form, with `weight_g` and `weight_v`."""
        owner, _, rest = path.rpartition("parametrizations.")
        name = rest.partition(".")[0]
        for i, part in enumerate("gv"):
            if (old := f"{owner}{name}_{part}") in state and isinstance(state, dict):
                state[f"{owner}parametrizations.{name}.original{i}"] = state.pop(old)


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which the power iteration finds; a vector by its length."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = axis_of(dim, weight.ndim, "spectral_norm")
        self.n_power_iterations = whole(n_power_iterations, "spectral_norm: n_power_iterations", minimum=1)
        self.eps = positive("spectral_norm: eps", eps)
        if weight.ndim > 1:
            for name, vector in zip(("_u", "_v"), vectors(weight.detach(), self.dim, self.eps), strict=True):
                self.register_buffer(name, vector)
            self._iterate(rows(weight.detach(), self.dim), 15)

    def _iterate(self, matrix: Tensor, times: int) -> None:
        with no_grad():
            for _ in range(times):
                self._u.copy_(normalize(linear(self._v, matrix), dim=0, eps=self.eps))
                self._v.copy_(normalize(linear(self._u, matrix.t()), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = rows(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        return weight / largest(matrix, self._u, self._v)

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


def weight_norm(module: Layer, name: str = "weight", dim: int | None = 0) -> Layer:
    """Split a weight into its length and its direction, weight = g v / |v|, and train these (arXiv:1602.07868).

    They are `parametrizations.weight.original0` and `original1`; a state of the old form, with `weight_g` and
    `weight_v`, is loaded too. Like `torch.nn.utils.parametrizations.weight_norm`.

        list(nn.utils.parametrizations.weight_norm(nn.Linear(20, 5), dim=None).state_dict())[0]  # "bias"

    Args:
        module: The layer, which is changed and returned.
        name: The name of the weight.
        dim: The axis along which each slice has a length of its own; None or, as in torch, -1 for one length.

    Raises what `parametrize.register_parametrization` does, and ShapeError where there is no such axis.
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def spectral_norm(
    module: Layer, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Layer:
    """Divide a weight by its largest singular value whenever it is read (Miyato et al., arXiv:1802.05957).

    A reading in training goes on with the power iteration, of which 15 steps were made at first. The parameter is
    `parametrizations.weight.original`. Like `torch.nn.utils.parametrizations.spectral_norm`.

        nn.utils.parametrizations.spectral_norm(nn.Linear(20, 5)).weight.shape  # (5, 20)

    Args:
        module: The layer, which is changed and returned.
        name: The name of the weight; a vector is divided by its length.
        n_power_iterations: Steps of the power iteration at each reading, >= 1.
        eps: The least length that a vector is divided by, > 0.
        dim: The axis of the rows of the matrix. Unless given 1 for a transposed convolution, else 0.

    Raises what `parametrize.register_parametrization` does, ShapeError where there is no such axis and for no steps,
    and OptionError for another `eps`.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"spectral_norm: {type(module).__name__} has no parameter or buffer {name!r}")
    made = _SpectralNorm(weight, n_power_iterations, axis_of_rows(module, dim), eps)
    return register_parametrization(module, name, made)


suggest_names(globals())
