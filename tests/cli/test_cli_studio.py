"""`tinyconv studio`: what it opens, what it says, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from urllib.parse import urlsplit

import numpy as np
import pytest
from commands import run_here

from tinyconv.data import datasets
from tinyconv.train import RECIPES, new_run, start
from tinyconv.web.serving import Served

CAKE = "conv 2 5; relu; pool 4; flatten; fc 10"


@pytest.fixture
def opened(monkeypatch):
    """What the command served, one after the other; it does not wait for a Ctrl-C."""
    found = []

    def wait(served):
        with urllib.request.urlopen(served.url) as answer:
            assert answer.status == 200
        found.append(served.studio.subject)

    monkeypatch.setattr(Served, "wait", wait)
    return found


@pytest.fixture
def browsed(monkeypatch):
    """The pages that a browser was told to open."""
    pages = []
    monkeypatch.setattr(webbrowser, "open", lambda url: pages.append(url) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    return pages


def checkpoint(path, model="lenet5", steps=1, **options):
    """A checkpoint of a training that was stopped after so many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "SYNTHETIC_TRAIN", 256)
        patch.setattr(datasets, "SYNTHETIC_TEST", 16)
        session = start(new_run(model, "synthetic", 0, RECIPES["lesson"], **options))
        reports = session.trainer.run()
        for _ in range(steps):
            next(reports)
        return session.save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("trained") / "lenet.safetensors")


def test_the_url_is_all_it_prints(opened, browsed, trained):
    done = run_here("studio", trained)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}\n", done.stdout)
    assert browsed == [done.stdout.strip()]
    assert done.stderr == "lenet: Ctrl-C ends the studio\n"
    assert (opened[0].title, opened[0].trained, opened[0].dataset) == ("lenet", True, "synthetic")


def test_no_browser_is_opened_where_none_is_wanted_or_seen(opened, browsed, trained, monkeypatch):
    run_here("studio", trained, "--no-browser")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    run_here("studio", trained)
    assert browsed == []
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("what", "title", "model"),
    [
        ("lenet5", "lenet5", "LeNet5"),
        (CAKE, "cake", "Sequential"),
        ("myself.py:Net", "Net", "Net"),
        ("myself.py:net", "Net", "Net"),
        ("myself:made", "Net", "Net"),
        ("lenet.safetensors", "lenet", "LeNet5"),
    ],
)
def test_what_a_model_is_called_by(opened, tmp_path, trained, what, title, model):
    (tmp_path / "myself.py").write_text(
        "from tinyconv import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(784, 10)\n\n    def forward(self, x):\n        return self.fc(x.flatten(1))\n\n\n"
        "net = Net()\n\n\ndef made():\n    return net\n"
    )
    (tmp_path / "lenet.safetensors").write_bytes(trained.read_bytes())
    run_here("studio", what, "--data", "synthetic", "--no-browser", cwd=tmp_path)
    assert (opened[0].title, type(opened[0].model).__name__) == (title, model)
    assert opened[0].trained == (title in ("lenet", "Net"))


def test_a_model_that_takes_other_images_is_refused(opened, tmp_path):
    (tmp_path / "other.py").write_text("from tinyconv import nn\nnet = nn.Sequential(nn.Linear(5, 10))\n")
    said = run_here("studio", "other.py:net", "--data", "synthetic", code=1, cwd=tmp_path).stderr
    assert "Sequential does not take images of 1x28x28: it raised ShapeError" in said
    said = run_here("studio", "lenet", "--data", "synthetic", code=1, cwd=tmp_path).stderr
    assert "or was a model meant: lenet5?" in said


# --- without a model --------------------------------------------------------------------------------------------------


