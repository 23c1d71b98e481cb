"""The campaigns *hostile* and *fuzz* see what they are there to see, in a victim that does it."""

import sys
from types import SimpleNamespace

import pytest

from campaigns import hostile
from campaigns.hostile import attempts


def act(words):
    """A victim that does what the first word says."""
    if words[0] == "traceback":
        raise RuntimeError("not caught")
    if words[0] == "memory":
        block = bytearray(1_200 << 20)
        block[::4096] = b"x" * len(block[::4096])
    while words[0] == "time":
        pass
    if words[0] == "long":
        sys.exit("error: " + "x" * 3500)
    if words[0] == "terminal":
        sys.exit("error: \x1b[31m")
    if words[0] == "silent":
        sys.exit(1)
    if words[0] == "code":
        sys.exit(77)
    if words[0] == "said":
        sys.exit("error: what was wrong")


FAULTS = {
    "traceback": "a traceback: RuntimeError: not caught",
    "memory": "MiB of memory",
    "long": "an error of 3,507 characters",
    "terminal": "a control character of the input reaches the terminal",
    "silent": "no reason given",
    "code": "exit code 77",
    "said": "",
    "nothing": "",
}


def tried(folder, *whats):
    def kind(what):
        def a_kind(rng, place):
            return [what]

        return a_kind

    inputs = SimpleNamespace(kinds=[kind(what) for what in whats], first=list)
    return [attempt.failure for attempt in attempts(len(whats), 0, folder, "campaigns.test_hostile:act", inputs)]


@pytest.mark.slow
def test_faults_are_seen_and_named(tmp_path):
    failures = tried(tmp_path, *FAULTS)
    for i, (what, fault, failure) in enumerate(zip(FAULTS, FAULTS.values(), failures, strict=True)):
        assert fault in failure
        assert failure.endswith(f"; input {i}: {what}" if fault else "")
        assert bool(failure) == bool(fault)


@pytest.mark.slow
def test_what_does_not_end_is_ended(tmp_path):
    """By its processor time, or on a busy machine by the clock."""
    assert tried(tmp_path, "time")[0].startswith(("died of SIGXCPU", "died of SIGALRM"))


def test_an_input_depends_on_the_seed_and_its_number_alone(tmp_path):
    import numpy as np

    inputs = hostile.Inputs(tmp_path)
    for kind in inputs.kinds:
        made = []
        for name in ("a", "b"):
            (tmp_path / kind.__name__ / name).mkdir(parents=True)
            words = kind(np.random.default_rng((0, 5)), tmp_path / kind.__name__ / name)
            made.append([word.replace(f"/{name}/", "/") for word in words])
        assert made[0] == made[1]
