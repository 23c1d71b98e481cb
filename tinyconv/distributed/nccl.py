"""Ranks with a GPU each: NCCL, through CuPy, hands over what lies on the GPUs, and other ranks carry the rest.

It is written from NCCL's and CuPy's documentation and tested on a stand-in: no test has run it on GPUs yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from tinyconv.arrays.backend import cupy_backend
from tinyconv.distributed.communicator import Bounds, Communicator, RankError

BYTE = 1
"""ncclUint8."""


class Nccl(Communicator):
    """The ranks `host`, with a GPU each: `device` is this one's, "cuda:1"; rank r has number r of them unless given.

    Raises RankError where CuPy has no NCCL, and DeviceError where there is no such GPU.
    """

    name = "nccl"
    on_devices: ClassVar[bool] = True

    def __init__(self, host: Communicator, device: str | None = None) -> None:
        super().__init__(host.rank, host.size)
        self.host, self.numbers, self.backend = host, host.numbers, cupy_backend()
        cuda = self.backend.xp.cuda
        if not getattr(cuda.nccl, "available", False):
            raise RankError("ranks on GPUs need CuPy with NCCL; pip install nvidia-nccl-cu13, or -cu12 for CUDA 12")
        if device is None:
            device = f"cuda:{host.rank % max(cuda.runtime.getDeviceCount(), 1)}"
        self.device = device
        self.backend.use(self.backend.check_device(device))
        self.library = cuda.nccl
        own = cuda.nccl.get_unique_id() if host.rank == 0 else None
        in_bytes, numbers = host.broadcast([isinstance(own, bytes), None if own is None else list(own)])
        self.nccl = cuda.nccl.NcclCommunicator(host.size, bytes(numbers) if in_bytes else tuple(numbers), host.rank)

    def gather(self, array: Any, bounds: Bounds) -> None:
        if not self.backend.owns(array):
            self.host.gather(array, bounds)
            return
        row = array.nbytes // max(len(array), 1)
        with self._group(array) as stream:
            for rank, (start, stop) in enumerate(bounds):
                if start < stop and row:
                    self.nccl.bcast(array.data.ptr + start * row, (stop - start) * row, BYTE, rank, stream)

    def exchange(self, rows: Any, bounds: Bounds, columns: Bounds) -> None:
        if not self.backend.owns(rows):
            self.host.exchange(rows, bounds, columns)
            return
        xp, (start, stop), (first, last) = self.backend.xp, bounds[self.rank], columns[self.rank]
        others = [rank for rank in range(self.size) if rank != self.rank]
        sent = {rank: xp.ascontiguousarray(rows[start:stop, slice(*columns[rank])]) for rank in others}
        came = {rank: xp.empty((bounds[rank][1] - bounds[rank][0], last - first), rows.dtype) for rank in others}
        with self._group(rows) as stream:
            for rank in others:
                if sent[rank].nbytes:
                    self.nccl.send(sent[rank].data.ptr, sent[rank].nbytes, BYTE, rank, stream)
                if came[rank].nbytes:
                    self.nccl.recv(came[rank].data.ptr, came[rank].nbytes, BYTE, rank, stream)
        for rank in others:
            rows[slice(*bounds[rank]), first:last] = came[rank]

    @contextmanager
    def _group(self, array: Any) -> Iterator[int]:
        """A `with` block whose calls NCCL makes together at its end, on the stream that is yielded."""
        self.backend.use(array.device.id)
        self.library.groupStart()
        try:
            yield self.backend.xp.cuda.get_current_stream().ptr
        finally:
            self.library.groupEnd()

    def broadcast(self, value: Any, root: int = 0) -> Any:
        return self.host.broadcast(value, root)

    def barrier(self) -> None:
        self.backend.synchronize(self.device)
        self.host.barrier()

    def abort(self, reason: str) -> bool:
        self.nccl.abort()
        return self.host.abort(reason)

    def close(self) -> None:
        self.nccl.destroy()
        self.host.close()
