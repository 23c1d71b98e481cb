"""The number of threads that this library uses, and a loop that they share.

One number governs our own threads and BLAS. While our threads run, BLAS computes each product with one thread.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread, local
from typing import Any, TypeVar

from tinyconv.host.environment import cores

Result = TypeVar("Result")

VARIABLES = ("TINYCONV_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_chosen: int | None = None  # by set_num_threads


def get_num_threads() -> int:
    """The number of CPU threads in use. Like `torch.get_num_threads`.

    It is the number that `set_num_threads` was given; else that of the first of TINYCONV_NUM_THREADS, OMP_NUM_THREADS,
    OPENBLAS_NUM_THREADS and MKL_NUM_THREADS that is set; else the number of cores that this process may use, which the
    limit of a container may reduce.
    """
    return _default() if _chosen is None else _chosen


@cache
def _default() -> int:
    for name in VARIABLES:
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP lists a number for each level of nesting
        if first.isdigit() and int(first) > 0:
            return int(first)
    return cores()


def set_num_threads(n: int) -> None:
    """Use `n` CPU threads from now on, here and, where threadpoolctl is installed, in BLAS.

        tc.set_num_threads(1)

    Raises ValueError unless `n` is an int of at least 1. Like `torch.set_num_threads`.
    """
    global _chosen
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: expected a number of threads, at least 1, got {n!r}")
    _chosen = n
    for library in _blas():
        library.set_num_threads(n)


@cache
def _blas() -> list[Any]:
    """The BLAS libraries that are loaded. They are found with threadpoolctl; without it there are none."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [found for found in ThreadpoolController().lib_controllers if found.user_api == "blas"]


class _Team:
    """Threads that help the calling thread. They live, and wait for work, as long as the process does."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[tuple[Context, Callable[[], None]]] = SimpleQueue()
        self.size = 0
        self.lock = Lock()

    def call(self, count: int, work: Callable[[], None]) -> None:
        """Let `count` of them do `work`, each in a copy of the caller's context, as soon as they are free."""
        while self.size < count:
            with self.lock:
                if self.size < count:
                    self.size += 1
                    Thread(target=self._help, name=f"tinyconv-{self.size}", daemon=True).start()
        for _ in range(count):
            self.queue.put((copy_context(), work))

    def _help(self) -> None:
        while True:
            context, work = self.queue.get()
            context.run(work)
            del context, work  # so that what they hold is freed now and not at the next call


class _BlasAlone:
    """A `with` block in which BLAS uses one thread, until all threads that are inside have left."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.before: list[tuple[Any, int]] = []  # libraries, and how many threads they had

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = [(library, n) for library in _blas() if (n := library.get_num_threads()) > 1]
                for library, _ in self.before:
                    library.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                for library, n in self.before:
                    library.set_num_threads(n)


_team, _blas_alone = _Team(), _BlasAlone()
_here = local()  # .inside: this thread is in a parallel loop already


def parallel(function: Callable[[int], Result], n: int, threads: int | None = None) -> list[Result]:
    """[function(0), ..., function(n - 1)], computed by up to `threads` threads; the caller is one of them.

    Chance decides which thread takes which number; the results are in order. When all threads have stopped, the error
    with the smallest number is raised. Inside another parallel loop, and with one thread, this is a plain loop.
    """
    count = min(get_num_threads() if threads is None else threads, n)
    if count <= 1 or getattr(_here, "inside", False):
        return [function(i) for i in range(n)]
    pending, results = deque(range(n)), [None] * n
    errors: dict[int, BaseException] = {}
    left: SimpleQueue[int] = SimpleQueue()  # the numbers done, not the threads: some may come when all is done

    def work() -> None:
        _here.inside = True
        try:
            while pending:
                try:
                    i = pending.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    if not errors:
                        results[i] = function(i)  # type: ignore[call-overload]
                except BaseException as error:
                    errors[i] = error
                finally:
                    left.put(i)
        finally:
            _here.inside = False

    with _blas_alone:  # else threads of ours and of BLAS would wait for each other
        _team.call(count - 1, work)
        work()
        for _ in range(n):
            left.get()
    if errors:
        raise errors[min(errors)]
    return results  # type: ignore[return-value]


WORTH_A_THREAD = 100.0
"""Microseconds of work on one core that pay for a thread: to wake it takes half of that."""


def threads_for(work: float) -> int:
    """The number of threads for work that takes one core `work` microseconds; 1 inside a parallel loop."""
    if getattr(_here, "inside", False):
        return 1
    return max(1, min(get_num_threads(), int(work / WORTH_A_THREAD)))


def in_parts(function: Callable[[int, int], Any], n: int, work: float) -> None:
    """Call function(first, last) on parts of range(n), one part for each of `threads_for(work)` threads."""
    parts = min(threads_for(work), n)
    if parts <= 1:
        function(0, n)
    else:
        parallel(lambda i: function(n * i // parts, n * (i + 1) // parts), parts)


def blas_alone() -> AbstractContextManager[None]:
    """A `with` block in which BLAS uses one thread."""
    return nullcontext() if _chosen == 1 else _blas_alone  # TINYCONV_NUM_THREADS=1 alone tells BLAS nothing


def free_threads() -> int:
    """The number of threads that a compiled function may use.

    It is 1 inside a parallel loop, whose threads are all there are, and in a forked child, where a library would wait
    for threads that only its parent has.
    """
    return 1 if _forked or getattr(_here, "inside", False) else get_num_threads()


_forked = False


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _team, _blas_alone, _forked
    _team, _blas_alone, _forked = _Team(), _BlasAlone(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
