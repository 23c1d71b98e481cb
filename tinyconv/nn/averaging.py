"""Averages of weights over a training, as `tinyconv.optim.swa_utils`: EMA, and SWA with its schedule.

ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
for images, labels in loader:
    ...
    optimizer.step()
    ema.update_parameters(model)
accuracy(ema)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from math import cos, pi
from typing import Any, Literal

import numpy as np

from tinyconv.arrays.backend import Array
from tinyconv.engine.context import no_grad
from tinyconv.engine.each_step import computed
from tinyconv.engine.options import flag, fraction, integer, non_negative
from tinyconv.errors import ModuleError, OptionError, shortened, suggest_names
from tinyconv.nn.module import Module
from tinyconv.nn.norms import _BatchNorm
from tinyconv.optim.lr_scheduler.schedule import LRScheduler, check_optimizer, one_for_each
from tinyconv.optim.optimizer import Optimizer
from tinyconv.tensor.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """A function that moves averages a <- decay a + (1 - decay) p, in place: an exponential moving average.

    Args:
        decay: The share of the average that is kept, in [0, 1].

    Raises OptionError where it is out of range. Like `torch.optim.swa_utils.get_ema_multi_avg_fn`.

        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    """
    move = partial(_moved, 1 - fraction("get_ema_multi_avg_fn: decay", decay))

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        for a, p in zip(averaged, current, strict=True):
            computed(move, a.array, p.array)
            a._storage.wrote(a.array)

    return average


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """A function that moves averages a <- a + (p - a) / (n + 1), in place: the mean of all that came.

    Like `torch.optim.swa_utils.get_swa_multi_avg_fn`.
    """

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Tensor) -> None:
        for a, p in zip(averaged, current, strict=True):
            computed(_joined, a.array, p.array, num_averaged.array)
            a._storage.wrote(a.array)

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function that gives the next average of one tensor, decay a + (1 - decay) p.

    Args:
        decay: The share of the average that is kept, in [0, 1].

    Raises OptionError where it is out of range. Like `torch.optim.swa_utils.get_ema_avg_fn`.
    """
    kept = fraction("get_ema_avg_fn: decay", decay)
    return lambda averaged, current, num_averaged: kept * averaged + (1 - kept) * current


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function that gives the next average of one tensor, a + (p - a) / (n + 1).

    Like `torch.optim.swa_utils.get_swa_avg_fn`.
    """
    return lambda averaged, current, num_averaged: averaged + (current - averaged) / (num_averaged + 1)


def _moved(share: float, averaged: Array, current: Array) -> None:
    if averaged.dtype.kind == "f":
        averaged += share * (current - averaged)
    else:  # a count, rounded towards 0 as in torch
        averaged[...] = (averaged * (1 - share) + current * share).astype(averaged.dtype)


def _joined(averaged: Array, current: Array, count: Array) -> None:
    _moved(1 / (int(count) + 1), averaged, current)


def _counted(count: Array) -> None:
    count += 1


class AveragedModel(Module):
    """A copy of a model whose weights are averages of those that the model had at each `update_parameters`.

    Calling it calls the copy. `n_averaged`, a buffer, counts the updates; the first one copies.

    Args:
        model: The model to copy.
        device: Where the copy lives; where the model does if None.
        avg_fn: A function of an average, the tensor now, and the count, that gives the next average.
        multi_avg_fn: A function of the list of averages, that of the tensors now, and the count, that writes into the
            first: for example `get_ema_multi_avg_fn()`. Without either it is `get_swa_multi_avg_fn()`.
        use_buffers: Average the buffers too, where they would be copied.

    Raises ModuleError where both functions are given. Like `torch.optim.swa_utils.AveragedModel`; Izmailov et al.,
    "Averaging weights leads to wider optima and better generalization", UAI 2018.

        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ModuleError("AveragedModel: takes avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", Tensor(0, dtype=np.int64))
        self.avg_fn, self.multi_avg_fn = avg_fn, multi_avg_fn
        self.use_buffers = flag("AveragedModel: use_buffers", use_buffers)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.module(*inputs, **options)

    def update_parameters(self, model: Module) -> None:
        """Take the weights that `model` has now into the averages; a captured step does it at each replay.

        Raises ShapeError where it is a model of another kind.
        """
        with no_grad():
            averaged: list[Tensor] = [*self.module.parameters()]
            current: list[Tensor] = [*model.parameters()]
            buffers = [*zip(self.module.buffers(), model.buffers(), strict=True)]
            if self.use_buffers:
                averaged += [mine for mine, _ in buffers]
                current += [theirs for _, theirs in buffers]
            now = [p.detach().to(a.device) for a, p in zip(averaged, current, strict=True)]
            kept = [a.detach() for a in averaged]
            if int(self.n_averaged.array) == 0:  # never in a step that is recorded, for that ran once before
                _copy(kept, now)
            elif self.avg_fn is not None:
                for a, p in zip(kept, now, strict=True):
                    a.copy_(self.avg_fn(a, p, self.n_averaged))
            else:
                (self.multi_avg_fn or get_swa_multi_avg_fn())(kept, now, self.n_averaged)
            if not self.use_buffers:
                _copy([mine.detach() for mine, _ in buffers], [theirs.detach() for _, theirs in buffers])
            computed(_counted, self.n_averaged.array)
            self.n_averaged._storage.wrote(self.n_averaged.array)


def _copy(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    for a, p in zip(to, source, strict=True):
        a.copy_(p)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch norms of a model anew, over all batches of a loader.

    Averaged weights need it: the statistics are those of other weights. Like `torch.optim.swa_utils.update_bn`.

        update_bn(loader, averaged)

    Args:
        loader: Gives batches: images, or tuples and lists that begin with them.
        model: The model, which is called on each batch in training mode.
        device: Where the batches are brought; left where they are if None.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], model.training
    try:
        model.train()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
        with no_grad():
            for batch in loader:
                images = batch[0] if isinstance(batch, tuple | list) else batch
                model(images if device is None else images.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From whatever rate it finds to `swa_lr` in some epochs, and constant after them.

        lr <- swa_lr + (lr - swa_lr) (1 - a(t)) / (1 - a(t - 1))

    with a from 0 to 1 along half a cosine or a straight line.

    Args:
        optimizer: The optimiser whose groups to drive.
        swa_lr: The rate in the end, >= 0, one number, or one for each group.
        anneal_epochs: An integer >= 0.
        anneal_strategy: "cos" or "linear".
        last_epoch: -1 to begin; k to go on after epoch k.

    Raises what `LRScheduler` raises. Like `torch.optim.swa_utils.SWALR`.

        schedule = SWALR(optimizer, swa_lr=0.05, anneal_epochs=5)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("SWALR", optimizer)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f"SWALR: anneal_strategy: expected 'cos' or 'linear', got {shortened(anneal_strategy)}")
        self.swa_lrs = [non_negative("SWALR: swa_lr", lr) for lr in one_for_each("SWALR: swa_lr", swa_lr, optimizer)]
        self.anneal_epochs = integer("SWALR: anneal_epochs", anneal_epochs, 0)
        self.anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        left, before = self._left(self.last_epoch), self._left(max(self.last_epoch - 1, 0))
        share = left / before if before else 0.0
        return [end + (lr - end) * share for lr, end in zip(self._rates(), self.swa_lrs, strict=True)]

    def _ours(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._where(state) if "_anneal_strategy" in state else state

    def _left(self, epoch: float) -> float:
        """1 - a."""
        done = min(epoch / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
        return (1 + cos(pi * done)) / 2 if self.anneal_strategy == "cos" else 1 - done


suggest_names(globals())
