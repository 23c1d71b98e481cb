"""How many threads this library works with, and a loop over them.

One number governs everything here, and BLAS follows it: where our own threads work, each product is one thread's.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from threading import Lock, local
from typing import Any, TypeVar

from tinyconv.environment import cores

Result = TypeVar("Result")

VARIABLES = ("TINYCONV_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_chosen: int | None = None  # by set_num_threads


def get_num_threads() -> int:
    """How many threads are used: what `set_num_threads` said; else the first of TINYCONV_NUM_THREADS, OMP_NUM_THREADS,
    OPENBLAS_NUM_THREADS and MKL_NUM_THREADS that is set; else as many as there are cores this process may use, of which
    a container's limit may leave few."""
    return _default() if _chosen is None else _chosen


@cache
def _default() -> int:
    for name in VARIABLES:
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP lists a number for each level of nesting
        if first.isdigit() and int(first) > 0:
            return int(first)
    return cores()


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, here and, if threadpoolctl is installed, in BLAS."""
    global _chosen
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: expected a number of threads, at least 1, got {n!r}")
    _chosen = n
    for library in _blas():
        library.set_num_threads(n)


@cache
def _blas() -> list[Any]:
    """The BLAS libraries that are loaded; none without threadpoolctl, which finds them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return [found for found in ThreadpoolController().lib_controllers if found.user_api == "blas"]


class _Team:
    """The threads that help the one that calls."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None
        self.size = 0
        self.lock = Lock()
        self.at_work = 0  # how many parallel loops run now
        self.blas: list[int] = []  # the threads that BLAS had before

    def start(self, count: int, work: Callable[[], None]) -> list[Future[None]]:
        """Let `count` of them work, each in a copy of the caller's context."""
        with self.lock:
            if self.pool is None or self.size < count:
                if self.pool is not None:
                    self.pool.shutdown(wait=False)
                self.pool, self.size = ThreadPoolExecutor(count, "tinyconv"), count
            return [self.pool.submit(copy_context().run, work) for _ in range(count)]

    @contextmanager
    def one_blas_thread(self) -> Iterator[None]:
        """BLAS works alone in each of our threads: two that share cores wait for each other."""
        with self.lock:
            self.at_work += 1
            if self.at_work == 1:
                self.blas = [library.get_num_threads() for library in _blas()]
                self._set_blas([1] * len(self.blas))
        try:
            yield
        finally:
            with self.lock:
                self.at_work -= 1
                if not self.at_work:
                    self._set_blas(self.blas)

    @staticmethod
    def _set_blas(numbers: list[int]) -> None:
        for library, n in zip(_blas(), numbers, strict=True):
            library.set_num_threads(n)


_team = _Team()
_here = local()  # .inside: this thread is in a parallel loop already


def parallel(function: Callable[[int], Result], n: int, threads: int | None = None) -> list[Result]:
    """[function(0), ..., function(n - 1)], by up to `threads` threads, of which the caller is one.

    Which thread takes which number is a matter of chance; the results are in order. The first error, by number, is
    raised when all have stopped. Inside another parallel loop, and where one thread is all there is, it is a plain one.
    """
    count = min(get_num_threads() if threads is None else threads, n)
    if count <= 1 or getattr(_here, "inside", False):
        return [function(i) for i in range(n)]
    pending, results, errors = deque(range(n)), [None] * n, {}

    def work() -> None:
        _here.inside = True
        try:
            while pending:
                try:
                    i = pending.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    results[i] = function(i)  # type: ignore[call-overload]
                except BaseException as error:
                    errors[i] = error
                    pending.clear()
        finally:
            _here.inside = False

    with _team.one_blas_thread():
        helpers = _team.start(count - 1, work)
        work()
        for helper in helpers:
            helper.result()
    if errors:
        raise errors[min(errors)]
    return results  # type: ignore[return-value]


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
