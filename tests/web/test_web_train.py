"""Jobs of the Train page: the same training as the command's, watched."""

import time

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

from tinyconv.train import RECIPES, new_run, start
from tinyconv.train.recipes import replace
from tinyconv.web import pages
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_name

assert pages

FEW = {"epochs": 1, "batch_size": 1000}
CAKE = "conv 4 5 2; relu; pool 2; flatten; dropout 0.1; fc 10"


@pytest.fixture
def studio(tmp_path, monkeypatch):
    """A studio whose one tab is "tab" and hears into `heard`; in a folder of its own."""
    monkeypatch.chdir(tmp_path)
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


def weights_of(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def the_command(**changes):
    """What `tinyconv train` makes of the same run."""
    session = start(new_run("cake", "synthetic", 0, replace(RECIPES["default"], **FEW | changes), slices=CAKE))
    return session, list(session.trainer.run())


def test_the_weights_are_those_of_the_command_whatever_the_pages_ask(studio):
    begin(studio, True)
    while ask(studio, "train.state")["training"]["status"] == "running":  # jobs come between the steps
        ask(studio, "train.weights")
    now, (session, reports) = until(studio, "finished"), the_command()
    found = weights_of(studio.subject.model)
    for name, expected in weights_of(session.model).items():
        np.testing.assert_array_equal(found[name], expected)
    assert now["history"][0]["test_accuracy"] == session.trainer.progress.history[0]["test_accuracy"]
    np.testing.assert_array_equal(now["losses"], np.float32([r.loss for r in reports[:10]]))
    assert not studio.subject.model.training
