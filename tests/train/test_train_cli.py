"""The command line, run as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from commands import run_here
from PIL import Image
from safetensors.numpy import load_file

from tinyconv.data import synthetic_digits
from tinyconv.engine import kernels, variants
from tinyconv.train import load_checkpoint

COMMAND = [sys.executable, "-m", "tinyconv"]
QUICK = ["train", "mlp", "--data", "synthetic", "--option", "hidden=16", "--batch-size", "512"]


def run(*args, code=0, cwd=None, encoding=None, **environment):
    """Here, or where the environment matters in a process of its own."""
    if not environment and encoding is None:
        return run_here(*args, code=code, cwd=cwd)
    env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **environment}
    command = [*COMMAND, *map(str, args)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding=encoding, env=env, timeout=300, check=False, cwd=cwd
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A LeNet trained for an epoch on drawn digits: its checkpoint and the lines that --json printed."""
    out = tmp_path_factory.mktemp("runs") / "lenet.safetensors"
    done = run("train", "lenet5", "--data", "synthetic", "--epochs", 1, "--seed", 3, "--out", out, "--json")
    return out, [json.loads(line) for line in done.stdout.splitlines()]


def test_json_lines(trained):
    out, lines = trained
    epoch, final = lines
    assert set(epoch) == {"epoch", "train_loss", "test_accuracy", "seconds"}
    assert epoch["epoch"] == 1
    assert final["final"] is True
    assert final["parameters"] == 44_426
    assert final["checkpoint"] == str(out)
    assert final["test_accuracy"] == epoch["test_accuracy"] > 0.9
    assert final["seconds"] == pytest.approx(epoch["seconds"])


def test_eval_agrees_with_training(trained):
    out, lines = trained
    found = json.loads(run("eval", out, "--json").stdout)
    assert found == {"model": "lenet5", "test_accuracy": lines[-1]["test_accuracy"], "images": 2000, "ranks": 1}
    assert json.loads(run("eval", out, "--json", "--mirrored").stdout)["test_accuracy"] != found["test_accuracy"]
    assert json.loads(run("eval", out, "--json", "--shifted", 1).stdout)["test_accuracy"] != found["test_accuracy"]
    text = run("eval", out).stdout
    assert text.startswith(f"lenet5: test accuracy {lines[-1]['test_accuracy']:.2%} (")


def test_predict_reads_pictures_of_either_polarity_and_any_size(trained, tmp_path):
    out, _ = trained
    digits = synthetic_digits(10, seed=5)
    paths = []
    for i, (image, label) in enumerate(zip(digits.images[:, 0], digits.labels, strict=True)):
        picture = Image.fromarray(image)
        if i % 2:  # a scan: black on white, large, off centre
            picture = Image.fromarray(255 - np.pad(np.where(image > 100, image, 0), ((2, 30), (25, 5)))).resize(
                (590, 600)
            )
        paths.append(tmp_path / f"{label}.{'jpg' if i % 3 else 'png'}")
        picture.save(paths[-1])
    found = [json.loads(line) for line in run("predict", out, *paths, "--json").stdout.splitlines()]
    assert [line["image"] for line in found] == [str(path) for path in paths]
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5) for line in found)
    right = [line["label"] == path.stem for line, path in zip(found, paths, strict=True)]
    assert sum(right) >= 8
    table = run("predict", out, paths[0]).stdout
    assert all(f" {digit} " in table for digit in range(10))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_console_can_show_everything(trained, tmp_path, encoding):
    out, _ = trained
    path = tmp_path / "drei Ⅲ.png"  # no letter of cp1252
    Image.fromarray(synthetic_digits(1).images[0, 0]).save(path)
    for width in ("200", "30"):  # in a narrow one, rich shortens texts with an ellipsis
        shown = run("predict", out, path, COLUMNS=width, encoding=encoding, PYTHONIOENCODING=encoding).stdout
        assert ("█" if encoding == "utf-8" else "#") in shown
    assert ("Ⅲ" if encoding == "utf-8" else r"\u2162") in shown
    assert path.name[:4] in run("predict", path, path, code=1, encoding=encoding, PYTHONIOENCODING=encoding).stderr
    run("train", "--help", COLUMNS="60", encoding=encoding, PYTHONIOENCODING=encoding)
    run("train", "mlp", "--epochs", "0", code=2, encoding=encoding, PYTHONIOENCODING=encoding)


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    text = run(*QUICK, "--epochs", 2, "--out", tmp_path / "c.safetensors").stdout.splitlines()
    assert text[0] == "mlp on synthetic: 12,730 parameters, 10,000 images, 2 epochs of 20 steps, seed 0"
    assert text[1].startswith("epoch 1: train loss ")
    assert text[2].startswith("epoch 2: train loss ")
    assert text[3].startswith("test accuracy ")
    assert text[4] == f"checkpoint: {tmp_path / 'c.safetensors'}"


