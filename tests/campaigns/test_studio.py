"""The campaign of the studio sees a job that fails in a way nobody thought of, and a studio that is not well."""

import pytest

from campaigns import studio
from tinyconv.web.jobs import JOBS
from tinyconv.web.serving import Served

pytestmark = pytest.mark.slow


def failures(tmp_path, count=50):
    return [attempt.failure for attempt in studio.attempts(count, 0, tmp_path) if attempt.failure]


def test_what_nobody_thought_of_is_seen(tmp_path, monkeypatch):
    assert not failures(tmp_path)

    def broken(studio, **given):
        return {}["nothing"]

    for name in list(JOBS):
        if not name.startswith("draw."):
            monkeypatch.setitem(JOBS, name, type(JOBS[name])(name, broken, False, False))
    assert any("KeyError" in failure for failure in failures(tmp_path))


def test_a_closed_connection_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyconv.web.serving.MOST", 60)
    assert any("the connection was closed" in failure for failure in failures(tmp_path, 20))


def test_a_wrong_answer_is_seen(tmp_path, monkeypatch):
    whole = JOBS["draw.maps"]

    def other(studio, pixels, place=False):
        found = whole.function(studio, pixels, place)
        return {**found, "probabilities": found["probabilities"] * 0.9}

    monkeypatch.setitem(JOBS, "draw.maps", type(whole)("draw.maps", other, False, True))
    assert any("the next page gets" in failure for failure in failures(tmp_path))


def test_a_thread_that_stays_is_seen(tmp_path, monkeypatch):
    more = []
    monkeypatch.setattr(studio, "open_anew", lambda one: more.append(Served(one.subject)))
    assert any("threads" in failure for failure in failures(tmp_path))
    more[0].close()
