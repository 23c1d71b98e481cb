"""What all optimisers share: parameters in groups, the options of each group, the state of each parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from operator import is_
from typing import Any, ClassVar, TypeAlias

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, captured_step
from tinyconv.engine.context import context, enable_grad
from tinyconv.engine.each_step import each_step
from tinyconv.engine.variants import kernel_for
from tinyconv.engine.writes import base_of
from tinyconv.errors import CaptureError, CheckpointError, TinyconvError
from tinyconv.host.user_frame import warn
from tinyconv.optim.flat import Flat, together
from tinyconv.optim.options import OptionError
from tinyconv.tensor.tensor import Tensor

# What PyTorch's optimisers save besides: how they compute.
_HOW_IT_RUNS = {"foreach", "fused", "capturable", "differentiable"}

Parameters: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]


class ParameterError(TinyconvError, TypeError):
    """Something other than tensors was given where parameters go."""


class Optimizer:
    """Applies one update rule to every parameter that has a gradient.

    `params` is an iterable of leaf tensors, or of dicts, one a group: `{"params": tensors, "lr": 0.1, ...}`. What a
    group does not set comes from `defaults`. An empty list, a tensor that is not a leaf, one given twice, and an
    option that is unknown or out of range raise OptionError; anything that is not a tensor raises ParameterError.

    A subclass gives its `rule`, a function on arrays

        rule(xp, param, grad, state, **options) -> None

    that updates `param` and `state` in place, a check for each option, and the state before the first step. A rule
    keeps to the parameter's dtype and never reads an array's values on the host. Where it has a form for a device
    (`variants.register_kernel`), that runs there instead, once for many parameters:

        form(xp, params, grads, states, options) -> None

    with lists of arrays and of their states, each {} before its first step, and `options()` the options as they are
    now. What depends on them or on the number of steps a form takes through `staged`, so that a step can be captured;
    with the rule itself it cannot, as its numbers would stay those of the first.

    Attributes:
        defaults: options for groups that do not set them.
        param_groups: one dict a group, with its tensors under "params" and its options under their names. Change an
            option by assigning to it; options are checked again at each step.
        state: parameter -> what the rule remembers of it: raw arrays of the parameter's shape, dtype and device
            under PyTorch's names, and the number of steps as an int. Empty until its first gradient.
    """

    rule: ClassVar[staticmethod[..., None]]
    elementwise: ClassVar[bool] = False  # whether the rule works on each element by itself, so that small parameters
    # can be updated as one array; what a class says of its own rule holds for that rule only
    form: ClassVar[str | None] = None  # the name under which forms of the rule are registered; they make the state too
    checks: ClassVar[dict[str, Callable[[str, Any], Any]]]  # option -> what it must pass, see options.py
    implied: ClassVar[dict[str, Any]] = {}  # options of PyTorch's that are settled by the choice of the class

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "rule" in cls.__dict__ and "elementwise" not in cls.__dict__:
            cls.elementwise = False
        if {"rule", "new_state"} & cls.__dict__.keys() and "form" not in cls.__dict__:
            cls.form = None

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = self.check(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._names: dict[Tensor, str] = {}  # for messages
        self._told: set[Tensor] = set()  # of which `step` has warned
        self._checked: dict[int, tuple[list[Any], dict[str, Any]]] = {}  # group -> its options' values, and as checked
        self._together: dict[int, tuple[list[Tensor], list[Flat], list[Tensor]]] = {}  # group -> see `_update`
        items = _listed(params, type(self).__name__)
        for group in items if isinstance(items[0], dict) else [{"params": items}]:
            self.add_param_group(group)

    def check(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as Python numbers and bools; OptionError names the first that is out of range."""
        owner = type(self).__name__
        return {name: self.checks[name](f"{owner}: {name}", value) for name, value in options.items()}

    def new_state(self, xp: Any, param: Array, options: Mapping[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {}

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add the tensors `group["params"]` (one, or an iterable), with the other entries as their options.

        The dict is copied. Errors as for the class.
        """
        owner = type(self).__name__
        if not isinstance(group, dict):
            raise ParameterError(f"{owner}: expected a group {{'params': [...], ...}}, got {type(group).__name__}")
        if "params" not in group:
            raise OptionError(f"{owner}: a group needs its tensors under 'params'; this one has {sorted(group)}")
        # A schedule that starts in the middle looks for the rate it began with in "initial_lr".
        for name in sorted(group.keys() - self.defaults.keys() - {"params", "initial_lr"}):
            near = get_close_matches(name, self.defaults, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(self.defaults)}"
            raise OptionError(f"{owner}: unknown option {name!r}; {hint}")

        given = group["params"]
        params = [given] if isinstance(given, Tensor) else _listed(given, owner)
        seen = {id(p) for p in self._parameters()}
        for i, param in enumerate(params):
            if not isinstance(param, Tensor):
                fix = "; pass model.parameters(), not named_parameters()" if isinstance(param, tuple) else ""
                raise ParameterError(f"{owner}: expected tensors, got {type(param).__name__} at position {i}{fix}")
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
        for param in params:
            path = getattr(param, "path", None)  # a Parameter knows it, once a module has listed it
            self._names[param] = repr(path) if path else f"number {len(self._names)}"
        options = {name: value for name, value in group.items() if name in self.defaults}
        extra = {name: value for name, value in group.items() if name == "initial_lr"}
        self.param_groups.append({"params": params, **self.check(self.defaults | options), **extra})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: drop them, or with `set_to_none=False` fill them with zeros in place.

        A parameter whose gradient is None is not touched by `step`; one whose gradient is zero is (momentum moves it,
        weight decay shrinks it).
        """
        for param in self._parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.array[...] = 0
                param.grad._storage.wrote(param.grad.array)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update, in place, every parameter whose `grad` is not None.

        A parameter that requires grad and has never had one is warned of, once: most often `forward` forgot it.
        `closure`, if given, computes the gradients first (zero them, forward, backward), with recording on; what it
        returns, usually the loss, is returned.
        """
        loss = None
        forgotten: list[Tensor] = []
        if closure is not None:
            with enable_grad():
                loss = closure()
        profiler = context.get().profiler
        region = nullcontext() if profiler is None else profiler.region(f"{type(self).__name__}.step")
        with region, np.errstate(all="ignore"):  # as in ops: infinities show in the values, not in warnings
            for number, group in enumerate(self.param_groups):
                options = self._options(number, group)
                found: dict[Tensor, Array] = {}
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        found[param] = grad.array
                    elif param.requires_grad and param not in self.state and param not in self._told:
                        forgotten.append(param)
                try:
                    self._update(number, found, options)
                except MemoryError as error:
                    backend_of(next(iter(found.values()))).out_of_memory(f"{type(self).__name__}.step", error)
                    raise
        if forgotten:
            self._warn_of(forgotten)
        return loss

    def _warn_of(self, forgotten: list[Tensor]) -> None:
        """Name the parameters without a gradient."""
        owner, n = type(self).__name__, len(forgotten)
        if not self.state:
            warn(
                f"{owner}.step: none of the parameters has a gradient: was there no loss.backward() before the step, "
                "or does this optimiser hold the parameters of another model?"
            )
            return
        self._told.update(forgotten)
        names = [f"{self._names[param]} {param.shape}" for param in forgotten[:10]]
        if n > 10:
            names.append(f"{n - 10} more")
        warn(
            f"{owner}.step: {'this parameter has' if n == 1 else f'these {n} parameters have'} never received a "
            f"gradient: {', '.join(names)}. {'Is it' if n == 1 else 'Are they'} used in forward? What is frozen on "
            "purpose says so with requires_grad_(False)"
        )

    def _options(self, number: int, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a group, checked again where one is another than at the last step."""
        values = [group[name] for name in self.defaults]
        before = self._checked.get(number)
        if before is None or not all(map(is_, values, before[0])):
            before = self._checked[number] = values, self.check(dict(zip(self.defaults, values, strict=True)))
        return before[1]

    def _update(self, number: int, grads: dict[Tensor, Array], options: Mapping[str, Any]) -> None:
        """Apply the rule to the parameters of a group, small ones together where it is elementwise."""
        if not all(type(param.array) is np.ndarray for param in grads):
            grads = self._update_by_form(number, grads)
        for param, grad in grads.items():
            if param not in self.state:
                self.state[param] = self.new_state(backend_of(param.array, grad).xp, param.array, options)
        params, flats, alone = self._together.get(number, ([], [], []))
        same = len(params) == len(grads) and all(map(is_, params, grads))
        if not same or not all(flat.holds(self.state) for flat in flats):
            params = list(grads)
            flats, alone = together(params, self.state) if self.elementwise else ([], params)
            self._together[number] = params, flats, alone
        for flat in flats:
            flat.step(self.rule, [grads[param] for param in flat.params], options)
        for param in alone:
            grad = grads[param]
            self.rule(backend_of(param.array, grad).xp, param.array, grad, self.state[param], **options)
            param._storage.wrote(param.array)

    def _update_by_form(self, number: int, grads: dict[Tensor, Array]) -> dict[Tensor, Array]:
        """Update the parameters that a form of the rule takes, and return the others."""
        memory = Counter(id(base_of(param.array)) for param in grads)
        taken: dict[Any, list[Tensor]] = {}  # (form, device) -> its parameters
        others: dict[Tensor, Array] = {}
        for param, grad in grads.items():
            backend, form = backend_of(param.array), None
            if self.form is not None and memory[id(base_of(param.array))] == 1:  # see `together`
                form = kernel_for(self.form, backend.name, param.array, self.state.get(param, {}))
            if form is None:
                others[param] = grad
            else:
                taken.setdefault((form, backend.device_of(param.array)), []).append(param)
        if others and captured_step.get() is not None:
            raise CaptureError(
                f"{type(self).__name__}.step: in a captured step every parameter must be updated by a kernel of the "
                f"library's own; {len(others)} of this group cannot, for example {self._names[next(iter(others))]}. "
                "Those take contiguous float32 and float64 and no rule of your own, and do not run where "
                "TINYCONV_FAST=0 or using('readable') says so"
            )
        for (form, _), params in taken.items():
            arrays = [param.array for param in params]
            states = [self.state.setdefault(param, {}) for param in params]
            options = self._options_of_now(number, params, arrays)
            form(backend_of(*arrays).xp, arrays, [grads[param] for param in params], states, options)
            each_step(partial(_note_writes, params))
        return others

    def _options_of_now(
        self, number: int, params: list[Tensor], arrays: list[Array]
    ) -> Callable[[], Mapping[str, Any]]:
        """A function that returns the options of a group as they are when it is called, maybe in a captured step."""
        state, groups = self.state, len(self.param_groups)

        def options() -> Mapping[str, Any]:
            same = all(param.array is array for param, array in zip(params, arrays, strict=True))
            if not same or self.state is not state or len(self.param_groups) != groups:
                raise CaptureError(
                    f"{type(self).__name__}.step: since this step was captured, the optimiser has loaded a state or "
                    "got a group, or a parameter was given another array; the step works on those it was captured "
                    "with: capture it again"
                )
            return self._options(number, self.param_groups[number])

        return options

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, as copies, in PyTorch's structure.

        `{"state": {index: {name: NumPy array or int}}, "param_groups": [{option: value, ..., "params": [index]}]}`
        where parameters are numbered in the order of the groups. Parameters without state have no entry.
        """
        number = {id(param): i for i, param in enumerate(self._parameters())}
        state = {number[id(param)]: {name: _saved(v) for name, v in kept.items()} for param, kept in self.state.items()}
        groups = [
            {**_options_of(group), "params": [number[id(param)] for param in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": {i: kept for i, kept in state.items() if kept}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, so that the next step is bit for bit the one that would have followed.

        The parameters stay this optimiser's own, matched by their order; arrays are copied to the dtype and device of
        their parameter. A state of PyTorch's optimiser of the same name is taken too. CheckpointError if groups,
        parameters, shapes or the kind of optimiser differ, or an option is set that there is not here; the optimiser is
        then as it was.
        """
        owner = type(self).__name__
        if missing := {"state", "param_groups"} - state_dict.keys():
            raise CheckpointError(f"{owner}: not the state of an optimiser, it has no {sorted(missing)}")
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
                    f"{owner}: saved group {i} has no {sorted(missing)}: was it saved by another kind of optimiser?"
                )
            if len(saved["params"]) != len(group["params"]):
                raise CheckpointError(
                    f"{owner}: saved group {i} has {len(saved['params'])} parameters, this optimiser's "
                    f"{len(group['params'])}: another model, or some of its layers are frozen in one of the two"
                )
            self._check_foreign(f"{owner}: saved group {i}", saved)
            options = {name: value for name, value in saved.items() if name in self.defaults or name == "initial_lr"}
            checked = self.check({name: options[name] for name in self.defaults})
            groups.append({"params": group["params"], **options, **checked})
            owners.update((n, (p, checked)) for n, p in zip(saved["params"], group["params"], strict=True))

        state = {}
        for n, kept in state_dict["state"].items():
            if n not in owners:
                raise CheckpointError(f"{owner}: there is state for parameter {n!r}, which is in no saved group")
            param, options = owners[n]
            state[param] = self._restored(f"{owner}: parameter {n}", param, options, kept)
        self.param_groups, self.state = groups, state
        self._told.update(self._parameters())  # what there was to say was said in the run that goes on

    def _check_foreign(self, what: str, saved: Mapping[str, Any]) -> None:
        """CheckpointError for an option that changes the rule and that this optimiser does not have."""
        for name in sorted(saved.keys() - self.defaults.keys() - {"params", "initial_lr"} - _HOW_IT_RUNS):
            if bool(saved[name]) != self.implied.get(name, False):
                raise CheckpointError(
                    f"{what} has {name}={saved[name]!r}, which {type(self).__name__} does not do: was it saved by "
                    "another kind of optimiser?"
                )

    def _restored(
        self, what: str, param: Tensor, options: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The saved state of one parameter, checked against what its rule needs and moved to where it lives."""
        backend = backend_of(param.array)
        fresh = self.new_state(backend.xp, param.array, options)
        if missing := fresh.keys() - kept.keys():
            raise CheckpointError(f"{what}: the saved state has no {sorted(missing)}, only {sorted(kept)}")
        state: dict[str, Any] = {}
        for name, value in kept.items():
            if value is None or (name == "step" and name not in fresh):  # PyTorch's counts where no rule reads it
                continue
            if hasattr(value, "detach"):
                value = value.detach().cpu().double().numpy()  # PyTorch's: exact, whatever its precision
            like: Any = fresh.get(name, param.array)
            shape, needed = getattr(value, "shape", ()), getattr(like, "shape", ())
            if shape != needed:
                raise CheckpointError(
                    f"{what}: the saved {name!r} has shape {shape}, needed {needed}: "
                    "saved from another model, or with the parameters in another order"
                )
            if isinstance(like, int):
                state[name] = int(value)
            else:
                here = backend.asarray(value, backend.device_of(param.array))
                state[name] = backend.xp.array(here, dtype=param.array.dtype)
        return state

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def __repr__(self) -> str:
        groups = (
            f"  {len(group['params'])} parameters: "
            + ", ".join(f"{name}={value!r}" for name, value in group.items() if name != "params")
            for group in self.param_groups
        )
        return "\n".join([f"{type(self).__name__}(", *groups, ")"])


def _listed(params: Any, owner: str) -> list[Any]:
    """`params` as a list with something in it."""
    if isinstance(params, Tensor | dict):
        kind = "tensor" if isinstance(params, Tensor) else "dict"
        raise ParameterError(f"{owner}: expected an iterable of tensors or of groups, got one {kind}; put it in a list")
    if isinstance(params, set | frozenset):
        raise ParameterError(f"{owner}: a set has no fixed order, so a saved state could not be matched; pass a list")
    if not isinstance(params, Iterable):
        raise ParameterError(
            f"{owner}: expected an iterable of tensors or of groups, got {type(params).__name__}; "
            "for a module, pass module.parameters()"
        )
    items = list(params)
    if not items:
        raise OptionError(
            f"{owner}: got an empty list of parameters; does the model have any, and was a generator used up before?"
        )
    return items


def _options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _note_writes(params: list[Tensor]) -> None:
    for param in params:
        param._storage.wrote(param.array)


def _saved(value: Any) -> Any:
    return value if isinstance(value, int) else np.array(backend_of(value).to_numpy(value))
