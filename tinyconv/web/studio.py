"""The studio: one thread that owns the model. It does the jobs of the pages in turn, and trains in between.

Nothing else touches the model, so no job sees a weight half written. A training gives way after every step: a drawing
is answered between two of them.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from tinyconv.web.jobs import Job, JobError, find
from tinyconv.web.subject import Subject

Listener = Callable[[str, dict[str, Any]], None]


@dataclass
class _Order:
    """A job that waits, for whom, and where its result is awaited."""

    job: Job
    arguments: dict[str, Any]
    client: object
    then: Callable[[Any], Any]
    result: Future[Any] = field(default_factory=Future)


class Studio:
    """A model, the jobs that wait for it, and the activity (a training) that goes on when none waits.

    Args:
        subject: What the pages look at; `open` replaces it.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.state: dict[str, Any] = {}  # what pages keep on this side, each under its name
        self.kept: dict[str, Any] = {}  # and what they keep when another model is opened
        self._activity: Iterator[None] | None = None
        self._orders: deque[_Order] = deque()
        self._tabs: list[tuple[object, Listener]] = []  # the first of them may change things
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="tinyconv-studio", daemon=True)
        self._thread.start()

    # Called by any thread.

    def submit(
        self, name: Any, arguments: Any, client: object = None, then: Callable[[Any], Any] = lambda result: result
    ) -> Future[Any]:
        """Let the job of that name be done, and `then` with its result, in the thread of the studio.

        Raises JobError where there is no such job, or other arguments are needed. The future raises JobError where the
        job would change things and this tab may not.
        """
        job = find(name)
        if not isinstance(arguments, dict):
            raise JobError(f"{job.name}: expected its arguments by name, got {type(arguments).__name__}")
        job.check(arguments)
        order = _Order(job, arguments, client, then)
        with self._changed:
            if self._closed:
                raise JobError("the studio is closed")
            if job.newest:
                self._forget(lambda other: other.job is job and other.client is client)
            self._orders.append(order)
            self._changed.notify()
        return order.result

    def _forget(self, which: Callable[[_Order], bool]) -> None:
        for order in [order for order in self._orders if which(order)]:
            self._orders.remove(order)
            order.result.cancel()

    def join(self, client: object, listener: Listener) -> None:
        """A tab is there: `listener` gets the reports, in any thread. The first tab may change things."""
        with self._changed:
            self._tabs = [*self._tabs, (client, listener)]  # replaced, never changed: `report` runs through it
        self._say_who()

    def leave(self, client: object) -> None:
        """A tab is gone, and what it waits for is not done. The next may change things now, if this one did."""
        with self._changed:
            self._tabs = [tab for tab in self._tabs if tab[0] is not client]
            self._forget(lambda order: order.client is client)
        self._say_who()

    def take_over(self, client: object) -> None:
        """Let this tab change things, and the others look on."""
        with self._changed:
            self._tabs = sorted(self._tabs, key=lambda tab: tab[0] is not client)  # the others keep their order
        self._say_who()

    def may_write(self, client: object) -> bool:
        """Whether this tab may change things."""
        return bool(self._tabs) and self._tabs[0][0] is client

    def close(self) -> None:
        """End the thread, after the job or the step under way. What waits is cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(10)

    # Called by jobs, in the thread.

    def open(self, subject: Subject) -> None:
        """Look at another model from now on. A training of the one before ends."""
        self.stop()
        self.subject = subject
        self.state.clear()
        self.report("subject", subject.outline())

    def go_on_with(self, activity: Iterator[None]) -> None:
        """Do a step of `activity` whenever no job waits, until it ends. One that went on before ends now."""
        self.stop()
        self._activity = activity

    def stop(self) -> None:
        """End the activity, if there is one; its `finally` runs."""
        activity, self._activity = self._activity, None
        close = getattr(activity, "close", None)
        if close is not None:
            close()

    @property
    def busy(self) -> bool:
        """Whether an activity goes on."""
        return self._activity is not None

    def report(self, event: str, data: dict[str, Any]) -> None:
        """Tell every page at once. Whoever reports often sees to it that pages can follow (`training.OFTEN`)."""
        for _, listener in self._tabs:
            _tell(listener, event, data)

    # The thread.

    def _say_who(self) -> None:
        tabs = self._tabs
        for client, listener in tabs:
            _tell(listener, "role", {"writes": self.may_write(client), "tabs": len(tabs)})

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._orders or self._activity or self._closed):
                    self._changed.wait()
                order = self._orders.popleft() if self._orders else None
                if self._closed:
                    break
            if order is not None:
                self._do(order)
            else:
                self._step()
        self.stop()
        for waiting in [*([order] if order else []), *self._orders]:
            waiting.result.cancel()

    def _do(self, order: _Order) -> None:
        if not order.result.set_running_or_notify_cancel():
            return
        try:
            if order.job.writes and order.client is not None and not self.may_write(order.client):
                raise JobError("another tab has the studio: this one looks on. Take it over to change things here")
            self.subject.renew()
            order.result.set_result(order.then(order.job.function(self, **order.arguments)))
        except BaseException as error:
            order.result.set_exception(_told(error))

    def _step(self) -> None:
        assert self._activity is not None
        try:
            next(self._activity)
        except StopIteration:
            self._activity = None
        except BaseException as error:  # it is reported, and the pages go on
            self._activity = None
            traceback.print_exc()
            self.report("failed", {"kind": type(error).__name__, "text": str(error)})


def _tell(listener: Listener, event: str, data: dict[str, Any]) -> None:
    """A listener that fails, such as that of a page whose server has ended, is its own affair."""
    try:
        listener(event, data)
    except Exception:
        traceback.print_exc()


def _told(error: BaseException) -> Exception:
    """An error that a future can carry to another thread: SystemExit would end that one too."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = JobError(f"the model raised {type(error).__name__}: {error}")
    told.__cause__ = error
    return told
