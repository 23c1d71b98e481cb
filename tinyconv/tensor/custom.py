"""Function: a function with a gradient of its own, written on tensors. `apply` makes the library's own ops, on arrays.

A call puts one node on the tape. Where the function has several outputs with gradients each of them gets a node too,
which hands the gradient of its output down to the function's: there they meet, as a `Parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from weakref import ref

from tinyconv.arrays.backend import backend_of, ready
from tinyconv.engine.context import context, no_grad
from tinyconv.engine.nodes import FREED, NONE, OpNode, constants_of
from tinyconv.errors import CallError, DtypeError, GraphError
from tinyconv.tensor.tensor import Tensor, wrap


class FunctionCtx:
    """What the forward of a `Function` hands to its backward: `ctx`. Attributes of one's own may be set on it.

    `needs_input_grad` says for each argument whether its gradient is wanted.
    """

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple[Any, ...] = ()
        self._constant: tuple[Any, ...] = ()
        self._zeros = True
        self._node: Callable[[], FunctionNode | None] = lambda: None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs, outputs or other tensors for `saved_tensors`; a write to one of the first two is noticed.

        Raises DtypeError for what is no tensor: set that as an attribute.
        """
        for value in tensors:
            if value is not None and not isinstance(value, Tensor):
                raise DtypeError(
                    f"save_for_backward: takes tensors, got a {type(value).__name__}; keep it as an attribute: "
                    "ctx.name = value"
                )
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given. Raises GraphError once the graph was walked and freed."""
        node = self._node()
        return self._saved if node is None else node.unpacked()

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient; those of an integer dtype never have one."""
        self._constant = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Refused with GraphError: a Function returns new tensors here, and writes to none of its inputs."""
        raise GraphError("mark_dirty: a Function cannot write to its inputs here; return a new tensor instead")

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros, or None where this is False, for an output that nothing depended on."""
        self._zeros = bool(value)


