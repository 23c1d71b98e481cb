"""Jobs of the Train page: the same training as the command's, watched."""

import shlex
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

from typer.testing import CliRunner

import tinyconv as tc
from tinyconv import data, nn
from tinyconv.cli import app
from tinyconv.data import synthetic_digits
from tinyconv.errors import CheckpointError, DataError
from tinyconv.train import RECIPES, load_checkpoint, load_weights, new_run, start
from tinyconv.web import pages
from tinyconv.web.jobs import JOBS, Job, JobError
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_checkpoint, of_model, of_name

assert pages

FEW = {"epochs": 1, "batch_size": 100}
DIGITS = {"train": synthetic_digits(1000), "test": synthetic_digits(300, seed=1)}
CAKE = "conv 4 5 2; relu; pool 2; flatten; dropout 0.1; fc 10"


@pytest.fixture
def studio(tmp_path, monkeypatch):
    """A studio whose one tab is "tab" and hears into `heard`; in a folder of its own, with a thousand digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "load", lambda name, split, *places: DIGITS[split])
    studio = Studio(of_name("cake", "synthetic", slices=CAKE))
    studio.heard = []
    studio.join("tab", lambda event, data: studio.heard.append((event, data)))
    yield studio
    studio.close()


def ask(studio, job, **arguments):
    return studio.submit(job, arguments).result(60)


def begin(studio, running=False, recipe="default", seed="0", **changes):
    fields = {"recipe": recipe, "seed": seed, "changes": FEW | changes}
    assert ask(studio, "train.start", running=running, **fields) == {"errors": {}}


def until(studio, *statuses):
    """What is known of the training once it has one of these."""
    for _ in range(6000):
        now = ask(studio, "train.state")["training"]
        if now["status"] in statuses:
            return now
        time.sleep(0.01)
    raise AssertionError(now)


def same_weights(model, other):
    expected = other.state_dict()
    for name, found in model.state_dict().items():
        np.testing.assert_array_equal(found.numpy(), expected[name].numpy(), err_msg=name)


def opened(studio, monkeypatch, subject):
    """Open another model, as Build does."""
    monkeypatch.setitem(JOBS, "test.open", Job("test.open", lambda studio: studio.open(subject), True, False))
    ask(studio, "test.open")


def the_command(**changes):
    """What `tinyconv train` makes of the same run."""
    session = start(new_run("cake", "synthetic", 0, replace(RECIPES["default"], **FEW | changes), slices=CAKE))
    return session, list(session.trainer.run())


def test_the_weights_are_those_of_the_command_whatever_the_pages_ask(studio, monkeypatch):
    monkeypatch.setitem(JOBS, "test.rand", Job("test.rand", lambda studio: tc.rand(3).tolist(), False, False))
    begin(studio, True)
    while ask(studio, "train.state")["training"]["status"] == "running":  # jobs come between the steps
        ask(studio, "train.weights")
        ask(studio, "test.rand")
        ask(studio, "train.maps", image=3)
    now, (session, reports) = until(studio, "finished"), the_command()
    same_weights(studio.subject.model, session.model)
    assert now["history"][0]["test_accuracy"] == session.trainer.progress.history[0]["test_accuracy"]
    np.testing.assert_array_equal(now["losses"], np.float32([r.loss for r in reports[:10]]))
    assert not studio.subject.model.training
    assert studio.subject.trained


def test_steps_one_by_one_pauses_and_a_fresh_start(studio):
    begin(studio)
    for step in (1, 2, 3):
        ask(studio, "train.step")
        now = ask(studio, "train.state")["training"]
        assert (now["done"], now["status"], len(now["losses"])) == (step, "paused", step)
    ask(studio, "train.go_on")
    ask(studio, "train.pause")
    paused = ask(studio, "train.state")["training"]
    assert paused["status"] == "paused"
    time.sleep(0.1)
    assert ask(studio, "train.state")["training"]["done"] == paused["done"]
    ask(studio, "train.go_on")
    until(studio, "finished")
    same_weights(studio.subject.model, the_command()[0].model)
    ask(studio, "train.step")  # there is none left
    assert ask(studio, "train.state")["training"]["status"] == "finished"
    begin(studio)
    assert ask(studio, "train.state")["training"]["done"] == 0


def test_reports_have_each_loss_once_and_come_seldom(studio):
    begin(studio)
    for _ in range(3):
        ask(studio, "train.step")
    ask(studio, "train.go_on")
    until(studio, "finished")
    news = [data for event, data in studio.heard if event == "train"]
    assert [data["lossesFrom"] for data in news] == list(np.cumsum([0, *(len(data["losses"]) for data in news)])[:-1])
    np.testing.assert_array_equal(
        np.concatenate([data["losses"] for data in news]), ask(studio, "train.state")["training"]["losses"]
    )
    assert len(news) < 10  # and not one for each of the 12 steps and tests
    assert [row["epoch"] for data in news for row in data["history"]] == [1]


def test_a_checkpoint_goes_on_where_it_was_saved(studio):
    begin(studio)
    for _ in range(4):
        ask(studio, "train.step")
    first, second = ask(studio, "train.save"), ask(studio, "train.save")
    assert first == {"path": str(Path("runs/cake-synthetic-default-seed0.safetensors")), "whole": True}
    assert second["path"] == str(Path("runs/cake-synthetic-default-seed0-2.safetensors"))
    other = Studio(of_checkpoint(Path(first["path"])))
    try:
        assert ask(other, "train.state")["checkpoint"] == {
            "name": Path(first["path"]).name,
            "epoch": 0,
            "step": 4,
            "epochs": 1,
            "longer": False,
            "history": [],
        }
        ask(other, "train.resume")
        now = until(other, "finished")
        assert now["first"] == 4
        assert len(now["losses"]) == 6
        same_weights(other.subject.model, the_command()[0].model)
    finally:
        other.close()


def test_a_constant_rate_is_made_longer(studio):
    begin(studio, True, schedule="constant")
    until(studio, "finished")
    path = Path(ask(studio, "train.save")["path"])
    other = Studio(of_checkpoint(path))
    try:
        assert ask(other, "train.state")["checkpoint"]["longer"]
        ask(other, "train.resume", epochs=2)
        until(other, "finished")
        same_weights(other.subject.model, the_command(schedule="constant", epochs=2)[0].model)
    finally:
        other.close()


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
def test_a_rate_changed_by_hand_is_no_recipe(studio, schedule):
    begin(studio, schedule=schedule, lr=0.01)
    for _ in range(3):
        ask(studio, "train.step")
    before = studio.state["train"].session.trainer.optimizer.param_groups[0]["lr"]
    assert ask(studio, "train.rate", lr=0.002) == {"errors": {}}
    now = ask(studio, "train.state")["training"]
    assert now["rate"] == pytest.approx(0.2 * before)
    assert now["rates"] == [{"step": 3, "from": 0.01, "to": 0.002}]
    ask(studio, "train.rate", lr=0.02)
    assert ask(studio, "train.state")["training"]["rate"] == pytest.approx(2 * before)
    ask(studio, "train.rate", lr=0.002)
    ask(studio, "train.go_on")
    until(studio, "finished")
    if schedule == "onecycle":  # it ends where a recipe with that peak ends
        assert ask(studio, "train.state")["training"]["rate"] == pytest.approx(0.002 / 25e4)
    saved = ask(studio, "train.save")
    assert saved == {"path": str(Path("runs/cake-synthetic-rates-by-hand-seed0.safetensors")), "whole": False}
    with pytest.raises(CheckpointError, match="not a tinyconv checkpoint"):
        load_checkpoint(saved["path"])
    found = load_weights(saved["path"])
    for name, expected in studio.subject.model.state_dict().items():
        np.testing.assert_array_equal(found[name].numpy(), expected.numpy())
    assert "lr must be above 0" in ask(studio, "train.rate", lr=0)["errors"]["lr"]
    assert ask(studio, "train.rate", lr="fast")["errors"]["lr"] == "write a number, such as 0.005"


WRONG = {
    "epochs": (0, "epochs must be at least 1, got 0"),
    "batch_size": (1.5, "write a whole number, such as 128"),
    "lr": ("fast", "write a number, such as 0.005"),
    "weight_decay": (-1, "weight_decay must be at least 0, got -1"),
    "label_smoothing": (2, "label_smoothing must be at most 1, got 2"),
    "shift": (5000, "shift must be at most 1,024, got 5000"),
    "crop": (-1, "crop must be at least 0, got -1"),
    "cutout": (-1, "cutout must be at least 0, got -1"),
    "flip": (3, "flip must be of type bool, got 3"),
    "schedule": ("linear", "schedule must be 'onecycle' or 'triangle' or 'constant', got 'linear'"),
    "optimizer": ("lion", "optimizer must be 'adam' or 'sgd', got 'lion'"),
}


def test_what_is_wrong_stands_beside_its_field(studio):
    fields = {"recipe": "default", "seed": "-1", "changes": {name: value for name, (value, _) in WRONG.items()}}
    for job in ("train.check", "train.start"):
        errors = ask(studio, job, **fields)["errors"]
        assert errors.pop("seed") == "seed must be a whole number from 0 to 18,446,744,073,709,551,615"
        assert errors == {name: text for name, (_, text) in WRONG.items()}
    assert ask(studio, "train.state")["training"] is None
    together = {"recipe": "default", "seed": "0", "changes": {"layer_rates": True}}
    assert "layer_rates are for optimizer='sgd'" in ask(studio, "train.check", **together)["errors"]["layer_rates"]
    assert ask(studio, "train.check", recipe="none", seed="0", changes={})["errors"].keys() == {"recipe"}
    unknown = ask(studio, "train.check", recipe="default", seed="0", changes={"momentum": 1})["errors"]
    assert "momentum" in unknown["momentum"]


def test_the_command_trains_the_same(studio):
    """What the page shows is a line for the terminal: read by the command's own parser, it gives the same weights."""
    changes = {**FEW, "optimizer": "sgd", "lr": 0.02, "schedule": "constant", "shift": 1, "flip": True}
    found = ask(studio, "train.check", recipe="lesson", seed="7", changes=changes)
    words = shlex.split(found["command"])
    assert words[:3] == ["tinyconv", "train", CAKE]
    result = CliRunner().invoke(app, [*words[1:], "--out", "cake.safetensors"])
    assert result.exit_code == 0, result.output
    begin(studio, True, recipe="lesson", seed="7", **changes)
    until(studio, "finished")
    same_weights(studio.subject.model, load_checkpoint("cake.safetensors").model())


