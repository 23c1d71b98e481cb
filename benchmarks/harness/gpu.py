"""A training step on a GPU, beside other libraries: `tinyconv bench lenet | cifar --device cuda`.

The libraries take turns in one process for each batch size. A sample is a burst of steps: the host asks for all of them
without reading anything back, waits once for the device, and divides the time by the number of steps. Every step takes
the same batch, which is on the device. Products are in full float32 (no TF32) unless the name of a library says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from harness.libraries import ON_GPU, REFERENCE, ROUNDED, Tinyconv, ready
from harness.library import Library, Missing
from harness.processes import Failed, in_process, reply
from harness.tasks import CIFAR, LENET
from harness.timing import in_turns, rounded, shared, summary
from tinyconv.host.environment import device_details

TASKS = {"lenet": LENET, "cifar": CIFAR}
LIBRARIES = {"lenet": ON_GPU, "cifar": ON_GPU | ROUNDED}
BATCHES = {"lenet": (32, 128, 512, 4096), "cifar": (512,)}
PARTS = ("step", "training")
STEPS, BURST = 2000, 50
VARIABLES = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""JAX would take most of the memory for itself."""


def run(
    benchmark: str, device: str, batches: Sequence[int], libraries: Sequence[str], steps: int = STEPS
) -> dict[str, Any]:
    """Time at least `steps` steps of each library; the part "step, DEVICE'S NAME" of the record of `benchmark`, which
    is "lenet" or "cifar"."""
    details, burst = device_details(device), min(BURST, steps)
    found = []
    for batch in batches:
        question = {
            "benchmark": benchmark,
            "device": device,
            "batch": batch,
            "libraries": libraries,
            "turns": max(2, -(-steps // burst)),
            "burst": burst,
        }
        try:
            one = in_process("harness.gpu", question, VARIABLES)
        except Failed as error:  # an error of the device cannot be caught where it happens
            reason = f"the process of batch {batch} ended with {error.returncode}"
            one = {"batch": batch, "burst": burst, "summary": {}, "missing": dict.fromkeys(libraries, reason)}
        found.append({**one, "device": details})
    return {f"step, {details['name']}": {"batches": found}}


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Training steps at one batch size: times, and what they launch on the device."""
    task, known = TASKS[question["benchmark"]], LIBRARIES[question["benchmark"]]
    device, batch, burst = question["device"], question["batch"], question["burst"]
    made, batches, reasons = ready(task, question["libraries"], batch, known, device)
    functions = {name: partial(bursts, made[name], batches[name], burst) for name in made}
    samples = shared(in_turns(functions, question["turns"], burst=1, warm=1), burst)
    # After the times, for a profiler may stay on.
    launched = {name: launches(made[name], batches[name]) for name in made}
    return {
        "batch": batch,
        "parameters": sum(p.numel() for p in task.model().parameters()),
        "burst": burst,
        "summary": summary(samples, REFERENCE),
        "launches": launched,
        "missing": reasons,
        "samples_ms": rounded(samples),
    }


def bursts(library: Library, batch: Any, steps: int) -> None:
    """Run so many steps, and wait for the device."""
    with library.settings():
        for _ in range(steps):
            library.step(batch)
        library.wait()


# --- what a step launches -------------------------------------------------------------------------------------------


def launches(library: Library, batch: Any) -> dict[str, Any]:
    """What one step launches: "kernels" and "copies" as the profiler sees them, "in_graph" for the kernels in the graph
    of a captured step, and "missing" for the reason why something could not be counted."""
    found: dict[str, Any] = {}
    try:
        if isinstance(library, Tinyconv) and (graph := library.graph()) is not None:
            found["in_graph"] = kernels_of(graph)
        found |= tally(profiled(partial(bursts, library, batch, 1)))
    except Exception as error:  # counting is not what this is about
        found["missing"] = f"{type(error).__name__}: {error}"
    return found


def kernels_of(graph: Any) -> int:
    """How many kernels CUDA's own description of a graph has: nodes whose label begins with KERNEL."""
    verbose = 1  # cudaGraphDebugDotFlagsVerbose: without it the labels do not say what a node is
    found: int = graph.debug_dot_str(verbose).count('label="{KERNEL')
    if not found:
        raise Missing("CUDA's description of the graph names no kernel")
    return found


def profiled(function: Callable[[], Any]) -> Iterable[Any]:
    """What PyTorch's profiler sees on the device while `function` runs: all that this process does, in any library."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile, supported_activities

    if ProfilerActivity.CUDA not in supported_activities():
        raise Missing("PyTorch's profiler sees no GPU")
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        function()
    events = [event for event in found.events() if event.device_type == DeviceType.CUDA]
    if not events:
        raise Missing("the profiler saw nothing on a device")
    return events


def tally(events: Iterable[Any]) -> dict[str, int]:
    """How many kernels and how many copies there are; a range that somebody gave a name is neither."""
    names = [event.name for event in events if not event.is_user_annotation]
    copies = sum(name.startswith(("Memcpy", "Memset")) for name in names)
    return {"kernels": len(names) - copies, "copies": copies}


if __name__ == "__main__":
    reply(answer)
