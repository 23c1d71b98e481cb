"""The number of threads that this library uses, and a loop that they share.

One number governs our own threads and BLAS. While our threads run, BLAS computes each product with one thread.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import cache, update_wrapper
from operator import index
from queue import SimpleQueue
from threading import RLock, Thread, current_thread, get_ident, local
from typing import Any, Generic, TypeVar

from tinyconv.errors import shortened
from tinyconv.host.environment import cores
from tinyconv.host.limits import THREADS
from tinyconv.host.memory import unplanned

Result = TypeVar("Result")

VARIABLES = ("TINYCONV_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_chosen: int | None = None  # by set_num_threads


def get_num_threads() -> int:
    """The number of CPU threads in use. Like `torch.get_num_threads`.

    It is the number that `set_num_threads` was given; else that of the first of TINYCONV_NUM_THREADS, OMP_NUM_THREADS,
    OPENBLAS_NUM_THREADS and MKL_NUM_THREADS that is set to a number from 1 to 1,024; else the number of cores that this
    process may use, which the limit of a container may reduce.
    """
    return _default() if _chosen is None else _chosen


@cache
def _default() -> int:
    for name in VARIABLES:
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP lists a number for each level of nesting
        if first.isdecimal() and len(first) < 10 and 0 < int(first) <= THREADS:
            return int(first)
    return cores()


def set_num_threads(n: int) -> None:
    """Use `n` CPU threads from now on, here and, where threadpoolctl is installed, in BLAS.

        tc.set_num_threads(1)

    Raises ValueError unless `n` is an int from 1 to 1,024. Like `torch.set_num_threads`.
    """
    global _chosen
    try:
        threads = 0 if isinstance(n, bool) else index(n)
    except TypeError:
        threads = 0
    if not 1 <= threads <= THREADS:
        raise ValueError(f"set_num_threads: expected a number of threads, 1 to {THREADS:,}, got {shortened(n)}")
    _chosen = threads
    _blas_threads.set_num_threads(threads)


_onces: list[Once[Any]] = []


class Once(Generic[Result]):
    """A function without arguments that is called once: several threads may be the first to ask, and all get the same.

    `functools.cache` would call it for each of them, and they would get different results.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self.function, self.lock, self.made = function, RLock(), list[Result]()
        update_wrapper(self, function)
        _onces.append(self)

    def __call__(self) -> Result:
        if not self.made:
            with self.lock:
                if not self.made:
                    self.made.append(self.function())
        return self.made[0]


@Once
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
        self.members: list[Thread] = []  # each enters itself, so that all in here are alive, whatever stopped a starter
        self.entered: SimpleQueue[None] = SimpleQueue()
        self.lock = RLock()

    def call(self, count: int, work: Callable[[], None]) -> None:
        """Let `count` of them do `work`, each in a copy of the caller's context, as soon as they are free.

        There may be fewer: where no thread can be started, those that are there have to do.
        """
        if len(self.members) < count:
            with self.lock, suppress(RuntimeError):  # "can't start new thread": a limit, or the interpreter is ending
                while len(self.members) < count:
                    member = Thread(target=self._help, name=f"tinyconv-{len(self.members) + 1}", daemon=True)
                    member.start()
                    while member not in self.members:
                        self.entered.get()
        for _ in range(min(count, len(self.members))):
            self.queue.put((copy_context(), work))

    def _help(self) -> None:
        self.members.append(current_thread())
        self.entered.put(None)
        while True:
            context, work = self.queue.get()
            context.run(work)
            del context, work  # so that what they hold is freed now and not at the next call


class _Here(local):
    """What this thread is doing."""

    in_loop = False  # it is in a parallel loop already
    alone = False  # it has BLAS use one thread


_here = _Here()


