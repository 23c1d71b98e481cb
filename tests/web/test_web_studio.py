"""The thread of the studio: jobs in order, the newest of a kind, reports, tabs, activities, and its end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn
from tinyconv.data import synthetic_digits
from tinyconv.web import jobs, pages
from tinyconv.web.jobs import JobError, job
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_model

DONE = 10  # seconds in which anything here is done, on a machine that others use too


@pytest.fixture
def studio():
    opened = Studio(of_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), synthetic_digits(20)))
    yield opened
    opened.close()


@pytest.fixture
def table(monkeypatch):
    """A table of jobs for a test alone: `note` keeps what it is given, `wait` holds the thread until `gate` is set."""
    monkeypatch.setattr(jobs, "JOBS", {})
    noted, gate = [], threading.Event()

    @job("test.note")
    def note(studio, value: int):
        noted.append(value)
        return value

    @job("test.newest", newest=True)
    def newest(studio, value: int):
        noted.append(value)
        return value

    @job("test.write", writes=True)
    def write(studio):
        noted.append("written")

    @job("test.wait")
    def wait(studio):
        assert gate.wait(DONE)

    note.noted, note.gate = noted, gate
    yield note
    gate.set()


class Tab:
    """A tab that keeps what it is told."""

    def __init__(self, studio):
        self.told = []
        studio.join(self, lambda event, data: self.told.append((event, data, time.monotonic())))

    def of(self, event):
        return [data for name, data, _ in self.told if name == event]

    @property
    def writes(self):
        return self.of("role")[-1]["writes"]


def eventually(holds):
    end = time.monotonic() + DONE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_jobs_are_done_in_their_order_in_one_thread(studio, table):
    orders = [studio.submit("test.note", {"value": i}) for i in range(50)]
    assert [order.result(DONE) for order in orders] == table.noted == list(range(50))


def test_the_newest_of_a_kind_is_done_alone(studio, table):
    studio.submit("test.wait", {})
    ours, theirs = object(), object()
    dropped = [studio.submit("test.newest", {"value": i}, ours) for i in range(5)]
    other, last = (
        studio.submit("test.newest", {"value": 8}, theirs),
        studio.submit("test.newest", {"value": 9}, ours),
    )
    plain = [studio.submit("test.note", {"value": i}, ours) for i in (20, 21)]
    table.gate.set()
    assert (last.result(DONE), other.result(DONE), [one.result(DONE) for one in plain]) == (9, 8, [20, 21])
    assert all(order.cancelled() for order in dropped)
    assert table.noted == [8, 9, 20, 21]


def test_what_is_done_with_a_result_is_done_in_the_thread(studio, table):
    place = studio.submit("test.note", {"value": 3}, then=lambda value: (value, threading.current_thread().name))
    assert place.result(DONE) == (3, "tinyconv-studio")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("test.nothing", {}, "there is no job 'test.nothing'; there are test.newest, test.note, test.wait, test.write"),
        (None, {}, "there is no job None"),
        (["test.note"], {}, "there is no job"),
        ("test.note", [3], "test.note: expected its arguments by name, got list"),
        ("test.note", {}, "test.note: missing a required argument: 'value'"),
        ("test.note", {"value": 1, "other": 2}, "test.note: got an unexpected keyword argument 'other'"),
        ("test.note", {"studio": 1, "value": 2}, "test.note: multiple values for argument 'studio'"),
        ("test.note", {"value": "3"}, "test.note: value must be of type int, got '3'"),
        ("test.note", {"value": 3.5}, "test.note: value must be of type int, got 3.5"),
        ("test.note", {"value": True}, "test.note: value must be of type int, got True"),
        ("test.note", {"value": 10**30}, "test.note: value must be of type int, got 1000"),
        ("test.note", {"value": np.zeros(3)}, r"test.note: value must be of type int, got an array float64 \(3,\)"),
    ],
)
def test_what_is_no_job_is_refused(studio, table, name, arguments, said):
    with pytest.raises(JobError, match=said):
        studio.submit(name, arguments)
    assert studio.submit("test.note", {"value": 1}).result(DONE) == 1


@pytest.mark.parametrize("annotation", [int | None, float, str, bool, list[int], dict[str, float], np.ndarray])
def test_an_argument_has_its_type(table, annotation):
    values = [None, 1, 1.5, "a", True, [1], ["a"], {"a": 1}, {"a": "b"}, np.zeros(2)]
    fitting = {
        "int | None": [0, 1], "float": [1, 2], "str": [3], "bool": [4], "list": [5], "dict": [7], "ndarray": [9],
    }[getattr(annotation, "__name__", str(annotation))]  # fmt: skip

    def asks(studio, value):
        return None

    asks.__annotations__ = {"value": annotation}
    found = []
    for i, value in enumerate(values):
        try:
            jobs.Job("test.asks", asks, False, False).check({"value": value})
            found.append(i)
        except JobError:
            pass
    assert found == fitting


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyError("no"), StopIteration("no"), SystemExit("no"), KeyboardInterrupt("no")]
)
def test_a_job_that_raises_leaves_the_thread_alive(studio, table, error):
    @job("test.raises")
    def raises(studio):
        raise error

    found = studio.submit("test.raises", {}).exception(DONE)
    assert "no" in str(found)
    assert isinstance(found, Exception)  # SystemExit would end the loop of the server, StopIteration confuse it
    assert not isinstance(found, StopIteration)
    assert studio.submit("test.note", {"value": 1}).result(DONE) == 1


# --- tabs -----------------------------------------------------------------------------------------------------------


def test_the_first_tab_alone_changes_things_until_another_takes_over(studio, table):
    first, second, third = Tab(studio), Tab(studio), Tab(studio)
    assert [tab.writes for tab in (first, second, third)] == [True, False, False]
    assert first.of("role")[-1]["tabs"] == 3
    studio.submit("test.write", {}, first).result(DONE)
    with pytest.raises(JobError, match=r"this one looks on\. Take it over to change things here"):
        studio.submit("test.write", {}, second).result(DONE)
    assert studio.submit("test.note", {"value": 1}, second).result(DONE) == 1  # it may look
    studio.take_over(third)
    assert [tab.writes for tab in (first, second, third)] == [False, False, True]
    studio.leave(third)
    assert [tab.writes for tab in (first, second)] == [True, False]
    studio.leave(first)
    assert second.writes
    studio.submit("test.write", {}, second).result(DONE)
    assert table.noted == ["written", 1, "written"]


def test_what_waits_when_another_tab_takes_over_is_not_done(studio, table):
    first, second = Tab(studio), Tab(studio)
    studio.submit("test.wait", {})
    waiting = studio.submit("test.write", {}, first)
    studio.take_over(second)
    table.gate.set()
    with pytest.raises(JobError, match="looks on"):
        waiting.result(DONE)


def test_a_program_is_no_tab_and_may_change_things(studio, table):
    Tab(studio)
    studio.submit("test.write", {}).result(DONE)
    assert table.noted == ["written"]


# --- reports --------------------------------------------------------------------------------------------------------


def test_a_listener_that_raises_disturbs_nobody(studio, table, capsys):
    def raises(event, data):
        raise RuntimeError("a listener's own affair")

    first = object()
    studio.join(first, raises)
    tab = Tab(studio)

    @job("test.reports")
    def reports(studio):
        studio.report("news", {})

    studio.submit("test.reports", {}).result(DONE)
    assert tab.of("news") == [{}]
    studio.leave(first)
    assert tab.writes
    assert "a listener's own affair" in capsys.readouterr().err


# --- activities -----------------------------------------------------------------------------------------------------


def endless(noted, ended=None):
    try:
        while True:
            noted.append("step")
            time.sleep(0.001)
            yield
    finally:
        if ended is not None:
            ended.append(threading.current_thread().name)


@pytest.fixture
def train(table):
    """The job `test.train`, which begins an endless activity; it has what that did, and where it ended."""
    ended = []

    @job("test.train", writes=True)
    def train(studio):
        studio.go_on_with(endless(table.noted, ended))

    train.ended = ended
    return train


def test_an_activity_gives_way_to_jobs_between_two_steps(studio, table):
    """Each job comes while a step is under way, which ends only then: nothing hangs on who is faster."""
    step = threading.Semaphore(0)

    def held():
        for i in range(4):
            table.noted.append("step")
            assert i == 3 or step.acquire(timeout=DONE)
            yield

    @job("test.train", writes=True)
    def train(studio):
        studio.go_on_with(held())

    studio.submit("test.train", {}).result(DONE)
    for i in range(3):
        eventually(lambda: table.noted[-1:] == ["step"])
        waiting = [studio.submit("test.note", {"value": value}) for value in (i, -i)]
        assert studio.busy
        step.release()
        assert [order.result(DONE) for order in waiting] == [i, -i]
    eventually(lambda: not studio.busy)
    assert table.noted == ["step", 0, 0, "step", 1, -1, "step", 2, -2, "step"]


def test_an_activity_ends_in_its_thread_when_stopped_replaced_or_closed(studio, table, train):
    for ended in (1, 2):
        studio.submit("test.train", {}).result(DONE)
        assert len(train.ended) == ended - 1

    @job("test.stop")
    def stop(studio):
        studio.stop()

    studio.submit("test.stop", {}).result(DONE)
    assert not studio.busy
    studio.submit("test.train", {}).result(DONE)
    studio.close()
    assert train.ended == ["tinyconv-studio"] * 3


@pytest.mark.parametrize("error", [ValueError("broke"), SystemExit("broke")])
def test_an_activity_that_fails_is_reported_and_jobs_go_on(studio, table, capsys, error):
    tab = Tab(studio)

    def fails():
        yield
        raise error

    @job("test.fails")
    def begin(studio):
        studio.go_on_with(fails())

    studio.submit("test.fails", {}).result(DONE)
    eventually(lambda: tab.of("failed"))
    assert tab.of("failed") == [{"kind": type(error).__name__, "text": "broke"}]
    assert not studio.busy
    assert studio.submit("test.note", {"value": 1}).result(DONE) == 1
    capsys.readouterr()


# --- its end --------------------------------------------------------------------------------------------------------


def test_closing_ends_what_waits_and_the_thread(studio, table):
    waiting = studio.submit("test.wait", {})
    eventually(waiting.running)
    orders = [studio.submit("test.note", {"value": i}) for i in range(3)]
    threading.Timer(0.05, table.gate.set).start()
    studio.close()
    assert waiting.result(DONE) is None
    for order in orders:
        with pytest.raises(CancelledError):
            order.result(DONE)
    assert "tinyconv-studio" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(JobError, match="the studio is closed"):
        studio.submit("test.note", {"value": 1})
    studio.close()


# --- the user's own model -------------------------------------------------------------------------------------------


class Own(nn.Module):
    """A model with dropout and batch normalisation, whose mode matters."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten())
        self.fc = nn.Linear(2 * 26 * 26, 10)
        self.kept = {"calls": 0}

    def forward(self, x):
        return self.fc(self.layers(x))


