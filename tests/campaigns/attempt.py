"""One attempt of a campaign, and the bounded process that it may run in."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def bound(address_space: int | None) -> None:
    """Bound this process: twice SECONDS of processor time, so many bytes of addresses, and no core dump."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(2 * SECONDS), int(2 * SECONDS) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if address_space is not None:
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


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
        bound(address_space)
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


SHOWN = 100_000  # characters of an output that are read


class Warm:
    """A process that has imported all, and is copied for each input: a copy takes 20 ms, a start takes a second.

        with Warm("campaigns.hostile:act", folder) as warm:
            ended = warm.run(["summary", "lenet5"], folder)

    Each copy calls the function, MODULE:NAME, with the words, in the folder of its input, within the bounds of `run`.
    Its outputs are files there. `folder` is that of the process itself, empty of data and with no way to the network;
    it calls the function with each of `first`, so that copies find all imported.
    """

    def __init__(self, function: str, folder: Path, first: Sequence[Sequence[str]] = ()) -> None:
        module, name = function.split(":")
        program = f"from {module} import {name}\nfrom campaigns.attempt import serve\nserve({name}, {first!r})"
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TINYCONV_NUM_THREADS"), "1")
        places = {"PYTHONPATH": str(Path(__file__).parents[1]), "XDG_CACHE_HOME": str(folder)}
        plain = {"TINYCONV_DATA": "", "TINYCONV_OFFLINE": "1", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, env={**os.environ, **one, **places, **plain},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, words: Sequence[str], folder: Path) -> Ended:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([list(words), str(folder)]), file=self.process.stdin, flush=True)
        code, seconds, memory = json.loads(self.process.stdout.readline())
        texts = []
        for name in (".stdout", ".stderr"):
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                texts.append(file.read(SHOWN))
        return Ended(code, *texts, seconds, memory)

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


def serve(function: Callable[[list[str]], None], first: Sequence[list[str]]) -> None:
    """What the process of a `Warm` does: read words and a folder, copy itself, say how the copy ended."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    said = os.dup(2)
    os.dup2(1, 2)
    for words in first:
        with suppress(SystemExit):
            function(words)
    os.dup2(said, 2)
    for line in sys.stdin:
        words, folder = json.loads(line)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            _act(function, words, folder)
        _, status, usage = os.wait4(pid, 0)
        ended = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
        print(json.dumps(ended), file=replies, flush=True)


def _act(function: Callable[[list[str]], None], words: list[str], folder: str) -> None:
    """Call the function in a copy of the process, which ends with it."""
    code: Any = 0
    try:
        os.chdir(folder)
        for number, name in ((1, ".stdout"), (2, ".stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        signal.alarm(60)  # what sleeps uses no processor time
        bound(8 << 30)
        function(words)
    except SystemExit as stopped:  # with a number, or with what is to be printed
        code = stopped.code
        print(*[] if code is None or isinstance(code, int) else [code], end="", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else bool(code))
