"""A small dose of each campaign, and proofs that a campaign sees what it looks for."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from campaigns import __main__ as campaigns
from campaigns.attempt import Attempt, run


@pytest.mark.slow
@pytest.mark.parametrize("name", campaigns.NAMES)
def test_dose(name, tmp_path):
    record = campaigns.conduct(name, importlib.import_module(f"campaigns.{name}").DOSE, 1, tmp_path)
    assert not record["failures"]


def test_record_counts_kinds_failures_and_the_largest_figures(monkeypatch, tmp_path):
    def attempts(count, seed, folder):
        for i in range(count):
            yield Attempt("even" if i % 2 == 0 else "odd", "broken" if i == 3 else "", {"steps lost": i})

    broken = SimpleNamespace(PROMISE="Nothing breaks.", COUNT=5, attempts=attempts)
    monkeypatch.setitem(sys.modules, "campaigns.broken", broken)
    record = campaigns.conduct("broken", None, 0, tmp_path)
    assert record["failed"] == 1
    assert record["failures"] == ["odd: broken"]
    assert record["kinds"]["even"] == {"tried": 3, "failed": 0, "figures": {"steps lost": 4}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("1 / 0", "a traceback: ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("b = bytearray(1_200 << 20); b[::4096] = b'x' * len(b[::4096])", "MiB of memory"),
        ("import sys; sys.stderr.write('x' * 5000)", "an error of 5,000 characters"),
        ("print('fine')", ""),
    ],
)
def test_bounded_process_sees_faults(code, fault):
    assert fault in run([sys.executable, "-c", code]).fault()
    assert bool(run([sys.executable, "-c", code]).fault()) == bool(fault)


@pytest.mark.slow
def test_bounded_process_stops_what_does_not_end():
    ended = run([sys.executable, "-c", "while True: pass"])
    assert ended.fault() in ("died of SIGXCPU", "died of SIGKILL")