def test_a_training_that_diverges_says_so_and_keeps_its_weights(studio):
    begin(studio, True, optimizer="sgd", lr=1e6, schedule="constant")
    now = until(studio, "failed")
    assert "the learning rate is likely too high" in now["said"]
    assert all(np.isfinite(t.numpy()).all() for t in studio.subject.model.state_dict().values())
    for job in ("go_on", "step"):
        ask(studio, f"train.{job}")
        assert ask(studio, "train.state")["training"]["status"] == "failed"
    assert not studio.busy
    begin(studio, True)
    until(studio, "finished")


def test_without_data_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCONV_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    studio = Studio(of_name("lenet5", "mnist", root=tmp_path, offline=True))
    try:
        model = studio.subject.model
        with pytest.raises(DataError, match="mnist cannot be had from any place") as caught:
            ask(studio, "train.start", recipe="default", seed="0", changes={})
        assert caught.value.__notes__ == ["with a network, this gets it: tinyconv data fetch mnist"]
        assert studio.subject.model is model
        assert ask(studio, "train.state")["training"] is None
    finally:
        studio.close()


def test_what_a_step_did_to_the_weights(studio):
    begin(studio)
    before = {name: p.numpy().copy() for name, p in studio.subject.model.named_parameters()}
    ask(studio, "train.step", measured=True)
    found = ask(studio, "train.weights")
    assert found["step"] == 1
    now = dict(studio.subject.model.named_parameters())
    assert [row["name"] for row in found["rows"]] == list(now)
    for row in found["rows"]:
        for what, values in (("weight", now[row["name"]].numpy()), ("gradient", now[row["name"]].grad.numpy())):
            told = row[what]
            values = values.astype(float)
            assert told["mean"] == pytest.approx(values.mean(), abs=1e-12)
            assert told["sd"] == pytest.approx(values.std())
            assert told["norm"] == pytest.approx(np.linalg.norm(values))
            assert (told["least"], told["most"]) == (values.min(), values.max())
            assert told["counts"].sum() == values.size
            np.testing.assert_array_equal(told["counts"], np.histogram(values, len(told["counts"]))[0])
        change = now[row["name"]].numpy() - before[row["name"]]
        assert row["ratio"] == pytest.approx(np.linalg.norm(change) / np.linalg.norm(before[row["name"]]), rel=1e-5)
    ask(studio, "train.step")  # this one was not measured
    rows = ask(studio, "train.weights")["rows"]
    assert all(row["gradient"] is None and row["ratio"] is None for row in rows)


