"""Measuring in a process of its own: what one library leaves behind is not there for the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tinyconv as tc
from tinyconv.host.threads import VARIABLES

BENCHMARKS = Path(__file__).parents[1]
Failed = subprocess.CalledProcessError


def run_python(
    *arguments: str, folder: str | Path, variables: Mapping[str, str] = os.environ, stdout: Any = subprocess.PIPE
) -> str:
    """What Python prints, if it is not sent elsewhere. It works in `folder`, and imports nothing from the current one.

    Raises Failed where it ends with another code than 0.
    """
    with _python(arguments, folder, variables, stdout) as process:
        said = process.communicate()[0]
    if process.returncode:
        raise Failed(process.returncode, arguments)
    return said or ""


def measured(*arguments: str, folder: str | Path, variables: Mapping[str, str]) -> tuple[dict[str, float], str]:
    """Seconds from start to exit and the peak memory in MiB of such a Python, and its last line."""
    started = time.perf_counter()
    with _python(arguments, folder, variables, subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise Failed(process.returncode, arguments)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "peak_mib": usage.ru_maxrss * unit / 2**20}, lines[-1]


def _python(
    arguments: Sequence[str], folder: str | Path, variables: Mapping[str, str], stdout: Any
) -> subprocess.Popen[str]:
    """-P leaves out the current folder and keeps PYTHONPATH, where other libraries may be."""
    variables = dict(variables)
    if given := variables.get("TINYCONV_DATA"):
        variables["TINYCONV_DATA"] = os.path.abspath(given)
    return subprocess.Popen([sys.executable, "-P", *arguments], cwd=folder, env=variables, stdout=stdout, text=True)


def in_process(command: str, question: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    """The answer of `python -m COMMAND` to a question; these environment variables are set besides ours."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
        run_python(
            "-m", command, json.dumps(question), str(answer), folder=folder,
            variables=os.environ | variables | {"PYTHONPATH": path},
            stdout=sys.stderr,  # what libraries have to say is not the result
        )  # fmt: skip
        return json.loads(answer.read_text(encoding="utf-8"))


def reply(answer: Callable[[Mapping[str, Any]], Any]) -> None:
    """The other end of `in_process`, in the process that was started."""
    question, path = sys.argv[1:]
    Path(path).write_text(json.dumps(answer(json.loads(question))), encoding="utf-8")


def variables_for(threads: int) -> dict[str, str]:
    """The environment variables by which libraries use so many threads."""
    return dict.fromkeys(VARIABLES, str(threads)) | {"CPU_COUNT": str(threads)}


def bind(threads: int) -> None:
    """Use so many threads, here and in PyTorch, and only so many cores: not every library can be told its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    tc.set_num_threads(threads)
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)
