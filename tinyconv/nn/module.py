"""Module: a function with parameters, and a tree of such functions."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from types import CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, Self, TypeVar, cast

import numpy as np

from tinyconv.arrays.backend import backend_for, refuse_in_capture
from tinyconv.arrays.backend import device as Device
from tinyconv.calls import Checked, method_of, miscalled, misfit, returns
from tinyconv.engine.context import Layer, context
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import flag
from tinyconv.engine.writes import Storage
from tinyconv.errors import (
    CallError,
    CheckpointError,
    DtypeError,
    ModuleError,
    TinyconvError,
    did_you_mean,
    listed,
    shortened,
)
from tinyconv.nn.hooks import Hook, called
from tinyconv.program.outside import Changes
from tinyconv.tensor.convert import cuda_name, destination, to_array
from tinyconv.tensor.memory import rebind
from tinyconv.tensor.signatures import HookHandle
from tinyconv.tensor.tensor import Tensor, wrap
from tinyconv.user_frame import warn

__all__ = ["Module", "Parameter"]

P = ParamSpec("P")
Output = TypeVar("Output")
Output_co = TypeVar("Output_co", covariant=True)


class Parameter(Tensor):
    """A tensor that a module trains: it requires grad, and `module.parameters()` finds it. Like `torch.nn.Parameter`.

        nn.Parameter(tc.ones(2)).requires_grad  # True

    Args:
        data: Numbers, nested lists, an array or a tensor; it is copied, and keeps its dtype if it has one.
        requires_grad: Whether it is trained; False freezes it.

    `path` is the name it was last found under ("features.0.weight"), for the messages of an optimiser. Raises
    DtypeError where it requires grad and is not floating point.
    """

    __slots__ = ("path",)
    path: str

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad=requires_grad, dtype=None)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class LoadedKeys(NamedTuple):
    """What `load_state_dict` returns: the names that the state lacks, and those that the module does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        lists = f"LoadedKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        return lists if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"


class Missing(AttributeError):
    """A module has no attribute of that name. What was meant is looked up when it is printed, and not for hasattr."""

    def __init__(self, text: str, asked: str, module: Module) -> None:
        super().__init__(text)
        self.asked, self.known = asked, dir(type(module))
        self.known += [*module.__dict__.get("_modules", ()), *module.__dict__.get("_parameters", ())]

    def __str__(self) -> str:
        return super().__str__() + did_you_mean(self.asked, [name for name in self.known if name[0] != "_"])


class _HasForward(Protocol[P, Output_co]):
    """A module, as its call sees it: `model(x)` takes and returns what the model's own `forward` does."""

    replica_of: Any
    _hooks: Any

    def forward(self, *inputs: P.args, **options: P.kwargs) -> Output_co: ...


