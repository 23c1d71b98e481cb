"""Tensor, and `apply`: the only bridge between ops (pure functions on arrays) and the tape (nodes, no arrays)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from operator import index
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from numpy import ndarray  # by its own name on the way of every op

from tinyconv import lifted, ops, shapes
from tinyconv.backend import META, NUMPY, Array, backend_for, backend_of, default_device, device_name
from tinyconv.backend import device as Device
from tinyconv.errors import DeviceError, DtypeError, GraphError, ShapeError
from tinyconv.meta import MetaArray
from tinyconv.modes import Layer, enable_grad, mode, quiet, quietly
from tinyconv.staging import not_captured
from tinyconv.storage import Storage, checksum
from tinyconv.tape import Node, number, walk
from tinyconv.variants import automatic, op_name, select

Scalar: TypeAlias = bool | int | float
Dtype: TypeAlias = Any  # whatever np.dtype() takes
Result = TypeVar("Result")

DEFAULT_FLOAT = np.dtype(np.float32)
_NUMPY_DTYPES = {np.dtype(code) for code in "?bhilqBHILQefd"}


# --- nodes ----------------------------------------------------------------------------------------------------------

_RETAIN: Any = object()  # in OpNode.grad: the gradient that arrives is wanted
_FREED: Any = object()  # in OpNode.saved: walked already


class Leaf(Node):
    """Where gradients end up: the node of a tensor that requires grad and was not computed."""

    __slots__ = ("array", "converted", "grad", "storage")
    is_leaf = True

    def __init__(self, array: Array, storage: Storage) -> None:
        super().__init__()
        self.array, self.storage = array, storage
        self.converted = False  # since a tensor asked for its gradient
        self.grad: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def pull(self, grad: Array, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        ready(grad)
        if self.grad is None:
            # What is borrowed may be a view of another gradient, or the caller's own array.
            self.grad = wrap(grad if owned else grad.copy())
        else:
            self.grad.array += grad
            self.grad.storage.wrote(self.grad.array)
        watcher = mode.get().watcher
        if watcher is not None:
            watcher.gathered(self, self.grad.array)
        return ()


# The inputs that need no gradient, by number, each with its storage: nothing else could find them again.
Constants: TypeAlias = dict[int, tuple[Any, Storage | None]]
_NONE: dict[int, Any] = {}


class OpNode(Node):
    """One op that was run: its pair, what the pair saved, and the geometry it was called with."""

    __slots__ = (
        "constants", "dtype", "geometry", "grad", "layer", "line", "op", "others", "pair", "saved", "shape", "storage",
        "sums", "xp",
    )  # fmt: skip

    def __init__(
        self, op: Any, pair: Any, xp: Any, parents: list[Any], constants: Constants, geometry: dict[str, Any],
        saved: Any, out: Tensor, layer: Layer | None,
    ) -> None:  # fmt: skip
        self.order, self.parents, self.hooks = number(), parents, None  # super().__init__ would cost 0.1 us
        self.op, self.pair, self.xp, self.geometry = op, pair, xp, geometry
        self.constants, self.saved = constants, saved
        self.shape, self.dtype, self.storage = out.array.shape, out.array.dtype, out.storage  # of the output
        self.others: tuple[Storage, ...] = ()  # of its further outputs
        self.layer = layer  # the module that ran it
        self.line: str | None = None  # of the user's program; noted only under detect_anomaly
        self.sums = _NONE  # of what was saved of memory that others might write to: place, whose it is, checksum
        self.grad: Any = None

    @property
    def gives(self) -> bool:
        """As the pair says, `gives = True` in its class: a leaf keeps such a gradient and copies nothing."""
        return getattr(self.pair, "gives", False)

    def pull(self, grad: Array, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        self.check_saved()
        if self.grad is not None:
            self.grad = wrap(grad.copy() if self.grad is _RETAIN else self.grad.array + grad)
        ready(grad)
        grads: tuple[Any, ...] = self.pair.backward(self.xp, self.saved, grad, needs, **self.geometry)
        self.check_gradients(grads)
        watcher = mode.get().watcher
        if watcher is not None:
            watcher.pulled(self, grad, grads)
        return grads

    def check_saved(self) -> None:
        """Whether what was saved is still there, and as it was."""
        if self.saved is _FREED:
            raise GraphError(
                f"backward: the graph through {op_name(self.op)!r} was walked before and what it saved is freed; "
                "to walk it twice, call the first backward with retain_graph=True"
            )
        for i, parent in enumerate((*self.parents, self)):
            storage = self.constants[i][1] if parent is None else cast(Any, parent).storage
            if storage is not None and storage.changed_since(self.order):
                self._refuse(i, _parts(self.xp, self.saved, storage.memory))
        for storage in self.others:
            if storage.changed_since(self.order):
                self._refuse(len(self.parents), _parts(self.xp, self.saved, storage.memory))
        for k, (i, then) in self.sums.items():
            if checksum(self.saved[k]) != then:
                self._refuse(i, [k])

    def _refuse(self, i: int, changed: list[int]) -> None:
        if changed:
            what, array = "an output" if i == len(self.parents) else f"input {i}", self.saved[changed[0]]
            raise GraphError(
                f"backward: {op_name(self.op)!r} saved {what} ({array.dtype}, shape {array.shape}) for its gradient, "
                "and it was written to in place since; write to a copy (x.clone()), or make a new tensor "
                "(x = x + 1 instead of x += 1)"
            )

    def check_gradients(self, grads: Any) -> None:
        """Whether the op's backward, which may be a user's, gave what it should."""
        name = op_name(self.op)
        if not isinstance(grads, tuple) or len(grads) != len(self.parents):
            got = f"{len(grads)} of them" if isinstance(grads, tuple) else f"a {type(grads).__name__}"
            raise GraphError(
                f"backward: {name!r} has {len(self.parents)} inputs, and its backward must return a tuple with a "
                f"gradient (or None) for each, got {got}"
            )
        for i, (parent, grad) in enumerate(zip(cast(Any, self.parents), grads, strict=True)):
            if parent is None or grad is None:
                continue
            if grad.shape != parent.shape or grad.dtype != parent.dtype:
                if parent.is_leaf and parent.converted:
                    raise GraphError(
                        f"backward: input {i} of {name!r} was converted to {parent.dtype} {parent.shape} after the "
                        "forward (module.to, x.data = ...); convert before it"
                    )
                raise GraphError(
                    f"backward: {name!r} returned a gradient of {grad.dtype} {grad.shape} for input {i}, which is "
                    f"{parent.dtype} {parent.shape}"
                )

    def release(self) -> None:
        self.saved = _FREED
        self.constants = self.sums = _NONE
        self.layer = None  # a module may hold its output


# --- apply ----------------------------------------------------------------------------------------------------------


def apply(op: Any, *inputs: Any, **geometry: Any) -> Any:
    """Run `op` on tensors (and Python numbers, and None) and record it: how every function here is made.

    Returns a Tensor; or, where the op's forward gives a tuple, a tuple of Tensors of which the first has the gradient.
    """
    now = mode.get()
    arrays: list[Any] = []
    parents: list[Leaf | OpNode | None] = []
    on_host, tracked, watched = True, False, False
    for t in inputs:
        parent = None
        if isinstance(t, Tensor):
            array = t.array
            if type(array) is not ndarray:
                on_host = False
            if t.tracked:
                parent, tracked = t.node, True
            if t.storage.watched:
                watched = True
        else:
            array = t if type(t) is float else _constant_input(t)
        arrays.append(array)
        parents.append(parent)
    if geometry:  # a NumPy scalar among the numbers would turn a float32 into a float64
        geometry = {name: v.item() if isinstance(v, np.generic) else v for name, v in geometry.items()}
    backend = NUMPY if on_host else backend_of(*arrays)
    xp = backend.xp
    check = _validator(op)
    if check is not None:
        check(*arrays, **geometry)
    pair = op if now.variants is None and op not in automatic else select(op, backend.name, arrays, geometry)
    try:
        if now.quiet:  # `quietly`, written out: it is on the way of every op
            y, saved = pair.forward(xp, *arrays, **geometry)
        else:
            y, saved = quiet.context.run(pair.forward, xp, *arrays, **geometry)
    except MemoryError as error:
        backend.out_of_memory(op_name(op), error)
        raise
    rest: tuple[Tensor, ...] = ()
    if type(y) is tuple:
        y, *others = y
        rest = tuple(wrap(other) for other in others)
    out = wrap(y)
    y = out.array
    shares = y.base is not None
    for array in arrays:
        if array is y:
            shares = True
    if shares:
        for t, array in zip(inputs, arrays, strict=True):
            if isinstance(t, Tensor) and xp.may_share_memory(y, array):
                out.storage = t.storage
                out.storage.recorded |= t.tracked
                out.storage.share(t, out)
                break
    if tracked and now.recording and y.dtype.kind == "f":
        constants = _constants(inputs, arrays, parents) if None in parents else _NONE
        node = OpNode(op, pair, xp, parents, constants, geometry, saved, out, now.layer)
        if watched:
            node.sums = _checksums(xp, saved, inputs)
        if rest:  # a pair may save them as well as y
            node.others = tuple(other.storage for other in rest)
            for other in rest:
                other.storage.recorded = True
        out.node, out.tracked = node, True
    if now.watcher is not None:
        now.watcher.made(op, inputs, geometry, (out, *rest))
    return (out, *rest) if rest else out


@cache
def _validator(op: Any) -> Any:
    """The op's `check`, if it has one: looking for what is not there takes as long as a small product."""
    return getattr(op, "check", None)


