"""`tinyconv bench cifar`: a training step of a 3x3 network with batch normalisation, beside PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.libraries import REFERENCE, ready
from harness.processes import bind, in_process, reply, variables_for
from harness.tasks import STACK
from harness.timing import in_turns, rounded, summary

LIBRARIES = ("tinyconv", "tinyconv parallel", "tinyconv native parallel", REFERENCE)
BURST = 10


def run(threads: Sequence[int] = (1, 2), batch: int = 128, steps: int = 200) -> dict[str, Any]:
    """A part for each number of threads."""
    found = {}
    for count in threads:
        question = {"threads": count, "batch": batch, "steps": steps}
        part = f"step, {count} thread{'s' * (count > 1)}"
        found[part] = in_process("harness.cifar", question, variables_for(count))
    return found


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    bind(question["threads"])
    made, batches, reasons = ready(STACK, LIBRARIES, question["batch"])
    functions = {name: lambda name=name: float(made[name].step(batches[name])) for name in made}
    samples = in_turns(functions, max(2, question["steps"] // BURST), min(BURST, question["steps"]))
    return {
        "batch": question["batch"],
        "parameters": sum(p.numel() for p in STACK.model().parameters()),
        "summary": summary(samples, REFERENCE),
        "missing": reasons,
        "samples_ms": rounded(samples),
    }


if __name__ == "__main__":
    reply(answer)
