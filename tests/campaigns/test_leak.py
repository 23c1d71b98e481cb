"""The campaign of leaks sees what is kept, and what only the garbage collector would find."""

import pytest

from campaigns import leak
from tinyconv.host import threads

pytestmark = pytest.mark.slow


def failures(name, monkeypatch, tmp_path):
    monkeypatch.setattr(leak, "SETTINGS", {name: leak.SETTINGS[name]})
    monkeypatch.setattr(leak, "STEPS", 30)
    return [attempt.failure for attempt in leak.attempts(1, 0, tmp_path) if attempt.failure]


def test_it_sees_an_error_in_a_cycle(monkeypatch, tmp_path):
    name = "an error in forward, plain and in tiles"
    assert not failures(name, monkeypatch, tmp_path)
    whole = threads._in_parallel

    def keeps(*args):
        try:
            return whole(*args)
        except BaseException as error:
            error.holder = [error]
            raise

    monkeypatch.setattr(threads, "_in_parallel", keeps)
    assert "objects in cycles" in failures(name, monkeypatch, tmp_path)[0]


@pytest.mark.parametrize("keep", [lambda i: object(), lambda i: bytearray(1000)])
def test_it_sees_what_is_kept(keep, monkeypatch, tmp_path):
    kept = []
    monkeypatch.setitem(leak.SETTINGS, "keeps", lambda bench, i: kept.append(keep(i)))
    assert "blocks a step" in failures("keeps", monkeypatch, tmp_path)[0]


def test_it_sees_memory_that_grows_without_new_objects(monkeypatch, tmp_path):
    kept = bytearray()
    monkeypatch.setitem(leak.SETTINGS, "grows", lambda bench, i: kept.extend(bytes(500)))
    assert "bytes a step" in failures("grows", monkeypatch, tmp_path)[0]