def test_without_a_model_the_newest_trained_lenet_is_opened(opened, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for age, (name, write) in enumerate(
        {
            "damaged": lambda path: path.write_bytes(b"\x10" * 100),
            "empty": lambda path: path.touch(),
            "link": lambda path: path.symlink_to(runs / "nowhere"),
            "folder": lambda path: path.mkdir(),
            "untrained": lambda path: checkpoint(path, steps=0),
            "mlp": lambda path: checkpoint(path, "mlp", hidden=8),
            "newest": checkpoint,
            "older": checkpoint,
        }.items()
    ):
        path = runs / f"{name}.safetensors"
        write(path)
        os.utime(path, (1e9 - age, 1e9 - age), follow_symlinks=name != "link" and not path.is_symlink())
    done = run_here("studio", "--no-browser", cwd=tmp_path)
    assert opened[0].title == "newest"
    assert "#" not in done.stdout
    lines = done.stderr.splitlines()
    for name in ("damaged", "empty", "link", "folder"):
        assert any(line.startswith(f"runs/{name}.safetensors is left out: ") for line in lines)
    assert not any(line.startswith(f"runs/{name}") for line in lines for name in ("older", "mlp", "untrained"))


def test_without_a_checkpoint_the_page_train_is_opened(opened, browsed, tmp_path):
    done = run_here("studio", "--data", "synthetic", cwd=tmp_path)
    assert done.stdout.endswith("#train\n")
    assert browsed == [done.stdout.strip()]
    assert "no trained LeNet in runs/: the page Train trains one" in done.stderr
    assert (opened[0].title, opened[0].trained) == ("lenet5", False)


# --- what is missing --------------------------------------------------------------------------------------------------


def test_images_that_cannot_be_had(opened, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TINYCONV_DATA", raising=False)
    said = run_here("studio", trained, "--data", "mnist", "--offline", "--no-browser", code=1).stderr
    assert "--data synthetic draws digits" in said
    assert opened == []
    done = run_here("studio", "lenet5", "--offline", "--no-browser")  # one can build and draw without
    assert "warning: there are no test images to look at: " in done.stderr
    assert [subject.title for subject in opened] == ["lenet5"]


@pytest.mark.parametrize("name", ["starlette", "uvicorn", "websockets", "pygments"])
def test_a_missing_extra_is_named(trained, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert (
        run_here("studio", trained, code=1).stderr
        == f"error: the studio needs {name}: pip install 'tinyconv[studio]'\n"
    )


def test_a_port_that_is_taken(trained):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = run_here("studio", trained, "--port", port, "--no-browser", code=1).stderr
    assert said.splitlines()[0] == (
        f"error: port {port} is taken, perhaps by another studio: take another, or 0 for any free one"
    )


def test_other_machines_are_warned_of(opened, trained):
    done = run_here("studio", trained, "--host", "0.0.0.0", "--no-browser")
    assert done.stdout.startswith("http://127.0.0.1:")
    said = done.stderr.replace("\n", " ")
    assert "warning: the studio listens to 0.0.0.0: whoever can reach this machine and has the URL can look" in said
    for host in ("127.0.0.1", "localhost"):
        assert "warning" not in run_here("studio", trained, "--host", host, "--no-browser").stderr


# --- its end ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("busy", [False, True])
def test_a_signal_ends_it_cleanly(sign, code, busy, tmp_path):
    from websockets.sync.client import connect

    from tinyconv.web import wire

    command = [sys.executable, "-m", "tinyconv", "studio", "lenet5", "--data", "synthetic", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        url = urlsplit(process.stdout.readline().strip())
        with connect(f"ws://{url.netloc}/socket?{url.query}", proxy=None) as page:
            if busy:
                arguments = {"recipe": "default", "seed": "0", "changes": {}}
                page.send(wire.pack({"id": 1, "job": "train.start", "arguments": arguments}))
                while wire.unpack(page.recv(60)).get("event") != "train":
                    pass
            process.send_signal(getattr(signal, sign))
            begun = time.monotonic()
            _, errors = process.communicate(timeout=60)
            assert time.monotonic() - begun < 30
    assert process.returncode == code
    assert errors in ("", "lenet5: Ctrl-C ends the studio\n")  # it may come before that is said


@pytest.mark.slow
def test_a_script_waits_for_ctrl_c_and_goes_on(tmp_path):
    script = (
        "import tinyconv as tc\nnet = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(784, 10))\n"
        "studio = tc.studio(net, 'synthetic', open_browser=False)\n"
        "join = studio._thread.join\n"  # says that it waits: a Ctrl-C before that is the script's own
        "studio._thread.join = lambda seconds: (print('waits', flush=True), join(seconds))\n"
        "studio.wait()\nprint('after')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0].replace("waits\n", "") == "after\n"
    assert process.returncode == 0


def test_the_images_of_a_checkpoint_may_be_others(opened, trained):
    run_here("studio", trained, "--data", "synthetic", "--threads", 1, "--no-browser")
    assert np.array_equal(opened[0].images.labels, datasets.load("synthetic", "test").labels)