class Function:
    """A function with a gradient of its own: a subclass gives `forward` and `backward`, and is called with `apply`.

        class Exp(tc.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, dy):
                (y,) = ctx.saved_tensors
                return dy * y

        y = Exp.apply(tc.zeros(3, requires_grad=True))

    `forward` gets a context and the arguments, and is not recorded. It returns a tensor or a tuple of them, among which
    there may be other values. `backward` gets the gradient of each output, and returns one for each argument of
    `forward`; None for an argument that is no tensor. Where `create_graph=True` asks for it `backward` is recorded, so
    it can be differentiated again if it is written in tensor operations. It may also be split in two: `forward(*args)`
    without a context, and `setup_context(ctx, inputs, output)`.

    Like `torch.autograd.Function`; `tc.apply` is for ops on arrays, which variants can replace.
    """

    name: str  # of the class: what messages call it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__name__

    def __new__(cls, *args: Any, **options: Any) -> Any:
        raise CallError(f"{cls.__name__}: a Function is not made; call {cls.__name__}.apply(...)")

    @staticmethod
    def forward(*args: Any) -> Any:
        """Compute the outputs. Each Function defines its own; NotImplementedError where one does not."""
        raise NotImplementedError("a Function defines forward(ctx, *args), a staticmethod")

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what `backward` needs, where `forward` takes no context. Defined by those Functions alone."""

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments. Each Function defines its own; NotImplementedError otherwise."""
        raise NotImplementedError("a Function defines backward(ctx, *grad_outputs), a staticmethod")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call the function. Raises GraphError in backward where that returns something else than gradients."""
        now = context.get()
        needs = tuple(now.recording and isinstance(arg, Tensor) and arg._tracked for arg in args)
        ctx = FunctionCtx(needs)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        outputs = _apart(output if isinstance(output, tuple) else (output,), args)
        made = [
            i
            for i, out in enumerate(outputs)
            if isinstance(out, Tensor) and out.dtype.kind == "f" and not any(out is t for t in ctx._constant)
        ]
        if any(needs) and made:
            node = FunctionNode(cls, ctx, args, outputs, made)
            for i in made:
                outputs[i]._node = node if len(made) == 1 else Output(node, outputs[i], i)
                outputs[i]._tracked = True
        return tuple(outputs) if isinstance(output, tuple) else outputs[0]


def _apart(outputs: Sequence[Any], args: tuple[Any, ...]) -> list[Any]:
    """The outputs as tensors that can get a node: an argument that is returned, or a tensor that has one, anew."""
    seen = {id(arg) for arg in args}
    found = []
    for out in outputs:
        found.append(out.detach() if isinstance(out, Tensor) and (id(out) in seen or out._node is not None) else out)
        seen.add(id(out))
    return found


class FunctionNode(OpNode):
    """The node of a call of a Function. What it computed is kept, for `create_graph` cannot compute it again."""

    def __init__(self, op: Any, ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any], made: list[int]) -> None:
        parents = [arg._node if need else None for arg, need in zip(args, ctx.needs_input_grad, strict=True)]
        arrays = [arg.array if isinstance(arg, Tensor) else None for arg in args]
        first = outputs[made[0]]
        saved = tuple(None if t is None else t.array for t in ctx._saved)
        super().__init__(
            op, op, backend_of(first.array).xp, parents, constants_of(args, arrays, parents), {}, saved, first.array,
            first._storage, context.get().layer,
        )  # fmt: skip
        self.array, self.ctx, self.made = first.array, ctx, made
        self.inputs = [None if array is None else (array.shape, array.dtype) for array in arrays]
        self.outputs = [
            (t.array, t._storage) if isinstance(t, Tensor) else None for t in outputs
        ]  # not the tensors, which hold this node
        for t in ctx._saved:
            if t is not None:
                t._storage.recorded = True
        self.others = tuple([outputs[i]._storage for i in made[1:]])
        self.places: dict[int, Output] = {}
        # A saved output is made anew when it is asked for; else it and this node would hold each other.
        known = {id(t): i for i, t in enumerate(outputs) if isinstance(t, Tensor)}
        self.kept = [known.get(id(t), t) for t in ctx._saved]
        ctx._saved, ctx._constant, ctx._node = (), (), ref(self)

    def unpacked(self) -> tuple[Any, ...]:
        """The tensors that were saved, in their places on the tape."""
        if self.saved is FREED:
            raise self._freed()
        return tuple(self._output(kept) if isinstance(kept, int) else kept for kept in self.kept)

    def _output(self, i: int) -> Tensor:
        array, storage = self.outputs[i]  # type: ignore[misc]  # tensors alone are saved
        t = wrap(array)
        t._storage = storage
        if i in self.made:
            t._node, t._tracked = self.places.get(i, self), True
        return t

    def pull(self, grad: Any, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        self.check_saved()
        parts = {self.made[0]: grad} if not isinstance(grad, Parts) else grad.parts
        if not isinstance(grad, Parts):
            self.keep(grad)
        with no_grad():
            grads = self.gradients({i: wrap(ready(part)) for i, part in parts.items()}, needs)
        return tuple(None if g is None else g.array for g in grads)

    def on_tensors(self, grad: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """`pull`, where the gradients are tensors and the walk is recorded."""
        parts = {self.made[0]: grad} if not isinstance(grad, Parts) else grad.parts
        if not getattr(self.op.backward, "once", False):
            return self.gradients(parts, needs)
        with no_grad():
            grads = self.gradients(parts, needs)
        above = [node for node in (*self.parents, *(part._node for part in parts.values())) if node is not None]
        return tuple(None if g is None else Once.after(self, above, g) for g in grads)

    def gradients(self, parts: dict[int, Tensor], needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
        """What the function's `backward` gives for each input, as it should be."""
        ctx, name = self.ctx, self.op.name
        ctx.needs_input_grad = needs
        given = [parts.get(i, self._zeros(i)) for i in range(len(self.outputs))]
        try:
            found = self.op.backward(ctx, *given)
        except Exception as error:
            error.add_note(f"in the backward of {self!r}")
            raise
        grads = found if isinstance(found, tuple) else (found,)
        if len(grads) > len(needs) and not any(g is not None for g in grads[len(needs) :]):
            grads = grads[: len(needs)]
        if len(grads) != len(needs):
            raise self._error(
                f"{name} has {len(needs)} arguments, and its backward must return a gradient (or None) for each, got "
                f"{len(grads)}"
            )
        return tuple(self._fitting(i, grad, need) for i, (grad, need) in enumerate(zip(grads, needs, strict=True)))

    def _zeros(self, i: int) -> Tensor | None:
        place = self.outputs[i]
        if place is None or not self.ctx._zeros:
            return None
        return wrap(backend_of(place[0]).xp.zeros_like(place[0]))

    def _fitting(self, i: int, grad: Any, need: bool) -> Tensor | None:
        """The gradient of argument `i` in its shape and dtype; None where none is needed."""
        if grad is None:
            return None
        outline, name = self.inputs[i], self.op.name
        if outline is None:
            raise self._error(
                f"{name}.backward returned a gradient for argument {i}, which is no tensor; return None there"
            )
        if not isinstance(grad, Tensor):
            raise self._error(f"{name}.backward returned a {type(grad).__name__} for argument {i}; it must be a Tensor")
        if not need:
            return None
        shape, dtype = outline
        if grad.shape != shape:
            grad = self._summed(i, grad, shape)
        return grad if grad.dtype == dtype else grad.to(dtype)

    def _summed(self, i: int, grad: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient of an input that was broadcast to the shape of `grad`."""
        more = grad.ndim - len(shape)
        if more < 0 or any(a != b and b != 1 for a, b in zip(grad.shape[more:], shape, strict=True)):
            raise self._error(
                f"{self.op.name}.backward returned a gradient of shape {grad.shape} for argument {i}, which is {shape}"
            )
        axes = [k for k, size in enumerate(grad.shape) if k < more or size != shape[k - more]]
        return grad.sum(axes, keepdim=True).reshape(shape)

    def rounded(self, total: Any) -> Any:
        return total if isinstance(total, Parts) else super().rounded(total)

    def added(self, total: Any, grad: Any, owned: bool) -> Any:
        return total + grad if isinstance(total, Parts) else super().added(total, grad, owned)

    def release(self) -> None:
        super().release()
        self.array, self.kept, self.outputs = None, [], []


class Output(OpNode):
    """The node of one of a function's several outputs: it hands the gradient down to the function's node."""

    def __init__(self, node: FunctionNode, out: Tensor, i: int) -> None:
        super().__init__(node.op, node.op, node.xp, [node], NONE, {}, (), out.array, out._storage, node.layer)
        self.array, self.number = out.array, i
        node.places[i] = self

    def pull(self, grad: Any, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        self.check_saved()
        self.keep(grad)
        return self.on_tensors(grad, needs)

    def on_tensors(self, grad: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """The gradient as that of one output among several."""
        return (Parts({self.number: grad}),)

    def release(self) -> None:
        super().release()
        self.array = None


class Parts:
    """The gradients of a function's outputs, by their number. Each comes whole, so a sum only joins them."""

    def __init__(self, parts: dict[int, Any]) -> None:
        self.parts = parts

    def __add__(self, other: Parts) -> Parts:
        return Parts({**self.parts, **other.parts})


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a `backward` that is not written in tensor operations, such as one in NumPy.

    Gradients that it gave cannot be differentiated again: GraphError where they are, and not a wrong result. It goes
    under `@staticmethod`. Like `torch.autograd.function.once_differentiable`.
    """

    @wraps(backward)
    def once(ctx: FunctionCtx, *grads: Any) -> Any:
        return backward(ctx, *grads)

    once.once = True  # type: ignore[attr-defined]
    return once


class Once(OpNode):
    """The node of a gradient that cannot be differentiated again."""

    @classmethod
    def after(cls, node: FunctionNode, above: list[Any], grad: Tensor) -> Tensor:
        """`grad`, which the function of `node` computed from what these nodes gave."""
        out = grad.detach()
        out._node = cls(node.op, node.op, node.xp, above, NONE, {}, (), out.array, out._storage, node.layer)
        out._node.array, out._tracked = out.array, True
        return out

    def on_tensors(self, grad: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Refused with GraphError."""
        raise self._error(
            f"{self.op.name}.backward is once_differentiable: its gradients cannot be differentiated again; write it "
            "in tensor operations, and leave the decorator out"
        )

    def pull(self, grad: Any, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return self.on_tensors(grad, needs)