def test_a_finished_checkpoint_is_not_overwritten_unasked(tmp_path):
    quick = [*map(str, QUICK), "--epochs", "1", "--json"]

    def checkpoint(*args):
        return json.loads(run(*quick, *args, cwd=tmp_path).stdout.splitlines()[-1])["checkpoint"]

    first = tmp_path / checkpoint()
    assert first.name == "mlp-synthetic-default-seed0.safetensors"
    before = first.read_bytes()
    assert [Path(checkpoint("--lr", 1e-3)).name for _ in range(2)] == [f"{first.stem}-{n}.safetensors" for n in (2, 3)]
    error = run(*quick, "--out", first, code=1).stderr
    assert f"there is a file at {first}: continue it with --resume, replace it with --overwrite" in error
    assert first.read_bytes() == before

    assert tmp_path / checkpoint("--overwrite", "--lr", 1e-3) == first
    assert first.read_bytes() != before
    run(*quick, "--overwrite", "--out", first)
    assert load_file(first)["1.weight"].tobytes() == safetensors.numpy.load(before)["1.weight"].tobytes()
    assert len(list(first.parent.iterdir())) == 3


@pytest.mark.slow
def test_resuming_into_another_place(trained, tmp_path):
    out, lines = trained
    other = tmp_path / "other.safetensors"
    found = json.loads(run("train", "--resume", out, "--out", other, "--json").stdout)
    assert found == {**lines[-1], "checkpoint": str(other)}
    assert other.read_bytes() == out.read_bytes()
    assert "there is a file at" in run("train", "--resume", out, "--out", other, code=1).stderr
    run("train", "--resume", out, "--out", other, "--overwrite")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a whole console there")
def test_ctrl_c_before_the_first_epoch_is_over_saves_too(tmp_path):
    out = tmp_path / "c.safetensors"
    command = [*COMMAND, *QUICK, "--batch-size", "1", "--out", str(out)]  # 10,000 steps an epoch
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("mlp on synthetic")
        assert [path.name for path in tmp_path.iterdir()] == [".c.safetensors.lock"]  # no checkpoint yet
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    step = load_checkpoint(out).trainer["progress"]["step"]
    assert f"stopped in epoch 1 after step {step};" in errors