class _Blas:
    """Keeps BLAS to one thread as long as a thread of ours wants it so; then it has as many as before."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.inside: set[int] = set()  # the threads that want it. No count, which a Ctrl-C in between would spoil
        self.before: list[tuple[Any, int]] | None = None  # libraries, and how many threads they have outside

    def alone(self, function: Callable[..., Result], *args: Any) -> Result:
        """function(*args), while BLAS uses one thread."""
        if _here.alone:
            return function(*args)
        me = get_ident()
        _here.alone = True
        try:
            try:
                self._enter(me)
                return function(*args)
            finally:
                self._leave(me)
        finally:
            _here.alone = False
            self._leave(me)  # once more: a Ctrl-C may have come as the first was called

    def _enter(self, me: int) -> None:
        with self.lock:
            self.inside.add(me)
            if self.before is None:
                self.before = [(library, library.get_num_threads()) for library in _blas()]
                self._set(1)

    def _leave(self, me: int) -> None:
        with self.lock:
            self.inside.discard(me)
            if not self.inside and self.before is not None:
                self._set(None)
                self.before = None

    def _set(self, n: int | None) -> None:
        """Give every library `n` threads, or as many as it had before."""
        for library, before in self.before or ():
            if before > 1:
                _tell(library, n or before)

    def set_num_threads(self, n: int) -> None:
        """Outside, BLAS has `n` threads from now on."""
        with self.lock:
            if self.before is not None:
                self.before = [(library, n) for library in _blas()]
            else:
                for library in _blas():
                    _tell(library, n)


def _tell(library: Any, n: int) -> None:
    """Have a library of BLAS use `n` threads. threadpoolctl 3.8 hears only the first thread that tells it."""
    let_go = getattr(library, "clear_controlling_thread", lambda force: None)
    let_go(force=True)
    library.set_num_threads(n)
    let_go(force=True)  # nor do we keep others from being heard


class _Loop(Generic[Result]):
    """The numbers of a parallel loop that nobody has taken yet, and what came of the others.

    Python raises KeyboardInterrupt between any two calls, but in the main thread alone: helpers are never interrupted.
    So it is they who note what the caller has to wait for.
    """

    def __init__(self, function: Callable[[int], Result], n: int) -> None:
        self.function: Any = function
        self.pending = deque(range(n))
        self.results: Any = [None] * n
        self.errors: dict[int, BaseException] = {}
        self.came: list[None] = []  # an entry for each helper, before it takes its first number
        self.went: list[None] = []  # an entry for each, when it takes no more
        self.bell: SimpleQueue[None] = SimpleQueue()  # rings after that

    def work(self) -> None:
        """Take numbers until none is left. After an error nobody takes more; all smaller ones are under way by then."""
        results = self.results
        _here.in_loop = True
        try:
            while self.pending:
                try:
                    i = self.pending.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    results[i] = self.function(i)
                except Exception as error:
                    self.errors[i] = error
                    self.pending.clear()
        finally:
            _here.in_loop = False
            del results  # a traceback holds this frame

    def help(self) -> None:
        """What a helper does."""
        self.came.append(None)
        try:
            self.work()
        except BaseException as error:  # such as SystemExit: it comes before all others
            self.errors[-1] = error
        finally:
            self.went.append(None)
            self.bell.put(None)

    def end(self) -> None:
        """Let nobody take more, and wait until nobody works. Who comes later finds nothing, so it is not waited for."""
        self.pending.clear()
        while len(self.went) < len(self.came):
            self.bell.get()


_team, _blas_threads = _Team(), _Blas()


def parallel(function: Callable[[int], Result], n: int, threads: int | None = None) -> list[Result]:
    """[function(0), ..., function(n - 1)], computed by up to `threads` threads; the caller is one of them.

    Chance decides which thread takes which number; the results are in order. When all threads have stopped, the error
    with the smallest number is raised. Inside another parallel loop, and with one thread, this is a plain loop.

    A Ctrl-C ends the loop when the numbers that are under way are done; a third one does not wait for them.
    """
    count = min(get_num_threads() if threads is None else threads, n)
    if count <= 1 or _here.in_loop:
        return [function(i) for i in range(n)]
    return _blas_threads.alone(_in_parallel, function, n, count)  # else threads of ours and of BLAS would compete


def _in_parallel(function: Callable[[int], Result], n: int, count: int) -> list[Result]:
    loop, first = _Loop(function, n), None
    try:
        try:
            try:
                _team.call(count - 1, loop.help)
                loop.work()
            finally:
                loop.end()
        finally:
            loop.end()  # once more: a Ctrl-C may have cut the first short
        if loop.errors:
            first = loop.errors[min(loop.errors)]
            raise first
        return loop.results
    finally:
        # A traceback holds this frame, and a helper that comes late holds the loop: neither may hold what is done.
        first = loop.function = loop.results = None
        loop.errors.clear()


WORTH_A_THREAD = 100.0
"""Microseconds of work on one core that pay for a thread: to wake it takes half of that."""


def threads_for(work: float) -> int:
    """The number of threads for work that takes one core `work` microseconds; 1 inside a parallel loop."""
    if _here.in_loop:
        return 1
    return max(1, min(get_num_threads(), int(work / WORTH_A_THREAD)))


def in_parts(function: Callable[[int, int], Any], n: int, work: float) -> None:
    """Call function(first, last) on parts of range(n), one part for each of `threads_for(work)` threads."""
    parts = min(threads_for(work), n)
    if parts <= 1:
        function(0, n)
    else:
        unplanned(parallel, lambda i: function(n * i // parts, n * (i + 1) // parts), parts)


def as_in_loop(function: Callable[..., Result], *args: Any) -> Result:
    """function(*args) on a thread that was not started here, as in a parallel loop: it uses this thread alone."""
    before, _here.in_loop = _here.in_loop, True
    try:
        return function(*args)
    finally:
        _here.in_loop = before


def blas_alone(function: Callable[..., Result], *args: Any) -> Result:
    """function(*args), while BLAS uses one thread."""
    if _chosen == 1 or _here.in_loop:  # it does; TINYCONV_NUM_THREADS=1 alone tells BLAS nothing
        return function(*args)
    return _blas_threads.alone(function, *args)


def free_threads() -> int:
    """The number of threads that a compiled function may use.

    It is 1 inside a parallel loop, whose threads are all there are, and in a forked child, where a library would wait
    for threads that only its parent has.
    """
    return 1 if _forked or _here.in_loop else get_num_threads()


_forked = False


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _team, _blas_threads, _forked
    _team, _blas_threads, _forked = _Team(), _Blas(), True
    for once in _onces:
        once.lock = RLock()  # one of those threads may hold it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
