"""What files, names and surroundings may do to the command: success, or an error in one message; never a traceback."""

import json
import os
import subprocess
import sys

import pytest
import safetensors.numpy
from commands import run_here

from tinyconv.data import datasets, sources
from tinyconv.train import RECIPES, new_run, start

LONG = "x" * 100_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a LeNet for grey images, after no step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "SYNTHETIC_TRAIN", 64)
        patch.setattr(datasets, "SYNTHETIC_TEST", 16)
        yield start(new_run("lenet5", "synthetic", 0, RECIPES["lesson"])).save(
            tmp_path_factory.mktemp("runs") / "lenet.safetensors"
        )


def described(path, change):
    """The checkpoint with another document."""
    with safetensors.safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["tinyconv"])
    change(document)
    other = path.with_name("other.safetensors")
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), other, {"tinyconv": json.dumps(document)})
    return other


@pytest.mark.parametrize(
    "args", [["eval", "{}", "--data", "cifar10"], ["report", "{}", "--data", "cifar10"], ["train", "--resume", "{}"],
             ["maps", "{}"], ["eval", "{}"], ["predict", "{}", "none.png"]],
    ids=lambda args: " ".join(args),
)  # fmt: skip
def test_images_that_the_model_cannot_take_are_not_fetched(checkpoint, args, monkeypatch):
    """Nor is a picture read: the shapes tell."""

    def fetched(*given, **options):
        raise AssertionError("looks for the files first")

    monkeypatch.setattr(sources, "fetch", fetched)
    path = checkpoint if "--data" in args else described(checkpoint, lambda d: d["run"].update(data="cifar10"))
    said = run_here(*(word.format(path) for word in args), code=1).stderr
    assert "lenet5 cannot take the 3x32x32 images of cifar10" in said
    assert "expected 1 channels" in said
    assert ("it was made for those of synthetic" in said) == ("--data" in args)


def test_a_new_training_is_checked_before_its_data_are_fetched(monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda *args, **options: pytest.fail("looks for the files first"))
    for option, said in (("in_channels=1", "expected 1 channels"), ("num_classes=7", "gives (7,) for each of")):
        assert said in run_here("train", "lenet5", "--data", "cifar10", "--option", option, code=1).stderr
    cake = "conv 16 1 padding=3000; gap; flatten; fc 10"
    assert "at most 256 are allowed" in run_here("train", cake, "--data", "mnist", code=1).stderr


LOGS = {
    "NaN": '{"epoch": 1, "train_loss": NaN, "test_accuracy": 0.5, "seconds": 1}',
    "an infinity": '{"epoch": 1, "train_loss": 1e999, "test_accuracy": 0.5, "seconds": 1}',
    "a huge int": '{"epoch": 1, "train_loss": 1' + "0" * 400 + ', "test_accuracy": 0.5, "seconds": 1}',
    "an int of many digits": '{"epoch": 1, "train_loss": 1' + "0" * 5000 + ', "test_accuracy": 0.5, "seconds": 1}',
    "lists in lists": "[" * 100_000,
    "a key twice": '{"epoch": 1, "epoch": 2, "train_loss": 1, "test_accuracy": 0.5, "seconds": 1}',
    "epochs out of order": '{"epoch": 2, "train_loss": 1, "test_accuracy": 0.5, "seconds": 1}\n' * 2,
    "a share above 1": '{"epoch": 1, "train_loss": 1, "test_accuracy": 1.5, "seconds": 1}',
    "a text": '{"epoch": 1, "train_loss": "1", "test_accuracy": 0.5, "seconds": 1}',
    "a list": '["epoch"]',
    "a number": "3",
    "a long key": '{"epoch": 1, "' + LONG + '": 1}',
    "no text": "\x00\x01",
}


