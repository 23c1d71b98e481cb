"""Measuring in a process of its own: what one library leaves behind is not there for the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tinyconv as tc
from tinyconv.host.threads import VARIABLES


def in_process(command: str, question: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    """The answer of `python -m COMMAND` to a question; these environment variables are set besides ours."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        subprocess.run(
            [sys.executable, "-m", command, json.dumps(question), str(answer)],
            env=os.environ | variables | {"PYTHONPATH": os.pathsep.join(path)},
            check=True,
            stdout=sys.stderr,  # what libraries have to say is not the result
        )
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
