"""DataParallel: cut the batch into tiles, and run each on a thread, with a tape of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tinyconv.arrays.backend import Array, backend_of, refuse_in_capture
from tinyconv.engine.context import context
from tinyconv.engine.nodes import Leaf, OpNode
from tinyconv.engine.tape import Mirror, Node, below, mirrored, number, walk
from tinyconv.engine.tree import TILE, pairwise, tiles
from tinyconv.engine.wide import widened
from tinyconv.errors import GraphError, ShapeError, shortened, suggest_names
from tinyconv.host.threads import blas_alone, parallel
from tinyconv.nn.module import Module
from tinyconv.program.arguments import mapped, tensors_in
from tinyconv.tensor.creation import Streams
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["DataParallel"]

Result = TypeVar("Result")


class DataParallel(Module):
    """Run `module` on tiles of the batch, on several threads, and join the outputs. Like `torch.nn.DataParallel`.

    Tensors among the arguments of a call, in lists, tuples and dicts too, are cut along axis 0 into tiles of `tile`
    examples, the last with what is left; each tile gets all other arguments. `module` itself runs where one tile is
    enough, and on a GPU, which has threads of its own. It must return one tensor with the batch first, and what it
    computes for an image must not depend on the others: outputs and gradients are then those of `module` itself, up to
    the rounding of sums.

    The tape outside gets one node. Inside, each tile has a tape of its own; backward walks them in parallel too, and
    adds up their gradients by the tree that captured steps use, neighbours first (`engine/tree.py`). So the result
    depends on `tile`, which fixes what is added to what, but never on the threads or on chance. Random numbers
    (dropout) come from a stream for each tile.

    As in PyTorch the first tile runs on `module` itself and the others on replicas, which share its parameters and have
    copies of its buffers: a batch norm standardises each tile by itself, and its running statistics are those of the
    first tile. The names in its state begin with "module.": save the state of `model.module`.

        nn.DataParallel(nn.Linear(20, 5), tile=4)(tc.zeros(8, 20)).shape  # (8, 5)

    Args:
        module: The module to run.
        threads: Number of threads; `tinyconv.get_num_threads()` unless given.
        tile: The most examples in a tile; 64 unless given, as in captured steps.

    Raises TypeError where `module` is not a Module, and ValueError for numbers below 1. A call raises ShapeError where
    its tensors differ in axis 0, the output is not a tensor with the batch first, or the outputs of the tiles differ in
    their other axes; a second backward through its gradient (create_graph) raises GraphError.
    """

    def __init__(self, module: Module, threads: int | None = None, tile: int | None = None) -> None:
        super().__init__()
        for name, value in {"threads": threads, "tile": tile}.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"DataParallel: {name} must be an integer of at least 1, got {shortened(value)}")
        if not isinstance(module, Module):
            raise TypeError(f"DataParallel: expected a Module, got {type(module).__name__}")
        self.module, self.threads, self.tile = module, threads, tile

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        call = inputs, options
        given = list(tensors_in(call))
        bounds = _bounds(given, self.tile or TILE)
        if len(bounds) == 1 or not backend_of(*(t.array for t in given)).on_host:
            joined: Tensor = self.module(*inputs, **options)
            return joined
        refuse_in_capture(
            "calls a DataParallel, which keeps a tape for each tile",
            "call the module itself (model.module): a program takes tiles to threads by itself",
        )
        begun, now, streams = number(), context.get(), Streams()
        cut = [[_part(t, *ends) for t in given] for ends in bounds]

        def run(i: int) -> Tensor:
            module, parts = self.module if i == 0 else _replica(self.module), iter(cut[i])
            args, named = mapped(call, lambda _: next(parts))
            context.set(now)
            with streams.part(i):
                return _checked(module(*args, **named), bounds[i])

        outputs = _for_each(run, len(bounds), self.threads)
        _check_alike(outputs)
        xp = backend_of(*(out.array for out in outputs)).xp
        joined = wrap(xp.concatenate([out.array for out in outputs]))
        if any(out._tracked for out in outputs):
            cuttings = [[part._node for part in parts] for parts in zip(*cut, strict=True) if parts[0]._tracked]
            shared = _reached((out._node for out in outputs), begun)
            parents = [t._node for t in given if t._tracked] + shared
            saved = (_Tiles(outputs, bounds, cuttings, shared, begun, self.threads),)
            node = OpNode(_Joined, _Joined, xp, parents, {}, {}, saved, joined.array, joined._storage, now.layer)
            joined._node, joined._tracked = node, True
        return joined

    def extra_repr(self) -> str:
        return f"threads={self.threads}, tile={self.tile or TILE}"


class _Tiles:
    """The tapes of the tiles. On top: `outputs`. At the bottom: `cuttings`, which has for each input one leaf per tile,
    its part; and `shared`, older nodes that the tiles share."""

    def __init__(
        self,
        outputs: list[Tensor],
        bounds: list[tuple[int, int]],
        cuttings: list[list[Any]],
        shared: list[Any],
        begun: int,
        threads: int | None,
    ) -> None:
        self.outputs, self.bounds, self.cuttings, self.shared = outputs, bounds, cuttings, shared
        self.begun, self.threads = begun, threads

    def gradients(self, i: int, dy: Array, needs: tuple[bool, ...]) -> list[Any]:
        """The gradients at the bottom of tile `i`: an array or None for each of its inputs and of the shared nodes."""
        bottom = [cutting[i] for cutting in self.cuttings] + self.shared
        root = self.outputs[i]._node
        if root is None:
            return [None] * len(bottom)
        # The walk must end at the bottom, whose hooks and parents belong to the walk outside. So it goes through
        # mirrors of the nodes; the mirrors of the bottom have neither hooks nor parents.
        ends: dict[Node, Node] = {node: Mirror(node, ()) for node, needed in zip(bottom, needs, strict=True) if needed}
        for end in ends.values():
            end.hooks = None
        inside = [node for node in below([root], self.begun) if node not in ends]
        mirrors = mirrored(inside, ends)
        found = walk([(mirrors[root], dy)], retain=True, wanted=ends.values()) if root in mirrors else {}
        return [found.get(ends[node]) if node in ends else None for node in bottom]


class _Joined:
    """Join the outputs of the tiles. It stands on the tape for backward alone: forward has already run, in tiles."""

    name = "data_parallel"

    @staticmethod
    def forward(xp: Any, *inputs: Any) -> Any:
        raise GraphError(
            "DataParallel: its gradient cannot be differentiated again, because each tile has a tape of its own; where "
            "you need create_graph=True call the module itself (model.module)"
        )

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Array, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        (taped,) = saved
        bounds, count = taped.bounds, len(taped.cuttings)
        by_tile = _for_each(lambda i: taped.gradients(i, dy[slice(*bounds[i])], needs), len(bounds), taped.threads)
        by_parent = list(zip(*by_tile, strict=True))
        sizes = [stop - start for start, stop in bounds]
        pieces = [_pieced(xp, parts, sizes) for parts in by_parent[:count]]
        return (*pieces, *map(_summed, by_parent[count:]))


def _for_each(function: Callable[[int], Result], count: int, threads: int | None) -> list[Result]:
    """[function(0), function(1), ...] for each tile, on threads.

    It is one thread where an observer (`detect_anomaly`) is on, which looks for the user's line on the caller's. On one
    thread too BLAS stays alone: else a large product would be cut up, and its bits depend on the number of threads.
    """
    return blas_alone(parallel, function, count, threads if context.get().observer is None else 1)


def _bounds(tensors: list[Tensor], tile: int) -> list[tuple[int, int]]:
    """Where to cut a batch. ShapeError where its tensors are not equally long."""
    if not tensors:
        return [(0, 0)]
    sizes = [t.shape[0] if t.ndim else None for t in tensors]
    if None in sizes or len(set(sizes)) > 1:
        raise ShapeError(
            f"DataParallel: tensors are cut along axis 0, where all must be equally long; got "
            f"{', '.join(str(t.shape) for t in tensors)}; what is not one row for each example belongs in the module, "
            "as an attribute or a buffer"
        )
    return tiles(tensors[0].shape[0], tile)


def _part(t: Tensor, start: int, stop: int) -> Tensor:
    """A part of the batch, the leaf of a tape of its own."""
    part = wrap(t.array[start:stop])
    part._storage = t._storage
    part._storage.recorded |= t._tracked
    if t._tracked:
        part._node, part._tracked = Leaf(part.array, part._storage), True
    return part


def _checked(out: Any, bounds: tuple[int, int]) -> Tensor:
    n = bounds[1] - bounds[0]
    if not isinstance(out, Tensor) or out.ndim == 0 or len(out) != n:
        got = f"one of shape {out.shape}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ShapeError(
            f"DataParallel: the module must return a tensor with the batch first, got {got} for {n} examples; compute "
            "a loss outside, of the joined outputs"
        )
    return out


def _check_alike(outputs: list[Tensor]) -> None:
    """Raise ShapeError where the outputs of the tiles cannot be joined."""
    rows = dict.fromkeys(f"{out.dtype} ({', '.join(['N', *map(str, out.shape[1:])])})" for out in outputs)
    if len(rows) > 1:
        raise ShapeError(
            f"DataParallel: the tiles gave {' and '.join(rows)}: what the module computes for an example must not "
            "depend on how many others there are"
        )


def _replica(module: Module) -> Module:
    """A copy of a module for another thread: the same parameters, buffers of its own."""
    replica = object.__new__(type(module))
    replica.__dict__.update(module.__dict__)
    replica.__dict__.update(
        replica_of=module,
        _parameters=dict(module._parameters),
        _buffers={name: None if b is None else b.detach().clone() for name, b in module._buffers.items()},
        _modules={name: None if child is None else _replica(child) for name, child in module._modules.items()},
    )
    return replica


def _reached(tops: Iterable[Node | None], begun: int) -> list[Node]:
    """The nodes older than `begun` at which the tapes under `tops` end, oldest first."""
    ends = {
        parent
        for node in below([node for node in tops if node is not None], begun)
        for parent in [node, *node.parents]
        if parent is not None and parent.order < begun
    }
    return sorted(ends, key=lambda node: node.order)


def _pieced(xp: Any, parts: tuple[Any, ...], sizes: list[int]) -> Any:
    """The gradient of an input, joined from those of its parts; zeros where a tile did not use it."""
    known = next((part for part in parts if part is not None), None)
    if known is None:
        return None
    filled = [
        xp.zeros((n, *known.shape[1:]), known.dtype) if part is None else part
        for part, n in zip(parts, sizes, strict=True)
    ]
    return xp.concatenate(filled)


def _summed(parts: tuple[Any, ...]) -> Any:
    """The gradient of a node that the tiles share: their sum by the tree; float16 in float32."""
    total = pairwise(parts, _added)
    known = next((part for part in parts if part is not None), None)
    return None if known is None else total.astype(known.dtype, copy=False)


def _added(first: Any, second: Any) -> Any:
    """The sum of two gradients, a new array; None is that of a tile that did not use the node."""
    if first is None or second is None:
        return second if first is None else first
    return widened(first) + second


suggest_names(globals())
