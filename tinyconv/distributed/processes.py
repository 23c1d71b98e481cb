"""Ranks that are processes of one machine: they hand each other rows through shared memory.

`run` starts them by spawning, so each is a fresh interpreter. The first process is rank 0 and the others' parent. Who
waits for another looks at a counter of his in shared memory; so it is known who is absent. A rank that raises says why
before it ends, one that is killed is missed by its parent, and children that lose their parent end. Shared memory has
no name any more as soon as all have found it, so nothing is left behind by anybody who dies.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.shared_memory import SharedMemory
from secrets import token_hex
from threading import Lock, Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinyconv.distributed.communicator import (
    Bounds,
    Communicator,
    RankError,
    absent,
    check_alike,
    current,
    pause,
    share_of,
    use,
)
from tinyconv.errors import OptionError, TinyconvError, shortened
from tinyconv.host.environment import cores
from tinyconv.host.threads import get_num_threads, set_num_threads

Result = TypeVar("Result")
REASON = 1 << 12
"""Bytes of the reason that a rank gives for its end."""
GRACE = 3.0
"""Seconds that the others have to end when one has."""
BEGINNING = 120.0
"""Seconds in which processes have to be there: on a busy machine it takes some to start Python."""


def _control(size: int) -> int:
    """Bytes of the memory that all see from the beginning."""
    return 32 * size + REASON * size


def _bytes(memory: SharedMemory) -> memoryview[int]:
    assert memory.buf is not None  # it is not closed
    return memory.buf


class Processes(Communicator):
    """One of the processes that `run` starts; `memory` is what they find each other by."""

    name = "processes"

    def __init__(self, rank: int, size: int, memory: SharedMemory) -> None:
        super().__init__(rank, size)
        self.memory = memory
        self.arrived = np.frombuffer(_bytes(memory), np.int64, size)  # how often each has come to a meeting
        self.left = np.frombuffer(_bytes(memory), np.int64, size, 8 * size)  # the bytes of the reason of who has left
        # With how many bytes each has come: two rows, for meetings in turn. Negative: memory is opened for so many.
        self.sizes = np.frombuffer(_bytes(memory), np.int64, 2 * size, 16 * size).reshape(2, size)
        self.reasons = np.frombuffer(_bytes(memory), np.uint8, REASON * size, 32 * size).reshape(size, REASON)
        self.windows: list[SharedMemory] = []  # two, which gathers use in turn
        self.named: list[SharedMemory] = []  # those of them that this rank has to unlink
        self.gathers, self.generation, self.fence = 0, 0, Lock()

    def exchange(self, rows: NDArray[Any], bounds: Bounds, columns: Bounds) -> None:
        self._open(rows.nbytes)
        window = np.frombuffer(_bytes(self.windows[self.gathers % 2]), rows.dtype, rows.size).reshape(rows.shape)
        self.gathers += 1
        (start, stop), (first, last) = bounds[self.rank], columns[self.rank]
        try:
            window[start:stop] = rows[start:stop]
            # The next exchange uses the other window; the one after it begins when all have read this one.
            self._meet(rows.nbytes)
            for rank, (start, stop) in enumerate(bounds):
                if rank != self.rank:
                    rows[start:stop, first:last] = window[start:stop, first:last]
        finally:
            del window  # a traceback holds this frame, and memory with an array on it cannot be closed

    def broadcast(self, value: Any, root: int = 0) -> Any:
        text = np.frombuffer(json.dumps(value).encode(), np.uint8) if self.rank == root else np.zeros(0, np.uint8)
        mine = [(0, 1) if rank == root else (1, 1) for rank in range(self.size)]
        length = np.full(1, text.size, np.int64)
        self.gather(length, mine)
        whole = np.zeros((1, int(length[0])), np.uint8)
        whole[0, : text.size] = text
        self.gather(whole, mine)
        return json.loads(whole.tobytes())

    def barrier(self) -> None:
        self._meet(0)

    def _meet(self, size: int) -> None:
        """Wait until all ranks are here, with as many bytes."""
        wanted, began = int(self.arrived[self.rank]) + 1, time.monotonic()
        self.sizes[wanted % 2, self.rank] = size
        with self.fence:  # what was written before is seen by whoever sees the counter
            self.arrived[self.rank] = wanted
        patience = BEGINNING if wanted == 1 else self.patience
        while (self.arrived < wanted).any():
            waited = time.monotonic() - began
            if not pause(waited):
                continue
            if self.left.any():
                raise RankError(self.why())
            if waited > patience:
                raise RankError(absent(self, np.flatnonzero(self.arrived < wanted).tolist(), wanted, patience))
        with self.fence:
            pass
        if (self.sizes[wanted % 2] != size).any():
            check_alike(abs(self.sizes[wanted % 2]).tolist())

    def why(self) -> str:
        """Who has left, and why."""
        rank = int(np.flatnonzero(self.left)[0])
        reason = self.reasons[rank, : self.left[rank]].tobytes().decode(errors="replace")
        return f"rank {rank} of {self.size} ended: {reason}"

    def abort(self, reason: str) -> bool:
        """Whether this rank is the first to end: then it says why, for all."""
        first = not self.left.any()
        if first:
            self.tell(self.rank, reason)
        return first

    def tell(self, rank: int, reason: str) -> None:
        """Say of a rank that it has left."""
        text = np.frombuffer((reason or "without a word").encode()[:REASON], np.uint8)
        self.reasons[rank, : text.size] = text
        with self.fence:
            self.left[rank] = text.size

    def close(self) -> None:
        self._unlink()
        del self.arrived, self.left, self.reasons, self.sizes
        for memory in (*self.windows, self.memory):
            memory.close()
        self.windows = []

    def _open(self, size: int) -> None:
        """Have windows of at least so many bytes. All ranks come here with the same size, and at the same time."""
        if self.windows and self.windows[0].size >= size:
            return
        self.generation += 1
        for memory in self.windows:
            memory.close()
        names = [f"{self.memory.name}-{self.generation}-{side}" for side in "ab"]
        if self.rank == 0:
            self.windows = [SharedMemory(name, create=True, size=max(2 * size, 1 << 16)) for name in names]
            self.named = list(self.windows)
        self._meet(-size)
        if self.rank != 0:
            self.windows = [SharedMemory(name) for name in names]
        self._meet(-size)
        self._unlink()

    def _unlink(self) -> None:
        """Take the names away from memory that all have found."""
        while self.named:
            self.named.pop().unlink()


def run(function: Callable[..., Result], ranks: int, *args: Any) -> Result:
    """function(*args) on so many ranks; what it returns as rank 0, which is this process.

    The other processes import `function`, so it is one of a module; it and `args` are pickled for them. Raises
    RankError, and leaves no process behind, where one of them fails. Where nobody has chosen a number of threads, each
    has those of its share of the cores.
    """
    threads = get_num_threads()
    chosen = threads if threads != cores() else max(1, threads // ranks)
    with others(ranks, function, *args, threads=chosen):
        set_num_threads(chosen)
        try:
            return function(*args)
        finally:
            set_num_threads(threads)


@contextmanager
def others(ranks: int, function: Callable[..., Any], *args: Any, threads: int) -> Iterator[None]:
    """A `with` block in which this process is rank 0, and the other ranks, its children, do function(*args).

    Each has so many threads. Where there are cores for all of them, the system keeps each rank on its share of these:
    else it may put two on one core for a while. Raises what `distributed.run` does.
    """
    try:
        pickle.dumps((function, args))
    except Exception as error:
        raise OptionError(
            f"distributed.run: the other processes import the function, so it is one of a module, and arguments are "
            f"pickled; this could not be sent: {shortened(function)} ({error})"
        ) from None
    spawn = multiprocessing.get_context("spawn")
    memory = SharedMemory(f"tinyconv-{os.getpid()}-{token_hex(3)}", create=True, size=_control(ranks))
    own = Processes(0, ranks, memory)
    own.arrived[:] = own.left[:] = own.sizes[...] = 0
    allowed = _cores_to_choose_of()
    own_cores = [allowed[a:b] for a, b in share_of(len(allowed), ranks)] if threads * ranks <= len(allowed) else []
    children = [
        spawn.Process(
            target=_child,
            args=(rank, ranks, memory.name, own_cores[rank : rank + 1], threads, function, args),
            name=f"rank {rank}",
            daemon=True,
        )
        for rank in range(1, ranks)
    ]
    before, ending, started = current(), list[None](), list[Any]()
    try:
        for child in children:
            child.start()
            started.append(child)
        Thread(target=_watch, args=(own, started, ending), daemon=True).start()
        _keep_to(own_cores[:1])
        use(own)
        own.barrier()  # all have found the memory
        memory.unlink()
        yield
        own.barrier()
    except BaseException as error:
        own.abort(f"{type(error).__name__}: {error}")
        raise
    finally:
        ending.append(None)
        use(before)
        if own_cores:
            _keep_to([allowed])
        until = time.monotonic() + GRACE
        for rank, child in enumerate(started, 1):
            child.join(
                max(0.0, until - time.monotonic()) if own.arrived[rank] else 0.0
            )  # who is not there hears nothing
            if child.is_alive():  # it is stopped, or deep in something
                child.kill()
                child.join()
        with suppress(FileNotFoundError):
            memory.unlink()
        own.close()


def _watch(own: Processes, children: list[Any], ending: list[None]) -> None:
    """In the parent: tell the others of a child that is gone."""
    sentinels = {child.sentinel: (rank, child) for rank, child in enumerate(children, 1)}
    while sentinels and not ending:
        for sentinel in wait(list(sentinels), timeout=0.5):
            rank, child = sentinels.pop(sentinel)
            child.join(1)  # the pipe that tells of its end closes a moment before
            if child.exitcode and not ending and not own.left.any():
                code = -child.exitcode
                name = signal.Signals(code).name if code > 0 else f"exit code {child.exitcode}"
                early = "" if own.arrived[rank] else ' before it began; has the script `if __name__ == "__main__":`?'
                own.tell(rank, f"its process is gone ({name}){early}")


def _cores_to_choose_of() -> list[int]:
    """The cores of this thread; none where the system does not let a process choose."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _keep_to(cores: Sequence[list[int]]) -> None:
    """Keep this thread, and those that it starts, to these cores, if any are given."""
    for mine in cores:
        os.sched_setaffinity(0, mine)


def _child(
    rank: int,
    size: int,
    name: str,
    cores: list[list[int]],
    threads: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    """What a process that was spawned does."""
    _keep_to(cores)
    set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for rank 0, which tells the others
    own = Processes(rank, size, SharedMemory(name))
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(own, parent.sentinel), daemon=True).start()
    use(own)
    try:
        own.barrier()
        function(*args)
        own.barrier()
    except BaseException as error:
        first = own.abort(f"{type(error).__name__}: {error}")  # unless it was told so itself
        # Of what is raised on purpose the message is enough.
        if first and not isinstance(error, TinyconvError | SystemExit):
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
        os._exit(1)


def _end_with(own: Processes, parent: int) -> None:
    """In a child: end soon after the parent."""
    wait([parent])
    if own.arrived[own.rank] > 1:  # else it has done nothing yet
        own.abort("its process is gone")
        time.sleep(GRACE / 2)
    os._exit(1)