def _constants(inputs: tuple[Any, ...], arrays: list[Any], parents: list[Any]) -> Constants:
    constants: Constants = {}
    for i, parent in enumerate(parents):
        if parent is None:
            t, storage = inputs[i], None
            if isinstance(t, Tensor):
                storage = t.storage
                storage.recorded = True
            constants[i] = arrays[i], storage
    return constants


def _checksums(xp: Any, saved: tuple[Any, ...], inputs: tuple[Any, ...]) -> dict[int, tuple[int, int]]:
    """Of the arrays saved that are parts of memory which others may write to: which input's, and the checksum."""
    return {
        k: (i, checksum(saved[k]))
        for i, t in reversed(list(enumerate(inputs)))  # of several inputs in one memory, the first is named
        if isinstance(t, Tensor) and t.storage.watched
        for k in _parts(xp, saved, t.array)
    }


def _parts(xp: Any, saved: tuple[Any, ...], memory: Array) -> list[int]:
    """Which of the arrays saved are parts of this memory."""
    return [k for k, s in enumerate(saved) if hasattr(s, "strides") and xp.may_share_memory(s, memory)]


def _constant_input(value: Any) -> Any:
    """A number or None, which ops take as they are; nothing else."""
    if type(value) is float or type(value) is int or value is None:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int | float):
        return value
    hint = ": tinyconv.tensor(x)?" if hasattr(value, "dtype") or isinstance(value, list | tuple) else ""
    raise DtypeError(f"expected a Tensor, got {type(value).__module__}.{type(value).__qualname__}{hint}")


