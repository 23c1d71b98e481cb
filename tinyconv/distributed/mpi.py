"""Ranks that MPI has started, on one machine or many: `mpiexec -n 4 ...`, through mpi4py (the extra `mpi`).

MPI itself waits for ever, and ends nobody who waits for a rank that has failed. So every exchange here is begun, and
then looked after: whoever waits too long asks the others where they are, and names those that do not answer. A rank
that fails says why, and takes all others with it as its interpreter ends.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.distributed.communicator import Bounds, Communicator, RankError, absent, pause

ANSWER = 2.0
"""Seconds that a rank has to answer where it is. One that waits answers within a millisecond."""
ASKED, ANSWERED = 1, 2  # tags


class Mpi(Communicator):
    """The ranks of MPI's COMM_WORLD."""

    name = "mpi"

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # no mpi4py; or it finds no MPI
            raise RankError(
                f"ranks on MPI need mpi4py and an MPI ({str(error).splitlines()[0]}); pip install 'tinyconv[mpi]', and "
                "mpich where no MPI is"
            ) from None
        self.mpi, self.world = MPI, MPI.COMM_WORLD
        super().__init__(self.world.Get_rank(), self.world.Get_size())
        self.questions = self.world.Dup()  # where ranks ask each other
        self.meetings, self.ending = 0, False
        if self.size > 1:
            self.said_before = sys.excepthook
            sys.excepthook = self._say

    def sharers(self) -> int:
        """How many ranks, this one among them, have the same cores of this machine. All ranks ask together."""
        bound = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        return int(self.world.Split_type(self.mpi.COMM_TYPE_SHARED).allgather(bound).count(bound))

    def gather(self, array: NDArray[Any], bounds: Bounds) -> None:
        row = array.nbytes // max(len(array), 1)
        counts, places = [(stop - start) * row for start, stop in bounds], [start * row for start, _ in bounds]
        data = array.reshape(-1).view(np.uint8)
        self._wait(self.world.Iallgatherv(self.mpi.IN_PLACE, [data, counts, places, self.mpi.BYTE]))

    def exchange(self, rows: NDArray[Any], bounds: Bounds, columns: Bounds) -> None:
        (start, stop), (first, last) = bounds[self.rank], columns[self.rank]
        sent = [rows[start:stop, a:b].reshape(-1) for a, b in columns]
        came = [np.empty((b - a) * (last - first), rows.dtype) for a, b in bounds]
        given, taken = np.concatenate(sent), np.concatenate(came)
        self._wait(self.world.Ialltoallv(self._parts(given, sent), self._parts(taken, came)))
        ends = np.cumsum([0, *map(len, came)])
        for rank, (a, b) in enumerate(bounds):
            rows[a:b, first:last] = taken[ends[rank] : ends[rank + 1]].reshape(b - a, last - first)

    def _parts(self, whole: NDArray[Any], parts: list[NDArray[Any]]) -> list[Any]:
        """How MPI is told that an array has these parts, one after another."""
        counts = [part.nbytes for part in parts]
        places = [0, *np.cumsum(counts[:-1]).tolist()]
        return [whole.view(np.uint8), counts, places, self.mpi.BYTE]

    def broadcast(self, value: Any, root: int = 0) -> Any:
        text = json.dumps(value).encode() if self.rank == root else b""
        length = np.full(1, len(text), np.int64)
        self._wait(self.world.Ibcast([length, self.mpi.BYTE], root))
        whole = np.frombuffer(text or bytes(int(length[0])), np.uint8).copy()
        self._wait(self.world.Ibcast([whole, self.mpi.BYTE], root))
        return json.loads(whole.tobytes())

    def barrier(self) -> None:
        self._wait(self.world.Ibarrier())

    def abort(self, reason: str, code: int = 1) -> bool:
        """MPI ends the others as this interpreter ends, with this exit code: what it has to say comes before.

        Ranks often fail alike. All but the first give that one the time to say it, and to end them.
        """
        if not self.ending:
            self.ending = True
            time.sleep(min(2.0 + 0.05 * self.rank, 4.0) if self.rank else 0.0)
            atexit.register(self.world.Abort, code)
        return True

    def _say(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """What Python calls for an error that nobody has caught."""
        self.abort(str(error))
        self.said_before(kind, error, trace)

    def _wait(self, request: Any) -> None:
        """Wait until all have come so far, and answer meanwhile who asks."""
        self.meetings += 1
        began = time.monotonic()
        while not request.Test():
            waited = time.monotonic() - began
            if not pause(waited):
                continue
            self._answer()
            if waited > self.patience:
                raise RankError(absent(self, self._silent(), self.meetings, self.patience))

    def _answer(self) -> None:
        while self.questions.iprobe(tag=ASKED):
            self.questions.isend(self.meetings, self.questions.recv(tag=ASKED), ANSWERED)

    def _silent(self) -> list[int]:
        """The ranks that do not say that they wait too; where all do, those that wait somewhere else."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        for rank in others:
            self.questions.isend(self.rank, rank, ASKED)
        where, until = dict[int, int](), time.monotonic() + ANSWER
        while time.monotonic() < until and len(where) < len(others):
            self._answer()
            state = self.mpi.Status()
            while self.questions.iprobe(tag=ANSWERED, status=state):
                where[state.Get_source()] = self.questions.recv(source=state.Get_source(), tag=ANSWERED)
            time.sleep(1e-3)
        return [r for r in others if r not in where] or [r for r in others if where[r] != self.meetings] or others
