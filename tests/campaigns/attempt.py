"""One attempt of a campaign, and the bounded process that it may run in."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEMORY = 1 << 30
"""The most memory, in bytes, that an input may cost: what a process of a campaign may have resident."""
SECONDS = 10.0
"""The most processor time that an input may cost."""


@dataclass(frozen=True)
class Attempt:
    """What was tried, and what came of it.

    `kind` is the row of the record that counts it ("SIGKILL at fsync"). `failure` says in a line what was not as
    promised and how to try it again; it is empty where all was. `figures` are measured; the record keeps the largest of
    each kind ("steps lost").
    """

    kind: str
    failure: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative for a signal), outputs, processor seconds, peak of resident bytes."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    memory: int

    @property
    def figures(self) -> dict[str, float]:
        return {"processor seconds": round(self.seconds, 2), "MiB": self.memory >> 20}

    def fault(self) -> str:
        """What no input may cause: a signal, a traceback, an error of many lines, too much memory or time; or ""."""
        if self.code < 0:
            return f"died of {signal.Signals(-self.code).name}"
        if "Traceback (most recent call last)" in self.stderr:
            return f"a traceback: {self.stderr.strip().splitlines()[-1][:200]}"
        if len(self.stderr) > 4000:
            return f"an error of {len(self.stderr):,} characters: {self.stderr[:100]!r}"
        if self.memory > MEMORY:
            return f"{self.memory >> 20:,} MiB of memory"
        if self.seconds > SECONDS:
            return f"{self.seconds:.1f} s of processor time"
        return ""


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    address_space: int | None = 8 << 30,
    timeout: float = 120.0,
    preexec: Callable[[], None] | None = None,
) -> Ended:
    """Run a command, bounded: twice SECONDS of processor time, and `address_space` bytes (threads reserve much)."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * SECONDS), int(2 * SECONDS) + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if address_space is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        if preexec is not None:
            preexec()

    process = subprocess.Popen(
        [os.fspath(word) for word in command], cwd=cwd, env=env, preexec_fn=limit, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    watch = threading.Timer(timeout, process.kill)
    watch.start()
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    out = process.stdout.read()
    reader.join()
    _, status, usage = os.wait4(process.pid, 0)  # for the peak of this one process
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.cancel()
    process.stdout.close()
    process.stderr.close()
    seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
    return Ended(process.returncode, out.decode(errors="replace"), errors[0].decode(errors="replace"), seconds, peak)
