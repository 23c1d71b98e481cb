"""Ranks that are processes: the same bits, and one end for all, whatever happens to one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from distributed.trainings import train
from safetensors.numpy import load_file

import tinyconv as tc
from tinyconv import nn
from tinyconv.distributed import RankError, current, processes, threads
from tinyconv.errors import OptionError
from tinyconv.host import environment
from tinyconv.train import load_checkpoint

LINUX = sys.platform == "linux"


def shared_memory():
    """The names of what this process has made and left."""
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"tinyconv-{os.getpid()}-")]


def runs(pid):
    """Whether a process runs; one that has ended has no command line, if it is there at all."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_text("utf-8"))
    except OSError:
        return False


DRAWN = np.random.default_rng(0).integers(1, 1000, 2).tolist()
STEPS = [DRAWN[0], *(pytest.param(at, marks=pytest.mark.slow) for at in (0, DRAWN[1]))]
"""Steps at which a rank ends."""


def die(how, at):
    """Rank 1 ends in some way, at that step; the others wait for it."""
    for step in range(1000):
        if current().rank == 1 and step == at:
            if how == "raises":
                raise ValueError("of rank 1")
            if how == "leaves":
                os._exit(3)
            os.kill(os.getpid(), getattr(signal, how))
        current().gather(np.zeros((3, 50)), [(0, 1), (1, 2), (2, 3)])


def test_processes_give_the_bits_of_one():
    (alone,) = threads.run(lambda: train(True, 150), 1)
    assert processes.run(train, 2, True, 150) == alone


def test_large_arrays_and_plain_values():
    assert processes.run(exchange, 2) == [3.0, {"a": [1, None]}]


def place():
    """The cores and threads of the ranks."""
    own = np.zeros(1024, bool)
    own[list(os.sched_getaffinity(0))] = True
    return current().allgather(own).sum(axis=0).max(), current().allgather(tc.get_num_threads()).tolist()


