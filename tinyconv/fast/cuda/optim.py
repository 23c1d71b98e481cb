"""The optimisers' rules for many tensors in one launch (`optim.cu`).

What changes from step to step, such as the rate and the corrections for the number of steps, is worked out on the host
in double precision and goes over as one small array (`staged`), so a captured step takes it anew each time.

State that does not exist yet is allocated and not filled: the numbers say that it is the first time, and the kernel
then reads zeros in its place. Were it filled here, a captured step would fill it again at every replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, TypeAlias

import numpy as np

from tinyconv.engine.each_step import staged
from tinyconv.errors import CaptureError
from tinyconv.fast.cuda.build import blocks, launch

Array: TypeAlias = Any
State: TypeAlias = dict[str, Any]
Options: TypeAlias = Mapping[str, Any]

TENSORS, STATES, PART, THREADS = 64, 3, 1024, 256
TABLE = np.dtype(
    [
        ("param", np.uintp, TENSORS),
        ("grad", np.uintp, TENSORS),
        ("state", np.uintp, (STATES, TENSORS)),
        ("size", np.int64, TENSORS),
        ("first", np.int32, TENSORS),
    ]
)


@dataclass(frozen=True)
class Rule:
    """The kernel for one rule: `rule(xp, params, grads, states, options)` makes a step, in place.

    Must equal the rule in tinyconv/optim, to rounding, and takes all tensors at once. `params` and `grads` are arrays,
    `states` dicts that a first step fills with what is remembered of each, and `options()` gives the options at a step.
    Tensors that have taken the same number of steps go together.
    """

    kernel: str
    keeps: Callable[[Options], tuple[str | None, ...]]  # the arrays of the state, by their places in the kernel
    numbers: Callable[[Options, int, bool], list[float]]  # from options, this step's number, and whether some are new
    counts: bool = True  # whether the state has the number of steps

    def applies(self, param: Array, state: State) -> bool:
        """Whether the kernel takes this parameter."""
        arrays = [param, *(value for value in state.values() if hasattr(value, "shape"))]
        return param.dtype.char in "fd" and all(
            array.flags.c_contiguous and array.dtype == param.dtype and array.shape == param.shape for array in arrays
        )

    def __call__(
        self,
        xp: Any,
        params: Sequence[Array],
        grads: Sequence[Array],
        states: Sequence[State],
        options: Callable[[], Options],
    ) -> None:
        names = self.keeps(options())
        alike: dict[Any, list[tuple[Array, Array, State]]] = {}
        for param, grad, state in zip(params, grads, states, strict=True):
            if self.counts:
                state.setdefault("step", 0)
            new = tuple(name for name in names if name is not None and name not in state)
            for name in new:
                state[name] = xp.empty_like(param)
            alike.setdefault((param.dtype, state.get("step"), new), []).append((param, grad, state))
        for (dtype, _, new), members in alike.items():
            numbers = staged(xp, self._numbers(dtype, names, new, [state for _, _, state in members], options))
            filled = [member for member in members if member[0].size]
            for start in range(0, len(filled), TENSORS):
                self._launch(xp, dtype, names, filled[start : start + TENSORS], numbers)

    def _numbers(
        self,
        dtype: np.dtype[Any],
        names: tuple[str | None, ...],
        new: tuple[str, ...],
        states: Sequence[State],
        options: Callable[[], Options],
    ) -> Callable[[], np.ndarray[Any, Any]]:
        """A function that counts a step of these states, and returns what the kernel needs to know of it."""
        unwritten = set(new)

        def numbers() -> np.ndarray[Any, Any]:
            now = options()
            if self.keeps(now) != names:
                raise CaptureError(
                    f"{self.kernel}: an option was changed after the step was captured, and decides what is kept for "
                    f"each parameter: {_listed(names)} then, {_listed(self.keeps(now))} now; capture the step again"
                )
            if self.counts:
                for state in states:
                    state["step"] += 1
            first = [float(name in unwritten) for name in names]
            rest = self.numbers(now, states[0].get("step", 0), bool(unwritten))
            unwritten.clear()
            return np.array([*first, *rest], dtype)

        return numbers

    def _launch(
        self,
        xp: Any,
        dtype: np.dtype[Any],
        names: tuple[str | None, ...],
        members: Sequence[tuple[Array, Array, State]],
        numbers: Array,
    ) -> None:
        table = np.zeros((), TABLE)
        table["first"] = np.iinfo(np.int32).max
        grads = [grad if grad.flags.c_contiguous else xp.ascontiguousarray(grad) for _, grad, _ in members]
        parts = 0
        for i, (param, _, state) in enumerate(members):
            table["param"][i], table["grad"][i] = param.data.ptr, grads[i].data.ptr
            for k, name in enumerate(names):
                table["state"][k, i] = 0 if name is None else state[name].data.ptr
            table["size"][i], table["first"][i] = param.size, parts
            parts += blocks(param.size, PART)
        launch(xp, f"optim.cu:{self.kernel}", dtype, (parts,), (THREADS,), table, numbers)


def _listed(names: tuple[str | None, ...]) -> str:
    return ", ".join(filter(None, names)) or "nothing"


def _sign(options: Options) -> float:
    return -1.0 if options["maximize"] else 1.0


def _sgd_keeps(options: Options) -> tuple[str | None, ...]:
    return ("momentum_buffer" if options["momentum"] else None, None, None)


def _sgd_numbers(options: Options, step: int, new: bool) -> list[float]:
    taken = 1.0 if new else 1 - options["dampening"]  # b = g the first time
    return [
        _sign(options), options["weight_decay"], options["lr"], options["momentum"], taken, float(options["nesterov"])
    ]  # fmt: skip


def _adam_keeps(options: Options) -> tuple[str | None, ...]:
    return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if options["amsgrad"] else None)


def _adam_numbers(options: Options, step: int, new: bool) -> list[float]:
    return _moments(options, step, weight_decay=options["weight_decay"], shrink=1.0)


def _adamw_numbers(options: Options, step: int, new: bool) -> list[float]:
    return _moments(options, step, weight_decay=0.0, shrink=1 - options["lr"] * options["weight_decay"])


def _moments(options: Options, step: int, weight_decay: float, shrink: float) -> list[float]:
    beta1, beta2 = options["betas"]
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    return [
        _sign(options), weight_decay, shrink, beta1, 1 - beta1, beta2, 1 - beta2,
        sqrt(correction2), options["eps"], options["lr"] / correction1,
    ]  # fmt: skip


def _rmsprop_keeps(options: Options) -> tuple[str | None, ...]:
    mean, buffer = options["centered"], options["momentum"]
    return ("square_avg", "grad_avg" if mean else None, "momentum_buffer" if buffer else None)


def _rmsprop_numbers(options: Options, step: int, new: bool) -> list[float]:
    alpha = options["alpha"]
    return [
        _sign(options), options["weight_decay"], options["lr"], alpha, 1 - alpha, options["eps"], options["momentum"]
    ]  # fmt: skip


KERNELS = {
    "sgd": Rule("sgd", _sgd_keeps, _sgd_numbers, counts=False),
    "adam": Rule("adam", _adam_keeps, _adam_numbers),
    "adamw": Rule("adam", _adam_keeps, _adamw_numbers),
    "rmsprop": Rule("rmsprop", _rmsprop_keeps, _rmsprop_numbers),
}
