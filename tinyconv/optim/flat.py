"""Small parameters as one array: a rule then makes its dozen calls once for many of them, not once for each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import repeat
from operator import is_, setitem
from typing import Any, TypeAlias

import numpy as np

from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.wide import FLOAT16
from tinyconv.engine.writes import base_of
from tinyconv.tensor.tensor import Tensor

LARGEST = 1 << 15
"""The most elements of a parameter that is joined with others. Copying it here and back costs as much as three of a
rule's calls, and a call on a larger array takes longer than it takes to start, so joining would save less than that."""

TOGETHER = 1 << 16
"""The most elements joined into one array. Adam works on seven arrays, which in float32 are then 1.8 MB, about what a
core's own cache holds. An array many times as long takes longer than its parts do one after another."""

PART = 1 << 14
"""Elements that a rule works on at a time, so that what it makes on the way stays small, for large parameters too. The
step of Adam for LeNet's 44,426 takes 0.13 ms so; as a whole it takes 0.10 ms, and half a megabyte."""

State: TypeAlias = dict[str, Any]


def in_parts(
    rule: Callable[..., None], xp: Any, param: Array, grad: Array, state: State, options: Mapping[str, Any]
) -> None:
    """A step of `rule`, which is elementwise, on NumPy arrays a part at a time: the same bits, in less memory."""
    arrays = {name: value for name, value in state.items() if _is_array(value)}
    whole = (param, grad, *arrays.values())
    if param.size <= PART or not all(type(a) is np.ndarray and a.flags.c_contiguous for a in whole):
        rule(xp, param, grad, state, **options)
        return
    flat = {name: value.reshape(-1) for name, value in arrays.items()}
    params, grads = param.reshape(-1), grad.reshape(-1)
    for start in range(0, param.size, PART):
        part = slice(start, start + PART)
        views = {name: value[part] for name, value in flat.items()}
        found = state | views
        rule(xp, params[part], grads[part], found, **options)
        for name, value in found.items():
            if _is_array(value) and value is not views.get(name):  # made in the first step
                arrays.setdefault(name, np.empty_like(param)).reshape(-1)[part] = value
        last = found
    state.update(last | arrays)


class Flat:
    """Parameters of one dtype and device that have taken the same steps, with their states.

    The states move into long arrays, and `state[param]["exp_avg"]` and the like are views of those from then on. The
    parameters stay where they are, because others hold views of them: each step copies them here and back.
    """

    def __init__(self, params: Sequence[Tensor], states: Sequence[State]) -> None:
        self.params, self.states = list(params), list(states)
        self.arrays = [param.array for param in params]
        self.xp = backend_of(*self.arrays).xp
        self.ends = [0]
        for array in self.arrays:
            self.ends.append(self.ends[-1] + array.size)
        self.param, self.grad = (self.xp.empty(self.ends[-1], self.arrays[0].dtype) for _ in range(2))
        self.ravelled = [array.reshape(-1) for array in self.arrays]  # views, as `_kind` takes contiguous arrays only
        self.copies = self._parts(self.param)
        self.state = {name: self._joined(name) if _is_array(value) else value for name, value in states[0].items()}
        self._share()

    def _joined(self, name: str) -> Array:
        return self.xp.concatenate([state[name].reshape(-1) for state in self.states])

    def _parts(self, long: Array) -> list[Array]:
        """Each parameter's part of a long array, in the parameter's shape."""
        bounds = zip(self.arrays, self.ends, self.ends[1:], strict=False)
        return [long[start:stop].reshape(array.shape) for array, start, stop in bounds]

    def _share(self) -> None:
        """Make the parameters' states views of the long one."""
        self.long = {name: value for name, value in self.state.items() if _is_array(value)}
        self.shared: list[State] = [dict(self.state) for _ in self.params]
        for name, value in self.long.items():
            for shared, part in zip(self.shared, self._parts(value), strict=True):
                shared[name] = part
        for kept, shared in zip(self.states, self.shared, strict=True):
            kept.update(shared)  # and not emptied first: a Ctrl-C would leave it empty
            for name in kept.keys() - shared.keys():
                del kept[name]

    def holds(self, state: Mapping[Tensor, State]) -> bool:
        """Whether every parameter and every state still has the array it had here."""
        for param, array, kept, shared in zip(self.params, self.arrays, self.states, self.shared, strict=True):
            if param.array is not array or state.get(param) is not kept or kept.keys() != shared.keys():
                return False
            if not all(map(is_, kept.values(), shared.values())):
                return False
        return True

    def step(self, rule: Callable[..., None], grads: Sequence[Array], options: Mapping[str, Any]) -> None:
        """Make a step of `rule`, which is elementwise, for all the parameters."""
        self.xp.concatenate([grad.reshape(-1) for grad in grads], out=self.grad)
        self.xp.concatenate(self.ravelled, out=self.param)
        in_parts(rule, self.xp, self.param, self.grad, self.state, options)
        for param, array in zip(self.params, self.arrays, strict=True):
            param._storage.wrote(array)
        write = map(setitem, self.arrays, repeat(...), self.copies)
        list(write)  # one call: a Ctrl-C comes before all of them are written or after
        arrays = [value for value in self.state.values() if _is_array(value)]
        if len(arrays) == len(self.long) and all(map(is_, arrays, self.long.values())):
            numbers = {name: value for name, value in self.state.items() if name not in self.long}
            count = map(dict.update, [*self.states, *self.shared], repeat(numbers))
            list(count)
        else:  # the rule has made a new array, as the first step with momentum does
            self._share()


def together(params: Sequence[Tensor], state: Mapping[Tensor, State]) -> tuple[list[Flat], list[Tensor]]:
    """Join those of these parameters that can be joined; return them, and the others. Each has a state already."""
    kinds: dict[Hashable, list[Tensor]] = {}
    bases = [id(base_of(param.array)) for param in params]
    alone = []
    for param, base in zip(params, bases, strict=True):
        kind = _kind(param.array, state[param])
        if kind is None or bases.count(base) > 1:  # parameters in one memory may overlap, and then order matters
            alone.append(param)
        else:
            kinds.setdefault(kind, []).append(param)
    flats = []
    for alike in kinds.values():
        for members in _packed(alike):
            if len(members) > 1:
                flats.append(Flat(members, [state[param] for param in members]))
            else:
                alone += members
    return flats, alone


def _packed(params: list[Tensor]) -> list[list[Tensor]]:
    """The parameters in their order, in parts of at most TOGETHER elements."""
    packs: list[list[Tensor]] = []
    room = 0
    for param in params:
        size = param.array.size
        if not packs or size > room:
            packs.append([])
            room = TOGETHER
        packs[-1].append(param)
        room -= size
    return packs


def _kind(array: Array, state: State) -> Hashable:
    """What parameters must have in common to be joined; None for one that must stay alone."""
    if array.size > LARGEST or not array.flags.c_contiguous or array.dtype == FLOAT16:
        return None  # float16 is updated in float32, one by one
    entries: list[Hashable] = []
    for name, value in state.items():
        if not _is_array(value):
            entries.append((name, value))
        elif value.shape == array.shape and value.dtype == array.dtype:
            entries.append(name)
        else:
            return None
    return array.dtype, backend_of(array).device_of(array), tuple(entries)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape")