def test_the_maps_of_one_image_are_those_of_the_weights_now(studio):
    begin(studio)
    one = studio.subject.image(5)
    for _ in range(2):
        ask(studio, "train.step")
        found = ask(studio, "train.maps", image=5, layer="relu")
        with tc.no_grad():
            expected = studio.subject.model[:2](studio.subject.input(one.images)).numpy()[0]
        np.testing.assert_array_equal(found["layer"]["maps"], expected)
    assert found["names"] == ["conv1", "relu", "pool1", "flatten", "dropout1", "fc1"]
    with pytest.raises(DataError, match="there is no test image 9000"):
        ask(studio, "train.maps", image=9000)


def test_twice_the_filters_are_compared(studio, monkeypatch):
    begin(studio, True)
    until(studio, "finished")
    wide = CAKE.replace("conv 4", "conv 8")
    opened(studio, monkeypatch, of_name("cake", "synthetic", slices=wide))
    begin(studio, True)
    until(studio, "finished")
    runs = ask(studio, "train.state")["runs"]
    assert [run["cake"] for run in runs] == [CAKE, wide]
    assert [run["parameters"] for run in runs] == [1554, 3098]
    assert all(len(run["history"]) == 1 for run in runs)
    begin(studio)  # one that was given up before its first epoch is not in the table
    begin(studio)
    assert len(ask(studio, "train.state")["runs"]) == 3


