"""DataParallel and DistributedDataParallel: cut the batch into tiles with a tape each, and share them among threads, or
among ranks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from tinyconv.arrays.backend import Array, backend_of, captured_step, refuse_in_capture
from tinyconv.distributed.communicator import Communicator, RankError, Solo, current
from tinyconv.engine.context import context
from tinyconv.engine.nodes import Leaf, OpNode
from tinyconv.engine.options import flag
from tinyconv.engine.tape import Mirror, Node, below, mirrored, number, walk
from tinyconv.engine.tree import LARGE, TILE, Shares, pairwise, tiles, total
from tinyconv.engine.wide import widened
from tinyconv.errors import GraphError, OptionError, ShapeError, shortened, suggest_names
from tinyconv.host.threads import blas_alone, parallel
from tinyconv.nn.module import Module
from tinyconv.nn.sync import Meeting, SyncBatchNorm
from tinyconv.program.arguments import mapped, tensors_in
from tinyconv.shapes import product
from tinyconv.tensor.creation import Streams
from tinyconv.tensor.tensor import Tensor, wrap
from tinyconv.user_frame import warn

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
    first tile; `SyncBatchNorm` takes all tiles. The names in its state begin with "module.": save the state of
    `model.module`.

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

    At first all ranks take the parameters and buffers of rank 0. A parameter that no tile of the batch used gets no
    gradient, on any rank; a warning names it, once.

        nn.DistributedDataParallel(nn.Linear(3, 2))(tc.zeros(8, 3)).shape  # (8, 2)

    Args:
        module: The module to run, built alike on each rank.
        device_ids: None: the batch says on which device a rank works. GPUs share it with ranks of "nccl" (see
            `tinyconv.distributed.init`), outside of captured steps; else each computes the whole batch.
        find_unused_parameters: True: parameters that are not used are meant so, and no warning names them.
        threads, tile: As in `DataParallel`.

    Raises TypeError, ValueError and ShapeError as `DataParallel` does, OptionError for `device_ids`, and RankError
    where another rank fails, has another model, has frozen other parameters, or is given another batch.
    """

    shares_tiles = True

    def __init__(
        self,
        module: Module,
        device_ids: None = None,
        *,
        find_unused_parameters: bool = False,
        threads: int | None = None,
        tile: int | None = None,
    ) -> None:
        super().__init__()
        _check_module("DistributedDataParallel", module, threads, tile)
        if device_ids is not None:
            raise OptionError(
                "DistributedDataParallel: a rank works where its model and batch are; leave out "
                f"device_ids={shortened(device_ids)}"
            )
        self.module, self.threads, self.tile = module, threads, tile
        self.find_unused_parameters = flag("DistributedDataParallel: find_unused_parameters", find_unused_parameters)
        _check_same_model(current(), module)
        self._take_over(current(), [*module.parameters(), *module.buffers()])

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        given, ranks = list(tensors_in((inputs, options))), current()
        on_host = backend_of(*(t.array for t in given)).on_host
        if captured_step.get() is not None or not (on_host or ranks.on_devices):
            whole: Tensor = self.module(*inputs, **options)
            return whole
        bounds = _bounds("DistributedDataParallel", given, self.tile or TILE)
        names = {p._node: name for name, p in self.module.named_parameters() if p._tracked and p._node is not None}
        _check_same_batch(ranks, given, list(names.values()))
        joined = _in_tiles(self.module, (inputs, options), bounds, self.threads, ranks, names, self._name_unused)
        if self.training:
            self._take_over(ranks, list(self.module.buffers()))  # those of the first tile
        return joined

    def extra_repr(self) -> str:
        return f"threads={self.threads}, tile={self.tile or TILE}"

    def _name_unused(self, names: list[str]) -> None:
        """Warn of parameters that no tile used, the first time."""
        if not self.find_unused_parameters and current().rank == 0:
            self.find_unused_parameters = True
            warn(
                f"DistributedDataParallel: no part of the batch used {', '.join(names)}, so there is no gradient; if "
                "that is meant, say find_unused_parameters=True"
            )

    @staticmethod
    def _take_over(ranks: Communicator, tensors: list[Tensor]) -> None:
        """Give all ranks the values of rank 0."""
        if ranks.size == 1:
            return
        for kind in dict.fromkeys((t.dtype, t.device) for t in tensors):
            alike = [t for t in tensors if (t.dtype, t.device) == kind]
            flat = backend_of(alike[0].array).xp.concatenate([t.array.reshape(-1) for t in alike])
            ranks.gather(flat.reshape(1, -1), [(0, 1)] + [(1, 1)] * (ranks.size - 1))
            start = 0
            for t in alike:
                t.array[...] = flat[start : start + t.numel()].reshape(t.shape)
                start += t.numel()


