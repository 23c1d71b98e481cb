"""What is called around a module's `forward`: hooks, each a function that may look at, or replace, what goes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tinyconv.engine.context import context
from tinyconv.errors import CallError
from tinyconv.tensor.custom import Function
from tinyconv.tensor.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Hook:
    """A function that a module calls. `kind` is as in the method that registered it: "forward_pre", "backward"."""

    kind: str
    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False
    of_each_replica: bool = False  # whether a replica for another thread stands for itself, and not for its owner


def called(module: Any, hooks: Sequence[Hook], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What `module` gives: its `forward` between its hooks."""
    owner = module if module.replica_of is None else module.replica_of
    for hook in hooks:
        if hook.kind == "forward_pre":
            inputs, options = _replaced(hook, module if hook.of_each_replica else owner, inputs, options)
    waiting, output = [hook for hook in hooks if hook.kind == "forward"], None
    back = context.get().recording and Backward.of(owner, hooks)
    try:
        output = module.forward(*(back.below(inputs) if back else inputs), **options)
        while waiting:
            output = _looked_at(waiting.pop(0), owner, inputs, options, output)
        return back.above(output) if back else output
    except Exception:
        for hook in waiting:
            if hook.always_call:
                with suppress(Exception):  # the first error is the one to be seen
                    _looked_at(hook, owner, inputs, options, output)
        raise


def _replaced(
    hook: Hook, module: Any, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after a pre-hook has seen them."""
    if not hook.with_kwargs:
        given = hook.function(module, inputs)
        return inputs if given is None else given if isinstance(given, tuple) else (given,), options
    given = hook.function(module, inputs, options)
    if given is None:
        return inputs, options
    if not isinstance(given, tuple) or len(given) != 2:
        raise CallError(
            f"{type(module).__name__}: a forward pre-hook with_kwargs=True returns None, or the arguments and the "
            f"keyword arguments (args, kwargs), got a {type(given).__name__}"
        )
    return given


def _looked_at(hook: Hook, module: Any, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
    """The output after a forward hook has seen it."""
    kwargs = (options,) if hook.with_kwargs else ()
    given = hook.function(module, inputs, *kwargs, output)
    return output if given is None else given


class Backward:
    """The backward hooks of a module in one call of it: an identity on the tape before its forward, and one after."""

    def __init__(self, module: Any, before: list[Hook], after: list[Hook]) -> None:
        self.module, self.before, self.after = module, before, after
        self.places: list[int] = []  # of the inputs with a gradient
        self.count = 0  # of the inputs
        self.grad_output: tuple[Any, ...] = ()

    @classmethod
    def of(cls, module: Any, hooks: Sequence[Hook]) -> Backward | None:
        """Those among these hooks, None where there are none."""
        before, after = ([hook for hook in hooks if hook.kind == kind] for kind in ("backward_pre", "backward"))
        return cls(module, before, after) if before or after else None

    def below(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, whose gradients will come by here."""
        self.count = len(inputs)
        self.places, inputs = _through(_Below, self, inputs)
        return inputs

    def above(self, output: Any) -> Any:
        """The output, whose gradient will come by here."""
        _, outputs = _through(_Above, self, output if isinstance(output, tuple) else (output,))
        return outputs if isinstance(output, tuple) else outputs[0]

    def arrived(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the outputs are there."""
        for hook in self.before:
            grads = _gradients(hook, hook.function(self.module, grads), grads)
        self.grad_output = grads
        if not self.places:
            self.leave((None,) * self.count)
        return grads

    def leave(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the inputs are there."""
        for hook in self.after:
            grads = _gradients(hook, hook.function(self.module, grads, self.grad_output), grads)
        return grads


def _through(function: Any, back: Backward, tensors: tuple[Any, ...]) -> tuple[list[int], tuple[Any, ...]]:
    """The tensors with a gradient after an identity, among the others as they are; and which those are."""
    places = [i for i, t in enumerate(tensors) if isinstance(t, Tensor) and t.requires_grad]
    if not places:
        return places, tensors
    passed = iter(function.apply(back, places, len(tensors), *[tensors[i] for i in places]))
    return places, tuple(next(passed) if i in places else t for i, t in enumerate(tensors))


def _gradients(hook: Hook, given: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
    """The gradients after a backward hook has seen them."""
    if given is None:
        return grads
    found = given if isinstance(given, tuple) else (given,)
    if len(found) != len(grads):
        raise CallError(f"a {hook.kind} hook returns None or {len(grads)} gradients, as it got, not {len(found)}")
    return found


class _Identity(Function):
    """Tensors as they are; their gradients are shown to hooks on their way."""

    @staticmethod
    def forward(ctx: Any, back: Backward, places: list[int], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.back, ctx.places, ctx.count = back, places, count
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def shown(ctx: Any, show: Callable[[tuple[Any, ...]], tuple[Any, ...]], grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients for `forward`'s arguments, after `show` has seen them among the others, which are None."""
        whole = [None] * ctx.count
        for i, grad in zip(ctx.places, grads, strict=True):
            whole[i] = grad
        found = show(tuple(whole))
        return (None, None, None, *(found[i] for i in ctx.places))


class _Below(_Identity):
    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Identity.shown(ctx, ctx.back.leave, grads)


class _Above(_Identity):
    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Identity.shown(ctx, ctx.back.arrived, grads)
