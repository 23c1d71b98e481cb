"""The campaign of races sees gradients that are lost or come twice, and what is made twice."""

import functools
import time

import pytest

from campaigns import races
from tinyconv.engine import nodes
from tinyconv.engine.context import context

pytestmark = pytest.mark.slow


def failures(kind, monkeypatch, count=3):
    monkeypatch.setattr(races, "KINDS", {"this": getattr(races, kind)})
    return [attempt.failure for attempt in races.attempts(count, 0, None) if attempt.failure]


def test_it_sees_a_gradient_that_is_lost(monkeypatch):
    def pull(self, grad, owned, needs):
        before = None if self.grad is None else self.grad.array
        time.sleep(1e-3)
        self.grad = nodes.Gradient(grad.copy() if before is None else before + grad)
        return ()

    assert not failures("sums", monkeypatch)
    monkeypatch.setattr(nodes.Leaf, "pull", pull)
    assert "a gradient is not the sum" in failures("sums", monkeypatch)[0]


def test_it_sees_two_threads_that_get_through_one_graph(monkeypatch):
    pull = nodes.OpNode.pull

    def slow(self, *args):
        time.sleep(1e-3)
        found = pull(self, *args)
        time.sleep(1e-3)
        return found

    def release(self):
        self.saved = nodes.FREED

    monkeypatch.setattr(nodes.OpNode, "pull", slow)
    assert not failures("graph", monkeypatch)
    monkeypatch.setattr(nodes.OpNode, "release", release)
    assert failures("graph", monkeypatch)


def test_it_sees_a_setting_that_threads_share(monkeypatch):
    def enter(self):
        self.__dict__.setdefault("stack", []).append(self.variable.get())
        self.variable.set(self.changed(context.get() if self.variable is context else None))
        time.sleep(1e-4)
        return self

    monkeypatch.setattr("tinyconv.arrays.setting.Setting.__enter__", enter)
    monkeypatch.setattr(
        "tinyconv.arrays.setting.Setting.__exit__", lambda self, *error: self.variable.set(self.stack.pop(0))
    )
    assert failures("settings", monkeypatch)


def test_it_sees_a_generator_that_is_made_twice(monkeypatch):
    def call(self):
        if not self.made:
            time.sleep(1e-3)
            self.made[:] = [self.function()]
        return self.made[0]

    monkeypatch.setattr("tinyconv.host.threads.Once.__call__", call)
    assert failures("first_use", monkeypatch)


@pytest.mark.parametrize("kind", [race.__name__ for race in races.KINDS.values()])
def test_each_kind_runs(kind, monkeypatch):
    assert not failures(kind, monkeypatch, 2)
    assert not isinstance(getattr(races, kind), functools.partial)
