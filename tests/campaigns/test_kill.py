"""The campaign *kill* sees what it is there to see: in a library that is broken, each time otherwise, attempts fail."""

from contextlib import contextmanager

import pytest

from campaigns import kill
from tinyconv.host import files
from tinyconv.train import Session, checkpoint, loop


def saves_in_place():
    @contextmanager
    def atomic(path):
        yield path

    checkpoint.atomic = atomic


def forgets_the_random_state():
    loop.set_rng_state = lambda state: None


def leaves_what_killed_saves_left():
    files.clear = lambda path: None


def saves_after_epochs_alone():
    saving = Session.saving
    Session.saving = lambda self, path, **often: saving(self, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "seen"),
    [
        (saves_in_place, "damaged"),
        (forgets_the_random_state, "other bits in"),
        (leaves_what_killed_saves_left, "left ['.c."),
        (saves_after_epochs_alone, "are lost"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_broken_is_seen(sabotage, seen, tmp_path):
    failures = [attempt.failure for attempt in kill.attempts(5, 3, tmp_path, sabotage) if attempt.failure]
    assert failures
    assert any(seen in failure for failure in failures), failures
