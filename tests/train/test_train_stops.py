"""What may end a training, and that its work is there afterwards: signals, terminals, full disks, another training."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from commands import run_here
from safetensors.numpy import load_file

from tinyconv.data import DataLoader, datasets
from tinyconv.train import RECIPES, EpochReport, load_checkpoint, loop, new_run, start
from tinyconv.train import checkpoint as checkpoints
from tinyconv.train import session as sessions
from tinyconv.train.checkpoint import reserved

CAKE = "flatten; fc 8; relu; dropout; fc 10"
TRAIN = ["train", CAKE, "--data", "synthetic", "--epochs", "2", "--batch-size", "16"]
STEPS = 8  # of an epoch
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals, and no terminals of this kind")
CODES = [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)]


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(datasets, "SYNTHETIC_TRAIN", 16 * STEPS)
    monkeypatch.setattr(datasets, "SYNTHETIC_TEST", 40)
    monkeypatch.setattr(loop, "TESTED", 15)  # three batches


def at(path):
    """Epochs and steps done where a checkpoint was saved."""
    progress = load_checkpoint(path).trainer["progress"]
    return progress["epoch"], progress["step"]


def same(one, other):
    one, other = load_file(one), load_file(other)
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def whole(tmp_path):
    """The checkpoint of the training, undisturbed."""
    (tmp_path / "whole").mkdir()
    run_here(*TRAIN, "--out", tmp_path / "whole" / "c")
    return tmp_path / "whole" / "c"


# Names.


def test_a_name_that_a_running_training_has_is_not_given_to_another(tmp_path):
    def trained(*args):
        return Path(json.loads(run_here(*TRAIN, "--json", *args, cwd=tmp_path).stdout.splitlines()[-1])["checkpoint"])

    first = Path("runs", "cake-synthetic-default-seed0.safetensors")
    with reserved(tmp_path / first) as ours:
        assert ours
        assert trained() == first.with_name(f"{first.stem}-2.safetensors")
        assert trained() == first.with_name(f"{first.stem}-3.safetensors")
        for args in (["--overwrite"], ["--out", first], ["--out", first, "--overwrite"]):
            error = run_here(*TRAIN, *args, cwd=tmp_path, code=1).stderr
            assert (
                f"error: another training is writing {first}: let it end, or choose another place with --out" in error
            )
    assert trained() == first
    assert len(names(tmp_path / "runs")) == 3


def test_a_checkpoint_is_continued_by_one_training_at_a_time(tmp_path, whole):
    before = whole.read_bytes()
    with reserved(whole):
        assert "another training is writing" in run_here("train", "--resume", whole, code=1).stderr
        run_here("train", "--resume", whole, "--out", tmp_path / "other")  # it is only read
        if os.name != "nt":  # links need rights there
            (tmp_path / "link").symlink_to(whole)
            assert "another training is writing" in run_here("train", "--resume", tmp_path / "link", code=1).stderr
    assert whole.read_bytes() == before


def test_what_is_continued_is_what_the_training_before_has_left(tmp_path, whole, monkeypatch):
    """It may have ended after `--resume` looked at the file, and before it had its place."""
    session = start(load_checkpoint(whole).run)
    next(session.trainer.run())
    path, check = session.save(tmp_path / "c"), checkpoints.check_place

    def slow(place):
        check(place)
        path.write_bytes(whole.read_bytes())

    monkeypatch.setattr(checkpoints, "check_place", slow)
    assert "all 2 epochs are trained already" in run_here("train", "--resume", path).stdout


@pytest.mark.slow
def test_trainings_that_start_at_once_have_a_file_each(tmp_path):
    command = [sys.executable, "-m", "tinyconv", *TRAIN, "--batch-size", "5000", "--json"]
    started = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300)[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sorted(Path(json.loads(line)["checkpoint"]).name for line in said) == names(tmp_path / "runs")
    assert len(names(tmp_path / "runs")) == 3


def test_what_cannot_be_continued_gets_no_folder(tmp_path):
    assert "no checkpoint at" in run_here("train", "--resume", tmp_path / "a" / "b", code=1).stderr
    assert names(tmp_path) == []


# Signals.


def sent(sign):
    os.kill(os.getpid(), getattr(signal, sign))


@POSIX
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("sign", "code"), CODES)
def test_a_signal_in_a_step_saves_after_it(sign, code, times, tmp_path, whole, monkeypatch):
    pick = DataLoader._pick

    def interrupted(loader, seed, epoch, number, turn=None):
        if (epoch, number) == (1, 2):
            for _ in range(1 if sign == "SIGINT" else times):  # a second Ctrl-C aborts
                sent(sign)
        return pick(loader, seed, epoch, number, turn)

    with monkeypatch.context() as patch:
        patch.setattr(DataLoader, "_pick", interrupted)
        done = run_here(*TRAIN, "--out", tmp_path / "c", "--json", code=code)
    stopped = {"stopped": True, "epoch": 1, "step": 3, "checkpoint": str(tmp_path / "c")}
    assert json.loads(done.stdout.splitlines()[-1]) == stopped
    assert f"stopped in epoch 2 after step 3; continue with: tinyconv train --resume {tmp_path / 'c'}" in done.stderr
    assert names(tmp_path) == ["c", "whole"]
    run_here("train", "--resume", tmp_path / "c")
    assert same(tmp_path / "c", whole)


@POSIX
def test_a_second_ctrl_c_aborts(tmp_path, monkeypatch):
    pick = DataLoader._pick

    def interrupted(loader, seed, epoch, number, turn=None):
        if number == 3:
            sent("SIGINT"), sent("SIGINT")
        return pick(loader, seed, epoch, number, turn)

    monkeypatch.setattr(DataLoader, "_pick", interrupted)
    done = run_here(*TRAIN, "--out", tmp_path / "c", "--save-every", 2, code=130)
    assert "Traceback" not in done.stderr
    assert at(tmp_path / "c") == (0, 2)
    assert names(tmp_path) == ["c"]


@POSIX
@pytest.mark.parametrize(("sign", "code"), CODES)
def test_a_signal_in_the_test_stops_before_its_next_batch(sign, code, tmp_path, whole, monkeypatch):
    tested, batches = loop._tested, []

    def interrupted(*args):
        for right in tested(*args):
            batches.append(right)
            if len(batches) == 2:
                sent(sign)
            yield right

    monkeypatch.setattr(loop, "_tested", interrupted)
    run_here(*TRAIN, "--out", tmp_path / "c", code=code)
    assert len(batches) == 2
    assert at(tmp_path / "c") == (0, STEPS)
    run_here("train", "--resume", tmp_path / "c")
    assert same(tmp_path / "c", whole)


@POSIX
@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize(("sign", "code"), CODES)
def test_a_signal_before_there_is_anything_to_save_ends_the_command(sign, code, swallowed, tmp_path, monkeypatch):
    load = sessions.data.load

    def interrupted(*args):
        try:
            sent(sign)
        except SystemExit:
            if not swallowed:
                raise
        return load(*args)

    monkeypatch.setattr(sessions.data, "load", interrupted)
    done = run_here(*TRAIN, "--out", tmp_path / "c", code=code)
    assert (done.stdout, done.stderr) == ("", "")
    assert names(tmp_path) == []


@POSIX
def test_ctrl_c_before_the_command_has_begun(monkeypatch):
    monkeypatch.setattr("tinyconv.cli.app", lambda: sent("SIGINT"))
    assert run_here(*TRAIN, code=130).stderr == ""


@POSIX
@pytest.mark.parametrize(("sign", "code"), CODES)
@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_a_signal_in_a_save_waits_for_its_end(sign, code, when, tmp_path, whole, monkeypatch):
    real, calls = getattr(os, when), []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            sent(sign)
        return real(*args)

    monkeypatch.setattr(os, when, interrupted)
    run_here(*TRAIN, "--out", tmp_path / "c", "--save-every", 3, code=code)
    assert at(tmp_path / "c") == (0, 6)
    assert names(tmp_path) == ["c", "whole"]
    monkeypatch.setattr(os, when, real)
    run_here("train", "--resume", tmp_path / "c")
    assert same(tmp_path / "c", whole)


LONG = ["--batch-size", "1"]  # 10,000 steps an epoch, in a process of its own


def started(out, *args, **how):
    command = [sys.executable, "-m", "tinyconv", *TRAIN, *LONG, "--out", str(out), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


@POSIX
def test_nohup_outlives_a_closed_terminal(tmp_path):
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with started(tmp_path / "c", **ignored) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.terminate()
        assert "continue with" in process.communicate(timeout=300)[1]
    assert process.returncode == 143


@POSIX
def test_a_closed_terminal_saves(tmp_path):
    import pty

    child, terminal = pty.fork()
    if child == 0:
        command = [sys.executable, "-m", "tinyconv", *TRAIN, *LONG, "--out", str(tmp_path / "c")]
        os.execve(sys.executable, command, {**os.environ, "TERM": "xterm"})
    said = b""
    while b"loss" not in said:  # the bar
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
    assert at(tmp_path / "c")[1] > 0
    assert names(tmp_path) == ["c"]


@POSIX
@pytest.mark.slow
def test_nobody_needs_to_read_what_is_said(tmp_path):
    with started(tmp_path / "c") as process:
        process.stdout.readline()
        process.stdout.close()
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
    assert at(tmp_path / "c")[1] > 0


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_what_is_said_may_go_to_a_full_disk(tmp_path):
    quick = ["--batch-size", "5000", "--out", str(tmp_path / "c"), "--json"]
    with open("/dev/full", "w") as full:
        assert subprocess.call([sys.executable, "-m", "tinyconv", *TRAIN, *quick], stdout=full, stderr=full) == 0
    assert at(tmp_path / "c") == (2, 0)


# How often.


def saves_of(monkeypatch, *args, code=0, **how):
    """After how many steps of both epochs a training saved."""
    saved, save = [], sessions.checkpoint.save

    def counted(path, run, model, optimizer, trainer, kernels):
        saved.append(trainer["progress"]["epoch"] * STEPS + trainer["progress"]["step"])
        return save(path, run, model, optimizer, trainer, kernels)

    monkeypatch.setattr(sessions.checkpoint, "save", counted)
    run_here(*args, code=code, **how)
    return saved


@pytest.mark.parametrize(
    ("often", "expected"),
    [("3", [3, 6, 8, 11, 14, 16]), ("8", [8, 8, 16, 16]), ("100", [8, 16]), ("1h", [8, 16]), ("5m", [8, 16])],
)
def test_save_every_so_many_steps(often, expected, tmp_path, monkeypatch):
    assert saves_of(monkeypatch, *TRAIN, "--out", tmp_path / "c", "--save-every", often) == expected


def test_save_every_so_many_seconds(tmp_path, monkeypatch):
    now = iter(range(0, 10_000, 10))  # ten seconds from each look at the clock to the next
    monkeypatch.setattr(sessions.time, "monotonic", lambda: next(now))
    run = new_run("mlp", "synthetic", 0, replace(RECIPES["default"], batch_size=16))
    seen = []
    for report in start(run).saving(tmp_path / "c", seconds=30):
        if isinstance(report, EpochReport):
            break
        seen += [at(tmp_path / "c")[1]] if (tmp_path / "c").exists() else []
    assert sorted(set(seen)) == [3, 6]


@pytest.mark.parametrize("often", ["0", "0s", "-1", "5 m", "m", "1.5m", "often", ""])
def test_save_every_nonsense(often, tmp_path):
    error = run_here(*TRAIN, "--out", tmp_path / "c", f"--save-every={often}", code=2).stderr
    assert "--save-every takes steps, such as 200, or a time, such as 90s, 5m or 1h" in re.sub(r"[│\s]+", " ", error)


def test_a_resumed_training_saves_as_often_as_it_is_told(tmp_path, monkeypatch):
    session = start(new_run("mlp", "synthetic", 0, replace(RECIPES["default"], batch_size=16)))
    next(session.trainer.run())
    path = session.save(tmp_path / "c")
    assert saves_of(monkeypatch, "train", "--resume", path, "--save-every", 1)[:3] == [2, 3, 4]


# Full disks.

FULL = OSError(errno.ENOSPC, "No space left on device")


def fill(monkeypatch, call, when):
    """From save number `when` on, let `call` of each save fail for want of space."""
    target = Path if call == "write_bytes" else os
    real, calls = getattr(target, call), []

    def full(*args):
        calls.append(args)
        if len(calls) >= when:
            if call == "write_bytes":
                real(args[0], args[1][:1000])
            raise FULL
        return real(*args)

    monkeypatch.setattr(target, call, full)


CALLS = pytest.mark.parametrize("call", ["write_bytes", "fsync", "replace"])


@CALLS
def test_a_full_disk_is_a_warning_and_then_an_error_that_says_what_is_there(call, tmp_path, monkeypatch):
    fill(monkeypatch, call, 3)
    path = tmp_path / "a file"
    done = run_here(*TRAIN, "--out", path, "--save-every", 3, code=1)
    assert names(tmp_path) == ["a file"]
    assert at(path) == (0, 6)
    fix = "the one after 0 epochs and 6 steps is whole: make room, then continue it with: "
    fix += f"tinyconv train --resume '{path}'"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("warning: the training goes on, but cannot write the checkpoint")
    assert lines[0].endswith(fix)
    assert lines[-1].startswith(f"error: cannot write the checkpoint {path}: ")
    assert "No space left on device" in lines[-1]
    assert lines[-1].endswith(fix)


@CALLS
def test_a_full_disk_from_the_start(call, tmp_path, monkeypatch):
    fill(monkeypatch, call, 1)
    done = run_here(*TRAIN, "--out", tmp_path / "c", code=1)
    assert done.stderr.splitlines()[-1].endswith(
        "nothing of this training is saved there: make room, or choose another place with --out"
    )
    assert names(tmp_path) == []


@CALLS
def test_a_disk_that_is_full_for_a_while(call, tmp_path, whole, monkeypatch):
    session = start(load_checkpoint(whole).run)
    reports = session.saving(tmp_path / "c", steps=2)
    with monkeypatch.context() as patch:
        fill(patch, call, 2)
        with pytest.warns(UserWarning, match="the training goes on, but"):
            next(report for report in reports if isinstance(report, EpochReport))
    assert at(tmp_path / "c") == (0, 2)
    list(islice(reports, 2))
    assert at(tmp_path / "c") == (1, 2)
    run_here("train", "--resume", tmp_path / "c")
    assert same(tmp_path / "c", whole)


def test_a_file_of_another_training_is_no_checkpoint_of_this_one(tmp_path, whole, monkeypatch):
    before = whole.read_bytes()
    fill(monkeypatch, "fsync", 1)
    done = run_here(*TRAIN, "--seed", 5, "--out", whole, "--overwrite", code=1)
    assert "nothing of this training is saved there" in done.stderr
    assert whole.read_bytes() == before


def test_a_trace_that_cannot_be_written_ends_no_training(tmp_path, monkeypatch):
    def full(profile, path):
        raise FULL

    monkeypatch.setattr("tinyconv.profile.chrome_trace", full)
    done = run_here(*TRAIN, "--out", tmp_path / "c", "--profile-trace", tmp_path / "trace.json")
    assert "no trace: [Errno 28] No space left on device" in done.stderr
    assert at(tmp_path / "c") == (2, 0)


def test_a_full_disk_when_ctrl_c_saves(tmp_path, monkeypatch):
    if os.name == "nt":
        pytest.skip("Ctrl-C is sent to a whole console there")
    fill(monkeypatch, "fsync", 2)
    pick = DataLoader._pick

    def interrupted(loader, seed, epoch, number, turn=None):
        if number == 6:
            sent("SIGINT")
        return pick(loader, seed, epoch, number, turn)

    monkeypatch.setattr(DataLoader, "_pick", interrupted)
    done = run_here(*TRAIN, "--out", tmp_path / "c", "--save-every", 5, code=1)
    assert "the one after 0 epochs and 5 steps is whole" in done.stderr
    assert names(tmp_path) == ["c"]