def test_the_users_model_keeps_its_mode_and_its_gradients():
    model = Own()
    x, y = tc.randn(4, 1, 28, 28), tc.randint(0, 10, (4,))
    tc.functional.cross_entropy(model(x), y).backward()
    grads = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    tc.manual_seed(3)
    drawn = tc.rand(2).tolist()
    tc.manual_seed(3)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    model.layers[2].eval()
    modes = [module.training for module in model.modules()]
    subject = of_model(model, synthetic_digits(20))
    assert tc.rand(2).tolist() == drawn
    assert not subject.model.training
    looked = subject.model.train()
    tc.functional.cross_entropy(looked(subject.input(synthetic_digits(4).images)), y).backward()
    assert [module.training for module in model.modules()] == modes
    assert all(np.array_equal(p.grad.numpy(), grads[name]) for name, p in model.named_parameters())
    running = [name for name in before if "running" in name or "tracked" in name]
    assert running
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items() if name not in running)


def test_the_studio_sees_what_a_program_does_to_its_model(studio, table):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    opened = Studio(of_model(model, synthetic_digits(20)))

    @job("test.weights")
    def weights(studio):
        return [p.numpy().copy() for p in studio.subject.model.parameters()]

    try:
        optimizer = tc.optim.SGD(model.parameters(), lr=0.1)
        for change in (
            lambda: tc.functional.cross_entropy(model(tc.randn(4, 1, 28, 28)), tc.randint(0, 10, (4,))).backward(),
            optimizer.step,
            lambda: model.load_state_dict({name: t * 2 for name, t in model.state_dict().items()}),
            lambda: setattr(model, "1", nn.Linear(784, 10)),
            lambda: setattr(model[1], "bias", None),
        ):
            change()
            found = opened.submit("test.weights", {}).result(DONE)
            assert len(found) == len(list(model.parameters()))
            assert all(np.array_equal(a, b.numpy()) for a, b in zip(found, model.parameters(), strict=True))
    finally:
        opened.close()


def test_a_training_beside_the_studio_is_the_same_to_the_last_bit():
    """Pages look while another thread trains; dropout and batch normalisation would show a mode that is not theirs."""

    def trained(looks):
        tc.manual_seed(0)
        model = Own()
        optimizer = tc.optim.SGD(model.parameters(), lr=0.01)
        x, y = tc.randn(8, 1, 28, 28), tc.randint(0, 10, (8,))
        opened = Studio(of_model(model, synthetic_digits(20)))
        try:
            for _ in range(20):
                if looks:
                    orders = [opened.submit("look.layers", {}) for _ in range(3)]
                optimizer.zero_grad()
                tc.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            if looks:
                assert all(order.result(DONE) for order in orders)
        finally:
            opened.close()
        return {name: t.numpy().tobytes() for name, t in model.state_dict().items()}

    assert "look.layers" in jobs.JOBS, pages
    assert trained(False) == trained(True)
