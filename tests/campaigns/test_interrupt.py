"""The campaign of interrupts sees threads, contexts and models that a Ctrl-C leaves otherwise than they were."""

import threading
import time

import pytest

from campaigns import interrupt
from tinyconv.arrays.setting import Setting
from tinyconv.engine.context import context
from tinyconv.host import threads

pytestmark = pytest.mark.slow


def faults(scene, kind):
    """What the first interrupt leaves that leaves something, of one at each point."""
    points, found = interrupt.Points(), set()
    interrupt.prepared(scene, kind)
    points.run(getattr(scene, kind))
    for at in range(1, points.passed + 1):
        settings = interrupt.prepared(scene, kind)
        points.run(getattr(scene, kind), at)
        if fault := scene.fault(kind, settings):
            found.add(fault.split(" ")[0])
            return found
    return found


@pytest.fixture
def scene():
    outside = context.get()
    yield interrupt.Scene()
    context.set(outside)


def test_it_sees_threads_of_blas_that_stay_one(monkeypatch, scene):
    def alone(self, function, *args):
        self._enter(1)
        result = function(*args)
        self._leave(1)
        return result

    blas = threads._Blas()
    monkeypatch.setattr(threads, "_blas_threads", blas)
    monkeypatch.setattr(threads._Blas, "alone", alone)
    try:
        assert faults(scene, "loop") == {"inside"}
    finally:
        blas._leave(1)


def test_it_sees_a_helper_that_is_left_at_work(monkeypatch, scene):
    part, begun = scene.part, threading.Event()

    def slow(i):
        if threading.current_thread() is threading.main_thread():
            begun.wait(1)
        else:
            scene.working.append(i)
            begun.set()
            time.sleep(0.02)
            scene.working.remove(i)
        return part(i)

    monkeypatch.setattr(scene, "part", slow)
    monkeypatch.setattr(threads._Loop, "end", lambda self: self.pending.clear())
    assert faults(scene, "loop") == {"a"}


def test_it_sees_a_context_that_stays(monkeypatch, scene):
    def enter(self):
        self._entered.__dict__.setdefault("before", []).append(self.variable.get())
        self.variable.set(self.changed(self._entered.before[-1]))
        return self

    monkeypatch.setattr(Setting, "__enter__", enter)
    assert faults(scene, "blocks") == {"settings"}