# --- walking back ---------------------------------------------------------------------------------------------------


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    *,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` (their sum, or their product with `grad_outputs`) with respect to each of `inputs`.

    Nothing is added to the `.grad` of leaves. An input that the outputs do not depend on raises, or gives None with
    `allow_unused`, or zeros with `materialize_grads`. The part of the graph that was walked is freed unless
    `retain_graph`. With `create_graph` the gradients are recorded themselves, so that they can be differentiated again
    (and the graph is kept).
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds: list[Tensor | None] = [None] * len(roots)
    if grad_outputs is not None:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    nodes = []
    for i, t in enumerate(wanted):
        if not t.requires_grad or t.node is None:
            raise GraphError(f"grad: input {i} of shape {t.shape} does not require grad")
        nodes.append(t.node)
    found = _walk("grad", roots, seeds, retain_graph, create_graph, nodes)
    for i, (node, t) in enumerate(zip(nodes, wanted, strict=True)):
        if node not in found and materialize_grads:
            zeros = wrap(backend_of(t.array).xp.zeros_like(t.array))
            found[node] = zeros if create_graph else zeros.array
        elif node not in found and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {i}; with allow_unused=True its gradient is None"
            )
    # A copy of what is borrowed, so that no two of the results share memory.
    if create_graph:
        with enable_grad():
            return tuple(found[node].clone() if node in found else None for node in nodes)
    return tuple(wrap(ready(found[node]).copy()) if node in found else None for node in nodes)


def _walk(
    what: str,
    roots: list[Tensor],
    seeds: list[Tensor | None],
    retain: bool | None,
    create_graph: bool,
    capture: list[Any] | None = None,
) -> dict[Any, Any]:
    if len(roots) != len(seeds):
        raise GraphError(f"{what}: {len(roots)} outputs need as many gradients, got {len(seeds)}")
    starts: list[tuple[Node, Any]] = []
    for root, seed in zip(roots, seeds, strict=True):
        if not root.requires_grad or root.node is None:
            raise GraphError(
                f"{what}: this tensor does not require grad: no tensor it was computed from has requires_grad=True, "
                "or it was computed inside no_grad(). Was it computed from a gradient? Then ask for that with "
                "create_graph=True"
            )
        if seed is None:
            if root.numel() != 1:
                raise GraphError(
                    f"{what}: only a tensor with one element has a gradient of its own, this one has shape "
                    f"{root.shape}; reduce it (loss.mean()) or pass {'grad_outputs' if what == 'grad' else 'gradient'}="
                )
            seed = wrap(backend_of(root.array).xp.ones_like(root.array))
        else:
            _check_gradient(f"{what}: gradient", seed, root)
        starts.append((root.node, seed if create_graph else seed.array))
    retain = create_graph if retain is None else retain
    now = mode.get()
    try:
        with np.errstate(all="ignore"):
            if not create_graph:
                return walk(starts, retain=retain, capture=capture)
            mode.set(now.but(recording=True, watcher=None))  # the recorder tells the watcher what it should know
            return walk(starts, retain=retain, capture=capture, pull=Recorder(now.watcher).pull)
    except MemoryError as error:
        backend_of(roots[0].array).out_of_memory(what, error)
        raise
    finally:
        mode.set(now)


class Recorder:
    """One walk that is recorded itself: gradients are tensors, and every op's own source runs on tensors.

    For that an op's forward is run once more, on its inputs with their places on the tape, so that what it saves is on
    the tape too. Those inputs are computed again from the leaves on, for no node keeps them.
    """

    def __init__(self, watcher: Any = None) -> None:
        self._outputs: dict[OpNode, Array] = {}
        self._watcher = watcher

    def pull(self, node: Any, grad: Tensor, owned: bool, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if node.is_leaf:
            node.grad = grad.clone() if node.grad is None else node.grad + grad  # it may be lent to others too
            if self._watcher is not None:
                self._watcher.gathered(node, node.grad.array)
            return ()
        if self._watcher is not None:  # the steps of a backward are its business, but are to know whose they are
            mode.set(mode.get().but(watcher=self._watcher.within(node), layer=node.layer))
        node.check_saved()
        self._check_inputs(node)
        if node.grad is not None:
            node.grad = grad.clone() if node.grad is _RETAIN else node.grad + grad
        if node.op is _Move:  # between two array libraries, where no xp is both
            return (grad.to(node.saved[0]),)
        library = lifted.Library(node.xp, apply, wrap, op_name(node.op))
        inputs = [
            self._constant(library, *node.constants[i])
            if parent is None
            else library.lift(_on_tape(self._array(parent), parent))
            for i, parent in enumerate(node.parents)
        ]
        y, saved = node.op.forward(library, *inputs, **node.geometry)
        y = y[0] if isinstance(y, tuple) else y
        # An output that was saved is that of this node: its gradient is the op's own formula, not that of its steps.
        saved = tuple(library.lift(_on_tape(s.tensor.array, node)) if s is y else s for s in saved)
        if node.pair is node.op:  # what a variant saves is its own business
            self._compare(node, saved)
        grads = node.op.backward(library, saved, library.lift(grad), needs, **node.geometry)
        if isinstance(grads, tuple):
            grads = tuple(g.tensor if isinstance(g, lifted.Lifted) else g if g is None else wrap(g) for g in grads)
        node.check_gradients(grads)
        if self._watcher is not None:
            self._watcher.pulled(node, grad.array, [None if g is None else g.array for g in grads])
        return cast("tuple[Any, ...]", grads)

    @staticmethod
    def _constant(library: lifted.Library, value: Any, storage: Storage | None) -> Any:
        """An input without a gradient: lifted too if it is of floating point, for `constant += lifted` to work.

        Masks and indices stay arrays, and have no storage that would know of writes: they are copied.
        """
        if storage is None:
            return value
        if value.dtype.kind != "f":
            return value.copy()
        t = wrap(value)
        t.storage = storage
        return library.lift(t)

    @staticmethod
    def _check_inputs(node: OpNode) -> None:
        """What an input was when the op ran it has to be still, also where the op did not save it."""
        for i, parent in enumerate(node.parents):
            storage = node.constants[i][1] if parent is None else cast(Any, parent).storage
            if storage is not None and storage.changed_since(node.order):
                raise GraphError(
                    f"create_graph: input {i} of {op_name(node.op)!r} was written to in place since, and is needed "
                    "once more; write to a copy (x.clone()), or make a new tensor (x = x + 1 instead of x += 1)"
                )

    def _array(self, parent: Any) -> Array:
        return parent.array if parent.is_leaf else self._output(parent)

    def _output(self, node: OpNode) -> Array:
        """What a node's op gave, computed again from the leaves on: in a loop, for chains may be long."""
        pending = [node]
        while pending:
            at = pending[-1]
            if at in self._outputs:
                pending.pop()
                continue
            if at.saved is _FREED:
                raise GraphError(
                    f"create_graph: the output of {op_name(at.op)!r} has to be computed again from what leads to it, "
                    "and that was walked and freed; call the first backward with retain_graph=True"
                )
            self._check_inputs(at)
            missing = [
                parent
                for parent in cast("list[OpNode | None]", at.parents)
                if parent is not None and not parent.is_leaf and parent not in self._outputs
            ]
            if missing:
                pending += missing
            else:
                arrays = [
                    at.constants[i][0] if parent is None else self._array(parent) for i, parent in enumerate(at.parents)
                ]
                y, _ = quietly(at.pair.forward, at.xp, *arrays, **at.geometry)
                self._outputs[at] = wrap(y[0] if isinstance(y, tuple) else y).array
        return self._outputs[node]

    @staticmethod
    def _compare(node: OpNode, again: tuple[Any, ...]) -> None:
        """Whether running forward again saved what it did then, floats to half the digits."""
        for new, old in zip(map(lifted.lower, again), node.saved, strict=True):
            kind = getattr(getattr(old, "dtype", None), "kind", "")
            if kind and kind != "f" and not (new == old).all():
                raise _unlike(node)
            if kind == "f":
                xp = node.xp
                with np.errstate(all="ignore"):
                    size = xp.where(xp.isfinite(old), xp.abs(old), 0).max() if old.size else 0
                    near = xp.abs(new - old) <= size * float(np.finfo(old.dtype).eps) ** 0.5
                    same = near | xp.equal(new, old) | (xp.not_equal(new, new) & xp.not_equal(old, old))
                if not same.all():
                    raise _unlike(node)


def _on_tape(array: Array, node: Any) -> Tensor:
    """A tensor with this place on the tape, and what is known of writes to its memory, which may be a leaf's."""
    t = wrap(array)
    t.node, t.tracked, t.storage = node, True, node.storage
    return t


def _unlike(node: OpNode) -> GraphError:
    return GraphError(
        f"create_graph: {op_name(node.op)!r} run again saved other values than the first time: one of its inputs was "
        "written to in place since (write to a copy, x.clone()), or its forward does not give the same twice"
    )


def _check_gradient(what: str, value: Any, of: Any) -> None:
    if not isinstance(value, Tensor):
        raise DtypeError(f"{what} must be a Tensor, got {type(value).__name__}")
    if value.shape != of.shape or value.dtype != of.dtype:
        raise ShapeError(f"{what} must be {of.dtype} {of.shape}, got {value.dtype} {value.shape}")


def numpy_names(method: Callable[..., Result]) -> Callable[..., Result]:
    """Let a method with `dim` and `keepdim` be called with NumPy's `axis` and `keepdims` as well, as torch does."""

    @wraps(method)
    def renamed(*args: Any, **options: Any) -> Result:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in options:
                options[ours] = options.pop(theirs)
        return method(*args, **options)

    return renamed


# --- Tensor ---------------------------------------------------------------------------------------------------------


class Tensor:
    """An array, and how it was computed.

    `array` is the array itself, of NumPy or CuPy; after a write to it call `storage.wrote(array)`. `Tensor(data)` makes
    a float32 tensor, as in torch; `tinyconv.tensor(data)` infers the dtype.
    """

    __slots__ = ("__weakref__", "array", "node", "storage", "tracked")
    __hash__ = object.__hash__  # `==` compares elements

    array: Array
    node: Leaf | OpNode | None
    storage: Storage
    tracked: bool  # what `requires_grad` shows

    def __init__(
        self, data: Any, *, requires_grad: bool = False, dtype: Dtype = DEFAULT_FLOAT, device: str | None = None
    ) -> None:
        self.array = to_array(data, dtype, device)
        self.node = None
        self.tracked = False
        self.storage = Storage()
        self.requires_grad_(requires_grad)

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def device(self) -> str:
        return backend_of(self.array).device_of(self.array)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[shapes.axis_of(dim, self.ndim, "size")]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return shapes.product(self.shape)

    def element_size(self) -> int:
        """Bytes an element."""
        return int(self.dtype.itemsize)

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_leaf(self) -> bool:
        """Whether nobody computed it (as far as the tape knows)."""
        return not isinstance(self.node, OpNode)

    @property
    def grad_fn(self) -> Node | None:
        """The tape's node of the op that made it."""
        return self.node if isinstance(self.node, OpNode) else None

    @property
    def data(self) -> Tensor:
        """The same memory, outside the tape: `p.data -= lr * p.grad` is not recorded. As in torch."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        _check_gradient("data", value, self)
        if value.array is not self.array:
            self.rebind(value.array, value.storage)

    def rebind(self, array: Array, storage: Storage) -> None:
        """Hold another array from now on, perhaps of another dtype or on another device."""
        self.array, self.storage = array, storage
        if isinstance(self.node, Leaf):
            self.node.converted |= array.dtype != self.node.array.dtype or array.shape != self.node.array.shape
            self.node.array, self.node.storage = array, storage

    # Gradients.

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far, of the shape and dtype of this tensor; None before any arrived.

        Only leaves keep one, and tensors that were asked to with `retain_grad`.
        """
        grad = self.node.grad if self.node is not None else None
        return None if grad is _RETAIN else grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            _check_gradient("grad", value, self)
            if not _writeable(value.array):
                value = value.clone()  # backward will add to it
        if self.node is None:
            self.node = Leaf(self.array, self.storage)
        self.node.grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient with respect to this tensor is wanted, or to any it was computed from."""
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients with respect to this tensor, a leaf; or stop asking."""
        if requires_grad and self.dtype.kind != "f":
            raise DtypeError(f"requires_grad: only floating-point tensors have gradients, this one is {self.dtype}")
        if not self.is_leaf and not requires_grad:
            raise GraphError("requires_grad_(False): this tensor was computed from others; use x.detach()")
        self.storage.recorded |= self.tracked
        if requires_grad and self.node is None:
            self.node = Leaf(self.array, self.storage)
        self.tracked = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor too, though it is not a leaf."""
        if not self.requires_grad:
            raise GraphError("retain_grad: this tensor does not require grad")
        if isinstance(self.node, OpNode) and self.node.grad is None:
            self.node.grad = _RETAIN

    def detach(self) -> Tensor:
        """The same memory, outside the tape."""
        out = wrap(self.array)
        out.storage = self.storage
        out.storage.recorded |= self.tracked
        out.storage.share(self, out)
        return out

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add to `.grad` of every leaf the gradient of this tensor with respect to it.

        `gradient`, of this tensor's shape, is the gradient of something with respect to this tensor; a tensor with one
        element needs none. What the tape saved is freed as it is walked, unless `retain_graph`. With `create_graph`
        the gradients are recorded, to be differentiated again; `.grad` then holds on to the graph, and the graph to the
        parameters: use `tinyconv.grad` where you can, or set `.grad = None` in the end.
        """
        _walk("backward", [self], [gradient], retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(grad)` when the whole gradient of this tensor is known; what it returns, if not None, replaces it.

        The hook must not write to `grad`. `handle.remove()` takes it away again.
        """
        if not self.requires_grad or self.node is None:
            raise GraphError("register_hook: this tensor does not require grad, so no gradient will come")

        def on_gradient(grad: Any) -> Any:  # an array; or a tensor, in a walk that is recorded
            recorded = isinstance(grad, Tensor)
            replaced = hook(grad if recorded else wrap(grad))
            if replaced is None:
                return None
            _check_gradient("register_hook: what the hook returns", replaced, grad)
            return replaced if recorded else replaced.array

        if self.node.hooks is None:
            self.node.hooks = []
        self.node.hooks.append(on_gradient)
        return HookHandle(self.node.hooks, on_gradient)

    # To and from other forms.

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array that shares this tensor's memory.

        Of a tensor that requires grad the array is read-only: NumPy's work would not be recorded, and a write would
        spoil what the tape has saved. A tensor on a GPU must be brought over first, with `.cpu()`.
        """
        if META.owns(self.array):
            META.to_numpy(self.array)  # which says why not
        if self.device != "cpu":
            raise DeviceError(f"numpy: this tensor is on {self.device}; bring it over first: x.cpu().numpy()")
        view: np.ndarray[Any, Any] = self.array.view()
        self.storage.share(self, view)
        if self.tracked:
            view.flags.writeable = False
        elif view.flags.writeable:
            self.storage.watch(view)
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array if copy else self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """`ndarray * tensor` is a Tensor; `np.exp(tensor)` an ndarray, or an error where a gradient would be lost."""
        if any(isinstance(value, Tensor) for value in options.get("out", ())):
            raise TypeError(
                f"np.{ufunc.__name__}(..., out=tensor) is not possible; write x[...] = value, under no_grad"
            )
        operator = _REFLECTED.get(ufunc.__name__) if method == "__call__" and not options else None
        if operator is not None and not isinstance(inputs[0], Tensor):
            return getattr(self, operator)(inputs[0])
        if any(isinstance(value, Tensor) and value.tracked for value in inputs):
            raise GraphError(
                f"np.{ufunc.__name__} is not recorded, so the gradient through it would be missing; use tinyconv's own "
                "functions, or leave the tape on purpose with x.detach()"
            )
        arrays = (value.numpy() if isinstance(value, Tensor) else value for value in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __dlpack__(self, **options: Any) -> Any:
        if self.device != "cpu":
            return self.array.__dlpack__(**options)
        self.storage.recorded |= self.tracked
        self.storage.watch(self.array)  # also where it is read-only: some consumers do not heed that
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self.numel() != 1:
            raise ShapeError(f"item: only a tensor with one element is a number, this one has shape {self.shape}")
        return backend_of(self.array).to_numpy(self.array).item()

    def tolist(self) -> Any:
        return backend_of(self.array).to_numpy(self.array).tolist()

    def to(
        self, *args: Any, device: str | None = None, dtype: Dtype = None, copy: bool = False, non_blocking: bool = False
    ) -> Tensor:
        """This tensor with another dtype, on another device, or both: `t.to("cuda")`, `t.to(tc.float64)`,
        `t.to(other)`. The same tensor if nothing changes, unless `copy`. Gradients flow through.

        `non_blocking` is understood, for programs written for torch: a copy to a GPU never waits for it, and one to the
        host always does.
        """
        device, dtype = destination(args, device, dtype)
        out = self
        if dtype is not None and dtype != self.dtype:
            out = apply(ops.Cast, out, dtype=dtype)
        if device is not None and device != self.device:
            out = apply(_Move, out, device=device)
        return out.clone() if copy and out is self else out

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """This tensor on a GPU: the first, or `cuda(1)`, `cuda("cuda:1")`."""
        return self.to(cuda_name(device))

    def float(self) -> Tensor:
        return self.to(np.float32)

    def double(self) -> Tensor:
        return self.to(np.float64)

    def long(self) -> Tensor:
        return self.to(np.int64)

    def int(self) -> Tensor:
        return self.to(np.int32)

    def bool(self) -> Tensor:
        return self.to(np.bool_)

    def clone(self) -> Tensor:
        """The same values in memory of their own; gradients flow through."""
        return apply(ops.Copy, self)

    def contiguous(self) -> Tensor:
        """This tensor if its memory is in row-major order, else a copy that is."""
        return self if self.array.flags.c_contiguous else self.clone()

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        if not self.is_leaf:
            raise GraphError("deepcopy: only leaves can be copied with their gradients; use x.detach().clone()")
        out = object.__new__(type(self))
        memo[id(self)] = out
        out.array, out.storage, out.node, out.tracked = ready(self.array).copy(), Storage(), None, self.tracked
        if self.node is not None:
            out.node = Leaf(out.array, out.storage)
            out.grad = None if self.grad is None else self.grad.clone()
        return out

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GraphError("pickle: only leaves can be pickled, the tape cannot; use x.detach()")
        return _unpickle, (type(self), backend_of(self.array).to_numpy(self.array), self.device, self.requires_grad)

    def __repr__(self) -> str:
        backend = backend_of(self.array)
        values = (
            "..."
            if backend is META
            else np.array2string(backend.to_numpy(self.array), separator=", ", prefix="tensor(", precision=4)
        )
        notes = [values]
        if backend is META or (self.numel() == 0 and self.shape != (0,)):
            notes.append(f"size={self.shape}")
        if self.dtype not in (DEFAULT_FLOAT, np.int64, np.bool_):
            notes.append(f"dtype={self.dtype}")
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if isinstance(self.node, OpNode):
            notes.append(f"grad_fn=<{op_name(self.node.op)}>")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({', '.join(notes)})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.ndim == 0 else format(repr(self), spec)

    def __len__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __contains__(self, value: Any) -> Any:
        return bool((self == value).any())

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> Any:
        if self.numel() != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; use .any(), .all() or compare single values"
            )
        return bool(self.item())

    def __float__(self) -> Any:
        return float(self.item())

    def __int__(self) -> Any:
        return int(self.item())

    def __index__(self) -> Any:
        if self.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, this one is {self.dtype}")
        return int(self.item())

    # Arithmetic.

    def __add__(self, other: Any) -> Tensor:
        return _binary(ops.Add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(ops.Add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _binary(ops.Sub, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _binary(ops.Sub, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(ops.Mul, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(ops.Mul, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary(ops.Div, self, other, floating=True)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(ops.Div, other, self, floating=True)

    def __pow__(self, other: Any) -> Tensor:
        return _binary(ops.Pow, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        base = _operand(other)
        if base is None:
            return NotImplemented
        # As a tensor, since its logarithm is taken: that of a Python number would be a float64.
        dtype = _result_type(base, self)
        return _binary(ops.Pow, base if isinstance(base, Tensor) else wrap(to_array(base, dtype, self.device)), self)

    def __matmul__(self, other: Any) -> Tensor:
        return _matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _matmul(other, self)

    def __neg__(self) -> Tensor:
        return apply(ops.Neg, self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return apply(ops.Abs, self)

    add, sub, mul, div, pow, matmul, neg, abs = (
        __add__, __sub__, __mul__, __truediv__, __pow__, __matmul__, __neg__, __abs__,
    )  # fmt: skip

    def maximum(self, other: Any) -> Tensor:
        """The larger of each two elements; NaN wins."""
        return _binary(ops.Maximum, self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of each two elements; NaN wins."""
        return _binary(ops.Minimum, self, other)

    # In place. Under no_grad (or where nothing requires grad) they write into this tensor's memory. Where they are
    # recorded, the name is given to a new tensor instead. Nobody can tell these apart unless there are views of the
    # memory, and then they raise.

    def __iadd__(self, other: Any) -> Tensor:
        return self._assign("+=", self + other)

    def __isub__(self, other: Any) -> Tensor:
        return self._assign("-=", self - other)

    def __imul__(self, other: Any) -> Tensor:
        return self._assign("*=", self * other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._assign("/=", self / other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._assign("**=", self**other)

    add_, sub_, mul_, div_ = __iadd__, __isub__, __imul__, __itruediv__

    def copy_(self, source: Any) -> Tensor:
        """Write the values of `source`, which may broadcast, into this tensor."""
        value = source if isinstance(source, Tensor) else wrap(to_array(source, self.dtype, self.device))
        return self._assign("copy_", value.to(self.device).to(self.dtype).expand(*self.shape))

    def fill_(self, value: Scalar) -> Tensor:
        """Write one number everywhere."""
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Write zeros."""
        return self.copy_(0)

    def _assign(self, what: str, value: Tensor) -> Tensor:
        if value.shape != self.shape:
            raise ShapeError(f"{what}: the result has shape {value.shape} and cannot be written into {self.shape}")
        if _category(value.dtype) > _category(self.dtype):
            raise DtypeError(f"{what}: the result is {value.dtype} and cannot be written into {self.dtype}")
        if mode.get().recording and (self.requires_grad or value.requires_grad):
            if self.is_leaf and self.requires_grad:
                raise GraphError(
                    f"{what}: a leaf that requires grad cannot be changed in place while recording; "
                    "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
                )
            if self.storage.shared or self.storage.watched:
                raise GraphError(
                    f"{what}: this tensor shares its memory with a view (or x.detach(), x.numpy()), and writing "
                    "through views is not recorded; make a new tensor, as in x = x + 1"
                )
            value = value.to(self.dtype)
            self.array, self.node, self.storage = value.array, value.node, value.storage
            self.tracked = value.tracked
        else:
            self._write(..., value.array)
        return self

    def _write(self, where: Any, values: Any) -> None:
        """Write into this memory, and count it."""
        if not _writeable(self.array):
            raise GraphError(
                "this tensor cannot be written to: its elements share memory (expand), or NumPy holds it read-only; "
                "write to a copy, x.clone()"
            )
        try:
            ready(self.array)[where] = values
        except ValueError as error:
            raise ShapeError(f"x[...] = value with x of shape {self.shape}: {error}") from None
        self.storage.wrote(self.array)

    def __setitem__(self, index: Any, value: Any) -> None:
        needs = self.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
        if mode.get().recording and needs:
            raise GraphError(
                "x[...] = value is not recorded; use tinyconv.where(mask, value, x) or tinyconv.cat, "
                "or write inside `with tinyconv.no_grad():`"
            )
        arrays, _ = _index(index)
        if isinstance(value, Tensor):
            backend_of(self.array, value.array)  # refuses two devices
            value = value.array
        elif not isinstance(value, int | float | np.generic):
            value = to_array(value, None, self.device)
        self._write(_placed(arrays, self.array), value)

    # Comparisons: bool tensors, outside the tape.

    def __eq__(self, other: object) -> Any:
        return _compare("equal", self, other)

    def __ne__(self, other: object) -> Any:
        return _compare("not_equal", self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _compare("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return _compare("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _compare("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _compare("greater_equal", self, other)

    def __and__(self, other: Any) -> Tensor:
        return _compare("bitwise_and", self, other)

    def __or__(self, other: Any) -> Tensor:
        return _compare("bitwise_or", self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _compare("bitwise_xor", self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__
    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    def __invert__(self) -> Tensor:
        return wrap(~ready(self.array))

    def isnan(self) -> Tensor:
        return wrap(ready(self.array) != self.array)

    def isfinite(self) -> Tensor:
        return wrap(backend_of(self.array).xp.isfinite(self.array))

    @numpy_names
    def all(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """Whether all elements are true (not zero)."""
        return wrap(ready(self.array).all(axis=_axis_or_none(dim, self.ndim, "all"), keepdims=keepdim))

    @numpy_names
    def any(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """Whether any element is true (not zero)."""
        return wrap(ready(self.array).any(axis=_axis_or_none(dim, self.ndim, "any"), keepdims=keepdim))

    # Elementwise.

    def exp(self) -> Tensor:
        return unary(ops.Exp, self)

    def log(self) -> Tensor:
        """The natural logarithm: -inf at 0, NaN below."""
        return unary(ops.Log, self)

    def sqrt(self) -> Tensor:
        return unary(ops.Sqrt, self)

    def tanh(self) -> Tensor:
        return unary(ops.Tanh, self)

    def sigmoid(self) -> Tensor:
        return unary(ops.Sigmoid, self)

    def relu(self) -> Tensor:
        return apply(ops.Relu, self)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Limited to [min, max]; either may be left out, and either may be a tensor."""
        if min is None and max is None:
            raise ValueError("clamp: give min, max or both")
        x = self.to(_result_type(self, *(bound for bound in (min, max) if bound is not None)))
        if not isinstance(min, Tensor) and not isinstance(max, Tensor):
            return apply(ops.Clamp, x, low=min, high=max)
        if min is not None:  # a bound that is NaN wins
            low = min.to(x.dtype) if isinstance(min, Tensor) else wrap(to_array(min, x.dtype, x.device))
            x = where((x < low) | low.isnan(), low, x)
        if max is not None:
            high = max.to(x.dtype) if isinstance(max, Tensor) else wrap(to_array(max, x.dtype, x.device))
            x = where((x > high) | high.isnan(), high, x)
        return x

    clip = clamp

    def softmax(self, dim: Any, dtype: Dtype = None) -> Tensor:
        """e^x / sum e^x along `dim`, of x in `dtype` if one is given."""
        x = self if dtype is None else self.to(dtype)
        return unary(ops.Softmax, x, axis=shapes.axis_of(dim, self.ndim, "softmax"))

    def log_softmax(self, dim: Any, dtype: Dtype = None) -> Tensor:
        """x - ln sum e^x along `dim`, of x in `dtype` if one is given."""
        x = self if dtype is None else self.to(dtype)
        return unary(ops.LogSoftmax, x, axis=shapes.axis_of(dim, self.ndim, "log_softmax"))

    # Reductions. `dim`: an axis, a tuple of axes, or None for all; `axis` and `keepdims` are understood too.

    @numpy_names
    def sum(self, dim: Any = None, keepdim: Any = False, dtype: Dtype = None) -> Tensor:
        """The sum; of integers and bools an int64."""
        if dtype is None:
            dtype = self.dtype if self.dtype.kind == "f" else np.int64
        return _reduce(ops.Sum, self.to(dtype), dim, keepdim).to(dtype)  # NumPy sums an int32 in int64

    @numpy_names
    def mean(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The mean; NaN of nothing."""
        if self.dtype.kind != "f":
            raise DtypeError(f"mean: expected a floating-point tensor, got {self.dtype}: x.float().mean()")
        return _reduce(ops.Mean, self, dim, keepdim)

    @numpy_names
    def amax(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The maximum; its gradient is shared evenly among equal maxima."""
        return _reduce(ops.Amax, self._not_empty("amax", dim), dim, keepdim)

    @numpy_names
    def amin(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The minimum; its gradient is shared evenly among equal minima."""
        return _reduce(ops.Amin, self._not_empty("amin", dim), dim, keepdim)

    @numpy_names
    def max(self, dim: Any = None, keepdim: Any = False) -> Any:
        """The maximum of all; or along one `dim`, as (values, indices), the first of equal maxima.

        Given a tensor, the elementwise maximum.
        """
        return self._extreme("max", ops.Amax, self.maximum, dim, keepdim)

    @numpy_names
    def min(self, dim: Any = None, keepdim: Any = False) -> Any:
        """The minimum of all; or along one `dim`, as (values, indices), the first of equal minima.

        Given a tensor, the elementwise minimum.
        """
        return self._extreme("min", ops.Amin, self.minimum, dim, keepdim)

    def _extreme(self, name: str, op: Any, elementwise: Callable[[Tensor], Tensor], dim: Any, keepdim: Any) -> Any:
        if isinstance(dim, Tensor):
            return elementwise(dim)
        self._not_empty(name, dim)
        if dim is None:
            return _reduce(op, self, None, keepdim)
        axis = shapes.axis_of(dim, self.ndim, name)
        if self.ndim == 0:
            return Extreme(self, wrap(backend_of(self.array).xp.zeros((), np.int64)))
        places = wrap(backend_of(self.array).xp.expand_dims(getattr(self.array, f"arg{name}")(axis), axis))
        values = apply(ops.Pick, self, places, axis=axis, keepdims=bool(keepdim))
        return Extreme(values, places if keepdim else places.squeeze(axis))

    @numpy_names
    def argmax(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """Where the maximum is, the first of equals: along `dim`, or in the flattened tensor."""
        return self._arg("argmax", dim, keepdim)

    @numpy_names
    def argmin(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """Where the minimum is, the first of equals: along `dim`, or in the flattened tensor."""
        return self._arg("argmin", dim, keepdim)

    def _arg(self, name: str, dim: Any, keepdim: Any) -> Tensor:
        self._not_empty(name, dim)
        axis = None if dim is None or self.ndim == 0 else shapes.axis_of(dim, self.ndim, name)
        return wrap(getattr(ready(self.array), name)(axis=axis, keepdims=keepdim))

    def _not_empty(self, name: str, dim: Any) -> Tensor:
        if any(self.shape[axis] == 0 for axis in shapes.axes_of(dim, self.ndim, name) if self.ndim):
            raise ShapeError(f"{name}: a tensor of shape {self.shape} has nothing to choose from along dim {dim}")
        return self

    @numpy_names
    def var(self, dim: Any = None, correction: Any = 1, keepdim: Any = False, unbiased: Any = None) -> Tensor:
        """sum (x - mean)^2 / (n - correction); `unbiased=False` is `correction=0`."""
        return self._spread(ops.Var, dim, correction, keepdim, unbiased)

    @numpy_names
    def std(self, dim: Any = None, correction: Any = 1, keepdim: Any = False, unbiased: Any = None) -> Tensor:
        """The square root of `var`."""
        return self._spread(ops.Std, dim, correction, keepdim, unbiased)

    def _spread(self, op: Any, dim: Any, correction: Any, keepdim: Any, unbiased: Any) -> Tensor:
        if self.dtype.kind != "f":
            raise DtypeError(f"{op_name(op).lower()}: expected a floating-point tensor, got {self.dtype}: x.float()?")
        if isinstance(dim, bool):  # torch's older order of arguments: x.var(unbiased)
            dim, unbiased = None, dim
        if unbiased is not None:
            correction = int(unbiased)
        elif correction is None:
            correction = 1
        return _reduce(op, self, dim, keepdim, correction=correction)

    @numpy_names
    def prod(self, dim: Any = None, keepdim: Any = False, dtype: Dtype = None) -> Tensor:
        """The product of all elements, or along one `dim`; of integers and bools an int64."""
        dtype = as_dtype(dtype if dtype is not None else self.dtype if self.dtype.kind == "f" else np.int64)
        x = self.to(dtype)
        if dim is None or x.ndim == 0:
            shapes.axes_of(dim, x.ndim, "prod")
            return apply(ops.Prod, x.reshape(-1)).to(dtype)  # NumPy multiplies a uint8 in uint64
        axis = shapes.axis_of(dim, x.ndim, "prod")
        out = apply(ops.Prod, x.transpose(axis, -1)).to(dtype).unsqueeze(-1).transpose(axis, -1)
        return out if keepdim else out.squeeze(axis)

    @numpy_names
    def norm(self, p: Any = 2, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The norm of all elements, or along `dim`: p = 2 or "fro", (sum x^2)^(1/2); 1, sum |x|; infinity, max |x|."""
        if self.dtype.kind != "f":
            raise DtypeError(f"norm: expected a floating-point tensor, got {self.dtype}: x.float().norm()")
        if p in (2, "fro"):
            return _reduce(ops.Norm, self, dim, keepdim)
        if p == 1:
            return self.abs().sum(dim, keepdim)
        if p == float("inf"):
            return self.abs().amax(dim, keepdim)
        raise ValueError(f"norm: p must be 1, 2 or infinity, got {p!r}")

    @numpy_names
    def logsumexp(self, dim: Any, keepdim: Any = False) -> Tensor:
        """ln sum e^x, without overflow."""
        x = self if self.dtype.kind == "f" else self.to(DEFAULT_FLOAT)
        return _reduce(ops.LogSumExp, x, dim, keepdim)

    # Shapes.

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements, row by row, in another shape; one size may be -1."""
        return apply(ops.Reshape, self, shape=shapes.infer_reshape(self.shape, sizes_of(shape)))

    view = reshape  # there is no layout that reshape must refuse: where a view cannot be had it copies

    def flatten(self, start_dim: Any = 0, end_dim: Any = -1) -> Tensor:
        """The axes from `start_dim` to `end_dim` as one."""
        start = shapes.axis_of(start_dim, self.ndim, "flatten")
        end = shapes.axis_of(end_dim, self.ndim, "flatten")
        if start > end:
            raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in {self.shape}")
        middle = shapes.product(self.shape[start : end + 1])
        return self.reshape(*self.shape[:start], middle, *self.shape[end + 1 :])

    def squeeze(self, dim: Any = None) -> Tensor:
        """Without the axes of size 1; with `dim`, only those of them that it names."""
        axes = () if dim == () or dim == [] else shapes.axes_of(dim, self.ndim, "squeeze")
        return self.reshape(*(n for i, n in enumerate(self.shape) if n != 1 or i not in axes))

    def unsqueeze(self, dim: Any) -> Tensor:
        """With one more axis, of size 1, at `dim`."""
        axis = shapes.axis_of(dim, self.ndim + 1, "unsqueeze")
        return self.reshape(*self.shape[:axis], 1, *self.shape[axis:])

    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order."""
        axes = shapes.axes_of(sizes_of(dims), self.ndim, "permute")
        if len(axes) != self.ndim:
            raise ShapeError(
                f"permute: {self.shape} has {self.ndim} axes, and {tuple(sizes_of(dims))} must name each once"
            )
        return apply(ops.Permute, self, axes=axes)

    def transpose(self, dim0: Any, dim1: Any) -> Tensor:
        """Two axes exchanged."""
        if self.ndim == 0:
            return self
        axes = list(range(self.ndim))
        i, j = (shapes.axis_of(dim, self.ndim, "transpose") for dim in (dim0, dim1))
        axes[i], axes[j] = axes[j], axes[i]
        return apply(ops.Permute, self, axes=tuple(axes))

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim > 2:
            raise ShapeError(f"t: expected at most 2 axes, got {self.shape}; use transpose(dim0, dim1)")
        return self.T

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return apply(ops.Permute, self, axes=tuple(range(self.ndim))[::-1])

    def expand(self, *shape: Any) -> Tensor:
        """Repeated along its axes of size 1, and new ones in front, without copying; -1 leaves an axis as it is."""
        sizes = sizes_of(shape)
        lead = len(sizes) - self.ndim
        to = tuple(self.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(sizes))
        if (
            lead < 0
            or min(to, default=0) < 0
            or any(n != m and n != 1 for n, m in zip(self.shape, to[lead:], strict=True))
        ):
            raise ShapeError(f"expand: {self.shape} cannot be repeated to {tuple(sizes)}")
        return apply(ops.Expand, self, shape=to)

    def split(self, size: Any, dim: Any = 0) -> tuple[Tensor, ...]:
        """In pieces along `dim`: of `size` each (the last may be smaller), or of the sizes listed."""
        axis = shapes.axis_of(dim, self.ndim, "split")
        total = self.shape[axis]
        if not isinstance(size, Sequence):
            size = index(size)
            if size < 1:
                raise ShapeError(f"split: pieces must have at least size 1, got {size}")
            size = [min(size, total - start) for start in range(0, total, size)] or [0]
        if sum(size) != total:
            raise ShapeError(f"split: the sizes {list(size)} add up to {sum(size)}, and axis {axis} has {total}")
        lead, start, pieces = (slice(None),) * axis, 0, []
        for n in size:
            pieces.append(self[(*lead, slice(start, start + n))])
            start += n
        return tuple(pieces)

    def chunk(self, chunks: Any, dim: Any = 0) -> tuple[Tensor, ...]:
        """In at most `chunks` pieces of equal size along `dim`, the last perhaps smaller."""
        if chunks < 1:
            raise ShapeError(f"chunk: expected at least 1 piece, got {chunks}")
        total = self.shape[shapes.axis_of(dim, self.ndim, "chunk")]
        if total == 0:
            return (self,) * chunks
        return self.split(-(-total // chunks), dim)

    def __getitem__(self, index: Any) -> Tensor:
        """NumPy's indexing: integers, slices, None, Ellipsis, masks and integer arrays (or tensors of these)."""
        arrays, simple = _index(index)
        try:
            return apply(ops.Index, self, index=_placed(arrays, self.array), simple=simple)
        except IndexError as error:
            if not isinstance(index, int):  # a plain IndexError is how Python's iteration ends
                error.add_note(f"in x[...] with x of shape {self.shape}")
            raise


class Extreme(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Tensor
    indices: Tensor


class HookHandle:
    """What `register_hook` returns: `remove()` takes the hook away."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


class _Move:
    """y = x on another device;  dx = dy on the device of x."""

    name = "to"

    @staticmethod
    def check(x: Array, *, device: str) -> None:
        not_captured(f"moves a tensor of shape {x.shape} to {device}", "move it before the step, or after it")

    @staticmethod
    def forward(xp: Any, x: Array, *, device: str) -> Any:
        return backend_for(device).asarray(x, device), (backend_of(x).device_of(x),)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: Any, *, device: str) -> Any:
        (home,) = saved
        return (backend_for(home).asarray(dy, home),)


_REFLECTED = {  # NumPy's name of an operator, and ours with the tensor on its right
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
}


# --- from data to tensors -------------------------------------------------------------------------------------------


def wrap(array: Array) -> Tensor:
    """A tensor around an array, sharing its memory: nothing is checked, and nobody watches the array."""
    out = _new(Tensor)
    out.array = array if type(array) is ndarray or not isinstance(array, np.generic) else np.asarray(array)
    out.node = None
    out.storage = Storage()
    out.tracked = False
    return out


_new: Any = object.__new__


def to_array(data: Any, dtype: Dtype, device: str | None) -> Array:
    """A copy of `data` as an array: Python floats become float32, arrays keep their dtype, unless one is given."""
    if isinstance(data, Tensor):
        data = data.array
    first = data
    while isinstance(first, list | tuple) and first:
        first = first[0]
    typed = hasattr(first, "dtype")  # a list of arrays, tensors or NumPy's scalars has their dtype too
    device = device or default_device()
    found = data if hasattr(data, "__cuda_array_interface__") or META.owns(data) else np.asarray(data)
    own = as_dtype(found.dtype)
    found = found if found.dtype == own else found.astype(own)  # the order of bytes of another machine
    wanted = as_dtype(dtype) if dtype is not None else DEFAULT_FLOAT if own.kind == "f" and not typed else own
    if wanted.kind in "iu" and not typed and found.size and not META.owns(found):
        low, high = found.min(), found.max()
        if not np.iinfo(wanted).min <= low <= high <= np.iinfo(wanted).max:  # also where one is NaN
            raise DtypeError(f"tensor: values from {low} to {high} do not fit {wanted}")
    backend = backend_of(found) if device is None else backend_for(device)
    place = backend.device_of(found) if device is None else device_name(device)
    if found.ndim == 0 and not typed:
        return backend.full((), found.item(), wanted, place)  # a number: there is nothing to copy to a GPU
    return backend.asarray(found, place).astype(wanted, copy=True)


def ready(array: Array) -> Array:
    """The array, of which the device is the current one from here on (see `backend_of`)."""
    if type(array) is not ndarray:
        backend_of(array)
    return array


def _writeable(array: Array) -> bool:
    """Whether each element has a place of its own, and NumPy lets us write there. CuPy does not look."""
    if isinstance(array, np.ndarray) or META.owns(array):
        return bool(array.flags.writeable)
    return array.size == 0 or all(stride or size < 2 for stride, size in zip(array.strides, array.shape, strict=True))


def as_dtype(dtype: Dtype) -> np.dtype[Any]:
    """`dtype` as NumPy's, in this machine's byte order, if tensors can have it."""
    try:
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise DtypeError(f"not a dtype: {dtype!r}; tinyconv.float32, for example") from None
    if found not in _NUMPY_DTYPES:
        raise DtypeError(f"tensors of {found} are not supported: bool, integers, float16, float32 and float64 are")
    return found


def destination(args: tuple[Any, ...], device: str | None, dtype: Dtype) -> tuple[str | None, np.dtype[Any] | None]:
    """The device and the dtype that the arguments of `to` name; None where they name none."""
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, Device) or (isinstance(arg, str) and arg not in np.sctypeDict):
            device = str(arg)
        else:
            dtype = arg
    return device and device_name(device), None if dtype is None else as_dtype(dtype)


def cuda_name(device: Any) -> str:
    """The GPU that `cuda()`, `cuda(1)` or `cuda("cuda:1")` names."""
    return f"cuda:{device or 0}" if device is None or isinstance(device, int) else str(device)


def from_array(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor around a NumPy array that somebody else holds too."""
    as_dtype(array.dtype)
    out = wrap(np.asarray(array))  # a plain array also of a memory map
    out.storage.watch(out.array)
    out.storage.share(out, array)
    return out


def _unpickle(kind: type[Tensor], array: Any, device: str, requires_grad: bool) -> Tensor:
    out = object.__new__(kind)
    Tensor.__init__(out, array, requires_grad=requires_grad, dtype=array.dtype, device=device)
    return out


# --- what the operators share ---------------------------------------------------------------------------------------


def _constant(value: Any, like: Tensor) -> Tensor:
    """Anything that is no Tensor yet (a number, a list, a NumPy array) as one, on the device of `like`."""
    return wrap(to_array(value, None, like.device))


def _operand(value: Any) -> Any:
    """What an op takes: a Tensor, or a Python number; NumPy's scalars and arrays become those."""
    if isinstance(value, np.generic):
        value = value.item()  # first of all: np.float64 is a float too
    if isinstance(value, Tensor | bool | int | float):
        return value
    if isinstance(value, np.ndarray):
        return from_array(value)
    if hasattr(value, "__cuda_array_interface__"):
        return wrap(value)
    return None


def _result_type(*operands: Any) -> np.dtype[Any]:
    """The dtype an operation on these has, by torch's rule.

    Bool < integer < floating point are three categories. Tensors with axes decide; a 0-d tensor, and after it a Python
    number, has a say only if its category is higher, and then brings its own dtype (float32, for a Python float).
    """
    result: np.dtype[Any] | None = None
    groups: tuple[list[np.dtype[Any]], ...] = ([], [], [])
    for operand in operands:
        if isinstance(operand, Tensor):
            groups[0 if operand.ndim else 1].append(operand.dtype)
        elif isinstance(operand, bool):
            groups[2].append(np.dtype(np.bool_))
        else:
            groups[2].append(np.dtype(np.int64) if isinstance(operand, int) else DEFAULT_FLOAT)
    for group in groups:
        top = max(map(_category, group), default=-1)
        if result is None or top > _category(result):
            for dtype in group:
                if _category(dtype) == top:
                    above = result is not None and _category(result) == top
                    result = np.promote_types(cast(Any, result), dtype) if above else dtype
    return cast("np.dtype[Any]", result)


def _category(dtype: np.dtype[Any]) -> int:
    return {"b": 0, "f": 2}.get(dtype.kind, 1)


def _binary(op: Any, a: Any, b: Any, floating: bool = False) -> Any:
    """Two operands, brought to one dtype, to an op that broadcasts; Python numbers stay numbers."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        dtype = a.array.dtype
        fit = dtype == b.array.dtype and (not floating or dtype.kind == "f")
    else:
        tensor, other = (a, b) if isinstance(a, Tensor) else (b, a)
        fit = tensor.array.dtype.kind == "f" and (type(other) is float or type(other) is int)
    if not fit:
        a, b = _operand(a), _operand(b)
        if a is None or b is None:
            return NotImplemented
        dtype = _result_type(a, b)
        if floating and dtype.kind != "f":
            dtype = DEFAULT_FLOAT
        a, b = (x.to(dtype) if isinstance(x, Tensor) else x for x in (a, b))
    try:
        return apply(op, a, b)
    except ValueError:
        _check_broadcast(op_name(op).lower(), a, b)
        raise


def _compare(ufunc: str, a: Tensor, b: Any) -> Any:
    other = _operand(b)
    if other is None:
        return NotImplemented
    if not (isinstance(other, Tensor) and other.array.dtype == a.array.dtype):
        dtype = _result_type(a, other)  # what they would be added as
        a, other = a.detach().to(dtype), other.detach().to(dtype) if isinstance(other, Tensor) else other
    other = other.array if isinstance(other, Tensor) else other
    try:
        return wrap(getattr(backend_of(a.array, other).xp, ufunc)(a.array, other))
    except ValueError:
        _check_broadcast(ufunc, a, other)
        raise


def _check_broadcast(name: str, a: Any, b: Any) -> None:
    try:
        np.broadcast_shapes(getattr(a, "shape", ()), getattr(b, "shape", ()))
    except ValueError:
        raise ShapeError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None


def unary(op: Any, x: Tensor, **geometry: Any) -> Tensor:
    """An op with real values; integers become float32 first."""
    return apply(op, x if x.dtype.kind == "f" else x.to(DEFAULT_FLOAT), **geometry)


def _reduce(op: Any, x: Tensor, dim: Any, keepdim: Any, **geometry: Any) -> Tensor:
    axes = shapes.axes_of(dim, x.ndim, op_name(op).lower()) if x.ndim else ()
    return apply(op, x, axes=axes, keepdims=bool(keepdim), **geometry)


def _matmul(a: Any, b: Any) -> Any:
    """NumPy's rule: a vector is a row on the left and a column on the right, and its axis goes again."""
    a, b = _operand(a), _operand(b)
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return NotImplemented
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}: a 0-d tensor is no matrix; use *")
    row, column = a.ndim == 1, b.ndim == 1
    y = apply(ops.Matmul, a.unsqueeze(0) if row else a, b.unsqueeze(1) if column else b)
    y = y.squeeze(-1) if column else y
    return y.squeeze(-1 if column else -2) if row else y


def _index(index: Any) -> tuple[Any, bool]:
    """An index with arrays for tensors, and whether it names no element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays: list[Any] = []
    simple = True
    for part in parts:
        if isinstance(part, Tensor):
            part = part.array
        elif isinstance(part, Sequence):  # a list, a tuple, a range: all integer arrays, or masks
            part = np.asarray(part) if len(part) else np.zeros(0, np.int64)
        if getattr(part, "ndim", 0) > 0:
            part = part.copy()  # the tape keeps it, and others may write to theirs
        if getattr(part, "ndim", 0) > 0 and part.dtype.kind in "iu":
            simple = False
        elif hasattr(part, "dtype") and part.ndim == 0 and part.dtype.kind in "iu":
            part = int(part)
        elif hasattr(part, "dtype") and part.dtype.kind not in "b":
            raise IndexError(f"an index must be of integers or bools, got {part.dtype}")
        arrays.append(part)
    if not any(part is Ellipsis for part in arrays) and not any(hasattr(part, "dtype") for part in arrays):
        arrays.append(Ellipsis)  # so that x[0] of a vector is a view of it, not a copy of a number
    return tuple(arrays), simple


def _placed(index: tuple[Any, ...], x: Array) -> tuple[Any, ...]:
    """An index whose arrays are on the device of `x`, a mask among them as the places where it is true.

    What is in host memory is looked at there: nothing of a GPU is read for it, and what is out of range is found, which
    CuPy would take modulo the size.
    """
    if isinstance(x, np.ndarray) or META.owns(x) or not any(getattr(part, "ndim", 0) for part in index):
        return index
    if all(isinstance(part, np.ndarray) for part in index if hasattr(part, "ndim")):
        MetaArray(x.shape, x.dtype)[index]
    backend = backend_of(x)
    placed: list[Any] = []
    for part in index:
        places = part.nonzero() if getattr(part, "ndim", 0) and part.dtype.kind == "b" else (part,)
        placed += [backend.asarray(p, backend.device_of(x)) if hasattr(p, "ndim") else p for p in places]
    return tuple(placed)


def sizes_of(args: tuple[Any, ...]) -> list[int]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    return list(args[0] if len(args) == 1 and isinstance(args[0], Sequence) else args)


def _axis_or_none(dim: Any, ndim: int, what: str) -> Any:
    """What NumPy's reductions take; a 0-d tensor has no axis there, and one, as in torch, in `dim`."""
    axes = shapes.axes_of(dim, ndim, what)
    return axes if dim is not None and ndim else None


# --- functions of several tensors -----------------------------------------------------------------------------------


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """`a` where `condition` is true, else `b`; all three broadcast."""
    if not isinstance(condition, Tensor) or condition.dtype != np.bool_:
        raise DtypeError(f"where: the condition must be a bool tensor, got {getattr(condition, 'dtype', condition)}")
    given, (a, b) = (a, b), (_operand(a), _operand(b))
    if a is None or b is None:
        raise DtypeError(f"where: expected tensors or numbers, got {' and '.join(type(v).__name__ for v in given)}")
    dtype = _result_type(a, b)
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = _constant(a, condition)
    a, b = (x.to(dtype) if isinstance(x, Tensor) else x for x in (a, b))
    return apply(ops.Where, condition, a, b)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors end to end along `dim`; their other sizes must be equal."""
    return _join(ops.Cat, "cat", tensors, dim, 0)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, side by side along a new axis at `dim`."""
    return _join(ops.Stack, "stack", tensors, dim, 1)


def _join(op: Any, name: str, tensors: Sequence[Tensor], dim: int, new_axes: int) -> Tensor:
    tensors = list(tensors)
    if not tensors:
        raise ShapeError(f"{name}: expected at least one tensor")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise DtypeError(f"{name}: expected tensors, number {i} is a {type(t).__name__}")
    axis = shapes.axis_of(dim, tensors[0].ndim + new_axes, name)
    dtype = _result_type(*tensors)
    rests = {t.shape if new_axes else (*t.shape[:axis], -1, *t.shape[axis + 1 :]) for t in tensors}
    if len(rests) > 1 or (not new_axes and tensors[0].ndim == 0):
        raise ShapeError(f"{name}: the shapes do not fit along dim {dim}: {', '.join(str(t.shape) for t in tensors)}")
    return apply(op, *(t.to(dtype) for t in tensors), axis=axis)