def test_the_recipe_of_the_last_training_is_kept_for_a_model_that_it_fits(studio, monkeypatch):
    assert not ask(studio, "train.state")["begin"]["kept"]
    begin(studio, recipe="lesson", seed="7", lr=0.02)
    expected = {"recipe": "lesson", "seed": "7", "fields": asdict(replace(RECIPES["lesson"], **FEW | {"lr": 0.02}))}
    assert ask(studio, "train.state")["begin"] == expected | {"kept": False}
    opened(studio, monkeypatch, of_name("cake", "synthetic", slices="flatten; fc 10"))
    assert ask(studio, "train.state")["begin"] == expected | {"kept": True}
    opened(studio, monkeypatch, of_name("lenet5", "cifar10"))  # other images need another recipe
    found = ask(studio, "train.state")["begin"]
    assert (found["recipe"], found["kept"]) == ("cifar-lenet", False)


def test_a_model_of_the_users_own_is_trained_where_it_came_from():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    studio = Studio(of_model(model, synthetic_digits(20)))
    try:
        assert ask(studio, "train.state")["begin"] is None
        with pytest.raises(JobError, match="came from Python, without a recipe: train it there"):
            ask(studio, "train.start", recipe="default", seed="0", changes={})
    finally:
        studio.close()


def test_a_second_tab_only_looks(studio):
    begin(studio)
    studio.join("second", lambda event, data: None)
    for job in ("start", "resume", "pause", "go_on", "step", "rate", "save"):
        assert JOBS[f"train.{job}"].writes
    with pytest.raises(JobError, match="another tab has the studio"):
        studio.submit("train.step", {}, "second").result(10)
    assert studio.submit("train.state", {}, "second").result(10)["training"]["done"] == 0


def test_what_needs_a_training_says_so(studio):
    for job in ("pause", "go_on", "step", "save", "weights"):
        with pytest.raises(JobError, match="there is no training yet: start one"):
            ask(studio, f"train.{job}")
    with pytest.raises(JobError, match="this model was not read from a checkpoint: start a training"):
        ask(studio, "train.resume")
