"""One training on several processes, threads or machines, with the bits that one gives.

    tc.distributed.run(train, 4)  # train() on four processes

In `train` a model goes through `nn.DistributedDataParallel`. With MPI, `mpiexec -n 4 python script.py`, the script
calls `tc.distributed.init("mpi")` first. The ideas are in `communicator.py`. Names are those of `torch.distributed`
where they mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tinyconv.distributed.communicator import Communicator, RankError, Solo, current, use
from tinyconv.errors import OptionError, shortened, suggest_names
from tinyconv.host.limits import RANKS

__all__ = [
    "Communicator", "RankError", "Solo", "barrier", "current", "get_rank", "get_world_size", "init", "is_initialized",
    "run",
]  # fmt: skip

Result = TypeVar("Result")


def init(backend: str = "mpi", device: str | None = None) -> Communicator:
    """Make this process one of the ranks that something else has started, and return them.

        tc.distributed.init("mpi")

    Args:
        backend: "mpi": ranks of mpiexec, through mpi4py. "nccl": ranks with a GPU each, those that
            `tinyconv.distributed.run` has started, or else of mpiexec; what they train lies on their GPUs. That was
            tested on a stand-in for GPUs alone.
        device: The GPU of this rank, with "nccl": "cuda:1"; rank r has number r of this machine's unless given.

    Raises OptionError for another backend, RankError where mpi4py, or CuPy's NCCL, is not installed, and DeviceError
    where the GPU is not there. Like `torch.distributed.init_process_group`.
    """
    if backend not in ("mpi", "nccl"):
        raise OptionError(
            f"distributed.init: expected backend 'mpi' or 'nccl', got {shortened(backend)}; tinyconv.distributed.run "
            "starts processes by itself, and needs no init"
        )
    if device is not None and backend != "nccl":
        raise OptionError(f"distributed.init: ranks of 'mpi' work on CPUs; leave out device={shortened(device)}")
    if current().name in (backend, "nccl"):
        return current()
    if backend == "mpi" or current().name == "solo":
        from tinyconv.distributed.mpi import Mpi

        use(Mpi())
    if backend == "nccl":
        from tinyconv.distributed.nccl import Nccl

        use(Nccl(current(), device))
    return current()


def run(function: Callable[..., Result], ranks: int, *args: Any) -> Result:
    """function(*args) on so many processes of this machine; what it returns as rank 0, which is this process.

        tc.distributed.run(train, 2, "mnist")

    Args:
        function: One of a module, because the other processes import it.
        ranks: How many, with this one.
        args: Plain values, or what else can be pickled.

    Raises OptionError for what is no function of a module, and no number of ranks from 1 to 64; RankError, and leaves
    no process behind, where one of them fails.
    """
    if not callable(function):
        raise OptionError(f"distributed.run: expected a function first, got {shortened(function)}")
    if isinstance(ranks, bool) or not isinstance(ranks, int) or not 1 <= ranks <= RANKS:
        raise OptionError(f"distributed.run: expected a number of ranks, 1 to {RANKS}, got {shortened(ranks)}")
    from tinyconv.distributed.processes import run as run_processes

    return run_processes(function, ranks, *args)


def get_rank() -> int:
    """The number of this rank, from 0. Like `torch.distributed.get_rank`."""
    return current().rank


def get_world_size() -> int:
    """How many ranks there are: 1 where nothing has started any. Like `torch.distributed.get_world_size`."""
    return current().size


def is_initialized() -> bool:
    """Whether this process is one of several ranks. Like `torch.distributed.is_initialized`."""
    return current().size > 1


def barrier() -> None:
    """Wait until all ranks are here. Like `torch.distributed.barrier`."""
    current().barrier()


suggest_names(globals())
