"""The campaign *fuzz* changes what it is given, and sees a victim that fails on a changed byte."""

import sys

import numpy as np
import pytest

from campaigns import fuzz

WHOLE = bytes(range(256)) * 20


def act(words):
    """A victim that takes what it reads for right."""
    if words[0] in ("read_idx", "read_cifar10"):
        with open(words[1], "rb") as file:
            content = file.read()
        if content[0] != 0 or len(content) < 3000:
            raise IndexError("out of the buffer")
    sys.exit("error: not read")


def test_mutations_change_little_and_often():
    made = [fuzz.mutated(WHOLE, np.random.default_rng(i), [WHOLE]) for i in range(200)]
    assert sum(one != WHOLE for one in made) > 190
    assert len({len(one) for one in made}) > 100
    assert all(one == fuzz.mutated(WHOLE, np.random.default_rng(i), [WHOLE]) for i, one in enumerate(made))


@pytest.mark.slow
def test_a_victim_that_trusts_a_file_is_seen(tmp_path):
    failures = [one.failure for one in fuzz.attempts(66, 0, tmp_path, "campaigns.test_fuzz:act") if one.failure]
    assert failures
    assert all("a traceback: IndexError: out of the buffer" in failure for failure in failures)
    assert all("read_" in failure for failure in failures)
