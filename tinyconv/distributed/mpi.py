"""Ranks that MPI has started, on one machine or many: `mpiexec -n 4 ...`, through mpi4py (the extra `mpi`)."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyconv.distributed.communicator import Bounds, Communicator, RankError


class Mpi(Communicator):
    """The ranks of MPI's COMM_WORLD."""

    name = "mpi"

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise RankError(
                f"ranks on MPI need mpi4py and an MPI ({error}); pip install 'tinyconv[mpi]', and mpich where no MPI is"
            ) from None
        self.mpi, self.world = MPI, MPI.COMM_WORLD
        super().__init__(self.world.Get_rank(), self.world.Get_size())

    def gather(self, array: NDArray[Any], bounds: Bounds) -> None:
        row = array.nbytes // max(len(array), 1)
        counts, places = [(stop - start) * row for start, stop in bounds], [start * row for start, _ in bounds]
        data = array.reshape(-1).view(np.uint8)
        self.world.Allgatherv(self.mpi.IN_PLACE, [data, counts, places, self.mpi.BYTE])

    def broadcast(self, value: Any, root: int = 0) -> Any:
        return self.world.bcast(value, root)

    def barrier(self) -> None:
        self.world.Barrier()

    def abort(self, reason: str) -> bool:
        print(f"rank {self.rank} of {self.size} ended: {reason}", file=sys.stderr, flush=True)
        self.world.Abort(1)
        return True
