"""What all optimisers share: parameters in groups, the options of each group, the state of each parameter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from copy import deepcopy
from difflib import get_close_matches
from functools import partial, wraps
from numbers import Real
from operator import is_
from typing import Any, ClassVar, TypeAlias, TypedDict, TypeVar, Unpack, overload

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, captured_step
from tinyconv.calls import Checked, written
from tinyconv.engine.context import context, enable_grad
from tinyconv.engine.each_step import each_step
from tinyconv.engine.variants import kernel_for
from tinyconv.engine.wide import widened
from tinyconv.engine.writes import base_of
from tinyconv.errors import (
    CallError,
    CaptureError,
    CheckpointError,
    OptionError,
    TinyconvError,
    did_you_mean,
    printable,
    shortened,
)
from tinyconv.optim.flat import Flat, in_parts, together
from tinyconv.tensor.memory import write
from tinyconv.tensor.signatures import HookHandle
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import warn


class Implementation(TypedDict, total=False):
    """Options of PyTorch's optimisers that change how they compute, not what: taken, and of no effect here."""

    foreach: bool | None
    fused: bool | None
    capturable: bool
    differentiable: bool


# What a group has beside its options. A schedule that starts in the middle finds the rate it began with in
# "initial_lr".
_BESIDE = {"params", "param_names", "initial_lr"}
_OF_SCHEDULES = {"max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"}  # what PyTorch's leave in a group
_HOW_IT_RUNS = Implementation.__annotations__.keys()

required: Any = type("required", (), {"__repr__": lambda self: "<required>"})()
"""In `defaults`, what is no default: each group has to set this option. Like `torch.optim.optimizer.required`."""

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Result = TypeVar("Result")


class ParameterError(TinyconvError, TypeError):
    """Something other than tensors was given where parameters go."""