@pytest.mark.skipif(not LINUX, reason="other systems do not let a process choose its cores")
@pytest.mark.parametrize("ranks", [2, 3])
def test_each_rank_keeps_to_its_share_of_the_cores(ranks):
    before, threads, cores = os.sched_getaffinity(0), tc.get_num_threads(), environment.cores()
    each = threads if threads != cores else max(1, cores // ranks)
    most, found = processes.run(place, ranks)
    assert found == [each] * ranks
    assert most == (1 if each * ranks <= len(before) else ranks)
    assert (os.sched_getaffinity(0), tc.get_num_threads()) == (before, threads)


def exchange():
    """Gather arrays that outgrow the memory, exchange columns, and a value of rank 1."""
    ranks = current()
    for size in (1, 10_000, 100_000):
        rows = np.zeros((2, size))
        rows[ranks.rank] = ranks.rank + 1
        ranks.gather(rows, [(0, 1), (1, 2)])
        assert rows.sum() == 3 * size
    whole, mine, columns = np.arange(15.0).reshape(3, 5), [(0, 2), (2, 3)], [(0, 3), (3, 5)]
    rows = np.full((3, 5), -1.0)
    rows[slice(*mine[ranks.rank])] = whole[slice(*mine[ranks.rank])]
    ranks.exchange(rows, mine, columns)
    own = slice(*columns[ranks.rank])
    assert np.array_equal(rows[:, own], whole[:, own])
    return [float(ranks.allgather(1 + ranks.rank).sum()), ranks.broadcast({"a": [1, None]} if ranks.rank else None, 1)]


@pytest.mark.skipif(not LINUX, reason="signals")
@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize(
    ("how", "said"),
    [("SIGKILL", "is gone .SIGKILL"), ("raises", "ValueError: of rank 1"), ("leaves", "is gone .exit code 3")],
)
def test_an_end_of_one_is_the_end_of_all(how, said, at, capfd):
    began = time.monotonic()
    with pytest.raises(RankError, match=f"rank 1 of 3 ended: .*{said}"):
        processes.run(die, 3, how, at)
    assert time.monotonic() - began < 30  # five seconds, and the time to start three on a busy machine
    assert shared_memory() == []
    assert capfd.readouterr().err.count("Traceback") == (how == "raises")


@pytest.mark.skipif(not LINUX, reason="signals")
@pytest.mark.parametrize("at", STEPS)
def test_a_rank_that_is_stopped_is_named(at, monkeypatch):
    monkeypatch.setattr(processes.Processes, "patience", 1.0)
    with pytest.raises(RankError, match=r"rank 1 of 3 did not come in 1 s to where rank 0 waits"):
        processes.run(die, 3, "SIGSTOP", at)
    assert shared_memory() == []


NET = nn.Linear(2, 3)
MODEL = nn.DistributedDataParallel(NET)


@tc.capture
def step(x):
    """Of a model that outlives its ranks."""
    NET.zero_grad()
    MODEL(x).pow(2).sum().backward()
    return NET.weight.grad.clone()


def steps():
    with tc.no_grad():
        for p in NET.parameters():
            p.fill_(0.5)
    return [step(tc.arange(400.0).reshape(200, 2)).tolist() for _ in range(4)]


def test_a_captured_step_goes_on_when_its_ranks_have_ended():
    assert processes.run(steps, 2)[-1] == steps()[-1] == processes.run(steps, 3)[-1]
    assert current().size == 1


def differ():
    """The ranks hand over different numbers of bytes: so they do not do the same."""
    current().gather(np.zeros((2, 3 + current().rank)), [(0, 1), (1, 2)])


def test_arrays_of_different_sizes_are_refused():
    with pytest.raises(RankError, match=r"different numbers of bytes \(rank 0 48, rank 1 64\)"):
        processes.run(differ, 2)


def command(*args):
    return [sys.executable, "-m", "tinyconv", "train", "lenet5", "--data", "synthetic", "--seed", "1", *args]


@pytest.mark.slow
def test_the_command_trains_the_same_weights(tmp_path):
    weights = {}
    for ranks in ("1", "2"):
        place = tmp_path / f"{ranks}.safetensors"
        options = ("--epochs", "1", "--shift", "2", "--batch-size", "300", "--json", "--out", str(place))
        done = subprocess.run(command(*options, "--ranks", ranks), capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["ranks"] == int(ranks)
        weights[ranks] = load_file(place)
    assert all(np.array_equal(value, weights["2"][name]) for name, value in weights["1"].items())


@pytest.mark.slow
def test_the_command_evaluates_the_same(tmp_path):
    subprocess.run(command("--epochs", "1", "--out", "c"), check=True, capture_output=True, cwd=tmp_path)
    said = {}
    for ranks in (None, "1", "3"):
        evaluate = [*command()[:3], "eval", "c", *(["--ranks", ranks] if ranks else [])]
        plain = subprocess.run(evaluate, capture_output=True, text=True, cwd=tmp_path)
        lines = subprocess.run([*evaluate, "--json"], capture_output=True, text=True, cwd=tmp_path)
        assert plain.stderr == lines.stderr == ""
        found = json.loads(lines.stdout)
        assert found.pop("ranks") == int(ranks or 1)
        said[ranks] = plain.stdout, found
    assert said[None] == said["1"] == said["3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none", "--ranks", "2"], 1, "error: no checkpoint at none: there is no such file"),
        (["c", "--ranks", "2", "--shifted", "40"], 1, "error: "),
        (["c", "--ranks", "many"], 2, "1 to 64, or mpi; got 'many'"),
    ],
    ids=["no file", "too far", "many"],
)
def test_what_eval_refuses_is_said_once(words, code, said, tmp_path):
    train = [*command()[:4], "mlp", "--option", "hidden=4", "--data", "synthetic", "--epochs", "1", "--out", "c"]
    subprocess.run(train, check=True, capture_output=True, cwd=tmp_path)
    done = subprocess.run([*command()[:3], "eval", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.count("rror") == 1
    assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="signals")
def test_ctrl_c_saves_and_another_number_of_ranks_goes_on(tmp_path):
    whole, part = tmp_path / "whole.safetensors", tmp_path / "part.safetensors"
    options = ("--epochs", "3", "--batch-size", "300")
    subprocess.run(command(*options, "--out", str(whole)), check=True, capture_output=True, cwd=tmp_path)
    running = subprocess.Popen(
        command(*options, "--ranks", "2", "--json", "--out", str(part)), stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert '"epoch": 1' in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    resumed = [*command()[:4], "--resume", str(part), "--ranks", "3"]
    subprocess.run(resumed, check=True, capture_output=True, cwd=tmp_path)
    first, second = load_file(whole), load_file(part)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ranks", "0"), "--ranks takes a number of processes, 1 to 64, or mpi; got '0'"),
        (("--ranks", "two"), "got 'two'"),
        (("--ranks", "2", "--profile"), "leave out --ranks"),
    ],
    ids=["0", "two", "profile"],
)
def test_what_is_refused(options, said):
    done = subprocess.run(command(*options), capture_output=True, text=True, cwd=Path.home())
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def returns():
    return 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((2, returns), "expected a function first, got 2"),
        ((returns, 0), "expected a number of ranks, 1 to 64, got 0"),
        ((returns, True), "expected a number of ranks, 1 to 64, got True"),
        ((lambda: 1, 2), "the other processes import the function"),
    ],
    ids=["swapped", "0", "bool", "lambda"],
)
def test_what_run_refuses(args, said):
    with pytest.raises(OptionError, match=said):
        tc.distributed.run(*args)
    assert not LINUX or shared_memory() == []


GUARDLESS = """
import tinyconv as tc
def train():
    return 1
tc.distributed.run(train, 2)
"""


def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    (tmp_path / "script.py").write_text(GUARDLESS, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert 'before it began; has the script `if __name__ == "__main__":`?' in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="signals")
@pytest.mark.parametrize(
    ("struck", "code", "lines"),
    [(0, -9, []), (1, 1, ["error: rank 1 of 2 ended: its process is gone (SIGKILL)"])],
    ids=["the first", "another"],
)
def test_a_killed_rank_is_the_end_of_all_and_one_line(struck, code, lines, tmp_path):
    train = command("--epochs", "40", "--ranks", "2", "--json", "--out", "c")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(train, cwd=tmp_path, **pipes) as running:
        assert '"epoch": 1' in running.stdout.readline()
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text("ascii").split()
        (child,) = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text("utf-8")]
        os.kill(int(child) if struck else running.pid, signal.SIGKILL)
        _, said = running.communicate(timeout=60)  # until nobody is left who has the pipe
    assert (running.returncode, said.splitlines()) == (code, lines)
    assert not runs(child)
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(f"tinyconv-{running.pid}-")]
    assert load_checkpoint(tmp_path / "c").trainer["progress"]["epoch"] >= 1


def diverge():
    """All ranks raise on purpose, at the same time."""
    current().barrier()
    raise OptionError("too far")


def test_what_all_raise_on_purpose_is_said_once(capfd):
    with pytest.raises((OptionError, RankError), match="too far"):
        processes.run(diverge, 3)
    assert capfd.readouterr().err == ""
