"""What training loops call on parameters and layers, under PyTorch's name for the place."""

from __future__ import annotations

from collections.abc import Iterable

from tinyconv.errors import ShapeError, suggest_names
from tinyconv.nn.reparametrize import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from tinyconv.optim.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from tinyconv.optim.optimizer import ParameterError, listed
from tinyconv.tensor.joins import cat
from tinyconv.tensor.tensor import Tensor

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one long vector, which gradients flow through. Like `torch.nn.utils.parameters_to_vector`.

        nn.utils.parameters_to_vector(nn.Linear(20, 5).parameters()).shape  # (105,)

    Args:
        parameters: Tensors of one dtype.

    Raises ParameterError for anything that is not a tensor, and where there is none.
    """
    return cat([parameter.reshape(-1) for parameter in _tensors("parameters_to_vector", parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Take the values of `vec` as those of the parameters, one after another, outside of the tape.

    Like `torch.nn.utils.vector_to_parameters`, but the values are copied, so that the parameters keep memory of their
    own and a captured step that works on them goes on.

        layer = nn.Linear(20, 5)
        vector = nn.utils.parameters_to_vector(layer.parameters())
        nn.utils.vector_to_parameters(vector * 0.5, layer.parameters())

    Args:
        vec: A vector with as many elements as the parameters together.
        parameters: The tensors to write to.

    Raises ShapeError where the vector is longer or shorter, ParameterError for anything that is not a tensor, and where
    there are no parameters.
    """
    found = _tensors("vector_to_parameters", parameters)
    (vec,) = _tensors("vector_to_parameters", [vec])
    total = sum(parameter.numel() for parameter in found)
    if vec.shape != (total,):
        raise ShapeError(f"vector_to_parameters: expected a vector ({total},), got {vec.shape}")
    done, values = 0, vec.detach()
    for parameter in found:
        part = values[done : done + parameter.numel()]
        parameter.detach().copy_(part.reshape(parameter.shape))
        done += parameter.numel()


def _tensors(what: str, given: Iterable[Tensor]) -> list[Tensor]:
    found = listed(given, what)
    for i, tensor in enumerate(found):
        if not isinstance(tensor, Tensor):
            raise ParameterError(f"{what}: expected tensors, got {type(tensor).__name__} at position {i}")
    if not found:
        raise ParameterError(f"{what}: there are no parameters; was a generator used up before?")
    return found


suggest_names(globals())
