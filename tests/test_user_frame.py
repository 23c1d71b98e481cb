"""The last line that is shown of an error is the user's: in a script, in a notebook, in a thread, from a command."""

import pickle
import subprocess
import sys

import pytest
from commands import run_here

import tinyconv as tc
from tinyconv import errors, nn
from tinyconv.train import save_weights
from tinyconv.user_frame import user_line


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    monkeypatch.setattr(errors, "user_line", user_line)


NET = """\
import tinyconv as tc
from tinyconv import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.conv(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(Block(), nn.ReLU())

    def forward(self, x):
        return self.features(x).flatten(1)

model = Net()
"""
CALL = "model(tc.ones(2, 3, 8, 8))\n"
LAST = [
    "ShapeError: conv2d: expected 1 channels, x is (N, C, H, W) = (2, 3, 8, 8)",
    "  in layer 'features.0.conv': Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))",
]


def test_a_script_ends_with_the_users_line(tmp_path):
    script = tmp_path / "net.py"
    script.write_text(NET + CALL, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    *_, first, second, third = done.stderr.splitlines()
    assert [first.removeprefix("tinyconv.errors."), second] == LAST
    assert third == "  at net.py:10, in forward: return self.conv(x)"


def test_a_notebook_ends_with_the_users_line(capsys):
    """Cells are kept by IPython under names that say nothing: the line in the cell is what helps."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell(colors="nocolor")
    shell.run_cell(NET)
    shell.run_cell(CALL)
    *_, first, second, third = capsys.readouterr().out.strip().splitlines()
    assert [first, second] == LAST
    assert third == "  at line 10 of a cell, in forward: return self.conv(x)"


def test_outside_of_a_model_it_is_the_line_of_the_call():
    with pytest.raises(tc.ShapeError) as caught:
        tc.ones(2, 3) @ tc.ones(2, 3)
    (note,) = caught.value.__notes__
    assert note.endswith("in test_outside_of_a_model_it_is_the_line_of_the_call: tc.ones(2, 3) @ tc.ones(2, 3)")


def test_the_text_of_the_error_is_without_it_and_it_is_said_once():
    with tc.detect_anomaly(), pytest.raises(tc.AnomalyError, match=r"test_user_frame\.py:\d+, in test_the_text") as nan:
        tc.tensor(-1.0).log()
    assert not hasattr(nan.value, "__notes__")
    with pytest.raises(tc.ShapeError) as caught:
        tc.ones(2).reshape(3)
    assert "test_user_frame" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).__notes__ == caught.value.__notes__


def test_a_thread_of_ours_names_no_line_of_pythons():
    model = nn.DataParallel(nn.Conv2d(1, 4, 3), tile=1, threads=4)
    for _ in range(5):  # chance decides which thread meets the mistake
        with pytest.raises(tc.ShapeError) as caught:
            model(tc.ones(8, 3, 8, 8))
        assert not any("threading" in note for note in getattr(caught.value, "__notes__", []))


def test_a_command_names_a_line_of_the_users_file_and_none_of_its_own(tmp_path):
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    said = run_here("summary", "net.py:model", "--input", "3x8x8", cwd=tmp_path, code=1).stderr
    assert said.endswith("  at net.py:10, in forward: return self.conv(x)\n")
    assert "  at " not in run_here("eval", tmp_path / "nothing", code=1).stderr


def test_what_ends_a_with_block_of_ours_is_no_line_of_the_users(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.CheckpointError) as caught:
        save_weights({}, tmp_path / "file" / "weights")
    (note,) = caught.value.__notes__
    assert "test_what_ends_a_with_block" in note
    train = ("train", "mlp", "--data", "synthetic", "--out", tmp_path / "file" / "c")
    assert "  at " not in run_here(*train, code=1).stderr


def test_no_line_of_the_studios_thread_is_the_users():
    from tinyconv.web import pages
    from tinyconv.web.studio import Studio
    from tinyconv.web.subject import of_name

    assert pages  # they enter their jobs
    studio = Studio(of_name("lenet5", "synthetic"))
    error = studio.submit("look.image", {"number": -1}).exception()
    studio.close()
    assert "there is no test image -1" in str(error)
    assert not hasattr(error, "__notes__")
