"""DataParallel and DistributedDataParallel: cut the batch into tiles with a tape each, and share them among threads, or
among ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, captured_step, refuse_in_capture
from tinyconv.distributed.communicator import Communicator, RankError, Solo, current
from tinyconv.engine.context import context
from tinyconv.engine.nodes import Leaf, OpNode
from tinyconv.engine.tape import Mirror, Node, below, mirrored, number, walk
from tinyconv.engine.tree import TILE, Shares, pairwise, tiles
from tinyconv.engine.wide import widened
from tinyconv.errors import GraphError, OptionError, ShapeError, shortened, suggest_names
from tinyconv.host.threads import blas_alone, parallel
from tinyconv.nn.module import Module
from tinyconv.program.arguments import mapped, tensors_in
from tinyconv.tensor.creation import Streams
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["DataParallel", "DistributedDataParallel"]

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
        _check_module("DataParallel", module, threads, tile)
        self.module, self.threads, self.tile = module, threads, tile

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        given = list(tensors_in((inputs, options)))
        bounds = _bounds("DataParallel", given, self.tile or TILE)
        if len(bounds) == 1 or not backend_of(*(t.array for t in given)).on_host:
            joined: Tensor = self.module(*inputs, **options)
            return joined
        refuse_in_capture(
            "calls a DataParallel, which keeps a tape for each tile",
            "call the module itself (model.module): a program takes tiles to threads by itself",
        )
        return _in_tiles(self.module, (inputs, options), bounds, self.threads, Solo())

    def extra_repr(self) -> str:
        return f"threads={self.threads}, tile={self.tile or TILE}"


class DistributedDataParallel(Module):
    """Run `module` on the ranks that this process is one of. Like `torch.nn.parallel.DistributedDataParallel`.

    **The batch is global**: give the whole batch on every rank. It is cut into tiles as `DataParallel` cuts it, each
    rank runs its share of them, and every rank gets all outputs, and in backward all gradients, added up by one tree.
    So outputs, gradients and weights have the same bits on any number of ranks; a learning rate stays as it is, and no
    sampler is needed. In PyTorch a rank is given its own part of the batch, and gradients are divided by the number of
    ranks.

    In a captured step the ranks share the tiles of the whole program, the loss too.

    At first all ranks take the parameters and buffers of rank 0.

        nn.DistributedDataParallel(nn.Linear(3, 2))(tc.zeros(8, 3)).shape  # (8, 2)

    Args:
        module: The module to run, built alike on each rank.
        device_ids: None: the ranks are processes on CPUs.
        threads, tile: As in `DataParallel`.

    Raises TypeError, ValueError and ShapeError as `DataParallel` does, OptionError for `device_ids`, and RankError
    where another rank fails, or is given another batch.
    """

    shares_tiles = True

    def __init__(
        self, module: Module, device_ids: None = None, *, threads: int | None = None, tile: int | None = None
    ) -> None:
        super().__init__()
        _check_module("DistributedDataParallel", module, threads, tile)
        if device_ids is not None:
            raise OptionError(f"DistributedDataParallel: the ranks are on CPUs; leave out device_ids={device_ids!r}")
        self.module, self.threads, self.tile = module, threads, tile
        self._take_over(current(), [*module.parameters(), *module.buffers()])

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        given, ranks = list(tensors_in((inputs, options))), current()
        if captured_step.get() is not None or not backend_of(*(t.array for t in given)).on_host:
            whole: Tensor = self.module(*inputs, **options)
            return whole
        bounds = _bounds("DistributedDataParallel", given, self.tile or TILE)
        _check_same_batch(ranks, given)
        joined = _in_tiles(self.module, (inputs, options), bounds, self.threads, ranks)
        if self.training:
            self._take_over(ranks, list(self.module.buffers()))  # those of the first tile
        return joined

    def extra_repr(self) -> str:
        return f"threads={self.threads}, tile={self.tile or TILE}"

    @staticmethod
    def _take_over(ranks: Communicator, tensors: list[Tensor]) -> None:
        """Give all ranks the values of rank 0."""
        if ranks.size == 1:
            return
        for t in tensors:
            rows = np.ascontiguousarray(t.array).reshape(1, -1)
            ranks.gather(rows, [(0, 1)] + [(1, 1)] * (ranks.size - 1))
            t.array[...] = rows.reshape(t.shape)


def _check_same_batch(ranks: Communicator, given: list[Tensor]) -> None:
    """Raise RankError where the ranks are given other batches: a part of it each, for example."""
    if ranks.size == 1:
        return
    mark = np.zeros((ranks.size, 2), np.int64)
    ends = b"".join(t.array[i].tobytes() for t in given if t.ndim and len(t) for i in (0, -1))
    mark[ranks.rank] = len(given[0]) if given and given[0].ndim else 0, zlib.crc32(ends)
    ranks.gather(mark, [(rank, rank + 1) for rank in range(ranks.size)])
    if (mark != mark[0]).any():
        sizes = ", ".join(f"rank {rank} {size}" for rank, (size, _) in enumerate(mark.tolist()))
        raise RankError(
            f"DistributedDataParallel: the ranks were given different batches (examples: {sizes}); give each of them "
            "the whole batch, from the same seed and without a sampler: the ranks share it among themselves"
        )


def _check_module(name: str, module: Any, threads: Any, tile: Any) -> None:
    for option, value in {"threads": threads, "tile": tile}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}: {option} must be an integer of at least 1, got {shortened(value)}")
    if not isinstance(module, Module):
        raise TypeError(f"{name}: expected a Module, got {type(module).__name__}")


def _in_tiles(
    module: Module, call: Any, bounds: list[tuple[int, int]], threads: int | None, ranks: Communicator
) -> Tensor:
    """What `module` gives for the arguments of a call, cut at `bounds`: a tape for each tile, one node outside.

    Each of the ranks runs its share of the tiles, and all get all outputs.
    """
    given, share = list(tensors_in(call)), Share(ranks, bounds)
    begun, now, streams = number(), context.get(), Streams()
    cut = [[_part(t, *ends) for t in given] for ends in bounds]

    def run(i: int) -> Tensor:
        tile = share.mine[i]
        own, parts = module if tile == 0 else _replica(module), iter(cut[tile])
        args, named = mapped(call, lambda _: next(parts))
        context.set(now)
        with streams.part(tile):
            return _checked(own(*args, **named), bounds[tile])

    outputs = _for_each(run, len(share.mine), threads)
    _check_alike(outputs)
    xp = backend_of(*(t.array for t in given)).xp
    joined, tracked, random = share.joined(xp, outputs, streams.asked)
    if random:
        streams.seed()  # where other ranks have drawn it
    if tracked:
        cuttings = [[part._node for part in parts] for parts in zip(*cut, strict=True) if parts[0]._tracked]
        shared = _reached((out._node for out in outputs), begun)
        if ranks.size > 1:  # each rank may have met others of them
            leaves: list[Node] = [p._node for p in module.parameters() if p._tracked and p._node is not None]
            shared = leaves + [node for node in shared if node not in set(leaves)]
        parents = [t._node for t in given if t._tracked] + shared
        saved = (_Tiles(outputs, share, cuttings, shared, begun, threads),)
        node = OpNode(_Joined, _Joined, xp, parents, {}, {}, saved, joined.array, joined._storage, now.layer)
        joined._node, joined._tracked = node, True
    return joined


class _Tiles:
    """The tapes of the tiles of this rank. On top: `outputs`. At the bottom: `cuttings`, which has for each input one
    leaf per tile, its part; and `shared`, older nodes that the tiles share."""

    def __init__(
        self,
        outputs: list[Tensor],
        share: Share,
        cuttings: list[list[Any]],
        shared: list[Any],
        begun: int,
        threads: int | None,
    ) -> None:
        self.outputs, self.share, self.cuttings, self.shared = outputs, share, cuttings, shared
        self.begun, self.threads = begun, threads

    def gradients(self, i: int, dy: Array, needs: tuple[bool, ...]) -> list[Any]:
        """The gradients at the bottom of the tile that is number `i` here: an array or None for each of its inputs and
        of the shared nodes."""
        bottom = [cutting[self.share.mine[i]] for cutting in self.cuttings] + self.shared
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
        share, count = taped.share, len(taped.cuttings)
        bounds = [share.bounds[tile] for tile in share.mine]
        by_tile = _for_each(lambda i: taped.gradients(i, dy[slice(*bounds[i])], needs), len(bounds), taped.threads)
        by_parent = list(zip(*by_tile, strict=True)) or [()] * len(needs)
        pieces = [
            share.pieced(xp, parts, cutting[0]) for parts, cutting in zip(by_parent, taped.cuttings, strict=False)
        ]
        return (*pieces, *share.summed(by_parent[count:], taped.shared))


def _for_each(function: Callable[[int], Result], count: int, threads: int | None) -> list[Result]:
    """[function(0), function(1), ...] for each tile, on threads.

    It is one thread where an observer (`detect_anomaly`) is on, which looks for the user's line on the caller's. On one
    thread too BLAS stays alone: else a large product would be cut up, and its bits depend on the number of threads.
    """
    return blas_alone(parallel, function, count, threads if context.get().observer is None else 1)


def _bounds(name: str, tensors: list[Tensor], tile: int) -> list[tuple[int, int]]:
    """Where to cut a batch. ShapeError where its tensors are not equally long."""
    if not tensors:
        return [(0, 0)]
    sizes = [t.shape[0] if t.ndim else None for t in tensors]
    if None in sizes or len(set(sizes)) > 1:
        raise ShapeError(
            f"{name}: tensors are cut along axis 0, where all must be equally long; got "
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


class Share:
    """The tiles of a batch, cut at `bounds`, among ranks: `mine` are those of this one."""

    def __init__(self, ranks: Communicator, bounds: list[tuple[int, int]]) -> None:
        self.ranks, self.bounds = ranks, bounds
        shares = Shares(bounds, ranks.size)
        self.level, self.units, self.rows = shares.level, shares.units, shares.rows
        self.mine = range(*shares.tiles[ranks.rank])

    def joined(self, xp: Any, outputs: list[Tensor], random: bool) -> tuple[Tensor, bool, bool]:
        """The outputs of all tiles as one, whether they are tracked, and whether they are `random`."""
        tracked = any(out._tracked for out in outputs)
        if self.ranks.size == 1:
            return wrap(xp.concatenate([out.array for out in outputs])), tracked, random
        known = [outputs[0].dtype.str, tracked, random, *outputs[0].shape[1:]] if outputs else None
        dtype, tracked, random, *shape = self.ranks.broadcast(known)  # rank 0 always has a tile
        return wrap(self._gathered([out.array for out in outputs], tuple(shape), dtype)), tracked, random

    def _gathered(self, parts: list[Array], shape: tuple[int, ...], dtype: Any) -> Array:
        """The parts of all ranks, one after the other, for those of this one."""
        array = np.zeros((self.bounds[-1][1], *shape), dtype)
        start, stop = self.rows[self.ranks.rank]
        if parts:
            np.concatenate(parts, out=array[start:stop])
        self.ranks.gather(array, self.rows)
        return array

    def pieced(self, xp: Any, parts: tuple[Any, ...], leaf: Any) -> Any:
        """The gradient of an input, joined from those of its parts; zeros where a tile did not use it."""
        known = next((part for part in parts if part is not None), None)
        if self.ranks.size == 1 and known is None:
            return None
        like = leaf if known is None else known
        sizes = [stop - start for start, stop in (self.bounds[tile] for tile in self.mine)]
        filled = [
            xp.zeros((n, *like.shape[1:]), like.dtype) if part is None else part
            for part, n in zip(parts, sizes, strict=True)
        ]
        return xp.concatenate(filled) if self.ranks.size == 1 else self._gathered(filled, like.shape[1:], like.dtype)

    def summed(self, by_node: list[tuple[Any, ...]], nodes: list[Any]) -> list[Any]:
        """The gradients of the nodes that the tiles share: sums by the tree; float16 in float32."""
        if self.ranks.size == 1:
            totals = [pairwise(parts, _added) for parts in by_node]
        else:
            totals = self._summed_by_all(by_node, nodes)
        return [
            None if total is None else total.astype(node.dtype, copy=False)
            for total, node in zip(totals, nodes, strict=True)
        ]

    def _summed_by_all(self, by_node: list[tuple[Any, ...]], nodes: list[Any]) -> list[Any]:
        """The sums over the tiles of all ranks: each has added up its units, and all add up those of all."""
        first, last = self.units[-1][1], self.units[self.ranks.rank]
        there = np.zeros((first, len(nodes)), np.uint8)  # whether a unit has a gradient of a node
        own: dict[tuple[int, int], Any] = {}
        for unit in range(*last):
            tiles_of = slice((unit << self.level) - self.mine.start, (unit + 1 << self.level) - self.mine.start)
            for k, parts in enumerate(by_node):
                total = pairwise(parts[tiles_of], _added)
                if total is not None:
                    own[unit, k], there[unit, k] = total, 1
        self.ranks.gather(there, self.units)
        totals: list[Any] = [None] * len(nodes)
        for k in np.flatnonzero(there.any(axis=0)).tolist():
            rows = np.zeros((first, *nodes[k].shape), np.result_type(nodes[k].dtype, np.float32))
            for unit in range(*last):
                if (unit, k) in own:
                    rows[unit] = own[unit, k]
            self.ranks.gather(rows, self.units)
            totals[k] = pairwise([rows[unit] if there[unit, k] else None for unit in range(first)], _added)
        return totals


def _added(first: Any, second: Any) -> Any:
    """The sum of two gradients, a new array; None is that of a tile that did not use the node."""
    if first is None or second is None:
        return second if first is None else first
    return widened(first) + second


suggest_names(globals())