@pytest.mark.parametrize("text", LOGS.values(), ids=LOGS)
def test_curves_of_a_damaged_log(text, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    said = run_here("curves", path, "--out", tmp_path / "curves.png", code=1).stderr
    assert "is not the output of one `tinyconv train --json`" in said
    assert len(said) < 2000
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.slow
def test_curves_with_any_name(tmp_path):
    """Matplotlib reads $...$ as mathematics, and leaves names with _ in front out of a legend."""
    for name in ("$\\frac$", "_a", "a\x1b[31m", "ü€", os.fsdecode(b"\xff\xfe")):
        path = tmp_path / name
        path.write_text('{"epoch": 1, "train_loss": 1, "test_accuracy": 0.5, "seconds": 1}')
        run_here("curves", path, "--out", tmp_path / "curves.png")


def test_a_history_that_is_none(checkpoint, tmp_path):
    for history in ([{"epoch": 1, "train_loss": "x", "test_accuracy": 1, "seconds": 1}], [3], 7, {"a": 1}, None):
        path = described(checkpoint, lambda d, h=history: d["trainer"]["progress"].update(epoch=1, history=h))
        for command in (["curves", path, "--out", tmp_path / "c.png"], ["report", path], ["eval", path]):
            assert "its metadata are not those of a checkpoint" in run_here(*command, code=1).stderr


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["train", "lenet5", "--epochs", LONG], 2),
        (["train", "lenet5", "--recipe", LONG], 2),
        (["train", LONG], 2),
        (["train", "lenet5", "--data", LONG], 1),
        (["train", "lenet5", "--device", LONG, "--data", "synthetic"], 1),
        (["train", "lenet5", "--option", f"size={LONG}"], 1),
        (["train", "lenet5", f"--{LONG}"], 2),
        ([LONG], 2),
        (["summary", LONG], 1),
        (["summary", f"{LONG}.py:Net"], 1),
        (["summary", f"{LONG}:Net"], 1),
        (["summary", "lenet5", "--input", LONG], 2),
        (["gradcheck", LONG], 2),
        (["eval", LONG], 1),
        (["curves", LONG], 1),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_long_word_is_not_quoted_whole(args, code):
    assert len(run_here(*args, code=code).stderr) < 4000  # with the frame of a usage error


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["summary", "lenet5", "--input", "1x99999999x99999999"], 2, "a size is 1 to 1,048,576"),
        (["summary", "lenet5", "--option", "size=999999999"], 1, "at most 1,048,576 is taken"),
        (["summary", "resnet", "--option", "blocks=1000000"], 1, "1 to 300 blocks"),
        (["summary", "resnet", "--option", "widths=[]"], 1, "1 to 300 blocks"),
        (["train", "lenet5", "--threads", "100000"], 2, "1024"),
        (["train", "lenet5", "--epochs", "1000000"], 2, "100000"),
        (["train", "lenet5", "--batch-size", "9999999"], 2, "1048576"),
        (["train", "lenet5", "--shift", "1025"], 2, "shift must be at most 1,024"),
        (["train", "lenet5", "--lr", "nan"], 2, "lr must be finite"),
        (["train", "lenet5", "--lr", "1e999"], 2, "lr must be finite"),
        (["train", "lenet5", "--seed", "99999999999999999999"], 2, "18446744073709551615"),
        (["train", "mlp", "--data", "synthetic", "--option", "hidden=1000000"], 1, "at most 268,435,456 are built"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_values_beyond_all_bounds(args, code, said):
    assert said in " ".join(run_here(*args, code=code).stderr.replace("│", " ").split())


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "c.safetensors"
    header = json.dumps({"\x1b]0;owned\x07": {"dtype": "F9\x1b[2J", "shape": [], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    assert "\x1b" not in run_here("eval", path, code=1).stderr


# --- surroundings ---------------------------------------------------------------------------------------------------


def shell(*args, code=0, before="", cwd=None, **environment):
    """Run the command in a process of its own, after some Python in it."""
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    program = f"import sys\n{before}\nfrom tinyconv.cli import main\nsys.argv[0] = 'tinyconv'\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)], capture_output=True, text=True, timeout=300, check=False,
        cwd=cwd, env={**env, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


HOMELESS = "import os, pwd\npwd.getpwuid = {}.__getitem__"  # no entry of the system's users, as in many containers


@pytest.mark.slow
def test_no_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    out = tmp_path / "mlp.safetensors"
    train = ["train", "mlp", "--data", "synthetic", "--epochs", "1", "--batch-size", "5000", "--out", out]
    shell(*train, before=HOMELESS, TMPDIR=str(tmp_path), XDG_CACHE_HOME="")
    assert "not here" in shell("data", "list", before=HOMELESS, XDG_CACHE_HOME="", TINYCONV_DATA="").stdout
    assert (
        "~no-such-user"
        in shell("data", "verify", code=1, TINYCONV_DATA="~no-such-user/x", XDG_CACHE_HOME=str(tmp_path)).stdout
    )


@pytest.mark.slow
def test_a_current_folder_that_is_gone():
    gone = "import os, tempfile\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\nos.rmdir(folder)"
    assert "44,426" in shell("summary", "lenet5", before=gone).stdout
    train = ["train", "mlp", "--data", "synthetic", "--epochs", "1", "--batch-size", "5000"]
    assert "error: " in shell(*train, before=gone, code=1).stderr


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0o777, 0])
def test_an_odd_umask(mask, tmp_path):
    train = ["train", "mlp", "--data", "synthetic", "--epochs", "1", "--batch-size", "5000"]
    before = f"import os\nos.umask({mask})"
    shell(*train, "--out", tmp_path / "a.safetensors", before=before, TINYCONV_FAST="0")


@pytest.mark.slow
def test_odd_streams(tmp_path):
    shell("summary", "lenet5", before="import os\nos.close(1)\nsys.stdout = None")
    shell("summary", "pol 2", before="import os\nos.close(2)\nsys.stderr = None", code=1)
    shell("summary", "lenet5", COLUMNS="0", LANG="C", LC_ALL="C", PYTHONUTF8="0")
    (tmp_path / "file").write_text("in the way")
    assert "not here" in shell("data", "list", XDG_CACHE_HOME=str(tmp_path / "file"), TINYCONV_DATA="").stdout
    done = shell("data", "fetch", "mnist", code=1, XDG_CACHE_HOME=str(tmp_path / "file"), TINYCONV_DATA="")
    assert "cannot be written" in done.stderr