class Optimizer(Checked):
    """Base of the optimisers: applies one update rule to every parameter that has a gradient.

    Args:
        params: Leaf tensors, or pairs of a name and a tensor (`model.named_parameters()`), which messages then name, or
            dicts, one for each group: `{"params": tensors, "lr": 0.1, ...}`.
        defaults: The options of a group that does not set them itself.
        how: `foreach`, `fused` and `capturable`, which PyTorch takes, and which change nothing here.

    Raises ParameterError for anything that is not a tensor, OptionError for an empty list, a tensor that is not a leaf
    or is given twice, an option that is unknown or out of range, and `differentiable=True`, for steps are not recorded;
    and CallError for an argument that it does not take. Like `torch.optim.Optimizer`.

        tc.optim.SGD([{"params": model.body.parameters(), "lr": 0.01}, {"params": model.head.parameters()}], lr=0.1)

    Attributes:
        defaults: The options of a group that does not set them itself.
        param_groups: One dict for each group, with its tensors under "params" and its options under their names. Assign
            to an option to change it; options are checked again at each step.
        state: What the rule remembers of each parameter, under PyTorch's names: arrays of the parameter's shape, dtype
            and device (float32 for float16, where a mean of squares would be 0 or infinite), and the number of steps as
            an int. A parameter has no entry before its first gradient.
        schedules: How many schedules of `optim.lr_scheduler` were made for it.

    A subclass gives its `rule`, a function on arrays

        rule(xp, param, grad, state, **options) -> None

    that updates `param` and `state` in place, a check for each option, and the state before the first step. A rule
    keeps to the dtype that it is given and never reads an array's values on the host; a parameter of float16 comes to
    it in float32, and is rounded after the step. Where a kernel for the rule is
    registered (`variants.register_kernel`) and takes the parameters, it runs instead, once for many of them:

        kernel(xp, params, grads, states, options) -> None

    with lists of arrays and of their states, each {} before its first step; `options()` returns the options as they are
    now. A kernel takes what depends on the options or on the number of steps through `staged`, so a step with it can be
    captured. A step with the rule itself cannot: its numbers would stay those of the first step.

    Or it gives a `step` of its own, as in PyTorch, which changes the parameters under `no_grad` and keeps what it needs
    in `self.state[param]`, a dict that is there when asked for. Options without a check are taken as they are, groups
    may hold further entries, and tensors in the state are saved and loaded. Such a step cannot be captured either.
    """

    rule: ClassVar[staticmethod[..., None]]
    elementwise: ClassVar[bool] = False  # whether the rule works on each element by itself, so that small parameters
    # can be updated as one array; a subclass with a rule of its own says it anew
    kernel: ClassVar[str | None] = None  # the name of the rule's kernels, which make the state too
    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {}  # option -> its check, see options.py
    _inside = False  # whether a `step` of a subclass runs
    implied: ClassVar[dict[str, Any]] = {}  # options of PyTorch's that the choice of this class settles

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "rule" in cls.__dict__ and "elementwise" not in cls.__dict__:
            cls.elementwise = False
        if {"rule", "new_state"} & cls.__dict__.keys() and "kernel" not in cls.__dict__:
            cls.kernel = None
        if "step" in cls.__dict__:
            cls.step = _own_step(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Parameters, defaults: dict[str, Any], **how: Unpack[Implementation]) -> None:
        self._check_how(how)
        self.defaults = self.check(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.schedules = 0  # how many drive it
        self._hooks: list[tuple[str, Callable[..., Any]]] = []  # the name of the place, and what is called there
        self._names: dict[Tensor, str] = {}  # for messages
        self._warned: set[Tensor] = set()  # the parameters that `step` has warned about
        self._checked: dict[int, tuple[list[Any], dict[str, Any]]] = {}  # group -> its options as given, and as checked
        self._together: dict[int, tuple[list[Tensor], list[Flat], list[Tensor]]] = {}  # group -> see `_update`
        items = self._some(params)
        for group in items if isinstance(items[0], dict) else [{"params": items}]:
            self.add_param_group(group)

    def _check_how(self, how: Mapping[str, Any]) -> None:
        owner = type(self).__name__
        for name in sorted(how.keys() - _HOW_IT_RUNS):
            hint = did_you_mean(name, self.checks) if hasattr(self, "checks") else ""
            raise CallError(
                f"{owner}: got an unexpected keyword argument {name!r}{hint}\n"
                f"  it takes {owner}{written(type(self).__init__, 1)}"
            )
        if how.get("differentiable"):
            raise OptionError(
                f"{owner}: differentiable=True: steps are not recorded; compute them from tc.grad(create_graph=True), "
                "and call the model with them by nn.functional_call"
            )

    def check_parameter(self, what: str, param: Tensor) -> None:
        """Raise OptionError where this optimiser cannot train a parameter; `what` is what to call it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds anew what it checks and joins, and has no hooks, as in torch.
        return vars(self) | {"_checked": {}, "_together": {}, "_hooks": []}

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as Python numbers and bools. Raises OptionError where one is out of range."""
        owner = type(self).__name__
        return {
            name: self.checks[name](f"{owner}: {name}", value) if name in self.checks else value
            for name, value in options.items()
        }

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step: arrays of its shape and dtype, made by `xp`, and ints."""
        return {}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the tensors `param_group["params"]` (one, or an iterable), with the other entries as their options.

        The dict is copied. Raises what the class raises.
        """
        owner, group = type(self).__name__, param_group
        if not isinstance(group, dict):
            raise ParameterError(f"{owner}: expected a group {{'params': [...], ...}}, got {type(group).__name__}")
        if "params" not in group:
            raise OptionError(
                f"{owner}: a group needs its tensors under 'params'; this one has {shortened(sorted(group))}"
            )
        others = group.keys() - self.defaults.keys() - _BESIDE - _HOW_IT_RUNS
        for name in sorted(others) if self._has_rule() else ():
            near = get_close_matches(name, self.defaults, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(self.defaults)}"
            raise OptionError(f"{owner}: unknown option {shortened(name)}; {hint}")

        given, names = group["params"], group.get("param_names")
        params = [given] if isinstance(given, Tensor) else self._some(given)
        if all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in params):
            names, params = [name for name, _ in params], [param for _, param in params]
        seen = {id(p) for p in self._parameters()}
        for i, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise _not_a_tensor(owner, param, i)
            if not param.is_leaf:
                raise OptionError(
                    f"{owner}: the tensor of shape {param.shape} at position {i} was computed from others, so no "
                    "gradient is kept for it; give the tensors it was computed from, or detach it first"
                )
            if id(param) in seen:
                raise OptionError(
                    f"{owner}: the tensor of shape {param.shape} at position {i} was given before; each may be in "
                    "one group, once, or it would be updated twice a step"
                )
            seen.add(id(param))
            self.check_parameter(f"the tensor at position {i}", param)
        for i, param in enumerate(params):
            path = names[i] if names else getattr(param, "path", None)  # which a Parameter has, once it was listed
            self._names[param] = repr(path) if path else f"number {len(self._names)}"
        options = {name: value for name, value in group.items() if name in self.defaults}
        for name, value in (self.defaults | options).items():
            if value is required:
                raise OptionError(f"{owner}: {name} has no default; each group has to set it")
        extra = {name: group[name] for name in others}
        if "initial_lr" in group:
            check = self.checks.get("lr", lambda what, value: value)
            extra["initial_lr"] = check(f"{owner}: initial_lr", group["initial_lr"])
        extra |= {"param_names": list(names)} if names else {}
        self.param_groups.append({"params": params, **self.check(self.defaults | options), **extra})

    @classmethod
    def _has_rule(cls) -> bool:
        """Whether `step` is that of this class, which runs the rule."""
        return hasattr(cls, "rule")

    def _some(self, params: Any) -> list[Any]:
        """`params` as a list that is not empty."""
        owner = type(self).__name__
        items = listed(params, owner)
        if not items:
            used_up = "does the model have any, and was a generator used up before?"
            raise OptionError(f"{owner}: got an empty list of parameters; {used_up}")
        return items

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or with `set_to_none=False` fill them with zeros in place.

        `step` leaves a parameter without a gradient alone. One whose gradient is zero it updates: momentum moves it,
        weight decay shrinks it.
        """
        for param in self._parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                write(param.grad, ..., 0)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], Result]) -> Result: ...

    def step(self, closure: Callable[[], Result] | None = None) -> Result | None:
        """Update, in place, every parameter whose `grad` is not None; return what `closure` returns.

        Warns once of a parameter that requires a gradient and has never had one: most often `forward` forgot it.

        Args:
            closure: Computes the gradients first, with recording on (zero them, forward, backward), and returns
                usually the loss.

        Raises OptionError where an option of a group is out of range by now, ParameterError where `closure` is no
        function, and CaptureError in a captured step where no kernel takes a parameter.
        """
        args, kwargs = self._before_step((self,) if closure is None else (self, closure), {})
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        loss = None
        forgotten: list[Tensor] = []
        if closure is not None:
            if not callable(closure):
                raise ParameterError(
                    f"{type(self).__name__}.step: takes nothing, or a function that computes the gradients, got a "
                    f"{type(closure).__name__}; loss.backward() first, then step()"
                )
            with enable_grad():
                loss = closure()
        profiler, captured = context.get().profiler, captured_step.get()
        region = nullcontext() if profiler is None else profiler.region(f"{type(self).__name__}.step")
        with region, np.errstate(all="ignore"):  # as in ops: infinities show in the values, not in warnings
            for number, group in enumerate(self.param_groups):
                options = self._options(number, group)
                found: dict[Tensor, Array] = {}
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        found[param] = grad.array
                    elif param.requires_grad and param not in self.state and param not in self._warned:
                        forgotten.append(param)
                try:
                    self._update(number, found, options)
                    if captured is not None and found:
                        captured.updated(self, number, found)
                except MemoryError as error:
                    backend_of(next(iter(found.values()))).out_of_memory(f"{type(self).__name__}.step", error)
                    raise
        if forgotten:
            self._warn_about(forgotten)
        elif not self.state and not any(param.requires_grad for param in self._parameters()):
            warn(
                f"{type(self).__name__}.step: none of the tensors requires grad or has one, so nothing is trained; "
                "pass model.parameters(), for the tensors of a state_dict are detached"
            )
        self._after_step(args, kwargs)
        return loss

    def _warn_about(self, forgotten: list[Tensor]) -> None:
        """Name the parameters without a gradient."""
        owner, n = type(self).__name__, len(forgotten)
        if not self.state:
            warn(
                f"{owner}.step: none of the parameters has a gradient: was there no loss.backward() before the step, "
                "or does this optimiser hold the parameters of another model?"
            )
            return
        self._warned.update(forgotten)
        names = [f"{self._names[param]} {param.shape}" for param in forgotten[:10]]
        if n > 10:
            names.append(f"{n - 10} more")
        warn(
            f"{owner}.step: {'this parameter has' if n == 1 else f'these {n} parameters have'} never received a "
            f"gradient: {', '.join(names)}. {'Is it' if n == 1 else 'Are they'} used in forward? Freeze what is not "
            "to be trained with requires_grad_(False)"
        )

    def _options(self, number: int, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a group, checked again if one has changed since the last step."""
        values = [group[name] for name in self.defaults]
        before = self._checked.get(number)
        if before is None or not all(map(is_, values, before[0])):
            before = self._checked[number] = values, self.check(dict(zip(self.defaults, values, strict=True)))
        return before[1]

    def _update(self, number: int, grads: dict[Tensor, Array], options: Mapping[str, Any]) -> None:
        """Apply the rule to the parameters of a group, to small ones together if it is elementwise."""
        if not all(type(param.array) is np.ndarray for param in grads):
            grads = self._update_by_kernel(number, grads)
        for param, grad in grads.items():
            if param not in self.state:
                self.state[param] = self.new_state(backend_of(param.array, grad).xp, widened(param.array), options)
        params, flats, alone = self._together.get(number, ([], [], []))
        same = len(params) == len(grads) and all(map(is_, params, grads))
        if not same or not all(flat.holds(self.state) for flat in flats):
            params = list(grads)
            flats, alone = together(params, self.state) if self.elementwise else ([], params)
            self._together[number] = params, flats, alone
        for flat in flats:
            flat.step(self.rule, [grads[param] for param in flat.params], options)
        for param in alone:
            grad, array = grads[param], widened(param.array)
            xp = backend_of(array, grad).xp
            if self.elementwise:
                in_parts(self.rule, xp, array, widened(grad), self.state[param], options)
            else:
                self.rule(xp, array, widened(grad), self.state[param], **options)
            if array is not param.array:
                param.array[...] = array
            param._storage.wrote(param.array)

    def _update_by_kernel(self, number: int, grads: dict[Tensor, Array]) -> dict[Tensor, Array]:
        """Update the parameters that a kernel of the rule takes, and return the others."""
        memory = Counter(id(base_of(param.array)) for param in grads)
        taken: dict[Any, list[Tensor]] = {}  # (kernel, device) -> its parameters
        others: dict[Tensor, Array] = {}
        for param, grad in grads.items():
            backend, kernel = backend_of(param.array), None
            if self.kernel is not None and memory[id(base_of(param.array))] == 1:  # see `together`
                kernel = kernel_for(self.kernel, backend.name, param.array, self.state.get(param, {}))
            if kernel is None:
                others[param] = grad
            else:
                taken.setdefault((kernel, backend.device_of(param.array)), []).append(param)
        captured = captured_step.get()
        if others and captured is not None:
            captured.refuse(
                f"{type(self).__name__}.step: in a captured step every parameter must be updated by a kernel of the "
                f"library's own; {len(others)} of this group cannot, for example {self._names[next(iter(others))]}. "
                "The kernels take contiguous float32 and float64 arrays, do not know a rule of your own, and do not "
                "run under TINYCONV_FAST=0 or using('readable')"
            )
        for (kernel, _), params in taken.items():
            arrays = [param.array for param in params]
            states = [self.state.setdefault(param, {}) for param in params]
            options = self._options_of_now(number, params, arrays)
            kernel(backend_of(*arrays).xp, arrays, [grads[param] for param in params], states, options)
            each_step(partial(_note_writes, params))
        return others

    def _options_of_now(
        self, number: int, params: list[Tensor], arrays: list[Array]
    ) -> Callable[[], Mapping[str, Any]]:
        """A function that returns the options of a group as they are when it is called: at each replay, if captured."""
        state, groups = self.state, len(self.param_groups)

        def options() -> Mapping[str, Any]:
            same = all(param.array is array for param, array in zip(params, arrays, strict=True))
            if not same or self.state is not state or len(self.param_groups) != groups:
                raise CaptureError(
                    f"{type(self).__name__}.step: since this step was captured, the optimiser has loaded a state or "
                    "got a group, or a parameter was given another array; a captured step works on what it was "
                    "captured with: capture it again"
                )
            return self._options(number, self.param_groups[number])

        return options

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as copies, in PyTorch's structure.

        `{"state": {index: {name: NumPy array or int}}, "param_groups": [{option: value, ..., "params": [index]}]}`,
        where parameters are numbered in the order of the groups. Parameters without state have no entry.
        """
        for hook in self._at("state_pre"):
            hook(self)
        number = {id(param): i for i, param in enumerate(self._parameters())}
        state = {number[id(param)]: {name: _saved(v) for name, v in kept.items()} for param, kept in self.state.items()}
        groups = [
            {
                **group,
                **self._options(i, group),
                **self.implied,
                "params": [number[id(param)] for param in group["params"]],
            }
            for i, group in enumerate(self.param_groups)
        ]
        saved = {"state": {i: kept for i, kept in state.items() if kept}, "param_groups": groups}
        for hook in self._at("state_post"):
            saved = _or(hook(self, saved), saved)
        return saved

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned: the next step is bit for bit the one that would have followed.

        The parameters stay this optimiser's own, matched by their order; arrays are copied to the dtype and device of
        their parameter. A state of PyTorch's optimiser of the same name is taken too. Raises CheckpointError, and
        changes nothing, where groups, parameters, shapes or the kind of optimiser differ, or where an option is set
        that this optimiser does not have.
        """
        owner = type(self).__name__
        for hook in self._at("load_pre"):
            state_dict = _or(hook(self, dict(state_dict)), state_dict)
        if missing := {"state", "param_groups"} - state_dict.keys():
            raise CheckpointError(f"{owner}: not the state of an optimiser, it has no {shortened(sorted(missing))}")
        saved_groups = state_dict["param_groups"]
        if len(saved_groups) != len(self.param_groups):
            raise CheckpointError(
                f"{owner}: the saved state has {len(saved_groups)} parameter groups, this optimiser "
                f"{len(self.param_groups)}; build it with the groups it was saved with"
            )
        groups: list[dict[str, Any]] = []
        owners: dict[int, tuple[Tensor, dict[str, Any]]] = {}  # saved number -> the parameter and its new group
        for i, (saved, group) in enumerate(zip(saved_groups, self.param_groups, strict=True)):
            if missing := {"params", *self.defaults} - saved.keys():
                raise CheckpointError(
                    f"{owner}: saved group {i} has no {shortened(sorted(missing))}: "
                    "was it saved by another kind of optimiser?"
                )
            if len(saved["params"]) != len(group["params"]):
                raise CheckpointError(
                    f"{owner}: saved group {i} has {len(saved['params'])} parameters, this optimiser's "
                    f"{len(group['params'])}: another model, or some of its layers are frozen in one of the two"
                )
            if self._has_rule():
                self._check_foreign(f"{owner}: saved group {i}", saved)
            taken = (*self.defaults, "initial_lr") if self._has_rule() else saved.keys() - {"params", "param_names"}
            options = {name: saved[name] for name in taken if name in saved}
            if "param_names" in group:
                options["param_names"] = group["param_names"]
            checked = self.check({name: options[name] for name in self.defaults})
            groups.append({"params": group["params"], **options, **checked})
            owners.update((n, (p, checked)) for n, p in zip(saved["params"], group["params"], strict=True))

        state = {}
        for n, kept in state_dict["state"].items():
            if n not in owners:
                raise CheckpointError(
                    f"{owner}: there is state for parameter {shortened(n)}, which is in no saved group"
                )
            param, options = owners[n]
            name = getattr(param, "path", "")
            what = f"{owner}: parameter {n}" + (f" ({name})" if name else "")
            state[param] = self._restored(what, param, options, kept)
        self.param_groups, self.state = groups, defaultdict(dict, state)
        self._warned.update(self._parameters())  # the run that goes on has had its warnings
        for hook in self._at("load_post"):
            hook(self)

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` before each step, with the arguments of `step`, `args[0]` the optimiser.

        What it returns, if not None, are the arguments instead. `handle.remove()` takes the hook away. A step that is
        captured calls it while it is recorded, and not at each replay. Raises TypeError where it is no function.
        """
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(optimizer, args, kwargs)` after each step, as `register_step_pre_hook` does before it.

        Raises TypeError where it is no function.
        """
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` before `state_dict`, with `prepend` before those that are registered already.

        Raises TypeError where it is no function.
        """
        return self._register("state_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; what it returns, if not None, is the state instead.

        Raises TypeError where it is no function.
        """
        return self._register("state_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`, with a copy of the dict that is given.

        What it returns, if not None, is loaded instead. Raises TypeError where it is no function.
        """
        return self._register("load_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        """Call `hook(optimizer)` after `load_state_dict`. Raises TypeError where it is no function."""
        return self._register("load_post", hook, prepend)

    def _register(self, place: str, hook: Callable[..., Any], prepend: bool = False) -> HookHandle:
        if not callable(hook):
            raise TypeError(f"{type(self).__name__}: a hook is a function, got a {type(hook).__name__}")
        entry = (place, hook)
        self._hooks = [entry, *self._hooks] if prepend else [*self._hooks, entry]

        def remove() -> None:
            self._hooks = [other for other in self._hooks if other is not entry]

        return HookHandle(remove)

    def _before_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a step after its hooks have seen them."""
        for hook in () if self._inside else self._at("step_pre"):
            args, kwargs = _or(hook(self, args, kwargs), (args, kwargs))
        return args, kwargs

    def _after_step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for hook in () if self._inside else self._at("step_post"):
            hook(self, args, kwargs)

    def _at(self, place: str) -> list[Callable[..., Any]]:
        return [hook for where, hook in self._hooks if where == place]

    def _check_foreign(self, what: str, saved: Mapping[str, Any]) -> None:
        """Raise CheckpointError for an option that changes the rule and that this optimiser does not have."""
        for name in sorted(saved.keys() - self.defaults.keys() - _BESIDE - _OF_SCHEDULES - _HOW_IT_RUNS):
            if bool(saved[name]) != self.implied.get(name, False):
                raise CheckpointError(
                    f"{what} has {printable(name)}={shortened(saved[name])}, which {type(self).__name__} does not do: "
                    "was it saved by another kind of optimiser?"
                )

    def _restored(
        self, what: str, param: Tensor, options: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The saved state of one parameter, checked against what its rule needs and moved to where it lives."""
        if not self._has_rule():
            return {name: _loaded(value, param, name) for name, value in kept.items()}
        backend = backend_of(param.array)
        wide = widened(param.array)
        fresh = self.new_state(backend.xp, wide, options)
        if missing := fresh.keys() - kept.keys():
            raise CheckpointError(
                f"{what}: the saved state has no {shortened(sorted(missing))}, only {shortened(sorted(kept))}"
            )
        state: dict[str, Any] = {}
        for name, value in kept.items():
            if value is None or (name == "step" and name not in fresh):  # PyTorch counts even if no rule reads it
                continue
            if hasattr(value, "detach"):
                value = value.detach().cpu().double().numpy()  # a tensor of PyTorch's: exact, whatever its precision
            like: Any = fresh.get(name, wide)
            shape, needed = getattr(value, "shape", ()), getattr(like, "shape", ())
            if shape != needed:
                raise CheckpointError(
                    f"{what}: the saved {shortened(name)} has shape {shape}, needed {needed}: "
                    "saved from another model, or with the parameters in another order"
                )
            if isinstance(like, int | float):
                state[name] = type(like)(value)
            else:
                here = backend.asarray(value, backend.device_of(param.array))
                state[name] = backend.xp.array(here, dtype=wide.dtype)
        return state

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def __repr__(self) -> str:
        groups = (
            f"  {len(group['params'])} parameters: "
            + ", ".join(f"{name}={value!r}" for name, value in group.items() if name not in ("params", "param_names"))
            for group in self.param_groups
        )
        return "\n".join([f"{type(self).__name__}(", *groups, ")"])


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def listed(params: Any, owner: str) -> list[Any]:
    """What an iterable of tensors, or of groups, holds. Raises ParameterError for anything else that was given."""
    if isinstance(params, Tensor | dict):
        named = isinstance(params, dict) and all(isinstance(value, Tensor) for value in params.values())
        fix = "for a state_dict, pass model.parameters()" if named else "put it in a list"
        kind = "tensor" if isinstance(params, Tensor) else "dict"
        raise ParameterError(f"{owner}: expected an iterable of tensors or of groups, got one {kind}; {fix}")
    if isinstance(params, set | frozenset):
        raise ParameterError(f"{owner}: a set has no fixed order, so a saved state could not be matched; pass a list")
    if not isinstance(params, Iterable) or isinstance(params, str) or hasattr(params, "parameters"):
        got, fix = type(params).__name__, "for a module, pass module.parameters()"
        if isinstance(params, type):
            got, fix = f"the class {params.__name__}", f"make one first: {params.__name__}(...).parameters()"
        elif callable(params) and not hasattr(params, "parameters"):
            name = getattr(params, "__name__", "parameters")
            got, fix = f"the {got} {name}", f"call it: {name}()"
        elif isinstance(params, Real):
            fix = "the parameters come first: model.parameters()"
        raise ParameterError(f"{owner}: expected an iterable of tensors or of groups, got {got}; {fix}")
    return list(params)


def _not_a_tensor(owner: str, param: Any, position: int) -> ParameterError:
    fix = ""
    if isinstance(param, tuple):
        fix = "; pass all of named_parameters(), or parameters() alone"
    elif hasattr(param, "parameters"):
        fix = "; pass its parameters()"
    elif isinstance(param, Iterable):
        fix = "; several iterables as one: [*a.parameters(), *b.parameters()]"
    return ParameterError(f"{owner}: expected tensors, got {type(param).__name__} at position {position}{fix}")


def _note_writes(params: list[Tensor]) -> None:
    for param in params:
        param._storage.wrote(param.array)


def _own_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """A `step` of a user's own, which a captured step refuses, between its hooks."""

    @wraps(step)
    def checked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        captured = captured_step.get()
        if captured is not None and not self._has_rule():
            captured.refuse(
                f"{type(self).__name__}.step is Python of your own, whose numbers (lr, the number of steps) would stay "
                "those of the first step: capture the step up to backward(), and call optimizer.step() after it"
            )
        args, kwargs = self._before_step((self, *args), kwargs)
        before, self._inside = self._inside, True  # the step of the class above is a part of this one
        try:
            found = step(*args, **kwargs)
        finally:
            self._inside = before
        self._after_step(args, kwargs)
        return found

    return checked


def _saved(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return np.array(backend_of(value).to_numpy(value)) if hasattr(value, "dtype") else deepcopy(value)


def _loaded(value: Any, param: Tensor, name: str) -> Any:
    """A part of the state of a `step` of one's own: floating tensors get the dtype and the device of the parameter."""
    if not isinstance(value, Tensor):
        return deepcopy(value)
    dtype = param.dtype if name != "step" and value.dtype.kind == "f" else value.dtype
    return value.detach().to(param.device, dtype, copy=True)
