"""`nn.utils.parametrize`: attributes of a layer that modules compute from its parameters, each time they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from tinyconv.engine.context import no_grad
from tinyconv.engine.options import flag
from tinyconv.errors import DtypeError, ModuleError, ShapeError, shortened, suggest_names
from tinyconv.nn.containers import ModuleDict, ModuleList
from tinyconv.nn.lazy import UninitializedParameter
from tinyconv.nn.module import Module, Parameter
from tinyconv.program.outside import Changes
from tinyconv.tensor.memory import rebind
from tinyconv.tensor.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]

Layer = TypeVar("Layer", bound=Module)
_cached: ContextVar[dict[tuple[int, str], Tensor] | None] = ContextVar("cached", default=None)


class ParametrizationList(ModuleList):
    """The modules that compute one attribute, one after another, and what the first of them computes it from.

    That is `original`, or `original0`, `original1` and so on where its `right_inverse` gave several tensors. Like
    `torch.nn.utils.parametrize.ParametrizationList`.

    Args:
        modules: The modules.
        original: The parameter or buffer whose place the attribute takes.
        unsafe: Allow another shape and dtype.

    Raises ShapeError and DtypeError for these, unless `unsafe`, and TypeError for a `right_inverse` that gives no
    tensors.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = flag("ParametrizationList: unsafe", unsafe)
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                new = module.right_inverse(new) if hasattr(module, "right_inverse") else new
        wanted = original.detach()
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if new.dtype != original.dtype:
                raise DtypeError(f"right_inverse may not change the dtype, {original.dtype}, got {new.dtype}")
            if new is not original:
                _rebind(original, new)
            _register(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise TypeError(f"right_inverse gives a tensor, or several, got a {type(part).__name__} among them")
                kept = Parameter(part, original.requires_grad) if isinstance(original, Parameter) else part.detach()
                _register(self, f"original{i}", kept)
        if not unsafe:
            _check(self(), wanted)

    def _originals(self) -> list[Tensor]:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def forward(self) -> Any:
        first, *others = list(self)
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Change what the attribute is computed from, so that it becomes `value`.

        Raises NotImplementedError where a module does not say how, by a `right_inverse`.
        """
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise NotImplementedError(f"{type(module).__name__} has no right_inverse: the value cannot be set")
                new = module.right_inverse(new)
            for kept, part in zip(self._originals(), [new] if self.is_tensor else new, strict=True):
                kept.detach().copy_(part)


def register_parametrization(
    module: Layer, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Layer:
    """Let a module compute a parameter or buffer of a layer: `layer.weight` is `parametrization(original)` from now on.

    The original is `layer.parametrizations.weight.original`; a second parametrization is called with what the first
    gives. One whose method `right_inverse` gives several tensors is called with these. Like
    `torch.nn.utils.parametrize.register_parametrization`.

        class Positive(nn.Module):
            def forward(self, x):
                return x.exp()

        layer = nn.utils.parametrize.register_parametrization(nn.Linear(20, 5), "weight", Positive())

    Args:
        module: The layer. It becomes one of a class `ParametrizedLinear`, derived from its own, and is returned.
        tensor_name: The name of the parameter or buffer.
        parametrization: The module that computes it.
        unsafe: Allow another shape and dtype.

    Raises ValueError where there is no such tensor, ModuleError where it has no shape yet, and what
    `ParametrizationList` does.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held, now = module.parametrizations[tensor_name], getattr(module, tensor_name)
        if not flag("register_parametrization: unsafe", unsafe):
            _check(parametrization(now), now)
        held.append(parametrization)
        held.unsafe |= unsafe
        return module
    original = {**module._buffers, **module._parameters}.get(tensor_name)
    if original is None:
        owner = type(module).__name__
        raise ValueError(f"register_parametrization: {owner} has no parameter or buffer {shortened(tensor_name)}")
    if isinstance(original, UninitializedParameter):
        raise ModuleError(f"register_parametrization: {tensor_name} has no shape before the first call: run the model")
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    _become(module, type_before_parametrizations(module))
    return module


def remove_parametrizations(module: Layer, tensor_name: str, leave_parametrized: bool = True) -> Layer:
    """Make a parameter or buffer of a computed attribute again. Like PyTorch's of that name; returns the module.

    Args:
        module: The layer.
        tensor_name: The name of the attribute.
        leave_parametrized: Keep the value that was computed, not the original one.

    Raises ValueError where it is not computed, and where one original is wanted and there are several.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {type(module).__name__} has none on {shortened(tensor_name)}")
    held, value = module.parametrizations[tensor_name], getattr(module, tensor_name)
    if not held.is_tensor and not leave_parametrized:
        raise ValueError(f"remove_parametrizations: {tensor_name} has {held.ntensors} originals, and none can stay")
    original = held.original if held.is_tensor else Parameter(value) if value.requires_grad else value
    if held.is_tensor and leave_parametrized:
        _rebind(original, value)
    kind = type_before_parametrizations(module)
    del module.parametrizations[tensor_name]
    _become(module, kind)
    if not len(module.parametrizations):
        del module.parametrizations
    _register(module, tensor_name, original)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether an attribute of this name, or any, is computed by a parametrization."""
    held = module._modules.get("parametrizations")
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def type_before_parametrizations(module: Module) -> type:
    """The class that a layer had before its first parametrization."""
    return type(module).__bases__[0] if is_parametrized(module) and hasattr(type(module), "_computed") else type(module)


@contextmanager
def cached() -> Iterator[None]:
    """Within this block each attribute is computed once: for one that a forward reads several times."""
    token = _cached.set({}) if _cached.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _cached.reset(token)


def _read(module: Module, name: str) -> Tensor:
    held, key = _cached.get(), (id(module), name)
    if held is None:
        value: Tensor = module.parametrizations[name]()
        return value
    if key not in held:
        held[key] = module.parametrizations[name]()
    return held[key]


@cache
def _class(kind: type, names: tuple[str, ...]) -> type:
    """The class of layers of this kind, whose attributes of these names are computed."""

    def computed(name: str) -> property:
        return property(
            lambda module: _read(module, name), lambda module, value: module.parametrizations[name].right_inverse(value)
        )

    def reduced(module: Module, protocol: Any) -> Any:  # this class has no name to be found under
        return _made, (kind, names), vars(module)

    body: dict[str, Any] = {name: computed(name) for name in names}
    body |= {"__module__": kind.__module__, "__reduce_ex__": reduced, "_computed": names}
    return type(f"Parametrized{kind.__name__}", (kind,), body)


def _made(kind: type, names: tuple[str, ...]) -> Any:
    return object.__new__(_class(kind, names))


def _become(module: Module, kind: type) -> None:
    names = tuple(module.parametrizations)
    object.__setattr__(module, "__class__", _class(kind, names) if names else kind)
    Changes.count += 1


def _rebind(tensor: Tensor, value: Tensor) -> None:
    """Let a tensor, which an optimiser may hold, have another's values from now on."""
    copied = value.detach().clone()
    rebind(tensor, copied.array, copied._storage)


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check(value: Any, wanted: Tensor) -> None:
    """Raise where a parametrization changes what an attribute is."""
    if not isinstance(value, Tensor):
        raise TypeError(f"a parametrization returns a tensor, got a {type(value).__name__}")
    if value.dtype != wanted.dtype:
        raise DtypeError(f"a parametrization may not change the dtype, {wanted.dtype}, got {value.dtype}: unsafe=True?")
    if value.shape != wanted.shape:
        raise ShapeError(f"a parametrization may not change the shape, {wanted.shape}, got {value.shape}: unsafe=True?")


suggest_names(globals())
