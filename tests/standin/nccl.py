"""`cupy.cuda.nccl`: communicators among threads. The calls of a group are made at its end, as NCCL makes them."""

import ctypes
import threading
from itertools import count

available = True
_ids = count(1)
_rooms: dict[bytes, "_Room"] = {}
_lock = threading.Lock()
_thread = threading.local()
WAIT = 30  # seconds


class NcclError(RuntimeError):
    """What NCCL refuses."""


class _Room:
    """Where the ranks of a communicator meet, and what each asks for."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.asked: list[list[tuple]] = [[] for _ in range(size)]


def get_unique_id() -> bytes:
    return next(_ids).to_bytes(128, "big")


def groupStart() -> None:
    _thread.calls = []


def groupEnd() -> None:
    calls, _thread.calls = _thread.calls, None
    for comm in dict.fromkeys(comm for comm, *_ in calls):
        comm._make([call for owner, *call in calls if owner is comm])


class NcclCommunicator:
    """Rank `rank` of `ndev`; all that were given one id belong together."""

    def __init__(self, ndev: int, commId: bytes, rank: int) -> None:
        if len(commId) != 128:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        with _lock:
            self.room = _rooms.setdefault(bytes(commId), _Room(ndev))
        self.rank = rank
        self.room.barrier.wait(WAIT)

    def bcast(self, buff: int, count: int, datatype: int, root: int, stream: int) -> None:
        self._ask("bcast", buff, count * _size(datatype), root)

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._ask("send", sendbuf, count * _size(datatype), peer)

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._ask("recv", recvbuf, count * _size(datatype), peer)

    def abort(self) -> None:
        self.room.barrier.abort()

    def destroy(self) -> None:
        pass

    def _ask(self, *call) -> None:
        if getattr(_thread, "calls", None) is None:
            self._make([call])
        else:
            _thread.calls.append((self, *call))

    def _make(self, calls) -> None:
        """Do what all ranks ask for at this time."""
        room, asked = self.room, self.room.asked
        asked[self.rank] = list(calls)
        room.barrier.wait(WAIT)
        copies = []
        broadcasts = [[call for call in theirs if call[0] == "bcast"] for theirs in asked]
        for own, *_ in zip(broadcasts[self.rank], *broadcasts, strict=True):
            _, to, size, root = own
            _, source, theirs, _ = broadcasts[root][broadcasts[self.rank].index(own)]
            assert size == theirs
            copies.append((to, source, size))
        for name, to, size, peer in asked[self.rank]:
            if name == "recv":
                (source,) = [p for what, p, n, r in asked[peer] if (what, n, r) == ("send", size, self.rank)]
                copies.append((to, source, size))
        for to, source, size in copies:
            if to != source:
                ctypes.memmove(to, source, size)
        room.barrier.wait(WAIT)


def _size(datatype: int) -> int:
    return {0: 1, 1: 1, 2: 4, 3: 4, 4: 8, 5: 8, 6: 2, 7: 4, 8: 8}[datatype]
