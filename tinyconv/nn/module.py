"""Module: a function with parameters, and a tree of such functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinyconv.arrays.backend import backend_for
from tinyconv.engine.context import Layer, context
from tinyconv.engine.writes import Storage
from tinyconv.errors import CheckpointError, DtypeError, TinyconvError
from tinyconv.host.user_frame import warn
from tinyconv.tensor.convert import cuda_name, destination, to_array
from tinyconv.tensor.inplace import rebind
from tinyconv.tensor.tensor import Tensor, wrap

Self = TypeVar("Self", bound="Module")


class Parameter(Tensor):
    """A tensor that a module trains: it requires grad, and `module.parameters()` finds it.

    `path` is the name it was last found under ("features.0.weight"), so that an optimiser can speak of it.
    """

    __slots__ = ("path",)
    path: str

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad, dtype=None)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class LoadedKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it could not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and models. Assign parameters, buffers and other modules as attributes, define `forward`.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(784, 10)

            def forward(self, x):
                return self.fc(x.flatten(1))

    An error raised inside carries the path of the layer it came from (`features.0`).
    """

    training: bool
    replica_of: Module | None = None  # the module that this is a copy of, for another thread (`DataParallel`)

    def __init__(self) -> None:
        # Not through __setattr__, which needs these.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _transient=set())

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.within(self.forward, *inputs, **options)

    def within(self, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """Run a function as this layer: what it records, and what goes wrong in it, carries the layer's path."""
        now = context.get()
        layer = Layer(self if self.replica_of is None else self.replica_of, now.layer)
        token = context.set(now.inside(layer))  # the tape notes which layer ran an op
        try:
            output = function(*inputs, **options)
            if now.observer is not None:
                now.observer.left(layer, output)
            return output
        except TinyconvError as error:
            layer.sign(error)
            raise
        finally:
            context.reset(token)

    # The tree.

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() before it sets {name!r}")
        kinds: dict[str, type] = {"_parameters": Parameter, "_modules": Module, "_buffers": Tensor}
        for register in ("_parameters", "_modules"):
            if isinstance(value, kinds[register]):
                self._put(register, name, value)
                return
        for register, kind in kinds.items():
            if name in self.__dict__[register]:
                if value is not None and not isinstance(value, kind):
                    raise TypeError(
                        f"{name!r} is a {register[1:-1]} of {type(self).__name__} and cannot become a "
                        f"{type(value).__name__}: give it a {kind.__name__}, or delete it first"
                    )
                self.__dict__[register][name] = value
                return
        _warn_if_hidden(f"{type(self).__name__}.{name}", value)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only called when the usual lookup fails
        own = self.__dict__
        if "_modules" in own:  # else __init__ has not come so far
            for register in (own["_parameters"], own["_modules"], own["_buffers"]):
                if name in register:
                    return register[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _put(self, register: str, name: str, value: Any) -> None:
        if name not in self.__dict__[register]:  # what is replaced keeps its place in the order
            self._forget(name)
        self.__dict__[register][name] = value

    def _forget(self, name: str) -> bool:
        self._transient.discard(name)
        registers = (self._parameters, self._buffers, self._modules, self.__dict__)
        return any(register.pop(name, self) is not self for register in registers)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Name a parameter; None keeps the name for one that is not there (no bias)."""
        self._put("_parameters", name, parameter)

    def register_buffer(self, name: str, buffer: Tensor | None, persistent: bool = True) -> None:
        """Name a tensor that belongs to the module's state but is not trained; in the state_dict if `persistent`."""
        self._put("_buffers", name, buffer)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Name a child module."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: {name} is a {type(module).__name__}, not a Module; nn.ReLU(), not F.relu?"
            )
        self._put("_modules", name, module)

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths: each once, or under every name it has."""
        seen: set[int] = set()
        pending: list[tuple[str, Module]] = [(prefix, self)]
        while pending:
            path, module = pending.pop()
            if not remove_duplicate or id(module) not in seen:
                seen.add(id(module))
                yield path, module
                pending += [(_join(path, name), child) for name, child in reversed(list(module.named_children()))]

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return ((name, child) for name, child in self._modules.items() if child is not None)

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters, each once, with their paths; which they are told, too."""
        for path, parameter in self._named("_parameters", prefix, recurse):
            if isinstance(parameter, Parameter):  # else it stands in for one, within functional_call
                parameter.path = path
            yield path, parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers, each once, with their paths."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(self, register: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, tensor in module.__dict__[register].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path."""
        module = self
        for name in path.split(".") if path else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no child {name!r} (in path {path!r})")
            module = found
        return module

    # Modes and places.

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode: dropout drops, batch norm uses the batch's statistics."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Train the parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self: Self, *args: Any, device: str | None = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Move all parameters and buffers, in place: `model.to("cuda")`, `model.to(tinyconv.float64)`.

        A dtype changes floating-point tensors only. `non_blocking`: see `Tensor.to`.
        """
        device, dtype = destination(args, device, dtype)
        if dtype is not None and dtype.kind != "f":
            raise DtypeError(f"{type(self).__name__}.to: parameters are floating point and cannot become {dtype}")
        for t in [*self.parameters(), *self.buffers()]:
            for moving in (t, t.grad):
                if moving is not None:
                    wanted = dtype if dtype is not None and moving.is_floating_point() else moving.dtype
                    place = device or moving.device
                    moved = backend_for(place).asarray(moving.array, place).astype(wanted, copy=False)
                    if moved is not moving.array:
                        rebind(moving, moved, Storage())
        return self

    def cpu(self: Self) -> Self:
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """On a GPU: the first, or `cuda(1)`, `cuda("cuda:1")`."""
        return self.to(cuda_name(device))

    def float(self: Self) -> Self:
        return self.to(np.float32)

    def double(self: Self) -> Self:
        return self.to(np.float64)

    # State.

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and persistent buffers by path, with torch's names. They share the module's memory.

        What is shared stands under every name it has.
        """
        state = {}
        for path, module in self.named_modules(remove_duplicate=False):
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if tensor is not None and name not in module._transient:
                    state[_join(path, name)] = tensor.detach()
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Copy a state into this module: of tensors, PyTorch's too, or anything NumPy can read.

        Missing, unexpected and unfitting entries raise CheckpointError before anything is changed; without `strict`
        the first two are passed over, and returned. A batch norm's `num_batches_tracked` may be missing, as in states
        from before PyTorch counted: it stays what it was.
        """
        check_state(state, "load_state_dict")
        own = self.state_dict()
        if any(t.device == "meta" for t in own.values()):
            raise CheckpointError(
                f"load_state_dict: this {type(self).__name__} is on device 'meta' and has no elements to load into; "
                "make it outside of `with tinyconv.device('meta')`"
            )
        keys = LoadedKeys(
            [name for name in own if name not in state and not _may_be_missing(name, state)],
            [name for name in state if name not in own],
        )
        problems = []
        if strict and keys.missing_keys:
            problems.append(f"missing: {_some(keys.missing_keys)}")
        if strict and keys.unexpected_keys:
            problems.append(f"unexpected: {_some(keys.unexpected_keys)}")
        arrays = {}
        for name in [name for name in state if name in own]:
            try:
                array = arrays[name] = host_array(state[name])
            except (TypeError, ValueError, RuntimeError) as error:  # of ours, NumPy's and PyTorch's
                problems.append(f"{name}: cannot be read as an array: {error}")
                continue
            if array.shape != own[name].shape:
                problems.append(f"{name}: expected shape {own[name].shape}, got {array.shape}")
            elif array.dtype.kind == "f" and not own[name].is_floating_point():
                problems.append(f"{name}: expected {own[name].dtype}, got {array.dtype}")
        if problems:
            raise CheckpointError(
                f"load_state_dict: this state is not one of {type(self).__name__}\n  "
                + "\n  ".join([*problems, _likely_fix(own, state)])
            )
        for name, array in arrays.items():
            own[name].copy_(wrap(array))
        return keys

    # How it prints.

    def extra_repr(self) -> str:
        """What stands in the brackets."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n  ".join([f"{type(self).__name__}({self.extra_repr()}", *lines]) + "\n)"


def _warn_if_hidden(name: str, value: Any) -> None:
    """Warn of what looks registered and is not: parameters() would not find it, and nothing would train it."""
    if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
        warn(
            f"{name} is a tensor that requires grad, but no parameter: parameters() will not find it, and an optimiser "
            "will not train it; make it one with nn.Parameter(...)"
        )
    elif isinstance(value, list | tuple | dict):
        held = value.values() if isinstance(value, dict) else value
        kinds = {kind: sum(isinstance(x, kind) for x in held) for kind in (Module, Parameter)}
        for kind, n in kinds.items():
            if n:
                fix = "nn.ModuleList(...) or nn.Sequential(...)" if kind is Module else "attributes of their own"
                warn(
                    f"{name} is a {type(value).__name__} that holds {n} {kind.__name__.lower()}{'s' * (n != 1)}: "
                    f"parameters() will not find them, and an optimiser will not train them; use {fix}"
                )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# What states may be.


def check_state(state: Any, what: str) -> None:
    """CheckpointError, signed `what`, for something that is no state at all but was likely meant to be one."""
    if isinstance(state, Mapping):
        return
    fix = "model.state_dict() makes one"
    if callable(getattr(state, "state_dict", None)):
        fix = "pass its state_dict()"
    elif isinstance(state, str | os.PathLike):
        fix = "read the file first, with tinyconv.train.load_weights(path)"
    raise CheckpointError(f"{what}: expected a dict of names and tensors, got a {type(state).__name__}; {fix}")


def host_array(value: Any) -> np.ndarray[Any, Any]:
    """A copy of `value` on the host: of a tensor, PyTorch's on any device too, or anything NumPy can read."""
    if hasattr(value, "detach") and not isinstance(value, Tensor):  # PyTorch's, known without importing it
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # NumPy has no bfloat16; float32 has all its numbers
    return to_array(value, None, "cpu")


def _may_be_missing(name: str, state: Mapping[str, Any]) -> bool:
    """The count of a batch norm that old states have the statistics of, but not this."""
    prefix = name.removesuffix("num_batches_tracked")
    return prefix != name and f"{prefix}running_mean" in state


def _some(names: list[str]) -> str:
    shown = ", ".join(map(str, names[:6]))
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _likely_fix(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """What to do about a state that does not fit."""
    for key, inner in state.items():
        if isinstance(inner, Mapping) and any(name in inner for name in own):
            return f"the weights are one level down: pass state[{key!r}]"
    first = next(iter(own), "")
    for prefix in [str(key).removesuffix(first) for key in state if str(key).endswith(f".{first}")]:
        if all(prefix + name in state for name in own):
            known = {"module.": "torch.nn.DataParallel", "_orig_mod.": "torch.compile"}
            by = f"as under {known[prefix]}" if prefix in known else "saved from a module that held it under that name"
            return (
                f"its names begin with {prefix!r}, {by}; take that off: "
                f"{{name.removeprefix({prefix!r}): value for name, value in state.items()}}"
            )
    return "was it saved from another model, or from one built with other arguments?"
