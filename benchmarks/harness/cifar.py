"""`tinyconv bench cifar`: training steps of two 3x3 networks with batch normalisation, beside PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.floor import beside_floor, flops
from harness.libraries import OWN, REFERENCE, exact, ready
from harness.processes import bind, in_process, reply, variables_for
from harness.tasks import CIFAR, STACK
from harness.timing import in_turns, rounded, summary

TASKS = {"stack": STACK, "cifarnet": CIFAR}
LIBRARIES = {
    "stack": (*OWN, REFERENCE),
    "cifarnet": ("tinyconv", "tinyconv numpy, Sequential", "tinyconv compiled, Sequential", REFERENCE),
}
"""Both ways of writing are compared on the smaller net."""
FEW = 72  # images of the steps that are compared: more than a tile
BURST = 4


def run(
    threads: Sequence[int] = (2,), batch: int = 128, steps: int = 20, nets: Sequence[str] = tuple(TASKS)
) -> dict[str, Any]:
    """A part for each net and number of threads."""
    found = {}
    for net in nets:
        for count in threads:
            question = {"net": net, "threads": count, "batch": batch, "steps": steps}
            part = f"{net}, {count} thread{'s' * (count > 1)}"
            found[part] = in_process("harness.cifar", question, variables_for(count))
    return found


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    bind(question["threads"])
    task, names, batch = TASKS[question["net"]], LIBRARIES[question["net"]], question["batch"]
    differences, unlike = exact(task, names, min(FEW, batch))
    made, batches, reasons = ready(task, [name for name in names if name not in unlike], batch)
    functions = {name: lambda name=name: float(made[name].step(batches[name])) for name in made}
    burst = min(BURST, question["steps"])
    samples = in_turns(functions, max(2, question["steps"] // burst), burst, warm=1)
    return {
        "batch": batch,
        "parameters": sum(p.numel() for p in task.model().parameters()),
        **beside_floor(summary(samples, REFERENCE), flops(task, batch, True)),
        "differences": differences,
        "missing": {**unlike, **reasons},
        "samples_ms": rounded(samples),
    }


if __name__ == "__main__":
    reply(answer)