class Module(Checked):
    """Base class of layers and models: assign parameters and modules as attributes, define `forward`, call the model.

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(784, 10)

            def forward(self, x):
                return self.fc(x.flatten(1))

    Like `torch.nn.Module`. A buffer is a tensor of the state that is not trained: `register_buffer`. An error raised in
    a call carries the path of the layer that it came from (`features.0`). A call raises CallError where `forward` takes
    other arguments or has no `return`. Raises AttributeError where an attribute is set before `super().__init__()`;
    TypeError where a parameter, buffer or module is replaced by something else; and ModuleError where a name has a dot,
    is empty or is one of the class's own, and where a child holds its parent. It warns of tensors that require grad but
    are no parameters, and of modules in lists, dicts and the like, which `parameters()` cannot find.
    """

    training: bool
    replica_of: Module | None = None  # the module that this is a copy of, for another thread (`DataParallel`)
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]  # names of buffers that `state_dict` leaves out
    _held: bool  # whether it ever became a child: another module cannot be part of a cycle
    _told: set[str]  # names of attributes that a warning was about, and "" once all were looked at: see `hidden`
    _hooks: tuple[Hook, ...] | None = None  # replaced, never changed

    def __init__(self) -> None:
        # `__setattr__` needs these, so they go around it.
        self.__dict__.update(
            training=True, _parameters={}, _buffers={}, _modules={}, _transient=set(), _held=False, _told=set()
        )

    if TYPE_CHECKING:
        forward: Callable[..., Any]  # an attribute, so that a `forward` with parameters of its own overrides it
    else:

        def forward(self, *inputs, **options):
            """What the module computes: each module defines its own. Call the module itself, which calls this.

            Raises NotImplementedError where a module defines none.
            """
            own = {name.lower(): name for name in dir(type(self)) if not hasattr(Module, name)}
            near = ["call"] if "call" in own else get_close_matches("forward", own, n=1)
            hint = f"; did you mean it by {own[near[0]]!r}?" if near else ""
            raise NotImplementedError(f"{type(self).__name__} does not define forward{hint}")

    def __call__(self: _HasForward[P, Output], *inputs: P.args, **options: P.kwargs) -> Output:
        now = context.get()
        layer = Layer(self if self.replica_of is None else self.replica_of, now.layer)
        try:
            context.set(now.inside(layer))  # the tape notes which layer ran an op
            hooks = self._hooks
            output = self.forward(*inputs, **options) if hooks is None else called(self, hooks, inputs, options)
            if output is None and not returns(self.forward):
                raise CallError(f"{method_of(self.forward)} returned None: is `return` missing?")
            if now.observer is not None:
                now.observer.left(layer, output)
            return output
        except TinyconvError as error:
            layer.sign(error)
            raise
        except RecursionError as error:
            if now.layer is None:
                error.add_note(
                    f"{type(self).__name__}: modules nested too deeply, or a forward that calls its own module?"
                )
            raise
        except (AttributeError, TypeError) as error:
            if now.layer is None and inputs and not isinstance(inputs[0], Tensor):
                hint = "" if isinstance(inputs[0], tuple) else ": tinyconv.tensor(x)?"
                error.add_note(f"{type(self).__name__} was called with {_kind_of(inputs[0])}{hint}")
            if isinstance(error, AttributeError):
                raise
            begun = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            if begun or not misfit(self.forward, inputs, options):
                raise
            fault = miscalled(self.forward, error, options)
            layer.sign(fault)
            raise fault from None
        finally:
            context.set(now)

    # The tree.

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() before it sets {name!r}")
        for register in ("_parameters", "_modules"):
            if isinstance(value, _KINDS[register]):
                self._put(register, name, value)
                return
        for register, kind in _KINDS.items():
            if name in self.__dict__[register]:
                if value is not None and not isinstance(value, kind):
                    raise TypeError(
                        f"{name!r} is a {register[1:-1]} of {type(self).__name__} and cannot become a "
                        f"{type(value).__name__}: give it a {kind.__name__}, or delete it first"
                    )
                self._set(register, name, value)
                return
        method = callable(getattr(Module, name, None)) and name not in _HIDEABLE
        if name in _STATE or (method and not callable(value)):
            raise _taken(self, "_attributes", name)
        if type(value) not in _PLAIN and (text := _hidden_in(value, self)):
            self._told.add(name)
            warn(f"{type(self).__name__}.{name} {text}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only called when the usual lookup fails
        own = self.__dict__
        if "_modules" in own:  # not before __init__ has made them
            for register in (own["_parameters"], own["_modules"], own["_buffers"]):
                if name in register:
                    return register[name]
        elif name in _STATE:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__()")
        raise Missing(f"{type(self).__name__} has no attribute {name!r}", name, self)

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _put(self, register: str, name: str, value: Any) -> None:
        new = name not in self.__dict__[register]
        if new:
            _check_name(self, register, name)
        if isinstance(value, Module):
            if value is self or (self._held and any(module is self for module in value.modules())):
                owner, child = type(self).__name__, type(value).__name__
                raise ModuleError(
                    f"{owner}: this {child} cannot become its child {name!r}, for it holds the {owner} itself, and a "
                    f"walk would never end; keep a reference that is no child: object.__setattr__(layer, {name!r}, "
                    "model)"
                )
            value.__dict__["_held"] = True
        if new:  # another value of the same kind keeps its place in the order
            self._forget(name)
        self._set(register, name, value)

    def _set(self, register: str, name: str, value: Any) -> None:
        held = self.__dict__[register]
        if held.get(name, value) is not value:
            kind, fix = register[1:-1], f"write into it: {name}[...] = value"
            refuse_in_capture(
                f"gives {type(self).__name__}.{name} another {kind}", "do it before" if kind == "module" else fix
            )
        held[name] = value
        Changes.count += 1  # programs look whether they know this module

    def _forget(self, name: str) -> bool:
        self._transient.discard(name)
        Changes.count += 1
        registers = (self._parameters, self._buffers, self._modules, self.__dict__)
        return any(register.pop(name, self) is not self for register in registers)

    def _register(self, register: str, name: str, value: Any) -> None:
        """Put a value under a name that nothing of another kind has."""
        kind = _KINDS[register]
        if value is not None and not isinstance(value, kind):
            got = f"{type(self).__name__}: {name} is {_kind_of(value)}"
            raise TypeError(f"{got}, not a {kind.__name__}; use {_instead(register, value)}")
        own = self.__dict__
        if any(name in held for held in (own, *(own[other] for other in _KINDS if other != register))):
            raise _taken(self, register, name)
        self._put(register, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` the attribute `name`. None keeps the name for a missing one, such as no bias.

        Raises TypeError where it is not a Parameter, and ModuleError where the name is taken.
        """
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` the attribute `name`: a tensor that moves with the module but is not trained.

        The state_dict has it where `persistent` is True. None keeps the name for a missing one. Raises TypeError where
        it is not a Tensor, and ModuleError where the name is taken.
        """
        self._register("_buffers", name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the child `name`. None keeps the name.

        Raises TypeError where it is not a Module, and ModuleError where the name is taken.
        """
        self._register("_modules", name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`. Raises what that does."""
        self.add_module(name, module)

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their dotted paths, parents first.

        Each comes once, or under every name that it has where `remove_duplicate` is False. Those in `memo` are left
        out, and those that come are added to it.
        """
        seen = {id(module) for module in memo or ()}
        pending: list[tuple[str, Module]] = [(prefix, self)]
        while pending:
            path, module = pending.pop()
            if not remove_duplicate or id(module) not in seen:
                seen.add(id(module))
                if memo is not None:
                    memo.add(module)
                yield path, module
                pending += [(_join(path, name), child) for name, child in reversed(module._named_modules())]

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, parents first; each once, or as often as it stands there."""
        seen: set[int] = set()
        pending = [self]
        while pending:  # as in `named_modules`, without the paths, which get long in a deep tree
            module = pending.pop()
            if not remove_duplicate or id(module) not in seen:
                seen.add(id(module))
                yield module
                pending += [child for _, child in reversed(module._named_modules())]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, each once, with the first of its names."""
        seen: set[int] = set()
        for name, child in self._named_modules():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules right below this one, each once."""
        return (child for _, child in self.named_children())

    def _named_modules(self) -> list[tuple[str, Module]]:
        """The modules right below this one under every name that they have."""
        return [(name, child) for name, child in self._modules.items() if child is not None]

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths; only those of this module without `recurse`.

        Each comes once, or under every name that it has where `remove_duplicate` is False. It also sets the `path` of
        each. The first call, like `state_dict`, warns of what it cannot find.
        """
        if recurse and "" not in self._told:  # a step may ask for the parameters, and is not to look each time
            _warn_of_hidden(self)
        for path, parameter in self._named("_parameters", prefix, recurse, remove_duplicate):
            if isinstance(parameter, Parameter):  # not the tensor that stands in for one within functional_call
                parameter.path = path
            yield path, parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once: what an optimiser takes. Only those of this module without `recurse`."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted paths; only those of this module without `recurse`.

        Each comes once, or under every name that it has where `remove_duplicate` is False.
        """
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once; only those of this module without `recurse`."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(
        self, register: str, prefix: str = "", recurse: bool = True, once: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(None, prefix, once) if recurse else [(prefix, self)]:
            for name, tensor in getattr(module, register).items():
                if tensor is not None and not (once and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield _join(path, name), tensor

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path, this one for "". Raises AttributeError where there is none."""
        module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                owner = type(module).__name__
                raise AttributeError(f"{owner} has no child {shortened(name)} (in path {shortened(target)})")
            module = found
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted path, in place of the one that is there.

        Raises AttributeError where the path leads nowhere, where something else stands there, and, if `strict`, where
        nothing does; ValueError for an empty path and for what is no Module.
        """
        owner, _, name = target.rpartition(".")
        if not name or not isinstance(module, Module):
            what = f"{_kind_of(module)}, not a Module" if name else "no name to put it under"
            raise ValueError(f"set_submodule({shortened(target)}): got {what}")
        parent = self.get_submodule(owner)
        if strict or (hasattr(parent, name) and name not in parent._modules):
            parent.get_submodule(name)
        parent.add_module(name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path. Raises AttributeError where there is none."""
        return self._at("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path. Raises AttributeError where there is none."""
        return self._at("_buffers", target)

    def _at(self, register: str, path: str) -> Any:
        owner, _, name = path.rpartition(".")
        module = self.get_submodule(owner)
        found = module.__dict__[register].get(name)
        if found is None:
            kind = register[1:-1]
            raise AttributeError(
                f"{type(module).__name__} has no {kind} {shortened(name)} (in path {shortened(path)})"
                f"{did_you_mean(name, module.__dict__[register])}"
            )
        return found

    # Hooks.

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call `hook(module, args)` before each `forward`; what it returns, if not None, are the arguments instead.

            handle = layer.register_forward_pre_hook(lambda layer, args: (args[0] * 2,))

        Args:
            hook: The function. One that returns no tuple has returned the only argument.
            prepend: Call it before those that are registered already.
            with_kwargs: Call `hook(module, args, kwargs)`, which returns None or a pair (args, kwargs).

        `handle.remove()` takes it away. A step that is captured calls it while it is recorded, so what it computes is
        replayed, and what else it does, such as a print, is not. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("forward_pre", _function(self, hook), with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Call `hook(module, args, output)` after each `forward`; what it returns, if not None, is the output instead.

            seen = {}
            handle = layer.register_forward_hook(lambda layer, args, output: seen.update(last=output.detach()))

        Args:
            hook: The function.
            prepend: Call it before those that are registered already.
            with_kwargs: Call `hook(module, args, kwargs, output)`.
            always_call: Call it where `forward` raised too, with None as the output; an error of its own is lost then.

        `handle.remove()` takes it away. A step that is captured calls it while it is recorded, so what it computes is
        replayed, and what else it does, such as a print, is not. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("forward", _function(self, hook), with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(module, grad_output)` when the gradients of the outputs of a call are known.

        Args:
            hook: The function. `grad_output` is a tuple; a tuple that it returns, if not None, replaces it.
            prepend: Call it before those that are registered already.

        `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("backward_pre", _function(self, hook)), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients of the inputs of a call are known.

            layer.register_full_backward_hook(lambda layer, grad_input, grad_output: print(grad_output[0].shape))

        Args:
            hook: The function. Both are tuples, with None for what has no gradient; keyword arguments are left out. A
                tuple that it returns, if not None, takes the place of `grad_input`.
            prepend: Call it before those that are registered already.

        `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("backward", _function(self, hook)), prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """The same as `register_full_backward_hook`, under the name that older programs use.

        PyTorch's hook of this name gets as `grad_input` the gradients of all inputs of the last op of the module, such
        as those of the weight and the bias of a convolution, and not those of the module's. Raises what that does.
        """
        return self.register_full_backward_hook(hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` takes what this module has.

        `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("state_pre", _function(self, hook)))

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, state_dict, prefix, {})`, which may change the dict, when all below is in it too.

        `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("state_post", _function(self, hook)))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call a hook before `load_state_dict` looks at a state, a copy of the dict given, which it may change.

        It is called as `hook(module, state_dict, prefix, {}, strict, missing_keys, unexpected_keys, error_msgs)`, and
        may add to the lists. `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("load_pre", _function(self, hook)))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, incompatible_keys)` after `load_state_dict`, whose lists of names it may change.

        `handle.remove()` takes it away. Raises TypeError where `hook` is no function.
        """
        return self._hook(Hook("load_post", _function(self, hook)))

    def _call(self, kind: str, *args: Any) -> None:
        for hook in self._hooks or ():
            if hook.kind == kind:
                hook.function(self, *args)

    def _hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        now = self._hooks or ()
        self.__dict__["_hooks"] = (hook, *now) if prepend else (*now, hook)
        Changes.count += 1
        return HookHandle(partial(self._unhook, hook))

    def _unhook(self, hook: Hook) -> None:
        self.__dict__["_hooks"] = tuple(other for other in self._hooks or () if other is not hook) or None
        Changes.count += 1

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing, whatever the arguments: PyTorch compiles the module. `tinyconv.capture` makes a step faster."""

    # Modes and places.

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode: dropout drops, batch norm uses the statistics of the batch. Returns this module.

        Raises OptionError where `mode` is not a bool.
        """
        mode = flag("train only switches the mode of a model, and tinyconv.train.Trainer trains it; mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: dropout does nothing, batch norm uses running statistics. Returns this module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train all parameters, or freeze them. Returns this module. Raises OptionError for what is not a bool."""
        requires_grad = flag("requires_grad_", requires_grad)
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros where `set_to_none` is False."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on this module and all below it, children first. Returns this module."""
        order: list[Module] = []
        pending: list[Module] = [self]
        while pending:
            order.append(pending.pop())
            pending += order[-1].children()
        for module in reversed(order):
            fn(module)
        return self

    def to(
        self,
        *args: Tensor | Device | str | Dtype | bool,
        device: str | None = None,
        dtype: Dtype = None,
        non_blocking: bool = False,
        memory_format: str | None = None,
    ) -> Self:
        """Move all parameters, their gradients and buffers to a device, a dtype, or those of a tensor, in place.

        A dtype changes floating-point tensors only. `non_blocking`, `memory_format`: see `Tensor.to`. Returns this
        module. Raises DtypeError where the dtype is not floating point, and DeviceError for a device that does not
        exist.

            model.to("cuda"), model.to(tc.float64), model.to(images)
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

    def cpu(self) -> Self:
        """Move everything to the host, like `to("cpu")`. Returns this module."""
        return self.to("cpu")

    def cuda(self, device: int | str | Device | None = None) -> Self:
        """Move everything to a GPU: the first, or `cuda(1)`, `cuda("cuda:1")`. DeviceError where there is none."""
        return self.to(cuda_name(device))

    def float(self) -> Self:
        """Make all floating-point tensors float32. Returns this module."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Make all floating-point tensors float64. Returns this module."""
        return self.to(np.float64)

    def half(self) -> Self:
        """Make all floating-point tensors float16. Returns this module."""
        return self.to(np.float16)

    def type(self, dst_type: Dtype) -> Self:
        """The same as `to(dst_type)`; in torch integers, such as a batch norm's count, become this dtype too."""
        return self.to(dtype=dst_type)

    def to_empty(self, *, device: Device | str, recurse: bool = True) -> Self:
        """Give all tensors new memory on a device, with values that nobody promises: what a model on "meta" needs.

        `recurse=False` leaves the modules below alone. Returns this module.
        """
        for t in [*self.parameters(recurse), *self.buffers(recurse)]:
            place, _ = destination((device,), None, None)
            rebind(t, backend_for(place).full(t.shape, 0, t.dtype, place or t.device), Storage())
        return self

    # State.

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted path, with torch's names. They share the module's memory.

        A tensor that modules share stands under every name that it has.

        Args:
            destination: A dict to add to, and to return; a new one if None.
            prefix: What each name begins with.
            keep_vars: Give the parameters and buffers themselves, not tensors outside of the tape.
        """
        _warn_of_hidden(self)
        state = {} if destination is None else destination
        walked = [(prefix + _join(path, ""), module) for path, module in self.named_modules(remove_duplicate=False)]
        for path, module in walked:
            module._call("state_pre", path, keep_vars)
            state.update(module._own_state(path, keep_vars))
            if hasattr(type(module), "get_extra_state"):
                state[f"{path}_extra_state"] = module.get_extra_state()
        for path, module in reversed(walked):
            module._call("state_post", state, path, {})
        return state

    def _own_state(self, path: str, keep_vars: bool) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in [*self._parameters.items(), *self._buffers.items()]:
            if tensor is not None and name not in self._transient:
                yield path + name, tensor if keep_vars else tensor.detach()

    def _tensors(self) -> dict[str, Tensor]:
        """What `state_dict(keep_vars=True)` gives, but for what hooks do and for extra states."""
        walked = self.named_modules(remove_duplicate=False)
        return dict(pair for path, module in walked for pair in module._own_state(_join(path, ""), True))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadedKeys:
        """Copy a state into this module: tensors, PyTorch's too, or anything that NumPy can read, by dotted path.

        Values are converted to the dtypes of the module. A batch norm's `num_batches_tracked` may be missing, as in
        states from before PyTorch counted: it stays what it was. Returns the names that were missing and unexpected.

        Args:
            state_dict: Values by dotted path.
            strict: Names that are missing or unexpected are an error.
            assign: Put copies of the state's tensors, on their device and in their dtype, in place of the parameters
                and buffers: for a model made on device "meta". An optimiser has to be made after it.

        Raises CheckpointError, before anything is changed, where a shape or dtype does not fit, and where names are
        missing or unexpected, unless `strict` is False; after it, where a hook may yet change these lists.

        A module with methods `get_extra_state` and `set_extra_state` keeps in the state what the first returns.
        """
        check_state(state_dict, "load_state_dict")
        state = dict(state_dict) if isinstance(state_dict, dict) else state_dict  # modules may rename in a copy
        walked = [(_join(path, ""), module) for path, module in self.named_modules()]
        later = strict and any(hook.kind == "load_post" for _, module in walked for hook in module._hooks or ())
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        extra: dict[str, tuple[Module, Any]] = {}
        for path, module in walked:
            module.before_loading(state, path)
            module._call("load_pre", state, path, {}, strict, missing, unexpected, problems)
            if hasattr(type(module), "set_extra_state"):
                name = f"{path}_extra_state"
                extra |= {name: (module, state[name])} if name in state else {}
                missing += [] if name in state else [name]
        if strict and not later:
            problems += [f"missing: {name}" for name in missing] + [f"unexpected: {name}" for name in unexpected]
        state = {name: value for name, value in state.items() if name not in extra} if extra else state
        keys = self._load(state, strict and not later, assign, problems)
        for module, value in extra.values():
            module.set_extra_state(value)
        keys.missing_keys.extend(missing)
        keys.unexpected_keys.extend(unexpected)
        for _, module in reversed(walked):
            module._call("load_post", keys)
        if later and (keys.missing_keys or keys.unexpected_keys):
            raise CheckpointError(f"load_state_dict: this state is not one of {type(self).__name__}: {keys}")
        return keys

    def _load(self, state: Mapping[str, Any], strict: bool, assign: bool, problems: list[str]) -> LoadedKeys:
        own = self._tensors()
        if not assign and any(t.device == "meta" for t in own.values()):
            raise CheckpointError(
                f"load_state_dict: this {type(self).__name__} is on device 'meta' and has no elements to load into; "
                "put those of the state in their place with assign=True, or make it outside of "
                "`with tinyconv.device('meta')`"
            )
        arrays = {}
        for name in [name for name in state if name in own]:
            try:
                arrays[name] = host_array(state[name])
            except (TypeError, ValueError, RuntimeError) as error:  # tinyconv's, NumPy's and PyTorch's
                problems.append(f"{name}: cannot be read as an array: {error}")
        keys = check_fits(self, state, arrays, strict, problems)
        if not assign:
            for name, array in arrays.items():
                own[name].detach().copy_(wrap(array))
            return keys
        given = {name: state[name] if isinstance(state[name], Tensor) else array for name, array in arrays.items()}
        trained = {name: own[name].requires_grad for name in given if isinstance(own[name], Parameter)}
        new = {name: Tensor(value, dtype=None) for name, value in given.items()}
        new |= {name: Parameter(new[name], requires_grad) for name, requires_grad in trained.items()}
        for name, value in new.items():
            owner, _, last = name.rpartition(".")
            setattr(self.get_submodule(owner), last, value)
        return keys

    def before_loading(self, state: Mapping[str, Any], path: str) -> None:
        """What a module does before it takes its part of a state, whose names begin with `path`."""

    # How it prints.

    def extra_repr(self) -> str:
        """What `repr` shows between the brackets: the arguments, for example "p=0.5"."""
        return ""

    def _shown(self) -> list[tuple[str, str]]:
        """What `repr` shows of the modules below, each under its name."""
        return [(name, repr(child)) for name, child in self._named_modules()]

    def __repr__(self) -> str:
        try:
            lines = [f"({name}): {shown}".replace("\n", "\n  ") for name, shown in self._shown()]
        except RecursionError:  # some hundred levels down
            return f"{type(self).__name__}(...)"
        extra = self.extra_repr()
        if not lines and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}(", *(extra.split("\n") if extra else ()), *lines]) + "\n)"

    def _repr_html_(self) -> str | None:
        from tinyconv.nn.outline import module_html

        return module_html(self, Module)


# What a name may be.

_KINDS: dict[str, type] = {"_parameters": Parameter, "_modules": Module, "_buffers": Tensor}
_FIX = {"_parameters": "nn.Parameter(...)", "_modules": "nn.ReLU(), not F.relu", "_buffers": "tinyconv.tensor(...)"}
_HIDEABLE = {"type", "compile"}  # methods that few call: an attribute of a model's own may take their names
_STATE = {*_KINDS, "_transient", "_held", "_told", "_hooks"}


def _function(module: Module, hook: Any) -> Callable[..., Any]:
    if not callable(hook):
        raise TypeError(f"{type(module).__name__}: a hook is a function, got {_kind_of(hook)}")
    return cast("Callable[..., Any]", hook)


def _kind_of(value: Any) -> str:
    if isinstance(value, tuple) and any(isinstance(part, Tensor) for part in value):
        return "a batch of a loader, whose images are what a model takes: for images, labels in loader"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _instead(register: str, value: Any) -> str:
    """What to register, in place of a value of another kind."""
    if register == "_modules":
        if isinstance(value, type):
            return f"{value.__name__}(...), an instance"
        if isinstance(value, tuple) and value and isinstance(value[0], str):
            return "a dict of names and layers"
        if isinstance(value, Iterable) and not isinstance(value, str):
            return "nn.Sequential(*layers), with the star"
    return _FIX[register]


def _check_name(module: Module, register: str, name: Any) -> None:
    """Raise ModuleError where a parameter, a module or a buffer cannot have this name, TypeError where it is no str."""
    what = f"{type(module).__name__}: the name of a {register[1:-1]}"
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, got {name!r}; use {str(name)!r}")
    if not name or "." in name:
        fix = f"; use {name.replace('.', '_')!r}" if name else ""
        raise ModuleError(f"{what} is one part of a path, and cannot be empty or have a dot, got {name!r}{fix}")
    if name in _STATE | {"training"} or any(name in vars(base) for base in type(module).__mro__):
        raise _taken(module, register, name)


def _taken(module: Module, register: str, name: str) -> ModuleError:
    owner = type(module).__name__
    what = "a method" if callable(getattr(type(module), name, None)) else "an attribute"
    return ModuleError(
        f"{owner}: no {register[1:-1]} can be called {name!r}, which is {what} of {owner} already; use {name + '_'!r}"
    )


# What a walk of the modules cannot find.

_LOOKED = 1000  # values after which the search of one attribute ends: a model may hold a list of all its data
_PLAIN = {bool, int, float, str, bytes, complex, type(None)}  # most attributes: a look would be wasted on them


def hidden(root: Module) -> Iterator[tuple[Module, str, str]]:
    """The attributes below `root` that hold what should be trained and `parameters()` cannot find.

    Each is a module, the name of its attribute, and what to say of it.
    """
    for module in root.modules():
        for name, value in list(vars(module).items()):  # a list: another thread may run `forward`, which sets some
            if type(value) not in _PLAIN and name not in _STATE and (text := _hidden_in(value, root)):
                yield module, name, f"{type(module).__name__}.{name} {text}"


def _warn_of_hidden(root: Module) -> None:
    root._told.add("")
    for module, name, text in hidden(root):
        if name not in module._told:
            module._told.add(name)
            warn(text)


def _hidden_in(value: Any, root: Module) -> str:
    """What to say of the value of an attribute; nothing where it holds nothing to be trained that `root` misses."""
    if isinstance(value, Tensor):
        return _BARE if value.requires_grad and value.is_leaf else ""
    if (type(value) is tuple and _PLAIN.issuperset(map(type, value))) or isinstance(value, Module):
        return ""  # a bare Module went past __setattr__, on purpose
    held = list(_held(value))
    if not held:
        return ""
    known = {id(module) for module in root.modules()} | {id(p) for _, p in root._named("_parameters")}
    lost = Counter(_called(x) for x in held if id(x) not in known and _is_lost(x, root, known))
    if not lost:
        return ""
    fix = "attributes of their own"
    if "module" in lost:
        fix = "nn.ModuleDict(...)" if isinstance(value, dict) else "nn.ModuleList(...) or nn.Sequential(...)"
    what = " and ".join(f"{n} {kind}{'s' * (n != 1)}" for kind, n in lost.items())
    return (
        f"is a {type(value).__name__} that holds {what}: parameters() will not find them, and an optimiser will not "
        f"train them; use {fix}"
    )


_BARE = (
    "is a tensor that requires grad, but no parameter: parameters() will not find it, and an optimiser will not train "
    "it; make it one with nn.Parameter(...)"
)


def _held(value: Any) -> Iterator[Module | Tensor]:
    """The modules and tensors in a container, in a dataclass or behind a function, however nested."""
    pending, seen = [value], set[int]()
    while pending and len(seen) < _LOOKED:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        inside: Iterable[Any] = ()
        if isinstance(value, Module | Tensor):
            yield value
        elif isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, list | tuple | set | frozenset | deque):
            inside = value
        elif isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]  # not the empty ones
            inside = [*cells, *(value.__defaults__ or ())]
        elif isinstance(value, MethodType):
            inside = [value.__self__]
        elif isinstance(value, partial):
            inside = [value.func, *value.args, *value.keywords.values()]
        elif is_dataclass(value) and not isinstance(value, type):
            inside = [getattr(value, field.name, None) for field in fields(value)]
        pending += islice(inside, _LOOKED)


def _called(x: Module | Tensor) -> str:
    return "module" if isinstance(x, Module) else "parameter" if isinstance(x, Parameter) else "tensor"


def _is_lost(x: Module | Tensor, root: Module, known: set[int]) -> bool:
    """Whether `x` is to be trained: a model that `root` is a part of is not lost, nor is what is frozen or computed."""
    if isinstance(x, Tensor):
        return x.requires_grad and x.is_leaf
    parameters = [p for _, p in x._named("_parameters")]
    trained = not parameters or any(p.requires_grad and id(p) not in known for p in parameters)
    return trained and all(module is not root for module in x.modules())


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# What may be loaded.


def check_state(state: Any, what: str) -> None:
    """Raise CheckpointError, in the name of `what`, where `state` is not a dict, and guess what was meant."""
    if isinstance(state, Mapping):
        return
    fix = "model.state_dict() makes one"
    if callable(getattr(state, "state_dict", None)):
        fix = "pass its state_dict()"
    elif isinstance(state, str | os.PathLike):
        fix = "read the file first, with tinyconv.train.load_weights(path)"
    raise CheckpointError(f"{what}: expected a dict of names and tensors, got a {type(state).__name__}; {fix}")


def check_fits(
    model: Module, state: Mapping[str, Any], outlines: Mapping[str, Any], strict: bool = True, problems: Any = ()
) -> LoadedKeys:
    """The names that `state` lacks for `model`, and those it has beside, before anything of it is copied or read.

    `outlines` are its values with a shape and a dtype. Raises CheckpointError where one does not fit, where names are
    missing or unexpected, unless `strict` is False, and where there are `problems` already.
    """
    own = model._tensors()
    missing = [name for name in own if name not in state and not _may_be_missing(name, state)]
    unexpected = [name for name in state if name not in own]
    wrong = list(problems)
    for name in [name for name in outlines if name in own]:
        shape, dtype = tuple(outlines[name].shape), outlines[name].dtype
        if shape != own[name].shape:
            fix = ": transposed? value.T" if shape == own[name].shape[::-1] else ""
            wrong.append(f"{name}: expected shape {own[name].shape}, got {shape}{fix}")
        elif dtype.kind == "f" and not own[name].is_floating_point():
            wrong.append(f"{name}: expected {own[name].dtype}, got {dtype}")
    lines = [f"missing: {listed(missing)}"] if strict and missing else []
    lines += [f"unexpected: {listed(unexpected)}"] if strict and unexpected else []
    lines += wrong[:6] + ([f"and {len(wrong) - 6:,} more"] if len(wrong) > 6 else [])
    if lines:
        raise CheckpointError(
            f"load_state_dict: this state is not one of {type(model).__name__}\n  "
            + "\n  ".join([*lines, _likely_fix(own, state)])
        )
    return LoadedKeys(missing, unexpected)


def host_array(value: Any) -> np.ndarray[Any, Any]:
    """A copy of `value` on the host: a tensor, PyTorch's on any device too, or anything that NumPy can read."""
    if hasattr(value, "detach") and not isinstance(value, Tensor):  # PyTorch's, recognised without importing it
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # NumPy has no bfloat16; float32 has all its numbers
    return to_array(value, None, "cpu")


def _may_be_missing(name: str, state: Mapping[str, Any]) -> bool:
    """Whether `name` is the count of a batch norm whose statistics the state has: old states lack the count."""
    prefix = name.removesuffix("num_batches_tracked")
    return prefix != name and f"{prefix}running_mean" in state


def _likely_fix(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """What to do about a state that does not fit."""
    for key, inner in state.items():
        if isinstance(inner, Mapping) and any(name in inner for name in own):
            return f"the weights are one level down: pass state[{shortened(key)}]"
    first = next(iter(own), "")
    for prefix in [str(key).removesuffix(first) for key in state if str(key).endswith(f".{first}")]:
        if all(prefix + name in state for name in own):
            known = {"module.": "torch.nn.DataParallel", "_orig_mod.": "torch.compile"}
            by = f"as under {known[prefix]}" if prefix in known else "saved from a module that held it under that name"
            return (
                f"its names begin with {shortened(prefix)}, {by}; take that off: "
                f"{{name.removeprefix({shortened(prefix)}): value for name, value in state.items()}}"
            )
    return "was it saved from another model, or from one built with other arguments?"
