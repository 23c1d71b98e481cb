"""Ranks that are threads of this process: for tests, and to look at."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinyconv.distributed.communicator import Bounds, Communicator, RankError, among, check_alike

Result = TypeVar("Result")


class _Meeting:
    """What the threads share: a place to meet, what each has put down, and why one has left."""

    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size)
        self.put: list[Any] = [None] * size
        self.left: dict[int, str] = {}


class Threads(Communicator):
    """One of the threads that `run` starts."""

    name = "threads"

    def __init__(self, rank: int, size: int, meeting: _Meeting) -> None:
        super().__init__(rank, size)
        self.meeting, self.numbers = meeting, np.random.default_rng()

    def exchange(self, rows: NDArray[Any], bounds: Bounds, columns: Bounds) -> None:
        first, last = columns[self.rank]
        every = self._meet(rows)
        check_alike([0 if theirs is None else theirs.nbytes for theirs in every])
        for rank, theirs in enumerate(every):
            if rank != self.rank:
                start, stop = bounds[rank]
                rows[start:stop, first:last] = theirs[start:stop, first:last]
        self._meet(None)  # nobody writes into an array that another still reads

    def broadcast(self, value: Any, root: int = 0) -> Any:
        return self._meet(value)[root]

    def barrier(self) -> None:
        self._meet(None)

    def abort(self, reason: str) -> bool:
        first = not self.meeting.left
        self.meeting.left[self.rank] = reason
        self.meeting.barrier.abort()
        return first

    def _meet(self, value: Any) -> list[Any]:
        """Put something down, and see what all have put down."""
        self.meeting.put[self.rank] = value
        try:
            self.meeting.barrier.wait(self.patience)
            found = list(self.meeting.put)
            self.meeting.barrier.wait(self.patience)  # all have looked
        except BrokenBarrierError:
            raise RankError(self._why()) from None
        return found

    def _why(self) -> str:
        for rank, reason in self.meeting.left.items():
            return f"rank {rank} of {self.size} ended: {reason}"
        return f"rank {self.rank} of {self.size} waited {self.patience:g} s for the others"


def run(function: Callable[[], Result], ranks: int) -> list[Result]:
    """[function() as rank 0, function() as rank 1, ...], each on a thread of its own, with an empty context.

    When one raises, the others end too, and its error is raised.
    """
    meeting, results, errors = _Meeting(ranks), [None] * ranks, dict[int, BaseException]()

    def be(rank: int) -> None:
        try:
            results[rank] = among(Threads(rank, ranks, meeting), function)  # type: ignore[call-overload]
        except BaseException as error:
            errors[rank] = error

    threads = [Thread(target=Context().run, args=(be, rank), name=f"rank {rank}") for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors.values() if not isinstance(e, RankError)), errors[min(errors)])
    return results  # type: ignore[return-value]
