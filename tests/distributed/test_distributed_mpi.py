"""Ranks that mpiexec starts: the bits of one rank, and one end for all, with one message."""

import hashlib
import json
import signal
import time

import pytest
from distributed.mpiexec import NO_MPI, ended, start
from distributed.trainings import train
from safetensors.numpy import load_file

from tinyconv.distributed import threads
from tinyconv.engine import kernels, variants
from tinyconv.train import load_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_MPI), reason=NO_MPI)]
TINYCONV = ("-m", "tinyconv")
SMALL = ("mlp", "--option", "hidden=16", "--data", "synthetic", "--batch-size", "300", "--seed", "1")


TRAIN = """
import hashlib, sys
import tinyconv as tc
from distributed.trainings import train
from tinyconv.engine import variants
variants.set_kernels(sys.argv[1])
ranks = tc.distributed.init("mpi")
assert ranks.sharers() in (1, ranks.size)  # bound to cores, or not
assert ranks.broadcast({"a": [1, None]} if ranks.rank else None, 1) == {"a": [1, None]}
for captured in (False, True):
    losses, weights = train(captured, 150, True)
    if ranks.rank == 0:
        print(ranks.size, losses, hashlib.sha256(weights).hexdigest())
"""


@pytest.mark.parametrize("chosen", ["numpy", "compiled"])
def test_mpi_gives_the_bits_of_one(chosen):
    if chosen == "compiled" and kernels.running() != "compiled":
        pytest.skip("no compiled kernels here")
    before = variants.kernels()
    variants.set_kernels(chosen)
    try:
        alone = [threads.run(lambda: train(captured, 150, True), 1)[0] for captured in (False, True)]  # noqa: B023
    finally:
        variants.set_kernels(before)
    for ranks in (2, 4):
        expected = [f"{ranks} {losses} {hashlib.sha256(weights).hexdigest()}" for losses, weights in alone]
        assert ended(start(ranks, "-c", TRAIN, chosen)) == (0, "".join(f"{line}\n" for line in expected), "")


def test_the_commands_train_and_evaluate_the_same(tmp_path):
    said = {}
    for ranks in (1, 2):
        options = ("--epochs", "1", "--shift", "1", "--out", f"{ranks}", "--json", "--ranks", "mpi")
        code, out, errors = ended(start(ranks, *TINYCONV, "train", *SMALL, *options, cwd=tmp_path))
        assert (code, errors) == (0, "")
        epoch, final = map(json.loads, out.splitlines())
        assert final["ranks"] == ranks
        code, out, errors = ended(start(ranks, *TINYCONV, "eval", "1", "--json", "--ranks", "mpi", cwd=tmp_path))
        assert (code, errors) == (0, "")
        found = json.loads(out)
        assert found.pop("ranks") == ranks
        assert found["test_accuracy"] == epoch["test_accuracy"]
        said[ranks] = epoch["train_loss"], found, {k: v.tobytes() for k, v in load_file(tmp_path / f"{ranks}").items()}
    assert said[1] == said[2]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("eval", "none"), 1, "error: no checkpoint at none: there is no such file"),
        (("train", "lenet"), 2, "no model 'lenet'"),
        (("train", *SMALL, "--lr", "1e6", "--optimizer", "sgd", "--epochs", "3"), 1, "error: the loss is"),
    ],
    ids=["no file", "no model", "diverged"],
)
def test_what_all_find_wrong_is_said_once(words, code, said, tmp_path):
    ended_with, _, errors = ended(start(2, *TINYCONV, *words, "--ranks", "mpi", cwd=tmp_path))
    assert ended_with == code, errors
    assert errors.count(said) == 1
    assert errors.lower().count("error") == 1
    assert "Traceback" not in errors


FAIL = """
import os, signal, sys, time
import numpy as np
import tinyconv as tc
from tinyconv.distributed.mpi import Mpi
Mpi.patience = 1.0
ranks = tc.distributed.init("mpi")
ranks.place = "epoch 2, step 17"
ranks.barrier()
for step in range(1000):
    if ranks.rank == 1 and step == int(sys.argv[2]):
        if sys.argv[1] == "raises":
            raise ValueError("of rank 1")
        if sys.argv[1] == "is busy":
            time.sleep(60)
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    ranks.gather(np.zeros((3, 50)), [(0, 1), (1, 2), (2, 3)])
"""


@pytest.mark.parametrize(("how", "at"), [("raises", 0), ("SIGSTOP", 637), ("is busy", 270), ("SIGKILL", 511)])
def test_an_end_of_one_is_the_end_of_all(how, at):
    began = time.monotonic()
    code, out, errors = ended(start(3, "-c", FAIL, how, str(at)), 60)
    assert code != 0
    assert time.monotonic() - began < 30  # five seconds, and the time to start three on a busy machine
    if how == "raises":
        assert errors.count("Traceback") == 1
        assert errors.endswith("ValueError: of rank 1")
    elif how == "SIGKILL":  # mpiexec finds that, and says so
        assert "signal 9" in out + errors or "KILLED BY SIGNAL: 9" in out + errors
        assert errors.count("Traceback") == 0
    else:
        where = f"(epoch 2, step 17, meeting {at + 2})"
        said = f"RankError: rank 1 of 3 did not come in 1 s to where rank 0 waits {where}: stopped, or doing something"
        assert errors.count(said) == 1
        assert errors.count("Traceback") == 1


def test_ctrl_c_saves_and_another_number_of_ranks_goes_on(tmp_path):
    options = ("--epochs", "60", "--json", "--ranks", "mpi")
    running = start(2, *TINYCONV, "train", *SMALL, *options, "--out", "part", cwd=tmp_path)
    assert '"epoch": 1' in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    code, out, errors = ended(running)
    assert code == 130, errors
    assert errors.count("stopping after this step") == 1
    assert json.loads(out.splitlines()[-1])["stopped"]
    at = load_checkpoint(tmp_path / "part").trainer["progress"]["epoch"]
    assert 1 <= at < 60
