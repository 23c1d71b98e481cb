"""What ranks say to each other, whatever carries it; and the ranks that this thread is one of.

A *rank* is one of several processes, or threads, that train one model together. All of them run the same program on the
same batch; each works out a part of its rows, and `gather` hands every row to everybody. Nothing is added up on the
way: each rank adds the rows by the tree of `engine/tree.py`, and so gets the bits that it would have got alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from threading import local
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinyconv.errors import TinyconvError

Result = TypeVar("Result")
Bounds = Sequence[tuple[int, int]]
"""For each rank, where its rows begin and end."""


class RankError(TinyconvError, RuntimeError):
    """Another rank failed, is absent, or does something else than this one."""


class Communicator:
    """Several ranks, of which this is number `rank` of `size`. This one is alone: a base, and what there is at first.

    Every rank has to make the same calls in the same order. Whoever waits for another longer than `patience` seconds
    raises RankError, which names the one that is absent.
    """

    name: ClassVar[str] = "solo"
    patience = 60.0
    place = ""  # where a training stands, for errors: "epoch 2, step 17"
    on_devices: ClassVar[bool] = False  # whether they hand over arrays that lie on a GPU, too
    numbers: Any = None  # the rank's own generator of random numbers; None where the process has one rank

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def gather(self, array: NDArray[Any], bounds: Bounds) -> None:
        """Fill the rows of `array`, along axis 0, that other ranks have; each has put its own there already.

        `array` is contiguous, of the same shape and dtype on all ranks.
        """
        if array.nbytes and self.size > 1:
            rows = array.reshape(len(array), -1)
            self.exchange(rows, bounds, [(0, rows.shape[1])] * self.size)

    def exchange(self, rows: NDArray[Any], bounds: Bounds, columns: Bounds) -> None:
        """Fill the columns of `rows` that are this rank's, in the rows that other ranks have.

        `rows` is contiguous, of the same shape and dtype on all ranks, and not empty.
        """

    def allgather(self, row: Any) -> NDArray[Any]:
        """What each rank gives, an array of the same shape and dtype, in a row each."""
        own = np.asarray(row)
        rows = np.zeros((self.size, *own.shape), own.dtype)
        rows[self.rank] = own
        self.gather(rows, [(rank, rank + 1) for rank in range(self.size)])
        return rows

    def broadcast(self, value: Any, root: int = 0) -> Any:
        """What `root` gives, for all: plain values, such as JSON holds."""
        return value

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def abort(self, reason: str) -> bool:
        """Tell the other ranks that this one ends, and why: they raise RankError where they wait.

        Returns whether it is the first to end.
        """
        return True

    def close(self) -> None:
        """Give back what it holds. Nobody may call it again."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank={self.rank}, size={self.size})"


Solo = Communicator


class _Here:
    """Which ranks this process is one of; threads that are ranks themselves have their own."""

    def __init__(self) -> None:
        self.process: Communicator = Solo()
        self.thread = local()


_here = _Here()


def current() -> Communicator:
    """The ranks that this thread, or else this process, is one of."""
    return getattr(_here.thread, "ranks", None) or _here.process


def use(communicator: Communicator) -> None:
    """Let this process be one of these ranks, or this thread, where that is a rank itself."""
    if hasattr(_here.thread, "ranks"):
        _here.thread.ranks = communicator
    else:
        _here.process = communicator


SPIN = 0.01
"""Seconds in which a rank that waits looks as often as it can; then it sleeps between two looks."""


def pause(waited: float) -> bool:
    """Between two looks of a rank that `waited` so long: let others have the core. Returns whether it has slept."""
    if waited > SPIN:
        time.sleep(1e-4 if waited < 1 else 1e-3)
    elif sys.platform == "win32":
        time.sleep(0)
    else:
        os.sched_yield()  # sleep(0) takes 50 us on Linux, where nobody else wants the core
    return waited > SPIN


def check_alike(sizes: Sequence[int]) -> None:
    """Raise RankError where ranks meet with arrays of other sizes, in bytes: they do not do the same."""
    if any(size != sizes[0] for size in sizes):
        given = ", ".join(f"rank {rank} {size:,}" for rank, size in enumerate(sizes))
        raise RankError(
            f"the ranks hand over different numbers of bytes ({given}), so they do not do the same: another model, "
            "parameters that one of them has frozen, another batch, or a call that not all of them make?"
        )


def among(communicator: Communicator, function: Callable[[], Result]) -> Result:
    """function(), as one of these ranks, which are threads. Where it fails the others are told."""
    _here.thread.ranks = communicator
    try:
        return function()
    except BaseException as error:
        communicator.abort(f"{type(error).__name__}: {error}")
        raise
    finally:
        del _here.thread.ranks


def absent(ranks: Communicator, missing: Sequence[int], meeting: int, patience: float) -> str:
    """What to say of ranks that did not come to a meeting, which each rank counts from 1, in so many seconds."""
    who = f"rank {missing[0]}" if len(missing) == 1 else f"ranks {' and '.join(map(str, missing))}"
    where = f"{ranks.place}, meeting {meeting:,}" if ranks.place else f"meeting {meeting:,}"
    return (
        f"{who} of {ranks.size} did not come in {patience:g} s to where rank {ranks.rank} waits ({where}): "
        "stopped, or doing something else?"
    )


def share_of(count: int, size: int) -> list[tuple[int, int]]:
    """Which of `count` things each of `size` ranks takes: contiguous parts, as equal as can be. The last may be empty,
    and of one thing at least the first takes some."""
    ends = [-(-count * rank // size) for rank in range(size + 1)]
    return [(ends[rank], ends[rank + 1]) for rank in range(size)]
