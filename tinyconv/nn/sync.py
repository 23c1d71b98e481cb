"""What the tiles of a batch work out together: SyncBatchNorm, and the meetings that it needs.

`DataParallel` and `DistributedDataParallel` run a module on tiles. A module that wants to know something of the whole
batch lets the tiles meet: each runs on a thread of its own, and at a meeting all wait until what they give is added up
by the tree of `engine/tree.py`, with what the tiles of other ranks give.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from threading import Condition, Thread
from typing import Any, TypeVar

import numpy as np

from tinyconv.distributed.communicator import Bounds, Communicator
from tinyconv.engine.context import no_grad
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.tree import total
from tinyconv.errors import GraphError, OptionError, ShapeError, shortened, suggest_names
from tinyconv.functional.normalization import move_running
from tinyconv.host.threads import as_in_loop, blas_alone
from tinyconv.nn.module import Module
from tinyconv.nn.norms import BatchNorm1d, BatchNorm2d, _BatchNorm
from tinyconv.shapes import product
from tinyconv.tensor.custom import Function, FunctionCtx
from tinyconv.tensor.tensor import Tensor, wrap

__all__ = ["SyncBatchNorm"]

Result = TypeVar("Result")


class _Left(Exception):
    """Another tile has failed, and what it raised is the error."""


class Meeting:
    """Where the tiles of this rank, and those of others, add up what each has. `bounds`: the tiles of each rank.

    It may be arrays of `xp`, which are where the batch is, or NumPy's.
    """

    def __init__(self, ranks: Communicator, bounds: Bounds, xp: Any) -> None:
        self.ranks, self.bounds, self.xp = ranks, bounds, xp
        self.mine = range(*bounds[ranks.rank])
        self.all = Condition()
        self.given: dict[int, Any] = {}
        self.turn, self.gone = 0, 0
        self.result: Any = None
        self.error: BaseException | None = None

    def total(self, tile: int, array: Any) -> Any:
        """The sum of what all tiles give, an array of the same shape and dtype each. Waits for them."""
        with self.all:
            self.given[tile], turn = array, self.turn
            self._go_on()
            self.all.wait_for(lambda: self.error is not None or self.turn != turn)
            if self.turn == turn:
                raise _Left
            return self.result.copy()

    def _go_on(self) -> None:
        """Add up, if all tiles are here that have not ended."""
        if self.error is not None or not self.given or len(self.given) + self.gone < len(self.mine):
            return
        try:
            kinds = {(isinstance(a, np.ndarray), a.dtype.str, *a.shape) for a in self.given.values()}
            of_rank_0 = self.ranks.broadcast(list(next(iter(kinds))))
            self._check(self.gone == 0 and kinds == {tuple(of_rank_0 or ())})
            self.result = self._of_all(*next(iter(kinds)))
            self.turn += 1
        except BaseException as error:
            self.error = error
        self.given.clear()
        self.all.notify_all()

    def _of_all(self, on_host: bool, dtype: str, *shape: int) -> Any:
        rows = (np if on_host else self.xp).zeros((self.bounds[-1][1], product(shape)), dtype)
        for tile, array in self.given.items():
            rows[tile] = array.reshape(-1)
        return total(rows, self.bounds, self.ranks).reshape(shape)

    @staticmethod
    def _check(alike: bool) -> None:
        if not alike:
            raise GraphError(
                "SyncBatchNorm: the tiles of a batch went through other layers than each other, so their statistics "
                "cannot be put together; what a module does must not depend on the values of its input"
            )

    def run(self, function: Callable[[int], Result]) -> list[Result]:
        """[function(0), ...] for the tiles of this rank, all at the same time. One without tiles meets the others."""
        return blas_alone(self._run, function)

    def _run(self, function: Callable[[int], Result]) -> list[Result]:
        results: list[Any] = [None] * len(self.mine)

        def work(i: int) -> None:
            _here.set((self, self.mine[i]))
            error = None
            try:
                results[i] = as_in_loop(function, i)
            except _Left:
                pass
            except BaseException as raised:
                error = raised
            with self.all:
                self.gone += 1
                self.error = self.error or error
                if self.error is not None:
                    self.all.notify_all()
                else:
                    self._go_on()

        threads = [Thread(target=copy_context().run, args=(work, i), daemon=True) for i in range(len(self.mine))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException as error:  # a Ctrl-C, or no thread can be started
            with self.all:
                self.error = self.error or error
                self.all.notify_all()
            raise
        if self.error is not None:
            raise self.error
        self._end()
        return results

    def _end(self) -> None:
        """Find that no rank has another meeting. A rank without tiles takes part in those that there are."""
        while (kind := self.ranks.broadcast(None)) is not None:  # rank 0 always has a tile
            self._check(len(self.mine) == 0)
            self._of_all(*kind)


_here: ContextVar[tuple[Meeting, int] | None] = ContextVar("tinyconv_meeting", default=None)


class _Total(Function):
    """The sum over all tiles, for each tile. Each depends on all, so the gradient is the sum of those of all."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        here = _here.get()
        assert here is not None
        meeting, tile = here
        return wrap(meeting.total(tile, x.array))

    @staticmethod
    def backward(ctx: FunctionCtx, dy: Tensor) -> Tensor:
        return _Total.apply(dy)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the whole batch, where its tiles are shared among threads or ranks.

    Inside `DistributedDataParallel` and `DataParallel` each channel of (N, C, ...) is standardised with its mean and
    variance in all tiles of all ranks, and the bits are the same for any number of them; `BatchNorm2d` takes those of
    each tile there. Anywhere else, in captured steps too, it is a `BatchNorm2d`. Like `torch.nn.SyncBatchNorm`.

        nn.SyncBatchNorm(3)(tc.randn(8, 3, 32, 32)).shape  # (8, 3, 32, 32)

    Args:
        num_features: The number of channels C.
        eps: Added to the variance, so that no channel is divided by 0.
        momentum: The part of a running statistic that a batch replaces; None averages all batches.
        affine: Whether to scale by `weight` and shift by `bias`, (C,), which start at 1 and 0.
        track_running_stats: Whether to keep running statistics; without them evaluation uses the batch too.
        process_group: None: all ranks take part.
        device: Where parameters and buffers are made; the default device unless given.
        dtype: Their dtype, floating point; float32 unless given.
        bias: Whether, where it scales, to shift too.

    Raises DtypeError for another dtype, ShapeError where `num_features` is no integer >= 0, and OptionError where `eps`
    or `momentum` is no number in range, or for a `process_group`. A call raises ShapeError where the input has one axis
    or another number of channels, or a channel has one value to train on, and GraphError where the tiles of a batch go
    through other layers than each other.
    """

    rank, wanted = (2, 3, 4, 5), "(N, C) or (N, C, ...)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: None = None,
        device: str | None = None,
        dtype: Dtype = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        if process_group is not None:
            raise OptionError(f"SyncBatchNorm: all ranks take part; leave out process_group={shortened(process_group)}")

    def forward(self, input: Tensor) -> Tensor:
        here = _here.get()
        if here is None or not (self.training or self.running_mean is None):
            return super().forward(input)
        self.check(input)
        if input.shape[1] != self.num_features:
            raise ShapeError(f"SyncBatchNorm({self.num_features}) got {input.shape[1]} channels, in {input.shape}")
        (meeting, tile), momentum = here, self.count_batch()
        axes, as_channels = (0, *range(2, input.ndim)), (1, -1, *[1] * (input.ndim - 2))
        count = int(meeting.total(tile, np.array(product(input.shape) // max(self.num_features, 1))))
        if count == 1:
            raise ShapeError(
                f"SyncBatchNorm: one value a channel has no variance to train on, got {input.shape} in all tiles"
            )
        x = input.float() if input.dtype == np.float16 else input
        mean = _Total.apply(x.sum(axes)) / count
        centred = x - mean.reshape(as_channels)
        var = _Total.apply((centred * centred).sum(axes)) / count
        y = centred * (var + self.eps).rsqrt().reshape(as_channels)
        if self.weight is not None:
            y = y * self.weight.reshape(as_channels)
        if self.bias is not None:
            y = y + self.bias.reshape(as_channels)
        if self.training and self.running_mean is not None and self.running_var is not None and count:
            with no_grad():
                move_running("SyncBatchNorm", self.running_mean, self.running_var, mean, var, momentum, count)
        return y.to(input.dtype)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: None = None) -> Module:
        """`module` with a SyncBatchNorm in the place of each BatchNorm1d and BatchNorm2d in it, of the same parameters
        and buffers. A batch norm itself is not changed: what takes its place is returned.

            nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))[0]  # a SyncBatchNorm

        Raises OptionError for a `process_group`, and ShapeError as a SyncBatchNorm does. Like
        `torch.nn.SyncBatchNorm.convert_sync_batchnorm`.
        """
        if type(module) in (BatchNorm1d, BatchNorm2d):
            made = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                process_group,
            )  # fmt: skip
            made._parameters.update(module._parameters)
            made._buffers.update(module._buffers)
            return made.train(module.training)
        for name, child in list(module.named_children()):
            setattr(module, name, cls.convert_sync_batchnorm(child, process_group))
        return module


suggest_names(globals())
