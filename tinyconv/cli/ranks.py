"""`--ranks`: one job on several processes. The first one shows it and writes what it makes; the others follow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from tinyconv.cli.common import Stop, is_code, kernels_of, stop_signals, threads_of, use_code
from tinyconv.distributed import RankError, current, init
from tinyconv.distributed.mpi import Mpi
from tinyconv.engine.kernels import prepare, running
from tinyconv.errors import shortened
from tinyconv.host.environment import cores
from tinyconv.host.limits import RANKS
from tinyconv.train import Session, load_checkpoint, resume, start
from tinyconv.train.checkpoint import Run
from tinyconv.train.loop import Report

MPI = "mpi"
Ranks = Annotated[
    str | None,
    typer.Option(
        help="Share the work among so many processes, to the bits that one gives; or `mpi`, among those that mpiexec "
        "has started."
    ),
]


class Job(Protocol):
    """What every rank does, from plain values that are sent to it."""

    @property
    def kernels(self) -> str | None:
        """What --kernels says."""

    def fetch(self) -> None:
        """Have the data here: the first rank does, before the others look for them."""

    def follow(self) -> None:
        """Do it as another rank than the first, without a word."""


@dataclass(frozen=True)
class Training:
    """What every rank builds its session of: a `run` to start, or the checkpoint to resume."""

    run: Run | None
    resumed: Path | None
    epochs: int | None
    root: Path | None
    offline: bool
    device: str | None
    kernels: str | None

    def described(self) -> Run:
        """The run that is trained."""
        if self.run is not None:
            return self.run
        assert self.resumed is not None
        return load_checkpoint(self.resumed).run

    def session(self) -> Session:
        """The session at its beginning."""
        where = {"root": self.root, "offline": self.offline, "device": self.device}
        if self.run is not None:
            return start(self.run, **where)  # type: ignore[arg-type]
        assert self.resumed is not None
        return resume(self.resumed, epochs=self.epochs, **where)  # type: ignore[arg-type]

    def fetch(self) -> None:
        for split in ("train", "test"):
            self.described().images(split, self.root, self.offline)

    def follow(self) -> None:
        with stop_signals(aloud=False) as stop:
            if is_code(self.described().model):
                use_code(self.described().model)
            session = self.session()
            stop.begin_training()
            for _ in together(session.trainer.run(), stop):
                if stop.signal:
                    break


def count_of(ranks: str) -> int:
    """The number that `--ranks` says; 0 for `mpi`. BadParameter for what is neither."""
    if ranks == MPI:
        return 0
    if not (ranks.isdecimal() and len(ranks) < 4 and 1 <= int(ranks) <= RANKS):
        raise typer.BadParameter(f"--ranks takes a number of processes, 1 to {RANKS}, or {MPI}; got {shortened(ranks)}")
    return int(ranks)


def threads_of_a_rank(ranks: str, threads: int | None) -> int:
    """The threads of each rank: its share of the cores, unless --threads says how many."""
    count = count_of(ranks)
    if threads:
        return threads
    own = init(MPI) if ranks == MPI else None
    return max(1, cores() // (own.sharers() if isinstance(own, Mpi) else count))


@contextmanager
def on_ranks(ranks: str | None, threads: int | None, job: Job) -> Iterator[None]:
    """A `with` block in which this process is the first of the ranks that `--ranks` asks for; the others follow."""
    if ranks is None or count_of(ranks) == 1:
        yield
        return
    own = current()
    if own.rank == 0:
        job.fetch()
    if ranks == MPI:
        own.barrier()
        if own.rank:
            _follow(job, threads)
            raise typer.Exit
        _check_kernels()
        yield
        return
    from tinyconv.distributed.processes import others

    each = threads_of_a_rank(ranks, threads)
    with others(count_of(ranks), _follow, job, each, threads=each):
        _check_kernels()
        yield


@contextmanager
def of_mpi(ranks: str | None) -> Iterator[None]:
    """A `with` block in which this process is one of MPI's ranks, with `--ranks mpi`. Where it fails, all end."""
    if ranks != MPI:
        yield
        return
    own = init(MPI)
    try:
        yield
    except typer.Exit:  # all of them come to it
        raise
    except BaseException as error:
        if isinstance(own, Mpi) and own.size > 1:
            own.abort(str(error), _code(error))
        raise


def _code(error: BaseException) -> int:
    """With what a command ends that fails so."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    usage: Any = typer.BadParameter.__mro__[1]  # click's, which some versions of Typer keep within
    return 130 if isinstance(error, KeyboardInterrupt) else 2 if isinstance(error, usage) else 1


def _follow(job: Job, threads: int | None) -> None:
    """What the other ranks do: the same, without a word."""
    with threads_of(threads), kernels_of(job.kernels), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare()
        _check_kernels()
        job.follow()


def _check_kernels() -> None:
    """Raise RankError where ranks run on other kernels, which round differently."""
    names = {current().broadcast(running(), root) for root in range(current().size)}
    if len(names) > 1:
        raise RankError(
            f"the ranks run on {' and '.join(sorted(names))} kernels, which round differently; use --kernels"
        )


def together(reports: Iterator[Report], stop: Stop) -> Iterator[Report]:
    """The reports of a training, after each of which all ranks know whether one of them was asked to stop."""
    ranks = current()
    for report in reports:
        if ranks.size > 1:
            stop.signal = int(ranks.allgather(stop.signal).max())
        yield report