def _check_same_model(ranks: Communicator, module: Module) -> None:
    """Raise RankError where a rank has another model than rank 0, and say what it has."""
    if ranks.size == 1:
        return
    for what, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        own = [f"{name} {t.shape} {t.dtype}" for name, t in tensors]
        theirs = ranks.broadcast(own)
        first = next((pair for pair in zip_longest(own, theirs) if pair[0] != pair[1]), None)
        differ = np.flatnonzero(ranks.allgather(first is not None)).tolist()
        if differ:
            other, of_rank_0 = ranks.broadcast(first, differ[0])
            raise RankError(
                f"DistributedDataParallel: the ranks have different models; where rank 0 has the {what} {of_rank_0}, "
                f"rank {differ[0]} has {other}"
            )


def _check_same_batch(ranks: Communicator, given: list[Tensor], trained: list[str]) -> None:
    """Raise RankError where the ranks are given other batches: a part of it each, for example; or `trained`, the names
    of the parameters that are not frozen, differ."""
    if ranks.size == 1:
        return
    ends = b"".join(backend_of(a).to_numpy(a[i]).tobytes() for a in (t.array for t in given) if len(a) for i in (0, -1))
    size = len(given[0]) if given and given[0].ndim else 0
    mark = ranks.allgather(np.array([size, zlib.crc32(ends), zlib.crc32("\n".join(trained).encode())]))
    if (mark[:, 2] != mark[0, 2]).any():
        every = [set(ranks.broadcast(trained, root)) for root in range(ranks.size)]
        name = min(set.union(*every) - set.intersection(*every))
        frozen = [str(rank) for rank, names in enumerate(every) if name not in names]
        raise RankError(
            f"DistributedDataParallel: {name} is frozen on rank {', '.join(frozen)} of {ranks.size} and not on the "
            "others; call requires_grad_(False) on all ranks"
        )
    if (mark != mark[0]).any():
        sizes = ", ".join(f"rank {rank} {size}" for rank, (size, *_) in enumerate(mark.tolist()))
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
    module: Module,
    call: Any,
    bounds: list[tuple[int, int]],
    threads: int | None,
    ranks: Communicator,
    names: Mapping[Any, str] = MappingProxyType({}),
    unused: Callable[[list[str]], None] = lambda names: None,
) -> Tensor:
    """What `module` gives for the arguments of a call, cut at `bounds`: a tape for each tile, one node outside.

    Each of the ranks runs its share of the tiles, and all get all outputs. Backward calls `unused` with the names of
    those parameters, of which `names` has the nodes, that no tile of any rank used.
    """
    given, meets = list(tensors_in(call)), any(isinstance(m, SyncBatchNorm) for m in module.modules())
    xp = backend_of(*(t.array for t in given)).xp
    share = Share(ranks, bounds, threads, meets, xp)
    begun, now, streams = number(), context.get(), Streams()
    cut = [[_part(t, *ends) for t in given] for ends in bounds]

    def run(i: int) -> Tensor:
        tile = share.mine[i]
        own, parts = module if tile == 0 else _replica(module), iter(cut[tile])
        args, named = mapped(call, lambda _: next(parts))
        context.set(now)
        with streams.part(tile):
            return _checked(own(*args, **named), bounds[tile])

    outputs = share.for_each(run)
    _check_alike(outputs)
    joined, tracked, random = share.joined(outputs, streams.asked)
    if random:
        streams.seed()  # where other ranks have drawn it
    if tracked:
        cuttings = [[part._node for part in parts] for parts in zip(*cut, strict=True) if parts[0]._tracked]
        # Of the parameters each rank may have met others.
        shared = [*names, *(node for node in _reached((out._node for out in outputs), begun) if node not in names)]
        parents = [t._node for t in given if t._tracked] + shared
        saved = (_Tiles(outputs, share, cuttings, shared, begun, names, unused),)
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
        names: Mapping[Any, str],
        unused: Callable[[list[str]], None],
    ) -> None:
        self.outputs, self.share, self.cuttings, self.shared = outputs, share, cuttings, shared
        self.begun, self.names, self.unused = begun, names, unused

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
        by_tile = share.for_each(lambda i: taped.gradients(i, dy[slice(*bounds[i])], needs))
        by_parent = list(zip(*by_tile, strict=True)) or [()] * len(needs)
        pieces = [share.pieced(parts, cutting[0]) for parts, cutting in zip(by_parent, taped.cuttings, strict=False)]
        sums = share.summed(by_parent[count:], taped.shared)
        wanted = zip(taped.shared, sums, needs[count:], strict=True)
        if unused := [taped.names[n] for n, total, need in wanted if need and total is None and n in taped.names]:
            taped.unused(unused)
        return (*pieces, *sums)


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
    """The tiles of a batch, cut at `bounds`, among ranks: `mine` are those of this one, for so many threads.

    If the module `meets`, its tiles have to run at the same time.
    """

    def __init__(
        self, ranks: Communicator, bounds: list[tuple[int, int]], threads: int | None, meets: bool, xp: Any
    ) -> None:
        self.ranks, self.bounds, self.threads, self.meets, self.xp = ranks, bounds, threads, meets, xp
        shares = Shares(bounds, ranks.size)
        self.level, self.units, self.rows, self.tiles = shares.level, shares.units, shares.rows, shares.tiles
        self.mine = range(*shares.tiles[ranks.rank])

    def for_each(self, function: Callable[[int], Result]) -> list[Result]:
        """[function(0), function(1), ...] for each tile of this rank, on threads.

        It is one thread on a GPU, and where an observer (`detect_anomaly`) is on, which looks for the user's line on
        the caller's. On one thread too BLAS stays alone: else a large product would be cut up, and its bits depend on
        the number of threads.
        """
        if self.meets:
            return Meeting(self.ranks, self.tiles, self.xp).run(function)
        threads = self.threads if self.xp is np and context.get().observer is None else 1
        return blas_alone(parallel, function, len(self.mine), threads)

    def joined(self, outputs: list[Tensor], random: bool) -> tuple[Tensor, bool, bool]:
        """The outputs of all tiles as one, whether they are tracked, and whether they are `random`."""
        tracked = any(out._tracked for out in outputs)
        if self.ranks.size == 1:
            return wrap(self.xp.concatenate([out.array for out in outputs])), tracked, random
        known = [outputs[0].dtype.str, tracked, random, *outputs[0].shape[1:]] if outputs else None
        dtype, tracked, random, *shape = self.ranks.broadcast(known)  # rank 0 always has a tile
        return wrap(self._gathered([out.array for out in outputs], tuple(shape), dtype)), tracked, random

    def _gathered(self, parts: list[Array], shape: tuple[int, ...], dtype: Any) -> Array:
        """The parts of all ranks, one after the other, for those of this one."""
        array = self.xp.zeros((self.bounds[-1][1], *shape), dtype)
        for tile, part in zip(self.mine, parts, strict=True):
            array[slice(*self.bounds[tile])] = part
        self.ranks.gather(array, self.rows)
        return array

    def pieced(self, parts: tuple[Any, ...], leaf: Any) -> Any:
        """The gradient of an input, joined from those of its parts; zeros where a tile did not use it."""
        known = next((part for part in parts if part is not None), None)
        if self.ranks.size == 1 and known is None:
            return None
        like = leaf if known is None else known
        sizes = [stop - start for start, stop in (self.bounds[tile] for tile in self.mine)]
        filled = [
            self.xp.zeros((n, *like.shape[1:]), like.dtype) if part is None else part
            for part, n in zip(parts, sizes, strict=True)
        ]
        return (
            self.xp.concatenate(filled) if self.ranks.size == 1 else self._gathered(filled, like.shape[1:], like.dtype)
        )

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
        own: dict[tuple[int, int], Any] = {}
        used = np.zeros(len(nodes), bool)
        for unit in range(*self.units[self.ranks.rank]):
            tiles_of = slice((unit << self.level) - self.mine.start, (unit + 1 << self.level) - self.mine.start)
            for k, parts in enumerate(by_node):
                found = pairwise(parts[tiles_of], _added)
                if found is not None:
                    own[unit, k], used[k] = found, True
        totals: list[Any] = [None] * len(nodes)
        for bucket in _buckets(nodes, np.flatnonzero(self.ranks.allgather(used).any(axis=0)).tolist()):
            ends = [0, *np.cumsum([product(nodes[k].shape) for k in bucket]).tolist()]
            # A unit without a gradient gives -0.0, to which anything may be added and stays what it is.
            rows = self.xp.full((self.units[-1][1], ends[-1]), -0.0, _wide(nodes[bucket[0]]))
            for unit in range(*self.units[self.ranks.rank]):
                for k, start, stop in zip(bucket, ends, ends[1:], strict=False):
                    if (unit, k) in own:
                        rows[unit, start:stop] = own[unit, k].reshape(-1)
            whole = total(rows, self.units, self.ranks)
            for k, start, stop in zip(bucket, ends, ends[1:], strict=False):
                totals[k] = whole[start:stop].reshape(nodes[k].shape)
        return totals


def _buckets(nodes: list[Any], used: list[int]) -> Iterator[list[int]]:
    """Which gradients are added up in one array: those of a dtype, in their order, until it is LARGE."""
    for dtype in dict.fromkeys(_wide(nodes[k]) for k in used):
        bucket, size = list[int](), 0
        for k in (k for k in used if _wide(nodes[k]) == dtype):
            bucket.append(k)
            size += product(nodes[k].shape) * dtype.itemsize
            if size >= LARGE:
                yield bucket
                bucket, size = [], 0
        if bucket:
            yield bucket


def _wide(node: Any) -> Any:
    """The dtype in which gradients of a node are added up."""
    return np.result_type(node.dtype, np.float32)


def _added(first: Any, second: Any) -> Any:
    """The sum of two gradients, a new array; None is that of a tile that did not use the node."""
    if first is None or second is None:
        return second if first is None else first
    return widened(first) + second


suggest_names(globals())