def stopped(out, *args):
    """Start a training, press Ctrl-C in its second epoch, return what it printed."""
    command = [*COMMAND, *QUICK, *map(str, args), "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    return [json.loads(line) for line in (first + rest).splitlines()], errors


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a whole console there")
@pytest.mark.parametrize(
    "options",
    [
        ["--shift", 2],
        ["--optimizer", "sgd", "--crop", 3, "--flip", "--weight-decay", 5e-4],
    ],
    ids=str,
)
def test_ctrl_c_saves_and_resume_continues_bit_for_bit(options, tmp_path):
    whole, out = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    recipe = ["--epochs", 40, "--seed", 11, *options]
    expected = [json.loads(line) for line in run(*QUICK, *recipe, "--out", whole, "--json").stdout.splitlines()]

    lines, errors = stopped(out, *recipe)
    assert lines[-1]["stopped"] is True
    at = lines[-1]["epoch"]
    assert 1 <= at < 40
    assert f"continue with: tinyconv train --resume {out}" in errors

    after = [json.loads(line) for line in run("train", "--resume", out, "--json").stdout.splitlines()]
    assert [line["epoch"] for line in after[:-1]] == list(range(at + 1, 41))
    for line, wanted in zip(after[:-1], expected[at:-1], strict=True):
        assert (line["train_loss"], line["test_accuracy"]) == (wanted["train_loss"], wanted["test_accuracy"])
    ours, theirs = load_file(out), load_file(whole)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_resuming_what_is_finished_reports_it_again(trained):
    out, lines = trained
    before = out.read_bytes()
    again = [json.loads(line) for line in run("train", "--resume", out, "--json").stdout.splitlines()]
    assert again == lines[-1:]
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (
            ["train"],
            2,
            "name a model (lenet5, lenet5_1998, mlp, cifarnet, lenet_gap, lenet_vgg, lenet_strided, lenet_bn, resnet, "
            "alexnet, vgg16, resnet50, cake), or --resume a checkpoint",
        ),
        (["train", "lenet6", "--data", "synthetic"], 2, "no model 'lenet6'; there are lenet5, lenet5_1998, mlp"),
        (
            ["train", "lenet5", "--recipe", "quick"],
            2,
            "no recipe 'quick'; there are default, lesson, fast, best, cifar-lenet, cifar, cifar-full",
        ),
        (["train", "conv 8 3; relo", "--data", "synthetic"], 1, "slice 2, 'relo': no slice is called 'relo': relu?"),
        (["train", "flatten; fc 9", "--data", "synthetic"], 1, "there are 10 classes: end it in 'fc 10'"),
        (["train", "lenet5", "--optimizer", "lion"], 2, "optimizer must be 'adam' or 'sgd', got 'lion'"),
        (["train", "lenet5", "--epochs", "0"], 2, "Invalid value for '--epochs'"),
        (
            ["train", "lenet5", "--schedule", "cosine"],
            2,
            "schedule must be 'onecycle' or 'triangle' or 'constant', got 'cosine'",
        ),
        (["train", "lenet5", "--option", "padding"], 2, "--option takes NAME=VALUE, got 'padding'"),
        (["train", "lenet5", "--data", "svhn"], 1, "no dataset is called 'svhn'"),
        (["train", "--resume", "nowhere.safetensors"], 1, "no checkpoint at nowhere.safetensors"),
        (["train", "mlp", "--resume", "x.safetensors", "--epochs", "3"], 2, "leave out model, --epochs"),
        (["train", "mlp", "--data", "synthetic", "--device", "cuda"], 1, "device 'cuda"),
        (["train", "mlp", "--data", "synthetic", "--device", "tpu"], 1, "unknown device 'tpu'"),
        (["train", "mlp", "--data", "synthetic", "--out", "/dev/null/c"], 1, "choose another place with --out"),
        (["eval", "nowhere.safetensors"], 1, "no checkpoint at nowhere.safetensors"),
        (["data", "verify", "cifar"], 1, "no dataset is called 'cifar'"),
        (["nonsense"], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(args, code, message):
    if "/dev/null/c" in args and os.name == "nt":
        pytest.skip("no /dev/null there")
    done = run(*args, code=code)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


def test_a_picture_that_is_none(trained, tmp_path):
    out, _ = trained
    (tmp_path / "text.png").write_text("hello")
    assert "is no picture that can be read" in run("predict", out, tmp_path / "text.png", code=1).stderr
    Image.new("L", (40, 40), 255).save(tmp_path / "white.png")
    assert "nothing is drawn on this picture" in run("predict", out, tmp_path / "white.png", code=1).stderr
    assert "there is no such picture" in run("predict", out, tmp_path / "none.png", code=1).stderr


def test_data_commands(tmp_path):
    empty = {"TINYCONV_DATA": "", "XDG_CACHE_HOME": str(tmp_path), "TINYCONV_OFFLINE": "1"}
    assert "mnist: not here; get it with: tinyconv data fetch mnist" in run("data", "list", **empty).stdout
    assert "train-images-idx3-ubyte: missing" in run("data", "verify", "mnist", code=1, **empty).stdout
    assert "offline" in run("data", "fetch", "mnist", code=1, **empty).stderr
    assert run("data", "fetch", "synthetic", **empty).stdout == "synthetic: drawn when needed, no files to fetch\n"


def test_doctor():
    text = run("doctor").stdout
    for word in ("tinyconv: ", "numpy: ", "blas: ", "gpu: ", "mpi: ", "kernels: ", "data: mnist: "):
        assert word in text


def test_doctor_says_which_kernels_run_and_why(tmp_path):
    def said(**environment):
        done = run("doctor", XDG_CACHE_HOME=str(tmp_path / "cache"), **environment)
        return next(line for line in done.stdout.splitlines() if line.startswith("kernels: ")), done.stderr

    assert said(TINYCONV_KERNELS="readable") == ("kernels: readable: readable kernels are chosen", "")
    assert said(PATH=str(tmp_path)) == ("kernels: numpy: no C compiler found (tried cc, gcc, clang)", "")
    line, errors = said(CC="false")
    assert re.fullmatch(r"kernels: numpy: \S+/false failed on \S+ \(\w+\): it ended with 1 and wrote no library", line)
    assert errors.count("warning: no compiled kernels: ") == 1


def test_kernels_are_chosen_for_a_command(tmp_path):
    quick = [*QUICK, "--epochs", "1", "--out", tmp_path / "c"]
    before = variants.kernels()
    run(*quick, "--kernels", "readable")
    assert load_checkpoint(tmp_path / "c").kernels == "readable"
    assert variants.kernels() == before
    run("eval", tmp_path / "c", "--kernels", "numpy")
    if kernels.running() == "compiled":
        run(*quick[:-1], tmp_path / "d", "--kernels", "compiled")
        assert load_checkpoint(tmp_path / "d").kernels == "compiled"
    error = run(*quick, "--kernels", "fast", code=2).stderr
    assert "no kernels 'fast'; there are compiled, numpy, readable" in error
    done = run("train", "--resume", tmp_path / "c", "--kernels", "numpy")
    assert done.stderr.count("was trained with readable kernels, and goes on with numpy") == 1


def test_a_training_goes_on_without_what_it_cannot_build(tmp_path):
    """Nothing is said where there is no compiler; a build and its failure are a line each."""
    quick = [*QUICK, "--epochs", "1", "--kernels", "compiled"]
    for place, environment, said in (("a", {"PATH": str(tmp_path)}, ()), ("b", {"CC": "false"}, ("compiling", "warn"))):
        done = run(*quick, "--out", tmp_path / place, XDG_CACHE_HOME=str(tmp_path / "cache"), **environment)
        lines = done.stderr.splitlines()
        assert all(line.startswith(word) for line, word in zip(lines, said, strict=True)), done.stderr
        assert load_checkpoint(tmp_path / place).kernels == "numpy"


def test_version_and_help():
    assert run("--version").stdout.startswith("tinyconv ")
    help_text = run("train", "--help").stdout
    for word in ("--recipe", "--resume", "--seed", "--json"):
        assert word in help_text
    assert "Exit codes: 0 success" in " ".join(run("--help").stdout.split())


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_says_what_to_install(missing, tmp_path):
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('not here', name={missing!r})")
    done = run("train", code=1, PYTHONPATH=str(tmp_path))
    assert done.stderr == f"the tinyconv command needs {missing}: pip install 'tinyconv[train]'\n"
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["maps", "report", "curves"])
def test_without_matplotlib_pictures_say_what_to_install(command, trained, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('not here')")
    done = run(command, trained[0], code=1, PYTHONPATH=str(tmp_path))
    assert done.stderr == "error: pictures need matplotlib: pip install 'tinyconv[pictures]'\n"
    assert done.stdout == ""


def test_explain_prints_the_program_of_a_step_and_trains_on(tmp_path):
    done = run(*QUICK, "--epochs", 1, "--explain", "--out", tmp_path / "c")
    assert "Trainer._step: 1 program runs in the place of its Python" in done.stderr
    assert "SGD.step" in done.stderr or "Adam" in done.stderr
    assert "test accuracy" in done.stdout
    done = run("train", "--resume", tmp_path / "c", "--epochs", 1, "--explain")
    assert "program" not in done.stderr, "all epochs are trained"


def test_explain_gives_the_program_as_a_line_of_json(tmp_path):
    done = run(*QUICK, "--epochs", 1, "--explain", "--json", "--out", tmp_path / "c")
    first, epoch, final = map(json.loads, done.stdout.splitlines())
    assert final["final"] is True
    assert epoch["epoch"] == 1
    assert first["program"]["state"] == "replayed"
    names = [part["name"] for one in first["program"]["programs"][0]["instructions"] for part in one["computes"]]
    assert names.index("linear") < names.index("cross_entropy")
    assert done.stderr == ""


def test_explain_beside_a_profile(tmp_path):
    done = run(*QUICK, "--epochs", 1, "--explain", "--profile", "--out", tmp_path / "c")
    assert done.stderr.index("Trainer._step: 1 program") < done.stderr.index("times in ms")
